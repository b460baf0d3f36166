package apply

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/rules/suggest"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
)

// Ways out are looked for in the near future first, and widely only when that offers too few: the second look costs
// several times the first. Both leave room beyond what package suggest proposes, for what could clash there.
const (
	day         = 24 * time.Hour
	nearHorizon = (suggest.Horizon + 4) * day
	wideHorizon = (suggest.WideHorizon + 4) * day
)

// maxProposals bounds how many conflicts of one batch get ways out at once. A first import of a whole calendar may find
// hundreds; the others get theirs when somebody looks at them (Propose).
const maxProposals = 25

// propose adds ranked ways out to the conflicts that are new or changed.
func propose(ctx context.Context, tx *store.Tx, in reconcile.Input, plan *reconcile.Plan) error {
	var unsettled []*domain.Conflict
	for i := range plan.Opened {
		unsettled = append(unsettled, &plan.Opened[i])
	}
	for i := range plan.Updated {
		unsettled = append(unsettled, &plan.Updated[i])
	}
	if len(unsettled) > maxProposals {
		slices.SortStableFunc(unsettled, func(a, b *domain.Conflict) int { return b.Severity.Level() - a.Severity.Level() })
		unsettled = unsettled[:maxProposals]
	}
	if len(unsettled) == 0 {
		return nil
	}
	planned := map[domain.BookingID]domain.Booking{}
	for _, w := range plan.Bookings {
		planned[w.Booking.ID] = w.Booking
	}
	moved := map[domain.BookingID]domain.Allocation{}
	for _, a := range plan.Allocations {
		moved[a.BookingID] = a
	}
	subjects, err := subjectsOf(ctx, tx, in, planned, unsettled)
	if err != nil {
		return err
	}
	for _, c := range unsettled {
		subject, ok := subjects[c.BookingID]
		if !ok {
			continue
		}
		alternatives, err := waysOut(ctx, tx, in.Resources, subject, func(list []store.BusyAllocation) []store.BusyAllocation {
			list = slices.DeleteFunc(list, func(a store.BusyAllocation) bool {
				_, again := moved[a.BookingID]
				return again || slices.Contains(plan.Freed, a.BookingID)
			})
			for _, a := range plan.Allocations {
				list = append(list, store.BusyAllocation{Allocation: a, BookedAt: bookedAt(in, *plan, a.BookingID)})
			}
			return list
		})
		if err != nil {
			return err
		}
		c.Alternatives = alternatives
	}
	return nil
}

// subjectsOf finds the bookings that should give way: as planned, as read, or read now in one go.
func subjectsOf(ctx context.Context, tx *store.Tx, in reconcile.Input, planned map[domain.BookingID]domain.Booking, unsettled []*domain.Conflict) (map[domain.BookingID]domain.Booking, error) {
	out := map[domain.BookingID]domain.Booking{}
	var missing []domain.BookingID
	for _, c := range unsettled {
		if b, ok := planned[c.BookingID]; ok {
			out[b.ID] = b
		} else if b, ok := in.Bookings[c.BookingID]; ok {
			out[b.ID] = b
		} else {
			missing = append(missing, c.BookingID)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	read, err := tx.BookingsByID(ctx, missing)
	maps.Copy(out, read)
	return out, err
}

// Propose looks for ways out of a conflict as things stand now. A timeline that a vendor cannot keep has none: it must be
// changed itself.
func Propose(ctx context.Context, tx *store.Tx, c domain.Conflict) ([]domain.Alternative, error) {
	if c.Kind == domain.ConflictTimeline {
		return nil, nil
	}
	return ProposeFor(ctx, tx, c.BookingID)
}

// ProposeFor looks for other places for a booking as things stand now. A booking that does not exist has none.
func ProposeFor(ctx context.Context, tx *store.Tx, id domain.BookingID) ([]domain.Alternative, error) {
	read, err := tx.BookingsByID(ctx, []domain.BookingID{id})
	if err != nil {
		return nil, err
	}
	subject, ok := read[id]
	if !ok {
		return nil, nil
	}
	return waysOut(ctx, tx, nil, subject, func(list []store.BusyAllocation) []store.BusyAllocation { return list })
}

func waysOut(ctx context.Context, tx *store.Tx, known map[domain.ResourceID]reconcile.Resource, subject domain.Booking,
	overlay func([]store.BusyAllocation) []store.BusyAllocation) ([]domain.Alternative, error) {
	found, err := waysWithin(ctx, tx, known, subject, overlay, nearHorizon)
	if err != nil {
		return nil, err
	}
	for _, a := range found {
		if a.When.Start.Sub(subject.When.Start).Abs() > (suggest.Horizon+1)*day {
			// It went on to dates of which nothing was read.
			return waysWithin(ctx, tx, known, subject, overlay, wideHorizon)
		}
	}
	if len(found) < 3 {
		return waysWithin(ctx, tx, known, subject, overlay, wideHorizon)
	}
	return found, nil
}

func waysWithin(ctx context.Context, tx *store.Tx, known map[domain.ResourceID]reconcile.Resource, subject domain.Booking,
	overlay func([]store.BusyAllocation) []store.BusyAllocation, horizon time.Duration) ([]domain.Alternative, error) {
	// The subject's own calendar is looked through widely, the others' only at its time. All in one round trip.
	var (
		resources []domain.Resource
		own       []store.BusyAllocation
		others    []store.BusyAllocation
		settings  domain.FreezeSettings
	)
	look := tx.Reads()
	look.FreezeSettings(&settings)
	look.Neighbours(reconcile.Reach(subject.When.Span.Pad(48*time.Hour, 48*time.Hour)), &resources, &others)
	look.AllocationsNear([]store.Near{{Resource: subject.ResourceID, Span: subject.When.Span.Pad(horizon, horizon)}}, &own)
	if err := look.Do(ctx); err != nil {
		return nil, err
	}
	all := map[domain.ResourceID]domain.Resource{}
	for _, r := range resources {
		all[r.ID] = r
	}
	if r, ok := known[subject.ResourceID]; ok {
		all[r.ID] = r.Resource
	}
	if _, ok := all[subject.ResourceID]; !ok {
		r, err := tx.Resource(ctx, subject.ResourceID)
		if err != nil {
			return nil, err
		}
		all[r.ID] = r
	}
	for _, a := range others {
		if a.ResourceID != subject.ResourceID {
			own = append(own, a)
		}
	}
	busy := map[domain.ResourceID][]conflict.Candidate{}
	request := suggest.Request{Subject: subject, Now: tx.Now, Max: 5, Freeze: weddingday.PeriodsOf(settings).Freeze}
	for _, a := range overlay(own) {
		if a.BookingID == subject.ID {
			request.Place = a.Place
			continue
		}
		busy[a.ResourceID] = append(busy[a.ResourceID], candidate(a))
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		loc, err := calendartime.LoadZone(all[id].Zone)
		if err != nil {
			return nil, err
		}
		if id == subject.ResourceID {
			request.Resource, request.Loc, request.Busy = all[id], loc, busy[id]
			continue
		}
		request.Others = append(request.Others, suggest.Other{Resource: all[id], Loc: loc, Busy: busy[id]})
	}
	return suggest.Alternatives(request), nil
}

func bookedAt(in reconcile.Input, plan reconcile.Plan, id domain.BookingID) time.Time {
	for _, w := range plan.Bookings {
		if w.Booking.ID == id {
			return w.Booking.CreatedAt
		}
	}
	if b, ok := in.Bookings[id]; ok {
		return b.CreatedAt
	}
	for _, list := range in.Occupied {
		for _, o := range list {
			if o.BookingID == id {
				return o.CreatedAt
			}
		}
	}
	return in.Now
}

// keep stores the plan.
func keep(ctx context.Context, tx *store.Tx, in reconcile.Input, plan reconcile.Plan, changes []domain.BookingChange) error {
	e := store.Effects{Allocations: plan.Allocations, Freed: plan.Freed, Links: plan.Links, Pushes: plan.Pushes, Edits: plan.Edits, Changes: changes,
		BookedAt: make(map[domain.BookingID]time.Time, len(plan.Allocations))}
	for _, w := range plan.Bookings {
		e.Bookings = append(e.Bookings, w.Booking)
	}
	for _, a := range plan.Allocations {
		e.BookedAt[a.BookingID] = bookedAt(in, plan, a.BookingID)
	}
	for _, list := range [][]domain.Conflict{plan.Cleared, plan.Updated, plan.Opened} {
		for _, c := range list {
			e.Conflicts = append(e.Conflicts, store.ConflictRow{Conflict: c, Pair: reconcile.PairKey(c.BookingID, c.OtherID),
				Fingerprint: reconcile.Fingerprint(conflict.Found{Kind: c.Kind, Overlap: c.Overlap}), WeddingDate: weddingDate(in, plan, c)})
		}
	}
	return tx.StoreEffects(ctx, e)
}

// weddingDate is the local date of the wedding that a conflict concerns, "" when it concerns none.
func weddingDate(in reconcile.Input, plan reconcile.Plan, c domain.Conflict) string {
	res, ok := in.Resources[c.ResourceID]
	if !ok {
		return ""
	}
	date := ""
	consider := func(id domain.BookingID, category domain.Category, start time.Time) {
		if (id == c.BookingID || id == c.OtherID) && category == domain.CategoryWedding {
			if d := start.In(res.Loc).Format(time.DateOnly); date == "" || d < date {
				date = d
			}
		}
	}
	for _, w := range plan.Bookings {
		consider(w.Booking.ID, w.Booking.Category, w.Booking.When.Start)
	}
	for _, o := range in.Occupied[c.ResourceID] {
		consider(o.BookingID, o.Category, o.Event.Start)
	}
	return date
}

// tell notes the live events, the audit lines and the work for other systems; they are stored when the transaction
// commits.
func tell(ctx context.Context, tx *store.Tx, plan reconcile.Plan, who actor) error {
	var t teller
	for _, w := range plan.Bookings {
		b := w.Booking
		action, before := "booking.create", map[string]string(nil)
		if w.Was != nil {
			action, before = "booking.change", plain(*w.Was)
			if b.Status == domain.StatusCancelled && w.Was.Status != domain.StatusCancelled {
				action = "booking.cancel"
			}
		}
		t.note(tx.Audit(ctx, domain.AuditEntry{Actor: who.name, Action: action, Reason: who.reason, Subject: "booking/" + string(b.ID),
			Before: before, After: plain(b)}))
		t.note(tx.Emit(ctx, domain.TopicBookingChanged, map[string]string{"booking": string(b.ID), "resource": string(b.ResourceID), "status": string(b.Status)}))
	}
	for _, c := range plan.Opened {
		t.note(tx.Audit(ctx, domain.AuditEntry{Actor: "system:detection", Action: "conflict.open", Reason: c.Explanation, Subject: "conflict/" + string(c.ID),
			After: map[string]string{"booking": string(c.BookingID), "other": string(c.OtherID), "kind": string(c.Kind), "severity": string(c.Severity)}}))
		t.note(tx.Emit(ctx, domain.TopicConflictOpened, refs(c)))
		t.note(tx.Enqueue(ctx, store.OutboxConflictStart, string(c.ID), string(c.BookingID), tx.Now))
	}
	for _, c := range plan.Updated {
		t.note(tx.Emit(ctx, domain.TopicConflictUpdated, refs(c)))
	}
	for _, c := range plan.Cleared {
		t.note(tx.Audit(ctx, domain.AuditEntry{Actor: "system:detection", Action: "conflict.clear", Reason: "the clash disappeared", Subject: "conflict/" + string(c.ID),
			After: map[string]string{"booking": string(c.BookingID), "other": string(c.OtherID)}}))
		t.note(tx.Emit(ctx, domain.TopicConflictClosed, refs(c)))
	}
	for _, r := range plan.Rechecks {
		t.note(tx.Enqueue(ctx, store.OutboxConflictRecheck, string(r.ConflictID), string(r.BookingID), tx.Now))
	}
	for _, e := range plan.Edits {
		action, reason := "edit_conflict.open", "changed here and there since both agreed"
		if e.State != domain.EditOpen {
			action, reason = "edit_conflict.clear", e.Reason
		}
		t.note(tx.Audit(ctx, domain.AuditEntry{Actor: "system:sync", Action: action, Reason: reason, Subject: "edit-conflict/" + string(e.ID),
			After: map[string]string{"booking": string(e.BookingID), "integration": string(e.IntegrationID), "kind": string(e.Kind)}}))
		t.note(tx.Emit(ctx, domain.TopicEditConflict, map[string]string{"edit_conflict": string(e.ID), "booking": string(e.BookingID),
			"integration": string(e.IntegrationID), "state": string(e.State)}))
	}
	told := map[domain.IntegrationID]bool{}
	for _, p := range plan.Pushes {
		if !told[p.IntegrationID] {
			told[p.IntegrationID] = true
			t.note(tx.Enqueue(ctx, store.OutboxPush, string(p.IntegrationID), string(p.BookingID), tx.Now))
		}
	}
	return t.err
}

// teller keeps the first error of many notes.
type teller struct{ err error }

func (t *teller) note(err error) {
	if t.err == nil {
		t.err = err
	}
}

func refs(c domain.Conflict) map[string]string {
	r := map[string]string{"conflict": string(c.ID), "booking": string(c.BookingID), "resource": string(c.ResourceID),
		"severity": string(c.Severity), "kind": string(c.Kind), "state": string(c.State)}
	if c.OtherID != "" {
		r["other"] = string(c.OtherID)
	}
	return r
}

// plain lists the parts of a booking that name nobody.
func plain(b domain.Booking) map[string]string {
	return map[string]string{"resource": string(b.ResourceID), "category": string(b.Category), "status": string(b.Status),
		"start": b.When.Start.UTC().Format(time.RFC3339), "end": b.When.End.UTC().Format(time.RFC3339), "zone": b.When.Zone}
}
