package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/importer"
	"github.com/orderstore/orderstore/cmd/orderctl/providersim"
	"github.com/orderstore/orderstore/internal/sample"
)

const shopMapping = `
format: csv
tenant: demo
group_by: no
order:
  external_ref: {column: no}
  channel: {column: channel}
  business_type: {value: retail.erp}
  currency: {column: currency}
  customer: {name: {column: who}}
line:
  sku: {column: sku}
  quantity: {column: qty}
  total: {column: total, rounding: half_even}
`

// shop writes a file of n orders with two lines each that stand far apart.
func shop(t *testing.T, n int, more string) (file, mapping string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("no,channel,currency,who,sku,qty,total\n")
	for _, half := range []string{"A", "B"} {
		for i := range n {
			fmt.Fprintf(&b, "S-%d,web,EUR,Zoë 王 %d,%s,3,10.00\n", i, i, half)
		}
	}
	dir := t.TempDir()
	file, mapping = filepath.Join(dir, "shop.csv"), filepath.Join(dir, "shop.yaml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()+more), 0o600))
	require.NoError(t, os.WriteFile(mapping, []byte(shopMapping), 0o600))
	return file, mapping
}

func summaryOf(t *testing.T, out string) importer.Summary {
	t.Helper()
	var s importer.Summary
	require.NoError(t, json.Unmarshal([]byte(out), &s), out)
	return s
}

func registerProvider(t *testing.T, s *store, kinds ...string) {
	t.Helper()
	ok(t, "--data", s.data, "providers", "put", "demo-provider", "--name", "Demo", "--business-type", strings.Join(kinds, ","))
	for _, kind := range kinds {
		ok(t, "--data", s.data, "routes", "put", kind, "--accept-within", "15m", "--max-attempts", "3")
	}
}

// The whole way of a shop's orders: imported with some bad ones among them, worked on by the sample provider, looked at.
func TestImportedOrdersAreCompletedByTheSampleProvider(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	registerProvider(t, s, "retail.erp")
	file, mapping := shop(t, 300, "X-1,WEB!,EUR,x,A,1,1\nX-2,web,EUR,x,A,0,1\nX-3,web,EUR,4111 1111 1111 1111,A,1,1\n")
	rejects := filepath.Join(t.TempDir(), "rejects.ndjson")
	args := []string{"--data", s.data, "import", file, "--mapping", mapping, "--rejects", rejects, "--json", "--batch-size", "40"}

	r := orderctl(t.Context(), nil, args...)
	require.ErrorIs(t, r.err, errRejected)
	got := summaryOf(t, r.out)
	require.Equal(t, []int64{300, 0, 3, 600}, []int64{got.New, got.Replayed, got.Rejected, got.Lines})
	require.Equal(t, "600000", got.LineTotals["EUR"].String())
	b, err := os.ReadFile(rejects)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(b), "\n"))
	for _, says := range []string{`"pointer":"/channel"`, `line.quantity \"0\"`, `"pointer":"/customer/name"`} {
		require.Contains(t, string(b), says)
	}

	got = summaryOf(t, orderctl(t.Context(), nil, args...).out)
	require.Equal(t, []int64{0, 300, 3}, []int64{got.New, got.Replayed, got.Rejected})

	state := filepath.Join(t.TempDir(), "state")
	work := []string{"--data", s.data, "provider-sim", "--once", "--state", state, "--json", "--report-load", "20s"}
	var stats providersim.Stats
	require.NoError(t, json.Unmarshal([]byte(ok(t, work...)), &stats))
	require.Equal(t, int64(300), stats.Completed)
	require.NoError(t, json.Unmarshal([]byte(ok(t, work...)), &stats))
	require.Zero(t, stats.Completed, "the second run goes on where the first one stopped")

	lines := strings.Split(strings.TrimSpace(ok(t, "--data", s.data, "list", "--limit", "0", "--status", "completed", "--json")), "\n")
	require.Len(t, lines, 300)
	var order client.Order
	require.NoError(t, json.Unmarshal([]byte(ok(t, "--data", s.data, "list", "--external-ref", "S-7", "--json")), &order))
	require.Equal(t, "fulfilled", order.FulfillmentStatus)
	require.Equal(t, "Zoë 王 7", order.Customer.Name)
	require.Equal(t, int64(2000), order.Total)
	require.NoError(t, json.Unmarshal([]byte(ok(t, "--data", s.data, "get", order.ID, "--include", "timeline")), &order))
	require.Len(t, order.Timeline, len(strings.Split(strings.TrimSpace(ok(t, "--data", s.data, "watch", order.ID, "--count", fmt.Sprint(len(order.Timeline)))), "\n")))
	require.Contains(t, ok(t, "--data", s.data, "tasks", "list", "--limit", "2"), "completed")
	require.Contains(t, ok(t, "--data", s.data, "lag"), "order_view")
	stockByHand(t, s)
	reportedCapacity(t, s)
	invoicedCustomer(t, s, order)
}

// invoicedCustomer reads the completed order's invoice and its customer's profile.
func invoicedCustomer(t *testing.T, s *store, order client.Order) {
	t.Helper()
	var invoice client.Invoice
	require.Eventually(t, func() bool {
		r := orderctl(t.Context(), nil, "--data", s.data, "invoice", order.ID)
		return r.err == nil && json.Unmarshal([]byte(r.out), &invoice) == nil
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, order.Total, invoice.Total)
	require.Regexp(t, `^INV-\d{6}$`, invoice.Number)
	file := filepath.Join(t.TempDir(), "invoice")
	ok(t, "--data", s.data, "invoice", order.ID, "--pdf", file+".pdf", "--html", file+".html")
	for name, says := range map[string]string{".pdf": "%PDF-", ".html": invoice.Number} {
		b, err := os.ReadFile(file + name)
		require.NoError(t, err)
		require.Contains(t, string(b), says)
	}
	require.Error(t, orderctl(t.Context(), nil, "--data", s.data, "invoice", order.ID, "--credit-note").err)

	buyer := `{"channel":"pos","external_ref":"buyer","business_type":"retail.erp","currency":"EUR","lines":[{"sku":"F","quantity":1,"unit_price":900}],` +
		`"customer":{"name":"Ann","email":"Ann@Example.com","phone":"+49 30 901820"}}`
	require.NoError(t, orderctl(t.Context(), strings.NewReader(buyer), "--data", s.data, "submit", "-").err)
	var found []client.CustomerProfile
	require.Eventually(t, func() bool {
		r := orderctl(t.Context(), nil, "--data", s.data, "customers", "find", "--email", "ann@example.com")
		return r.err == nil && json.Unmarshal([]byte(r.out), &found) == nil && len(found) == 1
	}, 30*time.Second, 50*time.Millisecond)
	var same client.CustomerProfile
	require.NoError(t, json.Unmarshal([]byte(ok(t, "--data", s.data, "customers", "get", found[0].ID)), &same))
	require.Equal(t, int64(900), same.Totals[0].Total)
	require.Equal(t, "pos", same.Channels[0].Channel)
}

// reportedCapacity submits orders until one is routed by what the sample provider reported of itself: that it takes as many tasks
// as it works on at a time, which the operator did not say.
func reportedCapacity(t *testing.T, s *store) {
	t.Helper()
	n := 0
	require.Eventually(t, func() bool {
		order := fmt.Sprintf(`{"channel":"web","external_ref":"load-%d","business_type":"retail.erp","currency":"EUR","lines":[{"sku":"F","quantity":1,"unit_price":9}]}`, n)
		r := orderctl(t.Context(), strings.NewReader(order), "--data", s.data, "submit", "-")
		require.NoError(t, r.err)
		var placed client.Order
		require.NoError(t, json.Unmarshal([]byte(r.out), &placed))
		load := placed.Tasks[0].Routing.Candidates[0].Load
		n++
		return n > 1 && load == math.Round(float64(n-1)/providersim.DefaultConcurrency*1e4)/1e4
	}, 10*time.Second, 50*time.Millisecond)
}

// The store takes every sample order, whatever its kind, and one provider that serves all completes all.
func TestSampleOrdersAreTaken(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	registerProvider(t, s, sample.BusinessTypes()...)
	orders := ok(t, "sample", "--orders", "400", "--seed", "5")
	r := orderctl(t.Context(), strings.NewReader(orders), "--data", s.data, "submit", "-")
	require.NoError(t, r.err)
	var refs []string
	for line := range strings.Lines(r.out) {
		var answer client.BatchResult
		require.NoError(t, json.Unmarshal([]byte(line), &answer))
		require.Equal(t, 201, answer.Status, line)
		refs = append(refs, answer.ID)
	}
	require.Len(t, refs, 400)

	one, _, _ := strings.Cut(orders, "\n")
	var again client.Order
	r = orderctl(t.Context(), strings.NewReader(one), "--data", s.data, "submit", "-")
	require.NoError(t, r.err)
	require.NoError(t, json.Unmarshal([]byte(r.out), &again))
	require.Equal(t, refs[0], again.ID, "one order is submitted by itself, and this one was before")

	completeInTwoRuns(t, s, 400)
	workByHand(t, s)
	events := ok(t, "--data", s.data, "watch", "--after", "0", "--feed", "--count", "1000", "--json")
	require.Equal(t, 1000, strings.Count(events, "\n"))
	require.Equal(t, 1000, strings.Count(ok(t, "--data", s.data, "watch", "--after", "0", "--count", "1000"), "\n"))
	exported(t, s, refs)
}

// exported has the orders written to files of each format, and what is watched agree with them.
func exported(t *testing.T, s *store, ids []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"all.ndjson", "all.csv", "all.parquet"} {
		r := orderctl(t.Context(), nil, "--data", s.data, "export", "--output", filepath.Join(dir, name), "--sort", "placed_at")
		require.NoError(t, r.err)
	}
	content := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(b)
	}
	lines := strings.SplitAfter(content("all.ndjson"), "\n")
	for _, id := range ids {
		require.Contains(t, content("all.csv"), id)
	}
	require.GreaterOrEqual(t, len(lines), len(ids))
	require.Equal(t, lines[0], ok(t, "--data", s.data, "export", "--format", "ndjson", "--quiet", "--sort", "placed_at", "--external-ref", refOf(t, lines[0])))
	require.Equal(t, "PAR1", content("all.parquet")[:4])
	require.Equal(t, "PAR1", content("all.parquet")[len(content("all.parquet"))-4:])
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 3, "nothing is left of what they were called before they were whole")

	placed := ok(t, "--data", s.data, "orders", "watch", ids[0], "--count", "1", "--json")
	require.Contains(t, placed, `"order.placed"`)
	require.Contains(t, placed, ids[0])
	listed := ok(t, "--data", s.data, "orders", "watch", "--after", "0", "--status", "unrouted", "--count", "1")
	require.Contains(t, listed, "(not in the list)")

	gone := filepath.Join(dir, "no such folder", "x.csv")
	require.Error(t, orderctl(t.Context(), nil, "--data", s.data, "export", "--output", gone).err)
}

func refOf(t *testing.T, document string) string {
	t.Helper()
	var o client.Order
	require.NoError(t, json.Unmarshal([]byte(document), &o))
	return o.ExternalRef
}

// completeInTwoRuns stops the sample provider in the middle and runs it again, without anything that it could remember by.
func completeInTwoRuns(t *testing.T, s *store, tasks int64) {
	t.Helper()
	r, err := (&connection{data: s.data}).resolve(asProvider)
	require.NoError(t, err)
	c, err := client.New(r.config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, err := providersim.Run(ctx, providersim.Config{Client: c, Concurrency: 8, Report: func(s providersim.Stats) {
		if s.Completed == 50 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, first.Completed, tasks)
	second, err := providersim.Run(t.Context(), providersim.Config{Client: c, Concurrency: 8, Once: true})
	require.NoError(t, err)
	// What was under way when the first run stopped may have been taken by the store without the run hearing of it.
	require.GreaterOrEqual(t, first.Completed+second.Completed, tasks-8)
	require.LessOrEqual(t, first.Completed+second.Completed-second.Replayed, tasks)
	for task, err := range c.ListTasks(t.Context(), client.TaskFilter{Status: []string{"offered", "accepted"}}) {
		require.NoError(t, err)
		t.Errorf("task %s is still %s", task.ID, task.Status)
	}
}

// An import goes on by itself when the store is killed and started again meanwhile, and one that was interrupted is run again.
func TestImportOutlivesTheStoreAndItself(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	registerProvider(t, s, "retail.erp")
	file, mapping := shop(t, 1500, "")
	args := []string{"--data", s.data, "import", file, "--mapping", mapping, "--rejects", filepath.Join(t.TempDir(), "r"), "--json", "--quiet", "--batch-size", "20", "--parallel", "2"}

	// Interrupt the first run once some orders are in.
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := make(chan result)
	go func() { interrupted <- orderctl(ctx, nil, args...) }()
	s.heard(t, 40)
	cancel()
	r := <-interrupted
	require.ErrorContains(t, r.err, "nothing is stored twice")
	before := summaryOf(t, r.out)
	require.Less(t, before.Orders, int64(1500))

	// Kill the store in the middle of the second.
	second := make(chan result)
	go func() { second <- orderctl(t.Context(), nil, args...) }()
	s.heard(t, 2*(int(before.New)+100))
	s.kill()
	s.start()
	r = <-second
	require.NoError(t, r.err)
	got := summaryOf(t, r.out)
	require.Equal(t, int64(1500), got.New+got.Replayed)
	require.Zero(t, got.Rejected)

	third := summaryOf(t, ok(t, args...))
	require.Equal(t, []int64{0, 1500}, []int64{third.New, third.Replayed})
	require.Equal(t, "3000000", third.LineTotals["EUR"].String())
	// Every order has one order.placed, and one task.offered, which a replay would not add to.
	events := ok(t, "--data", s.data, "watch", "--after", "0", "--feed", "--json", "--count", "3000")
	require.Equal(t, 1500, strings.Count(events, `"order.placed"`))
}

// heard waits until the tenant has heard of n events.
func (s *store) heard(t *testing.T, n int) {
	t.Helper()
	r := orderctl(t.Context(), nil, "--data", s.data, "watch", "--after", "0", "--count", fmt.Sprint(n))
	require.NoError(t, r.err)
}

// The real file, where it lies beside the project, with the mapping that ships.
func TestSuperstoreIntoARealStore(t *testing.T) {
	t.Parallel()
	const file = "../../../shared/data/superstore.csv"
	if _, err := os.Stat(file); err != nil {
		t.Log("superstore.csv is not here: ", err)
		return
	}
	s := startStore(t)
	registerProvider(t, s, "furniture", "office-supplies", "technology")
	args := []string{"--data", s.data, "import", file, "--mapping", "superstore", "--rejects", filepath.Join(t.TempDir(), "r"), "--json"}
	got := summaryOf(t, ok(t, args...))
	require.Equal(t, []int64{9994, 5009, 5009, 0, 0, 9994}, []int64{got.Rows, got.Orders, got.New, got.Replayed, got.Rejected, got.Lines})
	require.Equal(t, "229720065", got.LineTotals["USD"].String())
	got = summaryOf(t, ok(t, args...))
	require.Equal(t, []int64{5009, 0, 5009, 0}, []int64{got.Orders, got.New, got.Replayed, got.Rejected})
	require.Equal(t, "229720065", got.LineTotals["USD"].String())
}

// workByHand makes parties and works on their tasks, each with a command of its own.
func workByHand(t *testing.T, s *store) {
	t.Helper()
	ok(t, "--data", s.data, "tenants", "put", "shop-two", "--name", "Shop Two")
	ok(t, "--data", s.data, "providers", "put", "hands", "--business-type", "by.hand")
	var user, provider client.Credentials
	require.NoError(t, json.Unmarshal([]byte(ok(t, "--data", s.data, "tokens", "create", "--tenant", "shop-two")), &user))
	require.NoError(t, json.Unmarshal([]byte(ok(t, "--data", s.data, "tokens", "create", "--kind", "provider", "--provider", "hands")), &provider))
	as := func(c client.Credentials, args ...string) []string {
		return append([]string{"--url", "http://" + s.at, "--client-id", c.ClientID, "--client-secret", c.ClientSecret}, args...)
	}
	require.Equal(t, 2, strings.Count(ok(t, as(user, "tokens", "print")...), "."), "a token is a JWT")

	place := func(ref string) client.Task {
		order := `{"channel":"web","external_ref":"` + ref + `","business_type":"by.hand","currency":"JPY","lines":[{"sku":"F","quantity":2,"unit_price":900}]}`
		r := orderctl(t.Context(), strings.NewReader(order), as(user, "submit", "-")...)
		require.NoError(t, r.err)
		var placed client.Order
		require.NoError(t, json.Unmarshal([]byte(r.out), &placed))
		require.Len(t, placed.Tasks, 1)
		return placed.Tasks[0]
	}
	require.Contains(t, ok(t, as(provider, "providers", "load", "0.5", "--capacity", "7", "--ttl", "90s")...), `"capacity": 7`)
	require.ErrorContains(t, orderctl(t.Context(), nil, as(provider, "providers", "load", "much")...).err, "not a number")
	first, second := place("1"), place("2")
	require.Contains(t, ok(t, as(provider, "tasks", "accept", first.ID)...), `"accepted"`)
	require.Contains(t, ok(t, as(provider, "tasks", "result", first.ID)...), `"completed"`)
	require.Contains(t, ok(t, as(provider, "tasks", "reject", second.ID, "--reason", "no_roses", "--blocking")...), `"rejected"`)
	r := orderctl(t.Context(), nil, as(provider, "tasks", "accept", second.ID)...)
	require.True(t, client.HasCode(r.err, client.CodeTaskState), "%v", r.err)

	r = orderctl(t.Context(), strings.NewReader(`{"channel":"web","surprise":1}`), as(user, "submit", "-")...)
	require.ErrorContains(t, r.err, `read order 1: json: unknown field "surprise"`)
	r = orderctl(t.Context(), strings.NewReader(`{"channel":"Web"}`), as(user, "submit", "-")...)
	require.True(t, client.HasCode(r.err, client.CodeInvalid), "%v", r.err)
	r = orderctl(t.Context(), nil, as(client.Credentials{ClientID: user.ClientID, ClientSecret: "wrong"}, "list")...)
	var p *client.Problem
	require.True(t, errors.As(r.err, &p) && p.Status == 401, "%v", r.err)
}
