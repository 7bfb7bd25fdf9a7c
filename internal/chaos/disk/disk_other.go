//go:build !linux

package disk

import (
	"context"
	"fmt"
	"runtime"
)

// Disk is a mounted image. There is none on this system.
type Disk struct{ cfg Config }

// Make says that images are mounted on Linux alone.
func Make(context.Context, Config) (*Disk, error) {
	return nil, fmt.Errorf("%w: that takes Linux, and this is %s", ErrMayNotMount, runtime.GOOS)
}

// Mount is where the file system is.
func (d *Disk) Mount() string { return d.cfg.Mount }

// Cut cannot be had here.
func (d *Disk) Cut(context.Context) error { return ErrMayNotMount }

// Swap cannot be had here.
func (d *Disk) Swap(context.Context) (Lost, error) { return Lost{}, ErrMayNotMount }

// Fill cannot be had here.
func (d *Disk) Fill() (int64, error) { return 0, ErrMayNotMount }

// Free has nothing to free.
func (d *Disk) Free() error { return nil }

// Close has nothing to close.
func (d *Disk) Close(context.Context) error { return nil }

// Sweep finds nothing.
func Sweep(context.Context) (int, error) { return 0, nil }
