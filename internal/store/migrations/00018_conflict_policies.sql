-- Conflicts are decided by an organisation's policy where an admin wants that, ignored until a time, escalated by a deadline,
-- and taken back step by step when a system refuses.

-- +goose Up

ALTER TABLE conflicts
    ADD COLUMN waiting_since timestamptz,                  -- since when a person is waited for; NULL = detected_at
    ADD COLUMN escalated_at  timestamptz,
    ADD COLUMN reminders     int NOT NULL DEFAULT 0,
    ADD COLUMN ignored_until timestamptz,
    ADD COLUMN policy        jsonb,                        -- domain.PolicyNote
    ADD COLUMN policy_asked  boolean NOT NULL DEFAULT false; -- a person wants the policy of today to look at it

-- A pair has one conflict that is not closed.
CREATE UNIQUE INDEX conflicts_one_unclosed ON conflicts (org_id, resource_id, pair) WHERE state IN ('open', 'ignored', 'resolving', 'undoing', 'stuck');
DROP INDEX conflicts_one_open;

CREATE TABLE conflict_policies (
    id             uuid NOT NULL,
    org_id         uuid NOT NULL,
    category       text NOT NULL, -- the higher one of the two
    other_category text NOT NULL,
    rule           text NOT NULL,
    what_then      text NOT NULL DEFAULT '',
    sources        uuid[] NOT NULL DEFAULT '{}',
    reason         text NOT NULL DEFAULT '',
    updated_by     text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, id)
);
CREATE UNIQUE INDEX conflict_policies_of_pair ON conflict_policies (org_id, category, other_category);
ALTER TABLE conflict_policies ENABLE ROW LEVEL SECURITY;
ALTER TABLE conflict_policies FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON conflict_policies TO wedsync_app
    USING (org_id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (org_id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON conflict_policies TO wedsync_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON conflict_policies TO wedsync_app;

-- +goose Down
DROP TABLE conflict_policies;
UPDATE conflicts SET state = 'open' WHERE state IN ('ignored', 'undoing', 'stuck');
CREATE UNIQUE INDEX conflicts_one_open ON conflicts (org_id, resource_id, pair) WHERE state IN ('open', 'resolving');
DROP INDEX conflicts_one_unclosed;
ALTER TABLE conflicts DROP COLUMN waiting_since, DROP COLUMN escalated_at, DROP COLUMN reminders, DROP COLUMN ignored_until, DROP COLUMN policy,
    DROP COLUMN policy_asked;
