package upkeep_test

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/internal/upkeep"
)

// bench is an organisation with two connections to one resource, and a clock. It is Monday, 7 June 2027, 09:00 UTC.
type bench struct {
	*store.Store
	t        *testing.T
	org      domain.OrgID
	crm, cal domain.Integration

	mu  sync.Mutex
	now time.Time
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2027, 6, 7, 9, 0, 0, 0, time.UTC)}
	b.Store = storetest.New(t, store.Options{MaxConns: 6, SystemMaxConns: 2, Now: b.clock})
	b.org = domain.NewID[domain.OrgID](b.clock())
	b.must(b.CreateOrganization(t.Context(), domain.Organization{ID: b.org, Name: "Studio", Zone: "UTC"}, "admin"))
	r := domain.Resource{ID: domain.NewID[domain.ResourceID](b.clock()), Name: "Desk", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		for _, i := range []*domain.Integration{&b.crm, &b.cal} {
			*i = domain.Integration{ID: domain.NewID[domain.IntegrationID](tx.Now), Name: "system", Provider: "caldav", Direction: domain.DirectionBidirectional, ResourceID: r.ID,
				Settings: []byte(`{}`), State: domain.IntegrationActive}
			if err := tx.CreateIntegration(ctx, *i, nil); err != nil {
				return err
			}
		}
		return nil
	})
	return b
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) at(day, hour, minute int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = time.Date(2027, 6, day, hour, minute, 0, 0, time.UTC)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) try(fn func(ctx context.Context, tx *store.Tx) error) error {
	return b.Tenant(b.t.Context(), b.org, fn)
}

func (b *bench) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	b.t.Helper()
	b.must(b.try(fn))
}

// window makes one of the calendar connection in June, from an hour on.
func (b *bench) window(day, hour, hours int, scopes ...domain.Scope) (m domain.Maintenance, err error) {
	if scopes == nil {
		scopes = []domain.Scope{{Kind: domain.ScopeIntegration, Target: string(b.cal.ID)}}
	}
	start := time.Date(2027, 6, day, hour, 0, 0, 0, time.UTC)
	err = b.try(func(ctx context.Context, tx *store.Tx) (err error) {
		m, err = upkeep.Create(ctx, tx, domain.Maintenance{ID: domain.NewID[domain.MaintenanceID](tx.Now), Scopes: scopes, StartsAt: start,
			EndsAt: start.Add(time.Duration(hours) * time.Hour), Reason: "a new server", RequestedBy: "op-1"})
		return err
	})
	return m, err
}

func (b *bench) decide(id domain.MaintenanceID, d upkeep.Decision) (upkeep.Standing, error) {
	d.By = "admin-1"
	var s upkeep.Standing
	err := b.try(func(ctx context.Context, tx *store.Tx) (err error) {
		s, err = upkeep.Decide(ctx, tx, id, d)
		return err
	})
	return s, err
}

func (b *bench) advance(id domain.MaintenanceID) (s upkeep.Standing) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		s, err = upkeep.Advance(ctx, tx, id)
		return err
	})
	return s
}

// wedding books one in June, from 14:00 on.
func (b *bench) wedding(day int) {
	b.t.Helper()
	start := time.Date(2027, 6, day, 14, 0, 0, 0, time.UTC)
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Changes(ctx, tx, b.crm, []domain.Change{{Op: domain.OpUpsert, ExternalID: start.Format(time.DateOnly), Category: domain.CategoryWedding,
			Status: domain.StatusConfirmed, When: domain.When{Span: domain.Span{Start: start, End: start.Add(6 * time.Hour)}, Zone: "UTC", Kind: domain.TimeZoned}}})
		return err
	})
}

func (b *bench) deliver(to domain.Integration, n int) {
	b.t.Helper()
	var batch []store.NewDelivery
	for range n {
		id := domain.NewID[domain.DeliveryID](b.clock())
		batch = append(batch, store.NewDelivery{ID: id, OrgID: b.org, IntegrationID: to.ID, Dedupe: sha256.Sum256([]byte(id)), Size: 2, ReceivedAt: b.clock(),
			Content: b.SealDelivery(b.org, id, nil, []byte("{}"))})
	}
	_, err := b.InsertDeliveries(b.t.Context(), batch)
	b.must(err)
}

func (b *bench) integration(id domain.IntegrationID) (i domain.Integration) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		i, err = tx.Integration(ctx, id)
		return err
	})
	return i
}

// quiet does what the workflow of a connection does when nothing goes on any more.
func (b *bench) quiet(m domain.MaintenanceID, i domain.Integration) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.NoteQuiet(ctx, m, i.ID, true) })
}

// lines are the outbox lines of a kind; they are taken out.
func (b *bench) lines(kind store.OutboxKind) (targets []string) {
	b.t.Helper()
	rows, err := b.ClaimOutbox(b.t.Context(), 500)
	b.must(err)
	var ids []int64
	for _, r := range rows {
		ids = append(ids, r.ID)
		if r.Kind == kind {
			targets = append(targets, r.Target)
		}
	}
	b.must(b.DeleteOutbox(b.t.Context(), ids))
	return targets
}

func want(t *testing.T, s upkeep.Standing, state domain.MaintenanceState, note string) {
	t.Helper()
	if s.State != state || !strings.Contains(s.Note, note) {
		t.Fatalf("the window is %s: %s; want %s: …%s…", s.State, s.Note, state, note)
	}
}

func TestAWindowRestsItsConnectionsAndLetsThemGoOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := b.window(15, 2, 4)
	b.must(err)
	if got := b.lines(store.OutboxMaintenance); !slices.Equal(got, []string{string(m.ID)}) {
		t.Errorf("told to start: %v", got)
	}
	want(t, b.advance(m.ID), domain.MaintenanceProposed, "")
	s, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Approve})
	b.must(err)
	want(t, s, domain.MaintenanceApproved, "admin-1")
	if !s.Due.Equal(m.StartsAt.Add(-72 * time.Hour)) {
		t.Errorf("looks again at %v", s.Due)
	}
	b.at(12, 2, 0)
	if s = b.advance(m.ID); s.State != domain.MaintenanceAnnounced || s.Announced == nil || *s.Announced != 72*60 {
		t.Fatalf("%+v", s)
	}
	b.at(15, 2, 0)
	b.lines(store.OutboxMaintenance)
	want(t, b.advance(m.ID), domain.MaintenanceDraining, "")
	i := b.integration(b.cal.ID)
	if !i.WorkHold.In(b.clock()) || i.WorkHold.By != m.ID || i.State != domain.IntegrationActive {
		t.Fatalf("the connection: %+v %s", i.WorkHold, i.State)
	}
	if other := b.integration(b.crm.ID); other.WorkHold != nil {
		t.Errorf("another connection rests too: %+v", other.WorkHold)
	}
	target, err := b.ProbeTarget(t.Context(), b.org, b.cal.ID)
	b.must(err)
	if target.MaintenanceUntil == nil || !target.MaintenanceUntil.Equal(m.EndsAt) {
		t.Errorf("its health is not in maintenance: %v", target.MaintenanceUntil)
	}
	b.quiet(m.ID, b.cal)
	if got := b.lines(store.OutboxMaintenance); !slices.Contains(got, string(m.ID)) {
		t.Errorf("nobody is woken when the last has come to rest: %v", got)
	}
	want(t, b.advance(m.ID), domain.MaintenanceRunning, "")
	b.at(15, 4, 0)
	b.deliver(b.cal, 3)
	if found, err := b.IntegrationsWithWork(t.Context(), 0, 100); err != nil || len(found) != 0 {
		t.Errorf("the sweep finds %+v, %v", found, err)
	}
	b.at(15, 6, 0)
	s = b.advance(m.ID)
	want(t, s, domain.MaintenanceReplaying, "")
	if s.Held != 3 || b.integration(b.cal.ID).WorkHold != nil {
		t.Errorf("%d held, still at rest: %+v", s.Held, b.integration(b.cal.ID).WorkHold)
	}
	if got := b.lines(store.OutboxIntegrationChanged); !slices.Contains(got, string(b.cal.ID)) {
		t.Errorf("its workflow is not told: %v", got)
	}
	if target, err = b.ProbeTarget(t.Context(), b.org, b.cal.ID); err != nil || target.MaintenanceUntil != nil {
		t.Errorf("its health stays in maintenance: %v, %v", target.MaintenanceUntil, err)
	}
	b.at(15, 6, 1)
	want(t, b.advance(m.ID), domain.MaintenanceReplaying, "") // neither applied nor read
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		waiting, err := tx.WaitingDeliveries(ctx, b.cal.ID, 10)
		if err != nil {
			return err
		}
		var done []store.DeliveryOutcome
		for _, d := range waiting {
			done = append(done, store.DeliveryOutcome{ID: d.ID, State: domain.DeliveryIgnored})
		}
		return tx.FinishDeliveries(ctx, done)
	})
	want(t, b.advance(m.ID), domain.MaintenanceReplaying, "") // not read
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		run := domain.NewID[domain.SyncRunID](tx.Now)
		if _, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: run, IntegrationID: b.cal.ID, RequestedBy: "schedule"}); err != nil {
			return err
		}
		_, err := tx.EndSyncRun(ctx, run, domain.SyncDone, store.SyncPage{}, "")
		return err
	})
	s = b.advance(m.ID)
	want(t, s, domain.MaintenanceDone, "everything that was held is done")
	if s.Left != 0 || s.EndedAt == nil || !s.Due.IsZero() {
		t.Errorf("%+v", s)
	}
	if again := b.advance(m.ID); again.Version != s.Version {
		t.Error("an end is repeated")
	}
	var trail []string
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		lines, _, err := tx.AuditEntries(ctx, store.Page{Limit: store.MaxPage})
		for _, l := range lines {
			if l.Subject == "maintenance/"+string(m.ID) {
				trail = append(trail, l.Actor+" "+l.Action+" "+l.After["state"])
			}
		}
		return err
	})
	slices.Reverse(trail)
	if d := cmp.Diff([]string{"op-1 maintenance.propose proposed", "admin-1 maintenance.state approved", "system:maintenance maintenance.announce announced",
		"system:maintenance maintenance.announce announced", "system:maintenance maintenance.drain draining", "system:maintenance maintenance.run running",
		"system:maintenance maintenance.release replaying", "system:maintenance maintenance.finish done"}, trail); d != "" {
		t.Errorf("audit trail (-want +got):\n%s", d)
	}
}

func TestNoWindowIsMadeOrApprovedInAFreeze(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wedding(19) // a Saturday: frozen from the 17th, 14:00, to the 20th, 02:00 at the least
	for _, x := range []struct {
		day, hour, hours int
		word             string
	}{{17, 13, 2, "freeze"}, {18, 2, 1, "freeze"}, {20, 0, 1, "freeze"}, {26, 2, 1, "Saturday"}} {
		if _, err := b.window(x.day, x.hour, x.hours); domain.KindOf(err) != domain.KindConflict || !strings.Contains(err.Error(), x.word) {
			t.Errorf("on the %d at %d:00: %v", x.day, x.hour, err)
		}
	}
	m, err := b.window(17, 12, 2) // up to the freeze
	b.must(err)
	b.wedding(18) // frozen from the 16th, 14:00
	if _, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Approve, ShortNotice: true}); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("approved in a freeze: %v", err)
	}
	want(t, b.advance(m.ID), domain.MaintenanceCancelled, "a wedding moved in")
}

func TestAWeddingThatMovesInEndsAWindowAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name  string
		play  func(b *bench, id domain.MaintenanceID)
		state domain.MaintenanceState
	}{
		{"proposed", func(*bench, domain.MaintenanceID) {}, domain.MaintenanceCancelled},
		{"approved", approved, domain.MaintenanceCancelled},
		{"announced", func(b *bench, id domain.MaintenanceID) { approved(b, id); b.at(14, 9, 0); b.advance(id) }, domain.MaintenanceCancelled},
		{"draining", func(b *bench, id domain.MaintenanceID) { approved(b, id); b.at(15, 2, 0); b.advance(id) }, domain.MaintenanceReplaying},
		{"running", func(b *bench, id domain.MaintenanceID) {
			approved(b, id)
			b.at(15, 2, 0)
			b.advance(id)
			b.quiet(id, b.cal)
			b.advance(id)
		}, domain.MaintenanceReplaying},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m, err := b.window(15, 2, 4)
			b.must(err)
			x.play(b, m.ID)
			var was domain.Maintenance
			b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
				was, err = tx.Maintenance(ctx, m.ID)
				return err
			})
			if string(was.State) != x.name {
				t.Fatalf("it is %s, not %s", was.State, x.name)
			}
			b.lines(store.OutboxMaintenance)
			b.wedding(17) // frozen from the 15th, 14:00: after the window
			if s := b.advance(m.ID); s.State != was.State {
				t.Fatalf("a freeze that begins after the window made it %s", s.State)
			}
			b.wedding(16) // frozen from the 14th, 14:00
			if got := b.lines(store.OutboxMaintenance); !slices.Contains(got, string(m.ID)) {
				t.Errorf("a wedding around it wakes nobody: %v", got)
			}
			s := b.advance(m.ID)
			want(t, s, x.state, "a wedding moved in")
			if b.integration(b.cal.ID).WorkHold != nil {
				t.Error("the connection rests still")
			}
			if x.state == domain.MaintenanceReplaying && !s.Early {
				t.Error("it did not end early")
			}
		})
	}
}

func approved(b *bench, id domain.MaintenanceID) {
	b.t.Helper()
	_, err := b.decide(id, upkeep.Decision{Verb: upkeep.Approve})
	b.must(err)
}

func TestAStudioMayHaveWindowsMoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		s := domain.StandardMaintenanceSettings()
		s.WhenWedding = domain.WeddingMoves
		_, err := tx.PutMaintenanceSettings(ctx, s, "admin-1", 0)
		return err
	})
	m, err := b.window(15, 2, 4)
	b.must(err)
	approved(b, m.ID)
	b.wedding(16)
	s := b.advance(m.ID)
	want(t, s, domain.MaintenanceProposed, "moved to the best other time")
	frozen := domain.Span{Start: time.Date(2027, 6, 14, 14, 0, 0, 0, time.UTC), End: time.Date(2027, 6, 17, 2, 0, 0, 0, time.UTC)}
	if s.Span().Overlaps(frozen) || s.EndsAt.Sub(s.StartsAt) != 4*time.Hour || s.StartsAt.Before(b.clock().Add(72*time.Hour)) || s.Moved != 1 || s.ApprovedAt != nil {
		t.Errorf("moved to %s: %+v", s.Span(), s.Maintenance)
	}
}

func TestTwoWindowsNeverShareAConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.window(15, 2, 4, domain.Scope{Kind: domain.ScopePlatform, Target: "caldav"})
	b.must(err)
	if _, err := b.window(15, 5, 2); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("one in another: %v", err)
	}
	after, err := b.window(15, 6, 2)
	b.must(err)
	if _, err := b.decide(after.ID, upkeep.Decision{Verb: upkeep.Reschedule, StartsAt: after.StartsAt.Add(-time.Hour)}); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("moved into another: %v", err)
	}
	if _, err := b.window(15, 2, 4, domain.Scope{Kind: domain.ScopePlatform, Target: "google"}); domain.FieldOf(err) != "body.scopes" {
		t.Errorf("one of no connection: %v", err)
	}
}

func TestNoticeIsKeptUnlessAnAdminWaivesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := b.window(8, 2, 1) // tomorrow
	b.must(err)
	if _, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Approve}); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("approved within the notice: %v", err)
	}
	s, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Approve, ShortNotice: true})
	b.must(err)
	if s.State != domain.MaintenanceAnnounced || *s.Announced != 72*60 {
		t.Errorf("approved late it is not announced at once: %+v", s)
	}
}

func TestAnAutomaticWindowApprovesItselfAndOneThatNobodyApprovesIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	manual, err := b.window(15, 2, 4)
	b.must(err)
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		s := domain.StandardMaintenanceSettings()
		s.Approval = domain.ApprovalAutomatic
		_, err := tx.PutMaintenanceSettings(ctx, s, "admin-1", 0)
		return err
	})
	auto, err := b.window(16, 2, 4)
	b.must(err)
	if s := b.advance(auto.ID); !s.Due.Equal(auto.StartsAt.Add(-72 * time.Hour)) {
		t.Errorf("approves itself at %v", s.Due)
	}
	b.at(13, 2, 0)
	if s := b.advance(auto.ID); s.State != domain.MaintenanceAnnounced || s.ApprovedBy != "system:maintenance" {
		t.Errorf("%+v", s)
	}
	b.at(15, 2, 0)
	want(t, b.advance(manual.ID), domain.MaintenanceRefused, "nobody approved it")
	if _, err := b.window(16, 12, 1); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("an automatic one within the notice: %v", err)
	}
}

func TestARunningWindowIsMadeLongerAndEndedEarly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := b.window(15, 2, 2)
	b.must(err)
	approved(b, m.ID)
	b.at(15, 2, 0)
	b.advance(m.ID)
	b.quiet(m.ID, b.cal)
	want(t, b.advance(m.ID), domain.MaintenanceRunning, "")
	longer := m.EndsAt.Add(time.Hour)
	s, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Reschedule, EndsAt: longer})
	b.must(err)
	if i := b.integration(b.cal.ID); !s.EndsAt.Equal(longer) || !i.WorkHold.Until.Equal(longer) || !s.Due.Equal(longer) {
		t.Errorf("longer: %v, rests until %v, looks at %v", s.EndsAt, i.WorkHold.Until, s.Due)
	}
	b.wedding(17) // frozen from the 15th, 14:00
	if _, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Reschedule, EndsAt: time.Date(2027, 6, 15, 14, 1, 0, 0, time.UTC)}); domain.KindOf(err) == "" {
		t.Error("longer than may be, into a freeze, is accepted")
	}
	if _, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Reschedule, EndsAt: b.clock().Add(-time.Minute)}); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("an end that is over: %v", err)
	}
	if _, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Cancel, Version: 1}); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("of an old version: %v", err)
	}
	b.at(15, 3, 0)
	s, err = b.decide(m.ID, upkeep.Decision{Verb: upkeep.Cancel})
	b.must(err)
	want(t, s, domain.MaintenanceReplaying, "ended by admin-1")
	again, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Cancel})
	b.must(err)
	if !s.Early || b.integration(b.cal.ID).WorkHold != nil || again.Held != s.Held {
		t.Errorf("%+v", s)
	}
	b.at(15, 5, 1) // what is left goes on by itself: nothing writes to the system or reads it here
	want(t, b.advance(m.ID), domain.MaintenanceDone, "ended by admin-1; 1 deliveries and writes wait still, and 1 connections were not read")
}

func TestProposalsComeFromBookingsAndAnnouncements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wedding(12)
	b.wedding(19)
	announced := domain.Span{Start: time.Date(2027, 6, 14, 3, 0, 0, 0, time.UTC), End: time.Date(2027, 6, 14, 5, 0, 0, 0, time.UTC)}
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.CreateProviderWindow(ctx, domain.ProviderWindow{ID: domain.NewID[domain.ProviderWindowID](tx.Now), Provider: "caldav", StartsAt: announced.Start,
			EndsAt: announced.End, Source: "their status page", CreatedBy: "op-1"})
		return err
	})
	var got []domain.Span
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		ways, err := upkeep.Propose(ctx, tx, upkeep.Wish{Scopes: []domain.Scope{{Kind: domain.ScopePlatform, Target: "caldav"}},
			Search: domain.Span{Start: tx.Now, End: tx.Now.Add(14 * 24 * time.Hour)}, Duration: 2 * time.Hour, Limit: 10})
		for _, w := range ways {
			got = append(got, w.Span)
		}
		return err
	})
	if len(got) == 0 || got[0] != announced {
		t.Fatalf("proposed %v", got)
	}
	for _, s := range got {
		for _, day := range []int{12, 19} {
			frozen := domain.Span{Start: time.Date(2027, 6, day-2, 14, 0, 0, 0, time.UTC), End: time.Date(2027, 6, day+1, 2, 0, 0, 0, time.UTC)}
			if s.Overlaps(frozen) || s.Start.Before(b.clock().Add(72*time.Hour)) {
				t.Errorf("%s touches the freeze of the %dth or the notice", s, day)
			}
		}
	}
}

func TestStateIsOpenOnlyWhereEverythingIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wedding(19)
	for _, x := range []struct {
		day, hour int
		open      bool
		next      time.Time
	}{
		{16, 0, true, time.Date(2027, 6, 17, 14, 0, 0, 0, time.UTC)},
		{18, 12, false, time.Date(2027, 6, 20, 2, 0, 0, 0, time.UTC)},
		{20, 12, true, time.Date(2027, 6, 26, 0, 0, 0, 0, time.UTC)},
	} {
		b.tenant(func(ctx context.Context, tx *store.Tx) error {
			s, err := upkeep.StateAt(ctx, tx, time.Date(2027, 6, x.day, x.hour, 0, 0, 0, time.UTC))
			if err == nil && (s.Open != x.open || s.Next == nil || !s.Next.Equal(x.next)) {
				t.Errorf("on the %d at %d: %+v, next %v", x.day, x.hour, s, s.Next)
			}
			return err
		})
	}
}

func TestAWindowIsOverOnlyWhenItsConnectionsAreAskedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := b.window(15, 2, 1)
	b.must(err)
	approved(b, m.ID)
	b.at(15, 2, 0)
	b.advance(m.ID)
	health := func(to domain.HealthState, code domain.HealthCode) {
		b.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.MoveHealth(ctx, store.HealthMove{Integration: b.cal.ID, To: to, Reason: domain.HealthReason{Code: code, Text: "by the prober"}})
			return err
		})
	}
	health(domain.HealthMaintenance, domain.HealthInMaintenance) // as the prober does
	b.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.NoteQuiet(ctx, m.ID, b.cal.ID, false) })
	b.at(15, 3, 0)
	want(t, b.advance(m.ID), domain.MaintenanceReplaying, "")
	b.at(15, 3, 1)
	want(t, b.advance(m.ID), domain.MaintenanceReplaying, "")
	health(domain.HealthUnknown, domain.HealthMaintenanceEnd)
	health(domain.HealthUp, domain.HealthAnswers)
	want(t, b.advance(m.ID), domain.MaintenanceDone, "everything that was held is done")
}
