// Command orderbench puts load on a running order store, over its public API alone, and reports what it measured.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{Use: "orderbench", Short: "Measure a running order store", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(latencyCommand(), throughputCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "orderbench:", err)
		return 1
	}
	return 0
}

// businessType is the kind of work of the orders that are submitted; no other provider should match it.
const businessType = "bench.work"

// parties are the clients of a development instance.
type parties struct{ operator, user, provider *client.Client }

// connect reads how to reach a development instance, and registers its provider for the benchmark's work.
func connect(ctx context.Context, data string) (*parties, error) {
	var endpoints struct{ HTTP string }
	var credentials map[string]struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		Provider     string `json:"provider"`
	}
	if err := readJSON(filepath.Join(data, "endpoints.json"), &endpoints); err != nil {
		return nil, fmt.Errorf("is an instance running in %s? %w", data, err)
	}
	if err := readJSON(filepath.Join(data, "credentials.json"), &credentials); err != nil {
		return nil, err
	}
	p := &parties{}
	for name, into := range map[string]**client.Client{"operator": &p.operator, "user": &p.user, "provider": &p.provider} {
		c, err := client.New(client.Config{
			BaseURL: endpoints.HTTP, ClientID: credentials[name].ClientID, ClientSecret: credentials[name].ClientSecret,
		})
		if err != nil {
			return nil, err
		}
		*into = c
	}
	_, err := p.operator.PutProvider(ctx, client.Provider{ID: credentials["provider"].Provider, BusinessTypes: []string{businessType}})
	return p, err
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path) //nolint:gosec // the operator's own folder
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}

// orders makes orders of one to three lines with references that no other run has.
type orders struct{ run string }

func newOrders() orders { return orders{run: strconv.FormatInt(time.Now().UnixNano(), 36)} }

func (o orders) make(n int) client.OrderSubmission {
	order := client.OrderSubmission{
		Channel: "web", ExternalRef: o.run + "-" + strconv.Itoa(n), BusinessType: businessType, Currency: "EUR", Shipping: 490,
		Customer: &client.Customer{
			Name: "Ada Mørk", Email: "ada@example.com",
			Address: &client.Address{Line1: "Hauptstraße 1", City: "Zürich", PostalCode: "8001", Country: "CH"},
		},
	}
	for line := range 1 + n%3 {
		order.Lines = append(order.Lines, client.LineSubmission{
			SKU: fmt.Sprintf("SKU-%04d", (n*7+line)%5000), Name: "Fountain pen, medium nib", Quantity: int64(1 + (n+line)%5),
			UnitPrice: int64(995 + 100*(n%40)), Tax: int64(19 * (n % 40)),
		})
	}
	return order
}
