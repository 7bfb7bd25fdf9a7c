-- +goose Up

-- A view's table is one generation of it: what one version of the view's code made of the log. A rebuild makes the next one beside
-- the live one. The checkpoint says which generation is live and what code it is of, and only that code writes to it.
ALTER TABLE checkpoints
    ADD COLUMN generation bigint  NOT NULL DEFAULT 1 CHECK (generation > 0),
    ADD COLUMN code       integer NOT NULL DEFAULT 1 CHECK (code > 0);

-- Moves views from one checkpoint to the next, as long as each is the generation that the caller writes to.
-- +goose StatementBegin
CREATE FUNCTION advance_views(
    in_views text[], in_generations bigint[], in_from bigint, in_from_digest bytea, in_to bigint, in_to_digest bytea
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    UPDATE checkpoints c SET position = in_to, digest = in_to_digest, stopped = ''
    FROM unnest(in_views, in_generations) AS v (view, generation)
    WHERE c.view = v.view AND c.generation = v.generation AND c.position = in_from AND c.digest = in_from_digest;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(in_views) THEN
        RAISE EXCEPTION '% of % views are at checkpoint %', moved, cardinality(in_views), in_from USING ERRCODE = 'OS002';
    END IF;
END
$$;
-- +goose StatementEnd

-- Programs from before there were generations are of the first code of every view.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION advance_checkpoints(
    in_views text[], in_from bigint, in_from_digest bytea, in_to bigint, in_to_digest bytea
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    UPDATE checkpoints SET position = in_to, digest = in_to_digest, stopped = ''
    WHERE view = ANY (in_views) AND position = in_from AND digest = in_from_digest AND code = 1;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(in_views) THEN
        RAISE EXCEPTION '% of % views are at checkpoint %', moved, cardinality(in_views), in_from USING ERRCODE = 'OS002';
    END IF;
END
$$;
-- +goose StatementEnd

-- The tables of the next generations, under the names of the live ones, and how far each is.
CREATE SCHEMA next_views;
CREATE TABLE next_views.builds (
    view       text        PRIMARY KEY,
    code       integer     NOT NULL,
    position   bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    digest     bytea       NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(digest) = 32),
    indexed    boolean     NOT NULL DEFAULT false,
    compared   boolean     NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL
);

-- Moves generations that are being built. It takes the rows' locks, so that nobody drops or switches the tables meanwhile.
-- +goose StatementBegin
CREATE FUNCTION next_views.advance_builds(in_views text[], in_from bigint, in_from_digest bytea, in_to bigint, in_to_digest bytea)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    UPDATE next_views.builds SET position = in_to, digest = in_to_digest
    WHERE view = ANY (in_views) AND position = in_from AND digest = in_from_digest;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(in_views) THEN
        RAISE EXCEPTION '% of % builds are at checkpoint %', moved, cardinality(in_views), in_from USING ERRCODE = 'OS002';
    END IF;
END
$$;
-- +goose StatementEnd

-- The tables of generations that were live, kept until they are dropped, and what their checkpoints were.
CREATE SCHEMA old_views;
CREATE TABLE old_views.kept (
    view        text        PRIMARY KEY,
    generation  bigint      NOT NULL,
    code        integer     NOT NULL,
    position    bigint      NOT NULL,
    switched_at timestamptz NOT NULL
);

-- Events that an operator had a generation of a view go past.
CREATE TABLE skips (
    view       text   NOT NULL,
    generation bigint NOT NULL,
    position   bigint NOT NULL CHECK (position > 0),
    PRIMARY KEY (view, generation, position)
);

-- What operators did to this read database.
CREATE TABLE audit (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL,
    who      text        NOT NULL,
    action   text        NOT NULL,
    view     text        NOT NULL,
    position bigint      NOT NULL,
    reason   text        NOT NULL
);

-- +goose Down
DROP TABLE audit, skips;
DROP SCHEMA old_views CASCADE;
DROP SCHEMA next_views CASCADE;
DROP FUNCTION advance_views;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION advance_checkpoints(
    in_views text[], in_from bigint, in_from_digest bytea, in_to bigint, in_to_digest bytea
) RETURNS void LANGUAGE plpgsql AS $$
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
ALTER TABLE checkpoints DROP COLUMN generation, DROP COLUMN code;
