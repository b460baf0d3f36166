-- +goose Up

-- Credentials given to an integration beside those in its secrets, so that one can be replaced without losing webhooks:
-- any of them may match until its not_after.
CREATE TABLE webhook_credentials (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    label          text NOT NULL,
    secret         bytea NOT NULL, -- sealed
    not_after      timestamptz,    -- null = never
    last_used_at   timestamptz,    -- to the minute or so; null = never
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE INDEX webhook_credentials_of_integration ON webhook_credentials (org_id, integration_id, id);
ALTER TABLE webhook_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_credentials TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON webhook_credentials TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_credentials TO wedsync_app;
GRANT SELECT, UPDATE (last_used_at) ON webhook_credentials TO wedsync_system;

-- +goose Down
DROP TABLE webhook_credentials;
