-- How long before it begins a booking is offered to a resource at the latest.

-- +goose Up

ALTER TABLE resources ADD COLUMN lead_minutes int NOT NULL DEFAULT 0 CHECK (lead_minutes BETWEEN 0 AND 527040);

-- +goose Down

ALTER TABLE resources DROP COLUMN lead_minutes;
