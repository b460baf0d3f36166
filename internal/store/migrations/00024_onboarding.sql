-- +goose Up

-- To which account and calendar a connection leads: a keyed hash of what the provider says. NULL = not known yet; new
-- settings make it so.
ALTER TABLE integrations ADD COLUMN identity bytea;

-- How a connection is brought to work, by integration: the newest onboarding takes the row over.
CREATE TABLE onboardings (
    integration_id  uuid NOT NULL,
    org_id          uuid NOT NULL,
    id              uuid NOT NULL,
    state           text NOT NULL CHECK (state IN ('running', 'waiting', 'cancelling', 'done', 'cancelled', 'failed')),
    before_state    text NOT NULL, -- of the integration
    steps           jsonb NOT NULL, -- names, states, times and notes of our own
    attempt         int NOT NULL CHECK (attempt > 0),
    fault_kind      text NOT NULL DEFAULT '',
    fault           text NOT NULL DEFAULT '',
    duplicate_of    uuid,
    allow_duplicate boolean NOT NULL,
    run_id          uuid,
    requested_by    text NOT NULL,
    retry_at        timestamptz,
    waiting_since   timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    PRIMARY KEY (org_id, integration_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);

ALTER TABLE onboardings ENABLE ROW LEVEL SECURITY;
ALTER TABLE onboardings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON onboardings TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON onboardings TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON onboardings TO wedsync_app;

-- +goose Down
DROP TABLE onboardings;
ALTER TABLE integrations DROP COLUMN identity;
