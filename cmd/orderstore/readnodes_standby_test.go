package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/postgres"
)

// onStandby: nodes without a projector on a copy that Postgres keeps. What an answer says of its position is true there too.
func (s *readSide) onStandby(t *testing.T) {
	on := s.on(s.standby.URL("read"))
	refused := launch(t, append(on.env, "ORDERSTORE_HTTP="+freeAddress(t)), "orderstore", "serve", "--roles", "projection,query")
	<-refused.done
	require.Error(t, refused.err)
	require.Contains(t, refused.out.String(), "is a standby, which takes no writes")
	require.ErrorIs(t, migrateAll(t.Context(), config{PostgresRead: s.standby.URL("postgres")}), postgres.ErrStandbySchema)
	base, node := on.launch(t, "query,broadcast")
	user, behind := newClient(t, s.writes[0], s.as.User), newClient(t, base, s.as.User)
	heard, stop := context.WithTimeout(t.Context(), startWithin)
	defer stop()
	seen := make(chan string, 1)
	go func() {
		for event, err := range behind.Events(heard, client.From{Now: true}, client.OverSSE(), client.WithTypes("order.placed")) {
			if err != nil || event.Subject != "" {
				seen <- event.Subject
				return
			}
		}
	}()
	conn := connect(t, s.standby.URL("read"))
	for i := range 20 {
		placed, err := user.SubmitOrder(t.Context(), sampleOrder(fmt.Sprint("standby-", i)))
		require.NoError(t, err)
		read, err := behind.GetOrder(t.Context(), placed.ID, client.GetOptions{Position: placed.Meta.Position, Include: []string{"timeline"}})
		require.NoError(t, err)
		require.GreaterOrEqual(t, read.Meta.Position, placed.Meta.Position)
		var at int64
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT position FROM checkpoints WHERE view = 'order_view'`).Scan(&at))
		require.LessOrEqual(t, read.Meta.Position, at, "no more than is there")
	}
	require.NotEmpty(t, <-seen, "who listens there hears")
	s.standbyIsHeldBack(t, base)
	s.standbyConflicts(t, base)
	node.terminate()
	require.NotContains(t, node.out.String(), "read-only")
}

// standbyIsHeldBack: what the standby does not have yet is waited for, and then not claimed.
func (s *readSide) standbyIsHeldBack(t *testing.T, base string) {
	conn := connect(t, s.standby.URL("postgres"))
	_, err := conn.Exec(t.Context(), `SELECT pg_wal_replay_pause()`)
	require.NoError(t, err)
	placed, err := newClient(t, s.writes[0], s.as.User).SubmitOrder(t.Context(), sampleOrder("held-back"))
	require.NoError(t, err)
	for _, position := range []int64{0, placed.Meta.Position} {
		problem := once(t, base, s.as.User, func(ctx context.Context, c *client.Client) error {
			_, err := c.GetOrder(ctx, placed.ID, client.GetOptions{Position: position})
			return err
		})
		require.Equal(t, client.CodeNotReached, problem.Code)
	}
	_, err = conn.Exec(t.Context(), `SELECT pg_wal_replay_resume()`)
	require.NoError(t, err)
	_, err = newClient(t, base, s.as.User).GetOrder(t.Context(), placed.ID, client.GetOptions{Position: placed.Meta.Position})
	require.NoError(t, err)
}

// standbyConflicts: a rebuilt view is switched on the primary while the standby is read. The standby ends reads that are in the way; clients
// see the answer or 503.
func (s *readSide) standbyConflicts(t *testing.T, base string) {
	var stop atomic.Bool
	var served atomic.Int64
	done := make(chan error, 4)
	for range cap(done) {
		lists := impatient(t, base, s.as.User)
		go func() {
			for !stop.Load() {
				problem, ok := errors.AsType[*client.Problem](firstError(lists.ListOrders(t.Context(), client.OrderFilter{PageSize: 5})))
				if ok && (problem.Status != http.StatusServiceUnavailable || problem.RetryAfter == 0) {
					done <- problem
					return
				}
				served.Add(1)
			}
			done <- nil
		}()
	}
	conn := connect(t, s.standby.URL("read"))
	reading, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = reading.Exec(t.Context(), `SELECT count(*) FROM order_view`)
	require.NoError(t, err)
	p := launch(t, s.env, "orderstore", "rebuild", "--all")
	<-p.done
	require.NoError(t, p.err, p.out)
	before := served.Load()
	require.Eventually(t, func() bool { // the standby has the switch once it has ended what stood in its way
		_, err := reading.Exec(t.Context(), `SELECT 1`)
		return err != nil
	}, startWithin, 20*time.Millisecond)
	require.Eventually(t, func() bool { return served.Load() > before+20 }, startWithin, 20*time.Millisecond)
	stop.Store(true)
	for range cap(done) {
		require.NoError(t, <-done)
	}
	lag, err := newClient(t, base, s.as.Operator).Lag(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, lag.Views)
}

// firstError goes through a list until it breaks off.
func firstError(list iter.Seq2[client.Order, error]) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}
