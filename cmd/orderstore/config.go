package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/limits"
	"github.com/orderstore/orderstore/internal/tlsfiles"
)

// config is all that the environment says. Each variable has the prefix ORDERSTORE_.
type config struct {
	PostgresWrite     string        `env:"POSTGRES_WRITE"`
	PostgresRead      string        `env:"POSTGRES_READ"`
	PostgresAuxiliary string        `env:"POSTGRES_AUXILIARY"`
	NATS              string        `env:"NATS"`
	NATSLogin         time.Duration `env:"NATS_LOGIN" envDefault:"15m"` // longest that a party's login is good for
	HTTP              string        `env:"HTTP" envDefault:"127.0.0.1:8080"`
	Metrics           string        `env:"METRICS" envDefault:"127.0.0.1:9090"`
	Issuer            string        `env:"ISSUER" envDefault:"urn:orderstore"`
	LogLevel          string        `env:"LOG_LEVEL"`  // info; dev: warn
	LogFormat         string        `env:"LOG_FORMAT"` // json; dev: text
	TrustedProxies    []string      `env:"TRUSTED_PROXIES"`
	DurabilityEvery   time.Duration `env:"DURABILITY_EVERY" envDefault:"30s"` // between looks at the primary's settings
	StreamMaxAge      time.Duration `env:"STREAM_MAX_AGE"`
	StreamMaxBytes    int64         `env:"STREAM_MAX_BYTES"`
	StreamReplicas    int           `env:"STREAM_REPLICAS" envDefault:"1"`
	CacheBytes        int64         `env:"CACHE_BYTES" envDefault:"67108864"` // of orders in memory; 0: none
	MailDir           string        `env:"MAIL_DIR"`
	MailFrom          string        `env:"MAIL_FROM" envDefault:"Orderstore <orders@example.com>"`
	SMTPURL           string        `env:"SMTP_URL"`
	// MasterKey wraps the keys of customers: 32 bytes in base64; MasterKeyFile names a file with it instead. Without either, one is made
	// and kept in the primary.
	MasterKey     string `env:"MASTER_KEY"`
	MasterKeyFile string `env:"MASTER_KEY_FILE"`
	// ReplenishmentEvery is the time between runs of dev's replenishment; 0: none.
	ReplenishmentEvery time.Duration `env:"REPLENISHMENT_EVERY" envDefault:"24h"`
	Logins             logins

	// What one client may ask of one node unless the operator says otherwise; 0: no limit.
	OrdersPerSecond   int64 `env:"LIMIT_ORDERS_PER_SECOND" envDefault:"50000"`
	ReadsPerSecond    int64 `env:"LIMIT_READS_PER_SECOND" envDefault:"100000"`
	SearchesPerSecond int64 `env:"LIMIT_SEARCHES_PER_SECOND" envDefault:"10000"`
	WritesPerSecond   int64 `env:"LIMIT_WRITES_PER_SECOND" envDefault:"50000"`
	MaxStreams        int64 `env:"LIMIT_STREAMS" envDefault:"8192"`

	// Connections that are open at the same time; 0: no limit.
	MaxConnections           int `env:"MAX_CONNECTIONS" envDefault:"20000"`
	MaxConnectionsPerAddress int `env:"MAX_CONNECTIONS_PER_ADDRESS" envDefault:"15000"`

	HTTPTLS       httpTLS
	NATSTLS       tlsfiles.Client
	NATSServerTLS natsServerTLS // of dev's own

	WebhookAllowedNetworks []string        `env:"WEBHOOK_ALLOWED_NETWORKS"`
	WebhookAllowHTTP       bool            `env:"WEBHOOK_ALLOW_HTTP"`
	WebhookRetries         []time.Duration `env:"WEBHOOK_RETRIES"` // pauses between attempts
	WebhookRetention       time.Duration   `env:"WEBHOOK_RETENTION" envDefault:"168h"`
	WebhookDisableAfter    time.Duration   `env:"WEBHOOK_DISABLE_AFTER" envDefault:"120h"`
}

// limits are what a client may ask for by default.
func (c *config) limits() limits.Limits {
	return limits.Limits{
		OrdersPerSecond: c.OrdersPerSecond, ReadsPerSecond: c.ReadsPerSecond, SearchesPerSecond: c.SearchesPerSecond,
		WritesPerSecond: c.WritesPerSecond, MaxStreams: c.MaxStreams,
	}
}

// minNATSLogin keeps parties from logging in without end: servers count in whole seconds.
const minNATSLogin = 10 * time.Second

func readConfig() (config, error) {
	cfg, err := env.ParseAsWithOptions[config](env.Options{Prefix: "ORDERSTORE_"})
	if err != nil {
		return cfg, fmt.Errorf("read the environment: %w", err)
	}
	return cfg, nil
}

// role is one part of the server.
type role string

const (
	roleCommand    role = "command"
	roleRelay      role = "relay"
	roleProjection role = "projection"
	roleQuery      role = "query"
	roleBroadcast  role = "broadcast"
)

func allRoles() []role {
	return []role{roleCommand, roleRelay, roleProjection, roleQuery, roleBroadcast}
}

func parseRoles(list []string) ([]role, error) {
	var roles []role
	for _, name := range list {
		r := role(strings.TrimSpace(name))
		if !slices.Contains(allRoles(), r) {
			return nil, fmt.Errorf("there is no role %q: there are %v", name, allRoles())
		}
		if !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	if len(roles) == 0 {
		return nil, fmt.Errorf("no role is named: there are %v", allRoles())
	}
	return roles, nil
}

// validate names everything that the roles need and do not have.
func (c *config) validate(roles []role) error {
	var faults []error
	need := func(value, name string) {
		if value == "" {
			faults = append(faults, fmt.Errorf("ORDERSTORE_%s is not set", name))
		}
	}
	need(c.PostgresWrite, "POSTGRES_WRITE") // also where clients and signing keys are
	if slices.ContainsFunc(roles, func(r role) bool { return r == roleProjection || r == roleQuery || r == roleBroadcast }) {
		need(c.PostgresRead, "POSTGRES_READ")
	}
	if slices.ContainsFunc(roles, func(r role) bool { return r == roleProjection || r == roleRelay || r == roleQuery }) {
		need(c.NATS, "NATS")
	}
	if _, err := customerkeys.ReadMaster(c.MasterKey, c.MasterKeyFile); err != nil {
		faults = append(faults, err)
	}
	if _, _, err := net.SplitHostPort(c.HTTP); err != nil {
		faults = append(faults, fmt.Errorf("ORDERSTORE_HTTP %q is no HOST:PORT", c.HTTP))
	}
	if c.StreamMaxAge < 0 || c.StreamMaxBytes < 0 || c.StreamReplicas < 1 || c.StreamReplicas > 5 {
		faults = append(faults, errors.New("ORDERSTORE_STREAM_*: no limit may be negative, and replicas are 1 to 5"))
	}
	if c.NATSLogin < minNATSLogin {
		faults = append(faults, fmt.Errorf("ORDERSTORE_NATS_LOGIN is less than %s", minNATSLogin))
	}
	if c.CacheBytes < 0 {
		faults = append(faults, errors.New("ORDERSTORE_CACHE_BYTES is negative"))
	}
	if c.DurabilityEvery < 0 {
		faults = append(faults, errors.New("ORDERSTORE_DURABILITY_EVERY is negative"))
	}
	if min(c.OrdersPerSecond, c.ReadsPerSecond, c.SearchesPerSecond, c.WritesPerSecond, c.MaxStreams) < 0 {
		faults = append(faults, errors.New("ORDERSTORE_LIMIT_*: no limit may be negative"))
	}
	if min(c.MaxConnections, c.MaxConnectionsPerAddress) < 0 {
		faults = append(faults, errors.New("ORDERSTORE_MAX_CONNECTIONS and ORDERSTORE_MAX_CONNECTIONS_PER_ADDRESS may not be negative"))
	}
	if c.WebhookRetention < 0 || c.WebhookDisableAfter < 0 {
		faults = append(faults, errors.New("ORDERSTORE_WEBHOOK_RETENTION and ORDERSTORE_WEBHOOK_DISABLE_AFTER may not be negative"))
	}
	if err := c.Logins.validate(); err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, c.validateTLS())
	if _, err := c.webhookGuard(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.webhookSchedule(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
