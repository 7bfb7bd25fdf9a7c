-- +goose Up

-- Events up to quiet_to have had their outside effects: reading them again after a rebuild makes none.
ALTER TABLE checkpoints ADD COLUMN quiet_to bigint NOT NULL DEFAULT 0;

-- Effects on the outside world, written in the transaction that moves the system's position and made afterwards. A row is kept
-- for ever, through a rebuild too: it is what remembers that a mail was sent.
CREATE TABLE outbox (
    system        text        NOT NULL,
    position      bigint      NOT NULL, -- of the event that it comes from
    channel       text        NOT NULL, -- which of that event's effects: mail
    order_id      uuid        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('queued', 'sent', 'suppressed', 'dead')),
    attempts      int         NOT NULL DEFAULT 0,
    next_at       timestamptz NOT NULL, -- not tried before
    claimed_until timestamptz, -- until then a sender is at it
    failure       text        NOT NULL DEFAULT '', -- of the last attempt
    payload       bytea, -- what the sender needs; it holds personal data and goes when it is no longer needed
    changed_at    timestamptz NOT NULL,
    PRIMARY KEY (system, position, channel)
);
CREATE INDEX outbox_due ON outbox (system, next_at, position) WHERE state = 'queued';
CREATE INDEX outbox_dead ON outbox (system, position) WHERE state = 'dead';

-- What the notices need to know of an order after it was placed.
CREATE TABLE notice_orders (
    order_id     uuid   PRIMARY KEY,
    tenant       text   NOT NULL,
    channel      text   NOT NULL,
    external_ref text   NOT NULL,
    currency     text   NOT NULL,
    total        bigint NOT NULL,
    name         text   NOT NULL,
    address      text   NOT NULL, -- empty: no notices
    quiet        text   NOT NULL  -- why there is no address; empty where there is one
);

-- What the customer was, or would have been, told: one row an event.
CREATE TABLE notices (
    position bigint      PRIMARY KEY,
    order_id uuid        NOT NULL,
    event    text        NOT NULL,
    at       timestamptz NOT NULL -- the event's time
);
CREATE INDEX notices_order ON notices (order_id, position);

-- +goose Down
DROP TABLE notices, notice_orders, outbox;
ALTER TABLE checkpoints DROP COLUMN quiet_to;
