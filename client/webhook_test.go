package client_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

const (
	webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of the test vector of Standard Webhooks
	otherSecret   = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	webhookEvent  = `{"specversion":"1.0","id":"42","type":"task.completed","source":"/orderstore","subject":"0199","position":42}`
)

// signing is when the tests' requests are signed.
func signing() time.Time { return time.Unix(1_700_000_000, 0) }

func signHMAC(t *testing.T, secret, id string, at time.Time, body string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	require.NoError(t, err)
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// ed25519Key is a key pair, the same in each run, with its public half as a receiver has it.
func ed25519Key(seed byte) (ed25519.PrivateKey, string) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return private, "whpk_" + base64.StdEncoding.EncodeToString(private[ed25519.SeedSize:])
}

func signEd25519(private ed25519.PrivateKey, id string, at time.Time, body string) string {
	content := fmt.Sprintf("%s.%d.%s", id, at.Unix(), body)
	return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(content)))
}

func webhookHeader(id string, at time.Time, signatures ...string) http.Header {
	return http.Header{
		"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {strings.Join(signatures, " ")},
		"Orderstore-Delivery": {"d-1"}, "Orderstore-Attempt": {"3"}, "Orderstore-Replay": {"true"},
	}
}

func webhookVerifier(t *testing.T, secrets ...string) *client.WebhookVerifier {
	t.Helper()
	v, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: secrets, Now: signing})
	require.NoError(t, err)
	return v
}

// The vector is signed as it should be; what it holds is no event of ours.
func TestWebhookVectorOfTheStandard(t *testing.T) {
	t.Parallel()
	at := time.Unix(1614265330, 0)
	header := webhookHeader("msg_p5jXN8AQM9LWM0D4loKWxJek", at, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	v, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{webhookSecret}, Now: func() time.Time { return at }})
	require.NoError(t, err)
	_, err = v.Verify(header, []byte(`{"test": 2432232314}`))
	require.ErrorIs(t, err, client.ErrWebhookBody)
	_, err = v.Verify(header, []byte(`{"test": 2432232315}`))
	require.ErrorIs(t, err, client.ErrWebhookSignature)
}

func TestWebhookGivesTheEventAndItsDelivery(t *testing.T) {
	t.Parallel()
	private, public := ed25519Key(1)
	for secret, signature := range map[string]string{
		webhookSecret: signHMAC(t, webhookSecret, "42", signing(), webhookEvent),
		public:        signEd25519(private, "42", signing(), webhookEvent),
	} {
		header := webhookHeader("42", signing(), signature)
		event, err := webhookVerifier(t, secret).Verify(header, []byte(webhookEvent))
		require.NoError(t, err)
		require.Equal(t, int64(42), event.Position)
		require.Equal(t, "task.completed", event.Type)
		require.Equal(t, client.Delivery{ID: "d-1", Attempt: 3, Replay: true}, event.Delivery)

		for _, name := range []string{"Orderstore-Delivery", "Orderstore-Attempt", "Orderstore-Replay"} {
			header.Del(name)
		}
		event, err = webhookVerifier(t, secret).Verify(header, []byte(webhookEvent))
		require.NoError(t, err)
		require.Zero(t, event.Delivery)
	}
}

func TestVerifyWebhookTakesTheTimeOfDay(t *testing.T) {
	t.Parallel()
	now := time.Now()
	event, err := client.VerifyWebhook(webhookSecret, webhookHeader("42", now, signHMAC(t, webhookSecret, "42", now, webhookEvent)), []byte(webhookEvent))
	require.NoError(t, err)
	require.Equal(t, "42", event.ID)
	_, err = client.VerifyWebhook(webhookSecret, webhookHeader("42", signing(), signHMAC(t, webhookSecret, "42", signing(), webhookEvent)), []byte(webhookEvent))
	require.ErrorIs(t, err, client.ErrWebhookTime)
	_, err = client.VerifyWebhook("secret", nil, nil)
	require.Error(t, err)
}

// Cases 20 and 22.
func TestWebhookSignatureMustBeThatOfASecret(t *testing.T) {
	t.Parallel()
	private, public := ed25519Key(1)
	stranger, strangerPublic := ed25519Key(2)
	symmetric := signHMAC(t, webhookSecret, "42", signing(), webhookEvent)
	asymmetric := signEd25519(private, "42", signing(), webhookEvent)
	both := []string{asymmetric, symmetric}
	for name, c := range map[string]struct {
		secrets, signatures []string
		good                bool
	}{
		"during rotation, receiver with the old one": {[]string{webhookSecret}, both, true},
		"during rotation, receiver with the new one": {[]string{public}, both, true},
		"receiver with both, before":                 {[]string{otherSecret, webhookSecret}, []string{symmetric}, true},
		"receiver with both, during":                 {[]string{webhookSecret, public}, both, true},
		"after rotation, receiver with the old one":  {[]string{webhookSecret}, []string{asymmetric}, false},
		"after rotation, receiver with the new one":  {[]string{public}, []string{asymmetric}, true},
		"unknown version first":                      {[]string{webhookSecret}, []string{"v9,abc", symmetric}, true},
		"another secret":                             {[]string{otherSecret}, []string{symmetric}, false},
		"another public key":                         {[]string{strangerPublic}, both, false},
		"a stranger's signature":                     {[]string{public}, []string{signEd25519(stranger, "42", signing(), webhookEvent)}, false},
		"hmac with the public key as its secret": {
			[]string{public}, []string{signHMAC(t, "whsec_"+strings.TrimPrefix(public, "whpk_"), "42", signing(), webhookEvent)}, false,
		},
		"signature of one kind under the name of the other": {[]string{webhookSecret, public}, []string{"v1a" + symmetric[2:], "v1" + asymmetric[3:]}, false},
		"no version": {[]string{webhookSecret}, []string{symmetric[3:]}, false},
		"cut":        {[]string{webhookSecret, public}, []string{symmetric[:20], asymmetric[:20], "v1,", "v1a,", "v1", "v1a"}, false},
	} {
		_, err := webhookVerifier(t, c.secrets...).Verify(webhookHeader("42", signing(), c.signatures...), []byte(webhookEvent))
		if c.good {
			require.NoError(t, err, name)
			continue
		}
		assert.ErrorIs(t, err, client.ErrWebhookSignature, name)
	}
}

func TestTamperedWebhookIsRefused(t *testing.T) {
	t.Parallel()
	private, public := ed25519Key(1)
	for secret, signature := range map[string]string{
		webhookSecret: signHMAC(t, webhookSecret, "42", signing(), webhookEvent),
		public:        signEd25519(private, "42", signing(), webhookEvent),
	} {
		v := webhookVerifier(t, secret)
		_, err := v.Verify(webhookHeader("42", signing(), signature), []byte(strings.Replace(webhookEvent, "completed", "rejected", 1)))
		require.ErrorIs(t, err, client.ErrWebhookSignature, "body")
		_, err = v.Verify(webhookHeader("42", signing(), signature), []byte(webhookEvent+" "))
		require.ErrorIs(t, err, client.ErrWebhookSignature, "a space more")
		_, err = v.Verify(webhookHeader("43", signing(), signature), []byte(webhookEvent))
		require.ErrorIs(t, err, client.ErrWebhookSignature, "id")
		_, err = v.Verify(webhookHeader("42", signing().Add(time.Second), signature), []byte(webhookEvent))
		require.ErrorIs(t, err, client.ErrWebhookSignature, "timestamp")
	}
}

// Case 18.
func TestWebhookOutOfTimeIsRefused(t *testing.T) {
	t.Parallel()
	verify := func(off, tolerance time.Duration) error {
		v, err := client.NewWebhookVerifier(client.WebhookConfig{
			Secrets: []string{webhookSecret}, Tolerance: tolerance, Now: func() time.Time { return signing().Add(off) },
		})
		require.NoError(t, err)
		_, err = v.Verify(webhookHeader("42", signing(), signHMAC(t, webhookSecret, "42", signing(), webhookEvent)), []byte(webhookEvent))
		return err
	}
	for _, off := range []time.Duration{0, 300 * time.Second, -300 * time.Second} {
		require.NoError(t, verify(off, 0), off)
	}
	for _, off := range []time.Duration{301 * time.Second, -301 * time.Second, 300*time.Second + 1, 24 * time.Hour} {
		require.ErrorIs(t, verify(off, 0), client.ErrWebhookTime, off)
	}
	require.NoError(t, verify(time.Minute, time.Minute))
	require.ErrorIs(t, verify(time.Minute+1, time.Minute), client.ErrWebhookTime)
}

// Case 23 among others.
func TestWebhookHeadersMustBeThereOnceAndReadable(t *testing.T) {
	t.Parallel()
	good := signHMAC(t, webhookSecret, "42", signing(), webhookEvent)
	for name, change := range map[string]http.Header{
		"no id": {"Webhook-Id": nil}, "empty id": {"Webhook-Id": {""}}, "two ids": {"Webhook-Id": {"42", "43"}}, "the same id twice": {"Webhook-Id": {"42", "42"}},
		"no timestamp": {"Webhook-Timestamp": nil}, "two timestamps": {"Webhook-Timestamp": {"1700000000", "1"}},
		"no number": {"Webhook-Timestamp": {"now"}}, "negative": {"Webhook-Timestamp": {"-1"}}, "signed": {"Webhook-Timestamp": {"+1700000000"}},
		"a fraction": {"Webhook-Timestamp": {"1700000000.0"}}, "beyond range": {"Webhook-Timestamp": {"99999999999999999999"}},
		"no signature": {"Webhook-Signature": nil}, "two signature headers": {"Webhook-Signature": {"v1,abc", good}},
		"too many signatures": {"Webhook-Signature": {strings.Repeat("v1,abc ", 16) + good}},
		"a full stop in the id": {
			"Webhook-Id": {"42.1"}, "Webhook-Signature": {signHMAC(t, webhookSecret, "42.1", signing(), webhookEvent)},
		},
	} {
		header := webhookHeader("42", signing(), good)
		maps.Copy(header, change)
		_, err := webhookVerifier(t, webhookSecret).Verify(header, []byte(webhookEvent))
		assert.ErrorIs(t, err, client.ErrWebhookHeader, name)
	}
}

func TestSignedButNoEvent(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "null", "[]", "{", `{"id":"43"}`, `{"id":42}`, `{"id":"42","position":"x"}`} {
		_, err := webhookVerifier(t, webhookSecret).Verify(webhookHeader("42", signing(), signHMAC(t, webhookSecret, "42", signing(), body)), []byte(body))
		assert.ErrorIs(t, err, client.ErrWebhookBody, body)
	}
}

func TestWrongWebhookConfigurationIsRefusedWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 33))
	short := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 23))
	for _, secret := range []string{"", key, "whpk_" + key, "whsk_" + key, "whsec_" + short, "whsec_!" + key, "whpk_!"} {
		_, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{webhookSecret, secret}})
		require.ErrorContains(t, err, "secret 2", secret)
		require.NotContains(t, err.Error(), key[:16])
	}
	for _, cfg := range []client.WebhookConfig{{}, {Secrets: []string{webhookSecret}, Tolerance: -1}, {Secrets: []string{webhookSecret}, MaxBody: -1}} {
		_, err := client.NewWebhookVerifier(cfg)
		require.Error(t, err)
	}
}

func TestWebhookHandlerAnswers(t *testing.T) {
	t.Parallel()
	signed := func(body string) (string, http.Header) {
		return body, webhookHeader("42", signing(), signHMAC(t, webhookSecret, "42", signing(), body))
	}
	for name, c := range map[string]struct {
		method, body string
		header       http.Header
		result       error
		status       int
		retryAfter   string
		called       bool
	}{
		"dealt with":         {result: nil, status: 204, called: true},
		"not dealt with":     {result: errors.New("s3cr3t of the receiver"), status: 500, called: true},
		"gone":               {result: fmt.Errorf("closing down: %w", client.ErrWebhookGone), status: 410, called: true},
		"later":              {result: &client.WebhookRetry{After: 1500 * time.Millisecond, Err: errors.New("s3cr3t")}, status: 503, retryAfter: "2", called: true},
		"wrapped later":      {result: fmt.Errorf("busy: %w", &client.WebhookRetry{}), status: 503, retryAfter: "0", called: true},
		"GET":                {method: http.MethodGet, status: 405},
		"unsigned":           {header: http.Header{}, status: 401},
		"wrong signature":    {header: webhookHeader("42", signing(), "v1,abc"), status: 401},
		"signed long ago":    {header: webhookHeader("42", signing().Add(-time.Hour), "v1,abc"), status: 401},
		"signed but no JSON": {body: "no event", status: 400},
		"too large":          {body: `{"id":"42","type":"` + strings.Repeat("a", 1<<10) + `"}`, status: 413},
	} {
		called := false
		v, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{webhookSecret}, MaxBody: 1 << 10, Now: signing})
		require.NoError(t, err)
		handler := client.WebhookHandler(v, func(_ context.Context, e client.Event) error {
			called = true
			assert.Equal(t, "42", e.ID)
			return c.result
		})
		body, header := webhookEvent, c.header
		if c.body != "" {
			body = c.body
		}
		if header == nil {
			_, header = signed(body)
		}
		method := c.method
		if method == "" {
			method = http.MethodPost
		}
		r := httptest.NewRequestWithContext(t.Context(), method, "/hook", strings.NewReader(body))
		r.Header = header
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		assert.Equal(t, c.status, w.Code, name)
		assert.Equal(t, c.called, called, name)
		assert.Equal(t, c.retryAfter, w.Header().Get("Retry-After"), name)
		assert.NotContains(t, w.Body.String(), "s3cr3t", name)
	}
}

func TestBrokenOffWebhookIsRefused(t *testing.T) {
	t.Parallel()
	handler := client.WebhookHandler(webhookVerifier(t, webhookSecret), func(context.Context, client.Event) error {
		t.Error("called")
		return nil
	})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hook", io.MultiReader(strings.NewReader(webhookEvent), brokenReader{}))
	r.Header = webhookHeader("42", signing(), signHMAC(t, webhookSecret, "42", signing(), webhookEvent))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusBadRequest, w.Code)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Nothing but the one right signature verifies, whatever else stands in the header.
func FuzzWebhookSignature(f *testing.F) {
	f.Add("42", "1700000000", "v1,abc v1a,abc", []byte(webhookEvent))
	f.Add("42", "1700000000", "v1,", []byte{})
	_, public := ed25519Key(1)
	v, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{webhookSecret, public}, Now: signing})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		_, err := v.Verify(http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}, body)
		known := errors.Is(err, client.ErrWebhookHeader) || errors.Is(err, client.ErrWebhookTime) || errors.Is(err, client.ErrWebhookSignature)
		require.True(t, known, "%v", err)
	})
}
