// Package pgtest gives tests a real Postgres: one private cluster a test process, started at the first need and
// removed at the end, and an isolated migrated database for each test that asks.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/dirlock"
	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	dirPrefix    = "orderstore-pgtest-"
	startTimeout = 2 * time.Minute
	stopTimeout  = 20 * time.Second
	dropTimeout  = 20 * time.Second
	poolConns    = 10
	adminConns   = 4
	// firstWithStrategy is the first version that lets one choose how a database is copied, and has another default.
	firstWithStrategy = 150000
	// A directory that old whose lock nobody holds belongs to a test process that was killed.
	abandonedAge = 10 * time.Minute
)

// shared is the process's one cluster. Tests of a process share it through Database and URL, which take no handle,
// so it has to live here.
var shared harness //nolint:gochecknoglobals // one cluster a process, started by whoever needs it first

// harness starts the cluster at most once and remembers the template databases it has built.
type harness struct {
	running atomic.Bool // within Run
	start   sync.Once
	cluster *postgres.Cluster
	admin   *pgxpool.Pool // creates and drops databases
	copying string        // how the server is asked to copy one
	dir     string
	err     error
	names   atomic.Int64

	mu        sync.Mutex
	templates map[string]*template
}

// template is a migrated database that others are copied from.
type template struct {
	once sync.Once
	name string
	err  error
}

// Run runs the tests and stops the cluster afterwards, whether they passed or not.
func Run(m *testing.M) int {
	shared.running.Store(true)
	defer shared.running.Store(false)
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the test cluster:", err)
		return max(code, 1)
	}
	return code
}

// Database returns a pool on a new database with all migrations in dir of fsys. Both go when the test ends.
func Database(t testing.TB, fsys fs.FS, dir string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), URL(t, fsys, dir), postgres.PoolConfig{Name: "pgtest", MaxConns: poolConns})
	if err != nil {
		t.Fatalf("open test database: %v", err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// As returns a pool on the database of another one, which acts as a component's role and shows the rows of its user's scope.
func As(t testing.TB, component string, owner *pgxpool.Pool) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), owner.Config().ConnString(), postgres.PoolConfig{
		Name: "pgtest-" + component, MaxConns: poolConns, Component: component, Scoped: true,
	})
	if err != nil {
		t.Fatalf("open test database as %s: %v", component, err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// URL returns the URL of a new database with all migrations in dir of fsys. It goes when the test ends.
func URL(t testing.TB, fsys fs.FS, dir string) string {
	t.Helper()
	cluster := shared.get(t)
	tmpl, err := shared.template(t.Context(), fsys, dir)
	if err != nil {
		t.Fatalf("build test database: %v", err)
	}
	return newDatabase(t, cluster, tmpl)
}

// EmptyURL returns the URL of a new database without any migration. It goes when the test ends.
func EmptyURL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, shared.get(t), "template0")
}

func newDatabase(t testing.TB, cluster *postgres.Cluster, tmpl string) string {
	t.Helper()
	name := "test_" + strconv.FormatInt(shared.names.Add(1), 10)
	if err := shared.create(t.Context(), name, tmpl); err != nil {
		t.Fatalf("create test database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), dropTimeout)
		defer cancel()
		if err := shared.execute(ctx, "drop database "+quote(name)+" with (force)"); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return cluster.URL(name)
}

// closePool reports connections a test has not given back, instead of waiting for them for ever.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	closed := make(chan struct{})
	go func() {
		pool.Close()
		close(closed)
	}()
	timer := time.NewTimer(dropTimeout)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
		t.Errorf("the test left %d connections of its pool acquired", pool.Stat().AcquiredConns())
	}
}

func (h *harness) get(t testing.TB) *postgres.Cluster {
	t.Helper()
	if !h.running.Load() {
		t.Fatal("pgtest: this package needs func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }")
	}
	h.start.Do(h.startCluster)
	if h.err != nil {
		t.Fatalf("start the test cluster: %v", h.err)
	}
	return h.cluster
}

func (h *harness) startCluster() {
	removeAbandoned(os.TempDir())
	if h.dir, h.err = os.MkdirTemp("", dirPrefix); h.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	h.cluster, h.err = postgres.StartCluster(ctx, postgres.ClusterConfig{
		Dir: h.dir,
		Log: slog.New(slog.DiscardHandler),
	})
	if h.err != nil {
		return
	}
	h.admin, h.err = postgres.Open(ctx, h.cluster.URL("postgres"), postgres.PoolConfig{Name: "pgtest", MaxConns: adminConns})
	if h.err != nil {
		return
	}
	var version int
	h.err = h.admin.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&version)
	if version >= firstWithStrategy {
		// Without fsync copying files costs a third of what copying through the log does.
		h.copying = " strategy file_copy"
	}
}

func (h *harness) stop() error {
	var errs []error
	if h.admin != nil {
		h.admin.Close()
	}
	if h.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, h.cluster.Stop(ctx))
	}
	if h.dir != "" {
		errs = append(errs, os.RemoveAll(h.dir))
	}
	return errors.Join(errs...)
}

// removeAbandoned clears the directories of test processes that were killed before they could do it.
func removeAbandoned(tmp string) {
	dirs, _ := filepath.Glob(filepath.Join(tmp, dirPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < abandonedAge {
			continue
		}
		lock, err := dirlock.Acquire(dir)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(dir)
		_ = lock.Release()
	}
}

// template returns the name of the database migrated with these files, built at the first call.
func (h *harness) template(ctx context.Context, fsys fs.FS, dir string) (string, error) {
	key, err := digest(fsys, dir)
	if err != nil {
		return "", fmt.Errorf("read migrations: %w", err)
	}
	h.mu.Lock()
	if h.templates == nil {
		h.templates = make(map[string]*template)
	}
	tmpl := h.templates[key]
	if tmpl == nil {
		tmpl = &template{name: "template_" + key[:16]}
		h.templates[key] = tmpl
	}
	h.mu.Unlock()
	tmpl.once.Do(func() { tmpl.err = h.build(context.WithoutCancel(ctx), tmpl.name, fsys, dir) })
	return tmpl.name, tmpl.err
}

func (h *harness) build(ctx context.Context, name string, fsys fs.FS, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := h.create(ctx, name, "template0"); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, h.cluster.URL(name), fsys, dir); err != nil {
		return err
	}
	// A database can be copied only while nobody is connected to it.
	return h.execute(ctx, "alter database "+quote(name)+" allow_connections false")
}

// digest names a set of migrations by its content.
func digest(fsys fs.FS, dir string) (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(fsys, dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(hash, "%s %d\n", path, len(content))
		hash.Write(content)
		return nil
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}

// execute runs one statement outside any test database.
func (h *harness) execute(ctx context.Context, sql string) error {
	_, err := h.admin.Exec(ctx, sql)
	return err
}

func (h *harness) create(ctx context.Context, name, tmpl string) error {
	return h.execute(ctx, "create database "+quote(name)+" template "+quote(tmpl)+h.copying)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
