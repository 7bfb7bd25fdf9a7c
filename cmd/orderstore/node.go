package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/broadcast"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/limits"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/telemetry"
	"github.com/orderstore/orderstore/projection"
	"github.com/orderstore/orderstore/query"
)

const (
	drainWithin  = 10 * time.Second // for requests under way, and for each stage to catch up, at the end
	catchUpPause = 10 * time.Millisecond
)

// node is one server process: the roles it has, wired by hand.
type node struct {
	cfg    config
	roles  []role
	log    *slog.Logger
	failed chan error
	// caughtUp is which views were as far as the log, since the start.
	caughtUp caughtUp

	registry *prometheus.Registry
	pools
	nats *nats.Conn
	js   jetstream.JetStream

	guard      *postgres.Guard
	logTip     *stream.Tip
	recent     stream.Recent
	viewTips   map[string]*stream.Tip
	clients    *auth.Store
	keys       *customerkeys.Keys
	authn      *auth.Authenticator
	issuer     *auth.Issuer
	limiter    *limits.Limiter
	committer  *command.Committer
	eraser     *command.Eraser
	relay      *broadcast.Relay
	projection *projection.Projection
	poller     *query.Poller // nil where the projection is here
	orders     *query.OrderCache
	live       *broadcast.Live
	webhooks   *webhooks // nil where nothing is broadcast

	listener net.Listener
	http     *http.Server
	metrics  *telemetry.Server
	basis    *crew // what all others stand on
	intake   *crew
	copying  *crew
	viewing  *crew
	telling  *crew
	access   *crew              // of parties, to NATS
	streams  context.CancelFunc // ends long polls and event streams
}

// startNode brings up a node that serves on the listener, which it takes over. nc stays the caller's.
func startNode(ctx context.Context, cfg config, roles []role, nc *nats.Conn, listener net.Listener, log *slog.Logger) (*node, error) {
	n := &node{
		cfg: cfg, roles: roles, log: log, nats: nc, listener: listener, failed: make(chan error, 1), registry: telemetry.NewRegistry(),
		logTip: &stream.Tip{}, viewTips: map[string]*stream.Tip{},
	}
	for _, step := range []func(context.Context) error{
		n.listen, n.open, n.startAuth, n.startIntake, n.startRelay, n.startViews, n.startAccess, n.serve,
	} {
		if err := step(ctx); err != nil {
			n.stop(false)
			return nil, err
		}
	}
	return n, nil
}

func (n *node) has(roles ...role) bool {
	return slices.ContainsFunc(roles, func(r role) bool { return slices.Contains(n.roles, r) })
}

// listen takes the address for metrics; the one for requests was taken before anything else was done.
func (n *node) listen(ctx context.Context) error {
	var err error
	if n.metrics, err = telemetry.Listen(ctx, n.cfg.Metrics, n.registry); err != nil {
		return addressFault("ORDERSTORE_METRICS", n.cfg.Metrics, err)
	}
	return nil
}

// open connects to the databases that the roles need.
func (n *node) open(ctx context.Context) error {
	if err := n.openPools(ctx); err != nil {
		return err
	}
	if err := n.writable(ctx); err != nil {
		return err
	}
	if n.nats != nil {
		var err error
		if n.js, err = jetstream.New(n.nats); err != nil {
			return fmt.Errorf("jetstream: %w", err)
		}
	}
	n.guard = postgres.NewGuard(postgres.GuardConfig{Pool: cmp.Or(n.write, n.identity), Every: n.cfg.DurabilityEvery, Logger: n.log})
	if err := n.guard.Look(ctx); err != nil && (n.has(roleCommand) || !errors.Is(err, postgres.ErrUnsafeSettings)) {
		return err
	}
	return nil
}

// writable refuses to project into a database that takes no writes.
func (n *node) writable(ctx context.Context) error {
	if n.views == nil {
		return nil
	}
	standby, err := postgres.InRecovery(ctx, n.views)
	if err != nil {
		return err
	}
	if standby {
		return errors.New("the read database (ORDERSTORE_POSTGRES_READ) is a standby, which takes no writes: " +
			"serve the role projection on its primary, and here --roles query or query,broadcast")
	}
	return nil
}

func (n *node) startAuth(ctx context.Context) error {
	var err error
	n.clients = auth.NewStore(n.identity)
	n.authn, err = auth.NewAuthenticator(auth.AuthenticatorConfig{Issuer: n.cfg.Issuer, Log: n.log}, n.identity)
	if err != nil {
		return err
	}
	if n.issuer, err = auth.NewIssuer(ctx, auth.IssuerConfig{Issuer: n.cfg.Issuer}, n.identity, n.clients); err != nil {
		return err
	}
	if n.limiter, err = limits.New(n.cfg.limits(), time.Now); err != nil {
		return err
	}
	if err := n.startKeys(ctx); err != nil {
		return err
	}
	n.basis = start(ctx, n.failed, n.authn, n.metrics, n.guard, limits.NewReader(n.identity, n.limiter, n.log), n.keys)
	return nil
}

func (n *node) startIntake(ctx context.Context) error {
	if !n.has(roleCommand) {
		return nil
	}
	n.committer = command.NewCommitter(command.Config{
		Pool: n.write, Tip: n.logTip, Recent: &n.recent, Gate: n.guard, Now: time.Now, Logger: n.log, Ahead: n.ahead(), Keys: n.keys,
	})
	n.eraser = command.NewEraser(n.committer)
	n.intake = start(ctx, n.failed, n.committer, command.NewHousekeeper(n.committer), command.NewWatcher(n.committer), command.NewDeadlines(n.committer),
		command.NewAnnouncer(n.committer), n.eraser)
	return nil
}

// ahead asks the stream whether it is ahead of the log; nil for a node that was given no broker.
func (n *node) ahead() func(ctx context.Context, position int64) (int64, error) {
	if n.js == nil {
		return nil
	}
	return func(ctx context.Context, position int64) (int64, error) { return stream.Ahead(ctx, n.js, position) }
}

func (n *node) startRelay(ctx context.Context) error {
	if !n.has(roleRelay) {
		return nil
	}
	var err error
	limits := stream.Limits{MaxAge: n.cfg.StreamMaxAge, MaxBytes: n.cfg.StreamMaxBytes, Replicas: n.cfg.StreamReplicas}
	n.relay, err = broadcast.NewRelay(broadcast.RelayConfig{
		NATS: n.nats, Pool: n.relayed, Waker: n.logTip, Recent: &n.recent, Gate: n.guard, Limits: limits, Logger: n.log,
		Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	if err := n.relay.Ensure(ctx); err != nil {
		n.log.WarnContext(ctx, "the stream is not there as it should be; the relay keeps trying", "cause", err)
	}
	n.copying = start(ctx, n.failed, n.relay)
	return nil
}

func (n *node) startViews(ctx context.Context) error {
	if err := n.newCache(); err != nil {
		return err
	}
	var workers []worker
	if n.has(roleProjection) {
		cfg := projection.Config{Pool: n.views, NewFollower: n.follower, Logger: n.log, Registerer: n.registry}
		if n.orders != nil {
			cfg.Changes = n.orders
		}
		n.projection = projection.New(cfg)
		for _, view := range projection.Views() {
			n.viewTips[view] = n.projection.Tip(view)
		}
		workers = append(workers, n.projection)
	} else if n.read != nil {
		n.poller = query.NewPoller(n.read, n.orders, n.log) // another process projects into the read database
		for _, view := range projection.Views() {
			n.viewTips[view] = n.poller.Tip(view)
		}
		workers = append(workers, n.poller)
	}
	if n.has(roleQuery, roleBroadcast) {
		n.live = broadcast.NewLive(cmp.Or(n.heard, n.read), n.viewTips[projection.Timeline], n.log).Opening(n.openOrders)
		workers = append(workers, n.live)
	}
	if n.has(roleBroadcast) {
		if err := n.openWebhooks(ctx); err != nil {
			return err
		}
		n.telling = start(ctx, n.failed, n.webhooks.dispatcher)
	}
	n.viewing = start(ctx, n.failed, workers...)
	return nil
}

// newCache makes the cache of orders, which hears of changes from the projection or, where that is another process, from the poller.
func (n *node) newCache() error {
	if !n.has(roleQuery) {
		return nil
	}
	var err error
	n.orders, err = query.NewOrderCache(query.CacheConfig{Bytes: n.cfg.CacheBytes, Registerer: n.registry})
	return err
}

func (n *node) follower(after int64, digest [32]byte) projection.Follower {
	return stream.NewFollower(stream.FollowerConfig{
		JS: n.js, Log: stream.NewLog(n.projected).Behind(n.guard), Recent: &n.recent, After: after, Digest: digest, Name: "projection", Logger: n.log,
	})
}

// serve answers requests from here on.
func (n *node) serve(ctx context.Context) error {
	handler, err := n.handler(ctx)
	if err != nil {
		return err
	}
	n.http = httpapi.NewServer(n.cfg.HTTP, handler)
	guarded, err := n.guarded()
	if err != nil {
		return err
	}
	var base context.Context
	base, n.streams = context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // stopServing calls it
	n.http.BaseContext = func(net.Listener) context.Context { return base }
	go func() {
		if err := n.http.Serve(guarded); !errors.Is(err, http.ErrServerClosed) {
			n.failed <- fmt.Errorf("http: %w", err)
		}
	}()
	return nil
}

// stop ends the node, upstream first: no new requests, then, in good order, what was committed goes out to the stream and into
// the views. Otherwise that is left to the next start.
func (n *node) stop(inOrder bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*drainWithin)
	defer cancel()
	n.stopServing(ctx)
	stopCrew(n.access)
	n.bounded(ctx, "intake", func() { stopCrew(n.intake) })
	if inOrder && n.relay != nil && n.committer != nil && n.relay.Halted() == "" {
		n.drain(ctx, "stream", n.relay.Published(), n.logTip.Position())
	}
	stopCrew(n.copying)
	if inOrder && n.projection != nil && n.relay != nil {
		n.drain(ctx, "views", n.viewTips[projection.OrderView], n.relay.Published().Position())
	}
	n.bounded(ctx, "webhooks", func() { stopCrew(n.telling) })
	if n.webhooks != nil {
		n.webhooks.sender.Close()
	}
	stopCrew(n.viewing)
	stopCrew(n.basis)
	for _, pool := range n.opened() {
		n.bounded(ctx, "pool", pool.Close)
	}
}

// bounded gives up what does not end: a commit that waits for a standby which is away. Ending the process neither shows what was
// committed nor takes it back.
func (n *node) bounded(ctx context.Context, what string, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	timer := time.NewTimer(drainWithin)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		n.log.WarnContext(ctx, "stopping without the end of a commit", "part", what)
	}
}

func stopCrew(c *crew) {
	if c != nil {
		c.stop()
	}
}

// stopServing lets requests under way end; long polls and event streams are told to.
func (n *node) stopServing(ctx context.Context) {
	if n.http == nil {
		if n.listener != nil {
			_ = n.listener.Close() // nobody was served yet
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	time.AfterFunc(catchUpPause, n.streams)
	if err := n.http.Shutdown(ctx); err != nil {
		n.log.WarnContext(ctx, "requests were cut off", "cause", err)
	}
}

// drain waits until a stage has what the one before it has.
func (n *node) drain(ctx context.Context, what string, tip *stream.Tip, to int64) {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	if err := tip.Wait(ctx, to); err != nil {
		n.log.WarnContext(ctx, "stopping before all is copied; the next start goes on", "stage", what, "at", tip.Position(), "of", to)
	}
}

// recordRoutes are the routes by which auxiliary systems store theirs, and operators steer them.
func (n *node) recordRoutes() ([]httpapi.Route, error) {
	if n.records == nil {
		return nil, nil
	}
	guard, err := n.cfg.webhookGuard()
	if err != nil {
		return nil, err
	}
	return append(
		auxiliary.Routes(auxiliary.RouteDeps{Pool: n.records, Orders: command.NewLookup(n.write), Guard: guard, Now: time.Now, Keys: n.keys}),
		append(
			auxiliary.OperateRoutes(auxiliary.OperateDeps{Pool: n.records, End: n.end, Now: time.Now}),
			auxiliary.NoticeRoutes(auxiliary.NoticeDeps{Pool: n.records, Guard: guard, Now: time.Now})...,
		)...,
	), nil
}
