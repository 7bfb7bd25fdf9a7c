package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Secret gives the 32 random bytes known by a name, the same on every node for ever; the first to ask makes them.
func Secret(ctx context.Context, pool *pgxpool.Pool, name string) ([]byte, error) {
	value, err := readSecret(ctx, pool, name)
	if err == nil || !errors.Is(err, pgx.ErrNoRows) {
		return value, err
	}
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fmt.Errorf("random secret: %w", err)
	}
	const insert = `INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`
	if _, err := pool.Exec(ctx, insert, name, fresh); err != nil {
		return nil, fmt.Errorf("make secret %s: %w", name, err)
	}
	// ON CONFLICT waited for the winner's commit, so a statement after it sees the winner's value.
	return readSecret(ctx, pool, name)
}

func readSecret(ctx context.Context, pool *pgxpool.Pool, name string) ([]byte, error) {
	var value []byte
	if err := pool.QueryRow(ctx, `SELECT value FROM secrets WHERE name = $1`, name).Scan(&value); err != nil {
		return nil, fmt.Errorf("read secret %s: %w", name, err)
	}
	return value, nil
}
