package store

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestSweepFindsOnlyWorkThatIsOverdue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	busy, fresh, paused, retrying, pushing := b.integration(org).ID, b.integration(org).ID, b.integration(org).ID, b.integration(org).ID, b.integration(org)
	b.integration(org) // idle
	old := b.deliver(org, busy, 60)
	b.deliver(org, paused, 1)
	again := b.deliver(org, retrying, 2)
	slices.Sort(old)
	k := b.booking(org, pushing.ResourceID, b.clock.now(), time.Hour)
	b.tenant(org, func(tx *Tx) error {
		if _, err := tx.SetIntegrationState(ctx, paused, domain.IntegrationPaused, "holiday"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO pushes (id, org_id, integration_id, booking_id, op, want_version, state, created_at, updated_at)
			VALUES ($1, $2, $3, $4, 'put', 1, 'pending', $5, $5)`, domain.NewID[domain.PushID](tx.Now), org, pushing.ID, k.ID, tx.Now); err != nil {
			return err
		}
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: again[0], State: domain.DeliveryRetrying, NextAttemptAt: tx.Now.Add(30 * time.Second)},
			{ID: again[1], State: domain.DeliveryRetrying, NextAttemptAt: tx.Now.Add(time.Hour)}})
	})
	b.clock.advance(time.Minute)
	b.deliver(org, fresh, 1)
	got, err := b.IntegrationsWithWork(ctx, 10*time.Second, 100)
	b.must(err)
	want := []WaitingIntegration{{Org: org, Integration: busy, IDs: old[:50], Priority: domain.PriorityNormal, More: true}, {Org: org, Integration: retrying, IDs: again[:1], Priority: domain.PriorityNormal},
		{Org: org, Integration: pushing.ID, IDs: []domain.DeliveryID{}, Priority: domain.PriorityNormal, Pushes: 1}}
	slices.SortFunc(want, func(a, b WaitingIntegration) int { return cmpText(a.Integration, b.Integration) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func cmpText[T ~string](a, b T) int {
	if a < b {
		return -1
	}
	return 1
}

func TestSweepReachesEveryIntegrationInTurn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	want := map[domain.IntegrationID]int{}
	for range 7 {
		i := b.integration(org).ID
		b.deliver(org, i, 1)
		want[i] = 2
	}
	b.clock.advance(time.Minute)
	got := map[domain.IntegrationID]int{}
	// Nobody does the work, and still each has its turn: 7 calls for 2 are two rounds over 7.
	for range 7 {
		found, err := b.IntegrationsWithWork(t.Context(), time.Second, 2)
		b.must(err)
		for _, w := range found {
			got[w.Integration]++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	found, err := b.IntegrationsWithWork(t.Context(), time.Second, 100)
	if err != nil || len(found) != 7 {
		t.Fatalf("a wide sweep finds %d, %v", len(found), err)
	}
	_, err = b.IntegrationsWithWork(t.Context(), time.Second, 0)
	wantKind(t, err, domain.KindInvalid)
}

func TestSweepGoesOnBehindManyIntegrationsThatWaitOnPurpose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	var busy domain.IntegrationID
	for n := range 6 {
		i := b.integration(org).ID
		b.deliver(org, i, 1)
		if n == 5 {
			busy = i
			break
		}
		b.tenant(org, func(tx *Tx) error {
			_, err := tx.SetIntegrationState(ctx, i, domain.IntegrationPaused, "")
			return err
		})
		b.clock.advance(time.Millisecond) // identifiers sort by time: the busy one is last
	}
	b.clock.advance(time.Minute)
	var got []domain.IntegrationID
	after, steps := firstUUID, 0
	for after != "" {
		found, next, err := b.sweep(ctx, b.timestamp(), after, lastUUID, 10, 2)
		b.must(err)
		for _, w := range found {
			got = append(got, w.Integration)
		}
		after = next
		if steps++; steps > 10 {
			t.Fatal("the sweep does not get on")
		}
	}
	if diff := cmp.Diff([]domain.IntegrationID{busy}, got); diff != "" || steps < 3 {
		t.Fatal(steps, diff)
	}
}

func TestOutboxLinesAreClaimedOnceAndComeBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	target, ref := string(domain.NewID[domain.ConflictID](b.clock.now())), string(domain.NewID[domain.BookingID](b.clock.now()))
	b.tenant(org, func(tx *Tx) error {
		for _, due := range []time.Duration{time.Minute, time.Hour, time.Minute} { // the third equals the first
			if err := tx.Enqueue(ctx, OutboxConflictRecheck, target, ref, tx.Now.Add(due)); err != nil {
				return err
			}
		}
		return tx.Enqueue(ctx, OutboxConflictStart, target, "", tx.Now)
	})
	claim := func() []OutboxRow {
		t.Helper()
		rows, err := b.ClaimOutbox(ctx, 10)
		b.must(err)
		return rows
	}
	now := b.timestamp()
	first := claim()
	if len(first) != 1 {
		t.Fatalf("claimed %+v", first)
	}
	want := []OutboxRow{{ID: first[0].ID, Org: org, Kind: OutboxConflictStart, Target: target, DueAt: now, Attempts: 1, CreatedAt: now}}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Fatal(diff)
	}
	if again := claim(); len(again) != 0 {
		t.Fatalf("claimed twice: %+v", again)
	}
	b.clock.advance(2 * time.Minute) // the lease has run out, and the line due in a minute is due
	second := claim()
	if len(second) != 2 || second[0].ID != first[0].ID || second[0].Attempts != 2 || second[1].Ref != ref {
		t.Fatalf("claimed %+v", second)
	}
	b.must(b.DeleteOutbox(ctx, []int64{second[0].ID, second[1].ID}))
	b.must(b.DeleteOutbox(ctx, nil))
	b.clock.advance(2 * time.Minute)
	if rest := claim(); len(rest) != 0 {
		t.Fatalf("claimed %+v", rest)
	}
	n, oldest, err := b.OutboxWaiting(ctx)
	if err != nil || n != 1 || oldest != 0 {
		t.Fatalf("%d wait, oldest due for %v, %v", n, oldest, err)
	}
	wantKind(t, b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error { return tx.Enqueue(ctx, OutboxPush, "x", "", tx.Now) }), domain.KindInvalid)
}

func TestClaimersDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	b.tenant(org, func(tx *Tx) error {
		for range 6 {
			if err := tx.Enqueue(ctx, OutboxPush, string(domain.NewID[domain.ConflictID](tx.Now)), "", tx.Now); err != nil {
				return err
			}
		}
		return nil
	})
	held, err := b.system.Begin(ctx)
	b.must(err)
	defer func() { _ = held.Rollback(ctx) }()
	_, err = held.Exec(ctx, "SELECT 1 FROM outbox ORDER BY due_at, id LIMIT 4 FOR UPDATE")
	b.must(err)
	rows, err := b.ClaimOutbox(ctx, 10)
	if err != nil || len(rows) != 2 {
		t.Fatalf("claimed %d beside another claimer, %v", len(rows), err)
	}
}
