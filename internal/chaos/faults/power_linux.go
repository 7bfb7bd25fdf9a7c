package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/disk"
)

// Machines are what a power cut takes away and gives back: every process and every disk of a cluster.
type Machines interface {
	// PIDs are the processes that the cluster started, by name. What they started themselves is found.
	PIDs() map[string]int
	// Disks are where the processes keep what they know, by name.
	Disks() map[string]*disk.Disk
	// StartAll starts every process again after all were killed, on the same disks and ports, and waits until they are ready.
	StartAll(ctx context.Context) error
}

const (
	// standstill is how long processes may take to stop: a flush on its way goes on in the kernel.
	standstill = 10 * time.Second
	// cutWithin spreads the moments of power cuts over what a cluster does in turn: flushes, checkpoints, batches.
	cutWithin = time.Second
)

// PowerCut stops all processes at once, copies their disks as the devices have them, kills the processes, and starts them again on the copies.
func PowerCut[C Machines]() chaos.Fault[C] {
	return chaos.Fault[C]{Kind: "power.cut", Alone: true, Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
		if err := pause(ctx, time.Duration(random.Int64N(int64(cutWithin)))); err != nil {
			return chaos.Bite{}, err
		}
		before := cluster.PIDs()
		lost, killed, err := cutPower(ctx, cluster)
		if err != nil {
			return chaos.Bite{}, err
		}
		if err := cluster.StartAll(ctx); err != nil {
			return chaos.Bite{}, fmt.Errorf("start again after the power cut: %w", err)
		}
		bite := chaos.Bite{Kind: "power.cut", Target: "all stores"}
		if changed := changes(before, cluster.PIDs()); lost.Bytes > 0 && len(changed) == len(before) {
			bite.Evidence = fmt.Sprintf("%d processes ended (%s), %d bytes in %d files are gone", killed, strings.Join(changed, ", "), lost.Bytes, lost.Files)
		}
		return bite, nil
	}}
}

func cutPower(ctx context.Context, cluster Machines) (disk.Lost, int, error) {
	var lost disk.Lost
	pids := slices.Collect(maps.Values(cluster.PIDs()))
	all, err := freeze(ctx, pids)
	if err != nil {
		return lost, 0, errors.Join(fmt.Errorf("stop all processes: %w", err), signalAll(all, syscall.SIGCONT))
	}
	disks := cluster.Disks()
	for name, d := range disks {
		if err := d.Cut(ctx); err != nil {
			return lost, 0, errors.Join(fmt.Errorf("copy the disk of %s: %w", name, err), signalAll(all, syscall.SIGCONT))
		}
	}
	if err := signalAll(all, syscall.SIGKILL); err != nil {
		return lost, 0, fmt.Errorf("kill all processes: %w", err)
	}
	if err := awaitEnd(ctx, all); err != nil {
		return lost, 0, err
	}
	for name, d := range disks {
		gone, err := d.Swap(ctx)
		if err != nil {
			return lost, 0, fmt.Errorf("mount what is left of the disk of %s: %w", name, err)
		}
		lost = lost.Add(gone)
	}
	return lost, len(all), nil
}

// changes tells which processes have another id.
func changes(before, after map[string]int) []string {
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] != 0 && after[name] != before[name] {
			changed = append(changed, fmt.Sprintf("%s %d -> %d", name, before[name], after[name]))
		}
	}
	return changed
}
