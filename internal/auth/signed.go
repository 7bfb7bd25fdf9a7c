package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/fault"
)

const (
	// A nonce is kept for longer than its request could be sent again, since the clocks of nodes differ.
	nonceKept  = 2 * signatureWindow // after the request's timestamp
	nonceSweep = time.Minute         // between deletions of old ones
	nonceBatch = 10_000              // deleted by one statement
)

// AuthenticateSigned gives the identity of the client whose key signed a request: what a token with all its scopes would give, for as
// long as such a token lives. A signature that is not to be believed, or was used before at any node, is fault.Unauthorized; after too
// many wrong ones with a key, known or not, it is fault.TooManyRequests; with the primary away fault.Unavailable. It costs a look at
// the primary and one small write in it.
func (a *Authenticator) AuthenticateSigned(ctx context.Context, r *SignedRequest) (Identity, error) {
	s, err := parseSignature(r.Signature)
	if err != nil {
		return Identity{}, fault.Wrap(err, fault.Unauthorized, "the signature cannot be read: Order-Signature has keyid, timestamp, nonce and signature")
	}
	now := a.now()
	if now.Sub(s.at).Abs() > signatureWindow {
		return Identity{}, fault.New(fault.Unauthorized, "the signature's timestamp is off by more than %d seconds", int(signatureWindow.Seconds()))
	}
	if wait := a.wrong.blocked(s.keyID); wait > 0 {
		return Identity{}, tooManySignatures(wait)
	}
	who, err := a.signer(ctx, s, r)
	if errors.Is(err, errBadSignature) {
		if wait := a.wrong.failed(s.keyID); wait > 0 {
			return Identity{}, tooManySignatures(wait)
		}
		return Identity{}, fault.Wrap(err, fault.Unauthorized, "the signature is not valid")
	}
	if err != nil {
		return Identity{}, err
	}
	if err := a.spend(ctx, s); err != nil {
		return Identity{}, err
	}
	who.ExpiresAt = now.Add(DefaultTokenLife)
	return who, a.Check(who)
}

func tooManySignatures(wait time.Duration) error {
	return fault.New(fault.TooManyRequests, "too many wrong signatures with this key").Retry(wait)
}

// signer gives the client whose key signed the request; errBadSignature when none did.
func (a *Authenticator) signer(ctx context.Context, s signature, r *SignedRequest) (Identity, error) {
	secret, who, err := a.requestKey(ctx, s.keyID)
	if err != nil {
		return Identity{}, err
	}
	body, err := r.Body()
	if err != nil {
		return Identity{}, err
	}
	if !s.of(r.text(s, body), secret) {
		return Identity{}, errBadSignature
	}
	return who, nil
}

// requestKey looks a key up each time, so that one which was deleted is refused at once everywhere.
func (a *Authenticator) requestKey(ctx context.Context, id string) (secret string, who Identity, err error) {
	const find = `
		SELECT k.secret, c.client_id, c.kind, c.tenant, c.provider, c.system, c.scopes
		FROM request_keys k JOIN clients c USING (client_id) WHERE k.key_id = $1 AND c.disabled_at IS NULL`
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	err = a.pool.QueryRow(ctx, find, id).Scan(&secret, &who.ClientID, &who.Kind, &who.Tenant, &who.Provider, &who.System, &who.Scopes)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", Identity{}, fmt.Errorf("%w: unknown key", errBadSignature)
	}
	if err != nil {
		return "", Identity{}, unlessAway(fmt.Errorf("find request key: %w", err), "signatures cannot be checked at the moment")
	}
	return secret, who, nil
}

// spend makes a nonce known to all nodes. Only a request whose signature is right gets here, so strangers can neither fill the table nor
// use up the nonces of others.
func (a *Authenticator) spend(ctx context.Context, s signature) error {
	const insert = `INSERT INTO request_nonces (key_id, nonce, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	tag, err := a.pool.Exec(ctx, insert, s.keyID, s.nonce, s.at.Add(nonceKept))
	if err != nil {
		return unlessAway(fmt.Errorf("insert nonce: %w", err), "signatures cannot be checked at the moment")
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.Unauthorized, "the signature's nonce was used before")
	}
	return nil
}

// ForgetNonces deletes those that no request can be sent again with. Every node does so each minute; those that do it at the same time
// leave each other's rows alone.
func (a *Authenticator) ForgetNonces(ctx context.Context) error {
	const forget = `
		DELETE FROM request_nonces WHERE (key_id, nonce) IN (
			SELECT key_id, nonce FROM request_nonces WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`
	for {
		within, cancel := context.WithTimeout(ctx, databaseTimeout)
		tag, err := a.pool.Exec(within, forget, a.now(), nonceBatch)
		cancel()
		if err != nil {
			return fmt.Errorf("forget nonces: %w", err)
		}
		if tag.RowsAffected() < nonceBatch {
			return nil
		}
	}
}

// sweep is put off to the next time where it fails: old nonces do no harm.
func (a *Authenticator) sweep(ctx context.Context) {
	if err := a.ForgetNonces(ctx); err != nil && ctx.Err() == nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "old nonces are still there", slog.Any("error", err))
	}
}
