package faults

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/orderstore/orderstore/internal/chaos/cluster"
	"github.com/orderstore/orderstore/internal/chaos/disk"
	"github.com/orderstore/orderstore/internal/chaos/workload"
)

// Target is what is broken: a cluster, and those who work on it.
type Target struct {
	*cluster.Cluster
	Load  *workload.Load
	Began time.Time // of the run

	disks map[string]*disk.Disk // by store; none: they lie in folders
	free  *reserved
}

// NewTarget makes the target of a run.
func NewTarget(c *cluster.Cluster, load *workload.Load, began time.Time, disks map[string]*disk.Disk) *Target {
	return &Target{Cluster: c, Load: load, Began: began, disks: disks, free: &reserved{taken: map[string]bool{}}}
}

func storeNames() []string {
	return []string{cluster.Primary, cluster.Sync, cluster.Async, "read-db-1", "read-db-2", cluster.Auxiliary, "nats-1", "nats-2", "nats-3"}
}

// Stores are the Postgres and NATS servers.
func (t *Target) Stores() []Store {
	var all []Store
	for _, name := range storeNames() {
		all = append(all, Store{Name: name, Process: name, Dir: filepath.Join(t.Dir(), name), Disk: t.disks[name]})
	}
	return all
}

// Brokers are the NATS servers.
func (t *Target) Brokers() []Store { return t.Stores()[6:] }

// Crowd is the parties.
func (t *Target) Crowd() Crowd { return t.Load }

// Disks are where the stores lie.
func (t *Target) Disks() map[string]*disk.Disk { return t.disks }

// PIDs are the processes that run.
func (t *Target) PIDs() map[string]int {
	all := map[string]int{}
	for _, p := range t.Processes() {
		if pid := p.PID(); pid != 0 {
			all[p.Name] = pid
		}
	}
	return all
}

// Kill ends a process by SIGKILL, if it runs.
func (t *Target) Kill(_ context.Context, name string) error {
	p := t.Process(name)
	if p == nil {
		return fmt.Errorf("no process %s", name)
	}
	if p.PID() == 0 {
		return nil
	}
	return p.Kill()
}

// Start starts a process and waits until it is ready, a NATS server excepted.
func (t *Target) Start(ctx context.Context, name string) error {
	p := t.Process(name)
	if p == nil {
		return fmt.Errorf("no process %s", name)
	}
	if err := p.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if p.Kind == cluster.KindNATS {
		return nil // alone it is not ready, however long one waits
	}
	return p.Await(ctx, readyWithin)
}

// StartAll starts every process that does not run.
func (t *Target) StartAll(ctx context.Context) error {
	for _, p := range t.Processes() {
		p.Forget()
		if err := p.Start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return t.Healthy(ctx, time.Minute)
}

// Supervise starts programs of ours again that have ended by themselves, as a supervisor of services does, until ctx ends.
func (t *Target) Supervise(ctx context.Context) {
	for pause(ctx, time.Second) == nil {
		for _, p := range t.Processes() {
			if p.Kind == cluster.KindPostgres || p.Kind == cluster.KindNATS || p.PID() != 0 || !t.free.take(p.Name) {
				continue
			}
			_ = p.Start(context.WithoutCancel(ctx)) // the next round tries again
			t.free.give(p.Name)
		}
	}
}

// readyWithin is how long a process that was started may take.
const readyWithin = 30 * time.Second
