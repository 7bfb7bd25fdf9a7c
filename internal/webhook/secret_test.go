package webhook_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/webhook"
)

// The vector of the Standard Webhooks libraries.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func vectorTime() time.Time { return time.Unix(1614265330, 0) }

func parse(t testing.TB, text string) webhook.Secret {
	t.Helper()
	secret, err := webhook.ParseSecret(text)
	require.NoError(t, err)
	return secret
}

func draw(t testing.TB, a webhook.Algorithm) webhook.Secret {
	t.Helper()
	secret, err := webhook.NewSecret(a)
	require.NoError(t, err)
	require.Equal(t, a, secret.Algorithm())
	return secret
}

func TestSignatureIsThatOfTheStandard(t *testing.T) {
	t.Parallel()
	got, err := webhook.Sign(vectorID, vectorTime(), []byte(vectorBody), parse(t, vectorSecret))
	require.NoError(t, err)
	require.Equal(t, vectorSignature, got)
}

func TestEd25519SignatureIsVerifiedByThePublicKey(t *testing.T) {
	t.Parallel()
	secret := draw(t, webhook.Ed25519)
	require.True(t, strings.HasPrefix(secret.Reveal(), "whsk_"))
	signature, err := webhook.Sign("42", time.Unix(1700000000, 0), []byte(`{"a":1}`), secret)
	require.NoError(t, err)

	encoded, found := strings.CutPrefix(secret.ForReceiver(), "whpk_")
	require.True(t, found)
	public, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	encoded, found = strings.CutPrefix(signature, "v1a,")
	require.True(t, found)
	raw, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	require.True(t, ed25519.Verify(public, []byte(`42.1700000000.{"a":1}`), raw))
	require.False(t, ed25519.Verify(public, []byte(`42.1700000001.{"a":1}`), raw))
}

func TestDrawnSecretIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, a := range []webhook.Algorithm{webhook.HMAC, webhook.Ed25519} {
		one, other := draw(t, a), draw(t, a)
		require.NotEqual(t, one.Reveal(), other.Reveal())
		again := parse(t, one.Reveal())
		first, err := webhook.Sign("1", vectorTime(), nil, one)
		require.NoError(t, err)
		second, err := webhook.Sign("1", vectorTime(), nil, again)
		require.NoError(t, err)
		require.Equal(t, first, second)
	}
	_, err := webhook.NewSecret("md5")
	require.ErrorIs(t, err, webhook.ErrSecret)
	require.Equal(t, vectorSecret, parse(t, vectorSecret).ForReceiver())
}

func TestSeedAloneIsTheSameEd25519Secret(t *testing.T) {
	t.Parallel()
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	long := parse(t, "whsk_"+base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed)))
	short := parse(t, "whsk_"+base64.StdEncoding.EncodeToString(seed))
	require.Equal(t, long.ForReceiver(), short.ForReceiver())
}

func TestWhatIsNoSecretIsRefusedWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	encode := base64.StdEncoding.EncodeToString
	mixed := append(bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)...)
	for name, text := range map[string]string{
		"empty": "", "no prefix": encode(make([]byte, 32)), "public key": "whpk_" + encode(make([]byte, 32)),
		"23 bytes": "whsec_" + encode(make([]byte, 23)), "65 bytes": "whsec_" + encode(make([]byte, 65)),
		"not base64": "whsec_????????????????????????????????", "line break": "whsec_" + encode(make([]byte, 32)) + "\n",
		"short seed": "whsk_" + encode(make([]byte, 31)), "other public half": "whsk_" + encode(mixed),
	} {
		_, err := webhook.ParseSecret(text)
		require.ErrorIs(t, err, webhook.ErrSecret, name)
		if len(text) > 8 {
			require.NotContains(t, err.Error(), text[6:], name)
		}
	}
	parse(t, "whsec_"+encode(make([]byte, 24)))
	parse(t, "whsec_"+encode(make([]byte, 64)))
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	for _, secret := range []webhook.Secret{parse(t, vectorSecret), draw(t, webhook.Ed25519)} {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("secret", slog.Any("it", secret), slog.Any("inside", struct{ S webhook.Secret }{secret}))
		asJSON, err := json.Marshal(secret)
		require.NoError(t, err)
		shown := fmt.Sprintf("%v %+v %#v %s %q %x %d", secret, secret, secret, secret, secret, secret, secret) +
			fmt.Sprint([]webhook.Secret{secret}, &secret) + log.String() + string(asJSON)
		_, key, _ := strings.Cut(secret.Reveal(), "_")
		raw, err := base64.StdEncoding.DecodeString(key)
		require.NoError(t, err)
		assert.NotContains(t, shown, key)
		assert.NotContains(t, shown, fmt.Sprintf("%x", raw[:8]))
		assert.NotContains(t, shown, strings.Trim(fmt.Sprintf("%d", raw[:8]), "[]"))
	}
}

// Case 22: while secrets change, a receiver with either one verifies; after the old one's end only the new one signs.
func TestOldSecretSignsUntilItsEnd(t *testing.T) {
	t.Parallel()
	old, fresh := draw(t, webhook.HMAC), draw(t, webhook.Ed25519)
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	terms := []webhook.Term{{Secret: fresh}, {Secret: old, Until: end}}
	signatures := func(at time.Time) []string {
		all, err := webhook.Sign("42", at, []byte("{}"), webhook.Live(terms, at)...)
		require.NoError(t, err)
		return strings.Split(all, " ")
	}
	both := signatures(end.Add(-time.Nanosecond))
	require.Len(t, both, 2)
	require.True(t, strings.HasPrefix(both[0], "v1a,") && strings.HasPrefix(both[1], "v1,"))
	alone := signatures(end)
	require.Len(t, alone, 1)
	require.True(t, strings.HasPrefix(alone[0], "v1a,"))
}

// Case 23: "1.2" with body "3" would be signed like "1" with timestamp 2 and another body.
func TestIDThatCouldBeTakenForAnotherIsNotSigned(t *testing.T) {
	t.Parallel()
	secret := parse(t, vectorSecret)
	for _, id := range []string{"", "a.b", ".", "a b", "a\r\nb", "a\x00", "ä", strings.Repeat("a", 129)} {
		_, err := webhook.Sign(id, vectorTime(), nil, secret)
		require.ErrorIs(t, err, webhook.ErrUnsigned, "%q", id)
	}
	_, err := webhook.Sign("1", vectorTime(), nil)
	require.ErrorIs(t, err, webhook.ErrUnsigned)
	_, err = webhook.Sign("1", vectorTime(), nil, webhook.Secret{})
	require.ErrorIs(t, err, webhook.ErrUnsigned)
}
