package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

func TestDevKeepsAllDataAcrossStops(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	for _, file := range []string{endpointsFile, credentialsFile} {
		info, err := os.Stat(filepath.Join(s.data, file))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file)
	}
	s.register("retail.erp")
	placed, err := s.user().SubmitOrder(t.Context(), sampleOrder("r-1"))
	require.NoError(t, err)
	s.level()
	require.Eventually(t, func() bool { // a mail goes out after the position it belongs to
		order, err := s.user().GetOrder(t.Context(), placed.ID, client.GetOptions{Include: []string{"auxiliary"}})
		if err != nil {
			return false
		}
		told := recordsOf(order, "notices")
		return len(told) == 1 && strings.Contains(string(told[0].Payload), `"state":"sent"`)
	}, 30*time.Second, 20*time.Millisecond)
	beside := s.verified()
	require.Contains(t, beside, "3 events at positions 1..3")
	s.terminate()
	require.NoFileExists(t, filepath.Join(s.data, endpointsFile))
	require.Equal(t, beside, s.verified(), "verify says the same of the stopped instance")

	before := s.as
	s.start()
	require.Equal(t, before, s.as)
	read, err := s.user().GetOrder(t.Context(), placed.ID, client.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, placed.Version, read.Version)
	require.Equal(t, placed.Lines, read.Lines)
}

func TestDevRefusesInOneSentence(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	newer := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(newer, layoutFile), []byte("99\n"), 0o600))
	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, layoutFile), []byte("my notes\n"), 0o600))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"port taken":      {[]string{"dev", "--data", t.TempDir(), "--http", occupied(t)}, "is taken by another program: stop it, or choose another with --http"},
		"folder in use":   {[]string{"dev", "--data", s.data, "--http", "127.0.0.1:0"}, "is in use by process"},
		"newer folder":    {[]string{"dev", "--data", newer, "--http", "127.0.0.1:0"}, "has layout 99, this orderstore knows 1: use a newer orderstore"},
		"another folder":  {[]string{"dev", "--data", other, "--http", "127.0.0.1:0"}, "is no data folder of orderstore"},
		"a file":          {[]string{"dev", "--data", file, "--http", "127.0.0.1:0"}, "not a directory"},
		"verify nothing":  {[]string{"verify", "--data", filepath.Join(newer, "none")}, "there is no instance in"},
		"verify nobody":   {[]string{"verify"}, "name an instance with --data, or the stores with ORDERSTORE_POSTGRES_WRITE"},
		"serve nothing":   {[]string{"serve"}, "ORDERSTORE_POSTGRES_WRITE is not set"},
		"an unknown role": {[]string{"serve", "--roles", "cook"}, `there is no role "cook"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, status := runCommand(t, "orderstore", c.args...)
			require.Equal(t, 1, status, out)
			require.Contains(t, out, c.says)
			require.NotContains(t, out, "goroutine")
		})
	}
	_, err := s.user().SubmitOrder(t.Context(), sampleOrder("still-there"))
	require.NoError(t, err)
}

func TestLostBrokerStoreIsRefilled(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	for _, ref := range []string{"a", "b", "c"} {
		_, err := s.user().SubmitOrder(t.Context(), sampleOrder(ref))
		require.NoError(t, err)
	}
	s.level()
	s.terminate()
	require.NoError(t, os.RemoveAll(filepath.Join(s.data, "nats")))
	out, err := s.verify()
	require.Error(t, err, "a stream that is gone is a difference")
	require.Contains(t, out, "stream at position 1")
	s.start()
	s.level()
	require.Contains(t, s.verified(), "7 messages at sequences 1..7")
}
