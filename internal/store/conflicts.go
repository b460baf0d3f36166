package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/resolution"
)

// unclosed are the states of conflicts whose story goes on, as the index conflicts_one_unclosed has them.
const unclosed = "'open', 'ignored', 'resolving', 'undoing', 'stuck'"

const conflictColumns = `id, org_id, kind, severity, state, resource_id, booking_id, other_id, overlap_from, overlap_to,
	explanation, alternatives, resolution, detected_at, updated_at, closed_at, version, wedding_date, waiting_since, escalated_at, reminders,
	ignored_until, policy, policy_asked`

func scanConflict(row pgx.Row) (c domain.Conflict, err error) {
	var wedding, since *time.Time
	err = row.Scan(&c.ID, &c.OrgID, &c.Kind, &c.Severity, &c.State, &c.ResourceID, &c.BookingID, &c.OtherID, &c.Overlap.Start,
		&c.Overlap.End, &c.Explanation, &c.Alternatives, &c.Resolution, &c.DetectedAt, &c.UpdatedAt, &c.ClosedAt, &c.Version, &wedding, &since,
		&c.EscalatedAt, &c.Reminders, &c.IgnoredUntil, &c.Policy, &c.PolicyAsked)
	if wedding != nil {
		c.WeddingDate = wedding.Format(time.DateOnly)
	}
	c.Overlap = domain.Span{Start: c.Overlap.Start.UTC(), End: c.Overlap.End.UTC()}
	c.DetectedAt, c.UpdatedAt, c.ClosedAt = c.DetectedAt.UTC(), c.UpdatedAt.UTC(), utc(c.ClosedAt)
	c.EscalatedAt, c.IgnoredUntil = utc(c.EscalatedAt), utc(c.IgnoredUntil)
	if c.State != domain.ConflictIgnored {
		c.IgnoredUntil = nil
	}
	if c.WaitingSince = c.DetectedAt; since != nil {
		c.WaitingSince = since.UTC()
	}
	// It follows from the rest, so that a clash that became worse has less time without anybody storing it.
	waits := c.State == domain.ConflictOpen && (c.Policy == nil || c.Policy.Outcome != domain.PolicyAcknowledge)
	if at := resolution.Deadline(c.Severity, c.WeddingDate, c.WaitingSince); err == nil && waits && !at.IsZero() {
		c.DeadlineAt = &at
	}
	return c, err
}

// Conflict reads one conflict; KindNotFound when the tenant has no such.
func (tx *Tx) Conflict(ctx context.Context, id domain.ConflictID) (domain.Conflict, error) {
	c, err := scanConflict(tx.QueryRow(ctx, "SELECT "+conflictColumns+" FROM conflicts WHERE org_id = $1 AND id = $2", tx.Org, id))
	return c, missing("conflict", "read conflict", err)
}

// LockConflict is Conflict, and keeps others from changing the row until the transaction ends.
func (tx *Tx) LockConflict(ctx context.Context, id domain.ConflictID) (domain.Conflict, error) {
	c, err := scanConflict(tx.QueryRow(ctx, "SELECT "+conflictColumns+" FROM conflicts WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE", tx.Org, id))
	return c, missing("conflict", "lock conflict", err)
}

// ConflictFilter narrows a list; empty fields do not.
type ConflictFilter struct {
	State    domain.ConflictState
	Resource domain.ResourceID
}

// Conflicts lists conflicts, newest first.
func (tx *Tx) Conflicts(ctx context.Context, f ConflictFilter, p Page) ([]domain.Conflict, string, error) {
	q := newQuery("SELECT " + conflictColumns + " FROM conflicts")
	q.where("org_id = %s", tx.Org)
	switch {
	case f.State == "":
	case slices.Contains(domain.ConflictStates(), f.State):
		q.where("state = %s", string(f.State))
	default:
		return nil, "", domain.Invalid("state", "must be open, ignored, resolving, undoing, stuck, resolved, dismissed or cleared")
	}
	if f.Resource != "" {
		q.where("resource_id = %s", f.Resource)
	}
	return newestFirst(ctx, tx, "conflicts", q, p, scanConflict, func(c domain.Conflict) string { return string(c.ID) })
}

// UpdateConflict stores state, severity, explanation, alternatives, resolution, closing time, and what belongs to waiting for
// a person, if the stored version is expectVersion, which then grows by one. Another version is KindConflict. Live events
// are the caller's.
func (tx *Tx) UpdateConflict(ctx context.Context, c domain.Conflict, expectVersion int64) error {
	if c.Alternatives == nil {
		c.Alternatives = []domain.Alternative{}
	}
	tag, err := tx.Exec(ctx, `UPDATE conflicts SET state = $3, severity = $4, explanation = $5, alternatives = $6, resolution = $7,
			closed_at = $8, updated_at = $9, waiting_since = $11, escalated_at = $12, reminders = $13, ignored_until = $14, policy = $15,
			policy_asked = $16, version = version + 1 WHERE org_id = $1 AND id = $2 AND version = $10`,
		tx.Org, c.ID, string(c.State), string(c.Severity), c.Explanation, c.Alternatives, c.Resolution, c.ClosedAt, tx.Now, expectVersion,
		c.WaitingSince, c.EscalatedAt, c.Reminders, c.IgnoredUntil, c.Policy, c.PolicyAsked)
	if err != nil {
		return fault("update conflict", err)
	}
	if tag.RowsAffected() == 0 {
		return tx.versionFault(ctx, "conflict", "SELECT version FROM conflicts WHERE org_id = $1 AND id = $2", c.ID, expectVersion)
	}
	return nil
}

// AcceptWhileTentative notes that a person accepted what is left of a clash as long as one of the two is tentative. It goes
// with closing the conflict as dismissed.
func (tx *Tx) AcceptWhileTentative(ctx context.Context, id domain.ConflictID, fingerprint string) error {
	_, err := tx.Exec(ctx, "UPDATE conflicts SET fingerprint = $3 WHERE org_id = $1 AND id = $2", tx.Org, id, fingerprint)
	return fault("store what was accepted", err)
}

// PutDecision stores what an admin decided under an id that the admin's client chose. The same id again for the same
// conflict changes nothing; for another conflict it is KindConflict. A conflict that does not exist is KindInvalid.
func (tx *Tx) PutDecision(ctx context.Context, id string, conflict domain.ConflictID, r domain.Resolution) error {
	decision, err := domain.ParseID[rowID]("decision_id", id)
	if err != nil {
		return err
	}
	if err := checkText("reason", r.Reason, 500); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO conflict_decisions (id, org_id, conflict_id, decision, created_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`, decision, tx.Org, conflict, r, tx.Now)
	if err != nil {
		return fault("store decision", err)
	}
	if tag.RowsAffected() == 1 {
		return nil
	}
	var stored domain.ConflictID
	err = tx.QueryRow(ctx, "SELECT conflict_id FROM conflict_decisions WHERE org_id = $1 AND id = $2", tx.Org, decision).Scan(&stored)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fault("read decision", err)
	}
	if stored != conflict {
		return domain.E(domain.KindConflict, "decision_id is in use for something else")
	}
	return nil
}

// TakeDecision reads a stored decision and marks it as taken. first is false when it was taken before.
func (tx *Tx) TakeDecision(ctx context.Context, id string) (conflict domain.ConflictID, r domain.Resolution, first bool, err error) {
	decision, err := domain.ParseID[rowID]("decision_id", id)
	if err != nil {
		return "", r, false, err
	}
	var taken bool
	err = tx.QueryRow(ctx, "SELECT conflict_id, decision, taken FROM conflict_decisions WHERE org_id = $1 AND id = $2 FOR UPDATE",
		tx.Org, decision).Scan(&conflict, &r, &taken)
	if err != nil {
		return "", r, false, missing("decision", "read decision", err)
	}
	if taken {
		return conflict, r, false, nil
	}
	_, err = tx.Exec(ctx, "UPDATE conflict_decisions SET taken = true WHERE org_id = $1 AND id = $2", tx.Org, decision)
	return conflict, r, true, fault("take decision", err)
}

// KnownConflicts are the conflicts that concern a set of bookings.
type KnownConflicts struct {
	Open      []domain.Conflict // open, ignored, or being carried out
	Dismissed map[string]string // pair to the fingerprint that a person accepted last
}

// ConflictsAmong returns the conflicts of bookings.
func (tx *Tx) ConflictsAmong(ctx context.Context, bookings []domain.BookingID) (KnownConflicts, error) {
	var list []knownConflict
	r := tx.Reads()
	r.conflicts(bookings, &list)
	err := r.Do(ctx)
	return sorted(list), err
}

// Conflicts is [Tx.ConflictsAmong] among other reads; out is filled by Do.
func (r *Reads) Conflicts(bookings []domain.BookingID, out *KnownConflicts) {
	list := new([]knownConflict)
	r.conflicts(bookings, list)
	r.after = append(r.after, func() { *out = sorted(*list) })
}

type knownConflict struct {
	domain.Conflict
	pair, fingerprint string
}

func (r *Reads) conflicts(bookings []domain.BookingID, out *[]knownConflict) {
	if len(bookings) == 0 {
		return
	}
	read(r, "read conflicts", out, `SELECT id, org_id, kind, severity, state, resource_id, booking_id, other_id, overlap_from, overlap_to, explanation, alternatives,
		detected_at, updated_at, version, pair, fingerprint FROM conflicts
		WHERE org_id = $1 AND (booking_id = ANY($2::uuid[]) OR other_id = ANY($2::uuid[])) AND state IN ('dismissed', `+unclosed+`)
		ORDER BY detected_at, id`, func(row pgx.Row) (knownConflict, error) {
		var c knownConflict
		var alternatives []byte
		if err := row.Scan(&c.ID, &c.OrgID, &c.Kind, &c.Severity, &c.State, &c.ResourceID, &c.BookingID, &c.OtherID, &c.Overlap.Start,
			&c.Overlap.End, &c.Explanation, &alternatives, &c.DetectedAt, &c.UpdatedAt, &c.Version, &c.pair, &c.fingerprint); err != nil {
			return c, err
		}
		return c, json.Unmarshal(alternatives, &c.Alternatives)
	}, r.tx.Org, arrayOf(bookings))
}

func sorted(list []knownConflict) KnownConflicts {
	out := KnownConflicts{Dismissed: map[string]string{}}
	for _, c := range list {
		if c.State == domain.ConflictDismissed {
			out.Dismissed[c.pair] = c.fingerprint
			continue
		}
		out.Open = append(out.Open, c.Conflict)
	}
	return out
}

// WeddingDateOf returns the local date of the wedding that a conflict concerns, "" when it concerns none.
func (tx *Tx) WeddingDateOf(ctx context.Context, id domain.ConflictID) (string, error) {
	var date *time.Time
	err := tx.QueryRow(ctx, "SELECT wedding_date FROM conflicts WHERE org_id = $1 AND id = $2", tx.Org, id).Scan(&date)
	if err != nil {
		return "", missing("conflict", "read wedding date", err)
	}
	if date == nil {
		return "", nil
	}
	return date.Format(time.DateOnly), nil
}
