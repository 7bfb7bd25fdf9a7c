package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/postgres"
)

// stores are the databases of the instance, by name.
func (d *doors) stores() map[string]string {
	return map[string]string{"write": d.at.PostgresWrite, "read": d.at.PostgresRead, "auxiliary": d.at.PostgresAuxiliary}
}

// database opens one as its owner, or as a component's role where one is named.
func (d *doors) database(url, component string, scoped bool) *pgxpool.Pool {
	d.t.Helper()
	pool, err := postgres.Open(d.t.Context(), url, postgres.PoolConfig{Name: "test", MaxConns: 1, Component: component, Scoped: scoped})
	require.NoError(d.t, err)
	d.t.Cleanup(pool.Close)
	return pool
}

func (d *doors) refused(pool *pgxpool.Pool, sql string, args ...any) {
	d.t.Helper()
	_, err := pool.Exec(d.t.Context(), sql, args...)
	require.ErrorContains(d.t, err, "42501", sql)
}

func column[T any](d *doors, pool *pgxpool.Pool, sql string, args ...any) []T {
	d.t.Helper()
	rows, err := pool.Query(d.t.Context(), sql, args...)
	require.NoError(d.t, err, sql)
	found, err := pgx.CollectRows(rows, pgx.RowTo[T])
	require.NoError(d.t, err, sql)
	return found
}

func components() []string {
	return []string{
		componentAuxiliary, componentBroadcast, componentCommand, componentIdentity, componentProjection, componentQuery, componentRelay,
	}
}

// Case 39: who does not say for whom sees nothing, and nobody writes for another.
func rowsAreTheirOwners(d *doors) {
	var guarded int
	for name, url := range d.stores() {
		owner := d.database(url, "", false)
		require.Empty(d.t, column[string](d, owner, `
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND c.relnamespace = 'public'::regnamespace AND current_database() <> 'write'`),
			"tables of tenants have a line in migrations/%s/access/rows.sql", name)
		for _, component := range []string{componentQuery, componentBroadcast, componentAuxiliary} {
			pool := d.database(url, component, false)
			for _, table := range column[string](d, owner, `
SELECT oid::regclass::text FROM pg_class WHERE relrowsecurity AND has_table_privilege('orderstore_' || $1, oid, 'SELECT')`, component) {
				guarded++
				require.Zero(d.t, column[int64](d, pool, "SELECT count(*) FROM "+table)[0], "%s of %s for %s", table, name, component)
			}
		}
	}
	require.Greater(d.t, guarded, 20)
	d.statementsWithoutATenant()
	d.recordsOfOthers()
}

// statementsWithoutATenant are what a mistake or an injection would send. The pools of the program are asked, with the callers' scopes.
func (d *doors) statementsWithoutATenant() {
	orders := `SELECT DISTINCT tenant FROM order_view UNION SELECT tenant FROM timeline WHERE tenant IS NOT NULL UNION SELECT tenant FROM order_search`
	read := d.database(d.at.PostgresRead, componentQuery, true)
	_, err := read.Exec(d.t.Context(), orders)
	require.ErrorIs(d.t, err, postgres.ErrNoScope)
	seenBy := func(s postgres.Scope) []string {
		rows, err := read.Query(postgres.WithScope(d.t.Context(), s), orders)
		require.NoError(d.t, err)
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(d.t, err)
		return found
	}
	require.Equal(d.t, []string{"demo"}, seenBy(postgres.OfTenant("demo", "")))
	require.NotContains(d.t, seenBy(postgres.OfTenant("other-tenant", "")), "demo")
	require.NotContains(d.t, seenBy(postgres.OfProvider("other-provider")), "demo")
	require.Contains(d.t, seenBy(postgres.OfProvider(d.as.Provider.Provider)), "demo")
	require.Empty(d.t, seenBy(postgres.Scope{}))
	within := func(ctx context.Context, sql string, args ...any) error {
		_, err := read.Exec(ctx, sql, args...)
		return err
	}
	demo := postgres.WithScope(d.t.Context(), postgres.OfTenant("demo", ""))
	require.ErrorContains(d.t, within(demo, `SELECT search_orders('checkpoints', 'demo', '{}', '%')`), "is not searched")
	require.ErrorContains(d.t, within(demo, `UPDATE order_view SET tenant = 'demo'`), "42501")
}

// recordsOfOthers tries to store records for another tenant, and under another system's name.
func (d *doors) recordsOfOthers() {
	pool := d.database(d.at.PostgresAuxiliary, componentAuxiliary, true)
	erp := postgres.WithScope(d.t.Context(), postgres.OfTenant("other-tenant", "erp"))
	store := func(ctx context.Context, tenant, system string) error {
		tx, err := pool.Begin(ctx)
		require.NoError(d.t, err)
		defer func() { require.NoError(d.t, tx.Rollback(ctx)) }()
		_, err = tx.Exec(ctx, `INSERT INTO records VALUES ($1, $2, 'planted', $3, 'kind', 1, 1, '{}', 1, now())`, nobodysID, system, tenant)
		return err
	}
	require.NoError(d.t, store(erp, "other-tenant", "erp"))
	require.ErrorContains(d.t, store(erp, "demo", "erp"), "row-level security")
	require.ErrorContains(d.t, store(erp, "other-tenant", "notices"), "row-level security")
	require.ErrorContains(d.t, store(postgres.WithScope(d.t.Context(), postgres.Scope{}), "demo", "erp"), "row-level security")
	require.ErrorContains(d.t, store(postgres.WithScope(d.t.Context(), postgres.OfTenant("demo", "")), "demo", "erp"), "row-level security", "a user")
	answer, _ := d.asked(http.MethodPut, "auxiliary", "/v1/orders/"+d.placed.ID+"/auxiliary/"+d.as.Auxiliary.System+"/own",
		`{"kind":"note","revision":1,"schema_version":1,"payload":{}}`)
	require.Equal(d.t, http.StatusCreated, answer.status, answer.body)
}

// Case 40: the program is those roles alone, and they own nothing.
func rolesOwnNothing(d *doors) {
	owner := d.primary()
	var roles []string
	for _, component := range components() {
		roles = append(roles, postgres.RoleOf(component))
	}
	used := column[string](d, owner, `SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name ~ '^orderstore-' ORDER BY 1`)
	require.Equal(d.t, roles, used, "of the connections that the program has")
	require.Equal(d.t, roles, column[string](d, owner, `SELECT rolname::text FROM pg_roles WHERE rolname ~ '^orderstore_' ORDER BY 1`))
	require.Empty(d.t, column[string](d, owner, `
SELECT rolname::text FROM pg_roles r WHERE rolname = ANY ($1) AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication
    OR (rolbypassrls AND rolname <> 'orderstore_projection')
    OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid) OR EXISTS (SELECT FROM pg_shdepend WHERE refobjid = r.oid AND deptype = 'o'))`, roles))
	for name, url := range d.stores() {
		for _, component := range components() {
			pool := d.database(url, component, false)
			for _, sql := range []string{
				`CREATE TABLE planted ()`, `CREATE TEMPORARY TABLE planted ()`, `CREATE SCHEMA planted`, `CREATE FUNCTION planted() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
			} {
				d.refused(pool, sql)
			}
			if name == "write" {
				d.logIsAppendOnly(owner, pool)
			}
		}
	}
}

// logIsAppendOnly tries the log and each of its partitions.
func (d *doors) logIsAppendOnly(owner, pool *pgxpool.Pool) {
	parts := column[string](d, owner, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'order_events'::regclass`)
	require.NotEmpty(d.t, parts)
	for _, table := range append(parts, "order_events") {
		for _, sql := range []string{`UPDATE %s SET subject = ''`, `DELETE FROM %s`, `TRUNCATE %s`} {
			d.refused(pool, fmt.Sprintf(sql, table))
		}
		_, err := pool.Exec(d.t.Context(), `DROP TABLE `+table)
		require.ErrorContains(d.t, err, "must be owner", table)
	}
}

// Case 41: the projector reads the log of the primary, and that is all.
func projectorCannotWriteThePrimary(d *doors) {
	owner := d.primary()
	pool := d.database(d.at.PostgresWrite, componentProjection, false)
	_, err := pool.Exec(d.t.Context(), `SELECT FROM order_events LIMIT 1`)
	require.NoError(d.t, err)
	tables := column[string](d, owner, `SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace`)
	require.Greater(d.t, len(tables), 15)
	for _, table := range tables {
		d.refused(pool, `INSERT INTO `+table+` DEFAULT VALUES`)
		d.refused(pool, `DELETE FROM `+table)
		d.refused(pool, `TRUNCATE `+table)
	}
	d.refused(pool, `SELECT extend_log(1)`)
	d.refused(pool, `SELECT FROM signing_keys`)
}

// grantsAreDecided: a table that nobody was granted anything on was forgotten, unless it is the owner's alone.
func grantsAreDecided(d *doors) {
	ownersAlone := []string{"applied_grants", "goose_db_version", "next_views.builds", "old_views.kept"}
	for name, url := range d.stores() {
		for _, table := range column[string](d, d.database(url, "", false), `
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
    AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee::regrole::text ~ '^orderstore_')`) {
			require.True(d.t, slices.Contains(ownersAlone, table), "%s has no line in migrations/%s/access/grants.sql", table, name)
		}
	}
}
