package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/history"
)

// maxAnswer is the most of an answer that is read, in bytes.
const maxAnswer = 16 << 20

// tokens are the access tokens of all clients, fetched from whichever write node answers.
type tokens struct {
	http     *http.Client
	at       []string
	mu       sync.Mutex
	byClient map[string]*token
}

type token struct {
	mu    sync.Mutex
	value string
	until time.Time
}

// of gives a client's token.
func (t *tokens) of(ctx context.Context, who chaos.Login) (string, error) {
	t.mu.Lock()
	one := t.byClient[who.ClientID]
	if one == nil {
		one = &token{}
		t.byClient[who.ClientID] = one
	}
	t.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.value != "" && time.Now().Before(one.until) {
		return one.value, nil
	}
	var last error
	for _, at := range t.at {
		var life time.Duration
		if one.value, life, last = t.fetch(ctx, at, who); last == nil {
			one.until = time.Now().Add(life - life/5)
			return one.value, nil
		}
	}
	one.value = ""
	return "", last
}

// refused forgets a token that was not taken.
func (t *tokens) refused(who chaos.Login, value string) {
	t.mu.Lock()
	one := t.byClient[who.ClientID]
	t.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.value == value {
		one.value = ""
	}
}

func (t *tokens) fetch(ctx context.Context, at string, who chaos.Login) (string, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fmt.Errorf("fetch token: %w", err)
	}
	req.SetBasicAuth(url.QueryEscape(who.ClientID), url.QueryEscape(who.Secret))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := t.http.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("fetch token: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil || answer.AccessToken == "" {
		return "", 0, fmt.Errorf("fetch token: status %d: %w", resp.StatusCode, errors.Join(err, errNoToken))
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn) * time.Second, nil
}

var errNoToken = errors.New("no token was given")

// session is one client: it has one call outstanding at a time, keeps to a node while that answers, and remembers the highest position it saw.
type session struct {
	load   *Load
	who    chaos.Login
	client int
	write  int // which write node
	read   int // which read node
	seen   int64
	random *rand.Rand
}

func (l *Load) newSession(who chaos.Login, stream uint64) *session {
	r := l.random(stream)
	return &session{
		load: l, who: who, client: l.nextClient(), random: r,
		write: r.IntN(max(len(l.cfg.At.Write), 1)), read: r.IntN(max(len(l.cfg.At.Read), 1)),
	}
}

// request is one call, made once.
type request struct {
	method, path string
	body         []byte
	kind         string // of the body; empty: JSON
	header       map[string]string
}

// answer is what came back.
type answer struct {
	status   int
	position int64
	version  int64 // of the ETag
	replayed bool
	problem  string
	body     []byte
}

// call makes a call and records it. What is not said by the answer itself is for take to fill in, which is called for 2xx answers and may
// be nil.
func (s *session) call(ctx context.Context, op *history.Op, r request, take func(*answer)) answer {
	op.Client, op.Tenant, op.Party = s.client, s.who.Tenant, s.who.Provider+s.who.System
	nodes, at := s.load.cfg.At.Write, &s.write
	if r.method == http.MethodGet {
		nodes, at = s.load.cfg.At.Read, &s.read
	}
	op.Node = nodes[*at%len(nodes)]
	// The outcome of a call under way is worth knowing when the run ends.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.load.cfg.Timeout)
	defer cancel()
	access, err := s.load.tokens.of(within, s.who)
	if err != nil { // nothing was sent
		s.moveOn(ctx, at)
		return answer{}
	}
	s.load.log.Begin(op)
	a, err := s.send(within, op.Node+r.path, access, r)
	op.Status, op.Position, op.Problem, op.Replayed = a.status, a.position, a.problem, a.replayed
	op.Outcome = outcomeOf(a, err)
	if op.Outcome == history.OK {
		op.Version = a.version
		if take != nil {
			take(&a)
		}
		s.seen = max(s.seen, a.position)
	}
	s.load.log.End(op)
	if a.status == http.StatusUnauthorized {
		s.load.tokens.refused(s.who, access)
	}
	if op.Outcome == history.Unknown || a.status >= http.StatusInternalServerError {
		s.moveOn(ctx, at)
	}
	if op.Outcome == history.Unknown && op.Kind.Writes() {
		s.client = s.load.nextClient() // the one before has its call outstanding for ever
	}
	return a
}

// moveOn goes to the next node, after a moment: a cluster that is down is not helped by a storm.
func (s *session) moveOn(ctx context.Context, at *int) {
	*at++
	rest(ctx, time.Duration(20+s.random.IntN(80))*time.Millisecond)
}

func (s *session) send(ctx context.Context, address, access string, r request) (answer, error) {
	var a answer
	req, err := http.NewRequestWithContext(ctx, r.method, address, nil)
	if err != nil {
		return a, fmt.Errorf("make request: %w", err)
	}
	if r.body != nil { // in a form that the transport cannot send again on its own
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body))
	}
	req.Header.Set("Authorization", "Bearer "+access)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := s.load.http.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	a.status = resp.StatusCode
	a.position, _ = strconv.ParseInt(resp.Header.Get("Order-Position"), 10, 64) // absent: 0
	a.version = versionOf(resp.Header.Get("ETag"))
	a.replayed = resp.Header.Get("Idempotency-Replayed") == "true"
	if a.status >= http.StatusBadRequest {
		var problem struct {
			Type string `json:"type"`
		}
		_ = json.Unmarshal(a.body, &problem) // what is no problem document has no name
		a.problem = problem.Type[strings.LastIndexByte(problem.Type, '/')+1:]
	}
	return a, err
}

// versionOf reads "7" and "7-suffix"; 0 where there is none.
func versionOf(tag string) int64 {
	number, _, _ := strings.Cut(strings.Trim(tag, `"`), "-")
	v, _ := strconv.ParseInt(number, 10, 64)
	return v
}

// outcomeOf says what is known after a call. An answer that broke off is none.
func outcomeOf(a answer, err error) history.Outcome {
	switch {
	case err != nil || a.status == 0:
		return history.Unknown
	case a.status < http.StatusMultipleChoices:
		return history.OK
	case a.status < http.StatusInternalServerError, a.problem == "overloaded":
		return history.Refused
	}
	return history.Unknown
}

// at is what a read is asked to reflect.
func atLeast(position int64) map[string]string {
	if position == 0 {
		return nil
	}
	return map[string]string{"Order-Position": strconv.FormatInt(position, 10)}
}
