package store

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

// settled stores deliveries and finishes them in the given states, a second apart.
func (b *bundle) settled(org domain.OrgID, i domain.IntegrationID, entity string, states ...domain.DeliveryState) (ids []domain.DeliveryID) {
	b.t.Helper()
	for _, s := range states {
		id := b.deliver(org, i, 1)[0]
		ids = append(ids, id)
		b.tenant(org, func(tx *Tx) error {
			return tx.FinishDeliveries(b.t.Context(), []DeliveryOutcome{{ID: id, State: s, Reason: "first", NextAttemptAt: tx.Now.Add(time.Hour),
				EventType: "booking." + string(s), Entity: entity, Try: &DeliveryTry{}}})
		})
		b.clock.advance(time.Second)
	}
	return ids
}

func (b *bundle) replay(org domain.OrgID, f domain.ReplayFilter) domain.Replay {
	b.t.Helper()
	r := domain.Replay{ID: domain.NewID[domain.ReplayID](b.clock.now()), Filter: f, Rate: 10, RequestedBy: "admin", Reason: "mapping mended"}
	b.tenant(org, func(tx *Tx) (err error) {
		var made bool
		if r, made, err = tx.CreateReplay(b.t.Context(), r); err == nil && !made {
			b.t.Error("the replay was there before")
		}
		return err
	})
	return r
}

// copyAll hands in everything that a replay chooses.
func (b *bundle) copyAll(org domain.OrgID, id domain.ReplayID) (copies []ReplayCopy) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) error {
		r, at, err := tx.LockReplay(b.t.Context(), id)
		if err != nil {
			return err
		}
		found, err := tx.ReplayCandidates(b.t.Context(), r, "", 100)
		if err != nil {
			return err
		}
		var raw []domain.RawDelivery
		for _, c := range found {
			if !c.Erased {
				raw = append(raw, c.Raw)
			}
		}
		copies, err = tx.CopyDeliveries(b.t.Context(), id, at.LastCopy, raw)
		return err
	})
	return copies
}

func TestReplayCopiesWhatItsFilterChoosesOnceAndInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i, other := b.integration(org).ID, b.integration(org).ID
	ids := b.settled(org, i, "e1", domain.DeliveryDead, domain.DeliveryApplied, domain.DeliveryRetrying, domain.DeliveryDead)
	b.settled(org, other, "e1", domain.DeliveryDead)
	b.deliver(org, i, 1)
	b.clock.advance(time.Second)
	r := b.replay(org, domain.ReplayFilter{Integration: i, State: domain.DeliveryDead})
	b.clock.advance(time.Second)
	later := b.settled(org, i, "e1", domain.DeliveryDead)[0] // made behind the request
	b.tenant(org, func(tx *Tx) error {
		n, err := tx.CountReplay(ctx, r)
		if n != 2 {
			t.Errorf("%d chosen, want 2", n)
		}
		return err
	})
	copies := b.copyAll(org, r.ID)
	if len(copies) != 2 || copies[0].Origin != ids[0] || copies[1].Origin != ids[3] || copies[0].ID >= copies[1].ID {
		t.Fatalf("copies %+v of %v", copies, ids)
	}
	b.tenant(org, func(tx *Tx) error {
		was, err := tx.DeliveryContent(ctx, ids[0])
		if err != nil {
			return err
		}
		if was.State != domain.DeliveryIgnored || was.Reason != "replayed as delivery "+string(copies[0].ID) {
			t.Errorf("the dead letter is %s because %q", was.State, was.Reason)
		}
		now, err := tx.DeliveryContent(ctx, copies[0].ID)
		if now.State != domain.DeliveryReceived || string(now.Body) != string(was.Body) || !cmp.Equal(now.Headers, was.Headers) || now.OriginID != ids[0] ||
			now.ReplayID != r.ID || !now.ReceivedAt.Equal(was.ReceivedAt) || now.ReplayedAt == nil || now.ReplayedAt.Before(was.ReceivedAt) {
			t.Errorf("the copy is %+v of %+v", now, was)
		}
		return err
	})
	// The same again adds nothing, also by way of a copy that died.
	b.tenant(org, func(tx *Tx) error {
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: copies[0].ID, State: domain.DeliveryDead}})
	})
	b.tenant(org, func(tx *Tx) error {
		for _, id := range []domain.DeliveryID{ids[0], copies[0].ID} {
			raw, err := tx.DeliveryContent(ctx, id)
			if err != nil {
				return err
			}
			if again, err := tx.CopyDeliveries(ctx, r.ID, "", []domain.RawDelivery{raw}); err != nil || len(again) != 0 {
				t.Errorf("copied twice: %+v, %v", again, err)
			}
		}
		return nil
	})
	// Another replay takes the copy up, with the vendor's delivery as its origin.
	b.clock.advance(time.Second)
	second := b.copyAll(org, b.replay(org, domain.ReplayFilter{Integration: i, State: domain.DeliveryDead}).ID)
	if len(second) != 2 || second[0].Origin != later || second[1].From != copies[0].ID || second[1].Origin != ids[0] {
		t.Errorf("second replay %+v", second)
	}
	var told int
	b.must(b.owner().QueryRow(ctx, "SELECT count(*) FROM outbox WHERE kind = 'deliveries' AND target_id = $1", i).Scan(&told))
	if told != 2 {
		t.Errorf("the integration is told %d times, want once for each page", told)
	}
}

func TestErasedDeliveriesAreKnownAsSuch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	ids := b.settled(org, b.integration(org).ID, "e", domain.DeliveryApplied, domain.DeliveryApplied)
	_, err := b.owner().Exec(ctx, "UPDATE deliveries SET content = '' WHERE id = $1", ids[0])
	b.must(err)
	r := b.replay(org, domain.ReplayFilter{Entity: "e"})
	b.tenant(org, func(tx *Tx) error {
		found, err := tx.ReplayCandidates(ctx, r, "", 10)
		if len(found) != 2 || !found[0].Erased || found[1].Erased || found[0].Raw.ID != ids[0] {
			t.Errorf("found %+v", found)
		}
		return err
	})
	err = b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
		_, _, err := tx.ReplayOne(ctx, domain.Replay{ID: domain.NewID[domain.ReplayID](tx.Now), RequestedBy: "admin"}, ids[0])
		return err
	})
	wantKind(t, err, domain.KindConflict)
}

func TestOneDeliveryIsReplayedOncePerKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	ids := b.settled(org, b.integration(org).ID, "e", domain.DeliveryDead, domain.DeliveryRetrying)
	key := domain.Replay{ID: domain.NewID[domain.ReplayID](b.clock.now()), RequestedBy: "admin", Reason: "why"}
	var copies [2]domain.Delivery
	for n := range copies {
		b.tenant(org, func(tx *Tx) (err error) {
			var made bool
			copies[n], made, err = tx.ReplayOne(ctx, key, ids[0])
			if made != (n == 0) {
				t.Errorf("time %d made one: %t", n+1, made)
			}
			return err
		})
	}
	if copies[0].ID != copies[1].ID || copies[0].OriginID != ids[0] || copies[0].State != domain.DeliveryReceived {
		t.Errorf("copies %+v", copies)
	}
	b.tenant(org, func(tx *Tx) error {
		r, err := tx.Replay(ctx, key.ID)
		if r.State != domain.ReplayDone || r.Replayed != 1 || r.Total != 1 || r.Filter.Delivery != ids[0] || r.EndedAt == nil {
			t.Errorf("replay %+v", r)
		}
		out, err2 := tx.ReplayOutcomes(ctx, key.ID)
		if out[domain.DeliveryReceived] != 1 {
			t.Errorf("outcomes %v, %v", out, err2)
		}
		return err
	})
	for _, id := range []domain.DeliveryID{ids[1], copies[0].ID} {
		err := b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
			_, _, err := tx.ReplayOne(ctx, domain.Replay{ID: domain.NewID[domain.ReplayID](tx.Now), RequestedBy: "admin"}, id)
			return err
		})
		wantKind(t, err, domain.KindConflict) // still to be tried
	}
}

func TestOnlyDeadLettersAreDiscarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	ids := b.settled(org, b.integration(org).ID, "e", domain.DeliveryDead, domain.DeliveryApplied)
	discard := func(id domain.DeliveryID) (d domain.Delivery, err error) {
		err = b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) (err error) {
			d, err = tx.DiscardDelivery(ctx, id)
			return err
		})
		return d, err
	}
	d, err := discard(ids[0])
	b.must(err)
	if d.State != domain.DeliveryIgnored || d.AppliedAt == nil || d.Reason == "first" {
		t.Errorf("discarded: %+v", d)
	}
	for _, id := range ids {
		_, err := discard(id)
		wantKind(t, err, domain.KindConflict)
	}
	_, err = discard(domain.NewID[domain.DeliveryID](b.clock.now()))
	wantKind(t, err, domain.KindNotFound)
}

func TestAReplayEndsOnceAndCountsAddUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	r := b.replay(org, domain.ReplayFilter{})
	sample := domain.ReplaySample{Delivery: domain.NewID[domain.DeliveryID](b.clock.now()), Outcome: domain.DeliveryApplied, Effects: map[string]int{"created": 1}}
	for range 3 {
		b.tenant(org, func(tx *Tx) error {
			now, _, err := tx.LockReplay(ctx, r.ID)
			if err != nil {
				return err
			}
			r, err = tx.AdvanceReplay(ctx, now, ReplayStep{Seen: 60, Replayed: 50, Skipped: 10, Samples: slices.Repeat([]domain.ReplaySample{sample}, 50),
				Tally: domain.ReplayTally{Skipped: map[string]int{domain.SkipErased: 10}, Outcomes: map[domain.DeliveryState]int{domain.DeliveryApplied: 50}}})
			return err
		})
	}
	if r.Seen != 180 || r.Replayed != 150 || r.Skipped != 30 || len(r.Samples) != domain.MaxReplaySamples || r.Tally.Skipped[domain.SkipErased] != 30 ||
		r.Tally.Outcomes[domain.DeliveryApplied] != 150 || !cmp.Equal(r.Samples[99], sample) {
		t.Errorf("replay %+v", r)
	}
	for n, state := range []domain.ReplayState{domain.ReplayPaused, domain.ReplayRunning, domain.ReplayCancelled, domain.ReplayDone} {
		b.tenant(org, func(tx *Tx) error {
			now, changed, err := tx.SetReplayState(ctx, r.ID, state, "")
			if changed != (n < 3) || now.State.Ended() != (n >= 2) || now.Seen != 180 {
				t.Errorf("to %s: %+v, changed %t", state, now, changed)
			}
			return err
		})
	}
	b.tenant(org, func(tx *Tx) error {
		list, next, err := tx.Replays(ctx, Page{Limit: 1})
		if len(list) != 1 || list[0].State != domain.ReplayCancelled || next != "" {
			t.Errorf("list %+v, next %q", list, next)
		}
		return err
	})
	for _, bad := range []domain.Replay{{Rate: 0}, {Rate: 1001}, {Rate: 1, Filter: domain.ReplayFilter{State: domain.DeliveryReceived}},
		{Rate: 1, Filter: domain.ReplayFilter{Entity: "\x00"}}, {Rate: 1, ID: "x"}} {
		if bad.ID == "" {
			bad.ID = domain.NewID[domain.ReplayID](b.clock.now())
		}
		bad.RequestedBy = "admin"
		wantKind(t, b.Tenant(ctx, org, func(ctx context.Context, tx *Tx) error {
			_, _, err := tx.CreateReplay(ctx, bad)
			return err
		}), domain.KindInvalid)
	}
}

func TestNewsAboutAnEntryAreFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i, other := b.integration(org).ID, b.integration(org).ID
	first := b.settled(org, i, "e1", domain.DeliveryDead, domain.DeliveryApplied)
	alone := b.settled(org, i, "e2", domain.DeliveryApplied, domain.DeliveryDead)
	b.settled(org, other, "e2", domain.DeliveryApplied)
	copies := b.copyAll(org, b.replay(org, domain.ReplayFilter{Entity: "e1", State: domain.DeliveryDead}).ID)
	b.tenant(org, func(tx *Tx) error {
		// The copy of the older one is newer by its id and not by what it tells.
		return tx.FinishDeliveries(ctx, []DeliveryOutcome{{ID: copies[0].ID, State: domain.DeliveryApplied, Entity: "e1"}})
	})
	b.tenant(org, func(tx *Tx) error {
		got, err := tx.Superseded(ctx, i, []EntryAt{{"e1", first[0]}, {"e1", first[1]}, {"e2", alone[0]}, {"", first[0]}, {"e3", first[0]}})
		if diff := cmp.Diff([]domain.DeliveryID{first[1], "", "", "", ""}, got); diff != "" {
			t.Error(diff)
		}
		return err
	})
}
