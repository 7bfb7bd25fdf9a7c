-- +goose Up

-- Under which key the order's customer is sealed; empty: nobody is named, or the order is older than the sealing. The address is here for as
-- long as the key is there: customer.erased takes it away.
ALTER TABLE notice_orders ADD COLUMN customer_key text NOT NULL DEFAULT '';
CREATE INDEX notice_orders_customer_key ON notice_orders (customer_key) WHERE customer_key <> '';

-- +goose Down
ALTER TABLE notice_orders DROP COLUMN customer_key;
