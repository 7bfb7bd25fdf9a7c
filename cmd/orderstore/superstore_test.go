package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// superstore is a file of real orders, which is not part of the project: its tests run where it lies beside it.
const superstore = "../../../shared/data/superstore.csv"

const (
	superstoreOrders = 5009
	superstoreLines  = 9994
	superstoreCents  = 229_720_065
)

// TestChaosSuperstore imports real orders, once and again, with a kill -9 in the middle; then a provider completes all.
func TestChaosSuperstore(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(superstore); err != nil {
		t.Log("the file of real orders is not here: nothing to import")
		return
	}
	s := startSystem(t)
	s.register("furniture", "office-supplies", "technology")
	counts := s.stockSuperstore()
	rejects := filepath.Join(t.TempDir(), "rejects.ndjson")
	args := []string{"import", superstore, "--mapping", "superstore", "--data", s.data, "--rejects", rejects, "--json", "--quiet"}

	importer := launch(t, nil, "orderctl", append(args, "--batch-size", "50", "--parallel", "1")...)
	user := s.user()
	require.Eventually(t, func() bool {
		page, err := user.Feed(t.Context(), client.FeedRequest{After: counts.after + 400, Limit: 1})
		return err == nil && len(page.Events) == 1
	}, startWithin, 5*time.Millisecond)
	require.False(t, importer.ended(), "the import is still going on")
	s.kill()
	importer.kill()

	s.start()
	again := s.importAll(args)
	require.NotZero(t, again.Replayed, "what was stored before the kill")
	require.NotZero(t, again.New)
	require.Equal(t, importSummary{
		Orders: superstoreOrders, New: superstoreOrders - again.Replayed, Replayed: again.Replayed, Lines: superstoreLines,
		Totals: map[string]int64{"USD": superstoreCents},
	}, again)
	require.Equal(t, importSummary{
		Orders: superstoreOrders, Replayed: superstoreOrders, Lines: superstoreLines, Totals: map[string]int64{"USD": superstoreCents},
	}, s.importAll(args), "imported again, nothing is new")

	out, status := runCommandFor(t, 3*time.Minute, "orderctl", "provider-sim", "--once", "--data", s.data, "--as", "provider")
	require.Zero(t, status, out)
	s.level()
	s.checkSuperstore()
	s.checkForm(counts)
	s.verified()
}

type importSummary struct {
	Orders   int              `json:"orders"`
	New      int              `json:"new"`
	Replayed int              `json:"replayed"`
	Rejected int              `json:"rejected"`
	Lines    int              `json:"lines"`
	Totals   map[string]int64 `json:"line_totals"`
}

func (s *system) importAll(args []string) importSummary {
	s.t.Helper()
	out, status := runCommandFor(s.t, 3*time.Minute, "orderctl", args...)
	require.Zero(s.t, status, out)
	var summary importSummary
	require.NoError(s.t, json.Unmarshal([]byte(out), &summary), out)
	return summary
}

// checkSuperstore reads every order: completed, with its auxiliary records, and the right sum over all.
func (s *system) checkSuperstore() {
	s.t.Helper()
	user := s.user()
	orders, lines, cents := 0, 0, int64(0)
	for order, err := range user.ListOrders(s.t.Context(), client.OrderFilter{PageSize: 200}) {
		require.NoError(s.t, err)
		require.Equal(s.t, "completed", order.Status, order.ExternalRef)
		orders++
		for _, line := range order.Lines {
			lines++
			cents += line.Total
		}
		full, err := user.GetOrder(s.t.Context(), order.ID, client.GetOptions{Include: []string{"auxiliary"}})
		require.NoError(s.t, err)
		require.Len(s.t, recordsOf(full, "notices", "invoice", "loyalty"), 3, order.ExternalRef)
	}
	require.Equal(s.t, superstoreOrders, orders)
	require.Equal(s.t, superstoreLines, lines)
	require.Equal(s.t, int64(superstoreCents), cents)
}
