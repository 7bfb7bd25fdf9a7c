package client

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// What can be wrong with a webhook request.
var (
	// ErrWebhookHeader: a header of Standard Webhooks is missing, there twice, or not readable.
	ErrWebhookHeader = errors.New("webhook headers are not as they should be")
	// ErrWebhookTime: the request was signed longer ago, or further ahead, than is tolerated.
	ErrWebhookTime = errors.New("webhook timestamp is out of tolerance")
	// ErrWebhookSignature: no signature is that of one of the secrets.
	ErrWebhookSignature = errors.New("webhook signature does not match")
	// ErrWebhookBody: the request is signed, but what it holds is not the event that its id names.
	ErrWebhookBody = errors.New("webhook body is not the event")
)

// Delivery is how an event came by webhook. It is not part of what is signed: good for logs, not for decisions. Whether
// an event was heard before is told by its ID, which is signed.
type Delivery struct {
	ID      string // the same in all attempts to deliver the event
	Attempt int    // 1 for the first; 0: not said
	Replay  bool   // sent again because somebody asked for it
}

// WebhookConfig says how requests are verified.
type WebhookConfig struct {
	// Secrets are those of the subscription: "whsec_…", or the public key "whpk_…". One match is enough, so while a secret changes
	// both may be here, and the old one goes when the change is over.
	Secrets []string
	// Tolerance is how far the time of signing may be from now, either way; 0 means 5 minutes.
	Tolerance time.Duration
	// MaxBody bounds what WebhookHandler reads of a request, in bytes; 0 means 4 MiB.
	MaxBody int64
	// Now is the time of day; nil means time.Now.
	Now func() time.Time
}

// WebhookVerifier tells requests of the order store from others. It is safe for concurrent use.
type WebhookVerifier struct {
	symmetric []*standardwebhooks.Webhook
	public    []ed25519.PublicKey
	tolerance time.Duration
	maxBody   int64
	now       func() time.Time
}

const (
	defaultTolerance = 5 * time.Minute
	defaultMaxBody   = 4 << 20
	// A sender has two live secrets while one changes. To check a signature costs, so there is a limit.
	mostSignatures = 16
)

// NewWebhookVerifier makes a verifier. Its error does not repeat a secret.
func NewWebhookVerifier(cfg WebhookConfig) (*WebhookVerifier, error) {
	if len(cfg.Secrets) == 0 {
		return nil, errors.New("webhook verifier: no secret")
	}
	if cfg.Tolerance < 0 || cfg.MaxBody < 0 {
		return nil, errors.New("webhook verifier: a limit is below zero")
	}
	v := &WebhookVerifier{tolerance: cfg.Tolerance, maxBody: cfg.MaxBody, now: cfg.Now}
	if v.tolerance == 0 {
		v.tolerance = defaultTolerance
	}
	if v.maxBody == 0 {
		v.maxBody = defaultMaxBody
	}
	if v.now == nil {
		v.now = time.Now
	}
	for i, secret := range cfg.Secrets {
		if err := v.add(secret); err != nil {
			return nil, fmt.Errorf("webhook verifier: secret %d: %w", i+1, err)
		}
	}
	return v, nil
}

func (v *WebhookVerifier) add(secret string) error {
	if encoded, found := strings.CutPrefix(secret, "whpk_"); found {
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return errors.New("after whpk_ come 32 bytes in base64")
		}
		v.public = append(v.public, key)
		return nil
	}
	encoded, found := strings.CutPrefix(secret, "whsec_")
	if !found {
		return errors.New("it begins with neither whsec_ nor whpk_")
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) < 24 || len(key) > 64 { // the limits of Standard Webhooks
		return errors.New("after whsec_ come 24 to 64 bytes in base64")
	}
	symmetric, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return err
	}
	v.symmetric = append(v.symmetric, symmetric)
	return nil
}

// VerifyWebhook verifies one request with one secret. Who receives many makes a WebhookVerifier.
func VerifyWebhook(secret string, header http.Header, body []byte) (Event, error) {
	v, err := NewWebhookVerifier(WebhookConfig{Secrets: []string{secret}})
	if err != nil {
		return Event{}, err
	}
	return v.Verify(header, body)
}

// Verify gives the event of a request that one of the secrets has signed in time. The body must be the bytes as they came. The
// error is ErrWebhookHeader, ErrWebhookTime, ErrWebhookSignature or ErrWebhookBody.
//
// The same event may come more than once: the store sends again what was not answered, and a request that somebody recorded verifies
// within the tolerance. Event.ID tells.
func (v *WebhookVerifier) Verify(header http.Header, body []byte) (Event, error) {
	id, err := single(header, "Webhook-Id")
	if err != nil {
		return Event{}, err
	}
	timestamp, err := single(header, "Webhook-Timestamp")
	if err != nil {
		return Event{}, err
	}
	signatures, err := single(header, "Webhook-Signature")
	if err != nil {
		return Event{}, err
	}
	if strings.Contains(id, ".") { // such a request could be read as two different ones
		return Event{}, fmt.Errorf("%w: a full stop in Webhook-Id", ErrWebhookHeader)
	}
	seconds, err := strconv.ParseUint(timestamp, 10, 40)
	if err != nil {
		return Event{}, fmt.Errorf("%w: Webhook-Timestamp is not in seconds", ErrWebhookHeader)
	}
	if off := v.now().Sub(time.Unix(int64(seconds), 0)).Abs(); off > v.tolerance { // 40 bits fit
		return Event{}, fmt.Errorf("%w: %s off", ErrWebhookTime, off)
	}
	if err := v.matches(header, id, timestamp, signatures, body); err != nil {
		return Event{}, err
	}
	return readDelivery(header, id, body)
}

func single(header http.Header, name string) (string, error) {
	values := header.Values(name)
	if len(values) != 1 || values[0] == "" {
		return "", fmt.Errorf("%w: %s must be there once", ErrWebhookHeader, name)
	}
	return values[0], nil
}

// matches compares in constant time: the library by hmac.Equal, Ed25519 by its nature with a public key.
func (v *WebhookVerifier) matches(header http.Header, id, timestamp, signatures string, body []byte) error {
	if strings.Count(signatures, " ") >= mostSignatures {
		return fmt.Errorf("%w: more than %d signatures", ErrWebhookHeader, mostSignatures)
	}
	for _, secret := range v.symmetric {
		if secret.VerifyIgnoringTimestamp(body, header) == nil {
			return nil
		}
	}
	if len(v.public) == 0 {
		return ErrWebhookSignature
	}
	content := slices.Concat([]byte(id+"."+timestamp+"."), body)
	for one := range strings.SplitSeq(signatures, " ") {
		encoded, found := strings.CutPrefix(one, "v1a,")
		if !found {
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		for _, key := range v.public {
			if ed25519.Verify(key, content, signature) {
				return nil
			}
		}
	}
	return ErrWebhookSignature
}

func readDelivery(header http.Header, id string, body []byte) (Event, error) {
	var event Event
	if err := json.Unmarshal(body, &event); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrWebhookBody, err)
	}
	if event.ID != id {
		return Event{}, fmt.Errorf("%w: its id is not Webhook-Id", ErrWebhookBody)
	}
	attempt, err := strconv.Atoi(header.Get("Orderstore-Attempt"))
	if err != nil {
		attempt = 0 // absent or unreadable: not said
	}
	event.Delivery = Delivery{ID: header.Get("Orderstore-Delivery"), Attempt: attempt, Replay: header.Get("Orderstore-Replay") == "true"}
	return event, nil
}
