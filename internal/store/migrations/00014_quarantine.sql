-- Guards of deletions: many removals at once are held until a person decides, our own copies can be taken out of a system
-- again, and every change of a booking leaves its cause.

-- +goose Up

-- More removals than both at once are held. Constant defaults rewrite no rows.
ALTER TABLE integrations
    ADD COLUMN guard_removals int NOT NULL DEFAULT 5 CHECK (guard_removals BETWEEN 0 AND 100000),
    ADD COLUMN guard_percent  int NOT NULL DEFAULT 20 CHECK (guard_percent BETWEEN 0 AND 100),
    ADD COLUMN held           boolean NOT NULL DEFAULT false, -- an open quarantine exists, so that nobody has to look when none does
    ADD COLUMN copies         text NOT NULL DEFAULT 'kept' CHECK (copies IN ('kept', 'purging', 'purged'));

-- Removals of the last minutes are counted before more are carried out.
CREATE INDEX links_by_removal ON links (org_id, integration_id, removed_at) WHERE removed_at IS NOT NULL AND NOT mirror;

CREATE TABLE quarantines (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    cause_kind     text NOT NULL, -- sync_run, delivery or settings
    cause_id       text NOT NULL,
    state          text NOT NULL DEFAULT 'open',
    known          int NOT NULL,  -- entries that the system was known to have
    missing        int NOT NULL,  -- of these, removed within the window or held
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    decided_by     text NOT NULL DEFAULT '',
    decided_at     timestamptz,
    decision       text NOT NULL DEFAULT '', -- why, in the words of who decided
    left_over      int NOT NULL DEFAULT 0,   -- rows without an outcome
    due_at         timestamptz,              -- when the keeper looks at it again
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE UNIQUE INDEX quarantines_one_open ON quarantines (org_id, integration_id) WHERE state = 'open';
CREATE INDEX quarantines_due ON quarantines (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE quarantined_removals (
    org_id         uuid NOT NULL,
    quarantine_id  uuid NOT NULL,
    link_id        uuid NOT NULL,
    booking_id     uuid NOT NULL,
    kind           text NOT NULL,            -- reported, absent or elsewhere
    remote_version bigint NOT NULL DEFAULT 0, -- of the removal, where the system gives an order
    at             timestamptz NOT NULL,
    outcome        text NOT NULL DEFAULT '', -- removed, back, kept or written
    PRIMARY KEY (org_id, quarantine_id, link_id),
    FOREIGN KEY (org_id, quarantine_id) REFERENCES quarantines (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX quarantined_removals_by_booking ON quarantined_removals (org_id, booking_id);
CREATE INDEX quarantined_removals_left ON quarantined_removals (org_id, quarantine_id, link_id) WHERE outcome = '';

CREATE TABLE purges (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    copies         int NOT NULL,     -- that were there at the beginning
    disconnect     boolean NOT NULL, -- the integration is deleted when none is left
    requested_by   text NOT NULL,
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE UNIQUE INDEX purges_one_open ON purges (org_id, integration_id) WHERE ended_at IS NULL;
CREATE INDEX purges_of_integration ON purges (org_id, integration_id, id);

-- Why a booking is as it is: the names of the fields that a version changed, never their values.
CREATE TABLE booking_changes (
    org_id     uuid NOT NULL,
    booking_id uuid NOT NULL,
    version    bigint NOT NULL,
    at         timestamptz NOT NULL,
    cause_kind text NOT NULL,
    cause_id   text NOT NULL,
    fields     text[] NOT NULL,
    PRIMARY KEY (org_id, booking_id, version),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['quarantines', 'quarantined_removals', 'purges', 'booking_changes']
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

GRANT SELECT, INSERT, UPDATE ON quarantines, quarantined_removals, purges TO wedsync_app;
GRANT SELECT, INSERT ON booking_changes TO wedsync_app;
GRANT SELECT, UPDATE (due_at) ON quarantines TO wedsync_system; -- finds and takes up what is due

-- +goose Down
DROP TABLE booking_changes, purges, quarantined_removals, quarantines;
DROP INDEX links_by_removal;
ALTER TABLE integrations DROP COLUMN guard_removals, DROP COLUMN guard_percent, DROP COLUMN held, DROP COLUMN copies;
