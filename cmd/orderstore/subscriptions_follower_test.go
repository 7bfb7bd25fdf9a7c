package main

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// follower is a receiver as a program of its own, which can be killed.
type follower struct {
	*receiver
	program *program
}

// run starts the program.
func (f *follower) run() {
	f.t.Helper()
	args := append([]string{"subscriptions", "follow", f.subscription.ID, "--json", "--data", f.s.data}, f.endpoint.follow(f.subscription)...)
	f.program = launch(f.t, nil, "orderctl", args...)
}

// collect keeps what the program has printed. A line that was cut off was not dealt with.
func (f *follower) collect() {
	f.t.Helper()
	var run []client.Event
	lines := bytes.SplitAfter([]byte(f.program.out.String()), []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		var e client.Event
		if assert.NoError(f.t, json.Unmarshal(line, &e), "%s: %s", f.transport.name, line) {
			run = append(run, e)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs = append(f.runs, run)
}

// TestChaosFollowerIsKilled: a program that receives is killed, and started again it misses nothing.
func TestChaosFollowerIsKilled(t *testing.T) {
	t.Parallel()
	m := openMarket(t)
	var followers []*follower
	for _, by := range transports() {
		followers = append(followers, &follower{receiver: m.subscribe(by, m.as.User, client.SubscriptionSpec{Start: &client.From{}})})
	}
	ctx, stop := context.WithCancel(t.Context())
	var traders sync.WaitGroup
	traders.Go(func() {
		for ctx.Err() == nil {
			m.trade(3)
		}
	})
	for range 3 {
		for _, f := range followers {
			f.run()
		}
		for _, f := range followers {
			f.reaches(f.position() + 30)
			f.program.kill()
			f.collect()
		}
	}
	stop()
	traders.Wait()
	log := m.log()
	last := int64(0)
	mine := func(e *logged) bool { return e.Tenant == m.as.User.Tenant }
	for i := range log {
		if mine(&log[i]) {
			last = log[i].Position
		}
	}
	for _, f := range followers {
		f.run()
		f.reaches(last)
		f.program.kill()
		f.collect()
		(&subscribed{wanted{name: "everything", want: mine}, f.receiver}).complete(log)
	}
}

func (f *follower) position() int64 {
	f.t.Helper()
	s, err := f.s.client(f.as).GetSubscription(f.t.Context(), f.subscription.ID)
	require.NoError(f.t, err)
	return s.Position
}

// reaches waits until the store knows that the program is so far.
func (f *follower) reaches(position int64) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return f.position() >= position }, time.Minute, 20*time.Millisecond, f.transport.name)
}
