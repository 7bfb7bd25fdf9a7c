package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"
)

// Received is an event as a subscription brought it.
type Received struct {
	Event

	ack func(context.Context) error
}

// Ack says that this event and all before it are dealt with, without waiting for the loop; on a webhook, that this one is.
func (d *Received) Ack(ctx context.Context) error { return d.ack(ctx) }

// ManualAck leaves it to the loop to call Received.Ack. What was not acknowledged comes again after a restart; on a webhook, when the store
// tries again.
func ManualAck() EventOption { return func(o *eventOptions) { o.manual = true } }

// AckEvery sets after how many events, and after how long at the latest, the position is stored of what was dealt with: 100 events or a
// second unless set. It is how many events may come again after a crash.
func AckEvery(events int, within time.Duration) EventOption {
	return func(o *eventOptions) { o.ackEvery, o.ackWithin = max(events, 1), within }
}

// ThroughWebhook names the receiver that hears what the store sends. A webhook subscription needs one.
func ThroughWebhook(w *WebhookReceiver) EventOption { return func(o *eventOptions) { o.webhook = w } }

const (
	defaultAckEvery  = 100
	defaultAckWithin = time.Second
	lastAckWithin    = 5 * time.Second // for the position to be stored when the loop is over
	behindWait       = time.Second     // for more of what the broker no longer has
)

// ErrTransport says that a subscription cannot be received in the way it was asked for.
var ErrTransport = errors.New("the subscription is of another transport")

// Subscribe receives what a subscription brings, over whatever transport it has, for as long as ctx lives, and begins where its party is.
// It is the same loop for all of them:
//
//   - Each event comes at least once. One that came already in this loop does not come again, unless the subscription is moved back.
//   - Over feed, SSE and NATS events come in the order of their positions; by webhook in the order of each order, and an event comes
//     later than others that was not dealt with at first.
//   - When the loop's body is done with an event, it is acknowledged: the store keeps the position, so that the next loop, in this program or
//     another one, goes on behind it. The event in whose body the loop is left is not acknowledged, since nobody can tell whether that was
//     for a failure; call its Ack before leaving the loop if it was dealt with.
//   - A broken connection, a store that is away and a subscription that is paused or disabled are waited out. What cannot be waited
//     out ends the loop with its error, and so does the end of ctx.
//
// A subscription has one reader at a time. Two get events twice. The options that say what is wanted are for Events: here the
// subscription says it, and WithOrders pulls the orders of a transport that brings none.
func (c *Client) Subscribe(ctx context.Context, id string, options ...EventOption) iter.Seq2[*Received, error] {
	return func(yield func(*Received, error) bool) {
		s := &reading{client: c, id: id, options: newEventOptions(options), yield: yield}
		s.options.request.Types, s.options.request.BusinessTypes = nil, nil
		for failures := 0; ; failures++ {
			before := s.given
			more, err := s.once(ctx)
			if !more {
				return
			}
			if s.given > before {
				failures = 0
			}
			if err = s.waitOut(ctx, err, failures); err != nil {
				yield(nil, fmt.Errorf("subscription %s: %w", id, err))
				return
			}
		}
	}
}

// reading is a subscription that is being read.
type reading struct {
	client  *Client
	id      string
	options eventOptions
	yield   func(*Received, error) bool

	subscription Subscription
	given        int       // deliveries so far
	last         int64     // what comes after this position is new
	refused      time.Time // since when the broker lets nobody in; zero: it does
	acks         *acknowledger
}

var (
	// errMoved ends a reading whose subscription was changed meanwhile: it begins anew.
	errMoved = errors.New("the subscription was changed")
	// errPaused ends a reading whose subscription is not active.
	errPaused = errors.New("the subscription is not active")
)

// waitOut pauses after what may pass by itself, and returns any other error.
func (s *reading) waitOut(ctx context.Context, err error, failures int) error {
	switch {
	case ctx.Err() != nil:
		return ended(ctx.Err(), err)
	case errors.Is(err, errMoved):
		return nil
	case errors.Is(err, errPaused), errors.Is(err, errBroker):
		d := pause(failures, 0)
		s.client.log.WarnContext(ctx, "subscription is asked for again", slog.String("subscription", s.id), slog.Duration("after", d), slog.Any("cause", err))
		return s.client.wait(ctx, d)
	}
	return s.client.waitOut(ctx, err, failures)
}

// once reads from where the party is until something is in the way. It returns false when the caller wants no more.
func (s *reading) once(ctx context.Context) (bool, error) {
	now, err := s.client.GetSubscription(ctx, s.id)
	if err != nil {
		return true, err
	}
	s.last = max(s.last, now.Position)
	if now.Version != s.subscription.Version {
		s.last = now.Position // it may have been moved: what the store says counts
	}
	s.subscription = now
	if now.Status != SubscriptionActive {
		return true, fmt.Errorf("%w: it is %s %s", errPaused, now.Status, now.Reason)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.acks = acknowledge(ctx, s, stop)
	defer s.acks.close(context.WithoutCancel(ctx))
	var more bool
	switch now.Transport {
	case TransportFeed:
		more, err = s.pages(ctx)
	case TransportSSE:
		more, err = s.stream(ctx)
	case TransportNATS:
		if now.Reason == "" {
			more, err = s.nats(ctx)
		} else {
			more, err = s.behind(ctx)
		}
	case TransportWebhook:
		more, err = s.calls(ctx)
	default:
		return true, fmt.Errorf("%w: %s", ErrTransport, now.Transport)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ctx.Err()) {
		err = cause // why the position could not be stored
	}
	return more, s.judge(ctx, err)
}

// judge finds out what a conflict is about: a subscription that is not active is refused as one.
func (s *reading) judge(ctx context.Context, err error) error {
	if !HasCode(err, CodeConflict) {
		return err
	}
	now, getErr := s.client.GetSubscription(ctx, s.id)
	if getErr == nil && (now.Status != SubscriptionActive || now.Version != s.subscription.Version) {
		return fmt.Errorf("%w: %w", errPaused, err)
	}
	return err
}

// pages reads the feed.
func (s *reading) pages(ctx context.Context) (bool, error) {
	r := s.request()
	for {
		more, err := s.client.receivePage(ctx, r, func(e Event) bool { return s.hand(&Received{Event: e}, nil) })
		if !more || err != nil {
			return more, err
		}
		// Nothing of the party's is missing up to there: what was skipped need not be looked through again.
		s.done(r.After, 0)
	}
}

// behind reads from the feed what the broker no longer has, as the store asks for by the reason of an active subscription.
func (s *reading) behind(ctx context.Context) (bool, error) {
	r := s.request()
	r.Subscription, r.Types, r.BusinessTypes, r.Wait = "", s.subscription.Types, s.subscription.BusinessTypes, behindWait
	for {
		before := r.After
		more, err := s.client.receivePage(ctx, r, func(e Event) bool { return s.hand(&Received{Event: e}, nil) })
		if !more || err != nil {
			return more, err
		}
		s.done(r.After, 0)
		if r.After == before {
			return true, errMoved // to the broker
		}
	}
}

// stream reads server-sent events.
func (s *reading) stream(ctx context.Context) (bool, error) {
	return s.client.receiveStream(ctx, s.request(), func(e Event) bool { return s.hand(&Received{Event: e}, nil) })
}

func (s *reading) request() *FeedRequest {
	r := s.options.request
	r.Subscription, r.After, r.Start = s.id, s.last, nil
	return &r
}

// hand gives the loop an event of a transport that keeps order, and notes that it is dealt with when the loop's body is done. settle, where
// there is one, tells the transport. It returns false when the caller wants no more.
func (s *reading) hand(d *Received, settle func()) bool {
	s.given++
	s.last = d.Position
	acks := s.acks
	d.ack = func(ctx context.Context) error {
		if settle != nil {
			settle()
		}
		return acks.now(ctx, d.Position)
	}
	if !s.yield(d, nil) {
		return false
	}
	if !s.options.manual && settle != nil {
		settle()
	}
	s.done(d.Position, 1)
	return true
}

// done notes that the loop has dealt with all up to a position.
func (s *reading) done(position int64, events int) {
	if s.options.manual {
		return
	}
	s.acks.note(position, events)
}

// withOrder pulls the order of an event that came without it, where orders are wanted. One that cannot be read, such as that of a person who
// was forgotten, is left out.
func (s *reading) withOrder(ctx context.Context, e *Event) error {
	if len(e.Data) > 0 || e.Subject == "" || !s.options.request.IncludeOrder && s.subscription.Include == "" {
		return nil
	}
	data, err := s.client.pull(ctx, e)
	if err != nil && !HasCode(err, CodeNotFound) {
		return err
	}
	e.Data = data
	return nil
}
