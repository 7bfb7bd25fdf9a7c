package events

import (
	"fmt"
	"slices"
)

// Apply folds one event into the order document: it is the only code that changes one, on the write side, in the views
// and in verify. A nil order is what there is before order.placed. An event that is not about an order changes nothing. An
// event that does not follow the document's version, or names what the document does not have, is an error and changes nothing.
func Apply(o *Order, e *Event) (*Order, error) {
	if e.OrderID == "" {
		return o, nil
	}
	if placed, ok := e.Data.(*Placed); ok {
		if o != nil {
			return o, fmt.Errorf("order %s placed twice, again at %d", e.OrderID, e.Position)
		}
		return placeOrder(e, placed), nil
	}
	if o == nil {
		return nil, fmt.Errorf("%s at %d for an order that was not placed: %s", e.Type, e.Position, e.OrderID)
	}
	if e.OrderVersion != o.Version+1 {
		return o, fmt.Errorf("%s at %d makes order %s version %d, which has %d", e.Type, e.Position, e.OrderID, e.OrderVersion, o.Version)
	}
	if err := o.change(e); err != nil {
		return o, fmt.Errorf("%s at %d: %w", e.Type, e.Position, err)
	}
	o.settle(e)
	return o, nil
}

func (o *Order) change(e *Event) error {
	switch data := e.Data.(type) {
	case *Amended:
		return o.amend(data)
	case *OrderCancellation:
		return o.cancel(e, data)
	case *Closed:
		return nil
	case *OrderReturn:
		return o.takeBack(e, data)
	case *Offered:
		return o.offer(e, data)
	}
	task := o.Task(e.TaskID)
	if task == nil {
		return fmt.Errorf("no task %s", e.TaskID)
	}
	if err := o.changeTask(e, task); err != nil {
		return err
	}
	o.settleCancellation()
	return nil
}

func (o *Order) changeTask(e *Event, task *Task) error {
	switch data := e.Data.(type) {
	case *Accepted:
		o.takeOn(e, task)
		o.move(e, task, TaskStatusAccepted)
		return nil
	case *Rejection:
		o.release(task)
		task.Rejected = data
		o.move(e, task, TaskStatusRejected)
		return nil
	case *ResultPosted:
		return o.post(e, task, data)
	case *DelegationAnswered:
		return o.answer(e, task, data)
	}
	return o.turn(e, task)
}

// settle takes over what every event carries.
func (o *Order) settle(e *Event) {
	o.Version = e.OrderVersion
	o.UpdatedAt = e.Time
	if e.Status != "" {
		o.Status = e.Status
	}
	if e.FulfillmentStatus != "" {
		o.FulfillmentStatus = e.FulfillmentStatus
	}
}

func placeOrder(e *Event, p *Placed) *Order {
	o := &Order{
		ID: e.OrderID, Tenant: e.Tenant, Channel: p.Channel, ExternalRef: p.ExternalRef, BusinessType: e.BusinessType,
		Region: p.Region, Currency: p.Currency, Total: p.Total, Shipping: p.Shipping, PlacedAt: e.Time,
		Customer: p.Customer, Attributes: p.Attributes, Lines: make([]Line, len(p.Lines)),
		SyncStatus: []SyncStatus{}, Tasks: []Task{}, Results: []Result{},
	}
	for i, line := range p.Lines {
		o.Lines[i] = Line{PlacedLine: line, Quantities: Quantities{Ordered: line.Quantity}}
	}
	o.settle(e)
	return o
}

func (o *Order) offer(e *Event, data *Offered) error {
	if o.Task(e.TaskID) != nil {
		return fmt.Errorf("task %s offered twice", e.TaskID)
	}
	task := Task{
		ID: e.TaskID, OrderID: o.ID, Provider: e.Provider, BusinessType: e.BusinessType, Attempt: data.Attempt,
		AcceptBy: data.AcceptBy, CompleteBy: data.CompleteBy, OfferedAt: e.Time, DelegatedFrom: data.DelegatedFrom,
		Delegation: data.Delegation, Depth: data.Depth, Payload: data.Payload, Note: data.Note,
		Lines: make([]TaskLine, len(data.Lines)), Routing: data.Routing,
	}
	for i, given := range data.Lines {
		if o.Line(given.LineID) == nil {
			return fmt.Errorf("task %s has line %q, the order has not", e.TaskID, given.LineID)
		}
		task.Lines[i] = TaskLine{TaskQuantity: given}
	}
	if data.DelegatedFrom == "" {
		for _, given := range data.Lines {
			o.Line(given.LineID).Quantities.Assigned += given.Quantity
		}
	} else if err := o.handOver(&task); err != nil { // its units stay with the delegator's task
		return err
	}
	o.Tasks = append(o.Tasks, task)
	o.move(e, &o.Tasks[len(o.Tasks)-1], TaskStatusOffered)
	return nil
}

// move sets a task's status and what follows from it.
func (o *Order) move(e *Event, t *Task, s TaskStatus) {
	if t.Status == TaskOnHold && s != TaskOnHold {
		t.Hold.Until = e.Time
	}
	t.Status = s
	t.SupportedActions = s.Actions()
	t.touch(e)
	if parent := o.Task(t.DelegatedFrom); parent != nil {
		if d := parent.delegation(t.ID); d != nil && d.Status != s {
			d.Status = s
			parent.touch(e)
		}
	}
	o.sync(e, t.Provider, syncOf(s))
}

// touch notes that the task's document is another than it was.
func (t *Task) touch(e *Event) {
	t.Version++
	t.UpdatedAt = e.Time
}

// takeOn counts a task's lines as accepted, once.
func (o *Order) takeOn(e *Event, task *Task) {
	if !task.AcceptedAt.IsZero() {
		return
	}
	task.AcceptedAt = e.Time
	if task.DelegatedFrom != "" {
		return
	}
	for _, given := range task.Lines {
		o.Line(given.LineID).Quantities.Accepted += given.Quantity
	}
}

// release takes from a task what it still has open.
func (o *Order) release(task *Task) {
	if task.DelegatedFrom != "" {
		return
	}
	for _, given := range task.Lines {
		q := &o.Line(given.LineID).Quantities
		q.Assigned -= given.Open()
		if !task.AcceptedAt.IsZero() {
			q.Accepted -= given.Open()
		}
	}
}

func (o *Order) post(e *Event, task *Task, data *ResultPosted) error {
	result := Result{
		ResultID: data.ResultID, TaskID: e.TaskID, Provider: e.Provider, Outcome: data.Outcome, Lines: data.Lines,
		Tracking: emptyNotNil(data.Tracking), Payload: data.Payload, OccurredAt: data.OccurredAt, PostedAt: e.Time, Late: data.Late,
	}
	if data.Late { // kept, and nothing else
		o.Results = append(o.Results, result)
		return nil
	}
	o.takeOn(e, task)
	for _, done := range data.Lines {
		if err := o.count(task, done); err != nil {
			return err
		}
	}
	o.Results = append(o.Results, result)
	o.move(e, task, data.TaskStatus)
	return nil
}

// count books a line's outcome on the task and on the order. Where several tasks hold the same line (policy all), the order
// counts a unit once: the first outcome of it stands. Of a delegated task nothing is booked on the order.
func (o *Order) count(task *Task, done ResultLine) error {
	i := slices.IndexFunc(task.Lines, func(l TaskLine) bool { return l.LineID == done.LineID })
	if i < 0 {
		return fmt.Errorf("task %s has no line %q", task.ID, done.LineID)
	}
	given := &task.Lines[i]
	if done.Quantity < 1 || done.Quantity > given.Open() {
		return fmt.Errorf("line %q of task %s: %d of %d open", done.LineID, task.ID, done.Quantity, given.Open())
	}
	q := &Quantities{}
	if task.DelegatedFrom == "" {
		q = &o.Line(done.LineID).Quantities
	}
	counted := min(done.Quantity, q.Open())
	switch done.Outcome {
	case LineFulfilled:
		given.Fulfilled += done.Quantity
		q.Fulfilled += counted
	case LineRejected:
		given.Rejected += done.Quantity
		q.Rejected += counted
	case LineCancelled:
		given.Cancelled += done.Quantity
		q.Cancelled += counted
	default:
		return fmt.Errorf("%w: line outcome %q", ErrUnknown, done.Outcome)
	}
	return nil
}

// syncOf is how far a provider is whose task has a status.
func syncOf(s TaskStatus) SyncState {
	switch s {
	case TaskStatusOffered:
		return SyncPending
	case TaskStatusCompleted, TaskStatusCancelled:
		return Synced
	case TaskIncomplete, TaskStatusRejected, TaskStatusExpired:
		return SyncFailed
	}
	return Syncing
}

// sync notes how far a provider is.
func (o *Order) sync(e *Event, provider string, s SyncState) {
	entry := SyncStatus{Party: provider, Kind: "provider", Status: s, Since: e.Time, Position: e.Position}
	i := slices.IndexFunc(o.SyncStatus, func(have SyncStatus) bool { return have.Party == provider && have.Kind == "provider" })
	if i < 0 {
		o.SyncStatus = append(o.SyncStatus, entry)
		return
	}
	if o.SyncStatus[i].Status != s {
		o.SyncStatus[i] = entry
	}
}

func emptyNotNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
