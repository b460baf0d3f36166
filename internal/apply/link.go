package apply

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// Link carries out a person's word that other is the same event as id. id goes on and takes over the entries that systems
// have of other; other is cancelled and remembers id. The choice is kept, and no later reading acts against it. Where both
// are one already nothing changes. The result's only outcome names the booking that goes on.
//
// Errors: KindNotFound for id, KindInvalid naming booking_id, KindConflict while a decision about one of them is carried out
// or where other has a timeline.
func Link(ctx context.Context, tx *store.Tx, id, other domain.BookingID, by, reason string) (Result, error) {
	keep, err := rootOf(ctx, tx, id)
	if err != nil {
		return Result{}, err
	}
	drop, err := rootOf(ctx, tx, other)
	if domain.KindOf(err) == domain.KindNotFound {
		err = domain.Invalid("booking_id", "no such booking")
	}
	if err != nil {
		return Result{}, err
	}
	if keep, drop, err = settled(ctx, tx, keep, drop); err != nil {
		return Result{}, err
	}
	if keep.ID == drop.ID && id != other {
		return Result{Outcomes: []reconcile.Outcome{{Effect: reconcile.EffectUnchanged, BookingID: keep.ID}}}, nil
	}
	if _, err := tx.Timeline(ctx, drop.ID, false); err == nil {
		return Result{}, domain.E(domain.KindConflict, "booking %s has a timeline; link the other booking into it instead", drop.ID)
	} else if domain.KindOf(err) != domain.KindNotFound {
		return Result{}, err
	}
	merged, err := tx.MergedInto(ctx, []domain.BookingID{drop.ID})
	if err != nil {
		return Result{}, err
	}
	join := &reconcile.Join{Keep: keep.ID, Drop: drop.ID}
	for _, m := range merged {
		join.Along = append(join.Along, m.ID)
	}
	entries, err := entriesOf(ctx, tx, keep.ID, drop.ID)
	if err != nil {
		return Result{}, err
	}
	r, err := chosen(ctx, tx, reconcile.Item{Join: join}, by, reason)
	if err != nil {
		return r, err
	}
	c := domain.LinkChoice{BookingID: drop.ID, OtherID: keep.ID, Decision: domain.DecidedLinked, Was: drop.Status, By: by, Reason: reason, Entries: entries}
	return r, keepChoice(ctx, tx, c, "booking.link", domain.TopicBookingLinked, keep.ResourceID)
}

// Unlink carries out a person's word that a booking is two events. With back, which was linked with id before, back becomes a
// booking of its own again; id may also be the linked one itself, and back empty. With entry, that entry of a system becomes a
// booking of its own. The result's only outcome names the booking that was parted.
//
// What a parted entry says beside its time was not kept: its words follow when it is read again, so the next reading of its
// system is a full one. Errors are like those of Link.
func Unlink(ctx context.Context, tx *store.Tx, id, back domain.BookingID, entry domain.LinkID, by, reason string) (Result, error) {
	if back != "" && entry != "" {
		return Result{}, domain.Invalid("link_id", "stands without booking_id")
	}
	named, err := tx.Booking(ctx, id)
	if err != nil {
		return Result{}, err
	}
	from, err := rootOf(ctx, tx, id)
	if err != nil {
		return Result{}, err
	}
	if from, _, err = settled(ctx, tx, from, from); err != nil {
		return Result{}, err
	}
	if back == "" && entry == "" {
		if named.ID == from.ID {
			return Result{}, domain.Invalid("booking_id", "say which booking or which entry (link_id) is another event")
		}
		back = named.ID
	}
	part := &reconcile.Part{From: from.ID, Back: back}
	if entry != "" {
		part.Entries = []domain.LinkID{entry}
	} else if err := family(ctx, tx, part); err != nil {
		return Result{}, err
	}
	// Parting forgets what the entries said, so they are noted as they are before it.
	before, err := tx.LinksOf(ctx, from.ID)
	if err != nil {
		return Result{}, err
	}
	r, err := chosen(ctx, tx, reconcile.Item{Part: part}, by, reason)
	if err != nil {
		return r, err
	}
	parted := r.Outcomes[0].BookingID
	after, err := tx.LinksOf(ctx, parted)
	if err != nil {
		return r, err
	}
	for i := range before {
		if slices.ContainsFunc(after, func(l domain.Link) bool { return l.ID == before[i].ID }) {
			before[i].BookingID = parted
		}
	}
	// A listing from the beginning brings their words back.
	asked := map[domain.IntegrationID]bool{}
	for _, l := range after {
		if l.RemovedAt == nil && !l.Mirror && !asked[l.IntegrationID] {
			asked[l.IntegrationID] = true
			if err := tx.SetSyncCursor(ctx, l.IntegrationID, ""); err != nil {
				return r, err
			}
		}
	}
	entries := reconcile.ChosenEntries(before)
	c := domain.LinkChoice{BookingID: parted, OtherID: from.ID, Decision: domain.DecidedUnlinked, By: by, Reason: reason, Entries: entries}
	return r, keepChoice(ctx, tx, c, "booking.unlink", domain.TopicBookingUnlinked, from.ResourceID)
}

// rootOf reads the booking that stands for id.
func rootOf(ctx context.Context, tx *store.Tx, id domain.BookingID) (domain.Booking, error) {
	b, err := tx.Booking(ctx, id)
	if err == nil && b.MergedInto != "" {
		b, err = tx.Booking(ctx, b.MergedInto)
	}
	return b, err
}

// settled locks the resources of two bookings, reads both again, and refuses while a decision about one is carried out.
func settled(ctx context.Context, tx *store.Tx, a, b domain.Booking) (domain.Booking, domain.Booking, error) {
	if err := tx.LockResources(ctx, []domain.ResourceID{a.ResourceID, b.ResourceID}); err != nil {
		return a, b, err
	}
	first, err := rootOf(ctx, tx, a.ID)
	if err != nil {
		return a, b, err
	}
	second, err := rootOf(ctx, tx, b.ID)
	if err != nil {
		return a, b, err
	}
	known, err := tx.ConflictsAmong(ctx, []domain.BookingID{first.ID, second.ID})
	if err != nil {
		return a, b, err
	}
	for _, c := range known.Open {
		if c.State.Carrying() {
			return a, b, domain.E(domain.KindConflict, "the decision of conflict %s is being carried out; try again when it is done", c.ID)
		}
	}
	return first, second, nil
}

// chosen applies a person's word.
func chosen(ctx context.Context, tx *store.Tx, item reconcile.Item, by, reason string) (Result, error) {
	r, err := run(ctx, tx, domain.Integration{}, []reconcile.Item{item}, time.Time{}, actor{name: by, reason: reason,
		causes: []domain.Cause{{Kind: domain.CausePerson, ID: by}}})
	if err != nil {
		return r, err
	}
	if o := r.Outcomes[0]; o.Effect == reconcile.EffectRejected {
		field, text, _ := strings.Cut(o.Reason, ": ")
		return r, domain.Invalid(field, "%s", text)
	}
	return r, nil
}

// family completes the return of a merged booking: its status before, and the bookings that were merged into it before it was.
func family(ctx context.Context, tx *store.Tx, p *reconcile.Part) error {
	merged, err := tx.MergedInto(ctx, []domain.BookingID{p.From})
	if err != nil {
		return err
	}
	ids := make([]domain.BookingID, len(merged))
	for i, m := range merged {
		ids[i] = m.ID
	}
	choices, err := tx.LinkChoices(ctx, ids)
	if err != nil {
		return err
	}
	by, along := reconcile.Family(p.Back, ids, choices)
	p.Was, p.Had, p.Along = by.Was, reconcile.HadEntries(by, p.Back), along
	return nil
}

// keepChoice keeps a choice, and leaves its line in the audit trail and on the live stream.
func keepChoice(ctx context.Context, tx *store.Tx, c domain.LinkChoice, action string, topic domain.Topic, resource domain.ResourceID) error {
	if err := tx.PutLinkChoice(ctx, reconcile.PairKey(c.BookingID, c.OtherID), c); err != nil {
		return err
	}
	refs := map[string]string{"booking": string(c.OtherID), "other": string(c.BookingID)}
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: c.By, Action: action, Reason: c.Reason, Subject: "booking/" + string(c.OtherID), After: refs}); err != nil {
		return err
	}
	return tx.Emit(ctx, topic, map[string]string{"booking": string(c.OtherID), "other": string(c.BookingID), "resource": string(resource)})
}

// entriesOf lists the entries that systems have of bookings as their own, by which a choice is known again.
func entriesOf(ctx context.Context, tx *store.Tx, ids ...domain.BookingID) ([]domain.ChosenEntry, error) {
	var links []domain.Link
	r := tx.Reads()
	r.Links(store.LinkKeys{Bookings: ids}, &links)
	if err := r.Do(ctx); err != nil {
		return nil, err
	}
	return reconcile.ChosenEntries(links), nil
}
