package simulation

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// js is a process's JetStream context, as far as it is used.
type js struct {
	jetstream.JetStream

	p *process
	b *broker
}

func (j *js) ask(ctx context.Context, what string) (*fate, error) {
	f, ok := j.p.call(ctx, what, 0)
	if !ok || !j.b.reachable() {
		return f, nats.ErrTimeout
	}
	return f, nil
}

// Stream implements jetstream.JetStream.
func (j *js) Stream(ctx context.Context, _ string) (jetstream.Stream, error) {
	if _, err := j.ask(ctx, "stream"); err != nil {
		return nil, err
	}
	j.b.mu.Lock()
	defer j.b.mu.Unlock()
	if j.b.stream == nil {
		return nil, jetstream.ErrStreamNotFound
	}
	return j.handle(), nil
}

func (j *js) handle() *handle {
	return &handle{js: j, info: jetstream.StreamInfo{Config: j.b.stream.cfg, State: j.b.stream.state()}}
}

// CreateStream implements jetstream.JetStream.
func (j *js) CreateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	f, err := j.ask(ctx, "create stream")
	if err != nil {
		return nil, err
	}
	j.b.mu.Lock()
	if j.b.stream == nil {
		j.b.made++
		j.b.stream = &contents{id: j.b.made, cfg: cfg, first: max(1, int64(cfg.FirstSeq))} //nolint:gosec // below 2^63
		j.b.change()
	}
	h := j.handle()
	j.b.mu.Unlock()
	if !j.p.back(ctx, f) {
		return nil, nats.ErrTimeout
	}
	return h, nil
}

// UpdateStream implements jetstream.JetStream.
func (j *js) UpdateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	if _, err := j.ask(ctx, "update stream"); err != nil {
		return nil, err
	}
	j.b.mu.Lock()
	defer j.b.mu.Unlock()
	if j.b.stream == nil {
		return nil, jetstream.ErrStreamNotFound
	}
	j.b.stream.cfg = cfg
	return j.handle(), nil
}

// DeleteStream implements jetstream.JetStream.
func (j *js) DeleteStream(ctx context.Context, _ string) error {
	f, err := j.ask(ctx, "delete stream")
	if err != nil {
		return err
	}
	j.b.cut(-1)
	if !j.p.back(ctx, f) {
		return nats.ErrTimeout
	}
	return nil
}

// handle is the stream as it was when it was looked up.
type handle struct {
	jetstream.Stream

	js   *js
	info jetstream.StreamInfo
}

// CachedInfo implements jetstream.Stream.
func (h *handle) CachedInfo() *jetstream.StreamInfo { return &h.info }

// GetMsg implements jetstream.Stream.
func (h *handle) GetMsg(ctx context.Context, sequence uint64, _ ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	if _, err := h.js.ask(ctx, "get message"); err != nil {
		return nil, err
	}
	h.js.b.mu.Lock()
	defer h.js.b.mu.Unlock()
	if h.js.b.stream == nil {
		return nil, jetstream.ErrStreamNotFound
	}
	m := h.js.b.stream.at(int64(sequence)) //nolint:gosec // below 2^63
	if m == nil {
		return nil, jetstream.ErrMsgNotFound
	}
	return &jetstream.RawStreamMsg{Sequence: sequence, Subject: m.Subject, Data: m.Data, Header: m.Header}, nil
}
