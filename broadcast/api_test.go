package broadcast

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/webhook"
	"github.com/orderstore/orderstore/migrations"
)

// callers are who the test's tokens belong to.
type callers map[string]auth.Identity

func (c callers) Authenticate(_ context.Context, bearer string) (auth.Identity, error) {
	who, ok := c[bearer]
	if !ok {
		return who, fault.New(fault.Unauthorized, "no such token")
	}
	who.Scopes = auth.DefaultScopes(who.Kind)
	return who, nil
}

func (c callers) Check(auth.Identity) error { return nil }

func parties() callers {
	return callers{
		"demo": {ClientID: "c_demo", Kind: auth.KindUser, Tenant: "demo"},
		"shop": {ClientID: "c_shop", Kind: auth.KindUser, Tenant: "shop"},
		"acme": {ClientID: "c_acme", Kind: auth.KindProvider, Provider: "acme"},
		"erp":  {ClientID: "c_erp", Kind: auth.KindAuxiliary, System: "erp"},
		"ops":  {ClientID: "c_ops", Kind: auth.KindOperator},
	}
}

// house is the API on a write and a read database.
type house struct {
	*side
	write  *pgxpool.Pool
	server *httptest.Server
	guard  *webhook.Guard
	sender *webhook.Sender
	clock  *heldClock
}

func openHouse(t *testing.T) *house {
	t.Helper()
	h := &house{side: readSide(t), write: pgtest.Database(t, migrations.Write, "write"), clock: &heldClock{}}
	var err error
	h.guard, err = webhook.NewGuard(webhook.GuardConfig{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	require.NoError(t, err)
	h.sender, err = webhook.NewSender(h.guard, webhook.SenderConfig{})
	require.NoError(t, err)
	t.Cleanup(h.sender.Close)
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	httpapi.Mount(e, parties(), Routes(Deps{
		Write: h.write, Read: h.pool, Live: h.api.live, Cursor: httpapi.NewCursor([]byte("a key of some thirty-two bytes..")), Now: h.clock.Now,
		Guard: h.guard, Sender: h.sender,
	}))
	h.server = httptest.NewServer(e)
	t.Cleanup(h.server.Close)
	return h
}

// heldClock is the time of day, moved forward by hand.
type heldClock struct{ ahead atomic.Int64 }

func (c *heldClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *heldClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// call asks as somebody and reads the answer, if it is of the kind that is asked for: a problem or not.
func (h *house) call(who, method, path, body string, into any, headers ...string) int {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, bytes.NewBufferString(body))
	require.NoError(h.t, err)
	req.Header.Set("Authorization", "Bearer "+who)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.server.Client().Do(req)
	require.NoError(h.t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(h.t, err)
	require.NoError(h.t, resp.Body.Close())
	_, wantsProblem := into.(*problem)
	if into != nil && (wantsProblem || resp.StatusCode < http.StatusBadRequest) {
		require.NoError(h.t, json.Unmarshal(answer, into), string(answer))
	}
	return resp.StatusCode
}

// subscribe makes a subscription.
func (h *house) subscribe(who, body string) subscriptionAnswer {
	h.t.Helper()
	var s subscriptionAnswer
	require.Equal(h.t, http.StatusCreated, h.call(who, http.MethodPost, "/v1/subscriptions", body, &s))
	return s
}

// log appends events to the log that were recorded at a time, a second apart.
func (h *house) log(from, to int64, at time.Time) {
	h.t.Helper()
	_, err := h.write.Exec(h.t.Context(), `
INSERT INTO order_events (position, recorded_at, subject, event, digest)
SELECT p, $3::timestamptz + make_interval(secs => p - $1), 'orders.demo.-.-.order.rejected', '{}', decode(repeat('00', 32), 'hex')
FROM generate_series($1::bigint, $2::bigint) p`, from, to, at)
	require.NoError(h.t, err)
	_, err = h.write.Exec(h.t.Context(), `UPDATE log_head SET position = $1`, to)
	require.NoError(h.t, err)
}
