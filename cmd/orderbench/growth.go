package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// small is how many orders are stored when the first rate is measured, unless --from says otherwise.
const small = 50_000

type growth struct {
	throughput
	from, orders int64
}

func growthCommand() *cobra.Command {
	o := &growth{}
	o.probes, o.tasks = 0, true
	cmd := &cobra.Command{
		Use:   "growth",
		Short: "Whether the store slows down as it fills",
		Long: `Fills the store by batches to --from orders and measures the throughput of single orders, fills it to --orders and measures
again. It starts best from an empty store (--start); orders that are stored already are counted. An order takes about 11 kB
in the two databases and the stream: five million take some minutes to fill and 55 GB of disk.`,
		Example: "  orderbench growth --start\n  orderbench growth --start --orders 5000000",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.execute(cmd, o.run) },
	}
	o.runFlags(cmd)
	cmd.Flags().Int64Var(&o.from, "from", small, "orders stored when the first rate is measured")
	cmd.Flags().Int64Var(&o.orders, "orders", 200_000, "orders stored when the second rate is measured")
	cmd.Flags().IntVar(&o.connections, "connections", 256, "connections")
	cmd.Flags().DurationVar(&o.warm, "warm", 3*time.Second, "how long to submit before counting, each time")
	cmd.Flags().DurationVar(&o.measure, "for", 10*time.Second, "how long to count, each time")
	return cmd
}

func (o *growth) run(ctx context.Context, t *target) (*report.Run, error) {
	first, atFirst, err := o.at(ctx, t, o.from)
	if err != nil {
		return nil, err
	}
	second, atSecond, err := o.at(ctx, t, o.orders)
	if err != nil {
		return nil, err
	}
	second.Name = fmt.Sprintf("with %d orders stored", atSecond)
	second.Notes = append(second.Notes, fmt.Sprintf("%.0f orders/s with %d orders stored, %.0f with %d: %.0f %%",
		first.Rate, atFirst, second.Rate, atSecond, second.Rate/first.Rate*100))
	second.Baseline = first.Rate
	second.Errors.Merge(first.Errors)
	return second, nil
}

// at fills the store to so many orders and measures. It also gives how many were stored when it began to.
func (o *growth) at(ctx context.Context, t *target, orders int64) (*report.Run, int64, error) {
	stored, err := t.stored(ctx)
	if err != nil {
		return nil, 0, err
	}
	if missing := orders - stored; missing > fillers {
		filled, err := fill(ctx, t, load.NewMix(o.seed, t.reference(), ""), missing, fillers)
		if err != nil {
			return nil, 0, fmt.Errorf("fill to %d orders: %w", orders, err)
		}
		if refused := filled.Errors.Total(); refused > 0 {
			return nil, 0, fmt.Errorf("fill to %d orders: %s", orders, filled.Errors)
		}
		stored += filled.Stored
	}
	if _, err := t.level(ctx); err != nil {
		return nil, 0, err
	}
	run, err := o.throughput.run(ctx, t)
	return run, stored, err
}

// fillers is how many batches fill the store at once.
const fillers = 2

// stored counts the orders of the store, in the database: the API counts nothing.
func (t *target) stored(ctx context.Context) (int64, error) {
	conn, err := pgx.Connect(ctx, t.at.PostgresWrite)
	if err != nil {
		return 0, fmt.Errorf("connect to the write database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var n int64
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM orders").Scan(&n); err != nil {
		return 0, fmt.Errorf("count orders: %w", err)
	}
	return n, nil
}
