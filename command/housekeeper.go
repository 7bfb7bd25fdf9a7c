package command

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/orderstore/orderstore/internal/fault"
)

const (
	roomAhead  = 20_000_000       // positions for which the log has partitions ready
	houseEvery = 10 * time.Second // between looks at the log's room
	dropEvery  = time.Hour        // between deletions of old answers
	offerPage  = 500              // waiting orders read at once
)

// Housekeeper does what the write side needs beside commands: it keeps room in the log, forgets old answers, and offers orders
// that nobody could take once the registry has changed.
type Housekeeper struct {
	committer *Committer
	logger    *slog.Logger
	now       func() time.Time
	due       bool // orders wait to be offered
}

// NewHousekeeper makes the housekeeper of a committer.
func NewHousekeeper(c *Committer) *Housekeeper {
	return &Housekeeper{committer: c, logger: c.logger, now: c.now, due: true}
}

// Name names the worker.
func (h *Housekeeper) Name() string { return "housekeeper" }

// Run works until ctx ends. Trouble is logged and tried again.
func (h *Housekeeper) Run(ctx context.Context) error {
	house, drop := time.NewTicker(houseEvery), time.NewTicker(dropEvery)
	defer house.Stop()
	defer drop.Stop()
	h.try(ctx, "extend the log", h.extend)
	h.offerDue(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-house.C:
			h.try(ctx, "extend the log", h.extend)
			h.offerDue(ctx)
		case <-drop.C:
			h.try(ctx, "forget answers", h.forget)
		case <-h.committer.changed:
			h.due = true
			h.offerDue(ctx)
		}
	}
}

// try says whether it was done.
func (h *Housekeeper) try(ctx context.Context, what string, do func(context.Context) error) bool {
	err := do(ctx)
	if err != nil && ctx.Err() == nil {
		h.logger.WarnContext(ctx, "housekeeping is put off", "task", what, "cause", err)
	}
	return err == nil
}

// offerDue offers what waits, if there may be something. It stays due until it was done.
func (h *Housekeeper) offerDue(ctx context.Context) {
	if h.due {
		h.due = !h.try(ctx, "offer waiting orders", h.offer)
	}
}

func (h *Housekeeper) extend(ctx context.Context) error {
	end, err := h.committer.store.head(ctx)
	if err != nil {
		return err
	}
	return h.committer.store.extend(ctx, end.position+roomAhead)
}

func (h *Housekeeper) forget(ctx context.Context) error {
	return h.committer.store.forget(ctx, h.now().Add(-KeepAnswers))
}

// offer goes once through the orders that wait for a provider now. Many are submitted at once, so that they share commits; where the
// queue is full they wait for room.
func (h *Housekeeper) offer(ctx context.Context) error {
	after := int64(0)
	for {
		page, err := h.committer.store.waiting(ctx, after, offerPage)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].position
		if err := h.offerAll(ctx, page); err != nil {
			return err
		}
	}
}

func (h *Housekeeper) offerAll(ctx context.Context, page []waitingOrder) error {
	failed := make(chan error, len(page))
	for _, order := range page {
		go func() {
			_, err := h.committer.SubmitWaiting(ctx, &OfferOrder{OrderID: order.id})
			failed <- err
		}()
	}
	var all error
	for range page {
		if err := <-failed; err != nil && fault.CodeOf(err) != fault.NotFound {
			all = errors.Join(all, err)
		}
	}
	return all
}
