package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/fault"
)

// ownKey is a verification key of our own issuer.
type ownKey struct {
	public    *ecdsa.PublicKey
	retiredAt time.Time // zero: not retired
}

// key gives a known key at once; an unknown kid makes the keys be read again, at a limited rate.
func (o *ownKeys) key(ctx context.Context, kid string) (verificationKey, error) {
	if known := o.known.Load(); known != nil {
		if key, err := known.find(kid, o.now()); err == nil {
			return key, nil
		}
		if !o.limiter.AllowN(o.now(), 1) {
			return verificationKey{}, errUnknownKey
		}
	}
	if err := o.reload(ctx); err != nil && o.known.Load() == nil {
		return verificationKey{}, fault.Wrap(err, fault.Unavailable, "tokens cannot be verified at the moment")
	}
	return o.known.Load().find(kid, o.now())
}

func (k *knownKeys) find(kid string, now time.Time) (verificationKey, error) {
	key, ok := k.keys[kid]
	if !ok || (!key.retiredAt.IsZero() && !now.Before(key.retiredAt)) {
		return verificationKey{}, errUnknownKey
	}
	return verificationKey{algorithm: "ES256", public: key.public}, nil
}

// The clients disabled within a day are read whole each time instead of those changed since the last reading: a commit
// that comes late is then simply in the next reading, and older ones have no token left to refuse.
const (
	readKeys     = `SELECT kid, public_key, retired_at FROM signing_keys`
	readDisabled = `SELECT client_id FROM clients WHERE disabled_at > now() - interval '24 hours'`
)

// reload waits for keys and disabled clients to be read. All who ask at once share one reading, so an older one never
// replaces a newer one; it goes on when the one who asked first has hung up.
func (a *Authenticator) reload(ctx context.Context) error {
	reading := a.own.readings.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), databaseTimeout)
		defer cancel()
		return nil, a.read(ctx)
	})
	select {
	case result := <-reading:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read reads keys and disabled clients in one round trip and puts them in force.
func (a *Authenticator) read(ctx context.Context) error {
	before := a.own.known.Load()
	next := &knownKeys{keys: map[string]ownKey{}, disabled: map[string]struct{}{}}
	batch := &pgx.Batch{}
	batch.Queue(readKeys).Query(func(rows pgx.Rows) error { return next.scanKeys(rows, before) })
	batch.Queue(readDisabled).Query(next.scanDisabled)
	if err := a.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("read keys and clients: %w", err)
	}
	a.own.known.Store(next)
	if before != nil && before.lostKey(next) {
		a.forget()
		a.log.LogAttrs(ctx, slog.LevelWarn, "a signing key was removed, all tokens are verified anew")
	}
	return nil
}

// forget makes every token be verified anew, after a key was taken away: whatever it signed is to be refused now. A token
// that is being verified at this moment notices by the count.
func (a *Authenticator) forget() {
	a.forgotten.Add(1)
	a.seen.Purge()
}

func (k *knownKeys) scanKeys(rows pgx.Rows, before *knownKeys) error {
	for rows.Next() {
		var kid string
		var der []byte
		var retired *time.Time
		if err := rows.Scan(&kid, &der, &retired); err != nil {
			return fmt.Errorf("scan verification key: %w", err)
		}
		key := ownKey{}
		if before != nil {
			key = before.keys[kid]
		}
		if key.public == nil {
			public, err := parsePublic(der)
			if err != nil {
				return fmt.Errorf("verification key %s: %w", kid, err)
			}
			key.public = public
		}
		key.retiredAt = time.Time{}
		if retired != nil {
			key.retiredAt = *retired
		}
		k.keys[kid] = key
	}
	return rows.Err()
}

func (k *knownKeys) scanDisabled(rows pgx.Rows) error {
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return fmt.Errorf("scan disabled client: %w", err)
		}
		k.disabled[id] = struct{}{}
	}
	return rows.Err()
}

func (k *knownKeys) lostKey(next *knownKeys) bool {
	for kid := range k.keys {
		if _, ok := next.keys[kid]; !ok {
			return true
		}
	}
	return false
}

func parsePublic(der []byte) (*ecdsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("is not an ECDSA key")
	}
	return public, nil
}
