package command

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	verifyBatch   = 5_000   // log rows read at once
	ordersPerPass = 200_000 // orders folded in memory at once; more take more passes over the log
)

// Verification is what was found comparing the log with itself and with the write side's state.
type Verification struct {
	Events     int64         // rows read
	Position   int64         // of the log's end
	Digest     events.Digest // at the log's end
	Orders     int64         // states compared with their fold
	Difference string        // the first one; empty where there is none
	At         int64         // its position, as near as it can be told
}

func (v *Verification) differs(at int64, format string, args ...any) {
	if v.Difference == "" {
		v.Difference, v.At = fmt.Sprintf(format, args...), at
	}
}

// Verify reads the whole log in one snapshot of the write database: positions without a hole, each digest, and that each order's
// state is the fold of its events. progress hears of each batch of rows that was read.
func Verify(ctx context.Context, pool *pgxpool.Pool, progress func(rows int64)) (*Verification, error) {
	v := &Verification{}
	err := postgres.InSnapshot(ctx, pool, func(tx pgx.Tx) error {
		s := &verifier{v: v, tx: tx, progress: progress}
		return s.run(ctx)
	})
	return v, err
}

type verifier struct {
	v        *Verification
	tx       pgx.Tx
	progress func(int64)
	passes   uint32
	pass     uint32
	orders   map[string]*folded
	due      map[string]time.Time // when this pass's tasks are to be looked at
}

type folded struct {
	order    *events.Order
	position int64
}

func (s *verifier) run(ctx context.Context) error {
	var head head
	var digest []byte
	if err := s.tx.QueryRow(ctx, selectHead, int16(events.DefaultCell)).Scan(&head.position, &digest); err != nil {
		return fmt.Errorf("read log head: %w", err)
	}
	copy(head.digest[:], digest)
	s.v.Position = head.position
	var stored int64
	if err := s.tx.QueryRow(ctx, `SELECT count(*) FROM orders`).Scan(&stored); err != nil {
		return fmt.Errorf("count orders: %w", err)
	}
	s.passes = uint32(stored/ordersPerPass) + 1 //nolint:gosec // far below 2^32
	for s.pass = 0; s.pass < s.passes && s.v.Difference == ""; s.pass++ {
		s.orders = make(map[string]*folded, ordersPerPass)
		if err := s.fold(ctx, head); err != nil {
			return err
		}
		s.due = map[string]time.Time{}
		if err := s.compare(ctx); err != nil {
			return err
		}
		if err := s.compareDeadlines(ctx); err != nil {
			return err
		}
	}
	if s.v.Difference == "" && s.v.Orders != stored {
		s.v.differs(head.position, "the write side has %d orders, the log placed %d", stored, s.v.Orders)
	}
	return nil
}

const scanLog = `SELECT position, digest, subject, event FROM order_events WHERE position > $1 ORDER BY position LIMIT $2`

// fold reads the log from its start and folds this pass's orders; the first pass checks the chain.
func (s *verifier) fold(ctx context.Context, head head) error {
	at := position{}
	for s.v.Difference == "" {
		rows, err := s.tx.Query(ctx, scanLog, at.position, verifyBatch)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		n, err := s.take(rows, &at)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		s.progress(n)
		if n == 0 {
			break
		}
	}
	if s.pass > 0 || s.v.Difference != "" {
		return nil
	}
	s.v.Events, s.v.Digest = at.position, at.digest
	if at.position != head.position || at.digest != head.digest {
		s.v.differs(at.position, "the log ends at %d, its head says %d", at.position, head.position)
	}
	return nil
}

// position is a place in the log.
type position struct {
	position int64
	digest   events.Digest
}

func (s *verifier) take(rows pgx.Rows, at *position) (int64, error) {
	var n, p int64
	var digest, body []byte
	var subject string
	_, err := pgx.ForEachRow(rows, []any{&p, &digest, &subject, &body}, func() error {
		n++
		if s.v.Difference == "" {
			s.row(at, p, digest, subject, body)
		}
		return nil
	})
	return n, err
}

func (s *verifier) row(at *position, p int64, digest []byte, subject string, body []byte) {
	next := at.digest.Next(at.position+1, body)
	switch {
	case p != at.position+1:
		s.v.differs(at.position+1, "the log has no position %d", at.position+1)
		return
	case !bytes.Equal(digest, next[:]):
		s.v.differs(p, "the digest at %d is not that of the event there", p)
		return
	}
	at.position, at.digest = p, next
	header, _, err := events.DecodeHeader(p, body)
	if err != nil {
		s.v.differs(p, "the event at %d cannot be read: %v", p, err)
		return
	}
	if want := header.Subject(); want != subject {
		s.v.differs(p, "the subject at %d is %q, the event says %q", p, subject, want)
		return
	}
	if header.OrderID != "" && passOf(header.OrderID, s.passes) == s.pass {
		s.apply(p, body)
	}
}

func (s *verifier) apply(p int64, body []byte) {
	e, err := events.Decode(p, body)
	if err != nil {
		s.v.differs(p, "the event at %d cannot be read: %v", p, err)
		return
	}
	have := s.orders[e.OrderID]
	if have == nil {
		have = &folded{}
		s.orders[e.OrderID] = have
	}
	if have.order, err = events.Apply(have.order, &e); err != nil {
		s.v.differs(p, "%v", err)
		return
	}
	have.position = p
}

// passOf deals orders to passes.
func passOf(orderID string, passes uint32) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(orderID))
	return h.Sum32() % passes
}

const scanOrders = `SELECT id::text, version, status, position, open_quantities::text, kept_quantities::text, state FROM orders`

// compare compares each state of this pass with its fold.
func (s *verifier) compare(ctx context.Context) error {
	rows, err := s.tx.Query(ctx, scanOrders)
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	var id, status, open string
	var version, p int64
	var kept *string
	var state []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &version, &status, &p, &open, &kept, &state}, func() error {
		if passOf(id, s.passes) == s.pass {
			s.check(id, version, status, p, open, kept, state)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	for id, left := range s.orders {
		s.v.differs(left.position, "order %s is in the log and has no state", id)
	}
	return nil
}

func (s *verifier) check(id string, version int64, status string, p int64, open string, kept *string, state []byte) {
	want, ok := s.orders[id]
	if !ok {
		s.v.differs(p, "order %s has a state and is not in the log", id)
		return
	}
	delete(s.orders, id)
	s.v.Orders++
	s.expect(want.order)
	encoded, err := want.order.Encode()
	switch {
	case err != nil:
		s.v.differs(p, "%v", err)
	case !bytes.Equal(encoded, state):
		s.v.differs(want.position, "the state of order %s is not the fold of its events", id)
	case p != want.position || version != want.order.Version || status != string(want.order.Status) || open != openQuantities(want.order),
		!sameText(kept, keptQuantities(want.order)):
		s.v.differs(want.position, "the row of order %s is not that of its state", id)
	}
}

func sameText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }
