-- Retention: raw bodies are erased after a while and rows deleted after the dedupe window, and refused webhooks leave a
-- sample for operators.

-- +goose Up

-- Erased means: content is empty, and what is left of the body is its SHA-256.
ALTER TABLE deliveries ADD COLUMN erased_at timestamptz, ADD COLUMN body_hash bytea;

-- What retention did, by organisation and day (UTC). A day that is over and has no line in the trail yet gets one.
CREATE TABLE retention_days (
    org_id  uuid NOT NULL REFERENCES organizations (id),
    day     date NOT NULL,
    erased  bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0,
    audited boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, day)
);
CREATE INDEX retention_days_open ON retention_days (day) WHERE NOT audited;

-- A bounded sample of refused webhooks: no body, no header, the network of the sender and not its address.
CREATE TABLE refused_webhooks (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL REFERENCES organizations (id),
    integration_id uuid NOT NULL,
    at             timestamptz NOT NULL,
    network        text NOT NULL,
    scheme         text NOT NULL,
    code           text NOT NULL,
    reason         text NOT NULL,
    others         bigint NOT NULL DEFAULT 0, -- refused since the sample before this one and not in the log
    PRIMARY KEY (org_id, id)
);
CREATE INDEX refused_webhooks_newest ON refused_webhooks (integration_id, id);
CREATE INDEX refused_webhooks_by_age ON refused_webhooks (at);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['retention_days', 'refused_webhooks']
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

GRANT SELECT ON refused_webhooks TO wedsync_app;
GRANT SELECT, INSERT, DELETE ON refused_webhooks TO wedsync_system;
GRANT SELECT, UPDATE ON retention_days TO wedsync_app; -- marks a day once its line is in the trail
GRANT SELECT, INSERT, UPDATE ON retention_days TO wedsync_system;
GRANT UPDATE (content, body_hash, erased_at), DELETE ON deliveries TO wedsync_system;

-- +goose Down
REVOKE UPDATE (content, body_hash, erased_at), DELETE ON deliveries FROM wedsync_system;
DROP TABLE refused_webhooks, retention_days;
ALTER TABLE deliveries DROP COLUMN body_hash, DROP COLUMN erased_at;
