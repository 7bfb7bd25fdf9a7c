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
	case *Offered:
		return o.offer(e, data)
	case *Accepted:
		return o.accept(e)
	case *Rejection:
		return o.reject(e, data)
	case *ResultPosted:
		return o.post(e, data)
	case *Closed:
		return nil
	}
	return fmt.Errorf("%w: payload %T", ErrUnknown, e.Data)
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
		Lines: make([]TaskLine, len(data.Lines)), Routing: data.Routing,
	}
	for i, given := range data.Lines {
		line := o.Line(given.LineID)
		if line == nil {
			return fmt.Errorf("task %s has line %q, the order has not", e.TaskID, given.LineID)
		}
		task.Lines[i] = TaskLine{TaskQuantity: given}
		line.Quantities.Assigned += given.Quantity
	}
	task.move(e, TaskStatusOffered)
	o.Tasks = append(o.Tasks, task)
	o.sync(e, SyncPending)
	return nil
}

// move sets a task's status and what follows from it.
func (t *Task) move(e *Event, s TaskStatus) {
	t.Status = s
	t.SupportedActions = s.Actions()
	t.Version++
	t.UpdatedAt = e.Time
}

func (o *Order) accept(e *Event) error {
	task := o.Task(e.TaskID)
	if task == nil {
		return fmt.Errorf("no task %s", e.TaskID)
	}
	o.takeOn(task)
	task.move(e, TaskStatusAccepted)
	o.sync(e, Syncing)
	return nil
}

// takeOn counts a task's lines as accepted, once.
func (o *Order) takeOn(task *Task) {
	if task.Status != TaskStatusOffered {
		return
	}
	for _, given := range task.Lines {
		o.Line(given.LineID).Quantities.Accepted += given.Quantity
	}
}

func (o *Order) reject(e *Event, data *Rejection) error {
	task := o.Task(e.TaskID)
	if task == nil {
		return fmt.Errorf("no task %s", e.TaskID)
	}
	for _, given := range task.Lines {
		q := &o.Line(given.LineID).Quantities
		q.Assigned -= given.Open()
		if task.Status == TaskStatusAccepted {
			q.Accepted -= given.Open()
		}
	}
	task.Rejected = data
	task.move(e, TaskStatusRejected)
	o.sync(e, SyncFailed)
	return nil
}

func (o *Order) post(e *Event, data *ResultPosted) error {
	task := o.Task(e.TaskID)
	if task == nil {
		return fmt.Errorf("no task %s", e.TaskID)
	}
	o.takeOn(task)
	for _, done := range data.Lines {
		if err := o.count(task, done, data.Late); err != nil {
			return err
		}
	}
	o.Results = append(o.Results, Result{
		ResultID: data.ResultID, TaskID: e.TaskID, Provider: e.Provider, Outcome: data.Outcome, Lines: data.Lines,
		Tracking: emptyNotNil(data.Tracking), Payload: data.Payload, OccurredAt: data.OccurredAt, PostedAt: e.Time, Late: data.Late,
	})
	task.move(e, data.TaskStatus)
	o.sync(e, syncOf(data.TaskStatus))
	return nil
}

// count books a line's outcome on the task and on the order. Where several tasks hold the same line (policy all), the order
// counts a unit once: the first outcome of it stands. A late result is kept but counts nothing.
func (o *Order) count(task *Task, done ResultLine, late bool) error {
	i := slices.IndexFunc(task.Lines, func(l TaskLine) bool { return l.LineID == done.LineID })
	if i < 0 {
		return fmt.Errorf("task %s has no line %q", task.ID, done.LineID)
	}
	if late {
		return nil
	}
	given := &task.Lines[i]
	if done.Quantity < 1 || done.Quantity > given.Open() {
		return fmt.Errorf("line %q of task %s: %d of %d open", done.LineID, task.ID, done.Quantity, given.Open())
	}
	q := &o.Line(done.LineID).Quantities
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

func syncOf(s TaskStatus) SyncState {
	switch s {
	case TaskStatusCompleted:
		return Synced
	case TaskIncomplete, TaskStatusRejected:
		return SyncFailed
	}
	return Syncing
}

// sync notes how far the event's provider is.
func (o *Order) sync(e *Event, s SyncState) {
	entry := SyncStatus{Party: e.Provider, Kind: "provider", Status: s, Since: e.Time, Position: e.Position}
	i := slices.IndexFunc(o.SyncStatus, func(have SyncStatus) bool { return have.Party == e.Provider && have.Kind == "provider" })
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
