package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/orderstore/orderstore/internal/tlsfiles"
)

// httpTLS is what the API's listener goes by.
type httpTLS struct {
	Cert     string `env:"HTTP_TLS_CERT"`
	Key      string `env:"HTTP_TLS_KEY"`
	ClientCA string `env:"HTTP_TLS_CLIENT_CA"`
}

// natsServerTLS is what the listener of dev's NATS goes by.
type natsServerTLS struct {
	Cert     string `env:"NATS_SERVER_TLS_CERT"`
	Key      string `env:"NATS_SERVER_TLS_KEY"`
	ClientCA string `env:"NATS_SERVER_TLS_CLIENT_CA"`
}

// validateTLS names the sets of files that are not whole.
func (c *config) validateTLS() error {
	var faults []error
	for _, set := range []struct {
		name  string
		files interface{ Validate() error }
	}{{"HTTP_TLS", tlsfiles.Server(c.HTTPTLS)}, {"NATS_TLS", c.NATSTLS}, {"NATS_SERVER_TLS", tlsfiles.Server(c.NATSServerTLS)}} {
		if err := set.files.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("ORDERSTORE_%s_*: %w", set.name, err))
		}
	}
	return errors.Join(faults...)
}

// secured is the listener without its guard, which has to see what was deciphered.
func (n *node) secured() (net.Listener, error) {
	files := tlsfiles.Server(n.cfg.HTTPTLS)
	if !files.Named() {
		return n.listener, nil
	}
	// HTTP/1.1 alone, as without TLS.
	cfg, err := files.Config(time.Now, n.log, "http/1.1")
	if err != nil {
		return nil, fmt.Errorf("ORDERSTORE_HTTP_TLS_*: %w", err)
	}
	return tls.NewListener(n.listener, cfg), nil
}

// scheme is what the service's own address begins with.
func (c *config) scheme() string {
	if tlsfiles.Server(c.HTTPTLS).Named() {
		return "https://"
	}
	return "http://"
}

// brokerTLS is how an embedded broker is reached over the network; nil: in plain text.
func brokerTLS(files tlsfiles.Server, log *slog.Logger) (*tls.Config, error) {
	if !files.Named() {
		return nil, nil
	}
	cfg, err := files.Config(time.Now, log)
	if err != nil {
		return nil, fmt.Errorf("ORDERSTORE_NATS_SERVER_TLS_*: %w", err)
	}
	return cfg, nil
}
