package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// passedOn has a task that nobody accepts go to a provider of another region.
func passedOn(t *testing.T, s *system) {
	w := s.kind(client.Route{BusinessType: "passed", AcceptWithin: 2, MaxAttempts: 5})
	near, far := w.partner("near", "north"), w.partner("far", "south")
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() { perform(ctx, t, far) })
	defer working.Wait()
	defer stop()
	order, task := w.place("north")
	require.Equal(t, "near", task.Provider)
	require.WithinDuration(t, time.Now().Add(2*time.Second), task.AcceptBy, 2*time.Second)

	read := s.await(s.user(), order.ID, func(o client.Order) bool { return o.Status == client.OrderCompleted })
	require.GreaterOrEqual(t, len(read.Tasks), 2)
	require.Equal(t, client.TaskExpired, read.Tasks[0].Status)
	require.Equal(t, "accept", read.Tasks[0].Expired.Deadline)
	require.Equal(t, []any{"far", 2, "other_region"}, []any{read.Tasks[1].Provider, read.Tasks[1].Attempt, read.Tasks[1].Routing.Candidates[0].Tier})
	require.Equal(t, task.ID, s.heard(near, order.ID, "task.expired").TaskID)
	s.heard(s.user(), order.ID, "task.expired")
	lateResult(t, s, near, task)
}

// delegated has a provider ask another one for help; only the user's own provider answers the user.
func delegated(t *testing.T, s *system) {
	ctx := t.Context()
	hotels, transfers := s.kind(client.Route{BusinessType: "hotel"}), s.kind(client.Route{BusinessType: "transfer"})
	inn, cars := hotels.partner("inn"), transfers.partner("cars")
	order, task := hotels.place("")
	_, err := inn.AcceptTask(ctx, task.ID)
	require.NoError(t, err)
	asking, err := inn.DelegateTask(ctx, task.ID, client.DelegationRequest{
		BusinessType: "transfer", Payload: client.Object{"flight": "OS 56"}, Note: "from the airport",
		Lines: []client.TaskQuantity{{LineID: "2", Quantity: 1}},
	})
	require.NoError(t, err)
	require.Equal(t, client.TaskDelegated, asking.Status)

	// The delegate hears of a task, pulls the order, and finds what was handed over and nothing of the inn's.
	offer := s.heard(cars, order.ID, "task.offered")
	pulled := s.read(cars, order.ID, offer.Position)
	require.Len(t, pulled.Tasks, 1)
	child := pulled.Tasks[0]
	require.Equal(t, []any{offer.TaskID, task.ID, "OS 56", "from the airport", 2}, []any{
		child.ID, child.DelegatedFrom, child.Payload["flight"], child.Note, child.Depth,
	})
	require.Equal(t, []client.TaskLine{{LineID: "2", Quantity: 1}}, child.Lines)
	_, err = cars.DelegateTask(ctx, child.ID, client.DelegationRequest{BusinessType: "hotel"})
	require.True(t, client.HasCode(err, client.CodeCycle), "%v", err)
	helped, err := cars.PostResult(ctx, child.ID, client.ResultSubmission{
		ResultID: "car-7", Outcome: client.OutcomeCompleted, Payload: client.Object{"pickup": "10:40"},
	})
	require.NoError(t, err)

	// The answer comes to who asked for it, before the user has any result.
	require.Empty(t, s.read(s.user(), order.ID, helped.Meta.Position).Results)
	answer := s.heard(inn, order.ID, "task.delegation_answered")
	require.Equal(t, task.ID, answer.TaskID)
	own, found := func() (client.Task, bool) { o := s.read(inn, order.ID, answer.Position); return o.Task(task.ID) }()
	require.True(t, found)
	require.Equal(t, client.TaskAccepted, own.Status)
	require.Equal(t, "cars", own.Delegations[0].Provider)
	require.Equal(t, "10:40", own.Delegations[0].Answers[0].Payload["pickup"])

	done, err := inn.PostResult(ctx, task.ID, client.ResultSubmission{
		ResultID: "stay-1", Outcome: client.OutcomeCompleted, Payload: client.Object{"room": "214"},
	})
	require.NoError(t, err)
	read := s.read(s.user(), order.ID, done.Meta.Position)
	require.Equal(t, client.OrderCompleted, read.Status)
	require.Len(t, read.Results, 1)
	require.Equal(t, []string{"stay-1", "inn"}, []string{read.Results[0].ResultID, read.Results[0].Provider})
	require.Empty(t, s.read(cars, order.ID, done.Meta.Position).Results, "the delegate does not see what the inn answered")
}

// ofAStranger tries every change of an order and of a task as somebody whom it does not belong to. The answer is that to one that does
// not exist (invariant 8).
func ofAStranger(t *testing.T, s *system) {
	w := s.kind(client.Route{BusinessType: "mine"})
	w.partner("mine-p")
	order, task := w.place("")
	s.read(s.user(), order.ID, order.Meta.Position)
	const missing = "01890000-0000-7000-8000-000000000000"
	bodies := map[string]string{
		"": `{"shipping":1}`, "cancel": `{"reason":"x"}`, "accept": `{}`, "reject": `{"reason_code":"x"}`, "result": `{"result_id":"x","outcome":"completed"}`,
		"hold": `{"reason_code":"x"}`, "resume": `{}`, "delegate": `{"business_type":"mine"}`,
	}
	try := func(by *client.Client, resource, id, action string) httpAnswer {
		token, err := by.Token(t.Context())
		require.NoError(t, err)
		method, path := http.MethodPost, resource+id+"/"+action
		if action == "" {
			method, path = http.MethodPatch, resource+id
		}
		answer, _ := s.send(method, token, path, bodies[action], "If-Match", "*")
		answer.body = strings.ReplaceAll(answer.body, id, "ID")
		return answer
	}
	stranger := s.clientFor(client.ClientSpec{Kind: "user", Tenant: "stranger"})
	other := s.clientFor(client.ClientSpec{Kind: "provider", Provider: "stranger-p"})
	for _, action := range []string{"", "cancel"} {
		real := try(stranger, "/v1/orders/", order.ID, action)
		require.Equal(t, http.StatusNotFound, real.status, "%s: %s", action, real.body)
		require.Equal(t, try(stranger, "/v1/orders/", missing, action), real)
		require.Equal(t, http.StatusForbidden, try(other, "/v1/orders/", order.ID, action).status)
	}
	for _, action := range []string{"accept", "reject", "result", "hold", "resume", "delegate"} {
		real := try(other, "/v1/tasks/", task.ID, action)
		require.Equal(t, http.StatusNotFound, real.status, "%s: %s", action, real.body)
		require.Equal(t, try(other, "/v1/tasks/", missing, action), real)
		require.Equal(t, http.StatusForbidden, try(s.user(), "/v1/tasks/", task.ID, action).status)
	}
	require.Equal(t, order.Version, s.read(s.user(), order.ID, 0).Version)
}

// A deadline that passes while the system is down ends its task once, when it is up again.
func TestADeadlineOutlivesAKillAndExpiresOnce(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	w := s.kind(client.Route{BusinessType: "deadline", AcceptWithin: 2})
	w.partner("slow", "north")
	w.partner("next", "south")
	order, task := w.place("north")
	s.kill()
	require.Eventually(t, func() bool { return time.Now().After(task.AcceptBy) }, 10*time.Second, 20*time.Millisecond)
	s.start()
	s.await(s.user(), order.ID, func(o client.Order) bool { return len(o.Tasks) == 2 && o.Status == client.OrderExpired })
	s.level()
	full, err := s.user().GetOrder(t.Context(), order.ID, client.GetOptions{Include: []string{client.IncludeTimeline}})
	require.NoError(t, err)
	expired := map[string]int{}
	for _, event := range full.Timeline {
		if event.Type == "task.expired" {
			expired[event.TaskID]++
		}
	}
	require.Equal(t, map[string]int{full.Tasks[0].ID: 1, full.Tasks[1].ID: 1}, expired)
	s.verified()
}
