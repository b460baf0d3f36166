package activities

import (
	"context"
	"fmt"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// Conflicts carries decisions about clashes out.
type Conflicts struct {
	Store  *store.Store
	Opener *connect.Opener
}

// ConflictRef names a conflict.
type ConflictRef struct {
	Org      domain.OrgID      `json:"org"`
	Conflict domain.ConflictID `json:"conflict"`
}

// ConflictView is what a conflict's workflow acts on.
type ConflictView struct {
	State       domain.ConflictState `json:"state"`
	Severity    domain.Severity      `json:"severity"`
	Version     int64                `json:"version"`
	WeddingDate string               `json:"wedding_date,omitempty"`
}

func view(ctx context.Context, tx *store.Tx, id domain.ConflictID) (ConflictView, error) {
	c, err := tx.Conflict(ctx, id)
	if err != nil {
		return ConflictView{}, err
	}
	date, err := tx.WeddingDateOf(ctx, id)
	return ConflictView{State: c.State, Severity: c.Severity, Version: c.Version, WeddingDate: date}, err
}

// LoadConflict returns where a conflict stands. It only reads.
func (a *Conflicts) LoadConflict(ctx context.Context, ref ConflictRef) (ConflictView, error) {
	var v ConflictView
	err := a.Store.TenantRead(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		v, err = view(ctx, tx, ref.Conflict)
		return err
	})
	return v, fail(err)
}

// BeginResolutionInput names a stored decision.
type BeginResolutionInput struct {
	ConflictRef
	DecisionID string `json:"decision_id"`
	By         string `json:"by"`
}

// BeginResolution takes a decision up: the booking changes here at once, in the transaction that checks that its new
// time is free, and the wishes for the outside systems are stored with it. A decision that would only make another
// clash is refused and nothing changes.
//
// A decision is taken once; running it again returns where the conflict stands.
func (a *Conflicts) BeginResolution(ctx context.Context, in BeginResolutionInput) (ConflictView, error) {
	var v ConflictView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := begin(ctx, tx, in); err != nil {
			return err
		}
		var err error
		v, err = view(ctx, tx, in.Conflict)
		return err
	})
	return v, fail(err)
}

func begin(ctx context.Context, tx *store.Tx, in BeginResolutionInput) error {
	id, decision, first, err := tx.TakeDecision(ctx, in.DecisionID)
	if err != nil || !first {
		return err
	}
	if id != in.Conflict {
		return domain.E(domain.KindInvalid, "decision_id: belongs to another conflict")
	}
	c, err := tx.Conflict(ctx, id)
	if err != nil {
		return err
	}
	// Resources before conflicts, the order in which every change takes its locks.
	resources := []domain.ResourceID{c.ResourceID}
	if decision.ResourceID != "" {
		resources = append(resources, decision.ResourceID)
	}
	if err := tx.LockResources(ctx, resources); err != nil {
		return err
	}
	if c, err = tx.LockConflict(ctx, id); err != nil {
		return err
	}
	if c.State != domain.ConflictOpen {
		return domain.E(domain.KindConflict, "the conflict is %s", c.State)
	}
	version := c.Version
	c.Resolution = &decision
	decision.At = tx.Now
	entry := domain.AuditEntry{Actor: decision.By, Action: "conflict.begin", Reason: decision.Reason, Subject: "conflict/" + string(id),
		Before: map[string]string{"state": string(c.State)}, After: map[string]string{"action": string(decision.Action), "decision": in.DecisionID}}

	if decision.Action == domain.ActionKeepBoth {
		c.State, c.ClosedAt = domain.ConflictDismissed, &tx.Now
		entry.After["state"] = string(c.State)
		if err := tx.UpdateConflict(ctx, c, version); err != nil {
			return err
		}
		if err := tx.Audit(ctx, entry); err != nil {
			return err
		}
		return emit(ctx, tx, domain.TopicConflictClosed, c)
	}

	if decision.BookingID != c.BookingID && decision.BookingID != c.OtherID {
		return domain.Invalid("booking_id", "must be one of the two bookings that clash")
	}
	booking, err := tx.Booking(ctx, decision.BookingID)
	if err != nil {
		return err
	}
	decision.Before = &domain.BookingShape{ResourceID: booking.ResourceID, Status: booking.Status, When: booking.When}
	switch decision.Action {
	case domain.ActionMove:
		if decision.When == nil {
			return domain.Invalid("when", "is required for a move")
		}
		booking.When = *decision.When
	case domain.ActionReassign:
		booking.ResourceID = decision.ResourceID
	case domain.ActionCancel:
		booking.Status = domain.StatusCancelled
	case domain.ActionKeepBoth:
	default:
		return domain.Invalid("action", "must be move, reassign, cancel or keep_both")
	}
	c.State = domain.ConflictResolving
	if err := tx.UpdateConflict(ctx, c, version); err != nil {
		return err
	}
	entry.After["state"], entry.After["booking"] = string(c.State), string(booking.ID)
	if err := tx.Audit(ctx, entry); err != nil {
		return err
	}
	result, err := apply.Manual(ctx, tx, booking, decision.By, "resolution of conflict "+string(id), domain.Cause{Kind: domain.CauseResolution, ID: string(id)})
	if err != nil {
		return err
	}
	for _, opened := range result.Conflicts() {
		if opened.Kind != domain.ConflictOffHours {
			return domain.E(domain.KindConflict, "it would make another clash: %s", opened.Explanation)
		}
	}
	for _, f := range result.Clashes {
		if reconcile.PairKey(f.BookingID, f.OtherID) == reconcile.PairKey(c.BookingID, c.OtherID) {
			return domain.E(domain.KindConflict, "they would still clash: %s", f.Explanation)
		}
	}
	return emit(ctx, tx, domain.TopicConflictUpdated, c)
}

func emit(ctx context.Context, tx *store.Tx, topic domain.Topic, c domain.Conflict) error {
	return tx.Emit(ctx, topic, map[string]string{"conflict": string(c.ID), "booking": string(c.BookingID), "other": string(c.OtherID),
		"resource": string(c.ResourceID), "severity": string(c.Severity), "state": string(c.State)})
}

// VerifyResolutionResult tells how far a resolution is.
type VerifyResolutionResult struct {
	ConflictView
	Step string `json:"step"` // in words
}

// VerifyResolution looks whether every system that has the booking shows what was decided, by reading it back, and
// closes the conflict when they do. When one refused for good, the booking is put back and the conflict is open again.
//
// It may run any number of times; what is closed stays closed.
func (a *Conflicts) VerifyResolution(ctx context.Context, ref ConflictRef) (VerifyResolutionResult, error) {
	var out VerifyResolutionResult
	err := beating(ctx, func(ctx context.Context) (err error) {
		out, err = a.verify(ctx, ref)
		return err
	})
	return out, fail(err)
}

type copyThere struct {
	link   domain.Link
	reader provider.Reader
}

func (a *Conflicts) verify(ctx context.Context, ref ConflictRef) (VerifyResolutionResult, error) {
	var (
		out     VerifyResolutionResult
		c       domain.Conflict
		booking domain.Booking
		copies  []copyThere
		refused string
	)
	err := a.Store.TenantRead(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		copies, refused = nil, ""
		if out.ConflictView, err = view(ctx, tx, ref.Conflict); err != nil {
			return err
		}
		if c, err = tx.Conflict(ctx, ref.Conflict); err != nil || c.State != domain.ConflictResolving {
			return err
		}
		if booking, err = tx.Booking(ctx, c.Resolution.BookingID); err != nil {
			return err
		}
		pushes, err := tx.PushesOf(ctx, booking.ID)
		if err != nil {
			return err
		}
		waiting := 0
		for _, p := range pushes {
			if p.UpdatedAt.Before(c.Resolution.At) {
				continue // of an older wish
			}
			switch p.State {
			case domain.PushPending, domain.PushRetrying:
				i, err := tx.Integration(ctx, p.IntegrationID)
				if err != nil {
					return err
				}
				if i.State != domain.IntegrationDeleted {
					waiting++
				}
			case domain.PushFailed:
				refused = p.Reason
			case domain.PushDone:
			}
		}
		if waiting > 0 && refused == "" {
			out.Step = fmt.Sprintf("waiting for %d of %d systems to take the change", waiting, len(pushes))
			return nil
		}
		links, err := tx.LinksOf(ctx, booking.ID)
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.RemovedAt != nil || l.WrittenVersion < booking.Version {
				continue
			}
			i, opened, err := open(ctx, tx, a.Opener, l.IntegrationID)
			if i.State == domain.IntegrationDeleted {
				continue
			}
			if err != nil {
				return err
			}
			if reader, ok := provider.As[provider.Reader](opened); ok {
				copies = append(copies, copyThere{l, reader})
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return out, err
	case c.State != domain.ConflictResolving:
		out.Step = "closed"
		return out, nil
	case refused != "":
		return a.undo(ctx, ref, refused)
	case out.Step != "":
		return out, nil
	}
	for _, there := range copies {
		var shows domain.Change
		err := caught("read copy", func() (err error) {
			shows, err = there.reader.Read(ctx, there.link.ExternalID)
			return err
		})
		gone := domain.KindOf(err) == domain.KindNotFound || err == nil && shows.Status == domain.StatusCancelled
		switch {
		case err != nil && !gone:
			return out, err
		case gone != (booking.Status == domain.StatusCancelled), !gone && !(shows.When.Start.Equal(booking.When.Start) && shows.When.End.Equal(booking.When.End)):
			out.Step = "a system shows something else than was written; it is read again"
			return out, nil
		}
	}
	return a.close(ctx, ref, len(copies))
}

func (a *Conflicts) close(ctx context.Context, ref ConflictRef, copies int) (VerifyResolutionResult, error) {
	out := VerifyResolutionResult{Step: fmt.Sprintf("resolved; %d systems read back", copies)}
	err := a.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.LockConflict(ctx, ref.Conflict)
		if err != nil {
			return err
		}
		if c.State == domain.ConflictResolving {
			c.State, c.ClosedAt = domain.ConflictResolved, &tx.Now
			if err := tx.UpdateConflict(ctx, c, c.Version); err != nil {
				return err
			}
			if err := tx.Audit(ctx, domain.AuditEntry{Actor: "system:resolution", Action: "conflict.verify", Reason: out.Step,
				Subject: "conflict/" + string(c.ID), After: map[string]string{"state": string(c.State)}}); err != nil {
				return err
			}
			if err := emit(ctx, tx, domain.TopicConflictClosed, c); err != nil {
				return err
			}
		}
		out.ConflictView, err = view(ctx, tx, ref.Conflict)
		return err
	})
	return out, err
}

// undo puts the booking back as it was, in every system, and opens the conflict again with the reason.
func (a *Conflicts) undo(ctx context.Context, ref ConflictRef, reason string) (VerifyResolutionResult, error) {
	out := VerifyResolutionResult{Step: "a system refused, so the booking was put back: " + reason}
	err := a.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.Conflict(ctx, ref.Conflict)
		if err != nil {
			return err
		}
		if err := tx.LockResources(ctx, []domain.ResourceID{c.ResourceID, c.Resolution.Before.ResourceID}); err != nil {
			return err
		}
		if c, err = tx.LockConflict(ctx, ref.Conflict); err != nil {
			return err
		}
		if c.State == domain.ConflictResolving {
			booking, err := tx.Booking(ctx, c.Resolution.BookingID)
			if err != nil {
				return err
			}
			before := c.Resolution.Before
			booking.ResourceID, booking.Status, booking.When = before.ResourceID, before.Status, before.When
			c.State, c.Resolution.Error = domain.ConflictOpen, reason
			if err := tx.UpdateConflict(ctx, c, c.Version); err != nil {
				return err
			}
			if err := tx.Audit(ctx, domain.AuditEntry{Actor: "system:resolution", Action: "conflict.undo", Reason: reason,
				Subject: "conflict/" + string(c.ID), After: map[string]string{"state": string(c.State), "booking": string(booking.ID)}}); err != nil {
				return err
			}
			if _, err := apply.Manual(ctx, tx, booking, "system:resolution", "a system refused the change",
				domain.Cause{Kind: domain.CauseResolution, ID: string(c.ID)}); err != nil {
				return err
			}
			if err := emit(ctx, tx, domain.TopicConflictUpdated, c); err != nil {
				return err
			}
		}
		out.ConflictView, err = view(ctx, tx, ref.Conflict)
		return err
	})
	return out, err
}

// RemindConflictInput asks for a reminder.
type RemindConflictInput struct {
	ConflictRef
	Number int `json:"number"` // 1 for the first
}

// RemindConflict looks for ways out anew, since calendars have moved on, and tells the live stream that somebody still
// has to decide. A repeat is one more line there and harms nothing.
func (a *Conflicts) RemindConflict(ctx context.Context, in RemindConflictInput) (ConflictView, error) {
	var v ConflictView
	err := a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.LockConflict(ctx, in.Conflict)
		if err != nil {
			return err
		}
		if c.State == domain.ConflictOpen {
			if c.Alternatives, err = apply.Propose(ctx, tx, c); err != nil {
				return err
			}
			if err := tx.UpdateConflict(ctx, c, c.Version); err != nil {
				return err
			}
			if err := tx.Audit(ctx, domain.AuditEntry{Actor: "system:reminder", Action: "conflict.remind", Reason: "nobody decided yet",
				Subject: "conflict/" + string(c.ID), After: map[string]string{"number": itoa(in.Number)}}); err != nil {
				return err
			}
			if err := emit(ctx, tx, domain.TopicConflictUpdated, c); err != nil {
				return err
			}
		}
		v, err = view(ctx, tx, in.Conflict)
		return err
	})
	return v, fail(err)
}
