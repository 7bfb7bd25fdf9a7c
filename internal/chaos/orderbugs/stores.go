package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/events"
)

// log connects to the database of the log, past the server.
func (t *trial) log(ctx context.Context) (*pgx.Conn, error) {
	at, err := t.endpoints()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, at.Direct.Primary)
	if err != nil {
		return nil, fmt.Errorf("connect to the log: %w", err)
	}
	return conn, nil
}

const (
	endAll    = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`
	holdHead  = `SELECT position FROM log_head FOR UPDATE`
	waiting   = `SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()`
	endStuck  = `SELECT count(pg_terminate_backend(pid)) FROM (SELECT DISTINCT pid FROM pg_locks WHERE NOT granted) AS stuck`
	countSync = `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`
	endSync   = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`
)

// endConnections ends all connections to Postgres, again and again.
func endConnections(ctx context.Context, t *trial) (string, error) {
	conn, err := t.log(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	ended := 0
	for range 10 {
		var n int
		if err := conn.QueryRow(ctx, endAll).Scan(&n); err != nil {
			return "", fmt.Errorf("end connections: %w", err)
		}
		ended += n
		rest(ctx, t.load/20)
	}
	return told(ended, "connections ended"), nil
}

// told is evidence, where there was any.
func told(n int, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, what)
}

// stallCommits keeps commits waiting for longer than they usually take, many times.
func stallCommits(ctx context.Context, t *trial) (string, error) {
	stalled := 0
	err := t.holdingHead(ctx, 20, 80*time.Millisecond, func(ctx context.Context, conn pgx.Tx) error {
		var n int
		err := conn.QueryRow(ctx, waiting).Scan(&n)
		stalled += n
		return err
	})
	return told(stalled, "commits stalled"), err
}

// breakCommits ends the connections of commits before they are done, after others had time to hear of what they should not.
func breakCommits(ctx context.Context, t *trial) (string, error) {
	broken := 0
	err := t.holdingHead(ctx, 6, 300*time.Millisecond, func(ctx context.Context, conn pgx.Tx) error {
		var n int
		err := conn.QueryRow(ctx, endStuck).Scan(&n)
		broken += n
		return err
	})
	return told(broken, "commits broken"), err
}

// holdingHead keeps the log's end to itself for a while, so often, and does something before it lets go.
func (t *trial) holdingHead(ctx context.Context, times int, each time.Duration, then func(ctx context.Context, tx pgx.Tx) error) error {
	conn, err := t.log(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for range times {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, holdHead); err != nil {
				return err
			}
			if !rest(ctx, each) {
				return ctx.Err()
			}
			return then(ctx, tx)
		})
		if err != nil {
			return fmt.Errorf("hold the log's end: %w", err)
		}
		rest(ctx, t.load/40)
	}
	return nil
}

// loseAnswers has commits be stored, and their answers lost: they wait for a standby that is not there when their connections end.
func loseAnswers(ctx context.Context, t *trial) (string, error) {
	conn, err := t.log(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	lost := 0
	for range 4 {
		if err := waitFor(ctx, conn, "nobody"); err != nil {
			return "", err
		}
		rest(ctx, 150*time.Millisecond)
		var n int
		err := conn.QueryRow(ctx, endSync).Scan(&n)
		if err := errors.Join(err, waitFor(ctx, conn, "")); err != nil {
			return "", fmt.Errorf("lose answers: %w", err)
		}
		lost += n
		rest(ctx, t.load/10)
	}
	return told(lost, "commits stored without an answer"), nil
}

// waitFor has commits wait for a standby; empty: for none.
func waitFor(ctx context.Context, conn *pgx.Conn, standby string) error {
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + standby + "'", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("have commits wait for a standby: %w", err)
		}
	}
	return nil
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
	return told(int(refused.Load()), "calls refused"), ctx.Err()
}

// slowParties has all parties take their time for each event, so that much waits for them, and then go on as fast as they can. Who has a
// webhook stays slow until the next fault is over.
func slowParties(ctx context.Context, t *trial) (string, error) {
	before := t.users.Counted().Received
	slow := func(each time.Duration) error {
		var errs []error
		for _, name := range t.users.Parties() {
			errs = append(errs, t.users.Slow(name, each))
		}
		return errors.Join(errs...)
	}
	if err := slow(60 * time.Millisecond); err != nil {
		return "", err
	}
	rest(ctx, t.load)
	received := t.users.Counted().Received - before
	if err := slow(0); err != nil {
		return "", err
	}
	return told(int(received), "events taken slowly"), t.users.Slow("unit-webhook", 20*time.Millisecond)
}

// deleteStream deletes the stream and makes it again, empty.
func deleteStream(ctx context.Context, t *trial) (string, error) {
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
	return told(int(had.State.Msgs), "messages gone"), nil //nolint:gosec // below 2^63
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
