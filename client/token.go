package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// tokenSource gives the token of a request, empty for none.
type tokenSource interface {
	token(ctx context.Context) (string, error)
	// refused says that the store did not take token, so that the next one is another.
	refused(token string)
}

func (c *Client) newTokenSource(cfg Config) tokenSource {
	if cfg.AccessToken != nil {
		return outsideToken(cfg.AccessToken)
	}
	if cfg.ClientID == "" {
		return outsideToken(func(context.Context) (string, error) { return "", nil })
	}
	return &credentials{client: c, id: cfg.ClientID, secret: cfg.ClientSecret, scopes: cfg.Scopes}
}

type outsideToken func(ctx context.Context) (string, error)

func (f outsideToken) token(ctx context.Context) (string, error) { return f(ctx) }
func (outsideToken) refused(string)                              {}

// credentials fetches tokens by client credentials (RFC 6749 section 4.4) and keeps the newest. However many calls need a
// new token at a time, one request is made for it; and a caller who gives up does not spoil it for the others.
type credentials struct {
	client     *Client
	id, secret string
	scopes     []string

	mu      sync.Mutex
	current accessToken
	pending *tokenFetch
}

type accessToken struct {
	value   string
	renew   time.Time // from here on a new one is fetched, while this one still serves
	expires time.Time
}

type tokenFetch struct {
	done  chan struct{} // closed when token and err are set
	token accessToken
	err   error
}

// renewEarly is how long before its end a token is renewed, at most; a short-lived one is renewed after 4/5 of its life.
const renewEarly = time.Minute

// renewAgain is the pause after a failed renewal for as long as the old token serves.
const renewAgain = 5 * time.Second

func (s *credentials) token(ctx context.Context) (string, error) {
	s.mu.Lock()
	now := s.client.now()
	current := s.current
	if current.value != "" && now.Before(current.renew) {
		s.mu.Unlock()
		return current.value, nil
	}
	fetch := s.pending
	if fetch == nil {
		fetch = &tokenFetch{done: make(chan struct{})}
		s.pending = fetch
		go s.run(context.WithoutCancel(ctx), fetch)
	}
	s.mu.Unlock()
	if current.value != "" && now.Before(current.expires) {
		return current.value, nil // renewal goes on beside the call, which need not wait for it
	}
	select {
	case <-fetch.done:
		if fetch.err != nil {
			return "", fmt.Errorf("fetch token: %w", fetch.err)
		}
		return fetch.token.value, nil
	case <-ctx.Done():
		return "", fmt.Errorf("fetch token: %w", ctx.Err())
	}
}

func (s *credentials) refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.value == token {
		s.current = accessToken{}
	}
}

// run makes one request for a token. It is bounded by the client's time limit for an attempt, not by the caller's context.
func (s *credentials) run(ctx context.Context, fetch *tokenFetch) {
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	token, err := s.request(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.current = token
	} else {
		s.current.renew = s.client.now().Add(renewAgain)
	}
	s.pending = nil
	fetch.token, fetch.err = token, err
	close(fetch.done)
}

func (s *credentials) request(ctx context.Context) (accessToken, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(s.scopes) > 0 {
		form.Set("scope", strings.Join(s.scopes, " "))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.client.base.JoinPath("oauth/token").String(), strings.NewReader(form.Encode()))
	if err != nil {
		return accessToken{}, err
	}
	// RFC 6749 section 2.3.1: both parts are form-encoded before they go into the Basic header.
	req.SetBasicAuth(url.QueryEscape(s.id), url.QueryEscape(s.secret))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", s.client.agent)
	asked := s.client.now()
	resp, err := s.client.http.Do(req) //nolint:bodyclose // drain closes it
	if err != nil {
		return accessToken{}, err
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return accessToken{}, readProblem(resp, s.client.now())
	}
	return readToken(resp.Body, asked)
}

func readToken(r io.Reader, asked time.Time) (accessToken, error) {
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if err := json.NewDecoder(io.LimitReader(r, maxProblem)).Decode(&answer); err != nil {
		return accessToken{}, fmt.Errorf("decode token: %w", err)
	}
	if answer.AccessToken == "" || !strings.EqualFold(answer.TokenType, "Bearer") {
		return accessToken{}, fmt.Errorf("decode token: token type %q, not Bearer, or no token", answer.TokenType)
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	if life <= 0 {
		life = renewEarly * 5 // RFC 6749 leaves expires_in out at will; a refused token is renewed in any case
	}
	early := min(renewEarly, life/5)
	return accessToken{value: answer.AccessToken, renew: asked.Add(life - early), expires: asked.Add(life)}, nil
}
