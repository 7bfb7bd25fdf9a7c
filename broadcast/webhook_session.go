package broadcast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	storeTries  = 10 // of the ledger's entries, while the database refuses them
	roundWithin = 30 * time.Second
	tidyEvery   = time.Hour
)

// session is a dispatcher's work on one connection to the primary, which holds its shards and writes its ledger.
type session struct {
	*Dispatcher
	shards  shardKeeper
	writer  ledgerWriter
	running map[uuid.UUID]*running
	batch   *entries // taken from the ledger and not stored yet
	tries   int
	lookAt  time.Time
	tidyAt  time.Time
}

// running is an endpoint that runs, or is ending.
type running struct {
	endpoint *endpoint
	version  int64
	requests int64
	cancel   context.CancelFunc
	done     chan struct{}
	cutAt    time.Time // when what is under way is broken off; zero: it is not ending
}

func (r *running) stop(within time.Duration) {
	if r.cutAt.IsZero() {
		r.cutAt = time.Now().Add(within)
		close(r.endpoint.stopped)
	}
}

func (r *running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// deliver delivers until ctx ends or the connection does.
func (d *Dispatcher) deliver(ctx context.Context) error {
	acquired, err := d.cfg.Write.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect webhook dispatcher: %w", err)
	}
	conn := acquired.Hijack() // it lives as long as it lives, whatever the pool does with others
	s := &session{
		Dispatcher: d, shards: shardKeeper{conn: conn, held: map[int32]bool{}}, writer: ledgerWriter{days: map[string]bool{}},
		running: map[uuid.UUID]*running{},
	}
	defer s.end(context.WithoutCancel(ctx))
	if err := s.shards.join(ctx); err != nil {
		return err
	}
	if err := s.work(ctx); err != nil || ctx.Err() == nil {
		return err
	}
	return s.leave(context.WithoutCancel(ctx))
}

func (s *session) work(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.FlushEvery)
	defer tick.Stop()
	for {
		if err := s.round(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.ledger.full:
		case <-s.poked:
			s.lookAt = time.Time{}
		}
	}
}

// round stores what was done, forgets endpoints that have ended, and starts those that should run. It is not broken off: the connection
// would go with it.
func (s *session) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundWithin)
	defer cancel()
	if err := s.settle(ctx); err != nil {
		return err
	}
	if time.Until(s.lookAt) > 0 {
		return nil
	}
	s.lookAt = time.Now().Add(s.cfg.LookEvery)
	if err := s.shards.balance(ctx); err != nil {
		return err
	}
	if err := s.sync(ctx); err != nil {
		return err
	}
	s.gauge()
	return s.tidy(ctx)
}

// settle stores what was done. Only behind it is an endpoint that has ended forgotten, and a shard given up: whoever goes on reads what
// was stored.
func (s *session) settle(ctx context.Context) error {
	var ended []uuid.UUID
	for id, r := range s.running {
		if r.ended() {
			ended = append(ended, id)
		} else if !r.cutAt.IsZero() && time.Now().After(r.cutAt) {
			r.cancel()
		}
	}
	stored, err := s.store(ctx)
	if err != nil || !stored {
		return err
	}
	occupied := map[int32]bool{}
	for _, id := range ended {
		s.running[id].cancel()
		delete(s.running, id)
		s.lookAt = time.Time{}
	}
	for id := range s.running {
		occupied[shardOf(id)] = true
	}
	for shard, leaving := range s.shards.held {
		if leaving && !occupied[shard] {
			if err := s.shards.free(ctx, shard); err != nil {
				return err
			}
		}
	}
	return nil
}

// store writes the ledger's entries. It says no where the database refused them and they are to be tried again.
func (s *session) store(ctx context.Context) (bool, error) {
	again := s.batch != nil
	if !again {
		s.batch = s.ledger.take()
	}
	if s.batch == nil {
		return true, nil
	}
	if err := s.writer.write(ctx, s.shards.conn, s.batch, s.cfg.Now()); err != nil {
		s.tries++
		if s.shards.conn.IsClosed() || errors.Is(err, postgres.ErrOutcomeUnknown) || s.tries >= storeTries {
			return false, err
		}
		s.cfg.Logger.WarnContext(ctx, "deliveries are stored again", "cause", err)
		return false, nil
	}
	s.batch, s.tries = nil, 0
	s.ledger.written()
	return !again, nil // what was done meanwhile is still to be stored
}

const selectDelivered = `SELECT s.id, s.version, h.requests FROM subscriptions s JOIN subscription_health h ON h.subscription_id = s.id
WHERE s.transport = 'webhook' AND s.status = 'active'`

// known is what a look at a subscription shows of whether it has changed.
type known struct{ version, requests int64 }

// sync stops the endpoints that have changed or are no longer this node's, and starts those that do not run.
func (s *session) sync(ctx context.Context) error {
	rows, err := s.cfg.Write.Query(ctx, selectDelivered)
	if err != nil {
		return fmt.Errorf("look at webhook subscriptions: %w", err)
	}
	wanted := map[uuid.UUID]known{}
	var id uuid.UUID
	var k known
	if _, err := pgx.ForEachRow(rows, []any{&id, &k.version, &k.requests}, func() error {
		if s.shards.delivers(id) {
			wanted[id] = k
		}
		return nil
	}); err != nil {
		return fmt.Errorf("look at webhook subscriptions: %w", err)
	}
	for id, r := range s.running {
		if k, still := wanted[id]; !still || k.version != r.version || k.requests != r.requests {
			r.stop(s.cfg.StopWithin)
		}
	}
	var missing []uuid.UUID
	for id := range wanted {
		if s.running[id] == nil {
			missing = append(missing, id)
		}
	}
	for from := 0; from < len(missing); from += loadAtOnce {
		if err := s.begin(ctx, missing[from:min(from+loadAtOnce, len(missing))]); err != nil {
			return err
		}
	}
	return nil
}

// begin starts endpoints.
func (s *session) begin(ctx context.Context, ids []uuid.UUID) error {
	all, err := s.load(ctx, ids)
	if err != nil {
		return err
	}
	for _, one := range all {
		e := newEndpoint(s.Dispatcher, one.delivered, one.health)
		e.restore(one.parked)
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{endpoint: e, version: one.sub.Version, requests: one.requests, cancel: cancel, done: make(chan struct{})}
		s.running[one.sub.ID] = r
		go func() {
			defer close(r.done)
			e.run(own)
		}()
	}
	return nil
}

func (s *session) gauge() {
	behind := int64(0)
	tip := s.live.tip.Position()
	for _, r := range s.running {
		behind = max(behind, tip-r.endpoint.doneTo.Load())
	}
	s.metrics.behind.Set(float64(behind))
	s.metrics.endpoints.Set(float64(len(s.running)))
	s.metrics.shards.Set(float64(len(s.shards.held)))
}

const (
	trimAttempts  = `SELECT trim_delivery_attempts($1::date)`
	forgetSecrets = `DELETE FROM subscription_secrets WHERE expires_at < $1`
)

// tidy makes the next day's room for attempts, and forgets old attempts and secrets.
func (s *session) tidy(ctx context.Context) error {
	if time.Until(s.tidyAt) > 0 {
		return nil
	}
	s.tidyAt = time.Now().Add(tidyEvery)
	now := s.cfg.Now().UTC()
	for _, do := range []struct {
		sql string
		arg any
	}{
		{extendAttempts, now.AddDate(0, 0, 1).Format(time.DateOnly)},
		{trimAttempts, now.Add(-s.cfg.Retention).Format(time.DateOnly)},
		{forgetSecrets, now.Add(-s.cfg.Retention)},
	} {
		if _, err := s.cfg.Write.Exec(ctx, do.sql, do.arg); err != nil {
			return fmt.Errorf("tidy webhook deliveries: %w", err)
		}
	}
	return nil
}

// leave lets attempts under way end, and stores what was done.
func (s *session) leave(ctx context.Context) error {
	for _, r := range s.running {
		r.stop(s.cfg.StopWithin)
	}
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	for {
		ended := len(s.running) == 0
		if err := s.settle(ctx); err != nil {
			return err
		}
		if ended && s.batch == nil {
			return nil
		}
		pause(ctx, s.cfg.FlushEvery/10)
	}
}

// end breaks off what is still under way, and gives up the shards with the connection.
func (s *session) end(ctx context.Context) {
	for _, r := range s.running {
		r.stop(0)
		r.cancel()
	}
	for _, r := range s.running {
		<-r.done
	}
	s.ledger.lost()
	s.metrics.endpoints.Set(0)
	s.metrics.shards.Set(0)
	_ = s.shards.conn.Close(ctx) // it is given up either way
}
