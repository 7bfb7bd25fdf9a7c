// Package auxiliary runs the systems that handle an order's side events. Each reads the log through the stream from a
// position of its own, keeps what it knows in the auxiliary database, and is alone in its failures. It also takes in the
// records that outside systems store about orders.
package auxiliary

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// System is one auxiliary system. What it knows is a fold of the log: it may look at nothing but the events and its own
// tables, so that a rebuild gives the same again.
type System interface {
	// Name is the key of its position, records and effects.
	Name() string
	// Apply writes what a batch changes in the system's own tables and queues its outside effects, in the transaction that
	// moves its position, and maybe those of others. It may be called again where that was not committed, and must leave the
	// events as they are. An error that is not the database's stops the system at the event.
	Apply(ctx context.Context, tx pgx.Tx, batch Batch) error
	// Reset removes what Apply wrote, so that it can be computed again. It leaves the outbox alone.
	Reset(ctx context.Context, tx pgx.Tx) error
}

// Batch is some events in the order of their positions.
type Batch struct {
	Events  []events.Event
	QuietTo int64     // outside effects of events up to here are never made
	Now     time.Time // what the database is told as the time of change
}

// Outward is a system with effects on the outside world. They are made after the commit that queued them, at least once.
type Outward interface {
	System
	// Send makes one effect. It is told of the attempts before, and may be called again for an effect that was made when its
	// answer was lost. See Undeliverable and TargetAway for what its errors say.
	Send(ctx context.Context, effect Effect) error
	// Settled is called in the transaction that notes what became of effects of these orders.
	Settled(ctx context.Context, tx pgx.Tx, orders []string, now time.Time) error
}

// besides is a system with something to do that no event asks for. It ends with ctx and tries again what fails.
type besides interface {
	Beside(ctx context.Context)
}

// Laned is an Outward system whose effects go to several targets. Each channel has senders of its own, so that a target which is
// slow or away keeps only its own effects waiting.
type Laned interface {
	Outward
	Lanes() []Lane
}

// Lane is a channel and how it is sent.
type Lane struct {
	Channel string
	Pace    Pace // zero fields: as the runner's
}

// Source gives the log in order: a stream.Follower.
type Source interface {
	Next(ctx context.Context, limit int) ([]stream.Record, error)
	Close()
}

// Reserved tells whether a name belongs to a system of this project, shipped or planned. An outside system has another.
func Reserved(name string) bool {
	return slices.Contains([]string{NoticesName, "stock", "replenishment", "invoice", "loyalty", "profile"}, name)
}
