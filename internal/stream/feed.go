package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	feedBuffer     = 4096             // messages on their way from the broker to the reader
	pullExpiry     = 10 * time.Second // how long one pull request lives at the broker
	pullHeartbeat  = 2 * time.Second  // a broker silent for twice this long counts as away
	consumerIdle   = 30 * time.Second // after which the broker forgets a consumer nobody reads
	consumerWithin = 5 * time.Second  // for the broker to answer
)

var (
	// errNotInStream says that the next message of the stream is not the next position.
	errNotInStream = errors.New("the stream does not hold the next position")
	// errRefilling says that the stream ends far before the reader: a consumer would be sent all over again what comes into it.
	errRefilling = errors.New("the stream is being filled again")
)

// Broker is where the stream is read.
type Broker interface {
	// Connected says whether it is worth asking.
	Connected() bool
	Bounds(ctx context.Context) (Bounds, error)
	// Consume has received called, from one goroutine, with what comes after a position, and failed with what goes wrong, until it is
	// stopped. Nothing is acknowledged.
	Consume(ctx context.Context, after int64, received func(jetstream.Msg), failed func(error)) (stop func(), err error)
}

// jetStreamBroker reads by a pull consumer.
type jetStreamBroker struct{ js jetstream.JetStream }

// Connected implements Broker.
func (b jetStreamBroker) Connected() bool { return b.js.Conn().IsConnected() }

// Bounds implements Broker.
func (b jetStreamBroker) Bounds(ctx context.Context) (Bounds, error) { return BoundsOf(ctx, b.js) }

// Consume implements Broker.
func (b jetStreamBroker) Consume(ctx context.Context, after int64, received func(jetstream.Msg), failed func(error)) (func(), error) {
	consumer, err := b.js.CreateConsumer(ctx, Name, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(after + 1), //nolint:gosec // positions are never negative
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: consumerIdle,
	})
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	consume, err := consumer.Consume(received, jetstream.PullMaxMessages(feedBuffer), jetstream.PullExpiry(pullExpiry),
		jetstream.PullHeartbeat(pullHeartbeat), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { failed(err) }))
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	return consume.Stop, nil
}

// feed is one consumer at the broker and what it has sent that was not taken yet. It acknowledges nothing: the reader's own
// database knows how far it is.
type feed struct {
	messages chan jetstream.Msg
	failed   chan error
	done     chan struct{}
	end      func()
}

// openFeed makes a consumer of what comes after a position. A reader that may read the log instead keeps away from a stream that is
// being filled again.
func openFeed(ctx context.Context, broker Broker, after int64, hasLog bool) (*feed, error) {
	ctx, cancel := context.WithTimeout(ctx, consumerWithin)
	defer cancel()
	bounds, err := broker.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	if bounds.First > after+1 {
		return nil, errNotInStream
	}
	if hasLog && bounds.Last+feedBuffer < after {
		return nil, errRefilling
	}
	f := &feed{
		messages: make(chan jetstream.Msg, feedBuffer),
		failed:   make(chan error, 1),
		done:     make(chan struct{}),
	}
	if f.end, err = broker.Consume(ctx, after, f.receive, f.fail); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *feed) receive(msg jetstream.Msg) {
	select {
	case f.messages <- msg:
	case <-f.done:
	}
}

func (f *feed) fail(err error) {
	select {
	case f.failed <- err:
	default:
	}
}

func (f *feed) stop() {
	close(f.done)
	f.end()
}

// readStream takes what the stream has sent, after waiting for one message at most idleWait long. No records and no error
// means that nothing came.
func (f *Follower) readStream(ctx context.Context, limit int) ([]Record, error) {
	if !f.cfg.Broker.Connected() {
		return nil, nats.ErrDisconnected // the consumer would say so only after a while without a heartbeat
	}
	if f.feed == nil {
		feed, err := openFeed(ctx, f.cfg.Broker, f.position, f.cfg.Log != nil)
		if err != nil {
			return nil, err
		}
		f.feed = feed
	}
	timer := time.NewTimer(idleWait)
	defer timer.Stop()
	for { // what the broker sends again, or after memory gave it, is no news
		own, appended := f.appended(limit)
		if len(own) > 0 {
			f.ours(own)
			return own, nil
		}
		select {
		case msg := <-f.feed.messages:
			if records, err := f.take(msg, limit); len(records) > 0 || err != nil {
				f.own = 0
				return records, err
			}
		case <-appended:
		case err := <-f.feed.failed:
			return nil, fmt.Errorf("consumer: %w", err)
		case <-ctx.Done():
			return nil, nil
		case <-timer.C:
			return nil, nil
		}
	}
}

// appended gives what this process has appended meanwhile, and a channel that is closed when it has appended more.
func (f *Follower) appended(limit int) ([]Record, <-chan struct{}) {
	if f.cfg.Recent == nil {
		return nil, nil
	}
	changed := f.cfg.Recent.Changed()
	return f.cfg.Recent.Following(f.position, f.digest, limit), changed
}

// take gathers the messages that are there, as long as each is the next position.
func (f *Follower) take(msg jetstream.Msg, limit int) ([]Record, error) {
	var records []Record
	position, digest := f.position, f.digest
	for {
		r, err := RecordOf(msg)
		switch {
		case err != nil && !errors.Is(err, ErrDiverged):
			return records, err
		case r.Position <= position:
			// Seen before: the stream was cut and filled again.
		case !f.known(&r, digest) && !r.follows(position, digest):
			return records, f.skipTo(r.Position)
		default:
			records = append(records, r)
			position, digest = r.Position, r.Digest
		}
		if len(records) >= limit {
			return records, nil
		}
		select {
		case msg = <-f.feed.messages:
		default:
			return records, nil
		}
	}
}

// known takes over from this process's own memory what was read, if it is that.
func (f *Follower) known(r *Record, previous [32]byte) bool {
	if f.cfg.Recent == nil {
		return false
	}
	own, ok := f.cfg.Recent.Recognise(r, previous)
	if ok {
		*r = own
	}
	return ok
}

// skipTo gives up the consumer: what follows is read from the log, which is the truth where the stream has a hole or holds
// what is not in the log.
func (f *Follower) skipTo(position int64) error {
	f.Close()
	return fmt.Errorf("after %d came %d: %w", f.position, position, errNotInStream)
}
