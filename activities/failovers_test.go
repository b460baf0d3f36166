package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

func (d *desk) failovers() *activities.Failovers {
	return &activities.Failovers{Store: d.Store, Opener: d.opener, NotifyURL: notifyURL}
}

func (d *desk) judge(i domain.Integration) contract.IntegrationConfig {
	d.t.Helper()
	return run(d, d.failovers().KeepFailover, activities.KeepFailoverInput{Org: d.org, Integration: i.ID})
}

func (d *desk) send(i domain.Integration, r contract.FailoverRequest) activities.SetFailoverResult {
	d.t.Helper()
	return run(d, d.failovers().SetFailover, activities.SetFailoverInput{Org: d.org, Integration: i.ID, Request: r})
}

func (d *desk) failover(i domain.Integration) domain.Failover {
	d.t.Helper()
	var f domain.Failover
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		f, err = tx.Failover(ctx, i.ID)
		return err
	})
	return f
}

func (d *desk) health(i domain.Integration) domain.Health {
	d.t.Helper()
	var h domain.Health
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		h, err = tx.Health(ctx, i.ID)
		return err
	})
	return h
}

func (d *desk) episodes(i domain.Integration) []domain.FailoverEpisode {
	d.t.Helper()
	var list []domain.FailoverEpisode
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		list, _, err = tx.Episodes(ctx, i.ID, store.Page{})
		return err
	})
	return list
}

// read lists the system of an integration to its end.
func (d *desk) read(i domain.Integration) domain.SyncRun {
	d.t.Helper()
	ref := d.startRun(i, false)
	d.pull(ref)
	run(d, none(d.syncs().EndSyncRun), activities.EndSyncRunInput{SyncRef: ref, State: domain.SyncDone})
	return d.run(ref)
}

func (d *desk) apply(i domain.Integration) activities.ApplyDeliveriesResult {
	d.t.Helper()
	return run(d, d.deliveries().ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: i.ID})
}

// versions is how often each booking that came of an entry was changed.
func (d *desk) versions(i domain.Integration, entry string) int {
	d.t.Helper()
	n := 0
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		l, err := tx.LinkAt(ctx, i.ID, entry)
		if err != nil {
			return err
		}
		list, err := tx.BookingChanges(ctx, l.BookingID, 0, 100)
		n = len(list)
		return err
	})
	return n
}

// shows lets the system of a desk's customers list a page from now on, whatever the position.
func (d *desk) shows(changes ...domain.Change) {
	for _, cursor := range []string{"", "1"} {
		d.atCRM.pages[cursor] = provider.Page{Changes: changes, Next: "1"}
	}
}

func TestWebhooksThatStopAreNoticedReadByPollsAndComeBackWithoutGapOrRepeat(t *testing.T) {
	t.Parallel()
	d := setup(t)
	one, two, three := change("one", domain.CategoryVendor, 1, 2), change("two", domain.CategoryVendor, 3, 4), change("three", domain.CategoryVendor, 5, 6)
	d.shows()
	d.read(d.crm)
	d.deliver(d.crm, body(one))
	d.apply(d.crm)
	if cfg := d.config(d.crm); cfg.Failover != nil {
		t.Fatalf("a connection whose webhooks work is %+v", cfg.Failover)
	}
	// Webhooks stop. The next usual poll finds what nobody told.
	d.advance(time.Minute)
	d.shows(one, two)
	d.read(d.crm)
	cfg := d.config(d.crm)
	if cfg.Failover == nil || cfg.Failover.Mode != domain.FailoverUsual || cfg.Failover.Due.IsZero() {
		t.Fatalf("what was found leads to %+v", cfg.Failover)
	}
	if cfg = d.judge(d.crm); cfg.Failover.Mode != domain.FailoverUsual {
		t.Fatal("it did not wait for a webhook that may be late")
	}
	d.advance(31 * time.Second)
	cfg = d.judge(d.crm)
	if cfg.Failover.Mode != domain.FailoverBegun || cfg.PollSeconds != 15 || cfg.PullWanted.IsZero() {
		t.Fatalf("it is %+v", cfg)
	}
	if h := d.health(d.crm); h.State != domain.HealthFailingOver || h.Reason.Text == "" {
		t.Errorf("its health is %s because %q", h.State, h.Reason.Text)
	}
	d.shows(one, two, three)
	d.read(d.crm)
	if cfg = d.judge(d.crm); cfg.Failover.Mode != domain.FailoverPolling || !cfg.PullWanted.IsZero() {
		t.Fatalf("after a poll it is %+v", cfg)
	}
	if h := d.health(d.crm); h.State != domain.HealthPolling {
		t.Errorf("its health is %s", h.State)
	}
	// They come again, late ones too, and say what polls have read already.
	d.advance(time.Minute)
	d.deliver(d.crm, body(two), body(three), body(one))
	d.apply(d.crm)
	if cfg = d.judge(d.crm); cfg.Failover.Mode != domain.FailoverPolling {
		t.Fatal("it did not stay with polls for the least time")
	}
	d.advance(2 * time.Minute)
	if cfg = d.judge(d.crm); cfg.Failover.Mode != domain.FailoverReturning || cfg.PullWanted.IsZero() {
		t.Fatalf("after three webhooks it is %+v", cfg)
	}
	d.read(d.crm)
	if cfg = d.judge(d.crm); cfg.Failover != nil || cfg.PollSeconds != 0 {
		t.Fatalf("after the closing poll it is %+v", cfg)
	}
	if h := d.health(d.crm); h.State != domain.HealthUp {
		t.Errorf("its health is %s", h.State)
	}
	for _, entry := range []string{"one", "two", "three"} {
		if n := d.versions(d.crm, entry); n != 1 {
			t.Errorf("%s took effect %d times", entry, n)
		}
	}
	list := d.episodes(d.crm)
	if len(list) != 1 || list[0].EndedAt == nil || list[0].CaughtUp != 1 || list[0].Polls < 2 || list[0].Cause != domain.OverUnannounced || list[0].GoodUntil == nil {
		t.Errorf("episodes are %+v", list)
	}
}

func TestAPersonSendsItOverAndItStaysUntilSentBack(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.shows()
	d.read(d.crm)
	over := contract.FailoverRequest{To: contract.FailoverToPolling, Hold: true, By: "alex"}
	if out := d.send(d.crm, over); !out.Result.Moved || out.Result.Mode != domain.FailoverBegun {
		t.Fatalf("%+v", out)
	}
	if out := d.send(d.crm, over); out.Result.Moved || out.Refused != "" {
		t.Errorf("again: %+v", out)
	}
	d.read(d.crm)
	d.judge(d.crm)
	d.advance(time.Hour)
	for n := range 5 {
		d.deliver(d.crm, body(change(string(rune('a'+n)), domain.CategoryVendor, float64(n), float64(n)+0.5)))
	}
	d.apply(d.crm)
	if cfg := d.judge(d.crm); cfg.Failover.Mode != domain.FailoverPolling {
		t.Errorf("it is %s", cfg.Failover.Mode)
	}
	if out := d.send(d.crm, contract.FailoverRequest{To: contract.FailoverToWebhooks, By: "alex"}); out.Result.Mode != domain.FailoverReturning {
		t.Errorf("back: %+v", out)
	}
	d.read(d.crm)
	if cfg := d.judge(d.crm); cfg.Failover != nil {
		t.Errorf("it is %+v", cfg.Failover)
	}
	d.setState(d.crm.ID, domain.IntegrationPaused)
	if out := d.send(d.crm, over); out.Refused == "" {
		t.Error("a paused connection was sent over")
	}
	if out := d.send(d.connect("writes only", domain.DirectionExport, newOutside()), over); out.Refused == "" {
		t.Error("one that reads nothing was sent over")
	}
}

func TestALostSubscriptionIsMadeAnewAndTheOldOneEnds(t *testing.T) {
	t.Parallel()
	d, w, i := watching(t)
	d.atCal.pages[""] = provider.Page{Next: ""}
	d.keep(i)
	old := d.one(i, domain.WatchActive)
	d.advance(time.Minute)
	d.send(i, contract.FailoverRequest{To: contract.FailoverToPolling, Cause: domain.OverWeddingDay, By: "system:wedding"})
	d.read(i)
	d.judge(i)
	d.advance(time.Second)
	if cfg := d.judge(i); cfg.WatchesDue.After(d.clock()) {
		t.Fatalf("watches are due %s", cfg.WatchesDue)
	}
	d.keep(i)
	now := d.one(i, domain.WatchActive)
	if now.ID == old.ID || now.Doubted || len(w.ended) != 1 || w.ended[0] != old.RemoteID {
		t.Errorf("the watch is %+v, ended %v", now, w.ended)
	}
	if f := d.failover(i); f.Repairs != 1 {
		t.Errorf("%d repairs", f.Repairs)
	}
	// It serves: it is not made anew again, and after a quiet time it is believed.
	for range 11 {
		d.advance(time.Minute)
		d.judge(i)
	}
	if f := d.failover(i); f.Repairs != 1 || f.Mode != domain.FailoverReturning || f.Cause != domain.BackRepaired {
		t.Errorf("it is %s because %s after %d repairs", f.Mode, f.Cause, f.Repairs)
	}
}

func TestAfterAnOutageWhatWasMissedIsReadAndCounted(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.shows()
	d.read(d.crm)
	move := func(to domain.HealthState, code domain.HealthCode) {
		d.advance(time.Minute)
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.MoveHealth(ctx, store.HealthMove{Integration: d.crm.ID, To: to, Reason: domain.HealthReason{Code: code, Text: "for the test"}})
			return err
		})
	}
	move(domain.HealthUp, domain.HealthAnswers)
	move(domain.HealthDown, domain.HealthNoAnswer)
	if !d.config(d.crm).PullWanted.IsZero() {
		t.Error("it is to be read while it is down")
	}
	move(domain.HealthUp, domain.HealthAnswers)
	if d.config(d.crm).PullWanted.IsZero() {
		t.Fatal("it is not to be read after the outage")
	}
	d.shows(change("one", domain.CategoryVendor, 1, 2), change("two", domain.CategoryVendor, 3, 4))
	d.read(d.crm)
	list := d.episodes(d.crm)
	if len(list) != 1 || list[0].Kind != domain.EpisodeOutage || list[0].EndedAt == nil || list[0].CaughtUp != 2 {
		t.Errorf("episodes are %+v", list)
	}
	if !d.config(d.crm).PullWanted.IsZero() {
		t.Error("it is to be read again")
	}
	d.read(d.crm)
	if list := d.episodes(d.crm); list[0].CaughtUp != 2 {
		t.Errorf("a later reading counts too: %+v", list[0])
	}
}

func TestAnOutageThatEndsBehindOneOfOurOwnIsReadToo(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.shows()
	d.read(d.crm)
	move := func(to domain.HealthState, code domain.HealthCode) {
		d.advance(time.Minute)
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.MoveHealth(ctx, store.HealthMove{Integration: d.crm.ID, To: to, Reason: domain.HealthReason{Code: code, Text: "for the test"}})
			return err
		})
	}
	move(domain.HealthUp, domain.HealthAnswers)
	move(domain.HealthUnknown, domain.HealthOurOutage)
	move(domain.HealthUp, domain.HealthAnswers)
	if !d.config(d.crm).PullWanted.IsZero() {
		t.Error("it is to be read although it was never down")
	}
	move(domain.HealthDown, domain.HealthNoAnswer)
	went := d.clock().Truncate(time.Microsecond)
	move(domain.HealthUnknown, domain.HealthOurOutage)
	move(domain.HealthDown, domain.HealthNoAnswer)
	move(domain.HealthUnknown, domain.HealthOurOutage)
	if !d.config(d.crm).PullWanted.IsZero() {
		t.Error("it is to be read while nobody knows how it is")
	}
	move(domain.HealthUp, domain.HealthAnswers)
	if d.config(d.crm).PullWanted.IsZero() {
		t.Error("it is not to be read after the outage")
	}
	d.read(d.crm)
	if list := d.episodes(d.crm); len(list) != 1 || list[0].Kind != domain.EpisodeOutage || list[0].EndedAt == nil || !list[0].BeganAt.Equal(went) {
		t.Errorf("episodes are %+v, it went down %s", list, went)
	}
	move(domain.HealthUnknown, domain.HealthOurOutage)
	move(domain.HealthUp, domain.HealthAnswers)
	if !d.config(d.crm).PullWanted.IsZero() {
		t.Error("the outage is read twice")
	}
}

// drilled begins a drill as package drills does once it found nothing against it.
func (d *desk) drilled(i domain.Integration) domain.DrillID {
	d.t.Helper()
	id := domain.NewID[domain.DrillID](d.clock())
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateDrill(ctx, domain.Drill{ID: id, IntegrationID: i.ID, RequestedBy: "alex", WatchUntil: tx.Now.Add(5 * time.Minute), MutedUntil: tx.Now.Add(15 * time.Minute)})
	})
	return id
}

func (d *desk) report(id domain.DrillID) domain.Drill {
	d.t.Helper()
	var out domain.Drill
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.Drill(ctx, id)
		return err
	})
	return out
}

// exercise carries a drill on as the workflow does: it reads when that is wanted, and applies what lies when it no longer does.
func (d *desk) exercise(i domain.Integration, id domain.DrillID, each func(minute int)) {
	d.t.Helper()
	for n := range 40 {
		if each != nil {
			each(n)
		}
		cfg := d.judge(i)
		polls := cfg.Failover != nil && cfg.Failover.Mode != domain.FailoverUsual
		if !cfg.PullWanted.IsZero() || polls {
			d.read(i)
		}
		if cfg.Failover == nil || !d.clock().Before(cfg.Failover.MutedUntil) {
			d.apply(i)
		}
		if d.report(id).State.Ended() {
			return
		}
		d.advance(30 * time.Second)
	}
	d.t.Fatalf("the drill did not end: %+v, %+v", d.report(id), d.failover(i))
}

func TestADrillIsNoticedChangesArriveOnceAndNothingLies(t *testing.T) {
	t.Parallel()
	d := setup(t)
	one, two := change("one", domain.CategoryVendor, 1, 2), change("two", domain.CategoryVendor, 3, 4)
	d.shows()
	d.read(d.crm)
	id := d.drilled(d.crm)
	var lay domain.DeliveryID
	d.exercise(d.crm, id, func(n int) {
		switch n {
		case 0:
			d.shows(one)
			lay = d.deliver(d.crm, body(one))[0]
		case 3:
			d.shows(one, two)
			d.deliver(d.crm, body(two))
		}
	})
	got := d.report(id)
	if got.State != domain.DrillDone || !got.NoticedItself || got.NoticedAt == nil || got.Posted != 2 || got.Changes != 2 || got.Lost+got.Duplicated != 0 || got.MaxLag <= 0 || got.Verdict == "" {
		t.Errorf("the drill is %+v", got)
	}
	if s := d.delivery(lay); s.State != domain.DeliveryApplied {
		t.Errorf("what lay is %s", s.State)
	}
	for _, entry := range []string{"one", "two"} {
		if n := d.versions(d.crm, entry); n != 1 {
			t.Errorf("%s took effect %d times", entry, n)
		}
	}
	if f := d.failover(d.crm); f.Mode != domain.FailoverUsual || f.MutedUntil != nil {
		t.Errorf("it is left %+v", f)
	}
}

func TestADrillTellsWhatPollsMissed(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.shows()
	d.read(d.crm)
	id := d.drilled(d.crm)
	d.exercise(d.crm, id, func(n int) {
		if n == 0 {
			d.deliver(d.crm, body(change("one", domain.CategoryVendor, 1, 2))) // the listing does not show it
		}
	})
	got := d.report(id)
	if got.State != domain.DrillFailed || got.Lost != 1 || got.Duplicated != 0 || got.NoticedItself {
		t.Errorf("the drill is %+v", got)
	}
	if n := d.versions(d.crm, "one"); n != 1 {
		t.Errorf("what polls missed took effect %d times", n)
	}
}

func TestADrillOfAPausedConnectionIsCancelledAndASecondOneRefused(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.shows()
	d.read(d.crm)
	id := d.drilled(d.crm)
	err := d.Tenant(t.Context(), d.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateDrill(ctx, domain.Drill{ID: domain.NewID[domain.DrillID](tx.Now), IntegrationID: d.cal.ID, RequestedBy: "alex", WatchUntil: tx.Now, MutedUntil: tx.Now})
	})
	if domain.KindOf(err) != domain.KindConflict {
		t.Errorf("a second drill: %v", err)
	}
	d.setState(d.crm.ID, domain.IntegrationPaused)
	d.judge(d.crm)
	if got := d.report(id); got.State != domain.DrillCancelled || got.EndedAt == nil {
		t.Errorf("the drill is %+v", got)
	}
}

func TestMessagesToAWatchLieDuringADrill(t *testing.T) {
	t.Parallel()
	d, _, i := watching(t)
	d.keep(i)
	d.atCal.pages[""] = provider.Page{Next: ""}
	d.read(i)
	watch := d.one(i, domain.WatchActive)
	d.drilled(i)
	if !d.notice(watch.ID, store.WatchNotice{Pull: true}) {
		t.Error("the watch does not stand")
	}
	if cfg := d.config(i); !cfg.PullWanted.IsZero() {
		t.Error("a message that lies led to a reading")
	}
	if f := d.failover(i); f.MutedNotices != 1 {
		t.Errorf("%d messages lie", f.MutedNotices)
	}
	d.advance(16 * time.Minute)
	d.notice(watch.ID, store.WatchNotice{Pull: true})
	if cfg := d.config(i); cfg.PullWanted.IsZero() {
		t.Error("a message after the drill led to nothing")
	}
}
