package cluster

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// ServeNATS runs a NATS server by a configuration file until it is told to end: what the runner does when it is started as one.
func ServeNATS(ctx context.Context, file string) error {
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	options.NoSigs = true
	s, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("make server: %w", err)
	}
	s.ConfigureLogger()
	s.Start()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// servers of NATS.
const servers = 3

// natsServer is one of them.
type natsServer struct {
	*Process
	dir                    string
	client, peers, monitor int // ports
}

func (n *natsServer) address() string { return fmt.Sprint("127.0.0.1:", n.client) }

const natsPassword = "chaos-only" // of servers that listen on loopback for as long as a run lasts

// startNATS starts the servers, each with links of its own to the others.
func (c *Cluster) startNATS(ctx context.Context, accounts string) error {
	for i := range servers {
		n := &natsServer{dir: filepath.Join(c.dir, fmt.Sprint("nats-", i+1))}
		for _, port := range []*int{&n.client, &n.peers, &n.monitor} {
			var err error
			if *port, err = freePort(); err != nil {
				return err
			}
		}
		c.nats = append(c.nats, n)
	}
	for i, n := range c.nats {
		name := fmt.Sprint("nats-", i+1)
		if err := os.MkdirAll(n.dir, 0o755); err != nil { //nolint:gosec // a folder of the run
			return err
		}
		if c.opt.Mount != nil {
			if err := c.opt.Mount(name, n.dir); err != nil {
				return fmt.Errorf("mount %s: %w", name, err)
			}
		}
		var routes []string
		for j, other := range c.nats {
			if i == j {
				continue
			}
			link, err := c.links.open(name, fmt.Sprint("nats-", j+1), fmt.Sprint("127.0.0.1:", other.peers))
			if err != nil {
				return err
			}
			routes = append(routes, "nats://"+link.Address())
		}
		file := filepath.Join(c.dir, name+".conf")
		text := fmt.Sprintf(`
server_name: %s
listen: "127.0.0.1:%d"
http: "127.0.0.1:%d"
jetstream { store_dir: %q, max_file_store: 8G, sync_interval: "2m" }
cluster { name: chaos, listen: "127.0.0.1:%d", no_advertise: true, pool_size: -1, routes: [ %s ] }
%s`, name, n.client, n.monitor, n.dir, n.peers, strings.Join(routes, ", "), accounts)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		n.Process = &Process{Name: name, Kind: KindNATS, ready: fmt.Sprintf("http://127.0.0.1:%d/healthz", n.monitor), control: &program{
			path: c.opt.Self, args: []string{"nats", file}, env: []string{"NATS_PASSWORD=" + natsPassword}, log: filepath.Join(c.logs, name+".log"),
		}}
		if err := n.Start(ctx); err != nil {
			return err
		}
		c.processes = append(c.processes, n.Process)
	}
	return nil
}

// natsURLs are those of one program: of all servers, each over a link of its own.
func (c *Cluster) natsURLs(from string) (string, error) {
	var all []string
	for _, n := range c.nats {
		link, err := c.links.open(from, n.Name, n.address())
		if err != nil {
			return "", err
		}
		all = append(all, "nats://orderstore:"+natsPassword+"@"+link.Address())
	}
	return strings.Join(all, ","), nil
}

// withoutLogin are the addresses for parties, who log in as themselves.
func withoutLogin(urls string) []string {
	all := strings.Split(urls, ",")
	for i := range all {
		all[i] = strings.Replace(all[i], "orderstore:"+natsPassword+"@", "", 1)
	}
	return all
}
