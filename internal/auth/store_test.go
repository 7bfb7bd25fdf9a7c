package auth_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/migrations"
)

func TestCreateClient(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, n := range []auth.NewClient{
		{Kind: auth.KindUser, Tenant: "demo"},
		{Kind: auth.KindUser, Tenant: "demo", Scopes: []string{auth.ScopeOrdersRead, auth.ScopeOrdersRead}},
		{Kind: auth.KindProvider, Provider: "demo-provider"},
		{Kind: auth.KindAuxiliary, System: "erp"},
		{Kind: auth.KindAuxiliary, System: "erp", Tenant: "demo"},
		{Kind: auth.KindOperator},
	} {
		c := h.client(n)
		require.Regexp(t, `^c_[0-9a-f]{24}$`, c.ClientID)
		require.Len(t, c.ClientSecret, 43, "256 bits in base64url")
		if n.Scopes == nil {
			require.ElementsMatch(t, auth.DefaultScopes(n.Kind), c.Scopes)
		} else {
			require.Equal(t, []string{auth.ScopeOrdersRead}, c.Scopes)
		}
		who, err := h.authn.Authenticate(t.Context(), h.token(c))
		require.NoError(t, err)
		require.Equal(t, auth.Identity{
			ClientID: c.ClientID, Kind: n.Kind, Tenant: n.Tenant, Provider: n.Provider, System: n.System,
			Scopes: c.Scopes, ExpiresAt: who.ExpiresAt,
		}, who)
		require.Equal(t, h.clock.Now().Add(auth.DefaultTokenLife), who.ExpiresAt)
	}
}

func TestCreateClientRefuses(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, c := range []struct {
		n        auth.NewClient
		pointers []string
	}{
		{auth.NewClient{}, []string{"/kind"}},
		{auth.NewClient{Kind: "admin"}, []string{"/kind"}},
		{auth.NewClient{Kind: auth.KindUser}, []string{"/tenant"}},
		{auth.NewClient{Kind: auth.KindUser, Tenant: "*"}, []string{"/tenant"}},
		{auth.NewClient{Kind: auth.KindUser, Tenant: "-"}, []string{"/tenant"}},
		{auth.NewClient{Kind: auth.KindUser, Tenant: strings.Repeat("a", 65)}, []string{"/tenant"}},
		{auth.NewClient{Kind: auth.KindUser, Tenant: "a\nb"}, []string{"/tenant"}},
		{auth.NewClient{Kind: auth.KindUser, Tenant: "demo", Provider: "p", System: "s"}, []string{"/provider", "/system"}},
		{auth.NewClient{Kind: auth.KindProvider, Tenant: "demo"}, []string{"/tenant", "/provider"}},
		{auth.NewClient{Kind: auth.KindAuxiliary, Tenant: "demo"}, []string{"/system"}},
		{auth.NewClient{Kind: auth.KindOperator, Tenant: "demo"}, []string{"/tenant"}},
		{auth.NewClient{Kind: auth.KindUser, Tenant: "demo", Scopes: []string{"orders:read", "admin", "nonsense"}}, []string{"/scopes/1", "/scopes/2"}},
		{auth.NewClient{Kind: auth.KindProvider, Provider: "p", Scopes: []string{"orders:write"}}, []string{"/scopes/0"}},
		{auth.NewClient{Kind: auth.KindAuxiliary, System: "erp", Scopes: []string{"results:write"}}, []string{"/scopes/0"}},
	} {
		_, err := h.store.CreateClient(t.Context(), c.n)
		var e *fault.Error
		require.ErrorAs(t, err, &e, "%+v", c.n)
		require.Equal(t, fault.Invalid, e.Code)
		var pointers []string
		for _, f := range e.Fields {
			pointers = append(pointers, f.Pointer)
		}
		require.Equal(t, c.pointers, pointers, "%+v", c.n)
	}
}

func TestEnsureClient(t *testing.T) {
	t.Parallel()
	h := setup(t)
	user := auth.NewClient{Kind: auth.KindUser, Tenant: "demo"}
	secret := strings.Repeat("s", 43)
	updated := func() (at string) {
		require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT updated_at::text FROM clients WHERE client_id = 'demo-user'`).Scan(&at))
		return at
	}

	c, err := h.store.EnsureClient(t.Context(), "demo-user", secret, user)
	require.NoError(t, err)
	h.token(c)
	first := updated()

	_, err = h.store.EnsureClient(t.Context(), "demo-user", secret, user)
	require.NoError(t, err)
	require.Equal(t, first, updated(), "asking again changes nothing")

	other := c
	other.ClientSecret = strings.Repeat("t", 43)
	_, err = h.store.EnsureClient(t.Context(), "demo-user", other.ClientSecret, user)
	require.NoError(t, err)
	h.token(other)
	require.Equal(t, 401, h.post(grant(), basic(c.ClientID, c.ClientSecret)).Code)

	_, err = h.store.EnsureClient(t.Context(), "demo user", secret, user)
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	_, err = h.store.EnsureClient(t.Context(), "demo-user", "short", user)
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	_, err = h.store.EnsureClient(t.Context(), "demo-user", secret, auth.NewClient{Kind: auth.KindUser})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}

func TestRotateSecret(t *testing.T) {
	t.Parallel()
	h := setup(t)
	before := h.client(auth.NewClient{Kind: auth.KindProvider, Provider: "p1"})
	live := h.token(before)
	after, err := h.store.RotateSecret(t.Context(), before.ClientID)
	require.NoError(t, err)
	require.NotEqual(t, before.ClientSecret, after.ClientSecret)
	before.ClientSecret = after.ClientSecret
	require.Equal(t, before, after)
	h.token(after)
	require.Equal(t, 200, h.get("/v1/orders", live).Code, "live tokens stay")

	require.NoError(t, h.store.DisableClient(t.Context(), after.ClientID))
	for _, id := range []string{after.ClientID, "nobody"} {
		_, err = h.store.RotateSecret(t.Context(), id)
		require.Equal(t, fault.NotFound, fault.CodeOf(err))
	}
}

func TestDisableClient(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	require.NoError(t, h.store.DisableClient(t.Context(), c.ClientID))
	var first, second string
	const at = `SELECT disabled_at::text FROM clients WHERE client_id = $1`
	require.NoError(t, h.pool.QueryRow(t.Context(), at, c.ClientID).Scan(&first))
	require.NoError(t, h.store.DisableClient(t.Context(), c.ClientID))
	require.NoError(t, h.pool.QueryRow(t.Context(), at, c.ClientID).Scan(&second))
	require.Equal(t, first, second)
	require.Equal(t, 401, h.post(grant(), basic(c.ClientID, c.ClientSecret)).Code)
	require.Equal(t, fault.NotFound, fault.CodeOf(h.store.DisableClient(t.Context(), "nobody")))
}

// Case 17: what the database holds of a secret is a hash that does not contain it.
func TestSecretsAreStoredHashed(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	var row string
	require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT clients::text FROM clients WHERE client_id = $1`, c.ClientID).Scan(&row))
	require.NotContains(t, row, c.ClientSecret)
	var length int
	require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT octet_length(secret_hash) FROM clients WHERE client_id = $1`, c.ClientID).Scan(&length))
	require.Equal(t, 32, length)
}

// The rules hold in the database as well, whoever writes to it.
func TestClientRulesInTheDatabase(t *testing.T) {
	t.Parallel()
	h := setup(t)
	const insert = `INSERT INTO clients (client_id, secret_hash, kind, tenant, provider, system, scopes) VALUES ($1, sha256('x'), $2, $3, $4, $5, '{orders:read}')`
	for _, row := range [][]any{
		{"a*", "user", "demo", "", ""},
		{"a", "root", "", "", ""},
		{"a", "user", "", "", ""},
		{"a", "user", "demo", "p", ""},
		{"a", "provider", "demo", "p", ""},
		{"a", "auxiliary", "demo", "", ""},
		{"a", "operator", "demo", "", ""},
	} {
		_, err := h.pool.Exec(t.Context(), insert, row...)
		require.ErrorContains(t, err, "violates check constraint", "%v", row)
	}
	_, err := h.pool.Exec(t.Context(), insert, "a", "auxiliary", "demo", "", "erp")
	require.NoError(t, err)
}

// Whoever asks first makes the secret; all that ask at the same time get that one.
func TestSecret(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations.Write, "write")
	var wg sync.WaitGroup
	got := make([][]byte, 16)
	errs := make([]error, len(got))
	for i := range got {
		wg.Go(func() { got[i], errs[i] = auth.Secret(t.Context(), pool, "cursor") })
	}
	wg.Wait()
	for i := range got {
		require.NoError(t, errs[i])
		require.Len(t, got[i], 32)
		require.Equal(t, got[0], got[i])
	}
	other, err := auth.Secret(t.Context(), pool, "other")
	require.NoError(t, err)
	require.NotEqual(t, got[0], other)
	again, err := auth.Secret(t.Context(), pool, "cursor")
	require.NoError(t, err)
	require.Equal(t, got[0], again)
}
