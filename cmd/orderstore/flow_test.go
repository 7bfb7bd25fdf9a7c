package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// perform follows the provider's events and completes every task that it is offered, until ctx ends.
func perform(ctx context.Context, t *testing.T, provider *client.Client) {
	for event, err := range provider.Events(ctx, client.From{}, client.WithOrders()) {
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("events: %v", err)
			}
			return
		}
		if event.Type != "task.offered" {
			continue
		}
		result := client.ResultSubmission{ResultID: event.TaskID, Outcome: "completed"}
		if _, err := provider.PostResult(ctx, event.TaskID, result); err != nil && ctx.Err() == nil {
			t.Errorf("result: %v", err)
		}
	}
}

func TestOrderGoesAllTheWay(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	ctx, stop := context.WithCancel(t.Context())
	var provider sync.WaitGroup
	provider.Go(func() { perform(ctx, t, s.provider()) })
	user := s.user()
	const n = 50
	for i := range n {
		_, err := user.SubmitOrder(t.Context(), sampleOrder(fmt.Sprint("way-", i)))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return s.completed(user) == n }, 30*time.Second, 50*time.Millisecond)
	s.level()
	for order, err := range user.ListOrders(t.Context(), client.OrderFilter{PageSize: 20}) {
		require.NoError(t, err)
		full, err := user.GetOrder(t.Context(), order.ID, client.GetOptions{Include: []string{"auxiliary", "timeline"}})
		require.NoError(t, err)
		require.Equal(t, "completed", full.Status)
		require.Equal(t, "fulfilled", full.FulfillmentStatus)
		require.Len(t, full.Results, 1)
		require.Len(t, full.Timeline, 4)
		systems := map[string]bool{}
		for _, record := range full.Auxiliary {
			systems[record.System] = true
		}
		require.Subset(t, systems, map[string]bool{"notices": true, "invoice": true, "loyalty": true})
		for _, party := range full.SyncStatus {
			require.Equal(t, "synced", party.Status, party.Party)
		}
	}
	stop()
	provider.Wait()
	s.verified()
}

// completed counts the user's orders that read completed.
func (s *system) completed(user *client.Client) int {
	n := 0
	for _, err := range user.ListOrders(s.t.Context(), client.OrderFilter{Status: []string{"completed"}, PageSize: 200}) {
		if err != nil {
			return -1
		}
		n++
	}
	return n
}

// Invariant 7: what a party was told of, it can read: never a 404 or an older version behind an announcement.
func TestWhatIsAnnouncedCanBeRead(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	const orders = 150
	var work sync.WaitGroup
	work.Go(func() { s.submitMany(orders) })
	for _, heard := range []struct {
		by     *client.Client
		events int
		how    []client.EventOption
	}{
		{s.provider(), orders, []client.EventOption{client.OverSSE()}},
		{s.provider(), orders, []client.EventOption{client.WithOrders()}},
		{s.user(), 2 * orders, []client.EventOption{client.OverSSE(), client.WithOrders()}},
	} {
		work.Go(func() { s.pullEach(heard.by, heard.events, heard.how) })
	}
	work.Wait()
}

func (s *system) submitMany(n int) {
	user := s.user()
	for i := range n {
		if _, err := user.SubmitOrder(s.t.Context(), sampleOrder(fmt.Sprint("told-", i))); err != nil {
			s.t.Errorf("submit: %v", err)
		}
	}
}

// pullEach reads the order behind each event the moment it is heard of, without asking for a position.
func (s *system) pullEach(by *client.Client, n int, how []client.EventOption) {
	last := int64(0)
	for event, err := range by.Events(s.t.Context(), client.From{}, how...) {
		if err != nil {
			s.t.Errorf("events: %v", err)
			return
		}
		if event.Position <= last {
			s.t.Errorf("position %d came after %d", event.Position, last)
		}
		last = event.Position
		if event.Subject == "" {
			continue // the provider's own registration
		}
		order, err := by.GetOrder(s.t.Context(), event.Subject, client.GetOptions{})
		if err != nil || order.Version < event.OrderVersion {
			s.t.Errorf("event %d of order version %d: read version %d, %v", event.Position, event.OrderVersion, order.Version, err)
		}
		if len(event.Data) > 0 {
			var sent client.Order
			if err := json.Unmarshal(event.Data, &sent); err != nil || sent.Version < event.OrderVersion {
				s.t.Errorf("event %d of order version %d carries version %d, %v", event.Position, event.OrderVersion, sent.Version, err)
			}
		}
		if n--; n == 0 {
			return
		}
	}
}

// Invariant 8: no party sees another's orders, tasks or events.
func TestNoPartySeesAnothersOrders(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	placed, err := s.user().SubmitOrder(t.Context(), sampleOrder("mine"))
	require.NoError(t, err)
	s.level()
	operator := s.operator()
	for _, spec := range []client.ClientSpec{
		{Kind: "user", Tenant: "other-tenant"},
		{Kind: "provider", Provider: "other-provider"},
		{Kind: "auxiliary", System: "erp", Tenant: "other-tenant"},
	} {
		made, err := operator.CreateClient(t.Context(), spec)
		require.NoError(t, err)
		stranger := newClient(t, s.at.HTTP, party{ClientID: made.ClientID, ClientSecret: made.ClientSecret})
		token, err := stranger.Token(t.Context())
		require.NoError(t, err)

		real := s.get(token, "/v1/orders/"+placed.ID)
		missing := s.get(token, "/v1/orders/01890000-0000-7000-8000-000000000000")
		require.Equal(t, http.StatusNotFound, real.status, spec.Kind)
		require.Equal(t, missing, real, "the answer to another's order is that to one that does not exist")
		require.Equal(t, http.StatusNotFound, s.get(token, "/v1/orders/"+placed.ID+"/timeline").status)
		require.Equal(t, http.StatusNotFound, s.get(token, "/v1/orders/"+placed.ID+"?include=timeline").status)
		for _, list := range []string{"/v1/orders", "/v1/orders?external_ref=mine", "/v1/tasks"} {
			if answer := s.get(token, list); answer.status != http.StatusForbidden {
				require.Equal(t, http.StatusOK, answer.status, list)
				require.JSONEq(t, `{"items":[]}`, answer.body, list)
			}
		}
		page, err := stranger.Feed(t.Context(), client.FeedRequest{IncludeOrder: true})
		require.NoError(t, err)
		require.Empty(t, page.Events)
		if spec.Kind == "provider" {
			_, err = stranger.PostResult(t.Context(), placed.Tasks[0].ID, client.ResultSubmission{ResultID: "x", Outcome: "completed"})
			var problem *client.Problem
			require.ErrorAs(t, err, &problem)
			require.Equal(t, http.StatusNotFound, problem.Status)
		}
	}
}

type httpAnswer struct {
	status int
	body   string
}

func (s *system) get(token, path string) httpAnswer {
	return s.request(http.MethodGet, token, path, "")
}

func (s *system) request(method, token, path, body string) httpAnswer {
	s.t.Helper()
	answer, _ := s.send(method, token, path, body)
	return answer
}

// send is request with headers, names and values by turns. It also gives the answer's headers.
func (s *system) send(method, token, path, body string, headers ...string) (httpAnswer, http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.at.HTTP+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	read, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return httpAnswer{answer.StatusCode, string(read)}, answer.Header
}

func TestEveryBadFieldIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	token, err := s.user().Token(t.Context())
	require.NoError(t, err)
	answer := s.request(http.MethodPost, token, "/v1/orders", `{"channel":"WEB","external_ref":"","business_type":"x","currency":"XXQ","status":"completed",
		"lines":[{"sku":"a","quantity":0,"unit_price":1.5},{"quantity":1e3,"unit_price":1,"total":1}],"customer":{"email":"nobody"}}`)
	require.Equal(t, http.StatusUnprocessableEntity, answer.status, answer.body)
	for _, pointer := range []string{
		"/channel", "/external_ref", "/currency", "/status", "/lines/0/quantity", "/lines/0/unit_price", "/lines/1/sku",
		"/lines/1/quantity", "/lines/1/total", "/customer/email",
	} {
		require.Contains(t, answer.body, `"pointer":"`+pointer+`"`)
	}
	for body, status := range map[string]int{
		`{`: 400, `{"channel":"web","channel":"web"}`: 400, `{"Channel":"web"}`: 400, `[]`: 422, `{} {}`: 400,
		`{"channel":"web\u0000"}`: 422, `{"tenant":"other"}`: 422,
	} {
		require.Equal(t, status, s.request(http.MethodPost, token, "/v1/orders", body).status, body)
	}
	require.Equal(t, http.StatusUnauthorized, s.request(http.MethodPost, "", "/v1/orders", `{}`).status)
	require.Equal(t, http.StatusNotFound, s.get(token, "/metrics").status)
	require.Equal(t, http.StatusMethodNotAllowed, s.request(http.MethodDelete, token, "/v1/orders", "").status)
}
