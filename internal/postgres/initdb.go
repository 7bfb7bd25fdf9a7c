package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const unfinishedPrefix = "data.tmp-"

// ensureData makes the data directory if there is none and returns the superuser's password. It is made beside its
// final place and renamed, so a directory named data is always a whole one.
func ensureData(ctx context.Context, dir, dataDir string, inst installation, as identity, cfg ClusterConfig) (string, error) {
	removeUnfinished(dir, cfg)
	_, err := os.Stat(dataDir)
	if err == nil {
		return readPassword(dir, dataDir)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("inspect data directory: %w", err)
	}
	password, err := writePassword(dir, as)
	if err != nil {
		return "", err
	}
	unfinished, err := os.MkdirTemp(dir, unfinishedPrefix)
	if err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	if err := makeData(ctx, unfinished, dir, inst, as, cfg.Durable); err != nil {
		_ = os.RemoveAll(unfinished)
		return "", err
	}
	if err := os.Rename(unfinished, dataDir); err != nil {
		return "", fmt.Errorf("put data directory in place: %w", err)
	}
	return password, syncDir(dir, cfg.Durable)
}

// removeUnfinished clears what an interrupted first start left. A failure costs disk space only.
func removeUnfinished(dir string, cfg ClusterConfig) {
	leftovers, _ := filepath.Glob(filepath.Join(dir, unfinishedPrefix+"*"))
	for _, leftover := range leftovers {
		if err := os.RemoveAll(leftover); err != nil {
			cfg.Log.Warn("remove unfinished data directory", "path", leftover, "error", err)
		}
	}
}

// makeData runs initdb, with the C locale where the machine lacks C.UTF-8.
func makeData(ctx context.Context, target, dir string, inst installation, as identity, durable bool) error {
	if err := as.own(target); err != nil {
		return fmt.Errorf("hand over data directory: %w", err)
	}
	for _, locale := range []string{"C.UTF-8", "C"} {
		args := []string{
			"-D", target, "-U", superuser, "-E", "UTF8", "--locale=" + locale, "--lc-collate=C", "--lc-messages=C",
			"--auth=scram-sha-256", "--pwfile=" + passwordFile(dir),
		}
		if durable {
			args = append(args, "--data-checksums")
		} else {
			args = append(args, "--no-sync")
		}
		cmd := inst.command(as, "initdb", args...)
		endWithParent(cmd, deathKill)
		out, err := runProcess(ctx, cmd)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("initdb: %w", ctx.Err())
		}
		if !strings.Contains(out, "invalid locale name") {
			return initdbError(dir, as, out, err)
		}
	}
	return fmt.Errorf("initdb: this machine has neither locale C.UTF-8 nor C")
}

func initdbError(dir string, as identity, out string, err error) error {
	if diskFullText(out) {
		return diskFull(dir)
	}
	if as.drop && strings.Contains(out, "Permission denied") {
		return closedTo(as, dir)
	}
	if line := meaningfulLine(out); line != "" {
		return fmt.Errorf("initdb: %s", line)
	}
	return fmt.Errorf("initdb: %w", err)
}

func readPassword(dir, dataDir string) (string, error) {
	content, err := os.ReadFile(passwordFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the password of the data in %s is missing: restore %s", dataDir, passwordFile(dir))
	}
	if err != nil {
		return "", fmt.Errorf("read postgres password: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// writePassword keeps a new random password in a file only the server's user (and root) can read. A file without
// data beside it belongs to no cluster, so it is replaced.
func writePassword(dir string, as identity) (string, error) {
	password := rand.Text()
	path := passwordFile(dir)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("replace postgres password: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("write postgres password: %w", err)
	}
	_, err = file.WriteString(password + "\n")
	if err = errors.Join(err, file.Sync(), file.Close(), as.own(path)); err != nil {
		return "", fmt.Errorf("write postgres password: %w", err)
	}
	return password, nil
}

func syncDir(dir string, durable bool) error {
	if !durable {
		return nil
	}
	file, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
