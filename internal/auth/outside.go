package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/orderstore/orderstore/internal/fault"
)

// Limits of fetching an outside issuer's keys.
const (
	maxJWKS         = 1 << 20 // bytes
	maxJWKSKeys     = 100
	jwksLife        = 10 * time.Minute
	jwksMinInterval = 30 * time.Second // between two fetches, whatever tokens ask for
	minRSABits      = 2048
)

// OutsideIssuer is another identity provider whose tokens are accepted. Kind, tenant, provider and system are read from
// the claims named here, or given once for all its tokens.
type OutsideIssuer struct {
	Name          string `json:"name"`     // prefix of the client ids: "<name>:<subject>"
	Issuer        string `json:"issuer"`   // iss, compared exactly
	JWKSURL       string `json:"jwks_url"` // the only address keys are ever fetched from
	Audience      string `json:"audience"` // aud that its tokens must carry
	AcceptJWT     bool   `json:"accept_jwt"`
	Kind          Kind   `json:"kind"` // of all its tokens, when KindClaim is empty
	KindClaim     string `json:"kind_claim"`
	TenantClaim   string `json:"tenant_claim"`
	ProviderClaim string `json:"provider_claim"`
	SystemClaim   string `json:"system_claim"`
	ScopeClaim    string `json:"scope_claim"` // "scope" when empty; a string or a list
	// Kinds lists what its tokens may be; operator has to be named to be possible. User, provider and auxiliary when empty.
	Kinds []Kind `json:"kinds"`
}

type outside struct {
	cfg     OutsideIssuer
	http    *http.Client
	now     func() time.Time
	lostKey func() // called when the issuer no longer publishes a key that it did
	limiter *rate.Limiter
	fetches singleflight.Group
	known   atomic.Pointer[fetchedKeys]
}

type fetchedKeys struct {
	keys map[string]verificationKey
	at   time.Time
}

func newOutside(cfg OutsideIssuer, common AuthenticatorConfig, lostKey func()) (source, error) {
	if cfg.Name == "" || cfg.Issuer == "" || cfg.JWKSURL == "" || cfg.Audience == "" {
		return source{}, fmt.Errorf("outside issuer %q: name, issuer, jwks_url and audience are all needed", cfg.Issuer)
	}
	if cfg.ScopeClaim == "" {
		cfg.ScopeClaim = "scope"
	}
	if len(cfg.Kinds) == 0 {
		cfg.Kinds = []Kind{KindUser, KindProvider, KindAuxiliary}
	}
	o := &outside{
		cfg: cfg, http: common.HTTP, now: common.Now, lostKey: lostKey,
		limiter: rate.NewLimiter(rate.Every(jwksMinInterval), 1),
	}
	parser := tokenParser([]string{"ES256", "RS256", "EdDSA"}, cfg.Issuer, cfg.Audience, common.Now)
	return source{keys: o, parser: parser, acceptJWT: cfg.AcceptJWT, identity: o.identity}, nil
}

// identity namespaces the client id by the issuer's name, so that nobody outside can pass for one of our clients.
func (o *outside) identity(claims jwt.MapClaims) (Identity, error) {
	text := func(name string) string { s, _ := claims[name].(string); return s }
	who := Identity{
		Kind: o.cfg.Kind, Tenant: text(o.cfg.TenantClaim), Provider: text(o.cfg.ProviderClaim),
		System: text(o.cfg.SystemClaim), Scopes: scopeList(claims[o.cfg.ScopeClaim]),
	}
	if o.cfg.KindClaim != "" {
		who.Kind = Kind(text(o.cfg.KindClaim))
	}
	if !slices.Contains(o.cfg.Kinds, who.Kind) {
		return Identity{}, fmt.Errorf("%w: kind is not one this issuer may name", errBadToken)
	}
	subject := text("client_id")
	if subject == "" {
		subject = text("sub")
	}
	if subject == "" {
		return Identity{}, fmt.Errorf("%w: no client_id and no sub", errBadToken)
	}
	who.ClientID = o.cfg.Name + ":" + subject
	// Outside issuers have scopes of their own (openid, email): those that mean nothing here are left out.
	who.Scopes = slices.DeleteFunc(who.Scopes, func(scope string) bool { return !MayHave(who.Kind, scope) })
	if len(who.Scopes) == 0 {
		return Identity{}, fmt.Errorf("%w: no scope of ours", errBadToken)
	}
	return who, nil
}

func scopeList(claim any) []string {
	switch v := claim.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var scopes []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				scopes = append(scopes, s)
			}
		}
		return scopes
	}
	return nil
}

// key gives a key by its id. Keys are fetched when they are old or the id is unknown, at most every 30 s; while the
// issuer is away the known ones serve on.
func (o *outside) key(ctx context.Context, kid string) (verificationKey, error) {
	known := o.known.Load()
	if known != nil {
		if key, ok := known.keys[kid]; ok && o.now().Sub(known.at) < jwksLife {
			return key, nil
		}
	}
	if o.limiter.AllowN(o.now(), 1) {
		_, err, _ := o.fetches.Do("", func() (any, error) { return nil, o.fetch(ctx) })
		if err != nil && known == nil {
			return verificationKey{}, fault.Wrap(err, fault.Unavailable, "the keys of the token's issuer cannot be read at the moment")
		}
		known = o.known.Load()
	}
	if known == nil {
		return verificationKey{}, fault.New(fault.Unavailable, "the keys of the token's issuer cannot be read at the moment")
	}
	if key, ok := known.keys[kid]; ok {
		return key, nil
	}
	return verificationKey{}, errUnknownKey
}

func (o *outside) fetch(ctx context.Context) error {
	// The caller may hang up; those who wait for the same fetch have not.
	ctx = context.WithoutCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.cfg.JWKSURL, nil)
	if err != nil {
		return fmt.Errorf("jwks request: %w", err)
	}
	res, err := o.http.Do(req)
	if err != nil {
		return fmt.Errorf("fetch jwks: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch jwks: status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxJWKS+1))
	if err != nil {
		return fmt.Errorf("read jwks: %w", err)
	}
	if len(body) > maxJWKS {
		return fmt.Errorf("read jwks: larger than %d bytes", maxJWKS)
	}
	keys, err := parseJWKS(body)
	if err != nil {
		return err
	}
	before := o.known.Swap(&fetchedKeys{keys: keys, at: o.now()})
	if before != nil && before.lost(keys) {
		o.lostKey()
	}
	return nil
}

func (f *fetchedKeys) lost(next map[string]verificationKey) bool {
	for kid := range f.keys {
		if _, ok := next[kid]; !ok {
			return true
		}
	}
	return false
}

// parseJWKS takes the keys it understands and leaves out the rest, as RFC 7517 section 5 asks.
func parseJWKS(body []byte) (map[string]verificationKey, error) {
	var set jwks
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("parse jwks: %w", err)
	}
	keys := map[string]verificationKey{}
	for _, k := range set.Keys {
		if k.KeyID == "" || (k.Use != "" && k.Use != "sig") || len(keys) == maxJWKSKeys {
			continue
		}
		if key, err := k.verification(); err == nil && (k.Algorithm == "" || k.Algorithm == key.algorithm) {
			keys[k.KeyID] = key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("parse jwks: no key that can verify a token")
	}
	return keys, nil
}

func (k jwk) verification() (verificationKey, error) {
	switch {
	case k.KeyType == "EC" && k.Curve == "P-256":
		return k.ecdsaKey()
	case k.KeyType == "RSA":
		return k.rsaKey()
	case k.KeyType == "OKP" && k.Curve == "Ed25519":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return verificationKey{}, errors.New("x is not an Ed25519 key")
		}
		return verificationKey{"EdDSA", ed25519.PublicKey(x)}, nil
	}
	return verificationKey{}, errors.New("key type is not supported")
}

func (k jwk) ecdsaKey() (verificationKey, error) {
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return verificationKey{}, errors.New("x or y is not a coordinate on P-256")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return verificationKey{}, fmt.Errorf("point: %w", err)
	}
	return verificationKey{"ES256", public}, nil
}

func (k jwk) rsaKey() (verificationKey, error) {
	n, errN := base64.RawURLEncoding.DecodeString(k.N)
	e, errE := base64.RawURLEncoding.DecodeString(k.E)
	if errN != nil || errE != nil || len(e) == 0 || len(e) > 4 {
		return verificationKey{}, errors.New("n or e is not a number")
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if public.N.BitLen() < minRSABits || public.E < 3 || public.E%2 == 0 {
		return verificationKey{}, fmt.Errorf("modulus under %d bits or a bad exponent", minRSABits)
	}
	return verificationKey{"RS256", public}, nil
}
