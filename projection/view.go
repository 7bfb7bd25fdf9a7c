package projection

import (
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// need is how much of an event a view looks at. A reader decodes as much as the neediest of its views.
type need int

const (
	needHeader  need = iota // everything but the payload: an event of an unknown type can be taken
	needPayload             // what happened
	needOrder               // the order's document after the event
)

// pace says with whom a view goes.
type pace int

const (
	together pace = iota // in one transaction with all others of this pace
	alone                // by itself, behind the others when writing it takes longer
)

// view turns events into rows of one table. It is pure: the same batch gives the same statement.
type view struct {
	name  string
	code  int // goes up when the rows that the same events give change; a generation is of one code
	needs need
	pace  pace
	// about says whether the view looks at events of a type. nil: at all of them. An event of a type that this version does not
	// know is looked at in any case.
	about func(t events.Type) bool
	// check says whether the view can take the event. nil: it takes every one that it can read.
	check func(f *fact) error
	// write adds what writes the batch's rows: new rows are copied, others changed by statements with parameters. It adds one of
	// each kind at most.
	write func(b *batch, to *postgres.Bulk) error

	// What follows is of the generation that the view is written to.
	generation int64
	skips      skips
}

func generationsOf(views []view) []int64 {
	generations := make([]int64, len(views))
	for i, v := range views {
		generations[i] = v.generation
	}
	return generations
}

func namesOf(views []view) []string {
	names := make([]string, len(views))
	for i, v := range views {
		names[i] = v.name
	}
	return names
}

// fact is one record, decoded once for all views.
type fact struct {
	stream.Record
	event   *events.Event // never nil; not ours to change
	orderID pgtype.UUID   // not valid where the event is not about an order
	// document is the order's after the event, where it is known; nil: it is made from the order.
	document []byte
	err      error // why the payload cannot be read; the header can
}

// batch is what the views of one reader write in one transaction.
type batch struct {
	facts  []fact
	orders []*changed // in the order of their first event in the batch; only where a view needs orders
}

// without is the batch as a view sees it that was told to go past some of its events. A view that is made from orders sees in
// those what was left out already.
func (b *batch) without(v view) *batch {
	if v.needs == needOrder || !v.skips.any(b.facts) {
		return b
	}
	kept := &batch{orders: b.orders}
	for i := range b.facts {
		if !v.skips[b.facts[i].Position] {
			kept.facts = append(kept.facts, b.facts[i])
		}
	}
	return kept
}

// changed is an order that the batch changes, as it is afterwards.
type changed struct {
	id       pgtype.UUID
	order    *events.Order
	placed   bool  // in this batch: no view has it yet
	position int64 // of its last event
	document []byte
	tasks    []changedTask

	knownTasks int     // how many tasks it had before the batch
	facets     []int64 // before the first event of the batch that may have changed them; nil: there was none
}

// changedTask is a task of the order that the batch changes.
type changedTask struct {
	index    int   // in the order's tasks, which are only ever added to
	offered  bool  // in this batch: no view has it yet
	position int64 // of the last event that changed it
}

// touch notes the tasks that an event has changed: a task's version goes up with each of its changes.
func (c *changed) touch(before []int64, position int64) {
	for i := range c.order.Tasks {
		if i < len(before) && before[i] == c.order.Tasks[i].Version {
			continue
		}
		c.touchTask(i, position, i >= len(before))
	}
}

func (c *changed) touchTask(index int, position int64, offered bool) {
	for i := range c.tasks {
		if c.tasks[i].index == index {
			c.tasks[i].position = position
			return
		}
	}
	c.tasks = append(c.tasks, changedTask{index: index, position: position, offered: offered})
}

func parseID(s string) (pgtype.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return pgtype.UUID{}, err
	}
	return pgtype.UUID{Bytes: id, Valid: true}, nil
}
