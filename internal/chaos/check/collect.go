package check

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/chaos"
)

// LagWithin is how long a copy may take, once everything is healed and nobody writes, until it is where the log is.
const LagWithin = time.Minute

// Collect reads every copy of a healed cluster that nobody writes to, and keeps it in the run's folder beside history and receipts. A copy that
// cannot be read, or does not get to where the log is within LagWithin, is noted as such. The error says that the log itself could not be read.
func Collect(ctx context.Context, at chaos.Endpoints, dir string) error {
	return CollectWithin(ctx, at, dir, LagWithin)
}

// CollectWithin is Collect with another bound for lag.
func CollectWithin(ctx context.Context, at chaos.Endpoints, dir string, within time.Duration) error {
	if err := os.MkdirAll(filepath.Join(dir, savedDir), 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	primary, err := pgx.Connect(ctx, at.Direct.Primary)
	if err != nil {
		return fmt.Errorf("connect to the primary: %w", err)
	}
	defer func() { _ = primary.Close(context.WithoutCancel(ctx)) }()
	head, _, err := headOf(ctx, primary)
	if err != nil {
		return err
	}
	c := &collector{dir: dir, head: head, began: time.Now(), until: time.Now().Add(within)}
	c.standbys(ctx, at.Direct.Standbys)
	c.streams(ctx, at.Direct.NATS)
	c.views(ctx, at.Direct.Views)
	c.http(ctx, at)
	c.auxiliary(ctx, at.Direct.Auxiliary)
	// The log comes last: what any copy has is in it by then.
	if err := c.log(ctx, primary); err != nil {
		return err
	}
	return saveMeta(dir, &c.meta)
}

type collector struct {
	dir   string
	head  int64 // of the log when the checker came
	began time.Time
	until time.Time // for copies to get there
	meta  meta
}

const (
	selectHead = `SELECT position, encode(digest, 'hex') FROM log_head`
	selectLog  = `SELECT position, subject, encode(digest, 'hex'), event FROM order_events ORDER BY position`
	poll       = 50 * time.Millisecond
)

func headOf(ctx context.Context, conn *pgx.Conn) (int64, string, error) {
	var position int64
	var digest string
	if err := conn.QueryRow(ctx, selectHead).Scan(&position, &digest); err != nil {
		return 0, "", fmt.Errorf("read log head: %w", err)
	}
	return position, digest, nil
}

// snapshot reads one state of a database.
func snapshot(ctx context.Context, conn *pgx.Conn, read func(tx pgx.Tx) error) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it has only read
	return read(tx)
}

// log saves the log as the primary has it, and the state of its orders.
func (c *collector) log(ctx context.Context, conn *pgx.Conn) error {
	return snapshot(ctx, conn, func(tx pgx.Tx) error {
		var err error
		if c.meta.Head, c.meta.Digest, err = headOf(ctx, tx.Conn()); err != nil {
			return err
		}
		_, err = save(c.dir, logFile, func(add func(any) error) error {
			rows, err := tx.Query(ctx, selectLog)
			if err != nil {
				return fmt.Errorf("read log: %w", err)
			}
			var r row
			_, err = pgx.ForEachRow(rows, []any{&r.Position, &r.Subject, &r.Digest, &r.Body}, func() error { return add(&r) })
			return err
		})
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		state := Copy{Kind: kindOrders, Name: "orders primary", File: "orders-primary", Position: c.meta.Head}
		state.Rows, err = saveOrders(ctx, tx, c.dir, state.File, selectOrders)
		if err != nil {
			return err
		}
		c.meta.Copies = append(c.meta.Copies, state)
		return nil
	})
}

// reached waits until a copy is where the log was, and says how long that took; -1 where it did not get there.
func (c *collector) reached(ctx context.Context, position func(context.Context) (int64, error)) (at, within int64, err error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		at, err = position(ctx)
		switch {
		case err == nil && at >= c.head:
			return at, time.Since(c.began).Milliseconds(), nil
		case time.Now().After(c.until), ctx.Err() != nil:
			return at, -1, err
		}
		<-tick.C
	}
}

// note adds a copy. What was in the way of reading it is part of what is found.
func (c *collector) note(made Copy, err error) {
	if err != nil {
		made.Trouble = err.Error()
	}
	c.meta.Copies = append(c.meta.Copies, made)
}

func (c *collector) standbys(ctx context.Context, urls []string) {
	for i, url := range urls {
		made := Copy{Kind: kindStandby, Name: "standby " + strconv.Itoa(i+1), Within: -1}
		c.note(c.standby(ctx, url, made))
	}
}

func (c *collector) standby(ctx context.Context, url string, made Copy) (Copy, error) {
	conn, err := c.connect(ctx, url)
	if err != nil {
		return made, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	made.Position, made.Within, err = c.reached(ctx, func(ctx context.Context) (int64, error) {
		at, _, err := headOf(ctx, conn)
		return at, err
	})
	if err != nil {
		return made, err
	}
	file := "standby-" + made.Name[len("standby "):]
	err = snapshot(ctx, conn, func(tx pgx.Tx) error {
		var err error
		if made.Position, _, err = headOf(ctx, tx.Conn()); err != nil {
			return err
		}
		made.Rows, err = save(c.dir, file, func(add func(any) error) error {
			rows, err := tx.Query(ctx, selectLog)
			if err != nil {
				return fmt.Errorf("read log: %w", err)
			}
			var r row
			_, err = pgx.ForEachRow(rows, []any{&r.Position, &r.Subject, &r.Digest, &r.Body}, func() error {
				return add(&link{Position: r.Position, Subject: r.Subject, Digest: r.Digest, Sum: sumOf(r.Body)})
			})
			return err
		})
		return err
	})
	if err == nil {
		made.File = file
	}
	return made, err
}

// connect waits for a database that is still on its way up.
func (c *collector) connect(ctx context.Context, url string) (*pgx.Conn, error) {
	tick := time.NewTicker(4 * poll)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn, nil
		}
		if time.Now().After(c.until) || ctx.Err() != nil {
			return nil, fmt.Errorf("connect: %w", errors.Join(err, ctx.Err()))
		}
		<-tick.C
	}
}

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
