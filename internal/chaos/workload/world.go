package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/chaos"
)

// worldFile says in a run's folder who takes part. It has secrets.
const worldFile = "parties.json"

// world is who takes part in a run.
type world struct {
	Run     string        `json:"run"`     // begins every reference of this run
	Start   int64         `json:"start"`   // parties hear all after this position
	Settled int64         `json:"settled"` // and were waited for until this one; 0: they were not
	Tenants []chaos.Login `json:"tenants"`
	// Providers are one on each transport, in the order of transports.
	Providers []chaos.Login `json:"providers"`
	System    chaos.Login   `json:"system"`
}

// Member is a party of a run, as the checker has to know it.
type Member struct {
	Name     string `json:"name"` // of its receipts
	Tenant   string `json:"tenant,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Ordered says that its transport brings each event once and in order.
	Ordered bool `json:"ordered"`
}

// World is who takes part in a run, for the checker.
type World struct {
	Run     string
	Start   int64 // parties hear all after this position
	Settled int64 // and were waited for until this one; 0: they were not
	Tenants []chaos.Login
	System  string
	Members []Member
}

// ReadWorld reads who took part from a run's folder.
func ReadWorld(dir string) (World, error) {
	raw, err := os.ReadFile(filepath.Join(dir, worldFile)) //nolint:gosec // the run's own folder
	if err != nil {
		return World{}, fmt.Errorf("read parties: %w", err)
	}
	var w world
	if err := json.Unmarshal(raw, &w); err != nil {
		return World{}, fmt.Errorf("decode parties: %w", err)
	}
	out := World{Run: w.Run, Start: w.Start, Settled: w.Settled, Tenants: w.Tenants, System: w.System.System}
	for i, provider := range w.Providers {
		out.Members = append(out.Members, Member{
			Name: provider.Provider, Provider: provider.Provider, Ordered: transports()[i] == client.TransportFeed || transports()[i] == client.TransportSSE,
		})
	}
	for _, tenant := range w.Tenants {
		out.Members = append(out.Members, Member{Name: tenant.Tenant, Tenant: tenant.Tenant, Ordered: true})
	}
	return out, nil
}

// transports are those of the providers, in order.
func transports() []string {
	return []string{client.TransportNATS, client.TransportWebhook, client.TransportSSE, client.TransportFeed}
}

// businessType is the work of the provider on a transport.
func businessType(transport string) string { return "chaos." + transport }

// shared is the work of which every provider gets a task: who is first counts.
const sharedWork = "chaos.all"

// nobodysWork is the work that no provider does: an order of it can be changed until it is cancelled.
const nobodysWork = "chaos.nobody"

// prepareWithin is how long a cluster may take until all are registered.
const prepareWithin = 2 * time.Minute

// Prepare registers tenants, providers, routes and clients, and keeps who they are in the run's folder. On a folder that has them it goes on
// with the same.
func (l *Load) Prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prepareWithin)
	defer cancel()
	name := filepath.Join(l.cfg.Dir, worldFile)
	raw, err := os.ReadFile(name) //nolint:gosec // the run's own folder
	if err == nil {
		l.world = &world{}
		if err := json.Unmarshal(raw, l.world); err != nil {
			return fmt.Errorf("decode parties: %w", err)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read parties: %w", err)
	}
	if l.world, err = l.register(ctx); err != nil {
		return err
	}
	return l.keepWorld()
}

// keepWorld writes down who takes part.
func (l *Load) keepWorld() error {
	raw, err := json.MarshalIndent(l.world, "", "  ")
	if err != nil {
		return fmt.Errorf("encode parties: %w", err)
	}
	if err := os.WriteFile(filepath.Join(l.cfg.Dir, worldFile), raw, 0o600); err != nil {
		return fmt.Errorf("keep parties: %w", err)
	}
	return nil
}

// clientOf is the public client of a login, at a node.
func (l *Load) clientOf(who chaos.Login, at string) (*client.Client, error) {
	c, err := client.New(client.Config{
		BaseURL: at, ClientID: who.ClientID, ClientSecret: who.Secret, HTTPClient: l.http, Timeout: l.cfg.Timeout, RetryFor: 20 * time.Second,
		NATSURL: strings.Join(l.cfg.At.NATS, ","),
	})
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", who.ClientID, err)
	}
	return c, nil
}

// register makes all that is needed, as the operator.
func (l *Load) register(ctx context.Context) (*world, error) {
	by, err := l.clientOf(l.cfg.At.Logins[operator], l.cfg.At.Write[0])
	if err != nil {
		return nil, err
	}
	w := &world{Run: fmt.Sprintf("r%x", time.Now().UnixMilli())}
	if w.Start, err = l.head(ctx); err != nil {
		return nil, err
	}
	for i := range l.cfg.Tenants {
		tenant := fmt.Sprintf("shop-%c", 'a'+i)
		if _, err := by.PutTenant(ctx, client.Tenant{ID: tenant, Name: "Shop " + tenant}); err != nil {
			return nil, fmt.Errorf("register tenant: %w", err)
		}
		login, err := newLogin(ctx, by, client.ClientSpec{Kind: client.KindUser, Tenant: tenant})
		if err != nil {
			return nil, err
		}
		w.Tenants = append(w.Tenants, login)
		if err := stockUp(ctx, by, tenant); err != nil {
			return nil, err
		}
	}
	if err := registerProviders(ctx, by, w); err != nil {
		return nil, err
	}
	w.System, err = newLogin(ctx, by, client.ClientSpec{Kind: client.KindAuxiliary, System: "outside"})
	return w, err
}

func registerProviders(ctx context.Context, by *client.Client, w *world) error {
	for _, transport := range transports() {
		id, work := "unit-"+transport, businessType(transport)
		if _, err := by.PutProvider(ctx, client.Provider{ID: id, Name: "Unit " + transport, BusinessTypes: []string{work, sharedWork}}); err != nil {
			return fmt.Errorf("register provider: %w", err)
		}
		if _, err := by.PutRoute(ctx, client.Route{BusinessType: work, Policy: client.PolicyLeastLoaded, MaxAttempts: 3}); err != nil {
			return fmt.Errorf("register route: %w", err)
		}
		login, err := newLogin(ctx, by, client.ClientSpec{Kind: client.KindProvider, Provider: id})
		if err != nil {
			return err
		}
		w.Providers = append(w.Providers, login)
	}
	if _, err := by.PutRoute(ctx, client.Route{BusinessType: sharedWork, Policy: client.PolicyAll, MaxAttempts: 3}); err != nil {
		return fmt.Errorf("register route: %w", err)
	}
	return nil
}

func stockUp(ctx context.Context, by *client.Client, tenant string) error {
	for i := range 4 {
		if _, err := by.PutProduct(ctx, client.Product{SKU: skuOf(i), Tenant: tenant, Name: "Product " + skuOf(i), ReorderLevel: 10}); err != nil {
			return fmt.Errorf("register product: %w", err)
		}
	}
	return nil
}

func newLogin(ctx context.Context, by *client.Client, spec client.ClientSpec) (chaos.Login, error) {
	made, err := by.CreateClient(ctx, spec)
	if err != nil {
		return chaos.Login{}, fmt.Errorf("make client: %w", err)
	}
	return chaos.Login{ClientID: made.ClientID, Secret: made.ClientSecret, Tenant: spec.Tenant, Provider: spec.Provider, System: spec.System}, nil
}

const selectHead = `SELECT position FROM log_head`

// head is the end of the log, read past all links.
func (l *Load) head(ctx context.Context) (int64, error) {
	conn, err := pgx.Connect(ctx, *l.primary.Load())
	if err != nil {
		return 0, fmt.Errorf("connect to the log: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var position int64
	if err := conn.QueryRow(ctx, selectHead).Scan(&position); err != nil {
		return 0, fmt.Errorf("read log head: %w", err)
	}
	return position, nil
}
