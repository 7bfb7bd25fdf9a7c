package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

// followOptions are how a subscription is followed.
type followOptions struct {
	watch  watchOptions
	orders bool
	listen string
	secret string
}

func followCommand(c *connection) *cobra.Command {
	var o followOptions
	cmd := &cobra.Command{
		Use: "follow SUBSCRIPTION", Short: "Print what a subscription brings, and acknowledge it", Args: cobra.ExactArgs(1),
		Long: `Print what a subscription brings, over whatever transport it has, and acknowledge each event once it is printed: started again, it goes on
where it was.

A subscription on NATS needs the broker's address: --nats, or ORDERSTORE_NATS, unless --data knows it. A webhook is heard on --listen, and
verified with the subscription's secret, or its public key: --secret, or ORDERSTORE_WEBHOOK_SECRET.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			w := &watcher{store: store, options: o.watch, out: cmd.OutOrStdout()}
			return o.follow(cmd.Context(), w, args[0])
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.orders, "orders", false, "with the orders, as --json shows them")
	f.BoolVar(&o.watch.json, "json", false, "print the events as JSON, one a line")
	f.IntVar(&o.watch.count, "count", 0, "stop after so many events")
	f.StringVar(&o.listen, "listen", "", "of a webhook: address to serve on, such as 127.0.0.1:9000")
	f.StringVar(&o.secret, "secret", "", "of a webhook: what calls are verified with")
	f.StringVar(&c.nats, "nats", "", "of NATS: address of the broker, such as nats://127.0.0.1:4222")
	return cmd
}

func (o *followOptions) follow(ctx context.Context, w *watcher, id string) error {
	var options []client.EventOption
	if o.orders {
		options = append(options, client.WithOrders())
	}
	if o.listen != "" {
		receiver, stop, err := o.serve(ctx)
		if err != nil {
			return err
		}
		defer stop()
		options = append(options, client.ThroughWebhook(receiver))
	}
	for event, err := range w.store.Subscribe(ctx, id, options...) {
		if err != nil {
			return err
		}
		more, err := w.show(event.Event)
		if err != nil {
			return err
		}
		if !more {
			return event.Ack(ctx)
		}
	}
	return nil
}

const (
	hookHeaderWithin = 5 * time.Second
	hookStopWithin   = 5 * time.Second
)

// serve hears webhooks until it is stopped.
func (o *followOptions) serve(ctx context.Context) (*client.WebhookReceiver, func(), error) {
	secret := cmp.Or(o.secret, os.Getenv("ORDERSTORE_WEBHOOK_SECRET"))
	if secret == "" {
		return nil, nil, errors.New("what are webhooks verified with? Give --secret, or set ORDERSTORE_WEBHOOK_SECRET")
	}
	verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{secret}})
	if err != nil {
		return nil, nil, err
	}
	var network net.ListenConfig
	listener, err := network.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return nil, nil, fmt.Errorf("hear webhooks: %w", err)
	}
	receiver := client.NewWebhookReceiver(verifier)
	server := &http.Server{Handler: receiver, ReadHeaderTimeout: hookHeaderWithin}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until it is stopped
	}()
	return receiver, func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), hookStopWithin)
		defer cancel()
		_ = server.Shutdown(within) // a call that is under way is answered first
		<-done
	}, nil
}
