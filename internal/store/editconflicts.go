package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const editColumns = `id, org_id, integration_id, booking_id, external_id, kind, state, there_is_source, there, booking_version, choice,
	chosen_by, reason, detected_at, updated_at, closed_at, version`

func (tx *Tx) scanEdit(row pgx.Row) (e domain.EditConflict, err error) {
	var sealed []byte
	if err = row.Scan(&e.ID, &e.OrgID, &e.IntegrationID, &e.BookingID, &e.ExternalID, &e.Kind, &e.State, &e.ThereIsSource, &sealed,
		&e.BookingAt, &e.Choice, &e.By, &e.Reason, &e.DetectedAt, &e.UpdatedAt, &e.ClosedAt, &e.Version); err != nil {
		return e, err
	}
	e.DetectedAt, e.UpdatedAt, e.ClosedAt = e.DetectedAt.UTC(), e.UpdatedAt.UTC(), utc(e.ClosedAt)
	text, err := tx.sealer.Open(sealed, "edit_conflicts", "there", string(e.ID))
	if err != nil {
		return e, fmt.Errorf("entry of edit conflict %s: %w", e.ID, err)
	}
	if json.Unmarshal(text, &e.There) != nil {
		return e, fmt.Errorf("entry of edit conflict %s: not the JSON that was sealed", e.ID)
	}
	return e, nil
}

// EditConflict reads one with the entry as it was read; KindNotFound when the tenant has no such.
func (tx *Tx) EditConflict(ctx context.Context, id domain.EditConflictID) (domain.EditConflict, error) {
	e, err := tx.scanEdit(tx.QueryRow(ctx, "SELECT "+editColumns+" FROM edit_conflicts WHERE org_id = $1 AND id = $2", tx.Org, id))
	return e, missing("edit conflict", "read edit conflict", err)
}

// OpenEditsOf returns the integrations in which an edit conflict of a booking is open.
func (tx *Tx) OpenEditsOf(ctx context.Context, booking domain.BookingID) ([]domain.IntegrationID, error) {
	rows, err := tx.Query(ctx, "SELECT integration_id FROM edit_conflicts WHERE org_id = $1 AND booking_id = $2 AND state = 'open' ORDER BY id", tx.Org, booking)
	out, err := collect(rows, err, func(row pgx.Row) (id domain.IntegrationID, err error) { return id, row.Scan(&id) })
	return out, fault("read open edit conflicts", err)
}

// EditConflictFilter narrows a list; empty fields do not.
type EditConflictFilter struct {
	State       domain.EditState
	Integration domain.IntegrationID
}

// EditConflicts lists edit conflicts, newest first.
func (tx *Tx) EditConflicts(ctx context.Context, f EditConflictFilter, p Page) ([]domain.EditConflict, string, error) {
	q := newQuery("SELECT " + editColumns + " FROM edit_conflicts")
	q.where("org_id = %s", tx.Org)
	switch f.State {
	case "":
	case domain.EditOpen, domain.EditResolved, domain.EditCleared:
		q.where("state = %s", string(f.State))
	default:
		return nil, "", domain.Invalid("state", "must be open, resolved or cleared")
	}
	if f.Integration != "" {
		q.where("integration_id = %s", f.Integration)
	}
	return newestFirst(ctx, tx, "edit conflicts", q, p, tx.scanEdit, func(e domain.EditConflict) string { return string(e.ID) })
}

// ResolveEditConflict closes an open one with a person's choice. One that is not open, or has another version, is
// KindConflict.
func (tx *Tx) ResolveEditConflict(ctx context.Context, e domain.EditConflict, expectVersion int64) error {
	tag, err := tx.Exec(ctx, `UPDATE edit_conflicts SET state = 'resolved', choice = $3, chosen_by = $4, reason = $5, closed_at = $6, updated_at = $6,
			version = version + 1 WHERE org_id = $1 AND id = $2 AND version = $7 AND state = 'open'`,
		tx.Org, e.ID, string(e.Choice), e.By, clip(e.Reason, maxReason), tx.Now, expectVersion)
	if err != nil {
		return fault("resolve edit conflict", err)
	}
	if tag.RowsAffected() == 0 {
		now, err := tx.EditConflict(ctx, e.ID)
		if err != nil {
			return err
		}
		if now.State != domain.EditOpen {
			return domain.E(domain.KindConflict, "the edit conflict is %s already", now.State)
		}
		return domain.E(domain.KindConflict, "edit conflict has version %d, not %d: it was changed in the meantime", now.Version, expectVersion)
	}
	return nil
}

// queueEdits writes edit conflicts, new and changed. One without an entry closes what is stored.
func (tx *Tx) queueEdits(b *pgx.Batch, edits []domain.EditConflict) {
	for _, e := range edits {
		if e.There.Op == "" {
			b.Queue(`UPDATE edit_conflicts SET state = $3, reason = $4, closed_at = $5, updated_at = $5, version = version + 1
				WHERE org_id = $1 AND id = $2 AND state = 'open'`, tx.Org, e.ID, string(e.State), e.Reason, e.ClosedAt)
			continue
		}
		text, err := json.Marshal(e.There)
		if err != nil {
			panic("marshal a change of plain fields: " + err.Error())
		}
		b.Queue(`INSERT INTO edit_conflicts (id, org_id, integration_id, booking_id, external_id, kind, state, there_is_source, there,
				booking_version, reason, detected_at, updated_at, closed_at, version)
			VALUES ($2, $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1)
			ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, state = excluded.state, there = excluded.there,
				booking_version = excluded.booking_version, reason = excluded.reason, updated_at = excluded.updated_at,
				closed_at = excluded.closed_at, version = edit_conflicts.version + 1`,
			tx.Org, e.ID, e.IntegrationID, e.BookingID, e.ExternalID, string(e.Kind), string(e.State), e.ThereIsSource,
			tx.sealer.Seal(text, "edit_conflicts", "there", string(e.ID)), e.BookingAt, e.Reason, e.DetectedAt, e.UpdatedAt, e.ClosedAt)
	}
}

// agreedText is how a link's common state is stored; "" for one that knows nothing.
func agreedText(a domain.Agreed) string {
	if a == (domain.Agreed{}) {
		return ""
	}
	text, err := json.Marshal(a)
	if err != nil {
		panic("marshal plain fields: " + err.Error())
	}
	return string(text)
}

func parseAgreed(text string) (a domain.Agreed, err error) {
	if text == "" {
		return a, nil
	}
	if json.Unmarshal([]byte(text), &a) != nil {
		return a, fmt.Errorf("common state of a link: not the JSON that was stored")
	}
	a.Modified = a.Modified.UTC()
	return a, nil
}
