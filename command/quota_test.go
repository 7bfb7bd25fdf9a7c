package command

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// TestQuotaOfOrdersPerDay: two write nodes at once place exactly as many orders as the tenant may, and repeated ones count once.
func TestQuotaOfOrdersPerDay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, second := b.node()
	limited := func(most int64) *Register {
		return &Register{Kind: kindTenant, ID: "demo", Type: events.TenantChanged, Tenant: "demo", Document: &events.Tenant{
			ID: "demo", Limits: &events.Limits{OrdersPerDay: most},
		}}
	}
	const most = 40
	_, err := b.committer.Submit(t.Context(), limited(most), nil)
	require.NoError(t, err)
	_, err = second.Submit(t.Context(), catchUp{}, nil)
	require.NoError(t, err)

	var placed, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 2 * most {
		for _, node := range []*Committer{b.committer, second} {
			all.Go(func() {
				answer, err := node.Submit(t.Context(), submission(t, "demo", order(fmt.Sprint("q-", i))), nil)
				switch {
				case err == nil && !answer.Replayed:
					placed.Add(1)
				case fault.CodeOf(err) == fault.TooManyRequests:
					refused.Add(1)
				}
			})
		}
	}
	all.Wait()
	require.Equal(t, int64(most), placed.Load())
	require.Equal(t, int64(2*most), refused.Load(), "both tries at each order that was one too many")
	_, err = b.committer.Submit(t.Context(), submission(t, "other", order("q-other")), nil)
	require.NoError(t, err, "another tenant has no quota")

	_, err = second.Submit(t.Context(), limited(most+1), nil)
	require.NoError(t, err)
	_, err = second.Submit(t.Context(), submission(t, "demo", order("q-more")), nil)
	require.NoError(t, err, "the operator allowed one more")
	_, err = second.Submit(t.Context(), submission(t, "demo", order("q-last")), nil)
	var told *fault.Error
	require.ErrorAs(t, err, &told)
	require.Equal(t, fault.TooManyRequests, told.Code)
	require.Positive(t, told.RetryAfter)
	require.LessOrEqual(t, told.RetryAfter, 24*time.Hour)
	_, third := b.node()
	_, err = third.Submit(t.Context(), submission(t, "demo", order("q-last")), nil)
	require.Equal(t, fault.TooManyRequests, fault.CodeOf(err), "a node that comes later reads what was used")
}
