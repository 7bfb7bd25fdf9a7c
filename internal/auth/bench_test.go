package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
)

// The hot path: a token that was seen before.
func BenchmarkAuthenticateRemembered(b *testing.B) {
	h := setup(b)
	a, err := auth.NewAuthenticator(auth.AuthenticatorConfig{Issuer: issuerURL}, h.pool)
	require.NoError(b, err)
	disabled := h.user()
	require.NoError(b, h.store.DisableClient(b.Context(), disabled.ClientID))
	token := h.token(h.user())
	ctx := b.Context()
	_, err = a.Authenticate(ctx, token)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthenticateRememberedParallel(b *testing.B) {
	h := setup(b)
	token := h.token(h.user())
	a, err := auth.NewAuthenticator(auth.AuthenticatorConfig{Issuer: issuerURL}, h.pool)
	require.NoError(b, err)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.Authenticate(ctx, token); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkIssue(b *testing.B) {
	h := setup(b)
	who := auth.Identity{ClientID: "c_1", Kind: auth.KindUser, Tenant: "demo", Scopes: auth.DefaultScopes(auth.KindUser)}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := h.issuer.Issue(b.Context(), who); err != nil {
			b.Fatal(err)
		}
	}
}
