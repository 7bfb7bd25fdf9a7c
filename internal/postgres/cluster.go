package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/orderstore/orderstore/internal/dirlock"
)

// Sentinels of StartCluster. The error that wraps one is a single sentence that says what to do.
var (
	// ErrNotInstalled means that no usable server binaries were found.
	ErrNotInstalled = errors.New("postgres is not installed")
	// ErrInUse means that another process runs a cluster on the directory.
	ErrInUse = errors.New("postgres directory is in use")
	// ErrOtherVersion means that the data was made by another major version than any that is installed.
	ErrOtherVersion = errors.New("postgres data is of another major version")
	// ErrDiskFull means that the disk is full.
	ErrDiskFull = errors.New("disk is full")
	// ErrUnreachable means that the directory, or something on the way to it, is closed to the user the server runs as.
	ErrUnreachable = errors.New("postgres directory cannot be reached")
)

const (
	superuser    = "orderstore"
	loopback     = "127.0.0.1"
	startRetries = 5
	readyPoll    = 20 * time.Millisecond
	// orphanWait is how long backends that outlived a killed postmaster may take to notice.
	orphanWait = 20 * time.Second
)

// ClusterConfig says where a cluster lives and what it serves.
type ClusterConfig struct {
	// Dir holds the data (Dir/data), the password (Dir/password), the server's log (Dir/server.log) and the lock.
	// Made if missing; what leads to it must exist or be creatable.
	Dir string
	// Databases are created if missing.
	Databases []string
	// Durable keeps fsync and full_page_writes on. Only tests, whose data is thrown away, leave it off.
	Durable bool
	// Log receives what the cluster itself decides; the server writes to its own file. Nil means slog.Default.
	Log *slog.Logger
	// ExtraSettings are server settings that win over the tuned ones.
	ExtraSettings map[string]string
	// FromFiles are tuned settings that are left to the server's own files, where ALTER SYSTEM changes them.
	FromFiles []string
	// Port to listen on; 0 is any free one. A primary that standbys follow keeps its port over a restart.
	Port int
}

// Cluster is a running private Postgres: a child process that listens on a free loopback port and ends with its
// parent.
type Cluster struct {
	cfg      ClusterConfig
	dir      string
	password string
	lock     *dirlock.Lock
	findPort func(context.Context) (int, error)
	proc     *process
	port     int
	released chan struct{}
	primary  *Cluster // the one that it was copied from; nil: it is a primary itself
}

// StartCluster makes the cluster if Dir holds none, stops a server that an earlier owner left behind, starts the
// server, waits until it answers, which after a crash includes its recovery, and creates the databases. ctx bounds
// the start, not the life of the cluster.
func StartCluster(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	return startCluster(ctx, cfg, nil)
}

func startCluster(ctx context.Context, cfg ClusterConfig, primary *Cluster) (*Cluster, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	dir, err := prepareDir(cfg.Dir)
	if err != nil {
		return nil, explain(cfg.Dir, err)
	}
	lock, err := dirlock.Acquire(dir)
	if err != nil {
		return nil, explain(dir, err)
	}
	c := &Cluster{cfg: cfg, dir: dir, lock: lock, findPort: freePort, released: make(chan struct{}), primary: primary}
	if cfg.Port != 0 {
		c.findPort = func(context.Context) (int, error) { return cfg.Port, nil }
	}
	if err := c.start(ctx); err != nil {
		_ = lock.Release()
		return nil, explain(dir, err)
	}
	go c.releaseWhenExited()
	return c, nil
}

func prepareDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("postgres directory is not set")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("resolve postgres directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make postgres directory: %w", err)
	}
	// The server reports and compares resolved paths.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("resolve postgres directory: %w", err)
	}
	return dir, nil
}

func (c *Cluster) start(ctx context.Context) error {
	inst, err := chooseInstallation(c.dataDir(), findInstallations(ctx, os.Getenv("PATH"), binGlobs()))
	if err != nil {
		return err
	}
	as, err := chooseIdentity(ctx, c.dir, c.dataDir(), inst)
	if err != nil {
		return err
	}
	if err := stopLeftover(ctx, c.dataDir(), c.cfg.Log); err != nil {
		return err
	}
	if c.password, err = c.ensureData(ctx, inst, as); err != nil {
		return err
	}
	if err := c.launch(ctx, inst, as); err != nil || c.primary != nil {
		return err
	}
	if err := c.createDatabases(ctx); err != nil {
		return errors.Join(err, c.abandon(ctx))
	}
	return nil
}

// launch starts the server, again with another port when somebody took the chosen one in between.
func (c *Cluster) launch(ctx context.Context, inst installation, as identity) error {
	deadline := time.Now().Add(orphanWait)
	for attempt := 1; ; attempt++ {
		err := c.launchOnce(ctx, inst, as)
		if err == nil {
			return nil
		}
		failed, ok := errors.AsType[*startError](err)
		switch {
		case !ok:
			return err
		case failed.portTaken() && attempt < startRetries:
			continue
		case failed.orphansLeft() && time.Now().Before(deadline):
			if err := pause(ctx, 10*readyPoll); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

func (c *Cluster) launchOnce(ctx context.Context, inst installation, as identity) error {
	port, err := c.findPort(ctx)
	if err != nil {
		return err
	}
	log, err := openServerLog(c.logFile())
	if err != nil {
		return err
	}
	defer log.close()
	if err := as.own(c.logFile()); err != nil {
		return fmt.Errorf("hand over server log: %w", err)
	}
	c.port = port
	if c.proc, err = startProcess(serverCommand(inst, as, c.dataDir(), port, c.cfg, log.file)); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	err = c.awaitReady(ctx)
	if err == nil {
		return nil
	}
	if exitErr := c.abandon(ctx); exitErr != nil {
		return errors.Join(err, exitErr)
	}
	if errors.Is(err, errExited) {
		return &startError{logFile: c.logFile(), output: log.written()}
	}
	return err
}

// errExited means the server ended before it took connections.
var errExited = errors.New("postgres exited")

// awaitReady first watches the file in which the server says that it is ready: connecting earlier would fill its log
// with refusals.
func (c *Cluster) awaitReady(ctx context.Context) error {
	for {
		if saysReady(c.dataDir(), c.proc.pid) {
			err := c.probe(ctx)
			if err == nil || !IsUnavailable(err) {
				return err
			}
		}
		select {
		case <-c.proc.exited:
			return errExited
		default:
		}
		if err := pause(ctx, readyPoll); err != nil {
			return fmt.Errorf("wait for postgres: %w", err)
		}
	}
}

func (c *Cluster) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, defaultConnectTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == codeInvalidPassword {
		return fmt.Errorf("the password in %s is not the one of the data beside it: restore that file", passwordFile(c.dir))
	}
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (c *Cluster) createDatabases(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, name := range c.cfg.Databases {
		_, err := conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize())
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == codeDuplicateDatabase {
			continue
		}
		if err != nil {
			return fmt.Errorf("create database %s: %w", name, err)
		}
	}
	return nil
}

func (c *Cluster) ensureData(ctx context.Context, inst installation, as identity) (string, error) {
	if c.primary != nil {
		return ensureCopy(ctx, c.primary, c.dir, c.dataDir(), inst, as, c.cfg)
	}
	return ensureData(ctx, c.dir, c.dataDir(), inst, as, c.cfg)
}

// URL returns the connection URL of a database, password included.
func (c *Cluster) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, c.password),
		Host: net.JoinHostPort(loopback, strconv.Itoa(c.port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// PID returns the process id of the postmaster.
func (c *Cluster) PID() int { return c.proc.pid }

// Exited is closed when the server has ended, by Stop or on its own, and the directory is free for another.
func (c *Cluster) Exited() <-chan struct{} { return c.released }

// Stop shuts the server down, ending open sessions, and waits. When ctx ends first, the server is ended at once,
// which costs a recovery at the next start and no data. Stopping a stopped cluster does nothing.
func (c *Cluster) Stop(ctx context.Context) error {
	err := c.shutdown(ctx)
	if err == nil {
		<-c.released
	}
	return err
}

// releaseWhenExited gives the directory up once nothing runs on it any more.
func (c *Cluster) releaseWhenExited() {
	<-c.proc.exited
	if err := c.lock.Release(); err != nil {
		c.cfg.Log.Warn("release postgres directory", "dir", c.dir, "error", err)
	}
	close(c.released)
}

func (c *Cluster) dataDir() string { return filepath.Join(c.dir, "data") }
func (c *Cluster) logFile() string { return filepath.Join(c.dir, "server.log") }

func passwordFile(dir string) string { return filepath.Join(dir, "password") }

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return port, nil
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
