package command

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// also registers a second provider of the order's business type.
func (w *world) also(id string) {
	w.registry.providers[id] = &events.Provider{ID: id, BusinessTypes: []string{"shop"}, Regions: []string{}}
	w.registry.index()
}

func TestATimeOutGoesToTheNextCandidateAndThenTheOrderExpires(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.also("other")
	from := len(w.log)
	w.must(t, w.expire("acme"))
	require.Equal(t, []events.Type{events.TaskExpired, events.TaskOffered}, w.types(from))
	require.Equal(t, &events.Expiry{Deadline: events.DeadlineAccept}, w.task("acme").Expired)
	require.Equal(t, "let the order expire", w.task("other").Routing.Candidates[1].Excluded)
	w.must(t, w.accept("other"), w.expire("other"))
	require.Equal(t, &events.Expiry{Deadline: events.DeadlineComplete}, w.task("other").Expired)
	o := w.order()
	require.Equal(t, events.OrderStatusExpired, o.Status)
	require.Equal(t, events.Quantities{Ordered: 3}, o.Lines[0].Quantities, "what it held is open again")
	require.NoError(t, w.do(t, &OfferOrder{OrderID: o.ID}))
	require.Equal(t, events.OrderStatusExpired, o.Status, "nobody new is there")
	w.also("third")
	require.NoError(t, w.do(t, &OfferOrder{OrderID: o.ID}))
	require.Equal(t, events.OrderRouted, o.Status)
	require.Equal(t, 3, w.task("third").Attempt)
}

func TestMoreAttemptsThanProvidersAskThemAgain(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.also("other")
	w.registry.routes["shop"].MaxAttempts = 3
	w.must(t, w.expire("acme"))
	block := func() Command {
		return &RejectTask{onTask: w.on("other"), Rejection: events.Rejection{ReasonCode: "never", Blocking: true}}
	}
	w.must(t, block)
	require.Equal(t, events.TaskStatusOffered, w.task("acme").Status, "asked again: time alone passed, and nobody else is left")
	require.Equal(t, 3, w.task("acme").Attempt)
	w.must(t, w.reject("acme"))
	require.Equal(t, events.OrderActionRequired, w.order().Status, "three attempts are all")
	require.Len(t, w.order().Tasks, 3)
	w.also("third")
	require.NoError(t, w.do(t, &OfferOrder{OrderID: w.order().ID}))
	require.Len(t, w.order().Tasks, 3, "also when somebody new comes")
}

func TestDeadlinesDoNotRunOnHold(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	acceptBy, completeBy := w.task("acme").AcceptBy, w.task("acme").CompleteBy
	w.must(t, w.hold("acme"))
	held := w.at
	require.Equal(t, events.OrderActionRequired, w.order().Status, "all that is open is on hold")
	w.at = w.at.Add(24 * time.Hour)
	from := len(w.log)
	require.NoError(t, w.do(t, &ExpireTask{TaskID: w.task("acme").ID}))
	require.Empty(t, w.types(from))
	resume := func() Command { return &ResumeTask{w.on("acme")} }
	w.must(t, resume)
	task, late := w.task("acme"), w.at.Sub(held)
	require.Equal(t, events.TaskStatusOffered, task.Status)
	require.Equal(t, acceptBy.Add(late), task.AcceptBy)
	require.Equal(t, completeBy.Add(late), task.CompleteBy)
	require.Equal(t, events.OrderRouted, w.order().Status)
	again := w.on("acme")
	again.IfVersion = 0
	from = len(w.log)
	require.NoError(t, w.do(t, &ResumeTask{again}), "the same again")
	require.Empty(t, w.types(from))
	w.must(t, w.accept("acme"), w.hold("acme"))
	w.at = w.at.Add(time.Hour)
	w.must(t, resume)
	require.Equal(t, events.TaskStatusAccepted, w.task("acme").Status)
	require.Equal(t, task.AcceptBy, w.task("acme").AcceptBy, "it was accepted in time")
	require.NotEqual(t, completeBy.Add(late), w.task("acme").CompleteBy)
}

func TestALateResultIsKeptAndCountsNothing(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.also("other")
	w.must(t, w.accept("acme"), w.expire("acme"))
	version, before := w.task("acme").Version, w.order().Lines[0].Quantities
	w.must(t, w.post("acme", events.OutcomeCompleted))
	o := w.order()
	require.True(t, o.Results[0].Late)
	require.Equal(t, int64(3), o.Results[0].Lines[0].Quantity)
	require.Equal(t, events.TaskStatusExpired, w.task("acme").Status)
	require.Equal(t, version, w.task("acme").Version)
	require.Equal(t, before, o.Lines[0].Quantities)
	require.Equal(t, events.OrderRouted, o.Status)
	w.must(t, w.post("other", events.OutcomeCompleted))
	require.Equal(t, events.OrderStatusCompleted, o.Status)
	require.Equal(t, fault.TaskState, fault.CodeOf(w.do(t, w.post("other", events.OutcomeCompleted)())), "a completed task takes no more")
	tooMuch := w.post("acme", events.OutcomePartial, events.ResultLine{LineID: "1", Quantity: 4, Outcome: events.LineFulfilled})
	require.Equal(t, fault.Invalid, fault.CodeOf(w.do(t, tooMuch())), "more than the task ever had")
}

// With the policy all every provider does its part: the order waits for each, and counts a unit once.
func TestAnOrderOfSeveralTasksEndsWithTheLast(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.reject("acme"))
	w.registry.routes["shop"].Policy = events.PolicyAll
	w.also("one")
	w.also("two")
	require.NoError(t, w.do(t, &OfferOrder{OrderID: w.order().ID}))
	w.must(t, w.post("one", events.OutcomeCompleted))
	o := w.order()
	require.Equal(t, events.OrderPartiallyCompleted, o.Status, "the other one has not answered")
	require.Equal(t, events.Fulfilled, o.FulfillmentStatus)
	w.must(t, w.accept("two"), w.post("two", events.OutcomeCompleted))
	require.Equal(t, events.OrderStatusCompleted, o.Status)
	require.Equal(t, int64(3), o.Lines[0].Quantities.Fulfilled)
	require.Equal(t, events.OrderCompleted, w.log[len(w.log)-1].Type)
}
