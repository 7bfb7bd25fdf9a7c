package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// The files that say who may do what, in the folder of a database's migrations.
const (
	accessGrants = "access/grants.sql"
	accessRows   = "access/rows.sql"
)

// RoleOf is the role that a component of the system acts as.
func RoleOf(component string) string { return "orderstore_" + component }

const (
	lockAccess = `SELECT pg_advisory_xact_lock(hashtext('orderstore access'))`
	// A database is ours alone. What everybody has by default nobody needs.
	revokeDefaults = `
DO $$
DECLARE
    component text;
BEGIN
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    FOR component IN SELECT rolname FROM pg_roles WHERE rolname = ANY (ARRAY['orderstore_command', 'orderstore_identity', 'orderstore_relay',
        'orderstore_projection', 'orderstore_query', 'orderstore_broadcast', 'orderstore_auxiliary']) LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), component);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), component);
    END LOOP;
END
$$`
	selectApplied = `SELECT digest FROM applied_grants`
	storeApplied  = `INSERT INTO applied_grants (digest) VALUES ($1) ON CONFLICT (one) DO UPDATE SET digest = excluded.digest`
)

// applyAccess brings grants and policies up to date, where the migrations have any. Where they are already, it changes nothing and takes no
// lock that anybody waits for.
func applyAccess(ctx context.Context, db *sql.DB, migrations fs.FS) error {
	grants, err := fs.ReadFile(migrations, accessGrants)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read grants: %w", err)
	}
	rows, err := fs.ReadFile(migrations, accessRows)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read policies: %w", err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, lockAccess); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if err := applyGrants(ctx, tx, string(grants)); err != nil {
		return err
	}
	if text := strings.TrimSpace(string(rows)); text != "" {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("apply policies: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func applyGrants(ctx context.Context, tx *sql.Tx, grants string) error {
	digest := sha256.Sum256([]byte(grants))
	var applied []byte
	err := tx.QueryRowContext(ctx, selectApplied).Scan(&applied)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read applied grants: %w", err)
	}
	if string(applied) == string(digest[:]) {
		return nil
	}
	for _, statements := range []string{revokeDefaults, grants} {
		if _, err := tx.ExecContext(ctx, statements); err != nil {
			return fmt.Errorf("apply grants: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, storeApplied, digest[:]); err != nil {
		return fmt.Errorf("store applied grants: %w", err)
	}
	return nil
}
