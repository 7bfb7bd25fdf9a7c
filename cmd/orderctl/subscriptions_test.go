package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// printed reads what a command printed.
func printed[T any](t *testing.T, out string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(out), &v), out)
	return v
}

// heard are the events that were printed one a line.
func heard(t *testing.T, out string) []client.Event {
	t.Helper()
	var all []client.Event
	for line := range strings.Lines(out) {
		all = append(all, printed[client.Event](t, line))
	}
	return all
}

func TestSubscriptionIsMadeFollowedMovedAndEnded(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	at := func(args ...string) []string { return append(args, "--data", s.data) }
	file, mapping := shop(t, 6, "")
	ok(t, at("import", file, "-m", mapping)...)
	for _, transport := range []string{client.TransportFeed, client.TransportSSE} {
		made := printed[client.Subscription](t, ok(t, at("subscriptions", "create", "--name", transport, "--transport", transport, "--type", "order.*", "--beginning")...))
		require.Equal(t, []any{transport, transport, []string{"order.*"}, int64(0)}, []any{made.Name, made.Transport, made.Types, made.Position})
		follow := func(count int) []client.Event {
			return heard(t, ok(t, at("subscriptions", "follow", made.ID, "--json", "--count", strconv.Itoa(count))...))
		}
		first, second := follow(2), follow(3)
		require.Greater(t, second[0].Position, first[1].Position, "started again, it goes on where it was")
		get := printed[client.Subscription](t, ok(t, at("subscriptions", "get", made.ID)...))
		require.Equal(t, second[2].Position, get.Position)

		moved := printed[client.Subscription](t, ok(t, at("subscriptions", "seek", made.ID, "--after", strconv.FormatInt(first[0].Position, 10))...))
		require.Equal(t, first[0].Position, moved.Position)
		require.Equal(t, first[1:], follow(1), "moved back, it hears again")
		require.Zero(t, printed[client.Subscription](t, ok(t, at("subscriptions", "seek", made.ID, "--since", "1h")...)).Position)
		require.Greater(t, printed[client.Subscription](t, ok(t, at("subscriptions", "seek", made.ID, "--now")...)).Position, second[2].Position)

		changed := printed[client.Subscription](t, ok(t, at("subscriptions", "update", made.ID, "--name", "new "+transport, "--business-type", "retail.erp", "--include-orders")...))
		require.Equal(t, []any{"new " + transport, []string{"order.*"}, []string{"retail.erp"}, "order"},
			[]any{changed.Name, changed.Types, changed.BusinessTypes, changed.Include})
		ok(t, at("subscriptions", "seek", made.ID, "--beginning")...)
		order, err := follow(1)[0].Order()
		require.NoError(t, err)
		require.Equal(t, "retail.erp", order.BusinessType)

		require.Equal(t, client.SubscriptionPaused, printed[client.Subscription](t, ok(t, at("subscriptions", "pause", made.ID)...)).Status)
		require.Contains(t, ok(t, at("subscriptions", "list")...), "paused")
		require.Equal(t, client.SubscriptionActive, printed[client.Subscription](t, ok(t, at("subscriptions", "resume", made.ID)...)).Status)
		require.Empty(t, ok(t, at("subscriptions", "delete", made.ID)...))
		require.ErrorContains(t, orderctl(t.Context(), nil, at("subscriptions", "follow", made.ID)...).err, "not_found")
	}
	require.Equal(t, 1, strings.Count(ok(t, at("subscriptions", "list")...), "\n"), "none is left")
}

func TestSubscriptionCommandsRefuseWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	nowhere := []string{"--url", "http://127.0.0.1:1", "--client-id", "a", "--client-secret", "b", "subscriptions"}
	for says, args := range map[string][]string{
		"none of the others can be":               {"create", "--now", "--after", "3"},
		"neither a time such as":                  {"create", "--since", "yesterday"},
		"at least one of the flags in the group":  {"seek", "s-1"},
		"what are webhooks verified with":         {"follow", "s-1", "--listen", "127.0.0.1:0"},
		"it begins with neither whsec_ nor whpk_": {"follow", "s-1", "--listen", "127.0.0.1:0", "--secret", "x"},
		"counted in whole seconds":                {"rotate-secret", "s-1", "--overlap", "1500ms"},
		"must all be set":                         {"replay", "s-1", "--from-position", "3"},
		"--to-time tomorrow":                      {"replay", "s-1", "--from-time", "2026-01-31T12:00:00Z", "--to-time", "tomorrow"},
		"accepts 1 arg(s)":                        {"deliveries"},
	} {
		r := orderctl(t.Context(), nil, append(nowhere, args...)...)
		require.ErrorContains(t, r.err, says)
	}
}
