-- +goose Up

-- The newest event of an organisation that was purged: a reader whose position lies before it has missed some.
CREATE TABLE stream_floors (
    org_id uuid   NOT NULL PRIMARY KEY,
    xid    xid8   NOT NULL,
    seq    bigint NOT NULL,
    at     timestamptz NOT NULL
);

-- Receivers of outgoing webhooks. The position in the stream is in two columns, so that a sweep can compare it in an index.
CREATE TABLE subscriptions (
    id              uuid NOT NULL,
    org_id          uuid NOT NULL REFERENCES organizations (id),
    url             text NOT NULL CHECK (length(url) <= 2048),
    description     text NOT NULL DEFAULT '' CHECK (length(description) <= 200),
    filter          jsonb NOT NULL,
    secrets         bytea NOT NULL, -- sealed JSON list of ids and secrets
    secret_list     jsonb NOT NULL, -- the same without the secrets
    state           text NOT NULL,
    state_reason    text NOT NULL DEFAULT '',
    failing_since   timestamptz,
    failures        int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_success_at timestamptz,
    cursor_xid      xid8 NOT NULL,
    cursor_seq      bigint NOT NULL,
    epoch           bigint NOT NULL DEFAULT 1, -- rises when a person moves the position: a sender that began before has no say
    closed_at       timestamptz, -- a deleted one's workflow has ended
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    version         bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);
-- What the sweep visits: those that are served, and deleted ones whose workflow does not know yet.
CREATE INDEX subscriptions_served ON subscriptions (id) WHERE state = 'active' OR state = 'deleted' AND closed_at IS NULL;

CREATE TABLE subscription_attempts (
    id              uuid NOT NULL,
    org_id          uuid NOT NULL,
    subscription_id uuid NOT NULL,
    message_id      text NOT NULL,
    topic           text NOT NULL,
    number          int NOT NULL,
    at              timestamptz NOT NULL,
    status          int NOT NULL,
    error           text NOT NULL DEFAULT '',
    took_ms         bigint NOT NULL,
    PRIMARY KEY (org_id, subscription_id, id),
    FOREIGN KEY (org_id, subscription_id) REFERENCES subscriptions (org_id, id) ON DELETE CASCADE
);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['stream_floors', 'subscriptions', 'subscription_attempts']
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

GRANT SELECT ON stream_floors TO wedsync_app;
GRANT SELECT, INSERT, UPDATE ON subscriptions TO wedsync_app;
GRANT SELECT, INSERT, DELETE ON subscription_attempts TO wedsync_app;

GRANT SELECT, INSERT, UPDATE ON stream_floors TO wedsync_system;
GRANT SELECT ON subscriptions TO wedsync_system;
GRANT UPDATE (cursor_xid, cursor_seq) ON subscriptions TO wedsync_system; -- past events that nobody is to be told of
GRANT INSERT ON stream_events TO wedsync_system; -- what was accepted, told after intake's commit

-- +goose Down
REVOKE INSERT ON stream_events FROM wedsync_system;
DROP TABLE subscription_attempts, subscriptions, stream_floors;
