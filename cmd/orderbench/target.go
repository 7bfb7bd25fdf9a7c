package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/client"
)

// probeProvider serves the orders that are followed, and nothing else.
const probeProvider = "bench-probe"

// party is a client of an instance, as credentials.json has it.
type party struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Tenant       string `json:"tenant"`
	Provider     string `json:"provider"`
}

// endpoints say where an instance is, as endpoints.json has it.
type endpoints struct {
	HTTP              string `json:"http"`
	Metrics           string `json:"metrics"`
	NATS              string `json:"nats"`
	PostgresWrite     string `json:"postgres_write"`
	PostgresRead      string `json:"postgres_read"`
	PostgresAuxiliary string `json:"postgres_auxiliary"`
}

// target is the instance that is measured.
type target struct {
	at       endpoints
	tenant   string
	tokens   oauth2.TokenSource
	shop     *client.Client
	operator *client.Client
	probe    *client.Client
	// The processes of the instance, 0 where they are not known.
	service, postmaster int
	// How many mixes were made, so that each has references of its own.
	mixes int
}

// reference begins the references of a mix's orders: no other one has it.
func (t *target) reference() string {
	t.mixes++
	return strconv.FormatInt(time.Now().UnixNano(), 36) + "x" + strconv.Itoa(t.mixes)
}

// connect reads how to reach an instance, and registers providers for the work that is submitted.
func connect(ctx context.Context, dir string) (*target, error) {
	t := &target{
		service: processIn(filepath.Join(dir, "lock")), postmaster: processIn(filepath.Join(dir, "postgres", "data", "postmaster.pid")),
	}
	if err := readJSON(filepath.Join(dir, "endpoints.json"), &t.at); err != nil {
		return nil, fmt.Errorf("is an instance running in %s? Start one with orderstore dev --data %s, or let --start do it (%w)", dir, dir, err)
	}
	var parties struct{ Operator, User, Provider party }
	if err := readJSON(filepath.Join(dir, "credentials.json"), &parties); err != nil {
		return nil, err
	}
	t.tenant = parties.User.Tenant
	t.tokens = tokens(context.WithoutCancel(ctx), t.at.HTTP, parties.User)
	var err error
	if t.operator, err = t.client(parties.Operator.ClientID, parties.Operator.ClientSecret); err != nil {
		return nil, err
	}
	if t.shop, err = t.client(parties.User.ClientID, parties.User.ClientSecret); err != nil {
		return nil, err
	}
	return t, t.register(ctx, parties.Provider.Provider)
}

func (t *target) client(id, secret string) (*client.Client, error) {
	return client.New(client.Config{BaseURL: t.at.HTTP, ClientID: id, ClientSecret: secret})
}

// register makes one provider serve the load and another one the probes.
func (t *target) register(ctx context.Context, provider string) error {
	for id, kinds := range map[string][]string{provider: load.Served(), probeProvider: {load.Probes}} {
		if _, err := t.operator.PutProvider(ctx, client.Provider{ID: id, BusinessTypes: kinds}); err != nil {
			return err
		}
	}
	made, err := t.operator.CreateClient(ctx, client.ClientSpec{Kind: client.KindProvider, Provider: probeProvider})
	if err != nil {
		return err
	}
	t.probe, err = t.client(made.ClientID, made.ClientSecret)
	return err
}

// renewEarly is how long before its end a token is renewed.
const renewEarly = time.Minute

// tokens fetches a party's token once and again before it ends.
func tokens(ctx context.Context, base string, p party) oauth2.TokenSource {
	cfg := clientcredentials.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, TokenURL: base + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader,
	}
	return oauth2.ReuseTokenSourceWithExpiry(nil, cfg.TokenSource(ctx), renewEarly)
}

// sender posts single orders as the user.
func (t *target) sender(connections int) (*load.Sender, error) {
	address, err := url.JoinPath(t.at.HTTP, "v1/orders")
	if err != nil {
		return nil, err
	}
	return load.NewSender(address, connections, func() (string, error) {
		token, err := t.tokens.Token()
		if err != nil {
			return "", err
		}
		return "Bearer " + token.AccessToken, nil
	})
}

// submissions gives each connection of a loop its way to submit orders of a mix.
func submissions(sender *load.Sender, mix *load.Mix) func() load.Operation {
	return func() load.Operation {
		slot, draw := sender.Slot(), mix.Draw()
		return func(_ context.Context, n int64, _ time.Time) string {
			slot.Body = draw.Append(slot.Body[:0], n)
			return slot.Post()
		}
	}
}

// levelWithin is how long stream and views may take to reach the log after a run.
const levelWithin = 5 * time.Minute

// level waits until stream and views are where the log is, and says how long that took.
func (t *target) level(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, levelWithin)
	defer cancel()
	began := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		lag, err := t.operator.Lag(ctx)
		var problem *client.Problem
		if err != nil && (!errors.As(err, &problem) || problem.Status != http.StatusServiceUnavailable) {
			return 0, err
		}
		if err == nil && levelled(lag) {
			return time.Since(began), nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait until stream and views are level with the log: %w", ctx.Err())
		}
	}
}

// levelled says whether stream and views are where the log is; auxiliary systems may lag.
func levelled(lag client.Lag) bool {
	behind := int64(0)
	if lag.Stream != nil {
		behind = lag.Stream.Lag
	}
	for _, view := range lag.Views {
		behind = max(behind, view.Lag)
	}
	return behind == 0
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path) //nolint:gosec // the operator's own folder
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}

// processIn is the process id in the first line of a file; 0 where there is none to read.
func processIn(path string) int {
	content, err := os.ReadFile(path) //nolint:gosec // the operator's own folder
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0
	}
	return pid
}
