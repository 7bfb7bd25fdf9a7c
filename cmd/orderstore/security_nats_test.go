package main

import (
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// natsIsClosed: a provider that was let in hears its own notices without a body, and may do nothing else.
func natsIsClosed(d *doors) {
	consumer, _ := subscribeNATS(d.t, d.at.HTTP, d.as.Provider)
	var mu sync.Mutex
	var told []string
	nc := dialNATS(d.t, d.at.NATS, d.as.Provider, nats.UserInfo(d.as.Provider.ClientID, d.as.Provider.ClientSecret),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err.Error())
		}))
	refused := func(subject, what string) {
		d.t.Helper()
		require.NoError(d.t, nc.FlushTimeout(10*time.Second))
		require.Eventually(d.t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, said := range told {
				if strings.Contains(strings.ToLower(said), "permissions violation") && strings.Contains(said, `"`+subject+`"`) {
					return true
				}
			}
			return false
		}, 10*time.Second, 5*time.Millisecond, "%s: %s", what, subject)
	}
	for _, subject := range []string{">", "orders.>", "_INBOX.>", "_INBOX_" + d.as.User.ClientID + ".>"} {
		_, err := nc.SubscribeSync(subject)
		require.NoError(d.t, err)
		refused(subject, "cases 67 and 70")
	}
	for _, subject := range []string{
		"orders.demo.retail~erp.-.order.placed", "orders.x", "$JS.API.STREAM.INFO.ORDERS", "$JS.API.STREAM.DELETE.ORDERS",
		"$JS.API.STREAM.MSG.GET.ORDERS", "$JS.API.CONSUMER.CREATE.ORDERS.mine", "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.mine",
	} {
		require.NoError(d.t, nc.Publish(subject, nil))
		refused(subject, "cases 68 and 69")
	}
	_, err := d.user().SubmitOrder(d.t.Context(), sampleOrder("over-nats"))
	require.NoError(d.t, err)
	require.Empty(d.t, hear(d.t, nc, consumer, "task.offered").Data(), "case 71: no body")
}
