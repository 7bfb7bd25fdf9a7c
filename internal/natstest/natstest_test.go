package natstest_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/natstest"
)

func TestRestartKeepsMessagesAndClients(t *testing.T) {
	t.Parallel()
	srv := natstest.Run(t)
	conn := natstest.Connect(t, srv)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "NOTES", Subjects: []string{"notes.>"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "notes.one", []byte("kept"))
	require.NoError(t, err)

	before := srv.URL()
	natstest.Restart(t, srv)
	require.Equal(t, before, srv.URL())

	again := natstest.Connect(t, srv)
	js, err = jetstream.New(again)
	require.NoError(t, err)
	s, err := js.Stream(t.Context(), "NOTES")
	require.NoError(t, err)
	msg, err := s.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "kept", string(msg.Data))
}
