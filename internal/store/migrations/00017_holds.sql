-- +goose Up

-- When a tentative booking ends by itself. Its allocation carries the same time, so that whoever reads what is taken leaves
-- out what is over, however late the timer is that cancels the booking.
ALTER TABLE bookings ADD COLUMN held_until timestamptz;
ALTER TABLE allocations ADD COLUMN expires_at timestamptz;

-- Holds, by the id of their booking.
CREATE TABLE holds (
    id         uuid NOT NULL,
    org_id     uuid NOT NULL,
    state      text NOT NULL CHECK (state IN ('held', 'confirmed', 'released', 'expired', 'lost')),
    shared     boolean NOT NULL,
    expires_at timestamptz NOT NULL,
    reason     text NOT NULL,
    lost_to    uuid,
    request    bytea NOT NULL, -- sealed JSON of what was asked for, so that a repeat is told from another wish
    made_by    text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at   timestamptz,
    version    bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX holds_by_state ON holds (org_id, state, id);

-- How long a copy took: the newest wish, and when the system had taken it.
ALTER TABLE pushes ADD COLUMN wanted_at timestamptz, ADD COLUMN shown_at timestamptz;

-- The same of all copies so far, in the buckets of the histogram, for metrics.
CREATE TABLE push_lags (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    buckets        bigint[] NOT NULL,
    sum_ms         bigint NOT NULL,
    PRIMARY KEY (org_id, integration_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);

-- Whoever asks when a resource is free is told how fresh the systems are that it is known from.
CREATE INDEX integrations_of_resource ON integrations (org_id, resource_id) WHERE state <> 'deleted';

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['holds', 'push_lags']
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
GRANT SELECT, INSERT, UPDATE ON holds, push_lags TO wedsync_app;
GRANT SELECT ON push_lags TO wedsync_system; -- metrics are of all tenants together

-- +goose Down
DROP INDEX integrations_of_resource;
DROP TABLE push_lags, holds;
ALTER TABLE pushes DROP COLUMN shown_at, DROP COLUMN wanted_at;
ALTER TABLE allocations DROP COLUMN expires_at;
ALTER TABLE bookings DROP COLUMN held_until;
