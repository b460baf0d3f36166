-- What detection knows more: ways between places, days without clients, and what persons said about two bookings being one.

-- +goose Up

-- Constant defaults rewrite no rows.
ALTER TABLE resources
    ADD COLUMN travel_speed_kmh int NOT NULL DEFAULT 0 CHECK (travel_speed_kmh BETWEEN 0 AND 300),
    ADD COLUMN travel_min_minutes int NOT NULL DEFAULT 0 CHECK (travel_min_minutes BETWEEN 0 AND 1440),
    ADD COLUMN travel_fixed_minutes int NOT NULL DEFAULT 0 CHECK (travel_fixed_minutes BETWEEN 0 AND 1440),
    ADD COLUMN blackouts jsonb NOT NULL DEFAULT '[]'; -- list of domain.Blackout

-- Sealed latitude and longitude; NULL where the place is not known.
ALTER TABLE allocations ADD COLUMN place bytea;

CREATE TABLE venues (
    id         uuid NOT NULL,
    org_id     uuid NOT NULL REFERENCES organizations (id),
    about      bytea NOT NULL, -- sealed JSON: name, aliases and point, since some are homes
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version    bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);

-- A booking that a person linked with another one is kept, cancelled, so that both can be parted again.
ALTER TABLE bookings ADD COLUMN merged_into uuid;
CREATE INDEX bookings_merged ON bookings (org_id, merged_into) WHERE merged_into IS NOT NULL;

ALTER TABLE links
    ADD COLUMN how     text NOT NULL DEFAULT '', -- how the entry was found to be of this booking
    ADD COLUMN home_id uuid;                     -- the booking that it had before a person linked that one with this

CREATE TABLE link_choices (
    org_id     uuid NOT NULL REFERENCES organizations (id),
    pair       text NOT NULL, -- the two booking ids in order: a pair has one choice, the newest
    booking_id uuid NOT NULL,
    other_id   uuid NOT NULL,
    decision   text NOT NULL CHECK (decision IN ('linked', 'unlinked')),
    was        text NOT NULL DEFAULT '', -- status of booking_id before it was merged
    entries    jsonb NOT NULL DEFAULT '[]', -- list of domain.ChosenEntry
    chosen_by  text NOT NULL,
    reason     text NOT NULL,
    chosen_at  timestamptz NOT NULL,
    PRIMARY KEY (org_id, pair),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, other_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX link_choices_of_booking ON link_choices (org_id, booking_id);
CREATE INDEX link_choices_of_other ON link_choices (org_id, other_id);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['venues', 'link_choices']
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

GRANT SELECT, INSERT, UPDATE, DELETE ON venues TO wedsync_app;
GRANT SELECT, INSERT, UPDATE ON link_choices TO wedsync_app;

-- +goose Down
DROP TABLE link_choices, venues;
ALTER TABLE links DROP COLUMN how, DROP COLUMN home_id;
DROP INDEX bookings_merged;
ALTER TABLE bookings DROP COLUMN merged_into;
ALTER TABLE allocations DROP COLUMN place;
ALTER TABLE resources DROP COLUMN travel_speed_kmh, DROP COLUMN travel_min_minutes, DROP COLUMN travel_fixed_minutes, DROP COLUMN blackouts;
