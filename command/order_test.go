package command

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// world is one order and all that happened to it.
type world struct {
	registry *Registry
	order    *events.Order
	log      []events.Event
	at       time.Time
	results  int
}

func newWorld(t *rapid.T) *world {
	w := &world{registry: newRegistry(), at: time.Unix(1_700_000_000, 0)}
	for i := range rapid.IntRange(0, 4).Draw(t, "providers") {
		p := &events.Provider{ID: fmt.Sprint("p", i), BusinessTypes: []string{"x"}, Regions: []string{}}
		w.registry.providers[p.ID] = p
	}
	w.registry.index()
	policy := rapid.SampledFrom([]events.Policy{events.PolicyAll, events.PolicyLeastLoaded}).Draw(t, "policy")
	w.registry.routes["x"] = &events.Route{BusinessType: "x", Policy: policy, MaxAttempts: rapid.IntRange(0, 3).Draw(t, "attempts")}
	s := &Submission{Tenant: "demo", BusinessType: "x", Placed: events.Placed{Channel: "web", ExternalRef: "r", Region: "eu", Currency: "EUR"}}
	for i := range rapid.IntRange(1, 4).Draw(t, "lines") {
		s.Placed.Lines = append(s.Placed.Lines, events.PlacedLine{
			LineID: fmt.Sprint(i + 1), SKU: "a", Quantity: rapid.Int64Range(1, 5).Draw(t, "quantity"), UnitPrice: 10,
		})
	}
	d := w.decision()
	require.NoError(t, d.place(s, w.registry))
	w.take(d)
	return w
}

func (w *world) decision() *Decision {
	w.at = w.at.Add(time.Second)
	return NewDecision(w.order, w.at, int64(len(w.log))+1, "")
}

func (w *world) take(d *Decision) {
	w.order = d.Order
	w.log = append(w.log, d.Events...)
}

// step lets a task's provider do something, allowed or not.
func (w *world) step(t *rapid.T) {
	if len(w.order.Tasks) == 0 {
		return
	}
	task := &w.order.Tasks[rapid.IntRange(0, len(w.order.Tasks)-1).Draw(t, "task")]
	on := onTask{Provider: task.Provider, TaskID: task.ID}
	d := w.decision()
	var err error
	switch rapid.SampledFrom([]events.Action{events.ActionAccept, events.ActionReject, events.ActionResult}).Draw(t, "action") {
	case events.ActionAccept:
		if err = on.allowed(task, events.ActionAccept); err == nil {
			err = d.accept(task)
		}
	case events.ActionReject:
		rejection := &events.Rejection{ReasonCode: "no", Blocking: rapid.Bool().Draw(t, "blocking")}
		if err = on.allowed(task, events.ActionReject); err == nil {
			err = d.reject(task, rejection, w.registry)
		}
	case events.ActionResult:
		err = w.result(t, d, &on, task)
	}
	if err != nil {
		require.NotEqual(t, fault.Internal, fault.CodeOf(err), "%v", err)
		require.Empty(t, d.Events, "a refused command records nothing")
		return
	}
	w.take(d)
}

func (w *world) result(t *rapid.T, d *Decision, on *onTask, task *events.Task) error {
	if err := on.allowed(task, events.ActionResult); err != nil {
		return err
	}
	w.results++
	posted := events.ResultPosted{
		ResultID: fmt.Sprint(w.results),
		Outcome:  rapid.SampledFrom([]events.Outcome{events.OutcomeCompleted, events.OutcomePartial, events.OutcomeFailed}).Draw(t, "outcome"),
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "named") {
		posted.Lines = append(posted.Lines, events.ResultLine{
			LineID: fmt.Sprint(rapid.IntRange(1, 5).Draw(t, fmt.Sprint("line", i))), Quantity: rapid.Int64Range(1, 6).Draw(t, "done"),
			Outcome: rapid.SampledFrom([]events.LineOutcome{events.LineFulfilled, events.LineRejected, events.LineCancelled}).Draw(t, "as"),
		})
	}
	if posted.Outcome == events.OutcomePartial && len(posted.Lines) == 0 {
		return nil // refused when it is read
	}
	complete, err := complete(posted, task)
	if err != nil {
		return err
	}
	return d.post(task, complete)
}

// sound checks what holds of an order at any time.
func (w *world) sound(t *rapid.T) {
	o := w.order
	for _, line := range o.Lines {
		q := line.Quantities
		require.Equal(t, line.Quantity, q.Ordered)
		require.GreaterOrEqual(t, q.Open(), int64(0), "fulfilled + cancelled + rejected <= ordered")
		for _, n := range []int64{q.Assigned, q.Accepted, q.Fulfilled, q.Rejected, q.Cancelled} {
			require.GreaterOrEqual(t, n, int64(0))
		}
		require.LessOrEqual(t, q.Accepted, q.Assigned)
		require.Equal(t, held(o, line.LineID), q.Assigned)
	}
	for _, task := range o.Tasks {
		require.Equal(t, task.Status.Actions(), task.SupportedActions)
		left := int64(0)
		for _, given := range task.Lines {
			require.GreaterOrEqual(t, given.Open(), int64(0))
			left += given.Open()
		}
		if task.Status == events.TaskStatusCompleted {
			require.Zero(t, left, "a completed task accounts for all")
		}
	}
	require.Equal(t, int64(len(w.log)), o.Version)
	standing := o.Standing()
	require.Equal(t, standing.Status(), o.Status)
	require.Equal(t, standing.Fulfillment(), o.FulfillmentStatus)
}

// held is what tasks hold of a line: all of it, or what they did of it before they were rejected.
func held(o *events.Order, lineID string) int64 {
	sum := int64(0)
	for _, task := range o.Tasks {
		for _, given := range task.Lines {
			switch {
			case given.LineID != lineID:
			case task.Status == events.TaskStatusRejected:
				sum += given.Quantity - given.Open()
			default:
				sum += given.Quantity
			}
		}
	}
	return sum
}

// folded checks that the log alone gives the same order.
func (w *world) folded(t *rapid.T) {
	var again *events.Order
	for i := range w.log {
		body, err := w.log[i].Encode()
		require.NoError(t, err)
		e, err := events.Decode(int64(i)+1, body)
		require.NoError(t, err)
		again, err = events.Apply(again, &e)
		require.NoError(t, err)
	}
	want, err := w.order.Encode()
	require.NoError(t, err)
	got, err := again.Encode()
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestAnySequenceOfCommandsKeepsTheOrderSound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.sound(t)
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			w.step(t)
			w.sound(t)
		}
		w.folded(t)
	})
}
