package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// outside are servers that the processes under test only have the URLs of.
type outside struct {
	env    []string
	write  string
	broker *stream.Server
}

func startOutside(t *testing.T, fromFiles ...string) *outside {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	cluster, err := postgres.StartCluster(t.Context(), postgres.ClusterConfig{
		Dir: filepath.Join(t.TempDir(), "postgres"), Databases: []string{"write", "read", "auxiliary"}, Durable: true, Log: quiet,
		FromFiles: fromFiles,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop(context.WithoutCancel(t.Context()))) })
	broker, err := stream.StartServer(stream.ServerConfig{Dir: filepath.Join(t.TempDir(), "nats"), Log: quiet})
	require.NoError(t, err)
	t.Cleanup(broker.Shutdown)
	return &outside{write: cluster.URL("write"), broker: broker, env: []string{
		"ORDERSTORE_POSTGRES_WRITE=" + cluster.URL("write"), "ORDERSTORE_POSTGRES_READ=" + cluster.URL("read"),
		"ORDERSTORE_POSTGRES_AUXILIARY=" + cluster.URL("auxiliary"), "ORDERSTORE_NATS=" + broker.URL(),
		"ORDERSTORE_METRICS=127.0.0.1:0", "ORDERSTORE_MAIL_DIR=" + t.TempDir(), "ORDERSTORE_LOG_LEVEL=warn",
	}}
}

// serve starts a node with some roles and gives its base URL, once it is ready.
func (o *outside) serve(t *testing.T, roles string) string {
	t.Helper()
	url, _ := o.launch(t, roles)
	return url
}

// launch is serve for tests that end the node themselves.
func (o *outside) launch(t *testing.T, roles string, flags ...string) (string, *program) {
	t.Helper()
	address := freeAddress(t)
	p := launch(t, append(o.env, "ORDERSTORE_HTTP="+address), "orderstore", append([]string{"serve", "--roles", roles}, flags...)...)
	url := "http://" + address
	require.Eventually(t, func() bool {
		if p.ended() {
			t.Fatalf("serve %s ended: %s", roles, p.out)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/readyz", nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}, startWithin, 50*time.Millisecond)
	return url, p
}

// parties makes the parties of the examples known to the write database.
func (o *outside) parties(t *testing.T) *credentials {
	t.Helper()
	pool, err := postgres.Open(t.Context(), o.write, postgres.PoolConfig{Name: "test", MaxConns: 1})
	require.NoError(t, err)
	defer pool.Close()
	as, err := readCredentials(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, as.register(t.Context(), auth.NewStore(pool)))
	return as
}

// freeAddress is one that nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// TestRolesInProcessesOfTheirOwn runs two write nodes, a read node, and the auxiliary systems against outside servers.
func TestRolesInProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	first := o.serve(t, "command,relay")
	second := o.serve(t, "command,relay")
	reads := o.serve(t, "projection,query,broadcast")
	beside := o.serve(t, "query,broadcast") // on the same read database, which it only reads
	launch(t, o.env, "orderaux")

	as := o.parties(t)
	_, err := newClient(t, first, as.Operator).PutProvider(t.Context(), client.Provider{ID: "demo-provider", BusinessTypes: []string{"retail.erp"}})
	require.NoError(t, err)

	// The provider hears from the read node and posts its results to a write node.
	hears, posts := newClient(t, reads, as.Provider), newClient(t, second, as.Provider)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var provider sync.WaitGroup
	provider.Go(func() {
		for event, err := range hears.Events(ctx, client.From{}, client.OverSSE()) {
			if err != nil {
				return
			}
			if event.Type == "task.offered" {
				if _, err := posts.PostResult(ctx, event.TaskID, client.ResultSubmission{ResultID: event.TaskID, Outcome: "completed"}); err != nil {
					t.Errorf("result: %v", err)
				}
			}
		}
	})
	const n = 40
	var submitted sync.WaitGroup
	for i, url := range []string{first, second} {
		submitted.Go(func() {
			user := newClient(t, url, as.User)
			elsewhere := newClient(t, beside, as.User)
			for k := range n / 2 {
				placed, err := user.SubmitOrder(ctx, sampleOrder(fmt.Sprintf("split-%d-%d", i, k)))
				if err != nil {
					t.Errorf("submit: %v", err)
					continue
				}
				read, err := elsewhere.GetOrder(ctx, placed.ID, client.GetOptions{Position: placed.Meta.Position})
				if err != nil || read.Version < placed.Version {
					t.Errorf("read version %d of %d elsewhere: %v", read.Version, placed.Version, err)
				}
			}
		})
	}
	submitted.Wait()
	reader := newClient(t, reads, as.User)
	require.Eventually(t, func() bool {
		done := 0
		for order, err := range reader.ListOrders(t.Context(), client.OrderFilter{Status: []string{"completed"}}) {
			require.NoError(t, err)
			full, err := reader.GetOrder(t.Context(), order.ID, client.GetOptions{Include: []string{"auxiliary"}})
			require.NoError(t, err)
			if len(recordsOf(full, "notices", "invoice", "loyalty")) == 3 {
				done++
			}
		}
		return done == n
	}, 30*time.Second, 100*time.Millisecond)
	stop()
	provider.Wait()

	p := launch(t, o.env, "orderstore", "verify")
	<-p.done
	require.NoError(t, p.err, p.out)
	require.Contains(t, p.out.String(), "verify: log = stream = views")
}
