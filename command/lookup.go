package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// Lookup tells of orders as the primary has them.
type Lookup struct{ pool *pgxpool.Pool }

// NewLookup looks up in the write database.
func NewLookup(pool *pgxpool.Pool) *Lookup { return &Lookup{pool: pool} }

const selectOwner = `SELECT tenant, position FROM orders WHERE id = $1::text::uuid`

// Lookup gives an order's tenant and the position of its last event. An order of another tenant than the one that is named, if
// one is, is fault.NotFound, as one that does not exist.
func (l *Lookup) Lookup(ctx context.Context, id uuid.UUID, tenant string) (owner string, position int64, err error) {
	err = l.pool.QueryRow(ctx, selectOwner, id.String()).Scan(&owner, &position)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && tenant != "" && tenant != owner:
		return "", 0, fault.New(fault.NotFound, "no such order")
	case postgres.IsUnavailable(err):
		return "", 0, unavailable(err)
	case err != nil:
		return "", 0, fmt.Errorf("look up order: %w", err)
	}
	return owner, position, nil
}
