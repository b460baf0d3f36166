package resolutions

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/rules/resolution"
	"github.com/wedsync/wedsync/internal/store"
)

// Assessment is what a policy says about a conflict.
type Assessment struct {
	Policy domain.ConflictPolicy
	Note   domain.PolicyNote
	// Decisions are what it would do, the best first; one that turns out to clash gives way to the next. Empty unless the
	// outcome is PolicyDecided.
	Decisions []domain.Resolution
}

// Assess finds out what the policy for a conflict's categories says about it now. over, where it is for these categories,
// stands in for the stored policy. ok is false when there is none. It changes nothing.
func Assess(ctx context.Context, tx *store.Tx, c domain.Conflict, over *domain.ConflictPolicy) (a Assessment, ok bool, err error) {
	verdict, a, ok, err := judge(ctx, tx, c, over)
	if err != nil || !ok || verdict.Outcome != domain.PolicyDecided {
		return a, ok, err
	}
	why := "policy " + string(a.Policy.Rule) + " for " + string(a.Policy.Category) + " and " + string(a.Policy.Other) + ": " + verdict.Why
	d := domain.Resolution{BookingID: verdict.Yields, By: byPolicy + string(a.Policy.ID), Reason: why}
	switch a.Policy.Then {
	case domain.ThenCancel:
		d.Action = domain.ActionCancel
		a.Decisions = []domain.Resolution{d}
	case domain.ThenTentative:
		b, err := tx.Booking(ctx, verdict.Yields)
		if err != nil {
			return a, ok, err
		}
		if d.Action = domain.ActionTentative; b.Status != domain.StatusTentative {
			a.Decisions = []domain.Resolution{d}
		}
	case domain.ThenBest:
		ways, err := apply.ProposeFor(ctx, tx, verdict.Yields)
		if err != nil {
			return a, ok, err
		}
		for _, w := range ways {
			d := d
			if d.Action = w.Action; w.Action == domain.ActionReassign {
				d.ResourceID = w.ResourceID
			} else {
				when := w.When
				d.When = &when
			}
			a.Decisions = append(a.Decisions, d)
		}
	}
	if len(a.Decisions) == 0 {
		a.noWay()
	}
	return a, ok, nil
}

func (a *Assessment) noWay() {
	a.Note.Outcome = domain.PolicyNoWay
	a.Note.Reason += "; but nothing can be done with the one that gives way, so a person decides"
	if a.Policy.Then == domain.ThenTentative {
		a.Note.Reason += " (it is tentative already)"
	}
	a.Decisions = nil
}

func judge(ctx context.Context, tx *store.Tx, c domain.Conflict, over *domain.ConflictPolicy) (v resolution.Verdict, a Assessment, ok bool, err error) {
	if c.OtherID == "" {
		return v, a, false, nil
	}
	bookings, err := tx.BookingsByID(ctx, []domain.BookingID{c.BookingID, c.OtherID})
	if err != nil || len(bookings) < 2 {
		return v, a, false, err
	}
	one, two := bookings[c.BookingID], bookings[c.OtherID]
	high, low := domain.PairOf(one.Category, two.Category)
	if over != nil && over.Category == high && over.Other == low {
		a.Policy = *over
	} else if a.Policy, err = tx.ConflictPolicy(ctx, high, low); domain.KindOf(err) == domain.KindNotFound {
		return v, a, false, nil
	} else if err != nil {
		return v, a, false, err
	}
	x, err := party(ctx, tx, one)
	if err != nil {
		return v, a, false, err
	}
	y, err := party(ctx, tx, two)
	if err != nil {
		return v, a, false, err
	}
	now, err := freeze.Look(ctx, tx)
	if err != nil {
		return v, a, false, err
	}
	v = resolution.Choose(a.Policy, x, y, tx.Now, now.Length())
	if v.Outcome == domain.PolicyDecided && (now.Stops(one.When.Span) || now.Stops(two.When.Span)) {
		v = resolution.Verdict{Outcome: domain.PolicyFrozen, Why: "a wedding of the organisation is near or on"}
	}
	a.Note = domain.PolicyNote{PolicyID: a.Policy.ID, Rule: a.Policy.Rule, Outcome: v.Outcome, Reason: v.Why, At: tx.Now}
	return v, a, true, nil
}

// party is a booking as a policy sees it. A confirmed one has been so since the last change of its status.
func party(ctx context.Context, tx *store.Tx, b domain.Booking) (resolution.Party, error) {
	p := resolution.Party{ID: b.ID, Category: b.Category, Status: b.Status, Source: b.SourceID, BookedAt: b.CreatedAt, When: b.When.Span}
	if b.Status != domain.StatusConfirmed {
		return p, nil
	}
	p.ConfirmedAt = b.CreatedAt
	for below := int64(0); ; {
		lines, err := tx.BookingChanges(ctx, b.ID, below, 100)
		if err != nil {
			return p, err
		}
		for _, l := range lines {
			if slices.Contains(l.Fields, "status") {
				p.ConfirmedAt = l.At
				return p, nil
			}
			below = l.Version
		}
		if len(lines) < 100 {
			return p, nil
		}
	}
}

// PolicyDue reports whether a policy has yet to look at a conflict: one that was there before the conflict was found, or
// any when a person asked for it.
func PolicyDue(ctx context.Context, tx *store.Tx, c domain.Conflict) (bool, error) {
	if c.State != domain.ConflictOpen || c.OtherID == "" {
		return false, nil
	}
	if c.PolicyAsked || c.Policy != nil {
		return c.PolicyAsked, nil
	}
	policies, err := tx.ConflictPolicies(ctx)
	if err != nil || len(policies) == 0 {
		return false, err
	}
	bookings, err := tx.BookingsByID(ctx, []domain.BookingID{c.BookingID, c.OtherID})
	if err != nil {
		return false, err
	}
	high, low := domain.PairOf(bookings[c.BookingID].Category, bookings[c.OtherID].Category)
	return slices.ContainsFunc(policies, func(p domain.ConflictPolicy) bool {
		return p.Category == high && p.Other == low && !p.UpdatedAt.After(c.DetectedAt)
	}), nil
}

// ApplyPolicy lets the organisation's policy look at a conflict, and begins what it decides. It acts once: a repeat finds
// the policy's note, or the conflict in another state, and changes nothing. Each of its decisions is tried in a transaction
// of its own, so that one that would clash leaves nothing behind.
func ApplyPolicy(ctx context.Context, s *store.Store, org domain.OrgID, id domain.ConflictID) error {
	var a Assessment
	var ok bool
	err := s.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.Conflict(ctx, id)
		if err != nil {
			return err
		}
		if due, err := PolicyDue(ctx, tx, c); err != nil || !due {
			a, ok = Assessment{}, false
			if c.PolicyAsked {
				return err
			}
			return errNotDue
		}
		a, ok, err = Assess(ctx, tx, c, nil)
		return err
	})
	if errors.Is(err, errNotDue) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range a.Decisions {
		err := s.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
			c, err := locked(ctx, tx, id, d.BookingID, d.ResourceID)
			if err != nil || c.State != domain.ConflictOpen {
				return err
			}
			// It is judged once more under the locks: a wedding may have come near, or a booking have changed.
			verdict, now, ok, err := judge(ctx, tx, c, nil)
			if err != nil {
				return err
			}
			if !ok || verdict.Outcome != domain.PolicyDecided || verdict.Yields != d.BookingID || now.Policy.Version != a.Policy.Version {
				return domain.E(domain.KindUnavailable, "the policy or the bookings changed while it was applied")
			}
			c.Policy, c.PolicyAsked = &now.Note, false
			return carry(ctx, tx, c, d, "")
		})
		switch domain.KindOf(err) {
		case "":
			return nil
		case domain.KindConflict, domain.KindInvalid:
			continue
		default:
			return err
		}
	}
	if ok && a.Note.Outcome == domain.PolicyDecided {
		a.noWay()
	}
	return s.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.LockConflict(ctx, id)
		if err != nil || c.State != domain.ConflictOpen {
			return err
		}
		c.PolicyAsked = false
		if !ok {
			return tx.UpdateConflict(ctx, c, c.Version)
		}
		c.Policy = &a.Note
		return record(ctx, tx, c, domain.AuditEntry{Actor: "system:policy", Action: "conflict.policy", Reason: a.Note.Reason, Subject: "conflict/" + string(id),
			After: map[string]string{"policy": string(a.Note.PolicyID), "rule": string(a.Note.Rule), "outcome": string(a.Note.Outcome), "set_by": a.Policy.UpdatedBy}},
			domain.TopicConflictUpdated)
	})
}

var errNotDue = domain.E(domain.KindConflict, "no policy is due")

// Remind looks for ways out anew, since calendars have moved on and the wedding has come nearer, and tells the live stream
// that somebody still has to decide. One that clashes no more is cleared. number is 1 for the first reminder.
func Remind(ctx context.Context, tx *store.Tx, id domain.ConflictID, number int) error {
	c, err := locked(ctx, tx, id, "")
	if err != nil || c.State != domain.ConflictOpen && c.State != domain.ConflictStuck {
		return err
	}
	c.Reminders = max(c.Reminders, number)
	if c.State == domain.ConflictOpen {
		found, still, err := apply.ClashOf(ctx, tx, c)
		if err != nil {
			return err
		}
		if !still {
			return judgeAnew(ctx, tx, c, "it is over, or was settled elsewhere")
		}
		c.Severity, c.Explanation = found.Severity, found.Explanation
		if c.Alternatives, err = apply.Propose(ctx, tx, c); err != nil {
			return err
		}
	}
	number = c.Reminders
	if err := record(ctx, tx, c, domain.AuditEntry{Actor: "system:reminder", Action: "conflict.remind", Reason: "nobody decided yet",
		Subject: "conflict/" + string(c.ID), After: map[string]string{"number": strconv.Itoa(number)}}, domain.TopicConflictUpdated); err != nil {
		return err
	}
	return emit(ctx, tx, domain.TopicConflictReminder, c, map[string]string{"number": strconv.Itoa(number)})
}

// Escalate notes that nobody decided by a deadline, and tells the live stream. A conflict that has more time by now, or was
// escalated, is left alone.
func Escalate(ctx context.Context, tx *store.Tx, id domain.ConflictID, deadline time.Time) error {
	c, err := tx.LockConflict(ctx, id)
	if err != nil || c.State != domain.ConflictOpen || c.EscalatedAt != nil || c.DeadlineAt == nil || c.DeadlineAt.After(deadline) {
		return err
	}
	c.EscalatedAt = &tx.Now
	at := c.DeadlineAt.Format(time.RFC3339)
	if err := record(ctx, tx, c, domain.AuditEntry{Actor: "system:reminder", Action: "conflict.escalate", Reason: "nobody decided by the deadline",
		Subject: "conflict/" + string(c.ID), After: map[string]string{"deadline": at, "severity": string(c.Severity)}}, domain.TopicConflictUpdated); err != nil {
		return err
	}
	return emit(ctx, tx, domain.TopicConflictEscalated, c, map[string]string{"deadline": at})
}

// Wake brings a conflict back that was ignored until a time and tells the live stream, or clears it. One that is to be ignored for longer stays.
func Wake(ctx context.Context, tx *store.Tx, id domain.ConflictID, until time.Time) error {
	c, err := locked(ctx, tx, id, "")
	if err != nil || c.State != domain.ConflictIgnored || c.IgnoredUntil == nil || c.IgnoredUntil.After(until) {
		return err
	}
	if err := judgeAnew(ctx, tx, c, "the time until which it was ignored is over"); err != nil {
		return err
	}
	if c, err = tx.Conflict(ctx, id); err != nil || c.State != domain.ConflictOpen {
		return err
	}
	return emit(ctx, tx, domain.TopicConflictReminder, c, map[string]string{"number": strconv.Itoa(c.Reminders)})
}
