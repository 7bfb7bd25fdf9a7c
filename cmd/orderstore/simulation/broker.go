package simulation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/stream"
)

// broker is JetStream with the one stream.
type broker struct {
	w *world

	mu      sync.Mutex
	up      bool
	copies  bool // of the stream: another code says that the last sequence is another
	stream  *contents
	kept    *contents // an older copy of its store; nil: none was made
	changed chan struct{}
	made    int
}

// contents are what the stream's store holds.
type contents struct {
	id       int // of the stream: one that is made again is another one
	cfg      jetstream.StreamConfig
	first    int64
	messages []*nats.Msg // nil: a hole
	batch    []*nats.Msg // an atomic one that is not committed
}

func (c *contents) last() int64 { return c.first - 1 + int64(len(c.messages)) }

func (c *contents) at(position int64) *nats.Msg {
	if position < c.first || position > c.last() {
		return nil
	}
	return c.messages[position-c.first]
}

func (c *contents) state() jetstream.StreamState {
	s := jetstream.StreamState{FirstSeq: uint64(c.first), LastSeq: uint64(c.last())} //nolint:gosec // not negative
	for _, m := range c.messages {
		if m != nil {
			s.Msgs++
		}
	}
	return s
}

// whole says whether the stream holds all up to a position, and nothing else.
func (c *contents) whole(to int64) bool {
	return c != nil && c.first == 1 && c.last() == to && !slices.Contains(c.messages, nil)
}

func newBroker(w *world) *broker {
	return &broker{w: w, up: true, changed: make(chan struct{}), copies: w.seed%2 == 1}
}

// change is called with mu held.
func (b *broker) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// alter is something that befalls the stream.
func (b *broker) alter(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
	b.change()
}

// keep copies the store; restore puts it back in its place.
func (b *broker) keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stream != nil {
		c := *b.stream
		c.messages, c.batch = append([]*nats.Msg(nil), c.messages...), nil
		b.kept = &c
	}
}

func (b *broker) restore() {
	b.alter(func() {
		if b.kept != nil {
			c := *b.kept
			c.messages = append([]*nats.Msg(nil), c.messages...)
			b.stream = &c
		}
	})
}

// cut loses up to n of the last messages, or all with the stream where n is negative.
func (b *broker) cut(n int) {
	b.alter(func() {
		switch {
		case b.stream == nil:
		case n < 0:
			b.stream = nil
		default:
			b.stream.messages = b.stream.messages[:max(0, len(b.stream.messages)-n)]
		}
	})
}

// lose makes a hole.
func (b *broker) lose(f *fate) {
	b.alter(func() {
		if b.stream != nil && len(b.stream.messages) > 2 {
			b.stream.messages[1+f.below(len(b.stream.messages)-2)] = nil
		}
	})
}

func (b *broker) reachable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.up
}

// takeAll stores messages at one time, and gives the answers to the first of them.
func (b *broker) takeAll(all []*nats.Msg, answered int) []*nats.Msg {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.change()
	var answers []*nats.Msg
	for i, m := range all {
		if data := b.take(m); data != nil && m.Reply != "" && i < answered {
			answers = append(answers, &nats.Msg{Subject: m.Reply, Data: data})
		}
	}
	return answers
}

// take stores one message, or says why not, in the words of the server. mu is held.
func (b *broker) take(m *nats.Msg) (answer []byte) {
	if !b.up || b.stream == nil {
		return nil
	}
	if m.Header.Get("Nats-Batch-Id") != "" {
		return b.takeBatch(m)
	}
	if answer := b.expects(m); answer != nil {
		return answer
	}
	b.add(m)
	return stored(b.stream.last())
}

func (b *broker) takeBatch(m *nats.Msg) []byte {
	if m.Header.Get("Nats-Batch-Sequence") == "1" {
		b.stream.batch = nil
	}
	b.stream.batch = append(b.stream.batch, m)
	if m.Header.Get("Nats-Batch-Commit") == "" {
		return nil
	}
	all := b.stream.batch
	b.stream.batch = nil
	if n, _ := strconv.Atoi(m.Header.Get("Nats-Batch-Sequence")); n != len(all) {
		return rejected(10176, "batch is incomplete")
	}
	if answer := b.expects(all[0]); answer != nil {
		return answer
	}
	for _, one := range all {
		b.add(one)
	}
	return stored(b.stream.last())
}

func (b *broker) expects(m *nats.Msg) []byte {
	want := m.Header.Get(jetstream.ExpectedLastSeqHeader)
	if b.w.broken == BreakExpectation || want == "" || want == strconv.FormatInt(b.stream.last(), 10) {
		return nil
	}
	code := 10071
	if b.copies {
		code = 10164
	}
	return rejected(code, fmt.Sprintf("wrong last sequence: %d", b.stream.last()))
}

// add appends, and checks that the message is the log's row.
func (b *broker) add(m *nats.Msg) {
	b.stream.messages = append(b.stream.messages, m)
	at := b.stream.last()
	if b.w.broken == BreakBytes && at%5 == 0 {
		m.Data = append([]byte(" "), m.Data...)
	}
	row, ok := b.w.db.row(at)
	if !ok || string(row.Body) != string(m.Data) || fmt.Sprintf("%x", row.Digest) != m.Header.Get(stream.HeaderDigest) || row.Subject != m.Subject {
		b.w.fails("stream message %d is not log row %d", at, at)
	}
}

func stored(sequence int64) []byte {
	return fmt.Appendf(nil, `{"stream":"`+stream.Name+`","seq":%d}`, sequence)
}

func rejected(code int, text string) []byte {
	raw, _ := json.Marshal(map[string]any{ //nolint:errchkjson // plain values
		"stream": stream.Name, "seq": 0, "error": map[string]any{"code": 400, "err_code": code, "description": text},
	})
	return raw
}

// wire is a process's connection for publishing.
type wire struct {
	p *process
	b *broker

	mu     sync.Mutex
	queue  []*nats.Msg
	signal chan struct{}
	inbox  int
}

func newWire(p *process, b *broker) *wire { return &wire{p: p, b: b, signal: make(chan struct{}, 1)} }

// NewInbox implements broadcast.Connection.
func (c *wire) NewInbox() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inbox++
	return fmt.Sprintf("_INBOX.%022d", c.inbox)
}

// PublishMsg implements broadcast.Connection.
func (c *wire) PublishMsg(m *nats.Msg) error {
	copied := &nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data, Header: nats.Header{}}
	for name, values := range m.Header {
		copied.Header[name] = append([]string(nil), values...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, copied)
	select {
	case c.signal <- struct{}{}:
	default:
	}
	return nil
}

// Hear implements broadcast.Connection.
func (c *wire) Hear(_ string, answer func(*nats.Msg)) (func(), error) {
	f := c.b.w.draw(c.p.name, "subscribe", 0)
	if !c.b.w.healed.Load() && f.oneIn(failOne) {
		return nil, nats.ErrConnectionClosed
	}
	stopped := make(chan struct{})
	c.b.w.goes(func() { c.pump(stopped, answer) })
	return sync.OnceFunc(func() { close(stopped) }), nil
}

// pump carries messages to the broker and its answers back. What is on its way when its sender gives up arrives all the same.
func (c *wire) pump(stopped <-chan struct{}, answer func(*nats.Msg)) {
	for {
		select {
		case <-c.signal:
		case <-stopped:
			return
		case <-c.b.w.ctx.Done():
			return
		}
		c.carry(stopped, answer)
	}
}

func (c *wire) carry(stopped <-chan struct{}, answer func(*nats.Msg)) {
	f, connected := c.p.call(c.b.w.ctx, "publish", 0)
	c.mu.Lock()
	all := c.queue // all that was sent since, whoever ran first
	c.queue = nil
	select {
	case <-c.signal:
	default:
	}
	c.mu.Unlock()
	if len(all) == 0 || f == nil {
		return
	}
	cut, answered := len(all), len(all)
	if !connected {
		cut = f.below(len(all) + 1) // the connection broke somewhere among them
		answered = f.below(cut + 1)
	} else if !c.b.w.healed.Load() && f.oneIn(failOne/2) {
		answered = f.below(cut + 1)
		c.b.w.faults.Add(1)
	}
	for _, m := range c.b.takeAll(all[:cut], answered) {
		select {
		case <-stopped:
		default:
			answer(m)
		}
	}
}
