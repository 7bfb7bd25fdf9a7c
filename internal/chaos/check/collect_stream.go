package check

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/events"
)

// digestHeader has a message's link of the log's digest chain, in hexadecimal.
const digestHeader = "Os-Digest"

func (c *collector) streams(ctx context.Context, urls []string) {
	for i, url := range urls {
		made := Copy{Kind: kindStream, Name: "stream nats-" + strconv.Itoa(i+1), Within: -1}
		c.note(c.stream(ctx, url, made, "stream-"+strconv.Itoa(i+1)))
	}
}

// stream saves what one server has of the stream. Which server keeps a consumer is the cluster's choice: consumers are made until one is on this
// server, and reads its own copy.
func (c *collector) stream(ctx context.Context, url string, made Copy, file string) (Copy, error) {
	conn, err := nats.Connect(url, nats.Timeout(5*time.Second), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(4*poll), nats.DontRandomize(), nats.IgnoreDiscoveredServers())
	if err != nil {
		return made, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return made, fmt.Errorf("jetstream: %w", err)
	}
	made.Position, made.Within, err = c.reached(ctx, func(ctx context.Context) (int64, error) {
		last, err := lastOf(ctx, js)
		return int64(last), err //nolint:gosec // below 2^63
	})
	if err != nil {
		return made, err
	}
	consumer, err := c.consumerAt(ctx, js, conn.ConnectedServerName())
	if err != nil {
		return made, err
	}
	made.Rows, err = save(c.dir, file, func(add func(any) error) error { return drain(ctx, consumer, uint64(c.head), add) }) //nolint:gosec // positions are never negative
	if err == nil {
		made.File = file
	}
	return made, err
}

func lastOf(ctx context.Context, js jetstream.JetStream) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, events.Stream)
	if err != nil {
		return 0, fmt.Errorf("look up stream: %w", err)
	}
	return s.CachedInfo().State.LastSeq, nil
}

// placings bounds how often a consumer is made until it is where it is wanted: of three servers, one misses a server so often once in a billion.
const placings = 50

var errElsewhere = errors.New("no consumer came to be on this server: it keeps no copy of the stream")

func (c *collector) consumerAt(ctx context.Context, js jetstream.JetStream, server string) (jetstream.Consumer, error) {
	var last error
	for range placings {
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		made, err := js.CreateConsumer(within, events.Stream, jetstream.ConsumerConfig{
			AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverAllPolicy, Replicas: 1, MemoryStorage: true,
			InactiveThreshold: time.Minute,
		})
		if err == nil {
			info := made.CachedInfo()
			if info.Cluster == nil || info.Cluster.Leader == "" || info.Cluster.Leader == server {
				cancel()
				return made, nil
			}
			err = js.DeleteConsumer(within, events.Stream, info.Name)
		}
		cancel()
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errElsewhere, last, ctx.Err())
}

// drainIdle is how long the broker may take for the next messages.
const drainIdle = 10 * time.Second

// drain reads all messages up to a sequence, or until no more come: what is missing is found by the comparison.
func drain(ctx context.Context, consumer jetstream.Consumer, until uint64, add func(any) error) error {
	if consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	for {
		batch, err := consumer.Fetch(500, jetstream.FetchMaxWait(drainIdle))
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		last, pending, n := uint64(0), uint64(0), 0
		for m := range batch.Messages() {
			at, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("message: %w", err)
			}
			n++
			last, pending = at.Sequence.Stream, at.NumPending
			err = add(&link{Position: int64(last), Subject: m.Subject(), Digest: m.Headers().Get(digestHeader), Sum: sumOf(m.Data())}) //nolint:gosec // below 2^63
			if err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil && n == 0 {
			return fmt.Errorf("fetch: %w", err)
		}
		if last >= until || pending == 0 || n == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
