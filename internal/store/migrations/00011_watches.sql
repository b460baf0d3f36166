-- +goose Up

-- Addresses that outside systems post to when something changed there. The row is stored before the system is called,
-- because systems post, or check the address, before they answer.
CREATE TABLE watches (
    id             uuid NOT NULL PRIMARY KEY,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    secret         bytea NOT NULL, -- sealed
    settings_hash  bytea NOT NULL, -- of the settings that it was made for: others may mean another calendar
    remote_id      text NOT NULL DEFAULT '',
    resource_id    text NOT NULL DEFAULT '',
    state          text NOT NULL CHECK (state IN ('pending', 'active', 'retiring', 'retired')),
    expires_at     timestamptz,
    renew_after    timestamptz NOT NULL, -- when it is looked after next; of a retired one, when it ended
    made_at        timestamptz NOT NULL,
    last_notice_at timestamptz,
    pull_wanted_at timestamptz, -- since when a notice waits for the system to be read
    notices        bigint NOT NULL DEFAULT 0,
    failures       int NOT NULL DEFAULT 0,
    fault          text NOT NULL DEFAULT '',
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE INDEX watches_by_integration ON watches (org_id, integration_id, id);
-- Every notice rewrites its row.
ALTER TABLE watches SET (fillfactor = 70);

-- How far behind integrations are: the last lags in milliseconds, the newest at the end, and how many there were so far in
-- each bucket of the histogram, for metrics.
CREATE TABLE freshness (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    lags           bigint[] NOT NULL,
    changes        bigint NOT NULL,
    late           bigint NOT NULL,
    buckets        bigint[] NOT NULL,
    sum_ms         bigint NOT NULL,
    measured_at    timestamptz NOT NULL,
    PRIMARY KEY (org_id, integration_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);

ALTER TABLE sync_runs ADD COLUMN expected int NOT NULL DEFAULT 0; -- entries of the whole listing; 0 = not known
ALTER TABLE sync_runs ADD COLUMN noticed_at timestamptz;          -- the earliest notice that it answers
CREATE INDEX sync_runs_running ON sync_runs (org_id, integration_id, id) WHERE state = 'running';

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['watches', 'freshness']
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

GRANT SELECT, INSERT, UPDATE, DELETE ON watches TO wedsync_app;
GRANT SELECT, INSERT, UPDATE ON freshness TO wedsync_app;
GRANT SELECT ON watches TO wedsync_system; -- a notice names only its watch
GRANT SELECT (org_id, integration_id, buckets, sum_ms) ON freshness TO wedsync_system; -- metrics are of all tenants together

-- +goose Down
DROP INDEX sync_runs_running;
ALTER TABLE sync_runs DROP COLUMN noticed_at, DROP COLUMN expected;
DROP TABLE freshness, watches;
