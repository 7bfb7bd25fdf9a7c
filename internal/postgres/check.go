package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/seeded"
)

// ErrUnsafeSettings is wrapped by the error of CheckSettings when the server may lose what it has acknowledged.
var ErrUnsafeSettings = errors.New("postgres settings are not durable")

// Settings is what the server says of its durability, as seen by one session of the pool that asked.
type Settings struct {
	ServerVersion           int    // like 150018
	Fsync                   string // on, off
	FullPageWrites          string // on, off
	SynchronousCommit       string // on, off, local, remote_write, remote_apply
	SynchronousStandbyNames string // empty: no commit waits for a standby
	WALLevel                string // minimal, replica, logical
	DataChecksums           string // on, off
	InRecovery              bool   // a standby: it takes no writes
}

// SettingsOption relaxes CheckSettings.
type SettingsOption func(*settingsPolicy)

type settingsPolicy struct{ allowUnsafe bool }

// AllowUnsafe accepts settings that lose acknowledged data on a crash. It exists for tests, whose clusters run
// without fsync because their data is thrown away.
func AllowUnsafe() SettingsOption {
	return func(p *settingsPolicy) { p.allowUnsafe = true }
}

// Querier runs one query that returns one row: pools, connections and transactions do.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const selectSettings = `
select current_setting('server_version_num')::int, current_setting('fsync'), current_setting('full_page_writes'),
       current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
       current_setting('wal_level'), current_setting('data_checksums'), pg_is_in_recovery()`

// ReadSettings asks the server for its durability settings.
func ReadSettings(ctx context.Context, db Querier) (Settings, error) {
	var s Settings
	err := db.QueryRow(ctx, selectSettings).Scan(&s.ServerVersion, &s.Fsync, &s.FullPageWrites, &s.SynchronousCommit,
		&s.SynchronousStandbyNames, &s.WALLevel, &s.DataChecksums, &s.InRecovery)
	if err != nil {
		return Settings{}, fmt.Errorf("read postgres settings: %w", err)
	}
	return s, nil
}

// Check joins everything in s that may lose acknowledged data: fsync or full_page_writes off, synchronous_commit
// off or local. The error wraps ErrUnsafeSettings.
func (s Settings) Check() error {
	var faults []error
	if s.Fsync != "on" && !seeded.On(seeded.FsyncOff) {
		faults = append(faults, fmt.Errorf("%w: fsync is %s, set it to on", ErrUnsafeSettings, s.Fsync))
	}
	if s.FullPageWrites != "on" {
		faults = append(faults, fmt.Errorf("%w: full_page_writes is %s, set it to on", ErrUnsafeSettings, s.FullPageWrites))
	}
	if !seeded.On(seeded.AsyncCommit) && s.SynchronousCommit == "off" || s.SynchronousCommit == "local" {
		faults = append(faults, fmt.Errorf("%w: synchronous_commit is %s, set it to on, remote_write or remote_apply",
			ErrUnsafeSettings, s.SynchronousCommit))
	}
	return errors.Join(faults...)
}

// CheckSettings reads the settings through db and refuses those that may lose acknowledged data. A pool opened with
// AsyncCommit sees its own synchronous_commit=off, so ask through the pool whose commits must last.
func CheckSettings(ctx context.Context, db Querier, opts ...SettingsOption) error {
	var policy settingsPolicy
	for _, opt := range opts {
		opt(&policy)
	}
	s, err := ReadSettings(ctx, db)
	if err != nil {
		return err
	}
	if policy.allowUnsafe {
		return nil
	}
	return s.Check()
}
