package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// eventOf reads the event that a message announces: a CloudEvent in binary mode.
func eventOf(m jetstream.Msg) (Event, error) { return eventOfHeaders(m.Headers()) }

func eventOfHeaders(h nats.Header) (Event, error) {
	e := Event{
		SpecVersion: h.Get("ce-specversion"), ID: h.Get("ce-id"), Type: h.Get("ce-type"), Source: h.Get("ce-source"), Subject: h.Get("ce-subject"),
		Tenant: h.Get("ce-tenant"), BusinessType: h.Get("ce-businesstype"), TaskID: h.Get("ce-taskid"), Provider: h.Get("ce-provider"),
		Traceparent: h.Get("ce-traceparent"),
	}
	var err error
	if e.Position, err = strconv.ParseInt(e.ID, 10, 64); err != nil {
		return e, fmt.Errorf("read event %q of the broker: %w", e.ID, err)
	}
	if e.Time, err = time.Parse(time.RFC3339Nano, h.Get("ce-time")); err != nil {
		return e, fmt.Errorf("read event %s of the broker: %w", e.ID, err)
	}
	if version := h.Get("ce-orderversion"); version != "" {
		if e.OrderVersion, err = strconv.ParseInt(version, 10, 64); err != nil {
			return e, fmt.Errorf("read event %s of the broker: %w", e.ID, err)
		}
	}
	e.DataRef = h.Get("ce-dataref")
	if e.DataRef == "" && e.Subject != "" {
		e.DataRef = "/v1/orders/" + e.Subject + "?position=" + e.ID
	}
	return e, nil
}

// connectNATS logs in to the broker as the client's party. The broker ends each login after less than a minute; the connection is made again by
// itself, with the credentials or a new token.
func (c *Client) connectNATS(ctx context.Context, inbox string) (*nats.Conn, error) {
	if c.natsURL == "" {
		return nil, &lasting{fmt.Errorf("%w: Config.NATSURL says not where the broker is", ErrTransport)}
	}
	if own, ok := c.tokens.(*credentials); ok && inbox == "" {
		inbox = inboxPrefix(own.id)
	}
	if inbox == "" {
		return nil, &lasting{fmt.Errorf("%w: the broker needs client credentials", ErrTransport)}
	}
	options := append([]nats.Option{
		nats.Name(c.agent), nats.UserInfoHandler(func() (string, string) { return c.natsLogin(ctx) }), nats.CustomInboxPrefix(inbox), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(natsLook), nats.Timeout(natsTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.log.DebugContext(ctx, "broker", "cause", err)
		}),
	}, c.natsOptions...)
	return nats.Connect(withoutLogin(c.natsURL), options...)
}

// withoutLogin leaves out whom the addresses name: nobody but the client itself logs in with it.
func withoutLogin(addresses string) string {
	all := strings.Split(addresses, ",")
	for i, address := range all {
		if u, err := url.Parse(strings.TrimSpace(address)); err == nil {
			u.User = nil
			all[i] = u.String()
		}
	}
	return strings.Join(all, ",")
}

// tokenUser is the name under which a token is the password.
const tokenUser = "token"

// natsLogin gives what the client logs in with, each time anew: its credentials, or a token.
func (c *Client) natsLogin(ctx context.Context) (user, password string) {
	if own, ok := c.tokens.(*credentials); ok {
		return own.id, own.secret
	}
	within, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	token, err := c.tokens.token(within)
	if err != nil { // the broker refuses, and the store says why
		c.log.WarnContext(ctx, "no token for the broker", slog.Any("cause", err))
	}
	return tokenUser, token
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// inboxPrefix is where the broker lets the client have its replies sent.
func inboxPrefix(clientID string) string {
	if plainID.MatchString(clientID) {
		return "_INBOX_" + clientID
	}
	sum := sha256.Sum256([]byte(clientID))
	return "_INBOX_~" + hex.EncodeToString(sum[:16])
}
