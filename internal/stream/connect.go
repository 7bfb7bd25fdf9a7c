package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 250 * time.Millisecond
	pingInterval    = 10 * time.Second
	maxPingsOut     = 2
	dialTimeout     = 5 * time.Second
	flushTimeout    = 5 * time.Second
)

// Connect connects to an outside server. It tries until the server answers, refuses the credentials, or ctx ends, and
// afterwards reconnects for ever. While disconnected a publish fails at once instead of being buffered, so that nothing
// is thought sent that is not. Options given win over these.
func Connect(ctx context.Context, address, name string, opts ...nats.Option) (*nats.Conn, error) {
	return connect(ctx, address, name, slog.Default(), opts...)
}

func connect(ctx context.Context, address, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	all := append(defaultOptions(name, log), opts...)
	for {
		conn, err := nats.Connect(address, all...)
		if err == nil {
			return conn, nil
		}
		if permanent(err) {
			return nil, fmt.Errorf("connect to nats: %w", err)
		}
		pause(ctx, reconnectWait)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect to nats: %w: %w", ctx.Err(), err)
		}
	}
}

// permanent tells whether trying again with the same address and credentials cannot help.
func permanent(err error) bool {
	for _, target := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrConnectionClosed, // an embedded server that has been shut down
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	_, malformed := errors.AsType[*url.Error](err)
	return malformed || distrusted(err)
}

// distrusted tells whether one side does not take the other's certificate, or wants TLS where the other speaks plain text.
func distrusted(err error) bool {
	if errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted) {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" // a TLS alert: the server does not take our certificate
}

func defaultOptions(name string, log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.Timeout(dialTimeout),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be back after a restart of the server
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		nats.FlusherTimeout(flushTimeout),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil {
				return // closed on purpose
			}
			log.Warn("disconnected from nats", "name", name, "error", err)
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			log.Info("reconnected to nats", "name", name, "server", c.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("nats reports", "name", name, "subject", subject, "error", err)
		}),
	}
}
