package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/stream"
)

// canaries are what stands in no store, however it is asked.
func canaries() []string {
	return []string{"Kanarienvogel", "zwitscher.kanari", "1700999431", "Voliere 77"}
}

// eraseWithin is the promise: within it nobody reads the customer any more.
const eraseWithin = 60 * time.Second

// TestCustomersAreSealedAndErased: what a customer said of itself is in no store in the clear; once the key is destroyed nobody reads it,
// and all else is as it was.
func TestCustomersAreSealedAndErased(t *testing.T) {
	t.Parallel()
	s := &system{t: t, data: filepath.Join(t.TempDir(), "data"), env: []string{"ORDERSTORE_LOG_LEVEL=debug"}}
	s.start()
	s.register("retail.erp")
	user, ctx := s.user(), t.Context()
	sub := sampleOrder("sealed-1")
	sub.Customer = &client.Customer{
		Name: "Kanarienvogel Ångström", Email: "zwitscher.kanari@example.com", Phone: "+49 1700999431",
		Address: &client.Address{Line1: "Voliere 77", City: "Graz", Country: "DE"},
	}
	placed, err := user.SubmitOrder(ctx, sub)
	require.NoError(t, err)
	require.Equal(t, sub.Customer, placed.Customer, "the answer names the customer")
	again, err := user.SubmitOrder(ctx, sub)
	require.NoError(t, err)
	require.Equal(t, placed.ID, again.ID)
	s.finish(placed.ID)
	other, err := user.SubmitOrder(ctx, sampleOrder("sealed-2"))
	require.NoError(t, err)
	s.level()

	paths := pathsOf(placed.ID)
	for _, path := range paths {
		require.Contains(t, s.text(path), "Kanarienvogel", path)
	}
	s.nowhereStored()

	before := s.verified()
	done, err := s.operator().EraseCustomer(ctx, client.ErasureRequest{Tenant: "demo", Email: " Zwitscher.Kanari@EXAMPLE.com"})
	require.NoError(t, err)
	repeated, err := s.operator().EraseCustomer(ctx, client.ErasureRequest{Tenant: "demo", OrderID: placed.ID})
	if err != nil { // the order names the key no more
		repeated, err = s.operator().EraseCustomer(ctx, client.ErasureRequest{Tenant: "demo", Key: done.Key})
	}
	require.NoError(t, err)
	require.Equal(t, done.ErasureID, repeated.ErasureID, "once is enough")
	for _, path := range append(paths, "/v1/orders?customer=zwitscher.kanari@example.com") {
		require.Eventually(t, func() bool { return !holds(s.text(path)) }, eraseWithin, 200*time.Millisecond, path)
	}
	require.Eventually(t, func() bool {
		return !strings.Contains(s.text("/v1/orders?customer=zwitscher.kanari@example.com"), placed.ID)
	},
		eraseWithin, 200*time.Millisecond, "it is not found by its address")
	kept, err := user.GetOrder(ctx, placed.ID, client.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, kept.Customer)
	require.Equal(t, placed.Total, kept.Total)
	unharmed, err := user.GetOrder(ctx, other.ID, client.GetOptions{})
	require.NoError(t, err)
	require.NotNil(t, unharmed.Customer, "others stay")
	s.level()
	require.NotEqual(t, before, s.verified())
	out, code := runCommand(t, "orderstore", "rebuild", "--all", "--data", s.data)
	require.Zero(t, code, out)
	s.verified()

	sub.ExternalRef = "sealed-3"
	fresh, err := user.SubmitOrder(ctx, sub)
	require.NoError(t, err)
	require.Equal(t, sub.Customer, fresh.Customer, "a later order of the same person has a new key")
	s.terminate()
	require.False(t, holds(s.out.String()), "nothing in logs")
}

// finish has the provider do all the work on an order.
func (s *system) finish(order string) {
	s.t.Helper()
	o, err := s.user().GetOrder(s.t.Context(), order, client.GetOptions{})
	require.NoError(s.t, err)
	require.Len(s.t, o.Tasks, 1)
	_, err = s.provider().PostResult(s.t.Context(), o.Tasks[0].ID, client.ResultSubmission{ResultID: "done-" + order, Outcome: "completed"})
	require.NoError(s.t, err)
}

// pathsOf are the ways by which a user reads the customer of an order.
func pathsOf(id string) []string {
	return []string{
		"/v1/orders/" + id, "/v1/orders/" + id + "?include=auxiliary,timeline", "/v1/orders/" + id + "?fields=customer.name", "/v1/orders",
		"/v1/orders?text=sealed-1", "/v1/orders/export", "/v1/orders/export?format=csv", "/v1/feed?after=0&include=order", "/v1/orders/" + id + "/invoice",
	}
}

// text asks as the user; an answer that is none gives nothing.
func (s *system) text(path string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.at.HTTP+path, nil)
	require.NoError(s.t, err)
	token, err := s.user().Token(s.t.Context())
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, answer.StatusCode, "%s: %s", path, body)
	return string(body)
}

func holds(text string) bool {
	for _, canary := range canaries() {
		if strings.Contains(text, canary) {
			return true
		}
	}
	return false
}

// nowhereStored looks through each row of each table of the write and read databases, each message of the stream, and the auxiliary
// database but for what is kept of an address until a notice is sent.
func (s *system) nowhereStored() {
	s.t.Helper()
	for _, url := range []string{s.at.PostgresWrite, s.at.PostgresRead, s.at.PostgresAuxiliary} {
		seen := s.eachRow(url, func(table, row string) {
			if table != "notice_orders" && table != "outbox" {
				require.False(s.t, holds(row), "table %s of %s has the customer: %s", table, url, row)
			}
		})
		require.Positive(s.t, seen)
	}
	nc, err := stream.Connect(s.t.Context(), s.at.NATS, "test")
	require.NoError(s.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(s.t, err)
	orders, err := js.Stream(s.t.Context(), "ORDERS")
	require.NoError(s.t, err)
	info, err := orders.Info(s.t.Context())
	require.NoError(s.t, err)
	for at := info.State.FirstSeq; at <= info.State.LastSeq; at++ {
		m, err := orders.GetMsg(s.t.Context(), at)
		require.NoError(s.t, err)
		require.False(s.t, holds(string(m.Data)), "message %d", at)
	}
	err = filepath.WalkDir(filepath.Join(s.data, "nats"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path) //nolint:gosec // of the test's own instance
		require.False(s.t, holds(string(content)), path)
		return err
	})
	require.NoError(s.t, err)
}

// eachRow gives every row of every table as JSON, with binary columns as text.
func (s *system) eachRow(url string, each func(table, row string)) int {
	s.t.Helper()
	ctx := s.t.Context()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(s.t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`)
	require.NoError(s.t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s.t, err)
	seen := 0
	for _, table := range tables {
		rows, err := conn.Query(ctx, "SELECT * FROM "+pgx.Identifier{table}.Sanitize())
		require.NoError(s.t, err)
		for rows.Next() {
			values, err := rows.Values()
			require.NoError(s.t, err)
			var text bytes.Buffer
			for _, v := range values {
				if raw, ok := v.([]byte); ok {
					text.Write(raw)
				} else if encoded, err := json.Marshal(v); err == nil {
					text.Write(encoded)
				} else {
					fmt.Fprint(&text, v)
				}
			}
			each(table, text.String())
			seen++
		}
		require.NoError(s.t, rows.Err())
	}
	return seen
}
