package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/seeded"
)

const (
	guardEvery    = 30 * time.Second // between looks at the settings
	guardWithin   = 5 * time.Second  // for one look
	barrierWithin = 8 * time.Second  // for a standby to flush what it lacks
)

// ErrStandbyBehind is wrapped by the error of Guard.Barrier when no synchronous standby has everything yet. IsUnavailable is true
// for it.
var ErrStandbyBehind = errors.New("the synchronous standby does not have everything yet")

// GuardConfig is what a guard works with.
type GuardConfig struct {
	Pool   *pgxpool.Pool // the one whose commits must last
	Every  time.Duration // between looks at the settings; 0: 30 s
	Logger *slog.Logger
}

// Guard watches whether what the primary acknowledges lasts: its settings, and where it has a synchronous standby, that nothing
// is told to anybody before that standby has it.
type Guard struct {
	pool        *pgxpool.Pool
	every       time.Duration
	logger      *slog.Logger
	synchronous atomic.Bool // synchronous_standby_names is not empty
	unsafe      atomic.Pointer[error]
}

// NewGuard makes a guard. It knows nothing until Look or Run.
func NewGuard(cfg GuardConfig) *Guard {
	g := &Guard{pool: cfg.Pool, every: cfg.Every, logger: cfg.Logger}
	if g.every <= 0 {
		g.every = guardEvery
	}
	return g
}

// Name names the worker.
func (g *Guard) Name() string { return "durability guard" }

// Safe gives what is the matter with the settings, an error that wraps ErrUnsafeSettings; nil while what is committed lasts.
func (g *Guard) Safe() error {
	if found := g.unsafe.Load(); found != nil {
		return *found
	}
	return nil
}

// Run looks at the settings until ctx ends. A primary that does not answer leaves what was known.
func (g *Guard) Run(ctx context.Context) error {
	tick := time.NewTicker(g.every)
	defer tick.Stop()
	for {
		if err := g.Look(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnsafeSettings) {
			g.logger.WarnContext(ctx, "the durability settings cannot be read", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Look reads the settings once. Its error wraps ErrUnsafeSettings where they may lose what was acknowledged.
func (g *Guard) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, guardWithin)
	defer cancel()
	s, err := ReadSettings(ctx, g.pool)
	if err != nil {
		return err
	}
	if g.synchronous.Swap(s.SynchronousStandbyNames != "") != (s.SynchronousStandbyNames != "") {
		g.logger.InfoContext(ctx, "synchronous standbys have changed", "names", s.SynchronousStandbyNames)
	}
	unsafe := s.Check()
	g.note(ctx, unsafe)
	return unsafe
}

// note keeps what was found and logs it when it is another state than before.
func (g *Guard) note(ctx context.Context, unsafe error) {
	if unsafe != nil {
		if g.unsafe.Swap(&unsafe) == nil {
			g.logger.ErrorContext(ctx, "the primary may lose what it acknowledges: no commands are taken", "cause", unsafe)
		}
		return
	}
	if g.unsafe.Swap(nil) != nil {
		g.logger.InfoContext(ctx, "the primary keeps what it acknowledges again")
	}
}

// passBarrier writes to the log and commits, so that it returns once as many standbys as the rule in force asks for have flushed
// its commit, and with it everything before.
const passBarrier = `SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'orderstore', '')` //nolint:gosec // G101: a statement that holds no password

// Barrier returns nil once the synchronous standbys have flushed all that could be read from the primary before the call.
// Without a synchronous standby it costs nothing. It waits 8 s at most; see ErrStandbyBehind.
//
// A commit that a client waits for can be seen by others before a standby has it when the primary crashes, or the wait is
// cancelled. What was read from the primary is therefore told only behind this barrier.
func (g *Guard) Barrier(ctx context.Context) error {
	if !g.synchronous.Load() || seeded.On(seeded.GateRemoved) {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, barrierWithin)
	defer cancel()
	conn, err := g.pool.Acquire(bounded)
	if err != nil {
		return g.behind(ctx, err)
	}
	defer conn.Release()
	if _, err := conn.Exec(bounded, passBarrier); err != nil {
		return g.behind(ctx, err)
	}
	if waitCancelled(conn.Conn().PgConn()) {
		return fmt.Errorf("pass barrier: %w: the wait was cancelled", ErrStandbyBehind)
	}
	return nil
}

// behind tells the caller's own end from that of the wait.
func (g *Guard) behind(ctx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("pass barrier: %w: %w", ErrStandbyBehind, err)
	}
	return fmt.Errorf("pass barrier: %w", err)
}

// syncWait is the server's function that a commit waits in for standbys. Messages are translated, this is not.
const syncWait = "SyncRepWaitForLSN"

const waitCancelledMark = "orderstore.wait_cancelled"

// noteCancelledWait marks a connection whose commit was acknowledged though nobody waited for the standbys to the end: somebody
// cancelled the backend. The server says so in a warning alone.
func noteCancelledWait(conn *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.Routine == syncWait {
		conn.CustomData()[waitCancelledMark] = true
	}
}

// waitCancelled says whether the last commit's wait was cancelled, once.
func waitCancelled(conn *pgconn.PgConn) bool {
	_, found := conn.CustomData()[waitCancelledMark]
	delete(conn.CustomData(), waitCancelledMark)
	return found
}
