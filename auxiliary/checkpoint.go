package auxiliary

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errMoved says that the system's position is not where this process left it: another process, or a rebuild, moved it.
var errMoved = errors.New("the position was moved by another process")

// errPaused says that a person paused the system.
var errPaused = errors.New("paused")

// checkpoint is how far a system is, and what people ask of it.
type checkpoint struct {
	position int64
	digest   [32]byte
	quietTo  int64
	paused   bool
	rebuild  bool
	control  int64 // another one: somebody asked for something
}

const insertCheckpoint = `
INSERT INTO checkpoints (system, position, digest, quiet_to) VALUES ($1, 0, $2, $3) ON CONFLICT (system) DO NOTHING`

const selectCheckpoint = `SELECT position, digest, quiet_to, paused, rebuild, control FROM checkpoints WHERE system = $1`

// loadCheckpoint reads where a system is. One that never ran starts before the first event.
func loadCheckpoint(ctx context.Context, pool *pgxpool.Pool, system string, quietTo int64) (checkpoint, error) {
	cp, err := scanCheckpoint(pool.QueryRow(ctx, selectCheckpoint, system))
	if !errors.Is(err, pgx.ErrNoRows) {
		return cp, err
	}
	var zero [32]byte
	if _, err := pool.Exec(ctx, insertCheckpoint, system, zero[:], quietTo); err != nil {
		return cp, fmt.Errorf("create checkpoint: %w", err)
	}
	return scanCheckpoint(pool.QueryRow(ctx, selectCheckpoint, system))
}

func scanCheckpoint(row pgx.Row) (checkpoint, error) {
	var cp checkpoint
	var digest []byte
	if err := row.Scan(&cp.position, &digest, &cp.quietTo, &cp.paused, &cp.rebuild, &cp.control); err != nil {
		return cp, fmt.Errorf("read checkpoint: %w", err)
	}
	copy(cp.digest[:], digest)
	return cp, nil
}

// lockCheckpoint holds the system's position until the transaction ends, and fails with errMoved where it is not as want, or
// where somebody asked for something meanwhile. Two
// processes that run the same system therefore never apply an event twice.
func lockCheckpoint(ctx context.Context, tx pgx.Tx, system string, want checkpoint) (checkpoint, error) {
	cp, err := scanCheckpoint(tx.QueryRow(ctx, selectCheckpoint+` FOR UPDATE`, system))
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (cp.position != want.position || cp.control != want.control) {
		return cp, errMoved
	}
	return cp, err
}

const updateCheckpoint = `UPDATE checkpoints SET position = $2, digest = $3, stopped = '' WHERE system = $1`

func moveCheckpoint(ctx context.Context, tx pgx.Tx, system string, position int64, digest [32]byte) error {
	if _, err := tx.Exec(ctx, updateCheckpoint, system, position, digest[:]); err != nil {
		return fmt.Errorf("move checkpoint: %w", err)
	}
	return nil
}

const updateSeen = `UPDATE checkpoints SET seen_at = $2 WHERE system = $1`

const updateStopped = `UPDATE checkpoints SET stopped = $3 WHERE system = $1 AND position = $2 AND stopped <> $3`

func markStopped(ctx context.Context, pool *pgxpool.Pool, system string, position int64, reason string) error {
	if _, err := pool.Exec(ctx, updateStopped, system, position, reason); err != nil {
		return fmt.Errorf("mark stopped: %w", err)
	}
	return nil
}
