package projection

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// FuzzDecodeRecord: a record is an event whose order can be named, or says why it is none; the record itself stays as it came.
func FuzzDecodeRecord(f *testing.F) {
	e := events.Event{
		Type: events.TaskAccepted, Version: 1, OrderID: "01890000-0000-7000-8000-000000000000", OrderVersion: 1, TaskID: "t", Data: &events.Accepted{},
	}
	body, err := e.Encode()
	require.NoError(f, err)
	f.Add("orders.demo.hotel.acme.task.accepted", body)
	f.Add("orders.-.-.-.order.placed", []byte(`{"cell":1,"type":"order.placed","version":9,"time":"2026-01-31T12:00:00Z","order_id":"no uuid","data":{}}`))
	f.Add("", []byte(`{}`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		for need := needHeader; need <= needHeader+2; need++ {
			record := stream.Record{Position: 7, Subject: subject, Body: body}
			facts := decode([]stream.Record{record}, need)
			require.Len(t, facts, 1)
			require.Equal(t, record, facts[0].Record)
			require.NotNil(t, facts[0].event)
			if facts[0].err == nil {
				require.Equal(t, facts[0].event.OrderID != "", facts[0].orderID.Valid)
			}
		}
	})
}
