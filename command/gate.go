package command

import (
	"context"
	"time"

	"github.com/orderstore/orderstore/internal/fault"
)

// Gate says whether what the primary acknowledges lasts.
type Gate interface {
	// Safe gives what keeps commands from being taken, nil in good order.
	Safe() error
	// Barrier returns nil once a fail-over does not lose what could be read before the call.
	Barrier(ctx context.Context) error
}

// open is the gate of a primary that nobody watches.
type open struct{}

func (open) Safe() error                   { return nil }
func (open) Barrier(context.Context) error { return nil }

// Pressure says how busy the committer is: 0 when a command is taken at once, 1 where commands are refused for the time that they
// would wait, more when they are stuck.
func (c *Committer) Pressure() float64 {
	return float64(c.queue.expected()) / float64(longestWait)
}

// safe refuses commands while the primary may lose what it acknowledges.
func (c *Committer) safe() error {
	if err := c.gate.Safe(); err != nil {
		return fault.Wrap(err, fault.Unavailable, "orders cannot be stored at the moment").Retry(30 * time.Second)
	}
	return nil
}

// settle ends a round that changed nothing. What it answers with was read, so it has to be where a fail-over does not lose it; one
// barrier does for all of the round. A round with events needs none: its own commit waits for all before it.
func (c *Committer) settle(ctx context.Context, r *round) error {
	if err := c.store.keep(ctx, r); err != nil {
		return err
	}
	return c.gate.Barrier(ctx)
}

// holds says whether the log has this very row where a fail-over does not lose it.
func (c *Committer) holds(ctx context.Context, h head) (bool, error) {
	stored, err := c.store.holds(ctx, h)
	if err != nil || !stored {
		return false, err
	}
	if err := c.gate.Barrier(ctx); err != nil {
		return false, err
	}
	return true, nil
}
