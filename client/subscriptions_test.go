package client_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

func TestSubscriptionIsMadeOnceHoweverOften(t *testing.T) {
	t.Parallel()
	var made []string
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			items := []any{}
			for _, name := range made {
				items = append(items, map[string]any{"id": "id of " + name, "name": name, "transport": "sse"})
			}
			answer(w, http.StatusOK, map[string]any{"items": items})
			return
		}
		var body struct{ Name string }
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
		for _, name := range made {
			if name == body.Name {
				problem(w, http.StatusConflict, "conflict", "there is one already")
				return
			}
		}
		made = append(made, body.Name)
		cut(w) // the answer is lost
	})
	s, err := c.CreateSubscription(t.Context(), client.SubscriptionSpec{Transport: client.TransportSSE})
	require.NoError(t, err)
	require.Equal(t, []string{s.Name}, made)
	require.True(t, s.Meta.Replayed)

	spec := client.SubscriptionSpec{Name: "erp", Transport: client.TransportSSE}
	_, err = c.CreateSubscription(t.Context(), spec)
	require.True(t, client.HasCode(err, client.CodeConflict), "%v", err)
	s, err = c.EnsureSubscription(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, "id of erp", s.ID)
	spec.Transport = client.TransportFeed
	_, err = c.EnsureSubscription(t.Context(), spec)
	require.True(t, client.HasCode(err, client.CodeConflict), "it is another one: %v", err)
}

func TestSubscriptionIsWrittenAsTheStoreReadsIt(t *testing.T) {
	t.Parallel()
	var asked []string
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		_, _ = b.WriteString(r.Method + " " + r.URL.Path + " " + r.Header.Get("If-Match") + " ")
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body)
		_, _ = b.Write(body)
		asked = append(asked, b.String())
		assert.NotEmpty(t, r.Header.Get("Idempotency-Key"))
		answer(w, http.StatusOK, map[string]any{"id": "s-1"})
	})
	ctx := t.Context()
	since := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	name, all, off := "new", []string(nil), false
	for _, call := range []func() (client.Subscription, error){
		func() (client.Subscription, error) {
			return c.CreateSubscription(ctx, client.SubscriptionSpec{
				Name: "erp", Transport: client.TransportFeed, Types: []string{"order.*"}, BusinessTypes: []string{"hotel"}, IncludeOrders: true,
				Start: &client.From{Since: since},
			})
		},
		func() (client.Subscription, error) {
			return c.UpdateSubscription(ctx, "s-1", client.SubscriptionChange{Name: &name, Types: &all, IncludeOrders: &off}, client.IfVersion(3))
		},
		func() (client.Subscription, error) { return c.SeekSubscription(ctx, "s-1", client.From{Now: true}) },
		func() (client.Subscription, error) {
			return c.SeekSubscription(ctx, "s-1", client.From{Position: 7})
		},
		func() (client.Subscription, error) {
			return c.AckSubscription(ctx, "s-1", 9, client.IfVersion(2))
		},
		func() (client.Subscription, error) { return c.PauseSubscription(ctx, "s-1") },
		func() (client.Subscription, error) { return c.ResumeSubscription(ctx, "s-1") },
		func() (client.Subscription, error) { return client.Subscription{}, c.DeleteSubscription(ctx, "s-1") },
	} {
		_, err := call()
		require.NoError(t, err)
	}
	require.Equal(t, []string{
		`POST /v1/subscriptions  {"business_types":["hotel"],"include":"order","name":"erp","since":"2026-03-04T12:00:00Z","transport":"feed","types":["order.*"]}`,
		`PATCH /v1/subscriptions/s-1 "3" {"include":null,"name":"new","types":[]}`,
		`POST /v1/subscriptions/s-1/seek  {"start":"now"}`,
		`POST /v1/subscriptions/s-1/seek  {"after":7}`,
		`POST /v1/subscriptions/s-1/ack "2" {"position":9}`,
		`POST /v1/subscriptions/s-1/pause  {}`,
		`POST /v1/subscriptions/s-1/resume  {}`,
		`DELETE /v1/subscriptions/s-1  `,
	}, asked)
}
