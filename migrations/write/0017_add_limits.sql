-- +goose Up

-- What a client may ask for, where it is not what every client may: a document as PUT /v1/admin/clients/{client_id}/limits takes it.
ALTER TABLE clients ADD COLUMN limits jsonb;

-- Every node polls for them.
CREATE INDEX clients_limits ON clients (client_id) WHERE limits IS NOT NULL;

-- Orders that a tenant with a quota placed on a day in UTC, counted in the transaction that places them.
CREATE TABLE order_days (
    tenant text NOT NULL,
    day    date NOT NULL,
    orders bigint NOT NULL CHECK (orders > 0),
    PRIMARY KEY (tenant, day)
);

-- +goose Down
DROP TABLE order_days;
DROP INDEX clients_limits;
ALTER TABLE clients DROP COLUMN limits;
