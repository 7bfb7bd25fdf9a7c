package customerkeys_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/cases"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/migrations"
)

// keeper is a process with keys, whose clock the test turns.
type keeper struct {
	*customerkeys.Keys
	t     *testing.T
	pool  *pgxpool.Pool
	ahead atomic.Int64
}

func newKeeper(t *testing.T, pool *pgxpool.Pool) *keeper {
	t.Helper()
	k := &keeper{t: t, pool: pool}
	k.Keys = customerkeys.New(customerkeys.Config{
		Pool: pool, Master: master(t, 7), Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(k.ahead.Load())) },
	})
	return k
}

// run makes keys for those who wait, until the test ends.
func (k *keeper) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	k.t.Cleanup(func() {
		cancel()
		require.NoError(k.t, <-done)
	})
}

// order is a document whose customer is sealed.
func (k *keeper) order(email string) (document []byte, key string) {
	k.t.Helper()
	made, err := k.Of(k.t.Context(), "demo", k.Fingerprint("demo", "email", email))
	require.NoError(k.t, err)
	require.NoError(k.t, k.store(made.ID))
	return fmt.Appendf(nil, `{"id":"1","customer":{"key":%q,"sealed":%q,"found":"x"},"total":5}`, made.ID, made.Seal([]byte(`{"email":"`+email+`"}`))), made.ID
}

// store does what a transaction does that stores something sealed under a key.
func (k *keeper) store(key string) error {
	if statement, args := k.Storing(slices.Values([]string{key})); statement != "" {
		if _, err := k.pool.Exec(k.t.Context(), statement, args...); err != nil {
			return err
		}
	}
	if _, err := k.pool.Exec(k.t.Context(), `SELECT require_customer_keys($1::text[]::uuid[])`, []string{key}); err != nil {
		k.Forget(key)
		return err
	}
	k.Stored(slices.Values([]string{key}))
	return nil
}

func (k *keeper) opens(document []byte, became customerkeys.Opened, want string) {
	k.t.Helper()
	opened, got := k.Open(k.t.Context(), append([]byte(nil), document...))
	assert.Equal(k.t, became, got)
	assert.JSONEq(k.t, want, string(opened))
}

// However many processes ask for a customer's key at once, there is one.
func TestOneCustomerHasOneKey(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations.Write, "write")
	nodes := []*keeper{newKeeper(t, pool), newKeeper(t, pool)}
	var asking sync.WaitGroup
	var made sync.Map
	var stored atomic.Int64
	for _, node := range nodes {
		node.run()
		for i := range 100 {
			asking.Go(func() {
				for range 2 { // of two that make it at the same time, the second finds the first one's
					key, err := node.Of(t.Context(), "demo", node.Fingerprint("demo", "email", fmt.Sprint(i%10)))
					if err != nil {
						t.Error(err)
						return
					}
					if node.store(key.ID) == nil {
						made.Store(key.ID, true)
						stored.Add(1)
						return
					}
				}
			})
		}
	}
	asking.Wait()
	n := 0
	made.Range(func(any, any) bool { n++; return true })
	require.Equal(t, 10, n)
	require.EqualValues(t, 200, stored.Load())
}

// A destroyed key opens nothing, at the next look of every process; a later order of the same customer has another.
func TestDestroyedKeyOpensNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations.Write, "write")
	one, other := newKeeper(t, pool), newKeeper(t, pool)
	one.run()
	gone, id := one.order("a@example.com")
	kept, _ := one.order("b@example.com")
	require.NoError(t, other.Poll(t.Context()))
	other.opens(gone, customerkeys.Whole, `{"id":"1","customer":{"email":"a@example.com"},"total":5}`)
	_, err := pool.Exec(t.Context(), `UPDATE customer_keys SET wrapped = NULL, destroyed_at = now() WHERE id = $1`, id)
	require.NoError(t, err)
	for _, node := range []*keeper{one, other} {
		require.NoError(t, node.Poll(t.Context()))
		node.opens(gone, customerkeys.Erased, `{"id":"1","total":5}`)
		node.opens(kept, customerkeys.Whole, `{"id":"1","customer":{"email":"b@example.com"},"total":5}`)
	}
	_, again := one.order("a@example.com")
	require.NotEqual(t, id, again)
}

// A process that cannot look which keys were destroyed uses what it knows for half a minute, and then knows nobody.
func TestCutOffProcessKnowsNobody(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t, migrations.Write, "write")
	open := func() *pgxpool.Pool {
		pool, err := pgxpool.New(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return pool
	}
	one := newKeeper(t, open())
	one.run()
	document, _ := one.order("a@example.com")
	const plain = `{"id":"1","customer":{"email":"a@example.com"},"total":5}`
	pool := open()
	cut := newKeeper(t, pool)
	require.NoError(t, cut.Poll(t.Context()))
	cut.opens(document, customerkeys.Whole, plain)
	pool.Close()
	require.Error(t, cut.Poll(t.Context()))
	cut.opens(document, customerkeys.Whole, plain)
	cut.ahead.Store(int64(31 * time.Second))
	cut.opens(document, customerkeys.Away, `{"id":"1","degraded":["customer"],"total":5}`)
}

// What is opened is JSON if the document was, whatever stands in it, and a document in which nothing is sealed is as it was.
func FuzzOpen(f *testing.F) {
	const key = "01a20646-88b2-7507-952a-27a61c764e57"
	f.Add([]byte(`{"id":"1","customer":{"key":"` + key + `","sealed":"AAAA"},"total":5}`))
	f.Add([]byte(`{"customer":{"key":"` + key + `","sealed":"AAAA","found":"a.b"}}`))
	f.Add([]byte(`[{"customer":{"key":"` + key + `","sealed":""}},{"customer":null}]`))
	f.Add([]byte(`{"attributes":{"customer":{"key":"` + key + `","sealed":"}"}}}`))
	f.Add([]byte(`{"a":1,"customer":{"key":"` + key + `","sealed":"x"}}`))
	nobody, err := pgxpool.New(context.Background(), "postgres://127.0.0.1:1/none?connect_timeout=1")
	require.NoError(f, err)
	f.Cleanup(nobody.Close)
	nobody.Close() // asking it fails at once: all that is sealed is left out and marked
	m, err := customerkeys.NewMaster(make([]byte, 32))
	require.NoError(f, err)
	keys := customerkeys.New(customerkeys.Config{Pool: nobody, Master: m, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, document []byte) {
		valid := json.Valid(document)
		opened, became := keys.Open(t.Context(), append([]byte(nil), document...))
		if became == customerkeys.Whole {
			require.Equal(t, string(document), string(opened))
		}
		if valid {
			require.True(t, json.Valid(opened), "%s", opened)
		}
	})
}

// TestEmailHasOneForm: what needs no look into Unicode's tables comes to the same as what does.
func TestEmailHasOneForm(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"ann@example.com": "ann@example.com", " Ann@EXAMPLE.com ": "ann@example.com", "a.b-c@x-y.example": "a.b-c@x-y.example", "ann@münchen.example": "ann@xn--mnchen-3ya.example",
		"a..b@example.com": "", "a@-x.example": "", "a@b@c": "", "@x": "", "a@": "", "a@ab--c.example": "", "a.@x": "",
	} {
		got, ok := customerkeys.Email(raw)
		require.Equal(t, want != "", ok, raw)
		if ok {
			require.Equal(t, want, got, raw)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.StringMatching(`[a-z0-9.-]{0,8}@[a-z0-9.-]{0,9}|[aB1.@-]{0,12}`).Draw(t, "address")
		address, ok := customerkeys.Address(raw)
		got, gotOK := customerkeys.Email(raw)
		require.Equal(t, ok, gotOK, raw)
		require.Equal(t, cases.Fold().String(address), got, raw)
	})
}
