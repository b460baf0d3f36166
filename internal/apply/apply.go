// Package apply carries changes to bookings out: it reads what concerns them under locks, asks rules/reconcile for the
// decision, adds ranked ways out to the conflicts found, and stores everything in the caller's transaction together
// with the audit lines, the live events and the work for other systems.
//
// Webhooks, listings, people and resolutions all come through here, so there is one place where a double-booking is
// noticed, and it is the transaction that creates it: resources are locked first, so of two simultaneous changes the
// second sees the first. Applying the same changes again has no effect.
//
// A batch costs a handful of round trips whatever its size. Test it on real Postgres (go test ./internal/apply).
package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/place"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// MaxBatch is the number of changes that one call accepts.
const MaxBatch = 1000

// Result tells what a call did.
type Result struct {
	Outcomes  []reconcile.Outcome // one per change
	Bookings  []domain.BookingID  // altered
	Opened    []domain.ConflictID
	Cleared   []domain.ConflictID
	PushedTo  []domain.IntegrationID // systems that have something to be written now
	Pushes    []domain.Push          // what is to be written there
	conflicts []domain.Conflict
	// Clashes are all that the altered bookings have now: new ones, known ones, and those that a person accepted.
	Clashes []conflict.Found
	// Reread says that the page behind the changes is older than what is known of one of its entries. Nothing was stored;
	// the caller reads the page again.
	Reread bool
}

// Conflicts returns the conflicts opened, with their alternatives.
func (r Result) Conflicts() []domain.Conflict { return r.conflicts }

// Changes applies changes read from one integration, in order. causes go into the history of the bookings: one for all
// changes or one for each; without any the integration is named.
func Changes(ctx context.Context, tx *store.Tx, from domain.Integration, changes []domain.Change, causes ...domain.Cause) (Result, error) {
	return Page(ctx, tx, from, changes, time.Time{}, causes...)
}

// Page is Changes for a page of a listing that was asked for at readAt, by the clock of the store. What was learned or
// written since is not undone by it: see Result.Reread.
func Page(ctx context.Context, tx *store.Tx, from domain.Integration, changes []domain.Change, readAt time.Time, causes ...domain.Cause) (Result, error) {
	items := make([]reconcile.Item, len(changes))
	for i := range changes {
		items[i].Change = &changes[i]
	}
	return run(ctx, tx, from, items, readAt, actor{name: "system:integration/" + string(from.ID), reason: "reported by the connected system", causes: causes})
}

// Settle carries out a person's choice about an edit conflict. by and reason are as for Manual. One that is closed, or has
// another version than expectVersion, is KindConflict.
func Settle(ctx context.Context, tx *store.Tx, id domain.EditConflictID, choice domain.EditChoice, expectVersion int64, by, reason string) (Result, error) {
	switch choice {
	case domain.ChooseSource, domain.ChooseCopy, domain.ChooseBoth:
	default:
		return Result{}, domain.Invalid("choice", "must be source, copy or both")
	}
	e, err := tx.EditConflict(ctx, id)
	if err != nil {
		return Result{}, err
	}
	from, err := tx.Integration(ctx, e.IntegrationID)
	if err != nil {
		return Result{}, err
	}
	r, err := run(ctx, tx, from, []reconcile.Item{{Settle: &reconcile.Settle{Edit: e, Choice: choice}}}, time.Time{},
		actor{name: by, reason: reason, causes: []domain.Cause{{Kind: domain.CausePerson, ID: by}}})
	if err == nil && r.Outcomes[0].Effect == reconcile.EffectRejected {
		err = domain.E(domain.KindConflict, "%s", r.Outcomes[0].Reason)
	}
	if err != nil {
		return r, err
	}
	e.Choice, e.By, e.Reason = choice, by, reason
	return r, tx.ResolveEditConflict(ctx, e, expectVersion)
}

// Manual applies a booking as a person or a resolution wants it. by is a token subject or "system:<part>"; reason goes
// into the audit trail. Without a cause the history names by.
func Manual(ctx context.Context, tx *store.Tx, want domain.Booking, by, reason string, cause ...domain.Cause) (Result, error) {
	r, err := run(ctx, tx, domain.Integration{}, []reconcile.Item{{Manual: &want}}, time.Time{}, actor{name: by, reason: reason, causes: cause})
	if err == nil && r.Outcomes[0].Effect == reconcile.EffectRejected {
		return r, domain.E(domain.KindInvalid, "%s", r.Outcomes[0].Reason)
	}
	return r, err
}

// Several is Manual for several bookings, which change together: what one of them leaves is free for another, and the
// clashes are those that remain when all have changed. Each booking is there once.
func Several(ctx context.Context, tx *store.Tx, want []domain.Booking, by, reason string, cause ...domain.Cause) (Result, error) {
	items := make([]reconcile.Item, len(want))
	for i := range want {
		items[i].Manual = &want[i]
	}
	r, err := run(ctx, tx, domain.Integration{}, items, time.Time{}, actor{name: by, reason: reason, causes: cause})
	for _, o := range r.Outcomes {
		if err == nil && o.Effect == reconcile.EffectRejected {
			return r, domain.E(domain.KindInvalid, "%s", o.Reason)
		}
	}
	return r, err
}

// asked are those of the bookings that both sides changed, or that are weddings and would be none, about which no policy and
// no system decides now, because a wedding is near or on: one of the versions would be lost, or the freeze would end.
func asked(ctx context.Context, tx *store.Tx, in reconcile.Input, judged []domain.BookingID) (map[domain.BookingID]bool, error) {
	now, err := freeze.Look(ctx, tx)
	if err != nil || !now.Frozen() {
		return nil, err
	}
	out := map[domain.BookingID]bool{}
	for _, id := range judged {
		if b, ok := in.Bookings[id]; ok && now.Stops(b.When.Span) {
			out[id] = true
		}
	}
	return out, nil
}

type actor struct {
	name, reason string
	causes       []domain.Cause // see Changes
}

func run(ctx context.Context, tx *store.Tx, from domain.Integration, items []reconcile.Item, readAt time.Time, who actor) (Result, error) {
	if len(items) == 0 {
		return Result{}, nil
	}
	if len(items) > MaxBatch {
		return Result{}, domain.Invalid("changes", "at most %d at once, got %d", MaxBatch, len(items))
	}
	known, err := gather(ctx, tx, from, items)
	if err != nil {
		return Result{}, err
	}
	known.ReadAt = readAt
	in := known.Input
	plan := reconcile.Decide(in)
	if len(plan.Judged) > 0 {
		if in.Ask, err = asked(ctx, tx, in, plan.Judged); err != nil {
			return Result{}, err
		}
		if len(in.Ask) > 0 {
			plan = reconcile.Decide(in)
		}
	}
	result := Result{Outcomes: plan.Outcomes, Clashes: plan.Clashes, Reread: plan.Reread}
	if plan.Empty() || plan.Reread {
		return result, nil
	}
	carry(ctx, items, &plan)
	if err := propose(ctx, tx, in, &plan); err != nil {
		return Result{}, err
	}
	if err := keep(ctx, tx, in, plan, history(in, plan, who)); err != nil {
		return Result{}, err
	}
	if err := tell(ctx, tx, plan, who); err != nil {
		return Result{}, err
	}
	for _, b := range plan.Bookings {
		result.Bookings = append(result.Bookings, b.Booking.ID)
	}
	for _, c := range plan.Opened {
		result.Opened = append(result.Opened, c.ID)
	}
	for _, c := range plan.Cleared {
		result.Cleared = append(result.Cleared, c.ID)
	}
	for _, p := range plan.Pushes {
		if !slices.Contains(result.PushedTo, p.IntegrationID) {
			result.PushedTo = append(result.PushedTo, p.IntegrationID)
		}
	}
	result.conflicts, result.Pushes = plan.Opened, plan.Pushes
	return result, nil
}

// knowledge is the input of a decision while it is gathered.
type knowledge struct {
	reconcile.Input
	fresh []domain.Change // upserts of entries without a link
}

// gather reads everything that the decision may need. Links and resources come first; then the resources are locked,
// and what is read after that is what the decision rests on.
func gather(ctx context.Context, tx *store.Tx, from domain.Integration, items []reconcile.Item) (*knowledge, error) {
	in := &knowledge{}
	in.Input = reconcile.Input{Now: tx.Now, Org: tx.Org, From: from, Items: items, Resources: map[domain.ResourceID]reconcile.Resource{},
		Occupied: map[domain.ResourceID][]reconcile.Occupied{}}
	keys := store.LinkKeys{Integration: from.ID}
	for _, it := range items {
		if it.Manual != nil {
			keys.Bookings = append(keys.Bookings, it.Manual.ID)
			continue
		}
		if it.Settle != nil {
			keys.ExternalIDs, keys.Bookings = append(keys.ExternalIDs, it.Settle.Edit.ExternalID), append(keys.Bookings, it.Settle.Edit.BookingID)
			continue
		}
		if it.Change == nil {
			keys.Bookings = append(keys.Bookings, bookingsOf(it)...)
			continue
		}
		keys.ExternalIDs = append(keys.ExternalIDs, it.Change.ExternalID)
		if it.Change.Op == domain.OpRemove {
			keys.Removed = append(keys.Removed, it.Change.ExternalID)
		}
		if it.Change.UID != "" {
			keys.UIDs = append(keys.UIDs, it.Change.UID)
		}
		for _, marked := range []domain.BookingID{it.Change.Origin, it.Change.CopyOf} {
			if marked != "" {
				keys.Bookings = append(keys.Bookings, marked)
			}
		}
	}
	// Resources are locked before anything is read. Which ones are concerned depends on bookings that could be moved to
	// another resource meanwhile, so the look-up is repeated until the lock covers what it found.
	want := map[domain.ResourceID]bool{}
	if from.ResourceID != "" {
		want[from.ResourceID] = true
	}
	for _, it := range items {
		if it.Manual != nil {
			want[it.Manual.ResourceID] = true
		}
	}
	var (
		near  []store.BusyAllocation
		known store.KnownConflicts
	)
	for try := 0; ; try++ {
		if try > 3 {
			return in, domain.E(domain.KindUnavailable, "bookings moved between resources while they were read")
		}
		var (
			resources []domain.Resource
			bookings  []domain.Booking
		)
		first := tx.Reads()
		first.LockResources(slices.Collect(maps.Keys(want)), &resources)
		first.Links(keys, &in.Links)
		first.Linked(keys, &bookings)
		first.Exporting(&in.Exports)
		if err := first.Do(ctx); err != nil {
			return in, err
		}
		if err := in.know(resources); err != nil {
			return in, err
		}
		locked := maps.Clone(want)
		in.Bookings = make(map[domain.BookingID]domain.Booking, len(bookings))
		for _, b := range bookings {
			in.Bookings[b.ID] = b
			want[b.ResourceID] = true
		}
		if maps.Equal(want, locked) {
			break
		}
	}
	var (
		venues []domain.Venue
		judged []domain.LinkChoice
	)
	second := tx.Reads()
	second.AllocationsNear(in.stretches(), &near)
	second.Conflicts(slices.Sorted(maps.Keys(in.Bookings)), &known)
	placed := in.namesPlaces()
	if placed {
		second.Venues(&venues)
	}
	if len(in.fresh) > 0 {
		second.LinkChoices(slices.Sorted(maps.Keys(in.Bookings)), &in.Choices)
	}
	if err := second.Do(ctx); err != nil {
		return in, err
	}
	alike := in.occupy(near)
	concerned := slices.Clone(alike)
	for id, list := range in.Occupied {
		// Where several may be served at once, one that moves can end the conflict of two others.
		if in.Resources[id].Capacity > 1 {
			for _, o := range list {
				concerned = append(concerned, o.BookingID)
			}
		}
	}
	if len(concerned) > 0 {
		var (
			more  []domain.Booking
			links []domain.Link
		)
		concerned = slices.AppendSeq(concerned, maps.Keys(in.Bookings))
		slices.Sort(concerned)
		third := tx.Reads()
		third.Conflicts(slices.Compact(concerned), &known)
		if len(alike) > 0 {
			third.Bookings(alike, &more)
			third.Links(store.LinkKeys{Bookings: alike}, &links)
			third.LinkChoices(alike, &judged)
			if !placed {
				third.Venues(&venues)
			}
		}
		if err := third.Do(ctx); err != nil {
			return in, err
		}
		for _, b := range more {
			in.Bookings[b.ID] = b
		}
		in.Links, in.Choices = append(in.Links, links...), append(in.Choices, judged...)
	}
	in.Places = place.Learn(venues)
	in.Conflicts, in.Dismissed = known.Open, known.Dismissed
	return in, nil
}

// know takes resources over with their zones loaded.
func (in *knowledge) know(resources []domain.Resource) error {
	for _, r := range resources {
		loc, err := calendartime.LoadZone(r.Zone)
		if err != nil {
			return fmt.Errorf("zone of resource %s: %w", r.ID, err)
		}
		in.Resources[r.ID] = reconcile.Resource{Resource: r, Loc: loc}
	}
	return nil
}

// stretches lists the times around every old and new time, in which allocations matter. It also remembers the changes
// that no link is known for.
func (in *knowledge) stretches() []store.Near {
	var near []store.Near
	around := func(id domain.ResourceID, w domain.When, c domain.Category) {
		if res, ok := in.Resources[id]; ok && w.Valid() {
			near = append(near, store.Near{Resource: id, Span: reconcile.Reach(conflict.Busy(res.Resource, conflict.EventOf(w, res.Loc), c))})
		}
	}
	for _, b := range in.Bookings {
		around(b.ResourceID, b.When, b.Category)
	}
	linked := map[string]domain.BookingID{}
	for _, l := range in.Links {
		if l.IntegrationID == in.From.ID {
			linked[l.ExternalID] = l.BookingID
		}
	}
	in.fresh = nil
	times := map[string]int{}
	for _, it := range in.Items {
		if it.Change != nil {
			times[it.Change.ExternalID]++
		}
	}
	for _, it := range in.Items {
		switch {
		case it.Manual != nil:
			around(it.Manual.ResourceID, it.Manual.When, it.Manual.Category)
		case it.Settle != nil:
			around(in.Bookings[it.Settle.Edit.BookingID].ResourceID, it.Settle.Edit.There.When, domain.CategoryWedding)
		case it.Change == nil:
			// Of these the bookings are known already, times included.
		case it.Change.Op != domain.OpUpsert:
		case linked[it.Change.ExternalID] == "" && it.Change.Origin == "" && times[it.Change.ExternalID] == 1:
			// Most of a first listing: read widely, each page would bring half the calendar along.
			if res, ok := in.Resources[in.From.ResourceID]; ok && it.Change.When.Valid() {
				near = append(near, store.Near{Resource: in.From.ResourceID, Span: reconcile.ReachOfNew(res, *it.Change)})
			}
			in.fresh = append(in.fresh, *it.Change)
		default:
			around(in.From.ResourceID, it.Change.When, it.Change.Category)
			// A mirror edited by a person keeps the booking's category, which may have wider buffers.
			around(in.From.ResourceID, it.Change.When, domain.CategoryWedding)
			if id, ok := linked[it.Change.ExternalID]; ok {
				// Somebody may have given the booking to another resource; there it stays when its time changes.
				around(in.Bookings[id].ResourceID, it.Change.When, domain.CategoryWedding)
			} else {
				in.fresh = append(in.fresh, *it.Change)
			}
		}
	}
	return near
}

// occupy takes allocations over, and names the bookings that a new entry may be alike to.
func (in *knowledge) occupy(near []store.BusyAllocation) []domain.BookingID {
	alike := map[domain.BookingID]bool{}
	stretch := func(t time.Time) int64 { return t.Unix() / int64(reconcile.NearTime/time.Second) }
	fresh := make(map[int64][]int, len(in.fresh))
	for i, c := range in.fresh {
		fresh[stretch(c.When.Start)] = append(fresh[stretch(c.When.Start)], i)
	}
	for _, a := range near {
		in.Occupied[a.ResourceID] = append(in.Occupied[a.ResourceID], reconcile.Occupied{AllocationID: a.ID, HeldUntil: a.ExpiresAt,
			Occupied: conflict.Occupied{Candidate: candidate(a), Slot: a.Slot, Exclusive: a.Exclusive}})
		if _, known := in.Bookings[a.BookingID]; known || a.ResourceID != in.From.ResourceID {
			continue
		}
		// What begins near it is in the same stretch or in one beside it.
		for at := stretch(a.Event.Start) - 1; at <= stretch(a.Event.Start)+1; at++ {
			for _, i := range fresh[at] {
				if w := in.fresh[i].When; nearTime(a.Event.Start, w.Start) && nearTime(a.Event.End, w.End) {
					alike[a.BookingID] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(alike))
}

func nearTime(a, b time.Time) bool { return a.Sub(b).Abs() <= reconcile.NearTime }

func candidate(a store.BusyAllocation) conflict.Candidate {
	return conflict.Candidate{BookingID: a.BookingID, Category: a.Category, Status: a.Status, Event: a.Event, Busy: a.Busy, Place: a.Place, CreatedAt: a.BookedAt}
}

// Candidate is a stored allocation as the rules see it.
func Candidate(a store.BusyAllocation) conflict.Candidate { return candidate(a) }

// bookingsOf lists the bookings that a person's word or a new look concerns.
func bookingsOf(it reconcile.Item) []domain.BookingID {
	switch {
	case it.Join != nil:
		return append([]domain.BookingID{it.Join.Keep, it.Join.Drop}, it.Join.Along...)
	case it.Part != nil && it.Part.Back != "":
		return append([]domain.BookingID{it.Part.From, it.Part.Back}, it.Part.Along...)
	case it.Part != nil:
		return []domain.BookingID{it.Part.From}
	case it.Rejudge != "":
		return []domain.BookingID{it.Rejudge}
	}
	return nil
}

// namesPlaces reports whether anything could be at a known venue.
func (in *knowledge) namesPlaces() bool {
	for _, b := range in.Bookings {
		if b.Details.Location != "" {
			return true
		}
	}
	return slices.ContainsFunc(in.Items, func(it reconcile.Item) bool {
		return it.Change != nil && it.Change.Details.Location != "" || it.Manual != nil && it.Manual.Details.Location != "" ||
			it.Settle != nil && it.Settle.Edit.There.Details.Location != ""
	})
}
