package webhook_test

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/webhook"
)

// sink answers 204 to whatever has a Content-Length, at a fraction of what an HTTP server costs, so that what is measured is the
// sender.
func sink(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go swallow(connection)
		}
	}()
	return "http://" + listener.Addr().String() + "/hook"
}

func swallow(connection net.Conn) {
	defer func() { _ = connection.Close() }()
	in := bufio.NewReader(connection)
	for length := 0; ; {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
		if len(line) > 2 {
			continue
		}
		if _, err := in.Discard(length); err != nil {
			return
		}
		if _, err := io.WriteString(connection, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
			return
		}
	}
}

func send(b *testing.B, s *webhook.Sender, address string, secrets ...webhook.Secret) {
	b.Helper()
	body := bytes.Repeat([]byte("x"), 450) // a notice without data
	b.ReportAllocs()
	b.SetParallelism(8)
	var position atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a := s.Send(b.Context(), &webhook.Request{
				URL: address, ID: strconv.FormatInt(position.Add(1), 10), Timestamp: time.Now(), Body: body,
				ContentType: "application/cloudevents+json", Secrets: secrets,
				Headers: map[string]string{"orderstore-delivery": "0199c0de-0000-7000-8000-000000000000", "orderstore-attempt": "1"},
			})
			if a.Kind != webhook.Delivered {
				b.Errorf("%s: %v", a.Kind, a.Err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
}

func BenchmarkSend(b *testing.B) {
	address := sink(b)
	b.Run("hmac", func(b *testing.B) {
		send(b, sender(b, loopback(), webhook.SenderConfig{}), address, draw(b, webhook.HMAC))
	})
	b.Run("ed25519", func(b *testing.B) {
		send(b, sender(b, loopback(), webhook.SenderConfig{}), address, draw(b, webhook.Ed25519))
	})
	b.Run("both", func(b *testing.B) {
		send(b, sender(b, loopback(), webhook.SenderConfig{}), address, draw(b, webhook.HMAC), draw(b, webhook.Ed25519))
	})
}

func BenchmarkSendTLS(b *testing.B) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	b.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	send(b, sender(b, loopback(), webhook.SenderConfig{RootCAs: roots}), server.URL, draw(b, webhook.HMAC))
}
