package check

import (
	"math"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/orderstore/orderstore/internal/chaos/history"
)

// JudgeWithin is how long the operations on one order may be judged.
const JudgeWithin = 20 * time.Second

// How an operation is judged. Of an order the log says by which steps it came about: a step is what one command did, or the store on its own.
// The state is how many steps were done.
const (
	doStep  = iota // does the next step, which is this one
	seeNow         // shows exactly so many steps: what the write side answers
	seeThen        // shows at least so many steps: a view as of a position, of which the log says what it shows
	notAt          // is refused, which it is not where the order has the version after so many steps
	never          // is refused as the order does not exist
)

type judged struct {
	how  int
	step int
	bad  []bool // of notAt: by steps done, whether the refusal is wrong
}

// model is an order as a register of steps.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, _ any) (bool, any) {
			done, in := state.(int), input.(judged)
			switch in.how {
			case doStep:
				return done == in.step, done + 1
			case seeNow:
				return done == in.step, done
			case seeThen:
				return done >= in.step, done
			case notAt:
				return done < len(in.bad) && !in.bad[done], done
			}
			return done == 0, done
		},
	}
}

// step is what one command did to an order.
type step struct {
	first, last int    // entries
	starts      string // see entry
}

// steps cuts the order's events into what was done together: a command's events have one time and follow each other.
func (s *story) steps() []step {
	var all []step
	for i := range s.entries {
		e := &s.entries[i]
		before := i - 1
		begins := i == 0 || !e.at.Equal(s.entries[before].at) || e.position != s.entries[before].position+1
		if e.starts != "" && !begins {
			open := &all[len(all)-1]
			// What a cancellation takes back first has no mark of its own.
			if open.starts == "" && cancels(s.entries[open.first:i]) {
				open.starts = e.starts
				open.last = i
				continue
			}
			begins = true
		}
		if begins {
			all = append(all, step{first: i, starts: e.starts})
		}
		all[len(all)-1].last = i
	}
	return all
}

func cancels(entries []entry) bool {
	for i := range entries {
		if entries[i].kind != "task.cancelled" {
			return false
		}
	}
	return true
}

// judge has porcupine judge the operations on each order.
func (l *ledger) judge(ops []history.Op) {
	groups := l.group(ops)
	l.report.Orders = int64(len(groups))
	type verdict struct {
		s      *story
		result porcupine.CheckResult
		n      int
	}
	work, done := make(chan *docket), make(chan verdict)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			m := model()
			for d := range work {
				operations, judged := d.operations()
				done <- verdict{d.story, porcupine.CheckOperationsTimeout(m, operations, JudgeWithin), judged}
			}
		})
	}
	go func() {
		for _, d := range groups {
			work <- d
		}
		close(work)
		all.Wait()
		close(done)
	}()
	for v := range done {
		l.report.Judged += int64(v.n)
		switch v.result {
		case porcupine.Illegal:
			l.report.Illegal++
			l.report.add(1, "order", "the %d operations on order %s have no legal order", v.n, v.s.id)
		case porcupine.Unknown:
			l.report.Unjudged++
			l.report.add(1, "order", "the %d operations on order %s could not be judged within %s", v.n, v.s.id, JudgeWithin)
		}
	}
}

// docket is an order with the operations on it.
type docket struct {
	story *story
	ops   []*asked
}

// asked is an operation as it is about one order.
type asked struct {
	*history.Op
	position int64 // that the answer showed
}

// group finds the operations on each order that is in the log. Those on others are refused, unknown, or found wrong already.
func (l *ledger) group(ops []history.Op) map[string]*docket {
	groups := map[string]*docket{}
	add := func(s *story, op *history.Op, position int64) {
		if s == nil {
			return
		}
		d := groups[s.id]
		if d == nil {
			d = &docket{story: s}
			groups[s.id] = d
		}
		d.ops = append(d.ops, &asked{op, position})
	}
	for i := range ops {
		op := &ops[i]
		switch op.Kind {
		case history.Submit, history.Replay, history.Conflict, history.Again:
			add(l.byRef[refKey(op.Tenant, op.Ref)], op, op.Position)
		case history.Amend, history.Cancel, history.Result, history.Read, history.Pull:
			add(l.orders[op.Order], op, op.Position)
		case history.List:
			for j := range op.Items {
				add(l.orders[op.Items[j].Order], op, op.Position)
			}
		}
	}
	return groups
}

// operations are what porcupine is given: the step that each operation did, and what it showed. It says of how many that is.
func (d *docket) operations() ([]porcupine.Operation, int) {
	steps := d.story.steps()
	done := d.doers(steps)
	var out []porcupine.Operation
	count := 0
	for i := range steps {
		o := done[i]
		call, ret := int64(math.MinInt64), int64(math.MaxInt64) // the store's own, or of another run: whenever it was
		if o != nil {
			call = o.Call
			if o.Outcome == history.OK {
				ret = o.Return
			} else {
				count++ // by what it did alone
			}
		}
		out = append(out, porcupine.Operation{Input: judged{how: doStep, step: i}, Call: call, Return: ret})
	}
	for _, o := range d.ops {
		if in, ok := d.seen(o, steps); ok {
			count++
			out = append(out, porcupine.Operation{Input: in, Call: o.Call, Return: o.Return})
		}
	}
	return out, count
}

// doers finds for each step the operation that did it; nil: none that is known. Of several that may have, one that was acknowledged as new did,
// or else the first of those whose outcome is unknown.
func (d *docket) doers(steps []step) []*asked {
	at := map[string]int{}
	for i := range steps {
		if steps[i].starts != "" {
			at[steps[i].starts] = i
		}
	}
	done := make([]*asked, len(steps))
	for _, o := range d.ops {
		i, marked := at[d.startsOf(o)]
		if !marked || o.Outcome == history.Refused || o.Outcome == history.OK && o.did() == no {
			continue
		}
		had := done[i]
		if had == nil || o.Outcome == history.OK && had.Outcome != history.OK || had.Outcome == o.Outcome && o.Call < had.Call {
			done[i] = o
		}
	}
	return done
}

// startsOf is the mark of the step that the operation may have done.
func (d *docket) startsOf(o *asked) string {
	switch o.Kind {
	case history.Submit, history.Replay, history.Conflict, history.Again:
		return startOf(history.Submit, o.Mark)
	case history.Result:
		return startOf(history.Result, resultKey(o.Party, o.Mark))
	case history.Amend, history.Cancel:
		return startOf(o.Kind, o.Mark)
	}
	return ""
}

const (
	no = iota
	yes
)

// did says whether an acknowledged operation did something new.
func (o *asked) did() int {
	switch o.Kind {
	case history.Amend, history.Cancel:
		return yes
	}
	if o.Status == http.StatusCreated && !o.Replayed {
		return yes
	}
	return no
}

// shown is how many steps an answer of a position shows.
func (d *docket) shown(steps []step, position int64) int {
	n := 0
	for i := range steps {
		if d.story.entries[steps[i].first].position <= position {
			n = i + 1
		}
	}
	return n
}

// seen is what an operation showed; false: nothing that can be judged.
func (d *docket) seen(o *asked, steps []step) (judged, bool) {
	if o.Outcome == history.Unknown {
		return judged{}, false
	}
	n := d.shown(steps, o.position)
	if o.Outcome == history.OK {
		switch {
		case !o.Kind.Writes(), o.Kind == history.Again && o.Replayed: // it may be the first answer under the key again
			return judged{how: seeThen, step: n}, true
		}
		return judged{how: seeNow, step: n}, true
	}
	return d.refused(o, steps)
}

// refused says when a refusal is wrong.
func (d *docket) refused(o *asked, steps []step) (judged, bool) {
	switch {
	case o.Kind == history.Read || o.Kind == history.Pull: // held against its position already
		return judged{}, false
	case o.Problem == "order_conflict":
		return judged{how: notAt, bad: append([]bool{true}, make([]bool, len(steps))...)}, true
	case o.Problem == "not_found":
		return judged{how: never}, true
	case o.Problem == "version_mismatch", o.Problem == "order_state":
		in := judged{how: notAt, bad: make([]bool, len(steps)+1)}
		in.bad[0] = true
		for i := range steps {
			after := &d.story.entries[steps[i].last]
			if o.Problem == "version_mismatch" {
				in.bad[i+1] = after.version == o.IfVersion
			} else {
				in.bad[i+1] = !atEnd(after.status)
			}
		}
		return in, true
	}
	return judged{}, false
}

// atEnd says whether nothing more comes of an order.
func atEnd(status string) bool {
	return status == "completed" || status == "rejected" || status == "cancelled"
}
