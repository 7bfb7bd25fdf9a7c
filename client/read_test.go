package client_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// reader is a read node that is at a position, or away.
type reader struct {
	*httptest.Server
	at    atomic.Int64 // negative: away
	asked atomic.Int64 // the Order-Position of the last request
}

func newReader(t *testing.T, at int64) *reader {
	t.Helper()
	n := &reader{}
	n.at.Store(at)
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, _ := strconv.ParseInt(r.Header.Get("Order-Position"), 10, 64)
		n.asked.Store(want)
		have := n.at.Load()
		switch {
		case have < 0:
			problem(w, http.StatusServiceUnavailable, "unavailable", "the read side is away")
		case have < want:
			problem(w, http.StatusServiceUnavailable, "position_not_reached", "not there yet")
		default:
			w.Header().Set("Order-Position", strconv.FormatInt(have, 10))
			answer(w, http.StatusOK, map[string]any{"id": "o1", "version": have})
		}
	}))
	t.Cleanup(n.Close)
	return n
}

// A client that moves between read nodes never sees an earlier state than before, and needs no node in particular.
func TestReadsNeverGoBackInTime(t *testing.T) {
	t.Parallel()
	_, s := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			t.Errorf("%s %s went to the write node", r.Method, r.URL)
		}
		w.Header().Set("Order-Position", "7")
		answer(w, http.StatusCreated, map[string]any{"id": "o1", "version": 7})
	})
	ahead, behind := newReader(t, 9), newReader(t, 8)
	c, err := client.New(client.Config{
		BaseURL: s.URL, ReadURLs: []string{ahead.URL, behind.URL + "/"}, ClientID: "a b", ClientSecret: "p:/+%&",
	})
	require.NoError(t, err)
	c.SetWait(s.pause)
	read := func() int64 {
		o, err := c.GetOrder(t.Context(), "o1", client.GetOptions{})
		require.NoError(t, err)
		return o.Meta.Position
	}
	_, err = c.SubmitOrder(t.Context(), client.OrderSubmission{ExternalRef: "r"})
	require.NoError(t, err)
	require.Equal(t, int64(7), c.Seen())
	require.GreaterOrEqual(t, read(), int64(8), "its own write is in the answer")
	require.Equal(t, int64(7), max(ahead.asked.Load(), behind.asked.Load()))

	behind.at.Store(-1)
	require.Equal(t, int64(9), read(), "whichever it asked before")
	require.Empty(t, s.waited(), "the other node is asked at once")
	behind.at.Store(8)
	ahead.at.Store(-1)
	_, err = c.GetOrder(bounded(t), "o1", client.GetOptions{})
	require.True(t, client.HasCode(err, "unavailable") || client.HasCode(err, client.CodeNotReached), "no node has what was seen: %v", err)
	behind.at.Store(10)
	require.Equal(t, int64(10), read())
	require.Equal(t, int64(9), behind.asked.Load())
}

func TestOlderAnswersWhereTheyAreAllowed(t *testing.T) {
	t.Parallel()
	node := newReader(t, 9)
	c, err := client.New(client.Config{BaseURL: node.URL, AllowOlder: true})
	require.NoError(t, err)
	for _, at := range []int64{9, 3} {
		node.at.Store(at)
		o, err := c.GetOrder(t.Context(), "o1", client.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, at, o.Meta.Position)
		require.Zero(t, node.asked.Load())
	}
	_, err = client.New(client.Config{BaseURL: node.URL, ReadURLs: []string{"somewhere"}})
	require.ErrorContains(t, err, "somewhere")
}

// bounded ends a call that nobody answers after its attempts, without waiting.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
