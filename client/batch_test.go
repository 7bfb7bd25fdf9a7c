package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// answerBatch answers each line as it comes, until it has answered limit of them.
func answerBatch(w http.ResponseWriter, r *http.Request, limit int, status func(ref string) int) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := bufio.NewScanner(r.Body)
	for n := 1; lines.Scan(); n++ {
		if n > limit {
			cut(w)
		}
		var got client.OrderSubmission
		if json.Unmarshal(lines.Bytes(), &got) != nil { // the rest of a line whose sender has gone
			cut(w)
		}
		result := map[string]any{"line": n, "status": status(got.ExternalRef), "external_ref": got.ExternalRef, "id": "id-" + got.ExternalRef, "position": 10 * n}
		if result["status"] == http.StatusUnprocessableEntity {
			result["problem"] = map[string]any{"type": "/problems/invalid", "title": "Some fields are not valid", "errors": []any{map[string]any{"pointer": "/total", "detail": "differs"}}}
		}
		_ = json.NewEncoder(w).Encode(result)
		_ = control.Flush()
	}
}

func created(string) int { return http.StatusCreated }

func orders(refs ...string) iter.Seq[client.OrderSubmission] {
	return func(yield func(client.OrderSubmission) bool) {
		for _, ref := range refs {
			if !yield(order(ref)) {
				return
			}
		}
	}
}

func TestBatchAnswersInOrderAndOneBadOrderSpoilsNone(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		answerBatch(w, r, 100, func(ref string) int {
			return map[string]int{"a": http.StatusCreated, "b": http.StatusUnprocessableEntity, "c": http.StatusOK}[ref]
		})
	})
	var got []client.BatchResult
	for result, err := range c.SubmitBatch(t.Context(), orders("a", "b", "c")) {
		require.NoError(t, err)
		got = append(got, result)
	}
	require.Equal(t, []client.BatchResult{
		{Line: 1, Status: 201, ID: "id-a", ExternalRef: "a", Position: 10},
		{Line: 2, Status: 422, ID: "id-b", ExternalRef: "b", Position: 20, Problem: &client.Problem{
			Type: "/problems/invalid", Code: "invalid", Title: "Some fields are not valid", Status: 422,
			Fields: []client.Field{{Pointer: "/total", Detail: "differs"}},
		}},
		{Line: 3, Status: 200, ID: "id-c", ExternalRef: "c", Position: 30},
	}, got)
	require.True(t, got[0].Stored() && !got[1].Stored() && got[2].Stored())
}

// Each order waits for the answer to the one before: this can only end if both directions stream.
func TestBatchStreamsBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) { answerBatch(w, r, 100, created) })
	answered := make(chan int64, 1)
	answered <- 0
	source := func(yield func(client.OrderSubmission) bool) {
		for range 20 {
			select {
			case n := <-answered:
				if !yield(order(fmt.Sprint(n))) {
					return
				}
			case <-t.Context().Done():
				return
			}
		}
	}
	var refs []string
	for result, err := range c.SubmitBatch(t.Context(), source) {
		require.NoError(t, err)
		refs = append(refs, result.ExternalRef)
		answered <- result.Line
	}
	require.Len(t, refs, 20)
	require.Equal(t, []string{"0", "1", "2"}, refs[:3])
}

func TestBatchCutSaysWhichOrdersWereAnswered(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) { answerBatch(w, r, 2, created) })
	var answered []string
	var last error
	for result, err := range c.SubmitBatch(t.Context(), orders("a", "b", "c", "d")) {
		if last = err; err == nil {
			answered = append(answered, result.ExternalRef)
		}
	}
	var cut *client.BatchCut
	require.ErrorAs(t, last, &cut)
	require.True(t, client.Temporary(last))
	require.Equal(t, []string{"a", "b"}, answered)
	require.Equal(t, int64(2), cut.Answered)
	require.GreaterOrEqual(t, cut.Sent, int64(3))
}

// A store that ends its answer properly but early has not answered all the same.
func TestBatchThatEndsEarlyIsCut(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = bufio.NewReader(r.Body).ReadBytes(0)
		answer(w, http.StatusOK, map[string]any{"line": 1, "status": 201})
	})
	var last error
	for _, err := range c.SubmitBatch(t.Context(), orders("a", "b")) {
		last = err
	}
	var cut *client.BatchCut
	require.ErrorAs(t, last, &cut)
	require.True(t, client.Temporary(last))
	require.Equal(t, int64(1), cut.Answered)
	require.Equal(t, int64(2), cut.Sent)
}

func TestBatchThatWasNotBegunIsSentAgainWhole(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c, s := setup(t, func(w http.ResponseWriter, r *http.Request) {
		switch calls.Add(1) {
		case 1:
			_, _ = bufio.NewReader(r.Body).ReadBytes('\n')
			problem(w, http.StatusServiceUnavailable, "unavailable", "restarting")
		case 2:
			_, _ = bufio.NewReader(r.Body).ReadBytes(0)
			cut(w)
		default:
			answerBatch(w, r, 100, created)
		}
	})
	s.revoke("token-1")
	taken := 0
	source := func(yield func(client.OrderSubmission) bool) {
		for _, ref := range []string{"a", "b", "c"} {
			taken++
			if !yield(order(ref)) {
				return
			}
		}
	}
	var refs []string
	for result, err := range c.SubmitBatch(t.Context(), source) {
		require.NoError(t, err)
		refs = append(refs, result.ExternalRef)
	}
	require.Equal(t, []string{"a", "b", "c"}, refs)
	require.Equal(t, 3, taken, "each order is taken from its source once")
	require.Equal(t, int64(3), calls.Load())
	require.Equal(t, 2, s.tokens())
	require.Len(t, s.waited(), 2)
}

func TestBatchRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusForbidden, "forbidden", "the token lacks orders:write")
	})
	var last error
	for _, err := range c.SubmitBatch(t.Context(), orders("a")) {
		last = err
	}
	var cut *client.BatchCut
	require.ErrorAs(t, last, &cut)
	require.Zero(t, cut.Answered)
	require.True(t, client.HasCode(last, "forbidden"))
	require.False(t, client.Temporary(last))
}

func TestOrderThatIsNoJSONEndsTheBatch(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) { answerBatch(w, r, 100, created) })
	bad := order("bad")
	bad.Attributes = client.Object{"f": func() {}}
	var last error
	for _, err := range c.SubmitBatch(t.Context(), slices.Values([]client.OrderSubmission{order("a"), bad, order("c")})) {
		last = err
	}
	require.ErrorContains(t, last, "encode order bad")
	require.False(t, client.Temporary(last))
}

func TestLoopThatEndsStopsTheBatch(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) { answerBatch(w, r, 1<<30, created) })
	stopped := false
	endless := func(yield func(client.OrderSubmission) bool) {
		defer func() { stopped = true }()
		for n := 0; yield(order(fmt.Sprint(n))); n++ {
		}
	}
	for result, err := range c.SubmitBatch(t.Context(), endless) {
		require.NoError(t, err)
		if result.Line == 10 {
			break
		}
	}
	require.True(t, stopped, "the source has ended when the loop has")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for result, err := range c.SubmitBatch(ctx, endless) {
		if last = err; result.Line == 10 {
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	require.False(t, client.Temporary(last))
}

// Far more than fits into any buffer on the way.
func TestBatchOfManyOrders(t *testing.T) {
	t.Parallel()
	const n = 30_000
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) { answerBatch(w, r, 1<<30, created) })
	source := func(yield func(client.OrderSubmission) bool) {
		for i := range n {
			if !yield(order(fmt.Sprint(i))) {
				return
			}
		}
	}
	var line int64
	for result, err := range c.SubmitBatch(t.Context(), source) {
		require.NoError(t, err)
		line++
		require.Equal(t, fmt.Sprint(line-1), result.ExternalRef)
	}
	require.Equal(t, int64(n), line)
}
