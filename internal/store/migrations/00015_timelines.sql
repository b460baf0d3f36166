-- +goose Up

-- The order of a wedding day. The id is that of the wedding's booking: a wedding has one timeline.
CREATE TABLE timelines (
    id         uuid NOT NULL,
    org_id     uuid NOT NULL,
    plan       bytea NOT NULL, -- sealed JSON of domain.TimelinePlan
    exported   jsonb NOT NULL, -- keys of items and the bookings that stand for them
    followed   bigint NOT NULL, -- version of the wedding's booking that they were made from
    updated_at timestamptz NOT NULL,
    version    bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
ALTER TABLE timelines ENABLE ROW LEVEL SECURITY;
ALTER TABLE timelines FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON timelines TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON timelines TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON timelines TO wedsync_app;
GRANT SELECT ON timelines TO wedsync_system;

-- +goose Down
DROP TABLE timelines;
