package playhub

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/webhook"
)

func hookScenarios() []scenario {
	needed := func(s *stage) string {
		if s.hooks == nil {
			return "no webhook URL was given"
		}
		return ""
	}
	return []scenario{
		{
			name: "forged-webhook", play: playForged, skip: needed,
			contract: "A delivery whose signature is not right is refused; one whose signature is right is answered 2xx.",
			expected: "4xx for the forged delivery, 2xx for the right one, and the order completed",
		},
		{
			name: "out-of-order", play: playDisorder, skip: needed,
			contract: "What counts is the order as it is pulled: a notice that comes late, or after a later one, takes nothing back.",
			expected: "the amended order completed, and no result for the cancelled one",
		},
	}
}

// playForged delivers an offer with somebody else's signature first.
func playForged(ctx context.Context, s *stage) (judge, error) {
	s.hooks.hold()
	defer s.hooks.release()
	order, err := s.place(ctx, "forged", nil, nil)
	if err != nil {
		return nil, err
	}
	var offer events.Notice
	s.look(func() { offer = s.addressed(order.ID)[0] })
	forged := s.hooks.forge(ctx, offer)
	right := s.hooks.deliver(ctx, offer)
	inTime := s.wait(ctx, func() bool { return s.completed(order.ID) })
	return func() finding {
		f := s.worked(order.ID, inTime)
		f.ok = f.ok && forged.Status >= 400 && forged.Status < 500 && right.Kind == webhook.Delivered
		f.seen = fmt.Sprintf("forged delivery: %s, right one: %s; %s", answeredBy(forged), answeredBy(right), f.seen)
		return f
	}, nil
}

// playDisorder delivers what was told of two orders in the reverse order: of one that was amended, and of one that was cancelled.
func playDisorder(ctx context.Context, s *stage) (judge, error) {
	s.hooks.hold()
	defer s.hooks.release()
	amended, err := s.place(ctx, "amended-late", nil, nil)
	if err != nil {
		return nil, err
	}
	cancelled, err := s.place(ctx, "cancelled-late", nil, nil)
	if err != nil {
		return nil, err
	}
	_, err = s.user.AmendOrder(ctx, amended.ID, client.AnyVersion, client.Amendment{Attributes: &client.Object{"conformance": "amended"}})
	if err == nil {
		_, err = s.user.CancelOrder(ctx, cancelled.ID, client.AnyVersion, client.CancelReason{Reason: "conformance"})
	}
	var p *client.Problem
	if errors.As(err, &p) && p.Code == client.CodeOrderState {
		return skipped("the provider also listens elsewhere, and was done before it was told by webhook"), nil
	}
	if err != nil {
		return nil, err
	}
	for _, id := range []string{cancelled.ID, amended.ID} {
		var told []events.Notice
		s.look(func() { told = s.addressed(id) })
		slices.Reverse(told)
		for _, n := range told {
			s.hooks.deliver(ctx, n)
		}
	}
	inTime := s.wait(ctx, func() bool { return s.completed(amended.ID) })
	return func() finding {
		f := s.worked(amended.ID, inTime)
		f.ok = f.ok && len(s.results(cancelled.ID)) == 0
		f.seen = fmt.Sprintf("amended %s; cancelled %s", f.seen, s.became(cancelled.ID))
		return f
	}, nil
}
