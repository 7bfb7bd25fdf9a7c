package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// breaking cuts each event stream behind its first event.
type breaking struct{ opened atomic.Int64 }

func (b *breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusOK && strings.HasSuffix(r.URL.Path, "/watch") {
		b.opened.Add(1)
		resp.Body = &briefly{ReadCloser: resp.Body}
	}
	return resp, err
}

// briefly is a stream that breaks once an event was read.
type briefly struct {
	io.ReadCloser
	last []byte
}

func (b *briefly) Read(p []byte) (int, error) {
	if i := bytes.Index(b.last, []byte("data:")); i >= 0 && bytes.Contains(b.last[i:], []byte("\n\n")) {
		return 0, errors.New("the connection broke")
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), 64)])
	b.last = append(b.last, p[:n]...)
	return n, err
}

// watched has orders watched by all who may and some who may not, over connections that break behind each event.
func watched(t *testing.T, s *system) {
	ctx := t.Context()
	w := s.kind(client.Route{BusinessType: "watched"})
	partner := w.partner("watched-p")
	order, task := w.place("")
	breaks := &breaking{}
	unsteady, err := client.New(client.Config{
		BaseURL: s.at.HTTP, ClientID: s.as.User.ClientID, ClientSecret: s.as.User.ClientSecret, HTTPClient: &http.Client{Transport: breaks},
	})
	require.NoError(t, err)

	// The list is watched from before anything more happens.
	inList := make(chan []client.Event, 1)
	go func() {
		var heard []client.Event
		filter := client.OrderFilter{BusinessType: "watched", Status: []string{client.OrderRouted, client.OrderProcessing}}
		for event, err := range unsteady.WatchOrders(ctx, filter, client.From{Position: order.Meta.Position}, client.WithOrders()) {
			if err != nil {
				break
			}
			if heard = append(heard, event); !*event.Listed {
				break
			}
		}
		inList <- heard
	}()
	other := s.kind(client.Route{BusinessType: "unwatched"})
	other.partner("unwatched-p")
	elsewhere, _ := other.place("")
	_, err = partner.AcceptTask(ctx, task.ID)
	require.NoError(t, err)

	var positions []int64
	finished := false
	for event, err := range unsteady.WatchOrder(ctx, order.ID, 0) {
		require.NoError(t, err)
		positions = append(positions, event.Position)
		require.GreaterOrEqual(t, s.read(s.user(), order.ID, 0).Version, event.OrderVersion, "what was heard of can be read")
		if event.Type == "task.accepted" && !finished {
			finished = true
			_, err = partner.PostResult(ctx, task.ID, client.ResultSubmission{ResultID: "watched-1", Outcome: client.OutcomeCompleted})
			require.NoError(t, err)
		}
		if event.Type == "order.completed" {
			break
		}
	}
	full, err := s.user().GetOrder(ctx, order.ID, client.GetOptions{Include: []string{client.IncludeTimeline}})
	require.NoError(t, err)
	require.Equal(t, positionsOf(full.Timeline), positions, "none is missing and none comes twice")
	require.GreaterOrEqual(t, breaks.opened.Load(), int64(len(positions)), "each came over a connection of its own")

	heard := <-inList
	require.NotEmpty(t, heard)
	for _, event := range heard {
		require.Equal(t, order.ID, event.Subject, "not %s", elsewhere.ID)
		of, err := event.Order()
		require.NoError(t, err)
		require.Equal(t, order.ID, of.ID)
		require.GreaterOrEqual(t, of.Version, event.OrderVersion)
	}
	require.False(t, *heard[len(heard)-1].Listed, "a completed order has left the list")

	own, err := partner.GetOrder(ctx, order.ID, client.GetOptions{Include: []string{client.IncludeTimeline}})
	require.NoError(t, err)
	positions = nil
	for event, err := range partner.WatchOrder(ctx, order.ID, 0) {
		require.NoError(t, err)
		require.Equal(t, "watched-p", event.Provider)
		if positions = append(positions, event.Position); len(positions) == len(own.Timeline) {
			break
		}
	}
	require.Equal(t, positionsOf(own.Timeline), positions)

	// For others it does not exist.
	const missing = "01890000-0000-7000-8000-000000000000"
	for _, stranger := range []*client.Client{
		s.clientFor(client.ClientSpec{Kind: "user", Tenant: "stranger"}), s.clientFor(client.ClientSpec{Kind: "provider", Provider: "unwatched-p"}),
	} {
		token, err := stranger.Token(ctx)
		require.NoError(t, err)
		real, _ := s.send(http.MethodGet, token, "/v1/orders/"+order.ID+"/watch", "")
		none, _ := s.send(http.MethodGet, token, "/v1/orders/"+missing+"/watch", "")
		require.Equal(t, http.StatusNotFound, real.status, real.body)
		require.Equal(t, none, real)
	}
}

func positionsOf(events []client.Event) []int64 {
	all := make([]int64, len(events))
	for i := range events {
		all[i] = events[i].Position
	}
	return all
}

func TestOrdersAreWatchedOverBrokenConnections(t *testing.T) {
	t.Parallel()
	watched(t, startSystem(t))
}
