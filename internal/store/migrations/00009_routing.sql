-- +goose Up

-- Of a delivery that a rule of another integration handed over: the delivery that the vendor sent. It is shown with the
-- delivery and keeps it from being handed on; nothing is searched by it.
ALTER TABLE deliveries ADD COLUMN routed_from uuid;

-- +goose Down

ALTER TABLE deliveries DROP COLUMN routed_from;
