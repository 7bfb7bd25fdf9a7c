package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/telemetry"
)

func TestNewLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := telemetry.NewLogger(telemetry.LogConfig{}, &out)
	require.NoError(t, err)
	log.Debug("hidden")
	log.Info("shown", "position", 7)
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
	require.Equal(t, "shown", line["msg"])
	require.InDelta(t, 7, line["position"], 0)
	at, ok := line["time"].(string)
	require.True(t, ok)
	require.True(t, strings.HasSuffix(at, "Z"), at)

	out.Reset()
	log, err = telemetry.NewLogger(telemetry.LogConfig{Format: "text", Level: "debug"}, &out)
	require.NoError(t, err)
	log.Debug("shown")
	require.Contains(t, out.String(), "level=DEBUG msg=shown")

	_, err = telemetry.NewLogger(telemetry.LogConfig{Format: "xml"}, &out)
	require.ErrorContains(t, err, "xml")
	_, err = telemetry.NewLogger(telemetry.LogConfig{Level: "loud"}, &out)
	require.ErrorContains(t, err, "loud")
}

// fetch gives status and body of a path on a server.
func fetch(t *testing.T, s *telemetry.Server, method, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr().String()+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

func TestServer(t *testing.T) {
	t.Parallel()
	registry := telemetry.NewRegistry()
	requests := telemetry.NewRequests(registry)
	for range 2 {
		requests.Observe("GET", "/v1/orders/:id", 200, 3*time.Millisecond)
	}
	requests.Observe("BREW", "", 405, time.Millisecond)
	requests.Observe("STIR", "", 405, time.Millisecond)
	s, err := telemetry.Listen(t.Context(), "127.0.0.1:0", registry)
	require.NoError(t, err)
	require.Equal(t, "metrics", s.Name())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	status, body := fetch(t, s, "GET", "/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `orderstore_http_request_seconds_count{method="GET",route="/v1/orders/:id",status="200"} 2`)
	require.Contains(t, body, `orderstore_http_request_seconds_bucket{method="GET",route="/v1/orders/:id",status="200",le="0.005"} 2`)
	require.Contains(t, body, `orderstore_http_request_seconds_count{method="other",route="",status="405"} 2`)
	require.Contains(t, body, "go_goroutines")
	require.Contains(t, body, "process_resident_memory_bytes")

	status, body = fetch(t, s, "GET", "/debug/pprof/")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "goroutine")
	status, _ = fetch(t, s, "GET", "/debug/pprof/heap")
	require.Equal(t, http.StatusOK, status)
	status, _ = fetch(t, s, "GET", "/")
	require.Equal(t, http.StatusNotFound, status)
	status, _ = fetch(t, s, "POST", "/metrics")
	require.Equal(t, http.StatusMethodNotAllowed, status)

	_, err = telemetry.Listen(t.Context(), s.Addr().String(), registry)
	require.ErrorContains(t, err, s.Addr().String(), "the port is taken")
	cancel()
	require.NoError(t, <-done)
}

func TestServerWhoseTimeIsOverBeforeItRuns(t *testing.T) {
	t.Parallel()
	s, err := telemetry.Listen(t.Context(), "127.0.0.1:0", telemetry.NewRegistry())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Run(ctx))
}

func BenchmarkObserve(b *testing.B) {
	requests := telemetry.NewRequests(prometheus.NewRegistry())
	b.ReportAllocs()
	for b.Loop() {
		requests.Observe("GET", "/v1/orders/:id", 200, 3*time.Millisecond)
	}
}
