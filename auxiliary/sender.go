package auxiliary

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

// settleWithin bounds writing down, at the end, what was sent. What is not written down is sent again.
const settleWithin = 5 * time.Second

// maxReason bounds what is kept of a target's answer, in bytes.
const maxReason = 500

// sender makes one system's effects: one goroutine claims what is due, some make the effects, one notes what became of
// them.
type sender struct {
	cfg     *Config
	system  Outward
	channel string // the one that it sends; empty: all
	metrics *metrics
	due     chan struct{} // effects may have been queued
	settled chan struct{} // there is room again, or the target's state is known
	jobs    chan job
	made    chan outcome

	mu       sync.Mutex
	inHand   int  // claimed and not settled
	failures int  // of the target, in a row; 0: it is there
	held     bool // what was sent cannot be noted
	state    Status
}

type job struct {
	effect  Effect
	claimed time.Time
}

func newSender(cfg *Config, system Outward, channel string, m *metrics) *sender {
	room := cfg.Pace.InHand
	return &sender{
		cfg: cfg, system: system, channel: channel, metrics: m, due: make(chan struct{}, 1), settled: make(chan struct{}, 1),
		jobs: make(chan job, room), made: make(chan outcome, room),
	}
}

func (s *sender) wake() { signal(s.due) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *sender) run(ctx context.Context) {
	var senders, settler sync.WaitGroup
	for range s.cfg.Pace.Senders {
		senders.Go(func() { s.send(ctx) })
	}
	settler.Go(func() { s.settle(ctx) })
	s.claim(ctx)
	close(s.jobs)
	senders.Wait()
	close(s.made)
	settler.Wait()
}

// claim keeps the senders in work.
func (s *sender) claim(ctx context.Context) {
	var counted time.Time
	for ctx.Err() == nil {
		if now := time.Now(); now.Sub(counted) >= s.cfg.Pace.Look {
			s.count(ctx)
			counted = now
		}
		limit, failures := s.room()
		if limit == 0 {
			wait(ctx, s.settled, s.cfg.Pace.Look)
			continue
		}
		if failures > 0 {
			pause(ctx, s.cfg.Pace.TargetRetry.after(failures))
		}
		if !s.take(ctx, limit) {
			wait(ctx, s.due, s.cfg.Pace.Look)
			pause(ctx, s.cfg.Pace.Linger) // more are on their way where one is
		}
	}
}

// room says how many effects may be claimed. While the target is away it is one at a time: the others need not fail to know.
func (s *sender) room() (limit, failures int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held || s.failures > 0 && s.inHand > 0 {
		return 0, s.failures
	}
	if s.failures == 0 {
		return cap(s.jobs) - s.inHand, 0
	}
	return 1, s.failures
}

// take claims effects and hands them out; false where there was nothing to do or the database is away.
func (s *sender) take(ctx context.Context, limit int) bool {
	now := s.cfg.Clock().UTC()
	effects, err := claim(ctx, s.cfg.Pool, s.system.Name(), s.channel, now, now.Add(s.cfg.Pace.Claim), limit)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Logger.WarnContext(ctx, "outside effects wait for the database", "system", s.system.Name(), "cause", err)
		}
		return false
	}
	s.mu.Lock()
	s.inHand += len(effects)
	s.mu.Unlock()
	for _, e := range effects {
		s.jobs <- job{effect: e, claimed: time.Now()}
	}
	return len(effects) > 0
}

// send makes effects one after the other. What was claimed for too long, or was not begun when ctx ended or the target went
// away, is given back.
func (s *sender) send(ctx context.Context) {
	var worked time.Duration
	for j := range s.jobs {
		if ctx.Err() != nil || time.Since(j.claimed) > s.cfg.Pace.Claim/3 || s.hopeless() {
			s.made <- outcome{effect: j.effect, state: stateQueued, untried: true}
			continue
		}
		began := time.Now()
		s.made <- s.attempt(ctx, j.effect)
		worked += time.Since(began)
		if rest := time.Duration(s.cfg.Pace.Rest) * worked; rest >= shortestRest {
			if s.cfg.Busy() {
				pause(ctx, min(rest, longestBreath))
			}
			worked = 0
		}
	}
}

const (
	// shortestRest is worth setting a timer.
	shortestRest = 5 * time.Millisecond
	// settleBreath bounds the wait for more outcomes to write down at once.
	settleBreath = 200 * time.Millisecond
)

// hopeless tells whether the target is away and this is not the one effect that is to find out whether it is back.
func (s *sender) hopeless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failures > 0 && s.inHand > 1
}

// attempt makes one effect. A sending that has begun is not cut off: whether it arrived would not be known.
func (s *sender) attempt(ctx context.Context, e Effect) outcome {
	if e.Attempts > s.cfg.Pace.Attempts {
		return s.parked(e, errors.New("the attempts before ended without an answer"))
	}
	err := guard(func() error { return s.system.Send(context.WithoutCancel(ctx), e) })
	s.reached(ctx, err)
	if err == nil {
		s.metrics.delivered(s.system.Name(), stateSent)
		return outcome{effect: e, state: stateSent}
	}
	if e.Attempts >= s.cfg.Pace.Attempts || errors.Is(err, errUndeliverable) {
		return s.parked(e, err)
	}
	s.metrics.delivered(s.system.Name(), "failed")
	next := s.cfg.Clock().UTC().Add(jittered(s.cfg.Pace.Resend.after(e.Attempts)))
	return outcome{effect: e, state: stateQueued, next: next, reason: reasonOf(err)}
}

func (s *sender) parked(e Effect, err error) outcome {
	s.metrics.delivered(s.system.Name(), stateDead)
	return outcome{effect: e, state: stateDead, reason: reasonOf(err)}
}

// reached notes whether the target takes effects. Its answers may name people: they go to the outbox, not to the log.
func (s *sender) reached(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(err, errTargetAway) {
		return
	}
	if s.failures == 0 {
		s.cfg.Logger.WarnContext(ctx, "the target of outside effects is away", "system", s.system.Name(), "cause", err)
	}
	s.failures++
	s.state.TargetAway = reasonOf(err)
}

// gather waits a little for the outcomes of what is in hand, so that one transaction notes them all.
func (s *sender) gather(first outcome) []outcome {
	outcomes := []outcome{first}
	over := time.NewTimer(s.cfg.Pace.Linger)
	defer over.Stop()
	for len(outcomes) < s.hand() {
		select {
		case o, open := <-s.made:
			if !open {
				return outcomes
			}
			outcomes = append(outcomes, o)
		case <-over.C:
			return outcomes
		}
	}
	return outcomes
}

func (s *sender) hand() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inHand
}

// settle writes down what became of attempts, all that are there in one transaction.
func (s *sender) settle(ctx context.Context) {
	for first := range s.made {
		outcomes := s.gather(first)
		// In the order in which they are queued, so that two transactions that meet wait for each other one way.
		slices.SortFunc(outcomes, func(a, b outcome) int { return cmp.Compare(a.effect.Position, b.effect.Position) })
		began := time.Now()
		s.write(ctx, outcomes)
		pause(ctx, min(3*time.Since(began), settleBreath))
		s.mu.Lock()
		s.inHand -= len(outcomes)
		s.mu.Unlock()
		signal(s.settled)
	}
}

// write does not give up while the runner runs, and nothing is claimed meanwhile: what cannot be noted would be sent again.
func (s *sender) write(ctx context.Context, outcomes []outcome) {
	defer s.hold(false)
	for failures := 1; ctx.Err() == nil; failures++ {
		err := s.commit(ctx, outcomes)
		if err == nil {
			return
		}
		if failures == 1 && ctx.Err() == nil {
			s.cfg.Logger.WarnContext(ctx, "what was sent waits to be noted", "system", s.system.Name(), "cause", err)
		}
		s.hold(true)
		pause(ctx, s.cfg.Pace.Retry.after(failures))
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	if err := s.commit(last, outcomes); err != nil {
		s.cfg.Logger.WarnContext(ctx, "what was sent could not be noted, it will be sent again", "system", s.system.Name(),
			"effects", len(outcomes), "cause", err)
	}
}

func (s *sender) hold(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = yes
}

func (s *sender) commit(ctx context.Context, outcomes []outcome) error {
	now := s.cfg.Clock().UTC()
	through := s.throughAgain(outcomes)
	err := postgres.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		if err := settle(ctx, tx, s.system.Name(), now, outcomes); err != nil {
			return err
		}
		if through {
			if err := hasten(ctx, tx, s.system.Name(), s.channel, now); err != nil {
				return err
			}
		}
		return guard(func() error { return s.system.Settled(ctx, tx, ordersOf(outcomes), now) })
	})
	if err != nil || !through {
		return err
	}
	s.mu.Lock()
	s.failures, s.state.TargetAway = 0, ""
	s.mu.Unlock()
	s.cfg.Logger.InfoContext(ctx, "the target of outside effects is back", "system", s.system.Name())
	return nil
}

// throughAgain tells whether an effect got through to a target that was away.
func (s *sender) throughAgain(outcomes []outcome) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures == 0 {
		return false
	}
	for i := range outcomes {
		if outcomes[i].state == stateSent {
			return true
		}
	}
	return false
}

func ordersOf(outcomes []outcome) []string {
	orders := make([]string, 0, len(outcomes))
	for i := range outcomes {
		if !outcomes[i].untried {
			orders = append(orders, outcomes[i].effect.OrderID)
		}
	}
	return orders
}

func (s *sender) count(ctx context.Context) {
	queued, dead, err := countWaiting(ctx, s.cfg.Pool, s.system.Name(), s.channel)
	if err != nil {
		return // the next claim says so
	}
	s.mu.Lock()
	s.state.Queued, s.state.Dead = queued, dead
	s.mu.Unlock()
	s.metrics.waiting(s.system.Name(), s.channel, queued, dead)
}

func (s *sender) waiting() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// wait ends with a signal, after d, or with ctx.
func wait(ctx context.Context, c <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-c:
	case <-timer.C:
	}
}

// jittered spreads attempts that failed together: between d and 1.25 d.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/4+1)) //nolint:gosec // spreading load is no secret
}

func reasonOf(err error) string {
	text := err.Error()
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	return clean(text)
}
