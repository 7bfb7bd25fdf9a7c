-- +goose Up

-- What was told under an id of its sender's and is no order: stock adjustments, replenishment runs. It is applied once, for ever.
CREATE TABLE facts (
    tenant       text   NOT NULL,
    kind         text   NOT NULL,
    id           text   NOT NULL,
    content_hash bytea  NOT NULL, -- SHA-256 of the content: tells a replay from a conflict
    position     bigint NOT NULL, -- of its event
    PRIMARY KEY (tenant, kind, id)
);

-- +goose Down
DROP TABLE facts;
