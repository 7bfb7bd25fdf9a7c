package command

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

func TestLoadReportIsReadStrictly(t *testing.T) {
	t.Parallel()
	full := int64(100)
	for body, want := range map[string]ReportLoad{
		`{"load":0.42}`: {Provider: "acme", Load: 0.42, TTL: 60},
		`{"load":1.5e0,"capacity":100,"ttl":3600}`: {Provider: "acme", Load: 1.5, Capacity: &full, TTL: 3600},
		`{"load":0,"capacity":0,"ttl":"1s"}`:       {Provider: "acme", Capacity: new(int64), TTL: 1},
		`{"ttl":"1h","load":-0}`:                   {Provider: "acme", TTL: 3600},
	} {
		got, err := decodeLoad([]byte(body), "acme")
		require.NoError(t, err, body)
		require.Equal(t, want, *got, body)
	}
	for body, code := range map[string]fault.Code{
		`{}`:                           fault.Invalid,
		`{"load":-0.1}`:                fault.Invalid,
		`{"load":1000.1}`:              fault.Invalid,
		`{"load":1e999}`:               fault.Invalid,
		`{"load":"0.4"}`:               fault.Invalid,
		`{"load":null}`:                fault.Invalid,
		`{"load":1,"capacity":-1}`:     fault.Invalid,
		`{"load":1,"capacity":1.5}`:    fault.Invalid,
		`{"load":1,"ttl":0}`:           fault.Invalid,
		`{"load":1,"ttl":3601}`:        fault.Invalid,
		`{"load":1,"ttl":"61m"}`:       fault.Invalid,
		`{"load":1,"ttl":"500ms"}`:     fault.Invalid,
		`{"load":1,"ttl":"soon"}`:      fault.Invalid,
		`{"load":1,"provider":"zeta"}`: fault.Invalid,
		`{"load":1,"tenant":"demo"}`:   fault.UnknownField,
		`{"load":NaN}`:                 fault.Malformed,
		`{"load":1,"load":1}`:          fault.DuplicateKey,
	} {
		_, err := decodeLoad([]byte(body), "acme")
		require.Equal(t, code, fault.CodeOf(err), "%s: %v", body, err)
	}
}

// report sends a load report as the route does.
func report(t *testing.T, c *Committer, provider, body string) Answer {
	t.Helper()
	command, err := decodeLoad([]byte(body), provider)
	require.NoError(t, err)
	answer, err := c.Submit(t.Context(), command, nil)
	require.NoError(t, err)
	require.Equal(t, 200, answer.Status)
	return answer
}

// taken waits until a node has taken over a provider's load, and says how long that took.
func taken(t *testing.T, c *Committer, provider string, load float64) time.Duration {
	t.Helper()
	began := time.Now()
	require.Eventually(t, func() bool {
		got, ok := (*c.others.reports.Load())[provider]
		return ok && got.load == load
	}, 10*time.Second, 5*time.Millisecond)
	return time.Since(began)
}

// requireSoon requires that what one node does usually counts on another one within a second, however busy the machine is now
// and then.
func requireSoon(t *testing.T, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	require.Less(t, took[len(took)/2], time.Second, "%v", took)
}

func TestLoadReportCountsOnEveryNodeUntilItExpires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	held := heldClock()
	first, second := b.nodeAt(held.now), b.nodeAt(held.now)
	b.register("acme", "retail.erp")
	b.register("zeta", "retail.erp")
	require.Equal(t, "acme", next(t, second, "before").Provider)

	var took []time.Duration
	answer := report(t, first, "acme", `{"load":0.9,"capacity":100,"ttl":90}`)
	require.JSONEq(t, `{"provider":"acme","load":0.9,"capacity":100,"expires_at":"2026-01-31T12:01:30Z"}`, string(answer.Body))
	for _, node := range []*Committer{first, second} {
		took = append(took, taken(t, node, "acme", 0.9))
		task := next(t, node, fmt.Sprintf("%p", node))
		require.Equal(t, "zeta", task.Provider)
		for _, c := range task.Routing.Candidates {
			if c.Provider == "acme" {
				require.Equal(t, events.Candidate{Provider: "acme", Tier: events.TierEveryRegion, Load: 0.9}, c)
			}
		}
	}
	report(t, second, "acme", `{"load":0,"capacity":100}`) // the newest counts
	took = append(took, taken(t, first, "acme", 0))
	report(t, first, "acme", `{"load":0.95,"ttl":10}`)
	took = append(took, taken(t, second, "acme", 0.95))
	requireSoon(t, took)
	held.move(10*time.Second - time.Microsecond)
	require.Equal(t, "zeta", next(t, second, "still counts").Provider)
	held.move(time.Microsecond)
	require.Equal(t, "acme", next(t, second, "expired").Provider)
	b.verified()
}

// A report may come with an order in one round, and several with each other.
func TestReportsOfOneRound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := newRound(head{}, noon, newRegistry())
	for i, command := range []*ReportLoad{{Provider: "b", Load: 1, TTL: 60}, {Provider: "a", Load: 2, TTL: 60}, {Provider: "b", Load: 0.5, TTL: 60}} {
		_, err := command.apply(r)
		require.NoError(t, err, i)
	}
	require.NoError(t, b.committer.store.keep(t.Context(), r))
	reports, _, err := b.committer.store.surroundings(t.Context(), noon)
	require.NoError(t, err)
	require.Len(t, reports, 2)
	require.InDelta(t, 0.5, reports["b"].load, 0)
	require.Nil(t, reports["b"].capacity)
	reports, _, err = b.committer.store.surroundings(t.Context(), noon.Add(time.Minute))
	require.NoError(t, err)
	require.Empty(t, reports)
}

func TestLoadReportUnderAKeyIsReplayed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	held := heldClock()
	node := b.nodeAt(held.now)
	key := &Key{Client: "acme", Key: "k"}
	command := &ReportLoad{Provider: "acme", Load: 0.5, TTL: 60}
	first, err := node.Submit(t.Context(), command, key)
	require.NoError(t, err)
	held.move(time.Second)
	again, err := node.Submit(t.Context(), command, key)
	require.NoError(t, err)
	require.True(t, again.Replayed)
	require.Equal(t, string(first.Body), string(again.Body))
	var said reportAnswer
	require.NoError(t, json.Unmarshal(again.Body, &said))
	require.Equal(t, noon.Add(time.Minute), said.ExpiresAt)
	require.NotContains(t, string(again.Body), "capacity")
}

// A command that changes nothing stores no row that a repeated one could run into; its key is looked up nevertheless.
func TestKeyOfACommandThatChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	provider := &events.Provider{ID: "acme", BusinessTypes: []string{"x"}, Regions: []string{}}
	again := &Register{Kind: kindProvider, ID: "acme", Type: events.ProviderChanged, Provider: "acme", Document: provider}
	key := &Key{Client: "operator", Key: "k", Fingerprint: [32]byte{1}}
	b.register("acme", "x")
	_, err := b.committer.Submit(t.Context(), again, key)
	require.NoError(t, err)
	_, err = b.committer.Submit(t.Context(), again, &Key{Client: "operator", Key: "k", Fingerprint: [32]byte{2}})
	require.Equal(t, fault.KeyReused, fault.CodeOf(err))
}
