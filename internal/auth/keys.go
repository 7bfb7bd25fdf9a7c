package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// signingKey is one row of signing_keys with its private half parsed.
type signingKey struct {
	generation int
	kid        string
	private    *ecdsa.PrivateKey
	activeFrom time.Time
	retiredAt  time.Time // zero: not retired
}

// live tells whether tokens signed with the key are still to be believed.
func (k signingKey) live(now time.Time) bool { return k.retiredAt.IsZero() || now.Before(k.retiredAt) }

// ensureKey makes the first signing key. Nodes that start together race for generation 1 and one of them wins.
func ensureKey(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	var n int
	if err := pool.QueryRow(ctx, `SELECT count(*) FROM signing_keys`).Scan(&n); err != nil {
		return fmt.Errorf("count signing keys: %w", err)
	}
	if n > 0 {
		return nil
	}
	_, err := insertKey(ctx, pool, 1, now)
	return err
}

// rower is a pool or a transaction.
type rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// insertKey makes the key of a generation and tells whether this call was the one that did.
func insertKey(ctx context.Context, db rower, generation int, activeFrom time.Time) (bool, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return false, fmt.Errorf("generate signing key: %w", err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return false, fmt.Errorf("encode signing key: %w", err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return false, fmt.Errorf("encode verification key: %w", err)
	}
	kid, err := randomID()
	if err != nil {
		return false, err
	}
	const insert = `
		INSERT INTO signing_keys (generation, kid, private_key, public_key, active_from) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (generation) DO NOTHING RETURNING generation`
	err = db.QueryRow(ctx, insert, generation, kid, privateDER, publicDER, activeFrom).Scan(&generation)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("insert signing key: %w", err)
	}
	return true, nil
}

// loadSigningKeys reads all keys that are not retired, newest first.
func loadSigningKeys(ctx context.Context, pool *pgxpool.Pool, now time.Time) ([]signingKey, error) {
	const read = `SELECT generation, kid, private_key, active_from, retired_at FROM signing_keys ORDER BY generation DESC`
	rows, err := pool.Query(ctx, read)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	defer rows.Close()
	var keys []signingKey
	for rows.Next() {
		var k signingKey
		var der []byte
		var retired *time.Time
		if err := rows.Scan(&k.generation, &k.kid, &der, &k.activeFrom, &retired); err != nil {
			return nil, fmt.Errorf("scan signing key: %w", err)
		}
		if retired != nil {
			k.retiredAt = *retired
		}
		if !k.live(now) {
			continue
		}
		if k.private, err = parsePrivate(der); err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.kid, err)
		}
		keys = append(keys, k)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	return keys, nil
}

func parsePrivate(der []byte) (*ecdsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, errors.New("is not an ECDSA key on P-256")
	}
	return private, nil
}

// currentKey is the newest key that signs already; keys come newest first. A clock behind the database's may see none
// active yet, then the oldest signs.
func currentKey(keys []signingKey, now time.Time) (signingKey, bool) {
	for _, k := range keys {
		if !k.activeFrom.After(now) {
			return k, true
		}
	}
	if len(keys) == 0 {
		return signingKey{}, false
	}
	return keys[len(keys)-1], true
}
