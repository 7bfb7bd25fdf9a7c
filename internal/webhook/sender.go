package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"
	"time"
)

// SenderConfig says how attempts are made. The zero value has the defaults named below.
type SenderConfig struct {
	// Timeout bounds a whole attempt, from resolving the name to the end of what is read of the answer; 0 means 10 s.
	Timeout time.Duration
	// ConnectTimeout bounds making the connection, and again the TLS handshake; 0 means 5 s.
	ConnectTimeout time.Duration
	// HeaderTimeout bounds the wait for the answer's header after the request was sent; 0 means Timeout.
	HeaderTimeout time.Duration
	// IdlePerHost and Idle bound how many unused connections are kept to one host and in all; 0 means 128 and 2048.
	IdlePerHost, Idle int
	// IdleFor is how long an unused connection is kept; 0 means 55 s, less than most servers keep one.
	IdleFor time.Duration
	// UserAgent is sent with each request; empty means "orderstore-webhook".
	UserAgent string
	// RootCAs are trusted to sign receivers' certificates; nil means the system's.
	RootCAs *x509.CertPool
	// Now is the time of day; nil means time.Now.
	Now func() time.Time
}

// The defaults of SenderConfig, and the limits of what is read of an answer.
const (
	defaultTimeout        = 10 * time.Second
	defaultConnectTimeout = 5 * time.Second
	defaultIdlePerHost    = 128
	defaultIdle           = 2048
	defaultIdleFor        = 55 * time.Second
	answerLimit           = 4 << 10
	headerLimit           = 16 << 10
)

// Request is one message to one endpoint.
type Request struct {
	URL         string
	ID          string // webhook-id: the same in all attempts to deliver the message
	Timestamp   time.Time
	Body        []byte   // not changed and not kept
	ContentType string   // empty means application/json
	Secrets     []Secret // at least one
	Headers     map[string]string
}

// Sender makes attempts. It follows no redirect, uses no proxy of the environment, keeps no cookies and is safe for
// concurrent use.
type Sender struct {
	guard   *Guard
	timeout time.Duration
	agent   string
	now     func() time.Time
	secure  *http.Transport
	plain   *http.Transport
	buffers sync.Pool // of *[answerLimit]byte
}

// NewSender makes a sender. Close it after use.
func NewSender(guard *Guard, cfg SenderConfig) (*Sender, error) {
	if guard == nil {
		return nil, errors.New("webhook sender: no guard")
	}
	if cfg.Timeout < 0 || cfg.ConnectTimeout < 0 || cfg.HeaderTimeout < 0 || cfg.IdleFor < 0 || cfg.IdlePerHost < 0 || cfg.Idle < 0 {
		return nil, errors.New("webhook sender: a limit is below zero")
	}
	setDefault(&cfg.Timeout, defaultTimeout)
	setDefault(&cfg.ConnectTimeout, min(defaultConnectTimeout, cfg.Timeout))
	setDefault(&cfg.HeaderTimeout, cfg.Timeout)
	setDefault(&cfg.IdlePerHost, defaultIdlePerHost)
	setDefault(&cfg.Idle, defaultIdle)
	setDefault(&cfg.IdleFor, defaultIdleFor)
	setDefault(&cfg.UserAgent, "orderstore-webhook")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sender{
		guard: guard, timeout: cfg.Timeout, agent: cfg.UserAgent, now: cfg.Now,
		secure: transport(guard, cfg, true), plain: transport(guard, cfg, false),
		buffers: sync.Pool{New: func() any { return new([answerLimit]byte) }},
	}, nil
}

func setDefault[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}

// transport makes connections past the guard. There is one for https and one for http, so that a name which may have http in an
// allowed network cannot move out of it. HTTP/2 is off: it makes 13 % fewer requests a second here, and a hanging receiver
// would hold up all that share its connection.
func transport(guard *Guard, cfg SenderConfig, secure bool) *http.Transport {
	dialer := &net.Dialer{
		Timeout: cfg.ConnectTimeout, KeepAlive: 30 * time.Second,
		Resolver: guard.cfg.Resolver, ControlContext: guard.control(secure),
	}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12, Time: cfg.Now},
		TLSHandshakeTimeout:   cfg.ConnectTimeout,
		ResponseHeaderTimeout: cfg.HeaderTimeout,
		MaxIdleConns:          cfg.Idle, MaxIdleConnsPerHost: cfg.IdlePerHost, IdleConnTimeout: cfg.IdleFor,
		MaxResponseHeaderBytes: headerLimit,
		DisableCompression:     true, // the answer is looked at by people; nothing is inflated
	}
}

// Close gives up the connections that are not in use.
func (s *Sender) Close() {
	s.secure.CloseIdleConnections()
	s.plain.CloseIdleConnections()
}

// Send makes one attempt. When a kept connection turns out closed by the receiver, the request goes over another one, once: nearly
// always it had not been read, and where it had, its id shows the duplicate.
func (s *Sender) Send(ctx context.Context, r *Request) Attempt {
	started := s.now()
	attempt := s.send(ctx, r)
	attempt.Latency = s.now().Sub(started)
	return attempt
}

func (s *Sender) send(ctx context.Context, r *Request) Attempt {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request, err := s.request(limited, r)
	if err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return Attempt{Kind: Blocked, Reason: refusal.Reason, Err: err}
		}
		return Attempt{Kind: Unsendable, Reason: "the request could not be made", Err: err}
	}
	via := s.plain
	if request.URL.Scheme == "https" {
		via = s.secure
	}
	response, err := via.RoundTrip(request)
	if err != nil {
		kind, reason := failed(ctx, err)
		return Attempt{Kind: kind, Reason: reason, Err: fmt.Errorf("send webhook: %w", err)}
	}
	defer func() { _ = response.Body.Close() }() // what was read is all that is wanted
	attempt := Attempt{Status: response.StatusCode}
	if attempt.Status >= 200 { // 101 hands over a bare connection, which no time limit would end
		attempt.Answer = s.answer(response.Body)
	}
	asked := false
	if attempt.Status < 200 || attempt.Status > 299 {
		attempt.RetryAfter, asked = ParseRetryAfter(response.Header.Get("Retry-After"), s.now())
	}
	attempt.Kind, attempt.Reason = answered(attempt.Status, asked)
	return attempt
}

func (s *Sender) request(ctx context.Context, r *Request) (*http.Request, error) {
	target, err := s.guard.parse(r.URL)
	if err != nil {
		return nil, err
	}
	signature, err := Sign(r.ID, r.Timestamp, r.Body, r.Secrets...)
	if err != nil {
		return nil, err
	}
	header := make(http.Header, 7+len(r.Headers))
	for name, value := range r.Headers {
		header[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
	}
	values := [...]string{r.ID, strconv.FormatInt(r.Timestamp.Unix(), 10), signature, cmp.Or(r.ContentType, "application/json"), s.agent}
	for i, name := range [...]string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Content-Type", "User-Agent"} {
		header[name] = values[i : i+1 : i+1]
	}
	// Not sent, being empty: it tells net/http that the request may go over another connection when a kept one turns out closed.
	header["X-Idempotency-Key"] = nil
	return (&http.Request{
		Method: http.MethodPost, URL: target, Host: target.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: reader(r.Body), GetBody: onceMore(r.Body), ContentLength: int64(len(r.Body)),
	}).WithContext(ctx), nil
}

func reader(body []byte) io.ReadCloser {
	if len(body) == 0 {
		return http.NoBody // else its length counts as unknown
	}
	return io.NopCloser(bytes.NewReader(body))
}

// errCutAgain ends an attempt whose second connection was cut too: net/http itself would go through all that are kept.
var errCutAgain = errors.New("two connections were cut")

func onceMore(body []byte) func() (io.ReadCloser, error) {
	used := false
	return func() (io.ReadCloser, error) {
		if used {
			return nil, errCutAgain
		}
		used = true
		return reader(body), nil
	}
}

// answer reads the beginning of an answer. That it breaks off matters to nobody: the status has come.
func (s *Sender) answer(body io.Reader) string {
	buffer, _ := s.buffers.Get().(*[answerLimit]byte) // New makes no other
	defer s.buffers.Put(buffer)
	n, _ := io.ReadFull(body, buffer[:])
	return text(buffer[:n])
}
