package command

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/seeded"
)

// PostResult is a provider's result for a task. It is applied once, however often it is sent: its id is the provider's.
type PostResult struct {
	onTask
	Result events.ResultPosted
	Hash   [sha256.Size]byte // of the result as it was sent; zero: not known, see Recover
}

// seal computes the hash by which a result sent again is told from another one under the same id.
func (c *PostResult) seal() error {
	content, err := json.Marshal(struct {
		TaskID string
		Result *events.ResultPosted
	}{c.TaskID, &c.Result})
	if err != nil {
		return fmt.Errorf("hash result: %w", err)
	}
	c.Hash = sha256.Sum256(content)
	return nil
}

func (c *PostResult) wants(w *wants) {
	c.onTask.wants(w)
	w.results = append(w.results, resultRef{c.Provider, c.Result.ResultID})
}

func (c *PostResult) apply(r *round) (reply, error) {
	if known, ok := r.results[resultRef{c.Provider, c.Result.ResultID}]; ok && !seeded.On(seeded.ResultTwice) {
		return c.again(r, known)
	}
	rep, err := c.run(r, c)
	if err != nil {
		return rep, err
	}
	rep.status = http.StatusCreated
	if !seeded.On(seeded.ResultTwice) {
		r.post(c)
	}
	return rep, nil
}

// again answers a result whose id is known: with the task as it is now, when the content is the same.
func (c *PostResult) again(r *round, known [sha256.Size]byte) (reply, error) {
	state := r.byTask[c.TaskID]
	if state == nil || state.order.Task(c.TaskID).Provider != c.Provider {
		return reply{}, noTask()
	}
	if known != c.Hash && known != ([sha256.Size]byte{}) {
		return reply{}, fault.New(fault.ResultConflict, "result %q was posted before with other content", c.Result.ResultID)
	}
	return reply{status: http.StatusOK, order: state, task: c.TaskID, replayed: true}, nil
}

func (c *PostResult) decide(d *Decision) error {
	task, err := c.find(d)
	if err != nil {
		return err
	}
	if err := c.allowed(task, events.ActionResult); err != nil {
		return err
	}
	posted, err := complete(c.Result, task)
	if err != nil {
		return err
	}
	if posted.OccurredAt.IsZero() {
		posted.OccurredAt = d.at
	}
	return d.post(task, posted)
}

// complete makes a result explicit: which quantity of which line had which outcome, and what the task is after it.
func complete(posted events.ResultPosted, task *events.Task) (*events.ResultPosted, error) {
	open, left := map[string]int64{}, int64(0)
	posted.Late = !task.Status.Open()
	for _, line := range task.Lines {
		open[line.LineID] = line.Open()
		if posted.Late { // nothing is counted: what was given up meanwhile may be told as done
			open[line.LineID] = line.Quantity
		}
		left += line.Open()
	}
	if err := checkLines(posted.Lines, open); err != nil {
		return nil, err
	}
	if len(posted.Lines) == 0 {
		posted.Lines = allLeft(task, posted.Outcome)
	}
	if posted.Late {
		posted.TaskStatus = task.Status
		return &posted, nil
	}
	for _, done := range posted.Lines {
		left -= done.Quantity
	}
	switch {
	case posted.Outcome == events.OutcomeCompleted && left > 0:
		return nil, fault.InvalidFields([]fault.Field{{
			Pointer: "/lines",
			Detail:  fmt.Sprintf("%d units of the task are not accounted for: name them, or send the outcome \"partial\"", left),
		}})
	case posted.Outcome == events.OutcomeFailed:
		posted.TaskStatus = events.TaskIncomplete
		posted.Lines = append(posted.Lines, restOf(task, posted.Lines, events.LineRejected)...)
	case left > 0:
		posted.TaskStatus = goesOn(task.Status)
	default:
		posted.TaskStatus = finalStatus(task, posted.Lines)
	}
	return &posted, nil
}

// goesOn is what a task is after a partial result.
func goesOn(s events.TaskStatus) events.TaskStatus {
	if s == events.TaskStatusOffered {
		return events.TaskStatusAccepted
	}
	return s
}

// checkLines checks a result's lines against what the task has open and lowers open by them.
func checkLines(lines []events.ResultLine, open map[string]int64) error {
	var bad []fault.Field
	for i, done := range lines {
		at := "/lines/" + strconv.Itoa(i)
		left, known := open[done.LineID]
		switch {
		case !known:
			bad = append(bad, fault.Field{Pointer: at + "/line_id", Detail: "the task has no such line"})
		case done.Quantity > left:
			bad = append(bad, fault.Field{Pointer: at + "/quantity", Detail: fmt.Sprintf("the task has %d of this line open", left)})
		default:
			open[done.LineID] = left - done.Quantity
		}
	}
	if len(bad) > 0 {
		return fault.InvalidFields(bad)
	}
	return nil
}

// allLeft is what a result without lines says: a completed task fulfilled all that was left, a failed one none of it.
func allLeft(task *events.Task, outcome events.Outcome) []events.ResultLine {
	if outcome == events.OutcomeFailed {
		return []events.ResultLine{}
	}
	return restOf(task, nil, events.LineFulfilled)
}

// restOf is what the task has open beside the lines, all with one outcome.
func restOf(task *events.Task, lines []events.ResultLine, outcome events.LineOutcome) []events.ResultLine {
	rest := []events.ResultLine{}
	for _, given := range task.Lines {
		left := given.Open()
		for _, done := range lines {
			if done.LineID == given.LineID {
				left -= done.Quantity
			}
		}
		if left > 0 {
			rest = append(rest, events.ResultLine{LineID: given.LineID, Quantity: left, Outcome: outcome})
		}
	}
	return rest
}

// finalStatus is completed when the task fulfilled anything at all; cancelled when its cancellation was asked for and all of it is;
// incomplete otherwise.
func finalStatus(task *events.Task, lines []events.ResultLine) events.TaskStatus {
	cancelled := true
	for _, done := range lines {
		if done.Outcome == events.LineFulfilled {
			return events.TaskStatusCompleted
		}
		cancelled = cancelled && done.Outcome == events.LineCancelled
	}
	for _, given := range task.Lines {
		if given.Fulfilled > 0 {
			return events.TaskStatusCompleted
		}
		cancelled = cancelled && given.Rejected == 0
	}
	if cancelled && task.Status == events.TaskCancelAsked {
		return events.TaskStatusCancelled
	}
	return events.TaskIncomplete
}

// post records the result, and what follows from the task's end where it is one.
func (d *Decision) post(task *events.Task, posted *events.ResultPosted) error {
	id, before, over := task.ID, d.Order.Status, !posted.Late && !posted.TaskStatus.Open()
	if over {
		if err := d.endDelegates(id); err != nil {
			return err
		}
	}
	if task.DelegatedFrom != "" {
		return d.answer(id, posted)
	}
	if err := d.tell(task, events.TaskResultPosted, posted); err != nil {
		return err
	}
	if !over {
		return nil
	}
	return d.goOn(id, before)
}
