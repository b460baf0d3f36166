-- What is promised of connections, what is wrong with them, and who is to hear of it when.

-- +goose Up

-- Targets of connections. Those that nothing is said about have the standard ones.
CREATE TABLE objectives (
    id           uuid NOT NULL,
    org_id       uuid NOT NULL REFERENCES organizations (id),
    scope        text NOT NULL CHECK (scope IN ('organization', 'platform', 'integration')),
    target       text NOT NULL CHECK (length(target) <= 64), -- name of a provider or id of an integration
    availability double precision NOT NULL, -- percent
    latency_ms   int NOT NULL,
    errors       double precision NOT NULL, -- percent
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, scope, target)
);

-- What the rules for alerts do otherwise than usual.
CREATE TABLE alert_rules (
    id            uuid NOT NULL,
    org_id        uuid NOT NULL REFERENCES organizations (id),
    scope         text NOT NULL CHECK (scope IN ('organization', 'platform', 'integration')),
    target        text NOT NULL CHECK (length(target) <= 64),
    rule          text NOT NULL,
    enabled       boolean NOT NULL,
    severity      text NOT NULL, -- '' = the usual one
    resolve_after int NOT NULL,  -- minutes; 0 = as usual
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    version       bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, rule, scope, target)
);

-- Reminders and escalation, where an organisation wants them otherwise than usual.
CREATE TABLE alert_policies (
    org_id       uuid NOT NULL REFERENCES organizations (id),
    remind_every int NOT NULL, -- minutes
    steps        jsonb NOT NULL,
    updated_by   text NOT NULL,
    updated_at   timestamptz NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id)
);

-- Times in which alerts are noted and not told.
CREATE TABLE silences (
    id         uuid NOT NULL,
    org_id     uuid NOT NULL REFERENCES organizations (id),
    scope      text NOT NULL CHECK (scope IN ('organization', 'platform', 'integration')),
    target     text NOT NULL CHECK (length(target) <= 64),
    rules      text[] NOT NULL, -- empty = all
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    rrule      text NOT NULL CHECK (length(rrule) <= 500),
    zone       text NOT NULL CHECK (length(zone) <= 64),
    reason     text NOT NULL CHECK (length(reason) <= 500),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at   timestamptz,
    version    bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX silences_in_force ON silences (org_id, id) WHERE ended_at IS NULL;

CREATE TABLE alerts (
    id              uuid NOT NULL,
    org_id          uuid NOT NULL REFERENCES organizations (id),
    rule            text NOT NULL,
    scope           text NOT NULL,
    target          text NOT NULL,
    state           text NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved')),
    severity        text NOT NULL,
    technical       text NOT NULL,
    reason          text NOT NULL CHECK (length(reason) <= 1000),
    wedding_at      timestamptz,
    members         int NOT NULL,
    inhibited_by    uuid,
    silenced_until  timestamptz,
    opened_at       timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    clear_since     timestamptz,
    resolved_at     timestamptz,
    resolution      text NOT NULL DEFAULT '' CHECK (length(resolution) <= 1000),
    told_at         timestamptz,
    told_severity   text NOT NULL,
    reminders       int NOT NULL,
    remind_at       timestamptz,
    level           int NOT NULL,
    escalate_at     timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text NOT NULL DEFAULT '',
    flaps           timestamptz[] NOT NULL,
    flapping        boolean NOT NULL,
    version         bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);
-- The same is wrong once at a time.
CREATE UNIQUE INDEX alerts_once ON alerts (org_id, rule, scope, target) WHERE state <> 'resolved';
CREATE INDEX alerts_by_state ON alerts (org_id, state, id);
CREATE INDEX alerts_by_end ON alerts (org_id, resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX alerts_of_target ON alerts (org_id, target, id);

-- What the rules remember of each connection; rewritten whenever results of probes came.
CREATE TABLE alert_series (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    series         bytea NOT NULL, -- rules/alert.Series
    PRIMARY KEY (org_id, integration_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
ALTER TABLE alert_series SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE alert_series ALTER COLUMN series SET STORAGE MAIN;

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['objectives', 'alert_rules', 'alert_policies', 'silences', 'alerts', 'alert_series']
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

GRANT SELECT, INSERT, UPDATE, DELETE ON objectives, alert_rules, alerts TO wedsync_app;
GRANT SELECT, INSERT, UPDATE ON alert_policies, silences, alert_series TO wedsync_app;

-- +goose Down
DROP TABLE alert_series, alerts, silences, alert_policies, alert_rules, objectives;
