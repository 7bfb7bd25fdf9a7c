package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/postgres"
)

// readSide is a running system with a read database on a server of its own, and a standby of that.
type readSide struct {
	*outside
	t        *testing.T
	dir      string
	reads    postgres.ClusterConfig
	primary  *postgres.Cluster // of the read database
	standby  *postgres.Cluster
	as       *credentials
	writes   []string // two write nodes
	projects string   // the node with the projector
}

// conflicting makes the standby end reads at once that are in its primary's way, instead of after 30 s.
const conflicting = "100ms"

func startReadSide(t *testing.T) *readSide {
	t.Helper()
	s := &readSide{outside: startOutside(t), t: t, dir: t.TempDir()}
	s.reads = postgres.ClusterConfig{Dir: filepath.Join(s.dir, "primary"), Databases: []string{"read"}, Log: slog.New(slog.DiscardHandler)}
	s.startPrimary()
	t.Cleanup(func() { require.NoError(t, s.primary.Stop(context.WithoutCancel(t.Context()))) })
	s.as = s.migrated()
	s.projects, _ = s.launch(t, "projection,query,broadcast")
	return s
}

// migrated starts the write nodes, which migrate all databases.
func (s *readSide) migrated() *credentials {
	s.t.Helper()
	s.env = append(s.env, "ORDERSTORE_POSTGRES_READ="+s.primary.URL("read"))
	for range 2 {
		s.writes = append(s.writes, s.serve(s.t, "command,relay"))
	}
	return s.parties(s.t)
}

func (s *readSide) startPrimary() {
	s.t.Helper()
	var err error
	s.primary, err = postgres.StartCluster(s.t.Context(), s.reads)
	require.NoError(s.t, err)
}

func (s *readSide) startStandby() {
	s.t.Helper()
	var err error
	s.standby, err = postgres.StartStandby(s.t.Context(), s.primary, postgres.ClusterConfig{
		Dir: filepath.Join(s.dir, "standby"), Log: s.reads.Log,
		ExtraSettings: map[string]string{"max_standby_streaming_delay": conflicting, "wal_retrieve_retry_interval": "100ms"},
	})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, s.standby.Stop(context.WithoutCancel(s.t.Context()))) })
}

// on is the environment of a node with another read database.
func (s *readSide) on(url string) *outside {
	return &outside{write: s.write, env: append(slices.Clone(s.env), "ORDERSTORE_POSTGRES_READ="+url)}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// probe asks /readyz.
func probe(t *testing.T, url string) (int, map[string]string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/readyz", nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = answer.Body.Close() }()
	var r readiness
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&r))
	return answer.StatusCode, r.Parts
}

// impatient is a client that tries nothing again.
func impatient(t *testing.T, url string, p party) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: url, ClientID: p.ClientID, ClientSecret: p.ClientSecret, RetryFor: time.Nanosecond})
	require.NoError(t, err)
	return c
}

// once reads without trying again.
func once(t *testing.T, url string, p party, read func(ctx context.Context, c *client.Client) error) *client.Problem {
	t.Helper()
	err := read(t.Context(), impatient(t, url, p))
	if err == nil {
		return nil
	}
	problem, ok := errors.AsType[*client.Problem](err)
	require.True(t, ok, "%v", err)
	return problem
}

// TestReadNodes goes through what a read node may be and may meet, on one running system.
func TestReadNodes(t *testing.T) {
	t.Parallel()
	s := startReadSide(t)
	s.startStandby()
	t.Run("any write node knows what another just wrote", s.changesAnywhere)
	t.Run("a new node is ready once it has caught up", s.newNode)
	t.Run("a standby of a read database serves reads", s.onStandby)
	t.Run("the auxiliary database goes away and comes back", s.withoutAuxiliary)
	t.Run("the read database goes away and comes back", s.trouble)
}

// changesAnywhere: the ETag of a POST is good at once at the other write node, and a node that only reads says that it does.
func (s *readSide) changesAnywhere(t *testing.T) {
	shipping := int64(700)
	for i := range 10 {
		placed, err := newClient(t, s.writes[i%2], s.as.User).SubmitOrder(t.Context(), sampleOrder(fmt.Sprint("changed-", i)))
		require.NoError(t, err)
		other := newClient(t, s.writes[(i+1)%2], s.as.User)
		changed, err := other.AmendOrder(t.Context(), placed.ID, placed.Version, client.Amendment{Shipping: &shipping})
		require.NoError(t, err)
		require.Greater(t, changed.Version, placed.Version)
		read, err := newClient(t, s.projects, s.as.User).GetOrder(t.Context(), placed.ID, client.GetOptions{Position: changed.Meta.Position})
		require.NoError(t, err)
		require.GreaterOrEqual(t, read.Version, changed.Version)
		for _, path := range []string{"", "/cancel"} {
			method := map[string]string{"": http.MethodPatch, "/cancel": http.MethodPost}[path]
			req, err := http.NewRequestWithContext(t.Context(), method, s.projects+"/v1/orders/"+placed.ID+path, strings.NewReader("{}"))
			require.NoError(t, err)
			answer, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			_ = answer.Body.Close()
			require.Equal(t, http.StatusMethodNotAllowed, answer.StatusCode)
		}
	}
}

// newNode: beside a running system, on an empty database, a node is not ready before it has the history.
func (s *readSide) newNode(t *testing.T) {
	admin := connect(t, s.primary.URL("postgres"))
	_, err := admin.Exec(t.Context(), `CREATE DATABASE another`)
	require.NoError(t, err)
	url := s.primary.URL("another")
	require.NoError(t, migrateAll(t.Context(), config{PostgresRead: url}))
	held := connect(t, url)
	for _, sql := range []string{ // it can be read, and not built
		`SELECT pg_advisory_lock(4711)`,
		`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END $$`,
		`CREATE TRIGGER hold BEFORE INSERT ON order_view FOR EACH ROW EXECUTE FUNCTION hold()`,
	} {
		_, err = held.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	another := s.on(url)
	address := freeAddress(t)
	launch(t, append(another.env, "ORDERSTORE_HTTP="+address), "orderstore", "serve", "--roles", "projection,query")
	base := "http://" + address
	require.Eventually(t, func() bool {
		status, parts := probe(t, base)
		require.NotEqual(t, http.StatusOK, status, "%v", parts)
		return strings.HasPrefix(parts["view order_view"], "catching up: at 0 of ")
	}, startWithin, 20*time.Millisecond)
	lag, err := newClient(t, base, s.as.Operator).Lag(t.Context())
	require.NoError(t, err)
	require.Positive(t, lag.Log)

	// While it is behind it says of nothing that it does not exist.
	placed, err := newClient(t, s.writes[0], s.as.User).SubmitOrder(t.Context(), sampleOrder("while-behind"))
	require.NoError(t, err)
	problem := once(t, base, s.as.User, func(ctx context.Context, c *client.Client) error {
		_, err := c.GetOrder(ctx, placed.ID, client.GetOptions{})
		return err
	})
	require.Equal(t, client.CodeNotReached, problem.Code)
	require.Positive(t, problem.RetryAfter)

	// A client that may read from it and from the other one goes to the other one.
	reader, err := client.New(client.Config{
		BaseURL: s.writes[0], ReadURLs: []string{base, s.projects}, ClientID: s.as.User.ClientID, ClientSecret: s.as.User.ClientSecret,
	})
	require.NoError(t, err)
	shipping := int64(700)
	changed, err := reader.AmendOrder(t.Context(), placed.ID, placed.Version, client.Amendment{Shipping: &shipping})
	require.NoError(t, err)
	for range 4 {
		read, err := reader.GetOrder(t.Context(), placed.ID, client.GetOptions{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, read.Version, changed.Version)
	}
	_, err = held.Exec(t.Context(), `SELECT pg_advisory_unlock(4711)`)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		status, _ := probe(t, base)
		return status == http.StatusOK
	}, startWithin, 20*time.Millisecond)
	read, err := newClient(t, base, s.as.User).GetOrder(t.Context(), placed.ID, client.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "while-behind", read.ExternalRef)
}

// withoutAuxiliary: orders come without the records, and say so.
func (s *readSide) withoutAuxiliary(t *testing.T) {
	user := newClient(t, s.projects, s.as.User)
	placed, err := newClient(t, s.writes[0], s.as.User).SubmitOrder(t.Context(), sampleOrder("without-auxiliary"))
	require.NoError(t, err)
	degraded := func() []string {
		read, err := user.GetOrder(t.Context(), placed.ID, client.GetOptions{Position: placed.Meta.Position, Include: []string{client.IncludeAuxiliary}})
		require.NoError(t, err)
		return read.Degraded
	}
	require.Empty(t, degraded())
	s.alter(t, `ALTER DATABASE auxiliary ALLOW_CONNECTIONS false`)
	s.alter(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'auxiliary'`)
	require.Equal(t, []string{"auxiliary"}, degraded())
	status, parts := probe(t, s.projects)
	require.Equal(t, http.StatusOK, status, "%v", parts)
	s.alter(t, `ALTER DATABASE auxiliary ALLOW_CONNECTIONS true`)
	require.Eventually(t, func() bool { return len(degraded()) == 0 }, startWithin, 50*time.Millisecond)
}

// trouble: without its database a read node says so, writes go on, and what was missed comes by itself.
func (s *readSide) trouble(t *testing.T) {
	user := newClient(t, s.writes[0], s.as.User)
	placed, err := user.SubmitOrder(t.Context(), sampleOrder("before-trouble"))
	require.NoError(t, err)
	_, err = newClient(t, s.projects, s.as.User).GetOrder(t.Context(), placed.ID, client.GetOptions{Position: placed.Meta.Position})
	require.NoError(t, err)
	at, err := pgx.ParseConfig(s.primary.URL("read"))
	require.NoError(t, err)
	s.reads.Port = int(at.Port)
	require.NoError(t, syscall.Kill(s.primary.PID(), syscall.SIGKILL))
	<-s.primary.Exited()
	for _, read := range []func(context.Context, *client.Client) error{
		func(ctx context.Context, c *client.Client) error {
			_, err := c.GetOrder(ctx, placed.ID, client.GetOptions{})
			return err
		},
		func(ctx context.Context, c *client.Client) error {
			return firstError(c.ListOrders(ctx, client.OrderFilter{}))
		},
		func(ctx context.Context, c *client.Client) error {
			_, err := c.Feed(ctx, client.FeedRequest{})
			return err
		},
	} {
		var problem *client.Problem
		require.Eventually(t, func() bool { // an order may be answered from memory for a second
			problem = once(t, s.projects, s.as.User, read)
			return problem != nil
		}, 30*time.Second, 10*time.Millisecond)
		require.Equal(t, http.StatusServiceUnavailable, problem.Status)
		require.Positive(t, problem.RetryAfter)
	}
	status, parts := probe(t, s.projects)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "does not answer", parts["read database"])
	for i := range 10 {
		placed, err = newClient(t, s.writes[i%2], s.as.User).SubmitOrder(t.Context(), sampleOrder(fmt.Sprint("meanwhile-", i)))
		require.NoError(t, err)
	}
	status, parts = probe(t, s.writes[0])
	require.Equal(t, http.StatusOK, status, "%v", parts)
	s.startPrimary()
	require.Eventually(t, func() bool {
		status, _ := probe(t, s.projects)
		return status == http.StatusOK
	}, startWithin, 20*time.Millisecond)
	read, err := newClient(t, s.projects, s.as.User).GetOrder(t.Context(), placed.ID, client.GetOptions{Position: placed.Meta.Position})
	require.NoError(t, err)
	require.Equal(t, placed.ID, read.ID)
}
