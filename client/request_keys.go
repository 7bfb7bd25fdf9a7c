package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// ClientKey is a signing key of a client as operators see it.
type ClientKey struct {
	KeyID     string    `json:"key_id"`
	ClientID  string    `json:"client_id"`
	Secret    string    `json:"secret,omitempty"` // given once, when it is made
	CreatedAt time.Time `json:"created_at"`

	Meta Meta `json:"-"`
}

// CreateRequestKey gives a client one more key to sign requests with. To change one without a gap, make the new one, let the client use it,
// and delete the old one. Where an answer was lost a key may be
// left over that nobody knows the secret of: list them.
func (c *Client) CreateRequestKey(ctx context.Context, clientID string) (ClientKey, error) {
	var key ClientKey
	meta, err := c.do(ctx, write(http.MethodPost, nil, "v1", "admin", "clients", clientID, "signing-keys"), &key)
	key.Meta = meta
	if err != nil {
		return key, fmt.Errorf("create signing key of client %s: %w", clientID, err)
	}
	return key, nil
}

// ListRequestKeys lists a client's keys without their secrets, the oldest first.
func (c *Client) ListRequestKeys(ctx context.Context, clientID string) ([]ClientKey, error) {
	var page struct {
		Items []ClientKey `json:"items"`
	}
	if _, err := c.do(ctx, read("v1", "admin", "clients", clientID, "signing-keys"), &page); err != nil {
		return nil, fmt.Errorf("list signing keys of client %s: %w", clientID, err)
	}
	return page.Items, nil
}

// DeleteRequestKey ends a key: nothing that is signed with it is taken from then on.
func (c *Client) DeleteRequestKey(ctx context.Context, clientID, keyID string) error {
	if _, err := c.do(ctx, write(http.MethodDelete, nil, "v1", "admin", "clients", clientID, "signing-keys", keyID), nil); err != nil {
		return fmt.Errorf("delete signing key %s of client %s: %w", keyID, clientID, err)
	}
	return nil
}
