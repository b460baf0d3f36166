package resolutions

import (
	"context"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/resolution"
	"github.com/wedsync/wedsync/internal/store"
)

// byPolicy begins Resolution.By of what a policy decided; the policy's id follows.
const byPolicy = "policy/"

// Begin takes a stored decision up. A decision that would only make another clash, or that cannot be had any more, is
// refused with KindConflict or KindInvalid, and nothing may be stored then; Renew looks for other ways after it. One that was
// taken before changes nothing.
func Begin(ctx context.Context, tx *store.Tx, id domain.ConflictID, decisionID string) error {
	of, decision, first, err := tx.TakeDecision(ctx, decisionID)
	if err != nil || !first {
		return err
	}
	if of != id {
		return domain.E(domain.KindInvalid, "decision_id: belongs to another conflict")
	}
	c, err := locked(ctx, tx, id, decision.BookingID, decision.ResourceID)
	if err != nil {
		return err
	}
	return carry(ctx, tx, c, decision, decisionID)
}

// locked locks what a change of a conflict concerns: resources before the conflict, the order in which every change
// takes its locks.
func locked(ctx context.Context, tx *store.Tx, id domain.ConflictID, booking domain.BookingID, more ...domain.ResourceID) (domain.Conflict, error) {
	c, err := tx.Conflict(ctx, id)
	if err != nil {
		return c, err
	}
	resources := []domain.ResourceID{c.ResourceID}
	for _, r := range more {
		if r != "" {
			resources = append(resources, r)
		}
	}
	if c.Resolution != nil && c.Resolution.Before != nil {
		resources = append(resources, c.Resolution.Before.ResourceID)
	}
	if booking == "" && c.Resolution != nil {
		booking = c.Resolution.BookingID
	}
	if booking != "" {
		b, err := tx.Booking(ctx, booking)
		if err == nil {
			resources = append(resources, b.ResourceID)
		} else if domain.KindOf(err) != domain.KindNotFound {
			return c, err
		}
	}
	if err := tx.LockResources(ctx, resources); err != nil {
		return c, err
	}
	return tx.LockConflict(ctx, id)
}

// carry begins a decision on a locked conflict.
func carry(ctx context.Context, tx *store.Tx, c domain.Conflict, d domain.Resolution, decisionID string) error {
	switch {
	case c.State.Carrying() && c.State != domain.ConflictStuck:
		return domain.E(domain.KindConflict, "the conflict is %s: %s", c.State, c.Decided())
	case !c.State.Decidable():
		return domain.E(domain.KindConflict, "the conflict is %s", c.State)
	case c.State == domain.ConflictStuck && !d.Action.Writes():
		return domain.E(domain.KindConflict, "a system has not taken the last decision back, so only a decision that writes to it helps: move, reassign, cancel or tentative")
	}
	d.At, d.Steps, d.Error = tx.Now, nil, ""
	actor := d.By
	if strings.HasPrefix(actor, byPolicy) {
		actor = "system:policy"
	}
	entry := domain.AuditEntry{Actor: actor, Action: "conflict.begin", Reason: d.Reason, Subject: "conflict/" + string(c.ID),
		Before: map[string]string{"state": string(c.State)}, After: map[string]string{"action": string(d.Action)}}
	if decisionID != "" {
		entry.After["decision"] = decisionID
	}
	if c.Policy != nil && strings.HasPrefix(d.By, byPolicy) {
		entry.After["policy"], entry.After["rule"] = string(c.Policy.PolicyID), string(c.Policy.Rule)
	}
	switch d.Action {
	case domain.ActionKeepBoth:
		c.State, c.ClosedAt, c.Resolution = domain.ConflictDismissed, &tx.Now, &d
		entry.After["state"] = string(c.State)
		return record(ctx, tx, c, entry, domain.TopicConflictClosed)
	case domain.ActionIgnore:
		if err := mayIgnore(ctx, tx, c, d.Until); err != nil {
			return err
		}
		c.State, c.IgnoredUntil, c.Resolution = domain.ConflictIgnored, d.Until, &d
		entry.After["state"], entry.After["until"] = string(c.State), d.Until.UTC().Format(time.RFC3339)
		return record(ctx, tx, c, entry, domain.TopicConflictUpdated)
	case domain.ActionMove, domain.ActionReassign, domain.ActionCancel, domain.ActionTentative:
	default:
		return domain.Invalid("action", "must be move, reassign, cancel, tentative, ignore or keep_both")
	}
	booking, err := altered(ctx, tx, c, &d)
	if err != nil {
		return err
	}
	c.State, c.Resolution = domain.ConflictResolving, &d
	entry.After["state"], entry.After["booking"] = string(c.State), string(booking.ID)
	if err := record(ctx, tx, c, entry, ""); err != nil {
		return err
	}
	result, err := apply.Manual(ctx, tx, booking, actor, "resolution of conflict "+string(c.ID), domain.Cause{Kind: domain.CauseResolution, ID: string(c.ID)})
	if err != nil {
		return err
	}
	if err := free(c, d, result); err != nil {
		return err
	}
	for _, p := range result.Pushes {
		if p.BookingID == booking.ID {
			d.Steps = append(d.Steps, domain.ResolutionStep{IntegrationID: p.IntegrationID, State: domain.StepWaiting, At: tx.Now})
		}
	}
	// The change itself may have altered the row: a softer clash has another severity.
	if c, err = tx.LockConflict(ctx, c.ID); err != nil {
		return err
	}
	c.Resolution = &d
	if err := tx.UpdateConflict(ctx, c, c.Version); err != nil {
		return err
	}
	if err := emit(ctx, tx, domain.TopicConflictUpdated, c, nil); err != nil || !booking.Blocks() {
		return err
	}
	return renewOthers(ctx, tx, c.ID, booking.Shape())
}

// altered is the booking as it was decided to be. It completes the decision.
func altered(ctx context.Context, tx *store.Tx, c domain.Conflict, d *domain.Resolution) (domain.Booking, error) {
	if c.Kind == domain.ConflictTimeline {
		return domain.Booking{}, domain.Invalid("action", "what a vendor cannot keep of a timeline is mended in the timeline, put off by ignore, or accepted by keep_both")
	}
	if d.BookingID != c.BookingID && (c.OtherID == "" || d.BookingID != c.OtherID) {
		return domain.Booking{}, domain.Invalid("booking_id", "must be one of the two bookings that clash")
	}
	b, err := tx.Booking(ctx, d.BookingID)
	if err != nil {
		return b, err
	}
	if !b.Blocks() {
		return b, domain.E(domain.KindConflict, "the booking does not take time any more")
	}
	before := b.Shape()
	switch d.Action {
	case domain.ActionMove:
		if d.When == nil {
			return b, domain.Invalid("when", "is required for a move")
		}
		if !d.When.Start.After(tx.Now) {
			return b, domain.Invalid("when", "must begin in the future")
		}
		b.When = *d.When
	case domain.ActionReassign:
		b.ResourceID = d.ResourceID
	case domain.ActionCancel:
		b.Status = domain.StatusCancelled
	case domain.ActionTentative:
		if b.Status == domain.StatusTentative {
			return b, domain.Invalid("action", "the booking is tentative already")
		}
		b.Status = domain.StatusTentative
	case domain.ActionKeepBoth, domain.ActionIgnore:
	}
	after := b.Shape()
	if after.Equal(before) {
		return b, domain.Invalid("action", "would change nothing")
	}
	d.Before, d.After = &before, &after
	return b, nil
}

// free refuses a change after which the booking would clash, with whomever. One that was made tentative still shares its
// time, which is what was decided; it must not clash anew.
func free(c domain.Conflict, d domain.Resolution, r apply.Result) error {
	for _, opened := range r.Conflicts() {
		if opened.Kind != domain.ConflictOffHours {
			return domain.E(domain.KindConflict, "it would make another clash: %s", opened.Explanation)
		}
	}
	if d.Action == domain.ActionTentative {
		return nil
	}
	for _, f := range r.Clashes {
		switch {
		case f.Kind == domain.ConflictOffHours && c.Kind == domain.ConflictOffHours:
			return domain.E(domain.KindConflict, "it would still be outside working hours: %s", f.Explanation)
		case f.Kind == domain.ConflictOffHours:
		case f.BookingID == d.BookingID && f.OtherID == c.OtherID, f.BookingID == c.OtherID && f.OtherID == d.BookingID,
			f.BookingID == c.BookingID && f.OtherID == d.BookingID, f.BookingID == d.BookingID && f.OtherID == c.BookingID:
			return domain.E(domain.KindConflict, "they would still clash: %s", f.Explanation)
		case f.BookingID == d.BookingID, f.OtherID == d.BookingID:
			return domain.E(domain.KindConflict, "it would still clash with another booking: %s", f.Explanation)
		}
	}
	return nil
}

// mayIgnore refuses to put off what could not be decided in time any more.
func mayIgnore(ctx context.Context, tx *store.Tx, c domain.Conflict, until *time.Time) error {
	if until == nil {
		return domain.Invalid("until", "is required for ignore")
	}
	if !until.After(tx.Now) {
		return domain.Invalid("until", "must lie in the future")
	}
	last, why := c.Overlap.Start, "the two clash"
	for _, id := range []domain.BookingID{c.BookingID, c.OtherID} {
		if id == "" {
			continue
		}
		b, err := tx.Booking(ctx, id)
		if domain.KindOf(err) == domain.KindNotFound {
			continue
		}
		if err != nil {
			return err
		}
		if at := b.When.Start.Add(-resolution.DecideBefore); b.Category == domain.CategoryWedding && at.Before(last) {
			last, why = at, "48 hours before the wedding"
		}
	}
	if until.After(last) {
		return domain.Invalid("until", "must not be later than %s (%s); keep_both accepts the clash for good", last.UTC().Format(time.RFC3339), why)
	}
	return nil
}

// record stores a conflict with its audit line and, where a topic is given, its live event.
func record(ctx context.Context, tx *store.Tx, c domain.Conflict, entry domain.AuditEntry, topic domain.Topic) error {
	if err := tx.UpdateConflict(ctx, c, c.Version); err != nil {
		return err
	}
	if err := tx.Audit(ctx, entry); err != nil {
		return err
	}
	if topic == "" {
		return nil
	}
	return emit(ctx, tx, topic, c, nil)
}

func emit(ctx context.Context, tx *store.Tx, topic domain.Topic, c domain.Conflict, more map[string]string) error {
	refs := map[string]string{"conflict": string(c.ID), "booking": string(c.BookingID), "resource": string(c.ResourceID),
		"severity": string(c.Severity), "state": string(c.State)}
	if c.OtherID != "" {
		refs["other"] = string(c.OtherID)
	}
	for k, v := range more {
		refs[k] = v
	}
	return tx.Emit(ctx, topic, refs)
}
