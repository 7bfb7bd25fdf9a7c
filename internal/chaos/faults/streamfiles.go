package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/stream"
)

// storeFolder is where a NATS server keeps JetStream, below the folder that it was given.
const storeFolder = "jetstream"

// StreamOlder restores the JetStream store of one server from a copy that is seconds old.
func StreamOlder[C Brokered]() chaos.Fault[C] {
	return chaos.Fault[C]{Kind: "stream.older", Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
		one, err := choose(random, "broker", cluster.Brokers())
		if err != nil {
			return chaos.Bite{}, err
		}
		return restoreOlder(ctx, cluster, random, "stream.older", []Store{one})
	}}
}

// StreamAllOlder restores the JetStream stores of all servers from copies that are seconds old.
func StreamAllOlder[C Brokered]() chaos.Fault[C] {
	return chaos.Fault[C]{Kind: "stream.older_all", Alone: true, Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
		return restoreOlder(ctx, cluster, random, "stream.older_all", cluster.Brokers())
	}}
}

func restoreOlder(ctx context.Context, cluster Brokered, random *rand.Rand, kind string, brokers []Store) (chaos.Bite, error) {
	before, err := streamOf(ctx, cluster.Endpoints())
	if err != nil {
		return chaos.Bite{}, err
	}
	backup, err := os.MkdirTemp("", "orderstore-older-")
	if err != nil {
		return chaos.Bite{}, fmt.Errorf("make folder of backups: %w", err)
	}
	defer func() { _ = os.RemoveAll(backup) }()
	err = stopped(ctx, cluster, brokers, func() error {
		for _, b := range brokers {
			if err := os.CopyFS(filepath.Join(backup, b.Name), os.DirFS(filepath.Join(b.Dir, storeFolder))); err != nil {
				return fmt.Errorf("back up %s: %w", b.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return chaos.Bite{}, err
	}
	age := between(random, time.Second, 4*time.Second)
	if err := pause(ctx, age); err != nil {
		return chaos.Bite{}, err
	}
	now, err := streamOf(ctx, cluster.Endpoints())
	if err != nil {
		return chaos.Bite{}, err
	}
	changed := int64(0)
	err = stopped(ctx, cluster, brokers, func() error {
		for _, b := range brokers {
			n, err := putBack(filepath.Join(backup, b.Name), filepath.Join(b.Dir, storeFolder))
			if err != nil {
				return fmt.Errorf("restore %s: %w", b.Name, err)
			}
			changed += n
		}
		return nil
	})
	bite := chaos.Bite{Kind: kind, Target: names(brokers)}
	if changed != 0 {
		bite.Evidence = fmt.Sprintf("%d bytes of files are gone, of a stream that went from %d to %d since the copy", changed, before.State.LastSeq, now.State.LastSeq)
	}
	if err == nil {
		awaitStream(ctx, cluster, reaches(now.State.LastSeq))
	}
	return bite, err
}

// putBack replaces a folder by another one, and tells how many bytes of message blocks went with it.
func putBack(backup, dir string) (int64, error) {
	had, err := sizeOf(dir)
	if err != nil {
		return 0, err
	}
	has, err := sizeOf(backup)
	if err != nil {
		return 0, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return 0, err
	}
	return had - has, os.CopyFS(dir, os.DirFS(backup))
}

func sizeOf(dir string) (int64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "streams", stream.Name, "msgs", "*.blk"))
	if err != nil {
		return 0, err
	}
	size := int64(0)
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, nil
}

// stopped kills processes, does something to their files, and starts them again, also when that failed.
func stopped(ctx context.Context, cluster Stores, brokers []Store, do func() error) error {
	for _, b := range brokers {
		if err := cluster.Kill(ctx, b.Process); err != nil {
			return fmt.Errorf("kill %s: %w", b.Name, err)
		}
	}
	err := do()
	for _, b := range brokers {
		if started := cluster.Start(ctx, b.Process); started != nil {
			err = errors.Join(err, fmt.Errorf("start %s: %w", b.Name, started))
		}
	}
	return err
}

func names(stores []Store) string {
	if len(stores) == 1 {
		return stores[0].Name
	}
	return fmt.Sprintf("%d servers", len(stores))
}

// StreamTruncated cuts off the end of a message block of one server.
func StreamTruncated[C Brokered]() chaos.Fault[C] {
	return harmBlock[C]("stream.truncated", func(path string, size int64, random *rand.Rand) (string, error) {
		left := random.Int64N(size)
		return fmt.Sprintf("%s had %d bytes and has %d", filepath.Base(path), size, left), os.Truncate(path, left)
	})
}

// StreamFlipped flips bits of a message block of one server.
func StreamFlipped[C Brokered]() chaos.Fault[C] {
	return harmBlock[C]("stream.flipped", func(path string, size int64, random *rand.Rand) (evidence string, err error) {
		file, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // of a store under test
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		const flips = 8
		one := make([]byte, 1)
		places := make([]int64, 0, flips)
		for len(places) < flips {
			at := random.Int64N(size)
			if slices.Contains(places, at) {
				if int64(len(places)) == size {
					break
				}
				continue
			}
			if _, err := file.ReadAt(one, at); err != nil {
				return "", err
			}
			one[0] ^= 1 << random.IntN(8)
			if _, err := file.WriteAt(one, at); err != nil {
				return "", err
			}
			places = append(places, at)
		}
		return fmt.Sprintf("a bit flipped in each of the bytes %v of %s, %d bytes", places, filepath.Base(path), size), nil
	})
}

// harmBlock does something to a message block of a server that is killed for it.
func harmBlock[C Brokered](kind string, harm func(path string, size int64, random *rand.Rand) (string, error)) chaos.Fault[C] {
	return chaos.Fault[C]{Kind: kind, Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
		one, err := choose(random, "broker", cluster.Brokers())
		if err != nil {
			return chaos.Bite{}, err
		}
		before, err := streamOf(ctx, cluster.Endpoints())
		if err != nil {
			return chaos.Bite{}, err
		}
		bite := chaos.Bite{Kind: kind, Target: one.Name}
		err = stopped(ctx, cluster, []Store{one}, func() error {
			path, size, err := block(one.Dir, random)
			if err != nil {
				return err
			}
			bite.Evidence, err = harm(path, size, random)
			return err
		})
		if err == nil {
			awaitStream(ctx, cluster, reaches(before.State.LastSeq))
		}
		return bite, err
	}}
}

// block is one of a stream's files that has messages.
func block(dir string, random *rand.Rand) (string, int64, error) {
	files, err := filepath.Glob(filepath.Join(dir, storeFolder, "*", "streams", stream.Name, "msgs", "*.blk"))
	if err != nil {
		return "", 0, err
	}
	files = slices.DeleteFunc(files, func(path string) bool {
		info, err := os.Stat(path)
		return err != nil || info.Size() == 0
	})
	path, err := choose(random, "message block in "+dir, files)
	if err != nil {
		return "", 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, err
	}
	return path, info.Size(), nil
}
