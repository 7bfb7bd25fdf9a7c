package broadcast

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
)

// grow tells many events at once, positions from..to of one tenant, and makes them readable.
func (s *side) grow(from, to int64, tenant string) {
	s.t.Helper()
	_, err := s.pool.Exec(s.t.Context(), `
INSERT INTO timeline (position, tenant, event)
SELECT p, $3, convert_to('{"cell":1,"type":"order.rejected","version":1,"time":"2026-01-02T03:04:05Z","tenant":"' || $3 || '","data":{}}', 'UTF8')
FROM generate_series($1::bigint, $2::bigint) p`, from, to, tenant)
	require.NoError(s.t, err)
	s.reach("timeline", to)
	s.reach("order_view", to)
}

func demo() auth.Identity { return auth.Identity{Kind: auth.KindUser, Tenant: "demo"} }

// TestSlowListenerMissesNothing: one who reads far behind what is kept in memory gets each event once, in order, while memory stays
// bounded, and is back in memory at the end.
func TestSlowListenerMissesNothing(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	keep := s.api.live.join(party{tenant: "demo"}, Filter{}) // somebody listens throughout
	defer s.api.live.leave(party{tenant: "demo"}, keep)
	const total = 3 * liveEvents
	for from := int64(1); from <= total; from += liveEvents / 2 {
		s.grow(from, from+liveEvents/2-1, "demo")
	}
	require.Eventually(t, func() bool { return s.api.live.Reached() == total }, 30*time.Second, time.Millisecond)
	require.LessOrEqual(t, len(s.api.live.ring), liveEvents+liveEvents/4)
	require.LessOrEqual(t, s.api.live.bytes, liveBytes+liveBytes/4)
	require.Positive(t, s.api.live.from, "the oldest are no longer in memory")

	want := int64(1)
	for want <= total {
		p := s.ask(demo(), want-1, 500, 0)
		require.NotEmpty(t, p.told)
		for i := range p.told {
			require.Equal(t, want, p.told[i].notice.Position)
			want++
		}
	}
	_, scanned, ok := s.api.live.after(party{tenant: "demo"}, Filter{}, total, 500, true)
	require.True(t, ok, "who has caught up reads from memory")
	require.Equal(t, int64(total), scanned)
}

// TestListenersAreWokenByWhatTheyWant: one of two filters is woken.
func TestListenersAreWokenByWhatTheyWant(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	p := party{tenant: "demo"}
	wants := s.api.live.join(p, Filter{Types: []string{"order.*"}})
	other := s.api.live.join(p, Filter{Types: []string{"task.offered"}})
	defer s.api.live.leave(p, wants)
	defer s.api.live.leave(p, other)
	s.grow(1, 1, "demo")
	require.Eventually(t, func() bool { return s.api.live.Reached() == 1 }, 20*time.Second, time.Millisecond)
	for _, w := range []*waiter{wants, other} { // the start wakes everybody once
		select {
		case <-w.wake:
		default:
		}
	}
	s.grow(2, 3, "demo")
	select {
	case <-wants.wake:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was woken")
	}
	require.Equal(t, int64(3), s.api.live.Reached())
	require.Empty(t, other.wake)
}

// TestFilteredFeedLooksFarInOneAnswer: where next to nothing is wanted, scanned_to still goes on to the end.
func TestFilteredFeedLooksFarInOneAnswer(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	s.grow(1, 3*scanBatch, "demo")
	s.tell(3*scanBatch+1, "demo", "acme")
	s.reach("timeline", 3*scanBatch+1)
	s.reach("order_view", 3*scanBatch+1)
	in := interest{who: demo(), whose: party{tenant: "demo"}, filter: Filter{Types: []string{"task.offered"}}}
	found, err := s.api.poll(t.Context(), in, 500, 0)
	require.NoError(t, err)
	require.Equal(t, []int64{3*scanBatch + 1}, positions(found))
	require.Equal(t, int64(3*scanBatch+1), found.scannedTo)
}

// TestNobodyListeningCostsNothing: events that nobody waits for are not kept, and are there for one who comes later.
func TestNobodyListeningCostsNothing(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	s.grow(1, 100, "demo")
	require.Eventually(t, func() bool { return s.api.live.Reached() == 100 }, 20*time.Second, time.Millisecond)
	require.Empty(t, s.api.live.ring)
	require.Len(t, s.ask(demo(), 0, 500, 0).told, 100)
}

// TestReadDatabaseOfAnOlderDay: a read database that was put back to an older state is read from there again.
func TestReadDatabaseOfAnOlderDay(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	w := s.api.live.join(party{tenant: "demo"}, Filter{})
	defer s.api.live.leave(party{tenant: "demo"}, w)
	s.grow(1, 50, "demo")
	require.Eventually(t, func() bool { return s.api.live.Reached() == 50 }, 20*time.Second, time.Millisecond)
	_, err := s.pool.Exec(t.Context(), `DELETE FROM timeline WHERE position > 20`)
	require.NoError(t, err)
	s.reach("timeline", 20)
	s.reach("order_view", 20)
	s.tip.Set(20)
	require.Eventually(t, func() bool { return s.api.live.Reached() == 20 }, 20*time.Second, time.Millisecond)
	s.grow(21, 30, "demo")
	require.Eventually(t, func() bool { return s.api.live.Reached() == 30 }, 20*time.Second, time.Millisecond)
	p := s.ask(demo(), 18, 500, 0)
	require.Len(t, p.told, 12, fmt.Sprint(positions(p)))
}

// TestEachOfManyListenersHearsEach runs long polls of many listeners while events arrive.
func TestEachOfManyListenersHearsEach(t *testing.T) {
	t.Parallel()
	s := readSide(t)
	const listeners, total = 50, 400
	done := make(chan []int64, listeners)
	for range listeners {
		go func() {
			var heard []int64
			for in := (interest{who: demo(), whose: party{tenant: "demo"}}); len(heard) < total; {
				p, err := s.api.poll(context.Background(), in, 500, time.Minute)
				if err != nil {
					break
				}
				heard = append(heard, positions(p)...)
				in.after = p.scannedTo
			}
			done <- heard
		}()
	}
	for p := int64(1); p <= total; p += 10 {
		s.grow(p, p+9, "demo")
	}
	for range listeners {
		heard := <-done
		require.Len(t, heard, total)
		for i, p := range heard {
			require.Equal(t, int64(i+1), p)
		}
	}
}
