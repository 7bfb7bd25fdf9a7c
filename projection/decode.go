package projection

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// fault is an event that some views cannot take, or a batch of which one is such.
type fault struct {
	views []view
	index int // of the fact in the batch; -1 where it is not known which
	cause error
	// Only a rebuild sets these: the position of the fact, or of the batch's first where it is not known which, and the batch's size.
	at int64
	of int
}

func (f *fault) Error() string { return f.cause.Error() }

func (f *fault) Unwrap() error { return f.cause }

// decode reads records as far as need asks. What cannot be read is noted in the fact.
func decode(records []stream.Record, n need) []fact {
	facts := make([]fact, len(records))
	for i := range records {
		decodeOne(&facts[i], &records[i], n)
	}
	return facts
}

// decodeFor reads records as far as the views ask. A single view that looks at few types costs the reading of those alone.
func decodeFor(views []view, records []stream.Record) []fact {
	n := needHeader
	for _, v := range views {
		n = max(n, v.needs)
	}
	if len(views) != 1 || views[0].about == nil {
		return decode(records, n)
	}
	facts, known := make([]fact, len(records)), events.Types()
	for i := range records {
		if t := typeOf(records[i].Subject); slices.Contains(known, t) && !views[0].about(t) {
			facts[i].Record, facts[i].event = records[i], &events.Event{}
			continue
		}
		decodeOne(&facts[i], &records[i], n)
	}
	return facts
}

// typeOf is the last part of a subject: what the event is, without reading it.
func typeOf(subject string) events.Type {
	i := strings.LastIndexByte(subject, '.')
	if i > 0 {
		i = strings.LastIndexByte(subject[:i], '.')
	}
	return events.Type(subject[i+1:])
}

// decodeOne reads a record into f.
func decodeOne(f *fact, r *stream.Record, n need) {
	f.Record = *r
	if own, ok := r.Fact.(*events.Appended); ok {
		f.event, f.document = own.Event, own.Document
	} else if f.event, f.err = readEvent(r, n); f.err != nil && f.event.Type == "" {
		return
	}
	if f.event.OrderID == "" {
		return
	}
	id, err := parseID(f.event.OrderID)
	if err != nil {
		f.err = fmt.Errorf("order id %q: %w", f.event.OrderID, err)
		nobodys := *f.event
		nobodys.OrderID = ""
		f.event = &nobodys
		return
	}
	f.orderID = id
}

// readEvent decodes as far as need asks. Where the payload is unknown or unreadable, and the header is not, the event has no payload.
func readEvent(r *stream.Record, n need) (*events.Event, error) {
	var unread error
	if n > needHeader {
		e, err := events.Decode(r.Position, r.Body)
		if err == nil || errors.Is(err, events.ErrUnknown) {
			return &e, err
		}
		unread = err
	}
	e, _, err := events.DecodeHeader(r.Position, r.Body)
	if err != nil {
		return &events.Event{}, err
	}
	return &e, unread
}

// readable is nil when the view's need of the event is met. A header that cannot be read stops every view.
func (f *fact) readable(n need) error {
	if f.err == nil || n == needHeader && f.event.Type != "" {
		return nil
	}
	return f.err
}

// checkAll finds the first event that one of the views cannot take.
func checkAll(views []view, facts []fact) *fault {
	for i := range facts {
		var bad *fault
		for _, v := range views {
			if v.skips[facts[i].Position] {
				continue
			}
			err := facts[i].readable(v.needs)
			if err == nil && v.check != nil {
				err = v.check(&facts[i])
			}
			if err == nil {
				continue
			}
			if bad == nil {
				bad = &fault{index: i, cause: err}
			}
			bad.views = append(bad.views, v)
		}
		if bad != nil {
			return bad
		}
	}
	return nil
}
