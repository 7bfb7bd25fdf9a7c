// Package postgres holds everything the project does with Postgres itself: pools, the one transaction helper,
// pipelined batches, migrations, durability checks, and a private cluster of real server binaries for development
// and tests.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/seeded"
)

const (
	defaultMaxConns       = 8
	defaultConnectTimeout = 5 * time.Second

	// A connection is replaced after half an hour, so that a pool finds its way back to a recovered or failed-over
	// primary; the jitter keeps all of them from being replaced in the same moment.
	connLifetime       = 30 * time.Minute
	connLifetimeJitter = 5 * time.Minute
	connIdleTime       = 10 * time.Minute
	healthCheckPeriod  = 15 * time.Second

	// A commit runs without a deadline, so a peer that vanished without a word must be noticed by TCP itself:
	// after keepAliveIdle + keepAliveCount*keepAliveInterval on a silent connection, after unackedTimeout (Linux)
	// where bytes were sent and never acknowledged.
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 5 * time.Second
	keepAliveCount    = 4
	unackedTimeout    = 35 * time.Second
)

// PoolConfig says how a pool differs from what its URL says.
type PoolConfig struct {
	// Name is shown as application_name in pg_stat_activity. Required.
	Name string
	// MaxConns bounds the pool; 0 means pool_max_conns of the URL, or 8 where the URL has none.
	MaxConns int32
	// MinConns connections are kept open even when idle.
	MinConns int32
	// ConnectTimeout bounds one connection attempt; 0 means 5 s.
	ConnectTimeout time.Duration
	// StatementTimeout ends a statement on the server; 0 means none. It does not end a commit that waits for a
	// standby.
	StatementTimeout time.Duration
	// AsyncCommit sets synchronous_commit=off on every connection of the pool: a crash of the server may lose the
	// last commits, in order, and never corrupts. Only for data that is rebuilt from its own checkpoint, as views are.
	AsyncCommit bool
	// Component is the part of the system that the pool is for. Its connections act as the component's role, which the login has to
	// be a member of. Empty: as whoever logs in.
	Component string
	// Login is taken in place of the URL's, where it names somebody.
	Login Login
	// Scoped has each connection show the rows of its user's scope alone; see WithScope.
	Scoped bool
	// All has every connection show all rows: for work on all tenants.
	All bool
}

// Login is as whom a connection is opened.
type Login struct{ User, Password string }

// ParseLogin reads "name:password". An empty text names nobody.
func ParseLogin(text string) (Login, error) {
	if text == "" {
		return Login{}, nil
	}
	user, password, ok := strings.Cut(text, ":")
	if !ok || user == "" {
		return Login{}, errors.New("a login is of the form name:password")
	}
	return Login{User: user, Password: password}, nil
}

// Open connects a pool to url and checks that it answers. target_session_attrs and pool_* parameters of the URL
// are respected. An unreachable server gives an error for which IsUnavailable is true.
func Open(ctx context.Context, url string, cfg PoolConfig) (*pgxpool.Pool, error) {
	pc, err := poolConfig(url, cfg)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open pool %s: %w", cfg.Name, err)
	}
	if err := pool.Ping(WithScope(ctx, Scope{})); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open pool %s: %w", cfg.Name, err)
	}
	return pool, nil
}

func poolConfig(url string, cfg PoolConfig) (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse postgres url: %w", err)
	}
	switch {
	case cfg.MaxConns > 0:
		pc.MaxConns = cfg.MaxConns
	case !urlNames(url, "pool_max_conns"):
		pc.MaxConns = defaultMaxConns
	}
	pc.MinConns = min(cfg.MinConns, pc.MaxConns)
	pc.MaxConnLifetime = connLifetime
	pc.MaxConnLifetimeJitter = connLifetimeJitter
	pc.MaxConnIdleTime = connIdleTime
	pc.HealthCheckPeriod = healthCheckPeriod

	cc := pc.ConnConfig
	cc.ConnectTimeout = cfg.ConnectTimeout
	if cc.ConnectTimeout <= 0 {
		cc.ConnectTimeout = defaultConnectTimeout
	}
	cc.DialFunc = dialer(cc.ConnectTimeout).DialContext
	cc.OnNotice = noteCancelledWait
	cc.RuntimeParams["application_name"] = cfg.Name
	if cfg.StatementTimeout > 0 {
		cc.RuntimeParams["statement_timeout"] = strconv.FormatInt(cfg.StatementTimeout.Milliseconds(), 10)
	}
	if cfg.AsyncCommit || seeded.On(seeded.AsyncCommit) {
		cc.RuntimeParams["synchronous_commit"] = "off"
	}
	cfg.restrict(pc)
	return pc, nil
}

// restrict makes of the connections what the component may have.
func (cfg *PoolConfig) restrict(pc *pgxpool.Config) {
	cc := pc.ConnConfig
	if cfg.Login.User != "" {
		cc.User, cc.Password = cfg.Login.User, cfg.Login.Password
	}
	if cfg.Component != "" {
		cc.RuntimeParams["role"] = RoleOf(cfg.Component)
	}
	if cfg.All {
		cc.RuntimeParams["orderstore.scope"] = Everything().kind
	}
	if cfg.Scoped {
		pc.PrepareConn = prepareScope
	}
}

func dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout: timeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
		},
		Control: boundUnacked,
	}
}

// urlNames tells whether a URL or key=value connection string sets the parameter.
func urlNames(url, param string) bool { return strings.Contains(url, param+"=") }
