-- +goose Up

-- Published calendars of resources. The token of the address is not kept, only its SHA-256.
CREATE TABLE feeds (
    id           uuid NOT NULL,
    org_id       uuid NOT NULL,
    resource_id  uuid NOT NULL,
    token_hash   bytea NOT NULL CHECK (length(token_hash) = 32),
    label        text NOT NULL CHECK (length(label) <= 120),
    detail       text NOT NULL,
    past_days    int NOT NULL,
    future_days  int NOT NULL,
    content_hash bytea,       -- of what was last handed out
    changed_at   timestamptz, -- when that was first handed out, in whole seconds
    last_read_at timestamptz, -- to the minute or so; null = never
    revoked_at   timestamptz,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, resource_id) REFERENCES resources (org_id, id)
);
CREATE UNIQUE INDEX feeds_by_token ON feeds (token_hash);
CREATE INDEX feeds_of_resource ON feeds (org_id, resource_id, id);
ALTER TABLE feeds ENABLE ROW LEVEL SECURITY;
ALTER TABLE feeds FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON feeds TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON feeds TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON feeds TO wedsync_app;
GRANT SELECT (org_id, id, token_hash, revoked_at) ON feeds TO wedsync_system; -- whose feed a token opens

-- +goose Down
DROP TABLE feeds;
