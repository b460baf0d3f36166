-- When connections rest, who wants that when, and what came of it.

-- +goose Up

-- The work of a connection rests until a time, for a window of maintenance. It is over by itself, whoever is away then.
ALTER TABLE integrations ADD COLUMN work_held_by uuid, ADD COLUMN work_held_until timestamptz,
    ADD CONSTRAINT integrations_work_held CHECK ((work_held_by IS NULL) = (work_held_until IS NULL));

-- What organisations want of maintenance, where it is otherwise than usual.
CREATE TABLE maintenance_settings (
    org_id           uuid NOT NULL REFERENCES organizations (id),
    approval         text NOT NULL CHECK (approval IN ('person', 'automatic')),
    notice_minutes   int NOT NULL,
    announce_minutes int[] NOT NULL,
    zone             text NOT NULL CHECK (length(zone) <= 64), -- '' = that of the organisation
    weekdays         int[] NOT NULL,
    from_minute      int NOT NULL,
    until_minute     int NOT NULL,
    seasons          jsonb NOT NULL,
    when_wedding     text NOT NULL CHECK (when_wedding IN ('cancel', 'move')),
    updated_by       text NOT NULL,
    updated_at       timestamptz NOT NULL,
    version          bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id)
);

CREATE TABLE maintenance_windows (
    id           uuid NOT NULL,
    org_id       uuid NOT NULL REFERENCES organizations (id),
    scopes       jsonb NOT NULL,
    starts_at    timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL CHECK (ends_at > starts_at),
    state        text NOT NULL CHECK (state IN ('proposed', 'approved', 'announced', 'draining', 'running', 'replaying', 'done', 'cancelled', 'refused')),
    approval     text NOT NULL CHECK (approval IN ('person', 'automatic')),
    reason       text NOT NULL CHECK (length(reason) <= 500),
    note         text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    short_notice boolean NOT NULL DEFAULT false,
    requested_by text NOT NULL,
    approved_by  text NOT NULL DEFAULT '',
    approved_at  timestamptz,
    announced    int, -- minutes before the beginning
    moved        int NOT NULL DEFAULT 0,
    began_at     timestamptz,
    drained_at   timestamptz,
    released_at  timestamptz,
    ended_at     timestamptz,
    early        boolean NOT NULL DEFAULT false,
    connections  int NOT NULL DEFAULT 0,
    held         int NOT NULL DEFAULT 0,
    left_over    int NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);
-- Looked into whenever a wedding is stored, so it holds the few that are not over.
CREATE INDEX maintenance_open ON maintenance_windows (org_id, starts_at) WHERE ended_at IS NULL;
CREATE INDEX maintenance_by_state ON maintenance_windows (org_id, state, id);

-- The connections of windows that began.
CREATE TABLE maintenance_members (
    org_id         uuid NOT NULL,
    window_id      uuid NOT NULL,
    integration_id uuid NOT NULL,
    held_at        timestamptz NOT NULL,
    quiet_at       timestamptz,
    released_at    timestamptz,
    pulls          boolean NOT NULL DEFAULT false,
    held           int NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, window_id, integration_id),
    FOREIGN KEY (org_id, window_id) REFERENCES maintenance_windows (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);

-- What providers announced of their own systems.
CREATE TABLE provider_windows (
    id         uuid NOT NULL,
    org_id     uuid NOT NULL REFERENCES organizations (id),
    provider   text NOT NULL CHECK (length(provider) BETWEEN 1 AND 60),
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL CHECK (ends_at > starts_at),
    source     text NOT NULL CHECK (length(source) BETWEEN 1 AND 500),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX provider_windows_by_time ON provider_windows (org_id, ends_at);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['maintenance_settings', 'maintenance_windows', 'maintenance_members', 'provider_windows']
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

GRANT SELECT, INSERT, UPDATE ON maintenance_settings TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance_windows, maintenance_members, provider_windows TO wedsync_app;

-- +goose Down
DROP TABLE provider_windows, maintenance_members, maintenance_windows, maintenance_settings;
ALTER TABLE integrations DROP COLUMN work_held_by, DROP COLUMN work_held_until;
