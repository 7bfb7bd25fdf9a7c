package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/disk"
)

// DiskFull takes all room of one store's disk for a while. A server that ended over it is started again, as whoever freed the disk would.
func DiskFull[C Stores]() chaos.Fault[C] {
	return chaos.Fault[C]{Kind: "disk.full", Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
		one, err := choose(random, "store", cluster.Stores())
		if err != nil {
			return chaos.Bite{}, err
		}
		bite := chaos.Bite{Kind: "disk.full", Target: one.Name}
		if one.Disk == nil {
			return bite, fmt.Errorf("%s has no disk of its own: %w", one.Name, disk.ErrMayNotMount)
		}
		taken, err := one.Disk.Fill()
		if err != nil {
			return bite, errors.Join(err, one.Disk.Free())
		}
		err = pause(ctx, between(random, time.Second, 4*time.Second))
		// What the store freed itself meanwhile is taken too: there was never room.
		more, fillErr := one.Disk.Fill()
		if err = errors.Join(err, fillErr, one.Disk.Free()); err != nil {
			return bite, err
		}
		if taken > 0 {
			bite.Evidence = fmt.Sprintf("%d bytes were taken and none were left; %d of them were free at the end", taken, more-taken)
		}
		if err := cluster.Start(ctx, one.Process); err != nil {
			return bite, fmt.Errorf("start %s: %w", one.Process, err)
		}
		return bite, nil
	}}
}

// What is kept is not a view: the schema's version, who may do what, and what operators did.
const selectViewTables = `
SELECT quote_ident(tablename) FROM pg_tables
WHERE schemaname = 'public' AND tablename NOT IN ('goose_db_version', 'applied_grants', 'audit', 'skips')`

// ViewsWiped empties a read database, its views and its checkpoints.
func ViewsWiped[C Reached]() chaos.Fault[C] {
	return chaos.Fault[C]{Kind: "views.wiped", Inject: func(ctx context.Context, cluster C, random *rand.Rand) (chaos.Bite, error) {
		views := cluster.Endpoints().Direct.Views
		which, err := choose(random, "read database", views)
		if err != nil {
			return chaos.Bite{}, err
		}
		bite := chaos.Bite{Kind: "views.wiped", Target: "read database"}
		for i, url := range views {
			if url == which {
				bite.Target = fmt.Sprintf("read database %d", i+1)
			}
		}
		rows, err := wipe(ctx, which)
		if rows > 0 {
			bite.Evidence = fmt.Sprintf("%d orders are gone from the view", rows)
		}
		return bite, err
	}}
}

func wipe(ctx context.Context, url string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("connect to the read database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	found, err := conn.Query(ctx, selectViewTables)
	if err != nil {
		return 0, fmt.Errorf("list views: %w", err)
	}
	tables, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return 0, fmt.Errorf("list views: %w", err)
	}
	var rows int64
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM order_view`).Scan(&rows); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "TRUNCATE "+strings.Join(tables, ", "))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("empty the views: %w", err)
	}
	return rows, nil
}
