-- +goose Up

-- How far each view is. Written in the transaction that changes the view.
CREATE TABLE checkpoints (
    view     text   PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0),
    digest   bytea  NOT NULL CHECK (length(digest) = 32), -- of the log at that position
    stopped  text   NOT NULL DEFAULT '' -- why the view does not go on; empty while it does
);

-- Moves views from one checkpoint to the next. It fails, and with it the transaction that changes the views, when any of
-- them is not where the caller believes: another projector writes to this database, or a checkpoint was put back.
-- +goose StatementBegin
CREATE FUNCTION advance_checkpoints(in_views text[], in_from bigint, in_from_digest bytea, in_to bigint, in_to_digest bytea)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    UPDATE checkpoints SET position = in_to, digest = in_to_digest, stopped = ''
    WHERE view = ANY (in_views) AND position = in_from AND digest = in_from_digest;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(in_views) THEN
        RAISE EXCEPTION '% of % views are at checkpoint %', moved, cardinality(in_views), in_from USING ERRCODE = 'OS002';
    END IF;
END
$$;
-- +goose StatementEnd

-- One row an order: the columns that lists filter and sort by, and the document as it is answered.
CREATE TABLE order_view (
    id                 uuid        PRIMARY KEY,
    tenant             text        NOT NULL,
    channel            text        NOT NULL,
    external_ref       text        NOT NULL,
    business_type      text        NOT NULL,
    region             text        NOT NULL,
    status             text        NOT NULL,
    fulfillment_status text        NOT NULL,
    currency           text        NOT NULL,
    total              bigint      NOT NULL,
    placed_at          timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    version            bigint      NOT NULL,
    position           bigint      NOT NULL, -- of its last event
    document           bytea       NOT NULL
);
-- LZ4 costs a fraction of the usual compression's time. Not every server is built with it.
-- +goose StatementBegin
DO $$
BEGIN
    ALTER TABLE order_view ALTER COLUMN document SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
-- +goose StatementEnd
CREATE INDEX order_view_reference ON order_view (tenant, external_ref, channel);
CREATE INDEX order_view_placed ON order_view (tenant, placed_at, id);
CREATE INDEX order_view_updated ON order_view (tenant, updated_at, id);
CREATE INDEX order_view_total ON order_view (tenant, total, id);
CREATE INDEX order_view_status ON order_view (tenant, status, placed_at, id);

-- What text search looks through. It is a view of its own, with a position of its own: its index costs more to write than all
-- others together, and must not hold them up. A row changes only when what was ordered changes.
CREATE TABLE order_search (
    id       uuid   PRIMARY KEY,
    tenant   text   NOT NULL,
    position bigint NOT NULL,
    search   text   NOT NULL, -- names, SKUs, references and notes, folded; one field a line
    grams    int[]  NOT NULL  -- hashes of the tenant with each short piece of the text
);
CREATE INDEX order_search_grams ON order_search USING gin (grams);

-- One row a task: the providers' inboxes.
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
    position      bigint      NOT NULL, -- of the last event that changed the task
    document      bytea       NOT NULL
);
CREATE INDEX task_inbox_status ON task_inbox (provider, status, id);
CREATE INDEX task_inbox_all ON task_inbox (provider, id);
CREATE INDEX task_inbox_order ON task_inbox (order_id);

-- One row an event: what happened, by order, tenant and provider, and what announcements are made from.
CREATE TABLE timeline (
    position bigint NOT NULL PRIMARY KEY,
    tenant   text,
    provider text,
    order_id uuid,
    event    bytea  NOT NULL
);
CREATE INDEX timeline_order ON timeline (order_id, position) WHERE order_id IS NOT NULL;
CREATE INDEX timeline_tenant ON timeline (tenant, position) WHERE tenant IS NOT NULL;
CREATE INDEX timeline_provider ON timeline (provider, position) WHERE provider IS NOT NULL;

-- +goose Down
DROP TABLE timeline, task_inbox, order_search, order_view;
DROP FUNCTION advance_checkpoints;
DROP TABLE checkpoints;
