package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/migrations"
)

// readyzOf gives the status of /readyz and what it says of durability.
func readyzOf(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/readyz", nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	var r readiness
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&r))
	return answer.StatusCode, r.Parts["durability"]
}

// alter changes settings of the primary while it runs.
func (o *outside) alter(t *testing.T, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.write)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, sql := range []string{statement, `SELECT pg_reload_conf()`} {
		_, err = conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
}

func submitWithin(t *testing.T, user *client.Client, d time.Duration, ref string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	_, err := user.SubmitOrder(ctx, sampleOrder(ref))
	return err
}

// A primary whose fsync is switched off loses what it acknowledges: nothing is taken until it is on again.
func TestUnsafePrimaryStopsIntake(t *testing.T) {
	t.Parallel()
	o := startOutside(t, "fsync")
	o.env = append(o.env, "ORDERSTORE_DURABILITY_EVERY=50ms")
	url, node := o.launch(t, "command")
	user := newClient(t, url, o.parties(t).User)
	require.NoError(t, submitWithin(t, user, time.Minute, "before"))

	o.alter(t, `ALTER SYSTEM SET fsync = off`)
	require.Eventually(t, func() bool {
		status, says := readyzOf(t, url)
		return status == http.StatusServiceUnavailable && strings.Contains(says, "fsync is off")
	}, startWithin, 20*time.Millisecond)
	err := submitWithin(t, user, 500*time.Millisecond, "meanwhile")
	problem, ok := errors.AsType[*client.Problem](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, http.StatusServiceUnavailable, problem.Status)
	// Case 58: what is answered with 5xx is not kept under its key.
	direct := &system{t: t, at: endpoints{HTTP: url}}
	token, err := user.Token(t.Context())
	require.NoError(t, err)
	const kept = `{"channel":"web","external_ref":"kept","business_type":"x","currency":"EUR","lines":[{"sku":"A","quantity":1,"unit_price":1}]}`
	answer, _ := direct.send(http.MethodPost, token, "/v1/orders", kept, "Idempotency-Key", "case-58")
	require.Equal(t, http.StatusServiceUnavailable, answer.status, answer.body)
	another := launch(t, append(o.env, "ORDERSTORE_HTTP="+freeAddress(t)), "orderstore", "serve", "--roles", "command")
	<-another.done
	require.Error(t, another.err, "it does not start either")
	require.Contains(t, another.out.String(), "fsync is off")

	o.alter(t, `ALTER SYSTEM RESET fsync`)
	require.Eventually(t, func() bool {
		status, _ := readyzOf(t, url)
		return status == http.StatusOK
	}, startWithin, 20*time.Millisecond)
	require.NoError(t, submitWithin(t, user, time.Minute, "after"))
	answer, header := direct.send(http.MethodPost, token, "/v1/orders", kept, "Idempotency-Key", "case-58")
	require.Equal(t, http.StatusCreated, answer.status, "the second try is a first one: %s", answer.body)
	require.Empty(t, header.Get("Idempotency-Replayed"))
	node.terminate()
	require.Equal(t, 1, strings.Count(node.out.String(), "no commands are taken"), "it is said once")
}

// A commit that waits for a standby which is away ends neither by itself nor by a time-out. The node stops all the same, and what
// was committed is there with the standby.
func TestNodeStopsWhileACommitWaits(t *testing.T) {
	t.Parallel()
	servers := pgtest.StartReplicated(t, migrations.Write, "write")
	o := &outside{write: servers.URL(), env: []string{
		"ORDERSTORE_POSTGRES_WRITE=" + servers.URL(), "ORDERSTORE_METRICS=127.0.0.1:0", "ORDERSTORE_LOG_LEVEL=warn",
		"ORDERSTORE_MAIL_DIR=" + filepath.Join(t.TempDir(), "mail"),
	}}
	url, node := o.launch(t, "command")
	user := newClient(t, url, o.parties(t).User)
	require.NoError(t, submitWithin(t, user, time.Minute, "before"))
	servers.Freeze()
	failed := make(chan error, 1)
	go func() { failed <- submitWithin(t, user, 30*time.Second, "waits") }()
	servers.AwaitWaiting(1)
	node.signal(syscall.SIGTERM)
	select {
	case <-node.done:
	case <-time.After(stopWithin):
		t.Fatalf("it does not stop; it said:\n%s", node.out)
	}
	require.Error(t, <-failed)
	servers.Thaw()
	again, _ := o.launch(t, "command")
	require.NoError(t, submitWithin(t, newClient(t, again, o.parties(t).User), time.Minute, "waits"))
	conn, err := pgx.Connect(t.Context(), o.write)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var orders int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&orders))
	require.Equal(t, 2, orders)
}
