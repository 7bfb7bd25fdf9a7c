package command

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// fixed is a world of one order of two lines, offered to "acme". "store" can be asked for "wms", "van" for "carrier".
func fixed(t *testing.T) *world {
	t.Helper()
	w := &world{registry: newRegistry(), at: time.Unix(1_700_000_000, 0), deadlines: map[string]time.Time{}}
	for id, businessType := range map[string]string{"acme": "shop", "store": "wms", "van": "carrier"} {
		w.registry.providers[id] = &events.Provider{ID: id, BusinessTypes: []string{businessType}, Regions: []string{}}
		w.registry.routes[businessType] = &events.Route{
			BusinessType: businessType, Policy: events.PolicyLeastLoaded, AcceptWithin: 600, CompleteIn: 3600, CancelWithin: 900, Regions: []string{},
		}
	}
	w.registry.index()
	s, err := decodeOrder([]byte(`{"channel":"web","external_ref":"r","business_type":"shop","currency":"EUR","lines":[
		{"sku":"A","quantity":3,"unit_price":100},{"sku":"B","quantity":1,"unit_price":50}],"customer":{"name":"Ada"}}`), "demo")
	require.NoError(t, err)
	r := w.round()
	d := r.decide(nil, "")
	require.NoError(t, d.place(s))
	w.state = r.place(d, s)
	w.take(t, r)
	return w
}

// task is the last task that a provider was offered.
func (w *world) task(provider string) *events.Task {
	for i := len(w.order().Tasks) - 1; i >= 0; i-- {
		if w.order().Tasks[i].Provider == provider {
			return &w.order().Tasks[i]
		}
	}
	return nil
}

func (w *world) on(provider string) onTask {
	return onTask{Provider: provider, TaskID: w.task(provider).ID, IfVersion: w.task(provider).Version}
}

func (w *world) user() onOrder {
	return onOrder{Tenant: "demo", OrderID: w.order().ID, IfVersion: w.order().Version}
}

func (w *world) must(t *testing.T, commands ...func() Command) {
	t.Helper()
	for _, make := range commands {
		require.NoError(t, w.do(t, make()))
	}
}

func (w *world) accept(provider string) func() Command {
	return func() Command { return &AcceptTask{w.on(provider)} }
}

func (w *world) reject(provider string) func() Command {
	return func() Command {
		return &RejectTask{onTask: w.on(provider), Rejection: events.Rejection{ReasonCode: "no_capacity"}}
	}
}

func (w *world) hold(provider string) func() Command {
	return func() Command { return &HoldTask{onTask: w.on(provider), Held: events.Held{ReasonCode: "no_stock"}} }
}

func (w *world) delegate(provider, businessType string) func() Command {
	return func() Command {
		return &DelegateTask{onTask: w.on(provider), BusinessType: businessType, Payload: []byte(`{"pick":["A"]}`)}
	}
}

func (w *world) post(provider string, outcome events.Outcome, lines ...events.ResultLine) func() Command {
	return func() Command {
		w.results++
		c := &PostResult{onTask: w.on(provider)}
		c.Result = events.ResultPosted{ResultID: string(rune('a' + w.results)), Outcome: outcome, Lines: lines}
		return c
	}
}

func (w *world) cancel() Command { return &CancelOrder{onOrder: w.user(), Reason: "changed_mind"} }

func (w *world) expire(provider string) func() Command {
	return func() Command {
		w.at = w.at.Add(3 * time.Hour)
		return &ExpireTask{TaskID: w.task(provider).ID}
	}
}

func (w *world) amendShipping() Command {
	shipping := w.order().Shipping + 100
	return &AmendOrder{onOrder: w.user(), Amendment: Amendment{Shipping: &shipping}}
}

func (w *world) amendLines() Command {
	return &AmendOrder{onOrder: w.user(), Amendment: Amendment{Lines: []events.PlacedLine{
		{LineID: "1", SKU: "A", Quantity: w.order().Lines[0].Quantity + 1, UnitPrice: 100, Total: 400},
	}}}
}

// paths lead a provider's task to each status, where one has several pasts to several of them.
func (w *world) paths(provider, helper string) map[events.TaskStatus][][]func() Command {
	accept := w.accept(provider)
	all := map[events.TaskStatus][][]func() Command{
		events.TaskStatusOffered:   {{}},
		events.TaskStatusAccepted:  {{accept}},
		events.TaskStatusDelegated: {{w.delegate(provider, helper)}, {accept, w.delegate(provider, helper)}},
		events.TaskOnHold:          {{w.hold(provider)}, {accept, w.hold(provider)}},
		events.TaskStatusCompleted: {{w.post(provider, events.OutcomeCompleted)}},
		events.TaskIncomplete:      {{w.post(provider, events.OutcomeFailed)}},
		events.TaskStatusRejected:  {{w.reject(provider)}},
		events.TaskStatusExpired:   {{w.expire(provider)}, {accept, w.expire(provider)}},
		events.TaskStatusCancelled: {{w.cancel}},
	}
	if w.task(provider).DelegatedFrom == "" {
		all[events.TaskCancelAsked] = [][]func() Command{{accept, w.cancel}}
		all[events.TaskCancelRefused] = [][]func() Command{{accept, w.cancel, w.reject(provider)}}
	}
	return all
}

// tries are commands for each action, in all their variations.
func (w *world) tries(provider, helper string) map[events.Action][]func() Command {
	one := events.ResultLine{LineID: "1", Quantity: 1, Outcome: events.LineFulfilled}
	dropped := []events.ResultLine{{LineID: "1", Quantity: 3, Outcome: events.LineCancelled}, {LineID: "2", Quantity: 1, Outcome: events.LineCancelled}}
	return map[events.Action][]func() Command{
		events.ActionAccept: {w.accept(provider)},
		events.ActionReject: {w.reject(provider)},
		events.ActionResult: {
			w.post(provider, events.OutcomeCompleted), w.post(provider, events.OutcomeFailed),
			w.post(provider, events.OutcomePartial, one), w.post(provider, events.OutcomeCompleted, dropped...),
		},
		events.ActionHold:     {w.hold(provider)},
		events.ActionResume:   {func() Command { return &ResumeTask{w.on(provider)} }},
		events.ActionDelegate: {w.delegate(provider, helper)},
		events.ActionAmend:    {w.amendShipping, w.amendLines},
		events.ActionCancel:   {w.cancel},
		events.ActionExpire:   {w.expire(provider)},
	}
}

// seen is one thing that became of a task.
type seen struct {
	From, To events.TaskStatus
	Action   events.Action
	Event    events.Type
	Late     bool
}

// observe brings a task to each status and tries each action on it.
func observe(t *testing.T, begin func() *world, provider, helper string) map[seen]bool {
	t.Helper()
	found := map[seen]bool{}
	for status, paths := range begin().paths(provider, helper) {
		for i := range paths {
			for action, variations := range begin().tries(provider, helper) {
				for k := range variations {
					w := begin()
					w.must(t, w.paths(provider, helper)[status][i]...)
					id := w.task(provider).ID
					require.Equal(t, status, w.order().Task(id).Status)
					supported, from := slices.Contains(w.order().Task(id).SupportedActions, action), len(w.log)
					err := w.do(t, w.tries(provider, helper)[action][k]())
					if isProviders(action) {
						require.Equal(t, !supported, fault.CodeOf(err) == fault.TaskState && err != nil, "%s when %s: %v", action, status, err)
					}
					for _, e := range w.log[from:] {
						note(found, w, e, id, status, action)
					}
				}
			}
		}
	}
	return found
}

func isProviders(a events.Action) bool {
	return slices.ContainsFunc(events.Transitions(), func(row events.Transition) bool { return row.Action == a && row.By == events.ByProvider })
}

func note(found map[seen]bool, w *world, e events.Event, id string, status events.TaskStatus, action events.Action) {
	s := seen{From: status, To: w.order().Task(id).Status, Action: action, Event: e.Type}
	switch data := e.Data.(type) {
	case *events.ResultPosted:
		s.Late = data.Late
	case *events.DelegationAnswered:
		if data.ChildTaskID != id || data.ResultID == "" {
			return
		}
		s.Late = data.Late
		found[s] = true
		return
	}
	if e.TaskID == id {
		found[s] = true
	}
}

// TestWhatHappensIsWhatIsPublished tries every action of providers, users and the clock on a task of every status, and finds the
// published table: no transition more and none less.
func TestWhatHappensIsWhatIsPublished(t *testing.T) {
	t.Parallel()
	published := map[seen]bool{}
	for _, row := range events.Describe().Task.Transitions {
		if row.By == events.BySystem {
			continue
		}
		for _, to := range row.To {
			published[seen{row.From, to, row.Action, row.Event, row.Late}] = true
		}
	}
	require.Equal(t, published, observe(t, func() *world { return fixed(t) }, "acme", "wms"))
}

// TestWhatHappensToDelegatedTasksIsPublished: the same for a task that another one waits for. What only the user's cancellation leads
// to does not happen to it: it is withdrawn.
func TestWhatHappensToDelegatedTasksIsPublished(t *testing.T) {
	t.Parallel()
	begin := func() *world {
		w := fixed(t)
		w.must(t, w.delegate("acme", "wms"))
		return w
	}
	published := map[seen]bool{}
	for _, row := range events.Describe().Task.Transitions {
		if row.ChildEvent != "" {
			row.Event = row.ChildEvent
		}
		for _, to := range row.To {
			published[seen{row.From, to, row.Action, row.Event, row.Late}] = true
			if row.Action == events.ActionWithdraw { // which a cancellation is the reason for here
				published[seen{row.From, to, events.ActionCancel, row.Event, row.Late}] = true
			}
		}
	}
	for s := range observe(t, begin, "store", "carrier") {
		require.True(t, published[s], "%+v", s)
	}
}

// TestTheSystemDoesWhatIsPublished covers what nobody asks for: offers, what a delegator's end does, and answers.
func TestTheSystemDoesWhatIsPublished(t *testing.T) {
	t.Parallel()
	found := map[seen]bool{}
	for _, status := range []events.TaskStatus{events.TaskStatusOffered, events.TaskStatusAccepted, events.TaskStatusDelegated, events.TaskOnHold} {
		w := fixed(t)
		require.Equal(t, events.TaskStatusOffered, w.task("acme").Status)
		found[seen{To: events.TaskStatusOffered, Action: events.ActionOffer, Event: w.log[1].Type}] = true
		w.must(t, w.delegate("acme", "wms"))
		w.must(t, w.paths("store", "carrier")[status][0]...)
		from := len(w.log)
		w.must(t, w.post("acme", events.OutcomeCompleted))
		for _, e := range w.log[from:] {
			if e.TaskID == w.task("store").ID {
				found[seen{From: status, To: w.task("store").Status, Action: events.ActionWithdraw, Event: e.Type}] = true
			}
		}
	}
	for _, outcome := range []events.Outcome{events.OutcomePartial, events.OutcomeCompleted} {
		w := fixed(t)
		w.must(t, w.delegate("acme", "wms"))
		one := events.ResultLine{LineID: "1", Quantity: 1, Outcome: events.LineFulfilled}
		rest := events.ResultLine{LineID: "2", Quantity: 1, Outcome: events.LineFulfilled}
		lines := []events.ResultLine{one}
		if outcome == events.OutcomeCompleted {
			lines = []events.ResultLine{{LineID: "1", Quantity: 3, Outcome: events.LineFulfilled}, rest}
		}
		w.must(t, w.post("store", outcome, lines...))
		last := w.log[len(w.log)-1]
		require.Equal(t, w.task("acme").ID, last.TaskID)
		found[seen{From: events.TaskStatusDelegated, To: w.task("acme").Status, Action: events.ActionAnswer, Event: last.Type}] = true
	}
	published := map[seen]bool{}
	for _, row := range events.Describe().Task.Transitions {
		if row.By != events.BySystem {
			continue
		}
		for _, to := range row.To {
			published[seen{row.From, to, row.Action, row.Event, row.Late}] = true
		}
	}
	require.Equal(t, published, found)
}

// TestAnEventThatIsNoTransitionIsNotRecorded: the table also stands behind what a command decides by mistake.
func TestAnEventThatIsNoTransitionIsNotRecorded(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.post("acme", events.OutcomeCompleted))
	d := w.round().decide(w.state, "")
	err := d.tell(w.task("acme"), events.TaskHeld, &events.Held{ReasonCode: "x"})
	require.ErrorContains(t, err, `task.held takes a task from "completed" to "on_hold", which is no transition`)
	require.Empty(t, d.Events)
}

func TestPublishedTablesAreWhole(t *testing.T) {
	t.Parallel()
	m := events.Describe()
	body, err := json.Marshal(m)
	require.NoError(t, err)
	require.NotContains(t, string(body), "null")
	derived := map[events.OrderStatus]bool{}
	for _, rule := range m.Order.Rules {
		derived[rule.Status] = true
	}
	for _, s := range events.OrderStatuses() {
		require.True(t, derived[s], "%s is derived by a rule", s)
	}
	leads := map[events.TaskStatus]bool{}
	for _, row := range m.Task.Transitions {
		for _, to := range row.To {
			leads[to] = true
		}
	}
	for _, s := range events.TaskStatuses() {
		require.True(t, leads[s], "something leads to %s", s)
	}
}
