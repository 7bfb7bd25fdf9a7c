package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	standbyName = "standby"
	// noticedWithin is how long the server may take to see that it has a standby: it looks at the settings every 30 s.
	noticedWithin = 45 * time.Second
	// behindFor is how long the standby is away while the primary goes on.
	behindFor = 4 * time.Second
)

// awaitSaid waits until the server has said something, after so many bytes of what it has said.
func (t *trial) awaitSaid(ctx context.Context, from int, what string, within time.Duration) error {
	for until := time.Now().Add(within); ; {
		said, err := os.ReadFile(t.said())
		if err != nil {
			return fmt.Errorf("read what the server said: %w", err)
		}
		if bytes.Contains(said[min(from, len(said)):], []byte(what)) {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("the server did not say %q within %s", what, within)
		}
		if !rest(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// failOver gives the server's Postgres a synchronous standby, takes the standby away for a while in which commits are stored without it and the
// connections that wait for it end, then takes the primary away for good: the standby is the primary from there on, and does not have them.
func failOver(ctx context.Context, t *trial) (string, error) {
	at, err := t.endpoints()
	if err != nil {
		return "", err
	}
	cfg := postgres.ClusterConfig{Dir: filepath.Join(t.data(), standbyName), Durable: true, Log: slog.New(slog.DiscardHandler)}
	standby, err := postgres.StartStandbyOf(ctx, at.Direct.Primary, cfg)
	if err != nil {
		return "", fmt.Errorf("start standby: %w", err)
	}
	defer func() { _ = standby.Stop(context.WithoutCancel(ctx)) }() // it is stopped already where all went well
	ended, had, err := t.outrun(ctx, standby)
	if err != nil {
		return "", err
	}
	all, err := t.postgres()
	if err != nil {
		return "", err
	}
	has := int64(0)
	restarted, err := restart(ctx, t, all, func() error {
		if standby, err = postgres.StartStandbyOf(ctx, at.Direct.Primary, cfg); err != nil {
			return fmt.Errorf("start standby: %w", err)
		}
		if has, err = promote(ctx, standby); err != nil {
			return err
		}
		if err := standby.Stop(ctx); err != nil {
			return fmt.Errorf("stop standby: %w", err)
		}
		data := filepath.Join(t.data(), "postgres", "data")
		return errors.Join(os.RemoveAll(data), os.Rename(filepath.Join(cfg.Dir, "data"), data))
	})
	if err != nil || has >= had {
		return "", err // all that was stored had come to the standby
	}
	return fmt.Sprintf("the log ended at %d, and at %d on the standby; %d connections that waited for it ended; %s", had, has, ended, restarted), nil
}

// outrun has the primary store what the standby does not get. It says how many connections ended over that, and where the log ended.
func (t *trial) outrun(ctx context.Context, standby *postgres.Cluster) (ended int, end int64, err error) {
	conn, err := t.log(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	said, err := os.ReadFile(t.said())
	if err != nil {
		return 0, 0, fmt.Errorf("read what the server said: %w", err)
	}
	if err := waitFor(ctx, conn, standbyName); err != nil {
		return 0, 0, err
	}
	if err := t.awaitSaid(ctx, len(said), "synchronous standbys have changed", noticedWithin); err != nil {
		return 0, 0, err
	}
	if err := standby.Stop(ctx); err != nil {
		return 0, 0, fmt.Errorf("stop standby: %w", err)
	}
	for until := time.Now().Add(behindFor); time.Now().Before(until) && rest(ctx, 200*time.Millisecond); {
		var n int
		if err := conn.QueryRow(ctx, endSync).Scan(&n); err != nil {
			return 0, 0, fmt.Errorf("end what waits: %w", err)
		}
		ended += n
	}
	err = conn.QueryRow(ctx, selectHead).Scan(&end)
	return ended, end, err
}

const selectHead = `SELECT position FROM log_head`

// promote makes a primary of a standby, and says where its log ends.
func promote(ctx context.Context, standby *postgres.Cluster) (int64, error) {
	conn, err := pgx.Connect(ctx, standby.URL("write"))
	if err != nil {
		return 0, fmt.Errorf("connect to the standby: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var done bool
	if err := conn.QueryRow(ctx, `SELECT pg_promote(true, 30)`).Scan(&done); err != nil || !done {
		return 0, errors.Join(errors.New("the standby is not promoted"), err)
	}
	var position int64
	err = conn.QueryRow(ctx, selectHead).Scan(&position)
	return position, err
}
