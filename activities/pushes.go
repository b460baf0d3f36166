package activities

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/privacy"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
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
	err := a.Store.TenantRead(ctx, in.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if integration, opened, err = open(ctx, tx, a.Opener, in.Integration); err != nil {
			return err
		}
		waiting, err = tx.WaitingPushes(ctx, in.Integration, pushBatch)
		return err
	})
	if err != nil || integration.State != domain.IntegrationActive {
		return out, err
	}
	writer, ok := provider.As[provider.Writer](opened)
	if !ok {
		return out, domain.E(domain.KindPermanent, "this connection takes no writes")
	}
	for _, p := range waiting {
		if err := ctx.Err(); err != nil {
			return out, domain.E(domain.KindUnavailable, "write copies: %w", err)
		}
		err := a.push(ctx, integration, writer, p)
		if err != nil && ctx.Err() != nil {
			return out, domain.E(domain.KindUnavailable, "write copies: %w", ctx.Err())
		}
		if domain.KindOf(err) == domain.KindUnauthenticated {
			out.Reconnect = true
			return out, needsReconnect(ctx, a.Store, a.Opener, in.Org, in.Integration, "write copies")
		}
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
		if out.More = !due.After(tx.Now); !out.More {
			out.NextDue = due
		}
		return nil
	})
	return out, err
}

// push carries one wish out. The booking is read now, so a newer state than the one that caused the wish is written. Before
// an entry that exists is written over, what will stand there is noted on its link: the write may be read back before its
// answer is stored, and is no edit by somebody else then.
func (a *Pushes) push(ctx context.Context, i domain.Integration, w provider.Writer, p domain.Push) error {
	var (
		booking domain.Booking
		work    reconcile.Work
		removed int
	)
	err := a.Store.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		links, err := standing(ctx, tx, p.BookingID, &booking)
		if err != nil {
			return err
		}
		s := reconcile.StandingOf(links, i.ID)
		work, removed = reconcile.WorkOf(booking, i, p.Op, s), s.Removed
		if !work.Put || work.Live == nil {
			return nil
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
			return err
		}
	}
	if !work.Put {
		return nil
	}
	write := provider.Write{Key: pushKey(p.ID, removed), BookingID: booking.ID, Category: booking.Category, Status: booking.Status,
		When: booking.When, Source: work.Source, Details: privacy.Copy(booking, i.Sync)}
	if work.Source {
		write.Details = booking.Details
	}
	if work.Live != nil {
		write.ExternalID, write.Revision = work.Live.ExternalID, work.Live.Revision
	}
	written, err := put(ctx, i, w, write)
	if domain.KindOf(err) == domain.KindConflict && p.Attempts > 0 && write.ExternalID != "" {
		return errors.Join(err, a.learn(ctx, i, w, write.ExternalID))
	}
	if err != nil {
		return err
	}
	back := written.ReadBack
	back.ExternalID, back.Revision = written.ExternalID, written.Revision
	return a.Store.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		var now domain.Booking
		links, err := standing(ctx, tx, p.BookingID, &now)
		if err != nil {
			return err
		}
		return tx.StoreLinks(ctx, reconcile.Wrote(work.Live, links, booking, i.ID, back, written.UID, tx.Now))
	})
}

// learn asks for an entry that refused a write twice, and applies what it is. Reading the news does not help when they were
// read before the answer of an earlier write came too late to be taken.
func (a *Pushes) learn(ctx context.Context, i domain.Integration, w provider.Writer, entry string) error {
	reader, ok := provider.As[provider.Reader](w)
	if !ok || !i.Direction.Imports() {
		return nil
	}
	var asked time.Time
	if err := a.Store.TenantRead(ctx, i.OrgID, func(_ context.Context, tx *store.Tx) error {
		asked = tx.Now
		return nil
	}); err != nil {
		return err
	}
	var there domain.Change
	err := caught("read refused copy", func() (err error) {
		there, err = reader.Read(ctx, entry)
		return err
	})
	switch {
	case domain.KindOf(err) == domain.KindNotFound:
		there = domain.Change{Op: domain.OpRemove, ExternalID: entry}
	case err != nil:
		return err
	}
	return a.Store.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Page(ctx, tx, i, []domain.Change{there}, asked)
		return err
	})
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
	reader, ok := provider.As[provider.Reader](w)
	if domain.KindOf(err) != domain.KindConflict || write.ExternalID == "" || i.Direction.Imports() || !ok {
		return written, err
	}
	err = caught("write over altered copy", func() error {
		there, err := reader.Read(ctx, write.ExternalID)
		if err != nil {
			return err
		}
		write.Revision = there.Revision
		written, err = w.Put(ctx, write)
		return err
	})
	return written, err
}

func (a *Pushes) remove(ctx context.Context, i domain.Integration, w provider.Writer, l domain.Link) error {
	if err := caught("remove copy", func() error { return w.Remove(ctx, l.ExternalID, l.Revision) }); err != nil {
		return err
	}
	return a.Store.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		l.RemovedAt, l.UpdatedAt = &tx.Now, tx.Now
		return tx.StoreLinks(ctx, []domain.Link{l})
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
