package command

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/stream"
)

// recoverBatch is how many events are brought back in one transaction.
const recoverBatch = 500

// ErrWritten says that the log grew while its tail was being brought back.
var ErrWritten = errors.New("somebody writes to the log meanwhile: stop all write nodes of an older version, and recover again")

// Tail is what a copy of the log holds after the log's end: the next records, none at the end.
type Tail interface {
	Next(ctx context.Context, limit int) ([]stream.Record, error)
}

// Recovered is what was brought back.
type Recovered struct {
	From, To int64 // positions: the log's end before and after
	Orders   int64 // changes of orders, one for each order and transaction
	Digest   events.Digest
}

// End gives the log's last position and its digest.
func End(ctx context.Context, pool *pgxpool.Pool) (position int64, digest events.Digest, err error) {
	h, err := (&store{pool: pool, cell: events.DefaultCell}).head(ctx)
	return h.position, h.digest, err
}

// Recover appends to a log that was restored to an older point what a copy of it still holds, and brings all that the write side keeps
// to the same position. Bodies, positions and digests are those of the copy. It may be broken off at any time and goes on when it is
// called again. A result that was posted in what is brought back is known by its id alone: the same id again is the same result,
// whatever it says. It returns ErrWritten (test with errors.Is) when others append meanwhile.
func Recover(ctx context.Context, pool *pgxpool.Pool, tail Tail, progress func(position int64)) (*Recovered, error) {
	s := &store{pool: pool, cell: events.DefaultCell}
	at, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	registry := newRegistry()
	if err := s.registry(ctx, registry, 0); err != nil {
		return nil, err
	}
	done := &Recovered{From: at.position, To: at.position, Digest: at.digest}
	for {
		records, err := tail.Next(ctx, recoverBatch)
		if err != nil || len(records) == 0 {
			return done, err
		}
		r, err := s.bringBack(ctx, at, registry, records)
		if err != nil {
			return done, err
		}
		last := &records[len(records)-1]
		at = head{position: last.Position, digest: last.Digest}
		done.To, done.Digest, done.Orders = at.position, at.digest, done.Orders+int64(len(r.touched))
		progress(at.position)
	}
}

// bringBack stores some records after the log's end in one transaction.
func (s *store) bringBack(ctx context.Context, at head, registry *Registry, records []stream.Record) (*round, error) {
	all := make([]events.Event, len(records))
	w := &wants{}
	for i := range records {
		e, err := events.Decode(records[i].Position, records[i].Body)
		if err != nil {
			return nil, fmt.Errorf("position %d: %w", records[i].Position, err)
		}
		all[i] = e
		if e.OrderID != "" && e.Type != events.OrderPlaced {
			w.orders = append(w.orders, e.OrderID)
		}
	}
	r := newRound(at, all[len(all)-1].Time, registry)
	if err := s.load(ctx, w, r); err != nil {
		return nil, err
	}
	for i := range all {
		if err := r.replay(&all[i]); err != nil {
			r.undo()
			return nil, fmt.Errorf("position %d: %w", all[i].Position, err)
		}
	}
	p, err := r.planOf(records)
	if err != nil {
		return nil, err
	}
	if err := s.extend(ctx, p.to.position); err != nil {
		return nil, err
	}
	err = s.commit(ctx, r, p, nil)
	switch {
	case headMoved(err):
		return nil, ErrWritten
	case err != nil:
		return nil, fmt.Errorf("store positions %d to %d: %w", at.position+1, p.to.position, err)
	}
	for _, e := range r.entries {
		if err := registry.put(e); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// planOf is the plan of a round whose events have their bytes already.
func (r *round) planOf(records []stream.Record) (*plan, error) {
	p := &plan{from: r.from, records: make([]record, len(records))}
	for i := range records {
		c := &records[i]
		p.records[i] = record{position: c.Position, subject: c.Subject, body: c.Body, digest: c.Digest}
		p.to = head{position: c.Position, digest: c.Digest}
	}
	return p, r.encodeOrders(p)
}

// replay takes over an event that was decided on before.
func (r *round) replay(e *events.Event) error {
	switch {
	case e.OrderID != "":
		return r.replayOrder(e)
	case e.Type == events.StockAdjusted || e.Type == events.ReplenishmentDue:
		return r.replayFact(e)
	}
	return r.replayEntry(e)
}

func (r *round) replayOrder(e *events.Event) error {
	state := r.orders[e.OrderID]
	if state == nil {
		state = &orderState{}
	}
	order, err := events.Apply(state.order, e)
	if err != nil {
		return err
	}
	state.order = order
	if placed, ok := e.Data.(*events.Placed); ok && (placed.Customer == nil || placed.Customer.Sealed == "") {
		if state.hash, err = submitted(e.BusinessType, placed); err != nil {
			return err
		}
	}
	r.change(&Decision{Order: order, Events: []events.Event{*e}}, state)
	r.know(state)
	if posted, ok := e.Data.(*events.ResultPosted); ok {
		r.post(&PostResult{onTask: onTask{Provider: e.Provider, TaskID: e.TaskID}, Result: *posted})
	}
	return nil
}

// submitted is the hash of the submission that an order was placed by. The catalog added the vendors.
func submitted(businessType string, placed *events.Placed) (hash [sha256.Size]byte, err error) {
	s := Submission{BusinessType: businessType, Placed: *placed}
	s.Placed.Lines = make([]events.PlacedLine, len(placed.Lines))
	for i, line := range placed.Lines {
		line.VendorID = ""
		s.Placed.Lines[i] = line
	}
	err = s.seal()
	return s.Hash, err
}

func (r *round) replayFact(e *events.Event) error {
	var told *TellFact
	var err error
	switch data := e.Data.(type) {
	case *events.StockAdjustment:
		told, err = AdjustStock(e.Tenant, data, "")
	case *events.ReplenishmentRun:
		told, err = RaiseReplenishment(e.Tenant, data, "")
	default:
		err = fmt.Errorf("%s with a payload of another type", e.Type)
	}
	if err != nil {
		return err
	}
	r.events = append(r.events, *e)
	r.facts[told.ref] = fact{hash: told.hash, position: e.Position}
	r.told = append(r.told, told.ref)
	return nil
}

// replayErasure destroys a key again: the restored database has it as it was before.
func (r *round) replayErasure(e *events.Event, data *events.Erasure) error {
	document, err := json.Marshal(Erased{ErasureID: data.ErasureID, Tenant: e.Tenant, Key: data.Key, DestroyedAt: e.Time, Position: e.Position})
	if err != nil {
		return fmt.Errorf("encode erasure: %w", err)
	}
	r.events = append(r.events, *e)
	r.entries = append(r.entries, entry{Kind: kindErasure, ID: data.Key, Position: e.Position, Document: document})
	r.destroyed = append(r.destroyed, data.Key)
	return nil
}

// replayEntry takes over a change of the registry.
func (r *round) replayEntry(e *events.Event) error {
	var kind, id string
	switch data := e.Data.(type) {
	case *events.Tenant:
		kind, id = kindTenant, e.Tenant
	case *events.Provider:
		kind, id = kindProvider, e.Provider
	case *events.Route:
		kind, id = kindRoute, e.BusinessType
	case *events.Product:
		kind, id = kindProduct, catalogID(data.Tenant, data.SKU)
	case *events.Vendor:
		kind, id = kindVendor, catalogID(data.Tenant, data.ID)
	case *events.SubscriptionEnd:
		kind, id = kindNotice, data.NoticeID
	case *events.Erasure:
		return r.replayErasure(e, data)
	default:
		return fmt.Errorf("nobody knows how to bring back %s", e.Type)
	}
	document, err := json.Marshal(e.Data)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", kind, id, err)
	}
	r.events = append(r.events, *e)
	r.entries = append(r.entries, entry{Kind: kind, ID: id, Position: e.Position, Document: document})
	return nil
}

// lostTail says that a copy of the log is ahead of it: the log was restored to an older point.
type lostTail struct{ log, copy int64 }

func (e *lostTail) Error() string {
	return fmt.Sprintf("the log ends at %d and the stream at %d: the log has lost its end, orderstore recover brings it back", e.log, e.copy)
}

// Lost says what the log has lost, as the last round found it; empty in good order.
func (c *Committer) Lost() string {
	if lost := c.lost.Load(); lost != nil {
		return lost.Error()
	}
	return ""
}

// whole makes sure that no copy of the log is ahead of it: after the start, and when the log's end is before where it was seen. What
// would be written then would have positions that were given to other events.
func (c *Committer) whole(ctx context.Context, h head) error {
	if c.ahead == nil || c.compared && h.position >= c.head.position && c.lost.Load() == nil {
		return nil
	}
	last, err := c.ahead(ctx, h.position)
	if err != nil {
		return fmt.Errorf("%w: compare the log's end with the stream's: %w", errCannotCompare, err)
	}
	if last > h.position {
		// Others may have appended meanwhile: the stream is never ahead of a log that is read after it.
		now, err := c.store.head(ctx)
		switch {
		case err != nil:
			return err
		case now.position >= last:
			return errMoved
		}
		lost := &lostTail{log: h.position, copy: last}
		if before := c.lost.Swap(lost); before == nil || *before != *lost {
			c.logger.ErrorContext(ctx, "nothing is written", "cause", lost)
		}
		return lost
	}
	c.lost.Store(nil)
	c.compared = true
	return nil
}

// errCannotCompare says that it is not known whether the log has all that it had.
var errCannotCompare = errors.New("the stream does not answer")

// retryLost is for a person to act.
const retryLost = 30 * time.Second

// lostFault is what commands are answered while the log lacks its end; nil: err says something else.
func lostFault(err error) error {
	if _, lost := errors.AsType[*lostTail](err); !lost {
		return nil
	}
	return fault.Wrap(err, fault.Unavailable, "orders cannot be stored at the moment").Retry(retryLost)
}
