package activities

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/privacy"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
)

// Pushes writes bookings to outside systems.
type Pushes struct {
	Store  *store.Store
	Opener *connect.Opener
}

// pushBatch is how many pushes one activity carries out before it reports.
const pushBatch = 50

// pushTries is how often a push is tried before a person must look: with pushWait some two days.
const pushTries = 14

// PushBookingsInput names the integration whose waiting pushes are to be carried out.
type PushBookingsInput struct {
	Org         domain.OrgID         `json:"org"`
	Integration domain.IntegrationID `json:"integration"`
}

// PushBookingsResult counts what became of them.
type PushBookingsResult struct {
	Done      int       `json:"done"`
	Retried   int       `json:"retried,omitempty"`
	Failed    int       `json:"failed,omitempty"`
	More      bool      `json:"more,omitempty"`
	NextDue   time.Time `json:"next_due,omitzero"`
	Pull      bool      `json:"pull,omitempty"`      // a copy changed there: read before writing again
	Reconnect bool      `json:"reconnect,omitempty"` // our credentials were refused
}

// PushBookings brings the copies of bookings in one system to the wished state.
//
// It is safe to run twice: the row says what the copy should look like, every try of one copy uses the same key, and a
// copy that an earlier try made is adopted by the provider.
func (a *Pushes) PushBookings(ctx context.Context, in PushBookingsInput) (PushBookingsResult, error) {
	var out PushBookingsResult
	err := beating(ctx, func(ctx context.Context) (err error) {
		out, err = a.pushAll(ctx, in)
		return err
	})
	return out, fail(err)
}

func (a *Pushes) pushAll(ctx context.Context, in PushBookingsInput) (PushBookingsResult, error) {
	var (
		out         PushBookingsResult
		waiting     []domain.Push
		integration domain.Integration
		opened      any
	)
	var resting bool
	err := a.Store.TenantRead(ctx, in.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if integration, opened, err = open(ctx, tx, a.Opener, in.Integration); err != nil {
			return err
		}
		resting = integration.WorkHold.In(tx.Now)
		waiting, err = tx.WaitingPushes(ctx, in.Integration, pushBatch)
		return err
	})
	if err != nil || resting || integration.State != domain.IntegrationActive {
		return out, err
	}
	if integration.Copies == domain.CopiesPurging {
		if out.NextDue, err = a.purgeWaits(ctx, in); err != nil || !out.NextDue.IsZero() {
			return out, err
		}
	}
	writer, ok := provider.As[provider.Writer](opened)
	if !ok {
		return out, domain.E(domain.KindPermanent, "this connection takes no writes")
	}
	var heldFor time.Duration
	for _, p := range waiting {
		if err := ctx.Err(); err != nil {
			return out, domain.E(domain.KindUnavailable, "write copies: %w", err)
		}
		at, span := followPush(ctx, integration, p)
		err := a.push(at, integration, writer, p)
		span.End(err)
		if err != nil && ctx.Err() != nil {
			return out, domain.E(domain.KindUnavailable, "write copies: %w", ctx.Err())
		}
		if domain.KindOf(err) == domain.KindUnauthenticated {
			out.Reconnect = true
			return out, needsReconnect(ctx, a.Store, a.Opener, in.Org, in.Integration, "write copies")
		}
		if heldFor = domain.RetryAfter(err); errors.Is(err, outbound.ErrHeld) && domain.KindOf(err) != domain.KindConflict {
			break // it was not tried, so it counts as no try, and neither would those behind it be
		}
		heldFor = 0
		state, finishErr := a.finish(ctx, in.Org, p, err)
		if finishErr != nil {
			return out, finishErr
		}
		switch state {
		case domain.PushDone:
			out.Done++
		case domain.PushFailed:
			out.Failed++
		case domain.PushRetrying, domain.PushPending:
			out.Retried++
			out.Pull = out.Pull || domain.KindOf(err) == domain.KindConflict
		}
	}
	if integration.Copies == domain.CopiesPurging {
		ended, err := guard.AdvancePurge(ctx, a.Store, in.Org, in.Integration)
		if err != nil {
			return out, err
		}
		if ended != nil {
			if err := a.Opener.Farewell(ctx, *ended, "system:purge"); err != nil {
				activity.GetLogger(ctx).Warn("a grant could not be revoked; its person can remove WedSync in the account", "integration", in.Integration, "kind", domain.KindOf(err))
			}
		}
	}
	err = a.Store.TenantRead(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		due, left, err := tx.NextPushDue(ctx, in.Integration)
		if err != nil || left == 0 {
			return err
		}
		if soonest := tx.Now.Add(min(heldFor, longestDelay)); heldFor > 0 && due.Before(soonest) {
			due = soonest
		}
		if out.More = !due.After(tx.Now); !out.More {
			out.NextDue = due
		}
		return nil
	})
	return out, err
}

// purgeLook is how often a purge that waits looks whether it may go on: a wedding may have been cancelled meanwhile.
const purgeLook = 15 * time.Minute

// purgeWaits is when a purge looks again that must wait because a wedding is near or on; zero when it goes on.
func (a *Pushes) purgeWaits(ctx context.Context, in PushBookingsInput) (again time.Time, err error) {
	err = a.Store.TenantRead(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		again = time.Time{}
		p, err := tx.LastPurge(ctx, in.Integration)
		if domain.KindOf(err) == domain.KindNotFound || err == nil && (p.OverridesFreeze || p.EndedAt != nil) {
			return nil
		}
		if err != nil {
			return err
		}
		now, err := freeze.Look(ctx, tx)
		if err == nil && now.Frozen() {
			if again = tx.Now.Add(purgeLook); now.Thaw().Before(again) {
				again = now.Thaw()
			}
		}
		return err
	})
	return again, err
}

// push carries one wish out. The booking is read now, so a newer state than the one that caused the wish is written. Before
// an entry that exists is written over, what will stand there is noted on its link: the write may be read back before its
// answer is stored, and is no edit by somebody else then. Before a copy is made where nobody reads, the key of the write is noted:
// should its answer be lost and the booking be cancelled, the copy can still be found and taken back.
func (a *Pushes) push(ctx context.Context, i domain.Integration, w provider.Writer, p domain.Push) error {
	var (
		booking domain.Booking
		work    reconcile.Work
		key     string
		back    bool // a try before may have left a copy that must go
		unsure  bool
		began   time.Time
	)
	_, foretells := provider.As[provider.Foreteller](w)
	err := a.Store.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		began = tx.Now
		links, err := standing(ctx, tx, p.BookingID, &booking)
		if err != nil {
			return err
		}
		s := reconcile.StandingOf(links, i.ID)
		work, key = reconcile.WorkOf(booking, i, p.Op, s), pushKey(p.ID, s.Removed)
		back = p.Tried == key && reconcile.TakesBack(work, i, s, foretells)
		unsure = work.Live == nil && p.Tried == key || work.Live != nil && work.Live.Agreed.Writing != ""
		switch {
		case !work.Put:
			return nil
		case work.Live == nil && (p.Tried == key || !unseen(i, w)):
			return nil
		case work.Live == nil:
			return tx.NotePushTried(ctx, p.ID, key)
		}
		noted := reconcile.Writing(*work.Live, booking, tx.Now)
		work.Live = &noted
		return tx.StoreLinks(ctx, []domain.Link{noted})
	})
	if err != nil {
		return err
	}
	for _, l := range work.Remove {
		if err := a.remove(ctx, i, w, l); err != nil {
			return a.learn(ctx, i, w, p, l.ExternalID, err)
		}
	}
	write := provider.Write{Key: key, BookingID: booking.ID, Category: booking.Category, Status: booking.Status,
		When: booking.When, Unsure: unsure, Details: privacy.Copy(booking, i.Sync)}
	if back {
		if err := a.takeBack(ctx, i, w, p, write); err != nil {
			return err
		}
	}
	if !work.Put {
		return nil
	}
	write.Source = work.Source
	if work.Source {
		write.Details = booking.Details
	}
	if work.Live != nil {
		write.ExternalID, write.Revision = work.Live.ExternalID, work.Live.Revision
	}
	written, err := put(ctx, i, w, write)
	if err != nil {
		return a.learn(ctx, i, w, p, write.ExternalID, err)
	}
	read := written.ReadBack
	read.ExternalID, read.Revision = written.ExternalID, written.Revision
	overtaken := false
	noted, note := tracing.Child(ctx, "note read-back")
	err = a.Store.Tenant(noted, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		if written.Adopted {
			_, err := apply.Page(ctx, tx, i, []domain.Change{read}, began)
			return err
		}
		var now domain.Booking
		links, err := standing(ctx, tx, p.BookingID, &now)
		if err != nil {
			return err
		}
		if work.Live == nil {
			if overtaken, err = readSince(ctx, tx, i.ID, began); err != nil {
				return err
			}
		}
		if work.Live == nil && unseen(i, w) {
			if err := tx.NotePushTried(ctx, p.ID, ""); err != nil {
				return err
			}
		}
		return tx.StoreLinks(ctx, reconcile.Wrote(work.Live, links, booking, i.ID, read, written.UID, tx.Now))
	})
	note.Set(tracing.Flag(tracing.KeyAdopted, written.Adopted))
	note.End(err)
	switch reader, ok := provider.ReaderOf(w, read.ExternalID); {
	case err != nil:
		return err
	case written.Adopted:
		return domain.E(domain.KindConflict, "the copy of an earlier try says something else, which was read")
	case overtaken && ok:
		// What a page said of the new copy, such as that it was removed, was said of something unknown.
		_, err = ask(ctx, a.Store, i, reader, read.ExternalID)
		return err
	}
	return nil
}

// unseen reports whether nobody would come across a copy in a system by reading it.
func unseen(i domain.Integration, w provider.Writer) bool {
	_, pulls := provider.As[provider.Puller](w)
	_, foretells := provider.As[provider.Foreteller](w)
	return foretells || !pulls || !i.Direction.Imports()
}

// takeBack removes the copy that an unanswered write may have left where nobody reads. A system that foretells ids removes it by
// its id. In others it is written once more, which finds the copy of the try before or makes it, so that it is known which to remove.
//
// Done again it finds the same copy, or one that it made before.
func (a *Pushes) takeBack(ctx context.Context, i domain.Integration, w provider.Writer, p domain.Push, write provider.Write) error {
	id, revision := "", ""
	if f, ok := provider.As[provider.Foreteller](w); ok {
		id = f.Foretold(write.Key)
	} else {
		write.Status = domain.StatusConfirmed // many systems make nothing that is cancelled
		written, err := put(ctx, i, w, write)
		if err != nil {
			return err
		}
		id, revision = written.ExternalID, written.Revision
	}
	if err := caught("take copy back", func() error { return w.Remove(ctx, id, revision) }); err != nil {
		return err
	}
	return a.Store.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		var booking domain.Booking
		now, err := standing(ctx, tx, p.BookingID, &booking)
		if err != nil {
			return err
		}
		if err := tx.StoreLinks(ctx, []domain.Link{reconcile.TakenBack(now, booking, i.ID, id, tx.Now)}); err != nil {
			return err
		}
		return tx.NotePushTried(ctx, p.ID, "")
	})
}

// readSince reports whether a page of an integration that tells changes may have been applied since a moment.
func readSince(ctx context.Context, tx *store.Tx, id domain.IntegrationID, since time.Time) (bool, error) {
	runs, _, err := tx.SyncRuns(ctx, id, store.Page{Limit: 2})
	return slices.ContainsFunc(runs, func(r domain.SyncRun) bool {
		if r.State == domain.SyncRunning {
			return r.Pages > 0 && !r.Full // a full one asks in the end for what it did not list
		}
		return r.EndedAt != nil && !r.EndedAt.Before(since)
	}), err
}

// learn asks for an entry that refused a write or a removal twice, and applies what it is. Reading the news does not help when
// they were read before the answer of an earlier write came too late to be taken. It returns the refusal.
func (a *Pushes) learn(ctx context.Context, i domain.Integration, w provider.Writer, p domain.Push, entry string, refused error) error {
	reader, ok := provider.ReaderOf(w, entry)
	if domain.KindOf(refused) != domain.KindConflict || p.Attempts == 0 || entry == "" || !ok {
		return refused
	}
	_, err := ask(ctx, a.Store, i, reader, entry)
	return errors.Join(refused, err)
}

// standing reads a booking and its links under the lock of its resource, so that nobody changes them meanwhile. The
// booking may be given to another resource in between; then the links are still as of one moment.
func standing(ctx context.Context, tx *store.Tx, id domain.BookingID, booking *domain.Booking) ([]domain.Link, error) {
	b, err := tx.Booking(ctx, id)
	if err != nil {
		return nil, err
	}
	var (
		locked   []domain.Resource
		bookings []domain.Booking
		links    []domain.Link
	)
	r := tx.Reads()
	r.LockResources([]domain.ResourceID{b.ResourceID}, &locked)
	r.Bookings([]domain.BookingID{id}, &bookings)
	r.Links(store.LinkKeys{Bookings: []domain.BookingID{id}}, &links)
	if err := r.Do(ctx); err != nil {
		return nil, err
	}
	if len(bookings) == 0 {
		return nil, domain.E(domain.KindNotFound, "no such booking")
	}
	*booking = bookings[0]
	return links, nil
}

// put writes a copy. A connection that only writes never learns of a copy altered there by reading, and what we say holds
// there, so it asks for the revision and writes over it.
func put(ctx context.Context, i domain.Integration, w provider.Writer, write provider.Write) (written provider.Written, err error) {
	err = caught("write copy", func() (err error) {
		written, err = w.Put(ctx, write)
		return err
	})
	reader, ok := provider.ReaderOf(w, write.ExternalID)
	if domain.KindOf(err) != domain.KindConflict || write.ExternalID == "" || i.Direction.Imports() || !ok {
		return written, err
	}
	return written, caught("write over altered copy", func() error {
		there, gone := reader.Read(ctx, write.ExternalID)
		switch {
		case domain.KindOf(gone) == domain.KindNotFound:
			return err // the next try learns that it is gone, and makes another
		case gone != nil:
			return gone
		}
		write.Revision = there.Revision
		var again error
		written, again = w.Put(ctx, write)
		return again
	})
}

func (a *Pushes) remove(ctx context.Context, i domain.Integration, w provider.Writer, l domain.Link) error {
	if err := caught("remove copy", func() error { return w.Remove(ctx, l.ExternalID, l.Revision) }); err != nil {
		return err
	}
	return a.Store.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		var booking domain.Booking
		now, err := standing(ctx, tx, l.BookingID, &booking)
		if err != nil {
			return err
		}
		return tx.StoreLinks(ctx, []domain.Link{reconcile.Removed(now, l, tx.Now)})
	})
}

// finish records how a push ended, and wakes the conflicts that wait for it.
func (a *Pushes) finish(ctx context.Context, org domain.OrgID, p domain.Push, cause error) (domain.PushState, error) {
	o := store.PushOutcome{State: domain.PushDone, Read: p.UpdatedAt}
	err := a.Store.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		if cause != nil {
			o = store.PushOutcome{State: domain.PushFailed, Reason: textOf(cause), Read: p.UpdatedAt}
			// A copy that changed there is read first and then written again.
			if retry := domain.Retryable(cause) || domain.KindOf(cause) == domain.KindConflict; retry && p.Attempts+1 < pushTries {
				o.State = domain.PushRetrying
				o.NextAttemptAt = tx.Now.Add(max(pushWait(p.Attempts+1), domain.RetryAfter(cause)))
			}
		}
		now, err := tx.FinishPush(ctx, p.ID, p.WantVersion, o)
		if err != nil {
			return err
		}
		refs := map[string]string{"push": string(p.ID), "integration": string(p.IntegrationID), "booking": string(p.BookingID)}
		switch now.State {
		case domain.PushDone:
			if now.WantedAt != nil && now.ShownAt != nil {
				if err := tx.AddPushLag(ctx, p.IntegrationID, max(now.ShownAt.Sub(*now.WantedAt), 0)); err != nil {
					return err
				}
			}
			if err := tx.Emit(ctx, domain.TopicPushDone, refs); err != nil {
				return err
			}
		case domain.PushFailed:
			if err := tx.Emit(ctx, domain.TopicPushFailed, refs); err != nil {
				return err
			}
			if err := tx.Audit(ctx, domain.AuditEntry{Actor: "system:push", Action: "push.fail", Reason: now.Reason, Subject: "push/" + string(p.ID),
				After: map[string]string{"integration": string(p.IntegrationID), "booking": string(p.BookingID)}}); err != nil {
				return err
			}
		case domain.PushPending, domain.PushRetrying:
			return nil
		}
		known, err := tx.ConflictsAmong(ctx, []domain.BookingID{p.BookingID})
		if err != nil {
			return err
		}
		for _, c := range known.Open {
			if c.State.Carrying() {
				if err := tx.Enqueue(ctx, store.OutboxConflictRecheck, string(c.ID), string(p.BookingID), tx.Now); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return o.State, err
}

// pushKey is the same for every try of one copy, and another once a copy was removed and is made anew, because systems
// that remember keys would answer with the removed one.
func pushKey(id domain.PushID, generation int) string {
	if generation == 0 {
		return string(id)
	}
	sum := sha256.Sum256([]byte(string(id) + "#" + itoa(generation)))
	var b [16]byte
	copy(b[:], sum[:])
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80 // UUID version 8: our own making
	return domain.FormatUUID(b)
}

// pushWait is the published schedule of retries: 2 s tripling up to 6 h, with up to a fifth of jitter.
func pushWait(attempt int) time.Duration {
	d := 2 * time.Second
	for i := 1; i < attempt && d < 6*time.Hour; i++ {
		d *= 3
	}
	d = min(d, 6*time.Hour)
	return d + rand.N(d/5)
}

func itoa(n int) string { return strconv.Itoa(n) }
