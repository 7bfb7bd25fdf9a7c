-- +goose Up

-- What people ask of a system. control grows with each change, so that whoever runs the system sees that there is one.
ALTER TABLE checkpoints
    ADD COLUMN paused  boolean NOT NULL DEFAULT false,
    ADD COLUMN rebuild boolean NOT NULL DEFAULT false, -- asked for and not begun
    ADD COLUMN control bigint  NOT NULL DEFAULT 0,
    ADD COLUMN seen_at timestamptz; -- when a process last ran the system

-- Events that a system could not apply and that a person let it go past. They stay out of a rebuild too.
CREATE TABLE skipped_events (
    system   text        NOT NULL,
    position bigint      NOT NULL,
    failure  text        NOT NULL, -- why the system stopped
    reason   text        NOT NULL, -- why it may go on
    at       timestamptz NOT NULL,
    PRIMARY KEY (system, position)
);

-- Who did what to a system.
CREATE TABLE system_actions (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    who     text        NOT NULL,
    system  text        NOT NULL,
    action  text        NOT NULL,
    subject text        NOT NULL, -- the dead letter, or empty
    reason  text        NOT NULL
);
CREATE INDEX system_actions_system ON system_actions (system, id);

-- A dead effect that a person gave up for good.
ALTER TABLE outbox DROP CONSTRAINT outbox_state_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_state_check CHECK (state IN ('queued', 'sent', 'suppressed', 'dead', 'discarded'));

-- How a tenant's customers are told. A row holds for the events after its position until the tenant's next row does, so that a
-- rebuild tells each event as it was told. Rows outlive a rebuild.
CREATE TABLE notice_settings (
    tenant         text        NOT NULL,
    after          bigint      NOT NULL,
    language       text        NOT NULL, -- of customers who named none
    mail_events    text[]      NOT NULL,
    webhook_events text[]      NOT NULL, -- none: there is no webhook
    webhook_url    text        NOT NULL,
    webhook_secret text        NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, after)
);

-- A tenant's own words for an event, in a language.
CREATE TABLE notice_templates (
    tenant     text        NOT NULL,
    event      text        NOT NULL,
    language   text        NOT NULL,
    subject    text        NOT NULL,
    body       text        NOT NULL, -- plain
    html       text        NOT NULL, -- empty: the mail is plain
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, event, language)
);

ALTER TABLE notice_orders
    ADD COLUMN phone    text NOT NULL DEFAULT '',
    ADD COLUMN language text NOT NULL DEFAULT ''; -- that the order asks for
-- Whom a notice goes to: mail and webhook as the settings of its time said.
ALTER TABLE notices
    ADD COLUMN by_mail    boolean NOT NULL DEFAULT true,
    ADD COLUMN by_webhook boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE notices DROP COLUMN by_mail, DROP COLUMN by_webhook;
ALTER TABLE notice_orders DROP COLUMN phone, DROP COLUMN language;
DROP TABLE notice_templates, notice_settings, system_actions, skipped_events;
UPDATE outbox SET state = 'dead' WHERE state = 'discarded';
ALTER TABLE outbox DROP CONSTRAINT outbox_state_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_state_check CHECK (state IN ('queued', 'sent', 'suppressed', 'dead'));
ALTER TABLE checkpoints DROP COLUMN paused, DROP COLUMN rebuild, DROP COLUMN control, DROP COLUMN seen_at;
