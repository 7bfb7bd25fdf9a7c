package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/providersim"
)

// said reads the document that a command printed.
func said[T any](t *testing.T, out string) T {
	t.Helper()
	var document T
	require.NoError(t, json.Unmarshal([]byte(out), &document), out)
	return document
}

// worker is a provider with credentials of its own.
type worker struct {
	*store
	credentials client.Credentials
}

func (s *store) worker(t *testing.T, provider string, args ...string) *worker {
	t.Helper()
	ok(t, append([]string{"--data", s.data, "providers", "put", provider}, args...)...)
	made := ok(t, "--data", s.data, "tokens", "create", "--kind", "provider", "--provider", provider)
	return &worker{s, said[client.Credentials](t, made)}
}

// as puts the worker's credentials before a command.
func (w *worker) as(args ...string) []string {
	return append([]string{"--url", "http://" + w.at, "--client-id", w.credentials.ClientID, "--client-secret", w.credentials.ClientSecret}, args...)
}

func (w *worker) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: "http://" + w.at, ClientID: w.credentials.ClientID, ClientSecret: w.credentials.ClientSecret})
	require.NoError(t, err)
	return c
}

// placed submits an order as the demo tenant.
func (s *store) placed(t *testing.T, businessType, ref, region string) client.Order {
	t.Helper()
	order := `{"channel":"web","external_ref":"` + ref + `","business_type":"` + businessType + `","region":"` + region + `","currency":"EUR",
		"lines":[{"sku":"A","quantity":3,"unit_price":900},{"sku":"B","quantity":1,"unit_price":100}],"attributes":{"note":"x"},"customer":{"name":"Ada","phone":"1"}}`
	r := orderctl(t.Context(), strings.NewReader(order), "--data", s.data, "submit", "-")
	require.NoError(t, r.err)
	return said[client.Order](t, r.out)
}

func (s *store) order(t *testing.T, id string) client.Order {
	t.Helper()
	return said[client.Order](t, ok(t, "--data", s.data, "get", id))
}

// becomes waits until an order is as wanted.
func (s *store) becomes(t *testing.T, id string, wanted func(client.Order) bool) client.Order {
	t.Helper()
	var order client.Order
	require.Eventually(t, func() bool {
		order = s.order(t, id)
		return wanted(order)
	}, time.Minute, 50*time.Millisecond)
	return order
}

// shows runs a command that reads until it shows something: the read side follows the write side.
func shows(t *testing.T, wanted string, args ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(ok(t, args...), wanted) }, time.Minute, 50*time.Millisecond, wanted)
}

func TestPeopleChangeOrdersAndTasks(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	ok(t, "--data", s.data, "routes", "put", "inn", "--accept-within", "15m", "--complete-within", "24h", "--cancel-within", "30m", "--max-attempts", "3")
	inn, cars := s.worker(t, "inn-1", "--business-type", "inn"), s.worker(t, "cars-1", "--business-type", "cars")
	amendByHand(t, s)
	delegateByHand(t, s, inn, cars)

	order := s.placed(t, "inn", "hold", "north")
	task := order.Tasks[0].ID
	require.Contains(t, ok(t, inn.as("tasks", "hold", task, "--reason", "no_stock", "--message", "on Monday")...), `"on_hold"`)
	shows(t, "reject result resume", inn.as("tasks", "list", "--status", "on_hold")...)
	require.Contains(t, ok(t, inn.as("tasks", "resume", task)...), `"offered"`)
	require.Contains(t, ok(t, inn.as("tasks", "accept", task)...), `"accepted"`)
	s.becomes(t, order.ID, func(o client.Order) bool { return o.Tasks[0].Status == client.TaskAccepted })
	asked := said[client.Order](t, ok(t, "--data", s.data, "orders", "cancel", order.ID, "--reason", "changed_mind", "--message", "sorry"))
	require.Equal(t, []string{"requested", "changed_mind", "sorry"}, []string{asked.Cancellation.Status, asked.Cancellation.Reason, asked.Cancellation.Message})
	require.WithinDuration(t, asked.Cancellation.RequestedAt.Add(30*time.Minute), asked.Cancellation.AnswerBy, time.Second)
	shows(t, asked.Cancellation.AnswerBy.Format("2006-01-02 15:04:05"), inn.as("tasks", "list", "--status", "cancellation_requested")...)
	require.Contains(t, ok(t, inn.as("tasks", "reject", task, "--reason", "too_late")...), `"cancellation_refused"`)
	shows(t, order.ID, "--data", s.data, "--as", "user", "orders", "list", "--status", "processing")

	require.Contains(t, ok(t, inn.as("tasks", "result", task, "--outcome", "completed")...), `"completed"`)
	back := said[client.Order](t, ok(t, "--data", s.data, "orders", "return", order.ID, "rma-1", "1=1", "--reason", "broken", "--write-off"))
	require.Equal(t, int64(1), back.Lines[0].Quantities.Returned)
	require.False(t, *back.Returns[0].Lines[0].Restock)
	require.ErrorContains(t, orderctl(t.Context(), strings.NewReader(""), "--data", s.data, "orders", "return", order.ID, "rma-2", "1").err, "LINE_ID=QUANTITY")

	ok(t, "--data", s.data, "vendors", "put", "v-1", "--name", "Vendor", "--email", "v@example.com")
	product := said[client.Product](t, ok(t, "--data", s.data, "products", "put", "A/1", "--tenant", "demo", "--vendor", "v-1", "--reorder-level", "5"))
	require.Equal(t, []any{"A/1", "v-1", int64(10)}, []any{product.SKU, product.VendorID, product.TargetLevel})
	stateMachineIsReadable(t, s)
}

func amendByHand(t *testing.T, s *store) {
	t.Helper()
	order := s.placed(t, "inn", "amend", "north")
	s.becomes(t, order.ID, func(o client.Order) bool { return o.Version == order.Version })
	amend := func(patch string, more ...string) result {
		return orderctl(t.Context(), strings.NewReader(patch), append([]string{"--data", s.data, "orders", "amend", order.ID, "-"}, more...)...)
	}
	r := amend(`{"customer":{"phone":null,"email":"a@example.com"},"attributes":null,"shipping":50,"lines":[{"line_id":"1","sku":"A","quantity":1,"unit_price":900}]}`)
	require.NoError(t, r.err)
	read := s.becomes(t, order.ID, func(o client.Order) bool { return o.Version > order.Version })
	require.Equal(t, &client.Customer{Name: "Ada", Email: "a@example.com"}, read.Customer)
	require.Empty(t, read.Attributes)
	require.Equal(t, int64(950), read.Total)
	require.Len(t, read.Lines, 1)
	require.True(t, client.HasCode(amend(`{"shipping":1}`, "--version", "1").err, client.CodeVersion))
	require.ErrorContains(t, amend(`{"status":"completed"}`).err, "unknown field")
	require.ErrorContains(t, amend(`{} {}`).err, "more than one patch")
	require.ErrorContains(t, orderctl(t.Context(), nil, "--data", s.data, "orders", "amend", order.ID, filepath.Join(t.TempDir(), "gone")).err, "no such file")
}

func delegateByHand(t *testing.T, s *store, inn, cars *worker) {
	t.Helper()
	order := s.placed(t, "inn", "delegate", "north")
	r := orderctl(t.Context(), strings.NewReader(`{"flight":"OS 56"}`), inn.as("tasks", "delegate", order.Tasks[0].ID, "cars", "--line", "2=1", "--line", "1=2", "--payload", "-", "--note", "n")...)
	require.NoError(t, r.err)
	task := said[client.Task](t, r.out)
	require.Equal(t, client.TaskDelegated, task.Status)
	child := task.Delegations[0]
	require.Equal(t, "OS 56", child.Payload["flight"])
	require.Contains(t, ok(t, cars.as("tasks", "result", child.TaskID)...), `"completed"`)
	require.Contains(t, ok(t, inn.as("tasks", "result", order.Tasks[0].ID)...), `"answers"`)
	require.Len(t, s.becomes(t, order.ID, func(o client.Order) bool { return o.Status == client.OrderCompleted }).Results, 1)
	r = orderctl(t.Context(), strings.NewReader(`[`), inn.as("tasks", "delegate", "x", "cars", "--payload", "-")...)
	require.ErrorContains(t, r.err, "delegate: -:")
}

// stateMachineIsReadable reads the tables without anybody's credentials.
func stateMachineIsReadable(t *testing.T, s *store) {
	t.Helper()
	out := ok(t, "--url", "http://"+s.at, "state-machine")
	for _, line := range []string{
		"offered                 yes   accept reject result hold delegate",
		"on_hold                 resume    provider",
		"(late)", "partially_completed  a task is open and a unit is fulfilled",
	} {
		require.Contains(t, out, line)
	}
	machine := said[client.StateMachine](t, ok(t, "--data", s.data, "state-machine", "--json"))
	require.Equal(t, len(machine.Task.Transitions), strings.Count(out, "  task."))
}

// The sample provider can be silent, unwilling or slow, and answers cancellations as it is told.
func TestSampleProviderHasManners(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	routes := map[string][]string{
		"silence": {"--accept-within", "2s", "--max-attempts", "20"}, "refusal": {"--accept-within", "15m"},
		"cancel": {"--cancel-within", "15m"}, "force": {"--cancel-within", "1s"},
	}
	for kind, within := range routes {
		ok(t, append([]string{"--data", s.data, "routes", "put", kind}, within...)...)
	}
	t.Run("silent", func(t *testing.T) {
		near, far := s.worker(t, "silent", "--business-type", "silence", "--region", "north"), s.worker(t, "steady", "--business-type", "silence", "--region", "south")
		steady := far.plays(t, providersim.Manner{})
		silent := near.plays(t, providersim.Manner{Silent: true})
		order := s.placed(t, "silence", "silent", "north")
		read := s.becomes(t, order.ID, func(o client.Order) bool { return o.Status == client.OrderCompleted })
		require.Equal(t, []string{"silent", client.TaskExpired, "steady"}, []string{read.Tasks[0].Provider, read.Tasks[0].Status, read.Tasks[1].Provider})
		require.Positive(t, silent().Ignored)
		require.Equal(t, int64(1), steady().Completed)
	})
	t.Run("unwilling", func(t *testing.T) {
		unwilling := s.worker(t, "unwilling", "--business-type", "refusal")
		order := s.placed(t, "refusal", "unwilling", "north")
		stats := said[providersim.Stats](t, ok(t, unwilling.as("provider-sim", "--once", "--json", "--reject", "no_capacity", "--blocking")...))
		require.Equal(t, int64(1), stats.Rejected)
		read := s.becomes(t, order.ID, func(o client.Order) bool { return o.Status == client.OrderActionRequired })
		require.Equal(t, &client.Rejection{ReasonCode: "no_capacity", Blocking: true}, read.Tasks[0].Rejected)
	})
	t.Run("slow", func(t *testing.T) { slowProvider(t, s) })
	t.Run("away", func(t *testing.T) { providerThatIgnoresCancellations(t, s) })
	for says, args := range map[string][]string{
		"it is agree, refuse or ignore": {"--cancellations", "maybe"}, "--blocking is for --reject": {"--blocking"},
	} {
		require.ErrorContains(t, orderctl(t.Context(), nil, append([]string{"--data", s.data, "provider-sim"}, args...)...).err, says)
	}
	require.ErrorContains(t, orderctl(t.Context(), nil, "--data", s.data, "routes", "put", "x", "--accept-within", "1500ms").err, "whole seconds")
}

// plays runs the sample provider until its stats are asked for, or the test ends.
func (w *worker) plays(t *testing.T, manner providersim.Manner) (stop func() providersim.Stats) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan providersim.Stats, 1)
	provider := w.client(t)
	go func() {
		stats, _ := providersim.Run(ctx, providersim.Config{Client: provider, Manner: manner})
		ended <- stats
	}()
	t.Cleanup(cancel)
	return func() providersim.Stats {
		cancel()
		return <-ended
	}
}

// slowProvider has a provider asked to cancel while it is at work: one that agrees and one that refuses.
func slowProvider(t *testing.T, s *store) {
	t.Helper()
	for _, tc := range []struct {
		name   string
		answer providersim.Answer
		ends   string // the task
	}{
		{"agrees", providersim.Agree, client.TaskCancelled},
		{"refuses", providersim.Refuse, client.TaskCancellationRefused},
	} {
		w := s.worker(t, tc.name, "--business-type", "cancel", "--region", tc.name)
		stop := w.plays(t, providersim.Manner{AcceptAfter: 50 * time.Millisecond, CompleteAfter: time.Hour, Cancellations: tc.answer})
		order := s.placed(t, "cancel", tc.name, tc.name)
		s.becomes(t, order.ID, func(o client.Order) bool { return o.Tasks[0].Status == client.TaskAccepted })
		ok(t, "--data", s.data, "orders", "cancel", order.ID)
		read := s.becomes(t, order.ID, func(o client.Order) bool { return o.Tasks[0].Status == tc.ends })
		stats := stop()
		if tc.answer == providersim.Refuse {
			require.Equal(t, "too_late", read.Tasks[0].CancellationRefused.ReasonCode)
			require.Equal(t, []int64{1, 0, 0}, []int64{stats.Refused, stats.Completed, stats.Agreed})
			w.plays(t, providersim.Manner{}) // it goes on with what it refused to give up
			s.becomes(t, order.ID, func(o client.Order) bool { return o.Status == client.OrderCompleted })
			continue
		}
		require.Equal(t, "agreed", read.Tasks[0].Cancelled.Reason)
		require.Equal(t, []int64{0, 0, 1}, []int64{stats.Refused, stats.Completed, stats.Agreed})
		require.Empty(t, read.Results)
	}
}

// providerThatIgnoresCancellations is overruled, and its result comes late.
func providerThatIgnoresCancellations(t *testing.T, s *store) {
	t.Helper()
	w := s.worker(t, "away", "--business-type", "force")
	w.plays(t, providersim.Manner{CompleteAfter: time.Hour, Cancellations: providersim.Ignore})
	order := s.placed(t, "force", "away", "north")
	s.becomes(t, order.ID, func(o client.Order) bool { return o.Tasks[0].Status == client.TaskAccepted })
	ok(t, "--data", s.data, "orders", "cancel", order.ID)
	read := s.becomes(t, order.ID, func(o client.Order) bool { return o.Status == client.OrderCancelled })
	require.Equal(t, &client.Withdrawal{Reason: "no_answer", Forced: true}, read.Tasks[0].Cancelled)
	ok(t, w.as("tasks", "result", read.Tasks[0].ID)...)
	read = s.becomes(t, order.ID, func(o client.Order) bool { return len(o.Results) == 1 })
	require.True(t, read.Results[0].Late)
	require.Equal(t, client.OrderCancelled, read.Status)
}
