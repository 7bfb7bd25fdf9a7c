// Package cluster starts an order store as it is run in earnest, on one machine: a primary with a synchronous and an asynchronous standby, three
// NATS servers, write nodes, relays, read nodes with a Postgres of their own, broadcasters and orderaux, each a process of its own, with a link
// between any two that can be broken.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/postgres"
)

// The kinds of processes.
const (
	KindPostgres  = "postgres"
	KindNATS      = "nats"
	KindCommand   = "command"
	KindRelay     = "relay"
	KindRead      = "read"
	KindBroadcast = "broadcast"
	KindAuxiliary = "auxiliary"
)

// Options say what is started, and from what.
type Options struct {
	Dir      string // of stores and logs
	Binaries string // folder of orderstore and orderaux
	Self     string // the runner, which is started as a NATS server by "nats FILE"
	Env      []string
	// Mount puts a file system where a store is to lie; nil: it lies in a plain folder.
	Mount func(name, dir string) error
}

// Cluster is a running one.
type Cluster struct {
	opt       Options
	dir, logs string
	links     *links
	processes []*Process
	stores    map[string]*Store
	nats      []*natsServer
	at        chaos.Endpoints
}

// The names of the servers of Postgres.
const (
	Primary   = "primary"
	Sync      = "standby-sync"
	Async     = "standby-async"
	Auxiliary = "auxiliary-db"
)

// Start starts a cluster and waits until it works. What was started is ended when that fails.
func Start(ctx context.Context, opt Options) (*Cluster, error) {
	c := &Cluster{opt: opt, dir: filepath.Join(opt.Dir, "stores"), logs: filepath.Join(opt.Dir, "logs"), links: newLinks(), stores: map[string]*Store{}}
	for _, dir := range []string{opt.Dir, c.dir, c.logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user below it
			return nil, fmt.Errorf("make folder: %w", err)
		}
	}
	if err := c.start(ctx); err != nil {
		c.Stop(context.WithoutCancel(ctx))
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.startStores(ctx); err != nil {
		return err
	}
	if err := c.run(ctx, "migrate"); err != nil {
		return err
	}
	accounts, err := c.output(ctx, "nats-config")
	if err != nil {
		return err
	}
	if err := c.startNATS(ctx, accounts); err != nil {
		return err
	}
	if err := c.waitForStandby(ctx); err != nil {
		return err
	}
	if err := c.operator(ctx); err != nil {
		return err
	}
	if err := c.startPrograms(ctx); err != nil {
		return err
	}
	return c.Healthy(ctx, startWithin)
}

const startWithin = 2 * time.Minute

func (c *Cluster) startStores(ctx context.Context) error {
	primary, err := c.newStore(Primary, nil, "write")
	if err != nil {
		return err
	}
	for _, name := range []string{Sync, Async} {
		standby, err := c.newStore(name, primary)
		if err != nil {
			return err
		}
		if err := c.follow(ctx, standby, primary); err != nil {
			return err
		}
	}
	for i := range 2 {
		if _, err := c.newStore(fmt.Sprint("read-db-", i+1), nil, "read"); err != nil {
			return err
		}
	}
	_, err = c.newStore(Auxiliary, nil, "auxiliary")
	return err
}

// waitForStandby has the primary wait for its synchronous standby with every commit from now on.
func (c *Cluster) waitForStandby(ctx context.Context) error {
	return execute(ctx, c.stores[Primary].URL("write"),
		`ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 ("`+Sync+`")'`, `SELECT pg_reload_conf()`)
}

// direct is the environment of a command that is run past all links, with the read database of a node.
func (c *Cluster) direct(node int) []string {
	return append(slices.Clone(c.opt.Env),
		"ORDERSTORE_POSTGRES_WRITE="+c.stores[Primary].URL("write"),
		"ORDERSTORE_POSTGRES_READ="+c.stores[fmt.Sprint("read-db-", node)].URL("read"),
		"ORDERSTORE_POSTGRES_AUXILIARY="+c.stores[Auxiliary].URL("auxiliary"))
}

// run runs a command of orderstore for each read database.
func (c *Cluster) run(ctx context.Context, args ...string) error {
	for node := range 2 {
		if out, err := c.command(ctx, c.direct(node+1), args...).CombinedOutput(); err != nil {
			return fmt.Errorf("orderstore %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func (c *Cluster) output(ctx context.Context, args ...string) (string, error) {
	out, err := c.command(ctx, c.direct(1), args...).Output()
	if err != nil {
		return "", fmt.Errorf("orderstore %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// Command is orderstore with some arguments, past all links, with the views of the first or second read node.
func (c *Cluster) Command(ctx context.Context, node int, args ...string) *exec.Cmd {
	urls := make([]string, len(c.nats))
	for i, n := range c.nats {
		urls[i] = "nats://orderstore:" + natsPassword + "@" + n.address()
	}
	return c.command(ctx, append(c.direct(node), "ORDERSTORE_NATS="+strings.Join(urls, ",")), args...)
}

func (c *Cluster) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.opt.Binaries, "orderstore"), args...) //nolint:gosec // built by the runner
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// operator makes the one client by which all others are made.
func (c *Cluster) operator(ctx context.Context) error {
	pool, err := postgres.Open(ctx, c.stores[Primary].URL("write"), postgres.PoolConfig{Name: "chaos", MaxConns: 1})
	if err != nil {
		return fmt.Errorf("open primary: %w", err)
	}
	defer pool.Close()
	login := chaos.Login{ClientID: "c_chaos_operator", Secret: "chaos-operator-of-one-run-alone-0123456789"}
	if _, err := auth.NewStore(pool).EnsureClient(ctx, login.ClientID, login.Secret, auth.NewClient{Kind: auth.KindOperator}); err != nil {
		return fmt.Errorf("make operator: %w", err)
	}
	c.at.Logins = map[string]chaos.Login{"operator": login}
	return nil
}

// Endpoints are where the cluster is reached.
func (c *Cluster) Endpoints() chaos.Endpoints {
	at := c.at
	at.Direct.Primary = c.stores[Primary].URL("write")
	at.Direct.Standbys = []string{c.stores[Sync].URL("write"), c.stores[Async].URL("write")}
	at.Direct.Views = []string{c.stores["read-db-1"].URL("read"), c.stores["read-db-2"].URL("read")}
	at.Direct.Auxiliary = c.stores[Auxiliary].URL("auxiliary")
	at.Direct.NATS = nil
	for _, n := range c.nats {
		at.Direct.NATS = append(at.Direct.NATS, "nats://orderstore:"+natsPassword+"@"+n.address())
	}
	return at
}

// Processes are all of them, in the order of their start.
func (c *Cluster) Processes() []*Process { return c.processes }

// Process gives one by its name; nil: there is none.
func (c *Cluster) Process(name string) *Process {
	for _, p := range c.processes {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Store gives a Postgres server by its name.
func (c *Cluster) Store(name string) *Store { return c.stores[name] }

// Links are all of them.
func (c *Cluster) Links() []*Link { return c.links.all }

// Dir is where the stores lie, each in a folder of its name.
func (c *Cluster) Dir() string { return c.dir }

// Healthy waits until every process runs and says that it works.
func (c *Cluster) Healthy(ctx context.Context, within time.Duration) error {
	var waiting []string
	if await(within, func() bool {
		waiting = nil
		for _, p := range c.processes {
			if !p.Ready(ctx) {
				waiting = append(waiting, p.Name)
			}
		}
		return len(waiting) == 0 || ctx.Err() != nil
	}) {
		return ctx.Err()
	}
	return fmt.Errorf("not ready within %s: %s", within, strings.Join(waiting, ", "))
}

// Stop ends all of it: programs first, then what they work on.
func (c *Cluster) Stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	for _, kinds := range [][]string{{KindCommand, KindRelay, KindRead, KindBroadcast, KindAuxiliary}, {KindNATS}, {KindPostgres}} {
		done := make(chan error)
		n := 0
		for _, p := range slices.Backward(c.processes) {
			if slices.Contains(kinds, p.Kind) {
				n++
				p.Thaw()
				go func() { done <- p.control.Stop(ctx) }()
			}
		}
		for range n {
			errs = append(errs, <-done)
		}
	}
	c.links.close()
	_ = errors.Join(errs...) // what does not end was killed
}
