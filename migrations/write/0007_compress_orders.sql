-- +goose Up

-- An order's state is a few kilobytes of JSON. LZ4 compresses it for a fraction of the usual compression's time. Not every server is
-- built with it.
-- +goose StatementBegin
DO $$
BEGIN
    ALTER TABLE orders ALTER COLUMN state SET COMPRESSION lz4;
    ALTER TABLE order_events ALTER COLUMN event SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
-- +goose StatementEnd

-- Partitions take a column's compression over when they are made; those that are there have to be told.
-- +goose StatementBegin
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'order_events'::regclass LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN event SET COMPRESSION lz4', part);
    END LOOP;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
-- +goose StatementEnd

-- +goose Down
ALTER TABLE orders ALTER COLUMN state SET COMPRESSION default;
ALTER TABLE order_events ALTER COLUMN event SET COMPRESSION default;
