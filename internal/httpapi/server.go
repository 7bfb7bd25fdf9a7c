package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
)

// Limits of a connection.
const (
	readHeaderTimeout = 5 * time.Second
	writeTimeout      = 2 * time.Minute // from the request's head to the end of the answer
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// HeaderRequestID carries the id of a request, given by the caller or made here, through logs and answers.
const HeaderRequestID = "X-Request-Id"

// Config of the HTTP surface.
type Config struct {
	Log *slog.Logger
	// LogSuccesses gives requests answered below 400 their log line at Info instead of Debug. Answers from 400 are Info,
	// unexpected ones from 500 Error.
	LogSuccesses bool
	// TrustedProxies are networks whose X-Forwarded-For is believed, in CIDR form. None by default: the client's
	// address is the connection's.
	TrustedProxies []string
	// Observe is told of each answered request, for metrics; route is the pattern, never the path.
	Observe func(method, route string, status int, took time.Duration)
	Now     func() time.Time
}

// New makes the router: every answer passes one middleware that gives it an id, turns errors and panics into problem
// documents and writes one log line.
func New(cfg Config) (*echo.Echo, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	extract, err := addressOf(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.HideBanner = true
	e.HidePort = true
	e.IPExtractor = extract
	// The middleware below renders every error of a handler; here come those of echo itself.
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if !c.Response().Committed {
			_ = WriteProblem(c, err) // the connection is gone: nobody is left to tell
		}
	}
	e.Use(surround(cfg))
	return e, nil
}

// NewServer serves a handler with the limits of every listener of ours. Streams and downloads outlive writeTimeout, since they set a
// deadline for each of their writes; there is no ReadTimeout, since net/http would end them by it. Set ErrorLog where net/http's own complaints should go elsewhere than stderr.
func NewServer(addr string, handler http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

// caller is what the middleware and the streams need to know of who is asking.
type caller struct {
	who   auth.Identity
	authn Authenticator
}

const callerKey = "orderstore.caller"

func setCaller(c echo.Context, authn Authenticator, who auth.Identity) {
	c.Set(callerKey, &caller{who: who, authn: authn})
}

func callerOf(c echo.Context) *caller {
	found, _ := c.Get(callerKey).(*caller)
	return found
}

// RequestID is the id of the request that is being answered.
func RequestID(c echo.Context) string { return c.Response().Header().Get(HeaderRequestID) }

func surround(cfg Config) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			start := cfg.Now()
			id := requestID(c.Request())
			c.Response().Header()[HeaderRequestID] = []string{id}
			if c.Request().ContentLength != 0 {
				// Also of a body that nobody reads: net/http does, before it answers. Batches set their own. A test's recorder has no deadlines.
				_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(bodyTimeout))
			}
			err := guarded(next, c)
			var broken *cutOff
			half := c.Response().Committed && errors.As(err, &broken)
			if err != nil && !c.Response().Committed {
				_ = WriteProblem(c, err) // the connection is gone: the log line below says so
			}
			took := cfg.Now().Sub(start)
			if cfg.Observe != nil {
				cfg.Observe(c.Request().Method, c.Path(), c.Response().Status, took)
			}
			logRequest(cfg, c, id, took, err)
			if half {
				panic(http.ErrAbortHandler) // net/http's own way to cut a connection
			}
			return nil
		}
	}
}

// panicked keeps what a handler panicked with, for the log alone.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func guarded(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if abort, ok := value.(error); ok && errors.Is(abort, http.ErrAbortHandler) {
			panic(value) // net/http's own way to cut a connection
		}
		err = &panicked{value: value, stack: debug.Stack()}
	}()
	return next(c)
}

// logRequest writes the one line of a request: never a body, a token or a query.
func logRequest(cfg Config, c echo.Context, id string, took time.Duration, err error) {
	status := c.Response().Status
	level := slog.LevelDebug
	switch {
	case c.Request().Context().Err() != nil:
		// The client has gone: what it would have been answered says nothing.
	case status >= http.StatusInternalServerError && !expected(err):
		level = slog.LevelError
	case status >= http.StatusBadRequest, cfg.LogSuccesses:
		level = slog.LevelInfo
	}
	ctx := c.Request().Context()
	if !cfg.Log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(
		attrs,
		slog.String("method", c.Request().Method),
		slog.String("route", c.Path()),
		slog.Int("status", status),
		slog.Float64("ms", float64(took.Microseconds())/1000),
		slog.Int64("bytes", c.Response().Size),
		slog.String("request_id", id),
		slog.String("address", c.RealIP()),
	)
	if found := callerOf(c); found != nil {
		attrs = append(attrs, slog.String("client_id", found.who.ClientID), slog.String("tenant", found.who.Tenant))
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		attrs = append(attrs, slog.String("error", causeOf(err)))
	}
	var p *panicked
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	cfg.Log.LogAttrs(ctx, level, "request", attrs...)
}

// expected tells whether a 5xx is one of the answers that a healthy node gives under load or before it has caught up.
func expected(err error) bool {
	switch fault.CodeOf(err) {
	case fault.NotReached, fault.Overloaded:
		return true
	}
	return false
}

// causeOf is the error for the log: a fault shows its code and message, and its cause behind them.
func causeOf(err error) string {
	var e *fault.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if cause := e.Unwrap(); cause != nil {
		return e.Error() + ": " + cause.Error()
	}
	return e.Error()
}

const idLetters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"

// requestID takes the caller's id when it is harmless and makes one otherwise. It is a label, not a secret.
func requestID(r *http.Request) string {
	if given := r.Header[HeaderRequestID]; len(given) > 0 && ValidID(given[0]) {
		return given[0]
	}
	var b [16]byte
	bits := rand.Uint64()
	for i := range b {
		if i == 10 {
			bits = rand.Uint64()
		}
		b[i] = idLetters[bits&63]
		bits >>= 6
	}
	return string(b[:])
}
