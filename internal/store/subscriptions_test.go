package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func testKey(b *bundle, id string) SubscriptionKey {
	return SubscriptionKey{domain.SubscriptionSecret{ID: id, CreatedAt: b.clock.now().UTC().Truncate(time.Microsecond)}, "whsec_of_" + id}
}

// subscription makes one with an attempt behind it.
func (b *bundle) subscription(org domain.OrgID) domain.Subscription {
	b.t.Helper()
	b.clock.advance(time.Millisecond) // ids are in the order in which they were made
	s := domain.Subscription{ID: domain.NewID[domain.SubscriptionID](b.clock.now()), URL: "https://receiver.example/hook", Description: "mirror",
		Filter: domain.EventFilter{Topics: []string{"booking.*"}}, CreatedBy: "admin"}
	b.tenant(org, func(tx *Tx) error {
		if err := tx.CreateSubscription(b.t.Context(), s, []SubscriptionKey{testKey(b, "one")}); err != nil {
			return err
		}
		if err := tx.SaveAttempt(b.t.Context(), s.ID, b.attempt(1)); err != nil {
			return err
		}
		var err error
		s, err = tx.Subscription(b.t.Context(), s.ID)
		return err
	})
	return s
}

func (b *bundle) attempt(n int) domain.SubscriptionAttempt {
	at := b.clock.now().Add(time.Duration(n) * time.Millisecond)
	return domain.SubscriptionAttempt{ID: domain.NewID[domain.AttemptID](at), MessageID: fmt.Sprint("msg_", n), Topic: domain.TopicBookingChanged, Number: 1,
		At: at.UTC().Truncate(time.Microsecond), Status: 204, Took: 3}
}

func (b *bundle) work(s domain.Subscription) (w SubscriptionWork) {
	b.t.Helper()
	b.tenant(s.OrgID, func(tx *Tx) (err error) {
		w, err = tx.SubscriptionWork(b.t.Context(), s.ID)
		return err
	})
	return w
}

func TestSubscriptionKeepsItsSecretsSealedAndRotates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.subscription(b.org())
	until := b.clock.now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	b.tenant(s.OrgID, func(tx *Tx) (err error) {
		s, err = tx.RotateSubscription(t.Context(), s.ID, testKey(b, "two"), until)
		return err
	})
	one := testKey(b, "one")
	one.NotAfter = &until
	if d := cmp.Diff([]SubscriptionKey{one, testKey(b, "two")}, b.work(s).Keys); d != "" {
		t.Fatal(d)
	}
	if len(s.Secrets) != 2 || s.Secrets[0].NotAfter == nil || s.Version != 2 {
		t.Errorf("%+v", s)
	}
	b.clock.advance(2 * time.Hour)
	for want := 2; want <= domain.MaxSubscriptionSecrets; want++ {
		b.tenant(s.OrgID, func(tx *Tx) error {
			_, err := tx.RotateSubscription(t.Context(), s.ID, testKey(b, fmt.Sprint("more", want)), b.clock.now().Add(time.Hour))
			return err
		})
		if got := b.work(s).Secrets; len(got) != want {
			t.Errorf("%d secrets, want %d: the ended one is to go: %+v", len(got), want, got)
		}
	}
	err := b.Tenant(t.Context(), s.OrgID, func(ctx context.Context, tx *Tx) error {
		_, err := tx.RotateSubscription(ctx, s.ID, testKey(b, "too many"), b.clock.now().Add(time.Hour))
		return err
	})
	wantKind(t, err, domain.KindConflict)
	raw := b.owner()
	var sealed []byte
	b.must(raw.QueryRow(t.Context(), "SELECT secrets FROM subscriptions WHERE id = $1", s.ID).Scan(&sealed))
	if len(sealed) == 0 || string(sealed) == "whsec_of_two" {
		t.Error("the secrets are not sealed")
	}
}

func TestAnOrganisationHasSoManySubscriptionsAndNoMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	first := b.subscription(org)
	for range domain.MaxSubscriptions - 1 {
		b.subscription(org)
	}
	create := func() error {
		return b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
			return tx.CreateSubscription(ctx, domain.Subscription{ID: domain.NewID[domain.SubscriptionID](tx.Now), URL: "https://x.example", CreatedBy: "a"}, nil)
		})
	}
	wantKind(t, create(), domain.KindConflict)
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.SetSubscriptionState(t.Context(), first.ID, domain.SubscriptionDeleted, "by admin", false)
		return err
	})
	b.must(create())
	if w := b.work(first); w.URL != "" || len(w.Keys) != 0 || w.State != domain.SubscriptionDeleted {
		t.Errorf("a deleted one keeps %+v", w)
	}
}

func TestProgressOfAnEarlierEpochIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.subscription(b.org())
	was := b.work(s)
	save := func(epoch int64, cursor string) (state domain.SubscriptionState) {
		b.tenant(s.OrgID, func(tx *Tx) (err error) {
			state, err = tx.SaveSubscription(t.Context(), s.ID, epoch, SubscriptionProgress{Cursor: cursor})
			return err
		})
		return state
	}
	if got := save(was.Epoch, "7-1"); got != domain.SubscriptionActive || b.work(s).Cursor != "7-1" {
		t.Fatalf("state %q at %s", got, b.work(s).Cursor)
	}
	b.tenant(s.OrgID, func(tx *Tx) error {
		_, err := tx.SetSubscriptionState(t.Context(), s.ID, domain.SubscriptionActive, "by admin", true)
		return err
	})
	now := b.work(s).Cursor
	if got := save(was.Epoch, "7-2"); got != "" || b.work(s).Cursor != now {
		t.Errorf("an earlier sender moved the position to %s, state %q", b.work(s).Cursor, got)
	}
}

func TestOnlyTheLastAttemptsAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.subscription(b.org())
	var all []domain.SubscriptionAttempt
	for n := range KeptAttempts + 50 {
		all = append(all, b.attempt(n+2))
	}
	var newest []domain.SubscriptionAttempt
	var left int
	b.tenant(s.OrgID, func(tx *Tx) error {
		if _, err := tx.SaveSubscription(t.Context(), s.ID, 1, SubscriptionProgress{Cursor: s.Cursor, Attempts: all}); err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), "SELECT count(*) FROM subscription_attempts").Scan(&left)
	})
	b.tenant(s.OrgID, func(tx *Tx) (err error) {
		newest, _, err = tx.SubscriptionAttempts(t.Context(), s.ID, Page{Limit: 1})
		return err
	})
	if d := cmp.Diff(all[len(all)-1:], newest); d != "" || left != KeptAttempts {
		t.Errorf("%d left; newest %s", left, d)
	}
}

func TestSweepFindsWhatLagsAndOnlyThat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	lagging, quiet, deleted := b.subscription(b.org()), b.subscription(b.org()), b.subscription(b.org())
	// Their own making is behind their positions.
	for _, s := range []domain.Subscription{lagging, quiet, deleted} {
		await(t, "its own event", func() bool {
			events, next, err := b.StreamAfter(t.Context(), b.work(s).Cursor, s.OrgID, 10)
			b.must(err)
			b.must(b.SkipSubscription(t.Context(), s.OrgID, s.ID, b.work(s).Cursor, next))
			return len(events) > 0
		})
	}
	b.emit(lagging.OrgID, "x")
	b.tenant(deleted.OrgID, func(tx *Tx) error {
		_, err := tx.SetSubscriptionState(t.Context(), deleted.ID, domain.SubscriptionDeleted, "by admin", false)
		return err
	})
	ids := func() (out []domain.SubscriptionID) {
		found, err := b.LaggingSubscriptions(t.Context(), "", 10)
		b.must(err)
		for _, f := range found {
			if f.Deleted != (f.ID == deleted.ID) {
				t.Errorf("%+v", f)
			}
			out = append(out, f.ID)
		}
		return out
	}
	if d := cmp.Diff([]domain.SubscriptionID{lagging.ID, deleted.ID}, ids()); d != "" {
		t.Error(d)
	}
	later := b.clock.now().Add(time.Hour)
	b.tenant(lagging.OrgID, func(tx *Tx) error {
		_, err := tx.SaveSubscription(t.Context(), lagging.ID, 1, SubscriptionProgress{Cursor: b.work(lagging).Cursor, NextAttemptAt: &later, Failures: 1})
		return err
	})
	b.tenant(deleted.OrgID, func(tx *Tx) error { return tx.CloseSubscription(t.Context(), deleted.ID) })
	if got := ids(); len(got) != 0 {
		t.Errorf("still found: %v", got)
	}
	active, err := b.ActiveSubscriptions(t.Context(), lagging.ID, 10)
	b.must(err)
	if len(active) != 1 || active[0].ID != quiet.ID || active[0].Filter.Topics[0] != "booking.*" {
		t.Errorf("active behind the first: %+v", active)
	}
}

func TestCursorsBeforeWhatWasPurgedAreTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org, other := b.org(), b.org()
	b.emit(other, "o")
	b.emit(org, "a", "b", "c")
	all := &reader{b: b, org: org}
	all.awaitNames("a", "b", "c")
	first, _, err := b.StreamAfter(t.Context(), "", org, 1)
	b.must(err)
	of, _, err := b.StreamAfter(t.Context(), "", other, 1)
	b.must(err)
	b.clock.advance(time.Hour)
	b.emit(org, "d")
	if _, err := b.PurgeStream(t.Context(), b.clock.now().Add(-time.Minute), 100); err != nil {
		t.Fatal(err)
	}
	_, from, err := b.StreamAfter(t.Context(), first[0].Cursor, org, 10)
	wantKind(t, err, domain.KindGoneToken)
	if from != all.cursor {
		t.Errorf("kept from %s, want from %s", from, all.cursor)
	}
	rest := &reader{b: b, org: org, cursor: from}
	rest.awaitNames("d")
	// The last event of the other organisation was seen by its reader: nothing is missing.
	if _, _, err := b.StreamAfter(t.Context(), of[0].Cursor, other, 10); err != nil {
		t.Errorf("a quiet organisation's reader: %v", err)
	}
	_, _, err = b.StreamAfter(t.Context(), "99999999999-1", org, 10)
	wantKind(t, err, domain.KindGoneToken)
}

func TestAcceptedDeliveriesAreAnnouncedInBunches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	ids := make([]domain.DeliveryID, MaxAccepted+1)
	for i := range ids {
		ids[i] = domain.NewID[domain.DeliveryID](b.clock.now())
	}
	integration := domain.NewID[domain.IntegrationID](b.clock.now())
	b.must(b.AnnounceAccepted(t.Context(), []Accepted{{Org: org, Integration: integration, IDs: ids}}))
	var events []domain.Event
	await(t, "both events", func() bool {
		var err error
		events, _, err = b.StreamAfter(t.Context(), "", org, 10)
		b.must(err)
		return len(events) == 2
	})
	want := map[string]string{"integration": string(integration), "deliveries": string(ids[MaxAccepted]), "count": "1"}
	if d := cmp.Diff(want, events[1].Refs); d != "" || events[0].Refs["count"] != fmt.Sprint(MaxAccepted) || events[0].Topic != domain.TopicDeliveryAccepted {
		t.Errorf("%+v\n%s", events, d)
	}
}
