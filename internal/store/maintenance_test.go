package store

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

// window stores one of every connection, as it is in a state.
func (b *bundle) window(org domain.OrgID, state domain.MaintenanceState) (m domain.Maintenance) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) (err error) {
		m, err = tx.SaveMaintenance(b.t.Context(), domain.Maintenance{ID: domain.NewID[domain.MaintenanceID](tx.Now), Scopes: []domain.Scope{{Kind: domain.ScopeOrganization}},
			StartsAt: tx.Now, EndsAt: tx.Now.Add(2 * time.Hour), State: state, Approval: domain.ApprovalByPerson, Reason: "a new server", RequestedBy: "op-1"}, true, "")
		return err
	})
	return m
}

func TestAWindowIsStoredWholeAndGuardedByItsVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	m := b.window(org, domain.MaintenanceProposed)
	now, minutes := b.clock.now().UTC().Truncate(time.Microsecond), 60
	m.State, m.Note, m.ShortNotice, m.ApprovedBy, m.ApprovedAt, m.Announced, m.Moved = domain.MaintenanceDone, "why", true, "admin-1", &now, &minutes, 1
	m.BeganAt, m.DrainedAt, m.ReleasedAt, m.EndedAt, m.Early, m.Connections, m.Held, m.Left = &now, &now, &now, &now, true, 4, 3, 2
	var stored domain.Maintenance
	b.tenant(org, func(tx *Tx) (err error) {
		stored, err = tx.SaveMaintenance(ctx, m, false, "ended")
		return err
	})
	m.Version, m.UpdatedAt = 2, stored.UpdatedAt
	if d := cmp.Diff(m, stored); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	err := b.Tenant(ctx, org, func(_ context.Context, tx *Tx) error {
		m.Version = 1
		_, err := tx.SaveMaintenance(ctx, m, false, "")
		return err
	})
	wantKind(t, err, domain.KindConflict)
	b.tenant(org, func(tx *Tx) error {
		open, err := tx.OpenMaintenances(ctx)
		if err != nil || len(open) != 0 {
			t.Errorf("open: %+v", open)
		}
		all, next, err := tx.Maintenances(ctx, MaintenanceFilter{State: domain.MaintenanceDone}, Page{})
		if err == nil && (len(all) != 1 || next != "") {
			t.Errorf("listed: %+v %q", all, next)
		}
		return err
	})
	b.clock.advance(KeptMaintenance + time.Hour)
	b.tenant(org, func(tx *Tx) error { return tx.PurgeMaintenance(ctx, 10) })
	wantKind(t, b.Tenant(ctx, org, func(_ context.Context, tx *Tx) error {
		_, err := tx.Maintenance(ctx, m.ID)
		return err
	}), domain.KindNotFound)
}

func TestWorkIsHeldAndReleasedWithWhatWaited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	m, other := b.window(org, domain.MaintenanceDraining), b.window(org, domain.MaintenanceDraining)
	hold := func(id domain.MaintenanceID, until time.Time) error {
		return b.Tenant(ctx, org, func(_ context.Context, tx *Tx) error {
			return tx.HoldWork(ctx, id, []domain.IntegrationID{i.ID}, until, "test")
		})
	}
	b.must(hold(m.ID, m.EndsAt))
	wantKind(t, hold(other.ID, m.EndsAt), domain.KindConflict)
	read := func() (one domain.Integration) {
		b.tenant(org, func(tx *Tx) (err error) {
			one, err = tx.Integration(ctx, i.ID)
			return err
		})
		return one
	}
	if now := read(); now.WorkHold == nil || now.WorkHold.By != m.ID || !now.WorkHold.Until.Equal(m.EndsAt) || now.Version != 1 {
		t.Errorf("held: %+v, version %d", now.WorkHold, now.Version)
	}
	b.deliver(org, i.ID, 2)
	b.clock.advance(time.Minute)
	if found, err := b.IntegrationsWithWork(ctx, time.Second, 100); err != nil || len(found) != 0 {
		t.Errorf("the sweep finds %+v, %v", found, err)
	}
	members := func() (all []domain.MaintenanceMember) {
		b.tenant(org, func(tx *Tx) (err error) {
			all, err = tx.MaintenanceMembers(ctx, m.ID)
			return err
		})
		return all
	}
	b.tenant(org, func(tx *Tx) error { return tx.NoteQuiet(ctx, m.ID, i.ID, true) })
	if all := members(); len(all) != 1 || all[0].QuietAt == nil || !all[0].Pulls || all[0].Left != 0 {
		t.Errorf("at rest: %+v", all)
	}
	var held int
	release := func() {
		b.tenant(org, func(tx *Tx) (err error) {
			held, err = tx.ReleaseWork(ctx, m.ID)
			return err
		})
	}
	if release(); held != 2 || read().WorkHold != nil {
		t.Errorf("%d held, %+v", held, read().WorkHold)
	}
	if all := members(); all[0].Held != 2 || all[0].Left != 2 || all[0].ReleasedAt == nil || all[0].ReadAt != nil {
		t.Errorf("released: %+v", all)
	}
	if found, err := b.IntegrationsWithWork(ctx, time.Second, 100); err != nil || len(found) != 1 {
		t.Errorf("the sweep finds %+v, %v", found, err)
	}
	if release(); held != 0 {
		t.Errorf("released again: %d", held)
	}
	// One whose time is over is nobody's any more.
	b.must(hold(m.ID, b.clock.now().Add(time.Minute)))
	b.clock.advance(time.Hour)
	b.must(hold(other.ID, b.clock.now().Add(time.Hour)))
	if release(); read().WorkHold == nil || read().WorkHold.By != other.ID {
		t.Errorf("the hold of another was released: %+v", read().WorkHold)
	}
}

func TestTrafficIsCountedByTheHour(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	busy, idle := b.integration(org), b.integration(org)
	since := b.clock.now()
	var all []domain.DeliveryID
	for range 3 {
		all = append(all, b.deliver(org, busy.ID, 2)...)
		b.clock.advance(time.Hour)
	}
	b.deliver(org, busy.ID, 1) // waits still
	b.tenant(org, func(tx *Tx) error {
		var done []DeliveryOutcome
		for _, id := range all {
			done = append(done, DeliveryOutcome{ID: id, State: domain.DeliveryApplied})
		}
		return tx.FinishDeliveries(ctx, done)
	})
	b.tenant(org, func(tx *Tx) error {
		got, err := tx.Traffic(ctx, []domain.IntegrationID{busy.ID, idle.ID}, since.Add(time.Hour))
		if err != nil {
			return err
		}
		if len(got) != 2 || got[0].Integration != busy.ID || len(got[0].Hours) != 2 || got[1].Hours != nil || !got[1].From.Equal(since.Add(time.Hour)) {
			t.Fatalf("%+v", got)
		}
		for n, h := range got[0].Hours {
			if want := since.Add(time.Duration(n+1) * time.Hour).UTC().Truncate(time.Hour); h.Count != 2 || !h.Hour.Equal(want) {
				t.Errorf("hour %d: %+v, want %v", n, h, want)
			}
		}
		return nil
	})
}

func TestSettingsOfMaintenanceAreStandardUntilSet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	want := domain.MaintenanceSettings{Approval: domain.ApprovalAutomatic, NoticeMinutes: 60, AnnounceMinutes: []int{60, 5}, Zone: "Europe/Berlin", Weekdays: []int{1, 2},
		FromMinute: 1320, UntilMinute: 300, Seasons: []domain.Season{{From: "05-01", Until: "05-31", Name: "May"}}, WhenWedding: domain.WeddingMoves, ProposeDays: 30, ProposeMinutes: 90}
	put := func(version int64) (got domain.MaintenanceSettings, err error) {
		err = b.Tenant(ctx, org, func(_ context.Context, tx *Tx) error {
			was, err := tx.MaintenanceSettings(ctx)
			if err == nil && version == 0 && was.Version == 0 && cmp.Diff(domain.StandardMaintenanceSettings(), was) != "" {
				t.Errorf("before: %+v", was)
			}
			got, err = tx.PutMaintenanceSettings(ctx, want, "admin-1", version)
			return err
		})
		return got, err
	}
	got, err := put(0)
	b.must(err)
	if got.Version != 1 || got.UpdatedAt == nil || got.UpdatedBy != "admin-1" {
		t.Errorf("%+v", got)
	}
	got.Version, got.UpdatedAt, got.UpdatedBy = 0, nil, ""
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	_, err = put(0)
	wantKind(t, err, domain.KindConflict)
	if got, err = put(1); err != nil || got.Version != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	want.Weekdays = []int{9}
	_, err = put(2)
	wantKind(t, err, domain.KindInvalid)
}

func TestAnnouncementsOfProvidersAreFoundByTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	now := b.clock.now().UTC()
	w := domain.ProviderWindow{ID: domain.NewID[domain.ProviderWindowID](now), Provider: "custom", StartsAt: now.Add(time.Hour), EndsAt: now.Add(2 * time.Hour),
		Source: "https://status.example.com/1", CreatedBy: "op-1"}
	b.tenant(org, func(tx *Tx) error {
		stored, err := tx.CreateProviderWindow(ctx, w)
		if err != nil {
			return err
		}
		for _, x := range []struct {
			from, until time.Duration
			found       int
		}{{0, time.Hour, 0}, {0, 61 * time.Minute, 1}, {119 * time.Minute, 3 * time.Hour, 1}, {2 * time.Hour, 3 * time.Hour, 0}} {
			got, err := tx.ProviderWindows(ctx, now.Add(x.from), now.Add(x.until))
			if err != nil || len(got) != x.found || x.found == 1 && cmp.Diff(stored, got[0]) != "" {
				t.Errorf("%s to %s: %+v, %v", x.from, x.until, got, err)
			}
		}
		gone, err := tx.DeleteProviderWindow(ctx, w.ID)
		if err != nil || gone.ID != w.ID {
			t.Errorf("deleted %+v, %v", gone, err)
		}
		_, err = tx.DeleteProviderWindow(ctx, w.ID)
		wantKind(t, err, domain.KindNotFound)
		return nil
	})
}

// TestAReadingThatBeganWhenTheTimeOfARestWasOverCountsAsTheOneAfterIt: a connection goes on by its own clock, and its window may look
// a moment later.
func TestAReadingThatBeganWhenTheTimeOfARestWasOverCountsAsTheOneAfterIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	m := b.window(org, domain.MaintenanceRunning)
	read := func() (at *time.Time) {
		b.tenant(org, func(tx *Tx) error {
			all, err := tx.MaintenanceMembers(ctx, m.ID)
			if len(all) == 1 {
				at = all[0].ReadAt
			}
			return err
		})
		return at
	}
	run := func() {
		b.tenant(org, func(tx *Tx) error {
			id := domain.NewID[domain.SyncRunID](tx.Now)
			if _, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: id, OrgID: org, IntegrationID: i.ID, RequestedBy: "schedule"}); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE sync_runs SET state = 'done', ended_at = started_at WHERE org_id = $1 AND id = $2", org, id)
			return err
		})
	}
	b.tenant(org, func(tx *Tx) error {
		if err := tx.HoldWork(ctx, m.ID, []domain.IntegrationID{i.ID}, m.EndsAt, "test"); err != nil {
			return err
		}
		return tx.NoteQuiet(ctx, m.ID, i.ID, true)
	})
	b.clock.advance(m.EndsAt.Sub(b.clock.now()) - time.Second)
	run() // too early
	b.clock.advance(2 * time.Second)
	run()
	b.clock.advance(time.Second)
	if at := read(); at != nil {
		t.Errorf("read at %s, before it is let go on", at)
	}
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.ReleaseWork(ctx, m.ID)
		return err
	})
	if at := read(); at == nil || !at.Equal(m.EndsAt.Add(time.Second)) {
		t.Errorf("read at %v", at)
	}
}
