package store

import (
	"context"
	"crypto/sha256"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// replayKey is the dedupe key of the copy that a replay makes of an origin.
func replayKey(replay domain.ReplayID, origin domain.DeliveryID) []byte {
	sum := sha256.Sum256([]byte("wedsync replay v1 " + string(replay) + " " + string(origin)))
	return sum[:]
}

// ReplayOne hands one delivery in anew and returns the copy. It is on record as a replay of its own, r, which has ended at
// once. A delivery that is still to be tried, or whose content is erased, is KindConflict; the same id again returns the
// copy that it made.
func (tx *Tx) ReplayOne(ctx context.Context, r domain.Replay, id domain.DeliveryID) (copied domain.Delivery, made bool, err error) {
	was, err := tx.Delivery(ctx, id)
	if err != nil {
		return was, false, err
	}
	r.Filter, r.Rate, r.DryRun = domain.ReplayFilter{Delivery: id}, 1, false
	if _, made, err = tx.insertReplay(ctx, r, domain.ReplayRunning); err != nil {
		return was, false, err
	}
	if !made {
		list, _, err := tx.Deliveries(ctx, DeliveryFilter{Replay: r.ID, Origin: was.Position()}, Page{Limit: 1})
		if err == nil && len(list) == 0 {
			err = domain.E(domain.KindConflict, "this key was used for another replay")
		}
		if err != nil {
			return was, false, err
		}
		return list[0], false, nil
	}
	switch was.State {
	case domain.DeliveryReceived, domain.DeliveryRetrying:
		return was, false, domain.E(domain.KindConflict, "delivery is %s: it will be tried anyway", was.State)
	case domain.DeliveryApplied, domain.DeliveryIgnored, domain.DeliveryDead:
	}
	stored, _, err := tx.LockReplay(ctx, r.ID)
	if err != nil {
		return was, false, err
	}
	found, err := tx.ReplayCandidates(ctx, stored, "", 1)
	if err != nil {
		return was, false, err
	}
	if len(found) == 0 {
		return was, false, domain.E(domain.KindConflict, "delivery changed in the meantime")
	}
	if found[0].Erased {
		return was, false, domain.E(domain.KindConflict, "its content was erased when its time was over")
	}
	if found[0].Unreadable {
		return was, false, domain.E(domain.KindConflict, "its content cannot be opened: the key is missing, or it was changed in storage")
	}
	copies, err := tx.CopyDeliveries(ctx, r.ID, "", []domain.RawDelivery{found[0].Raw})
	if err != nil {
		return was, false, err
	}
	if _, err := tx.Exec(ctx, `UPDATE replays SET state = 'done', total = 1, seen = 1, replayed = 1, position = $3, last_copy = $4, ended_at = $5
		WHERE org_id = $1 AND id = $2`, tx.Org, r.ID, id, copies[0].ID, tx.Now); err != nil {
		return was, false, fault("end replay", err)
	}
	copied, err = tx.Delivery(ctx, copies[0].ID)
	return copied, true, err
}

// DiscardDelivery settles a dead letter that nobody wants to be applied. Any other state is KindConflict.
func (tx *Tx) DiscardDelivery(ctx context.Context, id domain.DeliveryID) (domain.Delivery, error) {
	tag, err := tx.Exec(ctx, `UPDATE deliveries SET state = 'ignored', reason = 'discarded by a person', applied_at = $3
		WHERE org_id = $1 AND id = $2 AND state = 'dead'`, tx.Org, id, tx.Now)
	if err != nil {
		return domain.Delivery{}, fault("discard delivery", err)
	}
	d, err := tx.Delivery(ctx, id)
	if err == nil && tag.RowsAffected() == 0 {
		err = domain.E(domain.KindConflict, "delivery is %s; only a dead one can be discarded", d.State)
	}
	return d, err
}

// EntryAt is an entry of an integration as a delivery at a position tells of it.
type EntryAt struct {
	Entity   string
	Position domain.DeliveryID
}

// Superseded tells, for each entry, which delivery behind its position was applied to it, "" if none was. A replay of the
// older one must not undo that.
func (tx *Tx) Superseded(ctx context.Context, integration domain.IntegrationID, entries []EntryAt) ([]domain.DeliveryID, error) {
	out := make([]domain.DeliveryID, len(entries))
	if len(entries) == 0 {
		return out, nil
	}
	rows, err := tx.Query(ctx, supersededQuery, tx.Org, integration, column(entries, func(e EntryAt) string { return e.Entity }),
		column(entries, func(e EntryAt) domain.DeliveryID { return e.Position }))
	if err != nil {
		return nil, fault("look for newer deliveries", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		var id domain.DeliveryID
		if err := rows.Scan(&n, &id); err != nil {
			return nil, fault("look for newer deliveries", err)
		}
		out[n-1] = id
	}
	return out, fault("look for newer deliveries", rows.Err())
}

const supersededQuery = `SELECT v.n, d.id FROM unnest($3::text[], $4::uuid[]) WITH ORDINALITY v(entity, position, n)
	CROSS JOIN LATERAL (SELECT id FROM deliveries WHERE org_id = $1 AND entity = v.entity AND entity <> '' AND id > v.position
		AND integration_id = $2 AND state = 'applied' AND (origin_id IS NULL OR origin_id > v.position) ORDER BY id DESC LIMIT 1) d`

// maxFarewells bounds how many deliveries about an entry that nobody knows are looked at, newest first.
const maxFarewells = 5

// Farewells returns what was delivered and applied about entries that have no link yet, by entity: deliveries that told of the
// end of something never seen are among it. Those whose content was erased, or cannot be opened, are left out.
func (tx *Tx) Farewells(ctx context.Context, integration domain.IntegrationID, entities []string) ([]domain.RawDelivery, error) {
	if len(entities) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, farewellsQuery, tx.Org, integration, entities, maxFarewells)
	out, err := collect(rows, err, func(row pgx.Row) (domain.RawDelivery, error) {
		var sealed []byte
		d, err := scanDeliveryWith(row, &sealed)
		if err != nil {
			return domain.RawDelivery{}, err
		}
		raw, err := tx.OpenDelivery(d, sealed)
		if err != nil {
			return domain.RawDelivery{}, nil // without an id
		}
		return raw, nil
	})
	out = slices.DeleteFunc(out, func(d domain.RawDelivery) bool { return d.ID == "" })
	return out, fault("look for the end of unknown entries", err)
}

const farewellsQuery = "SELECT " + deliveryColumns + `, content FROM deliveries WHERE org_id = $1 AND id IN (
	SELECT d.id FROM (SELECT DISTINCT e FROM unnest($3::text[]) e WHERE e <> ''
		AND NOT EXISTS (SELECT 1 FROM links WHERE org_id = $1 AND integration_id = $2 AND external_id = e)) v
	CROSS JOIN LATERAL (SELECT id FROM deliveries WHERE org_id = $1 AND entity = v.e AND integration_id = $2 AND state = 'applied'
		AND erased_at IS NULL ORDER BY id DESC LIMIT $4) d)`
