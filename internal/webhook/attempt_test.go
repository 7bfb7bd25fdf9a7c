package webhook_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/webhook"
)

func TestStatusSaysWhatCameOfIt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		status     int
		retryAfter string
		kind       webhook.Kind
		pause      time.Duration
		healthy    bool
	}{
		{200, "", webhook.Delivered, 0, true},
		{204, "60", webhook.Delivered, 0, true},
		{299, "", webhook.Delivered, 0, true},
		{300, "", webhook.Redirected, 0, false},
		{304, "", webhook.Redirected, 0, false},
		{308, "", webhook.Redirected, 0, false},
		{400, "", webhook.Rejected, 0, true},
		{401, "5", webhook.Rejected, 5 * time.Second, true},
		{404, "", webhook.Rejected, 0, true},
		{410, "", webhook.Gone, 0, true},
		{410, "60", webhook.Gone, time.Minute, true},
		{429, "", webhook.Throttled, 0, true},
		{429, "120", webhook.Throttled, 2 * time.Minute, true},
		{429, "Fri, 02 Jan 2026 03:05:05 GMT", webhook.Throttled, time.Minute, true},
		{429, "soon", webhook.Throttled, 0, true},
		{503, "", webhook.Failed, 0, false},
		{503, "7", webhook.Throttled, 7 * time.Second, true},
		{503, "0", webhook.Throttled, 0, true},
		{503, "soon", webhook.Failed, 0, false},
		{500, "7", webhook.Failed, 7 * time.Second, false},
		{599, "", webhook.Failed, 0, false},
		{999, "", webhook.Failed, 0, false},
		{429, "999999999999999999999999", webhook.Throttled, webhook.MaxRetryAfter, true},
	} {
		server := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.retryAfter != "" {
				w.Header().Set("Retry-After", c.retryAfter)
			}
			w.WriteHeader(c.status)
		})
		s := sender(t, loopback(), webhook.SenderConfig{Now: func() time.Time { return now }})
		attempt := s.Send(t.Context(), request(t, server.URL))
		require.NoError(t, attempt.Err)
		assert.Equal(t, c.status, attempt.Status)
		assert.Equal(t, c.kind, attempt.Kind, "%d %s", c.status, c.retryAfter)
		assert.Equal(t, c.pause, attempt.RetryAfter, "%d %s", c.status, c.retryAfter)
		assert.Equal(t, c.healthy, attempt.Healthy(), "%d %s", c.status, c.retryAfter)
		assert.Equal(t, c.kind == webhook.Delivered, attempt.Reason == "", "%d %s", c.status, attempt.Reason)
	}
}

func TestAnswerIsTextThatAStoreTakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sent, want string }{
		{"", ""},
		{"plain", "plain"},
		{"a\x00b\x00\x00", "a\uFFFDb\uFFFD\uFFFD"},
		{"\xff\xfea\x80", "\uFFFDa\uFFFD"},
		{strings.Repeat("a", 4095) + "é", strings.Repeat("a", 4095)},
		{strings.Repeat("a", 4093) + "𝄞", strings.Repeat("a", 4093)},
		{strings.Repeat("a", 4092) + "𝄞", strings.Repeat("a", 4092) + "𝄞"},
		{strings.Repeat("a", 5000), strings.Repeat("a", 4096)},
		{strings.Repeat("\xffa", 3000), strings.Repeat("\uFFFDa", 1024)},
		{strings.Repeat("\x80", 5000), "\uFFFD"},
	} {
		server := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, c.sent)
		})
		attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(t.Context(), request(t, server.URL))
		assert.Equal(t, c.want, attempt.Answer)
		assert.True(t, utf8.ValidString(attempt.Answer) && len(attempt.Answer) <= 4096)
	}
}

func TestFailuresToGetAnAnswerAreToldApart(t *testing.T) {
	t.Parallel()
	free := receiver(t, nil)
	nobody := free.URL
	free.Close()
	quiet := log.New(io.Discard, "", 0)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	demanding := httptest.NewUnstartedServer(http.NotFoundHandler())
	demanding.Config.ErrorLog = quiet
	demanding.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	demanding.StartTLS()
	t.Cleanup(demanding.Close)
	plain := receiver(t, func(http.ResponseWriter, *http.Request) {})
	cutting := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if connection, _, err := http.NewResponseController(w).Hijack(); assert.NoError(t, err) {
			_ = connection.Close()
		}
	})
	babbling := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if connection, _, err := http.NewResponseController(w).Hijack(); assert.NoError(t, err) {
			_, _ = io.WriteString(connection, "220 mail.example ESMTP\r\n")
			_ = connection.Close()
		}
	})
	names := &nameServer{answers: map[string][][]string{"bad.example.": {{"127.0.0.1"}}}}
	cfg := loopback()
	cfg.Resolver = names.resolver(t)
	trusting := webhook.SenderConfig{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	late := trusting
	late.Now = func() time.Time { return time.Now().AddDate(100, 0, 0) }
	_, securePort, _ := net.SplitHostPort(secure.Listener.Addr().String())

	for _, c := range []struct {
		name, address string
		sender        webhook.SenderConfig
		kind          webhook.Kind
		reason        string
	}{
		{"nobody listens", nobody, trusting, webhook.Refused, "nobody listens"},
		{"unknown authority", secure.URL, webhook.SenderConfig{}, webhook.Untrusted, "nobody who is trusted"},
		{"another name", "https://bad.example:" + securePort, trusting, webhook.Untrusted, "another name"},
		{"trusted", secure.URL, trusting, webhook.Rejected, "404"},
		{"out of date", secure.URL, late, webhook.Untrusted, "out of date"},
		{"asks for our certificate", demanding.URL, trusting, webhook.Untrusted, "no TLS connection"},
		{"https to http", "https" + strings.TrimPrefix(plain.URL, "http"), trusting, webhook.Untrusted, "no TLS connection"},
		{"cut", cutting.URL, trusting, webhook.Unreachable, "connection failed"},
		{"no HTTP", babbling.URL, trusting, webhook.Unreachable, "connection failed"},
		{"no such name", "http://absent.example/", trusting, webhook.Unreachable, "does not resolve"},
	} {
		attempt := sender(t, cfg, c.sender).Send(t.Context(), request(t, c.address))
		assert.Equal(t, c.kind, attempt.Kind, "%s: %v", c.name, attempt.Err)
		assert.Contains(t, attempt.Reason, c.reason, c.name)
		assert.Equal(t, attempt.Status == 0, attempt.Err != nil, c.name)
	}
}

func TestTimeLimits(t *testing.T) {
	t.Parallel()
	hanging := receiver(t, func(_ http.ResponseWriter, r *http.Request) { hang(r) })
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes the connection and says nothing
	require.NoError(t, err)
	t.Cleanup(func() { _ = mute.Close() })
	for name, c := range map[string]struct {
		address string
		cfg     webhook.SenderConfig
		cause   string
	}{
		"whole":  {hanging.URL, webhook.SenderConfig{Timeout: 50 * time.Millisecond, HeaderTimeout: time.Minute}, "context deadline exceeded"},
		"header": {hanging.URL, webhook.SenderConfig{HeaderTimeout: 50 * time.Millisecond}, "awaiting response headers"},
		"tls":    {"https://" + mute.Addr().String(), webhook.SenderConfig{ConnectTimeout: 50 * time.Millisecond}, "TLS handshake timeout"},
	} {
		attempt := sender(t, loopback(), c.cfg).Send(t.Context(), request(t, c.address))
		assert.Equal(t, webhook.TimedOut, attempt.Kind, "%s: %v", name, attempt.Err)
		assert.ErrorContains(t, attempt.Err, c.cause, name)
	}
}

func TestEndOfTheContextIsNoVerdictOnTheEndpoint(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		hang(r)
	})
	attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(ctx, request(t, server.URL))
	require.Equal(t, webhook.Cancelled, attempt.Kind, attempt.Err)
}
