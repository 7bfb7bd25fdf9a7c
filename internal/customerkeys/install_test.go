package customerkeys_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/migrations"
)

func master(t *testing.T, b byte) *customerkeys.Master {
	t.Helper()
	m, err := customerkeys.NewMaster(bytes.Repeat([]byte{b}, 32))
	require.NoError(t, err)
	return m
}

// Without a master key of the operator's the primary has one, the same for all processes; and nobody seals under two.
func TestAllProcessesHaveOneMasterKey(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations.Write, "write")
	made, err := customerkeys.Establish(t.Context(), pool, nil)
	require.NoError(t, err)
	again, err := customerkeys.Establish(t.Context(), pool, nil)
	require.NoError(t, err)
	require.Equal(t, made.Mark("demo", "email", "a@example.com"), again.Mark("demo", "email", "a@example.com"))
	_, err = customerkeys.Establish(t.Context(), pool, master(t, 1))
	require.ErrorIs(t, err, customerkeys.ErrOtherMaster)

	apart := pgtest.Database(t, migrations.Write, "write")
	_, err = customerkeys.Establish(t.Context(), apart, master(t, 1))
	require.NoError(t, err)
	_, err = customerkeys.Establish(t.Context(), apart, master(t, 1))
	require.NoError(t, err)
	_, err = customerkeys.Establish(t.Context(), apart, master(t, 2))
	require.ErrorIs(t, err, customerkeys.ErrOtherMaster)
	_, err = customerkeys.Establish(t.Context(), apart, nil)
	require.ErrorIs(t, err, customerkeys.ErrNoMaster)
	var kept []byte
	require.NoError(t, apart.QueryRow(t.Context(), `SELECT value FROM customer_master`).Scan(&kept))
	require.Nil(t, kept, "one that was given is in no database")
}
