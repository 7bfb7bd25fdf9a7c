package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	giveUpAfter = 8 * time.Second        // a round that the database does not take is answered with 503
	retryPause  = 100 * time.Millisecond // between tries of a round while the database is away
	checkedFor  = 64                     // rounds that look first whether what they store is there already
	lockedFor   = 64                     // rounds that hold the head's row from the start, after another node has moved it
)

const (
	codeHeadMoved = "OS001" // raised by advance_log_head
	codeKeyGone   = "OS002" // raised by require_customer_keys
)

// Tip hears how far the log is.
type Tip interface{ Advance(position int64) }

// Config is what a committer works with.
type Config struct {
	Pool   *pgxpool.Pool
	Ledger Ledger // takes the place of Pool where rounds are not stored in Postgres; nil: they are
	Tip    Tip
	Recent *stream.Recent // given what is committed, for a relay in the same process; nil: nobody is
	Gate   Gate           // nil: nobody watches the primary
	// Ahead says how far a copy of the log is, when that holds what follows a position; 0 where it does not. It is asked before the
	// first round, and when the log's end is before where it was seen. nil: there is no copy.
	Ahead  func(ctx context.Context, position int64) (last int64, err error)
	Keys   *customerkeys.Keys // customers are sealed under; nil: they are stored as they come
	Now    func() time.Time
	Logger *slog.Logger
}

// Committer commits commands in rounds: all that were waiting while the last commit was in flight go into one transaction,
// which gives their events the next positions. Several committers, in as many processes, may work on one log: the log's head is
// moved by compare-and-set, and a round that finds it moved is decided anew.
type Committer struct {
	store   *store
	seals   seals
	tip     Tip
	recent  *stream.Recent
	now     func() time.Time
	logger  *slog.Logger
	gate    Gate
	queue   *queue
	changed chan struct{} // the registry changed: waiting orders may have a provider now

	others *others

	head     head
	offered  int64 // registry.routing as of the last signal
	registry *Registry
	ready    bool // head and registry are loaded
	cache    *cache
	days     days
	// checked counts down the rounds that look up references, results and keys before they store any. Others store first, and are
	// told by a unique violation that something is there: new orders are the rule, and repeated ones come together.
	checked int
	// locked counts down the rounds that take the head's lock before they decide. Others decide first and find out when they store:
	// that costs nothing as long as this node appends alone, and the whole round when it does not.
	locked     int
	collisions atomic.Int64 // rounds that found the head moved

	ahead    func(ctx context.Context, position int64) (int64, error)
	compared bool                     // no copy was ahead of the log
	lost     atomic.Pointer[lostTail] // one is
}

// NewCommitter makes a committer. It does nothing until Run.
func NewCommitter(cfg Config) *Committer {
	if cfg.Gate == nil {
		cfg.Gate = open{}
	}
	return &Committer{
		store: &store{pool: cfg.Pool, ledger: cfg.Ledger, cell: events.DefaultCell, now: cfg.Now, keys: cfg.Keys}, seals: seals{cfg.Keys}, tip: cfg.Tip, recent: cfg.Recent, now: cfg.Now, logger: cfg.Logger,
		cache: newCache(), gate: cfg.Gate, queue: newQueue(time.Now), changed: make(chan struct{}, 1), registry: newRegistry(),
		others: newOthers(), ahead: cfg.Ahead,
	}
}

// Name names the worker.
func (c *Committer) Name() string { return "committer" }

// Run commits until ctx ends; what is waiting then is refused with 503 and was not stored.
func (c *Committer) Run(ctx context.Context) error {
	defer c.queue.refuse()
	for {
		jobs := c.queue.gather(ctx)
		if len(jobs) == 0 {
			return nil
		}
		c.queue.pace.begin()
		c.commit(context.WithoutCancel(ctx), jobs)
		c.queue.pace.end()
	}
}

func unavailable(cause error) error {
	return fault.Wrap(cause, fault.Unavailable, "orders cannot be stored at the moment").Retry(2 * time.Second)
}

// commit brings one round of commands to an end: each gets its answer.
func (c *Committer) commit(ctx context.Context, jobs []*job) {
	var unknown bool
	for giveUp := c.now().Add(giveUpAfter); ; {
		outcomes, err := c.attempt(ctx, jobs)
		if err == nil {
			deliver(jobs, outcomes)
			return
		}
		c.forget() // read the head again, whatever it was
		if refused := lostFault(err); refused != nil {
			deliver(jobs, failAll(jobs, refused))
			return
		}
		switch {
		case headMoved(err):
			c.locked = lockedFor
			c.collisions.Add(1)
			continue
		case c.checked == 0 && (errors.Is(err, errLookFirst) || postgres.IsUniqueViolation(err, "")):
			c.checked = checkedFor
			continue
		case errors.Is(err, postgres.ErrOutcomeUnknown) && seeded.On(seeded.CommitDeadline):
			deliver(jobs, failAll(jobs, waitedTooLong()))
			return
		case errors.Is(err, postgres.ErrOutcomeUnknown):
			unknown = true
		case !postgres.IsUnavailable(err) && !errors.Is(err, errCannotCompare):
			c.isolate(ctx, jobs, err)
			return
		}
		if c.now().After(giveUp) {
			c.logger.ErrorContext(ctx, "commands cannot be stored", "commands", len(jobs), "cause", err)
			deliver(jobs, failAll(jobs, giveUpFault(err, unknown)))
			return
		}
		wait(ctx, retryPause)
	}
}

func giveUpFault(cause error, unknown bool) error {
	if unknown {
		return fault.Wrap(cause, fault.OutcomeUnknown, "the outcome is not known yet: send the same request again").Retry(2 * time.Second)
	}
	return unavailable(cause)
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func headMoved(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == codeHeadMoved || errors.Is(err, errMoved)
}

// attempt decides and stores a round once. Its error is the database's; commands that are refused have theirs in the outcomes.
func (c *Committer) attempt(ctx context.Context, jobs []*job) ([]outcome, error) {
	lock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.release(ctx)
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	c.registry.reports = *c.others.reports.Load()
	r := newRound(c.head, c.now().UTC().Truncate(time.Microsecond), c.registry)
	if err := c.load(ctx, wanted(jobs), r); err != nil {
		return nil, err
	}
	outcomes, replies, err := apply(r, jobs)
	if err != nil {
		r.undo()
		return nil, err
	}
	p, err := r.encode()
	if err != nil {
		r.undo()
		return nil, err
	}
	if err := answerAll(r, jobs, replies, outcomes); err != nil {
		r.undo()
		return nil, err
	}
	if len(r.events) == 0 {
		// Nothing that is stored would tell that what was decided on is old.
		if err := c.still(ctx, lock); err != nil {
			return nil, err
		}
		if len(r.kept) > 0 && !r.checked {
			return nil, errLookFirst // nothing that is stored would tell that an answer was given before
		}
		return outcomes, c.settle(ctx, r)
	}
	if seeded.On(seeded.AckBeforeCommit) {
		deliver(jobs, outcomes)
	}
	if seeded.On(seeded.PublishBeforeCommit) && c.recent != nil {
		c.recent.Add(p.recent())
	}
	c.appending(true)
	defer c.appending(false)
	if err := c.append(ctx, r, p, lock); err != nil {
		r.undo()
		if seeded.On(seeded.PositionsLost) {
			c.head = p.to
		}
		return nil, err
	}
	c.adopt(ctx, r, p)
	return outcomes, nil
}

func (c *Committer) appending(yes bool) {
	if c.recent != nil {
		c.recent.SetAppending(yes)
	}
}

// lock takes the head's lock when other nodes append as well. A head that is no longer where this node left it makes it forget all.
func (c *Committer) lock(ctx context.Context) (*headLock, error) {
	if c.locked == 0 {
		return nil, nil
	}
	c.locked--
	lock, err := c.store.lock(ctx)
	if err != nil {
		return nil, err
	}
	if c.ready && lock.head != c.head {
		c.forget()
	}
	return lock, nil
}

// errMoved says that a round was decided on a state that is no longer the last.
var errMoved = errors.New("the head of the log has moved")

// still checks that the log's head is where the round was decided.
func (c *Committer) still(ctx context.Context, lock *headLock) error {
	if lock != nil {
		return nil
	}
	h, err := c.store.head(ctx)
	if err == nil && h != c.head {
		return errMoved
	}
	return err
}

// load makes known to a round what its commands want: from the cache where it can, from the database otherwise.
func (c *Committer) load(ctx context.Context, w *wants, r *round) error {
	left := c.cache.missing(w, r)
	left.facts = w.facts
	if err := c.quotas(ctx, w.placing, r); err != nil {
		return err
	}
	if r.checked = c.checked > 0 || w.first; r.checked {
		left.refs, left.results, left.keys = w.refs, w.results, w.keys
	}
	return c.store.load(ctx, left, r)
}

// forget gives up all that is known of the database.
func (c *Committer) forget() {
	c.ready = false
	c.days = days{}
	c.cache.empty()
}

// append stores a round. Where the connection broke before the answer, the log tells whether the round is in it: no other round
// has its digest.
func (c *Committer) append(ctx context.Context, r *round, p *plan, lock *headLock) error {
	err := c.store.commit(ctx, r, p, lock)
	if !errors.Is(err, postgres.ErrOutcomeUnknown) || seeded.On(seeded.CommitDeadline) {
		return err
	}
	c.logger.WarnContext(ctx, "the answer to a commit was lost, looking it up", "position", p.to.position, "cause", err)
	for giveUp := c.now().Add(giveUpAfter); ; {
		stored, lookErr := c.holds(ctx, p.to)
		if stored {
			return nil
		}
		if lookErr == nil {
			// Not there now; it may still come, and then the next attempt finds the head moved. So the same round is tried again
			// from the same head until one of the two is in the log.
			err = c.store.commit(ctx, r, p, nil)
		}
		switch {
		case err == nil:
			return nil
		case headMoved(err):
			return c.movedByUs(ctx, p, err)
		case c.now().After(giveUp):
			return fmt.Errorf("%w: %w", postgres.ErrOutcomeUnknown, err)
		}
		wait(ctx, retryPause)
	}
}

// movedByUs tells whether it was this very round that moved the head.
func (c *Committer) movedByUs(ctx context.Context, p *plan, moved error) error {
	stored, err := c.holds(ctx, p.to)
	if err != nil {
		return fmt.Errorf("%w: %w", postgres.ErrOutcomeUnknown, err)
	}
	if stored {
		return nil
	}
	return moved
}

// refresh reads the log's end and what changed in the registry, unless nobody else can have moved it or it does not matter yet.
func (c *Committer) refresh(ctx context.Context) error {
	if c.others.stale.Swap(false) {
		c.forget()
	}
	if c.ready {
		return nil
	}
	h, err := c.store.head(ctx)
	if err != nil {
		return err
	}
	if seeded.On(seeded.PositionsLost) && c.head.position > h.position {
		h = c.head
	} else if err := c.whole(ctx, h); err != nil {
		return err
	}
	if h.position < c.head.position {
		c.registry, c.head = newRegistry(), head{}
	}
	if err := c.store.registry(ctx, c.registry, c.head.position); err != nil {
		return err
	}
	c.head, c.ready = h, true
	c.tip.Advance(h.position)
	c.notice()
	return nil
}

// adopt makes a stored round the state that the next one starts from.
func (c *Committer) adopt(ctx context.Context, r *round, p *plan) {
	c.head = p.to
	c.checked = max(c.checked-1, 0)
	c.cache.take(r)
	c.days.settled(r)
	c.seals.keys.Stored(maps.Keys(r.sealedUnder))
	c.seals.keys.Forget(r.destroyed...)
	for _, e := range r.entries {
		if err := c.registry.put(e); err != nil {
			c.logger.ErrorContext(ctx, "reading the registry anew", "cause", err)
			c.registry, c.head = newRegistry(), head{}
			c.forget()
		}
	}
	if c.recent != nil {
		c.recent.Add(p.recent())
	}
	c.tip.Advance(p.to.position)
	if c.ready {
		c.notice()
	}
}
