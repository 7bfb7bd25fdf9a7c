package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// maxRequestKeys is how many keys a client may have at a time. Two are enough to change one for another without a gap.
const maxRequestKeys = 10

// RequestKey is by what a client signs requests. It is not a key that tokens are signed with.
type RequestKey struct {
	KeyID     string    `json:"key_id"`
	ClientID  string    `json:"client_id"`
	Secret    string    `json:"secret,omitempty"` // given once, when it is made
	CreatedAt time.Time `json:"created_at"`
}

// CreateRequestKey gives a client one more key. An unknown or disabled client is fault.NotFound, one with ten keys fault.Conflict.
func (s *Store) CreateRequestKey(ctx context.Context, clientID string) (RequestKey, error) {
	secret, err := randomSecret()
	if err != nil {
		return RequestKey{}, err
	}
	id, err := randomName("k_")
	if err != nil {
		return RequestKey{}, err
	}
	k := RequestKey{KeyID: id, ClientID: clientID, Secret: secret}
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		const lock = `SELECT FROM clients WHERE client_id = $1 AND disabled_at IS NULL FOR UPDATE`
		if err := tx.QueryRow(ctx, lock, clientID).Scan(); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM request_keys WHERE client_id = $1`, clientID).Scan(&n); err != nil {
			return err
		}
		if n >= maxRequestKeys {
			return fault.New(fault.Conflict, "the client has %d signing keys: delete one first", n)
		}
		const insert = `INSERT INTO request_keys (key_id, client_id, secret, created_at) VALUES ($1, $2, $3, clock_timestamp()) RETURNING created_at`
		return tx.QueryRow(ctx, insert, k.KeyID, k.ClientID, k.Secret).Scan(&k.CreatedAt)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return RequestKey{}, fault.New(fault.NotFound, "no such client")
	}
	if err != nil {
		return RequestKey{}, fmt.Errorf("create request key: %w", err)
	}
	k.CreatedAt = k.CreatedAt.UTC()
	return k, nil
}

// RequestKeys are a client's keys, the oldest first, without their secrets. An unknown client is fault.NotFound.
func (s *Store) RequestKeys(ctx context.Context, clientID string) ([]RequestKey, error) {
	const list = `
		SELECT k.key_id, k.created_at FROM clients c LEFT JOIN request_keys k USING (client_id)
		WHERE c.client_id = $1 ORDER BY k.created_at, k.key_id`
	rows, err := s.pool.Query(ctx, list, clientID)
	if err != nil {
		return nil, fmt.Errorf("list request keys: %w", err)
	}
	keys, known := []RequestKey{}, false
	var id *string
	var made *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &made}, func() error {
		known = true
		if id != nil {
			keys = append(keys, RequestKey{KeyID: *id, ClientID: clientID, CreatedAt: made.UTC()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list request keys: %w", err)
	}
	if !known {
		return nil, fault.New(fault.NotFound, "no such client")
	}
	return keys, nil
}

// DeleteRequestKey ends a key: nothing that was signed with it is taken from now on, at any node. An unknown one, or one of another
// client, is fault.NotFound.
func (s *Store) DeleteRequestKey(ctx context.Context, clientID, keyID string) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM request_keys WHERE client_id = $1 AND key_id = $2`, clientID, keyID)
	if err != nil {
		return fmt.Errorf("delete request key: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, "the client has no such signing key")
	}
	return nil
}
