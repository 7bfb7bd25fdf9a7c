package broadcast

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// fill makes msg the record as it stands in the stream: CloudEvents 1.0 in binary mode. The body is the log's bytes. Whatever the
// message was before is gone.
func fill(msg *nats.Msg, record *stream.Record) error {
	e, err := headerOf(record)
	if err != nil {
		return err
	}
	h := msg.Header
	set := func(name, value string) {
		if value == "" {
			delete(h, name)
			return
		}
		if have := h[name]; len(have) == 1 {
			have[0] = value
			return
		}
		h[name] = []string{value}
	}
	set("ce-specversion", "1.0")
	set("ce-id", strconv.FormatInt(record.Position, 10))
	set("ce-source", events.Source)
	set("ce-type", string(e.Type))
	set("ce-time", e.Time.Format(time.RFC3339Nano))
	set("Content-Type", "application/json")
	set(stream.HeaderDigest, hex.EncodeToString(record.Digest[:]))
	set("ce-subject", e.OrderID)
	set("ce-dataref", events.DataRef(e.Type, e.OrderID, record.Position))
	set("ce-tenant", e.Tenant)
	set("ce-businesstype", e.BusinessType)
	set("ce-taskid", e.TaskID)
	set("ce-provider", e.Provider)
	set("ce-traceparent", e.Traceparent)
	version := ""
	if e.OrderVersion > 0 {
		version = strconv.FormatInt(e.OrderVersion, 10)
	}
	set("ce-orderversion", version)
	msg.Subject, msg.Data = record.Subject, record.Body
	return nil
}

// headerOf reads what an event says of itself, unless it is at hand.
func headerOf(record *stream.Record) (*events.Event, error) {
	if own, ok := record.Fact.(*events.Appended); ok {
		return own.Event, nil
	}
	e, _, err := events.DecodeHeader(record.Position, record.Body)
	return &e, err
}

// last is the stream's last sequence, 0 where there is no stream.
func (r *Relay) last(ctx context.Context) (int64, error) {
	bounds, err := stream.BoundsOf(ctx, r.js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	return bounds.Last, err
}
