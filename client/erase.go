package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// ErasureRequest says whose data is to be erased: exactly one of the members but the tenant is given. Phone finds customers who gave no
// e-mail address; write it with + and the country.
type ErasureRequest struct {
	Tenant  string `json:"tenant"`
	Email   string `json:"email,omitempty"`
	Phone   string `json:"phone,omitempty"`
	Key     string `json:"key,omitempty"`
	OrderID string `json:"order_id,omitempty"`
}

// Erasure is what was done: the key of the customer is destroyed, and with it all that the store says of the customer.
type Erasure struct {
	ErasureID   string    `json:"erasure_id"`
	Tenant      string    `json:"tenant"`
	Key         string    `json:"key"`
	DestroyedAt time.Time `json:"destroyed_at"`
	Position    int64     `json:"position"`
	// Orders is how many orders still have what nobody can read any more; it is taken out of them. Nil: not known.
	Orders *int64 `json:"orders,omitempty"`
	Meta   Meta   `json:"-"`
}

// EraseCustomer destroys a customer's key. The same again gives the same answer. It is for operators.
func (c *Client) EraseCustomer(ctx context.Context, r ErasureRequest) (Erasure, error) {
	var done Erasure
	meta, err := c.do(ctx, write(http.MethodPost, r, "v1", "admin", "erasures"), &done)
	done.Meta = meta
	if err != nil {
		return done, fmt.Errorf("erase customer: %w", err)
	}
	return done, nil
}
