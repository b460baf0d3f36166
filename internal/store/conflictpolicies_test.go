package store

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestPolicyOfAPairIsReplacedAndKeepsItsID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, org := t.Context(), b.org()
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.ConflictPolicy(ctx, domain.CategoryVendor, domain.CategoryWedding)
		wantKind(t, err, domain.KindNotFound)
		wantKind(t, tx.DeleteConflictPolicy(ctx, domain.CategoryVendor, domain.CategoryWedding), domain.KindNotFound)
		want := domain.ConflictPolicy{ID: domain.NewID[domain.ConflictPolicyID](tx.Now), OrgID: org, Category: domain.CategoryWedding, Other: domain.CategoryVendor,
			Rule: domain.PolicySourcePriority, Then: domain.ThenBest, Sources: []domain.IntegrationID{domain.NewID[domain.IntegrationID](tx.Now)}, Reason: "because",
			UpdatedBy: "alex", CreatedAt: tx.Now, UpdatedAt: tx.Now, Version: 1}
		if got, err := tx.PutConflictPolicy(ctx, want); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("stored %v %s", err, cmp.Diff(want, got))
		}
		changed := want
		changed.ID, changed.Rule, changed.Sources = domain.NewID[domain.ConflictPolicyID](tx.Now), domain.PolicyNewestWins, nil
		if got, err := tx.PutConflictPolicy(ctx, changed); err != nil || got.ID != want.ID || got.Version != 2 || len(got.Sources) != 0 {
			t.Errorf("changed to %+v %v", got, err)
		}
		if got, err := tx.ConflictPolicy(ctx, domain.CategoryVendor, domain.CategoryWedding); err != nil || got.Rule != domain.PolicyNewestWins {
			t.Errorf("read in the other order %+v %v", got, err)
		}
		if all, err := tx.ConflictPolicies(ctx); err != nil || len(all) != 1 {
			t.Errorf("listed %+v %v", all, err)
		}
		return tx.DeleteConflictPolicy(ctx, domain.CategoryVendor, domain.CategoryWedding)
	})
}

func TestHeldWishWaitsUntilItIsReleasedOrItsTimeIsOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, org := t.Context(), b.org()
	i := b.integration(org)
	k := b.booking(org, i.ResourceID, b.clock.now(), time.Hour)
	waiting := func() (n int) {
		b.tenant(org, func(tx *Tx) error {
			list, err := tx.WaitingPushes(ctx, i.ID, 10)
			n = len(list)
			return err
		})
		return n
	}
	b.tenant(org, func(tx *Tx) error {
		err := tx.StoreEffects(ctx, Effects{Pushes: []domain.Push{{ID: domain.NewID[domain.PushID](tx.Now), IntegrationID: i.ID, BookingID: k.ID, Op: domain.PushPut,
			WantVersion: 1, UpdatedAt: tx.Now}}})
		if err != nil {
			return err
		}
		return tx.HoldPushes(ctx, k.ID, tx.Now.Add(time.Minute), "waits for its turn")
	})
	if n := waiting(); n != 0 {
		t.Fatalf("%d wishes are carried out while they are held", n)
	}
	b.tenant(org, func(tx *Tx) error {
		if due, n, err := tx.NextPushDue(ctx, i.ID); err != nil || n != 1 || !due.Equal(tx.Now.Add(time.Minute)) {
			t.Errorf("due %v, %d waiting, %v", due, n, err)
		}
		return tx.ReleasePush(ctx, i.ID, k.ID)
	})
	if n := waiting(); n != 1 {
		t.Errorf("%d wishes wait after the release", n)
	}
	rows, err := b.ClaimOutbox(ctx, 10)
	b.must(err)
	if !slices.ContainsFunc(rows, func(r OutboxRow) bool { return r.Kind == OutboxPush && r.Target == string(i.ID) }) {
		t.Errorf("outbox %+v", rows)
	}
}
