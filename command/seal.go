package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/fault"
)

// errErased says that a customer was sealed under a key that was destroyed meanwhile. A later order of the same person gets a new key.
var errErased = errors.New("the customer's key was destroyed")

// seals seals customers before anything is decided: what is said of them is not in events, orders or kept answers. Without keys
// it changes nothing.
type seals struct{ keys *customerkeys.Keys }

// sealed is the command as it is decided: with its customer sealed.
func (s seals) sealed(ctx context.Context, command Command, store *store) (Command, error) {
	if s.keys == nil {
		return command, nil
	}
	switch c := command.(type) {
	case *PlaceOrder:
		return s.placing(ctx, c)
	case *AmendOrder:
		return s.amending(ctx, c, store)
	}
	return command, nil
}

func (s seals) placing(ctx context.Context, c *PlaceOrder) (Command, error) {
	with := *c
	sub := &with.Submission
	sub.unkeyed, sub.Hash = sub.Hash, s.keys.Master().Keyed(sub.Hash)
	if sub.Placed.Customer == nil {
		return &with, nil
	}
	var err error
	sub.Placed.Customer, err = s.customer(sub.Tenant, sub.Placed.Customer, func() (*customerkeys.Key, error) {
		if kind, value := identity(sub.Placed.Customer); kind != "" {
			return s.keys.Of(ctx, sub.Tenant, s.keys.Fingerprint(sub.Tenant, kind, value))
		}
		return s.keys.Own(sub.Tenant, s.ownFingerprint(sub.Tenant, sub.Placed.Channel, sub.Placed.ExternalRef))
	})
	return &with, err
}

// ownFingerprint is of a customer who gave neither address nor number, and is known by the order alone.
func (s seals) ownFingerprint(tenant, channel, ref string) []byte {
	return s.keys.Fingerprint(tenant, "order", channel+"\x00"+ref)
}

// customer seals what is known of a customer under the key that keyOf gives.
func (s seals) customer(tenant string, c *events.Customer, keyOf func() (*customerkeys.Key, error)) (*events.Customer, error) {
	key, err := keyOf()
	if err != nil {
		return nil, unavailable(fmt.Errorf("seal customer: %w", err))
	}
	plain, err := c.Encode()
	if err != nil {
		return nil, fmt.Errorf("seal customer: %w", err)
	}
	sealed := &events.Customer{Key: key.ID, Sealed: key.Seal(plain)}
	sealed.Found, sealed.Joined = marks(s.keys.Master(), tenant, c)
	return sealed, nil
}

// open is the opposite of customer; nil where the key was destroyed.
func (s seals) open(ctx context.Context, c *events.Customer) (*events.Customer, error) {
	if c == nil || c.Sealed == "" {
		return c, nil
	}
	document, err := json.Marshal(struct {
		Customer *events.Customer `json:"customer"`
	}{c})
	if err != nil {
		return nil, fmt.Errorf("open customer: %w", err)
	}
	document, became := s.keys.Open(ctx, document)
	if became == customerkeys.Away {
		return nil, unavailable(errors.New("the customer's key cannot be read"))
	}
	var opened struct {
		Customer *events.Customer `json:"customer"`
	}
	if err := json.Unmarshal(document, &opened); err != nil {
		return nil, fmt.Errorf("open customer: %w", err)
	}
	return opened.Customer, nil
}

// identity is what a customer is recognised by; nothing where there is neither address nor number.
func identity(c *events.Customer) (kind, value string) {
	if c.Email != "" {
		return "email", customerkeys.PlainEmail(c.Email)
	}
	if c.Phone != "" {
		return "phone", customerkeys.PlainPhone(c.Phone, countryOf(c))
	}
	return "", ""
}

func countryOf(c *events.Customer) string {
	if c.Address == nil {
		return ""
	}
	return c.Address.Country
}

// marks are by which an order is found, and by which it is known to be the same customer's as another.
func marks(m *customerkeys.Master, tenant string, c *events.Customer) (found, joined string) {
	find := m.Found(tenant, c.Name, c.Email, c.Phone)
	var join []string
	email, phone := customerkeys.Joined(m, tenant, c.Email, c.Phone, countryOf(c))
	if email != "" {
		join = append(join, "e"+email)
	}
	if phone != "" {
		join = append(join, "p"+phone)
	}
	return strings.Join(find, "."), strings.Join(join, ".")
}

// customerKeyOf is the key that a sealed command names.
func customerKeyOf(sealed Command) string {
	switch c := sealed.(type) {
	case *PlaceOrder:
		if c.Submission.Placed.Customer != nil {
			return c.Submission.Placed.Customer.Key
		}
	case *AmendOrder:
		if c.prepared != nil && c.prepared.to != nil {
			return c.prepared.to.Key
		}
	}
	return ""
}

// amendedCustomer is a customer as an amendment makes it, worked out before the round: a round reads no keys.
type amendedCustomer struct {
	from *events.Customer // what it was worked out from
	to   *events.Customer
	err  error // what the patch is refused for
}

// amending works out whom the order is for after the amendment. An order that is not there, or another tenant's, is left for the
// decision to refuse.
func (s seals) amending(ctx context.Context, c *AmendOrder, store *store) (Command, error) {
	if c.Amendment.Customer == nil {
		return c, nil
	}
	r := newRound(head{}, store.now(), nil)
	if err := store.load(ctx, &wants{orders: []string{c.OrderID}}, r); err != nil {
		return nil, unavailable(err)
	}
	state := r.orders[c.OrderID]
	if state == nil || state.order.Tenant != c.Tenant {
		return c, nil
	}
	o, with := state.order, *c
	was, err := s.open(ctx, o.Customer)
	if err != nil {
		return nil, err
	}
	prepared := &amendedCustomer{from: o.Customer, to: o.Customer}
	with.prepared = prepared
	is, err := c.Amendment.customer(was)
	switch {
	case err != nil:
		prepared.err = err
	case reflect.DeepEqual(is, was) && was != nil:
	case is == nil:
		prepared.to = nil
	default:
		prepared.to, err = s.customer(o.Tenant, is, func() (*customerkeys.Key, error) {
			if kind, value := identity(is); kind != "" {
				return s.keys.Of(ctx, o.Tenant, s.keys.Fingerprint(o.Tenant, kind, value))
			}
			return s.keys.Of(ctx, o.Tenant, s.ownFingerprint(o.Tenant, o.Channel, o.ExternalRef))
		})
		if err != nil {
			return nil, err
		}
	}
	return &with, nil
}

// customerOf is whom the order is for after the amendment.
func (c *AmendOrder) customerOf(have *events.Customer) (*events.Customer, error) {
	switch {
	case c.prepared == nil:
		return c.Amendment.customer(have)
	case c.prepared.err != nil:
		return nil, c.prepared.err
	case !reflect.DeepEqual(c.prepared.from, have):
		return nil, unavailable(errors.New("the order's customer changed meanwhile"))
	}
	return c.prepared.to, nil
}

// living refuses what was sealed under a key that is destroyed. A key that is not even there any more fails the round.
func (r *round) living(c *events.Customer) error {
	if c == nil || c.Key == "" {
		return nil
	}
	if !r.erased(c.Key) {
		r.sealedUnder[c.Key] = true
		return nil
	}
	return fault.Wrap(errErased, fault.Unavailable, "the customer is being erased: send the order again")
}
