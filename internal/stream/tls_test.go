package stream_test

import (
	"crypto/tls"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/tlsfiles"
	"github.com/orderstore/orderstore/internal/tlstest"
)

// TestBrokerByCertificates connects to a server that asks for client certificates: what cannot succeed ends at once, with no deadline to
// end it.
func TestBrokerByCertificates(t *testing.T) {
	t.Parallel()
	ours, others := tlstest.New(t), tlstest.New(t)
	cert, key := ours.Issue(t, "server")
	mine, mineKey := ours.Issue(t, "client")
	foreign, foreignKey := others.Issue(t, "client")
	encrypted, err := tlsfiles.Server{Cert: cert, Key: key, ClientCA: ours.File}.Config(time.Now, quiet())
	require.NoError(t, err)
	srv := startServer(t, stream.ServerConfig{Dir: t.TempDir(), TLS: encrypted})
	connect := func(address string, files tlsfiles.Client) (*nats.Conn, error) {
		return stream.Connect(t.Context(), address, "test", files.NATSOptions()...)
	}

	good := tlsfiles.Client{CA: ours.File, Cert: mine, Key: mineKey}
	conn, err := connect(srv.URL(), good)
	require.NoError(t, err)
	defer conn.Close()
	state, err := conn.TLSConnectionState()
	require.NoError(t, err)
	require.GreaterOrEqual(t, state.Version, uint16(tls.VersionTLS12))
	require.NoError(t, inProcess(t, srv).FlushTimeout(5*time.Second)) // which has no network to be safe on

	_, err = connect(srv.URL(), tlsfiles.Client{CA: ours.File})
	require.ErrorContains(t, err, "certificate required")
	_, err = connect(srv.URL(), tlsfiles.Client{CA: ours.File, Cert: foreign, Key: foreignKey})
	require.ErrorContains(t, err, "unknown certificate authority")
	_, err = connect(srv.URL(), tlsfiles.Client{CA: others.File, Cert: mine, Key: mineKey})
	require.ErrorAs(t, err, new(*tls.CertificateVerificationError))

	// Files that are named are used or nothing is, whatever the address says.
	plain := startServer(t, stream.ServerConfig{Dir: t.TempDir()})
	_, err = connect(plain.URL(), good)
	require.ErrorIs(t, err, nats.ErrSecureConnWanted)
	// The server takes nobody in plain text: a client without any setting goes over to TLS, and does not know the authority.
	address, err := url.Parse(srv.URL())
	require.NoError(t, err)
	address.Scheme = "nats"
	_, err = connect(address.String(), tlsfiles.Client{})
	require.ErrorAs(t, err, new(*tls.CertificateVerificationError))
}
