package command

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// world is one order and all that happened to it, decided by rounds as the committer's are.
type world struct {
	registry  *Registry
	state     *orderState
	log       []events.Event
	at        time.Time
	results   int
	deadlines map[string]time.Time
}

// businessTypes are of a task, its delegate, that one's delegate, and one too deep. "x" is the order's.
func businessTypes() []string { return []string{"x", "y", "z", "deep"} }

func newWorld(t *rapid.T) *world {
	w := &world{registry: newRegistry(), at: time.Unix(1_700_000_000, 0), deadlines: map[string]time.Time{}}
	for range rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5}).Draw(t, "providers") {
		w.join(t)
	}
	seconds := rapid.SampledFrom([]int64{0, 60, 3600})
	for _, businessType := range businessTypes() {
		w.registry.routes[businessType] = &events.Route{
			BusinessType: businessType,
			Policy:       rapid.SampledFrom([]events.Policy{events.PolicyAll, events.PolicyLeastLoaded}).Draw(t, "policy"),
			AcceptWithin: seconds.Draw(t, "accept"), CompleteIn: seconds.Draw(t, "complete"), CancelWithin: seconds.Draw(t, "answer"),
			MaxAttempts: rapid.IntRange(0, 3).Draw(t, "attempts"),
		}
	}
	s := &Submission{Tenant: "demo", BusinessType: "x", Placed: events.Placed{Channel: "web", ExternalRef: "r", Region: "eu", Currency: "EUR"}}
	for i := range rapid.IntRange(1, 3).Draw(t, "lines") {
		line := w.line(t, fmt.Sprint(i+1))
		s.Placed.Lines = append(s.Placed.Lines, line)
		s.Placed.Total += line.Total
	}
	r := w.round()
	d := r.decide(nil, "")
	require.NoError(t, d.place(s))
	w.state = r.place(d, s)
	w.take(t, r)
	return w
}

func (w *world) line(t *rapid.T, id string) events.PlacedLine {
	n := rapid.Int64Range(1, 5).Draw(t, "quantity")
	return events.PlacedLine{LineID: id, SKU: "sku-" + id, Quantity: n, UnitPrice: 10, Total: 10 * n}
}

// join registers a provider.
func (w *world) join(t *rapid.T) {
	id := fmt.Sprint("p", len(w.registry.providers))
	types := businessTypes()
	if rapid.SampledFrom([]bool{false, false, true}).Draw(t, "special") {
		types = rapid.SliceOfNDistinct(rapid.SampledFrom(businessTypes()), 1, 4, rapid.ID[string]).Draw(t, "types")
	}
	w.registry.providers[id] = &events.Provider{ID: id, BusinessTypes: types, Regions: []string{}}
	w.registry.index()
}

func (w *world) round() *round {
	w.at = w.at.Add(time.Second)
	r := newRound(head{position: int64(len(w.log))}, w.at, w.registry)
	if w.state != nil {
		w.state.touched = false
		r.know(w.state)
	}
	return r
}

func (w *world) take(t require.TestingT, r *round) {
	w.log = append(w.log, r.events...)
	for id, d := range r.deadlines {
		_, known := w.deadlines[id]
		require.False(t, known && d.fresh, "a deadline is stored twice")
		if w.deadlines[id] = d.at; d.at.IsZero() {
			delete(w.deadlines, id)
		}
	}
}

func (w *world) order() *events.Order { return w.state.order }

// do applies a command. One that is refused leaves all as it was.
func (w *world) do(t require.TestingT, command Command) error {
	before, err := w.order().Encode()
	require.NoError(t, err)
	r := w.round()
	if _, err := command.apply(r); err != nil {
		require.NotEqual(t, fault.Internal, fault.CodeOf(err), "%v", err)
		after, encodeErr := w.order().Encode()
		require.NoError(t, encodeErr)
		require.Equal(t, string(before), string(after), "a refused command changes nothing")
		require.Empty(t, r.events)
		require.Empty(t, r.loads)
		return err
	}
	w.take(t, r)
	return nil
}

// step lets somebody do something, allowed or not.
func (w *world) step(t *rapid.T) {
	w.at = w.at.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 30, 90, 5000}).Draw(t, "passes")) * time.Second)
	switch rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}).Draw(t, "who") {
	case 0:
		w.join(t)
		require.NoError(t, w.do(t, &OfferOrder{OrderID: w.order().ID}))
	case 1:
		w.amend(t)
	case 2:
		_ = w.do(t, &CancelOrder{onOrder: w.mine(t), Reason: "changed_mind"})
	case 3, 4:
		for _, id := range w.due() {
			require.NoError(t, w.do(t, &ExpireTask{TaskID: id}))
		}
	default:
		w.provider(t)
	}
}

func (w *world) mine(t *rapid.T) onOrder {
	version := rapid.SampledFrom([]int64{0, 0, w.order().Version, w.order().Version - 1}).Draw(t, "if match")
	return onOrder{Tenant: "demo", OrderID: w.order().ID, IfVersion: version}
}

func (w *world) due() []string {
	var ids []string
	for id, at := range w.deadlines {
		if !at.After(w.at) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (w *world) amend(t *rapid.T) {
	c := &AmendOrder{onOrder: w.mine(t)}
	if rapid.Bool().Draw(t, "shipping changes") {
		shipping := rapid.Int64Range(0, 3).Draw(t, "shipping")
		c.Amendment.Shipping = &shipping
	}
	if rapid.Bool().Draw(t, "customer changes") {
		c.Amendment.Customer = []byte(rapid.SampledFrom([]string{`null`, `{"name":"A"}`, `{"name":null}`, `{"email":"no"}`}).Draw(t, "customer"))
	}
	if rapid.Bool().Draw(t, "lines change") {
		for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"1", "2", "3", "9"}), 1, 3, rapid.ID[string]).Draw(t, "ids") {
			c.Amendment.Lines = append(c.Amendment.Lines, w.line(t, id))
		}
	}
	started := slices.ContainsFunc(w.order().Tasks, func(task events.Task) bool { return !task.AcceptedAt.IsZero() })
	lines := lineIDs(w.order())
	if err := w.do(t, c); err == nil && started {
		require.Equal(t, lines, lineIDs(w.order()), "what a provider has accepted stays")
	}
}

func lineIDs(o *events.Order) []string {
	ids := make([]string, len(o.Lines))
	for i, line := range o.Lines {
		ids[i] = fmt.Sprint(line.Quantity, " of ", line.LineID)
	}
	return ids
}

// provider lets a task's provider do something. What the task lists as supported is never refused for its status; what it does not
// list always is.
func (w *world) provider(t *rapid.T) {
	if len(w.order().Tasks) == 0 {
		return
	}
	task := rapid.SampledFrom(w.order().Tasks).Draw(t, "task")
	on := onTask{Provider: task.Provider, TaskID: task.ID, IfVersion: task.Version}
	actions := []events.Action{
		events.ActionAccept, events.ActionReject, events.ActionResult, events.ActionResult, events.ActionHold, events.ActionResume,
		events.ActionDelegate, events.ActionDelegate,
	}
	action := rapid.SampledFrom(actions).Draw(t, "action")
	err := w.do(t, w.command(t, action, on))
	refused := err != nil && fault.CodeOf(err) == fault.TaskState
	require.Equal(t, !slices.Contains(task.SupportedActions, action), refused, "%s on a task that is %s: %v", action, task.Status, err)
}

func (w *world) command(t *rapid.T, action events.Action, on onTask) Command {
	switch action {
	case events.ActionAccept:
		return &AcceptTask{on}
	case events.ActionReject:
		return &RejectTask{onTask: on, Rejection: events.Rejection{ReasonCode: "no", Blocking: rapid.Bool().Draw(t, "blocking")}}
	case events.ActionHold:
		return &HoldTask{onTask: on, Held: events.Held{ReasonCode: "no_stock"}}
	case events.ActionResume:
		return &ResumeTask{on}
	case events.ActionDelegate:
		c := &DelegateTask{onTask: on, BusinessType: rapid.SampledFrom(businessTypes()).Draw(t, "help"), Payload: []byte(`{"n":1}`)}
		if rapid.Bool().Draw(t, "a part") {
			c.Lines = []events.TaskQuantity{{LineID: fmt.Sprint(rapid.IntRange(1, 4).Draw(t, "line")), Quantity: rapid.Int64Range(1, 3).Draw(t, "of it")}}
		}
		return c
	}
	return w.result(t, on)
}

func (w *world) result(t *rapid.T, on onTask) *PostResult {
	w.results++
	c := &PostResult{onTask: on}
	c.Result.ResultID = fmt.Sprint(w.results)
	c.Result.Outcome = rapid.SampledFrom([]events.Outcome{events.OutcomeCompleted, events.OutcomePartial, events.OutcomeFailed}).Draw(t, "outcome")
	least := 0
	if c.Result.Outcome == events.OutcomePartial {
		least = 1
	}
	for i := range rapid.IntRange(least, 3).Draw(t, "named") {
		c.Result.Lines = append(c.Result.Lines, events.ResultLine{
			LineID: fmt.Sprint(rapid.IntRange(1, 3).Draw(t, fmt.Sprint("line", i))), Quantity: rapid.Int64Range(1, 4).Draw(t, "done"),
			Outcome: rapid.SampledFrom([]events.LineOutcome{events.LineFulfilled, events.LineRejected, events.LineCancelled}).Draw(t, "as"),
		})
	}
	return c
}

// sound checks what holds of an order at any time.
func (w *world) sound(t *rapid.T) {
	o := w.order()
	total := o.Shipping
	for _, line := range o.Lines {
		q := line.Quantities
		total += line.Total
		require.Equal(t, line.Quantity, q.Ordered)
		require.GreaterOrEqual(t, q.Open(), int64(0), "fulfilled + cancelled + rejected <= ordered")
		for _, n := range []int64{q.Assigned, q.Accepted, q.Fulfilled, q.Rejected, q.Cancelled} {
			require.GreaterOrEqual(t, n, int64(0))
		}
		require.LessOrEqual(t, q.Accepted, q.Assigned)
		require.Equal(t, held(o, line.LineID), q.Assigned)
	}
	require.Equal(t, total, o.Total)
	open := map[string]int64{}
	for i := range o.Tasks {
		w.soundTask(t, &o.Tasks[i])
		if o.Tasks[i].Status.Open() {
			open[o.Tasks[i].Provider]++
		}
	}
	for provider, n := range w.registry.open {
		require.Equal(t, open[provider], n, "open tasks of %s", provider)
	}
	require.Equal(t, int64(len(w.log)), o.Version)
	standing := o.Standing()
	require.Equal(t, standing.Status(), o.Status)
	require.Equal(t, standing.Fulfillment(), o.FulfillmentStatus)
	if !standing.AnyOpenTask() && standing.Open() > 0 {
		require.True(t, o.Status.Waiting(), "units are open and nobody has them: %s", o.Status)
	}
	if c := o.Cancellation; c != nil {
		require.Equal(t, c.Status == events.CancellationRequested, slices.ContainsFunc(o.Tasks, func(task events.Task) bool {
			return task.Status == events.TaskCancelAsked
		}), "a cancellation waits for an answer, or is over")
		require.True(t, c.Status != events.CancellationDone || o.Status.AtEnd(), "what is cancelled is at its end")
	}
	if o.Status.AtEnd() {
		require.Empty(t, open, "nobody works on an order at its end")
	}
}

func (w *world) soundTask(t *rapid.T, task *events.Task) {
	o := w.order()
	require.Equal(t, task.Status.Actions(), task.SupportedActions)
	left := int64(0)
	for _, given := range task.Lines {
		require.GreaterOrEqual(t, given.Open(), int64(0))
		left += given.Open()
	}
	if task.Status == events.TaskStatusCompleted {
		require.Zero(t, left, "a completed task accounts for all")
	}
	due, _ := task.Due()
	require.Equal(t, due, w.deadlines[task.ID], "the deadline that is stored of a task that is %s", task.Status)
	if task.DelegatedFrom != "" && task.Status.Open() {
		require.Equal(t, events.TaskStatusDelegated, o.Task(task.DelegatedFrom).Status, "help is waited for")
	}
	if task.Status == events.TaskStatusDelegated {
		require.True(t, slices.ContainsFunc(o.Tasks, func(child events.Task) bool {
			return child.DelegatedFrom == task.ID && child.Status.Open()
		}), "somebody helps")
	}
	require.LessOrEqual(t, task.Level(), 3)
	for _, result := range o.Results {
		require.Empty(t, o.Task(result.TaskID).DelegatedFrom, "a delegate's result is its delegator's to tell")
	}
}

// held is what tasks hold of a line: all of it, or what they did of it before they ended without a result.
func held(o *events.Order, lineID string) int64 {
	sum := int64(0)
	for _, task := range o.Tasks {
		if task.DelegatedFrom != "" {
			continue
		}
		for _, given := range task.Lines {
			switch {
			case given.LineID != lineID:
			case slices.Contains([]events.TaskStatus{events.TaskStatusRejected, events.TaskStatusExpired, events.TaskStatusCancelled}, task.Status):
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
	want, err := w.order().Encode()
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
		for range rapid.SampledFrom([]int{3, 10, 20, 40}).Draw(t, "steps") {
			w.step(t)
			w.sound(t)
		}
		w.folded(t)
	})
}
