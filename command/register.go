package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/orderstore/orderstore/events"
)

// Register stores a tenant, provider, route, product or vendor as given, and says so in the log. The same again changes
// nothing.
type Register struct {
	Kind         string
	ID           string
	Type         events.Type
	Tenant       string // of a tenant, product or vendor
	Provider     string // of a provider
	BusinessType string // business type of a route
	Document     any    // *events.Tenant, *events.Provider, …
	Traceparent  string
}

func (c *Register) wants(*wants) {}

func (c *Register) apply(r *round) (reply, error) {
	document, err := json.Marshal(c.Document)
	if err != nil {
		return reply{}, fmt.Errorf("encode %s %s: %w", c.Kind, c.ID, err)
	}
	known, err := r.registered(c.Kind, c.ID)
	if err != nil {
		return reply{}, err
	}
	if bytes.Equal(known, document) {
		return reply{status: http.StatusOK, document: document, position: r.from.position, replayed: true}, nil
	}
	e := events.New(c.Type, r.at, c.Document)
	e.Tenant, e.Provider, e.BusinessType, e.Traceparent = c.Tenant, c.Provider, c.BusinessType, c.Traceparent
	r.enter(e, c.Kind, c.ID, document)
	rep := reply{status: http.StatusOK, document: document, position: r.next() - 1}
	if known == nil {
		rep.status = http.StatusCreated
	}
	return rep, nil
}

// registered gives the entry as it stands in this round; nil where there is none.
func (r *round) registered(kind, id string) ([]byte, error) {
	for i := len(r.entries) - 1; i >= 0; i-- {
		if r.entries[i].Kind == kind && r.entries[i].ID == id {
			return r.entries[i].Document, nil
		}
	}
	v := r.registry.get(kind, id)
	if v == nil {
		return nil, nil
	}
	document, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s %s: %w", kind, id, err)
	}
	return document, nil
}
