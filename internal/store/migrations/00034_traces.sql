-- Which span of a trace a webhook, a line of the outbox and a wish for a copy belong to: 16 bytes of trace, 8 of span. NULL
-- where nothing was traced, and then it takes no room.

-- +goose Up

ALTER TABLE deliveries ADD COLUMN trace bytea;
ALTER TABLE outbox ADD COLUMN trace bytea;
ALTER TABLE pushes ADD COLUMN trace bytea;

-- Checked for new rows only: the column was empty a moment ago, and reading all deliveries would hold up intake.
ALTER TABLE deliveries ADD CONSTRAINT deliveries_trace CHECK (octet_length(trace) = 24) NOT VALID;
ALTER TABLE outbox ADD CONSTRAINT outbox_trace CHECK (octet_length(trace) = 24) NOT VALID;
ALTER TABLE pushes ADD CONSTRAINT pushes_trace CHECK (octet_length(trace) = 24) NOT VALID;

-- +goose Down

ALTER TABLE pushes DROP COLUMN trace;
ALTER TABLE outbox DROP COLUMN trace;
ALTER TABLE deliveries DROP COLUMN trace;
