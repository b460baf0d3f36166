package activities_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

const notifyURL = "https://sync.example.com"

// watched is a system that posts. Its watches are kept by the id that it gave them.
type watched struct {
	*outside
	clock    func() time.Time
	lifetime time.Duration // at most; 0 = as wished
	inPlace  bool          // it can prolong a watch
	once     bool          // an id can be used for one watch
	asked    []provider.WatchRequest
	standing map[string]provider.Watched
	ended    []string
	before   func(r provider.WatchRequest) // runs before the answer to Watch
}

func newWatched(d *desk) *watched {
	return &watched{outside: d.atCal, clock: d.clock, standing: map[string]provider.Watched{}}
}

func (w *watched) end(until time.Time) time.Time {
	if longest := w.clock().Add(w.lifetime); w.lifetime > 0 && longest.Before(until) {
		return longest
	}
	return until
}

func (w *watched) Watch(_ context.Context, r provider.WatchRequest) (out provider.Watched, err error) {
	if w.before != nil {
		w.before(r)
	}
	end, err := w.begin("watch")
	if err != nil {
		return out, err
	}
	for _, had := range w.asked {
		if w.once && had.ID == r.ID {
			return out, end(domain.E(domain.KindConflict, "the id is not unique"))
		}
	}
	w.asked = append(w.asked, r)
	remote := "remote-" + string(rune('a'+len(w.asked)-1))
	out = provider.Watched{ID: r.ID, RemoteID: remote, ResourceID: "calendar", ExpiresAt: w.end(r.Until)}
	w.standing[remote] = out
	return out, end(nil)
}

func (w *watched) Renew(_ context.Context, had provider.Watched, until time.Time) (out provider.Watched, err error) {
	end, err := w.begin("renew")
	if err != nil {
		return out, err
	}
	if _, stands := w.standing[had.RemoteID]; !w.inPlace || !stands {
		return out, end(domain.E(domain.KindNotFound, "no such watch"))
	}
	had.ExpiresAt = w.end(until)
	w.standing[had.RemoteID] = had
	return had, end(nil)
}

func (w *watched) Unwatch(_ context.Context, had provider.Watched) error {
	end, err := w.begin("unwatch")
	if err != nil {
		return err
	}
	w.ended = append(w.ended, had.RemoteID)
	delete(w.standing, had.RemoteID)
	return end(nil)
}

// watching is a desk with one more calendar, which posts.
func watching(t *testing.T) (*desk, *watched, domain.Integration) {
	d := setup(t)
	w := newWatched(d)
	return d, w, d.connect("watched", domain.DirectionBidirectional, w)
}

func (d *desk) keeper() *activities.Watches {
	return &activities.Watches{Store: d.Store, Opener: d.opener, NotifyURL: notifyURL, Random: func() float64 { return 0.5 }}
}

func (d *desk) keep(i domain.Integration) activities.KeepWatchesResult {
	d.t.Helper()
	out := run(d, d.keeper().KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID})
	// What the workflow would do next is what its own step says too.
	if cfg := d.config(i); out.NextDue.IsZero() != cfg.WatchesDue.IsZero() {
		d.t.Errorf("KeepWatches says %s and LoadIntegration %s", out.NextDue, cfg.WatchesDue)
	}
	return out
}

func (d *desk) config(i domain.Integration) contract.IntegrationConfig {
	d.t.Helper()
	a := d.integrations()
	a.NotifyURL = notifyURL
	return run(d, a.LoadIntegration, activities.LoadIntegrationInput{Org: d.org, Integration: i.ID})
}

func (d *desk) watches(i domain.Integration) []store.SealedWatch {
	d.t.Helper()
	var out []store.SealedWatch
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.OpenWatches(ctx, i.ID)
		return err
	})
	return out
}

func (d *desk) one(i domain.Integration, state domain.WatchState) store.SealedWatch {
	d.t.Helper()
	all := d.watches(i)
	if len(all) != 1 || all[0].State != state {
		d.t.Fatalf("watches are %+v, want one that is %s", all, state)
	}
	return all[0]
}

// notice is what the server does with a message.
func (d *desk) notice(id domain.WatchID, n store.WatchNotice) (stood bool) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		stood, err = tx.NoteNotice(ctx, id, n)
		return err
	})
	return stood
}

func TestConnectionThatImportsGetsAWatchAndIsReadOnceItStands(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	if cfg := d.config(i); cfg.WatchesDue.IsZero() || cfg.WatchesDue.After(d.clock()) {
		t.Fatalf("a new connection's watch is due at %s", cfg.WatchesDue)
	}
	out := d.keep(i)
	if out.Made != 1 || !out.Pull || out.Failed != 0 {
		t.Errorf("kept: %+v", out)
	}
	one := d.one(i, domain.WatchActive)
	r := w.asked[0]
	if r.ID != string(one.ID) || r.URL != notifyURL+"/v1/notify/"+string(one.ID) || r.Secret != one.Secret || len(r.Secret) != 43 {
		t.Errorf("asked for %+v", r)
	}
	week := d.clock().Add(7 * 24 * time.Hour)
	if one.RemoteID != "remote-a" || one.ResourceID != "calendar" || !one.ExpiresAt.Equal(week) {
		t.Errorf("watch is %+v", one.Watch)
	}
	if due := d.clock().Add(7 * 24 * time.Hour * 4 / 5); !out.NextDue.Equal(due) {
		t.Errorf("looked after at %s, want %s", out.NextDue, due)
	}
	// What changed before it stood is wanted.
	if cfg := d.config(i); cfg.PullWanted.IsZero() {
		t.Error("nobody reads what changed before the watch stood")
	}
	if again := d.keep(i); again.Made+again.Renewed+again.Ended != 0 || again.Pull || len(w.asked) != 1 {
		t.Errorf("kept again: %+v", again)
	}
}

func TestOnlyConnectionsThatCanBeToldHaveWatches(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	exporting := d.connect("exporting", domain.DirectionExport, newWatched(d))
	for name, one := range map[string]domain.Integration{"does not import": exporting, "does not post": d.crm} {
		if out := d.keep(one); out != (activities.KeepWatchesResult{}) || len(d.watches(one)) != 0 {
			t.Errorf("%s: %+v", name, out)
		}
	}
	private := d.keeper()
	private.NotifyURL = ""
	if out := run(d, private.KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID}); out != (activities.KeepWatchesResult{}) || len(w.asked) != 0 {
		t.Errorf("without a public address: %+v", out)
	}
	unknown := domain.Integration{ID: domain.NewID[domain.IntegrationID](d.clock())}
	if out := run(d, d.keeper().KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: unknown.ID}); out != (activities.KeepWatchesResult{}) {
		t.Errorf("unknown integration: %+v", out)
	}
}

func TestMessageBeforeTheAnswerIsTaken(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	stood := false
	w.before = func(r provider.WatchRequest) {
		// The system posts, or checks the address, before it answers: the server must know the watch by now.
		record, err := d.WatchRecord(t.Context(), domain.WatchID(r.ID))
		if err != nil || record.Secret != r.Secret || record.RemoteID != "" || record.State != domain.WatchPending {
			t.Errorf("record is %+v, %v", record, err)
		}
		stood = d.notice(domain.WatchID(r.ID), store.WatchNotice{Pull: true})
	}
	d.keep(i)
	if one := d.one(i, domain.WatchActive); !stood || one.Notices != 1 || d.config(i).PullWanted.IsZero() {
		t.Errorf("watch is %+v", one.Watch)
	}
}

func TestRowOfACrashIsUsedAgain(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	id := domain.NewID[domain.WatchID](d.clock())
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.CreateWatch(ctx, i.ID, id, strings.Repeat("s", 43), store.HashSettings(i))
		return err
	})
	d.advance(time.Minute)
	d.keep(i)
	if one := d.one(i, domain.WatchActive); one.ID != id || len(w.asked) != 1 {
		t.Errorf("%d calls; watch is %+v", len(w.asked), one.Watch)
	}
}

func TestLostAnswerLeavesOneWatchStanding(t *testing.T) {
	t.Parallel()
	for name, once := range map[string]bool{"the id may be used again": false, "the id is spoilt": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, w, i := watching(t)
			w.once, w.lost["watch"] = once, 1
			out := d.keep(i)
			if out.Failed != 1 || out.Made != 0 || out.Pull {
				t.Fatalf("kept: %+v", out)
			}
			first := d.one(i, domain.WatchPending)
			if first.Fault == "" || first.Failures != 1 || !out.NextDue.Equal(d.clock().Add(time.Minute)) {
				t.Errorf("watch is %+v, due %s", first.Watch, out.NextDue)
			}
			// Messages of the watch that the system has are taken meanwhile, and nothing is asked before its time.
			if !d.notice(first.ID, store.WatchNotice{Pull: true}) || d.keep(i).Made != 0 {
				t.Error("the watch whose answer was lost takes no messages, or was asked for too early")
			}
			d.advance(time.Minute)
			if out = d.keep(i); out.Made != 1 || !out.Pull {
				t.Fatalf("kept: %+v", out)
			}
			if one := d.one(i, domain.WatchActive); (one.ID == first.ID) == once || one.Fault != "" || one.Failures != 0 {
				t.Errorf("watch is %+v", one.Watch)
			}
			if d.notice(first.ID, store.WatchNotice{}) == once {
				t.Error("the spoilt watch takes messages, or the standing one does not")
			}
		})
	}
}

func TestRenewalProlongsInPlaceByWhatTheSystemAllows(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	w.inPlace, w.lifetime = true, time.Hour
	out := d.keep(i)
	for range 5 {
		if wait := out.NextDue.Sub(d.clock()); wait != w.lifetime*4/5 {
			t.Fatalf("renewed after %s of %s", wait, w.lifetime)
		}
		d.advance(w.lifetime * 4 / 5)
		w.lifetime /= 2 // it becomes ever shorter
		out = d.keep(i)
		if out.Renewed != 1 || out.Made != 0 || out.Pull {
			t.Fatalf("kept: %+v", out)
		}
		if one := d.one(i, domain.WatchActive); !one.ExpiresAt.Equal(d.clock().Add(w.lifetime)) {
			t.Fatalf("it ends at %s", one.ExpiresAt)
		}
	}
	w.lifetime = time.Second
	d.advance(time.Minute * 2)
	if out = d.keep(i); out.NextDue.Sub(d.clock()) < 30*time.Second {
		t.Errorf("a lifetime of a second is renewed after %s", out.NextDue.Sub(d.clock()))
	}
}

func TestSystemThatCannotProlongGetsANewWatchBeforeTheOldOneEnds(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	d.keep(i)
	old := d.one(i, domain.WatchActive)
	d.advance(6 * 24 * time.Hour)
	w.before = func(provider.WatchRequest) {
		if len(w.ended) != 0 || len(w.standing) != 1 {
			t.Error("the old watch was ended before the new one stood")
		}
	}
	// At the first try the system does not answer: the old one goes on.
	w.faults["watch"] = []error{domain.E(domain.KindUnavailable, "down")}
	if out := d.keep(i); out.Made != 0 || out.Ended != 0 || out.Failed != 1 || !out.NextDue.After(d.clock()) {
		t.Fatalf("kept: %+v", out)
	}
	if !d.notice(old.ID, store.WatchNotice{Pull: true}) {
		t.Error("the old watch takes no messages while there is no new one")
	}
	d.advance(time.Minute)
	out := d.keep(i)
	if out.Made != 1 || out.Ended != 1 || !out.Pull {
		t.Fatalf("kept: %+v", out)
	}
	fresh := d.one(i, domain.WatchActive)
	if fresh.ID == old.ID || len(w.ended) != 1 || w.ended[0] != old.RemoteID || len(w.standing) != 1 {
		t.Errorf("standing %v, ended %v", w.standing, w.ended)
	}
	// The system goes on posting to the old one for a while.
	if d.notice(old.ID, store.WatchNotice{Pull: true}) {
		t.Error("a message to the old watch counts")
	}
	if w.count("renew") != 1 {
		t.Errorf("%d renewals were tried", w.count("renew"))
	}
}

func TestCrashBetweenNewAndOldLeavesNoSecondWatch(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	d.keep(i)
	old := d.one(i, domain.WatchActive)
	d.advance(time.Second)
	id := domain.NewID[domain.WatchID](d.clock())
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.CreateWatch(ctx, i.ID, id, "s", store.HashSettings(i)); err != nil {
			return err
		}
		fresh := old.Watch
		fresh.ID, fresh.RemoteID = id, "remote-z"
		_, err := tx.UpdateWatch(ctx, fresh, domain.WatchPending)
		return err
	})
	if out := d.keep(i); out.Ended != 1 || out.Made != 0 {
		t.Fatalf("kept: %+v", out)
	}
	if one := d.one(i, domain.WatchActive); one.ID != id || len(w.ended) != 1 || w.ended[0] != old.RemoteID {
		t.Errorf("%s stands, ended %v", one.ID, w.ended)
	}
}

func TestRenewalThatFailsIsTriedUntilTheEndAndThenAnotherIsMade(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	w.inPlace, w.lifetime = true, 10*time.Hour
	out := d.keep(i)
	old := d.one(i, domain.WatchActive)
	tries := 0
	for d.clock().Before(*old.ExpiresAt) {
		if !out.NextDue.After(d.clock()) {
			t.Fatalf("due again at once, at %s", out.NextDue)
		}
		d.advance(out.NextDue.Sub(d.clock()))
		w.faults["renew"] = []error{domain.WithRetryAfter(domain.E(domain.KindRateLimited, "slow down"), 10*time.Minute)}
		out = d.keep(i)
		tries++
	}
	if tries < 3 || tries > 12 {
		t.Errorf("%d tries in the last two hours", tries)
	}
	if one := d.one(i, domain.WatchActive); one.ID == old.ID || out.Made != 1 || !out.Pull || len(w.ended) != 0 {
		t.Errorf("kept: %+v; watch is %+v; ended %v", out, one.Watch, w.ended)
	}
}

func TestWatchThatTheSystemRemovedIsMadeAnew(t *testing.T) {
	t.Parallel()
	d, _, i := watching(t)
	d.keep(i)
	old := d.one(i, domain.WatchActive)
	d.notice(old.ID, store.WatchNotice{Removed: true})
	if cfg := d.config(i); cfg.WatchesDue.IsZero() || cfg.WatchesDue.After(d.clock()) || cfg.PullWanted.IsZero() {
		t.Fatalf("config is %+v", cfg)
	}
	if out := d.keep(i); out.Made != 1 || !out.Pull || out.Ended != 0 {
		t.Errorf("kept: %+v", out)
	}
	if one := d.one(i, domain.WatchActive); one.ID == old.ID {
		t.Error("the removed watch stands again")
	}
}

func TestWatchThatIsRemovedBeforeTheAnswerIsNotBroughtBack(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	w.before = func(r provider.WatchRequest) { d.notice(domain.WatchID(r.ID), store.WatchNotice{Removed: true}) }
	if out := d.keep(i); out.Made != 0 || !out.NextDue.After(d.clock()) || len(w.standing) != 0 {
		t.Fatalf("kept: %+v, standing %v", out, w.standing)
	}
	w.before = nil
	d.advance(time.Minute)
	if out := d.keep(i); out.Made != 1 {
		t.Errorf("kept: %+v", out)
	}
}

func TestRenewalThatTheSystemAsksForIsDoneAtOnce(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	w.inPlace = true
	d.keep(i)
	d.advance(time.Hour)
	d.notice(d.one(i, domain.WatchActive).ID, store.WatchNotice{Renew: true})
	if out := d.keep(i); out.Renewed != 1 || w.count("renew") != 1 || !out.NextDue.After(d.clock().Add(time.Hour)) {
		t.Errorf("kept: %+v", out)
	}
}

func TestPausedAndDeletedConnectionsEndTheirWatches(t *testing.T) {
	t.Parallel()
	for _, state := range []domain.IntegrationState{domain.IntegrationPaused, domain.IntegrationDeleted} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			d, w, i := watching(t)
			d.keep(i)
			d.setState(i.ID, state)
			if cfg := d.config(i); cfg.WatchesDue.IsZero() || cfg.WatchesDue.After(d.clock()) {
				t.Fatalf("due at %s", cfg.WatchesDue)
			}
			w.faults["unwatch"] = []error{domain.E(domain.KindUnavailable, "down")}
			out := d.keep(i)
			if out.Ended != 0 || out.Failed != 1 || !out.NextDue.Equal(d.clock().Add(time.Minute)) {
				t.Fatalf("kept: %+v", out)
			}
			d.one(i, domain.WatchRetiring)
			d.advance(time.Minute)
			if out = d.keep(i); out.Ended != 1 || !out.NextDue.IsZero() || len(w.standing) != 0 || len(d.watches(i)) != 0 {
				t.Errorf("kept: %+v, standing %v", out, w.standing)
			}
		})
	}
}

// sweeping is a system that lists what posts where, for ever.
type sweeping struct{ *watched }

func (s sweeping) Watch(ctx context.Context, r provider.WatchRequest) (provider.Watched, error) {
	if err := s.Sweep(ctx, r.Over); err != nil {
		return provider.Watched{}, err
	}
	return s.watched.Watch(ctx, r)
}

func (s sweeping) Sweep(_ context.Context, addresses []string) error {
	maps.DeleteFunc(s.standing, func(_ string, w provider.Watched) bool {
		return slices.Contains(addresses, notifyURL+provider.NotifyPath+w.ID)
	})
	return nil
}

func TestWatchWhoseMakingWasNotAnsweredEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	d := setup(t)
	w := sweeping{newWatched(d)}
	i := d.connect("sweeping", domain.DirectionBidirectional, w)
	w.lost["watch"] = 1
	d.keep(i)
	if d.one(i, domain.WatchPending); len(w.standing) != 1 {
		t.Fatalf("%d watches stand", len(w.standing))
	}
	d.setState(i.ID, domain.IntegrationDeleted)
	if out := d.keep(i); out.Ended != 1 || !out.NextDue.IsZero() || len(w.standing) != 0 {
		t.Errorf("kept: %+v, standing %v", out, w.standing)
	}
}

func TestWatchThatRanOutAndStillPostsIsEnded(t *testing.T) {
	t.Parallel()
	d := setup(t)
	w := sweeping{newWatched(d)}
	i := d.connect("sweeping", domain.DirectionBidirectional, w)
	d.keep(i)
	d.advance(8 * 24 * time.Hour) // no worker ran
	if out := d.keep(i); out.Made != 1 || len(w.standing) != 1 {
		t.Errorf("kept: %+v, standing %v", out, w.standing)
	}
	d.advance(8 * 24 * time.Hour)
	d.setState(i.ID, domain.IntegrationPaused)
	if out := d.keep(i); out.Ended != 1 || len(w.standing) != 0 {
		t.Errorf("kept: %+v, standing %v", out, w.standing)
	}
}

func TestWatchThatCannotBeEndedIsGivenUp(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	d.keep(i)
	d.setState(i.ID, domain.IntegrationDeleted)
	began := d.clock()
	out := activities.KeepWatchesResult{NextDue: d.clock()}
	for n := 0; !out.NextDue.IsZero(); n++ {
		if n > 20 {
			t.Fatal("it is tried for ever")
		}
		d.advance(out.NextDue.Sub(d.clock()))
		w.faults["unwatch"] = []error{domain.E(domain.KindForbidden, "refused")}
		out = d.keep(i)
	}
	if took := d.clock().Sub(began); len(d.watches(i)) != 0 || took > 5*time.Hour {
		t.Errorf("%d watches left after %s", len(d.watches(i)), took)
	}
}

func TestRefusedCredentialsAskForAReconnectAndLeaveThePollingAlone(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	w.faults["watch"] = []error{domain.E(domain.KindUnauthenticated, "expired")}
	out := run(d, d.keeper().KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID})
	if !out.Refused || d.state(i.ID) != domain.IntegrationNeedsReconnect {
		t.Errorf("kept: %+v, state %s", out, d.state(i.ID))
	}
	if cfg := d.config(i); !cfg.WatchesDue.IsZero() {
		t.Errorf("watches are due at %s, and nothing can be asked of the system", cfg.WatchesDue)
	}
	d.setState(i.ID, domain.IntegrationActive)
	d.advance(time.Minute)
	if out := d.keep(i); out.Made != 1 {
		t.Errorf("after the reconnect: %+v", out)
	}
}

func TestSystemThatRefusesForGoodIsAskedOnceADay(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	for name, fault := range map[string]error{"refused": domain.E(domain.KindPermanent, "not offered for this calendar")} {
		w.faults["watch"] = []error{fault}
		out := d.keep(i)
		if one := d.one(i, domain.WatchPending); out.NextDue.Sub(d.clock()) != 24*time.Hour || one.Fault == "" {
			t.Errorf("%s: due %s, %+v", name, out.NextDue, one.Watch)
		}
	}
	// An end in the past is no answer that a watch can stand on.
	d.advance(24 * time.Hour)
	w.lifetime = -time.Hour
	w.asked = nil
	w.before = func(provider.WatchRequest) { w.lifetime = 1 }
	w.clock = func() time.Time { return d.clock().Add(-time.Hour) }
	if out := d.keep(i); out.Made != 0 || out.Failed != 1 {
		t.Errorf("kept: %+v", out)
	}
}

func TestRenewalsAreSpread(t *testing.T) {
	t.Parallel()
	d, _, i := watching(t)
	a := d.keeper()
	for n, random := range []float64{0, 1} {
		a.Random = func() float64 { return random }
		d.notice(func() domain.WatchID {
			if all := d.watches(i); len(all) > 0 {
				return all[0].ID
			}
			return domain.NewID[domain.WatchID](d.clock())
		}(), store.WatchNotice{Removed: true})
		out := run(d, a.KeepWatches, activities.KeepWatchesInput{Org: d.org, Integration: i.ID})
		share := float64(out.NextDue.Sub(d.clock())) / float64(7*24*time.Hour)
		if want := []float64{0.775, 0.825}[n]; share < want-0.001 || share > want+0.001 {
			t.Errorf("renewed at %.3f of the lifetime, want %.3f", share, want)
		}
	}
}

func TestNewSettingsGetANewWatch(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	d.keep(i)
	old := d.one(i, domain.WatchActive)
	change := func(settings string) {
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			now, err := tx.Integration(ctx, i.ID)
			if err != nil {
				return err
			}
			now.Settings = []byte(settings)
			return tx.UpdateIntegration(ctx, now, nil, now.Version)
		})
	}
	change(`{"calendar": "another"}`)
	if cfg := d.config(i); cfg.WatchesDue.After(d.clock()) || cfg.WatchesDue.IsZero() {
		t.Fatalf("due at %s", cfg.WatchesDue)
	}
	// The first try fails, and the settings change once more before the second.
	w.faults["watch"] = []error{domain.E(domain.KindUnavailable, "down")}
	if out := d.keep(i); out.Failed != 1 || out.Ended != 0 {
		t.Fatalf("kept: %+v", out)
	}
	if cfg := d.config(i); !cfg.WatchesDue.After(d.clock()) {
		t.Errorf("due at %s, before the wait is over", cfg.WatchesDue)
	}
	change(`{"calendar": "third"}`)
	if out := d.keep(i); out.Made != 1 || out.Ended != 1 || !out.Pull {
		t.Fatalf("kept: %+v", out)
	}
	if one := d.one(i, domain.WatchActive); one.ID == old.ID || len(w.ended) != 1 || len(w.standing) != 1 {
		t.Errorf("watch is %+v, ended %v", one.Watch, w.ended)
	}
	// A new name means no other calendar.
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Integration(ctx, i.ID)
		if err != nil {
			return err
		}
		now.Name = "renamed"
		return tx.UpdateIntegration(ctx, now, nil, now.Version)
	})
	if out := d.keep(i); out.Made != 0 || out.Ended != 0 {
		t.Errorf("kept: %+v", out)
	}
}
