package projection

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// then books an event on one of the order's tasks.
func (w *world) then(o *events.Order, task *events.Task, kind events.Type, data any) *events.Order {
	w.t.Helper()
	e := w.about(o, kind, data)
	if task != nil {
		e.TaskID, e.Provider, e.BusinessType = task.ID, task.Provider, task.BusinessType
	}
	return w.fold(o, e)
}

func (w *world) amend(o *events.Order, name string) *events.Order {
	w.t.Helper()
	a := &events.Amended{
		Changed: []string{events.PartLines, events.PartAttributes, events.PartCustomer}, ExternalRef: o.ExternalRef,
		Shipping: 70, Total: o.Total + 70, Customer: &events.Customer{Name: "B"}, Attributes: []byte(`{"note":"` + name + ` note"}`),
	}
	for _, line := range o.Lines {
		line.Name = name
		a.Lines = append(a.Lines, line.PlacedLine)
	}
	return w.then(o, nil, events.OrderAmended, a)
}

// TestViewsFollowEveryTurn books every event type that is about an order, in one batch and in many, and compares all views with what
// the log says.
func TestViewsFollowEveryTurn(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{1, smallBatch} {
		w := setup(t)
		w.batch = batch
		o := w.amend(w.placeOrder(2), "first")
		w.commit(0)
		w.publish(0)
		p, stop := w.run(w.config())
		w.wait(p, w.head(), Views()...)
		after := w.head()
		told := map[events.Type]bool{}
		o = w.turns(o)
		other := w.amend(w.placeOrder(1), "elsewhere") // placed and amended in one batch, where there is one
		w.commit(after)
		w.publish(after)
		w.wait(p, w.head(), Views()...)
		stop()
		for _, r := range w.records {
			told[typeOf(r.Subject)] = true
		}
		for _, kind := range events.Types() {
			ofAnOrder := strings.HasPrefix(string(kind), "order.") || strings.HasPrefix(string(kind), "task.")
			require.True(t, told[kind] || !ofAnOrder, kind)
		}
		report := w.verify(ordersPerPass)
		require.True(t, report.OK(), "%+v", report)
		for order, name := range map[*events.Order]string{o: "second", other: "elsewhere"} {
			search := w.text(`SELECT search FROM order_search WHERE id = $1`, order.ID)
			require.Contains(t, search, name+"\n")
			require.Contains(t, search, name+" note")
			require.NotContains(t, search, "stuhl")
		}
		parent := w.text(`SELECT convert_from(document, 'UTF8') FROM task_inbox WHERE id = $1`, o.Tasks[0].ID)
		require.Contains(t, parent, `"bin":7`, "the delegate's answer stands with who asked for it")
	}
}

func (w *world) turns(o *events.Order) *events.Order {
	w.t.Helper()
	parent := func() *events.Task { return &o.Tasks[0] }
	o = w.then(o, parent(), events.TaskHeld, &events.Held{ReasonCode: "no_stock"})
	o = w.then(o, parent(), events.TaskResumed, &events.Resumed{TaskStatus: events.TaskStatusOffered})
	o = w.then(o, parent(), events.TaskAccepted, &events.Accepted{})
	children := []string{w.id(), w.id()}
	o = w.then(o, parent(), events.TaskDelegated, &events.Delegated{Delegation: 1, BusinessType: "wms", Children: children, Lines: parent().Owes()})
	for _, id := range children {
		child := &events.Task{ID: id, Provider: "store", BusinessType: "wms"}
		o = w.then(o, child, events.TaskOffered, &events.Offered{
			Lines: parent().Owes(), Attempt: 1, DelegatedFrom: parent().ID, Delegation: 1, Depth: 2, Payload: []byte(`{"pick":7}`), Routing: parent().Routing,
		})
	}
	o = w.then(o, &o.Tasks[1], events.TaskExpired, &events.Expiry{Deadline: events.DeadlineAccept})
	o = w.then(o, parent(), events.TaskDelegationAnswered, &events.DelegationAnswered{
		ChildTaskID: children[1], ChildProvider: "store", ChildStatus: events.TaskStatusCompleted, TaskStatus: events.TaskStatusAccepted,
		ResultID: "r", Outcome: events.OutcomeCompleted, Lines: w.result(&o.Tasks[2]).Lines, Payload: []byte(`{"bin":7}`),
	})
	o = w.amend(o, "second")
	o = w.then(o, parent(), events.TaskAmended, &events.TaskAmendment{Changed: []string{events.PartLines}})
	asked := &events.CancellationAsked{Reason: "changed_mind", AnswerBy: w.now.Add(time.Hour)}
	o = w.then(o, parent(), events.TaskCancellationRequested, asked)
	o = w.then(o, parent(), events.TaskCancellationRefused, &events.Refusal{ReasonCode: "shipped"})
	o = w.then(o, parent(), events.TaskCancellationRequested, asked)
	o = w.then(o, parent(), events.TaskCancelled, &events.Withdrawal{Reason: events.WithdrawnAgreed})
	o = w.then(o, nil, events.OrderCancelled, &events.OrderCancellation{Reason: "changed_mind", Lines: parent().Owes()})
	late := w.result(parent())
	late.Late, late.TaskStatus = true, events.TaskStatusCancelled
	o = w.then(o, parent(), events.TaskResultPosted, late)
	back := w.placeOrder(1)
	back = w.then(back, &back.Tasks[0], events.TaskResultPosted, w.result(&back.Tasks[0]))
	w.then(back, nil, events.OrderReturned, &events.OrderReturn{
		ReturnID: "b-1", Lines: []events.ReturnedLine{{LineID: back.Lines[0].LineID, SKU: back.Lines[0].SKU, Quantity: 1, Restock: true}},
	})
	other := w.placeOrder(1)
	other = w.then(other, &other.Tasks[0], events.TaskRejected, &events.Rejection{ReasonCode: "no"})
	other = w.then(other, nil, events.OrderRejected, &events.Closed{})
	w.then(other, nil, events.OrderCompleted, &events.Closed{})
	return o
}
