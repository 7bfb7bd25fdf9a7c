-- +goose Up

-- The state of each order: the document that its events fold into, and what commands look up.
CREATE TABLE orders (
    id              uuid        PRIMARY KEY,
    tenant          text        NOT NULL,
    channel         text        NOT NULL,
    external_ref    text        NOT NULL,
    content_hash    bytea       NOT NULL, -- SHA-256 of what was submitted, normalised: tells a replay from a conflict
    status          text        NOT NULL,
    version         bigint      NOT NULL CHECK (version > 0),
    position        bigint      NOT NULL, -- of its last event
    -- per line: ordered - fulfilled - rejected - cancelled
    open_quantities bigint[]    NOT NULL CHECK (0 <= ALL (open_quantities)),
    state           bytea       NOT NULL,
    UNIQUE (tenant, channel, external_ref)
);
CREATE INDEX orders_unrouted ON orders (position) WHERE status = 'unrouted';

CREATE TABLE tasks (
    id       uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    provider text NOT NULL
);

-- A result is applied once: its id is the provider's, for ever.
CREATE TABLE results (
    provider     text  NOT NULL,
    result_id    text  NOT NULL,
    task_id      uuid  NOT NULL,
    content_hash bytea NOT NULL,
    PRIMARY KEY (provider, result_id)
);

-- The first answer to each Idempotency-Key, by client. Kept seven days.
CREATE TABLE idempotency_keys (
    client_id   text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL, -- SHA-256 of method, path and body
    status      int         NOT NULL,
    headers     jsonb       NOT NULL,
    body        bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (client_id, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Tenants, providers, routes, products and vendors, as last changed. The position of the change is also its revision.
CREATE TABLE registry (
    kind     text   NOT NULL,
    id       text   NOT NULL,
    position bigint NOT NULL,
    document bytea  NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX registry_position ON registry (position);

-- How many tasks each provider has open. Written with the events that open and end them.
CREATE TABLE provider_load (
    provider text   PRIMARY KEY,
    open     bigint NOT NULL
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE provider_load, registry, idempotency_keys, results, tasks, orders;
