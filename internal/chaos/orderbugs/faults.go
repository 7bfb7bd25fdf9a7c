package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/orderstore/orderstore/internal/chaos/disk"
	chaosfaults "github.com/orderstore/orderstore/internal/chaos/faults"
	"github.com/orderstore/orderstore/internal/seeded"
)

// fault breaks something and says how that is known; empty: it did not bite.
type fault func(ctx context.Context, t *trial) (evidence string, err error)

// faults are all of them, by what they are called in what is told.
func faults() map[string]fault {
	return map[string]fault{
		"kill": kill, "kill all": killAll, "cut the power": cutPower, "fail over": failOver,
		"end connections": endConnections, "stall commits": stallCommits, "break commits": breakCommits, "lose answers": loseAnswers,
		"refuse webhooks": refuseWebhooks, "slow parties": slowParties, "delete the stream": deleteStream, "flip the stream": flipStream,
	}
}

// faultsOf are what has to break for a bug to show, and all kinds where none is made.
func faultsOf(bug seeded.Name) []string {
	switch bug {
	case "":
		return []string{
			"kill", "break commits", "kill all", "stall commits", "end connections", "lose answers", "slow parties", "refuse webhooks", "delete the stream",
			"flip the stream", "fail over", "cut the power",
		}
	case seeded.FsyncOff:
		return []string{"cut the power"}
	case seeded.GateRemoved:
		return []string{"fail over"}
	case seeded.AsyncCommit:
		return []string{"kill all", "kill all", "kill all"}
	case seeded.AckBeforeCommit, seeded.PublishBeforeCommit, seeded.PositionsLost:
		return []string{"break commits", "kill", "break commits"}
	case seeded.CommitDeadline:
		return []string{"stall commits", "lose answers", "stall commits"}
	case seeded.CheckpointApart, seeded.AuxiliaryTwice, seeded.EventsSkipped:
		return []string{"end connections", "kill", "end connections", "kill", "end connections", "kill"}
	case seeded.ScannedAhead:
		return []string{"slow parties", "slow parties"}
	case seeded.ResumedLate:
		return []string{"kill"}
	case seeded.WebhookMovedEarly:
		return []string{"slow parties", "kill"}
	case seeded.WebhookDoneEarly:
		return []string{"refuse webhooks"}
	case seeded.RelayWithoutExpecting, seeded.RelayFromMemory:
		return []string{"delete the stream", "break commits", "delete the stream"}
	case seeded.ScrubberBlind:
		return []string{"flip the stream"}
	}
	return nil
}

// kill ends the server without a word and starts it again.
func kill(ctx context.Context, t *trial) (string, error) { return restart(ctx, t, nil, nil) }

func restart(ctx context.Context, t *trial, also []int, meanwhile func() error) (string, error) {
	before := t.cmd.Process.Pid
	for _, pid := range append([]int{before}, also...) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return "", fmt.Errorf("kill %d: %w", pid, err)
		}
	}
	<-t.ended
	if meanwhile != nil {
		if err := meanwhile(); err != nil {
			return "", err
		}
	}
	if err := t.start(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("pid %d -> %d, %d more killed", before, t.cmd.Process.Pid, len(also)), nil
}

// killAll ends the server and every process of its Postgres at once: what these have not written to a file is gone.
func killAll(ctx context.Context, t *trial) (string, error) {
	all, err := t.postgres()
	if err != nil {
		return "", err
	}
	return restart(ctx, t, all, nil)
}

// postgres are the processes of the server's Postgres.
func (t *trial) postgres() ([]int, error) {
	raw, err := os.ReadFile(filepath.Join(t.data(), "postgres", "data", "postmaster.pid"))
	if err != nil {
		return nil, fmt.Errorf("find Postgres: %w", err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		return nil, fmt.Errorf("find Postgres: %w", err)
	}
	children, err := childrenOf(postmaster)
	return append([]int{postmaster}, children...), err
}

func childrenOf(parent int) ([]int, error) {
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []int
	for _, name := range all {
		raw, err := os.ReadFile(name) //nolint:gosec // of the system
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			found = append(found, pid)
		}
	}
	return found, nil
}

// cutPower takes from the server's disk what was not flushed to it.
func cutPower(ctx context.Context, t *trial) (string, error) {
	bite, err := chaosfaults.PowerCut[*trial]().Inject(ctx, t, rand.New(rand.NewPCG(t.seed, 1))) //nolint:gosec // moments, not secrets
	return bite.Evidence, err
}

// PIDs is the server; what it started itself is found.
func (t *trial) PIDs() map[string]int { return map[string]int{"server": t.cmd.Process.Pid} }

// Disks is where the server keeps what it knows.
func (t *trial) Disks() map[string]*disk.Disk { return map[string]*disk.Disk{"server": t.disk} }

// StartAll starts the server again.
func (t *trial) StartAll(ctx context.Context) error { return t.start(ctx) }
