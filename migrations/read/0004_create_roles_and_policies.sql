-- +goose Up

-- A role for each component. They own nothing and log in through roles of the installation's own, or are given passwords. What each may
-- do stands in access/grants.sql, and is brought up to date after every migration.
-- +goose StatementBegin
DO $$
DECLARE
    component text;
BEGIN
    FOREACH component IN ARRAY ARRAY['projection', 'query', 'broadcast'] LOOP
        component := 'orderstore_' || component;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = component) THEN
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', component);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of the cluster is being migrated
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role % is missing, and % may not make it: have it made as docs/operations.md says under "Database roles", then migrate again',
                    component, current_user USING ERRCODE = 'insufficient_privilege';
        END;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Whoever migrates may act as each of them, so that an installation with one login needs no other.
-- +goose StatementBegin
DO $$
DECLARE
    component text;
    acting    text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH component IN ARRAY ARRAY['projection', 'query', 'broadcast'] LOOP
        component := 'orderstore_' || component;
        CONTINUE WHEN pg_has_role(current_user, component, acting);
        BEGIN
            EXECUTE format('GRANT %I TO %I', component, current_user);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE '% may not act as %: components have to log in for themselves', current_user, component;
        END;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- The projector writes every tenant's rows, by COPY, which Postgres refuses to who is bound by policies.
-- +goose StatementBegin
DO $$
BEGIN
    IF NOT (SELECT rolbypassrls FROM pg_roles WHERE rolname = 'orderstore_projection') THEN
        ALTER ROLE orderstore_projection BYPASSRLS;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role orderstore_projection needs BYPASSRLS, and % may not give it: have it done as docs/operations.md says under "Database roles", then migrate again',
        current_user USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd

-- Which grants were applied last: SHA-256 of access/grants.sql.
CREATE TABLE applied_grants (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    digest bytea   NOT NULL
);

-- Who may see a row is decided by settings of the connection, which are those of the caller whose request it serves:
--   orderstore.scope     tenant, provider, system (an auxiliary system, of all tenants) or all; anything else sees nothing
--   orderstore.tenant, orderstore.provider, orderstore.system
-- The functions are plain expressions, so that the planner puts them in the place of their calls.
CREATE FUNCTION sees_all() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(current_setting('orderstore.scope', true) = 'all', false)
$$;
CREATE FUNCTION sees_tenant(in_tenant text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE current_setting('orderstore.scope', true)
        WHEN 'tenant' THEN in_tenant = current_setting('orderstore.tenant', true)
        WHEN 'system' THEN true
        WHEN 'all' THEN true
        ELSE false
    END
$$;
-- What is nobody's own, under an empty tenant, is for all that have one.
CREATE FUNCTION sees_shared(in_tenant text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE current_setting('orderstore.scope', true)
        WHEN 'tenant' THEN in_tenant IN (current_setting('orderstore.tenant', true), '')
        WHEN 'system' THEN true
        WHEN 'all' THEN true
        ELSE false
    END
$$;

-- Has a table show and take the rows alone for which two conditions hold. It changes nothing where that is so already, so it may be
-- asked at every start. The owner, who migrates, rebuilds and verifies, is not bound.
-- +goose StatementBegin
CREATE FUNCTION keep_rows(in_table regclass, in_sees text, in_writes text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text := in_sees || ' / ' || in_writes;
BEGIN
    PERFORM FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE p.polrelid = in_table AND p.polname = 'by_scope' AND c.relrowsecurity AND obj_description(p.oid, 'pg_policy') = wanted;
    IF FOUND THEN
        RETURN;
    END IF;
    EXECUTE format('DROP POLICY IF EXISTS by_scope ON %s', in_table);
    EXECUTE format('CREATE POLICY by_scope ON %s USING (%s) WITH CHECK (%s)', in_table, in_sees, in_writes);
    EXECUTE format('COMMENT ON POLICY by_scope ON %s IS %L', in_table, wanted);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', in_table);
END
$$;
-- +goose StatementEnd

-- A provider sees the orders of which it was told. It looks the timeline up by its name each time: a rebuilt one takes its place.
-- +goose StatementBegin
CREATE FUNCTION was_told_of(in_order uuid) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM timeline t WHERE t.order_id = in_order AND t.provider = current_setting('orderstore.provider', true));
END
$$;
-- +goose StatementEnd

-- The text search's index cannot be asked under a policy: the operators of arrays are not leakproof, and whatever is not has to wait
-- for the policy. So the search is the owner's, with the same condition in it. Its statement is planned for each call. The table is
-- order_search, or a former one that an export still reads.
-- +goose StatementBegin
CREATE FUNCTION search_orders(in_table text, in_tenant text, in_grams int[], in_text text) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 200 AS $$
DECLARE
    searched regclass := in_table;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = searched AND relname = 'order_search' AND relrowsecurity) THEN
        RAISE EXCEPTION '% is not searched', searched USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY EXECUTE format('SELECT id FROM %s WHERE grams @> $1 AND tenant = $2 AND search LIKE $3 AND sees_tenant(tenant)', searched)
        USING in_grams, in_tenant, in_text;
END
$$;
-- +goose StatementEnd

-- How many orders the planner believes to have a text. Nothing is read.
-- +goose StatementBegin
CREATE FUNCTION estimate_search(in_tenant text, in_grams int[], in_text text) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    plan json;
BEGIN
    IF NOT sees_tenant(in_tenant) THEN
        RETURN 0;
    END IF;
    EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM order_search WHERE grams @> %L AND tenant = %L AND search LIKE %L',
        coalesce(in_grams, '{}'), in_tenant, in_text)
    INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Plan Rows')::double precision;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
DECLARE
    called text;
BEGIN
    FOREACH called IN ARRAY ARRAY['search_orders(text, text, int[], text)', 'estimate_search(text, int[], text)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', called, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', called);
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE applied_grants;
-- +goose StatementBegin
DO $$
DECLARE
    component text;
BEGIN
    FOREACH component IN ARRAY ARRAY['projection', 'query', 'broadcast'] LOOP
        EXECUTE format('DROP OWNED BY %I', 'orderstore_' || component); -- it owns nothing: that takes back what it was granted here
    END LOOP;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN SELECT polrelid::regclass AS name FROM pg_policy WHERE polname = 'by_scope' LOOP
        EXECUTE format('DROP POLICY by_scope ON %s', kept.name);
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', kept.name);
    END LOOP;
END
$$;
-- +goose StatementEnd
DROP FUNCTION search_orders, estimate_search, was_told_of, keep_rows, sees_all, sees_tenant, sees_shared;
