-- +goose Up

-- Who did what through the admin API. What is asked is written before it is done, and what came of it in a row of its own: no row is
-- ever changed.
CREATE TABLE admin_audit (
    id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    asked      bigint      UNIQUE REFERENCES admin_audit, -- the row that this one is the outcome of; null: it is what was asked
    at         timestamptz NOT NULL,
    client_id  text        NOT NULL,
    method     text        NOT NULL,
    path       text        NOT NULL,
    request_id text        NOT NULL,
    status     integer, -- of an outcome
    CHECK ((asked IS NULL) = (status IS NULL))
);

-- +goose StatementBegin
CREATE FUNCTION refuse_change_of_admin_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'admin_audit is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER admin_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON admin_audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_admin_audit();

-- +goose Down
DROP TABLE admin_audit;
DROP FUNCTION refuse_change_of_admin_audit;
