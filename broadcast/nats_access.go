package broadcast

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	accessWorkers = 8                // questions answered at once
	accessQueue   = 1024             // questions that wait; a server asks none for longer than its authTimeout
	accessWithin  = 4 * time.Second  // to answer one, less than a server waits
	accessLife    = 15 * time.Minute // longest that a login is good for, before the client has to log in again
	accessAlone   = 45 * time.Second // the same on a server that does not let us end connections
	accessSpread  = 4                // logins are shorter by up to one part of so many, so that not all come back at once
	accessPerson  = 64               // connections of one client, on each broadcaster
)

// Logins checks client ids and secrets.
type Logins interface {
	Login(ctx context.Context, id, secret string) (auth.Identity, error)
}

// Tokens checks access tokens, and knows which clients were disabled lately.
type Tokens interface {
	Authenticate(ctx context.Context, bearer string) (auth.Identity, error)
	Disabled() []string
}

// Consumers gives the names of the consumers that a party may use.
type Consumers interface {
	Consumers(ctx context.Context, who auth.Identity) ([]string, error)
}

// NATSAccessConfig is what parties are let in to NATS with.
type NATSAccessConfig struct {
	NATS      *nats.Conn // of a user that the server asks: see stream.Accounts
	Keys      *stream.CalloutKeys
	Logins    Logins
	Tokens    Tokens
	Consumers Consumers
	// Life is how long a login is good for at most; 15 min when zero, and 45 s where a connection cannot be ended from here.
	Life   time.Duration
	Logger *slog.Logger
}

// NATSAccess says for the servers which parties come in and what they may do there, and has the connections of disabled clients
// ended. At the end of a login the server ends the connection, and the client, which reconnects by itself, is asked again.
type NATSAccess struct {
	cfg       NATSAccessConfig
	listening chan struct{} // closed once the server knows that questions are taken

	alone atomic.Bool // no server lets us end connections

	mu     sync.Mutex
	logins map[string]*tally // by client id
}

// tally is how many connections a client has, at most.
type tally struct {
	ends    []time.Time // of its logins
	counted time.Time   // when the servers were last asked how many of them live
}

// NewNATSAccess makes the worker. It does nothing until Run.
func NewNATSAccess(cfg NATSAccessConfig) *NATSAccess {
	if cfg.Life == 0 {
		cfg.Life = accessLife
	}
	a := &NATSAccess{cfg: cfg, listening: make(chan struct{}), logins: map[string]*tally{}}
	a.alone.Store(true) // until a server has shown its connections
	return a
}

// Name names the worker.
func (a *NATSAccess) Name() string { return "nats access" }

// Listening is closed once the server knows that the worker takes questions, or is away.
func (a *NATSAccess) Listening() <-chan struct{} { return a.listening }

// Run answers until ctx ends. Servers ask whichever broadcaster is there, and let nobody in while there is none.
func (a *NATSAccess) Run(ctx context.Context) error {
	questions := make(chan *nats.Msg, accessQueue)
	sub, err := a.cfg.NATS.ChanQueueSubscribe(calloutSubject, calloutQueue, questions)
	if err != nil {
		return fmt.Errorf("subscribe to logins: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // on a closed connection there is nothing to end
	var done sync.WaitGroup
	defer done.Wait()
	for range accessWorkers {
		done.Go(func() { a.work(ctx, questions) })
	}
	bucket, err := a.cfg.NATS.QueueSubscribe(stream.StockInfoService, calloutQueue, func(m *nats.Msg) { a.tellOfBucket(ctx, m) })
	if err != nil {
		return fmt.Errorf("subscribe to questions for the bucket: %w", err)
	}
	defer func() { _ = bucket.Unsubscribe() }()
	if err := a.cfg.NATS.FlushTimeout(brokerAnswer); err != nil {
		a.cfg.Logger.WarnContext(ctx, "logins on NATS wait for the connection", "cause", err)
	}
	close(a.listening)
	return a.watch(ctx)
}

func (a *NATSAccess) work(ctx context.Context, questions <-chan *nats.Msg) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-questions:
			a.respond(ctx, m)
		}
	}
}

// respond answers one question. One that is no question at all gets none.
func (a *NATSAccess) respond(ctx context.Context, m *nats.Msg) {
	ctx, cancel := context.WithTimeout(ctx, accessWithin)
	defer cancel()
	q, err := readQuestion(m, a.cfg.Keys, time.Now())
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "a login on NATS cannot be read", "cause", err)
		return
	}
	user, refusal := "", ""
	if user, err = a.letIn(ctx, q); err != nil {
		refusal = a.refuse(ctx, q, err)
	}
	answer, err := q.answer(a.cfg.Keys, user, refusal)
	if err == nil {
		err = m.Respond(answer)
	}
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "a login on NATS cannot be answered", "cause", err)
	}
}

// refuse says in the server's log why somebody stays out; the client itself is told nothing but that.
func (a *NATSAccess) refuse(ctx context.Context, q *question, err error) string {
	var known *fault.Error
	if !errors.As(err, &known) {
		a.cfg.Logger.ErrorContext(ctx, "a login on NATS cannot be decided", "client", q.login.Username, "cause", err)
		return "logins cannot be checked at the moment"
	}
	return known.Message
}

// letIn gives the signed user that the client is from now on.
func (a *NATSAccess) letIn(ctx context.Context, q *question) (string, error) {
	who, err := a.identify(ctx, q)
	if err != nil {
		return "", err
	}
	if !mayListen(who) {
		return "", fault.New(fault.Forbidden, "this client may not listen")
	}
	life := a.cfg.Life
	if a.alone.Load() {
		life = min(life, accessAlone)
	}
	life -= rand.N(life / accessSpread) //nolint:gosec // spreads load, hides nothing
	until := time.Now().Add(life).Truncate(time.Second)
	if !who.ExpiresAt.IsZero() && who.ExpiresAt.Before(until) {
		until = who.ExpiresAt.Truncate(time.Second)
	}
	if !time.Now().Before(until) {
		return "", fault.New(fault.Unauthorized, "the access token is about to expire")
	}
	consumers, err := a.cfg.Consumers.Consumers(ctx, who)
	if err != nil {
		return "", fmt.Errorf("consumers of %s: %w", who.ClientID, err)
	}
	user, err := q.admit(a.cfg.Keys, who, consumers, until)
	if err != nil {
		return "", err
	}
	return user, a.count(ctx, who.ClientID, until)
}

// tokenUser is the user name that stands for "the password is an access token".
const tokenUser = "token"

// identify takes a client id and secret as user and password, or an access token as token or as the password of the user "token".
func (a *NATSAccess) identify(ctx context.Context, q *question) (auth.Identity, error) {
	login := q.login
	switch {
	case login.Token != "" && login.Username == "":
		return a.cfg.Tokens.Authenticate(ctx, login.Token)
	case login.Username == tokenUser:
		return a.cfg.Tokens.Authenticate(ctx, login.Password)
	case login.Username != "" && login.Password != "":
		return a.cfg.Logins.Login(ctx, login.Username, login.Password)
	}
	return auth.Identity{}, fault.New(fault.Unauthorized, "client authentication is missing")
}

// mayListen is the rule of the feed.
func mayListen(who auth.Identity) bool {
	return who.Kind != auth.KindOperator && mayHear(who) && who.Has(auth.ScopeOrdersRead)
}

// count refuses a client with too many connections. Each login counts as one until its end; only when these are too many are the servers
// asked, and not often, since that takes a second.
func (a *NATSAccess) count(ctx context.Context, client string, until time.Time) error {
	if a.add(client, until) {
		return nil
	}
	if a.alone.Load() || !a.mayAsk(client) {
		return tooMany()
	}
	servers, err := a.connections(ctx, client, accessPerson)
	if err != nil {
		return err
	}
	have := 0
	for _, s := range servers {
		have += len(s.Data.Connections)
	}
	a.correct(client, have)
	if !a.add(client, until) {
		return tooMany()
	}
	return nil
}

func tooMany() error {
	return fault.New(fault.TooManyRequests, "too many connections of this client")
}

// add counts a login, unless there are too many.
func (a *NATSAccess) add(client string, until time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tallyOf(client)
	now := time.Now()
	t.ends = slices.DeleteFunc(t.ends, func(end time.Time) bool { return !now.Before(end) })
	if len(t.ends) >= accessPerson {
		return false
	}
	t.ends = append(t.ends, until)
	return true
}

// tallyOf is called with the lock held.
func (a *NATSAccess) tallyOf(client string) *tally {
	t := a.logins[client]
	if t == nil {
		t = &tally{}
		a.logins[client] = t
	}
	return t
}

func (a *NATSAccess) mayAsk(client string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tallyOf(client)
	if time.Since(t.counted) < cutAgain {
		return false
	}
	t.counted = time.Now()
	return true
}

// correct drops the oldest logins of a client that has fewer connections.
func (a *NATSAccess) correct(client string, have int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tallyOf(client)
	t.ends = t.ends[max(len(t.ends)-have, 0):]
}

// forget drops the counts of clients without a login.
func (a *NATSAccess) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(a.logins, func(_ string, t *tally) bool {
		return !slices.ContainsFunc(t.ends, now.Before)
	})
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// InboxPrefix is where a client has its replies sent: the only thing it may subscribe to, with more tokens behind it. The id of a client of
// an outside issuer may hold what a subject cannot: it is hashed.
func InboxPrefix(clientID string) string {
	if plainID.MatchString(clientID) {
		return "_INBOX_" + clientID
	}
	sum := sha256.Sum256([]byte(clientID))
	return "_INBOX_~" + hex.EncodeToString(sum[:16])
}
