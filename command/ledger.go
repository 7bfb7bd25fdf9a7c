package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// Ledger stores rounds in place of the write database. Its errors are those that pgx and package postgres give for what they stand for:
// a head that has moved is code OS001, what is there already code 23505, a commit that nobody answered postgres.ErrOutcomeUnknown. It
// knows no registry, and no results, facts and keys of customers.
type Ledger interface {
	Find(ctx context.Context, w *Wanted) (*Found, error)
	// Append stores all or nothing.
	Append(ctx context.Context, a *Appending) error
	// Lock keeps others from appending until the hold that it gives is released, or its session ends.
	Lock(ctx context.Context) (Head, Hold, error)
}

// Hold appends with the lock, and gives it back.
type Hold interface {
	Append(ctx context.Context, a *Appending) error
	Release(ctx context.Context)
}

// Head is the end of a log.
type Head struct {
	Position int64
	Digest   [32]byte
}

// Reference is the client's own name of an order.
type Reference struct{ Tenant, Channel, External string }

// KeyReference is a client's Idempotency-Key.
type KeyReference struct{ Client, Key string }

// Wanted is what a ledger is asked for.
type Wanted struct {
	Orders     []string // ids
	References []Reference
	Keys       []KeyReference
	DigestAt   int64 // 0: of no position
}

// Found is what it has of that.
type Found struct {
	Head    Head
	Orders  []StoredOrder
	Answers []KeptAnswer
	Digest  *[32]byte // nil: the log has no such position
}

// StoredOrder is an order as a ledger has it.
type StoredOrder struct {
	ID        string
	Reference Reference
	Hash      [sha256.Size]byte
	Position  int64 // of its last event
	Document  []byte
	New       bool // it must not be there yet, neither by its id nor by its reference
}

// KeptAnswer is the first answer under an Idempotency-Key.
type KeptAnswer struct {
	Ref         KeyReference
	Fingerprint [sha256.Size]byte
	Answer      Answer
}

// Appending is one round. A round of answers alone moves nothing, and leaves those that are there as they are.
type Appending struct {
	From, To Head
	Records  []stream.Record
	Orders   []StoredOrder
	Answers  []KeptAnswer
}

var errNotInLedger = errors.New("a ledger does not take this command")

func (s *store) ledgerHead(ctx context.Context) (head, error) {
	found, err := s.ledger.Find(ctx, &Wanted{})
	if err != nil {
		return head{}, fmt.Errorf("read log head: %w", err)
	}
	return head{found.Head.Position, found.Head.Digest}, nil
}

func (s *store) ledgerHolds(ctx context.Context, h head) (bool, error) {
	found, err := s.ledger.Find(ctx, &Wanted{DigestAt: h.position})
	if err != nil {
		return false, fmt.Errorf("read digest: %w", err)
	}
	return found.Digest != nil && *found.Digest == h.digest, nil
}

func (s *store) ledgerLock(ctx context.Context) (*headLock, error) {
	h, hold, err := s.ledger.Lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock log head: %w", err)
	}
	return &headLock{hold: hold, head: head{h.Position, h.Digest}}, nil
}

func (s *store) ledgerLoad(ctx context.Context, w *wants, r *round) error {
	if len(w.orders)+len(w.refs)+len(w.keys) == 0 {
		return nil
	}
	ask := &Wanted{Orders: w.orders}
	for _, ref := range w.refs {
		ask.References = append(ask.References, Reference{ref.tenant, ref.channel, ref.externalRef})
	}
	for _, ref := range w.keys {
		ask.Keys = append(ask.Keys, KeyReference{ref.client, ref.key})
	}
	found, err := s.ledger.Find(ctx, ask)
	if err != nil {
		return fmt.Errorf("load orders: %w", err)
	}
	for i := range found.Orders {
		o := &found.Orders[i]
		if r.orders[o.ID] != nil {
			continue
		}
		order, err := events.DecodeOrder(o.Document)
		if err != nil {
			return fmt.Errorf("load orders: %w", err)
		}
		r.know(&orderState{order: order, hash: o.Hash, encoded: o.Document, position: o.Position, stored: true})
	}
	for _, k := range found.Answers {
		r.answers[keyRef{k.Ref.Client, k.Ref.Key}] = storedAnswer{k.Fingerprint, k.Answer}
	}
	return nil
}

func (s *store) ledgerAppend(ctx context.Context, r *round, p *plan, lock *headLock) error {
	if len(r.tasks)+len(r.posted)+len(r.told)+len(r.entries)+len(r.destroyed)+len(r.sealedUnder) > 0 {
		return errNotInLedger
	}
	a := &Appending{From: Head{p.from.position, p.from.digest}, To: Head{p.to.position, p.to.digest}, Records: p.recent(), Answers: keptAnswers(r)}
	for _, state := range r.touched {
		o := state.order
		a.Orders = append(a.Orders, StoredOrder{
			ID: o.ID, Reference: Reference{o.Tenant, o.Channel, o.ExternalRef}, Hash: state.hash, Position: state.position,
			Document: state.encoded, New: !state.stored,
		})
	}
	if lock != nil {
		return lock.hold.Append(ctx, a)
	}
	return s.ledger.Append(ctx, a)
}

func (s *store) ledgerKeep(ctx context.Context, r *round) error {
	if len(r.kept) == 0 {
		return nil
	}
	return s.ledger.Append(ctx, &Appending{Answers: keptAnswers(r)})
}

func keptAnswers(r *round) []KeptAnswer {
	var all []KeptAnswer
	for _, k := range r.kept {
		all = append(all, KeptAnswer{KeyReference{k.key.Client, k.key.Key}, k.key.Fingerprint, k.answer})
	}
	return all
}
