package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// ErrNewerSchema is wrapped by the error of Migrate when the database has migrations this binary does not know.
var ErrNewerSchema = errors.New("database schema is newer than this binary")

// Migrations run one process at a time; the others try again each second for ten minutes.
const (
	migrateLockPeriodSeconds = 1
	migrateLockAttempts      = 600
)

// ErrStandbySchema is wrapped by the error of Migrate when the database is a standby whose primary has not been migrated.
var ErrStandbySchema = errors.New("the primary of this standby is not migrated")

// Migrate brings the database at url to the newest migration in dir of fsys. Several processes may call it at once:
// a session advisory lock lets one through, and the others find nothing left to do. A standby gets its schema from its primary: there
// Migrate only looks whether it has. Who may do what is brought up to date too.
func Migrate(ctx context.Context, url string, fsys fs.FS, dir string) (err error) {
	cc, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("parse postgres url: %w", err)
	}
	cc.RuntimeParams["application_name"] = "orderstore-migrate"
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = defaultConnectTimeout
	}
	db := stdlib.OpenDB(*cc)
	defer func() {
		if closeErr := db.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("close migration connection: %w", closeErr)
		}
	}()
	sub, err := fs.Sub(fsys, dir)
	if err != nil {
		return fmt.Errorf("read migrations of database %s: %w", cc.Database, err)
	}
	provider, err := migrationProvider(db, sub)
	if err != nil {
		return fmt.Errorf("read migrations of database %s: %w", cc.Database, err)
	}
	standby, err := inRecovery(db.QueryRowContext(ctx, selectInRecovery))
	if err != nil {
		return fmt.Errorf("migrate database %s: %w", cc.Database, err)
	}
	if standby {
		return checkStandby(ctx, provider, cc.Database)
	}
	if err := checkVersion(ctx, provider, cc.Database); err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate database %s%s: %w", cc.Database, faultyFile(err), err)
	}
	if err := applyAccess(ctx, db, sub); err != nil {
		return fmt.Errorf("grant access to database %s: %w", cc.Database, err)
	}
	// Again, since a newer binary may have migrated while this one waited for the lock.
	return checkVersion(ctx, provider, cc.Database)
}

func migrationProvider(db *sql.DB, sub fs.FS) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(migrateLockPeriodSeconds, migrateLockAttempts))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, sub,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
}

func checkVersion(ctx context.Context, provider *goose.Provider, database string) error {
	current, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read migration version of database %s: %w", database, err)
	}
	if current > known {
		return sentence(ErrNewerSchema, "database %s is at migration %d, this binary knows %d: use a newer orderstore",
			database, current, known)
	}
	return nil
}

// faultyFile names the migration that broke off.
func faultyFile(err error) string {
	partial, ok := errors.AsType[*goose.PartialError](err)
	if !ok || partial.Failed == nil || partial.Failed.Source == nil {
		return ""
	}
	return " with " + partial.Failed.Source.Path
}

// checkStandby only reads. A standby without any migration has no table of them either, and none can be made there.
func checkStandby(ctx context.Context, provider *goose.Provider, database string) error {
	current, known, err := provider.GetVersions(ctx)
	pgErr, refused := errors.AsType[*pgconn.PgError](err)
	if refused = refused && pgErr.Code == codeReadOnlyTransaction; refused {
		err = nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("read migration version of database %s: %w", database, err)
	case refused, current < known:
		return sentence(ErrStandbySchema, "database %s is a standby at migration %d, this binary needs %d: run orderstore migrate on its primary first",
			database, current, known)
	case current > known:
		return checkVersion(ctx, provider, database)
	}
	return nil
}
