package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// Kind is what came of an attempt.
type Kind string

// The kinds. Delivered is the only success. After Gone nothing more should be sent to the endpoint. Cancelled is the sender's own
// doing and Unsendable a fault of the request; neither says anything about the endpoint.
const (
	Delivered   Kind = "delivered"   // 200 to 299
	Gone        Kind = "gone"        // 410: the receiver wants no more
	Throttled   Kind = "throttled"   // 429, or 503 with Retry-After
	Redirected  Kind = "redirected"  // 300 to 399: redirects are not followed
	Rejected    Kind = "rejected"    // any other 400 to 499
	Failed      Kind = "failed"      // any other status
	Blocked     Kind = "blocked"     // the guard refused the target
	TimedOut    Kind = "timeout"     // no connection, no answer, or not in time
	Refused     Kind = "refused"     // nobody listens there
	Untrusted   Kind = "tls"         // no TLS, or a certificate that is not trusted
	Unreachable Kind = "unreachable" // the name does not resolve, no route, a connection cut, an answer that is not HTTP
	Cancelled   Kind = "cancelled"   // the context ended
	Unsendable  Kind = "unsendable"  // the request cannot be made or signed
)

// Attempt is one request and what came of it.
type Attempt struct {
	Kind    Kind
	Status  int           // 0: no answer
	Latency time.Duration // until the answer was read, or the failure known
	// Answer is the beginning of the answer's body: at most 4 KiB of valid UTF-8 without NUL, so that a store takes it.
	Answer string
	// RetryAfter is how long the receiver asked to be left alone, at most MaxRetryAfter; 0: it did not ask.
	RetryAfter time.Duration
	// Reason says in a few words what was wrong, and is safe to show to the endpoint's owner; empty for Delivered.
	Reason string
	// Err is the cause, for the log; nil where there was an answer.
	Err error
}

// Healthy tells whether the endpoint did its part: it answered as one that works, even if it did not like this message.
func (a *Attempt) Healthy() bool {
	switch a.Kind {
	case Delivered, Rejected, Gone, Throttled:
		return true
	default:
		return false
	}
}

// answered classifies by status, and by whether the receiver named a time to come back.
func answered(status int, retryAfter bool) (Kind, string) {
	switch {
	case status >= 200 && status <= 299:
		return Delivered, ""
	case status == http.StatusGone:
		return Gone, named(status) + ": the endpoint wants no more requests"
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && retryAfter:
		return Throttled, named(status) + ": the endpoint asks for a pause"
	case status >= 300 && status <= 399:
		return Redirected, named(status) + ": redirects are not followed; change the subscription's address"
	case status >= 400 && status <= 499:
		return Rejected, named(status)
	default:
		return Failed, named(status)
	}
}

// named is a status as people read it, such as "404 Not Found".
func named(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// failed classifies what kept a request from being answered.
func failed(ctx context.Context, err error) (Kind, string) {
	var refusal *Refusal
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &refusal):
		return Blocked, refusal.Reason
	case errors.Is(ctx.Err(), context.Canceled):
		return Cancelled, "the attempt was broken off by the sender"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut, "no answer in time"
	case errors.As(err, &dns):
		return Unreachable, "the host's name does not resolve"
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, "nobody listens at the address"
	case untrusted(err):
		return Untrusted, tlsReason(err)
	default:
		return Unreachable, "the connection failed"
	}
}

func untrusted(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var operation *net.OpError
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) ||
		// What the peer tells in a TLS alert is of a type that crypto/tls keeps to itself.
		(errors.As(err, &operation) && operation.Op == "remote error")
}

func tlsReason(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "the certificate is signed by nobody who is trusted here"
	case errors.As(err, &host):
		return "the certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate is out of date"
	default:
		return "no TLS connection could be made"
	}
}

// text makes an answer's beginning fit to be stored: valid UTF-8 without NUL, at most answerLimit bytes. A character that the limit
// cut in two goes.
func text(answer []byte) string {
	if len(answer) == 0 {
		return ""
	}
	if len(answer) == answerLimit {
		answer = wholeRunes(answer)
	}
	s := strings.ToValidUTF8(string(answer), "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) > answerLimit {
		s = string(wholeRunes([]byte(s)[:answerLimit]))
	}
	return s
}

func wholeRunes(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
