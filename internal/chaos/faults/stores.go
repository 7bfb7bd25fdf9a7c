// Package faults breaks a cluster under test: one constructor for each kind of fault. Each asks of the cluster only what it needs, by a small
// interface, so that it breaks three servers on three disks as well as one program on a folder.
package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/disk"
	"github.com/orderstore/orderstore/internal/stream"
)

// Store is a server that keeps something.
type Store struct {
	Name    string
	Process string     // of the cluster, which is ended and started again around what is done to files
	Dir     string     // of its files
	Disk    *disk.Disk // nil: it lies in a folder, and faults that need a disk cannot be had
}

// Stores are the stores of a cluster and the processes that serve them.
type Stores interface {
	// Stores are all of them.
	Stores() []Store
	// Kill ends a process by SIGKILL, if it runs, and waits until it has ended.
	Kill(ctx context.Context, process string) error
	// Start starts a process where it does not run, as it was, and waits until it is ready.
	Start(ctx context.Context, process string) error
}

// Reached tells where a cluster is reached now.
type Reached interface {
	Endpoints() chaos.Endpoints
}

// Brokered is a cluster whose brokers' files and streams can be broken.
type Brokered interface {
	Stores
	Reached
	// Brokers are the stores of the NATS servers.
	Brokers() []Store
}

const (
	// callWithin bounds each call of a fault to a store.
	callWithin = 10 * time.Second
	// refilledWithin is how long a fault waits for a stream to reach again where it was. That it never does is for the checker to see.
	refilledWithin = 15 * time.Second
	// lookEvery is between two looks at whether a fault healed.
	lookEvery = 50 * time.Millisecond
)

// between is a seeded time from a to b.
func between(random *rand.Rand, a, b time.Duration) time.Duration {
	return a + time.Duration(random.Int64N(int64(b-a)))
}

// choose picks one, or says that there is none.
func choose[T any](random *rand.Rand, what string, all []T) (T, error) {
	if len(all) == 0 {
		var none T
		return none, fmt.Errorf("the cluster has no %s", what)
	}
	return all[random.IntN(len(all))], nil
}

// broker is a connection to the first NATS server that answers, as an operator has it.
func broker(endpoints chaos.Endpoints) (*nats.Conn, jetstream.JetStream, error) {
	var err error
	for _, url := range endpoints.Direct.NATS {
		var conn *nats.Conn
		if conn, err = nats.Connect(url, nats.Timeout(callWithin), nats.MaxReconnects(0)); err != nil {
			continue
		}
		js, err := jetstream.New(conn)
		if err != nil {
			conn.Close()
			return nil, nil, fmt.Errorf("use the broker: %w", err)
		}
		return conn, js, nil
	}
	return nil, nil, fmt.Errorf("no broker answers: %w", err)
}

// streamOf is what a broker says of the stream.
func streamOf(ctx context.Context, endpoints chaos.Endpoints) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	conn, js, err := broker(endpoints)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	s, err := js.Stream(ctx, stream.Name)
	if err != nil {
		return nil, fmt.Errorf("look at the stream: %w", err)
	}
	return s.CachedInfo(), nil
}

// awaitStream waits until the stream is as it should be, for a while.
func awaitStream(ctx context.Context, cluster Reached, good func(*jetstream.StreamInfo) bool) {
	ctx, cancel := context.WithTimeout(ctx, refilledWithin)
	defer cancel()
	for {
		if info, err := streamOf(ctx, cluster.Endpoints()); err == nil && good(info) {
			return
		}
		if pause(ctx, lookEvery) != nil {
			return
		}
	}
}

// reaches tells that the stream has all from its first message to a sequence.
func reaches(last uint64) func(*jetstream.StreamInfo) bool {
	return func(info *jetstream.StreamInfo) bool {
		return info.State.LastSeq >= last && info.State.NumDeleted == 0 && info.State.Msgs == info.State.LastSeq-info.State.FirstSeq+1
	}
}
