package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"

	"github.com/orderstore/orderstore/client"
)

// certificates are files by which the store is known, and by which it knows this client where it asks for a certificate.
type certificates struct {
	ca, cert, key string
}

func (c *certificates) flags(f *pflag.FlagSet) {
	f.StringVar(&c.ca, "ca", "", "file of the certificates of the authority that the store's is of; default: those that this machine trusts")
	f.StringVar(&c.cert, "cert", "", "file of a client certificate, for a store that asks for one")
	f.StringVar(&c.key, "key", "", "file of its private key")
}

// apply has the client's connections, those to the broker too, go by the files. Flags go before the environment.
func (c *certificates) apply(to *client.Config) error {
	ca := cmp.Or(c.ca, os.Getenv("ORDERSTORE_CA"))
	cert, key := cmp.Or(c.cert, os.Getenv("ORDERSTORE_CERT")), cmp.Or(c.key, os.Getenv("ORDERSTORE_KEY"))
	if (cert == "") != (key == "") {
		return errors.New("--cert and --key go together")
	}
	if ca == "" && cert == "" {
		return nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("read certificates: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read certificates: %s holds none", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("read client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	to.HTTPClient = &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: connections,
	}}
	to.NATSOptions = append(to.NATSOptions, nats.Secure(cfg.Clone()))
	return nil
}

// connections are kept open to the store at most: an import uses many at once.
const connections = 256
