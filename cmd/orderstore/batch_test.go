package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// line is one answer of a batch.
type line struct {
	Line        int             `json:"line"`
	Status      int             `json:"status"`
	ID          string          `json:"id"`
	ExternalRef string          `json:"external_ref"`
	Position    int64           `json:"position"`
	Problem     json.RawMessage `json:"problem"`
}

// batch is one request whose body and answer stay open beside each other.
type batch struct {
	t       *testing.T
	body    *io.PipeWriter
	answers *bufio.Scanner
}

func (s *system) openBatch() *batch {
	s.t.Helper()
	token, err := s.user().Token(s.t.Context())
	require.NoError(s.t, err)
	read, write := io.Pipe()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.at.HTTP+"/v1/orders/batch", read)
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = answer.Body.Close() })
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	b := &batch{t: s.t, body: write, answers: bufio.NewScanner(answer.Body)}
	b.answers.Buffer(nil, 1<<20)
	return b
}

func (b *batch) send(text string) {
	b.t.Helper()
	_, err := io.WriteString(b.body, text)
	require.NoError(b.t, err)
}

func (b *batch) next() line {
	b.t.Helper()
	require.True(b.t, b.answers.Scan(), "the answer ended: %v", b.answers.Err())
	var l line
	require.NoError(b.t, json.Unmarshal(b.answers.Bytes(), &l))
	return l
}

func jsonOrder(ref string, price int) string {
	return fmt.Sprintf(`{"channel":"web","external_ref":%q,"business_type":"wms","currency":"EUR","lines":[{"sku":"A","quantity":1,"unit_price":%d}]}`, ref, price)
}

func TestBatchAnswersEachLineInOrderWhileItGoesOn(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	b := s.openBatch()
	b.send(jsonOrder("a", 1) + "\n")
	first := b.next() // before the request's body has ended
	require.Equal(t, 201, first.Status)
	require.NotEmpty(t, first.ID)
	require.Positive(t, first.Position)

	b.send("\n" + jsonOrder("a", 1) + "\n" + jsonOrder("a", 2) + "\n{nonsense\n" + jsonOrder("", 1) + "\n")
	b.send(strings.Repeat("x", 2<<20) + "\n" + jsonOrder("b", 1)) // the last line without a line feed
	require.NoError(t, b.body.Close())
	for _, want := range []line{
		{Line: 3, Status: 200, ID: first.ID, ExternalRef: "a"},
		{Line: 4, Status: 409, ExternalRef: "a"},
		{Line: 5, Status: 400},
		{Line: 6, Status: 422},
		{Line: 7, Status: 400},
		{Line: 8, Status: 201, ExternalRef: "b"},
	} {
		got := b.next()
		require.Equal(t, want.Line, got.Line)
		require.Equal(t, want.Status, got.Status, "line %d: %s", got.Line, got.Problem)
		require.Equal(t, want.ExternalRef, got.ExternalRef)
		if want.ID != "" {
			require.Equal(t, want.ID, got.ID)
		}
		require.Equal(t, got.Status >= 400, len(got.Problem) > 0)
	}
	require.False(t, b.answers.Scan())
	require.NoError(t, b.answers.Err())
}

func TestCutBatchHasStoredWhatItAnswered(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	b := s.openBatch()
	const n = 2000
	go func() {
		for i := range n {
			if _, err := io.WriteString(b.body, jsonOrder(fmt.Sprint("cut-", i), 1)+"\n"); err != nil {
				return
			}
		}
	}()
	answered := map[string]string{}
	for range n / 4 {
		l := b.next()
		require.Equal(t, 201, l.Status)
		answered[l.ExternalRef] = l.ID
	}
	require.NoError(t, b.body.CloseWithError(io.ErrUnexpectedEOF)) // the client is gone in the middle of a line

	again := s.openBatch()
	go func() {
		for i := range n {
			if _, err := io.WriteString(again.body, jsonOrder(fmt.Sprint("cut-", i), 1)+"\n"); err != nil {
				t.Errorf("send: %v", err)
				return
			}
		}
		_ = again.body.Close()
	}()
	replayed := 0
	for range n {
		l := again.next()
		require.Contains(t, []int{200, 201}, l.Status)
		if id, ok := answered[l.ExternalRef]; ok {
			require.Equal(t, 200, l.Status)
			require.Equal(t, id, l.ID)
			replayed++
		}
	}
	require.Len(t, answered, replayed)
	s.level()
	require.Contains(t, s.verified(), fmt.Sprintf("%d orders equal their fold", n))
}

func TestWaitingReadAndLongPoll(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("wms")
	token, err := s.user().Token(t.Context())
	require.NoError(t, err)
	placed := s.request(http.MethodPost, token, "/v1/orders", jsonOrder("w", 1))
	require.Equal(t, http.StatusCreated, placed.status, placed.body)
	var order struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(placed.body), &order))
	require.Equal(t, http.StatusOK, s.get(token, "/v1/orders/"+order.ID+"?position=3").status)
	require.Equal(t, placed.body, s.get(token, "/v1/orders/"+order.ID).body, "the read side answers the write side's bytes")
	began := time.Now()
	require.Equal(t, http.StatusServiceUnavailable, s.get(token, "/v1/orders/"+order.ID+"?position=999&wait=300ms").status)
	require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond)

	heard := make(chan httpAnswer)
	go func() { heard <- s.get(token, "/v1/feed?after=3&wait=20s") }()
	require.Equal(t, http.StatusCreated, s.request(http.MethodPost, token, "/v1/orders", jsonOrder("x", 1)).status)
	select {
	case page := <-heard:
		require.Contains(t, page.body, `"type":"order.placed"`)
		require.Contains(t, page.body, `"position":4`)
	case <-time.After(10 * time.Second):
		t.Fatal("the long poll was not woken")
	}
}
