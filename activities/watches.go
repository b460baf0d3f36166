package activities

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/outbound"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// Watches keeps the addresses to which outside systems post when something changed there. What it cannot do now it tries
// later, and polling goes on in any case.
type Watches struct {
	Store  *store.Store
	Opener *connect.Opener
	// NotifyURL is the public address of the servers, such as https://sync.example.com; "" makes no watches.
	NotifyURL string
	// Random returns 0 to 1, for spreading renewals; nil uses the process's own randomness.
	Random func() float64
}

const (
	// watchLifetime is what systems are asked for. They shorten it to what they allow.
	watchLifetime = 7 * 24 * time.Hour
	// leastRenewal bounds how often a watch with a very short lifetime is renewed.
	leastRenewal = 30 * time.Second
	// leastPause is between two runs of KeepWatches for an integration.
	leastPause = 10 * time.Second
	// endTries is how often a system is told to end a watch. After that the watch runs out by itself.
	endTries = 5
)

// KeepWatchesInput names the integration.
type KeepWatchesInput struct {
	Org         domain.OrgID         `json:"org"`
	Integration domain.IntegrationID `json:"integration"`
	// For is what an onboarding wants of an integration that is being connected; "" only ends what retires there, since the
	// onboarding decides about the rest.
	For WatchWish `json:"for,omitempty"`
}

// WatchWish is what an onboarding wants of watches.
type WatchWish string

// The wishes.
const (
	WatchesMake WatchWish = "make"
	WatchesEnd  WatchWish = "end"
)

// KeepWatchesResult counts what was done.
type KeepWatchesResult struct {
	Made    int       `json:"made,omitempty"`
	Renewed int       `json:"renewed,omitempty"`
	Ended   int       `json:"ended,omitempty"`
	Failed  int       `json:"failed,omitempty"`    // calls that did not work; their watches know why and when they are tried again
	NextDue time.Time `json:"next_due,omitzero"`   // when there is something to do again
	Pull    bool      `json:"pull,omitempty"`      // a watch is new: what changed before it stood must be read
	Refused bool      `json:"reconnect,omitempty"` // the system did not accept our credentials
	Stands  bool      `json:"stands,omitempty"`    // an onboarding wished for a watch, and it stands
	// Kind is of the last call that did not work.
	Kind domain.ErrorKind `json:"kind,omitempty"`
}

// KeepWatches makes, renews and ends the watches of an integration, as its state, its provider and the clock want it:
//
//   - one that imports and whose system posts has one active watch. The row is stored before the system is called, so a
//     message that comes before the answer is known;
//   - it is renewed at four fifths of its lifetime. A system that cannot prolong gets a new one, and the old one is ended
//     only when the new one stands;
//   - new settings may mean another calendar, so they get a new one too;
//   - after a new one stands the system is to be read once, since nobody told of what changed in between;
//   - a paused or deleted integration, and one that no longer imports, has none.
//
// Running it again finds what is left: a row whose call was never made or whose answer was lost is used again. What fails
// is kept in the row with the time of the next try; only faults of our own storage are errors.
func (a *Watches) KeepWatches(ctx context.Context, in KeepWatchesInput) (KeepWatchesResult, error) {
	k := &keeper{Watches: a, in: in}
	err := beating(ctx, k.keep)
	return k.out, fail(err)
}

// keeper is one run of KeepWatches.
type keeper struct {
	*Watches
	in      KeepWatchesInput
	out     KeepWatchesResult
	now     time.Time
	watcher provider.Watcher
	live    []store.SealedWatch
	suits   store.SettingsHash // what a watch must have been made for

	connecting bool // the integration is, so that its onboarding decides
}

func (k *keeper) keep(ctx context.Context) error {
	var want, helpless bool
	err := k.Store.TenantRead(ctx, k.in.Org, func(ctx context.Context, tx *store.Tx) error {
		k.now = tx.Now
		i, opened, err := open(ctx, tx, k.Opener, k.in.Integration)
		if err != nil && (domain.KindOf(err) != domain.KindPermanent || i.ID == "") {
			return err
		}
		k.suits = store.HashSettings(i)
		k.watcher, _ = provider.As[provider.Watcher](opened)
		want = k.NotifyURL != "" && wantsWatch(i, opened)
		if k.connecting = i.State == domain.IntegrationConnecting; k.connecting {
			want = k.NotifyURL != "" && canWatch(i, opened) && k.in.For == WatchesMake
		}
		if i.State == domain.IntegrationNeedsReconnect {
			helpless = true // nothing can be asked of the system now
			return nil
		}
		k.live, err = tx.OpenWatches(ctx, k.in.Integration)
		return err
	})
	if domain.KindOf(err) == domain.KindNotFound || err == nil && helpless {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case want:
		err = k.uphold(ctx)
	case !k.connecting || k.in.For == WatchesEnd:
		err = k.dismiss(ctx, "")
	}
	if err == nil {
		err = k.end(ctx)
	}
	if err != nil {
		return err
	}
	if k.out.Refused {
		if err := needsReconnect(ctx, k.Store, k.Opener, k.in.Org, k.in.Integration, "keep watches"); err != nil {
			return err
		}
	}
	return k.Store.TenantRead(ctx, k.in.Org, func(ctx context.Context, tx *store.Tx) error {
		plan, err := tx.WatchPlan(ctx, k.in.Integration, k.suits)
		k.out.NextDue = watchesDue(plan, want, k.now.Add(time.Minute))
		if k.connecting {
			k.out.NextDue = duringOnboarding(plan)
			if err == nil && want {
				var live []store.SealedWatch
				live, err = tx.OpenWatches(ctx, k.in.Integration)
				k.out.Stands = watchStands(live, k.suits)
			}
		}
		if soonest := k.now.Add(leastPause); !k.out.NextDue.IsZero() && k.out.NextDue.Before(soonest) {
			k.out.NextDue = soonest // all that was due was tried
		}
		return err
	})
}

// wantsWatch reports whether an integration is to have a watch.
func wantsWatch(i domain.Integration, opened any) bool {
	return canWatch(i, opened) && i.State == domain.IntegrationActive
}

// canWatch reports whether a watch would tell of anything that is wanted.
func canWatch(i domain.Integration, opened any) bool {
	_, pulls := provider.As[provider.Puller](opened)
	_, watches := provider.As[provider.Watcher](opened)
	return pulls && watches && i.Direction.Imports()
}

// watchStands reports whether one of the watches stands for these settings.
func watchStands(live []store.SealedWatch, suits store.SettingsHash) bool {
	return slices.ContainsFunc(live, func(w store.SealedWatch) bool { return w.State == domain.WatchActive && w.Settings == suits })
}

// duringOnboarding is when the watches of an integration that is being connected are to be looked after by its own workflow:
// those that retire, once none is wished for.
func duringOnboarding(p store.WatchPlan) time.Time {
	if p.Due == nil || p.Standing {
		return time.Time{}
	}
	return *p.Due
}

// watchesDue is when the watches of an integration are to be looked after; soon stands for at once. The zero time is
// never.
func watchesDue(p store.WatchPlan, want bool, soon time.Time) time.Time {
	switch {
	case p.Due == nil && want, p.Standing && !want, p.Outdated:
		return soon
	case p.Due == nil:
		return time.Time{}
	}
	return *p.Due
}

// uphold sees to it that one watch stands.
func (k *keeper) uphold(ctx context.Context) error {
	var active, pending *store.SealedWatch
	for n := range k.live {
		w := &k.live[n]
		switch {
		case w.State == domain.WatchActive && w.ExpiresAt != nil && !w.ExpiresAt.After(k.now):
			if err := k.move(ctx, w, domain.WatchRetired, "it ran out before it was renewed"); err != nil {
				return err
			}
		case w.State == domain.WatchActive:
			active = w // the last is the newest
		case w.State == domain.WatchPending && w.Settings != k.suits:
			if err := k.move(ctx, w, domain.WatchRetired, "the settings changed before it was made"); err != nil {
				return err
			}
		case w.State == domain.WatchPending && pending == nil:
			pending = w
		}
	}
	if active != nil {
		// Older ones are left of a run that died between making a new one and ending the old one.
		for n := range k.live {
			if w := &k.live[n]; w.State == domain.WatchActive && w.ID != active.ID {
				if err := k.move(ctx, w, domain.WatchRetiring, ""); err != nil {
					return err
				}
			}
		}
	}
	if active != nil && pending == nil && (active.Settings != k.suits || active.Doubted) {
		// It may be of another calendar, or bring nothing any more. It ends when the new one stands.
		var err error
		if pending, err = k.create(ctx); err != nil {
			return err
		}
	}
	if active != nil && pending == nil && !active.RenewAfter.After(k.now) {
		gone, err := k.renew(ctx, active)
		if err != nil {
			return err
		}
		if gone {
			if pending, err = k.create(ctx); err != nil {
				return err
			}
		}
	}
	if active == nil && pending == nil {
		var err error
		if pending, err = k.create(ctx); err != nil {
			return err
		}
	}
	if pending != nil && !pending.RenewAfter.After(k.now) {
		again, err := k.make(ctx, pending)
		if err != nil || !again {
			return err
		}
		if pending, err = k.create(ctx); err != nil || pending == nil {
			return err
		}
		_, err = k.make(ctx, pending)
		return err
	}
	return nil
}

// renew prolongs a watch. gone says that another one must be made.
func (k *keeper) renew(ctx context.Context, w *store.SealedWatch) (gone bool, err error) {
	var renewed provider.Watched
	callErr := caught("renew watch", func() (err error) {
		renewed, err = k.watcher.Renew(ctx, watched(w.Watch), k.now.Add(watchLifetime))
		return err
	})
	next := w.Watch
	switch {
	case domain.KindOf(callErr) == domain.KindNotFound:
		// It may go on to the end of its time while the new one is made.
		next.RenewAfter = k.now.Add(leastRenewal)
		if w.ExpiresAt != nil {
			next.RenewAfter = *w.ExpiresAt
		}
		gone = true
	case callErr == nil && !renewed.ExpiresAt.After(k.now):
		callErr = errExpiry
		fallthrough
	case callErr != nil:
		k.failed(&next, callErr)
	default:
		k.out.Renewed++
		k.stands(&next, renewed)
	}
	err = k.store(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.UpdateWatch(ctx, next, domain.WatchActive)
		return err
	})
	return gone, err
}

var errExpiry = domain.E(domain.KindPermanent, "the system named no end of the watch that lies ahead")

// create stores a row for a new watch; nil when another worker did so first, which will make it.
func (k *keeper) create(ctx context.Context) (*store.SealedWatch, error) {
	w := store.SealedWatch{Watch: domain.Watch{ID: domain.NewID[domain.WatchID](k.now), IntegrationID: k.in.Integration,
		State: domain.WatchPending, RenewAfter: k.now}, Secret: newSecret(), Settings: k.suits}
	var made bool
	err := k.store(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		made, err = tx.CreateWatch(ctx, k.in.Integration, w.ID, w.Secret, w.Settings)
		return err
	})
	if err != nil || !made {
		return nil, err
	}
	return &w, nil
}

func newSecret() string {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("read randomness for a secret: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// make asks the system to post to a stored watch. again says that its id is spoilt and another one is needed.
func (k *keeper) make(ctx context.Context, w *store.SealedWatch) (again bool, err error) {
	over, err := k.over(ctx)
	if err != nil {
		return false, err
	}
	var made provider.Watched
	callErr := caught("make watch", func() (err error) {
		made, err = k.watcher.Watch(ctx, provider.WatchRequest{ID: string(w.ID), URL: k.address(w.ID), Secret: w.Secret,
			Until: k.now.Add(watchLifetime), Over: over})
		return err
	})
	if callErr == nil && !made.ExpiresAt.After(k.now) {
		callErr = errExpiry
	}
	if domain.KindOf(callErr) == domain.KindConflict {
		// An earlier try took effect and its answer was lost, in a system where an id can be used once.
		k.out.Failed++
		return true, k.move(ctx, w, domain.WatchRetired, "the system has a watch of this id from a try whose answer was lost")
	}
	next := w.Watch
	if callErr != nil {
		k.failed(&next, callErr)
		return false, k.store(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.UpdateWatch(ctx, next, domain.WatchPending)
			return err
		})
	}
	next.State = domain.WatchActive
	k.stands(&next, made)
	var stood bool
	err = k.store(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if stood, err = tx.UpdateWatch(ctx, next, domain.WatchPending); err != nil || !stood {
			return err
		}
		return tx.WantPull(ctx, next.ID)
	})
	if err != nil {
		return false, err
	}
	if !stood {
		// It was ended while the system answered. Nobody would look after what was made; it runs out by itself if this fails.
		if caught("end watch", func() error { return k.watcher.Unwatch(ctx, made) }) != nil {
			k.out.Failed++
		}
		return false, nil
	}
	w.Watch = next
	k.out.Made++
	k.out.Pull = true
	return false, k.dismiss(ctx, next.ID)
}

// address is where a system posts to a watch.
func (k *keeper) address(id domain.WatchID) string {
	return k.NotifyURL + provider.NotifyPath + string(id)
}

// over are the addresses of the watches that are over, for systems that can be asked what posts there.
func (k *keeper) over(ctx context.Context) (addresses []string, err error) {
	if _, sweeps := provider.As[provider.Sweeper](k.watcher); !sweeps {
		return nil, nil
	}
	err = k.Store.TenantRead(ctx, k.in.Org, func(ctx context.Context, tx *store.Tx) error {
		ids, err := tx.RetiredWatches(ctx, k.in.Integration)
		for _, id := range ids {
			addresses = append(addresses, k.address(id))
		}
		return err
	})
	return addresses, err
}

// stands notes what the system said about a watch, and when to renew it: at four fifths of its lifetime, a fortieth more
// or less, so that those made at once are not renewed at once.
func (k *keeper) stands(w *domain.Watch, as provider.Watched) {
	random := mathrand.Float64
	if k.Random != nil {
		random = k.Random
	}
	ends := as.ExpiresAt.UTC()
	share := 0.8 + (random()-0.5)/20
	w.RemoteID, w.ResourceID, w.ExpiresAt = as.RemoteID, as.ResourceID, &ends
	w.RenewAfter = k.now.Add(max(time.Duration(share*float64(ends.Sub(k.now))), leastRenewal))
	w.Failures, w.Fault = 0, ""
}

// failed notes why a call did not work and when to try again: after 1 minute doubling to 1 hour, a day where the system
// refused for good, and no earlier than it asked for.
func (k *keeper) failed(w *domain.Watch, err error) {
	k.out.Failed++
	k.out.Kind = domain.KindOf(err)
	if errors.Is(err, outbound.ErrHeld) {
		// Nothing was tried. The watch stands as it stood, and its calls go on with the others.
		w.RenewAfter = k.now.Add(domain.RetryAfter(err))
		return
	}
	w.Failures++
	wait := min(time.Minute<<min(w.Failures-1, 10), time.Hour)
	switch kind := domain.KindOf(err); kind {
	case domain.KindUnauthenticated:
		k.out.Refused = true
	case domain.KindInvalid, domain.KindForbidden, domain.KindPermanent, domain.KindNotFound, domain.KindTooLarge, domain.KindDrift:
		wait = 24 * time.Hour
	case domain.KindConflict, domain.KindRateLimited, domain.KindUnavailable, domain.KindGoneToken, domain.KindInternal:
	}
	w.Fault = reasonFor(domain.KindOf(err))
	w.RenewAfter = k.now.Add(max(wait, domain.RetryAfter(err)))
	if w.State == domain.WatchActive && w.ExpiresAt != nil && w.RenewAfter.After(*w.ExpiresAt) {
		w.RenewAfter = *w.ExpiresAt // then another one is needed
	}
}

// dismiss lets every standing watch retire except one.
func (k *keeper) dismiss(ctx context.Context, except domain.WatchID) error {
	for n := range k.live {
		w := &k.live[n]
		if w.ID == except || w.State != domain.WatchPending && w.State != domain.WatchActive {
			continue
		}
		if err := k.move(ctx, w, domain.WatchRetiring, ""); err != nil {
			return err
		}
	}
	return nil
}

// end tells the system to end the watches that retire. One whose making was never answered has no name to end it by: it may
// exist, and is found by its address, or runs out by itself where the system cannot be asked.
func (k *keeper) end(ctx context.Context) error {
	for n := range k.live {
		w := &k.live[n]
		if w.State != domain.WatchRetiring || w.RenewAfter.After(k.now) {
			continue
		}
		named := w.RemoteID != ""
		sweeper, sweeps := provider.As[provider.Sweeper](k.watcher)
		ended := k.watcher == nil || !named && (!sweeps || k.NotifyURL == "") || !sweeps && w.ExpiresAt != nil && !w.ExpiresAt.After(k.now)
		next := w.Watch
		if !ended {
			err := caught("end watch", func() error {
				if !named {
					return sweeper.Sweep(ctx, []string{k.address(w.ID)})
				}
				return k.watcher.Unwatch(ctx, watched(w.Watch))
			})
			if err != nil {
				k.failed(&next, err)
				next.RenewAfter = k.now.Add(min(next.RenewAfter.Sub(k.now), time.Hour))
			}
			ended = err == nil || next.Failures >= endTries
		}
		if ended {
			next.State = domain.WatchRetired
			k.out.Ended++
		}
		if err := k.store(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.UpdateWatch(ctx, next, domain.WatchRetiring)
			return err
		}); err != nil {
			return err
		}
		w.Watch = next
	}
	return nil
}

// move takes a watch to another state, at once.
func (k *keeper) move(ctx context.Context, w *store.SealedWatch, to domain.WatchState, why string) error {
	next := w.Watch
	next.State, next.RenewAfter, next.Failures, next.Fault = to, k.now, 0, why
	err := k.store(ctx, func(ctx context.Context, tx *store.Tx) error {
		moved, err := tx.UpdateWatch(ctx, next, w.State)
		if err == nil && !moved {
			next.State = domain.WatchRetired // by a message of the system, meanwhile
		}
		return err
	})
	w.Watch = next
	return err
}

func (k *keeper) store(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	return k.Store.Tenant(ctx, k.in.Org, fn)
}

func watched(w domain.Watch) provider.Watched {
	out := provider.Watched{ID: string(w.ID), RemoteID: w.RemoteID, ResourceID: w.ResourceID}
	if w.ExpiresAt != nil {
		out.ExpiresAt = *w.ExpiresAt
	}
	return out
}

// planWatches completes what an integration's workflow acts on by what is known of its watches.
func planWatches(ctx context.Context, tx *store.Tx, i domain.Integration, opened any, notify string, cfg *contract.IntegrationConfig) error {
	plan, err := tx.WatchPlan(ctx, i.ID, store.HashSettings(i))
	if err != nil {
		return err
	}
	if plan.PullWanted != nil {
		cfg.PullWanted = *plan.PullWanted
	}
	switch i.State {
	case domain.IntegrationNeedsReconnect:
	case domain.IntegrationConnecting:
		cfg.WatchesDue = duringOnboarding(plan)
	case domain.IntegrationActive, domain.IntegrationPaused, domain.IntegrationDeleted:
		cfg.WatchesDue = watchesDue(plan, notify != "" && wantsWatch(i, opened), tx.Now)
	}
	return planFailover(ctx, tx, i, cfg)
}
