package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // tools of the system on our own images
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

func mountImage(ctx context.Context, image, target string) error {
	if err := run(ctx, "mount", "-t", "ext4", "-o", "loop,noatime", image, target); err != nil {
		return fmt.Errorf("%w: mount %s: %w", ErrMayNotMount, image, err)
	}
	return nil
}

// unmount waits for processes that were just killed to let go.
func unmount(ctx context.Context, target string) error {
	for deadline := time.Now().Add(busyFor); ; {
		err := unix.Unmount(target, 0)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// mount is one line of the kernel's table.
type mount struct{ source, target string }

func mounted() ([]mount, error) {
	content, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var mounts []mount
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 2 {
			mounts = append(mounts, mount{source: fields[0], target: unescape.Replace(fields[1])})
		}
	}
	return mounts, nil
}

func deviceOf(target string) (string, error) {
	mounts, err := mounted()
	if err != nil {
		return "", err
	}
	if target, err = filepath.EvalSymlinks(target); err != nil {
		return "", fmt.Errorf("resolve mount: %w", err)
	}
	for _, m := range mounts {
		if m.target == target {
			return filepath.Base(m.source), nil
		}
	}
	return "", fmt.Errorf("nothing is mounted at %s", target)
}

// writes are what a block device has been told to write so far.
type writes struct{ done, inFlight string }

func writesTo(device string) (writes, error) {
	content, err := os.ReadFile(filepath.Join("/sys/block", device, "stat"))
	if err != nil {
		return writes{}, fmt.Errorf("read statistics of the device: %w", err)
	}
	fields := strings.Fields(string(content))
	if len(fields) < 9 {
		return writes{}, fmt.Errorf("statistics of %s: %q", device, content)
	}
	return writes{done: fields[4], inFlight: fields[8]}, nil
}

// copySparse copies a file without its holes; at once where the file system can.
func copySparse(from, to string) error {
	source, err := os.Open(from) //nolint:gosec // an image of ours
	if err != nil {
		return fmt.Errorf("open image: %w", err)
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // an image of ours
	if err != nil {
		return fmt.Errorf("make copy of image: %w", err)
	}
	if unix.IoctlFileClone(int(target.Fd()), int(source.Fd())) != nil {
		err = copyData(source, target)
	}
	if err = errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("copy image: %w", err)
	}
	return nil
}

func copyData(source, target *os.File) error {
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if err := target.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); ; {
		start, err := source.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only holes follow
		}
		if err != nil {
			return err
		}
		if at, err = source.Seek(start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := source.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := target.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(target, source, at-start); err != nil {
			return err
		}
	}
}
