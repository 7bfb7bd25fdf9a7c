package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
)

// Limits of issued tokens and of key rotation.
const (
	DefaultAudience  = "orderstore"
	DefaultTokenLife = 15 * time.Minute
	// keyNotice is how long a new key is published before it signs, so that every node and every cache of the JWKS has it.
	keyNotice = time.Minute
	// keyRefresh bounds how old the issuer's view of the keys may be; it is far below keyNotice.
	keyRefresh = 5 * time.Second
)

// IssuerConfig says what an issuer puts into its tokens.
type IssuerConfig struct {
	Issuer    string        // iss: the base URL under which /oauth/token is reached
	Audience  string        // aud: DefaultAudience when empty
	TokenLife time.Duration // DefaultTokenLife when zero
	Now       func() time.Time
}

// Issuer answers /oauth/token and publishes the keys it signs with.
type Issuer struct {
	cfg      IssuerConfig
	pool     *pgxpool.Pool
	store    *Store
	attempts *attempts

	mu     sync.Mutex
	keys   []signingKey // newest first
	loaded time.Time
}

// NewIssuer makes the first signing key when there is none yet.
func NewIssuer(ctx context.Context, cfg IssuerConfig, pool *pgxpool.Pool, store *Store) (*Issuer, error) {
	if cfg.Issuer == "" {
		return nil, errors.New("token issuer: Issuer is empty")
	}
	if cfg.Audience == "" {
		cfg.Audience = DefaultAudience
	}
	if cfg.TokenLife == 0 {
		cfg.TokenLife = DefaultTokenLife
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := ensureKey(ctx, pool, cfg.Now()); err != nil {
		return nil, err
	}
	failures, err := newAttempts(cfg.Now)
	if err != nil {
		return nil, err
	}
	return &Issuer{cfg: cfg, pool: pool, store: store, attempts: failures}, nil
}

// Issue signs a token for an identity, with the identity's scopes. It asks nobody whether that is right.
func (i *Issuer) Issue(ctx context.Context, who Identity) (token string, expires time.Time, err error) {
	keys, err := i.current(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	now := i.cfg.Now()
	key, ok := currentKey(keys, now)
	if !ok {
		return "", time.Time{}, errors.New("no signing key")
	}
	// Tokens count in whole seconds: rounding the end down keeps it within the promised life.
	expires = now.Add(i.cfg.TokenLife).Truncate(time.Second)
	t := jwt.NewWithClaims(jwt.SigningMethodES256, i.claims(who, now, expires))
	t.Header["typ"] = tokenType
	t.Header["kid"] = key.kid
	token, err = t.SignedString(key.private)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign token: %w", err)
	}
	return token, expires, nil
}

func (i *Issuer) claims(who Identity, now, expires time.Time) jwt.MapClaims {
	claims := jwt.MapClaims{
		"iss": i.cfg.Issuer, "aud": i.cfg.Audience, "sub": who.ClientID, "client_id": who.ClientID,
		"iat": now.Unix(), "exp": expires.Unix(), "jti": uuid.NewString(),
		"scope": strings.Join(who.Scopes, " "), "kind": string(who.Kind),
	}
	for name, value := range map[string]string{"tenant": who.Tenant, "provider": who.Provider, "system": who.System} {
		if value != "" {
			claims[name] = value
		}
	}
	return claims
}

// current gives the keys, read again when the last reading is older than keyRefresh. With the database away the known
// ones serve on.
func (i *Issuer) current(ctx context.Context) ([]signingKey, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.cfg.Now()
	if len(i.keys) > 0 && now.Sub(i.loaded) < keyRefresh {
		return slices.Clone(i.keys), nil
	}
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	keys, err := loadSigningKeys(ctx, i.pool, now)
	if err != nil && len(i.keys) == 0 {
		return nil, err
	}
	if err == nil {
		i.keys = keys
	}
	i.loaded = now
	return slices.Clone(i.keys), nil
}

// Rotate brings in a new signing key: published now, signing after keyNotice, while the older ones go on verifying until
// the last token they can have signed has expired. When two nodes rotate at once, one rotation happens.
func (i *Issuer) Rotate(ctx context.Context) error {
	now := i.cfg.Now()
	err := postgres.InTx(ctx, i.pool, func(tx pgx.Tx) error {
		var last int
		if err := tx.QueryRow(ctx, `SELECT coalesce(max(generation), 0) FROM signing_keys`).Scan(&last); err != nil {
			return fmt.Errorf("read last generation: %w", err)
		}
		activeFrom := now.Add(keyNotice)
		won, err := insertKey(ctx, tx, last+1, activeFrom)
		if err != nil || !won {
			return err
		}
		const retire = `UPDATE signing_keys SET retired_at = $2 WHERE generation <= $1 AND retired_at IS NULL`
		// Other nodes may sign with the old key until they have read the new one.
		if _, err := tx.Exec(ctx, retire, last, activeFrom.Add(keyRefresh+i.cfg.TokenLife+keyNotice)); err != nil {
			return fmt.Errorf("retire signing keys: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("rotate signing key: %w", err)
	}
	i.mu.Lock()
	i.loaded = time.Time{}
	i.mu.Unlock()
	return nil
}
