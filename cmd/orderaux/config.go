package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/tlsfiles"
	"github.com/orderstore/orderstore/internal/webhook"
)

// config is all that the environment says. Each variable has the prefix ORDERSTORE_.
type config struct {
	PostgresAuxiliary string `env:"POSTGRES_AUXILIARY"`
	PostgresWrite     string `env:"POSTGRES_WRITE"`  // optional: the log is read here where the stream does not reach back
	Login             string `env:"LOGIN_AUXILIARY"` // name:password, in place of what the URLs say
	NATS              string `env:"NATS"`
	NATSTLS           tlsfiles.Client
	// MasterKey opens whom orders are for, with the keys in the write database. Without both nobody is told of anything.
	MasterKey     string `env:"MASTER_KEY"`
	MasterKeyFile string `env:"MASTER_KEY_FILE"`
	Metrics       string `env:"METRICS" envDefault:"127.0.0.1:9091"`
	MailDir       string `env:"MAIL_DIR"`
	SMTPURL       string `env:"SMTP_URL"` // wins over MailDir
	MailFrom      string `env:"MAIL_FROM" envDefault:"Orderstore <orders@example.com>"`
	// MailAfter is the position after which customers are told, when the auxiliary database is new although orders were
	// handled before: nobody is told again.
	MailAfter int64 `env:"MAIL_AFTER"`
	// ReplenishmentEvery is the time between looks for products to be bought; 0: never. The event is raised through the API, with
	// an auxiliary system's credentials.
	ReplenishmentEvery time.Duration `env:"REPLENISHMENT_EVERY"`
	URL                string        `env:"URL"`
	ClientID           string        `env:"CLIENT_ID"`
	ClientSecret       string        `env:"CLIENT_SECRET"`
	// Where notices by webhook may go, as for the store's webhooks.
	WebhookAllowedNetworks []string `env:"WEBHOOK_ALLOWED_NETWORKS"`
	WebhookAllowHTTP       bool     `env:"WEBHOOK_ALLOW_HTTP"`

	// Nice is how far this process stands back for others on the same machine, 0 to 19: see setpriority(2). Orders come first.
	Nice int `env:"NICE" envDefault:"10"`

	LogLevel  string `env:"LOG_LEVEL"`  // info
	LogFormat string `env:"LOG_FORMAT"` // json
}

// mostNice is the lowest priority there is.
const mostNice = 19

func readConfig() (config, error) {
	cfg, err := env.ParseAsWithOptions[config](env.Options{Prefix: "ORDERSTORE_"})
	if err != nil {
		return cfg, fmt.Errorf("read the environment: %w", err)
	}
	return cfg, cfg.Validate()
}

// Validate names everything that is missing or wrong.
func (c *config) Validate() error {
	var faults []error
	for _, v := range []struct{ value, name string }{{c.PostgresAuxiliary, "POSTGRES_AUXILIARY"}, {c.NATS, "NATS"}} {
		if v.value == "" {
			faults = append(faults, fmt.Errorf("ORDERSTORE_%s is not set", v.name))
		}
	}
	if _, _, err := net.SplitHostPort(c.Metrics); err != nil {
		faults = append(faults, fmt.Errorf("ORDERSTORE_METRICS %q is no HOST:PORT", c.Metrics))
	}
	if c.ReplenishmentEvery != 0 {
		for _, v := range []struct{ value, name string }{{c.URL, "URL"}, {c.ClientID, "CLIENT_ID"}, {c.ClientSecret, "CLIENT_SECRET"}} {
			if v.value == "" {
				faults = append(faults, fmt.Errorf("ORDERSTORE_%s is not set, and ORDERSTORE_REPLENISHMENT_EVERY needs it", v.name))
			}
		}
		if c.ReplenishmentEvery < auxiliary.ShortestRun {
			faults = append(faults, fmt.Errorf("ORDERSTORE_REPLENISHMENT_EVERY is less than %v", auxiliary.ShortestRun))
		}
	}
	if c.Nice < 0 || c.Nice > mostNice {
		faults = append(faults, fmt.Errorf("ORDERSTORE_NICE is not from 0 to %d", mostNice))
	}
	if _, err := postgres.ParseLogin(c.Login); err != nil {
		faults = append(faults, fmt.Errorf("ORDERSTORE_LOGIN_AUXILIARY: %w", err))
	}
	if _, err := customerkeys.ReadMaster(c.MasterKey, c.MasterKeyFile); err != nil {
		faults = append(faults, err)
	}
	if err := c.NATSTLS.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("ORDERSTORE_NATS_TLS_*: %w", err))
	}
	if err := c.mail().Validate(); err != nil {
		faults = append(faults, fmt.Errorf("ORDERSTORE_MAIL_DIR, _SMTP_URL, _MAIL_FROM, _MAIL_AFTER: %w", err))
	}
	if _, err := c.hooks(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// hooks say which addresses may be called.
func (c *config) hooks() (webhook.GuardConfig, error) {
	cfg := webhook.GuardConfig{AllowHTTP: c.WebhookAllowHTTP}
	for _, text := range c.WebhookAllowedNetworks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return cfg, fmt.Errorf("ORDERSTORE_WEBHOOK_ALLOWED_NETWORKS: %q is no network such as 10.1.0.0/16", text)
		}
		cfg.AllowedNetworks = append(cfg.AllowedNetworks, network)
	}
	if _, err := webhook.NewGuard(cfg); err != nil {
		return cfg, fmt.Errorf("ORDERSTORE_WEBHOOK_ALLOWED_NETWORKS: %w", err)
	}
	return cfg, nil
}

func (c *config) mail() auxiliary.MailConfig {
	return auxiliary.MailConfig{From: c.MailFrom, Dir: c.MailDir, SMTPURL: c.SMTPURL, QuietTo: c.MailAfter}
}

// replenishment raises events through the API, as any auxiliary system could.
func (c *config) replenishment() (auxiliary.ReplenishmentConfig, error) {
	if c.ReplenishmentEvery == 0 && c.ClientID == "" {
		return auxiliary.ReplenishmentConfig{}, nil
	}
	store, err := client.New(client.Config{BaseURL: c.URL, ClientID: c.ClientID, ClientSecret: c.ClientSecret, UserAgent: "orderaux"})
	if err != nil {
		return auxiliary.ReplenishmentConfig{}, fmt.Errorf("ORDERSTORE_URL, _CLIENT_ID, _CLIENT_SECRET: %w", err)
	}
	raise := func(ctx context.Context, tenant string, run *events.ReplenishmentRun) error {
		_, err := store.RaiseReplenishment(ctx, client.ReplenishmentRun{
			Tenant: tenant, RunID: run.RunID, Position: run.Position, Vendors: run.Vendors, Lines: run.Lines,
		})
		return err
	}
	return auxiliary.ReplenishmentConfig{Every: c.ReplenishmentEvery, Raise: raise}, nil
}
