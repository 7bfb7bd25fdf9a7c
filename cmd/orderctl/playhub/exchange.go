package playhub

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// exchange is a request of the provider that changes a task, and its answer.
type exchange struct {
	at, answered time.Time // answered is zero until it is
	task, order  string
	action       string // the last part of the path
	body         []byte
	status       int
	answer       []byte
	replayed     bool // it had been done before
	meddled      bool // the kit refused it, or kept the answer back
}

func (x *exchange) refused() bool { return x.status >= http.StatusBadRequest }

// resultID is what a result calls itself.
func (x *exchange) resultID() string {
	var result struct {
		ResultID string `json:"result_id"`
	}
	_ = json.Unmarshal(x.body, &result) // what is no JSON was answered 400
	return result.ResultID
}

// sameBody says whether two requests mean the same.
func (x *exchange) sameBody(other *exchange) bool {
	var bodies [2]any
	for i, body := range [][]byte{x.body, other.body} {
		if json.Unmarshal(body, &bodies[i]) != nil {
			return bytes.Equal(x.body, other.body)
		}
	}
	a, errA := json.Marshal(bodies[0])
	b, errB := json.Marshal(bodies[1])
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// verdict is what the kit does to a request.
type verdict struct {
	before func()       // done before the request is looked at
	refuse *fault.Error // the answer, instead of doing what is asked
	after  func()       // done when the request is done and not yet answered
	cut    bool         // the answer is lost
}

// meddler decides what is done to a request. It is called with the lock held.
type meddler func(x *exchange) verdict

// longestBody bounds a request, in bytes; the routes refuse what is larger than their own limit.
const longestBody = 2 << 20

// answer answers the provider, and writes down what it does to tasks.
func (h *hub) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/events" {
		h.api.ServeHTTP(w, r)
		return
	}
	answer := &recorded{header: http.Header{}, status: http.StatusOK}
	x, v := h.begin(r)
	if v.before != nil {
		v.before()
	}
	if v.refuse != nil {
		answer.problem(v.refuse)
	} else {
		h.api.ServeHTTP(answer, r)
	}
	if v.after != nil {
		v.after()
	}
	if answer.status < http.StatusMultipleChoices && r.URL.Path != "/oauth/token" {
		answer.body = *bytes.NewBuffer(h.dress(answer.body.Bytes()))
	}
	h.end(x, answer)
	if v.cut {
		panic(http.ErrAbortHandler) // net/http's own way to cut a connection
	}
	answer.send(w)
}

// begin writes down a request that changes a task, and asks what is to be done to it.
func (h *hub) begin(r *http.Request) (*exchange, verdict) {
	rest, isTask := strings.CutPrefix(r.URL.Path, "/v1/tasks/")
	task, action, isAction := strings.Cut(rest, "/")
	if !isTask || !isAction {
		return nil, verdict{}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, longestBody))
	if err != nil {
		return nil, verdict{}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	x := &exchange{at: h.now(), task: task, action: action, body: body}
	var v verdict
	h.look(func() {
		x.order = h.orderOf[task]
		h.exchanges = append(h.exchanges, x)
		if h.meddle != nil {
			v = h.meddle(x)
		}
		x.meddled = v.refuse != nil || v.cut
	})
	return x, v
}

func (h *hub) end(x *exchange, answer *recorded) {
	if x == nil {
		return
	}
	h.look(func() {
		x.answered, x.status, x.answer = h.now(), answer.status, answer.body.Bytes()
		x.replayed = answer.status == http.StatusOK || answer.header.Get("Idempotency-Replayed") == "true"
		h.change()
	})
}

// recorded is an answer that is kept until it is known what becomes of it.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *recorded) Header() http.Header         { return a.header }
func (a *recorded) Write(p []byte) (int, error) { return a.body.Write(p) }
func (a *recorded) WriteHeader(status int)      { a.status = status }

func (a *recorded) problem(err *fault.Error) {
	status, body := httpapi.ProblemOf(err)
	a.status = status
	a.body.Write(body)
	a.header.Set("Content-Type", httpapi.ProblemType)
	if err.RetryAfter > 0 {
		a.header.Set("Retry-After", seconds(err.RetryAfter))
	}
}

func (a *recorded) send(w http.ResponseWriter) {
	for name, values := range a.header {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // the provider is gone: what it asked for is done all the same
}

// RoundTrip makes the kit's own requests, as the user and the operator. They are not written down, and nothing is done to them.
func (h *hub) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &recorded{header: http.Header{}, status: http.StatusOK}
	asked := r.Clone(r.Context())
	if asked.Body == nil {
		asked.Body = http.NoBody
	}
	h.api.ServeHTTP(answer, asked)
	return &http.Response{
		StatusCode: answer.status, Header: answer.header, Body: io.NopCloser(&answer.body), ContentLength: int64(answer.body.Len()),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
	}, nil
}

// story lists what the provider did to an order's tasks, in order, and not because it was restarted. The lock is held.
func (h *hub) story(order string) []*exchange {
	var all []*exchange
	for _, x := range h.exchanges {
		if x.order == order && !h.repeats(x) {
			all = append(all, x)
		}
	}
	return all
}

// repeats says whether a request is about an order of before the restart, and came after it. The lock is held.
func (h *hub) repeats(x *exchange) bool { return h.settled[x.order] && x.at.After(h.restarted) }

// tally is how much of an order was fulfilled.
func tally(order *events.Order) (fulfilled, ordered int64) {
	for i := range order.Lines {
		fulfilled += order.Lines[i].Quantities.Fulfilled
		ordered += order.Lines[i].Quantity
	}
	return fulfilled, ordered
}

// seconds renders a time as Retry-After has it.
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }
