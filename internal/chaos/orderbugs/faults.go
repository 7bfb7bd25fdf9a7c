package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/seeded"
)

// fault breaks something and says how that is known.
type fault func(ctx context.Context, t *trial) (evidence string, err error)

// faultsOf are what has to break for the bug to show, and all kinds where none is made.
func faultsOf(bug seeded.Name) []fault {
	switch bug {
	case "":
		return []fault{kill, killAll, terminate, refuseWebhooks, recreateStream, flipStream}
	case seeded.AsyncCommit:
		return []fault{killAll, killAll, killAll}
	case seeded.AckBeforeCommit, seeded.PublishBeforeCommit, seeded.HeadNotCompared:
		return []fault{terminate, kill, terminate, kill, terminate}
	case seeded.CheckpointApart, seeded.AuxiliaryTwice:
		return []fault{kill, kill, kill, kill, kill, kill}
	case seeded.EventsSkipped:
		return []fault{terminate, terminate, terminate, terminate}
	case seeded.ResumedLate, seeded.WebhookMovedEarly:
		return []fault{kill, kill, kill}
	case seeded.WebhookDoneEarly:
		return []fault{refuseWebhooks}
	case seeded.RelayWithoutExpecting, seeded.RelayFromMemory:
		return []fault{recreateStream, recreateStream}
	case seeded.ScrubberBlind:
		return []fault{flipStream}
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
	_ = t.cmd.Wait() // it was killed
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
	raw, err := os.ReadFile(filepath.Join(t.data(), "postgres", "data", "postmaster.pid"))
	if err != nil {
		return "", fmt.Errorf("find Postgres: %w", err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		return "", fmt.Errorf("find Postgres: %w", err)
	}
	children, err := childrenOf(postmaster)
	if err != nil {
		return "", err
	}
	return restart(ctx, t, append([]int{postmaster}, children...), nil)
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

const terminateAll = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`

// terminate breaks all connections to Postgres.
func terminate(ctx context.Context, t *trial) (string, error) {
	at, err := t.endpoints()
	if err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, at.Direct.Primary)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	ended := 0
	for range 10 {
		var n int
		if err := conn.QueryRow(ctx, terminateAll).Scan(&n); err != nil {
			return "", fmt.Errorf("terminate: %w", err)
		}
		ended += n
		rest(ctx, t.load/20)
	}
	return fmt.Sprintf("%d connections ended", ended), nil
}

// refuseWebhooks has the endpoint refuse calls for a time.
func refuseWebhooks(ctx context.Context, t *trial) (string, error) {
	var refused atomic.Int64
	t.users.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		refused.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	defer t.users.Intercept(nil)
	rest(ctx, t.load)
	return fmt.Sprintf("%d calls refused", refused.Load()), ctx.Err()
}

// recreateStream deletes the stream and makes it again, empty.
func recreateStream(ctx context.Context, t *trial) (string, error) {
	at, err := t.endpoints()
	if err != nil {
		return "", err
	}
	nc, err := nats.Connect(at.Direct.NATS[0])
	if err != nil {
		return "", fmt.Errorf("connect to the broker: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return "", fmt.Errorf("connect to the broker: %w", err)
	}
	s, err := js.Stream(ctx, events.Stream)
	if err != nil {
		return "", fmt.Errorf("find the stream: %w", err)
	}
	had := s.CachedInfo()
	if err := js.DeleteStream(ctx, events.Stream); err != nil {
		return "", fmt.Errorf("delete the stream: %w", err)
	}
	if _, err := js.CreateStream(ctx, had.Config); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return "", fmt.Errorf("make the stream: %w", err)
	}
	return fmt.Sprintf("%d messages gone", had.State.Msgs), nil
}

// flipStream changes bytes in the middle of the stream's file while the broker is down.
func flipStream(ctx context.Context, t *trial) (string, error) {
	var evidence string
	restarted, err := restart(ctx, t, nil, func() error {
		blocks, err := filepath.Glob(filepath.Join(t.data(), "nats", "jetstream", "*", "streams", events.Stream, "msgs", "*.blk"))
		if err != nil || len(blocks) == 0 {
			return errors.Join(err, errors.New("the stream has no file"))
		}
		raw, err := os.ReadFile(blocks[0])
		if err != nil {
			return fmt.Errorf("read the stream's file: %w", err)
		}
		for i := len(raw) / 2; i < min(len(raw)/2+64, len(raw)); i++ {
			raw[i] ^= 0xff
		}
		evidence = fmt.Sprintf("64 of %d bytes of %s flipped", len(raw), filepath.Base(blocks[0]))
		return os.WriteFile(blocks[0], raw, 0o600)
	})
	return evidence + ", " + restarted, err
}
