package broadcast

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/stream"
)

// bucketInfo is what parties are told of the bucket of stock levels: how it is read, and nothing of what is in it.
type bucketInfo struct {
	Type string `json:"type"`
	jetstream.StreamInfo
}

// tellOfBucket answers what clients ask before they read a key. It is the same answer for everybody.
func (a *NATSAccess) tellOfBucket(ctx context.Context, m *nats.Msg) {
	answer, err := json.Marshal(bucketInfo{
		Type: "io.nats.jetstream.api.v1.stream_info_response",
		StreamInfo: jetstream.StreamInfo{Config: jetstream.StreamConfig{
			Name: "KV_STOCK", Subjects: []string{stream.StockLevels + ">"}, MaxMsgsPerSubject: 1, AllowDirect: true,
			DenyDelete: true, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		}},
	})
	if err == nil {
		err = m.Respond(answer)
	}
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "a question for the bucket of stock levels cannot be answered", "cause", err)
	}
}
