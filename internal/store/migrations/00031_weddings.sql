-- The care for each wedding: when what is due, what preflights found, what happened on the day, and the report of it.

-- +goose Up

-- One row for each wedding that is, or was, looked after. The id is that of its booking.
CREATE TABLE wedding_cares (
    id               uuid NOT NULL,
    org_id           uuid NOT NULL,
    resource_id      uuid NOT NULL,
    state            text NOT NULL CHECK (state IN ('waiting', 'preflight', 'frozen', 'day', 'handed_over', 'ended')),
    starts_at        timestamptz NOT NULL,
    ends_at          timestamptz NOT NULL,
    zone             text NOT NULL CHECK (length(zone) <= 64),
    date             text NOT NULL CHECK (length(date) = 10),
    preflight_week   timestamptz NOT NULL,
    preflight_freeze timestamptz NOT NULL,
    freeze_from      timestamptz NOT NULL,
    day_from         timestamptz NOT NULL,
    day_until        timestamptz NOT NULL,
    next_at          timestamptz, -- NULL = nothing is left to do
    preflight        text NOT NULL DEFAULT '',
    preflight_at     timestamptz,
    preflight_id     uuid,
    wanted_at        timestamptz,
    wanted_by        text NOT NULL DEFAULT '',
    told             text[] NOT NULL DEFAULT '{}', -- findings that people know of
    health_seq       bigint NOT NULL DEFAULT 0,
    updated_at       timestamptz NOT NULL,
    version          bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX wedding_cares_by_day ON wedding_cares (org_id, day_from, id);
CREATE INDEX wedding_cares_due ON wedding_cares (org_id, next_at) WHERE next_at IS NOT NULL;

CREATE TABLE wedding_preflights (
    id           uuid NOT NULL,
    org_id       uuid NOT NULL,
    booking_id   uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('week', 'freeze', 'again', 'asked')),
    state        text NOT NULL CHECK (state IN ('blocking', 'attention', 'ok', 'not_applicable')),
    checks       jsonb NOT NULL, -- of domain.Check
    starts_at    timestamptz NOT NULL, -- of the wedding, then
    made_at      timestamptz NOT NULL,
    requested_by text NOT NULL,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX wedding_preflights_of ON wedding_preflights (org_id, booking_id, id);

-- What happened on the day. The key keeps a thing from being noted twice.
CREATE TABLE wedding_notes (
    seq        bigint GENERATED ALWAYS AS IDENTITY,
    org_id     uuid NOT NULL,
    booking_id uuid NOT NULL,
    at         timestamptz NOT NULL,
    kind       text NOT NULL,
    bad        boolean NOT NULL,
    subject    text NOT NULL CHECK (length(subject) <= 100),
    text       text NOT NULL CHECK (length(text) <= 1000),
    key        text NOT NULL CHECK (length(key) <= 200),
    PRIMARY KEY (org_id, seq),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX wedding_notes_once ON wedding_notes (org_id, booking_id, key);

-- Reports of days. A wedding that was moved after its day has another one.
CREATE TABLE wedding_handovers (
    org_id     uuid NOT NULL,
    booking_id uuid NOT NULL,
    day_from   timestamptz NOT NULL,
    report     jsonb NOT NULL, -- domain.HandOver
    made_at    timestamptz NOT NULL,
    PRIMARY KEY (org_id, booking_id, day_from),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);

-- The connections that a wedding rests on, during its day: their webhooks go first, and moves of their health are told at once.
CREATE TABLE wedding_connections (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    booking_id     uuid NOT NULL,
    starts_at      timestamptz NOT NULL, -- of the wedding
    until          timestamptz NOT NULL,
    PRIMARY KEY (org_id, integration_id, booking_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX wedding_connections_of ON wedding_connections (org_id, booking_id);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['wedding_cares', 'wedding_preflights', 'wedding_notes', 'wedding_handovers', 'wedding_connections']
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

GRANT SELECT, INSERT, UPDATE, DELETE ON wedding_cares, wedding_preflights TO wedsync_app;
GRANT SELECT, INSERT, DELETE ON wedding_notes TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON wedding_handovers, wedding_connections TO wedsync_app;
GRANT SELECT (state, preflight) ON wedding_cares TO wedsync_system; -- metrics
GRANT SELECT (org_id, integration_id, until) ON wedding_connections TO wedsync_system; -- what goes first at intake

-- +goose Down
DROP TABLE wedding_connections, wedding_handovers, wedding_notes, wedding_preflights, wedding_cares;
