-- +goose Up

-- Enquiries that were handed in at systems that confirm nothing. What an enquiry says is not kept, only its SHA-256, so that
-- a key that comes again is known and nothing personal stays.
CREATE TABLE leads (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    request_hash   bytea NOT NULL CHECK (length(request_hash) = 32),
    state          text NOT NULL CHECK (state IN ('sending', 'answered', 'refused', 'unknown')),
    reason         text NOT NULL DEFAULT '',
    requested_by   text NOT NULL,
    created_at     timestamptz NOT NULL,
    settled_at     timestamptz,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE INDEX leads_of_integration ON leads (org_id, integration_id, id);

ALTER TABLE leads ENABLE ROW LEVEL SECURITY;
ALTER TABLE leads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON leads TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON leads TO wedsync_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE ON leads TO wedsync_app;

-- +goose Down
DROP TABLE leads;
