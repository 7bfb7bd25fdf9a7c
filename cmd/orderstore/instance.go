package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/dirlock"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/tlsfiles"
	"github.com/orderstore/orderstore/internal/wholefile"
)

type migrationFiles = fs.FS

// The files of a development instance.
const (
	endpointsFile   = "endpoints.json"
	credentialsFile = "credentials.json"
	layoutFile      = "layout"
	layoutVersion   = 1
)

// endpoints say where a running development instance is reached.
type endpoints struct {
	HTTP              string `json:"http"`
	Metrics           string `json:"metrics"`
	NATS              string `json:"nats"`
	PostgresWrite     string `json:"postgres_write"`
	PostgresRead      string `json:"postgres_read"`
	PostgresAuxiliary string `json:"postgres_auxiliary"`
}

// party is a client of a development instance and whom it belongs to.
type party struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Tenant       string `json:"tenant,omitempty"`
	Provider     string `json:"provider,omitempty"`
	System       string `json:"system,omitempty"`
}

// credentials are the clients that a development instance is made with.
type credentials struct {
	Operator  party `json:"operator"`
	User      party `json:"user"`
	Provider  party `json:"provider"`
	Auxiliary party `json:"auxiliary"`
}

// instance is the stores of a system: those of a development instance, started by this process or by another one, or outside
// ones.
type instance struct {
	cfg     config
	nats    *nats.Conn
	cluster *postgres.Cluster // nil when another process runs it
	broker  *stream.Server    // likewise
	lock    *dirlock.Lock
	log     *slog.Logger
}

// withInstance runs something on the stores of a development instance, running or stopped, or on those that the environment
// names.
func withInstance(ctx context.Context, data string, do func(context.Context, *instance) error) error {
	if data == "" {
		return withOutside(ctx, do)
	}
	if _, err := os.Stat(data); err != nil {
		return fmt.Errorf("there is no instance in %s: start one with orderstore dev --data %s", data, data)
	}
	i, err := openInstance(ctx, data, anyPort, tlsfiles.Server{}, slog.New(slog.DiscardHandler), nobodyElse)
	if errors.Is(err, dirlock.ErrHeld) {
		i, err = joinInstance(ctx, data)
	}
	if err != nil {
		return err
	}
	defer i.close()
	env, err := readConfig()
	if err != nil {
		return err
	}
	i.cfg.MasterKey, i.cfg.MasterKeyFile = env.MasterKey, env.MasterKeyFile
	return do(ctx, i)
}

func withOutside(ctx context.Context, do func(context.Context, *instance) error) error {
	cfg, err := readConfig()
	if err != nil {
		return err
	}
	if cfg.PostgresWrite == "" {
		return errors.New("name an instance with --data, or the stores with ORDERSTORE_POSTGRES_WRITE, …_READ, …_AUXILIARY and ORDERSTORE_NATS")
	}
	nc, err := connectBroker(ctx, cfg)
	if err != nil {
		return err
	}
	i := &instance{cfg: cfg, nats: nc}
	defer i.close()
	return do(ctx, i)
}

// joinInstance connects to the stores of an instance that another process runs.
func joinInstance(ctx context.Context, data string) (*instance, error) {
	var e endpoints
	if err := readJSON(filepath.Join(data, endpointsFile), &e); err != nil {
		return nil, fmt.Errorf("the instance in %s is starting or stopping: try again in a moment (%w)", data, err)
	}
	env, err := readConfig()
	if err != nil {
		return nil, err
	}
	cfg := config{
		NATS: e.NATS, NATSTLS: env.NATSTLS,
		PostgresWrite: e.PostgresWrite, PostgresRead: e.PostgresRead, PostgresAuxiliary: e.PostgresAuxiliary,
	}
	nc, err := connectBroker(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &instance{cfg: cfg, nats: nc}, nil
}

// forParties migrates the databases of an instance and has its broker ask who is let in.
func forParties(ctx context.Context, cfg config) (*stream.Callout, error) {
	if err := migrateAll(ctx, cfg); err != nil {
		return nil, err
	}
	return callout(ctx, cfg.PostgresWrite)
}

// nobodyElse leaves the databases as they are and lets only this program in to the broker.
func nobodyElse(context.Context, config) (*stream.Callout, error) { return nil, nil }

// anyPort is where a broker listens that nobody was told of.
const anyPort = "127.0.0.1:0"

// letIn says whom an instance's broker lets in besides this program.
type letIn func(context.Context, config) (*stream.Callout, error)

// openInstance starts the stores of a development instance, with the broker at an address. The error wraps dirlock.ErrHeld when another
// process runs it.
func openInstance(ctx context.Context, data, broker string, secure tlsfiles.Server, log *slog.Logger, access letIn) (*instance, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, folderFault(data, err)
	}
	lock, err := dirlock.Acquire(data)
	if err != nil {
		return nil, folderFault(data, err)
	}
	i := &instance{lock: lock, log: log}
	if err := i.open(ctx, data, broker, secure, log, access); err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

func (i *instance) open(ctx context.Context, data, broker string, secure tlsfiles.Server, log *slog.Logger, access letIn) error {
	if err := checkLayout(data); err != nil {
		return err
	}
	var err error
	i.cluster, err = postgres.StartCluster(ctx, postgres.ClusterConfig{
		Dir: filepath.Join(data, "postgres"), Databases: []string{"write", "read", "auxiliary"}, Durable: true, Log: log,
	})
	if err != nil {
		return err
	}
	i.cfg.PostgresWrite, i.cfg.PostgresRead, i.cfg.PostgresAuxiliary = i.cluster.URL("write"), i.cluster.URL("read"), i.cluster.URL("auxiliary")
	public, err := access(ctx, i.cfg)
	if err != nil {
		return err
	}
	host, port, err := hostPort(broker)
	if err != nil {
		return fmt.Errorf("--nats %s: %w", broker, err)
	}
	encrypted, err := brokerTLS(secure, log)
	if err != nil {
		return err
	}
	i.broker, err = stream.StartServer(stream.ServerConfig{
		Dir: filepath.Join(data, "nats"), Host: host, Port: port, TLS: encrypted, Callout: public, Log: log,
	})
	if err != nil {
		return err
	}
	i.cfg.NATS = i.broker.URL()
	if i.nats, err = i.broker.Connect(ctx); err != nil {
		return fmt.Errorf("connect to the embedded NATS: %w", err)
	}
	return nil
}

// hostPort reads an address whose port is a number.
func hostPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}

// close stops what this process started.
func (i *instance) close() {
	if i.nats != nil {
		i.nats.Close()
	}
	if i.broker != nil {
		i.broker.Shutdown()
	}
	if i.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := i.cluster.Stop(ctx); err != nil {
			i.log.WarnContext(ctx, "Postgres did not stop in time; the next start recovers it", "cause", err)
		}
	}
	if i.lock != nil {
		_ = i.lock.Release() // the kernel does it with the process at the latest
	}
}

// checkLayout refuses a folder that a newer version made, and marks a new one.
func checkLayout(data string) error {
	path := filepath.Join(data, layoutFile)
	content, err := os.ReadFile(path) //nolint:gosec // the operator's own folder
	if errors.Is(err, fs.ErrNotExist) {
		return folderFault(data, wholefile.Write(path, []byte(strconv.Itoa(layoutVersion)+"\n")))
	}
	if err != nil {
		return folderFault(data, err)
	}
	made, err := strconv.Atoi(strings.TrimSpace(string(content)))
	switch {
	case err != nil:
		return fmt.Errorf("%s is no data folder of orderstore: its file %s says %q; choose another with --data", data, layoutFile, content)
	case made > layoutVersion:
		return fmt.Errorf("the data folder %s has layout %d, this orderstore knows %d: use a newer orderstore", data, made, layoutVersion)
	}
	return nil
}

// folderFault says in one sentence what is the matter with a data folder.
func folderFault(data string, err error) error {
	var held *dirlock.HeldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &held):
		return &inUse{data: data, holder: held}
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk that holds %s is full: free some space, nothing was changed", data)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the data folder %s is closed to this user: choose another with --data", data)
	}
	return fmt.Errorf("data folder %s: %w", data, err)
}

// inUse says that another process runs the instance. It unwraps to dirlock.ErrHeld.
type inUse struct {
	data   string
	holder *dirlock.HeldError
}

func (e *inUse) Error() string {
	return fmt.Sprintf("the data folder %s is in use by process %d: stop that one, or choose another with --data", e.data, e.holder.PID)
}

func (e *inUse) Unwrap() error { return e.holder }

// readCredentials reads the clients of an instance, and makes them for a new one.
func readCredentials(data string) (*credentials, error) {
	path := filepath.Join(data, credentialsFile)
	c := &credentials{}
	err := readJSON(path, c)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s cannot be read: %w", path, err)
	}
	for _, p := range []struct {
		party *party
		of    party
	}{
		{&c.Operator, party{ClientID: "demo-operator"}},
		{&c.User, party{ClientID: "demo-user", Tenant: "demo"}},
		{&c.Provider, party{ClientID: "demo-provider", Provider: "demo-provider"}},
		{&c.Auxiliary, party{ClientID: "demo-auxiliary", System: "demo-auxiliary"}},
	} {
		secret := make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return nil, fmt.Errorf("make secrets: %w", err)
		}
		p.of.ClientSecret = base64.RawURLEncoding.EncodeToString(secret)
		*p.party = p.of
	}
	return c, folderFault(data, writeJSON(path, c))
}

// register makes the clients known to the write database.
func (c *credentials) register(ctx context.Context, store *auth.Store) error {
	for _, client := range []struct {
		party party
		kind  auth.Kind
	}{
		{c.Operator, auth.KindOperator}, {c.User, auth.KindUser}, {c.Provider, auth.KindProvider}, {c.Auxiliary, auth.KindAuxiliary},
	} {
		p := client.party
		n := auth.NewClient{Kind: client.kind, Tenant: p.Tenant, Provider: p.Provider, System: p.System}
		if _, err := store.EnsureClient(ctx, p.ClientID, p.ClientSecret, n); err != nil {
			return fmt.Errorf("register client %s: %w", p.ClientID, err)
		}
	}
	return nil
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path) //nolint:gosec // the operator's own folder
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}

// writeJSON writes a file that only this user may read, whole or not at all.
func writeJSON(path string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return wholefile.Write(path, append(content, '\n'))
}
