package store

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestAFeedIsFoundByItsTokenAndShowsTheFirstBookings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	r := b.resource(org)
	hash := sha256.Sum256([]byte("token"))
	f := domain.Feed{ID: domain.NewID[domain.FeedID](b.clock.now()), ResourceID: r.ID, Label: "Studio", Detail: domain.FeedBusy, PastDays: 1, FutureDays: 10, CreatedBy: "admin"}
	b.tenant(org, func(tx *Tx) error { return tx.CreateFeed(ctx, f, hash) })
	day := b.clock.now().UTC().Truncate(24 * time.Hour)
	for _, at := range []time.Duration{-48 * time.Hour, 50 * time.Hour, 26 * time.Hour, 74 * time.Hour, 11 * 24 * time.Hour} {
		b.booking(org, r.ID, day.Add(at), time.Hour)
	}
	ref, err := b.FeedByToken(ctx, hash)
	if err != nil || ref != (FeedRef{Org: org, ID: f.ID}) {
		t.Fatalf("found %+v, %v", ref, err)
	}
	_, err = b.FeedByToken(ctx, sha256.Sum256([]byte("another")))
	wantKind(t, err, domain.KindNotFound)
	open := func(most int) (out OpenFeed) {
		b.tenant(org, func(tx *Tx) error {
			out, err = tx.OpenFeed(ctx, f.ID, most)
			return err
		})
		return out
	}
	all := open(3)
	if len(all.Bookings) != 3 || all.Cut || !all.Bookings[0].When.Start.Equal(day.Add(26*time.Hour)) || !all.Bookings[2].When.Start.Equal(day.Add(74*time.Hour)) {
		t.Errorf("shows %+v", all)
	}
	if some := open(2); len(some.Bookings) != 2 || !some.Cut || some.Bookings[1].ID != all.Bookings[1].ID {
		t.Errorf("cut: %+v", some)
	}
	err = b.Tenant(ctx, b.org(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.OpenFeed(ctx, f.ID, 3)
		return err
	})
	wantKind(t, err, domain.KindNotFound)
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.RevokeFeed(ctx, r.ID, f.ID)
		return err
	})
	if ref, err = b.FeedByToken(ctx, hash); err != nil || !ref.Revoked {
		t.Errorf("after it was revoked: %+v, %v", ref, err)
	}
	err = b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
		_, err := tx.OpenFeed(ctx, f.ID, 3)
		return err
	})
	wantKind(t, err, domain.KindNotFound)
}

func TestEachContentOfAFeedHasALaterSecondThanTheOneBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	r := b.resource(org)
	f := domain.Feed{ID: domain.NewID[domain.FeedID](b.clock.now()), ResourceID: r.ID, Label: "Studio", Detail: domain.FeedTitles, FutureDays: 1, CreatedBy: "admin"}
	b.tenant(org, func(tx *Tx) error { return tx.CreateFeed(ctx, f, sha256.Sum256([]byte(f.ID))) })
	note := func(content string) (changed time.Time) {
		b.tenant(org, func(tx *Tx) (err error) {
			changed, err = tx.NoteFeedRead(ctx, f.ID, []byte(content))
			return err
		})
		return changed
	}
	one := note("one")
	again, two, three := note("one"), note("two"), note("one")
	if !again.Equal(one) || !two.After(one) || !three.After(two) || one.Nanosecond() != 0 || three.Sub(one) < 2*time.Second {
		t.Errorf("changed at %s, %s, %s, %s", one, again, two, three)
	}
	b.tenant(org, func(tx *Tx) error {
		open, err := tx.OpenFeed(ctx, f.ID, 1)
		if err != nil {
			return err
		}
		if !open.ReadIsNoted([]byte("one"), tx.Now) || open.ReadIsNoted([]byte("two"), tx.Now) || open.ReadIsNoted([]byte("one"), tx.Now.Add(time.Hour)) {
			t.Error("a reading is written down when it changed something, or after a minute")
		}
		return nil
	})
}
