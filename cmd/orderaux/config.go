package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/caarlos0/env/v11"

	"github.com/orderstore/orderstore/auxiliary"
)

// config is all that the environment says. Each variable has the prefix ORDERSTORE_.
type config struct {
	PostgresAuxiliary string `env:"POSTGRES_AUXILIARY"`
	PostgresWrite     string `env:"POSTGRES_WRITE"` // optional: the log is read here where the stream does not reach back
	NATS              string `env:"NATS"`
	Metrics           string `env:"METRICS" envDefault:"127.0.0.1:9091"`
	MailDir           string `env:"MAIL_DIR"`
	SMTPURL           string `env:"SMTP_URL"` // wins over MailDir
	MailFrom          string `env:"MAIL_FROM" envDefault:"Orderstore <orders@example.com>"`
	// MailAfter is the position after which customers are told, when the auxiliary database is new although orders were
	// handled before: nobody is told again.
	MailAfter int64  `env:"MAIL_AFTER"`
	LogLevel  string `env:"LOG_LEVEL"`  // info
	LogFormat string `env:"LOG_FORMAT"` // json
}

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
	if err := c.mail().Validate(); err != nil {
		faults = append(faults, fmt.Errorf("ORDERSTORE_MAIL_DIR, _SMTP_URL, _MAIL_FROM, _MAIL_AFTER: %w", err))
	}
	return errors.Join(faults...)
}

func (c *config) mail() auxiliary.MailConfig {
	return auxiliary.MailConfig{From: c.MailFrom, Dir: c.MailDir, SMTPURL: c.SMTPURL, QuietTo: c.MailAfter}
}
