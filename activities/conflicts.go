package activities

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/resolutions"
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

	PolicyDue    bool      `json:"policy_due,omitempty"`    // the organisation's policy has yet to look at it
	DeadlineAt   time.Time `json:"deadline_at,omitzero"`    // when it is to be escalated; zero = never, or it was
	Escalated    bool      `json:"escalated,omitempty"`     // nobody decided by the deadline
	IgnoredUntil time.Time `json:"ignored_until,omitzero"`  // when it is to come back
	Decided      string    `json:"decided,omitempty"`       // who decided what, in words
	Reason       string    `json:"policy_reason,omitempty"` // what the policy said, in words
}

func view(ctx context.Context, tx *store.Tx, id domain.ConflictID) (ConflictView, error) {
	c, err := tx.Conflict(ctx, id)
	if err != nil {
		return ConflictView{}, err
	}
	v := ConflictView{State: c.State, Severity: c.Severity, Version: c.Version, WeddingDate: c.WeddingDate, Escalated: c.EscalatedAt != nil}
	if c.State != domain.ConflictOpen && c.State != domain.ConflictCleared {
		v.Decided = c.Decided()
	}
	if c.DeadlineAt != nil && c.EscalatedAt == nil {
		v.DeadlineAt = *c.DeadlineAt
	}
	if c.IgnoredUntil != nil {
		v.IgnoredUntil = *c.IgnoredUntil
	}
	if c.Policy != nil {
		v.Reason = c.Policy.Reason
	}
	v.PolicyDue, err = resolutions.PolicyDue(ctx, tx, c)
	return v, err
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
// clash is refused and nothing changes, but that the conflict gets new ways out: what was proposed may be taken by now.
//
// A decision is taken once; running it again returns where the conflict stands.
func (a *Conflicts) BeginResolution(ctx context.Context, in BeginResolutionInput) (ConflictView, error) {
	refused := false
	v, err := a.change(ctx, in.ConflictRef, func(ctx context.Context, tx *store.Tx) error {
		err := resolutions.Begin(ctx, tx, in.Conflict, in.DecisionID)
		refused = domain.KindOf(err) == domain.KindConflict
		return err
	})
	if refused {
		// The person is told why the decision was refused even where no new ways can be looked for; a reminder looks again.
		_, _ = a.change(ctx, in.ConflictRef, func(ctx context.Context, tx *store.Tx) error {
			return resolutions.Renew(ctx, tx, in.Conflict)
		})
	}
	return v, err
}

// ApplyConflictPolicy lets the organisation's policy look at a conflict, and begins what it decides. It acts once: running
// it again returns where the conflict stands.
func (a *Conflicts) ApplyConflictPolicy(ctx context.Context, ref ConflictRef) (ConflictView, error) {
	if err := resolutions.ApplyPolicy(ctx, a.Store, ref.Org, ref.Conflict); err != nil {
		return ConflictView{}, fail(err)
	}
	return a.LoadConflict(ctx, ref)
}

// RemindConflictInput asks for a reminder.
type RemindConflictInput struct {
	ConflictRef
	Number int `json:"number"` // 1 for the first
}

// RemindConflict looks for ways out anew, since calendars have moved on, and tells the live stream that somebody still
// has to decide. What no longer clashes is cleared. A repeat is one more line in the stream and harms nothing.
func (a *Conflicts) RemindConflict(ctx context.Context, in RemindConflictInput) (ConflictView, error) {
	return a.change(ctx, in.ConflictRef, func(ctx context.Context, tx *store.Tx) error {
		return resolutions.Remind(ctx, tx, in.Conflict, in.Number)
	})
}

// EscalateConflictInput names the deadline that has passed.
type EscalateConflictInput struct {
	ConflictRef
	Deadline time.Time `json:"deadline"`
}

// EscalateConflict notes and tells that nobody decided by the deadline, once.
func (a *Conflicts) EscalateConflict(ctx context.Context, in EscalateConflictInput) (ConflictView, error) {
	return a.change(ctx, in.ConflictRef, func(ctx context.Context, tx *store.Tx) error {
		return resolutions.Escalate(ctx, tx, in.Conflict, in.Deadline)
	})
}

// WakeConflictInput names the time until which a conflict was ignored.
type WakeConflictInput struct {
	ConflictRef
	Until time.Time `json:"until"`
}

// WakeConflict opens a conflict again that was ignored until a time, or clears it when the clash is gone. Running it again
// finds it open.
func (a *Conflicts) WakeConflict(ctx context.Context, in WakeConflictInput) (ConflictView, error) {
	return a.change(ctx, in.ConflictRef, func(ctx context.Context, tx *store.Tx) error {
		return resolutions.Wake(ctx, tx, in.Conflict, in.Until)
	})
}

// change runs fn in a transaction and returns where the conflict stands after it.
func (a *Conflicts) change(ctx context.Context, ref ConflictRef, fn func(context.Context, *store.Tx) error) (ConflictView, error) {
	var v ConflictView
	err := a.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		var err error
		v, err = view(ctx, tx, ref.Conflict)
		return err
	})
	return v, fail(err)
}

// VerifyResolutionResult tells how far a resolution is.
type VerifyResolutionResult struct {
	ConflictView
	Step string `json:"step"` // in words
}

// VerifyResolution looks whether every system that has the booking shows what was decided, by reading it back, and
// closes the conflict when they do. When one refused for good, the booking is put back, and every system is made to show
// that, one after the other; then the conflict is open again.
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

// maxTurns bounds how often one run looks; what is left is done by the next.
const maxTurns = 20

func (a *Conflicts) verify(ctx context.Context, ref ConflictRef) (VerifyResolutionResult, error) {
	var out VerifyResolutionResult
	for range maxTurns {
		var seen resolutions.Outlook
		if err := a.Store.TenantRead(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) (err error) {
			seen, err = resolutions.Look(ctx, tx, ref.Conflict)
			return err
		}); err != nil {
			return out, err
		}
		if !seen.Conflict.State.Carrying() {
			out.Step = "closed"
			break
		}
		answers, err := a.ask(ctx, ref.Org, seen)
		if err != nil {
			return out, err
		}
		var progress resolutions.Progress
		if err := a.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) (err error) {
			progress, err = resolutions.Settle(ctx, tx, seen, answers)
			return err
		}); err != nil {
			return out, err
		}
		if out.Step = progress.Step; !progress.Again {
			break
		}
	}
	err := a.Store.TenantRead(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out.ConflictView, err = view(ctx, tx, ref.Conflict)
		return err
	})
	return out, err
}

// ask reads what the systems show that must be asked.
func (a *Conflicts) ask(ctx context.Context, org domain.OrgID, seen resolutions.Outlook) (map[domain.IntegrationID]resolutions.Reading, error) {
	answers := map[domain.IntegrationID]resolutions.Reading{}
	for _, s := range seen.Systems {
		if !s.Ask {
			continue
		}
		var opened any
		if err := a.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
			_, opened, err = open(ctx, tx, a.Opener, s.Integration.ID)
			return err
		}); domain.Retryable(err) {
			return nil, err
		} else if err != nil {
			answers[s.Integration.ID] = resolutions.Reading{Later: true, Reason: "cannot be read back yet: " + textOf(err)}
			continue
		}
		if reader, ok := provider.As[provider.Reader](opened); ok {
			answers[s.Integration.ID] = readBack(ctx, opened, reader, seen, s)
		} else {
			// It cannot be asked, so its own word on the write is the best there is.
			answers[s.Integration.ID] = resolutions.Reading{Right: s.Step.State != domain.StepToUndo}
		}
		if err := ctx.Err(); err != nil {
			return nil, domain.E(domain.KindUnavailable, "read systems back: %w", err)
		}
	}
	return answers, nil
}

func readBack(ctx context.Context, opened any, reader provider.Reader, seen resolutions.Outlook, s resolutions.System) resolutions.Reading {
	absent, missing := seen.Expect(s)
	if missing {
		return resolutions.Reading{Reason: "a system does not have the copy that it should have"}
	}
	for _, l := range s.Links {
		if _, askable := provider.ReaderOf(opened, l.ExternalID); !askable {
			continue // the system's own word on the write is the best there is
		}
		var shows domain.Change
		err := caught("read copy", func() (err error) {
			shows, err = reader.Read(ctx, l.ExternalID)
			return err
		})
		gone := domain.KindOf(err) == domain.KindNotFound || err == nil && shows.Status == domain.StatusCancelled
		switch {
		case err != nil && !gone:
			return resolutions.Reading{Later: true, Reason: "cannot be read back yet: " + textOf(err)}
		case gone != absent(l), !gone && !seen.Shows(shows):
			return resolutions.Reading{Reason: "a system shows something else than was written; it is read again"}
		}
	}
	return resolutions.Reading{Right: true}
}
