-- +goose Up

-- A role for each component. They own nothing and log in through roles of the installation's own, or are given passwords. What each may
-- do stands in access/grants.sql, and is brought up to date after every migration.
-- +goose StatementBegin
DO $$
DECLARE
    component text;
BEGIN
    FOREACH component IN ARRAY ARRAY['command', 'identity', 'relay', 'projection', 'broadcast', 'auxiliary'] LOOP
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
    FOREACH component IN ARRAY ARRAY['command', 'identity', 'relay', 'projection', 'broadcast', 'auxiliary'] LOOP
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

-- What makes and drops partitions does so as its owner, for those alone who may ask it to, and finds no other tables than its own.
-- +goose StatementBegin
DO $$
DECLARE
    called text;
BEGIN
    FOREACH called IN ARRAY ARRAY['extend_log(bigint)', 'extend_delivery_attempts(date)', 'trim_delivery_attempts(date)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', called, current_schema());
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
    FOREACH component IN ARRAY ARRAY['command', 'identity', 'relay', 'projection', 'broadcast', 'auxiliary'] LOOP
        EXECUTE format('DROP OWNED BY %I', 'orderstore_' || component); -- it owns nothing: that takes back what it was granted here
    END LOOP;
END
$$;
-- +goose StatementEnd
GRANT EXECUTE ON FUNCTION extend_log, extend_delivery_attempts, trim_delivery_attempts TO PUBLIC;
ALTER FUNCTION extend_log RESET search_path;
ALTER FUNCTION extend_delivery_attempts SECURITY INVOKER RESET search_path;
ALTER FUNCTION trim_delivery_attempts SECURITY INVOKER RESET search_path;
