package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// work is one kind of work: its providers and orders.
type work struct {
	*system
	businessType string
	placed       int
}

// kind registers a route for a kind of work that the test has for itself.
func (s *system) kind(route client.Route) *work {
	s.t.Helper()
	_, err := s.operator().PutRoute(s.t.Context(), route)
	require.NoError(s.t, err)
	return &work{system: s, businessType: route.BusinessType}
}

// partner registers a provider for the work and gives its client.
func (w *work) partner(id string, regions ...string) *client.Client {
	w.t.Helper()
	_, err := w.operator().PutProvider(w.t.Context(), client.Provider{ID: id, BusinessTypes: []string{w.businessType}, Regions: regions})
	require.NoError(w.t, err)
	return w.clientFor(client.ClientSpec{Kind: "provider", Provider: id})
}

// clientFor makes a party's credentials and gives its client.
func (s *system) clientFor(spec client.ClientSpec) *client.Client {
	s.t.Helper()
	made, err := s.operator().CreateClient(s.t.Context(), spec)
	require.NoError(s.t, err)
	return newClient(s.t, s.at.HTTP, party{ClientID: made.ClientID, ClientSecret: made.ClientSecret})
}

// place submits an order of the work and gives it with its first task.
func (w *work) place(region string) (client.Order, client.Task) {
	w.t.Helper()
	w.placed++
	order := sampleOrder(fmt.Sprintf("%s-%d", w.businessType, w.placed))
	order.BusinessType, order.Region = w.businessType, region
	placed, err := w.user().SubmitOrder(w.t.Context(), order)
	require.NoError(w.t, err)
	require.Len(w.t, placed.Tasks, 1)
	return placed, placed.Tasks[0]
}

// read reads an order as a party sees it, as of a position or later.
func (s *system) read(by *client.Client, id string, position int64) client.Order {
	s.t.Helper()
	order, err := by.GetOrder(s.t.Context(), id, client.GetOptions{Position: position})
	require.NoError(s.t, err)
	return order
}

// await reads an order until it is as wanted.
func (s *system) await(by *client.Client, id string, wanted func(client.Order) bool) client.Order {
	s.t.Helper()
	var order client.Order
	require.Eventually(s.t, func() bool {
		var err error
		order, err = by.GetOrder(s.t.Context(), id, client.GetOptions{})
		return err == nil && wanted(order)
	}, 20*time.Second, 50*time.Millisecond, "order %s", id)
	return order
}

// heard waits until a party's feed has an event of an order, and gives it.
func (s *system) heard(by *client.Client, order, eventType string) client.Event {
	s.t.Helper()
	for event, err := range by.Events(s.t.Context(), client.From{}) {
		require.NoError(s.t, err)
		if event.Type == eventType && event.Subject == order {
			return event
		}
	}
	s.t.Fatalf("%s of %s was not heard of", eventType, order)
	return client.Event{}
}

// The whole life of orders, over HTTP against the real thing.
func TestOrdersChangeThroughTheirLife(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	for name, test := range map[string]func(t *testing.T, s *system){
		"amended":       amended,
		"cancelled":     cancelled,
		"sent again":    sentAgain,
		"put on hold":   putOnHold,
		"passed on":     passedOn,
		"delegated":     delegated,
		"of a stranger": ofAStranger,
	} {
		t.Run(name, func(t *testing.T) {
			one := *s
			one.t = t
			test(t, &one)
		})
	}
	s.level()
	s.verified()
}

func etagOf(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }

func amended(t *testing.T, s *system) {
	w := s.kind(client.Route{BusinessType: "amended"})
	provider := w.partner("amended-p")
	order, first := w.place("")
	token, err := s.user().Token(t.Context())
	require.NoError(t, err)
	path := "/v1/orders/" + order.ID
	patch := `{"lines":[{"line_id":"1","sku":"A-1","quantity":5,"unit_price":250},{"line_id":"9","sku":"C-3","quantity":1,"unit_price":100}],"customer":{"phone":"1"}}`

	require.Equal(t, http.StatusPreconditionRequired, s.request(http.MethodPatch, token, path, patch).status)
	answer, _ := s.send(http.MethodPatch, token, path, patch, "If-Match", etagOf(order.Version+1))
	require.Equal(t, http.StatusPreconditionFailed, answer.status)
	answer, header := s.send(http.MethodPatch, token, path, patch, "If-Match", order.Meta.ETag, "Content-Type", "application/merge-patch+json")
	require.Equal(t, http.StatusOK, answer.status, answer.body)

	position, err := strconv.ParseInt(header.Get("Order-Position"), 10, 64)
	require.NoError(t, err)
	read := s.read(s.user(), order.ID, position)
	require.Equal(t, header.Get("ETag"), etagOf(read.Version))
	require.Equal(t, header.Get("ETag"), read.Meta.ETag)
	require.Greater(t, read.Version, order.Version)
	require.Equal(t, int64(5*250+100+490), read.Total)
	require.Equal(t, "1", read.Customer.Phone)
	require.Equal(t, order.Customer.Email, read.Customer.Email, "what a patch leaves out stays")
	require.Equal(t, []string{"1", "9"}, []string{read.Lines[0].LineID, read.Lines[1].LineID})
	require.Equal(t, "amended", read.Tasks[0].Cancelled.Reason)
	s.heard(s.user(), order.ID, "order.amended")
	require.Equal(t, first.ID, s.heard(provider, order.ID, "task.cancelled").TaskID)

	second := read.Tasks[1]
	require.Equal(t, []client.TaskLine{{LineID: "1", Quantity: 5}, {LineID: "9", Quantity: 1}}, second.Lines)
	accepted, err := provider.AcceptTask(t.Context(), second.ID)
	require.NoError(t, err)
	_, err = s.user().AmendOrder(t.Context(), order.ID, client.AnyVersion, client.Amendment{Lines: []client.LineSubmission{{LineID: "1", SKU: "A-1", Quantity: 1}}})
	require.True(t, client.HasCode(err, client.CodeOrderState), "%v", err)
	_, err = s.user().AmendOrder(t.Context(), order.ID, read.Version, client.Amendment{Attributes: &client.Object{"n": 1}})
	require.True(t, client.HasCode(err, client.CodeVersion), "%v", err)
	now := s.read(s.user(), order.ID, accepted.Meta.Position)
	told, err := s.user().AmendOrder(t.Context(), order.ID, now.Version, client.Amendment{Attributes: &client.Object{"n": 1}})
	require.NoError(t, err)
	require.Contains(t, s.read(provider, order.ID, told.Meta.Position).Attributes, "n")
	s.heard(provider, order.ID, "task.amended")
}

func cancelled(t *testing.T, s *system) {
	patient, hasty := s.kind(client.Route{BusinessType: "patient"}), s.kind(client.Route{BusinessType: "hasty", CancelWithin: 1})
	provider, silent := patient.partner("answers"), hasty.partner("says-nothing")
	user := s.user()
	ask := func(w *work, by *client.Client) (client.Order, client.Task) {
		order, task := w.place("")
		_, err := by.AcceptTask(t.Context(), task.ID)
		require.NoError(t, err)
		asked, err := user.CancelOrder(t.Context(), order.ID, order.Version+1, client.CancelReason{Reason: "changed_mind"})
		require.NoError(t, err)
		require.Equal(t, client.CancellationRequested, asked.Cancellation.Status)
		require.Equal(t, client.OrderProcessing, asked.Status)
		return asked, asked.Tasks[0]
	}

	order, task := ask(patient, provider)
	s.heard(provider, order.ID, "task.cancellation_requested")
	require.Equal(t, []string{"accept", "reject", "result"}, task.SupportedActions)
	agreed, err := provider.AcceptTask(t.Context(), task.ID)
	require.NoError(t, err)
	require.Equal(t, "agreed", agreed.Cancelled.Reason)
	read := s.read(user, order.ID, agreed.Meta.Position)
	require.Equal(t, client.OrderCancelled, read.Status)
	require.Equal(t, client.CancellationDone, read.Cancellation.Status)
	require.Equal(t, "changed_mind", read.Cancellation.Reason)
	s.heard(user, order.ID, "order.cancelled")

	order, task = ask(patient, provider)
	refused, err := provider.RejectTask(t.Context(), task.ID, client.Rejection{ReasonCode: "on_its_way"})
	require.NoError(t, err)
	require.Equal(t, "on_its_way", refused.CancellationRefused.ReasonCode)
	s.heard(user, order.ID, "task.cancellation_refused")
	require.Equal(t, client.CancellationRefused, s.read(user, order.ID, refused.Meta.Position).Cancellation.Status)
	done, err := provider.PostResult(t.Context(), task.ID, client.ResultSubmission{ResultID: "late-cancel", Outcome: client.OutcomeCompleted})
	require.NoError(t, err)
	require.Equal(t, client.OrderCompleted, s.read(user, order.ID, done.Meta.Position).Status)
	_, err = user.CancelOrder(t.Context(), order.ID, client.AnyVersion, client.CancelReason{})
	require.True(t, client.HasCode(err, client.CodeOrderState), "%v", err)

	order, task = ask(hasty, silent)
	read = s.await(user, order.ID, func(o client.Order) bool { return o.Status == client.OrderCancelled })
	require.Equal(t, &client.Withdrawal{Reason: "no_answer", Forced: true}, read.Tasks[0].Cancelled)
	s.heard(silent, order.ID, "task.cancelled")
	lateResult(t, s, silent, task)
}

// lateResult posts a result for a task that was taken away meanwhile.
func lateResult(t *testing.T, s *system, provider *client.Client, task client.Task) {
	t.Helper()
	posted, err := provider.PostResult(t.Context(), task.ID, client.ResultSubmission{ResultID: "late-" + task.ID, Outcome: client.OutcomeCompleted})
	require.NoError(t, err)
	read := s.read(s.user(), task.OrderID, posted.Meta.Position)
	i := slices.IndexFunc(read.Results, func(r client.Result) bool { return r.TaskID == task.ID })
	require.GreaterOrEqual(t, i, 0)
	require.True(t, read.Results[i].Late)
	for _, line := range read.Tasks[0].Lines {
		require.Zero(t, line.Fulfilled)
	}
}

func sentAgain(t *testing.T, s *system) {
	w := s.kind(client.Route{BusinessType: "again"})
	w.partner("again-p")
	order, _ := w.place("")
	token, err := s.user().Token(t.Context())
	require.NoError(t, err)
	path := "/v1/orders/" + order.ID
	for i, request := range []struct{ method, path, body, other string }{
		{http.MethodPatch, path, `{"shipping":5}`, `{"shipping":6}`},
		{http.MethodPost, path + "/cancel", `{"reason":"r"}`, `{"reason":"s"}`},
	} {
		headers := []string{"If-Match", "*", "Idempotency-Key", "key-" + strconv.Itoa(i)}
		first, _ := s.send(request.method, token, request.path, request.body, headers...)
		require.Equal(t, http.StatusOK, first.status, first.body)
		if i == 0 { // somebody else changes it meanwhile
			moved, _ := s.send(http.MethodPatch, token, path, `{"shipping":7}`, "If-Match", "*")
			require.Equal(t, http.StatusOK, moved.status)
		}
		again, header := s.send(request.method, token, request.path, request.body, headers...)
		require.Equal(t, first, again, "the first answer's bytes")
		require.Equal(t, "true", header.Get("Idempotency-Replayed"))
		other, _ := s.send(request.method, token, request.path, request.other, headers...)
		require.Equal(t, http.StatusUnprocessableEntity, other.status)
		require.Contains(t, other.body, "idempotency_key_reuse")
		elsewhere, _ := s.send(request.method, token, request.path, request.body, "If-Match", "*", "Idempotency-Key", "key-of-its-own-"+strconv.Itoa(i))
		require.Equal(t, http.StatusOK, elsewhere.status)
	}
	read := s.await(s.user(), order.ID, func(o client.Order) bool { return o.Status == client.OrderCancelled })
	amendments := 0
	full, err := s.user().GetOrder(t.Context(), order.ID, client.GetOptions{Include: []string{client.IncludeTimeline}, Position: read.Meta.Position})
	require.NoError(t, err)
	for _, event := range full.Timeline {
		if event.Type == "order.amended" {
			amendments++
		}
	}
	require.Equal(t, 3, amendments, "5, 7, and 5 again under a key of its own")
}

func putOnHold(t *testing.T, s *system) {
	w := s.kind(client.Route{BusinessType: "held", AcceptWithin: 3600})
	provider := w.partner("held-p")
	order, task := w.place("")
	held, err := provider.HoldTask(t.Context(), task.ID, client.HoldReason{ReasonCode: "no_stock", Message: "on Monday"}, client.IfVersion(task.Version))
	require.NoError(t, err)
	require.Equal(t, client.TaskOnHold, held.Status)
	_, err = provider.HoldTask(t.Context(), task.ID, client.HoldReason{ReasonCode: "no_stock"}, client.IfVersion(task.Version))
	require.True(t, client.HasCode(err, client.CodeVersion), "%v", err)
	read := s.read(s.user(), order.ID, held.Meta.Position)
	require.Equal(t, client.OrderActionRequired, read.Status)
	require.Equal(t, "on Monday", read.Tasks[0].Hold.Message)
	require.Zero(t, read.Tasks[0].Due())
	s.heard(s.user(), order.ID, "task.held")
	_, err = provider.AcceptTask(t.Context(), task.ID)
	require.True(t, client.HasCode(err, client.CodeTaskState), "%v", err)

	resumed, err := provider.ResumeTask(t.Context(), task.ID)
	require.NoError(t, err)
	require.Equal(t, client.TaskOffered, resumed.Status)
	require.True(t, resumed.AcceptBy.After(task.AcceptBy), "the time on hold does not count")
	require.Equal(t, client.OrderRouted, s.read(s.user(), order.ID, resumed.Meta.Position).Status)
	done, err := provider.PostResult(t.Context(), task.ID, client.ResultSubmission{ResultID: "held-1", Outcome: client.OutcomeCompleted})
	require.NoError(t, err)
	require.Equal(t, client.OrderCompleted, s.read(s.user(), order.ID, done.Meta.Position).Status)
}
