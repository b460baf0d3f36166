package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

func (tx *Tx) sealPlan(id domain.BookingID, p domain.TimelinePlan) []byte {
	text, err := json.Marshal(p)
	if err != nil {
		panic("marshal a plan of plain fields: " + err.Error())
	}
	defer clear(text)
	return tx.sealer.Seal(text, "timelines", "plan", string(id))
}

// Timeline reads the timeline of a wedding; KindNotFound when it has none. With lock it is held until the transaction
// ends, so that two who follow or change it do so one after the other.
func (tx *Tx) Timeline(ctx context.Context, wedding domain.BookingID, lock bool) (domain.Timeline, error) {
	sql := "SELECT id, plan, exported, followed, updated_at, version FROM timelines WHERE org_id = $1 AND id = $2"
	if lock {
		sql += " FOR UPDATE"
	}
	t := domain.Timeline{OrgID: tx.Org}
	var sealed []byte
	err := tx.QueryRow(ctx, sql, tx.Org, wedding).Scan(&t.BookingID, &sealed, &t.Exported, &t.Followed, &t.UpdatedAt, &t.Version)
	if err != nil {
		return domain.Timeline{}, missing("timeline", "read timeline", err)
	}
	t.UpdatedAt = t.UpdatedAt.UTC()
	text, err := tx.sealer.Open(sealed, "timelines", "plan", string(wedding))
	if err != nil {
		return domain.Timeline{}, fmt.Errorf("plan of timeline %s: %w", wedding, err)
	}
	defer clear(text)
	if json.Unmarshal(text, &t.TimelinePlan) != nil {
		// The decoder's error would quote the plan.
		return domain.Timeline{}, domain.E(domain.KindInternal, "plan of timeline %s is not what was written", wedding)
	}
	return t, nil
}

// SaveTimeline stores a timeline as it is, with the version after t.Version, and tells the live stream. was is the version
// that it replaces, 0 for a new one. KindConflict: somebody else was there first.
func (tx *Tx) SaveTimeline(ctx context.Context, t domain.Timeline, was int64) error {
	exported := t.Exported
	if exported == nil {
		exported = map[string]domain.BookingID{}
	}
	sealed := tx.sealPlan(t.BookingID, t.TimelinePlan)
	sql := `INSERT INTO timelines (id, org_id, plan, exported, followed, updated_at, version) VALUES ($2, $1, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`
	args := []any{tx.Org, t.BookingID, sealed, exported, t.Followed, tx.Now, t.Version}
	if was > 0 {
		sql = `UPDATE timelines SET plan = $3, exported = $4, followed = $5, updated_at = $6, version = $7 WHERE org_id = $1 AND id = $2 AND version = $8`
		args = append(args, was)
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil {
		return fault("write timeline", err)
	}
	if tag.RowsAffected() == 0 {
		return domain.E(domain.KindConflict, "the timeline was changed meanwhile; read it again")
	}
	return tx.timelineChanged(ctx, t.BookingID)
}

// DeleteTimeline removes a timeline. What it exported is the caller's to end.
func (tx *Tx) DeleteTimeline(ctx context.Context, wedding domain.BookingID) error {
	if _, err := tx.Exec(ctx, "DELETE FROM timelines WHERE org_id = $1 AND id = $2", tx.Org, wedding); err != nil {
		return fault("delete timeline", err)
	}
	return tx.timelineChanged(ctx, wedding)
}

func (tx *Tx) timelineChanged(ctx context.Context, wedding domain.BookingID) error {
	return tx.Emit(ctx, domain.TopicTimelineChanged, map[string]string{"booking": string(wedding)})
}

// queueTimelines puts a line into the outbox for each changed booking that has a timeline. New bookings have none.
func (tx *Tx) queueTimelines(b *pgx.Batch, written []domain.Booking) {
	var changed []domain.BookingID
	for _, x := range written {
		if x.Version > 1 {
			changed = append(changed, x.ID)
		}
	}
	if len(changed) > 0 {
		b.Queue(`INSERT INTO outbox (org_id, kind, target_id, due_at, created_at)
			SELECT org_id, $3, id, $4, $4 FROM timelines WHERE org_id = $1 AND id = ANY($2::uuid[])`, tx.Org, arrayOf(changed), string(OutboxTimeline), tx.Now)
	}
}
