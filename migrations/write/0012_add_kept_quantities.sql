-- +goose Up

-- Per line: fulfilled - returned. Null where nothing of the order has come back.
ALTER TABLE orders ADD COLUMN kept_quantities bigint[] CHECK (0 <= ALL (kept_quantities));

-- +goose Down
ALTER TABLE orders DROP COLUMN kept_quantities;
