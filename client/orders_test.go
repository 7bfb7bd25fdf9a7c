package client_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

func TestSubmitIsRepeatedUnderTheSameKeyUntilItIsAnswered(t *testing.T) {
	t.Parallel()
	var keys []string
	var bodies [][]byte
	c, s := setup(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		keys, bodies = append(keys, r.Header.Get("Idempotency-Key")), append(bodies, body)
		switch len(keys) {
		case 1:
			cut(w)
		case 2:
			w.Header().Set("Retry-After", "2")
			problem(w, http.StatusServiceUnavailable, "overloaded", "the queue is full")
		case 3:
			w.Header().Set("Retry-After", "1")
			problem(w, http.StatusTooManyRequests, "too_many_requests", "slower")
		case 4:
			w.Header().Set("Retry-After", "1")
			problem(w, http.StatusConflict, "conflict", "the first request with this key is still at work")
		default:
			w.Header().Set("Order-Position", "9007199254740993")
			w.Header().Set("Idempotency-Replayed", "true")
			answer(w, http.StatusOK, map[string]any{"id": "o-1", "status": "routed", "attributes": map[string]any{"n": int64(9007199254740993)}})
		}
	})
	got, err := c.SubmitOrder(t.Context(), order("r-1"))
	require.NoError(t, err)
	require.Equal(t, client.Meta{Position: 9007199254740993, Replayed: true, Status: 200}, got.Meta)
	require.Equal(t, json.Number("9007199254740993"), got.Attributes["n"])
	require.Len(t, keys, 5)
	require.NotEmpty(t, keys[0])
	for i := range keys {
		require.Equal(t, keys[0], keys[i])
		require.True(t, bytes.Equal(bodies[0], bodies[i]))
	}
	waits := s.waited()
	asked := waits[len(waits)-3:] // net/http itself may have repeated the cut request at once
	require.GreaterOrEqual(t, asked[0], 2*time.Second)
	require.GreaterOrEqual(t, asked[1], time.Second)
	require.Less(t, asked[1], 2*time.Second)

	_, err = c.SubmitOrder(t.Context(), order("r-2"), client.WithIdempotencyKey("mine"))
	require.NoError(t, err)
	require.Equal(t, "mine", keys[5])
}

func TestSubmitGivesUpWithTheContextAndSaysWhy(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", "30")
		problem(w, http.StatusServiceUnavailable, "overloaded", "the queue is full")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.SubmitOrder(ctx, order("r-1"))
	require.True(t, client.HasCode(err, "overloaded"), "%v", err)
	require.Equal(t, int64(1), calls.Load(), "there is no time left for what the store asks to wait")

	ctx, stop := context.WithCancel(t.Context())
	c.SetWait(func(ctx context.Context, _ time.Duration) error { stop(); return ctx.Err() })
	_, err = c.SubmitOrder(ctx, order("r-1"))
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, client.HasCode(err, "overloaded"), "%v", err)
}

func TestRetriesEndAfterRetryForWithoutADeadline(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusServiceUnavailable, "unavailable", "away")
	})
	var shift atomic.Int64
	start := time.Now()
	c.SetClock(func() time.Time { return start.Add(time.Duration(shift.Load())) })
	c.SetWait(func(_ context.Context, d time.Duration) error { shift.Add(int64(d)); return nil })
	_, err := c.SubmitOrder(t.Context(), order("r-1"))
	require.True(t, client.HasCode(err, "unavailable"), "%v", err)
	require.Greater(t, shift.Load(), int64(50*time.Second))
	require.LessOrEqual(t, shift.Load(), int64(time.Minute))
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c, s := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"type":"/problems/invalid","title":"Some fields are not valid","status":422,"detail":"2 field(s) are not valid",
			"errors":[{"pointer":"/lines/0/quantity","detail":"must be 1 to 1000000"},{"pointer":"/currency","detail":"unknown"}]}`)
	})
	_, err := c.SubmitOrder(t.Context(), order("r-1"))
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, []client.Field{{Pointer: "/lines/0/quantity", Detail: "must be 1 to 1000000"}, {Pointer: "/currency", Detail: "unknown"}}, p.Fields)
	require.EqualError(t, err, "submit order r-1: invalid (422): 2 field(s) are not valid; /lines/0/quantity: must be 1 to 1000000; /currency: unknown")
	require.Equal(t, int64(1), calls.Load())
	require.Empty(t, s.waited())
}

func TestAnAnswerCutInTheMiddleIsAskedForAgain(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"id":"o-`)
			cut(w)
		}
		answer(w, http.StatusCreated, map[string]any{"id": "o-1"})
	})
	got, err := c.SubmitOrder(t.Context(), order("r-1"))
	require.NoError(t, err)
	require.Equal(t, "o-1", got.ID)
	require.Equal(t, int64(2), calls.Load())
}

func TestProblemsOfOthersAreProblemsToo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mediaType, body string
		status          int
		code, detail    string
	}{
		"a proxy's page":  {"text/html", "<h1>no</h1>", http.StatusForbidden, "forbidden", ""},
		"not the JSON":    {"application/problem+json", "{", http.StatusForbidden, "forbidden", ""},
		"another JSON":    {"application/json", `{"message":"x"}`, http.StatusNotFound, "not_found", ""},
		"an OAuth error":  {"application/json", `{"error":"invalid_scope","error_description":"no"}`, http.StatusBadRequest, "invalid_scope", "no"},
		"an unnamed code": {"text/plain", "", 499, "499", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.mediaType)
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			_, err := c.GetOrder(t.Context(), "o-1", client.GetOptions{})
			var p *client.Problem
			require.ErrorAs(t, err, &p)
			require.Equal(t, tc.code, p.Code)
			require.Equal(t, tc.status, p.Status)
			require.Equal(t, tc.detail, p.Detail)
		})
	}
}

func TestGetOrderSendsItsOptions(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "41", r.Header.Get("Order-Position"))
		assert.Equal(t, "auxiliary,timeline", r.URL.Query().Get("include"))
		if r.Header.Get("If-None-Match") == `"3"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		answer(w, http.StatusOK, map[string]any{"id": "o-1", "degraded": []string{"auxiliary"}, "timeline": []any{map[string]any{"id": "5", "position": 5}}})
	})
	options := client.GetOptions{Include: []string{client.IncludeAuxiliary, client.IncludeTimeline}, Position: 41}
	got, err := c.GetOrder(t.Context(), "o-1", options)
	require.NoError(t, err)
	require.Equal(t, []string{"auxiliary"}, got.Degraded)
	require.Equal(t, int64(5), got.Timeline[0].Position)
	options.IfNoneMatch = `"3"`
	_, err = c.GetOrder(t.Context(), "o-1", options)
	require.ErrorIs(t, err, client.ErrNotModified)
}

func TestListGoesThroughAllPagesAndKeepsTheFilter(t *testing.T) {
	t.Parallel()
	var queries []string
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		n, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		w.Header().Set("Order-Position", strconv.Itoa(100+n))
		body := map[string]any{"items": []any{map[string]any{"id": strconv.Itoa(2 * n)}, map[string]any{"id": strconv.Itoa(2*n + 1)}}}
		if n < 2 {
			body["next"] = strconv.Itoa(n + 1)
		}
		answer(w, http.StatusOK, body)
	})
	filter := client.OrderFilter{
		Status: []string{"routed", "processing"}, Channel: "web", Text: "chair", PageSize: 2,
		CreatedAfter: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Channels: []string{"pos"}, Provider: "acme", SKU: "S/1", Customer: "a@b.c",
		Currency: "EUR", TotalMin: new(int64), UpdatedBefore: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Fields: []string{"id", "lines.sku"},
	}
	var ids []string
	var positions []int64
	for got, err := range c.ListOrders(t.Context(), filter) {
		require.NoError(t, err)
		ids, positions = append(ids, got.ID), append(positions, got.Meta.Position)
	}
	require.Equal(t, []string{"0", "1", "2", "3", "4", "5"}, ids)
	require.Equal(t, []int64{100, 100, 101, 101, 102, 102}, positions)
	first := "channel=web&channel=pos&created_after=2026-01-02T03%3A04%3A05Z&currency=EUR&"
	rest := "customer=a%40b.c&fields=id%2Clines.sku&limit=2&provider=acme&sku=S%2F1&status=routed&status=processing&text=chair&total_min=0&updated_before=2026-01-02T00%3A00%3A00Z"
	require.Equal(t, []string{first + rest, first + "cursor=1&" + rest, first + "cursor=2&" + rest}, queries)

	for _, err := range c.ListOrders(t.Context(), filter) {
		require.NoError(t, err)
		break
	}
	require.Len(t, queries, 4, "a loop that ends asks for no more")
}

func TestListEndsWithItsError(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusBadRequest, "bad_cursor", "tampered with")
	})
	var errs []error
	for _, err := range c.ListTasks(t.Context(), client.TaskFilter{Status: []string{"offered"}}) {
		errs = append(errs, err)
	}
	require.Len(t, errs, 1)
	require.True(t, client.HasCode(errs[0], "bad_cursor"))
}

// An answer that came compressed has the tag of the order, which a change of it is sent with.
func TestTagOfACompressedAnswer(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "gzip", r.Header.Get("Accept-Encoding"))
		w.Header().Set("ETag", `"3-gzip"`)
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(`{"id":"o-1","version":3}`))
		_ = z.Close()
	})
	order, err := c.GetOrder(t.Context(), "o-1", client.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(3), order.Version)
	require.Equal(t, `"3"`, order.Meta.ETag)
}
