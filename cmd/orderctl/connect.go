package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/orderstore/orderstore/client"
)

// connection is where the store is and as whom to talk to it.
type connection struct {
	url, id, secret string
	data, as        string
	nats            string // of the broker
	certificates    certificates
}

func (c *connection) flags(f *pflag.FlagSet) {
	f.StringVar(&c.url, "url", "", "address of the store, such as http://127.0.0.1:8080")
	f.StringVar(&c.id, "client-id", "", "client id")
	f.StringVar(&c.secret, "client-secret", "", "client secret")
	f.StringVar(&c.data, "data", "", "folder of a development instance, which knows its address and credentials")
	c.certificates.flags(f)
	f.StringVar(&c.as, "as", "", "with --data: user, operator, provider or auxiliary (default: whom the command is for)")
}

// The parties of a development instance.
const (
	asUser     = "user"
	asOperator = "operator"
	asProvider = "provider"
)

// party is a client of a development instance, as its credentials.json has it.
type party struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Tenant       string `json:"tenant"`
}

// resolved is a connection with all that is known of it. Tenant is empty where it is not known.
type resolved struct {
	config client.Config
	tenant string
}

var errAsWhom = errors.New("as whom? Give --client-id and --client-secret, or set ORDERSTORE_CLIENT_ID and ORDERSTORE_CLIENT_SECRET")

// resolve finds address and credentials. Flags go before the development instance, and that before the environment.
func (c *connection) resolve(usual string) (resolved, error) {
	var r resolved
	if c.data != "" {
		fromData, err := c.instance(cmp.Or(c.as, usual))
		if err != nil {
			return r, err
		}
		r = fromData
	} else if c.as != "" {
		return r, errors.New("--as is for --data")
	}
	if c.id != "" && r.config.ClientID != c.id {
		r.tenant = "" // of somebody else
	}
	r.config.BaseURL = cmp.Or(c.url, r.config.BaseURL, os.Getenv("ORDERSTORE_URL"))
	r.config.ClientID = cmp.Or(c.id, r.config.ClientID, os.Getenv("ORDERSTORE_CLIENT_ID"))
	r.config.ClientSecret = cmp.Or(c.secret, r.config.ClientSecret, os.Getenv("ORDERSTORE_CLIENT_SECRET"))
	r.config.NATSURL = cmp.Or(c.nats, r.config.NATSURL, os.Getenv("ORDERSTORE_NATS"))
	r.config.UserAgent = "orderctl/" + version
	if r.config.BaseURL == "" {
		return r, errors.New("which store? Give --data DIR, or --url with --client-id and --client-secret, or set ORDERSTORE_URL, " +
			"ORDERSTORE_CLIENT_ID and ORDERSTORE_CLIENT_SECRET")
	}
	if err := c.certificates.apply(&r.config); err != nil {
		return r, err
	}
	if r.config.ClientID == "" || r.config.ClientSecret == "" {
		return r, errAsWhom
	}
	return r, nil
}

// instance reads where a development instance is and the credentials of one of its parties.
func (c *connection) instance(as string) (resolved, error) {
	var r resolved
	var endpoints struct {
		HTTP string `json:"http"`
		NATS string `json:"nats"`
	}
	if err := readFile(filepath.Join(c.data, "endpoints.json"), &endpoints); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return r, fmt.Errorf("no instance runs in %s: start one with orderstore dev --data %s", c.data, c.data)
		}
		return r, err
	}
	parties := map[string]party{}
	if err := readFile(filepath.Join(c.data, "credentials.json"), &parties); err != nil {
		return r, err
	}
	p, ok := parties[as]
	if !ok {
		return r, fmt.Errorf("--as %s: the instance has no such party", as)
	}
	r.config.BaseURL, r.config.NATSURL = endpoints.HTTP, endpoints.NATS
	if !strings.Contains(endpoints.HTTP, "://") {
		r.config.BaseURL = "http://" + endpoints.HTTP
	}
	r.config.ClientID, r.config.ClientSecret, r.tenant = p.ClientID, p.ClientSecret, p.Tenant
	return r, nil
}

func readFile(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read instance: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read instance: %s: %w", path, err)
	}
	return nil
}

// patience is how long a command of one call waits for a store that is away or busy.
const patience = 15 * time.Second

// client makes a client, usually of this party.
func (c *connection) client(usual string) (*client.Client, error) {
	r, err := c.resolve(usual)
	if err != nil {
		return nil, err
	}
	r.config.RetryFor = patience
	return client.New(r.config)
}

// public makes a client for what everybody may ask: it carries no credentials.
func (c *connection) public() (*client.Client, error) {
	r, err := c.resolve(asUser)
	if err != nil && !errors.Is(err, errAsWhom) {
		return nil, err
	}
	r.config.ClientID, r.config.ClientSecret, r.config.RetryFor = "", "", patience
	return client.New(r.config)
}
