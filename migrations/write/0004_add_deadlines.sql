-- +goose Up

-- When the tasks that have a deadline are to be looked at. Written with the events that set, move and end it.
CREATE TABLE deadlines (
    task_id uuid        PRIMARY KEY,
    due_at  timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX deadlines_due ON deadlines (due_at);

-- Orders of which units are open and nobody has them in hand.
DROP INDEX orders_unrouted;
CREATE INDEX orders_waiting ON orders (position) WHERE status IN ('unrouted', 'action_required', 'expired');

-- +goose Down
DROP INDEX orders_waiting;
CREATE INDEX orders_unrouted ON orders (position) WHERE status = 'unrouted';
DROP TABLE deadlines;
