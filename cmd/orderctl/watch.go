package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

type watchOptions struct {
	after int64
	json  bool
	feed  bool
	count int
}

func watchCommand(c *connection) *cobra.Command {
	o := watchOptions{}
	cmd := &cobra.Command{
		Use:   "watch [ORDER]",
		Short: "Follow events as they happen: all of the party's, or those of one order from its beginning",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			w := &watcher{store: store, options: o, out: cmd.OutOrStdout()}
			if len(args) == 1 {
				return w.order(cmd.Context(), args[0])
			}
			return w.all(cmd.Context(), cmd.Flags().Changed("after"))
		},
	}
	f := cmd.Flags()
	f.Int64Var(&o.after, "after", 0, "begin after this position (default: now)")
	f.BoolVar(&o.feed, "feed", false, "by long polling instead of one stream")
	f.BoolVar(&o.json, "json", false, "print the events as JSON, one a line")
	f.IntVar(&o.count, "count", 0, "stop after so many events")
	return cmd
}

// watchOrdersCommand follows a list, where watchCommand follows a party.
func watchOrdersCommand(c *connection) *cobra.Command {
	var o watchOptions
	var which listOptions
	cmd := &cobra.Command{
		Use:   "watch [ORDER]",
		Short: "Follow one order from its beginning, or what happens to the orders of a filter",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := which.read(cmd); err != nil {
				return err
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			w := &watcher{store: store, options: o, out: cmd.OutOrStdout()}
			if len(args) == 1 {
				return w.order(cmd.Context(), args[0])
			}
			return w.list(cmd.Context(), which.filter, cmd.Flags().Changed("after"))
		},
	}
	f := cmd.Flags()
	which.flags(f)
	f.Int64Var(&o.after, "after", 0, "begin after this position (default: an order's beginning, or now)")
	f.BoolVar(&o.json, "json", false, "print the events as JSON, one a line")
	f.IntVar(&o.count, "count", 0, "stop after so many events")
	return cmd
}

type watcher struct {
	store   *client.Client
	options watchOptions
	out     io.Writer
	shown   int
}

// order shows what has happened to an order and goes on with what does.
func (w *watcher) order(ctx context.Context, id string) error {
	return w.print(w.store.WatchOrder(ctx, id, w.options.after))
}

// list shows what happens to the orders of a filter.
func (w *watcher) list(ctx context.Context, filter client.OrderFilter, given bool) error {
	return w.print(w.store.WatchOrders(ctx, filter, client.From{Position: w.options.after, Now: !given}))
}

func (w *watcher) all(ctx context.Context, given bool) error {
	var options []client.EventOption
	if !w.options.feed {
		options = append(options, client.OverSSE())
	}
	return w.print(w.store.Events(ctx, client.From{Position: w.options.after, Now: !given}, options...))
}

// print shows events until there are enough of them.
func (w *watcher) print(events iter.Seq2[client.Event, error]) error {
	for event, err := range events {
		if err != nil {
			return err
		}
		if more, err := w.show(event); err != nil || !more {
			return err
		}
	}
	return nil
}

// show prints an event and says whether more are wanted.
func (w *watcher) show(event client.Event) (bool, error) {
	var err error
	if w.options.json {
		err = json.NewEncoder(w.out).Encode(event)
	} else {
		note := event.Provider
		if event.Listed != nil && !*event.Listed {
			note += " (not in the list)"
		}
		_, err = fmt.Fprintf(w.out, "%8d  %s  %-20s %s %s\n", event.Position, event.Time.Format("15:04:05.000"), event.Type, event.Subject, note)
	}
	if err != nil {
		return false, fmt.Errorf("print event: %w", err)
	}
	w.shown++
	return w.options.count == 0 || w.shown < w.options.count, nil
}
