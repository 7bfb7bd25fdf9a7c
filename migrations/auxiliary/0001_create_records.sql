-- +goose Up

-- What auxiliary systems stored about orders: one row a record, one writer a system.
CREATE TABLE records (
    order_id       uuid        NOT NULL,
    system         text        NOT NULL,
    record_id      text        NOT NULL,
    tenant         text        NOT NULL,
    kind           text        NOT NULL,
    revision       bigint      NOT NULL CHECK (revision > 0),
    schema_version int         NOT NULL CHECK (schema_version > 0),
    payload        bytea       NOT NULL,
    position       bigint      NOT NULL, -- the order's position that the record reflects
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (order_id, system, record_id)
);

-- How far each auxiliary system is. Written in the transaction that changes its records.
CREATE TABLE checkpoints (
    system   text   PRIMARY KEY,
    position bigint NOT NULL,
    digest   bytea  NOT NULL,
    stopped  text   NOT NULL DEFAULT '' -- why the system does not go on; empty while it does
);

-- +goose Down
DROP TABLE checkpoints, records;
