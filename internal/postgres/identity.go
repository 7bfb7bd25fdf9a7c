package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/orderstore/orderstore/internal/dirlock"
)

// identity is who the server runs as. The zero value is the user of this process.
type identity struct {
	drop     bool // switch to uid and gid: this process is root, which Postgres refuses to run as
	uid, gid int
	search   bool // keep the capability to pass closed directories on the way to the data
}

func (i identity) processAttributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if !i.drop {
		return attr
	}
	attr.Credential = &syscall.Credential{Uid: uint32(i.uid), Gid: uint32(i.gid)} //nolint:gosec // ids of users are never negative here
	if i.search {
		keepSearch(attr)
	}
	return attr
}

// own gives path to the identity.
func (i identity) own(path string) error {
	if !i.drop {
		return nil
	}
	return os.Lchown(path, i.uid, i.gid)
}

// chooseIdentity decides who runs the server and makes sure that this user reaches the directory. Root hands the
// directory to another user; where a parent is closed to that user, as that of a directory from mktemp is, the
// server keeps the one capability it takes to pass.
func chooseIdentity(ctx context.Context, dir, dataDir string, inst installation) (identity, error) {
	if os.Geteuid() != 0 {
		return identity{}, nil
	}
	as, err := ownerFor(dataDir)
	if err != nil {
		return identity{}, err
	}
	if err := handOver(dir, dataDir, as); err != nil {
		return identity{}, err
	}
	err = tryPrograms(ctx, as, dir, inst)
	if errors.Is(err, fs.ErrPermission) && canKeepSearch {
		as.search = true
		// The capability takes effect in the program, not before it, so it cannot be started within dir.
		err = tryPrograms(ctx, as, "/", inst)
	}
	if errors.Is(err, fs.ErrPermission) {
		return identity{}, closedTo(as, dir)
	}
	if err != nil {
		return identity{}, fmt.Errorf("try the postgres programs as user %d: %w", as.uid, err)
	}
	return as, nil
}

// tryPrograms runs a server program as the identity from the directory within.
func tryPrograms(ctx context.Context, as identity, within string, inst installation) error {
	cmd := inst.command(as, "postgres", "--version")
	cmd.Dir = within
	_, err := runProcess(ctx, cmd)
	return err
}

func closedTo(as identity, dir string) error {
	return sentence(ErrUnreachable, "PostgreSQL does not run as root, and user %d, which it would run as, cannot reach "+
		"%s: choose a data directory whose parents are open to everybody (chmod o+x), or run as an ordinary user", as.uid, dir)
}

// ownerFor keeps the owner of existing data, so that a cluster made by an ordinary user stays that user's; new data
// belongs to user postgres, else nobody.
func ownerFor(dataDir string) (identity, error) {
	info, err := os.Stat(dataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return identity{}, fmt.Errorf("inspect data directory: %w", err)
	}
	if err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
			return identity{drop: true, uid: int(stat.Uid), gid: int(stat.Gid)}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(account.Uid)
		gid, gidErr := strconv.Atoi(account.Gid)
		if uidErr != nil || gidErr != nil || uid <= 0 {
			continue
		}
		return identity{drop: true, uid: uid, gid: gid}, nil
	}
	return identity{}, sentence(ErrUnreachable, "PostgreSQL does not run as root, and this machine has neither a user "+
		"postgres nor a user nobody to run it as: run as an ordinary user")
}

// handOver gives the directory to the identity, and the data too where root owns it, as after a copy by root.
func handOver(dir, dataDir string, as identity) error {
	for _, path := range []string{dir, dirlock.Path(dir)} {
		if err := as.own(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("hand over %s: %w", path, err)
		}
	}
	return filepath.WalkDir(dataDir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("hand over data: %w", err)
		}
		if path == dataDir {
			owned, err := ownedBy(path, as.uid)
			if err != nil {
				return err
			}
			if owned {
				return filepath.SkipAll
			}
		}
		return as.own(path)
	})
}

func ownedBy(path string, uid int) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("inspect %s: %w", path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == uid, nil
}
