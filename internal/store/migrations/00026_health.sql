-- How connections are observed to do: results of probes for two days, hours for ever, and where each stands and why.

-- +goose Up

-- Which part of the probing a connection is in. It follows from the last byte of its id, which is random; domain.ProbeShard
-- computes the same. Stored, because a calculation in a condition could use no index.
ALTER TABLE integrations ADD COLUMN probe_shard smallint NOT NULL GENERATED ALWAYS AS ((get_byte(uuid_send(id), 15) % 16)::smallint) STORED;
CREATE INDEX integrations_by_shard ON integrations (probe_shard, id) WHERE state <> 'deleted';

-- Where each connection stands. A connection that was never looked at has no row, and is unknown.
CREATE TABLE integration_health (
    org_id            uuid NOT NULL,
    integration_id    uuid NOT NULL,
    state             text NOT NULL DEFAULT 'unknown',
    reason_code       text NOT NULL DEFAULT 'new',
    reason_text       text NOT NULL DEFAULT 'it was not asked yet' CHECK (length(reason_text) <= 1000),
    since             timestamptz NOT NULL,
    last_probe        jsonb, -- domain.ProbeResult with its text
    signals           jsonb NOT NULL DEFAULT '[]',
    probe_every_ms    int NOT NULL DEFAULT 0 CHECK (probe_every_ms >= 0), -- 0 = as usual
    boost_every_ms    int NOT NULL DEFAULT 0 CHECK (boost_every_ms >= 0),
    boost_until       timestamptz,
    maintenance_until timestamptz,
    maintenance_text  text NOT NULL DEFAULT '',
    -- The rhythm of its webhooks: the longest silence, which fades, how many silences there were, and since when they are counted.
    rhythm_longest_ms bigint NOT NULL DEFAULT 0,
    rhythm_gaps       bigint NOT NULL DEFAULT 0,
    rhythm_since      timestamptz,
    rhythm_last       timestamptz, -- the newest webhook that was counted
    PRIMARY KEY (org_id, integration_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
-- Rewritten every few minutes by the prober; no index hangs on what changes.
ALTER TABLE integration_health SET (fillfactor = 70);

-- Results as they were, for two days. A row covers a few minutes of one connection, so a day has few rows; they are written
-- in the order of time and deleted by it. The arrays have one element per probe.
CREATE TABLE probe_results (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    covers_from    timestamptz NOT NULL, -- a row is stored once: the same batch again is known by this
    ok             int NOT NULL,
    failed         int NOT NULL,
    unknown        int NOT NULL,
    at_ms          int[] NOT NULL, -- since covers_from
    took_ms        int[] NOT NULL,
    lag_ms         int[] NOT NULL,
    tries          smallint[] NOT NULL,
    outcome        smallint[] NOT NULL,
    cause          text[] NOT NULL,
    PRIMARY KEY (org_id, integration_id, covers_from)
);
CREATE INDEX probe_results_by_age ON probe_results (covers_from);
ALTER TABLE probe_results SET (autovacuum_vacuum_scale_factor = 0.02);

-- Hours. took counts ok probes by domain.ProbeBounds, seconds counts time in states in the order of the store.
CREATE TABLE health_rollups (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    hour           timestamptz NOT NULL,
    provider       text NOT NULL,
    ok             bigint NOT NULL,
    failed         bigint NOT NULL,
    unknown        bigint NOT NULL,
    took           bigint[] NOT NULL,
    took_sum_ms    bigint NOT NULL,
    took_max_ms    bigint NOT NULL,
    traffic_ok     bigint NOT NULL,
    traffic_failed bigint NOT NULL,
    seconds        bigint[] NOT NULL,
    PRIMARY KEY (org_id, integration_id, hour)
);
CREATE INDEX health_rollups_by_platform ON health_rollups (org_id, provider, hour);
ALTER TABLE health_rollups SET (fillfactor = 80);

-- Totals since the beginning, for metrics: counters that only grow, whichever process counted.
CREATE TABLE probe_totals (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    provider       text NOT NULL,
    outcomes       bigint[] NOT NULL, -- by domain.ProbeOutcome, from 1
    took           bigint[] NOT NULL,
    took_sum_ms    bigint NOT NULL,
    lag            bigint[] NOT NULL, -- of all probes, by domain.ProbeLagBounds
    lag_sum_ms     bigint NOT NULL,
    PRIMARY KEY (org_id, integration_id)
);
ALTER TABLE probe_totals SET (fillfactor = 70);

-- Every move of a state with its reason.
CREATE TABLE health_changes (
    seq            bigint GENERATED ALWAYS AS IDENTITY,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    provider       text NOT NULL,
    was            text NOT NULL,
    became         text NOT NULL,
    reason_code    text NOT NULL,
    reason_text    text NOT NULL,
    at             timestamptz NOT NULL,
    lasted_ms      bigint NOT NULL, -- how long the state before it was
    PRIMARY KEY (org_id, seq)
);
CREATE INDEX health_changes_of_integration ON health_changes (org_id, integration_id, seq);
CREATE INDEX health_changes_by_time ON health_changes (at); -- what failed together

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['integration_health', 'probe_results', 'health_rollups', 'probe_totals', 'health_changes']
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

GRANT SELECT, INSERT, UPDATE ON integration_health TO wedsync_app;
GRANT SELECT, INSERT ON health_changes TO wedsync_app;
GRANT SELECT ON probe_results, health_rollups, probe_totals TO wedsync_app;
-- The prober writes what it measured of all tenants in one statement. Moves of states are written one tenant at a time.
GRANT SELECT, INSERT ON integration_health TO wedsync_system;
GRANT UPDATE (last_probe, signals, rhythm_longest_ms, rhythm_gaps, rhythm_since, rhythm_last) ON integration_health TO wedsync_system;
GRANT SELECT, INSERT, DELETE ON probe_results TO wedsync_system;
GRANT SELECT, INSERT, UPDATE ON health_rollups, probe_totals TO wedsync_system;
GRANT SELECT ON health_changes TO wedsync_system; -- platforms that fail together are of several tenants
GRANT SELECT (org_id, integration_id, expires_at, state) ON oauth_grants TO wedsync_system; -- tokens that ran out

-- +goose Down
REVOKE SELECT (org_id, integration_id, expires_at, state) ON oauth_grants FROM wedsync_system;
DROP TABLE health_changes, probe_totals, health_rollups, probe_results, integration_health;
DROP INDEX integrations_by_shard;
ALTER TABLE integrations DROP COLUMN probe_shard;
