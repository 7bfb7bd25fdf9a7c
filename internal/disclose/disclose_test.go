package disclose_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/disclose"
)

const order = `{"id":"o","total":9007199254740993,"html":"<&>","attributes":{"a":[1, 2.50]},` +
	`"sync_status":[{"party":"acme","kind":"provider"},{"party":"beta","kind":"provider"},{"party":"acme","kind":"auxiliary"}],` +
	`"tasks":[{"id":"t1","provider":"acme","routing":{"policy":"all","candidates":[{"provider":"acme"},{"provider":"beta"}],"why":"acme before beta"}},` +
	`{"id":"t2","provider":"beta","routing":{"policy":"all","candidates":null,"why":""}}],` +
	`"results":[{"result_id":"1","provider":"beta"},{"result_id":"2","provider":"acme"}],"returns":[{"return_id":"r1","reason":"torn"}]}`

func TestOrder(t *testing.T) {
	t.Parallel()
	cut, ok, err := disclose.Order([]byte(order), "acme")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, `{"id":"o","total":9007199254740993,"html":"<&>","attributes":{"a":[1, 2.50]},`+
		`"sync_status":[{"party":"acme","kind":"provider"}],`+
		`"tasks":[{"id":"t1","provider":"acme","routing":{"policy":"all","candidates":[{"provider":"acme"}],"why":""}}],`+
		`"results":[{"result_id":"2","provider":"acme"}]}`, string(cut))
	cut, ok, err = disclose.Order([]byte(order), "beta")
	require.NoError(t, err)
	require.True(t, ok)
	require.NotContains(t, string(cut), "acme")
	cut, ok, err = disclose.Order([]byte(order), "gamma")
	require.NoError(t, err)
	require.False(t, ok)
	require.Empty(t, cut)
}

// A delegate sees its own task and what was handed over with it; of who asked, and of who else was asked, nothing.
func TestDelegatedOrder(t *testing.T) {
	t.Parallel()
	const delegated = `{"id":"o","tasks":[{"id":"t1","provider":"acme","delegations":[{"task_id":"t2","provider":"beta","payload":{"pick":7},` +
		`"answers":[{"payload":{"bin":7}}]},{"task_id":"t3","provider":"gamma"}]},` +
		`{"id":"t2","provider":"beta","delegated_from":"t1","payload":{"pick":7}},{"id":"t3","provider":"gamma","delegated_from":"t1"}],` +
		`"results":[{"result_id":"1","provider":"acme"}],"sync_status":[]}`
	cut, ok, err := disclose.Order([]byte(delegated), "beta")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, `{"id":"o","tasks":[{"id":"t2","provider":"beta","delegated_from":"t1","payload":{"pick":7}}],"results":[],"sync_status":[]}`, string(cut))
	cut, _, err = disclose.Order([]byte(delegated), "acme")
	require.NoError(t, err)
	require.Contains(t, string(cut), `"answers":[{"payload":{"bin":7}}]`, "who asked has the answer")
}

func TestTask(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		`{"attempt":1}`: `{"attempt":1}`,
		`{"routing":{"candidates":[{"provider":"beta"},{"provider":"acme","load":0.25}],"why":"acme has the least load (0.25)"}}`: `{"routing":{"candidates":[{"provider":"acme","load":0.25}],"why":"acme has the least load (0.25)"}}`,
		`{"routing":{"why":"beta is full","candidates":[{"provider":"beta"}]},"lines":[]}`:                                        `{"routing":{"why":"","candidates":[]},"lines":[]}`,
	} {
		cut, err := disclose.Task([]byte(document), "acme")
		require.NoError(t, err)
		require.Equal(t, want, string(cut))
	}
}

func TestNotJSON(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"", "null", "[]", `{"a"`, `{"a":1`, `{"tasks":{}}`, `{"tasks":[1]}`, `{"tasks":[{"provider":"acme","routing":[]}]}`} {
		_, ok, err := disclose.Order([]byte(document), "acme")
		require.Error(t, err, document)
		require.False(t, ok)
	}
}

// What is taken apart and put together again is what it was.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{order, `{}`, `{"a":{},"b":[],"c":null,"\u0064":"\\"}`, `{"a":1e5}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		members, err := disclose.Members(raw)
		if err != nil {
			return
		}
		again := disclose.Object(members)
		if !json.Valid(again) {
			t.Fatalf("%q became %q", raw, again)
		}
		if strings.Contains(string(raw), "acme") {
			_, _, _ = disclose.Order(raw, "acme")
		}
	})
}
