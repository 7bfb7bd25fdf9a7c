-- +goose Up

-- A role for each component. They own nothing and log in through roles of the installation's own, or are given passwords. What each may
-- do stands in access/grants.sql, and is brought up to date after every migration.
-- +goose StatementBegin
DO $$
DECLARE
    component text;
BEGIN
    FOREACH component IN ARRAY ARRAY['query', 'auxiliary'] LOOP
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
    FOREACH component IN ARRAY ARRAY['query', 'auxiliary'] LOOP
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

-- An auxiliary system writes records of its own alone, and those of its tenant where it has one.
CREATE FUNCTION writes_record(in_tenant text, in_system text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE current_setting('orderstore.scope', true)
        WHEN 'tenant' THEN in_tenant = current_setting('orderstore.tenant', true) AND in_system = current_setting('orderstore.system', true)
        WHEN 'system' THEN in_system = current_setting('orderstore.system', true)
        WHEN 'all' THEN true
        ELSE false
    END
$$;

-- +goose Down
DROP TABLE applied_grants;
-- +goose StatementBegin
DO $$
DECLARE
    component text;
BEGIN
    FOREACH component IN ARRAY ARRAY['query', 'auxiliary'] LOOP
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
DROP FUNCTION writes_record, keep_rows, sees_all, sees_tenant, sees_shared;
