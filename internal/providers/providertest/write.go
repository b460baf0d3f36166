package providertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// write makes the n-th wish: a key and a booking of its own, with personal words.
func write(n int) provider.Write {
	return provider.Write{
		Key:       fmt.Sprintf("0193c000-0000-7000-8000-%012x", n),
		BookingID: domain.BookingID(fmt.Sprintf("0193b000-0000-7000-8000-%012x", n)),
		Category:  domain.CategoryWedding,
		Status:    domain.StatusConfirmed,
		When:      zoned(entry(n).When.Start, 8*time.Hour),
		Details:   domain.Details{Title: "Wedding of " + names[n%len(names)], Location: "Barn; second gate, left", Notes: "Line one\nLine two, with a comma"},
	}
}

var writerCases = []testCase{
	{"put makes exactly one copy and reads back as listed", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		done, err := w.Put(b.ctx, write(0))
		b.ok(t, "put", err)
		if n := b.world.Count(t); n != 1 {
			t.Errorf("the world holds %d entries after one put", n)
		}
		b.wantReadBack(t, done, write(0))
	}},
	{"put again under the same key adopts the copy", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		first, err := w.Put(b.ctx, write(0))
		b.ok(t, "put", err)
		again, err := w.Put(b.ctx, write(0))
		b.ok(t, "put again", err)
		if again.ExternalID != first.ExternalID {
			t.Errorf("the second put of one key gave another copy: %q and %q", first.ExternalID, again.ExternalID)
		}
		if n := b.world.Count(t); n != 1 {
			t.Errorf("the world holds %d entries after one write was put twice", n)
		}
		b.wantReadBack(t, again, write(0))
	}},
	{"lost answer is retryable and the next try adopts the copy", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		b.fault(t, FaultLoseAnswer)
		done, err := w.Put(b.ctx, write(0))
		if err != nil {
			b.clean(t, err)
			if !domain.Retryable(err) {
				t.Fatalf("a lost answer is final: %v", err)
			}
			done, err = w.Put(b.ctx, write(0))
			b.ok(t, "put after a lost answer", err)
		}
		if n := b.world.Count(t); n != 1 {
			t.Errorf("the world holds %d entries after a lost answer", n)
		}
		b.wantReadBack(t, done, write(0))
	}},
	{"put changes the copy in place", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		first, err := w.Put(b.ctx, write(0))
		b.ok(t, "put", err)
		wish := write(0)
		wish.ExternalID, wish.Revision = first.ExternalID, first.Revision
		wish.When = zoned(wish.When.Start.Add(26*time.Hour), 3*time.Hour)
		wish.Status = domain.StatusTentative
		moved, err := w.Put(b.ctx, wish)
		b.ok(t, "put the change", err)
		if moved.ExternalID != first.ExternalID {
			t.Errorf("a change made another copy: %q and %q", first.ExternalID, moved.ExternalID)
		}
		if n := b.world.Count(t); n != 1 {
			t.Errorf("the world holds %d entries after a change", n)
		}
		b.wantReadBack(t, moved, wish)
	}},
	{"lost answer of a change can be tried again", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		first, err := w.Put(b.ctx, write(0))
		b.ok(t, "put", err)
		wish := write(0)
		wish.ExternalID, wish.Revision = first.ExternalID, first.Revision
		wish.When = zoned(wish.When.Start.Add(26*time.Hour), 3*time.Hour)
		b.fault(t, FaultLoseAnswer)
		moved, err := w.Put(b.ctx, wish)
		if err != nil {
			b.clean(t, err)
			if !domain.Retryable(err) {
				t.Fatalf("a lost answer is final: %v", err)
			}
			moved, err = w.Put(b.ctx, wish)
			b.ok(t, "put after a lost answer", err)
		}
		b.wantReadBack(t, moved, wish)
		if n := b.world.Count(t); n != 1 {
			t.Errorf("the world holds %d entries after a lost answer", n)
		}
	}},
	{"all-day times keep their form", func(t *testing.T, b *bundle) {
		zone, err := time.LoadLocation(Zone)
		if err != nil {
			t.Fatal(err)
		}
		wish := write(0)
		wish.When = domain.When{Zone: Zone, Kind: domain.TimeAllDay, Span: domain.Span{
			Start: time.Date(2027, time.March, 27, 0, 0, 0, 0, zone).UTC(),
			End:   time.Date(2027, time.March, 29, 0, 0, 0, 0, zone).UTC(), // 47 hours: the clocks go forward
		}}
		done, err := as[provider.Writer](t, b).Put(b.ctx, wish)
		b.ok(t, "put", err)
		b.wantReadBack(t, done, wish)
		if done.ReadBack.When.Kind != domain.TimeAllDay {
			t.Errorf("an all-day copy reads back as %s", done.ReadBack.When.Kind)
		}
	}},
	{"stale revision is a conflict", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		first, err := w.Put(b.ctx, write(0))
		b.ok(t, "put", err)
		b.world.Edit(t, first.ExternalID, entry(40))
		wish := write(0)
		wish.ExternalID, wish.Revision = first.ExternalID, first.Revision
		wish.When = zoned(wish.When.Start.Add(26*time.Hour), 3*time.Hour)
		_, err = w.Put(b.ctx, wish)
		b.wantKind(t, err, domain.KindConflict)
		b.wantKind(t, w.Remove(b.ctx, first.ExternalID, first.Revision), domain.KindConflict)
		if n := b.world.Count(t); n != 1 {
			t.Errorf("the world holds %d entries after refused writes", n)
		}
	}},
	{"entry of somebody else is not overwritten", func(t *testing.T, b *bundle) {
		id := b.world.Seed(t, entry(0))
		wish := write(1)
		wish.ExternalID, wish.Revision = id, ""
		_, err := as[provider.Writer](t, b).Put(b.ctx, wish)
		b.wantKind(t, err, domain.KindConflict)
		if _, ok := provider.As[provider.Puller](b.opened); ok {
			b.list(t, "").wantSome(t, id, entry(0))
		}
	}},
	{"source entry is moved and keeps the rest", func(t *testing.T, b *bundle) {
		if _, ok := provider.As[provider.Reader](b.opened); !ok {
			t.Skip("the provider cannot read one entry, so the suite knows no revision")
		}
		id := b.world.Seed(t, entry(0))
		before, err := as[provider.Reader](t, b).Read(b.ctx, id)
		b.ok(t, "read", err)
		wish := write(1)
		wish.ExternalID, wish.Revision, wish.Source = id, before.Revision, true
		wish.Details, wish.Status = domain.Details{}, domain.StatusConfirmed
		wish.When = zoned(entry(50).When.Start, time.Hour)
		moved, err := as[provider.Writer](t, b).Put(b.ctx, wish)
		b.ok(t, "move", err)
		after, err := as[provider.Reader](t, b).Read(b.ctx, id)
		b.ok(t, "read again", err)
		want := entry(0)
		want.When = wish.When
		wantEntry(t, after, id, want)
		if after.Origin != "" {
			t.Error("a source entry was marked as a copy of ours")
		}
		if moved.ReadBack.Hash() != after.Hash() {
			t.Errorf("the read-back of a move differs from the entry: %s", cmp.Diff(moved.ReadBack, after))
		}
	}},
	{"remove twice is success", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		first, err := w.Put(b.ctx, write(0))
		b.ok(t, "put", err)
		b.ok(t, "remove", w.Remove(b.ctx, first.ExternalID, first.Revision))
		b.ok(t, "remove again", w.Remove(b.ctx, first.ExternalID, first.Revision))
		if n := b.world.Count(t); n != 0 {
			t.Errorf("the world holds %d entries after the only one was removed", n)
		}
	}},
	{"copy removed by us can be put again", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		first, err := w.Put(b.ctx, write(0))
		b.ok(t, "put", err)
		b.ok(t, "remove", w.Remove(b.ctx, first.ExternalID, first.Revision))
		again, err := w.Put(b.ctx, write(0))
		b.ok(t, "put again", err)
		b.wantReadBack(t, again, write(0))
		if n := b.world.Count(t); n != 1 {
			t.Errorf("the world holds %d entries, want 1", n)
		}
	}},
	{"faults have their kinds", func(t *testing.T, b *bundle) {
		b.faultKinds(t, func(ctx context.Context) error {
			_, err := as[provider.Writer](t, b).Put(ctx, write(0))
			return err
		})
		done, err := as[provider.Writer](t, b).Put(b.ctx, write(0))
		b.ok(t, "put", err)
		b.faultKinds(t, func(ctx context.Context) error {
			return as[provider.Writer](t, b).Remove(ctx, done.ExternalID, done.Revision)
		})
	}},
	{"ended context stops the call", func(t *testing.T, b *bundle) {
		b.stops(t, func(ctx context.Context) error {
			_, err := as[provider.Writer](t, b).Put(ctx, write(0))
			return err
		})
	}},
	{"one key from several goroutines makes one copy", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		done := make([]provider.Written, 8)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range done {
			wg.Go(func() { done[i], errs[i] = w.Put(b.ctx, write(0)) })
		}
		wg.Wait()
		good := 0
		for i := range done {
			b.clean(t, errs[i])
			if errs[i] == nil {
				good++
				if done[i].ExternalID == "" {
					t.Error("a put without error names no copy")
				}
			}
		}
		if n := b.world.Count(t); n != 1 || good == 0 {
			t.Errorf("8 puts of one key: %d succeeded, the world holds %d entries, want 1; errors: %v", good, n, errs)
		}
	}},
	{"several keys from several goroutines make a copy each", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = w.Put(b.ctx, write(i)) })
		}
		wg.Wait()
		for i := range errs {
			b.ok(t, "put", errs[i])
		}
		if n := b.world.Count(t); n != 8 {
			t.Errorf("the world holds %d entries after 8 puts of 8 keys", n)
		}
	}},
}

// wantReadBack checks that what Put returned is what the system lists, and that it is the wish.
func (b *bundle) wantReadBack(t *testing.T, done provider.Written, wish provider.Write) {
	t.Helper()
	rb := done.ReadBack
	if err := rb.Validate(); err != nil {
		t.Errorf("the read-back is invalid: %v", err)
	}
	if done.ExternalID == "" || rb.ExternalID != done.ExternalID {
		t.Errorf("the copy is %q and its read-back %q", done.ExternalID, rb.ExternalID)
	}
	if !rb.When.Start.Equal(wish.When.Start) || !rb.When.End.Equal(wish.When.End) || rb.Status != wish.Status {
		t.Errorf("the copy is %s at %s, want %s at %s", rb.Status, rb.When.Span, wish.Status, wish.When.Span)
	}
	if _, ok := provider.As[provider.Puller](b.opened); ok {
		listed, there := b.list(t, "").upserts[done.ExternalID]
		switch {
		case !there:
			t.Errorf("the copy %s is not listed", done.ExternalID)
		case listed.Hash() != rb.Hash():
			t.Errorf("the listing and the read-back differ (-listed +read back):\n%s", cmp.Diff(listed, rb))
		case listed.Origin != wish.BookingID && b.h.Lacks["origin"] == "":
			t.Errorf("the listed copy has the origin %q, want %q", listed.Origin, wish.BookingID)
		case listed.Revision != done.Revision:
			t.Errorf("the listed copy has the revision %q, the put said %q", listed.Revision, done.Revision)
		}
	}
	if r, ok := provider.As[provider.Reader](b.opened); ok {
		read, err := r.Read(b.ctx, done.ExternalID)
		b.ok(t, "read the copy", err)
		if read.Hash() != rb.Hash() {
			t.Errorf("the entry and the read-back differ (-entry +read back):\n%s", cmp.Diff(read, rb))
		}
	}
}
