-- +goose Up

-- The end of the log. Appending moves it by compare-and-set; that one comparison orders all writers.
CREATE TABLE log_head (
    cell     smallint PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0),
    digest   bytea  NOT NULL CHECK (length(digest) = 32)
);
INSERT INTO log_head VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- +goose StatementBegin
CREATE FUNCTION advance_log_head(in_cell smallint, in_from bigint, in_to bigint, in_digest bytea) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE log_head SET position = in_to, digest = in_digest WHERE cell = in_cell AND position = in_from;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the log head of cell % is no longer at %', in_cell, in_from USING ERRCODE = 'OS001';
    END IF;
END
$$;
-- +goose StatementEnd

-- The log. Rows are appended and never changed.
CREATE TABLE order_events (
    position    bigint      NOT NULL CHECK (position > 0),
    recorded_at timestamptz NOT NULL,
    subject     text        NOT NULL,
    event       bytea       NOT NULL,
    digest      bytea       NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);

-- Makes the partitions that hold positions up to in_to. Ten million rows each.
-- +goose StatementBegin
CREATE FUNCTION extend_log(in_to bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    width constant bigint := 10000000;
    part  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('order_events partitions'));
    FOR part IN 0 .. in_to / width LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS order_events_%s PARTITION OF order_events FOR VALUES FROM (%s) TO (%s)',
            lpad(part::text, 6, '0'), part * width, (part + 1) * width);
    END LOOP;
END
$$;
-- +goose StatementEnd
SELECT extend_log(10000000);

-- +goose Down
DROP FUNCTION extend_log;
DROP TABLE order_events;
DROP FUNCTION advance_log_head;
DROP TABLE log_head;
