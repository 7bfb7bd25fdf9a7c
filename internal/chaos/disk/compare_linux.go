package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// compare tells what the files below one folder have that those below another lack. Content is read where the file changed since then.
func compare(before, after string, since time.Time) (Lost, error) {
	var lost Lost
	err := filepath.WalkDir(before, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		was, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(before, path)
		if err != nil {
			return err
		}
		other := filepath.Join(after, name)
		is, err := os.Stat(other)
		if errors.Is(err, fs.ErrNotExist) {
			lost = lost.Add(Lost{Files: 1, Bytes: was.Size()})
			return nil
		}
		if err != nil {
			return err
		}
		missing := max(was.Size()-is.Size(), is.Size()-was.Size())
		if was.ModTime().After(since) {
			changed, err := differ(path, other)
			if err != nil {
				return err
			}
			missing += changed
		}
		if missing > 0 {
			lost = lost.Add(Lost{Files: 1, Bytes: missing})
		}
		return nil
	})
	return lost, err
}

const page = 4096

// differ counts the bytes of the pages in which two files differ, as far as both reach.
func differ(one, other string) (int64, error) {
	a, err := os.Open(one) //nolint:gosec // on disks of ours
	if err != nil {
		return 0, err
	}
	defer func() { _ = a.Close() }()
	b, err := os.Open(other) //nolint:gosec // on disks of ours
	if err != nil {
		return 0, err
	}
	defer func() { _ = b.Close() }()
	var changed int64
	bufA, bufB := make([]byte, 64*page), make([]byte, 64*page)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		for at := 0; at < min(n, m); at += page {
			end := min(at+page, n, m)
			if !bytes.Equal(bufA[at:end], bufB[at:end]) {
				changed += int64(end - at)
			}
		}
		if errA != nil || errB != nil {
			return changed, errors.Join(ended(errA), ended(errB))
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

const ballast = "chaos-ballast"

// Fill takes all room that is left, and tells how much that was.
func (d *Disk) Fill() (int64, error) {
	file, err := os.OpenFile(filepath.Join(d.cfg.Mount, ballast), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("make ballast: %w", err)
	}
	var size int64
	for chunk := int64(64 << 20); chunk >= page; {
		err := unix.Fallocate(int(file.Fd()), 0, size, chunk)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ENOSPC) {
			chunk /= 2
			continue
		}
		if err != nil {
			return size, errors.Join(fmt.Errorf("fill the disk: %w", err), file.Close())
		}
		size += chunk
	}
	return size, file.Close()
}

// Free gives the room back.
func (d *Disk) Free() error {
	if err := os.Remove(filepath.Join(d.cfg.Mount, ballast)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("free the disk: %w", err)
	}
	return nil
}
