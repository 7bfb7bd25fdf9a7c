package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	natsPull     = 100                    // events asked for at a time; below what a consumer lets be unacknowledged
	natsIdle     = 2 * time.Second        // silence after which the consumer is asked whether something was lost on the way
	natsLook     = 100 * time.Millisecond // between looks for the consumer that the store makes
	natsMadeIn   = 30 * time.Second       // for the store to make a consumer
	natsVersion  = "orderstore-version"   // metadata of a consumer: the version of the subscription that it is made for
	natsTimeout  = 5 * time.Second        // to connect, and for one question
	natsFlushing = time.Second            // for acknowledgements to leave at the end
)

var (
	// errBroker is what is in the way between the client and the broker. It passes, or the store says why not.
	errBroker = errors.New("receive from the broker")
	// errLost says that deliveries were lost on the way, or that a reader before this one left some unacknowledged.
	errLost = errors.New("deliveries were lost")
)

// consumer is a subscription's consumer on the broker, as one session reads it.
type consumer struct {
	*reading
	conn *nats.Conn
	pull jetstream.Consumer
	next uint64 // the consumer's own number of the next delivery

	doubtful bool // at the last look something seemed to be lost

	mu      sync.Mutex
	pending []jetstream.Msg // handed on and not acknowledged, in order
}

// nats reads the subscription's consumer until something is in the way.
func (s *reading) nats(ctx context.Context) (bool, error) {
	if s.subscription.NATS == nil {
		return true, fmt.Errorf("%w: the store does not say where it is read", ErrTransport)
	}
	conn, err := s.client.connectNATS(ctx, s.subscription.NATS.Inbox)
	if err != nil {
		return true, s.locked(err)
	}
	s.refused = time.Time{}
	defer conn.Close()
	r := &consumer{reading: s, conn: conn}
	defer r.flush(ctx)
	if err := r.open(ctx); err != nil {
		return true, err
	}
	more, err := r.read(ctx)
	if errors.Is(err, errLost) {
		return true, fmt.Errorf("%w: %w", errBroker, err)
	}
	return more, err
}

// locked judges an error of connecting. Who is let in nowhere for as long as a call may take is told so.
func (s *reading) locked(err error) error {
	now := s.client.now()
	if !errors.Is(err, nats.ErrAuthorization) {
		s.refused = time.Time{}
	} else if s.refused.IsZero() {
		s.refused = now
	}
	if !s.refused.IsZero() && now.Sub(s.refused) > s.client.retryFor {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	return fmt.Errorf("%w: %w", errBroker, err)
}

// open finds the consumer, and has it put back where deliveries of it may be on their way to a reader that is gone: the broker would bring
// them again when their time is up, behind newer ones.
func (r *consumer) open(ctx context.Context) error {
	js, err := jetstream.New(r.conn)
	if err != nil {
		return fmt.Errorf("receive from the broker: %w", err)
	}
	info, err := r.made(ctx, js)
	if err != nil {
		return err
	}
	if info.NumAckPending > 0 {
		if err := r.back(ctx); err != nil {
			return err
		}
		if info, err = r.made(ctx, js); err != nil {
			return err
		}
	}
	r.next = info.Delivered.Consumer + 1
	return nil
}

// made waits for the consumer of the subscription as it is. The store makes it within a second or so.
func (r *consumer) made(ctx context.Context, js jetstream.JetStream) (*jetstream.ConsumerInfo, error) {
	at, want := r.subscription.NATS, strconv.FormatInt(r.subscription.Version, 10)
	within, cancel := context.WithTimeout(ctx, natsMadeIn)
	defer cancel()
	for {
		found, err := js.Consumer(within, at.Stream, at.Consumer)
		if err == nil && found.CachedInfo().Config.Metadata[natsVersion] == want {
			r.pull = found
			return found.CachedInfo(), nil
		}
		if stopped := r.client.wait(within, natsLook); stopped != nil {
			return nil, fmt.Errorf("%w: consumer %s of version %s: %w", errBroker, at.Consumer, want, errors.Join(err, stopped))
		}
	}
}

// back has the store put the consumer back to where the loop is done.
func (r *consumer) back(ctx context.Context) error {
	if err := r.acks.store(ctx); err != nil {
		return err
	}
	now, err := r.client.SeekSubscription(ctx, r.id, From{Position: r.acks.position()}, IfVersion(r.subscription.Version))
	if HasCode(err, CodeVersion) {
		return fmt.Errorf("%w: %w", errMoved, err)
	}
	if err != nil {
		return err
	}
	r.subscription = now
	r.acks.moved(now.Version)
	return nil
}

func (r *consumer) read(ctx context.Context) (bool, error) {
	messages, err := r.pull.Messages(jetstream.PullMaxMessages(natsPull))
	if err != nil {
		return true, fmt.Errorf("%w: %w", errBroker, err)
	}
	defer messages.Stop()
	for {
		m, err := r.message(ctx, messages)
		if err != nil {
			return true, err
		}
		if m == nil {
			continue
		}
		if more, err := r.take(ctx, m); !more || err != nil {
			return more, err
		}
	}
}

// message waits for the next one; nil where there is none yet.
func (r *consumer) message(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	within, cancel := context.WithTimeout(ctx, natsIdle)
	defer cancel()
	m, err := messages.Next(jetstream.NextContext(within))
	switch {
	case err == nil:
		r.doubtful = false
		return m, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, r.complete(ctx)
	}
	return nil, fmt.Errorf("%w: %w", errBroker, err)
}

// complete looks, while nothing comes, whether all that the broker delivered has come, and whether it can be heard at all.
func (r *consumer) complete(ctx context.Context) error {
	info, err := r.pull.Info(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errBroker, err)
	}
	if info.Config.Metadata[natsVersion] != strconv.FormatInt(r.subscription.Version, 10) {
		return errMoved
	}
	// What is on its way at this moment looks lost too, until it has come.
	doubtful := info.Delivered.Consumer >= r.next || info.NumWaiting == 0
	if doubtful && r.doubtful {
		return errLost
	}
	r.doubtful = doubtful
	return nil
}

// take hands a message on, unless it came before.
func (r *consumer) take(ctx context.Context, m jetstream.Msg) (bool, error) {
	meta, err := m.Metadata()
	if err != nil {
		return true, fmt.Errorf("%w: %w", errBroker, err)
	}
	if meta.Sequence.Consumer != r.next && meta.Sequence.Consumer != 1 {
		return true, fmt.Errorf("%w: delivery %d came where %d was due", errLost, meta.Sequence.Consumer, r.next)
	}
	// A consumer that was made anew begins at the position that is stored.
	r.next = meta.Sequence.Consumer + 1
	event, err := eventOf(m)
	if err != nil {
		return true, &lasting{err}
	}
	if event.Position <= r.last {
		r.again(m, event.Position)
		return true, nil
	}
	if err := r.withOrder(ctx, &event); err != nil {
		return true, err
	}
	r.keep(m)
	return r.hand(&Received{Event: event}, func() { r.settle(event.Position) }), nil
}

func (r *consumer) keep(m jetstream.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, m)
}

// again deals with a message that came before: dealt with, it is acknowledged; else it waits as it did.
func (r *consumer) again(m jetstream.Msg, position int64) {
	if position <= r.acks.position() || !r.options.manual {
		_ = m.Ack() // what is lost comes again
	}
}

// settle acknowledges what was handed on up to a position. To the broker that is a hint: the position that the store keeps is what counts.
func (r *consumer) settle(position int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.pending[:0]
	for _, m := range r.pending {
		if at, err := m.Metadata(); err == nil && int64(at.Sequence.Stream) <= position { //nolint:gosec // a position
			_ = m.Ack() // what is lost comes again
			continue
		}
		kept = append(kept, m)
	}
	clear(r.pending[len(kept):])
	r.pending = kept
}

// flush lets acknowledgements leave.
func (r *consumer) flush(ctx context.Context) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), natsFlushing)
	defer cancel()
	_ = r.conn.FlushWithContext(within) // what is lost comes again
}
