-- When an organisation's weddings freeze it, and which acts of people hold in spite of that. Freezes themselves are not
-- stored: they follow from the weddings, so they are right whether or not a workflow runs.

-- +goose Up

CREATE TABLE freeze_settings (
    org_id         uuid NOT NULL REFERENCES organizations (id),
    preflight_days int NOT NULL CHECK (preflight_days BETWEEN 2 AND 30),
    freeze_hours   int NOT NULL CHECK (freeze_hours BETWEEN 12 AND 168),
    holds          text NOT NULL CHECK (holds IN ('all', 'near')),
    updated_by     text NOT NULL,
    updated_at     timestamptz NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id)
);
ALTER TABLE freeze_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE freeze_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON freeze_settings TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON freeze_settings TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON freeze_settings TO wedsync_app;
GRANT SELECT ON freeze_settings TO wedsync_system;

-- The weddings of all organisations around a time; see allocations for why long ones are apart.
CREATE INDEX bookings_weddings ON bookings (starts_at) WHERE category = 'wedding' AND NOT long;
CREATE INDEX bookings_weddings_long ON bookings (ends_at) WHERE category = 'wedding' AND long;

-- Whoever deploys asks whether any wedding is on: times, and nothing that leads to people.
GRANT SELECT (id, org_id, resource_id, category, status, starts_at, ends_at, zone, long, free, held_until) ON bookings TO wedsync_system;

-- An admin said that it goes on through a freeze. A constant default rewrites no rows.
ALTER TABLE replays ADD COLUMN overrides_freeze boolean NOT NULL DEFAULT false;
ALTER TABLE purges ADD COLUMN overrides_freeze boolean NOT NULL DEFAULT false;

-- +goose Down

ALTER TABLE purges DROP COLUMN overrides_freeze;
ALTER TABLE replays DROP COLUMN overrides_freeze;
REVOKE SELECT (id, org_id, resource_id, category, status, starts_at, ends_at, zone, long, free, held_until) ON bookings FROM wedsync_system;
DROP INDEX bookings_weddings, bookings_weddings_long;
DROP TABLE freeze_settings;
