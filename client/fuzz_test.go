package client_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// FuzzEvent: a CloudEvent in JSON that is taken is written and read again as the same event.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(webhookEvent))
	f.Add([]byte(`{"specversion":"1.0","id":"7","type":"order.placed","source":"/s","subject":"o","time":"2026-01-31T12:00:00.000001Z","position":7,"tenant":"demo","orderversion":1,"data":{"id":"o"}}`))
	f.Add([]byte(`{"position":-1,"time":""}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var first, second client.Event
		if json.Unmarshal(body, &first) != nil {
			return
		}
		written, err := json.Marshal(first)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(written, &second))
		again, err := json.Marshal(second)
		require.NoError(t, err)
		require.JSONEq(t, string(written), string(again))
	})
}

// FuzzEventHeaders: the position of a CloudEvent in headers is its id, and its time is one; without them it is none.
func FuzzEventHeaders(f *testing.F) {
	f.Add("7", "2026-01-31T12:00:00Z", "3", "o", "order.placed")
	f.Add("", "", "", "", "")
	f.Add("9223372036854775808", "2026-01-31", "-1", "../x?y", "x")
	f.Fuzz(func(t *testing.T, id, at, version, subject, kind string) {
		header := nats.Header(http.Header{})
		for name, value := range map[string]string{"ce-id": id, "ce-time": at, "ce-orderversion": version, "ce-subject": subject, "ce-type": kind} {
			header[name] = []string{value}
		}
		e, err := client.EventOfHeaders(header)
		position, noNumber := strconv.ParseInt(id, 10, 64)
		_, noTime := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			_, noVersion := strconv.ParseInt(version, 10, 64)
			require.True(t, noNumber != nil || noTime != nil || version != "" && noVersion != nil, "%v", err)
			return
		}
		require.NoError(t, noNumber)
		require.NoError(t, noTime)
		require.Equal(t, position, e.Position)
		require.Equal(t, []string{id, subject, kind}, []string{e.ID, e.Subject, e.Type})
	})
}
