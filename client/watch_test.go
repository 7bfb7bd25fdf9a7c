package client_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// An export that ends before its end is never taken for a whole one, whichever of the two signs is there.
func TestExportThatIsCutIsAnError(t *testing.T) {
	t.Parallel()
	const orders = "{\"id\":\"a\"}\n{\"id\":\"b\"}\n"
	for name, c := range map[string]struct {
		count string
		cut   bool
		whole bool
	}{
		"whole":           {count: "2", whole: true},
		"without trailer": {whole: true},
		"an order lost":   {count: "3"},
		"cut":             {cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			store, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
				if asked++; asked == 1 { // the beginning is tried again
					w.Header().Set("Retry-After", "1")
					problem(w, http.StatusServiceUnavailable, "overloaded", "busy with other exports")
					return
				}
				assert.Equal(t, "/v1/orders/export?format=ndjson&status=routed", r.URL.String())
				w.Header().Set("Order-Position", "42")
				w.Header().Set("Trailer", "Order-Count")
				_, _ = io.WriteString(w, orders)
				if c.cut {
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
				if c.count != "" {
					w.Header().Set("Order-Count", c.count)
				}
			})
			var got []string
			var failed error
			for order, err := range store.ExportedOrders(t.Context(), client.OrderFilter{Status: []string{"routed"}, PageSize: 7}) {
				if err != nil {
					failed = err
					break
				}
				require.Equal(t, int64(42), order.Meta.Position)
				got = append(got, order.ID)
			}
			if c.whole {
				require.NoError(t, failed)
				require.Equal(t, []string{"a", "b"}, got)
				return
			}
			require.ErrorIs(t, failed, client.ErrCut)
		})
	}
}

// From now on means from when it was first asked: what happens while the connection is broken is heard of too.
func TestListIsWatchedFromOnePositionOn(t *testing.T) {
	t.Parallel()
	var asked []string
	store, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String()+" "+r.Header.Get("Last-Event-ID"))
		w.Header().Set("Order-Position", "40")
		if r.URL.Path == "/v1/orders" {
			answer(w, http.StatusOK, map[string]any{"items": []any{}})
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if len(asked) == 2 {
			_, _ = io.WriteString(w, ":\n\n") // and it breaks, before anything was heard
			return
		}
		_, _ = fmt.Fprint(w, "id: 40\ndata: {\"position\":40}\n\nid: 41\ndata: {\"position\":41,\"listed\":false}\n\n")
	})
	filter := client.OrderFilter{Channel: "web", Sort: "-total"}
	for event, err := range store.WatchOrders(t.Context(), filter, client.From{Now: true}, client.WithOrders()) {
		require.NoError(t, err)
		require.Equal(t, int64(41), event.Position, "40 was there to be read before")
		require.False(t, *event.Listed)
		break
	}
	const watch = "/v1/orders/watch?channel=web&include=order 40"
	require.Equal(t, []string{"/v1/orders?channel=web&limit=1&sort=-total ", watch, watch}, asked)
}
