package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// sealedColumn is a column that vault seals, with how many rows one transaction of a rotation takes.
type sealedColumn struct {
	table, column string
	batch         int
}

// sealedColumns lists all of them. A test compares the list with the columns that hold sealed bytes in the schema.
var sealedColumns = []sealedColumn{
	{"resources", "name", 500},
	{"integrations", "secrets", 500},
	{"webhook_credentials", "secret", 500},
	{"bookings", "details", 500},
	{"edit_conflicts", "there", 500},
	{"subscriptions", "secrets", 500},
	{"oauth_grants", "tokens", 200},
	{"oauth_states", "verifier", 500},
	{"watches", "secret", 500},
	{"timelines", "plan", 500},
	{"holds", "request", 500},
	{"recipients", "contact", 500},
	{"shares", "texts", 500},
	{"allocations", "place", 500},
	{"venues", "about", 500},
	{"scrape_snapshots", "page", 50},
	{"deliveries", "content", 50}, // bodies can be large
}

// RotateKeys seals every value that is not under the ring's active key anew, and returns how many there were. Nothing
// else of a row changes. It works per organisation in small transactions, so it runs beside everything else, may be
// stopped at any time and started again, and then skips what is done. progress, if not nil, is called after each batch
// with the number of rows resealed in that table so far.
//
// Start it when all processes run with the new key in front; one that still seals under the old key makes further work.
// When a run returns 0 the old key can be dropped from the ring. A value that does not open stops the run with its table
// and row in the error.
func (s *Store) RotateKeys(ctx context.Context, progress func(table string, done int)) (n int, err error) {
	orgs, err := s.Organizations(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range sealedColumns {
		done := 0
		for _, org := range orgs {
			after := firstUUID
			for after != "" {
				var changed int
				err := s.Tenant(ctx, org.ID, func(ctx context.Context, tx *Tx) error {
					var err error
					changed, after, err = tx.reseal(ctx, c, after)
					return err
				})
				if err != nil {
					return n, fmt.Errorf("rotate keys of %s: %w", c.table, err)
				}
				n, done = n+changed, done+changed
				if changed > 0 && progress != nil {
					progress(c.table, done)
				}
			}
		}
	}
	return n, nil
}

// reseal takes the next batch of rows behind an id that are under another key, and returns the id to go on from, "" at
// the end. The rows are locked, so a value written meanwhile is not lost.
func (tx *Tx) reseal(ctx context.Context, c sealedColumn, after string) (changed int, next string, err error) {
	// What stands before nonce and tag of an empty value names the active key; vault compares the same bytes.
	empty := tx.sealer.Seal(nil, "rotation")
	header := empty[:len(empty)-sealedTail]
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT id, %[2]s FROM %[1]s WHERE org_id = $1 AND id > $2
		AND %[2]s <> '' AND substring(%[2]s FROM 1 FOR $3) <> $4 ORDER BY id LIMIT $5 FOR NO KEY UPDATE`, c.table, c.column),
		tx.Org, rowID(after), len(header), header, c.batch)
	type value struct {
		id     rowID
		sealed []byte
	}
	values, err := collect(rows, err, func(row pgx.Row) (v value, err error) {
		err = row.Scan(&v.id, &v.sealed)
		return v, err
	})
	if err != nil {
		return 0, "", fault("read sealed values", err)
	}
	if len(values) == 0 {
		return 0, "", nil
	}
	for i, v := range values {
		if values[i].sealed, err = tx.sealer.Reseal(v.sealed, c.table, c.column, string(v.id)); err != nil {
			return 0, "", fmt.Errorf("row %s: %w", v.id, err)
		}
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`UPDATE %[1]s t SET %[2]s = v.sealed FROM unnest($2::uuid[], $3::bytea[]) v(id, sealed)
		WHERE t.org_id = $1 AND t.id = v.id`, c.table, c.column), tx.Org,
		column(values, func(v value) rowID { return v.id }), column(values, func(v value) []byte { return v.sealed }))
	if err != nil {
		return 0, "", fault("write resealed values", err)
	}
	if len(values) == c.batch {
		next = string(values[len(values)-1].id)
	}
	return len(values), next, nil
}

// sealedTail is the length of nonce and tag at the end of a sealed empty value.
const sealedTail = 12 + 16
