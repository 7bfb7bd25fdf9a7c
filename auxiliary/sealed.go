package auxiliary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
)

// errKeysAway says that it cannot be told whom an order is for. It is tried again: nobody is to stay untold for a moment without keys.
var errKeysAway = errors.New("the keys of customers cannot be read")

// The reasons for which nothing is known of a customer who is there.
const (
	quietErased = "erased"
	quietSealed = "sealed" // this process has no keys
)

// namedCustomer is the part of a document that a customer is sealed in.
type namedCustomer struct {
	Customer *events.Customer `json:"customer,omitempty"`
}

// openCustomers gives customers as they can be read, in their order, and why one cannot. Those that are not sealed stay what they are.
func openCustomers(ctx context.Context, keys *customerkeys.Keys, all []*events.Customer) (opened []*events.Customer, why []string, err error) {
	opened, why = make([]*events.Customer, len(all)), make([]string, len(all))
	documents := make([][]byte, len(all))
	for i, c := range all {
		if documents[i], err = json.Marshal(namedCustomer{c}); err != nil {
			return nil, nil, fmt.Errorf("open customer: %w", err)
		}
	}
	if keys.OpenAll(ctx, documents) == customerkeys.Away {
		return nil, nil, errKeysAway
	}
	for i := range documents {
		var named namedCustomer
		if err := json.Unmarshal(documents[i], &named); err != nil {
			return nil, nil, fmt.Errorf("open customer: %w", err)
		}
		switch opened[i] = named.Customer; {
		case all[i] == nil || all[i].Sealed == "":
		case named.Customer == nil:
			why[i] = quietErased
		case named.Customer.Sealed != "":
			opened[i], why[i] = nil, quietSealed
		}
	}
	return opened, why, nil
}
