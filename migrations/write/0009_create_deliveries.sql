-- +goose Up

-- A position that its party moved is not overwritten by what was on its way before: whoever delivers names the count it knows.
ALTER TABLE subscription_positions ADD COLUMN moves bigint NOT NULL DEFAULT 0;

-- What webhooks are signed with. While secrets change, the old one goes on signing beside the new one until it expires.
CREATE TABLE subscription_secrets (
    id              uuid        PRIMARY KEY,
    subscription_id uuid        NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
    algorithm       text        NOT NULL CHECK (algorithm IN ('hmac-sha256', 'ed25519')),
    secret          text        NOT NULL,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz -- null: it does not
);
CREATE INDEX subscription_secrets_subscription ON subscription_secrets (subscription_id);

-- How a webhook's endpoint does.
CREATE TABLE subscription_health (
    subscription_id uuid        PRIMARY KEY REFERENCES subscriptions (id) ON DELETE CASCADE,
    circuit         text        NOT NULL DEFAULT 'closed' CHECK (circuit IN ('closed', 'half-open', 'open')),
    failing_since   timestamptz, -- nothing but failures since then; null: the last attempt succeeded
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_failure    text        NOT NULL DEFAULT '',
    throttled_until timestamptz, -- the endpoint asked to be left alone until then
    requests        bigint      NOT NULL DEFAULT 0 -- changes of deliveries by the party, which whoever delivers has to look at
) WITH (fillfactor = 50);

-- Events that are not delivered by their turn: parked ones, dead letters and replays. Of an order with parked events the first is
-- tried again, the others wait behind it.
CREATE TABLE deliveries (
    subscription_id uuid        NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
    position        bigint      NOT NULL,
    order_id        text        NOT NULL, -- empty: the event is of no order
    event_type      text        NOT NULL,
    delivery_id     uuid        NOT NULL, -- the same for all attempts
    state           text        NOT NULL CHECK (state IN ('retrying', 'waiting', 'dead', 'replay')),
    replay          boolean     NOT NULL DEFAULT false, -- it is marked as one when it is sent
    attempts        integer     NOT NULL DEFAULT 0,
    next_at         timestamptz, -- null: as soon as its turn comes, or never for a dead letter
    reason          text        NOT NULL DEFAULT '', -- of the last failure
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (subscription_id, position)
);
CREATE INDEX deliveries_order ON deliveries (subscription_id, order_id, position);
CREATE INDEX deliveries_replay ON deliveries (subscription_id, position) WHERE state = 'replay';

-- Every attempt, newest last by id. Partitions are made for each day when it comes and dropped when it is old.
CREATE TABLE delivery_attempts (
    id              uuid        NOT NULL, -- in the order of time
    subscription_id uuid        NOT NULL,
    at              timestamptz NOT NULL, -- when it ended
    position        bigint      NOT NULL, -- 0: a test, or a notice on the subscription itself
    delivery_id     uuid        NOT NULL,
    order_id        text        NOT NULL,
    event_type      text        NOT NULL,
    attempt         integer     NOT NULL,
    replay          boolean     NOT NULL,
    outcome         text        NOT NULL,
    status          integer     NOT NULL, -- 0: no answer
    latency_us      bigint      NOT NULL,
    reason          text        NOT NULL,
    answer          text        NOT NULL -- the first 4 KiB of it
) PARTITION BY RANGE (at);
CREATE INDEX delivery_attempts_newest ON delivery_attempts (subscription_id, id);
CREATE INDEX delivery_attempts_position ON delivery_attempts (subscription_id, position);
CREATE INDEX delivery_attempts_failed ON delivery_attempts (subscription_id, id) WHERE outcome <> 'delivered';

-- Makes the partition of a day.
-- +goose StatementBegin
CREATE FUNCTION extend_delivery_attempts(in_day date) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('delivery_attempts partitions'));
    EXECUTE format('CREATE TABLE IF NOT EXISTS delivery_attempts_%s PARTITION OF delivery_attempts FOR VALUES FROM (%L) TO (%L)',
        to_char(in_day, 'YYYYMMDD'), in_day::timestamp AT TIME ZONE 'UTC', (in_day + 1)::timestamp AT TIME ZONE 'UTC');
END
$$;
-- +goose StatementEnd

-- Drops the partitions of days before one, and tells how many there were.
-- +goose StatementBegin
CREATE FUNCTION trim_delivery_attempts(in_before date) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    part    text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('delivery_attempts partitions'));
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'delivery_attempts'::regclass AND c.relname < 'delivery_attempts_' || to_char(in_before, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
-- +goose StatementEnd

-- What parties are to be told about their subscriptions by other ways than the subscription itself. That one was told stands in the
-- registry.
CREATE TABLE subscription_notices (
    id              uuid        PRIMARY KEY,
    subscription_id uuid        NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
    kind            text        NOT NULL CHECK (kind IN ('disabled')),
    reason          text        NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX subscription_notices_created ON subscription_notices (created_at);

-- +goose Down
DROP TABLE subscription_notices, delivery_attempts, deliveries, subscription_health, subscription_secrets;
DROP FUNCTION extend_delivery_attempts, trim_delivery_attempts;
ALTER TABLE subscription_positions DROP COLUMN moves;
