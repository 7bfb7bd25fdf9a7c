package command

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/seeded"
)

// Submission is what a user submits as an order, read and found valid.
type Submission struct {
	Tenant       string
	BusinessType string
	Placed       events.Placed
	Hash         [sha256.Size]byte // of the content, normalised: tells a replay from a conflict

	unkeyed [sha256.Size]byte // Hash as it was stored before customers were sealed; zero where that is Hash
}

// seal computes the content's hash. Vendors are not part of it: they come from the catalog, not from the user.
func (s *Submission) seal() error {
	placed, err := s.Placed.Encode()
	if err != nil {
		return fmt.Errorf("hash submission: %w", err)
	}
	h := sha256.New()
	_, _ = io.WriteString(h, `{"BusinessType":"`+s.BusinessType+`","Placed":`) // a name holds nothing to escape
	h.Write(placed)
	h.Write([]byte{'}'})
	h.Sum(s.Hash[:0])
	return nil
}

func (s *Submission) ref() orderRef {
	return orderRef{tenant: s.Tenant, channel: s.Placed.Channel, externalRef: s.Placed.ExternalRef}
}

// same says whether an order's content hash is that of the submission. An order that was brought back from the stream with its customer
// sealed has none: of that, the reference alone is known.
func (s *Submission) same(hash [sha256.Size]byte) bool {
	return seeded.On(seeded.ConflictTaken) || hash == s.Hash || hash == s.unkeyed || hash == [sha256.Size]byte{}
}

// PlaceOrder submits an order.
type PlaceOrder struct {
	Submission  Submission
	Traceparent string
}

func (c *PlaceOrder) wants(w *wants) {
	w.refs = append(w.refs, c.Submission.ref())
	w.place(c.Submission.Tenant)
}

func (c *PlaceOrder) apply(r *round) (reply, error) {
	if known, ok := r.byRef[c.Submission.ref()]; ok {
		return c.again(known)
	}
	if err := r.admit(c.Submission.Tenant); err != nil {
		return reply{}, err
	}
	if err := r.living(c.Submission.Placed.Customer); err != nil {
		return reply{}, err
	}
	d := r.decide(nil, c.Traceparent)
	if err := d.place(&c.Submission); err != nil {
		return reply{}, err
	}
	state := r.place(d, &c.Submission)
	return reply{status: http.StatusCreated, order: state, created: true}, nil
}

// again answers a submission whose reference is known: with the order as it is now, when the content is the same.
func (c *PlaceOrder) again(known *orderState) (reply, error) {
	if !c.Submission.same(known.hash) {
		return reply{}, fault.New(fault.OrderConflict,
			"channel %q already has an order %q with other content", c.Submission.Placed.Channel, c.Submission.Placed.ExternalRef).
			With("order_id", known.order.ID)
	}
	return reply{status: http.StatusOK, order: known, replayed: true}, nil
}

// place records order.placed and the offers that follow from it.
func (d *Decision) place(s *Submission) error {
	placed := s.Placed
	placed.Lines = make([]events.PlacedLine, len(s.Placed.Lines))
	for i, line := range s.Placed.Lines {
		if p := d.registry.product(s.Tenant, line.SKU); p != nil {
			line.VendorID = p.VendorID
		}
		placed.Lines[i] = line
	}
	a := d.registry.assign(s.BusinessType, placed.Region, d.at, nil)
	e := events.New(events.OrderPlaced, d.at, &placed)
	e.Tenant, e.BusinessType, e.OrderID = s.Tenant, s.BusinessType, d.newID()
	e.Status, e.FulfillmentStatus = events.OrderUnrouted, events.Unfulfilled
	if len(a.providers) > 0 {
		e.Status = events.OrderRouted
	}
	if err := d.record(e); err != nil {
		return err
	}
	return d.offerOpen(&a)
}
