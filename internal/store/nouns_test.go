package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestResourcesRoundTripAndGuardTheirVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	r := b.resource(org)
	r.OrgID, r.Version, r.CreatedAt, r.UpdatedAt = org, 1, b.timestamp(), b.timestamp()
	changed := r
	changed.Name, changed.Capacity, changed.Skills, changed.Hours, changed.Version = "Ada L.", 3, []string{}, domain.WorkingHours{}, 2
	b.tenant(org, func(tx *Tx) error {
		got, err := tx.Resource(ctx, r.ID)
		if diff := cmp.Diff(r, got); diff != "" {
			t.Error(diff)
		}
		return errors.Join(err, tx.UpdateResource(ctx, changed, 1))
	})
	b.tenant(org, func(tx *Tx) error {
		got, next, err := tx.Resources(ctx, Page{})
		if diff := cmp.Diff([]domain.Resource{changed}, got); diff != "" || next != "" {
			t.Error(diff, next)
		}
		wantKind(t, tx.UpdateResource(ctx, changed, 1), domain.KindConflict)
		gone := changed
		gone.ID = domain.NewID[domain.ResourceID](tx.Now)
		wantKind(t, tx.UpdateResource(ctx, gone, 1), domain.KindNotFound)
		gone.Capacity = 0
		wantKind(t, tx.CreateResource(ctx, gone), domain.KindInvalid)
		return err
	})
	wantKind(t, b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error { return tx.CreateResource(ctx, r) }), domain.KindConflict)
	var name []byte
	b.must(b.owner().QueryRow(ctx, "SELECT name FROM resources WHERE id = $1", r.ID).Scan(&name))
	if string(name) == "Ada L." {
		t.Error("the name is stored in the clear")
	}
}

func TestIntegrationsRoundTripWithoutTheirSecrets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	i.OrgID, i.State, i.Version, i.CreatedAt, i.UpdatedAt = org, domain.IntegrationActive, 1, b.timestamp(), b.timestamp()
	i.Guard, i.Copies = domain.DefaultGuard, domain.CopiesKept
	b.tenant(org, func(tx *Tx) error {
		got, err := tx.Integration(ctx, i.ID)
		if diff := cmp.Diff(i, got); diff != "" {
			t.Error(diff)
		}
		secrets, err2 := tx.IntegrationSecrets(ctx, i.ID)
		if diff := cmp.Diff(testSecrets, secrets); diff != "" {
			t.Error(diff)
		}
		return errors.Join(err, err2)
	})
	record, err := b.IntakeRecord(ctx, i.ID)
	b.must(err)
	if diff := cmp.Diff(IntakeRecord{Integration: i, Secrets: testSecrets, Zone: "Europe/Berlin"}, record, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	_, err = b.IntakeRecord(ctx, domain.NewID[domain.IntegrationID](b.clock.now()))
	wantKind(t, err, domain.KindNotFound)
	err = b.Tenant(ctx, b.org(), func(ctx context.Context, tx *Tx) error {
		stolen := i
		stolen.ID = domain.NewID[domain.IntegrationID](tx.Now) // the resource belongs to another tenant
		return tx.CreateIntegration(ctx, stolen, nil)
	})
	wantKind(t, err, domain.KindInvalid)
	if ConstraintOf(err) == "" {
		t.Errorf("no constraint named: %v", err)
	}
}

func TestChangesOfAnIntegrationAreVersionedAndTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org)
	b.clock.advance(time.Minute)
	mark := b.timestamp()
	i.Name = "New name"
	b.tenant(org, func(tx *Tx) error { return tx.UpdateIntegration(ctx, i, nil, 1) })
	b.tenant(org, func(tx *Tx) error {
		if err := tx.UpdateIntegration(ctx, i, map[string]string{"token": "2"}, 2); err != nil {
			return err
		}
		wantKind(t, tx.UpdateIntegration(ctx, i, nil, 2), domain.KindConflict)
		s, err := tx.IntegrationSecrets(ctx, i.ID)
		if s["token"] != "2" || len(s) != 1 {
			t.Errorf("secrets are %d", len(s))
		}
		return err
	})
	set := func(state domain.IntegrationState, reason string, version int64) {
		t.Helper()
		b.tenant(org, func(tx *Tx) error {
			got, err := tx.SetIntegrationState(ctx, i.ID, state, reason)
			if got.State != state || got.StateReason != reason || got.Version != version {
				t.Errorf("got %s %q version %d", got.State, got.StateReason, got.Version)
			}
			return err
		})
	}
	set(domain.IntegrationPaused, "holiday", 4)
	set(domain.IntegrationPaused, "holiday", 4) // again: nothing changes
	set(domain.IntegrationDeleted, "", 5)
	versions, err := b.IntegrationVersions(ctx, mark)
	if diff := cmp.Diff(map[domain.IntegrationID]int64{i.ID: 5}, versions); diff != "" || err != nil {
		t.Error(diff, err)
	}
	err = b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
		if list, _, err := tx.Integrations(ctx, Page{}); len(list) != 0 || err != nil {
			t.Errorf("the deleted one is listed: %v, %v", list, err)
		}
		wantKind(t, tx.UpdateIntegration(ctx, i, nil, 5), domain.KindConflict)
		_, err := tx.SetIntegrationState(ctx, i.ID, domain.IntegrationActive, "")
		return err
	})
	wantKind(t, err, domain.KindConflict)
	_, err = b.IntakeRecord(ctx, i.ID)
	wantKind(t, err, domain.KindNotFound)

	var states []string
	await(t, "six events", func() bool {
		events, _, err := b.StreamAfter(ctx, "", org, 100)
		b.must(err)
		states = nil
		for _, e := range events {
			if e.Topic == domain.TopicIntegrationChanged {
				states = append(states, e.Refs["state"])
			}
		}
		return len(states) >= 5
	})
	if diff := cmp.Diff([]string{"active", "active", "active", "paused", "deleted"}, states); diff != "" {
		t.Error(diff)
	}
	lines, err := b.ClaimOutbox(ctx, 100)
	if err != nil || len(lines) != 5 || lines[0].Kind != OutboxIntegrationChanged || lines[0].Target != string(i.ID) {
		t.Errorf("outbox %+v, %v", lines, err)
	}
}

func TestBookingsOverlapTheirStretchAndPageByStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	r, other := b.resource(org).ID, b.resource(org).ID
	day := b.timestamp().Truncate(24 * time.Hour)
	long := b.booking(org, r, day.Add(-20*24*time.Hour), 30*24*time.Hour)
	before := b.booking(org, r, day.Add(-2*time.Hour), 2*time.Hour) // ends where the stretch begins
	across := b.booking(org, r, day.Add(-time.Hour), 2*time.Hour)
	inside := b.booking(org, other, day.Add(3*time.Hour), time.Hour)
	same := b.booking(org, r, day.Add(3*time.Hour), time.Hour)
	after := b.booking(org, r, day.Add(24*time.Hour), time.Hour) // begins where it ends
	list := func(f BookingFilter, limit int) (out []domain.BookingID) {
		t.Helper()
		b.tenant(org, func(tx *Tx) error {
			for cursor, more := "", true; more; more = cursor != "" {
				got, next, err := tx.Bookings(ctx, f, Page{Limit: limit, After: cursor})
				if err != nil {
					return err
				}
				for _, k := range got {
					if k.Details != long.Details || k.OrgID != org {
						t.Errorf("got %+v", k)
					}
					out = append(out, k.ID)
				}
				cursor = next
			}
			return nil
		})
		return out
	}
	twins := []domain.BookingID{inside.ID, same.ID} // equal starts go by id
	if twins[0] > twins[1] {
		twins[0], twins[1] = twins[1], twins[0]
	}
	stretch := BookingFilter{From: day, To: day.Add(24 * time.Hour)}
	for _, limit := range []int{0, 1, 2} {
		if diff := cmp.Diff([]domain.BookingID{long.ID, across.ID, twins[0], twins[1]}, list(stretch, limit)); diff != "" {
			t.Error(limit, diff)
		}
		if diff := cmp.Diff([]domain.BookingID{long.ID, before.ID, across.ID, twins[0], twins[1], after.ID}, list(BookingFilter{}, limit)); diff != "" {
			t.Error(limit, diff)
		}
	}
	stretch.Resource, stretch.Category, stretch.Status = r, domain.CategoryWedding, domain.StatusConfirmed
	if diff := cmp.Diff([]domain.BookingID{long.ID, across.ID, same.ID}, list(stretch, 2)); diff != "" {
		t.Error(diff)
	}
	b.tenant(org, func(tx *Tx) error {
		got, err := tx.Booking(ctx, same.ID)
		same.CreatedAt, same.UpdatedAt = tx.Now, tx.Now
		if diff := cmp.Diff(same, got); diff != "" {
			t.Error(diff)
		}
		busy, err2 := tx.BusyBetween(ctx, []domain.ResourceID{r}, domain.Span{Start: day, End: day.Add(24 * time.Hour)})
		var ids []domain.BookingID
		for _, a := range busy {
			ids = append(ids, a.BookingID)
		}
		if diff := cmp.Diff([]domain.BookingID{long.ID, across.ID, same.ID}, ids); diff != "" || busy[0].BookedAt.IsZero() {
			t.Error(diff)
		}
		_, err3 := tx.Booking(ctx, domain.NewID[domain.BookingID](tx.Now))
		wantKind(t, err3, domain.KindNotFound)
		for _, f := range []BookingFilter{{Category: "x"}, {Status: "x"}, {From: day, To: day}} {
			_, _, err := tx.Bookings(ctx, f, Page{})
			wantKind(t, err, domain.KindInvalid)
		}
		_, _, err4 := tx.Bookings(ctx, BookingFilter{}, Page{After: "zzz"})
		wantKind(t, err4, domain.KindInvalid)
		return errors.Join(err, err2)
	})
}

func TestConflictsAndDecisions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	r := b.resource(org).ID
	one, two := b.booking(org, r, b.clock.now(), time.Hour), b.booking(org, r, b.clock.now(), time.Hour)
	id := b.conflict(org, one, two.ID)
	decision := string(domain.NewID[domain.ConflictID](b.clock.now()))
	res := domain.Resolution{Action: domain.ActionMove, BookingID: one.ID, When: &one.When, By: "user/1", Reason: "couple agreed", At: b.timestamp()}
	b.tenant(org, func(tx *Tx) error {
		for range 2 { // the second time changes nothing
			if err := tx.PutDecision(ctx, decision, id, res); err != nil {
				return err
			}
		}
		wantKind(t, tx.PutDecision(ctx, decision, domain.NewID[domain.ConflictID](tx.Now), res), domain.KindConflict)
		for _, want := range []bool{true, false} {
			conflict, got, first, err := tx.TakeDecision(ctx, decision)
			if err != nil || conflict != id || first != want {
				t.Errorf("took %s, first %t, %v", conflict, first, err)
			}
			if diff := cmp.Diff(res, got); diff != "" {
				t.Error(diff)
			}
		}
		_, _, _, err := tx.TakeDecision(ctx, string(id))
		wantKind(t, err, domain.KindNotFound)
		c, err := tx.LockConflict(ctx, id)
		if err != nil {
			return err
		}
		c.State, c.Resolution = domain.ConflictResolved, &res
		c.ClosedAt, c.DeadlineAt = &tx.Now, nil // only who waits has a deadline
		c.Alternatives = []domain.Alternative{{Action: domain.ActionMove, BookingID: one.ID, ResourceID: r, When: one.When, Score: 80, Reasons: []string{"same day"}}}
		if err := tx.UpdateConflict(ctx, c, c.Version); err != nil {
			return err
		}
		wantKind(t, tx.UpdateConflict(ctx, c, c.Version), domain.KindConflict)
		c.Version++
		got, err := tx.Conflict(ctx, id)
		if diff := cmp.Diff(c, got); diff != "" {
			t.Error(diff)
		}
		for f, n := range map[ConflictFilter]int{{}: 1, {State: domain.ConflictOpen}: 0, {State: domain.ConflictResolved, Resource: r}: 1} {
			list, _, err := tx.Conflicts(ctx, f, Page{})
			if err != nil || len(list) != n {
				t.Errorf("%+v lists %d, %v", f, len(list), err)
			}
		}
		return err
	})
	err := b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
		return tx.PutDecision(ctx, string(domain.NewID[domain.ConflictID](tx.Now)), domain.NewID[domain.ConflictID](tx.Now), res)
	})
	wantKind(t, err, domain.KindInvalid)
}

func TestAPushThatWasReplacedIsCarriedOutAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	b.fill(org)
	var push domain.Push
	b.tenant(org, func(tx *Tx) error {
		var integration domain.IntegrationID
		if err := tx.QueryRow(ctx, "SELECT integration_id FROM pushes").Scan(&integration); err != nil {
			return err
		}
		list, err := tx.WaitingPushes(ctx, integration, 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d wait, %v", len(list), err)
		}
		push = list[0]
		due, n, err := tx.NextPushDue(ctx, integration)
		if !due.Equal(tx.Now) || n != 1 {
			t.Errorf("due %v, %d waiting", due, n)
		}
		return err
	})
	step := func(want int64, o PushOutcome, state domain.PushState, attempts int) {
		t.Helper()
		b.tenant(org, func(tx *Tx) error {
			got, err := tx.FinishPush(ctx, push.ID, want, o)
			if got.State != state || got.Attempts != attempts {
				t.Errorf("got %s after %d attempts, want %s after %d", got.State, got.Attempts, state, attempts)
			}
			return err
		})
	}
	later := b.timestamp().Add(time.Hour)
	step(1, PushOutcome{State: domain.PushRetrying, Reason: "busy", NextAttemptAt: later}, domain.PushRetrying, 1)
	b.tenant(org, func(tx *Tx) error {
		list, err := tx.WaitingPushes(ctx, push.IntegrationID, 10)
		due, _, err2 := tx.NextPushDue(ctx, push.IntegrationID)
		if len(list) != 0 || !due.Equal(later) {
			t.Errorf("%d wait, due %v", len(list), due)
		}
		_, err3 := tx.Exec(ctx, "UPDATE pushes SET want_version = 2, state = 'pending', attempts = 0 WHERE id = $1", push.ID)
		return errors.Join(err, err2, err3)
	})
	step(1, PushOutcome{State: domain.PushDone}, domain.PushPending, 0) // the wish has changed meanwhile
	step(2, PushOutcome{State: domain.PushDone}, domain.PushDone, 1)
	b.tenant(org, func(tx *Tx) error {
		due, n, err := tx.NextPushDue(ctx, push.IntegrationID)
		if !due.IsZero() || n != 0 {
			t.Errorf("due %v, %d waiting", due, n)
		}
		_, err2 := tx.FinishPush(ctx, domain.NewID[domain.PushID](tx.Now), 1, PushOutcome{State: domain.PushDone})
		wantKind(t, err2, domain.KindNotFound)
		return err
	})
}

func TestSyncRunsCountEachPageOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i, other := b.integration(org).ID, b.integration(org).ID
	id := domain.NewID[domain.SyncRunID](b.clock.now())
	start := domain.SyncRun{ID: id, IntegrationID: i, RequestedBy: "schedule"}
	b.tenant(org, func(tx *Tx) error {
		if err := tx.SetSyncCursor(ctx, i, "token-1"); err != nil {
			return err
		}
		for range 2 {
			run, cursor, err := tx.StartSyncRun(ctx, start)
			if err != nil || cursor != "token-1" || run.State != domain.SyncRunning || !run.StartedAt.Equal(tx.Now) {
				t.Errorf("started %+v at %q, %v", run, cursor, err)
			}
		}
		_, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: id, IntegrationID: other})
		wantKind(t, err, domain.KindConflict)
		_, _, err = tx.StartSyncRun(ctx, domain.SyncRun{ID: domain.NewID[domain.SyncRunID](tx.Now), IntegrationID: domain.IntegrationID(id)})
		wantKind(t, err, domain.KindNotFound)
		for _, want := range []bool{true, false} { // the second time is a repeat
			run, added, err := tx.AddSyncPage(ctx, id, SyncPage{Number: 0, Next: "token-2", Seen: 10, Applied: 3, Unchanged: 6, Rejected: 1})
			if err != nil || added != want || run.Pages != 1 || run.Seen != 10 || run.Applied != 3 {
				t.Errorf("added %t: %+v, %v", added, run, err)
			}
		}
		_, _, err = tx.AddSyncPage(ctx, id, SyncPage{Number: 2})
		wantKind(t, err, domain.KindConflict)
		for range 2 {
			run, err := tx.EndSyncRun(ctx, id, domain.SyncDone, SyncPage{Removed: 2, Quarantined: 1}, "")
			if err != nil || run.State != domain.SyncDone || run.Removed != 2 || run.Quarantined != 1 || run.EndedAt == nil {
				t.Errorf("ended %+v, %v", run, err)
			}
		}
		_, _, err = tx.AddSyncPage(ctx, id, SyncPage{Number: 1})
		wantKind(t, err, domain.KindConflict)
		one, err := tx.Integration(ctx, i)
		if one.SyncCursor != "token-2" || one.LastSyncAt == nil || one.Version != 1 {
			t.Errorf("integration at %q, last sync %v", one.SyncCursor, one.LastSyncAt)
		}
		return err
	})
	failed := domain.NewID[domain.SyncRunID](b.clock.now().Add(time.Second))
	b.tenant(org, func(tx *Tx) error {
		run, cursor, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: failed, IntegrationID: i, Full: true})
		if err != nil || cursor != "" || !run.Full {
			t.Errorf("a full run starts at %q, %v", cursor, err)
		}
		if _, _, err := tx.AddSyncPage(ctx, failed, SyncPage{Next: "half"}); err != nil {
			return err
		}
		if run, err := tx.RestartSyncRun(ctx, failed); err != nil || run.Pages != 1 {
			t.Errorf("restarted %+v, %v", run, err)
		}
		if run, cursor, err := tx.SyncRunCursor(ctx, failed); err != nil || cursor != "" || run.ID != failed {
			t.Errorf("stands at %q, %v", cursor, err)
		}
		if _, err := tx.EndSyncRun(ctx, failed, domain.SyncFailed, SyncPage{}, "unreachable"); err != nil {
			return err
		}
		one, err := tx.Integration(ctx, i)
		if one.SyncCursor != "token-2" {
			t.Errorf("a failed run moved the cursor to %q", one.SyncCursor)
		}
		list, _, err2 := tx.SyncRuns(ctx, i, Page{})
		if len(list) != 2 || list[0].ID != failed || list[0].Error != "unreachable" || list[1].ID != id {
			t.Errorf("listed %+v", list)
		}
		return errors.Join(err, err2)
	})
}

func TestClipKeepsWholeCharacters(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"short": "short", "ääääää": "ää…", "a\x00b\xff": "ab\uFFFD", "12345678": "12345678", "123456789": "12345…"} {
		if got := clip(in, 8); got != want {
			t.Errorf("clip(%q) = %q, want %q", in, got, want)
		}
	}
}
