-- +goose Up

-- What each provider last said of its load. A measurement, not a fact of any order: it counts until it expires, and then no more.
CREATE TABLE provider_reports (
    provider    text             PRIMARY KEY,
    load        double precision NOT NULL CHECK (load >= 0),
    capacity    bigint           CHECK (capacity >= 0), -- open tasks it takes; null: as registered
    reported_at timestamptz      NOT NULL,
    expires_at  timestamptz      NOT NULL
) WITH (fillfactor = 50);

-- Each provider's circuit, as the events of its tasks have it. Written with them.
ALTER TABLE provider_load
    ADD COLUMN failures   int         NOT NULL DEFAULT 0, -- tasks in a row that expired or failed
    ADD COLUMN trips      int         NOT NULL DEFAULT 0, -- times in a row that it opened; 0: it is closed
    ADD COLUMN open_until timestamptz,                    -- from then on one task is tried
    ADD COLUMN probing    boolean     NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE provider_load DROP COLUMN probing, DROP COLUMN open_until, DROP COLUMN trips, DROP COLUMN failures;
DROP TABLE provider_reports;
