-- How news of a connection come: by what its system posts, or by polls that stand in; what was missed meanwhile and caught up;
-- and drills, which switch what a system posts off on purpose.

-- +goose Up

-- One row per connection that ever was anything but as usual. mode says how news come now, and why.
CREATE TABLE failovers (
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    provider       text NOT NULL,
    mode           text NOT NULL DEFAULT 'usual' CHECK (mode IN ('usual', 'failing_over', 'polling', 'returning')),
    cause          text NOT NULL DEFAULT '',
    reason         text NOT NULL DEFAULT '' CHECK (length(reason) <= 1000),
    moved_by       text NOT NULL DEFAULT '',
    since          timestamptz NOT NULL,
    due_at         timestamptz, -- when it is to be judged anew
    held           boolean NOT NULL DEFAULT false, -- a person wants polls until a person says otherwise
    poll_every_ms  int NOT NULL DEFAULT 0 CHECK (poll_every_ms >= 0),
    pull_wanted_at timestamptz, -- since when it waits for the system to be read
    suspect        text NOT NULL DEFAULT '', -- a cause that nobody judged yet
    suspect_text   text NOT NULL DEFAULT '' CHECK (length(suspect_text) <= 1000),
    suspected_at   timestamptz,
    found_at       timestamptz, -- when a poll last found something of which nobody had told
    found          bigint NOT NULL DEFAULT 0, -- so much, since the mode began
    notices_before bigint NOT NULL DEFAULT 0, -- messages to watches, when the mode began
    repair_at      timestamptz,
    repairs        int NOT NULL DEFAULT 0,
    flaps          int NOT NULL DEFAULT 0,
    flapped_at     timestamptz,
    muted_until    timestamptz, -- a drill lets what the system posts lie until then
    muted_notices  bigint NOT NULL DEFAULT 0,
    episode_id     uuid,
    PRIMARY KEY (org_id, integration_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE INDEX failovers_by_platform ON failovers (provider) WHERE mode <> 'usual';
ALTER TABLE failovers SET (fillfactor = 70);

-- What happened: a time for which polls stood in, or an outage whose changes were caught up afterwards.
CREATE TABLE failover_episodes (
    id             uuid NOT NULL PRIMARY KEY,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    provider       text NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('failover', 'outage')),
    cause          text NOT NULL,
    reason         text NOT NULL CHECK (length(reason) <= 1000),
    started_by     text NOT NULL,
    good_until     timestamptz, -- when everything had last been read or told
    began_at       timestamptz NOT NULL,
    polling_at     timestamptz, -- when the first poll had worked
    ended_at       timestamptz,
    polls          int NOT NULL DEFAULT 0,
    caught_up      bigint NOT NULL DEFAULT 0 -- changes that polls brought
);
CREATE INDEX failover_episodes_of ON failover_episodes (org_id, integration_id, id);
CREATE INDEX failover_episodes_open ON failover_episodes (org_id, integration_id) WHERE ended_at IS NULL;

CREATE TABLE drills (
    id             uuid NOT NULL PRIMARY KEY,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    state          text NOT NULL CHECK (state IN ('watching', 'polling', 'returning', 'done', 'failed', 'cancelled')),
    requested_by   text NOT NULL,
    began_at       timestamptz NOT NULL,
    watch_until    timestamptz NOT NULL, -- until when it is waited that somebody notices
    muted_until    timestamptz NOT NULL, -- after which what was posted counts again, whatever happens
    asked_at       timestamptz, -- when the system was last asked to be read
    noticed_at     timestamptz,
    noticed_itself boolean NOT NULL DEFAULT false,
    polling_at     timestamptz,
    unmuted_at     timestamptz,
    ended_at       timestamptz,
    posted         bigint NOT NULL DEFAULT 0, -- webhooks and messages that lay meanwhile
    changes        bigint NOT NULL DEFAULT 0, -- that polls brought meanwhile
    lost           bigint NOT NULL DEFAULT 0,
    duplicated     bigint NOT NULL DEFAULT 0,
    max_lag_ms     bigint NOT NULL DEFAULT 0,
    verdict        text NOT NULL DEFAULT '' CHECK (length(verdict) <= 1000)
);
CREATE INDEX drills_of_org ON drills (org_id, id);
CREATE UNIQUE INDEX drills_one_at_a_time ON drills (org_id, integration_id) WHERE ended_at IS NULL;

-- How often an organisation wants its connections exercised.
CREATE TABLE drill_schedules (
    org_id     uuid NOT NULL PRIMARY KEY REFERENCES organizations (id),
    every_days int NOT NULL CHECK (every_days BETWEEN 1 AND 365),
    next_at    timestamptz NOT NULL,
    updated_by text NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX drill_schedules_due ON drill_schedules (next_at);

-- A watch that is not believed any more is replaced, and ends when the new one stands.
ALTER TABLE watches ADD COLUMN doubted boolean NOT NULL DEFAULT false;

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['failovers', 'failover_episodes', 'drills', 'drill_schedules']
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

GRANT SELECT, INSERT, UPDATE ON failovers, failover_episodes, drills TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON drill_schedules TO wedsync_app;
GRANT SELECT ON failovers TO wedsync_system; -- the prober tells it, and how many of a platform there are is of all tenants
GRANT SELECT ON drill_schedules TO wedsync_system; -- whose turn it is

-- +goose Down
ALTER TABLE watches DROP COLUMN doubted;
DROP TABLE drill_schedules, drills, failover_episodes, failovers;
