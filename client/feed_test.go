package client_test

import (
	"context"
	"errors"
	"fmt"
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

func event(position int64) map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": strconv.FormatInt(position, 10), "type": "task.offered", "source": "/orderstore", "subject": "o-1",
		"time": "2026-01-02T03:04:05Z", "position": position, "tenant": "demo", "businesstype": "hotel", "taskid": "t-1", "provider": "p",
		"orderversion": 1, "dataref": "/v1/orders/o-1",
	}
}

func TestFeedAsksForWhatItIsTold(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "after=4&include=order&limit=500&wait=20s", r.URL.RawQuery)
		e := event(5)
		e["data"] = map[string]any{"id": "o-1", "status": "routed", "tasks": []any{map[string]any{"id": "t-1", "supported_actions": []string{"accept"}}}}
		w.Header().Set("Order-Position", "9")
		answer(w, http.StatusOK, map[string]any{"events": []any{e}, "scanned_to": 9})
	})
	page, err := c.Feed(t.Context(), client.FeedRequest{After: 4, Wait: 20 * time.Second, IncludeOrder: true, Limit: 500})
	require.NoError(t, err)
	require.Equal(t, int64(9), page.ScannedTo)
	require.Equal(t, int64(9), page.Meta.Position)
	got, err := page.Events[0].Order()
	require.NoError(t, err)
	task, found := got.Task("t-1")
	require.True(t, found && task.Allows(client.ActionAccept) && !task.Allows(client.ActionResult))
	require.Equal(t, int64(5), got.Meta.Position)

	bare := client.Event{}
	_, err = bare.Order()
	require.ErrorIs(t, err, client.ErrNoData)
}

func TestFeedThatGoesBackIsAnError(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"events": []any{}, "scanned_to": 3})
	})
	_, err := c.Feed(t.Context(), client.FeedRequest{After: 4})
	require.ErrorContains(t, err, "scanned to 3 only")
}

// pagesOf plays a feed of the events 1 to last, a few at a time, with every third call failing in one way or another and
// every answer beginning with an event that was told before.
func pagesOf(last int64) http.HandlerFunc {
	var calls atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		n := calls.Add(1)
		if n%3 == 0 {
			if n%2 == 0 {
				cut(w)
			}
			problem(w, http.StatusBadGateway, "", "")
			return
		}
		after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
		var events []any
		for p := max(after, 1); p <= min(after+4, last); p++ {
			events = append(events, event(p))
		}
		answer(w, http.StatusOK, map[string]any{"events": events, "scanned_to": min(after+4, last)})
	}
}

// streamOf plays an SSE stream of the events 1 to last that breaks off after a few, in the middle of one.
func streamOf(last int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": hello\n\nretry: 100\n\n")
		for p := max(after, 1); p <= min(after+3, last); p++ {
			_, _ = fmt.Fprintf(w, "id: %d\r\nevent: task.offered\r\ndata: {\"id\":\"%d\",\r\ndata:\"position\":%d}\r\n\r\n: beat\n\n", p, p, p)
		}
		_, _ = io.WriteString(w, "id: 999\ndata: {\"position\":99")
		_ = http.NewResponseController(w).Flush()
		cut(w)
	}
}

func TestEventsComeOnceAndAllWhateverBreaks(t *testing.T) {
	t.Parallel()
	const first, last = 3, 40
	for name, tc := range map[string]struct {
		api     http.HandlerFunc
		options []client.EventOption
	}{
		"feed": {pagesOf(last), []client.EventOption{client.WithWait(time.Second), client.WithPageSize(5)}},
		"SSE":  {streamOf(last), []client.EventOption{client.OverSSE()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := setup(t, tc.api)
			next := int64(first)
			for e, err := range c.Events(t.Context(), client.From{Position: first - 1}, tc.options...) {
				require.NoError(t, err)
				require.Equal(t, next, e.Position)
				if next++; next > last {
					break
				}
			}
			require.Equal(t, int64(last+1), next)
			for _, pause := range s.waited() {
				require.Less(t, pause, time.Second, "progress makes the pauses short again")
			}
		})
	}
}

func TestEventsEndWithWhatCannotBeWaitedOut(t *testing.T) {
	t.Parallel()
	for _, options := range [][]client.EventOption{nil, {client.OverSSE()}} {
		c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
			problem(w, http.StatusForbidden, "forbidden", "no such scope")
		})
		var errs []error
		for _, err := range c.Events(t.Context(), client.From{}, options...) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 1)
		require.True(t, client.HasCode(errs[0], "forbidden"), "%v", errs[0])
	}
}

func TestEventsEndWithTheContext(t *testing.T) {
	t.Parallel()
	for _, options := range [][]client.EventOption{nil, {client.OverSSE()}} {
		ctx, cancel := context.WithCancel(t.Context())
		c, _ := setup(t, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		var errs []error
		for _, err := range c.Events(ctx, client.From{}, options...) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 1)
		require.ErrorIs(t, errs[0], context.Canceled)
	}
}

func TestSilentStreamIsOpenedAnew(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c, s := setup(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		if calls.Add(1) == 1 {
			<-r.Context().Done() // says nothing, until the client hangs up
			return
		}
		_, _ = io.WriteString(w, "data: {\"position\":1}\n\n")
	})
	c.SetIdle(20 * time.Millisecond)
	for e, err := range c.Events(t.Context(), client.From{}, client.OverSSE()) {
		require.NoError(t, err)
		require.Equal(t, int64(1), e.Position)
		break
	}
	require.GreaterOrEqual(t, calls.Load(), int64(2))
	require.NotEmpty(t, s.waited())
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("id: 1\nevent: order.placed\ndata: {\"position\":1}\n\n"))
	f.Add([]byte(": beat\r\n\r\ndata:{\r\ndata:}\r\n\r\n"))
	f.Add([]byte("data\rdata: {}\r\r"))
	f.Add([]byte("data: {\"data\":{\"id\":\"o\"}}\n\ndata: x\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := client.StreamEvents(body)
		if err == nil {
			t.Fatal("a stream ends with an error")
		}
		if errors.Is(err, io.EOF) {
			t.Fatal("the end of a stream is not expected")
		}
		if len(events) > len(body) {
			t.Fatalf("%d events from %d bytes", len(events), len(body))
		}
	})
}
