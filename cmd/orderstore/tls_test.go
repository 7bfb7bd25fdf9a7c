package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/tlstest"
)

// TestInstanceByCertificates runs an instance whose service and broker ask everybody for a certificate.
func TestInstanceByCertificates(t *testing.T) {
	t.Parallel()
	ours := tlstest.New(t)
	cert, key := ours.Issue(t, "server")
	mine, mineKey := ours.Issue(t, "client")
	s := &system{t: t, data: filepath.Join(t.TempDir(), "data"), env: []string{
		"ORDERSTORE_HTTP_TLS_CERT=" + cert, "ORDERSTORE_HTTP_TLS_KEY=" + key, "ORDERSTORE_HTTP_TLS_CLIENT_CA=" + ours.File,
		"ORDERSTORE_NATS_SERVER_TLS_CERT=" + cert, "ORDERSTORE_NATS_SERVER_TLS_KEY=" + key, "ORDERSTORE_NATS_SERVER_TLS_CLIENT_CA=" + ours.File,
	}}
	s.start()
	require.True(t, strings.HasPrefix(s.at.HTTP, "https://"), s.at.HTTP)
	require.True(t, strings.HasPrefix(s.at.NATS, "tls://"), s.at.NATS)

	trusting := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	pem, err := os.ReadFile(ours.File)
	require.NoError(t, err)
	require.True(t, trusting.RootCAs.AppendCertsFromPEM(pem))
	shown := trusting.Clone()
	pair, err := tls.LoadX509KeyPair(mine, mineKey)
	require.NoError(t, err)
	shown.Certificates = []tls.Certificate{pair}
	transport := &http.Transport{TLSClientConfig: shown}
	t.Cleanup(transport.CloseIdleConnections)
	user, err := client.New(client.Config{
		BaseURL: s.at.HTTP, ClientID: s.as.User.ClientID, ClientSecret: s.as.User.ClientSecret, HTTPClient: &http.Client{Transport: transport},
	})
	require.NoError(t, err)
	_, err = user.SubmitOrder(t.Context(), sampleOrder("by-certificate"))
	require.NoError(t, err)

	listing := []string{"list", "--data", s.data, "--ca", ours.File, "--cert", mine, "--key", mineKey}
	out, status := runCommand(t, "orderctl", listing...)
	require.Zero(t, status, out)
	require.Contains(t, out, "by-certificate")
	out, status = runCommand(t, "orderctl", listing[:5]...)
	require.NotZero(t, status, "without a certificate: %s", out)
	out, status = runCommand(t, "orderctl", listing[:7]...)
	require.NotZero(t, status)
	require.Contains(t, out, "--cert and --key go together")

	ask := func(url string, cfg *tls.Config) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/healthz", nil)
		require.NoError(t, err)
		bare := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
		answer, err := bare.RoundTrip(req)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	_, err = ask(s.at.HTTP, trusting)
	require.ErrorContains(t, err, "certificate required")
	status, err = ask("http://"+strings.TrimPrefix(s.at.HTTP, "https://"), nil)
	if err == nil { // otherwise the connection was cut
		require.Equal(t, http.StatusBadRequest, status)
	}

	verify := func(env ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(binaries, "orderstore"), "verify", "--data", s.data) //nolint:gosec // built by this test
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err = verify("ORDERSTORE_NATS_TLS_CA="+ours.File, "ORDERSTORE_NATS_TLS_CERT="+mine, "ORDERSTORE_NATS_TLS_KEY="+mineKey)
	require.NoError(t, err, out)
	out, err = verify("ORDERSTORE_NATS_TLS_CA=" + ours.File)
	require.Error(t, err)
	require.Contains(t, out, "certificate required")
}
