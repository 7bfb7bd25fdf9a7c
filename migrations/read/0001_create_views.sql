-- +goose Up

-- How far each view is. Written in the transaction that changes the view.
CREATE TABLE checkpoints (
    view     text   PRIMARY KEY,
    position bigint NOT NULL,
    digest   bytea  NOT NULL, -- of the log at that position
    stopped  text   NOT NULL DEFAULT '' -- why the view does not go on; empty while it does
);

CREATE TABLE order_view (
    id            uuid        PRIMARY KEY,
    tenant        text        NOT NULL,
    channel       text        NOT NULL,
    external_ref  text        NOT NULL,
    business_type text        NOT NULL,
    region        text        NOT NULL,
    status        text        NOT NULL,
    fulfillment_status text   NOT NULL,
    currency      text        NOT NULL,
    total         bigint      NOT NULL,
    placed_at     timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    version       bigint      NOT NULL,
    position      bigint      NOT NULL, -- of its last event
    search        text        NOT NULL, -- what text search looks through, in lower case
    document      bytea       NOT NULL
);
CREATE UNIQUE INDEX order_view_reference ON order_view (tenant, channel, external_ref);
CREATE INDEX order_view_placed ON order_view (tenant, placed_at DESC, id DESC);
CREATE INDEX order_view_updated ON order_view (tenant, updated_at DESC, id DESC);
CREATE INDEX order_view_status ON order_view (tenant, status, placed_at DESC, id DESC);

CREATE TABLE task_inbox (
    id            uuid        PRIMARY KEY,
    provider      text        NOT NULL,
    tenant        text        NOT NULL,
    order_id      uuid        NOT NULL,
    business_type text        NOT NULL,
    status        text        NOT NULL,
    offered_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    version       bigint      NOT NULL,
    position      bigint      NOT NULL,
    document      bytea       NOT NULL
);
CREATE INDEX task_inbox_status ON task_inbox (provider, status, id);
CREATE INDEX task_inbox_all ON task_inbox (provider, id);
CREATE INDEX task_inbox_order ON task_inbox (order_id);

CREATE TABLE timeline (
    position bigint NOT NULL PRIMARY KEY,
    tenant   text,
    provider text,
    order_id uuid,
    event    bytea  NOT NULL
);
CREATE INDEX timeline_order ON timeline (order_id, position) WHERE order_id IS NOT NULL;
CREATE INDEX timeline_tenant ON timeline (tenant, position);
CREATE INDEX timeline_provider ON timeline (provider, position) WHERE provider IS NOT NULL;

-- +goose Down
DROP TABLE timeline, task_inbox, order_view, checkpoints;
