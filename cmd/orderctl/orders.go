package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/orderstore/orderstore/client"
)

// indented prints a document for people who read JSON.
func indented(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(document)
}

func submitCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "submit FILE",
		Short: `Submit the order or orders of a JSON or NDJSON file ("-" for standard input)`,
		Long: `Submit the order or orders of a JSON or NDJSON file ("-" for standard input).

Of one order, the store's answer is printed. Of more, each order's answer is printed as a line of JSON, in order.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			in := cmd.InOrStdin()
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("submit: %w", err)
				}
				defer func() { _ = file.Close() }()
				in = file
			}
			return submit(cmd.Context(), store, in, cmd.OutOrStdout())
		},
	}
}

func submit(ctx context.Context, store *client.Client, in io.Reader, out io.Writer) error {
	orders := &orderReader{decoder: json.NewDecoder(in)}
	orders.decoder.DisallowUnknownFields()
	first, ok := orders.next()
	if !ok {
		return cmpErr(orders.err, errors.New("submit: there is no order"))
	}
	second, ok := orders.next()
	if !ok && orders.err != nil {
		return orders.err
	}
	if !ok {
		answer, err := store.SubmitOrder(ctx, first)
		if err != nil {
			return err
		}
		return indented(out, answer)
	}
	return submitAll(ctx, store, orders.all(first, second), out, orders)
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func submitAll(ctx context.Context, store *client.Client, all iter.Seq[client.OrderSubmission], out io.Writer, source *orderReader) error {
	e := json.NewEncoder(out)
	refused := 0
	for result, err := range store.SubmitBatch(ctx, all) {
		if err != nil {
			return err
		}
		if !result.Stored() {
			refused++
		}
		if err := e.Encode(result); err != nil {
			return fmt.Errorf("print answer: %w", err)
		}
	}
	if source.err != nil {
		return source.err
	}
	if refused > 0 {
		return fmt.Errorf("%d orders were not taken", refused)
	}
	return nil
}

// orderReader reads orders one after the other.
type orderReader struct {
	decoder *json.Decoder
	count   int
	err     error
}

func (r *orderReader) next() (client.OrderSubmission, bool) {
	var order client.OrderSubmission
	err := r.decoder.Decode(&order)
	if err == nil {
		r.count++
		return order, true
	}
	if !errors.Is(err, io.EOF) {
		r.err = fmt.Errorf("read order %d: %w", r.count+1, err)
	}
	return order, false
}

func (r *orderReader) all(before ...client.OrderSubmission) iter.Seq[client.OrderSubmission] {
	return func(yield func(client.OrderSubmission) bool) {
		for _, order := range before {
			if !yield(order) {
				return
			}
		}
		for order, ok := r.next(); ok && yield(order); order, ok = r.next() {
		}
	}
}

func getCommand(c *connection) *cobra.Command {
	var options client.GetOptions
	cmd := &cobra.Command{
		Use:   "get ORDER",
		Short: "Print an order",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			order, err := store.GetOrder(cmd.Context(), args[0], options)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), order)
		},
	}
	cmd.Flags().StringSliceVar(&options.Include, "include", nil, "also auxiliary, catalog, timeline")
	cmd.Flags().Int64Var(&options.Position, "position", 0, "as of this position of the log, or later")
	return cmd
}

type listOptions struct {
	filter                      client.OrderFilter
	after, before               string
	updatedAfter, updatedBefore string
	totalMin, totalMax          int64
	most                        int
	json, count                 bool
}

// flags are those that say which orders.
func (o *listOptions) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.filter.Status, "status", nil, "with one of these statuses")
	f.StringSliceVar(&o.filter.Channels, "channel", nil, "of one of these channels")
	f.StringSliceVar(&o.filter.BusinessTypes, "business-type", nil, "of one of these business types")
	f.StringSliceVar(&o.filter.Regions, "region", nil, "of one of these regions")
	f.StringVar(&o.filter.Provider, "provider", "", "with a task of this provider, now or before")
	f.StringVar(&o.filter.SKU, "sku", "", "with a line of this SKU")
	f.StringVar(&o.filter.Customer, "customer", "", "of the customer with this name, email address or telephone number")
	f.StringVar(&o.filter.Currency, "currency", "", "in this currency")
	f.Int64Var(&o.totalMin, "total-min", 0, "of at least so many minor units of --currency")
	f.Int64Var(&o.totalMax, "total-max", 0, "of at most so many minor units of --currency")
	f.StringVar(&o.filter.ExternalRef, "external-ref", "", "with this reference")
	f.StringVar(&o.filter.Text, "text", "", "with these words")
	f.StringVar(&o.after, "created-after", "", "placed at or after this day or time (2026-01-31, 2026-01-31T12:00:00Z)")
	f.StringVar(&o.before, "created-before", "", "placed before this day or time")
	f.StringVar(&o.updatedAfter, "updated-after", "", "changed at or after this day or time")
	f.StringVar(&o.updatedBefore, "updated-before", "", "not changed since this day or time")
}

func listCommand(c *connection) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List orders, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.read(cmd); err != nil {
				return err
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			if o.count {
				n, err := store.EstimateOrders(cmd.Context(), o.filter)
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
				}
				return err
			}
			return list(cmd.Context(), store, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	o.flags(f)
	f.StringVar(&o.filter.Sort, "sort", "", "placed_at, updated_at or total; - before it turns it round")
	f.IntVar(&o.most, "limit", 50, "how many at most; 0 for all")
	f.BoolVar(&o.json, "json", false, "print the documents, one a line")
	f.BoolVar(&o.count, "count", false, "print about how many there are, as the store's statistics say")
	return cmd
}

// read takes over what the flags do not set by themselves.
func (o *listOptions) read(cmd *cobra.Command) error {
	for _, at := range []struct {
		text string
		to   *time.Time
	}{
		{o.after, &o.filter.CreatedAfter},
		{o.before, &o.filter.CreatedBefore},
		{o.updatedAfter, &o.filter.UpdatedAfter},
		{o.updatedBefore, &o.filter.UpdatedBefore},
	} {
		var err error
		if *at.to, err = day(at.text); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("total-min") {
		o.filter.TotalMin = &o.totalMin
	}
	if cmd.Flags().Changed("total-max") {
		o.filter.TotalMax = &o.totalMax
	}
	return nil
}

// day reads a day or a time; zero for neither.
func day(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a day like 2026-01-31 nor a time like 2026-01-31T12:00:00Z", text)
}

func list(ctx context.Context, store *client.Client, o listOptions, out io.Writer) error {
	o.filter.PageSize = 200
	if o.most > 0 {
		o.filter.PageSize = min(o.most, 200)
	}
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	lines := json.NewEncoder(out)
	if !o.json {
		_, _ = fmt.Fprintln(table, "PLACED\tORDER\tCHANNEL\tREFERENCE\tTYPE\tSTATUS\tTOTAL")
	}
	n := 0
	for order, err := range store.ListOrders(ctx, o.filter) {
		if err != nil {
			return err
		}
		if o.json {
			err = lines.Encode(order)
		} else {
			_, err = fmt.Fprintln(table, strings.Join([]string{
				order.PlacedAt.Format("2006-01-02 15:04:05"), order.ID, order.Channel, order.ExternalRef, order.BusinessType, order.Status,
				fmt.Sprintf("%s %d", order.Currency, order.Total),
			}, "\t"))
		}
		if err != nil {
			return fmt.Errorf("print order: %w", err)
		}
		if n++; n == o.most {
			break
		}
	}
	return table.Flush()
}
