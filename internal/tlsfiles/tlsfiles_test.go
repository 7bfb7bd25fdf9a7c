package tlsfiles_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/tlsfiles"
	"github.com/orderstore/orderstore/internal/tlstest"
)

// door is an HTTP server behind files, and a clock for it.
type door struct {
	address string
	ahead   atomic.Int64 // of the real time
}

func open(t *testing.T, files tlsfiles.Server) *door {
	t.Helper()
	d := &door{}
	now := func() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) }
	cfg, err := files.Config(now, slog.New(slog.DiscardHandler), "http/1.1")
	require.NoError(t, err)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d.address = l.Addr().String()
	server := &http.Server{
		Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(tls.NewListener(l, cfg))
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return d
}

// ask makes one request on a connection of its own and gives the serial number of the server's certificate.
func (d *door) ask(t *testing.T, trust *tlstest.Authority, cert, key string, most uint16) (string, error) {
	t.Helper()
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS10, MaxVersion: most} //nolint:gosec // what is too old is to be refused
	pem, err := os.ReadFile(trust.File)
	require.NoError(t, err)
	require.True(t, cfg.RootCAs.AppendCertsFromPEM(pem))
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		require.NoError(t, err)
		// Shown whatever the server asks for.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	return serial(t.Context(), transport, "https://"+d.address)
}

func serial(ctx context.Context, transport http.RoundTripper, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	return answer.TLS.PeerCertificates[0].SerialNumber.String(), answer.Body.Close()
}

func TestListenerLetsInWhoShowsACertificate(t *testing.T) {
	t.Parallel()
	ours, others := tlstest.New(t), tlstest.New(t)
	cert, key := ours.Issue(t, "server")
	mine, mineKey := ours.Issue(t, "client")
	foreign, foreignKey := others.Issue(t, "client")
	d := open(t, tlsfiles.Server{Cert: cert, Key: key, ClientCA: ours.File})

	_, err := d.ask(t, ours, mine, mineKey, 0)
	require.NoError(t, err)
	_, err = d.ask(t, ours, mine, mineKey, tls.VersionTLS12)
	require.NoError(t, err)
	_, err = d.ask(t, ours, mine, mineKey, tls.VersionTLS11)
	require.ErrorContains(t, err, "protocol version")
	_, err = d.ask(t, ours, "", "", 0)
	require.ErrorContains(t, err, "certificate required")
	_, err = d.ask(t, ours, foreign, foreignKey, 0)
	require.ErrorContains(t, err, "unknown certificate authority")
	_, err = d.ask(t, others, mine, mineKey, 0)
	require.ErrorAs(t, err, new(*tls.CertificateVerificationError))

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.address, nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusBadRequest, answer.StatusCode) // plain text reaches no handler, which would say 404
}

func TestChangedFilesAreTakenIn(t *testing.T) {
	t.Parallel()
	ours, next := tlstest.New(t), tlstest.New(t)
	cert, key := ours.Issue(t, "server")
	mine, mineKey := ours.Issue(t, "client")
	theirs, theirsKey := next.Issue(t, "client")
	d := open(t, tlsfiles.Server{Cert: cert, Key: key, ClientCA: ours.File})
	first, err := d.ask(t, ours, mine, mineKey, 0)
	require.NoError(t, err)

	ours.Issue(t, "server") // in the same files
	d.ahead.Add(int64(2 * time.Second))
	second, err := d.ask(t, ours, mine, mineKey, 0)
	require.NoError(t, err)
	require.NotEqual(t, first, second)

	// What cannot be used is not: the last good certificate stays.
	kept, err := os.ReadFile(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(key, []byte("half a file"), 0o600))
	d.ahead.Add(int64(2 * time.Second))
	again, err := d.ask(t, ours, mine, mineKey, 0)
	require.NoError(t, err)
	require.Equal(t, second, again)
	require.NoError(t, os.WriteFile(key, kept, 0o600))

	// Another authority of clients: who has a certificate of the old one is out.
	trusted, err := os.ReadFile(ours.File)
	require.NoError(t, err)
	replacement, err := os.ReadFile(next.File)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(ours.File, replacement, 0o600))
	d.ahead.Add(int64(2 * time.Second))
	anchor := tlstest.New(t)
	require.NoError(t, os.WriteFile(anchor.File, trusted, 0o600))
	_, err = d.ask(t, anchor, mine, mineKey, 0)
	require.Error(t, err)
	_, err = d.ask(t, anchor, theirs, theirsKey, 0)
	require.NoError(t, err)
}

func TestFilesHaveToBeWhole(t *testing.T) {
	t.Parallel()
	ours := tlstest.New(t)
	cert, key := ours.Issue(t, "server")
	for name, files := range map[string]tlsfiles.Server{
		"no key":               {Cert: cert},
		"no certificate":       {Key: key},
		"authority alone":      {ClientCA: ours.File},
		"no such file":         {Cert: cert, Key: key + ".none"},
		"key of no such kind":  {Cert: cert, Key: cert},
		"authority is no PEM":  {Cert: cert, Key: key, ClientCA: key},
		"authority is nowhere": {Cert: cert, Key: key, ClientCA: key + ".none"},
	} {
		_, err := files.Config(time.Now, slog.New(slog.DiscardHandler))
		require.Error(t, err, name)
	}
	require.Error(t, tlsfiles.Client{Cert: cert}.Validate())
	require.NoError(t, tlsfiles.Client{CA: ours.File}.Validate())
}
