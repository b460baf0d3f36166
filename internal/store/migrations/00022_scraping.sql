-- +goose Up

-- Whose pages may be read: the customer's consent for one connection and one origin. It is never deleted.
CREATE TABLE scrape_consents (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    origin         text NOT NULL CHECK (length(origin) <= 400),
    given_by       text NOT NULL,
    given_at       timestamptz NOT NULL,
    withdrawn_by   text,
    withdrawn_at   timestamptz,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE UNIQUE INDEX scrape_consents_once ON scrape_consents (org_id, integration_id, origin) WHERE withdrawn_at IS NULL;
CREATE INDEX scrape_consents_of_integration ON scrape_consents (org_id, integration_id, id);

-- What a page looked like that could not be read any more, with every value masked.
CREATE TABLE scrape_snapshots (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    sync_run_id    uuid,
    at             timestamptz NOT NULL,
    kind           text NOT NULL,
    report         text NOT NULL,  -- what happened; names places in the recipe and no values
    page           bytea NOT NULL, -- sealed
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE INDEX scrape_snapshots_newest ON scrape_snapshots (org_id, integration_id, id);
CREATE INDEX scrape_snapshots_by_age ON scrape_snapshots (at);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['scrape_consents', 'scrape_snapshots']
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

GRANT SELECT, INSERT, UPDATE ON scrape_consents TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON scrape_snapshots TO wedsync_app; -- reseals, and makes room for newer ones
GRANT SELECT (org_id, id, at), DELETE ON scrape_snapshots TO wedsync_system;

-- +goose Down
DROP TABLE scrape_snapshots, scrape_consents;
