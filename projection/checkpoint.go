package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	position   int64
	digest     [32]byte
	stopped    string
	generation int64 // of the view's table
	code       int   // version of the view's code that the generation is made by
}

// place is where a view is, without anything else that is known of it.
func (c checkpoint) place() checkpoint { return checkpoint{position: c.position, digest: c.digest} }

const selectCheckpoints = `SELECT view, position, digest, stopped, generation, code FROM checkpoints`

// A view whose checkpoint was taken away is empty, whatever its table still holds.
const insertCheckpoint = `
INSERT INTO checkpoints (view, position, digest, code) VALUES ($1, 0, decode(repeat('00', 32), 'hex'), $2)
ON CONFLICT (view) DO NOTHING`

const lockCheckpoints = `
SELECT c.view FROM checkpoints c JOIN unnest($1::text[], $2::bigint[]) AS v (view, generation) USING (view, generation)
WHERE c.position = $3 AND c.digest = $4 FOR UPDATE OF c`

const updateStopped = `UPDATE checkpoints SET stopped = $2 WHERE view = ANY ($1)`

// The names of views hold neither commas nor quotes.
const advanceViews = `
SELECT advance_views(string_to_array('%s', ','), string_to_array('%s', ',')::bigint[], %d, '\x%x'::bytea, %d, '\x%x'::bytea)`

// loadCheckpoints reads where the views are. Those without a checkpoint are emptied and start at 0.
func loadCheckpoints(ctx context.Context, pool *pgxpool.Pool, views []view) (map[string]checkpoint, error) {
	points, err := readCheckpoints(ctx, pool)
	if err != nil {
		return nil, err
	}
	known := make(map[string]checkpoint, len(views))
	for _, v := range views {
		at, ok := points[v.name]
		if !ok {
			if err := startOver(ctx, pool, v); err != nil {
				return nil, err
			}
			at = checkpoint{generation: 1, code: v.code}
		}
		known[v.name] = at
	}
	return known, nil
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
	_, err = pgx.ForEachRow(rows, []any{&name, &at.position, &digest, &at.stopped, &at.generation, &at.code}, func() error {
		copy(at.digest[:], digest)
		points[name] = at
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return points, nil
}

func startOver(ctx context.Context, pool *pgxpool.Pool, v view) error {
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, insertCheckpoint, v.name, v.code)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM skips WHERE view = $1`, v.name); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "TRUNCATE "+pgx.Identifier{v.name}.Sanitize())
		return err
	})
	if err != nil {
		return fmt.Errorf("start view %s: %w", v.name, err)
	}
	return nil
}

// Reset makes views start over: their tables are emptied and their checkpoints taken away. A running projection notices and
// builds them again from the log.
func Reset(ctx context.Context, pool *pgxpool.Pool, views ...string) error {
	return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		for _, name := range views {
			if !slices.Contains(Views(), name) {
				return noView(name)
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
func stopCheckpoints(ctx context.Context, pool *pgxpool.Pool, all, stopping []view, at checkpoint, reason string) error {
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, lockCheckpoints, namesOf(all), generationsOf(all), at.position, at.digest[:])
		if err != nil {
			return err
		}
		if tag.RowsAffected() != int64(len(all)) {
			return errMoved
		}
		_, err = tx.Exec(ctx, updateStopped, namesOf(stopping), reason)
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

// holdTables keeps the tables of views from being switched until the transaction ends. It has to come before anything else in a
// snapshot: a table that takes another's place later holds what the snapshot cannot see whole.
func holdTables(ctx context.Context, tx pgx.Tx, views ...string) error {
	if _, err := tx.Exec(ctx, "LOCK TABLE "+strings.Join(views, ", ")+" IN ACCESS SHARE MODE"); err != nil {
		return fmt.Errorf("hold views: %w", err)
	}
	return nil
}
