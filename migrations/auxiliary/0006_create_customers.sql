-- +goose Up

-- The points that orders brought. A customer's balance is their sum over the customer's orders.
CREATE TABLE loyalty_points (
    order_id uuid    PRIMARY KEY,
    points   bigint  NOT NULL,
    taken    boolean NOT NULL -- back: the order was cancelled or returned
);

-- By what customers are known: hashes of an e-mail address or a telephone number.
CREATE TABLE customer_keys (
    tenant      text  NOT NULL,
    key         bytea NOT NULL,
    customer_id uuid  NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX customer_keys_customer ON customer_keys (customer_id);

-- Each customer there ever was, and into whom one was merged.
CREATE TABLE customers (
    customer_id uuid   PRIMARY KEY,
    tenant      text   NOT NULL,
    since       bigint NOT NULL, -- position of the first order; of two the earlier stays
    merged_into uuid -- null: stands for itself
);
CREATE INDEX customers_merged ON customers (merged_into) WHERE merged_into IS NOT NULL;

-- The orders that a customer's profile is made of.
CREATE TABLE customer_orders (
    order_id    uuid        PRIMARY KEY,
    tenant      text        NOT NULL,
    customer_id uuid, -- null: nobody known
    channel     text        NOT NULL,
    currency    text        NOT NULL,
    total       bigint      NOT NULL,
    state       text        NOT NULL CHECK (state IN ('open', 'completed', 'cancelled', 'rejected', 'returned')),
    placed_at   timestamptz NOT NULL,
    position    bigint      NOT NULL, -- of order.placed
    skus        text[]      NOT NULL,
    quantities  bigint[]    NOT NULL
);
CREATE INDEX customer_orders_customer ON customer_orders (customer_id, position) WHERE customer_id IS NOT NULL;
-- For what an order of the tenant is usually worth.
CREATE INDEX customer_orders_tenant ON customer_orders (tenant, currency, position);

-- +goose Down
DROP TABLE customer_orders, customers, customer_keys, loyalty_points;
