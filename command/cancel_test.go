package command

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// types are those of the events from a point of the log on.
func (w *world) types(from int) []events.Type {
	var types []events.Type
	for _, e := range w.log[from:] {
		types = append(types, e.Type)
	}
	return types
}

func TestAnOrderThatNobodyAcceptedIsCancelledAtOnce(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	from := len(w.log)
	w.must(t, w.cancel)
	require.Equal(t, []events.Type{events.TaskCancelled, events.OrderCancelled}, w.types(from))
	o := w.order()
	require.Equal(t, events.OrderStatusCancelled, o.Status)
	require.Equal(t, events.CancellationDone, o.Cancellation.Status)
	require.Equal(t, "changed_mind", o.Cancellation.Reason)
	require.Equal(t, events.Quantities{Ordered: 3, Cancelled: 3}, o.Lines[0].Quantities)
	from = len(w.log)
	w.must(t, w.cancel, func() Command { return &CancelOrder{onOrder: onOrder{Tenant: "demo", OrderID: o.ID, IfVersion: 1}} })
	require.Empty(t, w.types(from), "cancelled already")
}

func TestAnUnroutedOrderIsCancelledAtOnce(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.reject("acme"))
	require.Equal(t, events.OrderActionRequired, w.order().Status)
	w.must(t, w.cancel)
	require.Equal(t, events.OrderStatusCancelled, w.order().Status)
}

func TestAProviderThatAcceptedIsAskedAndAgrees(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.accept("acme"), w.cancel)
	o := w.order()
	require.Equal(t, events.TaskCancelAsked, w.task("acme").Status)
	require.Equal(t, []events.Action{events.ActionAccept, events.ActionReject, events.ActionResult}, w.task("acme").SupportedActions)
	require.Equal(t, w.at.Add(900*time.Second).UTC(), o.Cancellation.AnswerBy)
	require.Equal(t, o.Cancellation.AnswerBy, w.task("acme").AnswerBy)
	require.Equal(t, events.CancellationRequested, o.Cancellation.Status)
	require.Equal(t, events.OrderProcessing, o.Status)
	from := len(w.log)
	w.must(t, w.cancel)
	require.Empty(t, w.types(from), "a second wish to cancel is the same one")
	w.must(t, w.accept("acme"))
	require.Equal(t, []events.Type{events.TaskCancelled, events.OrderCancelled}, w.types(from))
	require.Equal(t, events.OrderStatusCancelled, o.Status)
	require.Equal(t, events.CancellationDone, o.Cancellation.Status)
	again := w.on("acme")
	again.IfVersion = 0
	from = len(w.log)
	require.NoError(t, w.do(t, &AcceptTask{again}), "the same answer again")
	require.Empty(t, w.types(from))
}

func TestAProviderThatRefusesGoesOn(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.accept("acme"), w.cancel, w.reject("acme"))
	o := w.order()
	require.Equal(t, events.CancellationRefused, o.Cancellation.Status)
	require.Equal(t, "no_capacity", w.task("acme").Refused.ReasonCode)
	require.Equal(t, events.OrderProcessing, o.Status)
	w.must(t, w.post("acme", events.OutcomeCompleted))
	require.Equal(t, events.OrderStatusCompleted, o.Status)
	require.Equal(t, events.CancellationRefused, o.Cancellation.Status)
	require.Equal(t, fault.OrderState, fault.CodeOf(w.do(t, w.cancel())), "a completed order cannot be cancelled")
}

func TestARefusedCancellationCanBeAskedForAgain(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.accept("acme"), w.cancel, w.reject("acme"), w.cancel)
	require.Equal(t, events.CancellationRequested, w.order().Cancellation.Status)
	require.Nil(t, w.task("acme").Refused)
	w.must(t, w.accept("acme"))
	require.Equal(t, events.OrderStatusCancelled, w.order().Status)
}

func TestSilenceIsTakenForYes(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.accept("acme"), w.cancel)
	early := len(w.log)
	require.NoError(t, w.do(t, &ExpireTask{TaskID: w.task("acme").ID}))
	require.Empty(t, w.types(early), "it is not time yet")
	w.must(t, w.expire("acme"))
	require.Equal(t, &events.Withdrawal{Reason: events.WithdrawnSilent, Forced: true}, w.task("acme").Cancelled)
	require.Equal(t, events.OrderStatusCancelled, w.order().Status)
	w.must(t, w.post("acme", events.OutcomeCompleted))
	o := w.order()
	require.True(t, o.Results[0].Late)
	require.Equal(t, events.OrderStatusCancelled, o.Status)
	require.Equal(t, events.Quantities{Ordered: 3, Cancelled: 3}, o.Lines[0].Quantities, "a late result counts nothing")
}

func TestWhatWasDoneBeforeTheAnswerStands(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	two := events.ResultLine{LineID: "1", Quantity: 2, Outcome: events.LineFulfilled}
	w.must(t, w.accept("acme"), w.cancel, w.post("acme", events.OutcomePartial, two))
	require.Equal(t, events.TaskCancelAsked, w.task("acme").Status, "a partial result is no answer")
	from := len(w.log)
	w.must(t, w.accept("acme"))
	require.Equal(t, []events.Type{events.TaskCancelled, events.OrderCancelled, events.OrderCompleted}, w.types(from))
	o := w.order()
	require.Equal(t, events.OrderStatusCompleted, o.Status)
	require.Equal(t, events.Partial, o.FulfillmentStatus)
	require.Equal(t, events.CancellationDone, o.Cancellation.Status)
	require.Equal(t, events.Quantities{Ordered: 3, Assigned: 2, Accepted: 2, Fulfilled: 2, Cancelled: 1}, o.Lines[0].Quantities)
	require.Equal(t, int64(1), o.Lines[1].Quantities.Cancelled)
}

func TestAResultCanBeTheAnswer(t *testing.T) {
	t.Parallel()
	whole := func(outcome events.LineOutcome) []events.ResultLine {
		return []events.ResultLine{{LineID: "1", Quantity: 3, Outcome: outcome}, {LineID: "2", Quantity: 1, Outcome: outcome}}
	}
	for _, c := range []struct {
		lines        []events.ResultLine
		task         events.TaskStatus
		order        events.OrderStatus
		cancellation events.CancellationState
		last         events.Type
	}{
		{whole(events.LineCancelled), events.TaskStatusCancelled, events.OrderStatusCancelled, events.CancellationDone, events.OrderCancelled},
		{whole(events.LineFulfilled), events.TaskStatusCompleted, events.OrderStatusCompleted, events.CancellationRefused, events.OrderCompleted},
		{whole(events.LineRejected), events.TaskIncomplete, events.OrderStatusRejected, events.CancellationRefused, events.OrderRejected},
	} {
		w := fixed(t)
		w.must(t, w.accept("acme"), w.cancel, w.post("acme", events.OutcomeCompleted, c.lines...))
		require.Equal(t, c.task, w.task("acme").Status)
		require.Equal(t, c.order, w.order().Status)
		require.Equal(t, c.cancellation, w.order().Cancellation.Status)
		require.Equal(t, c.last, w.log[len(w.log)-1].Type)
	}
}

func TestAllCancelledByProvidersIsACancelledOrder(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.post("acme", events.OutcomeCompleted,
		events.ResultLine{LineID: "1", Quantity: 3, Outcome: events.LineCancelled}, events.ResultLine{LineID: "2", Quantity: 1, Outcome: events.LineCancelled}))
	require.Equal(t, events.TaskIncomplete, w.task("acme").Status)
	require.Equal(t, events.OrderStatusCancelled, w.order().Status)
	require.Equal(t, events.OrderCancelled, w.log[len(w.log)-1].Type)
	require.Nil(t, w.order().Cancellation, "the user wished nothing")
}

func TestCancellingEndsADelegation(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.delegate("acme", "wms"), w.cancel)
	require.Equal(t, events.TaskStatusCancelled, w.task("store").Status)
	require.Equal(t, events.TaskCancelAsked, w.task("acme").Status)
	w.must(t, w.accept("acme"))
	require.Equal(t, events.OrderStatusCancelled, w.order().Status)
}

func TestNothingIsOfferedWhileAnOrderIsCancelled(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.registry.routes["shop"].Policy = events.PolicyAll
	w.registry.providers["other"] = &events.Provider{ID: "other", BusinessTypes: []string{"shop"}, Regions: []string{}}
	w.registry.index()
	w.must(t, w.accept("acme"), w.cancel)
	from := len(w.log)
	require.NoError(t, w.do(t, &OfferOrder{OrderID: w.order().ID}))
	w.must(t, w.post("acme", events.OutcomeFailed))
	require.NotContains(t, w.types(from), events.TaskOffered)
	require.True(t, w.order().Status.AtEnd())
}

func TestOnlyItsUserCancelsAnOrder(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	other := w.user()
	other.Tenant = "tenant-2"
	require.Equal(t, fault.NotFound, fault.CodeOf(w.do(t, &CancelOrder{onOrder: other})))
	stale := w.user()
	stale.IfVersion--
	require.Equal(t, fault.VersionMismatch, fault.CodeOf(w.do(t, &CancelOrder{onOrder: stale})))
}
