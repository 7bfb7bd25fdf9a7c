-- +goose Up

-- Where a tenant hears of levels that changed. Rows outlive a rebuild of the stock, which so tells nothing again.
CREATE TABLE stock_webhooks (
    tenant        text        COLLATE "C" PRIMARY KEY,
    url           text        NOT NULL,
    secret        text        NOT NULL,
    skus          text[]      NOT NULL, -- none: all
    max_available bigint, -- tells levels of so much at most; null: all
    -- Told are all changes before the position, and those at it up to the SKU.
    position      bigint      NOT NULL,
    sku           text        COLLATE "C" NOT NULL DEFAULT '',
    -- What is being told: it is sent as it is until it arrived, under one id, and then told is up to batch_position and batch_sku.
    batch         bytea, -- null: nothing
    batch_id      text        NOT NULL DEFAULT '',
    batch_position bigint     NOT NULL DEFAULT 0,
    batch_sku     text        COLLATE "C" NOT NULL DEFAULT '',
    attempts      int         NOT NULL DEFAULT 0, -- at the batch
    next_at       timestamptz, -- not tried before; null: at once
    claimed_until timestamptz, -- until then a process is at it
    failing_since timestamptz, -- null: the last attempt arrived
    failure       text        NOT NULL DEFAULT '', -- of the last attempt
    disabled      text        NOT NULL DEFAULT '', -- why nothing is told any more; empty while it is
    updated_at    timestamptz NOT NULL
);

-- How often it is looked for products to be bought, where a tenant has a period of its own.
CREATE TABLE replenishment_schedules (
    tenant     text        PRIMARY KEY,
    every      bigint      NOT NULL CHECK (every >= 0), -- seconds; 0: never
    updated_at timestamptz NOT NULL
);

-- What an order brought and has not come back, and the points for it.
ALTER TABLE loyalty_points
    ADD COLUMN currency text   NOT NULL DEFAULT '',
    ADD COLUMN kept     bigint NOT NULL DEFAULT 0, -- minor units
    ADD COLUMN counts   bigint NOT NULL DEFAULT 0; -- points

-- What came back in part has changed none of these until now: they are computed again from the log. Nobody is told of it afterwards.
UPDATE checkpoints SET rebuild = true, control = control + 1 WHERE system IN ('invoice', 'loyalty', 'notices', 'profile');

-- +goose Down
ALTER TABLE loyalty_points DROP COLUMN currency, DROP COLUMN kept, DROP COLUMN counts;
DROP TABLE replenishment_schedules, stock_webhooks;
