package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func stockCommand(c *connection) *cobra.Command {
	return family("stock", "Stock: what is on hand, reserved, available and on order", stockListCommand(c), stockAdjustCommand(c), stockWatchCommand(c),
		stockWebhookCommand(c))
}

func stockListCommand(c *connection) *cobra.Command {
	var filter client.StockFilter
	var most int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list [SKU ...]", Short: "List the levels of all products, or of some",
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			p := newStockPrinter(cmd, asJSON)
			for _, sku := range args {
				item, err := store.Stock(cmd.Context(), sku, 0)
				if err == nil {
					err = p.print(item)
				}
				if err != nil {
					return err
				}
			}
			if len(args) > 0 {
				return p.flush()
			}
			for item, err := range store.ListStock(cmd.Context(), filter) {
				if err == nil {
					err = p.print(item)
				}
				if err != nil {
					return err
				}
				if p.printed == most {
					break
				}
			}
			return p.flush()
		},
	}
	f := cmd.Flags()
	f.StringVar(&filter.VendorID, "vendor", "", "of this vendor")
	f.BoolVar(&filter.BelowReorder, "below-reorder", false, "what is to be bought")
	f.IntVar(&most, "limit", 0, "how many at most; 0 for all")
	f.BoolVar(&asJSON, "json", false, "print the documents, one a line")
	return cmd
}

// stockPrinter prints levels as a table or as JSON.
type stockPrinter struct {
	cmd     *cobra.Command
	table   *tabwriter.Writer
	asJSON  bool
	printed int
}

func newStockPrinter(cmd *cobra.Command, asJSON bool) *stockPrinter {
	p := &stockPrinter{cmd: cmd, asJSON: asJSON, table: tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)}
	if !asJSON {
		_, _ = fmt.Fprintln(p.table, "POSITION\tSKU\tON HAND\tRESERVED\tAVAILABLE\tON ORDER\tREORDER\tTARGET\tVENDOR\tNAME")
	}
	return p
}

func (p *stockPrinter) print(i client.StockItem) error {
	var err error
	if p.asJSON {
		err = json.NewEncoder(p.cmd.OutOrStdout()).Encode(i)
	} else {
		_, err = fmt.Fprintf(p.table, "%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n",
			i.Position, i.SKU, i.OnHand, i.Reserved, i.Available, i.OnOrder, i.ReorderLevel, i.TargetLevel, i.VendorID, i.Name)
	}
	if err != nil {
		return fmt.Errorf("print level: %w", err)
	}
	p.printed++
	return nil
}

func (p *stockPrinter) flush() error { return p.table.Flush() }

func stockAdjustCommand(c *connection) *cobra.Command {
	var id, file string
	var line client.AdjustedStock
	var counted int64
	cmd := &cobra.Command{
		Use:   "adjust [SKU]",
		Short: "Adjust a level, or many by a JSON file",
		Long: `Adjust the level of an SKU by a difference or to what was counted, or what is on order; or many levels by a JSON file of
{"adjustment_id", "lines": [{"sku", "delta" | "counted", "on_order_delta", "reason"}]}.

The same adjustment id is applied once, however often it is sent. The reason "return" puts back what was sold.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a := client.StockAdjustment{AdjustmentID: id}
			switch {
			case file != "" && len(args) == 0:
				if err := readDocument("adjustment", file, &a); err != nil {
					return err
				}
			case file == "" && len(args) == 1:
				line.SKU = args[0]
				if cmd.Flags().Changed("counted") {
					line.Counted = &counted
				}
				a.Lines = []client.AdjustedStock{line}
			default:
				return errors.New("adjust: give an SKU, or a file by --file")
			}
			if a.AdjustmentID == "" {
				a.AdjustmentID = uuid.NewString()
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			answer, err := store.AdjustStock(cmd.Context(), a)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "id", "", "adjustment id (default: a random one)")
	f.StringVar(&file, "file", "", "a JSON file of an adjustment")
	f.Int64Var(&line.Delta, "delta", 0, "units that came or, negative, went")
	f.Int64Var(&counted, "counted", 0, "units that are there")
	f.Int64Var(&line.OnOrderDelta, "on-order", 0, "units bought or, negative, no longer to be expected")
	f.StringVar(&line.Reason, "reason", "", `why; "return" for goods that were sold`)
	return cmd
}

func stockWatchCommand(c *connection) *cobra.Command {
	var w client.StockWatch
	var most int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "watch [SKU]", Short: "Show the levels and follow them as they change", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				w.SKU = args[0]
			}
			p := newStockPrinter(cmd, asJSON)
			for item, err := range store.WatchStock(cmd.Context(), w) {
				if err == nil {
					err = errors.Join(p.print(item), p.flush())
				}
				if err != nil {
					return err
				}
				if p.printed == most {
					break
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Int64Var(&w.After, "after", 0, "only what changed after this position")
	f.IntVar(&most, "count", 0, "stop after so many levels")
	f.BoolVar(&asJSON, "json", false, "print the documents, one a line")
	return cmd
}

func replenishmentCommand(c *connection) *cobra.Command {
	var filter client.ReplenishmentFilter
	var form string
	cmd := &cobra.Command{
		Use: "replenishment", Short: "Print the form of what is to be bought, by vendor", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			media, ok := map[string]string{"csv": client.FormCSV, "html": client.FormHTML, "json": ""}[form]
			if !ok {
				return fmt.Errorf("replenishment: %q is not json, csv or html", form)
			}
			if media == "" {
				answer, err := store.Replenishment(cmd.Context(), filter)
				if err != nil {
					return err
				}
				return indented(cmd.OutOrStdout(), answer)
			}
			body, err := store.ReplenishmentAs(cmd.Context(), filter, media)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(body)
			return err
		},
	}
	cmd.Flags().StringVar(&filter.VendorID, "vendor", "", "of this vendor")
	cmd.Flags().StringVar(&form, "format", "json", "json, csv or html")
	cmd.AddCommand(scheduleCommand(c))
	return cmd
}
