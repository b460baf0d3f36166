package resolutions

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// System is one outside system of a decision, with what is known of it.
type System struct {
	Integration domain.Integration
	Links       []domain.Link // live ones of the booking
	Step        domain.ResolutionStep
	Ask         bool // what it shows must be read now

	push *domain.Push
	turn bool // while taking back: its turn has come
}

// Outlook is where a decision stands.
type Outlook struct {
	Conflict  domain.Conflict
	Booking   domain.Booking
	Systems   []System
	overtaken bool
}

// Asks reports whether a system must be read before Settle can go on.
func (o Outlook) Asks() bool {
	for _, s := range o.Systems {
		if s.Ask {
			return true
		}
	}
	return false
}

const (
	// patience is how long a system that is being taken back is waited for before the next one has its turn.
	patience = time.Minute
	// longest is how long it may take before it is shown as stuck, so that a person can decide anew.
	longest = 15 * time.Minute
)

// Look reads where a conflict's decision stands. It changes nothing.
func Look(ctx context.Context, tx *store.Tx, id domain.ConflictID) (Outlook, error) {
	c, err := tx.Conflict(ctx, id)
	if err != nil || !c.State.Carrying() {
		return Outlook{Conflict: c}, err
	}
	return look(ctx, tx, c)
}

func look(ctx context.Context, tx *store.Tx, c domain.Conflict) (Outlook, error) {
	o := Outlook{Conflict: c}
	r := c.Resolution
	var err error
	if o.Booking, err = tx.Booking(ctx, r.BookingID); domain.KindOf(err) == domain.KindNotFound {
		o.overtaken = true // erased
		return o, nil
	} else if err != nil {
		return o, err
	}
	want := r.After
	if c.State != domain.ConflictResolving {
		want = r.Before
	}
	o.overtaken = want != nil && !o.Booking.Shape().Equal(*want)
	links, err := tx.LinksOf(ctx, o.Booking.ID)
	if err != nil {
		return o, err
	}
	pushes, err := tx.PushesOf(ctx, o.Booking.ID)
	if err != nil {
		return o, err
	}
	known := map[domain.IntegrationID]bool{}
	for _, st := range r.Steps {
		known[st.IntegrationID] = true
		if err := o.add(ctx, tx, st, links, pushes); err != nil {
			return o, err
		}
	}
	if c.State == domain.ConflictResolving {
		// Systems that turned out to be concerned since: wishes that came later, and entries that only a person can change.
		for _, p := range pushes {
			if !known[p.IntegrationID] && !p.UpdatedAt.Before(r.At) {
				known[p.IntegrationID] = true
				if err := o.add(ctx, tx, domain.ResolutionStep{IntegrationID: p.IntegrationID, State: domain.StepWaiting, At: p.CreatedAt}, links, pushes); err != nil {
					return o, err
				}
			}
		}
		for _, l := range links {
			if !known[l.IntegrationID] && l.RemovedAt == nil && !l.Mirror {
				known[l.IntegrationID] = true
				if err := o.add(ctx, tx, domain.ResolutionStep{IntegrationID: l.IntegrationID, State: domain.StepByHand, At: r.At,
					Reason: "this connection does not write; change it there by hand"}, links, pushes); err != nil {
					return o, err
				}
			}
		}
		o.forward(r.At, tx.Now)
		return o, nil
	}
	o.back(tx.Now)
	return o, nil
}

// add notes a system, unless its connection was ended.
func (o *Outlook) add(ctx context.Context, tx *store.Tx, st domain.ResolutionStep, links []domain.Link, pushes []domain.Push) error {
	i, err := tx.Integration(ctx, st.IntegrationID)
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return err
	}
	if err != nil || i.State == domain.IntegrationDeleted {
		return nil
	}
	s := System{Integration: i, Step: st}
	for _, l := range links {
		if l.IntegrationID == i.ID && l.RemovedAt == nil {
			s.Links = append(s.Links, l)
		}
	}
	for n := range pushes {
		if pushes[n].IntegrationID == i.ID {
			s.push = &pushes[n]
		}
	}
	o.Systems = append(o.Systems, s)
	return nil
}

// step moves a system's step; a reason alone does not make it newer.
func (s *System) step(state domain.StepState, reason string, now time.Time) {
	if s.Step.State != state {
		s.Step.State, s.Step.At, s.Step.Tries = state, now, 0
	}
	s.Step.Reason = reason
}

// forward brings the steps of a decision that is being carried out up to date with its wishes.
func (o *Outlook) forward(since, now time.Time) {
	waits := false
	for n := range o.Systems {
		s := &o.Systems[n]
		if s.Step.State == domain.StepByHand || s.push == nil || s.push.UpdatedAt.Before(since) {
			continue
		}
		switch s.push.State {
		case domain.PushPending, domain.PushRetrying:
			waits = true
			s.step(domain.StepWaiting, s.push.Reason, now)
			if s.Integration.State != domain.IntegrationActive {
				s.Step.Reason = "the connection is " + string(s.Integration.State)
			}
		case domain.PushFailed:
			s.step(domain.StepRefused, s.push.Reason, now)
		case domain.PushDone:
			if s.Step.WrittenAt == nil {
				at := s.push.UpdatedAt
				s.Step.WrittenAt = &at
			}
			if s.Step.State == domain.StepWaiting || s.Step.State == domain.StepRefused {
				s.step(domain.StepWritten, "", now)
			}
		}
	}
	for n := range o.Systems {
		// They are read when all have it, so that one that is late does not have the others read again and again.
		o.Systems[n].Ask = !waits && o.Systems[n].Step.State == domain.StepWritten
	}
}

// back says whose turn it is to be taken back. A system that takes long, or is stuck, does not hold the next ones up.
func (o *Outlook) back(now time.Time) {
	blocked := false
	for n := range o.Systems {
		s := &o.Systems[n]
		waits := s.push != nil && (s.push.State == domain.PushPending || s.push.State == domain.PushRetrying)
		switch s.Step.State {
		case domain.StepUndone, domain.StepByHand:
			continue
		case domain.StepStuck:
			s.Ask, s.turn = !waits, true
			continue
		case domain.StepUndoing:
			s.turn = true
			if waits {
				s.Step.Reason = s.push.Reason
				if s.Integration.State != domain.IntegrationActive {
					s.Step.Reason = "the connection is " + string(s.Integration.State)
				}
				blocked = blocked || now.Sub(s.Step.At) < patience
				continue
			}
			s.Ask = true
		case domain.StepToUndo:
			s.turn, s.Ask = !blocked, !blocked
		case domain.StepWaiting, domain.StepWritten, domain.StepVerified, domain.StepRefused:
		}
		blocked = true
	}
}

// Expect says what a system should show of the booking: gone for entries that must not be there, and copied where a copy
// must be.
func (o Outlook) Expect(s System) (gone func(domain.Link) bool, copied bool) {
	standing := reconcile.StandingOf(s.Links, s.Integration.ID)
	shown := reconcile.Shown(o.Booking, s.Integration)
	gone = func(l domain.Link) bool {
		return o.Booking.Status == domain.StatusCancelled || l.Mirror && (!shown || standing.Own != nil)
	}
	return gone, shown && s.Integration.Direction.Exports() && s.Integration.Copies == domain.CopiesKept && standing.Own == nil && !standing.Filtered &&
		standing.Mirror == nil
}

// Shows reports whether an entry, as it was read back, shows the booking.
func (o Outlook) Shows(there domain.Change) bool {
	minute := func(t time.Time) time.Time { return t.UTC().Truncate(time.Minute) }
	if !minute(there.When.Start).Equal(minute(o.Booking.When.Start)) || !minute(there.When.End).Equal(minute(o.Booking.When.End)) {
		return false
	}
	// Some systems cannot say tentative, so only the way back from it can be told from the status.
	softened := o.Conflict.Resolution.Action == domain.ActionTentative && o.Conflict.State != domain.ConflictResolving
	return !softened || there.Status == o.Booking.Status
}
