package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

// Store is a Postgres server of the cluster.
type Store struct {
	*Process
	Dir string

	cfg     postgres.ClusterConfig
	primary *Store // that it was copied from

	mu      sync.Mutex
	running *postgres.Cluster
}

func (s *Store) start(ctx context.Context) error {
	var running *postgres.Cluster
	var err error
	if s.primary == nil {
		running, err = postgres.StartCluster(ctx, s.cfg)
	} else {
		running, err = postgres.StartStandby(ctx, s.primary.current(), s.cfg)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = running
	return nil
}

func (s *Store) current() *postgres.Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

func (s *Store) pid() int { return s.current().PID() }

func (s *Store) exited() <-chan struct{} {
	running := s.current()
	if running == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return running.Exited()
}

// Stop ends the server in good order.
func (s *Store) Stop(ctx context.Context) error {
	running := s.current()
	if running == nil {
		return nil
	}
	return running.Stop(ctx)
}

// URL is where a database of the server is, past all links.
func (s *Store) URL(database string) string { return s.current().URL(database) }

// address is HOST:PORT.
func (s *Store) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.cfg.Port)) }

// through is the URL of a database by another address.
func (s *Store) through(address, database string) (string, error) {
	u, err := url.Parse(s.URL(database))
	if err != nil {
		return "", fmt.Errorf("address of %s: %w", s.Name, err)
	}
	u.Host = address
	return u.String(), nil
}

// small are settings for many servers on one machine. All stay durable.
func small() map[string]string {
	return map[string]string{
		"shared_buffers": "48MB", "max_connections": "120", "max_wal_size": "256MB", "min_wal_size": "64MB", "checkpoint_timeout": "60s",
		"wal_sender_timeout": "3s", "wal_receiver_timeout": "3s", "wal_retrieve_retry_interval": "200ms", "max_wal_senders": "8", "wal_keep_size": "256MB",
		"tcp_keepalives_idle": "2", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "3",
	}
}

func (c *Cluster) newStore(name string, primary *Store, databases ...string) (*Store, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Store{Dir: filepath.Join(c.dir, name), primary: primary}
	s.cfg = postgres.ClusterConfig{
		Dir: s.Dir, Databases: databases, Durable: true, Log: slog.New(slog.DiscardHandler), ExtraSettings: small(), Port: port,
		FromFiles: []string{"synchronous_standby_names"},
	}
	s.Process = &Process{Name: name, Kind: KindPostgres, control: s}
	if c.opt.Mount != nil {
		if err := c.opt.Mount(name, s.Dir); err != nil {
			return nil, fmt.Errorf("mount %s: %w", name, err)
		}
	}
	if err := s.Start(context.Background()); err != nil {
		return nil, err
	}
	c.processes = append(c.processes, s.Process)
	c.stores[name] = s
	return s, nil
}

func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// execute runs statements on a database, one by one, past all links.
func execute(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// follow has a standby follow the primary over a link, and, where it is to be waited for, the primary wait for it.
func (c *Cluster) follow(ctx context.Context, standby, primary *Store) error {
	link, err := c.links.open(standby.Name, primary.Name, primary.address())
	if err != nil {
		return err
	}
	u, err := url.Parse(primary.URL("postgres"))
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(link.Address())
	if err != nil {
		return err
	}
	password, _ := u.User.Password()
	conninfo := fmt.Sprintf("host=%s port=%s user=%s password=%s sslmode=disable application_name=%s connect_timeout=2", host, port, u.User.Username(), password, standby.Name)
	return execute(ctx, standby.URL("postgres"), "ALTER SYSTEM SET primary_conninfo = '"+conninfo+"'", "SELECT pg_reload_conf()")
}
