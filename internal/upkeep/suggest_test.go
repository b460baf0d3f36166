package upkeep_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/upkeep"
)

func june(day, hour int) time.Time { return time.Date(2027, 6, day, hour, 0, 0, 0, time.UTC) }

func (b *bench) sweep() (made []domain.Maintenance) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		made, err = upkeep.Sweep(ctx, tx)
		return err
	})
	return made
}

// announced notes what the provider of the connections announced of its own system.
func (b *bench) announced(from, until time.Time) (w domain.ProviderWindow) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		w, err = tx.CreateProviderWindow(ctx, domain.ProviderWindow{ID: domain.NewID[domain.ProviderWindowID](tx.Now), Provider: "caldav", StartsAt: from, EndsAt: until,
			Source: "their status page", CreatedBy: "op-1"})
		return err
	})
	return w
}

func (b *bench) announcement(id domain.ProviderWindowID) (w domain.ProviderWindow) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		w, err = tx.ProviderWindow(ctx, id)
		return err
	})
	return w
}

func (b *bench) settings(change func(*domain.MaintenanceSettings)) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.MaintenanceSettings(ctx)
		if err != nil {
			return err
		}
		change(&s)
		_, err = tx.PutMaintenanceSettings(ctx, s, "admin-1", s.Version)
		return err
	})
}

func TestWhatAProviderAnnouncesIsProposedOnceInThePartThatIsFree(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wedding(19) // frozen from the 17th, 14:00, until the 20th, 02:00
	part := b.announced(june(17, 12), june(17, 18))
	frozen := b.announced(june(18, 2), june(18, 4))
	made := b.sweep()
	if len(made) != 1 {
		t.Fatalf("proposed %+v", made)
	}
	m := made[0]
	if d := cmp.Diff(domain.Span{Start: june(17, 12), End: june(17, 14)}, m.Span()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if m.State != domain.MaintenanceProposed || m.RequestedBy != "system:maintenance" || m.Approval != domain.ApprovalByPerson ||
		len(m.Scopes) != 1 || m.Scopes[0] != (domain.Scope{Kind: domain.ScopePlatform, Target: "caldav"}) {
		t.Errorf("%+v", m)
	}
	if got := b.lines(store.OutboxMaintenance); len(got) != 1 || got[0] != string(m.ID) {
		t.Errorf("its workflow is told: %v", got)
	}
	if got := b.announcement(part.ID); got.MaintenanceID != m.ID {
		t.Errorf("the announcement names %q", got.MaintenanceID)
	}
	if again := b.sweep(); len(again) != 0 || b.announcement(frozen.ID).MaintenanceID != "" {
		t.Errorf("proposed again: %+v", again)
	}
	// Who refuses it is not asked again, and what was closed is proposed when it is open.
	_, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Cancel})
	b.must(err)
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Changes(ctx, tx, b.crm, []domain.Change{{Op: domain.OpUpsert, ExternalID: "2027-06-19", Category: domain.CategoryWedding, Status: domain.StatusConfirmed,
			When: domain.When{Span: domain.Span{Start: june(28, 14), End: june(28, 20)}, Zone: "UTC", Kind: domain.TimeZoned}}})
		return err
	})
	if made = b.sweep(); len(made) != 1 || made[0].Span() != (domain.Span{Start: june(18, 2), End: june(18, 4)}) {
		t.Errorf("after the wedding moved: %+v", made)
	}
}

func TestAnAnnouncementThatComesLateWaitsForAPerson(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.settings(func(s *domain.MaintenanceSettings) { s.Approval = domain.ApprovalAutomatic })
	b.announced(june(9, 2), june(9, 4)) // within the notice of three days
	b.announced(june(16, 2), june(17, 2))
	made := b.sweep()
	if len(made) != 2 || made[0].Approval != domain.ApprovalByPerson || made[1].Approval != domain.ApprovalAutomatic || made[1].EndsAt.Sub(made[1].StartsAt) != domain.MaxMaintenance {
		t.Fatalf("%+v", made)
	}
	s, err := b.decide(made[0].ID, upkeep.Decision{Verb: upkeep.Approve, ShortNotice: true})
	b.must(err)
	want(t, s, domain.MaintenanceAnnounced, "")
	b.at(13, 2, 0)
	want(t, b.advance(made[1].ID), domain.MaintenanceAnnounced, "nobody objected")
}

func TestAnAnnouncementThatIsTakenBackTakesItsProposalAlong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.announced(june(15, 2), june(15, 4))
	b.announced(june(16, 2), june(16, 4))
	made := b.sweep()
	if len(made) != 2 {
		t.Fatalf("%+v", made)
	}
	approved(b, made[1].ID)
	for n, state := range []domain.MaintenanceState{domain.MaintenanceCancelled, domain.MaintenanceApproved} {
		b.tenant(func(ctx context.Context, tx *store.Tx) error { return upkeep.Withdraw(ctx, tx, made[n].ID, "op-1") })
		if s := b.advance(made[n].ID); s.State != state {
			t.Errorf("one that was %s is %s: %s", made[n].State, s.State, s.Note)
		}
	}
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		return upkeep.Withdraw(ctx, tx, domain.NewID[domain.MaintenanceID](tx.Now), "op-1") // one that is gone
	})
}

func TestRegularWindowsAreProposedOnlyWhereAnOrganisationWantsThem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wedding(12)
	b.wedding(19)
	if made := b.sweep(); len(made) != 0 {
		t.Fatalf("nobody asked for %+v", made)
	}
	b.settings(func(s *domain.MaintenanceSettings) { s.ProposeDays, s.ProposeMinutes = 30, 90 })
	made := b.sweep()
	if len(made) != 1 {
		t.Fatalf("%+v", made)
	}
	m := made[0]
	if m.EndsAt.Sub(m.StartsAt) != 90*time.Minute || m.StartsAt.Before(b.clock().Add(5*24*time.Hour)) || m.Scopes[0] != (domain.Scope{Kind: domain.ScopePlatform, Target: "caldav"}) {
		t.Errorf("%s of %+v", m.Span(), m.Scopes)
	}
	for _, day := range []int{12, 19} {
		if frozen := (domain.Span{Start: june(day-2, 14), End: june(day+1, 2)}); m.Span().Overlaps(frozen) {
			t.Errorf("%s touches the freeze of the %dth", m.Span(), day)
		}
	}
	if again := b.sweep(); len(again) != 0 {
		t.Errorf("a second proposal: %+v", again)
	}
	// One that was refused is not proposed again at once, but when its time has come again.
	_, err := b.decide(m.ID, upkeep.Decision{Verb: upkeep.Cancel})
	b.must(err)
	b.at(7+29, 9, 0)
	if again := b.sweep(); len(again) != 0 {
		t.Errorf("%+v", again)
	}
	// A connection that has a window of its own by then is left out.
	_, err = b.window(7+41, 2, 1)
	b.must(err)
	b.at(7+31, 9, 0)
	made = b.sweep()
	if len(made) != 1 || len(made[0].Scopes) != 1 || made[0].Scopes[0] != (domain.Scope{Kind: domain.ScopeIntegration, Target: string(b.crm.ID)}) {
		t.Errorf("a month later: %+v", made)
	}
}

func TestAWindowThatNobodyWantedGoesWithItsOwnTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := b.window(15, 2, 2)
	b.must(err)
	_, err = b.decide(m.ID, upkeep.Decision{Verb: upkeep.Cancel})
	b.must(err)
	gone := func() bool {
		return domain.KindOf(b.try(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Maintenance(ctx, m.ID)
			return err
		})) == domain.KindNotFound
	}
	b.at(7+399, 9, 0)
	if b.sweep(); gone() {
		t.Error("it went too early")
	}
	b.at(7+401, 9, 0)
	if b.sweep(); !gone() {
		t.Error("it stays for ever")
	}
}
