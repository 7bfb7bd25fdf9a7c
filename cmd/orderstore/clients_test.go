package main

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// refused says whether a call was refused for want of a valid token or secret.
func refused(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == http.StatusUnauthorized
}

// TestClientThatIsEndedIsOut: with a token that still lives, and with its secret.
func TestClientThatIsEndedIsOut(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	operator := s.operator()
	made, err := operator.CreateClient(t.Context(), client.ClientSpec{Kind: client.KindUser, Tenant: "demo"})
	require.NoError(t, err)
	user := newClient(t, s.at.HTTP, party{ClientID: made.ClientID, ClientSecret: made.ClientSecret})
	_, err = user.Feed(t.Context(), client.FeedRequest{})
	require.NoError(t, err)

	renewed, err := operator.RotateClientSecret(t.Context(), made.ClientID)
	require.NoError(t, err)
	require.NotEqual(t, made.ClientSecret, renewed.ClientSecret)
	_, err = newClient(t, s.at.HTTP, party{ClientID: made.ClientID, ClientSecret: made.ClientSecret}).Token(t.Context())
	require.Error(t, err, "the old secret has ended")
	_, err = newClient(t, s.at.HTTP, party{ClientID: made.ClientID, ClientSecret: renewed.ClientSecret}).Token(t.Context())
	require.NoError(t, err)

	require.NoError(t, operator.DisableClient(t.Context(), made.ClientID))
	require.Eventually(t, func() bool {
		_, err := user.Feed(t.Context(), client.FeedRequest{})
		return err != nil
	}, 10*time.Second, 50*time.Millisecond, "a token that still lives is refused")
	_, err = newClient(t, s.at.HTTP, party{ClientID: made.ClientID, ClientSecret: renewed.ClientSecret}).Token(t.Context())
	require.Error(t, err)
	require.Error(t, operator.DisableClient(t.Context(), "c_nobody"))
	_, err = user.Feed(t.Context(), client.FeedRequest{})
	require.True(t, refused(err), "%v", err)
}
