package command

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

func TestHelpComesBackToWhoAskedForIt(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	from := len(w.log)
	w.must(t, w.delegate("acme", "wms"))
	require.Equal(t, []events.Type{events.TaskDelegated, events.TaskOffered}, w.types(from))
	parent, child, o := w.task("acme"), w.task("store"), w.order()
	require.Equal(t, events.TaskStatusDelegated, parent.Status)
	require.Equal(t, parent.ID, child.DelegatedFrom)
	require.Equal(t, 2, child.Depth)
	require.JSONEq(t, `{"pick":["A"]}`, string(child.Payload))
	require.Equal(t, parent.Owes(), child.Owes())
	quantities := o.Lines[0].Quantities
	require.Equal(t, events.Quantities{Ordered: 3, Assigned: 3, Accepted: 3}, quantities, "the units stay with who delegated")

	one := events.ResultLine{LineID: "1", Quantity: 1, Outcome: events.LineFulfilled}
	from = len(w.log)
	w.must(t, w.accept("store"), w.post("store", events.OutcomePartial, one))
	require.Equal(t, []events.Type{events.TaskAccepted, events.TaskDelegationAnswered}, w.types(from))
	require.Equal(t, events.TaskStatusDelegated, w.task("acme").Status)
	require.Equal(t, events.TaskStatusAccepted, w.task("acme").Delegations[0].Status)
	from = len(w.log)
	last := w.post("store", events.OutcomeCompleted)().(*PostResult)
	last.Result.Payload = []byte(`{"bin":7}`)
	require.NoError(t, w.do(t, last))
	require.Equal(t, []events.Type{events.TaskDelegationAnswered}, w.types(from), "one fact: the delegate is done and the delegator has its answer")
	require.Equal(t, "acme", w.log[from].Provider, "it is told to who asked")
	require.Equal(t, parent.ID, w.log[from].TaskID)
	parent = w.task("acme")
	require.Equal(t, events.TaskStatusAccepted, parent.Status)
	require.Equal(t, events.TaskStatusCompleted, w.task("store").Status)
	require.Len(t, parent.Delegations[0].Answers, 2)
	require.JSONEq(t, `{"bin":7}`, string(parent.Delegations[0].Answers[1].Payload))
	require.Equal(t, quantities, o.Lines[0].Quantities, "what a delegate did counts nothing by itself")
	require.Empty(t, o.Results, "the user hears of it from the delegator")
	require.Equal(t, events.OrderProcessing, o.Status)

	w.must(t, w.post("acme", events.OutcomeCompleted))
	require.Equal(t, events.OrderStatusCompleted, o.Status)
	require.Len(t, o.Results, 1)
	require.Equal(t, events.Quantities{Ordered: 3, Assigned: 3, Accepted: 3, Fulfilled: 3}, o.Lines[0].Quantities)
}

func TestAResultOfADelegateIsAppliedOnce(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.delegate("acme", "wms"))
	posted := w.post("store", events.OutcomeCompleted)().(*PostResult)
	posted.Hash[0] = 1
	r := w.round()
	_, err := posted.apply(r)
	require.NoError(t, err)
	again, err := posted.apply(r)
	require.NoError(t, err)
	require.True(t, again.replayed)
	require.Len(t, r.events, 1)
	posted.Hash[0]++
	_, err = posted.apply(r)
	require.Equal(t, fault.ResultConflict, fault.CodeOf(err))
}

func TestADelegateThatWillNotIsFollowedByTheNext(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.registry.providers["depot"] = &events.Provider{ID: "depot", BusinessTypes: []string{"wms"}, Regions: []string{}}
	w.registry.index()
	w.must(t, w.delegate("acme", "wms"))
	require.Equal(t, "depot", w.order().Tasks[1].Provider)
	from := len(w.log)
	w.must(t, w.reject("depot"))
	require.Equal(t, []events.Type{events.TaskRejected, events.TaskOffered}, w.types(from))
	require.Equal(t, w.task("acme").ID, w.task("store").DelegatedFrom)
	require.JSONEq(t, `{"pick":["A"]}`, string(w.task("store").Payload))
	require.Equal(t, events.TaskStatusRejected, w.task("acme").Delegations[0].Status)
	from = len(w.log)
	w.must(t, w.expire("store"))
	require.Equal(t, []events.Type{events.TaskExpired, events.TaskDelegationAnswered}, w.types(from))
	parent := w.task("acme")
	require.Equal(t, events.TaskStatusAccepted, parent.Status)
	require.Equal(t, events.OutcomeFailed, parent.Delegations[1].Answers[0].Outcome)
	require.Empty(t, parent.Delegations[1].Answers[0].ResultID, "nobody posted it")
}

func TestADelegatorsEndEndsItsDelegates(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world) func() Command{
		"result": func(w *world) func() Command { return w.post("acme", events.OutcomeCompleted) },
		"reject": func(w *world) func() Command { return w.reject("acme") },
		"expire": func(w *world) func() Command { return w.expire("acme") },
	} {
		w := fixed(t)
		w.must(t, w.delegate("acme", "wms"), w.delegate("store", "carrier"))
		from := len(w.log)
		w.must(t, end(w))
		require.Equal(t, []events.Type{events.TaskCancelled, events.TaskCancelled}, w.types(from)[:2], name)
		require.Equal(t, "van", w.log[from].Provider, "the deepest first")
		require.Equal(t, events.TaskStatusCancelled, w.task("store").Status)
		require.Equal(t, events.TaskStatusCancelled, w.task("acme").Delegations[0].Status)
		w.must(t, w.post("store", events.OutcomeCompleted))
		answers := w.task("acme").Delegations[0].Answers
		require.True(t, answers[0].Late, "%s: what comes after is kept and flagged", name)
		require.Equal(t, events.TaskStatusCancelled, w.task("store").Status)
	}
}

func TestDelegationHasNoCyclesAndAnEnd(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.registry.providers["acme"].BusinessTypes = []string{"shop", "print"}
	w.registry.providers["press"] = &events.Provider{ID: "press", BusinessTypes: []string{"bind"}, Regions: []string{}}
	w.registry.index()
	refused := func(provider, businessType string) error { return w.do(t, w.delegate(provider, businessType)()) }
	require.Equal(t, fault.DelegationCycle, fault.CodeOf(refused("acme", "shop")), "its own business type")
	require.Equal(t, fault.DelegationCycle, fault.CodeOf(refused("acme", "print")), "only itself does it")
	err := refused("acme", "paint")
	var e *fault.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, []fault.Field{{Pointer: "/business_type", Detail: "no provider can be asked for this"}}, e.Fields)

	w.must(t, w.delegate("acme", "wms"))
	require.Equal(t, fault.DelegationCycle, fault.CodeOf(refused("store", "shop")), "the business type of who asked")
	require.Equal(t, fault.DelegationCycle, fault.CodeOf(refused("store", "print")), "only who asked does it")
	w.must(t, w.delegate("store", "carrier"))
	require.Equal(t, 3, w.task("van").Depth)
	require.Equal(t, fault.DelegationDepth, fault.CodeOf(refused("van", "bind")))
	w.must(t, w.accept("van"), w.post("van", events.OutcomeCompleted))
	require.Equal(t, events.TaskStatusAccepted, w.task("store").Status)
	require.Equal(t, events.TaskStatusDelegated, w.task("acme").Status)
}

func TestAPartCanBeDelegatedAndTheSameAgainIsTheSame(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	part := &DelegateTask{onTask: w.on("acme"), BusinessType: "wms", Lines: []events.TaskQuantity{{LineID: "1", Quantity: 2}}, Note: "two pens"}
	tooMuch := *part
	tooMuch.Lines = []events.TaskQuantity{{LineID: "1", Quantity: 4}}
	require.Equal(t, fault.Invalid, fault.CodeOf(w.do(t, &tooMuch)))
	require.NoError(t, w.do(t, part))
	require.Equal(t, []events.TaskQuantity{{LineID: "1", Quantity: 2}}, w.task("store").Owes())
	from := len(w.log)
	part.IfVersion = 0
	require.NoError(t, w.do(t, part))
	require.Empty(t, w.types(from))
	part.Note = "three pens"
	require.Equal(t, fault.TaskState, fault.CodeOf(w.do(t, part)), "other help, while the first is waited for")
	w.must(t, w.post("store", events.OutcomeCompleted))
	w.must(t, w.delegate("acme", "carrier"))
	require.Equal(t, 2, w.task("van").Delegation)
}

func TestPolicyAllAsksAllForHelpAndWaitsForAll(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.registry.routes["wms"].Policy = events.PolicyAll
	w.registry.providers["depot"] = &events.Provider{ID: "depot", BusinessTypes: []string{"wms"}, Regions: []string{}}
	w.registry.index()
	w.must(t, w.delegate("acme", "wms"), w.post("depot", events.OutcomeCompleted))
	require.Equal(t, events.TaskStatusDelegated, w.task("acme").Status, "the other one still helps")
	w.must(t, w.reject("store"))
	require.Equal(t, events.TaskStatusAccepted, w.task("acme").Status, "nobody is left to wait for")
}
