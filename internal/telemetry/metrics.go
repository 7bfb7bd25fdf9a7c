package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry has the metrics of the Go runtime and of the process; every part adds its own.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// Server answers /metrics and /debug/pprof/ on a port of its own, which is never the public one.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen takes the address, port 0 for any free one; Run serves it.
func Listen(ctx context.Context, addr string, registry *prometheus.Registry) (*Server, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics on %s: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	Debug(mux)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	return &Server{listener: listener, http: server}, nil
}

// Debug adds the routes by which a running program is looked into.
func Debug(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// Name is the worker's name in logs and health.
func (s *Server) Name() string { return "metrics" }

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		// A profile that is being taken may last longer than anybody wants to wait for at the end.
		_ = s.http.Close()
	})
	err := s.http.Serve(s.listener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve metrics: %w", err)
}

// Requests counts requests and their time by method, route pattern and status.
type Requests struct {
	duration *prometheus.HistogramVec
	series   sync.Map // requestKey to prometheus.Observer: WithLabelValues hashes and sorts each time
}

type requestKey struct {
	method, route string
	status        int
}

// NewRequests registers orderstore_http_request_seconds.
func NewRequests(registry *prometheus.Registry) *Requests {
	r := &Requests{duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "orderstore_http_request_seconds",
		Help:    "Time to answer a request, by method, route and status.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30},
	}, []string{"method", "route", "status"})}
	registry.MustRegister(r.duration)
	return r
}

// Observe counts one request; it fits httpapi.Config.Observe. Routes are patterns, so the series are few; methods that no
// route has share one.
func (r *Requests) Observe(method, route string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions:
	default:
		method = "other"
	}
	key := requestKey{method, route, status}
	found, ok := r.series.Load(key)
	if !ok {
		found, _ = r.series.LoadOrStore(key, r.duration.WithLabelValues(method, route, strconv.Itoa(status)))
	}
	if series, ok := found.(prometheus.Observer); ok {
		series.Observe(took.Seconds())
	}
}
