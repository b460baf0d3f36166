-- +goose Up

-- How many calls to an outside system each process may have under way, for systems that bound them. The key is an integration's
-- id, or a digest of a host or of an account there; only the former belong to a tenant. Unlogged: a lease is worth less than a
-- minute.
CREATE UNLOGGED TABLE outbound_slots (
    key    uuid NOT NULL,
    holder uuid NOT NULL, -- a process
    org_id uuid REFERENCES organizations (id), -- NULL: several organisations may share it
    held   integer NOT NULL CHECK (held >= 0), -- 0: it waits for some
    until  timestamptz NOT NULL,
    PRIMARY KEY (key, holder)
);
ALTER TABLE outbound_slots ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbound_slots FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbound_slots TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON outbound_slots TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT ON outbound_slots TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbound_slots TO wedsync_system;

-- How much slower than their limits outside systems are called because they refused, so that every process knows.
CREATE TABLE outbound_paces (
    key       uuid PRIMARY KEY,
    org_id    uuid REFERENCES organizations (id), -- NULL: several organisations may share it
    level     integer NOT NULL, -- halvings
    slowed_at timestamptz NOT NULL,
    version   bigint NOT NULL
);
CREATE INDEX outbound_paces_changed ON outbound_paces (slowed_at);
ALTER TABLE outbound_paces ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbound_paces FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON outbound_paces TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON outbound_paces TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT ON outbound_paces TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbound_paces TO wedsync_system;

-- +goose Down
DROP TABLE outbound_paces;
DROP TABLE outbound_slots;
