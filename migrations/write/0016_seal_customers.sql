-- +goose Up

-- The master key, under which the customers' keys are encrypted, where the operator has set none; and what one is recognised by.
CREATE TABLE customer_master (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    value bytea CHECK (octet_length(value) = 32), -- null: the operator has it
    mark  bytea   NOT NULL
);

-- One key for each customer of a tenant. What the store keeps of the customer is sealed under it; without it nothing of that can be read.
CREATE TABLE customer_keys (
    id           uuid        PRIMARY KEY,
    tenant       text        NOT NULL,
    fingerprint  bytea       NOT NULL, -- HMAC-SHA-256 of what the customer is known by, under a secret of the installation
    wrapped      bytea, -- the key, encrypted under the master key; null: destroyed
    created_at   timestamptz NOT NULL,
    destroyed_at timestamptz,
    orders_left  boolean     NOT NULL DEFAULT true, -- of a destroyed key: there may be orders that still name it
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);
CREATE UNIQUE INDEX customer_keys_living ON customer_keys (tenant, fingerprint) WHERE destroyed_at IS NULL;
CREATE INDEX customer_keys_destroyed ON customer_keys (destroyed_at) WHERE destroyed_at IS NOT NULL;
CREATE INDEX customer_keys_erased ON customer_keys (tenant, fingerprint) WHERE destroyed_at IS NOT NULL;
CREATE INDEX customer_keys_unsettled ON customer_keys (id) WHERE destroyed_at IS NOT NULL AND orders_left;

-- Under which key the order's customer is sealed. Null: nobody is named, or the order is older than the sealing.
ALTER TABLE orders ADD COLUMN customer_key uuid;
CREATE INDEX orders_customer_key ON orders (customer_key) WHERE customer_key IS NOT NULL;

-- +goose Down
ALTER TABLE orders DROP COLUMN customer_key;
DROP TABLE customer_keys, customer_master;
