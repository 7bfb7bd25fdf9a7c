package query

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestListedSaysWhichOrdersAreInAList(t *testing.T) {
	t.Parallel()
	w := setup(t)
	in := w.store(given{names: []string{"chair"}}).id
	left := w.store(given{status: "completed", names: []string{"chair"}}).id
	kind := w.store(given{business: "wms", names: []string{"chair"}}).id
	foreign := w.store(given{tenant: "other", names: []string{"chair"}}).id
	words := w.store(given{names: []string{"table"}}).id
	q := w.queries()
	all := []string{in, left, kind, foreign, words}
	for name, c := range map[string]struct {
		filter filter
		want   map[string]bool
	}{
		"status":  {filter{tenant: "demo", businessTypes: []string{"hotel"}, status: []string{"routed"}}, map[string]bool{in: true, left: false, words: true}},
		"text":    {filter{tenant: "demo", text: "chair"}, map[string]bool{in: true, left: true, kind: true, words: false}},
		"nothing": {filter{tenant: "demo", regions: []string{"nowhere"}}, map[string]bool{}},
	} {
		got, err := q.listed(w.as("demo"), c.filter, all, w.position)
		require.NoError(t, err)
		require.Equal(t, c.want, got, name)
	}

	// It looks no sooner than the views are where the event is.
	answers := make(chan map[string]bool, 1)
	next := w.position + 1
	go func() {
		got, err := q.listed(context.WithoutCancel(w.as("demo")), filter{tenant: "demo", status: []string{"routed"}}, []string{in}, next)
		if err == nil {
			answers <- got
		}
		close(answers)
	}()
	w.exec(w.read, `UPDATE order_view SET status = 'completed' WHERE id = $1`, in)
	w.reach(next)
	require.Equal(t, map[string]bool{in: false}, <-answers)
}

func TestWatchersOfOneListAskOnce(t *testing.T) {
	t.Parallel()
	var lists watchedLists
	asked := 0
	ask := func(context.Context) (map[string]bool, error) {
		asked++
		return map[string]bool{"a": true}, nil
	}
	one, leaveOne := lists.join("list")
	two, leaveTwo := lists.join("list")
	for _, list := range []*watchedList{one, two} {
		got, err := list.listed(t.Context(), []string{"b", "a"}, 7, ask)
		require.NoError(t, err)
		require.Equal(t, map[string]bool{"a": true}, got)
	}
	require.Equal(t, 1, asked)
	_, err := two.listed(t.Context(), []string{"a", "b"}, 8, ask)
	require.NoError(t, err)
	require.Equal(t, 2, asked, "of later events it is asked anew")
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	<-one.mu // somebody looks
	_, err = two.listed(ctx, []string{"c"}, 9, ask)
	require.ErrorIs(t, err, context.DeadlineExceeded, "who waits for another one's answer does not wait for ever")
	leaveOne()
	leaveTwo()
	require.Empty(t, lists.lists)
}
