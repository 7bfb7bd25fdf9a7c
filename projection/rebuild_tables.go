package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

func table(schema, name string) string { return pgx.Identifier{schema, name}.Sanitize() }

const insertBuild = `INSERT INTO next_views.builds (view, code, started_at) VALUES ($1, $2, $3)`

// create makes the table of a view's next generation: as the live one is, with its primary key and without its other indexes, which are
// made once the rows are there.
func (r *rebuilder) create(ctx context.Context, v view) error {
	live, next := table(r.schema, v.name), table(nextSchema, v.name)
	return postgres.InTx(ctx, r.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertBuild, v.name, v.code, r.cfg.Now()); err != nil {
			return err
		}
		for _, sql := range []string{
			"DROP TABLE IF EXISTS " + next,
			"CREATE TABLE " + next + " (LIKE " + live + ` INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION
				INCLUDING GENERATED INCLUDING STATISTICS)`,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		for _, query := range []string{selectOptions, selectOwner, selectGrants, selectPolicies, selectStatistics, selectConstraints} {
			if err := r.likewise(ctx, tx, query, live, next); err != nil {
				return err
			}
		}
		return nil
	})
}

// These make statements that give a table ($2) what another one ($1) has and LIKE does not copy. Autovacuum leaves the new table alone
// until it is live: it would hold up the switch.
const (
	selectOptions = `
SELECT format('ALTER TABLE %s SET (%s)', $2::text,
    array_to_string(array_append(array_remove(reloptions, 'autovacuum_enabled=false'), 'autovacuum_enabled=false'), ', '))
FROM pg_class WHERE oid = $1::regclass`
	selectOwner  = `SELECT format('ALTER TABLE %s OWNER TO %s', $2::text, relowner::regrole) FROM pg_class WHERE oid = $1::regclass AND relowner <> current_user::regrole`
	selectGrants = `
SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, $2::text,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $1::regclass AND a.grantee <> c.relowner`
	// Its policies name their functions and columns, no table.
	selectPolicies = `
SELECT format('CREATE POLICY %1$I ON %2$s USING (%3$s) WITH CHECK (%4$s); COMMENT ON POLICY %1$I ON %2$s IS %5$L',
    polname, $2::text, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), obj_description(oid, 'pg_policy'))
FROM pg_policy WHERE polrelid = $1::regclass
UNION ALL
SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', $2::text) FROM pg_class WHERE oid = $1::regclass AND relrowsecurity`
	selectStatistics = `
SELECT format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', $2::text, attname, attstattarget)
FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0`
	selectConstraints = `
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', $2::text, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid = $1::regclass AND contype IN ('p', 'u', 'x') ORDER BY conname`
	// Definitions of indexes name the table with its schema.
	selectIndexes = `
SELECT replace(pg_get_indexdef(i.indexrelid), ' ON ' || $1::text || ' USING ', ' ON ' || $2::text || ' USING ')
FROM pg_index i WHERE i.indrelid = $1::regclass AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
ORDER BY i.indexrelid`
)

// likewise runs the statements that a query makes.
func (r *rebuilder) likewise(ctx context.Context, tx pgx.Tx, query, live, next string) error {
	statements, err := texts(ctx, tx, query, live, next)
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func texts(ctx context.Context, db querier, query string, args ...any) ([]string, error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

const updateIndexed = `UPDATE next_views.builds SET indexed = true WHERE view = ANY ($1)`

// Indexes are made by one process at a time, so that as little as can be is taken from the readers.
const gentleIndexing = `SET LOCAL max_parallel_maintenance_workers = 0; SET LOCAL maintenance_work_mem = '128MB'`

// index makes the indexes that the live tables have, and tells the planner what is in them.
func (b *builder) index(ctx context.Context) error {
	if b.indexed {
		return nil
	}
	err := postgres.InTx(ctx, b.r.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, gentleIndexing); err != nil {
			return err
		}
		for i, v := range b.views {
			b.r.cfg.Progress(Progress{Views: namesOf(b.views), Stage: StageIndex, Position: int64(i), Target: int64(len(b.views))})
			if err := b.r.indexTable(ctx, tx, v); err != nil {
				return fmt.Errorf("index %s: %w", v.name, err)
			}
		}
		_, err := tx.Exec(ctx, updateIndexed, namesOf(b.views))
		return err
	})
	if err != nil {
		return fmt.Errorf("make indexes: %w", err)
	}
	b.indexed = true
	return b.r.reach("indexed")
}

// qualified is a table's name as Postgres writes it in definitions, which quotes only where it must.
func (r *rebuilder) qualified(ctx context.Context, tx pgx.Tx, schema, name string) (string, error) {
	var s string
	err := tx.QueryRow(ctx, `SELECT format('%I.%I', $1::text, $2::text)`, schema, name).Scan(&s)
	return s, err
}

func (r *rebuilder) indexTable(ctx context.Context, tx pgx.Tx, v view) error {
	live, err := r.qualified(ctx, tx, r.schema, v.name)
	if err != nil {
		return err
	}
	next, err := r.qualified(ctx, tx, nextSchema, v.name)
	if err != nil {
		return err
	}
	if err := r.likewise(ctx, tx, selectIndexes, live, next); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "ANALYZE "+next)
	return err
}

// selectShape describes a table: its columns, indexes and constraints.
const selectShape = `
SELECT format('column %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull)
FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'index ' || regexp_replace(pg_get_indexdef(indexrelid), ' ON \S+ USING ', ' USING ') FROM pg_index WHERE indrelid = $1::regclass
UNION ALL
SELECT 'constraint ' || conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::regclass AND contype <> 'n'
UNION ALL
SELECT format('grant %s to %s', a.privilege_type, a.grantee) FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $1::regclass AND a.grantee <> c.relowner
UNION ALL
SELECT format('rows %s, %s, %s', c.relrowsecurity, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid WHERE c.oid = $1::regclass
ORDER BY 1`

// sameShape refuses a table that lacks what a migration has given the live one since it was made.
func (r *rebuilder) sameShape(ctx context.Context, tx pgx.Tx, v view) error {
	live, err := texts(ctx, tx, selectShape, table(r.schema, v.name))
	if err != nil {
		return err
	}
	next, err := texts(ctx, tx, selectShape, table(nextSchema, v.name))
	if err != nil {
		return err
	}
	if !slices.Equal(live, next) {
		return fmt.Errorf("the table of %s was migrated since its rebuild began: run orderstore rebuild %s --abort, then begin again", v.name, v.name)
	}
	return nil
}

const deleteNextSkips = `
DELETE FROM skips s USING checkpoints c WHERE s.view = $1 AND c.view = s.view AND s.generation > c.generation`

// Abort throws away what was built of views' next generations. It gives the names of those that there were.
func Abort(ctx context.Context, cfg RebuildConfig) ([]string, error) {
	r, dropped := newRebuilder(cfg), []string(nil)
	err := r.alone(ctx, func() error {
		views, err := r.chosen()
		if err != nil {
			return err
		}
		return postgres.InTx(ctx, cfg.Pool, func(tx pgx.Tx) error {
			for _, v := range views {
				tag, err := tx.Exec(ctx, `DELETE FROM next_views.builds WHERE view = $1`, v.name)
				if err != nil {
					return fmt.Errorf("abort %s: %w", v.name, err)
				}
				if _, err := tx.Exec(ctx, deleteNextSkips, v.name); err != nil {
					return fmt.Errorf("abort %s: %w", v.name, err)
				}
				if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+table(nextSchema, v.name)); err != nil {
					return fmt.Errorf("abort %s: %w", v.name, err)
				}
				if tag.RowsAffected() > 0 {
					dropped = append(dropped, v.name)
				}
			}
			return nil
		})
	})
	return dropped, err
}

const deleteKept = `DELETE FROM old_views.kept WHERE view = $1 RETURNING generation, position`

// Dropped is a former generation that was dropped.
type Dropped struct {
	View       string
	Generation int64
}

// DropOld drops the kept former generations of views.
func DropOld(ctx context.Context, cfg RebuildConfig) ([]Dropped, error) {
	r, dropped := newRebuilder(cfg), []Dropped(nil)
	err := r.alone(ctx, func() error {
		views, err := r.chosen()
		if err != nil {
			return err
		}
		dropped, err = r.dropOld(ctx, namesOf(views))
		return err
	})
	return dropped, err
}

func (r *rebuilder) dropOld(ctx context.Context, names []string) ([]Dropped, error) {
	var dropped []Dropped
	err := postgres.InTx(ctx, r.cfg.Pool, func(tx pgx.Tx) error {
		for _, name := range names {
			a := Audit{At: r.cfg.Now(), Who: r.cfg.Who, Action: ActionDrop, View: name}
			one := Dropped{View: name}
			err := tx.QueryRow(ctx, deleteKept, name).Scan(&one.Generation, &a.Position)
			if errors.Is(err, pgx.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+table(oldSchema, name)); err != nil {
				return err
			}
			a.Reason = fmt.Sprintf("generation %d", one.Generation)
			if err := a.write(ctx, tx); err != nil {
				return err
			}
			dropped = append(dropped, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("drop former generations: %w", err)
	}
	return dropped, nil
}

func tables(schema string, views []view) string {
	names := make([]string, len(views))
	for i, v := range views {
		names[i] = table(schema, v.name)
	}
	return strings.Join(names, ", ")
}
