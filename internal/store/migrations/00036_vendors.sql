-- What calls to outside systems leave to remember.

-- +goose Up

-- The key of the newest write that was to make a copy in a system that nobody reads for us, from before it is sent until its
-- answer is stored; '' otherwise. A copy whose answer was lost can be taken back by it.
ALTER TABLE pushes ADD COLUMN tried text NOT NULL DEFAULT '';

-- Checked for new rows only: the column was empty a moment ago.
ALTER TABLE pushes ADD CONSTRAINT pushes_tried CHECK (octet_length(tried) <= 100) NOT VALID;

-- Until when an account at a system is left alone because the system asked for it; NULL = it did not.
ALTER TABLE outbound_paces ADD COLUMN until timestamptz;

-- +goose Down

ALTER TABLE outbound_paces DROP COLUMN until;
ALTER TABLE pushes DROP COLUMN tried;
