package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// Invariants 1, 2, 3, 4 and 10: what was acknowledged is there after a kill -9, and all stages find together by themselves.
func TestChaosKilledInTheMiddleOfSubmitting(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(*program){"alone": (*program).kill, "with its group": (*program).killGroup} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSystem(t)
			s.register("retail.erp")
			acknowledged := map[string]string{} // external_ref -> id
			for round := range 3 {
				s.submitUntilKilled(round, acknowledged, kill)
				s.start()
			}
			require.NotEmpty(t, acknowledged)
			s.has(acknowledged)
			s.level()
			s.verified()
		})
	}
}

// has checks that orders are there.
func (s *system) has(acknowledged map[string]string) {
	s.t.Helper()
	user := s.user()
	for ref, id := range acknowledged {
		order, err := user.GetOrder(s.t.Context(), id, client.GetOptions{})
		require.NoError(s.t, err, "order %s of %d that were acknowledged", ref, len(acknowledged))
		require.Equal(s.t, ref, order.ExternalRef)
	}
}

// submitUntilKilled submits from several connections, one of them a batch, and kills the system amid it.
func (s *system) submitUntilKilled(round int, acknowledged map[string]string, kill func(*program)) {
	s.t.Helper()
	ctx, stop := context.WithTimeout(s.t.Context(), time.Minute)
	defer stop()
	var mu sync.Mutex
	noted, enough := 0, make(chan struct{})
	note := func(ref, id string) {
		mu.Lock()
		defer mu.Unlock()
		acknowledged[ref] = id
		if noted++; noted == 300 {
			close(enough)
		}
	}
	var senders sync.WaitGroup
	user := s.user()
	for sender := range 8 {
		senders.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				order, err := user.SubmitOrder(ctx, sampleOrder(fmt.Sprintf("single-%d-%d-%d", round, sender, i)))
				if err != nil {
					return
				}
				note(order.ExternalRef, order.ID)
			}
		})
	}
	senders.Go(func() {
		for answer, err := range user.SubmitBatch(ctx, endless(ctx, round)) {
			if err != nil {
				return
			}
			if answer.Stored() {
				note(answer.ExternalRef, answer.ID)
			}
		}
	})
	select {
	case <-enough:
	case <-ctx.Done():
		s.t.Error("too few orders were acknowledged to kill anything amid them")
	}
	kill(s.program)
	stop()
	senders.Wait()
}

func endless(ctx context.Context, round int) iter.Seq[client.OrderSubmission] {
	return func(yield func(client.OrderSubmission) bool) {
		for i := 0; ctx.Err() == nil && yield(sampleOrder(fmt.Sprintf("batch-%d-%d", round, i))); i++ {
		}
	}
}

func TestPostgresThatDiesStopsTheSystem(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	placed, err := s.user().SubmitOrder(t.Context(), sampleOrder("before"))
	require.NoError(t, err)
	pid := postmasterOf(t, s.data)
	process, err := os.FindProcess(pid)
	require.NoError(t, err)
	require.NoError(t, process.Kill())
	select {
	case <-s.done:
	case <-time.After(stopWithin):
		t.Fatal("it goes on without its database")
	}
	require.Error(t, s.err)
	require.Contains(t, s.out.String(), "postgres has ended by itself")
	s.start()
	read, err := s.user().GetOrder(t.Context(), placed.ID, client.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "before", read.ExternalRef)
	s.level()
	s.verified()
}

func postmasterOf(t *testing.T, data string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(data, "postgres", "data", "postmaster.pid")) //nolint:gosec // the test's own folder
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(content), &pid)
	require.NoError(t, err)
	return pid
}
