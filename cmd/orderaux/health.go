package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/internal/telemetry"
)

// probeWithin bounds each question that readiness asks.
const probeWithin = 2 * time.Second

// healthServer answers /healthz, /readyz, /metrics and /debug/pprof/.
type healthServer struct {
	listener net.Listener
	http     *http.Server
}

func newHealthServer(ctx context.Context, addr string, registry *prometheus.Registry, p *process) (*healthServer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s, see ORDERSTORE_METRICS: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok", "version": version})
	})
	mux.HandleFunc("GET /readyz", p.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	telemetry.Debug(mux)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute,
		IdleTimeout: 2 * time.Minute,
	}
	return &healthServer{listener: listener, http: server}, nil
}

func (s *healthServer) addr() string { return s.listener.Addr().String() }

func (s *healthServer) serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

func (s *healthServer) close() { _ = s.http.Close() }

// readiness is what /readyz answers: 200 when every part is ok, 503 otherwise. A mail server that is away is told and does
// not count: the mails wait.
type readiness struct {
	Ready   bool               `json:"ready"`
	Parts   map[string]string  `json:"parts"` // "ok", or what is the matter
	Systems []auxiliary.Status `json:"systems"`
}

func (p *process) ready(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), probeWithin)
	defer cancel()
	r := readiness{Ready: true, Parts: map[string]string{}, Systems: p.runner.Status()}
	report := func(part, trouble string) {
		if trouble == "" {
			r.Parts[part] = "ok"
			return
		}
		r.Ready, r.Parts[part] = false, trouble
	}
	trouble := ""
	if p.aux.Ping(ctx) != nil {
		trouble = "does not answer"
	}
	report("auxiliary database", trouble)
	trouble = ""
	if !p.broker.IsConnected() && p.write == nil {
		trouble = "does not answer, and there is no log to read instead"
	}
	report("nats", trouble)
	for _, s := range r.Systems {
		trouble = ""
		if s.Stopped != "" {
			trouble = "stopped: " + s.Stopped
		}
		report("system "+s.Name, trouble)
	}
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, r)
}

func answer(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document) // the connection is gone: nobody is left to tell
}
