package broadcast

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWebhookDeliversInOrder(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, nil)
	ids := orderIDs(7)
	h.project(t, orders(1, 300, "demo", ids)...)
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, "")
	require.Len(t, to.got(t, 300), 300)
	h.project(t, orders(301, 900, "demo", ids)...) // by the live way
	to.got(t, 900)
	last := map[string]int64{}
	for _, one := range to.all() {
		require.Greater(t, one.position, last[one.order], "an order's events go one after the other")
		last[one.order] = one.position
		require.Equal(t, 1, one.attempt)
		require.Equal(t, one.id, one.body["id"])
		require.Equal(t, "application/cloudevents+json", one.header.Get("Content-Type"))
		require.Equal(t, deliveryID(s.ID, one.position).String(), one.delivery)
	}
	require.Eventually(t, func() bool { return h.show("demo", s).Position == 900 }, 10*time.Second, 5*time.Millisecond)
}
