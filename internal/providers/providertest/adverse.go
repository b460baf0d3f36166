package providertest

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

const (
	// aheadBy is how far a clock goes wrong: more than the overlaps with which changes are read again.
	aheadBy = 11 * time.Minute
	// corrected is by how much a clock is put right at once: less than any overlap.
	corrected = 90 * time.Second
	// slow is for how long a page stands still. Nothing depends on it: an answer that comes sooner is as good.
	slow = 50 * time.Millisecond
	// pageful is how many entries make several pages where the provider itself has none.
	pageful = 25
)

// seeded fills the world with n entries.
func (b *bundle) seeded(t *testing.T, n int) map[string]Entry {
	t.Helper()
	want := map[string]Entry{}
	for i := range n {
		want[b.world.Seed(t, entry(i))] = entry(i)
	}
	return want
}

// merge lays later news over earlier.
func (l *listing) merge(later listing) {
	maps.Copy(l.upserts, later.upserts)
	for _, id := range later.removed {
		delete(l.upserts, id)
	}
	l.cursor, l.complete = later.cursor, later.complete
}

func (l listing) lacks(want map[string]Entry) (ids []string) {
	for id := range want {
		if _, there := l.upserts[id]; !there {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// astray lists a world one of whose pages goes astray, heals it and lists on as a caller does: after an error from the
// beginning, after an incomplete listing from where that ended.
func (b *bundle) astray(t *testing.T, f Fault) (first, all listing, want map[string]Entry) {
	t.Helper()
	want = b.seeded(t, max(b.h.Many, pageful))
	b.fault(t, f)
	first, err := b.collect("")
	b.clean(t, err)
	b.world.Heal(t)
	if err != nil {
		// Of these a run is tried again, begun anew or, when it failed for good, followed by the next poll from where it began.
		kinds := []domain.ErrorKind{domain.KindUnavailable, domain.KindGoneToken, domain.KindDrift, domain.KindPermanent}
		if kind := domain.KindOf(err); !slices.Contains(kinds, kind) {
			t.Errorf("%s: error of kind %q (%v), want one of %v", f, kind, err, kinds)
		}
		first = listing{upserts: map[string]domain.Change{}}
	}
	all = listing{upserts: maps.Clone(first.upserts), cursor: first.cursor, complete: first.complete}
	if !first.complete {
		all.merge(b.onward(t, first.cursor))
	}
	return first, all, want
}

// onward lists what comes after a cursor as a caller does: from the beginning where the cursor is gone.
func (b *bundle) onward(t *testing.T, cursor string) listing {
	t.Helper()
	l, err := b.collect(cursor)
	if domain.KindOf(err) == domain.KindGoneToken {
		return b.list(t, "")
	}
	b.ok(t, "list", err)
	return l
}

// adversePullerCases are about pages that go astray, credentials that are refused for a while, and clocks.
var adversePullerCases = []testCase{
	{"credentials refused in the middle of a run lose nothing", func(t *testing.T, b *bundle) {
		want := b.seeded(t, max(b.h.Many, 3))
		page, err := b.pull(t, "")
		b.ok(t, "pull", err)
		got := listing{upserts: map[string]domain.Change{}, cursor: page.Next}
		for _, c := range page.Changes {
			got.upserts[c.ExternalID] = c
		}
		if !page.More {
			for id := range want {
				b.world.Edit(t, id, entry(80))
				want[id] = entry(80)
				break
			}
		}
		b.fault(t, FaultUnauthorized)
		b.record.meet(HazardRevoked)
		_, err = b.pull(t, got.cursor)
		b.wantKind(t, err, domain.KindUnauthenticated)
		b.world.Heal(t)
		got.merge(b.list(t, got.cursor))
		got.wantEntries(t, want)
	}},
	{"slow page is read to its end", func(t *testing.T, b *bundle) {
		want := b.seeded(t, 3)
		b.fault(t, FaultHang)
		b.record.meet(HazardSlowPage)
		type outcome struct {
			l   listing
			err error
		}
		done := make(chan outcome, 1)
		go func() {
			l, err := b.collect("")
			done <- outcome{l, err}
		}()
		select {
		case early := <-done:
			t.Fatalf("a listing ends while the system does not answer: %d entries, %v", len(early.l.upserts), early.err)
		case <-time.After(slow):
		}
		b.world.Heal(t)
		select {
		case got := <-done:
			b.ok(t, "list", got.err)
			got.l.wantEntries(t, want)
		case <-b.ctx.Done():
			t.Fatal("the listing does not go on when the answer comes")
		}
	}},
	{"duplicate page doubles and hides nothing", func(t *testing.T, b *bundle) {
		_, all, want := b.astray(t, FaultRepeatPage)
		all.wantEntries(t, want)
	}},
	{"missing page is noticed", func(t *testing.T, b *bundle) {
		first, all, want := b.astray(t, FaultMissingPage)
		if gone := first.lacks(want); first.complete && len(gone) > 0 {
			t.Errorf("a listing without %d of %d entries says Complete", len(gone), len(want))
		}
		all.wantEntries(t, want)
	}},
	{"missing page removes nothing", func(t *testing.T, b *bundle) {
		first, all, want := b.astray(t, FaultMissingPage)
		for _, id := range first.removed {
			if _, there := want[id]; there {
				t.Errorf("%s exists and is told as removed", id)
			}
		}
		if !all.complete {
			return // nothing is taken for missing
		}
		for _, id := range all.lacks(want) {
			r, ok := provider.ReaderOf(b.opened, id)
			if !ok {
				t.Errorf("%s exists, is missing from a complete listing and cannot be asked for", id)
				continue
			}
			c, err := r.Read(b.ctx, id)
			b.ok(t, "read what is missing", err)
			wantEntry(t, c, id, want[id])
		}
	}},
	{"clock minutes ahead or behind loses and repeats nothing", func(t *testing.T, b *bundle) {
		for _, ahead := range []time.Duration{aheadBy, -aheadBy} {
			one := setup(t, b.h, b.record)
			skew := one.skew(t)
			skew(ahead)
			ids := []string{one.world.Seed(t, entry(0)), one.world.Seed(t, entry(1))}
			full := one.list(t, "")
			full.wantEntries(t, map[string]Entry{ids[0]: entry(0), ids[1]: entry(1)})

			one.world.Edit(t, ids[0], entry(10))
			one.world.Delete(t, ids[1])
			added := one.world.Seed(t, entry(11))
			delta := one.onward(t, full.cursor)
			delta.wantSome(t, ids[0], entry(10))
			delta.wantSome(t, added, entry(11))
			if was, is := full.upserts[ids[0]].RemoteVersion, delta.upserts[ids[0]].RemoteVersion; is < was {
				t.Errorf("%s: a change has the version %d, what was before it %d", ahead, is, was)
			}
			for _, id := range []string{ids[0], added} {
				if slices.Contains(delta.removed, id) {
					t.Errorf("%s: %s exists and is told as removed", ahead, id)
				}
			}
			known := delta.hashes()
			quiet := one.onward(t, delta.cursor)
			for id, c := range quiet.upserts {
				if c.Hash() != known[id] {
					t.Errorf("%s: %s is told again as something else although nobody touched it", ahead, id)
				}
			}
		}
	}},
	{"clock that is set back far in between loses nothing", func(t *testing.T, b *bundle) {
		skew := b.skew(t)
		skew(aheadBy)
		id := b.world.Seed(t, entry(0))
		full := b.list(t, "")
		skew(-aheadBy)
		b.world.Edit(t, id, entry(20))
		added := b.world.Seed(t, entry(21))
		last := b.onward(t, full.cursor)
		if reader, ok := provider.ReaderOf(b.opened, id); !ok || last.upserts[id].ExternalID == "" {
			last.wantSome(t, id, entry(20))
		} else {
			// An older state that is told as well has the greater version now. Of such an entry the caller asks.
			c, err := reader.Read(b.ctx, id)
			b.ok(t, "read", err)
			wantEntry(t, c, id, entry(20))
		}
		last.wantSome(t, added, entry(21))
		_, err := b.collect(last.cursor)
		b.ok(t, "go on after that", err)
	}},
	{"clock that is put right in between loses nothing", func(t *testing.T, b *bundle) {
		for _, ahead := range []time.Duration{aheadBy, -aheadBy} {
			one := setup(t, b.h, b.record)
			skew := one.skew(t)
			skew(ahead)
			id := one.world.Seed(t, entry(0))
			full := one.list(t, "")
			if ahead > 0 {
				skew(ahead - corrected)
			} else {
				skew(ahead + corrected)
			}
			one.world.Edit(t, id, entry(20))
			added := one.world.Seed(t, entry(21))
			last := one.onward(t, full.cursor)
			last.wantSome(t, id, entry(20))
			last.wantSome(t, added, entry(21))
			whole := one.list(t, "")
			whole.wantEntries(t, map[string]Entry{id: entry(20), added: entry(21)})
			if whole.upserts[id].Hash() != last.upserts[id].Hash() {
				t.Errorf("%s: a full listing tells %s as something else than the changes did", ahead, id)
			}
		}
	}},
}

// skew returns what moves the clock of the world, or skips the test.
func (b *bundle) skew(t *testing.T) func(time.Duration) {
	t.Helper()
	w, ok := b.bare.(Skewed)
	if !ok {
		t.Skipf("the clock of this world of %s cannot be moved", b.h.Registration.Name)
	}
	b.record.meet(HazardSkew)
	return func(ahead time.Duration) { w.Skew(t, ahead) }
}

var adverseWriterCases = []testCase{
	{"credentials refused in the middle of a run double nothing", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		_, err := w.Put(b.ctx, write(0))
		b.ok(t, "put", err)
		b.fault(t, FaultUnauthorized)
		b.record.meet(HazardRevoked)
		_, err = w.Put(b.ctx, write(1))
		b.wantKind(t, err, domain.KindUnauthenticated)
		b.world.Heal(t)
		done, err := w.Put(b.ctx, write(1))
		b.ok(t, "put with new credentials", err)
		b.wantReadBack(t, done, write(1))
		if n := b.world.Count(t); n != 2 {
			t.Errorf("the world holds %d entries after two puts", n)
		}
	}},
	{"cut-off answer to a write is tried again without a second copy", func(t *testing.T, b *bundle) {
		w := as[provider.Writer](t, b)
		b.fault(t, FaultCutBody)
		_, err := w.Put(b.ctx, write(0))
		b.clean(t, err)
		if err != nil && !domain.Retryable(err) {
			t.Errorf("an answer that breaks off is final: %v", err)
		}
		b.world.Heal(t)
		done, err := w.Put(b.ctx, write(0))
		b.ok(t, "put after a cut-off answer", err)
		b.wantReadBack(t, done, write(0))
		if n := b.world.Count(t); n != 1 {
			t.Errorf("the world holds %d entries after a cut-off answer", n)
		}
	}},
	{"clock minutes ahead or behind leaves one copy that is known", func(t *testing.T, b *bundle) {
		for _, ahead := range []time.Duration{aheadBy, -aheadBy} {
			one := setup(t, b.h, b.record)
			one.skew(t)(ahead)
			w := as[provider.Writer](t, one)
			first, err := w.Put(one.ctx, write(0))
			one.ok(t, "put", err)
			one.wantReadBack(t, first, write(0))
			again, err := w.Put(one.ctx, write(0))
			one.ok(t, "put again", err)
			if n := one.world.Count(t); n != 1 || again.ExternalID != first.ExternalID {
				t.Errorf("%s: the world holds %d entries, %q and %q", ahead, n, first.ExternalID, again.ExternalID)
			}
		}
	}},
}
