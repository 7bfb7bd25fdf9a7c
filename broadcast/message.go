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

// message is a record as it stands in the stream: CloudEvents 1.0 in binary mode. The body is the log's bytes.
func message(record *stream.Record) (*nats.Msg, error) {
	e, err := headerOf(record)
	if err != nil {
		return nil, err
	}
	h := nats.Header{
		"ce-specversion":    {"1.0"},
		"ce-id":             {strconv.FormatInt(record.Position, 10)},
		"ce-source":         {events.Source},
		"ce-type":           {string(e.Type)},
		"ce-time":           {e.Time.Format(time.RFC3339Nano)},
		"Content-Type":      {"application/json"},
		stream.HeaderDigest: {hex.EncodeToString(record.Digest[:])},
	}
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
	set("ce-subject", e.OrderID)
	set("ce-tenant", e.Tenant)
	set("ce-businesstype", e.BusinessType)
	set("ce-taskid", e.TaskID)
	set("ce-provider", e.Provider)
	set("ce-traceparent", e.Traceparent)
	if e.OrderVersion > 0 {
		h["ce-orderversion"] = []string{strconv.FormatInt(e.OrderVersion, 10)}
	}
	return &nats.Msg{Subject: record.Subject, Header: h, Data: record.Body}, nil
}

// headerOf reads what an event says of itself, unless it is at hand.
func headerOf(record *stream.Record) (*events.Event, error) {
	if e, ok := record.Fact.(*events.Event); ok {
		return e, nil
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
