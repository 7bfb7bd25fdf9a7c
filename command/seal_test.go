package command

import (
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// TestContentHashIsThatOfItsJSON fixes the hash by which an order that is submitted again is told from another one: it is stored for
// ever, so no version may compute another.
func TestContentHashIsThatOfItsJSON(t *testing.T) {
	t.Parallel()
	s, err := decodeOrder([]byte(order("a <ref> & more")), "demo")
	require.NoError(t, err)
	content, err := json.Marshal(struct {
		BusinessType string
		Placed       *events.Placed
	}{s.BusinessType, &s.Placed})
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(content), s.Hash)
}

// TestKeyThatThePrimaryLostIsMadeAnew: a primary that was promoted or restored may not have a key that a node knows. Nothing may be sealed
// under it any more, since nobody could read it later.
func TestKeyThatThePrimaryLostIsMadeAnew(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations.Write, "write")
	master, err := customerkeys.Establish(t.Context(), pool, nil)
	require.NoError(t, err)
	logger := slog.New(slog.DiscardHandler)
	keys := customerkeys.New(customerkeys.Config{Pool: pool, Master: master, Now: time.Now, Logger: logger})
	run(t, keys)
	c := NewCommitter(Config{Pool: pool, Tip: &stream.Tip{}, Now: time.Now, Logger: logger, Keys: keys})
	run(t, c)
	keyOfOrder := func(ref string) string {
		answer, err := c.Submit(t.Context(), submission(t, "demo", order(ref)), nil)
		require.NoError(t, err)
		require.Equal(t, 201, answer.Status)
		require.Equal(t, "ming@example.com", decoded(t, answer.Body).Customer.Email)
		var key string
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT customer_key::text FROM orders WHERE external_ref = $1`, ref).Scan(&key))
		return key
	}
	first := keyOfOrder("r-1")
	require.Equal(t, first, keyOfOrder("r-2"))
	_, err = pool.Exec(t.Context(), `DELETE FROM customer_keys WHERE id = $1::text::uuid`, first)
	require.NoError(t, err)
	second := keyOfOrder("r-3")
	require.NotEqual(t, first, second)
	require.Equal(t, second, keyOfOrder("r-4"))
	var there bool
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM customer_keys WHERE id = $1::text::uuid)`, second).Scan(&there))
	require.True(t, there)
}
