package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/orderstore/orderstore/internal/postgres"
)

// lockFor bounds how long the switch waits for the reads that are under way on a live table, because new reads wait behind it meanwhile.
// It has to be well below deadlock_timeout (1 s): a read that waits for two tables must never be the one to be ended.
const lockFor = "200ms"

// betweenLocks is how long the switch lets reads go before it tries again.
const betweenLocks = 800 * time.Millisecond

// errBusy says that a read under way held the tables for too long.
var errBusy = errors.New("a long read is under way")

const (
	lockNotAvailable = "55P03"
	deadlockDetected = "40P01"
)

// change puts the next generations in the live ones' place.
func (b *builder) change(ctx context.Context) ([]Rebuilt, error) {
	if err := b.r.reach("before switch"); err != nil {
		return nil, err
	}
	if dropped, err := b.r.dropOld(ctx, namesOf(b.views)); err != nil {
		return nil, err
	} else if len(dropped) > 0 {
		b.r.cfg.Logger.InfoContext(ctx, "dropped generations that were kept until now", "dropped", dropped)
	}
	for {
		b.tell(StageSwitch, b.at.position)
		done, err := b.tryChange(ctx)
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && (pgErr.Code == lockNotAvailable || pgErr.Code == deadlockDetected) {
			err = errBusy
		}
		if !errors.Is(err, errBusy) {
			if err == nil {
				err = b.r.reach("switched")
			}
			return done, err
		}
		b.r.cfg.Logger.InfoContext(ctx, "waiting to switch", "views", namesOf(b.views), "cause", err)
		if err := pause(ctx, betweenLocks); err != nil {
			return nil, err
		}
	}
}

// tryChange is the one transaction. Projectors wait from when the checkpoints are locked, reads from when the tables are, which is for
// as long as it takes to change two entries of the catalog.
func (b *builder) tryChange(ctx context.Context) (done []Rebuilt, err error) {
	err = postgres.InTx(ctx, b.r.cfg.Pool, func(tx pgx.Tx) error {
		live, next := tables(b.r.schema, b.views), tables(nextSchema, b.views)
		// Who waits for this lock for a second ends the vacuum that the server runs by itself. Neither reads nor projectors mind.
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on; LOCK TABLE "+live+", "+next+" IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
			return err
		}
		if err := b.near(ctx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "LOCK TABLE "+table(b.r.schema, "checkpoints")+" IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		points, err := readCheckpoints(ctx, tx)
		if err != nil {
			return err
		}
		if err := b.level(ctx, points); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+lockFor+"'; LOCK TABLE "+live+", "+next+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		done = done[:0]
		for _, v := range b.views {
			one, err := b.switchOne(ctx, tx, v, points[v.name])
			if err != nil {
				return fmt.Errorf("switch %s: %w", v.name, err)
			}
			done = append(done, one)
		}
		return b.r.reach("switching")
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// near catches up before projectors are held up.
func (b *builder) near(ctx context.Context) error {
	points, err := b.live(ctx)
	if err != nil {
		return err
	}
	return b.level(ctx, points)
}

// level brings the next generation to the furthest of the live ones, so that none of them goes back.
func (b *builder) level(ctx context.Context, points map[string]checkpoint) error {
	var furthest checkpoint
	for _, v := range b.views {
		at, ok := points[v.name]
		if !ok || at.generation != v.generation-1 {
			return fmt.Errorf("the live generation of %s was changed by somebody else: begin again", v.name)
		}
		if at.position > furthest.position {
			furthest = at
		}
	}
	if err := b.load(ctx, StageSwitch, furthest.position); err != nil {
		return err
	}
	if furthest.position == b.at.position && furthest.digest != b.at.digest {
		return diverged(b.at.position)
	}
	return nil
}

const (
	updateSwitched = `
UPDATE checkpoints SET generation = $2, code = $3, position = $4, digest = $5, stopped = '' WHERE view = $1`
	insertKept = `
INSERT INTO old_views.kept (view, generation, code, position, switched_at) VALUES ($1, $2, $3, $4, $5)`
	deleteBuild = `DELETE FROM next_views.builds WHERE view = $1 AND position = $2`
)

func (b *builder) switchOne(ctx context.Context, tx pgx.Tx, v view, former checkpoint) (Rebuilt, error) {
	if err := b.r.sameShape(ctx, tx, v); err != nil {
		return Rebuilt{}, err
	}
	for _, sql := range []string{
		"ALTER TABLE " + table(b.r.schema, v.name) + " SET SCHEMA " + oldSchema,
		"ALTER TABLE " + table(nextSchema, v.name) + " RESET (autovacuum_enabled)",
		"ALTER TABLE " + table(nextSchema, v.name) + " SET SCHEMA " + pgx.Identifier{b.r.schema}.Sanitize(),
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return Rebuilt{}, err
		}
	}
	if _, err := tx.Exec(ctx, insertKept, v.name, former.generation, former.code, former.position, b.r.cfg.Now()); err != nil {
		return Rebuilt{}, err
	}
	if _, err := tx.Exec(ctx, updateSwitched, v.name, v.generation, v.code, b.at.position, b.at.digest[:]); err != nil {
		return Rebuilt{}, err
	}
	tag, err := tx.Exec(ctx, deleteBuild, v.name, b.at.position)
	if err != nil {
		return Rebuilt{}, err
	}
	if tag.RowsAffected() != 1 {
		return Rebuilt{}, errMoved
	}
	a := Audit{
		At: b.r.cfg.Now(), Who: b.r.cfg.Who, Action: ActionSwitch, View: v.name, Position: b.at.position,
		Reason: fmt.Sprintf("generation %d of code %d after generation %d of code %d", v.generation, v.code, former.generation, former.code),
	}
	if err := a.write(ctx, tx); err != nil {
		return Rebuilt{}, err
	}
	return Rebuilt{
		View: v.name, Generation: v.generation, FromCode: former.code, ToCode: v.code, Position: b.at.position,
		Comparison: b.found[v.name], Events: b.events, Took: b.took,
	}, nil
}
