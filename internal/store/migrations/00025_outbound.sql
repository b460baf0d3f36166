-- +goose Up

-- What was called of a limit of an outside system, for all processes together, as intake_allowances counts webhooks. The key is
-- an integration's id, or a digest of a host or of an account there; only the former belong to a tenant. Unlogged: it is
-- worth seconds of memory, and a crash begins with full buckets.
CREATE UNLOGGED TABLE outbound_allowances (
    key     uuid PRIMARY KEY,
    org_id  uuid REFERENCES organizations (id), -- NULL: several organisations may share it
    full_at timestamptz NOT NULL,
    granted bigint NOT NULL DEFAULT 0 -- by the last lease
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE outbound_allowances ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbound_allowances FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbound_allowances TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON outbound_allowances TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT ON outbound_allowances TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbound_allowances TO wedsync_system;

-- Which calls are held back, so that every process knows. A circuit that works has no row, or a closed one that goes
-- after a while.
CREATE TABLE outbound_circuits (
    integration_id uuid NOT NULL,
    host           text NOT NULL CHECK (length(host) BETWEEN 1 AND 300),
    org_id         uuid NOT NULL REFERENCES organizations (id),
    state          text NOT NULL CHECK (state IN ('open', 'paused', 'closed')),
    until          timestamptz NOT NULL,
    openings       integer NOT NULL DEFAULT 0,
    reason         text NOT NULL DEFAULT '',
    request_id     text NOT NULL DEFAULT '',
    since          timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    version        bigint NOT NULL DEFAULT 1, -- grows with each change: processes' clocks differ
    PRIMARY KEY (integration_id, host),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE INDEX outbound_circuits_changed ON outbound_circuits (updated_at);
CREATE INDEX outbound_circuits_of_org ON outbound_circuits (org_id) WHERE state <> 'closed';
ALTER TABLE outbound_circuits ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbound_circuits FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbound_circuits TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON outbound_circuits TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON outbound_circuits TO wedsync_app;
GRANT SELECT, DELETE ON outbound_circuits TO wedsync_system;

-- Under which id the outside system logged the last call of a run that failed.
ALTER TABLE sync_runs ADD COLUMN vendor_request_id text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE sync_runs DROP COLUMN vendor_request_id;
DROP TABLE outbound_circuits;
DROP TABLE outbound_allowances;
