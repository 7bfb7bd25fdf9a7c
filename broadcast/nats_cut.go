package broadcast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/orderstore/orderstore/internal/stream"
)

const (
	cutLook    = 500 * time.Millisecond // between looks for clients that were disabled
	cutAgain   = 5 * time.Second        // between looks for connections of one that was
	cutFor     = time.Minute            // for which they are looked for: a login may be under way on another broadcaster
	cutGather  = time.Second            // in which the servers of a cluster answer
	cutProbe   = 10 * time.Second       // between looks whether a server lets us end connections at all
	cutListing = 1024                   // connections in one answer; more of them are found the next time
)

// watch has the connections of disabled clients ended, until ctx ends. It remembers nobody who was let in: the servers know, and
// whoever disabled a client while no broadcaster ran has it cut by the next one.
func (a *NATSAccess) watch(ctx context.Context) error {
	since := map[string]time.Time{} // when a client was first seen to be disabled
	looked := map[string]time.Time{}
	var probed time.Time
	for ctx.Err() == nil {
		now := time.Now()
		if now.Sub(probed) > cutProbe {
			a.probe(ctx, probed.IsZero())
			probed = now
			a.forget()
		}
		for _, client := range a.cfg.Tokens.Disabled() {
			if since[client].IsZero() {
				since[client] = now
			}
			if a.alone.Load() || now.Sub(since[client]) > cutFor || now.Sub(looked[client]) < cutAgain {
				continue
			}
			looked[client] = now
			if err := a.cut(ctx, client); err != nil && ctx.Err() == nil {
				a.cfg.Logger.WarnContext(ctx, "connections of a disabled client on NATS cannot be ended; they end with their login", "client", client, "cause", err)
			}
		}
		pause(ctx, cutLook)
	}
	return nil
}

// probe finds out whether logins have to be short, because nothing else would end them.
func (a *NATSAccess) probe(ctx context.Context, first bool) {
	servers, err := a.connections(ctx, "", 1)
	alone := err != nil || len(servers) == 0
	was := a.alone.Swap(alone)
	if alone && (!was || first) && ctx.Err() == nil {
		a.cfg.Logger.InfoContext(ctx, "the NATS server does not let connections be ended: logins are short", "cause", err)
	}
}

// cut ends all connections of a client, on all servers.
func (a *NATSAccess) cut(ctx context.Context, client string) error {
	servers, err := a.connections(ctx, client, cutListing)
	if err != nil {
		return err
	}
	var failed error
	for _, s := range servers {
		for _, c := range s.Data.Connections {
			asked, cancel := context.WithTimeout(ctx, brokerAnswer)
			// A server does what it is asked only if it may answer.
			_, err := a.cfg.NATS.RequestWithContext(asked, stream.KickSubject(s.Server.ID), fmt.Appendf(nil, `{"cid":%d}`, c.ID))
			cancel()
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// connected is what a server answers when it is asked for its connections.
type connected struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Data struct {
		Connections []struct {
			ID uint64 `json:"cid"`
		} `json:"connections"`
	} `json:"data"`
}

// connections asks all servers for the connections of parties, or of one client.
func (a *NATSAccess) connections(ctx context.Context, client string, limit int) ([]connected, error) {
	body, err := json.Marshal(map[string]any{"acc": stream.PartyAccount, "auth": true, "user": client, "limit": limit})
	if err != nil {
		return nil, fmt.Errorf("ask for connections: %w", err)
	}
	replies, err := a.cfg.NATS.SubscribeSync(a.cfg.NATS.NewInbox())
	if err != nil {
		return nil, fmt.Errorf("ask for connections: %w", err)
	}
	defer func() { _ = replies.Unsubscribe() }() // on a closed connection there is nothing to end
	if err := a.cfg.NATS.PublishRequest(stream.ConnectionsSubject, replies.Subject, body); err != nil {
		return nil, fmt.Errorf("ask for connections: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cutGather)
	defer cancel()
	var all []connected
	for {
		m, err := replies.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("ask for connections: %w", err)
		}
		if m.Header.Get("Status") == noResponders {
			return all, fmt.Errorf("ask for connections: %w", nats.ErrNoResponders)
		}
		var answer connected
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return all, fmt.Errorf("read connections: %w", err)
		}
		all = append(all, answer)
	}
}

const noResponders = "503"
