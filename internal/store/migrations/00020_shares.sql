-- +goose Up

-- Links by which people without an account see one wedding. The token of the address is not kept, only its SHA-256.
CREATE TABLE shares (
    id           uuid NOT NULL,
    org_id       uuid NOT NULL,
    booking_id   uuid NOT NULL,
    role         text NOT NULL,
    resource_id  uuid,
    texts        bytea NOT NULL, -- sealed JSON: label and title, which name people
    token_hash   bytea NOT NULL CHECK (length(token_hash) = 32),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    accesses     bigint NOT NULL DEFAULT 0,
    last_used_at timestamptz,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, resource_id) REFERENCES resources (org_id, id)
);
CREATE INDEX shares_of_booking ON shares (org_id, booking_id, id);

-- What vendors confirmed through their links: the newest word of each link about each item.
CREATE TABLE confirmations (
    org_id      uuid NOT NULL,
    booking_id  uuid NOT NULL,
    item_key    text NOT NULL CHECK (length(item_key) <= 40),
    share_id    uuid NOT NULL,
    resource_id uuid NOT NULL,
    revision    text NOT NULL, -- fingerprint of the item as it was confirmed
    at          timestamptz NOT NULL,
    PRIMARY KEY (org_id, booking_id, item_key, share_id),
    FOREIGN KEY (org_id, share_id) REFERENCES shares (org_id, id) ON DELETE CASCADE
);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['shares', 'confirmations']
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

GRANT SELECT, INSERT, UPDATE ON shares, confirmations TO wedsync_app;

-- +goose Down
DROP TABLE confirmations, shares;
