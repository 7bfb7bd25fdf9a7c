package broadcast

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	accessWorkers = 8                      // questions answered at once
	accessQueue   = 1024                   // questions that wait; a server asks none for longer than its authTimeout
	accessWithin  = 4 * time.Second        // to answer one, less than a server waits
	accessLook    = 500 * time.Millisecond // between looks for clients that were disabled
	accessLife    = 45 * time.Second       // longest that a login is good for, before the client has to log in again
	accessSpread  = 4                      // logins are shorter by up to one part of so many, so that not all come back at once
	accessPerson  = 64                     // connections of one client, on each broadcaster
)

// Logins checks client ids and secrets.
type Logins interface {
	Login(ctx context.Context, id, secret string) (auth.Identity, error)
}

// Tokens checks access tokens, and whether an identity still holds.
type Tokens interface {
	Authenticate(ctx context.Context, bearer string) (auth.Identity, error)
	Check(who auth.Identity) error
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
	// Cut ends a connection of a server at once, when its client was disabled. Nil: it ends when the login does.
	Cut func(server string, connection uint64)
	// Life is how long a login is good for; 45 s when zero. Whoever is disabled is out within that time on every server.
	Life   time.Duration
	Logger *slog.Logger
}

// NATSAccess says for the servers which parties come in and what they may do there. A login is good for less than a minute: the
// server then ends the connection, and the client, which reconnects by itself, is asked again.
type NATSAccess struct {
	cfg       NATSAccessConfig
	listening chan struct{} // closed once the server knows that questions are taken

	mu     sync.Mutex
	grants map[string][]grant // by client id
}

// grant is one connection that was let in.
type grant struct {
	who        auth.Identity // expires with the grant
	server     string
	connection uint64
}

// NewNATSAccess makes the worker. It does nothing until Run.
func NewNATSAccess(cfg NATSAccessConfig) *NATSAccess {
	if cfg.Life == 0 {
		cfg.Life = accessLife
	}
	return &NATSAccess{cfg: cfg, listening: make(chan struct{}), grants: map[string][]grant{}}
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
	if err := a.cfg.NATS.FlushTimeout(brokerAnswer); err != nil {
		a.cfg.Logger.WarnContext(ctx, "logins on NATS wait for the connection", "cause", err)
	}
	close(a.listening)
	for ctx.Err() == nil {
		a.cut()
		pause(ctx, accessLook)
	}
	return nil
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
	life := a.cfg.Life - rand.N(a.cfg.Life/accessSpread) //nolint:gosec // spreads load, hides nothing
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
	who.ExpiresAt = until
	return user, a.count(grant{who: who, server: q.server, connection: q.connection})
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

// count keeps in mind whom was let in, and refuses a client with too many connections. Which of them have ended is not known: each
// counts until its login does.
func (a *NATSAccess) count(g grant) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	live := slices.DeleteFunc(a.grants[g.who.ClientID], ended)
	if len(live) >= accessPerson {
		a.grants[g.who.ClientID] = live
		return fault.New(fault.TooManyRequests, "too many connections of this client")
	}
	a.grants[g.who.ClientID] = append(live, g)
	return nil
}

// ended says whether the server has ended the connection by itself, if the client did not.
func ended(g grant) bool { return !time.Now().Before(g.who.ExpiresAt) }

// cut ends the connections of clients that were disabled, where that is possible, and forgets those whose time was up.
func (a *NATSAccess) cut() {
	for _, g := range a.disabled() {
		if a.cfg.Cut != nil {
			a.cfg.Cut(g.server, g.connection)
		}
	}
}

func (a *NATSAccess) disabled() []grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []grant
	for id, all := range a.grants {
		live := slices.DeleteFunc(all, ended)
		if len(live) > 0 && a.cfg.Tokens.Check(live[0].who) != nil {
			out, live = append(out, live...), nil
		}
		if len(live) == 0 {
			delete(a.grants, id)
			continue
		}
		a.grants[id] = live
	}
	return out
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
