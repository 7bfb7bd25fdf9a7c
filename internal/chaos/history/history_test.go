package history_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/chaos/history"
)

func TestWhatWasSentAndNotAnsweredStaysOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	began := time.Now()
	log, err := history.Open(dir, began)
	require.NoError(t, err)
	answered, cut, open := &history.Op{Kind: history.Submit}, &history.Op{Kind: history.Amend}, &history.Op{Kind: history.Cancel}
	read := &history.Op{Kind: history.List, Items: make([]history.Item, 3)}
	for _, op := range []*history.Op{answered, cut, open, read} {
		log.Begin(op)
	}
	answered.Outcome, cut.Outcome, read.Outcome = history.OK, history.Unknown, history.OK
	for _, op := range []*history.Op{answered, cut, read} {
		log.End(op)
	}
	ops, acknowledged := log.Counted()
	require.Equal(t, []int64{5, 1}, []int64{ops, acknowledged})
	require.NoError(t, log.Close())

	// The recorder of another run of the same folder was ended in the middle of a line.
	again, err := history.Open(dir, began)
	require.NoError(t, err)
	later := &history.Op{Kind: history.Result, Outcome: history.Refused}
	again.Begin(later)
	again.End(later)
	require.NoError(t, again.Close())
	file, err := os.OpenFile(filepath.Join(dir, "history-0002.jsonl"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.WriteString(`{"id":77,"k":"subm`)
	require.NoError(t, err)
	require.NoError(t, file.Close())

	all, err := history.All(dir)
	require.NoError(t, err)
	require.Len(t, all, 5)
	require.Positive(t, all[0].Return)
	require.Greater(t, all[0].Return, all[0].Call)
	for _, i := range []int{1, 2} {
		require.Equal(t, history.Unknown, all[i].Outcome)
		require.Zero(t, all[i].Return, "it may take effect at any later time")
	}
	require.Equal(t, history.Refused, all[4].Outcome)
	require.Greater(t, all[4].Call, all[3].Call, "times of both files are of one clock")
}

func TestReceiptsGoOnWhereTheyWere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keep := func(r *history.Receipts, positions ...int64) (before int) {
		for _, p := range positions {
			had, err := r.Keep(&history.Receipt{Position: p})
			require.NoError(t, err)
			if had {
				before++
			}
		}
		return before
	}
	r, err := history.OpenReceipts(dir, "unit")
	require.NoError(t, err)
	require.Zero(t, keep(r, 1, 5, 3))
	require.NoError(t, r.Close())
	r, err = history.OpenReceipts(dir, "unit")
	require.NoError(t, err)
	require.Equal(t, int64(5), r.Position())
	require.Equal(t, 1, keep(r, 3, 7))

	forgotten, lowest, err := r.Forget(2)
	require.NoError(t, err)
	require.Equal(t, 2, forgotten)
	require.Equal(t, int64(3), lowest)
	require.Equal(t, int64(5), r.Position())
	require.Zero(t, keep(r, 9))
	require.NoError(t, r.Close())
	all, err := history.AllReceipts(dir)
	require.NoError(t, err)
	require.Len(t, all["unit"], 4)
}
