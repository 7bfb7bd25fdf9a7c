package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/orderstore/orderstore/internal/fault"
)

// Defaults and limits of verification.
const (
	tokenType        = "at+jwt"
	maxTokenLength   = 8 << 10 // bytes
	defaultCacheSize = 16_384  // tokens, about 1 KiB each
	defaultPoll      = 500 * time.Millisecond
	// Tokens with an unknown kid may make a node look at the keys again this often, and no more.
	reloadsPerSecond = 1
	reloadBurst      = 5
)

// AuthenticatorConfig says whose tokens are believed.
type AuthenticatorConfig struct {
	Issuer    string          // iss of our own tokens
	Audience  string          // DefaultAudience when empty
	Outside   []OutsideIssuer // further issuers, by JWKS
	CacheSize int             // tokens remembered; 16,384 when zero
	Poll      time.Duration   // how often disabled clients and keys are read; 500 ms when zero
	Now       func() time.Time
	Log       *slog.Logger
	HTTP      *http.Client // fetches JWKS; one that follows no redirect and gives up after 5 s when nil
}

// Authenticator verifies access tokens. A token that was verified is remembered until it expires or its client is
// disabled, so that a request costs a look-up and no signature check.
type Authenticator struct {
	pool    *pgxpool.Pool
	log     *slog.Logger
	now     func() time.Time
	poll    time.Duration
	seen    *lru.Cache[string, Identity] // by the token itself
	sources map[string]source            // by issuer; never changed
	own     *ownKeys
	peek    *jwt.Parser
	wrong   *attempts // signatures of requests, by key id
	// forgotten counts how often all tokens were forgotten.
	forgotten atomic.Int64
}

// source is one issuer: how its tokens are checked and what their claims say.
type source struct {
	keys      keySource
	parser    *jwt.Parser // checks signature method, iss, aud, exp and nbf
	acceptJWT bool        // its access tokens may have the typ JWT
	// identity reads the claims of a verified token.
	identity func(claims jwt.MapClaims) (Identity, error)
}

// keySource gives the verification key of a kid with its algorithm; errUnknownKey when there is none.
type keySource interface {
	key(ctx context.Context, kid string) (verificationKey, error)
}

type verificationKey struct {
	algorithm string // JWS name; a token that names another is refused, whatever the key could do
	public    any
}

var (
	errUnknownKey = errors.New("unknown key id")
	errBadToken   = errors.New("token is not valid")
)

// NewAuthenticator believes tokens of our own issuer, whose keys it reads from the write database, and of the configured
// outside issuers. It reads nothing yet: run it, or the first token makes it.
func NewAuthenticator(cfg AuthenticatorConfig, pool *pgxpool.Pool) (*Authenticator, error) {
	if cfg.Issuer == "" {
		return nil, errors.New("authenticator: Issuer is empty")
	}
	cfg.setDefaults()
	seen, err := lru.New[string, Identity](cfg.CacheSize)
	if err != nil {
		return nil, fmt.Errorf("token cache: %w", err)
	}
	wrong, err := newAttempts(cfg.Now)
	if err != nil {
		return nil, err
	}
	a := &Authenticator{
		pool: pool, log: cfg.Log, now: cfg.Now, poll: cfg.Poll, seen: seen, wrong: wrong,
		peek: jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()),
	}
	a.own = &ownKeys{reload: a.reload, limiter: rate.NewLimiter(reloadsPerSecond, reloadBurst), now: cfg.Now}
	a.sources = map[string]source{cfg.Issuer: {
		keys: a.own, parser: tokenParser([]string{"ES256"}, cfg.Issuer, cfg.Audience, cfg.Now), identity: ownIdentity,
	}}
	for _, outside := range cfg.Outside {
		s, err := newOutside(outside, cfg, a.forget)
		if err != nil {
			return nil, err
		}
		if _, taken := a.sources[outside.Issuer]; taken {
			return nil, fmt.Errorf("outside issuer %s is configured twice", outside.Issuer)
		}
		a.sources[outside.Issuer] = s
	}
	return a, nil
}

func (cfg *AuthenticatorConfig) setDefaults() {
	if cfg.Audience == "" {
		cfg.Audience = DefaultAudience
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = defaultCacheSize
	}
	if cfg.Poll == 0 {
		cfg.Poll = defaultPoll
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{
			Timeout:       5 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
}

func tokenParser(methods []string, issuer, audience string, now func() time.Time) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods(methods), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(now), jwt.WithStrictDecoding(),
	)
}

// Authenticate gives the identity of a bearer token. A token that is not to be believed is fault.Unauthorized; when it
// cannot be known because the keys could not be read yet, fault.Unavailable.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string) (Identity, error) {
	if who, ok := a.seen.Get(bearer); ok {
		if err := a.Check(who); err != nil {
			a.seen.Remove(bearer)
			return Identity{}, err
		}
		return who, nil
	}
	forgotten := a.forgotten.Load()
	who, err := a.verify(ctx, bearer)
	if err != nil {
		return Identity{}, err
	}
	if err := a.Check(who); err != nil {
		return Identity{}, err
	}
	// The header's string may hang on to a larger buffer: keep a copy of the token alone.
	a.seen.Add(strings.Clone(bearer), who)
	if a.forgotten.Load() != forgotten {
		a.seen.Remove(bearer) // its key may be the one that was taken away meanwhile
	}
	return who, nil
}

// Check tells whether an identity that was authenticated before still is: not expired, its client not disabled. Open
// streams ask it before each event.
func (a *Authenticator) Check(who Identity) error {
	if !a.now().Before(who.ExpiresAt) {
		return fault.New(fault.Unauthorized, "the access token has expired")
	}
	if a.own.isDisabled(who.ClientID) {
		return fault.New(fault.Unauthorized, "the client is disabled")
	}
	return nil
}

// Disabled lists the clients that were disabled within a day, as last read.
func (a *Authenticator) Disabled() []string {
	known := a.own.known.Load()
	if known == nil {
		return nil
	}
	return slices.Collect(maps.Keys(known.disabled))
}

func (a *Authenticator) verify(ctx context.Context, bearer string) (Identity, error) {
	who, err := a.verifyToken(ctx, bearer)
	var known *fault.Error
	switch {
	case err == nil:
		return who, nil
	case errors.As(err, &known):
		return Identity{}, err
	case errors.Is(err, jwt.ErrTokenExpired):
		return Identity{}, fault.Wrap(err, fault.Unauthorized, "the access token has expired")
	default:
		return Identity{}, fault.Wrap(err, fault.Unauthorized, "the access token is not valid")
	}
}

// verifyToken looks at the token unverified for one thing alone: which configured issuer it claims to be from. All else
// is read again after the signature is checked. Of the headers only alg, typ and kid are used, and kid only as a key of
// a map, so jku, jwk, x5u and paths in kid lead nowhere.
func (a *Authenticator) verifyToken(ctx context.Context, bearer string) (Identity, error) {
	if len(bearer) > maxTokenLength {
		return Identity{}, fmt.Errorf("%w: longer than %d bytes", errBadToken, maxTokenLength)
	}
	claimed := jwt.MapClaims{}
	unverified, _, err := a.peek.ParseUnverified(bearer, claimed)
	if err != nil {
		return Identity{}, err
	}
	issuer, err := claimed.GetIssuer()
	if err != nil {
		return Identity{}, err
	}
	from, ok := a.sources[issuer]
	if !ok {
		return Identity{}, fmt.Errorf("%w: unknown issuer", errBadToken)
	}
	typ, _ := unverified.Header["typ"].(string)
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if typ != tokenType && (!from.acceptJWT || typ != "jwt") {
		return Identity{}, fmt.Errorf("%w: typ is not %s", errBadToken, tokenType)
	}
	if _, critical := unverified.Header["crit"]; critical {
		return Identity{}, fmt.Errorf("%w: critical header extensions", errBadToken)
	}
	claims := jwt.MapClaims{}
	if _, err := from.parser.ParseWithClaims(bearer, claims, from.keyOf(ctx)); err != nil {
		return Identity{}, err
	}
	return from.complete(claims)
}

// keyOf finds the key that a token names, and refuses it for any other algorithm than its own.
func (s source) keyOf(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		kid, ok := t.Header["kid"].(string)
		if !ok || kid == "" {
			return nil, errUnknownKey
		}
		key, err := s.keys.key(ctx, kid)
		if err != nil {
			return nil, err
		}
		if t.Method.Alg() != key.algorithm {
			return nil, fmt.Errorf("%w: algorithm of another key", errBadToken)
		}
		return key.public, nil
	}
}

// complete holds what the claims say against the rules that clients are made by, whoever signed them.
func (s source) complete(claims jwt.MapClaims) (Identity, error) {
	who, err := s.identity(claims)
	if err != nil {
		return Identity{}, err
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return Identity{}, fmt.Errorf("%w: no exp", errBadToken)
	}
	who.ExpiresAt = expires.Time
	rules := NewClient{Kind: who.Kind, Tenant: who.Tenant, Provider: who.Provider, System: who.System, Scopes: who.Scopes}
	if err := rules.validate(); err != nil || who.ClientID == "" {
		return Identity{}, fmt.Errorf("%w: claims name no party", errBadToken)
	}
	return who, nil
}

// Name is the worker's name in logs and health.
func (a *Authenticator) Name() string { return "authenticator" }

// Run reads disabled clients and keys, and deletes old nonces, until ctx ends. With the database away it keeps what it knows and says so
// once.
func (a *Authenticator) Run(ctx context.Context) error {
	tick, sweep := time.NewTicker(a.poll), time.NewTicker(nonceSweep)
	defer tick.Stop()
	defer sweep.Stop()
	away := false
	for {
		err := a.reload(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !away:
			away = true
			a.log.LogAttrs(ctx, slog.LevelWarn, "keys and clients cannot be read, going on with those known", slog.Any("error", err))
		case err == nil && away:
			away = false
			a.log.LogAttrs(ctx, slog.LevelInfo, "keys and clients are read again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-sweep.C:
			a.sweep(ctx)
		}
	}
}

// ownKeys is our own issuer as a source: keys and disabled clients as last read from the write database.
type ownKeys struct {
	known    atomic.Pointer[knownKeys]
	readings singleflight.Group
	reload   func(ctx context.Context) error
	limiter  *rate.Limiter
	now      func() time.Time
}

// knownKeys is one reading; it is never changed, only replaced.
type knownKeys struct {
	keys     map[string]ownKey
	disabled map[string]struct{}
}

func (o *ownKeys) isDisabled(clientID string) bool {
	known := o.known.Load()
	if known == nil || len(known.disabled) == 0 {
		return false
	}
	_, off := known.disabled[clientID]
	return off
}

// ownIdentity reads the claims that Issuer writes.
func ownIdentity(claims jwt.MapClaims) (Identity, error) {
	text := func(name string) string { s, _ := claims[name].(string); return s }
	return Identity{
		ClientID: text("client_id"), Kind: Kind(text("kind")), Tenant: text("tenant"),
		Provider: text("provider"), System: text("system"), Scopes: strings.Fields(text("scope")),
	}, nil
}
