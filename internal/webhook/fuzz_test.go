package webhook_test

import (
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/webhook"
)

// Whatever is taken for a secret signs, and its text is read as the same secret again.
func FuzzParseSecret(f *testing.F) {
	f.Add(vectorSecret)
	f.Add("whsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("whsec_")
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := webhook.ParseSecret(text)
		if err != nil {
			require.ErrorIs(t, err, webhook.ErrSecret)
			return
		}
		require.Equal(t, text, secret.Reveal())
		first, err := webhook.Sign("1", vectorTime(), []byte("{}"), secret)
		require.NoError(t, err)
		again, err := webhook.Sign("1", vectorTime(), []byte("{}"), parse(t, secret.Reveal()))
		require.NoError(t, err)
		require.Equal(t, first, again)
	})
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, value := range []string{"0", "120", "99999999999999999999", "Fri, 02 Jan 2026 03:05:05 GMT", "-1", "soon"} {
		f.Add(value)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		pause, ok := webhook.ParseRetryAfter(value, now)
		require.True(t, ok || pause == 0)
		require.True(t, pause >= 0 && pause <= webhook.MaxRetryAfter, pause)
	})
}

// Without a name server, an accepted address is https, bare, accepted again in the form given back, and no address inside.
func FuzzCheckURL(f *testing.F) {
	for _, raw := range []string{
		"https://1.1.1.1/hook?a=b", "https://[2606:4700:4700::1111]:8443/", "https://example.com", "https://user@example.com/", "http://1.1.1.1",
		"https://2130706433/", "https://①②⑦.⓪.⓪.①/", "https://[::ffff:10.0.0.1]/", "https://bücher.example:443/#x", "https://a_b:8080/%2f",
	} {
		f.Add(raw)
	}
	g := guard(f, webhook.GuardConfig{Resolver: brokenResolver()})
	f.Fuzz(func(t *testing.T, raw string) {
		kept, err := g.CheckURL(t.Context(), raw)
		if err != nil {
			var refusal *webhook.Refusal
			require.ErrorAs(t, err, &refusal)
			require.Empty(t, kept)
			return
		}
		again, err := g.CheckURL(t.Context(), kept)
		require.NoError(t, err)
		require.Equal(t, kept, again)
		u, err := url.Parse(kept)
		require.NoError(t, err)
		require.True(t, u.Scheme == "https" && u.User == nil && u.Fragment == "" && u.Hostname() != "", kept)
		if address, err := netip.ParseAddr(u.Hostname()); err == nil {
			address = address.Unmap()
			require.False(t, address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsMulticast() || address.IsUnspecified(), kept)
		}
	})
}
