package load_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/bench/load"
)

// TestSenderTellsWhatWentWrong is answered as a store answers, by a real server, and then by none.
func TestSenderTellsWhatWentWrong(t *testing.T) {
	t.Parallel()
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Content-Type") + " " + string(body)
		switch string(body) {
		case "busy":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"type":"/problems/overloaded","status":503}`)
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, strings.Repeat("x", 200))
		default:
			w.Header().Set("Order-Position", "42")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"id":"o-1"}`)
		}
	}))
	defer server.Close()
	bearer := "Bearer one"
	sender, err := load.NewSender(server.URL+"/v1/orders", 1, func() (string, error) { return bearer, nil })
	require.NoError(t, err)
	slot := sender.Slot()

	slot.Body = []byte("{}")
	require.Empty(t, slot.Post())
	require.Equal(t, "POST /v1/orders Bearer one application/json {}", sent)
	require.Equal(t, "o-1", load.ID(slot.Answer()))
	require.EqualValues(t, 42, slot.Position())

	bearer = "Bearer two" // renewed
	slot.Body = []byte("busy")
	require.Equal(t, "status 503 /problems/overloaded", slot.Post())
	require.Equal(t, "POST /v1/orders Bearer two application/json busy", sent)
	require.Zero(t, slot.Position())

	slot.Body = []byte("broken")
	require.Equal(t, "status 500 "+strings.Repeat("x", 80), slot.Post())

	server.Close()
	require.Contains(t, slot.Post(), "connection: ")
	_, err = load.NewSender("https://example.com/v1/orders", 1, nil)
	require.ErrorContains(t, err, "must be http://HOST:PORT/PATH")
}
