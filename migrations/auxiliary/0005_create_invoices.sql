-- +goose Up

-- What a system still needs to know of an order that is under way: what was ordered and how much of it became what. A row goes
-- when the order has come to its end. It holds what the invoice says of the customer.
CREATE TABLE order_bills (
    system   text  NOT NULL,
    order_id uuid  NOT NULL,
    bill     bytea NOT NULL,
    PRIMARY KEY (system, order_id)
);

-- The last number of each of a tenant's series.
CREATE TABLE invoice_series (
    tenant text   NOT NULL,
    series text   NOT NULL, -- INV or CN
    last   bigint NOT NULL,
    PRIMARY KEY (tenant, series)
);

-- Who sends a tenant's invoices.
CREATE TABLE invoice_sellers (
    tenant text PRIMARY KEY,
    name   text NOT NULL
);

-- An order's invoice, and the credit note that takes it back. What they say is in their records.
CREATE TABLE invoices (
    order_id uuid   PRIMARY KEY,
    tenant   text   NOT NULL,
    number   bigint NOT NULL,
    credit   bigint, -- null: the invoice stands
    UNIQUE (tenant, number),
    UNIQUE (tenant, credit)
);

-- +goose Down
DROP TABLE invoices, invoice_sellers, invoice_series, order_bills;
