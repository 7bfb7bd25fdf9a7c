package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/fault"
)

// NewClient asks for a client. A user needs Tenant, a provider Provider, an auxiliary client System; nothing else may
// be set but an auxiliary client's Tenant, which restricts it to that tenant's orders.
type NewClient struct {
	Kind     Kind     `json:"kind"`
	Tenant   string   `json:"tenant,omitempty"`
	Provider string   `json:"provider,omitempty"`
	System   string   `json:"system,omitempty"`
	Scopes   []string `json:"scopes,omitempty"` // DefaultScopes of the kind when empty
}

// Credentials are what a client logs in with. The secret is shown here once and stored nowhere.
type Credentials struct {
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Kind         Kind     `json:"kind"`
	Tenant       string   `json:"tenant,omitempty"`
	Provider     string   `json:"provider,omitempty"`
	System       string   `json:"system,omitempty"`
	Scopes       []string `json:"scopes"`
}

// Store keeps clients in the write database.
type Store struct{ pool *pgxpool.Pool }

// NewStore keeps clients by way of a pool on the write database.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// CreateClient makes a client with a random id and secret. What may not be is a *fault.Error naming each field.
func (s *Store) CreateClient(ctx context.Context, n NewClient) (Credentials, error) {
	if err := n.validate(); err != nil {
		return Credentials{}, err
	}
	id, err := randomID()
	if err != nil {
		return Credentials{}, err
	}
	secret, err := randomSecret()
	if err != nil {
		return Credentials{}, err
	}
	c := n.credentials(id, secret)
	const insert = `
		INSERT INTO clients (client_id, secret_hash, kind, tenant, provider, system, scopes, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), clock_timestamp())`
	if _, err := s.pool.Exec(ctx, insert, c.ClientID, hashSecret(secret), c.Kind, c.Tenant, c.Provider, c.System, c.Scopes); err != nil {
		return Credentials{}, fmt.Errorf("insert client: %w", err)
	}
	return c, nil
}

// EnsureClient makes the client with a given id and secret, or brings an existing one to them; asking again changes
// nothing. It is for instances that keep their credentials in a file of their own.
func (s *Store) EnsureClient(ctx context.Context, id, secret string, n NewClient) (Credentials, error) {
	if err := n.validate(); err != nil {
		return Credentials{}, err
	}
	if !validID(id) {
		return Credentials{}, fault.InvalidFields([]fault.Field{{Pointer: "/client_id", Detail: "must match [A-Za-z0-9_-]{1,64}"}})
	}
	if len(secret) < minSecretLength {
		return Credentials{}, fault.InvalidFields([]fault.Field{{Pointer: "/client_secret", Detail: "must have at least 32 characters"}})
	}
	c := n.credentials(id, secret)
	const upsert = `
		INSERT INTO clients AS c (client_id, secret_hash, kind, tenant, provider, system, scopes, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), clock_timestamp())
		ON CONFLICT (client_id) DO UPDATE SET
			secret_hash = excluded.secret_hash, kind = excluded.kind, tenant = excluded.tenant,
			provider = excluded.provider, system = excluded.system, scopes = excluded.scopes, updated_at = clock_timestamp()
		WHERE (c.secret_hash, c.kind, c.tenant, c.provider, c.system, c.scopes)
			IS DISTINCT FROM (excluded.secret_hash, excluded.kind, excluded.tenant, excluded.provider, excluded.system, excluded.scopes)`
	if _, err := s.pool.Exec(ctx, upsert, c.ClientID, hashSecret(secret), c.Kind, c.Tenant, c.Provider, c.System, c.Scopes); err != nil {
		return Credentials{}, fmt.Errorf("ensure client: %w", err)
	}
	return c, nil
}

// Systems names the auxiliary systems that have a client for this tenant alone, in order. Whether one that has a client for all
// tenants takes an interest in this one is not known before it writes.
func (s *Store) Systems(ctx context.Context, tenant string) ([]string, error) {
	const systems = `
		SELECT DISTINCT system FROM clients
		WHERE kind = 'auxiliary' AND disabled_at IS NULL AND tenant = $1 ORDER BY system`
	rows, err := s.pool.Query(ctx, systems, tenant)
	if err != nil {
		return nil, fmt.Errorf("read systems: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read systems: %w", err)
	}
	return found, nil
}

// DisableClient ends a client: no new tokens from now on, and every node refuses its live ones once it has polled.
// Disabling it again changes nothing; an unknown id is fault.NotFound.
func (s *Store) DisableClient(ctx context.Context, id string) error {
	const disable = `
		UPDATE clients SET disabled_at = coalesce(disabled_at, clock_timestamp()), updated_at = clock_timestamp()
		WHERE client_id = $1`
	tag, err := s.pool.Exec(ctx, disable, id)
	if err != nil {
		return fmt.Errorf("disable client: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, "no such client")
	}
	return nil
}

// SetLimits stores what a client may ask for, as package limits reads it. An unknown or disabled client is fault.NotFound.
func (s *Store) SetLimits(ctx context.Context, id string, document []byte) error {
	const set = `
		UPDATE clients SET limits = nullif($2::jsonb, '{}'), updated_at = clock_timestamp() WHERE client_id = $1 AND disabled_at IS NULL`
	tag, err := s.pool.Exec(ctx, set, id, document)
	if err != nil {
		return fmt.Errorf("set limits of a client: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, "no such client")
	}
	return nil
}

// RotateSecret gives a client a new secret and ends the old one at once; live tokens stay valid until they expire.
// An unknown or disabled client is fault.NotFound.
func (s *Store) RotateSecret(ctx context.Context, id string) (Credentials, error) {
	secret, err := randomSecret()
	if err != nil {
		return Credentials{}, err
	}
	const rotate = `
		UPDATE clients SET secret_hash = $2, updated_at = clock_timestamp()
		WHERE client_id = $1 AND disabled_at IS NULL
		RETURNING kind, tenant, provider, system, scopes`
	c := Credentials{ClientID: id, ClientSecret: secret}
	err = s.pool.QueryRow(ctx, rotate, id, hashSecret(secret)).Scan(&c.Kind, &c.Tenant, &c.Provider, &c.System, &c.Scopes)
	if errors.Is(err, pgx.ErrNoRows) {
		return Credentials{}, fault.New(fault.NotFound, "no such client")
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("rotate secret: %w", err)
	}
	return c, nil
}

// errBadClient is a wrong id or secret or a disabled client; the caller is not told which.
var errBadClient = errors.New("client authentication failed")

// login checks an id and secret. An unknown client costs the same as a wrong secret: one query, one comparison.
func (s *Store) login(ctx context.Context, id, secret string) (Identity, error) {
	const find = `
		SELECT secret_hash, kind, tenant, provider, system, scopes, disabled_at IS NOT NULL FROM clients WHERE client_id = $1`
	who := Identity{ClientID: id}
	stored := make([]byte, 0, sha256.Size)
	var disabled bool
	err := s.pool.QueryRow(ctx, find, id).Scan(&stored, &who.Kind, &who.Tenant, &who.Provider, &who.System, &who.Scopes, &disabled)
	unknown := errors.Is(err, pgx.ErrNoRows)
	if err != nil && !unknown {
		return Identity{}, fmt.Errorf("find client: %w", err)
	}
	if unknown {
		stored = make([]byte, sha256.Size)
	}
	same := subtle.ConstantTimeCompare(stored, hashSecret(secret)) == 1
	if !same || unknown || disabled {
		return Identity{}, errBadClient
	}
	return who, nil
}

func (n NewClient) credentials(id, secret string) Credentials {
	scopes := slices.Clone(n.Scopes)
	if len(scopes) == 0 {
		scopes = DefaultScopes(n.Kind)
	}
	slices.Sort(scopes)
	return Credentials{
		ClientID: id, ClientSecret: secret, Kind: n.Kind,
		Tenant: n.Tenant, Provider: n.Provider, System: n.System, Scopes: slices.Compact(scopes),
	}
}

// validate gives every bad field at once.
func (n NewClient) validate() error {
	var bad []fault.Field
	add := func(pointer, detail string) { bad = append(bad, fault.Field{Pointer: pointer, Detail: detail}) }
	owner := func(name, value string, needed, allowed bool) {
		switch {
		case value == "" && needed:
			add("/"+name, fmt.Sprintf("is required for kind %s", n.Kind))
		case value != "" && !allowed:
			add("/"+name, fmt.Sprintf("is not for kind %s", n.Kind))
		case value != "" && !validID(value):
			add("/"+name, "must match [A-Za-z0-9_-]{1,64} and not be a single dash")
		}
	}
	if DefaultScopes(n.Kind) == nil {
		add("/kind", "must be user, provider, auxiliary or operator")
		return fault.InvalidFields(bad)
	}
	owner("tenant", n.Tenant, n.Kind == KindUser, n.Kind == KindUser || n.Kind == KindAuxiliary)
	owner("provider", n.Provider, n.Kind == KindProvider, n.Kind == KindProvider)
	owner("system", n.System, n.Kind == KindAuxiliary, n.Kind == KindAuxiliary)
	for i, scope := range n.Scopes {
		if !MayHave(n.Kind, scope) {
			add(fmt.Sprintf("/scopes/%d", i), fmt.Sprintf("is not a scope that kind %s may have", n.Kind))
		}
	}
	if len(bad) > 0 {
		return fault.InvalidFields(bad)
	}
	return nil
}

// minSecretLength keeps secrets that people give out of reach of a search through SHA-256 hashes, in characters.
const minSecretLength = 32

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// validID is for names that reach a subject, in which a single dash stands for nobody.
func validID(s string) bool { return s != "-" && idPattern.MatchString(s) }

// hashSecret is plain SHA-256 on purpose: secrets are 256 random bits, so there is no dictionary to slow down, and a
// slow hash would make a burst of logins a burst of seconds of CPU.
func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func randomSecret() (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("random secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

func randomID() (string, error) { return randomName("c_") }

func randomName(prefix string) (string, error) {
	b := make([]byte, 12)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("random id: %w", err)
	}
	return prefix + hex.EncodeToString(b), nil
}
