package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// NewDelivery is a verified webhook to be stored.
type NewDelivery struct {
	ID            domain.DeliveryID
	OrgID         domain.OrgID
	IntegrationID domain.IntegrationID
	Dedupe        [32]byte // SHA-256 over the vendor's message id or the body
	// RepeatsSince bounds how old a delivery may be of which this one is a repeat; the zero time means for ever.
	RepeatsSince time.Time
	Size         int // bytes of the body as received
	ReceivedAt   time.Time
	Content      []byte          // sealed by SealDelivery for this ID
	Priority     domain.Priority // zero = normal
	Trace        domain.Trace    // zero = not traced
}

// InsertedDelivery tells what became of a NewDelivery.
type InsertedDelivery struct {
	ID        domain.DeliveryID // the stored one: another than offered for a duplicate
	Duplicate bool
}

// insertTries bounds how often duplicates are looked up again when their rows vanish in between.
const insertTries = 3

// InsertDeliveries stores a batch in one statement and one commit, and returns one result per delivery, in order. All
// are on disk when the error is nil; on an error the whole batch may or may not be, and may be given again. A delivery
// that its integration has sent before, in this batch or since its RepeatsSince, keeps the id it got then.
//
// Batches may run at the same time: each takes its keys in one order, so that two with the same duplicates queue instead
// of deadlocking. 64 to 500 deliveries per batch are a good size.
func (s *Store) InsertDeliveries(ctx context.Context, batch []NewDelivery) ([]InsertedDelivery, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	order := make([]int, len(batch))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if c := strings.Compare(string(batch[a].IntegrationID), string(batch[b].IntegrationID)); c != 0 {
			return c
		}
		return bytes.Compare(batch[a].Dedupe[:], batch[b].Dedupe[:])
	})
	// Repeats inside the batch point to the first of their kind.
	firstOf := make([]int, len(batch))
	unique := make([]int, 0, len(batch))
	for _, i := range order {
		if n := len(unique); n > 0 && sameDelivery(&batch[unique[n-1]], &batch[i]) {
			firstOf[i] = unique[n-1]
			continue
		}
		firstOf[i] = i
		unique = append(unique, i)
	}
	stored := make([]domain.DeliveryID, len(batch))
	if err := s.insertUnique(ctx, batch, unique, stored); err != nil {
		return nil, err
	}
	out := make([]InsertedDelivery, len(batch))
	for i := range batch {
		id := stored[firstOf[i]]
		out[i] = InsertedDelivery{ID: id, Duplicate: id != batch[i].ID || firstOf[i] != i}
	}
	return out, nil
}

func sameDelivery(a, b *NewDelivery) bool {
	return a.IntegrationID == b.IntegrationID && a.Dedupe == b.Dedupe
}

// insertUnique fills stored for every index in waiting.
func (s *Store) insertUnique(ctx context.Context, batch []NewDelivery, waiting []int, stored []domain.DeliveryID) error {
	for range insertTries {
		inserted, err := s.insertNew(ctx, batch, waiting)
		if err != nil {
			return fault("insert deliveries", err)
		}
		if len(inserted) == len(waiting) {
			for _, i := range waiting {
				stored[i] = batch[i].ID
			}
			return nil
		}
		waiting = slices.DeleteFunc(waiting, func(i int) bool {
			_, ok := inserted[batch[i].ID]
			if ok {
				stored[i] = batch[i].ID
			}
			return ok
		})
		if waiting, err = s.findStored(ctx, batch, waiting, stored); err != nil {
			return fault("find stored deliveries", err)
		}
		if len(waiting) == 0 {
			return nil
		}
		// A row that made ours a duplicate was erased between the two statements.
	}
	return domain.E(domain.KindUnavailable, "insert deliveries: duplicates keep vanishing")
}

func (s *Store) insertNew(ctx context.Context, batch []NewDelivery, waiting []int) (map[domain.DeliveryID]struct{}, error) {
	sql := insertDeliveries
	args := []any{
		column(waiting, func(i int) domain.DeliveryID { return batch[i].ID }),
		column(waiting, func(i int) domain.OrgID { return batch[i].OrgID }),
		column(waiting, func(i int) domain.IntegrationID { return batch[i].IntegrationID }),
		column(waiting, func(i int) []byte { return batch[i].Dedupe[:] }),
		column(waiting, func(i int) int32 { return int32(batch[i].Size) }),
		column(waiting, func(i int) time.Time { return batch[i].ReceivedAt }),
		column(waiting, func(i int) []byte { return batch[i].Content }),
		column(waiting, func(i int) int16 { return int16(batch[i].Priority.OrNormal()) }),
	}
	if slices.ContainsFunc(waiting, func(i int) bool { return !batch[i].Trace.IsZero() }) {
		sql, args = insertTraced, append(args, column(waiting, func(i int) []byte { return batch[i].Trace.Bytes() }))
	}
	rows, err := s.system.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	inserted := make(map[domain.DeliveryID]struct{}, len(waiting))
	var id domain.DeliveryID
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		inserted[id] = struct{}{}
		return nil
	})
	return inserted, err
}

// Without traces nothing is sent for them.
const (
	insertDeliveries = `INSERT INTO deliveries (id, org_id, integration_id, dedupe, size, received_at, content, priority)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::int[], $6::timestamptz[], $7::bytea[], $8::smallint[])
		ON CONFLICT (integration_id, dedupe) DO NOTHING RETURNING id`
	insertTraced = `INSERT INTO deliveries (id, org_id, integration_id, dedupe, size, received_at, content, priority, trace)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::int[], $6::timestamptz[], $7::bytea[], $8::smallint[], $9::bytea[])
		ON CONFLICT (integration_id, dedupe) DO NOTHING RETURNING id`
)

// findStored looks up the ids of duplicates and returns the indexes it found nothing for.
func (s *Store) findStored(ctx context.Context, batch []NewDelivery, waiting []int, stored []domain.DeliveryID) ([]int, error) {
	rows, err := s.system.Query(ctx, `SELECT v.n, d.id, d.received_at FROM unnest($1::int[], $2::uuid[], $3::bytea[]) v(n, integration_id, dedupe)
		JOIN deliveries d USING (integration_id, dedupe)`,
		column(waiting, func(i int) int32 { return int32(i) }),
		column(waiting, func(i int) domain.IntegrationID { return batch[i].IntegrationID }),
		column(waiting, func(i int) []byte { return batch[i].Dedupe[:] }))
	if err != nil {
		return nil, err
	}
	var n int32
	var id domain.DeliveryID
	var received time.Time
	var old []oldDelivery
	if _, err := pgx.ForEachRow(rows, []any{&n, &id, &received}, func() error {
		if received.Before(batch[n].RepeatsSince.Truncate(time.Microsecond)) { // as exact as it is stored
			old = append(old, oldDelivery{n: int(n), id: id})
		} else {
			stored[n] = id
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := s.releaseKeys(ctx, batch, old); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(waiting, func(i int) bool { return stored[i] != "" }), nil
}

// oldDelivery has the key of delivery n of a batch, and is too old for n to be its repeat.
type oldDelivery struct {
	n  int
	id domain.DeliveryID
}

// releaseKeys gives the keys of old deliveries free by putting others in their place, which no message can have. Of two
// who do so at once the second finds nothing to do, and the unique index decides who stores the new one.
func (s *Store) releaseKeys(ctx context.Context, batch []NewDelivery, old []oldDelivery) error {
	if len(old) == 0 {
		return nil
	}
	_, err := s.system.Exec(ctx, `UPDATE deliveries d SET dedupe = v.instead
		FROM unnest($1::uuid[], $2::bytea[], $3::uuid[], $4::bytea[]) v(integration_id, dedupe, id, instead)
		WHERE d.integration_id = v.integration_id AND d.dedupe = v.dedupe AND d.id = v.id`,
		column(old, func(o oldDelivery) domain.IntegrationID { return batch[o.n].IntegrationID }),
		column(old, func(o oldDelivery) []byte { return batch[o.n].Dedupe[:] }),
		column(old, func(o oldDelivery) domain.DeliveryID { return o.id }),
		column(old, func(o oldDelivery) []byte {
			instead := sha256.Sum256(append(append([]byte("released\x00"), batch[o.n].Dedupe[:]...), o.id...))
			return instead[:]
		}))
	return err
}
