package playhub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/orderstore/orderstore/events"
)

// The functions below look at what became of an order. The hub's lock is held.

// completed says whether the order is.
func (h *hub) completed(id string) bool { return h.order(id).Status == events.OrderStatusCompleted }

// results lists the results that were posted for an order's tasks, in order.
func (h *hub) results(order string) []*exchange {
	var all []*exchange
	for _, x := range h.story(order) {
		if x.action == string(events.ActionResult) {
			all = append(all, x)
		}
	}
	return all
}

// worked judges an order that is to be worked on once: completed in time, and by results that were all taken.
func (h *hub) worked(id string, inTime bool) finding {
	ok := inTime && h.completed(id)
	for _, x := range h.results(id) {
		ok = ok && (x.meddled || !x.refused())
	}
	return finding{ok: ok, seen: h.became(id)}
}

// became tells of an order: its status, and what was done to its tasks.
func (h *hub) became(id string) string {
	return "order " + string(h.order(id).Status) + ": " + said(h.story(id))
}

// maxSaid is how many requests are told of one by one.
const maxSaid = 8

// said tells what was done to tasks; results with the same result_id have the same number.
func said(all []*exchange) string {
	if len(all) == 0 {
		return "nothing was done to its task"
	}
	var words, ids []string
	for i, x := range all {
		if i == maxSaid {
			words = append(words, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		what := x.action
		if id := x.resultID(); id != "" {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			what = fmt.Sprintf("%s #%d", what, 1+slices.Index(ids, id))
		}
		words = append(words, x.said(what))
	}
	return strings.Join(words, ", ")
}

// said is a request and its answer in a few words.
func (x *exchange) said(what string) string {
	if x.answered.IsZero() {
		return what + " unanswered"
	}
	text := fmt.Sprintf("%s %d", what, x.status)
	switch {
	case x.meddled && x.refused():
		return text + " by the kit"
	case x.meddled:
		return text + " with the answer cut"
	case x.refused():
		return text + why(x.answer)
	}
	return text
}

// why is what a problem document says.
func why(answer []byte) string {
	var p struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
		Errors []struct {
			Pointer string `json:"pointer"`
			Detail  string `json:"detail"`
		} `json:"errors"`
	}
	if json.Unmarshal(answer, &p) != nil {
		return ""
	}
	if len(p.Errors) > 0 {
		return " (" + p.Errors[0].Pointer + ": " + p.Errors[0].Detail + ")"
	}
	return " (" + strings.TrimPrefix(p.Type, "/problems/") + ")"
}

// answered counts the requests about an order that have their answer.
func (h *hub) answered(order string) int {
	n := 0
	for _, x := range h.story(order) {
		if !x.answered.IsZero() {
			n++
		}
	}
	return n
}

// offers lists the positions at which the provider was offered something of an order.
func (h *hub) offers(order string) []int64 {
	var all []int64
	for _, n := range h.addressed(order) {
		if n.Type == events.TaskOffered {
			all = append(all, n.Position)
		}
	}
	return all
}

// toldOf says whether the provider was told of the order's first offer so many times.
func (h *hub) toldOf(order string, times int) bool {
	offers := h.offers(order)
	return len(offers) > 0 && h.told[offers[0]] >= times
}

// task is the first task of an order; it is there as soon as the order is.
func (h *hub) task(order string) events.Task {
	if tasks := h.order(order).Tasks; len(tasks) > 0 {
		return tasks[0]
	}
	return events.Task{}
}
