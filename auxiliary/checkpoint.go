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

// Systems that go together do not wait for what somebody does to one of them, such as a rebuild: that one is left behind. It goes
// alone then, and waits.
const (
	lockCheckpoint = `
SELECT system, position, quiet_to, control, '' FROM checkpoints WHERE system = ANY ($1) FOR UPDATE`
	lockCheckpoints = `
SELECT system, position, quiet_to, control, set_config('lock_timeout', '1s', true)
FROM checkpoints WHERE system = ANY ($1) ORDER BY system FOR UPDATE SKIP LOCKED`
)

// errHeld says that somebody else holds the checkpoint.
var errHeld = errors.New("the checkpoint is held")

// lock holds the members' positions until the transaction ends, and notes up to where they are quiet. It blames one that is not
// where it should be, or of which somebody asked for something meanwhile, with errMoved. Two processes that run the same system
// therefore never apply an event twice.
func lock(ctx context.Context, tx pgx.Tx, how string, members []*member) error {
	rows, err := tx.Query(ctx, how, namesOf(members))
	if err != nil {
		return fmt.Errorf("lock checkpoints: %w", err)
	}
	found := map[string]checkpoint{}
	var system string
	var cp checkpoint
	var timeout string
	_, err = pgx.ForEachRow(rows, []any{&system, &cp.position, &cp.quietTo, &cp.control, &timeout}, func() error {
		found[system] = cp
		return nil
	})
	if err != nil {
		return fmt.Errorf("lock checkpoints: %w", err)
	}
	for _, m := range members {
		cp, ok := found[m.w.system.Name()]
		if !ok && how == lockCheckpoints {
			return &blame{m, errHeld}
		}
		if !ok || cp.position != m.at.position || cp.control != m.at.control {
			return &blame{m, errMoved}
		}
		m.at.quietTo = cp.quietTo
	}
	return nil
}

func namesOf(members []*member) []string {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.w.system.Name()
	}
	return names
}

const updateCheckpoints = `UPDATE checkpoints SET position = $2, digest = $3, stopped = '' WHERE system = ANY ($1)`

func moveCheckpoints(ctx context.Context, tx pgx.Tx, members []*member, position int64, digest [32]byte) error {
	if _, err := tx.Exec(ctx, updateCheckpoints, namesOf(members), position, digest[:]); err != nil {
		return fmt.Errorf("move checkpoints: %w", err)
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
