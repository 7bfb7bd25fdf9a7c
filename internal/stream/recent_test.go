package stream

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func recordsAt(from, n int64, size int) []Record {
	all := make([]Record, 0, n)
	for i := range n {
		all = append(all, Record{Position: from + i, Body: make([]byte, size)})
	}
	return all
}

func TestRecentGivesWhatFollows(t *testing.T) {
	t.Parallel()
	var r Recent
	require.Empty(t, r.After(0, 10))
	r.Add(recordsAt(5, 3, 1))
	r.Add(recordsAt(8, 2, 1))
	require.Equal(t, recordsAt(5, 5, 1), r.After(4, 10))
	require.Equal(t, recordsAt(7, 2, 1), r.After(6, 2))
	require.Empty(t, r.After(3, 10), "position 4 is not kept")
	require.Empty(t, r.After(9, 10))
	r.Add(recordsAt(20, 1, 1))
	require.Empty(t, r.After(8, 10), "what does not follow replaces it")
	require.Len(t, r.After(19, 10), 1)
}

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	var r Recent
	for i := range int64(3) {
		r.Add(recordsAt(1+i*recentLimit, recentLimit, 1))
	}
	require.Len(t, r.After(3*recentLimit-1, 10), 1)
	require.Empty(t, r.After(0, 1))
	require.Len(t, r.records, recentLimit)
	r.Add(recordsAt(3*recentLimit+1, 40, 1<<20))
	require.LessOrEqual(t, r.bytes, 2*recentBytes)
	require.Len(t, r.After(3*recentLimit+39, 1), 1)
	require.Less(t, len(r.records), recentLimit)
}
