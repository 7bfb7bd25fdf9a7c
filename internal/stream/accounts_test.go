package stream_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

func TestAccountsAreAConfiguration(t *testing.T) {
	t.Setenv("OF_THE_TEST", "from-outside")
	random := []byte("sixty-four bytes that somebody has taken from a good random sourc")
	keys, err := stream.NewCalloutKeys(random[:32], random[32:64])
	require.NoError(t, err)
	again, err := stream.NewCalloutKeys(random[:32], random[32:64])
	require.NoError(t, err)
	callout := keys.Public()
	require.Equal(t, callout, again.Public(), "all nodes have the same keys")
	require.True(t, nkeys.IsValidPublicAccountKey(callout.Issuer))
	require.True(t, nkeys.IsValidPublicCurveKey(callout.XKey))

	const hash = "$2a$04$abcdefghijklmnopqrstuuKqg1l4yoFhKVTHFJz4Zs1yYzPWbF3Ou"
	for password, want := range map[string]string{"$OF_THE_TEST": "from-outside", `quote " in it`: `quote " in it`, hash: hash} {
		var options server.Options
		require.NoError(t, options.ProcessConfigString(stream.Accounts("own user", password, &callout)))
		require.Len(t, options.Users, 1)
		require.Equal(t, "own user", options.Users[0].Username)
		require.Equal(t, want, options.Users[0].Password)
		require.Equal(t, stream.OwnAccount, options.Users[0].Account.Name)
		require.Equal(t, callout.Issuer, options.AuthCallout.Issuer)
		require.Equal(t, callout.XKey, options.AuthCallout.XKey)
		require.Equal(t, []string{"own user"}, options.AuthCallout.AuthUsers)
	}
	var options server.Options
	require.NoError(t, options.ProcessConfigString(stream.Accounts("own", "secret", nil)))
	require.Nil(t, options.AuthCallout)

	_, err = stream.NewCalloutKeys(random[:31], random[32:64])
	require.Error(t, err)
	_, err = stream.NewCalloutKeys(random[:32], nil)
	require.Error(t, err)
}
