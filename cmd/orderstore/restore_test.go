package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/postgres"
)

// onPage gives the code blocks of a section of the operations page: what is tested is what people are told to run.
func onPage(t *testing.T, section string) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "\n## "+section+"\n")
	require.True(t, found, section)
	text, _, _ := strings.Cut(rest, "\n## ")
	var blocks []string
	for _, match := range regexp.MustCompile("(?ms)^( *)```[a-z]+\n(.*?)^ *```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, regexp.MustCompile("(?m)^"+match[1]).ReplaceAllString(match[2], ""))
	}
	return blocks
}

// archived is a primary whose write-ahead log is archived, and what it is restored from and to. The read side is on a server of its own.
type archived struct {
	*outside
	t        *testing.T
	backups  string
	restored string
	places   *strings.Replacer // the page's folders -> those of the test
	settings map[string]string // of the server, from the page
	primary  *postgres.Cluster
	programs string // folder of the server's
}

func startArchived(t *testing.T) *archived {
	t.Helper()
	a := &archived{
		outside: startOutside(t), t: t, backups: filepath.Join(t.TempDir(), "backups"), restored: filepath.Join(t.TempDir(), "restored"),
		settings: map[string]string{},
	}
	a.places = strings.NewReplacer("/var/backups/orderstore", a.backups, "/var/lib/orderstore/postgres", filepath.Join(a.restored, "data"))
	for _, line := range regexp.MustCompile(`(?m)^([a-z_]+) = '?(.*?)'?$`).FindAllStringSubmatch(a.places.Replace(onPage(t, "Backup")[0]), -1) {
		a.settings[line[1]] = line[2]
	}
	require.Contains(t, a.settings, "archive_command")
	dir := filepath.Join(t.TempDir(), "primary")
	a.start(dir, 0, "write")
	wal := filepath.Join(a.backups, "wal")
	require.NoError(t, os.MkdirAll(wal, 0o755)) //nolint:gosec // the server runs as another user
	if info, err := os.Stat(dir); err == nil && os.Geteuid() == 0 {
		owner, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		require.NoError(t, os.Chown(wal, int(owner.Uid), int(owner.Gid)))
	}
	require.NoError(t, connect(t, a.write).QueryRow(t.Context(), `SELECT setting FROM pg_config() WHERE name = 'BINDIR'`).Scan(&a.programs))
	return a
}

// start starts the primary on a folder, with the settings of the page.
func (a *archived) start(dir string, port int, databases ...string) {
	a.t.Helper()
	cluster, err := postgres.StartCluster(a.t.Context(), postgres.ClusterConfig{
		Dir: dir, Databases: databases, Durable: true, Log: slog.New(slog.DiscardHandler), ExtraSettings: a.settings, Port: port,
	})
	require.NoError(a.t, err)
	a.t.Cleanup(func() { require.NoError(a.t, cluster.Stop(context.WithoutCancel(a.t.Context()))) })
	a.primary, a.write = cluster, cluster.URL("write")
	a.env = append(a.env, "ORDERSTORE_POSTGRES_WRITE="+a.write)
}

// run runs what stands on the page, with other folders.
func (a *archived) run(script string) string {
	a.t.Helper()
	path := strings.Join([]string{a.programs, binaries, os.Getenv("PATH")}, string(os.PathListSeparator))
	ctx, cancel := context.WithTimeout(a.t.Context(), startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", a.places.Replace(script)) //nolint:gosec // what the page says
	cmd.WaitDelay = time.Second
	cmd.Env = append(append(os.Environ(), a.env...), "PATH="+path, "DAY=2026-01-31", "PRIMARY="+a.write)
	out, err := cmd.CombinedOutput()
	require.NoError(a.t, err, "%s\n%s", script, out)
	return string(out)
}

// archive waits until the write-ahead log is archived up to here.
func (a *archived) archive() {
	a.t.Helper()
	conn, segment := connect(a.t, a.write), ""
	require.NoError(a.t, conn.QueryRow(a.t.Context(), `SELECT pg_walfile_name(pg_switch_wal())`).Scan(&segment))
	require.Eventually(a.t, func() bool {
		there := false
		err := conn.QueryRow(a.t.Context(), `SELECT coalesce(last_archived_wal >= $1, false) FROM pg_stat_archiver`, segment).Scan(&there)
		return err == nil && there
	}, startWithin, 20*time.Millisecond)
}

// lose takes the primary away, disk and all.
func (a *archived) lose() {
	a.t.Helper()
	var data string
	require.NoError(a.t, connect(a.t, a.write).QueryRow(a.t.Context(), `SHOW data_directory`).Scan(&data))
	require.NoError(a.t, syscall.Kill(a.primary.PID(), syscall.SIGKILL))
	<-a.primary.Exited()
	require.Eventually(a.t, func() bool { return os.RemoveAll(filepath.Dir(data)) == nil }, startWithin, 20*time.Millisecond)
}

// restore goes through the steps of the page, and has the server where the lost one was.
func (a *archived) restore(steps []string) {
	a.t.Helper()
	lost, err := url.Parse(a.write)
	require.NoError(a.t, err)
	port, err := strconv.Atoi(lost.Port())
	require.NoError(a.t, err)
	password, _ := lost.User.Password()
	require.NoError(a.t, os.MkdirAll(a.restored, 0o755)) //nolint:gosec // the server runs as another user
	require.NoError(a.t, os.WriteFile(filepath.Join(a.restored, "password"), []byte(password), 0o600))
	a.run(steps[0])
	a.start(a.restored, port)
	a.run(steps[1])
}

// digests are those of all events of the log, from position 1 on.
func (a *archived) digests() []string {
	a.t.Helper()
	rows, err := connect(a.t, a.write).Query(a.t.Context(), `SELECT position || ' ' || encode(digest, 'hex') FROM order_events ORDER BY position`)
	require.NoError(a.t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(a.t, err)
	return all
}

// life is what users did before and after the point that the primary comes back at.
type life struct {
	orders   map[string]client.Order // that were acknowledged, by reference
	restored []string                // digests of the log at that point
	log      []string                // and at the end
	erased   client.Erasure          // after that point
	late     party                   // made after that point
}

// live fills a primary, with a backup and a named point on the way, and more after what is archived.
func (a *archived) live(s, reads *system) *life {
	a.t.Helper()
	ctx, steps, l := a.t.Context(), onPage(a.t, "Backup"), &life{orders: map[string]client.Order{}}
	submit := func(from, to int, customer string) {
		a.t.Helper()
		for i := from; i < to; i++ {
			sub := sampleOrder(fmt.Sprint("p-", i))
			sub.Customer = &client.Customer{Name: customer, Email: customer + "@example.com"}
			order, err := s.user().SubmitOrder(ctx, sub)
			require.NoError(a.t, err)
			l.orders[sub.ExternalRef] = order
		}
	}
	submit(0, 5, "kept")
	submit(5, 6, "erased")
	a.run(steps[1])
	submit(6, 12, "kept")
	a.run(steps[2])
	l.restored = a.digests()
	submit(12, 18, "kept")
	submit(18, 19, "new")
	var err error
	l.erased, err = s.operator().EraseCustomer(ctx, client.ErasureRequest{Tenant: "demo", Email: "erased@example.com"})
	require.NoError(a.t, err)
	made, err := s.operator().CreateClient(ctx, client.ClientSpec{Kind: client.KindUser, Tenant: "demo"})
	require.NoError(a.t, err)
	l.late = party{ClientID: made.ClientID, ClientSecret: made.ClientSecret}
	require.Eventually(a.t, func() bool {
		order, err := reads.user().GetOrder(ctx, l.orders["p-5"].ID, client.GetOptions{})
		return err == nil && order.Version > l.orders["p-5"].Version
	}, eraseWithin, 100*time.Millisecond, "the erasure is settled")
	a.archive()
	submit(19, 24, "kept")
	reads.level()
	l.log = a.digests()
	return l
}

// TestPointInTimeRestore goes through docs/operations.md, command by command: the primary's disk is lost, and it comes back from a base backup and the archive as it was
// at a named point. That is noticed, nothing is written, and recover brings back all that was acknowledged, with the digests that it had.
func TestPointInTimeRestore(t *testing.T) {
	t.Parallel()
	steps := onPage(t, "Point-in-time restore")
	a := startArchived(t)
	base, node := a.launch(t, "command,relay")
	s := &system{t: t, at: endpoints{HTTP: base}}
	reads := &system{t: t, at: endpoints{HTTP: a.serve(t, "projection,query")}}
	s.as = *a.parties(t)
	reads.as = s.as
	was := a.live(s, reads)
	node.kill()
	a.lose()
	a.restore(steps)
	require.Equal(t, was.restored, a.digests())

	address := freeAddress(t)
	launch(t, append(a.env, "ORDERSTORE_HTTP="+address), "orderstore", "serve", "--roles", "command,relay")
	s.at.HTTP = "http://" + address
	require.Eventually(t, func() bool {
		status, parts := probe(t, s.at.HTTP)
		return status == http.StatusServiceUnavailable && strings.Contains(parts["log"], "orderstore recover brings it back")
	}, startWithin, 20*time.Millisecond, "noticed before anybody submits")
	s.refused("p-new")
	s.refused("p-3")
	require.Equal(t, was.restored, a.digests(), "nothing is written")
	still, err := reads.user().GetOrder(t.Context(), was.orders["p-23"].ID, client.GetOptions{})
	require.NoError(t, err, "reads go on")
	require.Equal(t, was.orders["p-23"].Total, still.Total)

	said := a.run(steps[2])
	require.Contains(t, said, fmt.Sprintf("positions %d..%d", len(was.restored)+1, len(was.log)))
	require.Contains(t, said, "verify: log = stream = views")
	require.Equal(t, was.log, a.digests())
	require.Eventually(t, func() bool {
		status, _ := probe(t, s.at.HTTP)
		return status == http.StatusOK
	}, startWithin, 20*time.Millisecond)
	a.nothingIsLost(s, reads, was)
}

// nothingIsLost: every acknowledged order is there and is replayed. What is in no event is as it was at the point.
func (a *archived) nothingIsLost(s, reads *system, was *life) {
	a.t.Helper()
	ctx := a.t.Context()
	for ref, order := range was.orders {
		found, err := reads.user().GetOrder(ctx, order.ID, client.GetOptions{})
		require.NoError(a.t, err, ref)
		require.Equal(a.t, order.Total, found.Total, ref)
		require.GreaterOrEqual(a.t, found.Version, order.Version, ref)
		if order.Customer.Name == "kept" {
			require.Equal(a.t, order.Customer, found.Customer, ref)
		} else { // erased, or of a key that the backup does not have
			require.Nil(a.t, found.Customer, ref)
		}
		sub := sampleOrder(ref)
		sub.Customer = order.Customer
		again, err := s.user().SubmitOrder(ctx, sub)
		require.NoError(a.t, err, ref)
		require.Equal(a.t, order.ID, again.ID)
		require.True(a.t, again.Meta.Replayed)
	}
	require.NoError(a.t, submitWithin(a.t, s.user(), startWithin, "p-new"))
	var destroyed bool
	require.NoError(a.t, connect(a.t, a.write).QueryRow(ctx, `SELECT wrapped IS NULL FROM customer_keys WHERE id = $1`, was.erased.Key).Scan(&destroyed))
	require.True(a.t, destroyed, "the backup had the key")
	_, err := newClient(a.t, s.at.HTTP, was.late).Token(ctx)
	require.ErrorContains(a.t, err, "invalid_client")
	require.True(a.t, slices.Equal(was.log, a.digests()[:len(was.log)]))
}
