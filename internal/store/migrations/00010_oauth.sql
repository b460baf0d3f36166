-- +goose Up

-- The consent that an integration lives on, at most one each.
CREATE TABLE oauth_grants (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    tokens         bytea NOT NULL, -- sealed JSON of access and refresh token
    expires_at     timestamptz NOT NULL, -- of the access token
    scopes         text[] NOT NULL,
    state          text NOT NULL CHECK (state IN ('active', 'revoked')),
    connected_by   text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    version        bigint NOT NULL DEFAULT 1, -- rises with every new pair of tokens
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, integration_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);

-- Consents asked for and not come back yet. Rows stay for a day after their end, to tell a repeat from an unknown one.
CREATE TABLE oauth_states (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    state_hash     bytea NOT NULL, -- SHA-256; the state itself is with the browser only
    subject        text NOT NULL,  -- the admin who asked
    binding        bytea NOT NULL, -- SHA-256 of what the admin's browser or program showed
    browser        boolean NOT NULL, -- it must be shown again by the browser that comes back
    verifier       bytea NOT NULL, -- sealed: of PKCE
    redirect_url   text NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    used_at        timestamptz,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE UNIQUE INDEX oauth_states_by_hash ON oauth_states (state_hash);
CREATE INDEX oauth_states_of_integration ON oauth_states (org_id, integration_id, expires_at);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['oauth_grants', 'oauth_states']
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

GRANT SELECT, INSERT, UPDATE, DELETE ON oauth_grants, oauth_states TO wedsync_app;
GRANT SELECT (org_id, state_hash) ON oauth_states TO wedsync_system; -- whose callback this is

-- +goose Down
DROP TABLE oauth_states, oauth_grants;
