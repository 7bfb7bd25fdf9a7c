package playhub

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// scenarios are all there are, in the order in which they are played. The restart comes last: what comes for an earlier order after it
// is its doing.
func scenarios() []scenario {
	return slices.Concat(atWork(), atChanges(), hookScenarios(), atRestart())
}

// atWork are the scenarios about a provider's work.
func atWork() []scenario {
	return []scenario{
		{
			name: "plain", play: playPlain,
			contract: "A task that is offered is worked on, and its result is posted.",
			expected: "the order completed in time, by results that the hub took",
		},
		{
			name: "duplicate-notice", play: playDuplicate,
			contract: "An event may be told more than once; its id, the position, is the same each time.",
			expected: "the work done once, and no other result",
		},
		{
			name: "cut-answer", play: playCut,
			contract: "A result whose answer is lost is sent again with the same result_id and the same content; it is applied once.",
			expected: "the result again, with the same result_id and the same body, and the order completed",
		},
		{
			name: "retry-after", play: playBusy,
			contract: "429 and 503 say in Retry-After how long to wait before the same is asked again.",
			expected: "each request again, not before its Retry-After had passed, and the order completed",
		},
		{
			name: "token-expired", play: playExpired,
			contract: "An access token ends; 401 says so, and a new one is fetched.",
			expected: "a new token after the 401, and the order completed in time",
		},
		{
			name: "partial-results", play: playPartial,
			contract: "Partial results add up; together they are what was assigned, and no more.",
			expected: "results for each unit that was assigned, none of them refused",
		},
	}
}

// atChanges are the scenarios in which something changes or is not known.
func atChanges() []scenario {
	return []scenario{
		{
			name: "late-cancel", play: playLateCancel,
			contract: "A provider that has accepted answers a cancellation: accept agrees, reject refuses, or a result says it is done.",
			expected: "an answer in time, and after a refusal the work",
		},
		{
			name: "cancelled-before-accept", play: playCancelled,
			contract: "What a task's state does not allow is 409 task_state with the fresh supported_actions; none is left of a cancelled task.",
			expected: "one request answered 409, and none after it",
		},
		{
			name: "amended", play: playAmended,
			contract: "An amended order is offered anew; what counts is its new version, which is pulled.",
			expected: "the new version pulled, and exactly its lines fulfilled by the new task",
		},
		{
			name: "unknown", play: playUnknown,
			contract: "Event types and members that a party does not know are ignored.",
			expected: "the order completed in time, as if they were not there",
		},
	}
}

func atRestart() []scenario {
	return []scenario{{
		name: "restart", play: playRestart,
		skip: func(s *stage) string {
			if s.program == nil {
				return "the kit did not start the provider, so it does not stop it either"
			}
			return ""
		},
		contract: "A provider that was killed goes on where it was: nothing is lost, and nothing is worked on twice.",
		expected: "both orders completed in time, and no second result for any task",
	}}
}

func playPlain(ctx context.Context, s *stage) (judge, error) {
	order, err := s.place(ctx, "plain", nil, nil)
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.completed(order.ID) })
	return func() finding { return s.worked(order.ID, inTime) }, nil
}

// playDuplicate tells of an order again when it is done.
func playDuplicate(ctx context.Context, s *stage) (judge, error) {
	order, err := s.place(ctx, "duplicate", nil, nil)
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.completed(order.ID) })
	moment, cancel := context.WithTimeout(ctx, s.Settle) // a webhook may be answered after the work is done
	defer cancel()
	if told := s.wait(moment, func() bool { return s.toldOf(order.ID, 1) }); inTime && !told {
		return skipped("the provider listens to no feed, stream or webhook: it is told nothing, so nothing twice"), nil
	}
	var again []events.Notice
	s.look(func() {
		again = s.addressed(order.ID)
		if s.hooks == nil {
			s.again = append(append([]events.Notice{}, again...), again...)
			s.change()
		}
	})
	if s.hooks != nil {
		for _, n := range again {
			s.hooks.deliver(ctx, n)
		}
	}
	twice := s.wait(ctx, func() bool { return s.toldOf(order.ID, 2) && len(s.again) == 0 })
	return func() finding {
		f := s.worked(order.ID, inTime)
		if !twice && f.ok {
			return finding{skipped: true, seen: "the provider listened no more, so it was not told again"}
		}
		if twice {
			f.seen = fmt.Sprintf("told %d times; %s", s.told[s.offers(order.ID)[0]], f.seen)
		}
		return f
	}, nil
}

// skipped is for a scenario that turns out not to be playable.
func skipped(why string) judge {
	return func() finding { return finding{skipped: true, seen: why} }
}

// playCut applies the first result, and loses the answer.
func playCut(ctx context.Context, s *stage) (judge, error) {
	cut := false
	order, err := s.place(ctx, "cut", nil, func(x *exchange) verdict {
		if cut || x.action != string(events.ActionResult) {
			return verdict{}
		}
		cut = true
		return verdict{cut: true}
	})
	if err != nil {
		return nil, err
	}
	again := s.wait(ctx, func() bool { return s.completed(order.ID) && s.answeredResults(order.ID) > 1 })
	return func() finding {
		f := s.worked(order.ID, again)
		results := s.results(order.ID)
		for _, x := range results {
			if !x.sameBody(results[0]) {
				f.ok = false
				f.seen = "sent again with another body; " + f.seen
				break
			}
		}
		if !again {
			f.seen = fmt.Sprintf("not sent again within %s; %s", s.Within, f.seen)
		}
		return f
	}, nil
}

// answeredResults counts the results of an order that have been answered, or had their answer cut. The lock is held.
func (h *hub) answeredResults(order string) int {
	n := 0
	for _, x := range h.results(order) {
		if !x.answered.IsZero() {
			n++
		}
	}
	return n
}

// How long a busy hub asks to wait. Retry-After counts in whole seconds.
const (
	slowDown = 2 * time.Second
	comeBack = time.Second
)

// playBusy refuses the first request on the task with 429, and its first result, where that is another one, with 503.
func playBusy(ctx context.Context, s *stage) (judge, error) {
	slowed, away := false, false
	order, err := s.place(ctx, "busy", nil, func(x *exchange) verdict {
		if !slowed {
			slowed = true
			return verdict{refuse: fault.New(fault.TooManyRequests, "too many requests").Retry(slowDown)}
		}
		if x.action != string(events.ActionResult) || away || s.refusedBefore(x) {
			return verdict{}
		}
		away = true
		return verdict{refuse: fault.New(fault.Overloaded, "too busy at the moment").Retry(comeBack)}
	})
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.completed(order.ID) })
	return func() finding {
		f := s.worked(order.ID, inTime)
		waits, honoured := s.pauses(order.ID)
		f.ok = f.ok && honoured
		f.seen = strings.Join(append(waits, f.seen), "; ")
		return f
	}, nil
}

// refusedBefore says whether the kit has refused such a request already. The lock is held.
func (h *hub) refusedBefore(x *exchange) bool {
	for _, earlier := range h.story(x.order) {
		if earlier != x && earlier.meddled && earlier.action == x.action {
			return true
		}
	}
	return false
}

// pauses tells how long the provider waited after each request that the kit refused, and whether that was long enough.
func (h *hub) pauses(order string) (said []string, honoured bool) {
	honoured = true
	story := h.story(order)
	for i, x := range story {
		if !x.meddled {
			continue
		}
		asked, again := slowDown, false
		if x.status == http.StatusServiceUnavailable {
			asked = comeBack
		}
		for _, next := range story[i+1:] {
			if next.action != x.action {
				continue
			}
			waited := next.at.Sub(x.answered)
			again = true
			honoured = honoured && waited >= asked
			said = append(said, fmt.Sprintf("%s again %.1f s after %d with Retry-After %s", x.action, waited.Seconds(), x.status, seconds(asked)))
			break
		}
		if !again {
			honoured = false
			said = append(said, fmt.Sprintf("%s not again after %d", x.action, x.status))
		}
	}
	return said, honoured
}

// playExpired takes the provider's tokens for expired from the moment that it wants to work on the task.
func playExpired(ctx context.Context, s *stage) (judge, error) {
	var expired time.Time
	order, err := s.place(ctx, "expired", nil, func(*exchange) verdict {
		if !expired.IsZero() {
			return verdict{}
		}
		expired = s.now()
		return verdict{before: s.expireTokens}
	})
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.completed(order.ID) })
	fetched := 0
	s.look(func() {
		if !expired.IsZero() {
			fetched = s.tokensSince(expired)
		}
	})
	used := s.restoreTokens()
	return func() finding {
		f := finding{ok: inTime && fetched > 0 && s.completed(order.ID)}
		f.seen = fmt.Sprintf("the dead token sent %d times, %d new fetched; %s", used, fetched, s.became(order.ID))
		return f
	}, nil
}

// playPartial orders several units of several lines, which invites partial results.
func playPartial(ctx context.Context, s *stage) (judge, error) {
	order, err := s.place(ctx, "partial", func(o *client.OrderSubmission) {
		first := o.Lines[0]
		o.Lines = nil
		for i, quantity := range []int64{3, 5, 2} {
			line := first
			line.LineID, line.Quantity = fmt.Sprint(i+1), quantity
			o.Lines = append(o.Lines, line)
		}
	}, nil)
	if err != nil {
		return nil, err
	}
	inTime := s.wait(ctx, func() bool { return s.closed(order.ID) })
	return func() finding {
		f := finding{ok: inTime && s.closed(order.ID)}
		for _, x := range s.results(order.ID) {
			f.ok = f.ok && !x.refused()
		}
		fulfilled, ordered := tally(s.order(order.ID))
		f.seen = fmt.Sprintf("%d of %d units fulfilled; %s", fulfilled, ordered, s.became(order.ID))
		return f
	}, nil
}

// closed says whether results have accounted for all that an order's first task was given. The lock is held.
func (h *hub) closed(order string) bool {
	task := h.task(order)
	return task.Status == events.TaskStatusCompleted || task.Status == events.TaskIncomplete
}
