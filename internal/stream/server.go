// Package stream holds everything the project does with NATS itself: the embedded server, connections to outside ones,
// the stream that copies the log, its readers, and the tip by which one part waits for another.
package stream

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/crypto/bcrypt"

	"github.com/orderstore/orderstore/internal/dirlock"
)

// Sentinels of StartServer. The error that wraps one is a single sentence that says what to do.
var (
	// ErrServerInUse means that another process runs a server on the directory.
	ErrServerInUse = errors.New("nats directory is in use")
	// ErrNewerStore means that a newer server has written the directory.
	ErrNewerStore = errors.New("nats store is of a newer version")
	// ErrDiskFull means that the disk is full.
	ErrDiskFull = errors.New("disk is full")
	// ErrUnreachable means that the directory is closed to this user.
	ErrUnreachable = errors.New("nats directory cannot be reached")
	// ErrPortTaken means that somebody else listens on the address.
	ErrPortTaken = errors.New("nats address is taken")
)

// RandomPort lets the kernel choose the port.
const RandomPort = -1

const (
	startTimeout  = 30 * time.Second
	defaultUser   = "orderstore"
	loopback      = "127.0.0.1"
	versionFile   = "version"
	serverName    = "orderstore"
	readyInterval = 100 * time.Millisecond
)

// ServerConfig says where an embedded server keeps its streams and who may connect.
type ServerConfig struct {
	// Dir holds the store and the lock; made if missing.
	Dir string
	// Host defaults to 127.0.0.1.
	Host string
	// Port is RandomPort, or 0 which means the same, or a fixed one.
	Port int
	// User and Password are asked of every connection, the in-process one included. Empty means random ones.
	User, Password string
	// SyncAlways flushes every write to disk before it is acknowledged. Without it the server flushes every two
	// minutes, and a power cut takes what came in between; the relay refills that from the log.
	SyncAlways bool
	// TLS is what connections over the network are made by; in-process ones are not encrypted. Nil: plain text.
	TLS *tls.Config
	// Callout names who lets parties in. Nil: nobody but our own roles is.
	Callout *Callout
	// Log receives the server's own log. Nil means slog.Default.
	Log *slog.Logger
}

// Server is an embedded NATS server with JetStream on a file store.
type Server struct {
	cfg  ServerConfig
	lock *dirlock.Lock

	mu     sync.Mutex
	inner  *server.Server
	port   int
	closed bool
}

// StartServer starts a server and returns once it takes connections and its streams have been recovered.
func StartServer(cfg ServerConfig) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, errors.New("nats directory is not set")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, explain(cfg.Dir, fmt.Errorf("make nats directory: %w", err))
	}
	lock, err := dirlock.Acquire(cfg.Dir)
	if err != nil {
		return nil, explain(cfg.Dir, err)
	}
	s := &Server{cfg: cfg, lock: lock, port: cfg.Port}
	if err := s.start(); err != nil {
		_ = lock.Release()
		return nil, explain(cfg.Dir, err)
	}
	return s, nil
}

func (cfg ServerConfig) withDefaults() ServerConfig {
	if cfg.Host == "" {
		cfg.Host = loopback
	}
	if cfg.Port == 0 {
		cfg.Port = RandomPort
	}
	if cfg.User == "" {
		cfg.User = defaultUser
	}
	if cfg.Password == "" {
		cfg.Password = rand.Text()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return cfg
}

func (s *Server) start() error {
	if err := checkStoreVersion(s.cfg.Dir); err != nil {
		return err
	}
	if err := checkFree(s.cfg.Host, s.port); err != nil {
		return err
	}
	options, err := s.options()
	if err != nil {
		return err
	}
	inner, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("configure nats server: %w", err)
	}
	log := newServerLog(s.cfg.Log)
	inner.SetLoggerV2(log, false, false, false)
	// Start returns early after a fatal fault, which it has told only its logger.
	inner.Start()
	if err := awaitReady(inner, log); err != nil {
		inner.Shutdown()
		inner.WaitForShutdown()
		return err
	}
	if err := writeStoreVersion(s.cfg.Dir); err != nil {
		inner.Shutdown()
		inner.WaitForShutdown()
		return err
	}
	s.inner = inner
	s.port = inner.Addr().(*net.TCPAddr).Port
	return nil
}

// options give the server the password's hash alone. It is as weak as bcrypt has them, since each new connection computes it: the
// passwords are random, so that nobody can guess one whatever a guess costs.
func (s *Server) options() (*server.Options, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(s.cfg.Password), bcrypt.MinCost)
	if err != nil {
		return nil, fmt.Errorf("hash the nats password: %w", err)
	}
	options := &server.Options{
		ServerName: serverName,
		Host:       s.cfg.Host,
		Port:       s.port,
		JetStream:  true,
		StoreDir:   s.cfg.Dir,
		SyncAlways: s.cfg.SyncAlways,
		NoSigs:     true,
		// Streams of an earlier version say no number of consumers, and would have a thousand.
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1},
	}
	if s.cfg.TLS != nil {
		options.TLS, options.TLSConfig, options.TLSTimeout = true, s.cfg.TLS, dialTimeout.Seconds()
		options.TLSVerify = s.cfg.TLS.ClientAuth == tls.RequireAndVerifyClientCert
	}
	// The same text configures an outside server, so that what is tested with one holds for the other.
	if err := options.ProcessConfigString(Accounts(s.cfg.User, string(hash), s.cfg.Callout)); err != nil {
		return nil, fmt.Errorf("configure accounts: %w", err)
	}
	return options, nil
}

func awaitReady(inner *server.Server, log *serverLog) error {
	for deadline := time.Now().Add(startTimeout); ; {
		if err := log.fatal(); err != nil {
			return fmt.Errorf("start nats server: %w", err)
		}
		if inner.ReadyForConnections(readyInterval) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("start nats server: not ready after %s", startTimeout)
		}
	}
}

// URL returns the address with the credentials for it.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	scheme := "nats"
	if s.cfg.TLS != nil {
		scheme = "tls"
	}
	u := url.URL{
		Scheme: scheme, User: url.UserPassword(s.cfg.User, s.cfg.Password),
		Host: net.JoinHostPort(s.cfg.Host, strconv.Itoa(s.port)),
	}
	return u.String()
}

// Connect returns a connection that does not pass the network. Closing it is the caller's.
func (s *Server) Connect(ctx context.Context, opts ...nats.Option) (*nats.Conn, error) {
	opts = append([]nats.Option{nats.InProcessServer(s), nats.UserInfo(s.cfg.User, s.cfg.Password)}, opts...)
	return connect(ctx, "", "orderstore in process", s.cfg.Log, opts...)
}

// InProcessConn opens the pipe for an in-process connection; after a Restart a reconnecting client gets one to the
// new server.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	inner, closed := s.inner, s.closed
	s.mu.Unlock()
	if closed || inner == nil {
		return nil, nats.ErrConnectionClosed
	}
	return inner.InProcessConn()
}

// Restart stops the server and starts it again on the same store and port. Clients reconnect by themselves.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nats.ErrConnectionClosed
	}
	s.stop()
	return explain(s.cfg.Dir, s.start())
}

// Shutdown stops the server and waits until it has written its streams. Later calls do nothing.
func (s *Server) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.stop()
	if err := s.lock.Release(); err != nil {
		s.cfg.Log.Warn("release nats directory", "dir", s.cfg.Dir, "error", err)
	}
}

func (s *Server) stop() {
	if s.inner == nil {
		return
	}
	s.inner.Shutdown()
	s.inner.WaitForShutdown()
	s.inner = nil
}

// checkFree finds a taken port before the server does, which would tell only its log.
func checkFree(host string, port int) error {
	if port == RandomPort {
		return nil
	}
	address := net.JoinHostPort(host, strconv.Itoa(port))
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return sentence(ErrPortTaken, "%s is taken by another program: stop it or choose another port for NATS", address)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener.Close()
}

// checkStoreVersion refuses a store that a newer minor version of the server has written, whose files this one might
// misread.
func checkStoreVersion(dir string) error {
	content, err := os.ReadFile(filepath.Join(dir, versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read nats store version: %w", err)
	}
	stored := strings.TrimSpace(string(content))
	newer, err := newerMinor(stored, server.VERSION)
	if err != nil {
		return fmt.Errorf("read nats store version: %w", err)
	}
	if newer {
		return sentence(ErrNewerStore, "the store in %s was written by NATS %s and this program has %s: use a newer "+
			"orderstore or another data directory", dir, stored, server.VERSION)
	}
	return nil
}
