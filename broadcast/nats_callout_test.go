package broadcast

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/stream"
)

// asking is a server that asks.
type asking struct {
	key, curve nkeys.KeyPair
	id, xkey   string
	user       string
}

func newAsking(t *testing.T) *asking {
	t.Helper()
	s := &asking{}
	var err error
	s.key, err = nkeys.CreateServer()
	require.NoError(t, err)
	s.curve, err = nkeys.CreateCurveKeys()
	require.NoError(t, err)
	s.id, err = s.key.PublicKey()
	require.NoError(t, err)
	s.xkey, err = s.curve.PublicKey()
	require.NoError(t, err)
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	s.user, err = user.PublicKey()
	require.NoError(t, err)
	return s
}

// ask makes a question; change makes it another one than a server would ask.
func (s *asking) ask(t *testing.T, keys *stream.CalloutKeys, sealed bool, change func(*jwt.AuthorizationRequestClaims)) *nats.Msg {
	t.Helper()
	claims := jwt.NewAuthorizationRequestClaims(keys.Public().Issuer)
	claims.Audience, claims.UserNkey, claims.Server.ID = calloutAudience, s.user, s.id
	claims.Expires = time.Now().Add(time.Minute).Unix()
	claims.ConnectOptions.Username, claims.ConnectOptions.Password = "c_demo", "secret"
	if sealed {
		claims.Server.XKey = s.xkey
	}
	change(claims)
	token, err := claims.Encode(s.key)
	require.NoError(t, err)
	m := &nats.Msg{Data: []byte(token), Header: nats.Header{}}
	if sealed {
		m.Data, err = s.curve.Seal(m.Data, keys.Public().XKey)
		require.NoError(t, err)
		m.Header.Set(calloutXKey, s.xkey)
	}
	return m
}

func asServersDo(*jwt.AuthorizationRequestClaims) {}

func TestQuestionIsReadInTheClearAndSealed(t *testing.T) {
	t.Parallel()
	keys, s := newKeys(t), newAsking(t)
	for _, sealed := range []bool{false, true} {
		q, err := readQuestion(s.ask(t, keys, sealed, asServersDo), keys, time.Now())
		require.NoError(t, err)
		require.Equal(t, "c_demo", q.login.Username)
		user, err := q.admit(keys, auth.Identity{ClientID: "c_demo"}, []string{"sub-1"}, time.Now().Add(time.Minute))
		require.NoError(t, err)
		answer, err := q.answer(keys, user, "")
		require.NoError(t, err)
		if sealed {
			answer, err = s.curve.Open(answer, keys.Public().XKey)
			require.NoError(t, err, "only the server can read the answer")
		}
		claims, err := jwt.DecodeAuthorizationResponseClaims(string(answer))
		require.NoError(t, err)
		require.Equal(t, keys.Public().Issuer, claims.Issuer)
		require.Equal(t, s.id, claims.Audience)
		admitted, err := jwt.DecodeUserClaims(claims.Jwt)
		require.NoError(t, err)
		require.Equal(t, stream.PartyAccount, admitted.Audience)
		require.Equal(t, s.user, admitted.Subject)
		require.Nil(t, admitted.Resp, "it may answer nobody")
		require.Equal(t, jwt.StringList{"_INBOX_c_demo.>"}, admitted.Sub.Allow)
		require.Len(t, admitted.Pub.Allow, 3)
	}
}

func TestQuestionOfSomebodyElseIsNotAnswered(t *testing.T) {
	t.Parallel()
	keys, s := newKeys(t), newAsking(t)
	other := newAsking(t)
	for name, change := range map[string]func(*jwt.AuthorizationRequestClaims){
		"in another server's name": func(c *jwt.AuthorizationRequestClaims) { c.Server.ID = other.id },
		"for other keys":           func(c *jwt.AuthorizationRequestClaims) { c.Subject = newKeys(t).Public().Issuer },
		"for another purpose":      func(c *jwt.AuthorizationRequestClaims) { c.Audience = "something" },
		"too old":                  func(c *jwt.AuthorizationRequestClaims) { c.Expires = time.Now().Add(-time.Minute).Unix() },
		"without an end":           func(c *jwt.AuthorizationRequestClaims) { c.Expires = 0 },
		"for no user":              func(c *jwt.AuthorizationRequestClaims) { c.UserNkey = "" },
		"with another curve key":   func(c *jwt.AuthorizationRequestClaims) { c.Server.XKey = other.xkey },
	} {
		for _, sealed := range []bool{false, true} {
			_, err := readQuestion(s.ask(t, keys, sealed, change), keys, time.Now())
			require.ErrorIs(t, err, errBadRequest, name)
		}
	}
	signed := s.ask(t, keys, false, asServersDo)
	signed.Data[len(signed.Data)-2] ^= 1
	_, err := readQuestion(signed, keys, time.Now())
	require.ErrorIs(t, err, errBadRequest, "a changed signature")
	forOthers := s.ask(t, newKeys(t), true, asServersDo)
	_, err = readQuestion(forOthers, keys, time.Now())
	require.ErrorIs(t, err, errBadRequest, "sealed for others")
	_, err = readQuestion(&nats.Msg{Data: []byte("hello")}, keys, time.Now())
	require.ErrorIs(t, err, errBadRequest)
}

func TestInboxIsOneSubjectTokenWhoeverTheClientIs(t *testing.T) {
	t.Parallel()
	require.Equal(t, "_INBOX_c_1", InboxPrefix("c_1"))
	seen := map[string]bool{}
	for _, id := range []string{"idp:a.b", "idp:*", "idp:>", "idp:a b", "", "idp:" + string(make([]byte, 100))} {
		prefix := InboxPrefix(id)
		require.Regexp(t, `^_INBOX_~[0-9a-f]{32}$`, prefix)
		require.False(t, seen[prefix])
		seen[prefix] = true
	}
}
