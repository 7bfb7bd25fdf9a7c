-- +goose Up

-- Fails where one of the keys is not there: what is sealed under it could never be read. A key that was destroyed is there.
-- +goose StatementBegin
CREATE FUNCTION require_customer_keys(in_ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM customer_keys WHERE id = ANY (in_ids)) < cardinality(in_ids) THEN
        RAISE EXCEPTION 'a customer key is no longer in the primary' USING ERRCODE = 'OS002';
    END IF;
END
$$;
-- +goose StatementEnd

-- The tenant is in the fingerprint already.
DROP INDEX customer_keys_living;
CREATE UNIQUE INDEX customer_keys_living ON customer_keys (fingerprint) WHERE destroyed_at IS NULL;

-- +goose Down
DROP INDEX customer_keys_living;
CREATE UNIQUE INDEX customer_keys_living ON customer_keys (tenant, fingerprint) WHERE destroyed_at IS NULL;
DROP FUNCTION require_customer_keys;
