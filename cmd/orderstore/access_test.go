package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/postgres"
)

// call asks the API and reads a JSON answer.
func call(t *testing.T, method, address, authorization, media, body string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewBufferString(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", media)
	req.Header.Set("Authorization", authorization)
	answer, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	content, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Less(t, answer.StatusCode, 300, "%s %s: %s", method, address, content)
	require.NoError(t, json.Unmarshal(content, into))
}

// subscribeNATS subscribes a party and gives its consumer's name and its token.
func subscribeNATS(t *testing.T, base string, p party) (consumer, token string) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {p.ClientID}, "client_secret": {p.ClientSecret}}
	var login struct {
		AccessToken string `json:"access_token"`
	}
	call(t, http.MethodPost, base+"/oauth/token", "", "application/x-www-form-urlencoded", form.Encode(), &login)
	var s struct {
		NATS struct{ Stream, Consumer string }
	}
	call(t, http.MethodPost, base+"/v1/subscriptions", "Bearer "+login.AccessToken, "application/json", `{"transport":"nats"}`, &s)
	require.Equal(t, "ORDERS", s.NATS.Stream)
	return s.NATS.Consumer, login.AccessToken
}

// dialNATS connects as a party does.
func dialNATS(t *testing.T, address string, p party, options ...nats.Option) *nats.Conn {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	nc, err := nats.Connect("nats://"+u.Host, append(options, nats.CustomInboxPrefix("_INBOX_"+p.ClientID), nats.Timeout(10*time.Second))...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// hear takes notices until one is of a type.
func hear(t *testing.T, nc *nats.Conn, consumer, eventType string) jetstream.Msg {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var c jetstream.Consumer
	require.Eventually(t, func() bool {
		c, err = js.Consumer(ctx, "ORDERS", consumer)
		return err == nil
	}, 30*time.Second, 50*time.Millisecond, "the consumer is made within seconds")
	for {
		m, err := c.Next(jetstream.FetchContext(ctx))
		require.NoError(t, err)
		require.NoError(t, m.DoubleAck(ctx))
		require.Empty(t, m.Data())
		if m.Headers().Get("ce-type") == eventType {
			return m
		}
	}
}

// TestPartiesHearOnNATS: a provider and a user log in to the embedded server with their credentials or a token, and pull what they heard of.
func TestPartiesHearOnNATS(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	ofProvider, _ := subscribeNATS(t, s.at.HTTP, s.as.Provider)
	ofUser, token := subscribeNATS(t, s.at.HTTP, s.as.User)
	placed, err := s.user().SubmitOrder(t.Context(), sampleOrder("on-nats"))
	require.NoError(t, err)

	m := hear(t, dialNATS(t, s.at.NATS, s.as.Provider, nats.UserInfo(s.as.Provider.ClientID, s.as.Provider.ClientSecret)), ofProvider, "task.offered")
	require.Equal(t, placed.ID, m.Headers().Get("ce-subject"))
	require.True(t, strings.HasPrefix(m.Headers().Get("ce-dataref"), "/v1/orders/"+placed.ID+"?position="))
	var position int64
	_, err = fmt.Sscan(m.Headers().Get("ce-id"), &position)
	require.NoError(t, err)
	read, err := s.provider().GetOrder(t.Context(), placed.ID, client.GetOptions{Position: position})
	require.NoError(t, err, "what it was told of, it can read")
	require.Len(t, read.Tasks, 1)

	m = hear(t, dialNATS(t, s.at.NATS, s.as.User, nats.Token(token)), ofUser, "order.placed")
	require.Equal(t, placed.ID, m.Headers().Get("ce-subject"))
}

// TestPartiesOnAServerOfItsOwn: an operator's server with what nats-config prints.
func TestPartiesOnAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	for _, args := range [][]string{{"migrate"}, {"nats-config", "--password", "own password"}} {
		p := launch(t, o.env, "orderstore", args...)
		<-p.done
		require.NoError(t, p.err, p.out)
		if args[0] == "nats-config" {
			o.broker.Shutdown()
			o.env = append(o.env, "ORDERSTORE_NATS="+serverOf(t, p.out.String()))
		}
	}
	as := o.parties(t)
	base, _ := o.launch(t, "command,relay,projection,query,broadcast")
	consumer, _ := subscribeNATS(t, base, as.User)
	placed, err := newClient(t, base, as.User).SubmitOrder(t.Context(), sampleOrder("outside"))
	require.NoError(t, err)
	address := strings.TrimPrefix(o.env[len(o.env)-1], "ORDERSTORE_NATS=")
	closed := make(chan struct{})
	nc := dialNATS(t, address, as.User, nats.UserInfo(as.User.ClientID, as.User.ClientSecret),
		nats.ReconnectWait(50*time.Millisecond), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	require.Equal(t, placed.ID, hear(t, nc, consumer, "order.placed").Headers().Get("ce-subject"))

	pool, err := postgres.Open(t.Context(), o.write, postgres.PoolConfig{Name: "test", MaxConns: 1})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, auth.NewStore(pool).DisableClient(t.Context(), as.User.ClientID))
	select {
	case <-closed:
	case <-time.After(60 * time.Second):
		t.Fatal("a disabled client is still connected after a minute")
	}
}

// serverOf starts a NATS server with a part of a configuration file and gives its address, with the credentials of our own roles.
func serverOf(t *testing.T, accounts string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	head := fmt.Sprintf("listen: 127.0.0.1:-1\njetstream { store_dir: %q }\n", t.TempDir())
	require.NoError(t, os.WriteFile(file, []byte(head+accounts), 0o600))
	options, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(10*time.Second))
	u, err := url.Parse(s.ClientURL())
	require.NoError(t, err)
	u.User = url.UserPassword("orderstore", "own password")
	return u.String()
}
