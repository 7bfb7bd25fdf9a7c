package auxiliary

import (
	"bytes"
	"strings"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// choosy is a system for which most types of events are nothing. Those that nobody needs are not decoded.
type choosy interface {
	Needs(t events.Type) bool
}

// needless are the types that a system does without. One that this program does not know is never among them: the system stops
// there.
func needless(system System) map[events.Type]bool {
	choice, ok := system.(choosy)
	if !ok {
		return nil
	}
	without := map[events.Type]bool{}
	for _, t := range events.Types() {
		if !choice.Needs(t) {
			without[t] = true
		}
	}
	return without
}

// mayEnd tells whether events of a type may say that an order came to its end. After the others of a task it is in hand, and so the
// order goes on.
func mayEnd(t events.Type) bool {
	switch t {
	case events.TaskOffered, events.TaskAccepted, events.TaskHeld, events.TaskResumed:
		return false
	}
	return strings.HasPrefix(string(t), "order.") || strings.HasPrefix(string(t), "task.")
}

// reading is some records, each decoded once at most, for all systems that need it.
type reading struct {
	records []stream.Record
	facts   []fact
}

type fact struct {
	typ   events.Type // as the subject tells; empty: of whatever type, it tells what became of the order's goods
	event events.Event
	err   error
	done  bool // decoded, or tried
}

// standing is in the bytes of an event by which an order's fulfillment status changed, as when all of it has come back. An event of any
// type may.
const standing = `"fulfillment_status":`

func newReading(records []stream.Record) *reading {
	r := &reading{records: records, facts: make([]fact, len(records))}
	for i := range records {
		if !bytes.Contains(records[i].Body, []byte(standing)) {
			r.facts[i].typ = typeOf(records[i].Subject)
		}
	}
	return r
}

// typeOf is the end of a subject: what the event is, without reading it.
func typeOf(subject string) events.Type {
	i := strings.LastIndexByte(subject, '.')
	if i > 0 {
		i = strings.LastIndexByte(subject[:i], '.')
	}
	return events.Type(subject[i+1:])
}

// eventsFor are the events that a system has to apply. Its error is a *stopError of the first that cannot be read.
func (r *reading) eventsFor(w *worker) ([]events.Event, error) {
	all := make([]events.Event, 0, len(r.records))
	for i := range r.records {
		f, record := &r.facts[i], &r.records[i]
		if w.needless[f.typ] || w.skipped[record.Position] {
			continue
		}
		if !f.done {
			f.event, f.err = read(record)
			f.done = true
		}
		if f.err != nil {
			return nil, &stopError{position: record.Position, typ: f.event.Type, cause: f.err}
		}
		all = append(all, f.event)
	}
	return all, nil
}

// read decodes an event, unless this process has appended it and still has it.
func read(r *stream.Record) (events.Event, error) {
	if own, ok := r.Fact.(*events.Appended); ok {
		return *own.Event, nil
	}
	return events.Decode(r.Position, r.Body)
}
