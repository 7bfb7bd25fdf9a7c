package webhook_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/webhook"
)

// loopback is a guard under which the tests' own listeners are receivers on the premises.
func loopback() webhook.GuardConfig {
	return webhook.GuardConfig{AllowedNetworks: networks("127.0.0.0/8", "::1/128")}
}

func sender(t testing.TB, g webhook.GuardConfig, cfg webhook.SenderConfig) *webhook.Sender {
	t.Helper()
	s, err := webhook.NewSender(guard(t, g), cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func receiver(t testing.TB, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server
}

// hang waits until the sender has gone away, which a server notices only after it has read the request.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func request(t testing.TB, address string) *webhook.Request {
	t.Helper()
	return &webhook.Request{
		URL: address, ID: "42", Timestamp: time.Now(), Body: []byte(`{"position":42}`), ContentType: "application/cloudevents+json",
		Secrets: []webhook.Secret{parse(t, vectorSecret)},
		Headers: map[string]string{"orderstore-delivery": "d-1", "orderstore-attempt": "3"},
	}
}

func TestRequestIsSignedAndWhole(t *testing.T) {
	t.Parallel()
	verifier, err := standardwebhooks.NewWebhook(vectorSecret)
	require.NoError(t, err)
	server := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.NoError(t, verifier.Verify(body, r.Header))
		assert.Equal(t, http.MethodPost, r.Method)
		assert.Equal(t, "/in?x=1", r.RequestURI)
		assert.Equal(t, int64(15), r.ContentLength)
		assert.Equal(t, []string{"42"}, r.Header["Webhook-Id"])
		assert.Equal(t, []string{"orderstore-webhook"}, r.Header["User-Agent"])
		assert.Equal(t, []string{"d-1"}, r.Header["Orderstore-Delivery"])
		assert.Equal(t, []string{"3"}, r.Header["Orderstore-Attempt"])
		assert.Equal(t, []string{"application/cloudevents+json"}, r.Header["Content-Type"])
		assert.NotContains(t, r.Header, "X-Idempotency-Key")
		assert.NotContains(t, r.Header, "Accept-Encoding")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "thanks")
	})
	attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(t.Context(), request(t, server.URL+"/in?x=1"))
	require.NoError(t, attempt.Err)
	require.Equal(t, webhook.Delivered, attempt.Kind)
	require.Equal(t, http.StatusAccepted, attempt.Status)
	require.Equal(t, "thanks", attempt.Answer)
	require.Empty(t, attempt.Reason)
	require.Positive(t, attempt.Latency)
}

// Case 27.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inside := receiver(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := receiver(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, status) })
		attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(t.Context(), request(t, server.URL))
		require.Equal(t, webhook.Redirected, attempt.Kind)
		require.Equal(t, status, attempt.Status)
		require.Contains(t, attempt.Reason, "redirects are not followed")
	}
	require.Zero(t, reached.Load())
}

// Case 26: the name is good when the subscription is made, and leads inside when a message is delivered.
func TestNameThatMovesInsideIsBlockedByTheDialer(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	server := receiver(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	names := &nameServer{answers: map[string][][]string{"hook.example.": {{"1.1.1.1"}, {"127.0.0.1", "::ffff:127.0.0.1"}}}}
	cfg := webhook.GuardConfig{Resolver: names.resolver(t), AllowHTTP: true}
	for i, address := range []string{"http://hook.example:" + port, "https://hook.example:" + port} {
		if i == 0 {
			accepted(t, guard(t, cfg), address, address)
		}
		attempt := sender(t, cfg, webhook.SenderConfig{}).Send(t.Context(), request(t, address))
		require.Equal(t, webhook.Blocked, attempt.Kind, attempt.Err)
		require.Zero(t, attempt.Status)
		require.NotEmpty(t, attempt.Reason)
		require.NotContains(t, attempt.Reason, "127.0.0.1")
		require.False(t, attempt.Healthy())
	}
	require.Equal(t, 3, names.questions("hook.example."), "one look when it is named, one for each connection")
	require.Zero(t, reached.Load())

	cfg.AllowedNetworks = networks("127.0.0.0/8") // the listener was there all the while
	attempt := sender(t, cfg, webhook.SenderConfig{}).Send(t.Context(), request(t, "http://hook.example:"+port))
	require.Equal(t, webhook.Delivered, attempt.Kind, attempt.Err)
}

// A receiver on the premises may have http; it cannot take that along to the internet.
func TestNameThatMovesOutOfTheAllowedNetworkLosesHTTP(t *testing.T) {
	t.Parallel()
	names := &nameServer{answers: map[string][][]string{"hook.example.": {{"127.0.0.1"}, {"1.1.1.1"}}}}
	cfg := webhook.GuardConfig{Resolver: names.resolver(t), AllowedNetworks: networks("127.0.0.0/8")}
	accepted(t, guard(t, cfg), "http://hook.example:8080/", "http://hook.example:8080/")
	attempt := sender(t, cfg, webhook.SenderConfig{}).Send(t.Context(), request(t, "http://hook.example:8080/"))
	require.Equal(t, webhook.Blocked, attempt.Kind, attempt.Err)
	require.Contains(t, attempt.Reason, "https:")
}

// Case 25 once more, without the look when the target was named: what is stored may be older than the rules.
func TestSenderItselfReachesNoAddressInside(t *testing.T) {
	t.Parallel()
	s := sender(t, webhook.GuardConfig{AllowHTTP: true}, webhook.SenderConfig{})
	for _, host := range addressesInside() {
		for _, scheme := range []string{"http://", "https://"} {
			attempt := s.Send(t.Context(), request(t, scheme+host+":8080/"))
			assert.Equal(t, webhook.Blocked, attempt.Kind, "%s%s: %v", scheme, host, attempt.Err)
		}
	}
	for _, address := range []string{"http://2130706433:8080/", "file:///etc/passwd", "https://u:p@1.1.1.1/", "https://1.1.1.1:25/"} {
		attempt := s.Send(t.Context(), request(t, address))
		assert.Equal(t, webhook.Blocked, attempt.Kind, "%s: %v", address, attempt.Err)
	}
}

func TestEnvironmentsProxyIsNotUsed(t *testing.T) { //nolint:paralleltest // it sets the environment
	var reached atomic.Int64
	proxy := receiver(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	names := &nameServer{answers: map[string][][]string{"hook.example.": {{"10.0.0.1"}}}}
	s := sender(t, webhook.GuardConfig{Resolver: names.resolver(t), AllowHTTP: true}, webhook.SenderConfig{})
	require.Equal(t, webhook.Blocked, s.Send(t.Context(), request(t, "http://hook.example/")).Kind)
	require.Zero(t, reached.Load())
}

// Case 28: of an endless answer 4 KiB are read, and then the connection is closed.
func TestEndlessAnswerIsCut(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	server := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for {
			if _, err := io.WriteString(w, strings.Repeat("é", 1024)); err != nil {
				return
			}
		}
	})
	attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(t.Context(), request(t, server.URL))
	require.Equal(t, webhook.Delivered, attempt.Kind)
	require.Equal(t, strings.Repeat("é", 2048), attempt.Answer)
	<-ended
}

func TestDrippingAnswerIsCutByTheTimeLimit(t *testing.T) {
	t.Parallel()
	server := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "one drop")
		_ = http.NewResponseController(w).Flush()
		hang(r)
	})
	s := sender(t, loopback(), webhook.SenderConfig{Timeout: 50 * time.Millisecond})
	attempt := s.Send(t.Context(), request(t, server.URL))
	require.Equal(t, webhook.Failed, attempt.Kind, "the status has come")
	require.Equal(t, "one drop", attempt.Answer)
}

func TestEndlessHeaderIsCut(t *testing.T) {
	t.Parallel()
	server := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("a", 64<<10))
	})
	attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(t.Context(), request(t, server.URL))
	require.Equal(t, webhook.Unreachable, attempt.Kind, attempt.Err)
}

func TestNothingIsInflated(t *testing.T) {
	t.Parallel()
	server := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "not gzip at all")
	})
	attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(t.Context(), request(t, server.URL))
	require.Equal(t, "not gzip at all", attempt.Answer)
}

// 101 hands the connection over to the sender, and no time limit of net/http ends a read from it.
func TestSwitchedProtocolDoesNotHang(t *testing.T) {
	t.Parallel()
	server := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
		_, _ = connection.Read(make([]byte, 1)) // until the sender closes
		_ = connection.Close()
	})
	attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(t.Context(), request(t, server.URL))
	require.Equal(t, webhook.Failed, attempt.Kind)
	require.Equal(t, 101, attempt.Status)
}

func TestRequestThatCannotBeSignedIsNotSent(t *testing.T) {
	t.Parallel()
	server := receiver(t, func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	s := sender(t, loopback(), webhook.SenderConfig{})
	unfit, unsigned, split := request(t, server.URL), request(t, server.URL), request(t, server.URL)
	unfit.ID = "a.b"
	unsigned.Secrets = nil
	split.Headers = map[string]string{"orderstore-delivery": "a\r\nX-Other: b"}
	for _, r := range []*webhook.Request{unfit, unsigned} {
		attempt := s.Send(t.Context(), r)
		require.Equal(t, webhook.Unsendable, attempt.Kind)
		require.ErrorIs(t, attempt.Err, webhook.ErrUnsigned)
	}
	require.Error(t, s.Send(t.Context(), split).Err)
}

func TestConnectionIsKept(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	s := sender(t, loopback(), webhook.SenderConfig{})
	for range 20 {
		require.Equal(t, webhook.Delivered, s.Send(t.Context(), request(t, server.URL)).Kind)
	}
	require.Equal(t, int64(1), opened.Load())
}

// A receiver that takes each request and cuts the connection gets a message twice at most within one attempt, however
// many connections are kept.
func TestCutConnectionIsReplacedOnce(t *testing.T) {
	t.Parallel()
	const kept = 4
	var cutting atomic.Bool
	var seen atomic.Int64
	together := make(chan struct{})
	server := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if !cutting.Load() {
			if seen.Add(1) == kept {
				close(together)
			}
			<-together
			return
		}
		seen.Add(1)
		if connection, _, err := http.NewResponseController(w).Hijack(); assert.NoError(t, err) {
			_ = connection.Close()
		}
	})
	s := sender(t, loopback(), webhook.SenderConfig{})
	done := make(chan webhook.Attempt, kept)
	for range kept {
		message := request(t, server.URL)
		go func() { done <- s.Send(t.Context(), message) }()
	}
	for range kept {
		require.Equal(t, webhook.Delivered, (<-done).Kind)
	}
	cutting.Store(true)
	seen.Store(0)
	attempt := s.Send(t.Context(), request(t, server.URL))
	require.Equal(t, webhook.Unreachable, attempt.Kind, attempt.Err)
	require.Equal(t, int64(2), seen.Load())
}

func TestWrongSenderConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	_, err := webhook.NewSender(nil, webhook.SenderConfig{})
	require.Error(t, err)
	_, err = webhook.NewSender(guard(t, webhook.GuardConfig{}), webhook.SenderConfig{Timeout: -1})
	require.Error(t, err)
}
