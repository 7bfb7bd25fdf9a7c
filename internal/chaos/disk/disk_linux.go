package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/orderstore/orderstore/internal/dirlock"
)

// Disk is a mounted image.
type Disk struct {
	cfg        Config
	lock       *dirlock.Lock
	generation int // of the image: each power cut goes on with the next
}

// Make makes the image and mounts it.
func Make(ctx context.Context, cfg Config) (*Disk, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: that takes root, and this is user %d", ErrMayNotMount, os.Geteuid())
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		return nil, fmt.Errorf("%w: mkfs.ext4 is missing (package e2fsprogs)", ErrMayNotMount)
	}
	for _, dir := range []string{cfg.Dir, cfg.Mount} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the server's user has to pass
			return nil, fmt.Errorf("make folder of a disk: %w", err)
		}
	}
	d := &Disk{cfg: cfg}
	if d.lock, err = dirlock.Acquire(cfg.Dir); err != nil {
		return nil, fmt.Errorf("lock disk %s: %w", cfg.Dir, err)
	}
	if err := d.format(ctx, mkfs); err != nil {
		_ = d.lock.Release()
		return nil, err
	}
	return d, nil
}

func (d *Disk) format(ctx context.Context, mkfs string) error {
	file, err := os.OpenFile(d.image(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make image: %w", err)
	}
	if err := errors.Join(file.Truncate(d.cfg.Size), file.Close()); err != nil {
		return fmt.Errorf("size image: %w", err)
	}
	// No block is kept back for root: a full disk is full for all.
	if err := run(ctx, mkfs, "-q", "-F", "-m", "0", d.image()); err != nil {
		return fmt.Errorf("format image: %w", err)
	}
	if err := mountImage(ctx, d.image(), d.cfg.Mount); err != nil {
		return err
	}
	if err := os.Chown(d.cfg.Mount, d.cfg.UID, d.cfg.GID); err != nil {
		return errors.Join(fmt.Errorf("hand over the file system: %w", err), unmount(ctx, d.cfg.Mount))
	}
	return nil
}

// Mount is where the file system is.
func (d *Disk) Mount() string { return d.cfg.Mount }

func (d *Disk) image() string { return d.imageOf(d.generation) }

func (d *Disk) imageOf(generation int) string {
	return filepath.Join(d.cfg.Dir, strconv.Itoa(generation)+imageSuffix)
}

// Cut copies the image as the device has it: what is in the kernel's memory alone is not in the copy. Whoever writes to the disk has to
// stand still. The copy takes the original's place by Swap.
func (d *Disk) Cut(ctx context.Context) error {
	device, err := deviceOf(d.cfg.Mount)
	if err != nil {
		return err
	}
	for range copyTries {
		before, err := writesTo(device)
		if err != nil {
			return err
		}
		if err := copySparse(d.image(), d.imageOf(d.generation+1)); err != nil {
			return err
		}
		after, err := writesTo(device)
		if err != nil {
			return err
		}
		// The kernel writes by itself: a copy made meanwhile is of no single moment.
		if before == after && before.inFlight == "0" {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("copy %s: it was written to all the time", d.cfg.Mount)
}

// Swap mounts the copy that Cut made in the original's place, and tells what was lost. Nobody may have a file open on the disk.
func (d *Disk) Swap(ctx context.Context) (Lost, error) {
	aside := filepath.Join(d.cfg.Dir, "after")
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return Lost{}, fmt.Errorf("make folder of the copy: %w", err)
	}
	next := d.imageOf(d.generation + 1)
	if err := mountImage(ctx, next, aside); err != nil {
		return Lost{}, err
	}
	lost, err := compare(d.cfg.Mount, aside, time.Now().Add(-freshFor))
	if err = errors.Join(err, unmount(ctx, aside)); err != nil {
		return Lost{}, fmt.Errorf("compare disk with its copy: %w", err)
	}
	if err := unmount(ctx, d.cfg.Mount); err != nil {
		return Lost{}, err
	}
	if err := os.Remove(d.image()); err != nil {
		return Lost{}, fmt.Errorf("remove former image: %w", err)
	}
	d.generation++
	return lost, mountImage(ctx, d.image(), d.cfg.Mount)
}

// Close unmounts the disk and removes its images. What still uses it goes on without anybody seeing it.
func (d *Disk) Close(ctx context.Context) error {
	err := unmount(ctx, d.cfg.Mount)
	if err != nil {
		err = unix.Unmount(d.cfg.Mount, unix.MNT_DETACH)
	}
	images, globErr := filepath.Glob(filepath.Join(d.cfg.Dir, "*"+imageSuffix))
	err = errors.Join(err, globErr)
	for _, image := range images {
		err = errors.Join(err, os.Remove(image))
	}
	return errors.Join(err, d.lock.Release())
}

// Sweep unmounts what earlier runs left mounted because they were killed, and tells how many. Disks of living runs stay.
func Sweep(ctx context.Context) (int, error) {
	mounts, err := mounted()
	if err != nil {
		return 0, err
	}
	swept := 0
	for _, m := range mounts {
		image, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(m.source), "loop", "backing_file"))
		if err != nil {
			continue // no loop device
		}
		path, ours := strings.CutSuffix(strings.TrimSuffix(strings.TrimSpace(string(image)), " (deleted)"), imageSuffix)
		if !ours {
			continue
		}
		lock, err := dirlock.Acquire(filepath.Dir(path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue // of a run that lives
		}
		err = unix.Unmount(m.target, unix.MNT_DETACH)
		if lock != nil {
			err = errors.Join(err, lock.Release())
		}
		if err != nil {
			return swept, fmt.Errorf("unmount leftover %s: %w", m.target, err)
		}
		swept++
	}
	return swept, ctx.Err()
}
