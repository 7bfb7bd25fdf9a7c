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

func TestRecentRecognisesWhatItHoldsAndNothingElse(t *testing.T) {
	t.Parallel()
	var previous [32]byte
	appended := make([]Record, 3)
	for i := range appended {
		p := int64(i + 1)
		body := []byte{byte(p)}
		previous = Chain(previous, p, body)
		appended[i] = Record{Position: p, Digest: previous, Body: body, Fact: p}
	}
	var r Recent
	r.Add(appended)
	read := Record{Position: 2, Digest: appended[1].Digest, Body: []byte{2}}
	known, ok := r.Recognise(&read, appended[0].Digest)
	require.True(t, ok)
	require.Equal(t, int64(2), known.Fact)

	first := Record{Position: 1, Digest: appended[0].Digest, Body: []byte{1}}
	_, ok = r.Recognise(&first, [32]byte{})
	require.False(t, ok, "what came before the first one kept is not known")
	otherBody := Record{Position: 2, Digest: appended[1].Digest, Body: []byte{9}}
	_, ok = r.Recognise(&otherBody, appended[0].Digest)
	require.False(t, ok, "another body under the same digest")
	otherDigest := Record{Position: 2, Digest: [32]byte{7}, Body: []byte{2}}
	_, ok = r.Recognise(&otherDigest, appended[0].Digest)
	require.False(t, ok)
	_, ok = r.Recognise(&read, [32]byte{7})
	require.False(t, ok, "it does not follow what the reader read before")
	beyond := Record{Position: 4}
	_, ok = r.Recognise(&beyond, appended[2].Digest)
	require.False(t, ok)
}
