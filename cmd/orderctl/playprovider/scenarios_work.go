package playprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/orderstore/orderstore/client"
)

// working are the scenarios about a provider's work.
func working() []scenario {
	return []scenario{
		{
			name: "same-result", play: playSameResult,
			contract: "A result is applied once, however often it is sent: the same result_id gives the same answer, other content is 409.",
			expected: "201, then 200 with the same task, then 409 result_conflict, and one result in the order",
		},
		{
			name: "reordered", play: playReordered,
			contract: "A task may be finished without being accepted first; what its state does not allow is 409 task_state with supported_actions.",
			expected: "the result taken, then 409 task_state with supported_actions for the acceptance",
		},
		{
			name: "partial-results", play: playPartial,
			contract: "Partial results add up.",
			expected: "2 of 5, then 5 of 5 units fulfilled, and the order completed",
		},
		{
			name: "over-delivery", play: playOver,
			contract: "More than a task was given is 422 with a pointer to the quantity, and counts nothing.",
			expected: "422 with /lines/0/quantity, and the task as it was",
		},
		{
			name: "accept-in-time", play: playExpiry,
			skip: func(s *stage) string {
				return missing(s.second == nil || s.parties.Expiring == "", "no second provider was given")
			},
			contract: "A task that is not accepted in time expires, and is offered to the next candidate.",
			expected: "task.expired for the first provider, and the task with the second",
		},
	}
}

// changing are the scenarios about what the user changes.
func changing() []scenario {
	return []scenario{
		{
			name: "same-order", play: playSameOrder,
			contract: "The same channel and external_ref again is the same order; with other content it is 409 order_conflict.",
			expected: "200 with the first order's id, and 409 order_conflict",
		},
		{
			name: "stale-change", play: playStale,
			contract: "A change needs If-Match: 428 without, 412 when the order has moved on.",
			expected: "428, 412, and then the change",
		},
		{
			name: "late-cancel", play: playLateCancel,
			contract: "A provider that has accepted is asked, and agrees or refuses; what is refused goes on.",
			expected: "task.cancellation_requested told twice; one order cancelled, the other completed",
		},
		{
			name: "late-result", play: playLateResult,
			contract: "A late result for a cancelled order is kept and flagged, and counts nothing.",
			expected: "the result in the order with late, the order still cancelled, nothing fulfilled",
		},
	}
}

func fulfilled(order client.Order) int64 {
	n := int64(0)
	for _, line := range order.Lines {
		n += line.Quantities.Fulfilled
	}
	return n
}

func lines(quantities ...int64) []client.ResultLine {
	var all []client.ResultLine
	for i, quantity := range quantities {
		if quantity > 0 {
			all = append(all, client.ResultLine{LineID: fmt.Sprint(i + 1), Quantity: quantity, Outcome: client.LineFulfilled})
		}
	}
	return all
}

func playSameResult(ctx context.Context, s *stage) (finding, error) {
	order, task, err := s.place(ctx, "same-result", s.parties.BusinessType, 2)
	if err != nil {
		return finding{}, err
	}
	result := client.ResultSubmission{ResultID: "same-" + s.run, Outcome: client.OutcomePartial, Lines: lines(1)}
	first, err := s.own.PostResult(ctx, task.ID, result)
	if err != nil {
		return finding{}, err
	}
	again, err := s.own.PostResult(ctx, task.ID, result)
	if err != nil {
		return finding{}, err
	}
	other := result
	other.Lines = lines(2)
	_, refused := s.own.PostResult(ctx, task.ID, other)
	now, err := s.again(ctx, order, again.Meta)
	if err != nil {
		return finding{}, err
	}
	same := sameTask(first, again)
	ok := first.Meta.Status == http.StatusCreated && again.Meta.Status == http.StatusOK && same &&
		client.HasCode(refused, "result_conflict") && len(now.Results) == 1 && fulfilled(now) == 1
	return finding{ok: ok, seen: fmt.Sprintf("%d, then %d with the same task: %t, then %s; %d results, %d fulfilled",
		first.Meta.Status, again.Meta.Status, same, problem(refused), len(now.Results), fulfilled(now))}, nil
}

func sameTask(a, b client.Task) bool {
	a.Meta, b.Meta = client.Meta{}, client.Meta{}
	one, errOne := json.Marshal(a)
	two, errTwo := json.Marshal(b)
	return errOne == nil && errTwo == nil && string(one) == string(two)
}

// problem is what a call was refused with.
func problem(err error) string {
	var p *client.Problem
	switch {
	case err == nil:
		return "success"
	case errors.As(err, &p):
		return fmt.Sprintf("%d %s", p.Status, p.Code)
	}
	return err.Error()
}

func playReordered(ctx context.Context, s *stage) (finding, error) {
	order, task, err := s.place(ctx, "reordered", s.parties.BusinessType, 2)
	if err != nil {
		return finding{}, err
	}
	done, err := s.own.PostResult(ctx, task.ID, client.ResultSubmission{ResultID: "reordered-" + s.run, Outcome: client.OutcomeCompleted})
	if err != nil {
		return finding{}, err
	}
	refused, err := s.ask(ctx, s.own, http.MethodPost, "/v1/tasks/"+task.ID+"/accept", nil)
	if err != nil {
		return finding{}, err
	}
	var document map[string]json.RawMessage
	_ = json.Unmarshal(refused.body, &document) // what is no problem document has no such members
	_, actions := document["supported_actions"]
	now, err := s.again(ctx, order, done.Meta)
	if err != nil {
		return finding{}, err
	}
	ok := now.Status == client.OrderCompleted && refused.status == http.StatusConflict && actions && string(document["type"]) == `"/problems/task_state"`
	return finding{ok: ok, seen: fmt.Sprintf("result %d, order %s; accept %d %s, supported_actions there: %t",
		done.Meta.Status, now.Status, refused.status, document["type"], actions)}, nil
}

func playPartial(ctx context.Context, s *stage) (finding, error) {
	order, task, err := s.place(ctx, "partial", s.parties.BusinessType, 3, 2)
	if err != nil {
		return finding{}, err
	}
	f := finding{ok: true}
	var said []string
	for i, step := range []struct {
		lines  []client.ResultLine
		sum    int64
		status string
	}{{lines(2), 2, client.OrderPartiallyCompleted}, {lines(1, 2), 5, client.OrderCompleted}} {
		id := fmt.Sprintf("partial-%d-%s", i, s.run)
		posted, err := s.own.PostResult(ctx, task.ID, client.ResultSubmission{ResultID: id, Outcome: client.OutcomePartial, Lines: step.lines})
		if err != nil {
			return finding{}, err
		}
		now, err := s.again(ctx, order, posted.Meta)
		if err != nil {
			return finding{}, err
		}
		f.ok = f.ok && fulfilled(now) == step.sum && now.Status == step.status
		said = append(said, fmt.Sprintf("%d of 5 fulfilled, order %s", fulfilled(now), now.Status))
	}
	f.seen = strings.Join(said, "; ")
	return f, nil
}

func playOver(ctx context.Context, s *stage) (finding, error) {
	order, task, err := s.place(ctx, "over", s.parties.BusinessType, 2)
	if err != nil {
		return finding{}, err
	}
	_, refused := s.own.PostResult(ctx, task.ID, client.ResultSubmission{ResultID: "over-" + s.run, Outcome: client.OutcomePartial, Lines: lines(3)})
	now, err := s.again(ctx, order, order.Meta)
	if err != nil {
		return finding{}, err
	}
	var p *client.Problem
	pointed := errors.As(refused, &p) && slices.ContainsFunc(p.Fields, func(f client.Field) bool { return f.Pointer == "/lines/0/quantity" })
	ok := client.HasCode(refused, client.CodeInvalid) && pointed && fulfilled(now) == 0 && now.Version == order.Version
	return finding{ok: ok, seen: fmt.Sprintf("%s, the quantity pointed to: %t; order at version %d as before: %t", problem(refused), pointed,
		now.Version, now.Version == order.Version)}, nil
}

// playExpiry leaves a task alone until it has gone to the other provider.
func playExpiry(ctx context.Context, s *stage) (finding, error) {
	order, first, err := s.place(ctx, "expiry", s.parties.Expiring, 1)
	if err != nil {
		return finding{}, err
	}
	for ctx.Err() == nil {
		now, err := s.user.GetOrder(ctx, order.ID, client.GetOptions{})
		if err != nil && ctx.Err() == nil {
			return finding{}, err
		}
		if old, found := now.Task(first.ID); found && len(now.Tasks) > 1 {
			next := now.Tasks[1]
			told := s.toldExpired(ctx, first)
			ok := old.Status == client.TaskExpired && next.Provider != first.Provider && told
			return finding{ok: ok, seen: fmt.Sprintf("first task %s, its provider told: %t, the next %s with another provider: %t",
				old.Status, told, next.Status, next.Provider != first.Provider)}, nil
		}
		rest(ctx, pollPause)
	}
	return finding{seen: fmt.Sprintf("the task still with its first provider after %s", s.Within)}, nil
}

// toldExpired says whether the provider of a task was told that it has expired.
func (s *stage) toldExpired(ctx context.Context, task client.Task) bool {
	for _, c := range []*client.Client{s.own, s.second} {
		var after int64
		for ctx.Err() == nil {
			page, err := c.Feed(ctx, client.FeedRequest{After: after})
			if err != nil {
				break
			}
			if slices.ContainsFunc(page.Events, func(e client.Event) bool {
				return e.Type == "task.expired" && e.TaskID == task.ID && e.Provider == task.Provider
			}) {
				return true
			}
			last := page.ScannedTo
			if n := len(page.Events); n > 0 {
				last = max(last, page.Events[n-1].Position) // a feed that goes back is not for this scenario to find
			}
			if last <= after || len(page.Events) == 0 {
				break
			}
			after = last
		}
	}
	return false
}
