package auxiliary

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
)

const restartCheckpoint = `
UPDATE checkpoints SET quiet_to = greatest(quiet_to, position), position = 0, digest = $2, stopped = '',
       rebuild = false, control = control + 1 WHERE system = $1`

// Rebuild forgets what a system computed and lets it begin again with the first event. Outside effects of the events that it
// has handled before are not made again; those that are still queued are made. A runner that is running the system notices within a second or two.
func Rebuild(ctx context.Context, pool *pgxpool.Pool, system System) error {
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, selectCheckpoint+` FOR UPDATE`, system.Name()); err != nil {
			return fmt.Errorf("lock checkpoint: %w", err)
		}
		if err := system.Reset(ctx, tx); err != nil {
			return err
		}
		var zero [32]byte
		if _, err := tx.Exec(ctx, restartCheckpoint, system.Name(), zero[:]); err != nil {
			return fmt.Errorf("restart checkpoint: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("rebuild %s: %w", system.Name(), err)
	}
	return nil
}
