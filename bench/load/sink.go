package load

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Sink is a receiver of webhooks that answers at once, for many subscriptions: number n's address ends in /n.
type Sink struct {
	listener net.Listener
	server   *fasthttp.Server
}

// StartSink receives on loopback. The first hang receivers take each request and answer none until release is closed.
func StartSink(ctx context.Context, hang int, release <-chan struct{}, heard func(receiver int, position int64, at time.Time)) (*Sink, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	s := &Sink{listener: listener}
	s.server = &fasthttp.Server{
		NoDefaultServerHeader: true, NoDefaultDate: true, NoDefaultContentType: true, Concurrency: 1 << 18,
		Handler: func(c *fasthttp.RequestCtx) {
			at := time.Now()
			receiver, err := strconv.Atoi(strings.TrimPrefix(string(c.Path()), "/"))
			if err != nil {
				c.SetStatusCode(fasthttp.StatusNotFound)
				return
			}
			if receiver < hang {
				<-release
				c.SetStatusCode(fasthttp.StatusServiceUnavailable)
				return
			}
			if position, err := strconv.ParseInt(string(c.Request.Header.Peek("webhook-id")), 10, 64); err == nil {
				heard(receiver, position, at)
			}
			c.SetStatusCode(fasthttp.StatusNoContent)
		},
	}
	go func() { _ = s.server.Serve(listener) }() // ends with Close
	return s, nil
}

// URL is the address of a receiver.
func (s *Sink) URL(receiver int) string {
	return "http://" + s.listener.Addr().String() + "/" + strconv.Itoa(receiver)
}

// Close ends it.
func (s *Sink) Close() error { return s.listener.Close() }
