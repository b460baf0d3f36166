package holds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/store"
)

// Desk makes and ends holds. Its methods may be called by many goroutines.
type Desk struct {
	Store  *store.Store
	Opener *connect.Opener // tells which systems can be listed
	// Read asks for a reading of a system and returns when it is accepted; the run is stored under its id. Nil reads none,
	// so what is not fresh stays unknown.
	Read func(ctx context.Context, i domain.Integration, run domain.SyncRunID, by string) error
	// ReadWithin bounds the readings before a confirmation, together; 0 = 8 s.
	ReadWithin time.Duration
}

// Wish is what somebody asks to be held. Its JSON is kept, to tell a repeat from another wish.
type Wish struct {
	ResourceID domain.ResourceID `json:"resource_id"`
	Category   domain.Category   `json:"category"` // of the booking that it is to become
	When       domain.When       `json:"when"`
	Details    domain.Details    `json:"details"`
	Private    bool              `json:"private"`
	Shared     bool              `json:"shared"`
	Minutes    int               `json:"expires_in_minutes"` // 1 to 129,600
}

func (w Wish) lasts() time.Duration { return time.Duration(w.Minutes) * time.Minute }

// View is a hold with what belongs to it.
type View struct {
	domain.Hold
	Booking domain.Booking
	Clashes []conflict.Found // that do not stand in its way: outside working hours
	Systems []System         // that show it, or are to
	Sources []diary.Source   // from which it is known that the time is free
}

// Refusal says why something was not done. It unwraps to an error with a domain kind.
type Refusal struct {
	Err     error
	Clashes []conflict.Found     // what is in the way
	Ways    []domain.Alternative // other times and resources
	Unknown []diary.Source       // systems that could not be read
}

// Error is the text of the error within.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the error within.
func (r *Refusal) Unwrap() error { return r.Err }

func checkLasts(field string, lasts time.Duration) error {
	if lasts < domain.MinHold || lasts > domain.MaxHold {
		return domain.Invalid(field, "must be 1 to %d", int(domain.MaxHold/time.Minute))
	}
	return nil
}

// Place makes a hold. id is chosen by the caller: the same one again is the same hold. by and reason are as for
// apply.Manual. Refused with KindConflict when something is in the way; being outside working hours is not.
func (d *Desk) Place(ctx context.Context, org domain.OrgID, id domain.BookingID, w Wish, by, reason string) (View, error) {
	if err := checkLasts("expires_in_minutes", w.lasts()); err != nil {
		return View{}, err
	}
	request, err := json.Marshal(w)
	if err != nil {
		return View{}, domain.E(domain.KindInternal, "encode the wish: %w", err)
	}
	var v View
	err = d.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		v = View{}
		if err := tx.LockName(ctx, id); err != nil {
			return err
		}
		_, had, err := tx.HoldRequest(ctx, id)
		if err == nil {
			if err := sameWish(had, request); err != nil {
				return err
			}
			v, err = view(ctx, tx, id)
			return err
		}
		if domain.KindOf(err) != domain.KindNotFound {
			return err
		}
		b := domain.Booking{ID: id, OrgID: tx.Org, ResourceID: w.ResourceID, Category: w.Category, Status: domain.StatusTentative, When: w.When,
			Details: w.Details, Private: w.Private, HeldUntil: tx.Now.Add(w.lasts()).Truncate(time.Microsecond)}
		if !b.When.End.After(tx.Now) {
			return domain.Invalid("when", "is over already")
		}
		scene, err := lookAt(ctx, tx, b)
		if err != nil {
			return err
		}
		if w.Shared && scene.res.Capacity > 1 {
			return domain.Invalid("body.shared", "is for resources that serve one booking at once; this one has %d places", scene.res.Capacity)
		}
		clashes := scene.inTheWay(w.Shared)
		if hard := blocking(clashes); len(hard) > 0 {
			return &Refusal{Err: domain.E(domain.KindConflict, "the time is taken: %s", hard[0].Explanation), Clashes: hard}
		}
		if _, err := apply.Manual(ctx, tx, b, by, reason); err != nil {
			return err
		}
		if err := tx.CreateHold(ctx, domain.Hold{ID: id, Shared: w.Shared, ExpiresAt: b.HeldUntil, Reason: "made", MadeBy: by}, request); err != nil {
			return err
		}
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "hold.place", Reason: reason, Subject: "booking/" + string(id),
			After: map[string]string{"expires_at": b.HeldUntil.Format(time.RFC3339), "shared": strconv.FormatBool(w.Shared)}}); err != nil {
			return err
		}
		if v, err = view(ctx, tx, id); err != nil {
			return err
		}
		v.Clashes = clashes
		return nil
	})
	var refused *Refusal
	if errors.As(err, &refused) {
		refused.Ways = d.waysFor(ctx, org, domain.Booking{ID: id, OrgID: org, ResourceID: w.ResourceID, Category: w.Category, When: w.When, Details: w.Details})
	}
	return v, err
}

// waysFor looks for other times and resources; where that fails the refusal stands without them.
func (d *Desk) waysFor(ctx context.Context, org domain.OrgID, b domain.Booking) (ways []domain.Alternative) {
	b.Status = domain.StatusTentative // what was lost is cancelled by now
	_ = d.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		a, err := diary.Suggest(ctx, tx, diary.Asked{Booking: b, Max: 5})
		ways = a.Ways
		return err
	})
	return ways
}

// sameWish names the fields in which a repeat differs from the first request.
func sameWish(had, now []byte) error {
	if bytes.Equal(had, now) {
		return nil
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal(had, &a) != nil || json.Unmarshal(now, &b) != nil {
		return domain.E(domain.KindInternal, "a stored wish is not what was written")
	}
	var faults []error
	for _, field := range slices.Sorted(maps.Keys(b)) {
		if !bytes.Equal(a[field], b[field]) {
			faults = append(faults, domain.Invalid("body."+field, "is another one than in the first request with this Idempotency-Key"))
		}
	}
	return errors.Join(faults...)
}

// Show reads a hold; KindNotFound when there is none of this id.
func (d *Desk) Show(ctx context.Context, org domain.OrgID, id domain.BookingID) (v View, err error) {
	err = d.Store.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		v, err = view(ctx, tx, id)
		return err
	})
	return v, err
}

func view(ctx context.Context, tx *store.Tx, id domain.BookingID) (v View, err error) {
	if v.Hold, err = tx.HoldOf(ctx, id); err != nil {
		return v, err
	}
	if v.Booking, err = tx.Booking(ctx, id); err != nil {
		return v, err
	}
	if v.Systems, err = systems(ctx, tx, v.Booking); err != nil {
		return v, err
	}
	v.Sources, err = diary.Sources(ctx, tx, v.Booking.ResourceID)
	return v, err
}

// taken locks a hold with its resource, and reads its booking. The booking may be given to another resource while the lock
// is waited for; then it is locked there too.
func taken(ctx context.Context, tx *store.Tx, id domain.BookingID) (h domain.Hold, b domain.Booking, err error) {
	if b, err = tx.Booking(ctx, id); domain.KindOf(err) == domain.KindNotFound {
		return h, b, domain.E(domain.KindNotFound, "no such hold")
	} else if err != nil {
		return h, b, err
	}
	locked := b.ResourceID
	if err := tx.LockResources(ctx, []domain.ResourceID{locked}); err != nil {
		return h, b, err
	}
	if h, err = tx.LockHold(ctx, id); err != nil {
		return h, b, err
	}
	if b, err = tx.Booking(ctx, id); err == nil && b.ResourceID != locked {
		err = domain.E(domain.KindUnavailable, "the booking was given to another resource meanwhile")
	}
	return h, b, err
}

// over explains why a hold keeps no time any more; nil when it does.
func over(h domain.Hold, b domain.Booking, now time.Time) error {
	switch {
	case h.State == domain.HoldLost && h.LostTo != "":
		return domain.E(domain.KindConflict, "the hold was lost to booking %s, which shared its time and was confirmed first", h.LostTo)
	case h.State != domain.HoldLive:
		return domain.E(domain.KindConflict, "the hold is %s", h.State)
	case b.Status == domain.StatusCancelled:
		return domain.E(domain.KindConflict, "the held booking was cancelled")
	case !h.Live(now):
		return domain.E(domain.KindConflict, "the hold ended at %s", h.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

// Extend gives a live hold another end, counted from now.
func (d *Desk) Extend(ctx context.Context, org domain.OrgID, id domain.BookingID, lasts time.Duration, by, reason string) (View, error) {
	if err := checkLasts("body.expires_in_minutes", lasts); err != nil {
		return View{}, err
	}
	return d.change(ctx, org, id, func(ctx context.Context, tx *store.Tx, h domain.Hold, b domain.Booking) error {
		if err := over(h, b, tx.Now); err != nil {
			return err
		}
		was := h.ExpiresAt
		h.ExpiresAt = tx.Now.Add(lasts).Truncate(time.Microsecond)
		b.HeldUntil = h.ExpiresAt
		if _, err := apply.Manual(ctx, tx, b, by, reason); err != nil {
			return err
		}
		h.Reason = "extended"
		if _, err := tx.SaveHold(ctx, h); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "hold.extend", Reason: reason, Subject: "booking/" + string(id),
			Before: map[string]string{"expires_at": was.Format(time.RFC3339)}, After: map[string]string{"expires_at": h.ExpiresAt.Format(time.RFC3339)}})
	})
}

// Release gives the time back and takes it out of the other systems. One that is over already stays as it is.
func (d *Desk) Release(ctx context.Context, org domain.OrgID, id domain.BookingID, by, reason string) (View, error) {
	return d.change(ctx, org, id, func(ctx context.Context, tx *store.Tx, h domain.Hold, b domain.Booking) error {
		if h.State == domain.HoldConfirmed {
			return domain.E(domain.KindConflict, "the hold is confirmed; cancel its booking instead")
		}
		if h.State != domain.HoldLive {
			return nil
		}
		return end(ctx, tx, h, b, domain.HoldReleased, by, reason)
	})
}

func (d *Desk) change(ctx context.Context, org domain.OrgID, id domain.BookingID, fn func(context.Context, *store.Tx, domain.Hold, domain.Booking) error) (v View, err error) {
	err = d.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		h, b, err := taken(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := fn(ctx, tx, h, b); err != nil {
			return err
		}
		v, err = view(ctx, tx, id)
		return err
	})
	return v, err
}

// end cancels the booking of a live hold.
func end(ctx context.Context, tx *store.Tx, h domain.Hold, b domain.Booking, as domain.HoldState, by, reason string) error {
	if b.Status == domain.StatusTentative {
		b.Status = domain.StatusCancelled
		if _, err := apply.Manual(ctx, tx, b, by, reason); err != nil {
			return err
		}
	}
	h.State, h.Reason = as, reason
	if _, err := tx.SaveHold(ctx, h); err != nil {
		return err
	}
	return tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "hold." + verbs[as], Reason: reason, Subject: "booking/" + string(h.ID),
		Before: map[string]string{"state": string(domain.HoldLive)}, After: map[string]string{"state": string(as)}})
}

var verbs = map[domain.HoldState]string{domain.HoldReleased: "release", domain.HoldExpired: "expire", domain.HoldLost: "lose", domain.HoldConfirmed: "confirm"}

// keep gives a hold whose time has come another end where it lies within a freeze that is on: on a wedding's days nothing
// is given away and taken out of other systems by itself. It lasts until the freeze is over; a person may end it before.
// Without such a freeze it is returned as it is.
func keep(ctx context.Context, tx *store.Tx, h domain.Hold, b domain.Booking) (domain.Hold, error) {
	now, err := freeze.Look(ctx, tx)
	if err != nil {
		return h, err
	}
	wedding, on := now.Within(b.When.Span)
	if !on || wedding.Booking == b.ID {
		return h, nil
	}
	const why = "a wedding is near or on, so its end waits"
	was := h.ExpiresAt
	h.ExpiresAt, h.Reason, b.HeldUntil = wedding.Until, why, wedding.Until
	if _, err := apply.Manual(ctx, tx, b, "system:hold", why); err != nil {
		return h, err
	}
	if h, err = tx.SaveHold(ctx, h); err != nil {
		return h, err
	}
	return h, tx.Audit(ctx, domain.AuditEntry{Actor: "system:hold", Action: "hold.keep", Reason: why, Subject: "booking/" + string(h.ID),
		Before: map[string]string{"expires_at": was.Format(time.RFC3339)}, After: map[string]string{"expires_at": h.ExpiresAt.Format(time.RFC3339), "wedding": string(wedding.Booking)}})
}

// Expire ends a hold whose time has come, and settles one whose booking was confirmed or cancelled by other ways. It
// returns the hold as it is then; one that still lasts, or is over already, is left as it is. One that lies within the freeze
// of a wedding that is near or on gets its end instead.
func Expire(ctx context.Context, tx *store.Tx, id domain.BookingID) (domain.Hold, error) {
	h, b, err := taken(ctx, tx, id)
	if err != nil || h.State != domain.HoldLive {
		return h, err
	}
	switch {
	case b.Status == domain.StatusConfirmed:
		h.State, h.Reason = domain.HoldConfirmed, "its booking was confirmed"
		return tx.SaveHold(ctx, h)
	case b.Status == domain.StatusCancelled:
		h.State, h.Reason = domain.HoldReleased, "its booking was cancelled"
		return tx.SaveHold(ctx, h)
	case h.Live(tx.Now):
		return h, nil
	}
	if kept, err := keep(ctx, tx, h, b); err != nil || kept.Live(tx.Now) {
		return kept, err
	}
	if err := end(ctx, tx, h, b, domain.HoldExpired, "system:hold", "nobody confirmed it in time"); err != nil {
		return h, err
	}
	return tx.HoldOf(ctx, id)
}
