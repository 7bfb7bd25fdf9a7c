// Package tlsfiles makes TLS settings of certificate files, and takes changed files in without a restart.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Server names what a listener shows and whom it lets in. All empty: it speaks plain text.
type Server struct {
	Cert string // PEM, with the certificates between it and the authority's
	Key  string
	// ClientCA are the authorities of client certificates. Where it is named, nobody gets in without one.
	ClientCA string
}

// Client names what a connection to NATS trusts and shows. All empty: what the address says, with the system's authorities.
type Client struct {
	CA   string `env:"NATS_TLS_CA"`
	Cert string `env:"NATS_TLS_CERT"`
	Key  string `env:"NATS_TLS_KEY"`
}

// lookEvery is how often, at most, a listener looks whether its files have changed.
const lookEvery = time.Second

var errPair = errors.New("certificate and key go together")

// Named tells whether the listener speaks TLS.
func (s Server) Named() bool { return s != Server{} }

// Validate tells which file is missing from the set.
func (s Server) Validate() error {
	if (s.Cert == "") != (s.Key == "") {
		return errPair
	}
	if s.ClientCA != "" && s.Cert == "" {
		return errors.New("an authority of clients needs a certificate of the server")
	}
	return nil
}

// Validate tells which file is missing from the set.
func (c Client) Validate() error {
	if (c.Cert == "") != (c.Key == "") {
		return errPair
	}
	return nil
}

// NATSOptions are for a connection that is encrypted or not made at all. The files are read anew at each connection.
func (c Client) NATSOptions() []nats.Option {
	if c == (Client{}) {
		return nil
	}
	options := []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12})}
	if c.CA != "" {
		options = append(options, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		options = append(options, nats.ClientCert(c.Cert, c.Key))
	}
	return options
}

// Config reads the files and gives what a listener goes by: TLS 1.2 or later, and, where ClientCA is named, a client certificate of it.
// Files that change count for the connections after that; changed ones that cannot be used are logged, and the last good ones stay.
func (s Server) Config(now func() time.Time, log *slog.Logger, protocols ...string) (*tls.Config, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	k := &kept{files: s, now: now, log: log, protocols: protocols}
	if err := k.load(k.stamp()); err != nil {
		return nil, err
	}
	k.looked = now()
	outer := k.config.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.current(), nil }
	return outer, nil
}

// kept is the settings as last read.
type kept struct {
	files     Server
	now       func() time.Time
	log       *slog.Logger
	protocols []string

	mu     sync.Mutex
	looked time.Time
	seen   [3]stamp // of the files that config, or the last fault, is of
	config *tls.Config
}

// stamp tells two states of a file apart.
type stamp struct {
	changed time.Time
	size    int64
}

func (k *kept) stamp() [3]stamp {
	var stamps [3]stamp
	for i, path := range []string{k.files.Cert, k.files.Key, k.files.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = stamp{changed: info.ModTime(), size: info.Size()}
		}
	}
	return stamps
}

func (k *kept) current() *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if now.Sub(k.looked) < lookEvery {
		return k.config
	}
	k.looked = now
	found := k.stamp()
	if found == k.seen {
		return k.config
	}
	if err := k.load(found); err != nil {
		k.log.Warn("changed certificate files are not taken in", "cause", err)
		return k.config
	}
	k.log.Info("changed certificate files are in use")
	return k.config
}

// load reads the files, whose stamps were taken before: what changes meanwhile is read again.
func (k *kept) load(found [3]stamp) error {
	k.seen = found
	pair, err := tls.LoadX509KeyPair(k.files.Cert, k.files.Key)
	if err != nil {
		return fmt.Errorf("read certificate and key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: k.protocols}
	if k.files.ClientCA != "" {
		pem, err := os.ReadFile(k.files.ClientCA)
		if err != nil {
			return fmt.Errorf("read authorities of clients: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read authorities of clients: %s holds no certificate", k.files.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		// A ticket would let a client in that an authority taken away since then has vouched for.
		config.SessionTicketsDisabled = true
	}
	k.config = config
	return nil
}
