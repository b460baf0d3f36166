-- +goose Up

-- What a connection takes and shows, and who wins when both sides changed: domain.SyncPolicy.
ALTER TABLE integrations ADD COLUMN sync jsonb NOT NULL DEFAULT '{}';

-- JSON of domain.Agreed: the common state of a booking and its copy. Nothing is searched by it.
ALTER TABLE links ADD COLUMN agreed text NOT NULL DEFAULT '';

-- The booking of which this one is the other version.
ALTER TABLE bookings ADD COLUMN beside_id uuid;

-- Questions to a person about edits on both sides.
CREATE TABLE edit_conflicts (
    id              uuid NOT NULL PRIMARY KEY,
    org_id          uuid NOT NULL REFERENCES organizations (id),
    integration_id  uuid NOT NULL,
    booking_id      uuid NOT NULL,
    external_id     text NOT NULL,
    kind            text NOT NULL,
    state           text NOT NULL,
    there_is_source boolean NOT NULL,
    there           bytea NOT NULL, -- sealed JSON of the entry as last read
    booking_version bigint NOT NULL,
    choice          text NOT NULL DEFAULT '',
    chosen_by       text NOT NULL DEFAULT '',
    reason          text NOT NULL DEFAULT '',
    detected_at     timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    closed_at       timestamptz,
    version         bigint NOT NULL DEFAULT 1,
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX edit_conflicts_of_org ON edit_conflicts (org_id, id);
CREATE UNIQUE INDEX edit_conflicts_open ON edit_conflicts (org_id, integration_id, external_id) WHERE state = 'open';
CREATE INDEX edit_conflicts_by_booking ON edit_conflicts (org_id, booking_id);

ALTER TABLE edit_conflicts ENABLE ROW LEVEL SECURITY;
ALTER TABLE edit_conflicts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON edit_conflicts TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON edit_conflicts TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON edit_conflicts TO wedsync_app;

-- +goose Down

DROP TABLE edit_conflicts;
ALTER TABLE bookings DROP COLUMN beside_id;
ALTER TABLE links DROP COLUMN agreed;
ALTER TABLE integrations DROP COLUMN sync;
