package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/orderstore/orderstore/broadcast"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/webhook"
)

// retryJitter is the share of each pause between attempts that is left to chance.
const retryJitter = 0.2

// webhookGuard says where webhooks may go, by the environment.
func (c *config) webhookGuard() (*webhook.Guard, error) {
	cfg, err := c.webhookTargets()
	if err != nil {
		return nil, err
	}
	guard, err := webhook.NewGuard(cfg)
	if err != nil {
		return nil, fmt.Errorf("ORDERSTORE_WEBHOOK_ALLOWED_NETWORKS: %w", err)
	}
	return guard, nil
}

// webhookTargets are the addresses that may be called.
func (c *config) webhookTargets() (webhook.GuardConfig, error) {
	cfg := webhook.GuardConfig{AllowHTTP: c.WebhookAllowHTTP}
	for _, text := range c.WebhookAllowedNetworks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return cfg, fmt.Errorf("ORDERSTORE_WEBHOOK_ALLOWED_NETWORKS: %q is no network such as 10.1.0.0/16", text)
		}
		cfg.AllowedNetworks = append(cfg.AllowedNetworks, network)
	}
	return cfg, nil
}

// webhookSchedule is when a failed webhook is sent again; the zero value is the default.
func (c *config) webhookSchedule() (webhook.Schedule, error) {
	s := webhook.Schedule{Delays: c.WebhookRetries, Jitter: retryJitter}
	if len(s.Delays) == 0 {
		return webhook.DefaultSchedule(), nil
	}
	if err := s.Validate(); err != nil {
		return s, fmt.Errorf("ORDERSTORE_WEBHOOK_RETRIES: %w", err)
	}
	return s, nil
}

// allowLoopback lets a developer's receivers on this machine be reached.
func (c *config) allowLoopback() {
	c.WebhookAllowedNetworks = append(slices.Clone(c.WebhookAllowedNetworks), "127.0.0.0/8", "::1/128")
}

// webhooks are what a node that broadcasts has for webhooks.
type webhooks struct {
	guard      *webhook.Guard
	sender     *webhook.Sender
	dispatcher *broadcast.Dispatcher
}

// openWebhooks makes the dispatcher. Its commits do not wait for the disk: a crash of the primary takes positions and what they stand
// on back together, so that events are sent again.
func (n *node) openWebhooks(ctx context.Context) error {
	guard, err := n.cfg.webhookGuard()
	if err != nil {
		return err
	}
	schedule, err := n.cfg.webhookSchedule()
	if err != nil {
		return err
	}
	sender, err := webhook.NewSender(guard, webhook.SenderConfig{Timeout: broadcast.LongestAttempt})
	if err != nil {
		return err
	}
	n.ledger, err = n.cfg.openAs(ctx, componentBroadcast, n.cfg.PostgresWrite, postgres.PoolConfig{Name: "orderstore-webhooks", MaxConns: 4, AsyncCommit: true})
	if err != nil {
		return err
	}
	n.webhooks = &webhooks{guard: guard, sender: sender, dispatcher: broadcast.NewDispatcher(broadcast.DispatcherConfig{
		Write: n.ledger, Read: n.heard, Live: n.live, Sender: sender, Schedule: schedule, Now: time.Now, Logger: n.log, Registerer: n.registry,
		DisableAfter: n.cfg.WebhookDisableAfter, Retention: n.cfg.WebhookRetention,
	})}
	return nil
}
