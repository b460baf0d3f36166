-- +goose Up

-- What a delivery is about, and where a replay of it came from. Adding a column with a constant default rewrites nothing.
ALTER TABLE deliveries
    ADD COLUMN event_type text NOT NULL DEFAULT '', -- the vendor's word for what happened
    ADD COLUMN entity     text NOT NULL DEFAULT '', -- external id of the first entry in it
    ADD COLUMN origin_id  uuid,                     -- of a replay: the delivery that the vendor sent
    ADD COLUMN replay_id  uuid;                     -- of a replay: the request that made it

-- Searches. Intake pays for none of these: a received row is in no index here.
CREATE INDEX deliveries_by_integration ON deliveries (integration_id, id) WHERE state <> 'received';
CREATE INDEX deliveries_ignored ON deliveries (org_id, id) WHERE state = 'ignored';
CREATE INDEX deliveries_to_retry ON deliveries (org_id, id) WHERE state = 'retrying';
CREATE INDEX deliveries_by_event ON deliveries (org_id, event_type, id) WHERE event_type <> '';
CREATE INDEX deliveries_by_entity ON deliveries (org_id, entity, id) WHERE entity <> '';
CREATE INDEX deliveries_by_origin ON deliveries (org_id, origin_id, id) WHERE origin_id IS NOT NULL;
CREATE INDEX deliveries_by_replay ON deliveries (org_id, replay_id, id) WHERE replay_id IS NOT NULL;

-- Tries of deliveries that were not applied on the first one, which has no row here.
CREATE TABLE delivery_attempts (
    org_id      uuid NOT NULL,
    delivery_id uuid NOT NULL,
    n           int  NOT NULL CHECK (n >= 1),
    at          timestamptz NOT NULL,
    outcome     text NOT NULL,
    reason      text NOT NULL,
    duration_ms int  NOT NULL CHECK (duration_ms >= 0),
    worker      text NOT NULL, -- the process that tried
    PRIMARY KEY (org_id, delivery_id, n),
    FOREIGN KEY (org_id, delivery_id) REFERENCES deliveries (org_id, id) ON DELETE CASCADE
);

CREATE TABLE replays (
    id           uuid NOT NULL,
    org_id       uuid NOT NULL REFERENCES organizations (id),
    filter       jsonb NOT NULL,
    dry_run      boolean NOT NULL,
    rate         int  NOT NULL CHECK (rate BETWEEN 1 AND 1000), -- deliveries a second
    state        text NOT NULL,
    total        int,                         -- matches counted at the beginning; NULL before
    seen         int  NOT NULL DEFAULT 0,
    replayed     int  NOT NULL DEFAULT 0,
    skipped      int  NOT NULL DEFAULT 0,
    tally        jsonb NOT NULL DEFAULT '{}', -- skipped by reason; outcomes and effects of a dry run
    samples      jsonb NOT NULL DEFAULT '[]', -- of a dry run: what single deliveries would do
    position     uuid,                        -- the last delivery looked at
    last_copy    uuid,                        -- the last delivery made
    requested_by text NOT NULL,
    reason       text NOT NULL,
    error        text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX replays_by_time ON replays (org_id, created_at, id);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['delivery_attempts', 'replays']
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
GRANT SELECT, INSERT, DELETE ON delivery_attempts TO wedsync_app;
GRANT SELECT, INSERT, UPDATE ON replays TO wedsync_app;

-- +goose Down
DROP TABLE replays, delivery_attempts;
DROP INDEX deliveries_by_integration, deliveries_ignored, deliveries_to_retry, deliveries_by_event, deliveries_by_entity,
    deliveries_by_origin, deliveries_by_replay;
ALTER TABLE deliveries DROP COLUMN event_type, DROP COLUMN entity, DROP COLUMN origin_id, DROP COLUMN replay_id;
