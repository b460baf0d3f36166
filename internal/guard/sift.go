package guard

import (
	"context"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/store"
)

// Reason is what a delivery says whose removal is held.
const Reason = "held: removals that are many at once, or come while a wedding is near or on, wait for a person; see /v1/quarantines"

// frozenReason is what a quarantine says that was opened because of a freeze.
const frozenReason = "a wedding is near or on, so nothing is removed without asking"

// goes reports whether a change ends its entry.
func goes(c domain.Change) bool { return c.Op == domain.OpRemove || c.Status == domain.StatusCancelled }

// Sift finds the changes of one integration that must not be applied now, by their indexes, and holds what they are
// about. since is from when removals count together (see [Since]); cause names what brought a change. Entries that are
// held and are reported as existing are let go of.
//
// Held are those that are many at once, and while a wedding is near or on all that the organisation's settings say. Only
// the entry's last word in the batch counts, by the system's own order where it gives versions. Removals of our own copies, of
// past bookings and of unknown entries pass: they cancel nothing. A batch without removals costs no round trip unless something
// is held.
func Sift(ctx context.Context, tx *store.Tx, i domain.Integration, since time.Time, changes []domain.Change, cause func(n int) domain.Cause) (map[int]bool, error) {
	held, _, err := sift(ctx, tx, i, since, 0, changes, cause)
	return held, err
}

// sift is Sift for who has decided about entries that would go without storing it: already is how many. fresh is how many
// more would go by these changes.
func sift(ctx context.Context, tx *store.Tx, i domain.Integration, since time.Time, already int, changes []domain.Change, cause func(n int) domain.Cause) (held map[int]bool, fresh int, err error) {
	last := make(map[string]int, len(changes))
	for n, c := range changes {
		// An older version that comes late is left alone when it is applied, so it takes no removal back.
		if m, ok := last[c.ExternalID]; !ok || c.RemoteVersion == 0 || c.RemoteVersion >= changes[m].RemoteVersion {
			last[c.ExternalID] = n
		}
	}
	var going []string
	var coming []domain.Change
	for n, c := range changes {
		switch {
		case last[c.ExternalID] != n:
		case goes(c):
			going = append(going, c.ExternalID)
		default:
			coming = append(coming, c)
		}
	}
	if i.Held && len(coming) > 0 {
		if q, changed, err := tx.ComeBack(ctx, i.ID, coming); err != nil {
			return nil, 0, err
		} else if changed {
			if err := tx.Emit(ctx, domain.TopicQuarantineChanged, refs(q)); err != nil {
				return nil, 0, err
			}
		}
	}
	if len(going) == 0 {
		return nil, 0, nil
	}
	links, err := tx.LinksToGo(ctx, i.ID, going)
	if err != nil || len(links) == 0 {
		return nil, 0, err
	}
	f, err := find(ctx, tx, i, since, already, links)
	if err != nil {
		return nil, 0, err
	}
	f.all = i.Guard.Holds(f.removed+f.fresh, f.known)
	h := store.NewHold{Integration: i.ID, Known: f.known, Missing: f.removed + f.fresh, Reason: "the system reported more removals at once than are carried out without asking"}
	if held, err = f.hold(ctx, tx, h, changes, links, cause); err != nil {
		return nil, 0, err
	}
	return held, f.fresh, nil
}

// hold stores the removals that a finding says are held, and returns their indexes.
func (f finding) hold(ctx context.Context, tx *store.Tx, h store.NewHold, changes []domain.Change, links []domain.Link, cause func(n int) domain.Cause) (map[int]bool, error) {
	held := map[int]bool{}
	if !f.all && len(f.frozen) > 0 {
		h.Reason = frozenReason
	}
	var first *domain.Cause
	for n, c := range changes {
		if !goes(c) {
			continue
		}
		for _, l := range links {
			if (l.ExternalID != c.ExternalID && store.Entry(l.ExternalID) != c.ExternalID) || !f.holds(l.ID) {
				continue
			}
			held[n] = true
			if first == nil {
				why := cause(n)
				first, h.Cause = &why, why
			}
			h.Rows = append(h.Rows, domain.HeldRemoval{LinkID: l.ID, BookingID: l.BookingID, Kind: domain.HeldReported, RemoteVersion: c.RemoteVersion})
		}
	}
	if len(held) == 0 {
		return nil, nil
	}
	_, err := hold(ctx, tx, h, "system:guard")
	return held, err
}

// SiftFrozen is Sift for one change that was proved already, such as an entry that was asked for by itself: it is held only
// because a wedding is near or on, whatever the number.
func SiftFrozen(ctx context.Context, tx *store.Tx, i domain.Integration, c domain.Change, cause domain.Cause) (held bool, err error) {
	if !goes(c) {
		return false, nil
	}
	links, err := tx.LinksToGo(ctx, i.ID, []string{c.ExternalID})
	if err != nil || len(links) == 0 {
		return false, err
	}
	var f finding
	if f.frozen, err = frozen(ctx, tx, links); err != nil || len(f.frozen) == 0 {
		return false, err
	}
	all, err := f.hold(ctx, tx, store.NewHold{Integration: i.ID, Known: len(links), Missing: len(links)}, []domain.Change{c}, links, func(int) domain.Cause { return cause })
	return all[0], err
}

// frozen returns the links whose bookings must not go by themselves now, because a wedding is near or on.
func frozen(ctx context.Context, tx *store.Tx, links []domain.Link) (map[domain.LinkID]bool, error) {
	now, err := freeze.Look(ctx, tx)
	if err != nil || !now.Frozen() || len(links) == 0 {
		return nil, err
	}
	ids := make([]domain.BookingID, len(links))
	for n, l := range links {
		ids[n] = l.BookingID
	}
	bookings, err := tx.BookingsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := map[domain.LinkID]bool{}
	for _, l := range links {
		if b, ok := bookings[l.BookingID]; ok && b.Status != domain.StatusCancelled && now.Stops(b.When.Span) {
			out[l.ID] = true
		}
	}
	return out, nil
}

// finding is what is known when it is decided whether removals are held.
type finding struct {
	covered map[domain.LinkID]bool // held already
	frozen  map[domain.LinkID]bool // held because a wedding is near or on
	fresh   int                    // entries that would go and are not held
	removed int                    // entries removed or held since the window began
	known   int                    // entries known then; 0 when removals are few
	all     bool                   // everything is held
}

// holds reports whether the removal of a link waits for a person.
func (f finding) holds(id domain.LinkID) bool { return f.all || f.covered[id] || f.frozen[id] }

func find(ctx context.Context, tx *store.Tx, i domain.Integration, since time.Time, already int, links []domain.Link) (f finding, err error) {
	recent := 0
	if i.Held {
		ids := make([]domain.LinkID, len(links))
		for n, l := range links {
			ids[n] = l.ID
		}
		if f.covered, err = tx.HeldAmong(ctx, i.ID, ids); err != nil {
			return f, err
		}
		open, _, err := tx.Quarantines(ctx, store.QuarantineFilter{State: domain.QuarantineOpen, Integration: i.ID}, store.Page{Limit: 1})
		if err != nil {
			return f, err
		}
		for _, q := range open {
			if !q.UpdatedAt.Before(since) {
				recent = q.Left // the burst goes on
			}
		}
	}
	entries := map[string]bool{}
	for _, l := range links {
		if !f.covered[l.ID] {
			entries[store.Entry(l.ExternalID)] = true
		}
	}
	f.fresh = len(entries)
	f.removed, f.known, err = tx.CountRemovals(ctx, i.ID, since, f.fresh+recent+already, i.Guard.Removals)
	f.removed += recent + already
	if err == nil {
		f.frozen, err = frozen(ctx, tx, links)
	}
	return f, err
}

// SiftAbsent decides about the entries that a full listing did not contain: it returns those that may be proved one by
// one, and how many are held. All are held when the system cannot be asked for single entries, because absence from a
// listing is no proof; and while a wedding is near or on those that the organisation's settings say.
func SiftAbsent(ctx context.Context, tx *store.Tx, i domain.Integration, run domain.SyncRun, unseen []domain.Link, askable bool) (prove []domain.Link, held int, err error) {
	return siftAbsent(ctx, tx, i, run, 0, unseen, askable)
}

// siftAbsent is SiftAbsent with entries that would go already, as in sift.
func siftAbsent(ctx context.Context, tx *store.Tx, i domain.Integration, run domain.SyncRun, already int, unseen []domain.Link, askable bool) (prove []domain.Link, held int, err error) {
	if len(unseen) == 0 {
		return nil, 0, nil
	}
	var own, copies []domain.Link
	for _, l := range unseen {
		if l.Mirror {
			copies = append(copies, l)
		} else {
			own = append(own, l)
		}
	}
	f, err := find(ctx, tx, i, Since(tx.Now, run.StartedAt), already, own)
	if err != nil {
		return nil, 0, err
	}
	reason := "too many entries were missing from a full listing at once"
	if f.all = i.Guard.Holds(f.removed+f.fresh, f.known); !f.all && len(copies) > i.Guard.Removals {
		// Copies that vanish are written anew, but when nearly all do the listing is not to be believed.
		there, err := tx.OwnLinks(ctx, i.ID, true)
		if err != nil {
			return nil, 0, err
		}
		f.all = i.Guard.Holds(len(copies), len(there))
	}
	if !askable {
		f.all, reason = true, "the system cannot be asked for single entries, so their absence proves nothing"
	}
	if !f.all && len(f.frozen) > 0 {
		reason = frozenReason
	}
	h := store.NewHold{Integration: i.ID, Cause: domain.Cause{Kind: domain.CauseSyncRun, ID: string(run.ID)}, Known: f.known, Missing: f.removed + f.fresh, Reason: reason}
	for _, l := range unseen {
		if !f.holds(l.ID) {
			prove = append(prove, l)
			continue
		}
		h.Rows = append(h.Rows, domain.HeldRemoval{LinkID: l.ID, BookingID: l.BookingID, Kind: domain.HeldAbsent})
	}
	if len(h.Rows) == 0 {
		return prove, 0, nil
	}
	_, err = hold(ctx, tx, h, "system:guard")
	return slices.Clip(prove), len(h.Rows), err
}
