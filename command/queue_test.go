package command

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
)

func TestExpectedWaitFollowsTheRounds(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	q := newQueue(func() time.Time { return at })
	round := func(took time.Duration) {
		q.pace.begin()
		at = at.Add(took)
		q.pace.end()
	}
	require.Zero(t, q.expected(), "nothing is known, nobody is refused")
	for range 30 {
		round(40 * time.Millisecond)
	}
	require.Zero(t, q.expected(), "no round is under way and nobody waits")
	for range 3 * roundLength {
		q.single <- &job{}
	}
	require.InDelta(t, 120*time.Millisecond, q.expected(), float64(2*time.Millisecond), "three rounds are before it")
	q.pace.begin()
	require.InDelta(t, 160*time.Millisecond, q.expected(), float64(2*time.Millisecond), "and the one under way")
	at = at.Add(3 * time.Second)
	require.Greater(t, q.expected(), longestWait, "a round that is stuck counts as long as it is")
	q.pace.end()
	for range 8 {
		round(40 * time.Millisecond)
	}
	require.Less(t, q.expected(), 200*time.Millisecond, "one stall is soon forgotten")

	waiting := newQueue(func() time.Time { return at })
	waiting.pace.begin()
	at = at.Add(time.Minute)
	waiting.pace.end()
	waiting.pace.begin()
	require.Less(t, waiting.expected(), longestWait, "after a stall of a minute nobody is refused who meets a round that has just begun")
}

func TestQueueRefusesWhatWouldWaitTooLong(t *testing.T) {
	t.Parallel()
	c := NewCommitter(Config{Now: time.Now}) // it does not run
	c.queue.pace.round.Store(int64(time.Second))
	for range 3 * roundLength {
		c.queue.single <- &job{}
	}
	_, err := c.Submit(t.Context(), &PlaceOrder{}, nil)
	require.Equal(t, fault.Overloaded, fault.CodeOf(err), "three seconds of work wait, though there is room")
	require.Equal(t, 3*time.Second, retryOf(err))
	require.InDelta(t, 1.5, c.Pressure(), 0.01)
}

// A batch fills what the queue has for batches, and single commands still get in and into the next round.
func TestBatchesKeepNobodyOut(t *testing.T) {
	t.Parallel()
	q := newQueue(time.Now)
	for range roundLength {
		q.bulk <- &job{command: &PlaceOrder{}}
	}
	single := &job{}
	q.single <- single
	gone := &job{}
	gone.state.Store(jobWithdrawn)
	q.single <- gone
	jobs := q.gather(t.Context())
	require.Len(t, jobs, roundLength)
	require.True(t, slices.Contains(jobs, single), "it is taken with the first lines, at random, and not after all of them")
	require.False(t, slices.Contains(append(jobs, q.gather(t.Context())...), gone))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Empty(t, q.gather(ended))
}
