package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func (b *bundle) watch(org domain.OrgID, i domain.IntegrationID) domain.Watch {
	b.t.Helper()
	id := domain.NewID[domain.WatchID](b.clock.now())
	b.tenant(org, func(tx *Tx) error {
		made, err := tx.CreateWatch(b.t.Context(), i, id, "watch-secret", SettingsHash{1})
		if err == nil && !made {
			b.t.Fatal("another watch is pending")
		}
		return err
	})
	return b.onlyWatch(org, i).Watch
}

func (b *bundle) watches(org domain.OrgID, i domain.IntegrationID) (all []SealedWatch) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) (err error) {
		all, err = tx.OpenWatches(b.t.Context(), i)
		return err
	})
	return all
}

func (b *bundle) onlyWatch(org domain.OrgID, i domain.IntegrationID) SealedWatch {
	b.t.Helper()
	all := b.watches(org, i)
	if len(all) != 1 {
		b.t.Fatalf("%d watches are not over", len(all))
	}
	return all[0]
}

func (b *bundle) plan(org domain.OrgID, i domain.IntegrationID) (p WatchPlan) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) (err error) {
		p, err = tx.WatchPlan(b.t.Context(), i, SettingsHash{1})
		return err
	})
	return p
}

func (b *bundle) notice(org domain.OrgID, id domain.WatchID, n WatchNotice) (stood bool) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) (err error) {
		stood, err = tx.NoteNotice(b.t.Context(), id, n)
		return err
	})
	return stood
}

// told counts the outbox lines that tell an integration's workflow to look, and removes them.
func (b *bundle) told(i domain.IntegrationID) (n int) {
	b.t.Helper()
	rows, err := b.ClaimOutbox(b.t.Context(), 1000)
	b.must(err)
	var ids []int64
	for _, r := range rows {
		ids = append(ids, r.ID)
		if r.Kind == OutboxIntegrationChanged && r.Target == string(i) {
			n++
		}
	}
	b.must(b.DeleteOutbox(b.t.Context(), ids))
	return n
}

func TestWatchIsKnownToTheServerBeforeTheSystemIsAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	w := b.watch(org, i.ID)
	got, err := b.WatchRecord(t.Context(), w.ID)
	b.must(err)
	want := WatchRecord{Org: org, Integration: i.ID, Provider: i.Provider, State: domain.WatchPending, Secret: "watch-secret"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err = b.WatchRecord(t.Context(), domain.NewID[domain.WatchID](b.clock.now()))
	wantKind(t, err, domain.KindNotFound)
	// A second one is not made while one is pending, also by two at once.
	var made sync.Map
	var wait sync.WaitGroup
	other := b.integration(org)
	for n := range 4 {
		wait.Go(func() {
			id := domain.NewID[domain.WatchID](b.clock.now())
			if err := b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
				ok, err := tx.CreateWatch(ctx, other.ID, id, "s", SettingsHash{})
				made.Store(n, ok)
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	n := 0
	made.Range(func(_, ok any) bool {
		if ok.(bool) {
			n++
		}
		return true
	})
	if n != 1 || len(b.watches(org, other.ID)) != 1 {
		t.Errorf("%d of four callers made a watch", n)
	}
}

func TestWatchMovesOnlyFromTheStateThatItsCallerSaw(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	w := b.watch(org, i.ID)
	ends := b.clock.now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	w.State, w.RemoteID, w.ResourceID, w.ExpiresAt, w.RenewAfter = domain.WatchActive, "remote", "resource", &ends, ends.Add(-time.Minute)
	move := func(w domain.Watch, was domain.WatchState) (moved bool) {
		b.tenant(org, func(tx *Tx) (err error) {
			moved, err = tx.UpdateWatch(t.Context(), w, was)
			return err
		})
		return moved
	}
	if !move(w, domain.WatchPending) || move(w, domain.WatchPending) {
		t.Fatal("a pending watch becomes active once")
	}
	if d := cmp.Diff(w, b.onlyWatch(org, i.ID).Watch); d != "" {
		t.Error(d)
	}
	if p := b.plan(org, i.ID); !p.Standing || p.Due == nil || !p.Due.Equal(w.RenewAfter) || p.PullWanted != nil {
		t.Errorf("plan is %+v", p)
	}
	b.tenant(org, func(tx *Tx) error {
		if p, err := tx.WatchPlan(t.Context(), i.ID, SettingsHash{2}); err != nil || !p.Outdated {
			t.Errorf("a watch of other settings is taken for one of these: %+v, %v", p, err)
		}
		return nil
	})
	if b.onlyWatch(org, i.ID).Settings != (SettingsHash{1}) {
		t.Error("the watch does not know for which settings it was made")
	}
	w.State = domain.WatchRetired
	if !move(w, domain.WatchActive) {
		t.Fatal("the active watch did not retire")
	}
	if p := b.plan(org, i.ID); p != (WatchPlan{}) {
		t.Errorf("plan of a retired watch is %+v", p)
	}
	if r, err := b.WatchRecord(t.Context(), w.ID); err != nil || r.State != domain.WatchRetired {
		t.Errorf("a retired watch is not known any more: %v", err)
	}
	// It is forgotten a month later, when another one is made.
	b.clock.advance(31 * 24 * time.Hour)
	b.watch(org, i.ID)
	_, err := b.WatchRecord(t.Context(), w.ID)
	wantKind(t, err, domain.KindNotFound)
	w.RemoteID = string(make([]byte, maxRemoteID+1))
	err = b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
		_, err := tx.UpdateWatch(ctx, w, domain.WatchPending)
		return err
	})
	wantKind(t, err, domain.KindInvalid)
}

func TestBurstOfNoticesIsOneWishThatTheNextRunTakes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	w := b.watch(org, i.ID)
	b.told(i.ID)
	first := b.clock.now().UTC().Truncate(time.Microsecond)
	for range 5 {
		if !b.notice(org, w.ID, WatchNotice{Pull: true}) {
			t.Fatal("a pending watch takes no notices")
		}
		b.clock.advance(time.Second)
	}
	if n := b.told(i.ID); n != 1 {
		t.Errorf("five notices told the workflow %d times", n)
	}
	got := b.onlyWatch(org, i.ID)
	if p := b.plan(org, i.ID); got.Notices != 5 || got.LastNoticeAt == nil || p.PullWanted == nil || !p.PullWanted.Equal(first) {
		t.Errorf("watch is %+v, plan %+v", got.Watch, p)
	}
	run := domain.NewID[domain.SyncRunID](b.clock.now())
	take := func() (r domain.SyncRun) {
		b.tenant(org, func(tx *Tx) error {
			if _, _, err := tx.StartSyncRun(t.Context(), domain.SyncRun{ID: run, IntegrationID: i.ID, RequestedBy: "schedule"}); err != nil {
				return err
			}
			if err := tx.TakePullWish(t.Context(), i.ID, run); err != nil {
				return err
			}
			var err error
			r, err = tx.SyncRun(t.Context(), run)
			return err
		})
		return r
	}
	for range 2 { // the step may run twice
		if r := take(); r.NoticedAt == nil || !r.NoticedAt.Equal(first) {
			t.Errorf("the run knows of a notice at %v", r.NoticedAt)
		}
	}
	if p := b.plan(org, i.ID); p.PullWanted != nil {
		t.Error("the wish was taken and still waits")
	}
	// One that says nothing wishes for nothing; a later one is a wish of its own.
	b.notice(org, w.ID, WatchNotice{})
	if n := b.told(i.ID); n != 0 || b.plan(org, i.ID).PullWanted != nil {
		t.Error("a message that says nothing led to a pull")
	}
	b.notice(org, w.ID, WatchNotice{Pull: true})
	if n := b.told(i.ID); n != 1 {
		t.Errorf("a notice after the run told the workflow %d times", n)
	}
}

func TestNoticeOfAnEndedWatchLeadsToNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	w := b.watch(org, i.ID)
	b.told(i.ID)
	if !b.notice(org, w.ID, WatchNotice{Removed: true}) || b.told(i.ID) != 1 {
		t.Error("the workflow does not learn that the system ended the watch")
	}
	if p := b.plan(org, i.ID); p.Due != nil || p.PullWanted == nil {
		t.Errorf("plan is %+v: the watch is over and what it may have missed is wanted", p)
	}
	if b.notice(org, w.ID, WatchNotice{Pull: true}) || b.told(i.ID) != 0 {
		t.Error("a watch that is over takes notices")
	}
	if b.notice(org, domain.NewID[domain.WatchID](b.clock.now()), WatchNotice{Pull: true}) {
		t.Error("an unknown watch takes notices")
	}
}

func TestRenewalIsDueWhenTheSystemAsksForIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	w := b.watch(org, i.ID)
	ends := b.clock.now().Add(time.Hour)
	w.State, w.ExpiresAt, w.RenewAfter = domain.WatchActive, &ends, ends
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.UpdateWatch(t.Context(), w, domain.WatchPending)
		return err
	})
	b.told(i.ID)
	for range 3 {
		b.notice(org, w.ID, WatchNotice{Renew: true})
	}
	if p := b.plan(org, i.ID); p.Due.After(b.clock.now()) || p.PullWanted != nil {
		t.Errorf("plan is %+v", p)
	}
	if n := b.told(i.ID); n != 1 {
		t.Errorf("three requests to renew told the workflow %d times", n)
	}
}

func TestNoticeIsUndoneWithItsTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	w := b.watch(org, i.ID)
	b.told(i.ID)
	stop := errors.New("stop")
	err := b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.NoteNotice(ctx, w.ID, WatchNotice{Pull: true}); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) || b.told(i.ID) != 0 || b.onlyWatch(org, i.ID).Notices != 0 {
		t.Errorf("a part of the notice stayed: %v", err)
	}
}

func TestLagsRollAndLastHundredStay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i, other := b.integration(org), b.integration(org)
	add := func(late int, lags ...time.Duration) {
		b.tenant(org, func(tx *Tx) error { return tx.AddLags(t.Context(), i.ID, lags, late) })
	}
	var many []time.Duration
	for n := range 250 {
		many = append(many, time.Duration(n)*time.Second)
	}
	add(0)
	add(1, time.Minute)
	add(7, many...)
	add(0, 5*time.Millisecond, 6*time.Millisecond)
	b.tenant(org, func(tx *Tx) error {
		all, err := tx.Freshness(t.Context(), i.ID, other.ID)
		m := all[i.ID]
		if len(m.Lags) != 100 || m.Lags[0] != 152*time.Second || m.Lags[97] != 249*time.Second || m.Lags[99] != 6*time.Millisecond ||
			m.Changes != 253 || m.Late != 8 || m.MeasuredAt == nil {
			t.Errorf("measured %d lags from %v, %d changes, %d late", len(m.Lags), m.Lags[:1], m.Changes, m.Late)
		}
		if _, known := all[other.ID]; known {
			t.Error("an integration without figures has some")
		}
		return err
	})
	b.tenant(org, func(tx *Tx) error { return tx.AddLags(t.Context(), other.ID, []time.Duration{48 * time.Hour}, 0) })
	totals, err := b.LagTotals(t.Context())
	b.must(err)
	// 0 s, 1 s and two of milliseconds; 2 s; 3 to 5 s; …; 121 to 249 s; two days.
	want := map[string]LagTotals{i.Provider: {Buckets: []int64{4, 1, 3, 5, 10, 10, 31, 60, 129, 0, 0, 0, 0, 0, 1},
		Sum: 48*time.Hour + time.Minute + 249*250/2*time.Second + 11*time.Millisecond}}
	if d := cmp.Diff(want, totals); d != "" {
		t.Error(d)
	}
	third := b.integration(org)
	w := b.watch(org, third.ID)
	b.notice(org, w.ID, WatchNotice{Pull: true})
	b.tenant(org, func(tx *Tx) error {
		all, err := tx.Freshness(t.Context(), i.ID, third.ID)
		if m := all[third.ID]; len(m.Watches) != 1 || m.Wanted == nil || len(m.Lags) != 0 {
			t.Errorf("measured %+v", m)
		}
		return err
	})
}

func TestFullRunExpectsWhatIsKnownUntilTheSystemSaysHowManyThereAre(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	k := b.booking(org, i.ResourceID, b.clock.now(), time.Hour)
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO links (id, org_id, integration_id, booking_id, external_id, mirror, updated_at)
			VALUES ($1, $2, $3, $4, 'e', false, $5)`, domain.NewID[domain.LinkID](tx.Now), org, i.ID, k.ID, tx.Now)
		return err
	})
	begin := func(full bool) domain.SyncRun {
		var r domain.SyncRun
		b.clock.advance(time.Second)
		b.tenant(org, func(tx *Tx) (err error) {
			r, _, err = tx.StartSyncRun(t.Context(), domain.SyncRun{ID: domain.NewID[domain.SyncRunID](b.clock.now()), IntegrationID: i.ID, Full: full, RequestedBy: "a"})
			return err
		})
		return r
	}
	if r := begin(false); !r.Full || r.Expected != 1 {
		t.Errorf("a pull from the beginning is full %t and expects %d entries, one is known", r.Full, r.Expected)
	}
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE integrations SET sync_cursor = 'c' WHERE id = $1", i.ID)
		return err
	})
	if r := begin(false); r.Full || r.Expected != 0 {
		t.Errorf("a pull of changes is full %t and expects %d entries", r.Full, r.Expected)
	}
	run := begin(true)
	if run.Expected != 1 {
		t.Errorf("a full run expects %d entries, one is known", run.Expected)
	}
	b.tenant(org, func(tx *Tx) error {
		for n, total := range []int{700, 0} {
			got, _, err := tx.AddSyncPage(t.Context(), run.ID, SyncPage{Number: n, Seen: 100, Total: total, Next: "n"})
			if err != nil {
				return err
			}
			if got.Expected != 700 {
				t.Errorf("after page %d it expects %d", n, got.Expected)
			}
		}
		running, err := tx.RunningSyncs(t.Context(), i.ID)
		if running[i.ID].ID != run.ID || running[i.ID].Seen != 200 {
			t.Errorf("running is %+v", running)
		}
		return err
	})
}
