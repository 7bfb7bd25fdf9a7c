package natstest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/stream"
)

// ownerEnv makes this test binary run a server on that directory instead of running tests, so that it can be killed.
const ownerEnv = "ORDERSTORE_TEST_NATS_OWNER"

// notes is how many messages the owner stores.
const notes = 200

func TestMain(m *testing.M) {
	dir, ok := os.LookupEnv(ownerEnv)
	if !ok {
		os.Exit(m.Run())
	}
	fmt.Println(ownServer(dir))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// ownServer stores the notes and leaves the server running.
func ownServer(dir string) error {
	ctx := context.Background()
	srv, err := stream.StartServer(stream.ServerConfig{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	conn, err := srv.Connect(ctx)
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "NOTES", Subjects: []string{"notes.>"}}); err != nil {
		return err
	}
	for i := range notes {
		if _, err := js.Publish(ctx, "notes.one", fmt.Append(nil, i+1)); err != nil {
			return err
		}
	}
	return nil
}

func TestServerOfKilledOwnerStartsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner := exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(os.Environ(), ownerEnv+"="+dir)
	_, err := owner.StdinPipe()
	require.NoError(t, err)
	stdout, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "<nil>\n", line)
	require.NoError(t, owner.Process.Kill())
	_ = owner.Wait()

	srv, err := stream.StartServer(stream.ServerConfig{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(srv.Shutdown)
	js, err := jetstream.New(natstest.Connect(t, srv))
	require.NoError(t, err)
	s, err := js.Stream(t.Context(), "NOTES")
	require.NoError(t, err)
	require.EqualValues(t, notes, s.CachedInfo().State.LastSeq)
	msg, err := s.GetMsg(t.Context(), notes)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(notes), string(msg.Data))
}

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
