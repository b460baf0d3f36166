// Package weddings looks after each wedding: it finds out what is due, checks everything that the wedding rests on, watches over
// its day and hands over after it.
//
//	done, err := weddings.Look(ctx, tx, booking)                    // what is due now; moves the care on
//	made, err := weddings.Check(ctx, tx, booking, kind, answers)    // a preflight, with what connections answered just now
//	err := weddings.FailedOver(ctx, tx, booking, outcomes)          // what became of connections that stopped telling of news
//	view, err := weddings.Read(ctx, tx, booking)                    // for people
//
// # Promises
//
//   - Look reads the booking anew each time: a wedding that was moved has new times, one that was cancelled or became anything else
//     ends, one that was booked late has at once what is due. Repeating it changes nothing.
//   - Everything is stored in the caller's transaction, with the live event, the audit line of the automatic decision, and the fact
//     that people are told of. A preflight that finds the same as the one before takes its place and tells nobody.
//   - Checks, notes and reports hold ids, labels of connections and plain words, no personal data.
//   - Times and judgement are those of rules/weddingday and rules/weddingcare. The freeze itself does not rest on anything stored
//     here: it follows from the bookings.
//
// # Testing
//
// go test ./internal/weddings runs on PostgreSQL. The timers are tried by the workflow: go test ./workflows -run Wedding.
package weddings

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	actor = "system:wedding"
	// mostBoost is how far ahead probes are made faster at once; a longer wedding has it prolonged while it goes on.
	mostBoost   = 29 * 24 * time.Hour
	purgeAtOnce = 100
)

// Looked is what a look found.
type Looked struct {
	Care domain.WeddingCare
	// Preflight says why one is to be made now; "" = none is due. Connections are those that are to be asked for it.
	Preflight   domain.PreflightKind
	Connections []domain.IntegrationID
	// FailOver are connections that tell of no news any more on the day, and that no reading worked of since: they are to be read
	// at once.
	FailOver []domain.IntegrationID
	Done     bool // nothing is left to do
}

// Look finds out what is due for a wedding, and moves its care on. A booking that is no wedding to come and never was is Done.
func Look(ctx context.Context, tx *store.Tx, wedding domain.BookingID) (Looked, error) {
	if err := tx.LockWedding(ctx, wedding); err != nil {
		return Looked{}, err
	}
	c, err := tx.WeddingCare(ctx, wedding, true)
	known := err == nil
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return Looked{}, err
	}
	ended := Looked{Care: domain.WeddingCare{BookingID: wedding, OrgID: tx.Org, State: domain.CareEnded}, Done: true}
	b, err := tx.Booking(ctx, wedding)
	if domain.KindOf(err) == domain.KindNotFound {
		return ended, nil
	}
	if err != nil {
		return Looked{}, err
	}
	l := &looker{tx: tx, c: c, b: b}
	if !holds(b, tx.Now) {
		if !known || c.State.Over() {
			return ended, nil
		}
		return l.finish(ctx, domain.CareEnded, "it is cancelled, or no wedding any more")
	}
	now, err := planned(ctx, tx, b)
	if err != nil {
		return Looked{}, err
	}
	moved := !known || differs(c, now)
	late := !tx.Now.Before(now.DayUntil)
	switch {
	case !known && late, known && c.State.Over() && !moved:
		l.c.NextAt = time.Time{}
		if !known {
			return ended, nil
		}
		if c.State == domain.CareHandedOver || late {
			return Looked{Care: c, Done: true}, nil
		}
		moved = true // it was cancelled, and holds again
	case known && moved && late:
		if c.State.Over() {
			return Looked{Care: c, Done: true}, nil
		}
		if c.State == domain.CareDay && c.DayFrom.Equal(now.DayFrom) {
			break // its day went on and is over now, which is told as any other end of a day
		}
		l.take(now)
		return l.finish(ctx, domain.CareEnded, "it was moved into the past")
	}
	if moved {
		l.take(now)
	}
	return l.proceed(ctx)
}

// holds reports whether a booking is a wedding that is looked after.
func holds(b domain.Booking, now time.Time) bool {
	return b.Category == domain.CategoryWedding && b.Blocks() && b.MergedInto == "" && !b.Lapsed(now)
}

// planned is the care as the booking asks for it.
func planned(ctx context.Context, tx *store.Tx, b domain.Booking) (domain.WeddingCare, error) {
	r, err := tx.Resource(ctx, b.ResourceID)
	if err != nil {
		return domain.WeddingCare{}, err
	}
	settings, err := tx.FreezeSettings(ctx)
	if err != nil {
		return domain.WeddingCare{}, err
	}
	loc := weddingday.ZoneOf(b.When.Zone, r.Zone)
	t := weddingday.Plan(b.When.Start, b.When.End, loc, weddingday.PeriodsOf(settings))
	return domain.WeddingCare{BookingID: b.ID, OrgID: tx.Org, ResourceID: b.ResourceID, StartsAt: b.When.Start, EndsAt: b.When.End, Zone: loc.String(),
		Date: calendartime.DateOf(b.When.Start, loc).String(), PreflightWeek: t.PreflightWeek.UTC(), PreflightFreeze: t.PreflightFreeze.UTC(),
		FreezeFrom: t.FreezeFrom.UTC(), DayFrom: t.DayFrom.UTC(), DayUntil: t.DayUntil.UTC()}, nil
}

func differs(a, b domain.WeddingCare) bool {
	return !a.StartsAt.Equal(b.StartsAt) || !a.EndsAt.Equal(b.EndsAt) || a.Zone != b.Zone || a.ResourceID != b.ResourceID ||
		!a.DayFrom.Equal(b.DayFrom) || !a.DayUntil.Equal(b.DayUntil) || !a.FreezeFrom.Equal(b.FreezeFrom) ||
		!a.PreflightWeek.Equal(b.PreflightWeek) || !a.PreflightFreeze.Equal(b.PreflightFreeze)
}

// looker is one look at one wedding.
type looker struct {
	tx *store.Tx
	c  domain.WeddingCare
	b  domain.Booking
}

// take gives the care new times. What was found out for other times says nothing of these.
func (l *looker) take(now domain.WeddingCare) {
	now.State, now.WantedAt, now.WantedBy, now.Told, now.Version = l.c.State, l.c.WantedAt, l.c.WantedBy, l.c.Told, l.c.Version
	if now.State.Over() {
		now.State, now.Told, now.WantedAt, now.WantedBy = "", nil, nil, ""
	}
	l.c = now
}

// proceed moves the care to where the time says it is, and does what belongs to it.
func (l *looker) proceed(ctx context.Context) (Looked, error) {
	tx := l.tx
	phase := weddingcare.Phase(l.c, tx.Now)
	if phase == domain.CareHandedOver {
		return l.handOver(ctx)
	}
	was := l.c.State
	if phase != was {
		if err := l.move(ctx, phase, reasons[phase]); err != nil {
			return Looked{}, err
		}
	}
	out := Looked{}
	switch {
	case phase == domain.CareDay:
		// The care must be there before notes about its day are.
		if err := tx.SaveWeddingCare(ctx, l.c); err != nil {
			return Looked{}, err
		}
		var err error
		if out.FailOver, err = l.watch(ctx); err != nil {
			return Looked{}, err
		}
	case was == domain.CareDay:
		if err := l.release(ctx, nil); err != nil {
			return Looked{}, err
		}
	}
	if kind, due := weddingcare.Due(l.c, tx.Now); due {
		out.Preflight = kind
		reach, err := reachOf(ctx, tx, l.b)
		if err != nil {
			return Looked{}, err
		}
		for _, i := range reach {
			if i.State == domain.IntegrationActive {
				out.Connections = append(out.Connections, i.ID)
			}
		}
	}
	l.c.NextAt = weddingcare.Next(l.c, tx.Now)
	if err := tx.SaveWeddingCare(ctx, l.c); err != nil {
		return Looked{}, err
	}
	out.Care = l.c
	return out, nil
}

var reasons = map[domain.CareState]string{
	domain.CareWaiting:   "the first look at the wedding is not due yet",
	domain.CarePreflight: "the first look at the wedding is due",
	domain.CareFrozen:    "the freeze of the wedding begins: nothing risky happens by itself",
	domain.CareDay:       "it is the day of the wedding",
}

// move puts the care into a state, and tells of it.
func (l *looker) move(ctx context.Context, to domain.CareState, why string) error {
	was := l.c.State
	l.c.State = to
	refs := map[string]string{"booking": string(l.c.BookingID), "state": string(to), "was": string(was), "date": l.c.Date, "resource": string(l.c.ResourceID)}
	if to == domain.CareFrozen || to == domain.CareDay && was != domain.CareFrozen {
		refs["told"] = "frozen" // also of a wedding that is booked so late that its day comes first
	}
	if err := l.tx.Emit(ctx, domain.TopicWeddingChanged, refs); err != nil {
		return err
	}
	return l.tx.Audit(ctx, domain.AuditEntry{Actor: actor, Action: "wedding." + verbs[to], Reason: why, Subject: "booking/" + string(l.c.BookingID),
		Before: map[string]string{"state": string(was)}, After: map[string]string{"state": string(to), "date": l.c.Date}})
}

var verbs = map[domain.CareState]string{domain.CareWaiting: "wait", domain.CarePreflight: "watch", domain.CareFrozen: "freeze", domain.CareDay: "day",
	domain.CareHandedOver: "hand_over", domain.CareEnded: "end"}

// finish ends the care without a report.
func (l *looker) finish(ctx context.Context, to domain.CareState, why string) (Looked, error) {
	if err := l.release(ctx, nil); err != nil {
		return Looked{}, err
	}
	if err := l.move(ctx, to, why); err != nil {
		return Looked{}, err
	}
	l.c.NextAt, l.c.WantedAt, l.c.WantedBy, l.c.Told = time.Time{}, nil, "", nil
	if err := l.tx.SaveWeddingCare(ctx, l.c); err != nil {
		return Looked{}, err
	}
	return Looked{Care: l.c, Done: true}, nil
}

// reachOf are the connections that a wedding rests on: those of its resource and of the vendors of its timeline, and those that
// show it.
func reachOf(ctx context.Context, tx *store.Tx, b domain.Booking) ([]domain.Integration, error) {
	resources := []domain.ResourceID{b.ResourceID}
	t, err := tx.Timeline(ctx, b.ID, false)
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return nil, err
	}
	for _, item := range t.Items {
		if item.ResourceID != "" && !slices.Contains(resources, item.ResourceID) {
			resources = append(resources, item.ResourceID)
		}
	}
	return tx.WeddingReach(ctx, b.ID, resources)
}

// bookingsOf are the wedding and what stands for its timeline in vendors' calendars.
func bookingsOf(ctx context.Context, tx *store.Tx, wedding domain.BookingID) ([]domain.BookingID, error) {
	t, err := tx.Timeline(ctx, wedding, false)
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return nil, err
	}
	out := []domain.BookingID{wedding}
	for _, id := range t.Exported {
		out = append(out, id)
	}
	slices.Sort(out[1:])
	return out, nil
}
