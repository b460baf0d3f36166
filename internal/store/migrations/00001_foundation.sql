-- The tables of WedSync. Three roles take part:
--   the owner      runs migrations and owns the tables; row-level security is forced on it too
--   wedsync_app    one tenant at a time: sees rows whose org_id is the transaction's wedsync.org setting
--   wedsync_system intake, dispatch and stream: sees all tenants, with only the grants listed at the end
-- Login roles get wedsync_app and wedsync_system granted and switch with SET ROLE. Make them NOINHERIT: a role that
-- inherits has the rights and policies of both without switching.

-- +goose Up
-- +goose StatementBegin
DO $$
BEGIN
    CREATE ROLE wedsync_app NOLOGIN NOBYPASSRLS;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
BEGIN
    CREATE ROLE wedsync_system NOLOGIN NOBYPASSRLS;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('GRANT wedsync_app, wedsync_system TO %I', current_user);
EXCEPTION WHEN OTHERS THEN
    -- A superuser needs no membership, and concurrent migrations of several databases of one cluster may collide here.
    RAISE NOTICE 'grant of roles skipped: %', SQLERRM;
END $$;
-- +goose StatementEnd

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE organizations (
    id         uuid PRIMARY KEY,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    zone       text NOT NULL CHECK (length(zone) BETWEEN 1 AND 64),
    created_at timestamptz NOT NULL
);

CREATE TABLE resources (
    id                    uuid NOT NULL,
    org_id                uuid NOT NULL REFERENCES organizations (id),
    name                  bytea NOT NULL, -- sealed: it is often a person's name
    kind                  text NOT NULL,
    zone                  text NOT NULL,
    capacity              int  NOT NULL CHECK (capacity BETWEEN 1 AND 100),
    buffer_before_seconds int  NOT NULL DEFAULT 0 CHECK (buffer_before_seconds BETWEEN 0 AND 172800),
    buffer_after_seconds  int  NOT NULL DEFAULT 0 CHECK (buffer_after_seconds BETWEEN 0 AND 172800),
    working_hours         jsonb NOT NULL DEFAULT '[]',
    skills                text[] NOT NULL DEFAULT '{}',
    one_wedding_a_day     boolean NOT NULL DEFAULT true,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    version               bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (id),
    UNIQUE (org_id, id)
);

CREATE TABLE integrations (
    id               uuid NOT NULL,
    org_id           uuid NOT NULL REFERENCES organizations (id),
    name             text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    provider         text NOT NULL,
    state            text NOT NULL,
    state_reason     text NOT NULL DEFAULT '',
    direction        text NOT NULL,
    resource_id      uuid NOT NULL,
    settings         jsonb NOT NULL,
    secrets          bytea NOT NULL, -- sealed JSON object of names to values
    poll_seconds     int NOT NULL DEFAULT 0 CHECK (poll_seconds >= 0),
    sync_cursor      text NOT NULL DEFAULT '',
    last_delivery_at timestamptz,
    last_sync_at     timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    version          bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (id),
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, resource_id) REFERENCES resources (org_id, id)
);
CREATE INDEX integrations_by_update ON integrations (updated_at); -- intake asks for what changed lately
-- Every applied change asks which connections of the organisation take writes.
CREATE INDEX integrations_exporting ON integrations (org_id, id) WHERE state <> 'deleted' AND direction IN ('export', 'bidirectional');

-- Intake writes here thousands of rows a second, so there is no foreign key: a key check per row would lock the hot
-- integration row.
CREATE TABLE deliveries (
    id              uuid NOT NULL,
    org_id          uuid NOT NULL,
    integration_id  uuid NOT NULL,
    dedupe          bytea NOT NULL, -- SHA-256 of the vendor's message id, or of the body
    state           text NOT NULL DEFAULT 'received',
    attempts        int NOT NULL DEFAULT 0,
    size            int NOT NULL,
    received_at     timestamptz NOT NULL,
    next_attempt_at timestamptz,
    applied_at      timestamptz,
    reason          text NOT NULL DEFAULT '',
    content         bytea NOT NULL, -- sealed: kept headers and raw body
    PRIMARY KEY (org_id, id) -- one index for look-ups and lists
);
CREATE UNIQUE INDEX deliveries_once ON deliveries (integration_id, dedupe);
-- What waits, by integration: a new row has one entry here, a finished one none.
CREATE INDEX deliveries_received ON deliveries (integration_id, id) WHERE state = 'received';
CREATE INDEX deliveries_retrying ON deliveries (integration_id, next_attempt_at, id) WHERE state = 'retrying';
CREATE INDEX deliveries_dead ON deliveries (org_id, id) WHERE state = 'dead';
-- Sealed bytes do not compress; trying to would cost time for every large body.
ALTER TABLE deliveries ALTER COLUMN content SET STORAGE EXTERNAL;
-- Every row leaves deliveries_received soon after it came: without frequent cleaning the sweep wades through dead entries.
ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

CREATE TABLE bookings (
    id          uuid NOT NULL PRIMARY KEY,
    org_id      uuid NOT NULL,
    resource_id uuid NOT NULL,
    category    text NOT NULL,
    status      text NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL CHECK (ends_at > starts_at),
    zone        text NOT NULL,
    time_kind   text NOT NULL,
    long        boolean NOT NULL GENERATED ALWAYS AS (ends_at - starts_at > interval '3 days') STORED,
    details     bytea NOT NULL, -- sealed JSON of domain.Details
    private     boolean NOT NULL DEFAULT false,
    free        boolean NOT NULL DEFAULT false,
    source_id   uuid,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    version     bigint NOT NULL,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, resource_id) REFERENCES resources (org_id, id)
);
CREATE INDEX bookings_by_time ON bookings (org_id, starts_at, id);
CREATE INDEX bookings_long ON bookings (org_id, ends_at) WHERE long; -- see allocations

-- Overlaps are read through the b-tree indexes, not through the GiST index: under row-level security the planner does
-- not push && below the policy (it is not leakproof), while = and < on uuid and timestamptz are. Stretches longer than
-- three days are few and have an index of their own, so that the look-back for the others is bounded.
CREATE TABLE allocations (
    id          uuid NOT NULL PRIMARY KEY,
    org_id      uuid NOT NULL,
    booking_id  uuid NOT NULL,
    resource_id uuid NOT NULL,
    category    text NOT NULL,
    status      text NOT NULL,
    starts_at   timestamptz NOT NULL, -- the booking's own time
    ends_at     timestamptz NOT NULL,
    busy_from   timestamptz NOT NULL, -- with buffers
    busy_to     timestamptz NOT NULL CHECK (busy_to > busy_from),
    slot        int NOT NULL CHECK (slot >= 0),
    exclusive   boolean NOT NULL,
    long        boolean NOT NULL GENERATED ALWAYS AS (busy_to - busy_from > interval '3 days') STORED,
    booked_at   timestamptz NOT NULL, -- created_at of the booking: decides who gives way
    UNIQUE (org_id, booking_id),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, resource_id) REFERENCES resources (org_id, id),
    CONSTRAINT allocations_never_twice EXCLUDE USING gist
        (org_id WITH =, resource_id WITH =, slot WITH =, tstzrange(busy_from, busy_to, '[)') WITH &&)
        WHERE (exclusive)
);
CREATE INDEX allocations_short ON allocations (resource_id, busy_from) WHERE NOT long;
CREATE INDEX allocations_long ON allocations (resource_id, busy_to) WHERE long;

CREATE TABLE links (
    id              uuid NOT NULL PRIMARY KEY,
    org_id          uuid NOT NULL,
    integration_id  uuid NOT NULL,
    booking_id      uuid NOT NULL,
    external_id     text NOT NULL,
    uid             text NOT NULL DEFAULT '',
    revision        text NOT NULL DEFAULT '',
    mirror          boolean NOT NULL,
    hash            text NOT NULL DEFAULT '',
    remote_version  bigint NOT NULL DEFAULT 0,
    written_version bigint NOT NULL DEFAULT 0,
    seen_run        uuid,
    removed_at      timestamptz,
    updated_at      timestamptz NOT NULL,
    UNIQUE (org_id, integration_id, external_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX links_by_booking ON links (org_id, booking_id);
CREATE INDEX links_by_uid ON links (org_id, uid) WHERE uid <> '' AND removed_at IS NULL;

CREATE TABLE conflicts (
    id           uuid NOT NULL PRIMARY KEY,
    org_id       uuid NOT NULL,
    kind         text NOT NULL,
    severity     text NOT NULL,
    state        text NOT NULL,
    resource_id  uuid NOT NULL,
    booking_id   uuid NOT NULL,
    other_id     uuid,
    pair         text NOT NULL, -- the two booking ids in order, so that a pair has one open conflict
    overlap_from timestamptz NOT NULL,
    overlap_to   timestamptz NOT NULL,
    explanation  text NOT NULL,
    alternatives jsonb NOT NULL DEFAULT '[]',
    resolution   jsonb,
    fingerprint  text NOT NULL DEFAULT '', -- the times that clashed: a dismissed pair is reported again when they change
    wedding_date date,
    detected_at  timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    closed_at    timestamptz,
    version      bigint NOT NULL DEFAULT 1,
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, resource_id) REFERENCES resources (org_id, id),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX conflicts_one_open ON conflicts (org_id, resource_id, pair) WHERE state IN ('open', 'resolving');
CREATE INDEX conflicts_by_pair ON conflicts (org_id, pair, detected_at);
CREATE INDEX conflicts_by_state ON conflicts (org_id, state, id);
-- The transaction that applies a change asks for the conflicts of the bookings it touches.
CREATE INDEX conflicts_of_booking ON conflicts (org_id, booking_id);
CREATE INDEX conflicts_of_other ON conflicts (org_id, other_id);

-- What an admin decided, written before the workflow is told, so that words typed by people stay out of histories.
CREATE TABLE conflict_decisions (
    id          uuid NOT NULL PRIMARY KEY,
    org_id      uuid NOT NULL,
    conflict_id uuid NOT NULL,
    decision    jsonb NOT NULL,
    taken       boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    FOREIGN KEY (org_id, conflict_id) REFERENCES conflicts (org_id, id) ON DELETE CASCADE
);

CREATE TABLE pushes (
    id              uuid NOT NULL PRIMARY KEY,
    org_id          uuid NOT NULL,
    integration_id  uuid NOT NULL,
    booking_id      uuid NOT NULL,
    op              text NOT NULL,
    want_version    bigint NOT NULL,
    state           text NOT NULL,
    reason          text NOT NULL DEFAULT '',
    attempts        int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (org_id, integration_id, booking_id),
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id),
    FOREIGN KEY (org_id, booking_id) REFERENCES bookings (org_id, id) ON DELETE CASCADE
);
CREATE INDEX pushes_waiting ON pushes (integration_id, id) WHERE state IN ('pending', 'retrying');

CREATE TABLE sync_runs (
    id             uuid NOT NULL PRIMARY KEY,
    org_id         uuid NOT NULL,
    integration_id uuid NOT NULL,
    full_run       boolean NOT NULL,
    state          text NOT NULL,
    cursor         text NOT NULL DEFAULT '', -- position inside the run; becomes the integration's at the end
    pages          int NOT NULL DEFAULT 0,
    seen           int NOT NULL DEFAULT 0,
    applied        int NOT NULL DEFAULT 0,
    unchanged      int NOT NULL DEFAULT 0,
    removed        int NOT NULL DEFAULT 0,
    quarantined    int NOT NULL DEFAULT 0,
    rejected       int NOT NULL DEFAULT 0,
    error          text NOT NULL DEFAULT '',
    requested_by   text NOT NULL,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    FOREIGN KEY (org_id, integration_id) REFERENCES integrations (org_id, id)
);
CREATE INDEX sync_runs_by_integration ON sync_runs (org_id, integration_id, id);

-- Work to be told to Temporal, written in the transaction that caused it and deleted once it was told.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id     uuid NOT NULL,
    kind       text NOT NULL, -- 'push', 'conflict_start', 'conflict_recheck', 'integration_changed'
    target_id  uuid NOT NULL, -- integration or conflict
    ref_id     uuid,          -- booking, where there is one
    due_at     timestamptz NOT NULL,
    attempts   int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_at);
-- Nearly empty at any time and rewritten all the time.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- The live stream. Readers take rows in (xid, seq) order and only below the oldest transaction still running, so a
-- transaction that commits late cannot slip in behind a reader's position.
CREATE TABLE stream_events (
    seq    bigint GENERATED ALWAYS AS IDENTITY,
    xid    xid8 NOT NULL DEFAULT pg_current_xact_id(),
    org_id uuid NOT NULL,
    topic  text NOT NULL,
    at     timestamptz NOT NULL,
    refs   jsonb NOT NULL,
    PRIMARY KEY (xid, seq)
);
CREATE INDEX stream_events_by_org ON stream_events (org_id, xid, seq);
CREATE INDEX stream_events_by_age ON stream_events (at);

CREATE TABLE audit_heads (
    org_id uuid PRIMARY KEY REFERENCES organizations (id),
    seq    bigint NOT NULL,
    hash   bytea NOT NULL
);
CREATE TABLE audit_entries (
    org_id  uuid NOT NULL REFERENCES organizations (id),
    seq     bigint NOT NULL,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    action  text NOT NULL,
    reason  text NOT NULL,
    subject text NOT NULL,
    before  jsonb NOT NULL,
    after   jsonb NOT NULL,
    prev    bytea NOT NULL,
    hash    bytea NOT NULL,
    PRIMARY KEY (org_id, seq)
);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['resources', 'integrations', 'deliveries', 'bookings', 'allocations', 'links', 'conflicts',
        'conflict_decisions', 'pushes', 'sync_runs', 'outbox', 'stream_events', 'audit_heads', 'audit_entries']
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
ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON organizations TO wedsync_app
    USING (id = nullif(current_setting('wedsync.org', true), '')::uuid)
    WITH CHECK (id = nullif(current_setting('wedsync.org', true), '')::uuid);
CREATE POLICY everyone ON organizations TO wedsync_system USING (true) WITH CHECK (true);

-- The application role: no DELETE where history matters, and the audit trail only grows.
GRANT SELECT ON organizations TO wedsync_app;
GRANT SELECT, INSERT, UPDATE ON resources, integrations, bookings, links, conflicts, conflict_decisions, pushes,
    sync_runs, deliveries TO wedsync_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON allocations TO wedsync_app;
GRANT SELECT, INSERT ON outbox, stream_events, audit_entries TO wedsync_app;
GRANT SELECT, INSERT, UPDATE ON audit_heads TO wedsync_app;

-- The system role: intake inserts, dispatch and stream read.
GRANT SELECT, INSERT ON organizations TO wedsync_system;
GRANT INSERT ON audit_heads, audit_entries TO wedsync_system; -- the first line of a new organisation
GRANT SELECT ON integrations, resources, sync_runs TO wedsync_system;
GRANT SELECT, INSERT ON deliveries TO wedsync_system;
GRANT SELECT, UPDATE, DELETE ON outbox TO wedsync_system;
GRANT SELECT, DELETE ON stream_events TO wedsync_system;
GRANT SELECT ON pushes, conflicts TO wedsync_system;

-- +goose Down
DROP TABLE audit_entries, audit_heads, stream_events, outbox, sync_runs, pushes, conflict_decisions, conflicts, links,
    allocations, bookings, deliveries, integrations, resources, organizations;
