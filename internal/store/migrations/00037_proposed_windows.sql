-- Windows of maintenance that the platform proposes by itself, and for which announcement of a provider.

-- +goose Up

ALTER TABLE maintenance_settings ADD COLUMN propose_days int NOT NULL DEFAULT 0 CHECK (propose_days BETWEEN 0 AND 365), -- 0 = never
    ADD COLUMN propose_minutes int NOT NULL DEFAULT 60 CHECK (propose_minutes BETWEEN 0 AND 720);

-- Windows go before or with the announcements for which they were made, so it is no reference.
ALTER TABLE provider_windows ADD COLUMN maintenance_id uuid;

-- +goose Down

ALTER TABLE provider_windows DROP COLUMN maintenance_id;
ALTER TABLE maintenance_settings DROP COLUMN propose_minutes, DROP COLUMN propose_days;
