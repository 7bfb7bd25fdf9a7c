package simulation

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/stream"
)

// noHeartbeat is after how long a reader finds out that its consumer is no longer there.
const noHeartbeat = 4 * time.Second

// delivered is a message as a consumer has it.
type delivered struct {
	jetstream.Msg

	position int64
	msg      *nats.Msg
}

// Metadata implements jetstream.Msg.
func (d *delivered) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: uint64(d.position)}}, nil //nolint:gosec // not negative
}

// Data implements jetstream.Msg.
func (d *delivered) Data() []byte { return d.msg.Data }

// Headers implements jetstream.Msg.
func (d *delivered) Headers() nats.Header { return d.msg.Header }

// Subject implements jetstream.Msg.
func (d *delivered) Subject() string { return d.msg.Subject }

// source is where a follower reads the stream.
type source struct {
	p *process
	b *broker
}

// Connected implements stream.Broker.
func (s *source) Connected() bool { return s.b.reachable() }

// Bounds implements stream.Broker.
func (s *source) Bounds(ctx context.Context) (stream.Bounds, error) {
	return stream.BoundsOf(ctx, &js{p: s.p, b: s.b})
}

// Consume implements stream.Broker.
func (s *source) Consume(ctx context.Context, after int64, received func(jetstream.Msg), failed func(error)) (func(), error) {
	if _, ok := s.p.call(ctx, "consume", after); !ok || !s.b.reachable() {
		return nil, nats.ErrTimeout
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.b.stream == nil {
		return nil, jetstream.ErrStreamNotFound
	}
	id := s.b.stream.id
	ctx, stop := context.WithCancel(s.b.w.ctx)
	s.b.w.goes(func() { s.deliver(ctx, id, after+1, received, failed) })
	return stop, nil
}

// deliver sends what comes from a sequence on. A stream that now ends before that has it sent again what comes into it. One that was
// deleted took the consumer with it, and nobody says so.
func (s *source) deliver(ctx context.Context, id int, from int64, received func(jetstream.Msg), failed func(error)) {
	for ctx.Err() == nil {
		s.b.mu.Lock()
		c, changed, up := s.b.stream, s.b.changed, s.b.up
		if c == nil || c.id != id {
			s.b.mu.Unlock()
			if sleep(ctx, noHeartbeat) {
				failed(jetstream.ErrNoHeartbeat)
			}
			return
		}
		from = max(min(from, c.last()+1), c.first)
		var batch []*delivered
		for ; up && from <= c.last(); from++ {
			if m := c.at(from); m != nil {
				batch = append(batch, &delivered{position: from, msg: m})
			}
		}
		s.b.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		f, ok := s.p.call(ctx, "deliver", batch[0].position)
		if !ok {
			failed(nats.ErrConnectionClosed)
			return
		}
		if f.oneIn(8) && from > c.first {
			batch = append(batch, batch[f.below(len(batch))]) // sent again
		}
		for _, m := range batch {
			received(m)
		}
	}
}

// CreateConsumer implements jetstream.JetStream: what compares stream and log fetches by it.
func (j *js) CreateConsumer(ctx context.Context, _ string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	if _, err := j.ask(ctx, "create consumer"); err != nil {
		return nil, err
	}
	j.b.mu.Lock()
	defer j.b.mu.Unlock()
	if j.b.stream == nil {
		return nil, jetstream.ErrStreamNotFound
	}
	return &fetcher{js: j, id: j.b.stream.id, from: int64(cfg.OptStartSeq)}, nil //nolint:gosec // below 2^63
}

type fetcher struct {
	jetstream.Consumer

	js   *js
	id   int
	from int64
}

// Fetch implements jetstream.Consumer.
func (c *fetcher) Fetch(most int, _ ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	if _, err := c.js.ask(c.js.b.w.ctx, "fetch"); err != nil {
		return nil, err
	}
	c.js.b.mu.Lock()
	defer c.js.b.mu.Unlock()
	s := c.js.b.stream
	if s == nil || s.id != c.id {
		return nil, jetstream.ErrConsumerNotFound
	}
	b := &fetched{messages: make(chan jetstream.Msg, most)}
	for ; len(b.messages) < most && c.from <= s.last(); c.from++ {
		if m := s.at(c.from); m != nil {
			b.messages <- &delivered{position: c.from, msg: m}
		}
	}
	close(b.messages)
	return b, nil
}

type fetched struct{ messages chan jetstream.Msg }

// Messages implements jetstream.MessageBatch.
func (b *fetched) Messages() <-chan jetstream.Msg { return b.messages }

// Error implements jetstream.MessageBatch.
func (b *fetched) Error() error { return nil }
