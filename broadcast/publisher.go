package broadcast

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/stream"
)

// publisher sends batches of records to the stream without waiting for each. The library's asynchronous publishing keeps a future, a
// timer and a reply subject for each message, which cost more than the message; a batch needs one of each.
type publisher struct {
	nc     Connection
	inbox  string
	close  func()
	batch  atomic.Int64
	arrive chan ack
	msg    nats.Msg // used again for each message
	flush  *flush
}

// flush is what was learnt of how the broker stores messages: one that flushes each of them to disk takes some hundreds a second one by one,
// and tens of thousands in atomic batches. It outlives a publisher.
type flush struct {
	slow  bool // a batch of single messages took long
	plain bool // the broker refuses atomic batches
}

const (
	slowBatch = 64  // single messages at least that tell anything
	slowEach  = 500 // microseconds for each of them are long
)

// took learns from a batch of single messages.
func (f *flush) took(messages int, d time.Duration) {
	if messages >= slowBatch && d > time.Duration(messages)*slowEach*time.Microsecond {
		f.slow = true
	}
}

// ack is the broker's answer to one message.
type ack struct {
	position int64
	sequence int64
	err      error
}

// Connection is what messages are published on, and answered.
type Connection interface {
	NewInbox() string
	PublishMsg(msg *nats.Msg) error // it takes a copy
	// Hear has answer called with what comes on a subject, until it is stopped.
	Hear(subject string, answer func(*nats.Msg)) (stop func(), err error)
}

// natsConnection is the client's.
type natsConnection struct{ *nats.Conn }

// Hear implements Connection.
func (c natsConnection) Hear(subject string, answer func(*nats.Msg)) (func(), error) {
	s, err := c.Subscribe(subject, answer)
	if err != nil {
		return nil, err
	}
	// No limit of their number: there are never more than were sent.
	if err := s.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	return func() { _ = s.Unsubscribe() }, nil // on a closed connection there is nothing to end
}

func newPublisher(nc Connection, f *flush) (*publisher, error) {
	p := &publisher{nc: nc, flush: f, inbox: nc.NewInbox(), arrive: make(chan ack, 2*relayBatch), msg: nats.Msg{Header: nats.Header{}}}
	var err error
	if p.close, err = nc.Hear(p.inbox+".*.*", p.answer); err != nil {
		return nil, fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	return p, nil
}

// answer hands over the acknowledgements of the batch under way; those of one that was given up are too late.
func (p *publisher) answer(m *nats.Msg) {
	batch, position, ok := strings.Cut(strings.TrimPrefix(m.Subject, p.inbox+"."), ".")
	if !ok || batch != strconv.FormatInt(p.batch.Load(), 10) {
		return
	}
	at, err := strconv.ParseInt(position, 10, 64)
	if err != nil {
		return
	}
	a := ack{position: at}
	a.sequence, a.err = sequenceOf(m)
	select {
	case p.arrive <- a:
	default: // more than were sent: none of them is waited for
	}
}

// sequenceOf reads an acknowledgement: {"stream":"ORDERS","seq":7}, with more in it at times.
func sequenceOf(m *nats.Msg) (int64, error) {
	const plain = `{"stream":"` + stream.Name + `","seq":`
	if rest, ok := bytes.CutPrefix(m.Data, []byte(plain)); ok {
		if n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(string(rest), "}")), 10, 64); err == nil {
			return n, nil
		}
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return 0, nats.ErrNoResponders
	}
	var full struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence int64               `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &full); err != nil {
		return 0, fmt.Errorf("read acknowledgement: %w", err)
	}
	if full.Error != nil {
		return 0, full.Error
	}
	return full.Sequence, nil
}

// refusedError says which position the broker refused. Its cause is the broker's error.
type refusedError struct {
	position int64
	cause    error
}

// Error names the position.
func (e *refusedError) Error() string { return fmt.Sprintf("publish %d: %v", e.position, e.cause) }

// Unwrap gives the broker's error.
func (e *refusedError) Unwrap() error { return e.cause }

var errNoAck = errors.New("the broker did not acknowledge in time")

// publish sends records and waits until the broker has acknowledged all. Each names the sequence it follows, so one that is refused has
// all after it refused too, unless somebody else's message is in its place: it returns a refusedError, and that position is to be looked at.
func (p *publisher) publish(ctx context.Context, records []stream.Record) error {
	if len(records) == 0 {
		return nil
	}
	batch := p.batch.Add(1)
	for len(p.arrive) > 0 {
		<-p.arrive // of a batch that was given up
	}
	prefix := p.inbox + "." + strconv.FormatInt(batch, 10) + "."
	if p.flush.slow && !p.flush.plain && len(records) > 1 && !seeded.On(seeded.RelayWithoutExpecting) {
		return p.atomically(ctx, records, prefix)
	}
	began := time.Now()
	for i := range records {
		if err := p.single(&records[i], prefix); err != nil {
			return fmt.Errorf("publish %d: %w", records[i].Position, err)
		}
	}
	err := p.wait(ctx, len(records))
	p.flush.took(len(records), time.Since(began))
	return err
}

func (p *publisher) single(record *stream.Record, prefix string) error {
	if err := fill(&p.msg, record); err != nil {
		return err
	}
	if !seeded.On(seeded.RelayWithoutExpecting) {
		p.msg.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatInt(record.Position-1, 10)}
	}
	p.msg.Reply = prefix + strconv.FormatInt(record.Position, 10)
	return p.nc.PublishMsg(&p.msg)
}

// Headers of atomic batches.
const (
	headerBatch    = "Nats-Batch-Id"
	headerSequence = "Nats-Batch-Sequence" // in the batch, from 1
	headerCommit   = "Nats-Batch-Commit"   // on the last message
)

// atomically has the broker store all records or none. The first names the sequence it follows, the last asks for the answer.
func (p *publisher) atomically(ctx context.Context, records []stream.Record, prefix string) error {
	last := len(records) - 1
	id := []string{p.inbox[len(p.inbox)-nuidLength:] + "-" + strconv.FormatInt(p.batch.Load(), 10)}
	defer func() {
		p.msg.Header, p.msg.Reply = nats.Header{}, ""
	}()
	p.msg.Header, p.msg.Reply = nats.Header{headerBatch: id}, ""
	p.msg.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatInt(records[0].Position-1, 10)}
	for i := range records {
		if err := fill(&p.msg, &records[i]); err != nil {
			return fmt.Errorf("publish %d: %w", records[i].Position, err)
		}
		p.msg.Header[headerSequence] = []string{strconv.Itoa(i + 1)}
		if i == last {
			p.msg.Header[headerCommit] = []string{"1"}
			p.msg.Reply = prefix + strconv.FormatInt(records[i].Position, 10)
		}
		if err := p.nc.PublishMsg(&p.msg); err != nil {
			return fmt.Errorf("publish %d: %w", records[i].Position, err)
		}
		delete(p.msg.Header, jetstream.ExpectedLastSeqHeader)
	}
	err := p.wait(ctx, 1)
	if refused, ok := errors.AsType[*refusedError](err); ok {
		refused.position = records[0].Position
	}
	if err != nil && !outrun(err) && ctx.Err() == nil {
		p.flush.plain = true // whatever it was, single messages get through or say better why not
	}
	return err
}

// nuidLength is how much of an inbox's name makes it its own.
const nuidLength = 22

// outrun says that the broker refused a message only because the stream does not end where it was thought to.
func outrun(err error) bool {
	refused, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == wrongLastSequence)
}

// wrongLastSequence is what replicated streams answer instead.
const wrongLastSequence jetstream.ErrorCode = 10164

// wait takes as many acknowledgements as messages were sent. A sequence that is not the position cannot be mended by going on.
func (p *publisher) wait(ctx context.Context, n int) error {
	timer := time.NewTimer(ackWithin)
	defer timer.Stop()
	var failed error
	for range n {
		select {
		case a := <-p.arrive:
			switch {
			case failed != nil:
			case a.err != nil:
				failed = &refusedError{a.position, a.err}
			case a.sequence != a.position:
				failed = fmt.Errorf("%w: position %d was stored as %d", ErrNotACopy, a.position, a.sequence)
			}
		case <-timer.C:
			return errors.Join(failed, errNoAck)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return failed
}
