package client_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

func answerOrder(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Order-Position", "7")
	w.Header().Set("ETag", `"3"`)
	answer(w, http.StatusOK, map[string]any{"id": "o-1", "version": 3})
}

func TestTokenIsFetchedOnceHoweverManyNeedIt(t *testing.T) {
	t.Parallel()
	c, s := setup(t, answerOrder)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := c.GetOrder(t.Context(), "o-1", client.GetOptions{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, s.tokens())
}

func TestTokenIsRenewedBeforeItEndsAndBesideTheCall(t *testing.T) {
	t.Parallel()
	c, s := setup(t, answerOrder)
	var shift atomic.Int64
	start := time.Now()
	c.SetClock(func() time.Time { return start.Add(time.Duration(shift.Load())) })
	first, err := c.Token(t.Context())
	require.NoError(t, err)

	shift.Store(int64(13 * time.Minute))
	again, err := c.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, 1, s.tokens())

	shift.Store(int64(14*time.Minute + time.Second)) // within the last minute: the old one serves, the new one is on its way
	early, err := c.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, early)
	require.Eventually(t, func() bool {
		now, err := c.Token(t.Context())
		return err == nil && now == "token-2"
	}, 5*time.Second, time.Millisecond)

	shift.Store(int64(time.Hour)) // ended long ago: the call waits for a new one
	late, err := c.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "token-3", late)
}

func TestFailedRenewalLeavesTheOldTokenInUse(t *testing.T) {
	t.Parallel()
	c, s := setup(t, answerOrder)
	var shift atomic.Int64
	start := time.Now()
	c.SetClock(func() time.Time { return start.Add(time.Duration(shift.Load())) })
	first, err := c.Token(t.Context())
	require.NoError(t, err)
	asked := make(chan struct{}, 1000)
	s.token = func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		problem(w, http.StatusServiceUnavailable, "unavailable", "not now")
	}
	shift.Store(int64(14*time.Minute + 30*time.Second))
	for range 100 {
		token, err := c.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, token)
	}
	<-asked
	require.Less(t, len(asked), 50, "a failed renewal is not repeated by every call")
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	c, s := setup(t, answerOrder)
	s.revoke("token-1")
	got, err := c.GetOrder(t.Context(), "o-1", client.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(3), got.Version)
	require.Equal(t, client.Meta{Position: 7, ETag: `"3"`, Status: 200}, got.Meta)
	require.Equal(t, 2, s.tokens())

	s.revoke("token-2", "token-3")
	_, err = c.GetOrder(t.Context(), "o-1", client.GetOptions{})
	require.True(t, client.HasCode(err, "unauthorized"), "%v", err)
	require.Equal(t, 3, s.tokens())
	require.Empty(t, s.waited())
}

func TestWrongSecretIsToldAtOnce(t *testing.T) {
	t.Parallel()
	_, s := setup(t, answerOrder)
	c, err := client.New(client.Config{BaseURL: s.URL, ClientID: "a b", ClientSecret: "wrong", HTTPClient: s.Client()})
	require.NoError(t, err)
	_, err = c.GetOrder(t.Context(), "o-1", client.GetOptions{})
	require.True(t, client.HasCode(err, "invalid_client"), "%v", err)
	require.ErrorContains(t, err, "unknown client or wrong secret")
}

func TestOneImpatientCallerDoesNotSpoilTheTokenForOthers(t *testing.T) {
	t.Parallel()
	c, s := setup(t, answerOrder)
	arrived, release := make(chan struct{}), make(chan struct{})
	var requests atomic.Int64
	s.token = func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		close(arrived)
		<-release
		answer(w, http.StatusOK, map[string]any{"access_token": "t", "token_type": "bearer", "expires_in": 900})
	}
	impatient, giveUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := c.Token(impatient)
		gone <- err
	}()
	<-arrived
	patient := make(chan string)
	go func() {
		token, _ := c.Token(t.Context())
		patient <- token
	}()
	giveUp()
	require.ErrorIs(t, <-gone, context.Canceled)
	close(release)
	require.Equal(t, "t", <-patient)
	require.Equal(t, int64(1), requests.Load())
}

func TestOutsideTokensAreAskedForEachTime(t *testing.T) {
	t.Parallel()
	_, s := setup(t, answerOrder)
	var asked atomic.Int64
	c, err := client.New(client.Config{
		BaseURL: s.URL, HTTPClient: s.Client(),
		AccessToken: func(context.Context) (string, error) { asked.Add(1); return "outside", nil },
	})
	require.NoError(t, err)
	for range 2 {
		_, err = c.GetOrder(t.Context(), "o-1", client.GetOptions{})
		require.NoError(t, err)
	}
	require.Equal(t, int64(2), asked.Load())
	require.Zero(t, s.tokens())
}
