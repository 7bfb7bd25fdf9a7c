-- +goose Up

-- What orders are filtered by, one row for each: a hash of tenant, kind and value (channel, business type, region, provider, SKU,
-- customer). Each facet's orders are in the order of the list, so that any page of it is read from where it begins, however common or
-- rare the value is. A row changes only when the order gets or loses the value: nearly never after it was placed.
CREATE TABLE order_facets (
    facet     bigint      NOT NULL,
    placed_at timestamptz NOT NULL,
    id        uuid        NOT NULL,
    PRIMARY KEY (facet, placed_at, id)
);

-- Products and vendors, as they were last registered. A vendor without a tenant is every tenant's.
CREATE TABLE catalog (
    kind      text   NOT NULL CHECK (kind IN ('product', 'vendor')),
    tenant    text   NOT NULL,
    id        text   NOT NULL, -- the SKU or the vendor's id
    vendor_id text   NOT NULL, -- of a product; empty where it has none
    position  bigint NOT NULL, -- of the event that said so
    document  bytea  NOT NULL,
    PRIMARY KEY (kind, tenant, id)
);
CREATE INDEX catalog_vendor ON catalog (tenant, vendor_id, id) WHERE vendor_id <> '';

-- Both begin at the log's start. Until they are built, nothing that is read from them may claim to be newer.
INSERT INTO checkpoints (view, position, digest)
SELECT view, 0, decode(repeat('00', 32), 'hex') FROM unnest(ARRAY['order_facets', 'catalog']) AS view;

-- +goose Down
DELETE FROM checkpoints WHERE view IN ('order_facets', 'catalog');
DROP TABLE IF EXISTS next_views.order_facets, next_views.catalog, old_views.order_facets, old_views.catalog;
DELETE FROM next_views.builds WHERE view IN ('order_facets', 'catalog');
DELETE FROM old_views.kept WHERE view IN ('order_facets', 'catalog');
DROP TABLE catalog, order_facets;
