package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/stream"
)

// onStream does something to the stream as an operator, and waits until the store has mended it.
func onStream[C Reached](kind string, do func(context.Context, jetstream.JetStream, *jetstream.StreamInfo, *rand.Rand) (evidence string, mended func(*jetstream.StreamInfo) bool, err error)) chaos.Fault[C] {
	return chaos.Fault[C]{Kind: kind, Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
		bite := chaos.Bite{Kind: kind, Target: "stream " + stream.Name}
		conn, js, err := broker(cluster.Endpoints())
		if err != nil {
			return bite, err
		}
		defer conn.Close()
		calling, cancel := context.WithTimeout(ctx, callWithin)
		defer cancel()
		s, err := js.Stream(calling, stream.Name)
		if err != nil {
			return bite, fmt.Errorf("look at the stream: %w", err)
		}
		evidence, mended, err := do(calling, js, s.CachedInfo(), random)
		if err != nil {
			return bite, err
		}
		bite.Evidence = evidence
		awaitStream(ctx, cluster, mended)
		return bite, nil
	}}
}

// StreamDeleted deletes the stream.
func StreamDeleted[C Reached]() chaos.Fault[C] {
	return onStream[C]("stream.deleted", func(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo, _ *rand.Rand) (string, func(*jetstream.StreamInfo) bool, error) {
		if err := js.DeleteStream(ctx, stream.Name); err != nil {
			return "", nil, fmt.Errorf("delete the stream: %w", err)
		}
		again := reaches(info.State.LastSeq)
		return fmt.Sprintf("%d messages were deleted with the stream", info.State.Msgs), func(now *jetstream.StreamInfo) bool {
			return now.Created.After(info.Created) && again(now)
		}, nil
	})
}

// StreamReconfigured gives the stream a limit that drops messages.
func StreamReconfigured[C Reached]() chaos.Fault[C] {
	return onStream[C]("stream.reconfigured", func(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo, random *rand.Rand) (string, func(*jetstream.StreamInfo) bool, error) {
		if info.State.Msgs < 2 {
			return "", nil, fmt.Errorf("the stream has %d messages: a limit would drop none", info.State.Msgs)
		}
		cfg := info.Config
		cfg.MaxMsgs = 1 + random.Int64N(int64(info.State.Msgs)-1) //nolint:gosec // below 2^63
		after, err := js.UpdateStream(ctx, cfg)
		if err != nil {
			return "", nil, fmt.Errorf("reconfigure the stream: %w", err)
		}
		gone := int64(info.State.LastSeq) - int64(info.State.FirstSeq) + 1 - cfg.MaxMsgs //nolint:gosec // below 2^63
		evidence := ""
		if after.CachedInfo().Config.MaxMsgs == cfg.MaxMsgs && gone > 0 {
			evidence = fmt.Sprintf("max_msgs %d -> %d, at least %d messages were dropped", info.Config.MaxMsgs, cfg.MaxMsgs, gone)
		}
		again := reaches(info.State.LastSeq)
		return evidence, func(now *jetstream.StreamInfo) bool {
			return now.Config.MaxMsgs == info.Config.MaxMsgs && now.State.FirstSeq <= info.State.FirstSeq && again(now)
		}, nil
	})
}

// PoisonEvent publishes a message past the relay: one that is no event, or one that looks like one.
func PoisonEvent[C Reached]() chaos.Fault[C] {
	return onStream[C]("poison.event", func(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo, random *rand.Rand) (string, func(*jetstream.StreamInfo) bool, error) {
		bodies := []string{"", "{", "\x00\xff\xfe", `{"type":"order.placed","position":1}`, strings.Repeat("[", 10_000)}
		body := bodies[random.IntN(len(bodies))]
		ack, err := js.Publish(ctx, "orders.poison.chaos_poison.-.order.placed", []byte(body))
		if err != nil {
			return "", nil, fmt.Errorf("publish past the relay: %w", err)
		}
		// Positions go on behind it, so that the poison has to be gone first.
		return fmt.Sprintf("%d bytes that the relay did not send are message %d", len(body), ack.Sequence), func(now *jetstream.StreamInfo) bool {
			return now.Created.After(info.Created) && reaches(info.State.LastSeq)(now)
		}, nil
	})
}
