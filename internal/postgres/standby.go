package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
)

const selectInRecovery = `SELECT pg_is_in_recovery()`

// InRecovery tells whether the server is a standby: it takes no writes, and what is read there is as its primary was some time ago.
func InRecovery(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	return inRecovery(pool.QueryRow(ctx, selectInRecovery))
}

func inRecovery(row interface{ Scan(into ...any) error }) (standby bool, err error) {
	if err := row.Scan(&standby); err != nil {
		return false, fmt.Errorf("ask whether the server is a standby: %w", err)
	}
	return standby, nil
}

// StartStandby makes a copy of a running primary, unless cfg.Dir holds one, and starts it as a standby that follows it. Databases of
// cfg are of no effect. The primary waits for it where its synchronous_standby_names say so; its name there is its directory's.
func StartStandby(ctx context.Context, primary *Cluster, cfg ClusterConfig) (*Cluster, error) {
	return startCluster(ctx, cfg, primary)
}

// StartStandbyOf is StartStandby for a primary that another process runs, by a URL that Cluster.URL gave there.
func StartStandbyOf(ctx context.Context, primary string, cfg ClusterConfig) (*Cluster, error) {
	at, err := url.Parse(primary)
	if err != nil {
		return nil, errors.New("the primary's URL cannot be read") // what is wrong with it may hold the password
	}
	of := &Cluster{}
	of.password, _ = at.User.Password()
	if of.port, err = strconv.Atoi(at.Port()); err != nil {
		return nil, fmt.Errorf("the primary's port: %w", err)
	}
	return startCluster(ctx, cfg, of)
}

// ensureCopy takes a base backup of the primary if there is no data yet, beside its final place as ensureData does. A standby has
// its primary's users and passwords.
func ensureCopy(
	ctx context.Context, primary *Cluster, dir, dataDir string, inst installation, as identity, cfg ClusterConfig,
) (string, error) {
	removeUnfinished(dir, cfg)
	_, err := os.Stat(dataDir)
	if err == nil {
		return primary.password, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("inspect data directory: %w", err)
	}
	unfinished, err := os.MkdirTemp(dir, unfinishedPrefix)
	if err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	if err := copyPrimary(ctx, primary, unfinished, inst, as); err != nil {
		_ = os.RemoveAll(unfinished)
		return "", err
	}
	if err := os.Rename(unfinished, dataDir); err != nil {
		return "", fmt.Errorf("put data directory in place: %w", err)
	}
	return primary.password, syncDir(dir, cfg.Durable)
}

// copyPrimary runs pg_basebackup, which also writes down whom the copy follows.
func copyPrimary(ctx context.Context, primary *Cluster, target string, inst installation, as identity) error {
	if err := as.own(target); err != nil {
		return fmt.Errorf("hand over data directory: %w", err)
	}
	follow := "host=" + loopback + " port=" + strconv.Itoa(primary.port) + " user=" + superuser + " sslmode=disable application_name=" +
		filepath.Base(filepath.Dir(target))
	cmd := inst.whole().command(as, "pg_basebackup", "--pgdata="+target, "--dbname="+follow, "--write-recovery-conf",
		"--wal-method=stream", "--checkpoint=fast", "--no-password")
	cmd.Env = append(cmd.Env, "PGPASSWORD="+primary.password)
	endWithParent(cmd, deathKill)
	out, err := runProcess(ctx, cmd)
	if err == nil {
		return nil
	}
	if line := meaningfulLine(out); line != "" {
		return fmt.Errorf("copy the primary: %s", line)
	}
	return fmt.Errorf("copy the primary: %w", err)
}

// whole is the installation as its package put it: a directory of links may have the server's programs alone.
func (i installation) whole() installation {
	server, err := filepath.EvalSymlinks(filepath.Join(i.binDir, "postgres"))
	if err != nil || executable(filepath.Join(i.binDir, "pg_basebackup")) {
		return i
	}
	return installation{binDir: filepath.Dir(server), major: i.major}
}
