// Package disk gives a store a file system of its own, an ext4 image on a loop device, so that a fault test can take from it what a power
// cut takes: all that the kernel had not written to the device. What was written and not flushed to the medium is kept: the host's own disk
// stays on.
package disk

import (
	"errors"
	"time"
)

// ErrMayNotMount is wrapped by the error of Make where this user or machine mounts no images.
var ErrMayNotMount = errors.New("file systems of our own cannot be mounted here")

// Config says what disk to make.
type Config struct {
	// Dir holds the images, and is the disk's alone; made if missing.
	Dir string
	// Mount is where the file system is to be; made if missing.
	Mount string
	// Size in bytes. The image is sparse: it takes what is written to it.
	Size int64
	// UID and GID own the root of the file system.
	UID, GID int
}

// Lost is what a power cut took from a file system: the difference between what its users had seen and what was left.
type Lost struct {
	Files int   // that were missing, shorter, longer or of other content
	Bytes int64 // by which they were shorter or which differed
}

// Add counts what another disk lost.
func (l Lost) Add(other Lost) Lost {
	return Lost{Files: l.Files + other.Files, Bytes: l.Bytes + other.Bytes}
}

const (
	// imageSuffix tells our images from others when leftovers are looked for.
	imageSuffix = ".chaos-disk"
	// freshFor is how long what was written may lie in memory: the kernel starts to write it after 30 s. Older files are compared by size.
	freshFor = 2 * time.Minute
	// copyTries bound how often a copy is made again because the kernel wrote meanwhile.
	copyTries = 20
	// busyFor is how long a file system may be in use by processes that were just killed.
	busyFor = 10 * time.Second
	poll    = 20 * time.Millisecond
)
