package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// Connect connects to an outside server. It waits until the server answers or ctx ends, and afterwards reconnects
// for ever. While disconnected a publish fails at once instead of being buffered, so that nothing is thought sent
// that is not. Options given win over these.
func Connect(ctx context.Context, url, name string, opts ...nats.Option) (*nats.Conn, error) {
	return connect(ctx, url, name, slog.Default(), opts...)
}

func connect(ctx context.Context, url, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	connected := make(chan struct{}, 1)
	all := append(defaultOptions(name, log), nats.ConnectHandler(func(*nats.Conn) { signal(connected) }))
	conn, err := nats.Connect(url, append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	if conn.IsConnected() {
		return conn, nil
	}
	select {
	case <-connected:
		return conn, nil
	case <-ctx.Done():
		err := errors.Join(ctx.Err(), conn.LastError())
		conn.Close()
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
}

func defaultOptions(name string, log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
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

func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
