// Package timelines keeps the order of a wedding day beside its booking, and the bookings that stand for its items in
// vendors' calendars.
//
// Set stores a plan; Follow brings what was exported to where the wedding is now; both do so in the caller's transaction,
// through apply, so the vendors' other bookings are checked for conflicts and their calendars are written like for any
// change. Of an exported booking the plan has the last word: what a vendor moved in a calendar is shown as drift until the
// plan or the wedding changes, and is put back then. Items of the wedding's own resource are never exported, because the
// wedding's booking takes that time already.
//
// What a vendor cannot keep of the timeline is a conflict of the vendor's resource and the wedding's booking, of kind timeline:
// it opens, changes and clears in the transaction that changes the timeline.
//
// The times come from rules/timeline. Test it with go test ./internal/timelines (needs PostgreSQL).
package timelines

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/share"
	"github.com/wedsync/wedsync/internal/rules/timeline"
	"github.com/wedsync/wedsync/internal/store"
)

// View is a timeline with what follows from it.
type View struct {
	domain.Timeline
	Zone    string           // of the wedding; times are shown in it
	Times   []Time           // in the order of the plan's items
	Clashes []timeline.Clash // pairs of items that do not go together
}

// Drift says how an exported booking differs from the plan.
type Drift string

// The ways to differ.
const (
	DriftNone      Drift = ""
	DriftMoved     Drift = "moved"     // it is at another time
	DriftCancelled Drift = "cancelled" // somebody cancelled it
)

// Time is when an item takes place.
type Time struct {
	domain.Span
	BookingID domain.BookingID // "" when the item is not exported
	Drift     Drift
	// Confirmed is the vendor's last word about the item, nil without one; Outdated says that the item changed since.
	Confirmed *domain.Confirmation
	Outdated  bool
}

// Read shows the timeline of a wedding; KindNotFound when it has none.
func Read(ctx context.Context, tx *store.Tx, wedding domain.BookingID) (View, error) {
	t, err := tx.Timeline(ctx, wedding, false)
	if err != nil {
		return View{}, err
	}
	return view(ctx, tx, t)
}

func view(ctx context.Context, tx *store.Tx, t domain.Timeline) (View, error) {
	wedding, err := tx.Booking(ctx, t.BookingID)
	if err != nil {
		return View{}, err
	}
	spans, err := timeline.Resolve(t.Items, wedding.When.Start, "")
	if err != nil {
		return View{}, err
	}
	confirmed, err := tx.Confirmations(ctx, t.BookingID)
	if err != nil {
		return View{}, err
	}
	clashes, err := clashesOf(ctx, tx, t.TimelinePlan, spans)
	if err != nil {
		return View{}, err
	}
	v := View{Timeline: t, Zone: wedding.When.Zone, Times: make([]Time, len(t.Items)), Clashes: clashes}
	for i, item := range t.Items {
		v.Times[i].Span = spans[item.Key]
		if c := share.Latest(confirmed, item); c != nil {
			v.Times[i].Confirmed, v.Times[i].Outdated = c, c.Revision != share.Revision(item, spans[item.Key])
		}
		id, ok := t.Exported[item.Key]
		if !ok {
			continue
		}
		b, err := tx.Booking(ctx, id)
		if err != nil {
			return View{}, err
		}
		v.Times[i].BookingID = id
		switch {
		case wedding.Status == domain.StatusCancelled:
		case b.Status == domain.StatusCancelled:
			v.Times[i].Drift = DriftCancelled
		case !b.When.Start.Equal(spans[item.Key].Start) || !b.When.End.Equal(spans[item.Key].End):
			v.Times[i].Drift = DriftMoved
		}
	}
	return v, nil
}

// Set stores a plan for a wedding and exports it. expect is the version that the plan was made from; 0 for a wedding
// without a timeline. Errors: KindInvalid with the path of the field below prefix, KindNotFound for an unknown booking,
// KindConflict when somebody else changed the timeline meanwhile.
func Set(ctx context.Context, tx *store.Tx, wedding domain.BookingID, plan domain.TimelinePlan, expect int64, by, prefix string) (View, error) {
	if err := plan.Validate(prefix); err != nil {
		return View{}, err
	}
	b, err := tx.Booking(ctx, wedding)
	if err != nil {
		return View{}, err
	}
	if b.Category != domain.CategoryWedding {
		return View{}, domain.Invalid("id", "only a wedding has a timeline; this booking is of category %s", b.Category)
	}
	if b.Status == domain.StatusCancelled {
		return View{}, domain.E(domain.KindConflict, "the wedding is cancelled")
	}
	if _, err := timeline.Resolve(plan.Items, b.When.Start, prefix); err != nil {
		return View{}, err
	}
	if err := known(ctx, tx, plan, prefix); err != nil {
		return View{}, err
	}
	t, err := tx.Timeline(ctx, wedding, true)
	switch {
	case domain.KindOf(err) == domain.KindNotFound:
		t = domain.Timeline{BookingID: wedding, OrgID: tx.Org}
	case err != nil:
		return View{}, err
	}
	if t.Version != expect {
		return View{}, domain.E(domain.KindConflict, "the timeline has version %d now, not %d; read it again", t.Version, expect)
	}
	t.TimelinePlan = plan
	if err := export(ctx, tx, &t, b, by); err != nil {
		return View{}, err
	}
	t.Version, t.UpdatedAt = expect+1, tx.Now
	if err := tx.SaveTimeline(ctx, t, expect); err != nil {
		return View{}, err
	}
	if err := report(ctx, tx, t, b); err != nil {
		return View{}, err
	}
	if err := audit(ctx, tx, t, by, "timeline.set"); err != nil {
		return View{}, err
	}
	return view(ctx, tx, t)
}

// known refuses items of resources that the organisation does not have.
func known(ctx context.Context, tx *store.Tx, plan domain.TimelinePlan, prefix string) error {
	for i, item := range plan.Items {
		if item.ResourceID == "" {
			continue
		}
		if _, err := tx.Resource(ctx, item.ResourceID); domain.KindOf(err) == domain.KindNotFound {
			return domain.Invalid(prefix+"items["+strconv.Itoa(i)+"].resource_id", "no such resource")
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Follow brings the exported bookings to where the wedding is now. A wedding without a timeline, and one that was followed
// already, is left alone; a cancelled wedding cancels them.
func Follow(ctx context.Context, tx *store.Tx, wedding domain.BookingID, by string) error {
	t, err := tx.Timeline(ctx, wedding, true)
	if domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := tx.Booking(ctx, wedding)
	if err != nil || b.Version == t.Followed {
		return err
	}
	if err := export(ctx, tx, &t, b, by); err != nil {
		return err
	}
	if err := report(ctx, tx, t, b); err != nil {
		return err
	}
	return tx.SaveTimeline(ctx, t, t.Version)
}

// Remove deletes a timeline and cancels what it exported. One that is not there is KindNotFound.
func Remove(ctx context.Context, tx *store.Tx, wedding domain.BookingID, by string) error {
	t, err := tx.Timeline(ctx, wedding, true)
	if err != nil {
		return err
	}
	b, err := tx.Booking(ctx, wedding)
	if err != nil {
		return err
	}
	t.Items = nil
	if err := export(ctx, tx, &t, b, by); err != nil {
		return err
	}
	if err := report(ctx, tx, t, b); err != nil {
		return err
	}
	if err := tx.DeleteTimeline(ctx, wedding); err != nil {
		return err
	}
	return audit(ctx, tx, t, by, "timeline.remove")
}

func audit(ctx context.Context, tx *store.Tx, t domain.Timeline, by, action string) error {
	return tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: action, Reason: "requested", Subject: "booking/" + string(t.BookingID),
		After: map[string]string{"items": strconv.Itoa(len(t.Items)), "exported": strconv.Itoa(len(t.Exported))}})
}

// export makes, moves and cancels bookings until they are what the plan says for the wedding as it is, and notes which
// booking stands for which item.
func export(ctx context.Context, tx *store.Tx, t *domain.Timeline, wedding domain.Booking, by string) error {
	spans, err := timeline.Resolve(t.Items, wedding.When.Start, "")
	if err != nil {
		return err
	}
	wants := map[string]domain.TimelineItem{}
	if wedding.Status != domain.StatusCancelled {
		for _, item := range t.Items {
			if item.Export && item.ResourceID != wedding.ResourceID {
				wants[item.Key] = item
			}
		}
	}
	exported := map[string]domain.BookingID{}
	for _, step := range steps(t.Exported, wants) {
		item, wanted := wants[step.key]
		b, err := current(ctx, tx, step.id)
		if err != nil {
			return err
		}
		now := b
		switch {
		case wanted:
			if b.ID == "" {
				now = domain.Booking{ID: domain.NewID[domain.BookingID](tx.Now), OrgID: tx.Org, Category: domain.CategoryVendor}
			}
			now.ResourceID, now.Status, now.Private = item.ResourceID, wedding.Status, wedding.Private
			now.When = domain.When{Span: spans[item.Key], Zone: wedding.When.Zone, Kind: domain.TimeZoned}
			now.Details.Title, now.Details.Location = item.Title, item.Place
			exported[item.Key] = now.ID
		case b.ID == "" || b.Status == domain.StatusCancelled:
			continue
		default:
			now.Status = domain.StatusCancelled
		}
		if _, err := apply.Manual(ctx, tx, now, by, "the timeline of wedding "+string(wedding.ID)); err != nil {
			return err
		}
	}
	t.Exported, t.Followed = exported, wedding.Version
	return nil
}

// step is an item that has, or is to have, a booking.
type step struct {
	key string
	id  domain.BookingID // "" when it has none
}

// steps are in the order of the items' keys, those to be cancelled first: what they free may be taken by the others.
func steps(have map[string]domain.BookingID, wants map[string]domain.TimelineItem) []step {
	var out []step
	for key, id := range have {
		out = append(out, step{key, id})
	}
	for key := range wants {
		if _, ok := have[key]; !ok {
			out = append(out, step{key: key})
		}
	}
	slices.SortFunc(out, func(a, b step) int {
		_, keepA := wants[a.key]
		_, keepB := wants[b.key]
		if keepA != keepB {
			if keepB {
				return -1
			}
			return 1
		}
		return strings.Compare(a.key, b.key)
	})
	return out
}

func current(ctx context.Context, tx *store.Tx, id domain.BookingID) (domain.Booking, error) {
	if id == "" {
		return domain.Booking{}, nil
	}
	b, err := tx.Booking(ctx, id)
	if err == nil && b.MergedInto != "" {
		// A person said that the vendor's own entry is the same: that booking stands for the item now.
		b, err = tx.Booking(ctx, b.MergedInto)
	}
	return b, err
}
