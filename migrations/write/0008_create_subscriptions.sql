-- +goose Up

-- What parties want to hear, and how. The party owns it: all clients of a tenant, a provider or a system see the same.
CREATE TABLE subscriptions (
    id             uuid        PRIMARY KEY,
    kind           text        NOT NULL CHECK (kind IN ('user', 'provider', 'auxiliary')),
    tenant         text        NOT NULL DEFAULT '',
    provider       text        NOT NULL DEFAULT '',
    system         text        NOT NULL DEFAULT '',
    client_id      text        NOT NULL, -- who made it
    name           text        NOT NULL,
    transport      text        NOT NULL CHECK (transport IN ('webhook', 'nats', 'sse', 'feed')),
    types          text[]      NOT NULL, -- empty: all
    business_types text[]      NOT NULL, -- likewise
    include_order  boolean     NOT NULL DEFAULT false,
    status         text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'disabled')),
    reason         text        NOT NULL DEFAULT '', -- why it is disabled
    settings       jsonb       NOT NULL DEFAULT '{}', -- of its transport
    version        bigint      NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CHECK (
        (kind = 'user' AND tenant <> '' AND provider = '' AND system = '')
        OR (kind = 'provider' AND provider <> '' AND tenant = '' AND system = '')
        OR (kind = 'auxiliary' AND system <> '' AND provider = '')
    ),
    UNIQUE (kind, tenant, provider, system, name)
);

-- How far each is: nothing up to the position is missing. It changes with each delivery, so it has a narrow row of its own.
CREATE TABLE subscription_positions (
    subscription_id uuid        PRIMARY KEY REFERENCES subscriptions (id) ON DELETE CASCADE,
    position        bigint      NOT NULL CHECK (position >= 0),
    updated_at      timestamptz NOT NULL
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE subscription_positions, subscriptions;
