package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
)

// errMoved says that a checkpoint is not where this projector left it, so nothing it remembers may be believed.
var errMoved = errors.New("checkpoint moved")

// codeMoved is what advance_checkpoints raises.
const codeMoved = "OS002"

// checkpoint is how far a view is.
type checkpoint struct {
	position int64
	digest   [32]byte
	stopped  string
}

const selectCheckpoints = `SELECT view, position, digest, stopped FROM checkpoints`

// A view whose checkpoint was taken away is empty, whatever its table still holds.
const insertCheckpoint = `
INSERT INTO checkpoints (view, position, digest) VALUES ($1, 0, decode(repeat('00', 32), 'hex'))
ON CONFLICT (view) DO NOTHING`

const lockCheckpoints = `
SELECT view FROM checkpoints WHERE view = ANY ($1) AND position = $2 AND digest = $3 FOR UPDATE`

const updateStopped = `UPDATE checkpoints SET stopped = $2 WHERE view = ANY ($1)`

// The names of views hold neither commas nor quotes.
const advanceCheckpoints = `SELECT advance_checkpoints(string_to_array('%s', ','), %d, '\x%x'::bytea, %d, '\x%x'::bytea)`

// loadCheckpoints reads where the named views are. Those without a checkpoint are emptied and start at 0.
func loadCheckpoints(ctx context.Context, pool *pgxpool.Pool, names []string) (map[string]checkpoint, error) {
	points, err := readCheckpoints(ctx, pool)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, ok := points[name]; ok {
			continue
		}
		if err := startOver(ctx, pool, name); err != nil {
			return nil, err
		}
		points[name] = checkpoint{}
	}
	for name := range points {
		if !slices.Contains(names, name) {
			delete(points, name)
		}
	}
	return points, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func readCheckpoints(ctx context.Context, db querier) (map[string]checkpoint, error) {
	rows, err := db.Query(ctx, selectCheckpoints)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	points := map[string]checkpoint{}
	var name string
	var digest []byte
	var at checkpoint
	_, err = pgx.ForEachRow(rows, []any{&name, &at.position, &digest, &at.stopped}, func() error {
		copy(at.digest[:], digest)
		points[name] = at
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return points, nil
}

func startOver(ctx context.Context, pool *pgxpool.Pool, name string) error {
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, insertCheckpoint, name)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, "TRUNCATE "+pgx.Identifier{name}.Sanitize())
		return err
	})
	if err != nil {
		return fmt.Errorf("start view %s: %w", name, err)
	}
	return nil
}

// Reset makes views start over: their tables are emptied and their checkpoints taken away. A running projection notices and
// builds them again from the log.
func Reset(ctx context.Context, pool *pgxpool.Pool, views ...string) error {
	return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		for _, name := range views {
			if !slices.Contains(Views(), name) {
				return fmt.Errorf("there is no view %q", name)
			}
			if _, err := tx.Exec(ctx, `DELETE FROM checkpoints WHERE view = $1`, name); err != nil {
				return fmt.Errorf("reset view %s: %w", name, err)
			}
			if _, err := tx.Exec(ctx, "TRUNCATE "+pgx.Identifier{name}.Sanitize()); err != nil {
				return fmt.Errorf("reset view %s: %w", name, err)
			}
		}
		return nil
	})
}

// stopCheckpoints notes why some of the views of a checkpoint do not go on, if all of them are still there: where one was taken
// away meanwhile, that may be the reason, and none is stopped for it.
func stopCheckpoints(ctx context.Context, pool *pgxpool.Pool, all, stopping []string, at checkpoint, reason string) error {
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, lockCheckpoints, all, at.position, at.digest[:])
		if err != nil {
			return err
		}
		if tag.RowsAffected() != int64(len(all)) {
			return errMoved
		}
		_, err = tx.Exec(ctx, updateStopped, stopping, reason)
		return err
	})
	if err != nil {
		return fmt.Errorf("stop views: %w", err)
	}
	return nil
}

// movedError tells a lost compare-and-set from every other error.
func movedError(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == codeMoved {
		return fmt.Errorf("%w: %w", errMoved, err)
	}
	return err
}
