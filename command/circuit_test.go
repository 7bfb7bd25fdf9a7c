package command

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// clock is a clock that stands still until it is moved.
type clock struct{ at atomic.Int64 }

func heldClock() *clock {
	c := &clock{}
	c.at.Store(noon.UnixMicro())
	return c
}

func (c *clock) now() time.Time        { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) move(by time.Duration) { c.at.Add(by.Microseconds()) }

// nodeAt starts a committer with its watcher and housekeeper, as another process would, on a clock.
func (b *bench) nodeAt(now func() time.Time) *Committer {
	c := NewCommitter(Config{Pool: b.pool, Tip: &stream.Tip{}, Now: now, Logger: slog.New(slog.DiscardHandler)})
	run(b.t, c)
	run(b.t, NewWatcher(c))
	run(b.t, NewHousekeeper(c))
	return c
}

func offered(at time.Time) *events.Event {
	e := events.New(events.TaskOffered, at, &events.Offered{})
	return &e
}

func posted(at time.Time, outcome events.Outcome, status events.TaskStatus) *events.Event {
	e := events.New(events.TaskResultPosted, at, &events.ResultPosted{Outcome: outcome, TaskStatus: status})
	return &e
}

func failed(at time.Time) *events.Event {
	return posted(at, events.OutcomeFailed, events.TaskIncomplete)
}

func completed(at time.Time) *events.Event {
	return posted(at, events.OutcomeCompleted, events.TaskStatusCompleted)
}

func event(typ events.Type, at time.Time, data any) *events.Event {
	e := events.New(typ, at, data)
	return &e
}

func fold(c circuit, all ...*events.Event) circuit {
	for _, e := range all {
		c = c.hear(e)
	}
	return c
}

func TestCircuitOpensAfterFiveFailuresInARow(t *testing.T) {
	t.Parallel()
	var c circuit
	for range circuitFailures - 1 {
		c = c.hear(failed(noon))
	}
	require.True(t, c.asks(noon))
	rejected := event(events.TaskRejected, noon, &events.Rejection{ReasonCode: "no"})
	accepted := event(events.TaskAccepted, noon, &events.Accepted{})
	partial := posted(noon, events.OutcomePartial, events.TaskStatusAccepted)
	late := event(events.TaskResultPosted, noon, &events.ResultPosted{Outcome: events.OutcomeFailed, Late: true})
	require.Equal(t, c, fold(c, rejected, accepted, partial, late, offered(noon)), "none of these ends a row, or adds to it")
	require.Equal(t, circuit{}, c.hear(completed(noon)), "a completed task ends the row")

	expired := event(events.TaskExpired, noon, &events.Expiry{Deadline: events.DeadlineAccept})
	helped := event(events.TaskDelegationAnswered, noon, &events.DelegationAnswered{
		ResultID: "1", Outcome: events.OutcomeCompleted, ChildStatus: events.TaskStatusCompleted,
	})
	require.Equal(t, circuit{}, c.hear(helped), "a delegate's result ends the delegate's row")
	nobody := event(events.TaskDelegationAnswered, noon, &events.DelegationAnswered{Outcome: events.OutcomeFailed, ChildStatus: events.TaskStatusRejected})
	require.Equal(t, c, c.hear(nobody), "what became of the delegate's task was counted when that ended")
	c = c.hear(expired)
	require.Equal(t, events.CircuitOpen, c.state())
	require.False(t, c.asks(noon.Add(circuitShortest-time.Microsecond)))
	require.True(t, c.asks(noon.Add(circuitShortest)))
	require.Equal(t, c, fold(c, failed(noon), failed(noon)), "tasks offered before fail too; that is no news")
}

func TestCircuitSendsOneProbeAndDoublesUpToALimit(t *testing.T) {
	t.Parallel()
	c, at := circuit{}, noon
	for range circuitFailures {
		c = c.hear(failed(at))
	}
	for _, wait := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		require.False(t, c.asks(at.Add(wait-1)))
		at = at.Add(wait)
		require.True(t, c.asks(at))
		c = c.hear(offered(at))
		require.Equal(t, events.CircuitHalfOpen, c.state())
		require.False(t, c.asks(at), "one task is the probe")
		require.True(t, c.asks(at.Add(wait)), "a probe that nobody answers is followed by another")
		c = c.hear(failed(at))
	}
	require.Equal(t, circuit{}, c.hear(event(events.TaskAccepted, at, &events.Accepted{})))
	require.Equal(t, circuit{}, fold(c, offered(at.Add(time.Hour)), completed(at.Add(time.Hour))))
}

// A circuit is never open without five failures since it was closed for the last time, and opens again by itself for a probe.
func TestCircuitIsSoundAfterAnyEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c circuit
		at, failures := noon, 0
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			at = at.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				c = c.hear(offered(at))
			case 1:
				wasOpen := c.trips > 0
				if c = c.hear(event(events.TaskAccepted, at, &events.Accepted{})); wasOpen {
					failures = 0
				}
			case 2:
				c, failures = c.hear(completed(at)), 0
			default:
				c = c.hear(failed(at))
				failures++
			}
			require.Equal(t, failures >= circuitFailures, c.trips > 0)
			require.True(t, c.asks(at.Add(circuitLongest)))
		}
	})
}

// next places an order on a node and gives its only task.
func next(t *testing.T, c *Committer, ref string) *events.Task {
	t.Helper()
	answer, err := c.Submit(t.Context(), submission(t, "demo", order(ref)), nil)
	require.NoError(t, err)
	o := decoded(t, answer.Body)
	require.Len(t, o.Tasks, 1)
	return &o.Tasks[0]
}

func fail(t *testing.T, c *Committer, task *events.Task) {
	t.Helper()
	_, err := c.Submit(t.Context(), result(t, task.Provider, task.ID, fmt.Sprintf(`{"result_id":%q,"outcome":"failed"}`, task.ID)), nil)
	require.NoError(t, err)
}

func circuitOf(task *events.Task, provider string) events.CircuitState {
	for _, c := range task.Routing.Candidates {
		if c.Provider == provider {
			return c.Circuit
		}
	}
	return "no candidate"
}

func TestCircuitIsTheSameOnAnotherNodeAndAfterARestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	held := heldClock()
	node := func() *Committer { return b.nodeAt(held.now) }
	first := node()
	b.register("acme", "retail.erp")
	for i := range circuitFailures {
		task := next(t, first, fmt.Sprint("fail-", i))
		require.Empty(t, circuitOf(task, "acme"))
		fail(t, first, task)
	}
	b.register("zeta", "retail.erp") // later in the alphabet: asked only because acme is not
	second := node()
	task := next(t, second, "open")
	require.Equal(t, "zeta", task.Provider)
	require.Equal(t, events.CircuitOpen, circuitOf(task, "acme"))
	require.Equal(t, "zeta", next(t, first, "open there too").Provider)

	held.move(circuitShortest)
	probe := next(t, first, "probe")
	require.Equal(t, "acme", probe.Provider)
	require.Equal(t, events.CircuitHalfOpen, circuitOf(probe, "acme"))
	task = next(t, second, "while the probe is out")
	require.Equal(t, "zeta", task.Provider)
	require.Equal(t, events.CircuitHalfOpen, circuitOf(task, "acme"))
	fail(t, second, probe)

	held.move(circuitShortest)
	third := node()
	require.Equal(t, "zeta", next(t, third, "open for longer").Provider)
	held.move(circuitShortest)
	probe = next(t, third, "second probe")
	require.Equal(t, "acme", probe.Provider)
	_, err := third.Submit(t.Context(), &AcceptTask{onTask{Provider: "acme", TaskID: probe.ID}}, nil)
	require.NoError(t, err)
	task = next(t, node(), "closed")
	require.Empty(t, circuitOf(task, "acme"))
	b.verified()
}

// A round that the database does not take leaves the circuit as it was.
func TestFailedRoundLeavesTheCircuit(t *testing.T) {
	t.Parallel()
	registry := newRegistry()
	before := circuit{failures: circuitFailures - 1}
	registry.setCircuit("acme", before)
	r := newRound(head{}, noon, registry)
	e := failed(noon)
	e.Provider = "acme"
	r.hear(e)
	e = completed(noon)
	e.Provider = "acme"
	r.hear(e)
	e = offered(noon)
	e.Provider = "beta"
	r.hear(e)
	require.Empty(t, registry.circuits)
	r.undo()
	require.Equal(t, map[string]circuit{"acme": before}, registry.circuits)
}
