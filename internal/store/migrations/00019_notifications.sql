-- +goose Up

-- People of an organisation who are told of what concerns them.
CREATE TABLE recipients (
    id          uuid NOT NULL,
    org_id      uuid NOT NULL REFERENCES organizations (id),
    contact     bytea NOT NULL, -- sealed JSON: name, addresses, signing secret of the webhook
    role        text NOT NULL DEFAULT '' CHECK (length(role) <= 60),
    zone        text NOT NULL CHECK (length(zone) <= 64),
    resources   uuid[] NOT NULL DEFAULT '{}', -- that they are concerned with; empty = all
    preferences jsonb NOT NULL,
    state       text NOT NULL,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    version     bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);

-- What happened and nobody has looked at yet for whom to tell. A row is written with the change that it is about, only
-- where there is somebody to tell, and goes when it was looked at.
CREATE TABLE notify_facts (
    id     bigint GENERATED ALWAYS AS IDENTITY,
    org_id uuid NOT NULL,
    topic  text NOT NULL,
    refs   jsonb NOT NULL, -- ids and plain states
    at     timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
ALTER TABLE notify_facts SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- One thing told to one person in one way. What it says is not kept: it is rendered from ids when it is sent.
CREATE TABLE notifications (
    id              uuid NOT NULL,
    org_id          uuid NOT NULL,
    recipient_id    uuid NOT NULL,
    channel         text NOT NULL,
    kind            text NOT NULL,
    severity        text NOT NULL,
    wedding_day     boolean NOT NULL,
    subject         text NOT NULL,
    fact            text NOT NULL, -- what makes it the same as another one
    state           text NOT NULL,
    reason          text NOT NULL DEFAULT '',
    due_at          timestamptz,   -- of one that waits, and no other
    attempts        int NOT NULL DEFAULT 0,
    first_failed_at timestamptz,
    reminders       int NOT NULL DEFAULT 0,
    digest          boolean NOT NULL DEFAULT false,
    message_id      text NOT NULL DEFAULT '',
    generation      int NOT NULL DEFAULT 1, -- rises when a person has it sent again
    over_at         timestamptz, -- what it is about is over, so that the same may be told anew
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    sent_at         timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text NOT NULL DEFAULT '',
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, recipient_id) REFERENCES recipients (org_id, id)
);
CREATE UNIQUE INDEX notifications_once ON notifications (org_id, recipient_id, channel, fact) WHERE over_at IS NULL;
CREATE INDEX notifications_due ON notifications (org_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notifications_of_subject ON notifications (org_id, subject);
CREATE INDEX notifications_of_recipient ON notifications (org_id, recipient_id, id);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['recipients', 'notify_facts', 'notifications']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format($p$CREATE POLICY tenant ON %I TO wedsync_app
            USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
            WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)$p$, t);
        EXECUTE format('CREATE POLICY everyone ON %I TO wedsync_system USING (true) WITH CHECK (true)', t);
    END LOOP;
END $$;
-- +goose StatementEnd

GRANT SELECT, INSERT, UPDATE ON recipients TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify_facts, notifications TO wedsync_app;

-- +goose Down
DROP TABLE notifications, notify_facts, recipients;
