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
	consumer, err := c.consumerAt(ctx, js, conn.ConnectedServerName())
	if err != nil {
		return made, err
	}
	made.Rows, err = save(c.dir, file, func(add func(any) error) error {
		var err error
		made.Position, err = c.drain(ctx, consumer, add)
		return err
	})
	if err != nil {
		return made, err
	}
	made.File = file
	if made.Position >= c.head {
		made.Within = time.Since(c.began).Milliseconds()
	}
	return made, nil
}

// placings bounds how often a consumer is made until it is where it is wanted: of three servers, one misses a server so often once in a billion.
const placings = 50

var errElsewhere = errors.New("no consumer came to be on this server: it keeps no copy of the stream")

// consumerAt makes a consumer that is on this server. A stream that is on its way back is waited for.
func (c *collector) consumerAt(ctx context.Context, js jetstream.JetStream, server string) (jetstream.Consumer, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for placed := 0; ; {
		made, err := c.consumer(ctx, js)
		if err == nil {
			info := made.CachedInfo()
			if info.Cluster == nil || info.Cluster.Leader == "" || info.Cluster.Leader == server {
				return made, nil
			}
			placed++
			_ = js.DeleteConsumer(ctx, events.Stream, info.Name) // it would go by itself, later
		}
		if placed == placings || time.Now().After(c.until) || ctx.Err() != nil {
			return nil, errors.Join(errElsewhere, err, ctx.Err())
		}
		if err != nil {
			<-tick.C
		}
	}
}

func (c *collector) consumer(ctx context.Context, js jetstream.JetStream) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return js.CreateConsumer(ctx, events.Stream, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverAllPolicy, Replicas: 1, MemoryStorage: true,
		InactiveThreshold: time.Minute,
	})
}

// drainIdle is how long the broker may take for the next messages before it is looked at the time.
const drainIdle = time.Second

// drain reads all messages up to where the log was, or until the time is up for them to come. What is missing is found by the comparison.
func (c *collector) drain(ctx context.Context, consumer jetstream.Consumer, add func(any) error) (int64, error) {
	for last := int64(0); ; {
		batch, err := consumer.Fetch(500, jetstream.FetchMaxWait(drainIdle))
		if err != nil {
			return last, fmt.Errorf("fetch: %w", err)
		}
		pending := uint64(0)
		for m := range batch.Messages() {
			at, err := m.Metadata()
			if err != nil {
				return last, fmt.Errorf("message: %w", err)
			}
			last, pending = int64(at.Sequence.Stream), at.NumPending //nolint:gosec // below 2^63
			err = add(&link{Position: last, Subject: m.Subject(), Digest: m.Headers().Get(digestHeader), Sum: sumOf(m.Data())})
			if err != nil {
				return last, err
			}
		}
		if last >= c.head && pending == 0 || time.Now().After(c.until) || ctx.Err() != nil {
			return last, ctx.Err()
		}
	}
}
