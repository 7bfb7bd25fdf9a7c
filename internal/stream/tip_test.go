package stream_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestTipOnlyAdvances(t *testing.T) {
	t.Parallel()
	var tip stream.Tip
	require.Zero(t, tip.Position())
	tip.Advance(7)
	changed := tip.Changed()
	tip.Advance(3)
	tip.Advance(7)
	require.EqualValues(t, 7, tip.Position())
	require.False(t, isClosed(changed))
	tip.Advance(8)
	require.True(t, isClosed(changed))
	require.False(t, isClosed(tip.Changed()), "each change has a channel of its own")
}

func TestTipSetMayGoBack(t *testing.T) {
	t.Parallel()
	var tip stream.Tip
	tip.Advance(9)
	changed := tip.Changed()
	tip.Set(4)
	require.True(t, isClosed(changed))
	require.EqualValues(t, 4, tip.Position())
	changed = tip.Changed()
	tip.Set(4)
	require.False(t, isClosed(changed))

	waited := make(chan error, 1)
	go func() { waited <- tip.Wait(t.Context(), 6) }()
	tip.Advance(6)
	require.NoError(t, <-waited)
}

func TestTipWaitsForEachPosition(t *testing.T) {
	t.Parallel()
	const waiters = 5000
	var tip stream.Tip
	require.NoError(t, tip.Wait(t.Context(), 0))
	var all sync.WaitGroup
	early := make(chan int64, waiters)
	for p := int64(1); p <= waiters; p++ {
		all.Go(func() {
			if err := tip.Wait(t.Context(), p); err != nil || tip.Position() < p {
				early <- p
			}
		})
	}
	for p := int64(1); p <= waiters; p += 7 {
		tip.Advance(p)
	}
	tip.Advance(waiters)
	all.Wait()
	require.Empty(t, early)
}

func TestTipWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	var tip stream.Tip
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	errs := make(chan error, 100)
	for p := range int64(100) {
		all.Go(func() { errs <- tip.Wait(ctx, 1000+p%3) })
	}
	cancel()
	all.Wait()
	close(errs)
	for err := range errs {
		require.ErrorIs(t, err, context.Canceled)
	}
	tip.Advance(2000)
	require.NoError(t, tip.Wait(ctx, 2000), "what has been reached needs no waiting")
}

// Advances, restores, waits that succeed and waits that are given up, all at once: every waiter must come back.
func TestTipUnderConcurrency(t *testing.T) {
	t.Parallel()
	const last = 2000
	var tip stream.Tip
	var writers, readers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for p := int64(1); p <= last; p++ {
				tip.Advance(p)
				if p == last/2 {
					tip.Set(p / 2)
				}
			}
		})
		readers.Go(func() {
			for seen := tip.Position(); seen < last; seen = tip.Position() {
				changed := tip.Changed()
				if tip.Position() != seen {
					continue
				}
				<-changed
			}
		})
		readers.Go(func() {
			for p := int64(1); p <= last; p += 3 {
				ctx, cancel := context.WithCancel(t.Context())
				if p%2 == 0 {
					cancel()
				}
				_ = tip.Wait(ctx, p)
				cancel()
			}
		})
	}
	writers.Wait()
	readers.Wait()
	require.EqualValues(t, last, tip.Position())
}

func BenchmarkTipAdvance(b *testing.B) {
	for name, waiters := range map[string]int64{"nobody": 0, "5000 waiting for later": 5000} {
		b.Run(name, func(b *testing.B) {
			var tip stream.Tip
			ctx, cancel := context.WithCancel(b.Context())
			var all sync.WaitGroup
			for i := range waiters {
				all.Go(func() { _ = tip.Wait(ctx, 1<<60+i) })
			}
			b.ResetTimer()
			for p := int64(1); b.Loop(); p++ {
				tip.Advance(p)
			}
			b.StopTimer()
			cancel()
			all.Wait()
		})
	}
}
