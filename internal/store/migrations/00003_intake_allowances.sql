-- +goose Up

-- What each organisation's webhooks used of its limit, for all servers together: the bucket is full again at full_at, and
-- how far that lies ahead is what was taken. It is worth a second of memory: unlogged, so that a lease costs no flush of
-- the log; a crash empties it, and every organisation begins with a full bucket.
CREATE UNLOGGED TABLE intake_allowances (
    org_id  uuid PRIMARY KEY REFERENCES organizations (id),
    full_at timestamptz NOT NULL,
    granted bigint NOT NULL DEFAULT 0 -- by the last lease
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE intake_allowances ENABLE ROW LEVEL SECURITY;
ALTER TABLE intake_allowances FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON intake_allowances TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON intake_allowances TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT ON intake_allowances TO wedsync_app;
GRANT SELECT, INSERT, UPDATE ON intake_allowances TO wedsync_system;

-- A repeat is recognised for as long as its integration says. Intake then gives the key of the old row away; nothing
-- else of a row may it change.
GRANT UPDATE (dedupe) ON deliveries TO wedsync_system;

-- +goose Down
REVOKE UPDATE (dedupe) ON deliveries FROM wedsync_system;
DROP TABLE intake_allowances;
