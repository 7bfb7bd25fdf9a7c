package webhook_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/internal/webhook"
)

func never() float64  { return 0 }
func always() float64 { return math.Nextafter(1, 0) }

func TestDefaultScheduleMakesTenAttemptsIn72Hours(t *testing.T) {
	t.Parallel()
	s := webhook.DefaultSchedule()
	require.NoError(t, s.Validate())
	require.Equal(t, 10, s.Attempts())
	var sum time.Duration
	var due []time.Duration
	for attempt := 1; attempt < s.Attempts(); attempt++ {
		longest, ok := s.Next(attempt, 0, never)
		require.True(t, ok)
		shortest, _ := s.Next(attempt, 0, always)
		assert.InEpsilon(t, 0.8, shortest.Seconds()/longest.Seconds(), 0.001)
		sum += longest
		due = append(due, sum)
	}
	require.Equal(t, []time.Duration{
		5 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 8 * time.Hour, 20 * time.Hour, 44 * time.Hour, 72 * time.Hour,
	}, due)
	for _, attempt := range []int{10, 11, 0, -1} {
		_, ok := s.Next(attempt, time.Hour, never)
		require.False(t, ok, attempt)
	}
	_, ok := webhook.Schedule{}.Next(1, 0, never)
	require.False(t, ok)
}

// Whatever the receiver asks for, no attempt comes sooner than that or than the schedule's shortest, nor later than both allow.
func TestPauseKeepsWhatTheReceiverAskedFor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := webhook.Schedule{
			Delays: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
				return time.Duration(rapid.Int64Range(1, int64(100*time.Hour)).Draw(t, "delay"))
			}), 1, 20).Draw(t, "delays"),
			Jitter: rapid.Float64Range(0, 1).Draw(t, "jitter"),
		}
		require.NoError(t, s.Validate())
		attempt := rapid.IntRange(1, len(s.Delays)).Draw(t, "attempt")
		asked := time.Duration(rapid.Int64Range(-1, int64(1000*time.Hour)).Draw(t, "asked"))
		source := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		pause, ok := s.Next(attempt, asked, source.Float64)
		require.True(t, ok)
		planned, kept := s.Delays[attempt-1], max(min(asked, webhook.MaxRetryAfter), 0)
		require.GreaterOrEqual(t, pause, max(kept, planned-time.Duration(float64(planned)*s.Jitter)-time.Microsecond))
		require.LessOrEqual(t, pause, max(planned, kept+kept/10+time.Microsecond))
	})
}

func TestWrongScheduleIsNamed(t *testing.T) {
	t.Parallel()
	err := webhook.Schedule{Delays: []time.Duration{1, 0, -1}, Jitter: math.NaN()}.Validate()
	for _, part := range []string{"pause 2", "pause 3", "jitter"} {
		require.ErrorContains(t, err, part)
	}
	require.Error(t, webhook.Schedule{Jitter: 1.1}.Validate())
	require.Error(t, webhook.Schedule{Jitter: -0.1}.Validate())
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, " 90 ": 90 * time.Second, "86400": 24 * time.Hour, "86401": 24 * time.Hour, "18446744073709551616": 24 * time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Friday, 02-Jan-26 03:05:05 GMT": time.Minute, "Fri Jan  2 03:05:05 2026": time.Minute,
		"Fri, 02 Jan 2026 03:04:04 GMT": 0, "Fri, 02 Jan 2099 03:04:05 GMT": 24 * time.Hour,
	} {
		got, ok := webhook.ParseRetryAfter(value, now)
		assert.True(t, ok, value)
		assert.Equal(t, want, got, value)
	}
	for _, value := range []string{"", " ", "-1", "+1", "1.5", "1e3", "soon", "2026-01-02T03:05:05Z", "0x10"} {
		_, ok := webhook.ParseRetryAfter(value, now)
		assert.False(t, ok, value)
	}
}
