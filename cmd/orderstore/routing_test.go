package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// A provider that reports itself full is not asked while another one has room, and asked again once it has; orders name who was
// looked at, and why one was chosen.
func TestReportedLoadMovesOrders(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp") // demo-provider, everywhere
	_, err := s.operator().PutProvider(t.Context(), client.Provider{ID: "far-away", BusinessTypes: []string{"retail.erp"}, Regions: []string{"moon"}})
	require.NoError(t, err)
	user := s.user()
	routed := func(ref string) client.Task {
		placed, err := user.SubmitOrder(t.Context(), sampleOrder(ref))
		require.NoError(t, err)
		order, err := user.GetOrder(t.Context(), placed.ID, client.GetOptions{Position: placed.Meta.Position})
		require.NoError(t, err)
		require.Len(t, order.Tasks, 1)
		return order.Tasks[0]
	}
	require.Equal(t, "demo-provider", routed("near").Provider)

	said, err := s.provider().ReportLoad(t.Context(), client.LoadReport{Load: 1.2, TTL: time.Hour})
	require.NoError(t, err)
	require.Equal(t, "demo-provider", said.Provider)
	require.WithinDuration(t, time.Now().Add(time.Hour), said.ExpiresAt, time.Minute)
	var task client.Task
	n := 0
	require.Eventually(t, func() bool {
		n++
		task = routed("full-" + strings.Repeat("x", n))
		return task.Provider == "far-away"
	}, 10*time.Second, 50*time.Millisecond)
	require.Equal(t, "other_region", task.Routing.Candidates[0].Tier)
	require.Equal(t, client.Candidate{Provider: "demo-provider", Tier: "every_region", Load: 1.2}, task.Routing.Candidates[1])
	require.Contains(t, task.Routing.Why, "far-away serves other regions and is the only one with room")

	_, err = user.ReportLoad(t.Context(), client.LoadReport{Load: 0.1})
	require.Equal(t, http.StatusForbidden, statusOf(err))
	_, err = s.provider().ReportLoad(t.Context(), client.LoadReport{Load: -1})
	require.Equal(t, http.StatusUnprocessableEntity, statusOf(err))
	s.verified()
}

// statusOf is the HTTP status of a refusal.
func statusOf(err error) int {
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		return problem.Status
	}
	return 0
}
