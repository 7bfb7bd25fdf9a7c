// Package workload is the users and parties of a cluster under test: users of several tenants who submit, change and read orders, a provider on
// each transport that pulls what it is told of and posts results, a reader of each tenant's feed and an outside auxiliary system. All they ask
// for and all they are answered or told is recorded; what of it is wrong is for the checker to say.
package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/history"
)

// Config says whom to load, how much, and where to record it.
type Config struct {
	At    chaos.Endpoints // Logins has to have the operator; all other clients are made
	Dir   string          // of the run: history, receipts and parties are kept there
	Began time.Time       // of the run, for all times that are recorded; zero: when New is called
	Seed  uint64

	Tenants int           // 0: 3
	Users   int           // of each tenant, each with one call outstanding; 0: 4
	Rate    float64       // requests a second of all users together; 0: as many as are answered
	Batch   int           // orders in a batch; 0: 20
	Timeout time.Duration // of one request; 0: 5 s

	// Restored says that the log may be put back to an older point and get its tail back from the stream. Of an order that came back so, with
	// its customer sealed, the store does not know what was submitted, nor of any what was answered under its key: neither is then tried.
	Restored bool
	// Hook gives the URL by which the store reaches a webhook endpoint that listens at an address; nil: that address.
	Hook   func(listen string) (string, error)
	Logger *slog.Logger // nil: nobody hears
}

// Counts are what was done so far.
type Counts struct {
	Ops          int64 // operations on orders that have ended, items of lists counted each
	Acknowledged int64 // writes
	Received     int64 // events, by all parties
}

// Load is a workload on one cluster: Prepare, Start, StopUsers when the faults are over, Settle, Close.
type Load struct {
	cfg     Config
	log     *history.Log
	http    *http.Client
	tokens  *tokens
	world   *world
	shared  *pool
	parties []*party
	hook    *hookEndpoint

	primary  atomic.Pointer[string] // where the log is read
	clients  atomic.Int64           // numbers given to clients
	received atomic.Int64
	due      atomic.Int64 // tasks of acknowledged orders that their providers have not heard of

	users   sync.WaitGroup
	stop    context.CancelFunc // of users
	workers sync.WaitGroup     // parties and the flusher
	end     context.CancelFunc // of parties
	pace    *pace
}

// New opens the run's files. Nothing is asked of the cluster yet.
func New(cfg Config) (*Load, error) {
	if cfg.Began.IsZero() {
		cfg.Began = time.Now()
	}
	cfg.Tenants, cfg.Users, cfg.Batch = orElse(cfg.Tenants, 3), orElse(cfg.Users, 4), orElse(cfg.Batch, 20)
	cfg.Timeout = orElse(cfg.Timeout, 5*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if _, has := cfg.At.Logins[operator]; !has {
		return nil, errors.New("workload: no login of an operator")
	}
	log, err := history.Open(cfg.Dir, cfg.Began)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: 0,
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
	}
	l := &Load{cfg: cfg, log: log, http: &http.Client{Transport: transport}, shared: newPool(), pace: newPace(cfg.Rate)}
	l.primary.Store(&cfg.At.Direct.Primary)
	l.tokens = &tokens{http: l.http, at: cfg.At.Write, byClient: map[string]*token{}}
	return l, nil
}

func orElse[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// mostDue is how many tasks may be due before users leave off submitting and read instead, so that providers keep up.
const mostDue = 1500

// operator is the login by which all others are made.
const operator = "operator"

// Start lets users and parties work until StopUsers and Close, or until ctx ends.
func (l *Load) Start(ctx context.Context) error {
	working, end := context.WithCancel(ctx)
	l.end = end
	if err := l.startParties(working); err != nil {
		end()
		return err
	}
	l.workers.Go(func() { l.flush(working) })
	using, stop := context.WithCancel(working)
	l.stop = stop
	for i := range l.world.Tenants {
		for n := range l.cfg.Users {
			u := l.newUser(&l.world.Tenants[i], uint64(i*l.cfg.Users+n)) //nolint:gosec // small numbers
			l.users.Go(func() { u.run(using) })
		}
	}
	l.users.Go(func() { l.newSystem().run(using) })
	return nil
}

// flush hands what is recorded to the operating system once a second.
func (l *Load) flush(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.log.Flush(); err != nil {
				l.cfg.Logger.ErrorContext(ctx, "history", slog.Any("cause", err))
			}
		}
	}
}

// StopUsers ends the users and waits for the calls that they have outstanding. Parties go on.
func (l *Load) StopUsers() {
	if l.stop != nil {
		l.stop()
	}
	l.users.Wait()
}

// Close ends everybody and closes the files.
func (l *Load) Close() error {
	l.StopUsers()
	if l.end != nil {
		l.end()
	}
	l.workers.Wait()
	errs := []error{l.log.Close()}
	for _, p := range l.parties {
		errs = append(errs, p.close())
	}
	if l.hook != nil {
		errs = append(errs, l.hook.close())
	}
	l.http.CloseIdleConnections()
	return errors.Join(errs...)
}

// Counted is what was done so far.
func (l *Load) Counted() Counts {
	ops, acknowledged := l.log.Counted()
	return Counts{Ops: ops, Acknowledged: acknowledged, Received: l.received.Load()}
}

// SetRate changes how many requests a second all users make together; 0: as many as are answered.
func (l *Load) SetRate(perSecond float64) { l.pace.set(perSecond) }

// Moved says where the log is from now on: after a fail-over it has another primary.
func (l *Load) Moved(primary string) { l.primary.Store(&primary) }

// Parties names the parties that hear events: a provider on each transport, and a feed reader for each tenant.
func (l *Load) Parties() []string {
	names := make([]string, len(l.parties))
	for i, p := range l.parties {
		names[i] = p.name
	}
	return names
}

// Slow makes a party take so long for each event; 0: no longer than it needs.
func (l *Load) Slow(name string, each time.Duration) error {
	p, err := l.party(name)
	if err != nil {
		return err
	}
	p.slow.Store(int64(each))
	return nil
}

// Rewind puts a party back to an older copy of what it had: it forgets its last events, asks to hear them again and does its work again. It
// returns how many it forgot.
func (l *Load) Rewind(ctx context.Context, name string, events int) (int, error) {
	p, err := l.party(name)
	if err != nil {
		return 0, err
	}
	return p.rewind(ctx, events)
}

// Intercept has each call of the webhook endpoint go through a function first, which says whether it has answered it. nil ends that.
func (l *Load) Intercept(by func(w http.ResponseWriter, r *http.Request) bool) { l.hook.intercept(by) }

func (l *Load) party(name string) (*party, error) {
	for _, p := range l.parties {
		if p.name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no party %q", name)
}

func (l *Load) nextClient() int { return int(l.clients.Add(1)) }

// random is a source of its own for each who acts, so that a seed gives each the same choices.
func (l *Load) random(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(l.cfg.Seed, stream)) //nolint:gosec // choices, not secrets
}
