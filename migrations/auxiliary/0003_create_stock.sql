-- +goose Up

-- One row an SKU that was ever ordered, adjusted or in the catalog. What is free is on_hand - reserved.
CREATE TABLE stock (
    tenant        text    COLLATE "C" NOT NULL,
    sku           text    COLLATE "C" NOT NULL,
    name          text    NOT NULL DEFAULT '',
    vendor_id     text    COLLATE "C" NOT NULL DEFAULT '',
    reorder_level bigint  NOT NULL DEFAULT 0,
    target_level  bigint  NOT NULL DEFAULT 0,
    discontinued  boolean NOT NULL DEFAULT false,
    listed        boolean NOT NULL DEFAULT false, -- in the catalog
    adjusted      boolean NOT NULL DEFAULT false, -- by the user, ever; a row that is neither is shown to nobody
    on_hand       bigint  NOT NULL DEFAULT 0,
    reserved      bigint  NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    sold          bigint  NOT NULL DEFAULT 0 CHECK (sold >= 0), -- fulfilled less returned
    received      bigint  NOT NULL DEFAULT 0, -- the sum of what adjustments brought and took
    on_order      bigint  NOT NULL DEFAULT 0 CHECK (on_order >= 0),
    position      bigint  NOT NULL, -- of the event that last changed it
    PRIMARY KEY (tenant, sku),
    -- reserved + sold + free is what was received, whatever orders do
    CONSTRAINT stock_conserved CHECK (on_hand + sold = received)
) WITH (fillfactor = 50);
-- What watches and the bucket look for; a row that is shown to nobody is changed in place.
CREATE INDEX stock_position ON stock (position) WHERE listed OR adjusted;

-- What orders hold, while they are not at their end.
CREATE TABLE stock_orders (
    order_id uuid  PRIMARY KEY,
    tenant   text  NOT NULL,
    lines    bytea NOT NULL -- JSON: [{line_id, sku, ordered, open}]
) WITH (fillfactor = 70);

CREATE TABLE stock_vendors (
    tenant    text NOT NULL, -- empty: every tenant's
    vendor_id text NOT NULL,
    name      text NOT NULL,
    PRIMARY KEY (tenant, vendor_id)
);

-- The runs of the replenishment that were told of.
CREATE TABLE replenishment_runs (
    tenant   text        NOT NULL,
    run_id   text        NOT NULL,
    lines    bigint      NOT NULL,
    told_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, run_id)
);

-- +goose Down
DROP TABLE replenishment_runs, stock_vendors, stock_orders, stock;
