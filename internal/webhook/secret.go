// Package webhook sends one signed request to one address and says what came of it: signatures by Standard Webhooks, a guard
// against requests to addresses inside, one attempt at a time, the pauses between attempts, and a circuit per endpoint. It
// knows nothing of subscriptions, orders or stores.
package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Algorithm is how a secret signs.
type Algorithm string

// The algorithms of Standard Webhooks.
const (
	HMAC    Algorithm = "hmac-sha256" // signature v1; the receiver holds the same secret
	Ed25519 Algorithm = "ed25519"     // signature v1a; the receiver holds the public key only
)

const (
	prefixHMAC    = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"
	// The limits of Standard Webhooks for a symmetric secret, in bytes, and what NewSecret makes.
	shortestKey, longestKey, newKey = 24, 64, 32
)

// ErrSecret says that a text is no signing secret. It is never wrapped together with the text.
var ErrSecret = errors.New("not a webhook secret")

// Secret signs requests. Printed or logged it shows its kind only; Reveal gives the text to store and to show once.
type Secret struct {
	text    string
	hmac    *standardwebhooks.Webhook // nil for Ed25519
	private ed25519.PrivateKey        // nil for HMAC
}

// NewSecret draws a secret at random.
func NewSecret(a Algorithm) (Secret, error) {
	switch a {
	case HMAC:
		key := make([]byte, newKey)
		_, _ = rand.Read(key) // never fails, as its documentation says
		return ParseSecret(prefixHMAC + base64.StdEncoding.EncodeToString(key))
	case Ed25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return Secret{}, fmt.Errorf("draw ed25519 key: %w", err)
		}
		return ParseSecret(prefixPrivate + base64.StdEncoding.EncodeToString(private))
	default:
		return Secret{}, fmt.Errorf("%w: no such algorithm: %q", ErrSecret, string(a))
	}
}

// ParseSecret reads "whsec_" and 24 to 64 bytes in base64, or "whsk_" and an Ed25519 key: its seed of 32 bytes, or seed and
// public half as 64. It returns ErrSecret for anything else.
func ParseSecret(text string) (Secret, error) {
	if encoded, found := strings.CutPrefix(text, prefixHMAC); found {
		key, err := decode(encoded)
		if err != nil || len(key) < shortestKey || len(key) > longestKey {
			return Secret{}, fmt.Errorf("%w: after %s come %d to %d bytes in base64", ErrSecret, prefixHMAC, shortestKey, longestKey)
		}
		signer, err := standardwebhooks.NewWebhookRaw(key)
		if err != nil {
			return Secret{}, fmt.Errorf("%w: %w", ErrSecret, err)
		}
		return Secret{text: text, hmac: signer}, nil
	}
	encoded, found := strings.CutPrefix(text, prefixPrivate)
	if !found {
		return Secret{}, fmt.Errorf("%w: it begins with neither %s nor %s", ErrSecret, prefixHMAC, prefixPrivate)
	}
	key, err := decode(encoded)
	if err != nil || (len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize) {
		return Secret{}, fmt.Errorf("%w: after %s come %d or %d bytes in base64", ErrSecret, prefixPrivate, ed25519.SeedSize, ed25519.PrivateKeySize)
	}
	private := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
	// Signing with another public half than the seed's gives the seed away.
	if len(key) == ed25519.PrivateKeySize && !bytes.Equal(private, key) {
		return Secret{}, fmt.Errorf("%w: its public half is not that of its seed", ErrSecret)
	}
	return Secret{text: text, private: private}, nil
}

// decode is strict: base64 of the standard library passes over line breaks.
func decode(encoded string) ([]byte, error) {
	if strings.ContainsAny(encoded, "\r\n") {
		return nil, ErrSecret
	}
	return base64.StdEncoding.Strict().DecodeString(encoded)
}

// Algorithm tells how the secret signs; empty for the zero Secret.
func (s Secret) Algorithm() Algorithm {
	switch {
	case s.hmac != nil:
		return HMAC
	case s.private != nil:
		return Ed25519
	default:
		return ""
	}
}

// Reveal gives the secret's text, as ParseSecret reads it.
func (s Secret) Reveal() string { return s.text }

// ForReceiver is what the receiver verifies with: the secret itself for HMAC, the public key ("whpk_…") for Ed25519.
func (s Secret) ForReceiver() string {
	if s.private == nil {
		return s.text
	}
	public, _ := s.private.Public().(ed25519.PublicKey) // what the documentation says it is
	return prefixPublic + base64.StdEncoding.EncodeToString(public)
}

// Format shows which kind of secret it is, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.hidden())) }

// LogValue shows which kind of secret it is.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.hidden()) }

// MarshalText shows which kind of secret it is, so that JSON does no more.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.hidden()), nil }

func (s Secret) hidden() string {
	switch s.Algorithm() {
	case HMAC:
		return prefixHMAC + "…"
	case Ed25519:
		return prefixPrivate + "…"
	default:
		return "none"
	}
}

// Term is a secret and when it ends. While secrets change, the old one goes on signing beside the new one until its end.
type Term struct {
	Secret Secret
	Until  time.Time // zero: no end
}

// Live gives the secrets that sign at a time, in the order given.
func Live(terms []Term, at time.Time) []Secret {
	live := make([]Secret, 0, len(terms))
	for _, term := range terms {
		if term.Until.IsZero() || at.Before(term.Until) {
			live = append(live, term.Secret)
		}
	}
	return live
}
