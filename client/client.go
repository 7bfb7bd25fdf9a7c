// Package client is the Go client of an order store, for all who talk to one: users who submit and query orders, providers
// who take tasks and post results, auxiliary systems that store records, and operators.
//
// A Client fetches and renews its own access tokens, tries again what may be tried again (under the same Idempotency-Key, as
// long as the context allows), and turns every error answer into a *Problem. It is safe for concurrent use.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Config says which order store to talk to, and as whom.
type Config struct {
	// BaseURL is where the API is, such as "https://orders.example.com". Required.
	BaseURL string
	// ReadURLs are further addresses of the API that orders and tasks are read from instead: those of read nodes. One of them is asked until it
	// does not answer or is behind, and then the next. Whatever they are, answers never go back in time: see AllowOlder.
	ReadURLs []string
	// AllowOlder lets a read be answered as of an earlier position than a former answer of this client. Without it each read of orders and
	// tasks names the highest Order-Position that the client has seen, and the store waits until it is there.
	AllowOlder bool
	// ClientID and ClientSecret are the client credentials. Without them, and without AccessToken, calls carry no token.
	ClientID, ClientSecret string
	// Scopes are asked for with each token; none means all that the client has.
	Scopes []string
	// AccessToken, where set, is asked for the token of each request instead of the store's own token endpoint. It is for
	// tokens of an outside issuer, must be safe for concurrent use and does its own caching.
	AccessToken func(ctx context.Context) (string, error)
	// RequestKey, where set, signs each request instead of giving it a token, for parties that cannot use tokens. Bodies are then read whole
	// before they are sent: a batch has at most 8 MiB, and leaves when all its orders are there. The broker takes no signatures.
	RequestKey *RequestKey
	// HTTPClient sends the requests; nil means one with a connection pool of its own. Its Timeout should be zero, since it
	// would also cut streams; use Timeout below.
	HTTPClient *http.Client
	// Timeout bounds one attempt of one call, streams excepted; 0 means 30 s. A long poll gets its wait on top.
	Timeout time.Duration
	// RetryFor bounds how long one call keeps trying when its context has no deadline; 0 means one minute.
	RetryFor time.Duration
	// UserAgent is sent with each request; empty means "orderstore-client".
	UserAgent string
	// NATSURL is where the broker is, such as "tls://nats.example.com". It is needed for subscriptions on NATS alone.
	NATSURL string
	// NATSOptions are for the connection to the broker: for certificates, above all. Who logs in, and how, is set already.
	NATSOptions []nats.Option
	// Logger hears of attempts that are made again; nil means nobody does.
	Logger *slog.Logger
}

// Client talks to one order store as one party.
type Client struct {
	base     *url.URL
	readers  []*url.URL
	reader   atomic.Uint32 // which of them is asked
	older    bool
	seen     atomic.Int64 // the highest position of all answers
	http     *http.Client
	agent    string
	timeout  time.Duration
	retryFor time.Duration
	tokens   tokenSource
	signing  *RequestKey // nil: requests carry tokens
	log      *slog.Logger
	now      func() time.Time
	wait     func(context.Context, time.Duration) error
	idle     time.Duration // an event stream silent for so long is opened anew
	look     time.Duration // between looks whether a subscription that is read was changed

	natsURL     string
	natsOptions []nats.Option
}

// The defaults of Config, and how long an event stream may be silent: the store sends a heartbeat far more often.
const (
	defaultTimeout  = 30 * time.Second
	defaultRetryFor = time.Minute
	streamIdle      = time.Minute

	subscriptionLook = 10 * time.Second
)

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	for _, address := range append([]string{c.BaseURL}, c.ReadURLs...) {
		if u, err := url.Parse(address); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			errs = append(errs, fmt.Errorf("base URL %q is not an http or https address", address))
		}
	}
	if (c.ClientID == "") != (c.ClientSecret == "") {
		errs = append(errs, errors.New("client id and client secret go together"))
	}
	if c.AccessToken != nil && c.ClientID != "" {
		errs = append(errs, errors.New("client credentials and an access token of one's own exclude each other"))
	}
	if k := c.RequestKey; k != nil && (k.KeyID == "" || k.Secret == "" || c.AccessToken != nil || c.ClientID != "") {
		errs = append(errs, errors.New("a signing key has an id and a secret, and stands alone: without client credentials and access token"))
	}
	if c.Timeout < 0 || c.RetryFor < 0 {
		errs = append(errs, errors.New("a time limit is below zero"))
	}
	return errors.Join(errs...)
}

// New makes a client. It makes no request: the first call fetches the first token.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("client configuration: %w", err)
	}
	base, err := url.Parse(strings.TrimRight(cfg.BaseURL, "/"))
	if err != nil {
		return nil, fmt.Errorf("client configuration: %w", err)
	}
	c := &Client{
		base: base, older: cfg.AllowOlder, http: cfg.HTTPClient, agent: cfg.UserAgent, timeout: cfg.Timeout, retryFor: cfg.RetryFor,
		log: cfg.Logger, now: time.Now, wait: sleep, idle: streamIdle, look: subscriptionLook,
		natsURL: cfg.NATSURL, natsOptions: cfg.NATSOptions,
	}
	for _, address := range cfg.ReadURLs {
		u, err := url.Parse(strings.TrimRight(address, "/"))
		if err != nil {
			return nil, fmt.Errorf("client configuration: %w", err)
		}
		c.readers = append(c.readers, u)
	}
	c.reader.Store(rand.Uint32N(uint32(len(c.readers)) + 1)) //nolint:gosec // a few addresses; not all clients begin with the same
	if c.http == nil {
		c.http = &http.Client{Transport: ownTransport()}
	}
	if c.agent == "" {
		c.agent = "orderstore-client"
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.retryFor == 0 {
		c.retryFor = defaultRetryFor
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.tokens = c.newTokenSource(cfg)
	if cfg.RequestKey != nil {
		key := *cfg.RequestKey
		c.signing = &key
	}
	return c, nil
}

// ownTransport keeps more idle connections to one host than the default of 2, which would make a busy client open and close
// a connection for nearly every call.
func ownTransport() *http.Transport {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // somebody replaced it; a plain one does as well
		return &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 256, ExpectContinueTimeout: time.Second}
	}
	t = t.Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 256
	return t
}

// Token gives a valid access token, from the cache where it can, for use with other tools. It is empty for a client without
// credentials.
func (c *Client) Token(ctx context.Context) (string, error) { return c.tokens.token(ctx) }

// sleep waits for d or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
