package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func returnCommand(c *connection) *cobra.Command {
	var back client.OrderReturn
	var writeOff bool
	cmd := &cobra.Command{
		Use:     "return ORDER RETURN_ID LINE_ID=QUANTITY...",
		Aliases: []string{"returns"},
		Short:   "Say that goods of an order came back",
		Long: `Say that goods of an order came back, under an id of your own, such as

  orderctl orders return ORDER rma-1 1=2 --reason too_small

The same again changes nothing. Goods go on the shelf again unless --write-off is given.`,
		Args: cobra.MinimumNArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			back.ReturnID, back.Lines = args[1], nil
			for _, arg := range args[2:] {
				line, err := returnedLine(arg, !writeOff)
				if err != nil {
					return err
				}
				back.Lines = append(back.Lines, line)
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			order, err := store.ReturnOrder(cmd.Context(), args[0], back)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), order)
		},
	}
	cmd.Flags().StringVar(&back.Reason, "reason", "", "why they came back")
	cmd.Flags().BoolVar(&writeOff, "write-off", false, "they cannot be sold again")
	return cmd
}

// returnedLine reads LINE_ID=QUANTITY.
func returnedLine(arg string, restock bool) (client.ReturnedLine, error) {
	id, number, found := strings.Cut(arg, "=")
	quantity, err := strconv.ParseInt(number, 10, 64)
	if !found || id == "" || err != nil {
		return client.ReturnedLine{}, fmt.Errorf("return: %q is not LINE_ID=QUANTITY", arg)
	}
	return client.ReturnedLine{LineID: id, Quantity: quantity, Restock: &restock}, nil
}
