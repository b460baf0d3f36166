-- +goose Up

-- The organisation and the identifier together identify a booking and a conflict, and are what other tables refer to. An
-- index on the identifier alone was written with every change and read by nothing.
ALTER TABLE bookings DROP CONSTRAINT bookings_pkey;
ALTER TABLE conflicts DROP CONSTRAINT conflicts_pkey;
ALTER TABLE allocations DROP CONSTRAINT allocations_pkey;
ALTER TABLE links DROP CONSTRAINT links_pkey;

-- Logical replication finds rows by the constraint that is left.
ALTER TABLE bookings REPLICA IDENTITY USING INDEX bookings_org_id_id_key;
ALTER TABLE conflicts REPLICA IDENTITY USING INDEX conflicts_org_id_id_key;
ALTER TABLE allocations REPLICA IDENTITY USING INDEX allocations_org_id_booking_id_key;
ALTER TABLE links REPLICA IDENTITY USING INDEX links_org_id_integration_id_external_id_key;

-- A link changes with each revision of its entry, and none of its indexed columns do: with room left in its page the
-- indexes are not touched at all.
ALTER TABLE links SET (fillfactor = 85);

-- +goose Down

ALTER TABLE links RESET (fillfactor);
ALTER TABLE links REPLICA IDENTITY DEFAULT, ADD PRIMARY KEY (id);
ALTER TABLE allocations REPLICA IDENTITY DEFAULT, ADD PRIMARY KEY (id);
ALTER TABLE conflicts REPLICA IDENTITY DEFAULT, ADD PRIMARY KEY (id);
ALTER TABLE bookings REPLICA IDENTITY DEFAULT, ADD PRIMARY KEY (id);
