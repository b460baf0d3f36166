-- +goose Up

-- 1 urgent, 2 high, 3 normal, 4 bulk: a smaller number is applied first. A constant default rewrites no rows.
ALTER TABLE deliveries ADD COLUMN priority smallint NOT NULL DEFAULT 3 CHECK (priority BETWEEN 1 AND 4);
-- What an admin wants for the deliveries of a connection that nothing else says anything about.
ALTER TABLE integrations ADD COLUMN priority smallint NOT NULL DEFAULT 3 CHECK (priority BETWEEN 1 AND 4);

-- What waits, by integration, in the order in which it is applied.
DROP INDEX deliveries_received;
CREATE INDEX deliveries_received ON deliveries (integration_id, priority, id) WHERE state = 'received';

-- Entries of outside systems whose newer delivery was applied while an older one, less urgent, still waited: the older
-- one must not undo it. Rows exist only while a backlog of several priorities does.
CREATE TABLE overtakes (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    external_id    text NOT NULL, -- with '#' at its end for the parts of a removed entry
    delivery_id    uuid NOT NULL, -- the newest that was applied; identifiers sort by arrival
    PRIMARY KEY (org_id, integration_id, external_id)
);
ALTER TABLE overtakes ENABLE ROW LEVEL SECURITY;
ALTER TABLE overtakes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON overtakes TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON overtakes TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON overtakes TO wedsync_app;

-- Intake asks when the next wedding of a connection's resource is: times and category, and nothing that leads to people.
GRANT SELECT (resource_id, category, starts_at, ends_at, busy_from, busy_to, long) ON allocations TO wedsync_system;

-- +goose Down

REVOKE SELECT (resource_id, category, starts_at, ends_at, busy_from, busy_to, long) ON allocations FROM wedsync_system;
DROP TABLE overtakes;
DROP INDEX deliveries_received;
CREATE INDEX deliveries_received ON deliveries (integration_id, id) WHERE state = 'received';
ALTER TABLE integrations DROP COLUMN priority;
ALTER TABLE deliveries DROP COLUMN priority;
