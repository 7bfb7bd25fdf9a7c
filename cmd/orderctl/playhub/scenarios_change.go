package playhub

import (
	"context"
	"fmt"
	"time"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
)

// change is something that the user does to an order while the provider is at it.
type change struct {
	done    bool
	err     error
	version int64 // of the order, after it
}

// cancel cancels an order as the user.
func (s *stage) cancel(ctx context.Context, order string, c *change) {
	changed, err := s.user.CancelOrder(ctx, order, client.AnyVersion, client.CancelReason{Reason: "conformance"})
	s.note(c, changed.Version, err)
}

// amend asks for three more of each line, as the user.
func (s *stage) amend(ctx context.Context, order string, c *change) {
	var lines []client.LineSubmission
	s.look(func() {
		for _, line := range s.order(order).Lines {
			lines = append(lines, client.LineSubmission{
				LineID: line.LineID, SKU: line.SKU, Name: line.Name, Quantity: line.Quantity + 3, UnitPrice: line.UnitPrice,
				Discount: line.Discount, Tax: line.Tax,
			})
		}
	})
	changed, err := s.user.AmendOrder(ctx, order, client.AnyVersion, client.Amendment{Lines: lines})
	s.note(c, changed.Version, err)
}

func (s *stage) note(c *change, version int64, err error) {
	s.look(func() {
		c.done, c.version, c.err = true, version, err
		s.change()
	})
}

// trouble is what a change met.
func (s *stage) trouble(c *change) (err error) {
	s.look(func() { err = c.err })
	return err
}

// playLateCancel cancels the order between the provider's acceptance and the answer to it.
func playLateCancel(ctx context.Context, s *stage) (judge, error) {
	var cancelled change
	asked := false
	order, err := s.place(ctx, "late-cancel", nil, func(x *exchange) verdict {
		if asked || x.action != string(events.ActionAccept) {
			return verdict{}
		}
		asked = true
		return verdict{after: func() { s.cancel(ctx, x.order, &cancelled) }}
	})
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool {
		status := s.task(order.ID).Status
		return cancelled.done && (!status.Open()) || !asked && s.completed(order.ID)
	})
	direct, trouble := false, error(nil)
	s.look(func() { direct, trouble = !asked, cancelled.err })
	if direct && inTime {
		return skipped("the provider posts its result without accepting first: it cannot be cancelled in between"), nil
	}
	if trouble != nil {
		return nil, fmt.Errorf("cancel: %w", trouble)
	}
	return func() finding {
		task := s.task(order.ID)
		f := finding{ok: inTime && !task.Status.Open()}
		f.seen = fmt.Sprintf("task %s, %s", task.Status, s.became(order.ID))
		return f
	}, nil
}

// playCancelled cancels the order when the provider is about to work on it.
func playCancelled(ctx context.Context, s *stage) (judge, error) {
	var cancelled change
	asked := false
	order, err := s.place(ctx, "cancelled", nil, func(x *exchange) verdict {
		if asked {
			return verdict{}
		}
		asked = true
		return verdict{before: func() { s.cancel(ctx, x.order, &cancelled) }}
	})
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.answered(order.ID) > 0 })
	if err := s.trouble(&cancelled); err != nil {
		return nil, fmt.Errorf("cancel: %w", err)
	}
	return func() finding {
		story := s.story(order.ID)
		return finding{ok: inTime && len(story) == 1, seen: s.became(order.ID)}
	}, nil
}

// playAmended changes the order when the provider is about to work on it: its task is taken back and another one is offered.
func playAmended(ctx context.Context, s *stage) (judge, error) {
	var amended change
	asked := false
	order, err := s.place(ctx, "amended", nil, func(x *exchange) verdict {
		if asked {
			return verdict{}
		}
		asked = true
		return verdict{before: func() { s.amend(ctx, x.order, &amended) }}
	})
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.completed(order.ID) })
	if err := s.trouble(&amended); err != nil {
		return nil, fmt.Errorf("amend: %w", err)
	}
	return func() finding {
		f := finding{ok: inTime && s.completed(order.ID)}
		old, first := s.task(order.ID).ID, time.Time{}
		for i, x := range s.results(order.ID) {
			switch {
			case x.task != old && first.IsZero():
				first = x.at
			case x.task == old && i > 0:
				f.ok = false // it went on with what was taken back
			}
			f.ok = f.ok && (x.task == old || !x.refused())
		}
		fulfilled, ordered := tally(s.order(order.ID))
		f.ok = f.ok && fulfilled == ordered
		f.seen = fmt.Sprintf("%d of the new %d units fulfilled; %s", fulfilled, ordered, s.became(order.ID))
		if !s.pulled(order.ID, amended.version, first) {
			f.ok = false
			f.seen = fmt.Sprintf("version %d not pulled before the result; %s", amended.version, f.seen)
		}
		return f
	}, nil
}

// pulled says whether the provider was given this version of an order, or a later one, before a time. The lock is held.
func (h *hub) pulled(order string, version int64, before time.Time) bool {
	for _, p := range h.pulls {
		if p.order == order && p.version >= version && p.at.Before(before) {
			return true
		}
	}
	return false
}

// playUnknown tells of what no contract names.
func playUnknown(ctx context.Context, s *stage) (judge, error) {
	s.look(func() { s.oddNext = true })
	order, err := s.place(ctx, "unknown", nil, nil)
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.completed(order.ID) })
	return func() finding {
		f := s.worked(order.ID, inTime)
		f.seen = fmt.Sprintf("with an event %s and unknown members in every answer: %s", unknownType, f.seen)
		return f
	}, nil
}

// playRestart kills the provider in the middle of a task, orders something else while it is away, and starts it again.
func playRestart(ctx context.Context, s *stage) (judge, error) {
	killed := false
	first, err := s.place(ctx, "restart", nil, func(*exchange) verdict {
		if killed {
			return verdict{}
		}
		return verdict{cut: true, after: func() {
			s.program.kill()
			s.look(func() { killed = true; s.change() })
		}}
	})
	if err != nil {
		return nil, err
	}
	if !s.wait(ctx, func() bool { return killed }) {
		return func() finding {
			return finding{seen: "the provider did not begin with its task; " + s.became(first.ID)}
		}, nil
	}
	second, err := s.place(ctx, "meanwhile", nil, nil)
	if err != nil {
		return nil, err
	}
	s.look(func() {
		s.restarted, s.settled = s.now(), map[string]bool{}
		for id := range s.documents {
			s.settled[id] = id != first.ID && id != second.ID
		}
	})
	if err := s.program.start(ctx); err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.completed(first.ID) && s.completed(second.ID) })
	return func() finding {
		f, other := s.worked(first.ID, inTime), s.worked(second.ID, inTime)
		f.ok = f.ok && other.ok
		f.seen = fmt.Sprintf("killed and started again; %s; placed meanwhile, %s", f.seen, other.seen)
		if twice := s.repeated(); len(twice) > 0 {
			f.ok = false
			f.seen = fmt.Sprintf("tasks of before worked on again: %s; %s", said(twice), f.seen)
		}
		return f
	}, nil
}

// repeated lists the results that came after the restart for orders of before, and were not what had been posted already. The lock is
// held.
func (h *hub) repeated() []*exchange {
	var all []*exchange
	for _, x := range h.exchanges {
		if h.repeats(x) && x.action == string(events.ActionResult) && !x.replayed {
			all = append(all, x)
		}
	}
	return all
}
