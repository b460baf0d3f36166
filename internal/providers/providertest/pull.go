package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

var pullerCases = []testCase{
	{"full listing is complete and repeatable", func(t *testing.T, b *bundle) {
		want := map[string]Entry{}
		for i := range 3 {
			want[b.world.Seed(t, entry(i))] = entry(i)
		}
		first := b.list(t, "")
		if !first.complete {
			t.Error("the last page of a full listing does not say Complete")
		}
		first.wantEntries(t, want)
		second := b.list(t, "")
		if diff := cmp.Diff(first.hashes(), second.hashes()); diff != "" {
			t.Errorf("the second full listing differs (-first +second):\n%s", diff)
		}
	}},
	{"empty system lists as empty", func(t *testing.T, b *bundle) {
		l := b.list(t, "")
		if len(l.upserts) != 0 {
			t.Errorf("an empty system lists %d entries", len(l.upserts))
		}
	}},
	{"many entries come in pages", func(t *testing.T, b *bundle) {
		if b.h.Many == 0 {
			t.Skip("the provider has no pages: Harness.Many is 0")
		}
		want := map[string]Entry{}
		for i := range b.h.Many {
			want[b.world.Seed(t, entry(i))] = entry(i)
		}
		l := b.list(t, "")
		if l.pages < 2 {
			t.Errorf("%d entries came in %d page, want several", b.h.Many, l.pages)
		}
		if !l.complete {
			t.Error("the last page of a full listing does not say Complete")
		}
		l.wantEntries(t, want)
	}},
	{"changes after the cursor are pulled", func(t *testing.T, b *bundle) {
		ids := []string{b.world.Seed(t, entry(0)), b.world.Seed(t, entry(1)), b.world.Seed(t, entry(2))}
		full := b.list(t, "")
		b.world.Edit(t, ids[0], entry(10))
		b.world.Delete(t, ids[1])
		added := b.world.Seed(t, entry(11))

		delta := b.list(t, full.cursor)
		delta.wantSome(t, ids[0], entry(10))
		delta.wantSome(t, added, entry(11))
		if _, there := delta.upserts[ids[1]]; there {
			t.Error("a deleted entry is listed as existing")
		}
		if !slices.Contains(delta.removed, ids[1]) {
			again := b.list(t, "")
			if _, there := again.upserts[ids[1]]; there || !again.complete {
				t.Error("a deleted entry is neither reported as removed nor absent from a complete listing")
			}
		}
		if slices.Contains(delta.removed, ids[0]) || slices.Contains(delta.removed, ids[2]) {
			t.Error("an entry that exists is reported as removed")
		}
	}},
	{"same cursor twice gives the same changes", func(t *testing.T, b *bundle) {
		b.world.Seed(t, entry(0))
		full := b.list(t, "")
		id := b.world.Seed(t, entry(1))
		one, two := b.list(t, full.cursor), b.list(t, full.cursor)
		if diff := cmp.Diff(one.hashes(), two.hashes()); diff != "" {
			t.Errorf("pulling a cursor again differs (-first +second):\n%s", diff)
		}
		two.wantSome(t, id, entry(1))
	}},
	{"cursor of a quiet system tells no news", func(t *testing.T, b *bundle) {
		b.world.Seed(t, entry(0))
		full := b.list(t, "")
		known := full.hashes()
		quiet := b.list(t, full.cursor)
		for id, c := range quiet.upserts {
			if c.Hash() != known[id] {
				t.Errorf("entry %s changed although nobody touched it", id)
			}
		}
		if len(quiet.removed) != 0 {
			t.Errorf("%d entries removed although nobody touched them", len(quiet.removed))
		}
	}},
	{"forgotten cursor is a gone token and a full listing helps", func(t *testing.T, b *bundle) {
		id := b.world.Seed(t, entry(0))
		full := b.list(t, "")
		b.fault(t, FaultForgetTokens)
		b.world.Edit(t, id, entry(5))
		_, err := b.pull(t, full.cursor)
		b.wantKind(t, err, domain.KindGoneToken)
		b.list(t, "").wantSome(t, id, entry(5))
	}},
	{"cursor of something else is a gone token", func(t *testing.T, b *bundle) {
		b.world.Seed(t, entry(0))
		for _, cursor := range []string{"x", "{}", "\x00\xff", "null", "W10=", "eyJ2IjoxfQ"} {
			_, err := b.pull(t, cursor)
			b.wantKind(t, err, domain.KindGoneToken)
		}
	}},
	{"faults have their kinds", func(t *testing.T, b *bundle) {
		b.world.Seed(t, entry(0))
		cursor := b.list(t, "").cursor
		b.faultKinds(t, func(ctx context.Context) error {
			_, err := as[provider.Puller](t, b).Pull(ctx, "")
			return err
		})
		b.faultKinds(t, func(ctx context.Context) error {
			_, err := as[provider.Puller](t, b).Pull(ctx, cursor)
			return err
		})
	}},
	{"broken answer is an error, never a short page", func(t *testing.T, b *bundle) {
		b.world.Seed(t, entry(0))
		b.world.Seed(t, entry(1))
		did := 0
		for _, f := range []Fault{FaultCutBody, FaultGarbage, FaultShortListing} {
			if !b.world.Fault(t, f) {
				t.Logf("this world cannot do the fault %q", f)
				continue
			}
			did++
			_, err := b.pull(t, "")
			if err == nil {
				t.Errorf("%s: no error", f)
			}
			if domain.KindOf(err) == domain.KindGoneToken {
				t.Errorf("%s: a broken answer is taken for a gone token", f)
			}
			b.clean(t, err)
		}
		if did == 0 {
			t.Skip("this world cannot break its answers")
		}
		b.world.Heal(t)
	}},
	{"fault between two pages loses nothing", func(t *testing.T, b *bundle) {
		if b.h.Many == 0 {
			t.Skip("the provider has no pages: Harness.Many is 0")
		}
		want := map[string]Entry{}
		for i := range b.h.Many {
			want[b.world.Seed(t, entry(i))] = entry(i)
		}
		faults, got := []Fault{FaultServerError, FaultRateLimit, FaultRateLimitMute, FaultUnauthorized, FaultCutBody, FaultGarbage, FaultShortListing}, listing{upserts: map[string]domain.Change{}}
		for more := true; more; {
			if got.pages++; got.pages > 1000 {
				t.Fatal("a listing of more than 1000 pages")
			}
			if len(faults) > 0 && got.cursor != "" {
				if f := faults[0]; b.world.Fault(t, f) {
					_, err := b.pull(t, got.cursor)
					b.clean(t, err)
					if kind := domain.KindOf(err); kind == "" && f != FaultShortListing || kind == domain.KindGoneToken {
						t.Errorf("%s in the middle of a listing: %v", f, err)
					}
				}
				faults = faults[1:]
				b.world.Heal(t)
			}
			page, err := b.pull(t, got.cursor)
			b.ok(t, "pull after a fault", err)
			for _, c := range page.Changes {
				got.upserts[c.ExternalID] = c
			}
			got.cursor, got.complete, more = page.Next, page.Complete, page.More
		}
		if !got.complete {
			t.Error("the listing does not say Complete")
		}
		got.wantEntries(t, want)
	}},
	{"entries that go between two pages hide no others", func(t *testing.T, b *bundle) {
		if b.h.Many == 0 {
			t.Skip("the provider has no pages: Harness.Many is 0")
		}
		var ids []string
		for i := range b.h.Many {
			ids = append(ids, b.world.Seed(t, entry(i)))
		}
		seen, gone, cursor := map[string]bool{}, map[string]bool{}, ""
		for n, more := 0, true; more; n++ {
			if n > 1000 {
				t.Fatal("a listing of more than 1000 pages")
			}
			page, err := b.pull(t, cursor)
			b.ok(t, "pull", err)
			for _, c := range page.Changes {
				if seen[c.ExternalID] = c.Op == domain.OpUpsert; seen[c.ExternalID] && len(gone) <= n && !gone[c.ExternalID] {
					gone[c.ExternalID] = true
					b.world.Delete(t, c.ExternalID)
				}
			}
			cursor, more = page.Next, page.More
		}
		for _, id := range ids {
			if !seen[id] && !gone[id] {
				t.Errorf("%s was there throughout and is not listed", id)
			}
		}
	}},
	{"empty answer is not a complete listing", func(t *testing.T, b *bundle) {
		b.world.Seed(t, entry(0))
		b.fault(t, FaultEmptyAnswer)
		page, err := b.pull(t, "")
		b.clean(t, err)
		if err == nil && page.Complete {
			t.Error("an answer without a body counts as proof that the system is empty")
		}
		for _, c := range page.Changes {
			if c.Op == domain.OpRemove {
				t.Error("an answer without a body removes an entry")
			}
		}
	}},
	{"ended context stops the call", func(t *testing.T, b *bundle) {
		b.world.Seed(t, entry(0))
		b.stops(t, func(ctx context.Context) error {
			_, err := as[provider.Puller](t, b).Pull(ctx, "")
			return err
		})
	}},
	{"several goroutines list the same", func(t *testing.T, b *bundle) {
		for i := range 4 {
			b.world.Seed(t, entry(i))
		}
		want := b.list(t, "").hashes()
		got := make([]map[string]string, 8)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				l, err := b.collect("")
				got[i], errs[i] = l.hashes(), err
			})
		}
		wg.Wait()
		for i := range got {
			b.ok(t, "list", errs[i])
			if diff := cmp.Diff(want, got[i]); diff != "" {
				t.Errorf("a listing among others differs (-alone +among others):\n%s", diff)
			}
		}
	}},
}

var readerCases = []testCase{
	{"reads what the listing lists", func(t *testing.T, b *bundle) {
		id := b.world.Seed(t, entry(0))
		r := as[provider.Reader](t, b)
		c, err := r.Read(b.ctx, id)
		b.ok(t, "read", err)
		wantEntry(t, c, id, entry(0))
		if _, ok := provider.As[provider.Puller](b.opened); ok {
			if listed := b.list(t, "").upserts[id]; listed.Hash() != c.Hash() {
				t.Errorf("Read and Pull differ: %s", cmp.Diff(listed, c))
			}
		}
	}},
	{"missing entry is not found", func(t *testing.T, b *bundle) {
		id := b.world.Seed(t, entry(0))
		b.world.Delete(t, id)
		_, err := as[provider.Reader](t, b).Read(b.ctx, id)
		b.wantKind(t, err, domain.KindNotFound)
	}},
	{"doubt is never not found", func(t *testing.T, b *bundle) {
		id := b.world.Seed(t, entry(0))
		did := 0
		for _, f := range []Fault{FaultServerError, FaultRateLimit, FaultUnauthorized, FaultCutBody, FaultGarbage, FaultEmptyAnswer} {
			if !b.world.Fault(t, f) {
				t.Logf("this world cannot do the fault %q", f)
				continue
			}
			did++
			_, err := as[provider.Reader](t, b).Read(b.ctx, id)
			b.clean(t, err)
			if err == nil {
				t.Errorf("%s: no error", f)
			}
			if domain.KindOf(err) == domain.KindNotFound {
				t.Errorf("%s: taken for proof that the entry is gone", f)
			}
		}
		if did == 0 {
			t.Skip("this world cannot fail")
		}
		b.world.Heal(t)
	}},
	{"faults have their kinds", func(t *testing.T, b *bundle) {
		id := b.world.Seed(t, entry(0))
		b.faultKinds(t, func(ctx context.Context) error {
			_, err := as[provider.Reader](t, b).Read(ctx, id)
			return err
		})
	}},
	{"ended context stops the call", func(t *testing.T, b *bundle) {
		id := b.world.Seed(t, entry(0))
		b.stops(t, func(ctx context.Context) error {
			_, err := as[provider.Reader](t, b).Read(ctx, id)
			return err
		})
	}},
}

// listing is all pages after a cursor. Later news of an entry replaces earlier.
type listing struct {
	upserts  map[string]domain.Change
	removed  []string
	cursor   string
	pages    int
	complete bool
}

func (b *bundle) pull(t *testing.T, cursor string) (provider.Page, error) {
	t.Helper()
	return as[provider.Puller](t, b).Pull(b.ctx, cursor)
}

func (b *bundle) list(t *testing.T, cursor string) listing {
	t.Helper()
	l, err := b.collect(cursor)
	b.ok(t, "list", err)
	return l
}

func (b *bundle) collect(cursor string) (listing, error) {
	p, _ := provider.As[provider.Puller](b.opened)
	l := listing{upserts: map[string]domain.Change{}, cursor: cursor}
	for l.pages < 1000 {
		page, err := p.Pull(b.ctx, l.cursor)
		if err != nil {
			return l, fmt.Errorf("page %d: %w", l.pages+1, err)
		}
		l.pages++
		for _, c := range page.Changes {
			if err := c.Validate(); err != nil {
				return l, fmt.Errorf("page %d holds an invalid change: %w", l.pages, err)
			}
			if c.Op == domain.OpRemove {
				l.removed = append(l.removed, c.ExternalID)
				delete(l.upserts, c.ExternalID)
				continue
			}
			l.upserts[c.ExternalID] = c
			l.removed = slices.DeleteFunc(l.removed, func(id string) bool { return id == c.ExternalID })
		}
		for _, p := range page.Problems {
			return l, fmt.Errorf("page %d could not read an ordinary entry: %w", l.pages, p.Err)
		}
		if page.Next == "" {
			return l, errors.New("a page without a cursor to continue from")
		}
		l.cursor, l.complete = page.Next, page.Complete
		if !page.More {
			return l, nil
		}
		if page.Complete {
			return l, errors.New("a page says both More and Complete")
		}
	}
	return l, errors.New("a listing of more than 1000 pages")
}

func (l listing) hashes() map[string]string {
	m := map[string]string{}
	for id, c := range l.upserts {
		m[id] = c.Hash()
	}
	for _, id := range l.removed {
		m[id] = "removed"
	}
	return m
}

func (l listing) wantEntries(t *testing.T, want map[string]Entry) {
	t.Helper()
	if len(l.upserts) != len(want) {
		t.Errorf("listed %d entries, want %d", len(l.upserts), len(want))
	}
	for id, e := range want {
		l.wantSome(t, id, e)
	}
}

func (l listing) wantSome(t *testing.T, id string, e Entry) {
	t.Helper()
	c, there := l.upserts[id]
	if !there {
		t.Errorf("entry %s is not listed", id)
		return
	}
	wantEntry(t, c, id, e)
}

func wantEntry(t *testing.T, c domain.Change, id string, e Entry) {
	t.Helper()
	if c.Op != domain.OpUpsert || c.ExternalID != id {
		t.Errorf("change is %s of %q, want an upsert of %q", c.Op, c.ExternalID, id)
	}
	if c.Details.Title != e.Title {
		t.Errorf("entry %s has another title than the world's", id)
	}
	if !c.When.Start.Equal(e.When.Start) || !c.When.End.Equal(e.When.End) {
		t.Errorf("entry %s is at %s, want %s", id, c.When.Span, e.When.Span)
	}
	status := e.Status
	if status == "" {
		status = domain.StatusConfirmed
	}
	if c.Status != status {
		t.Errorf("entry %s is %s, want %s", id, c.Status, status)
	}
}

// anyWait is where the provider may choose for how long to wait.
const anyWait = -1

// faultKinds checks the kinds of the errors of a call under the faults that are told by a status. The world is
// healthy afterwards.
func (b *bundle) faultKinds(t *testing.T, call func(context.Context) error) {
	t.Helper()
	did := 0
	for _, f := range []struct {
		fault Fault
		kind  domain.ErrorKind
		wait  time.Duration
	}{
		{FaultServerError, domain.KindUnavailable, RetryAfter},
		{FaultRateLimit, domain.KindRateLimited, RetryAfter},
		{FaultRateLimitMute, domain.KindRateLimited, anyWait},
		{FaultUnauthorized, domain.KindUnauthenticated, 0},
	} {
		if !b.world.Fault(t, f.fault) {
			t.Logf("this world cannot do the fault %q", f.fault)
			continue
		}
		did++
		err := call(b.ctx)
		b.clean(t, err)
		if domain.KindOf(err) != f.kind {
			t.Errorf("%s: error of kind %q (%v), want %q", f.fault, domain.KindOf(err), err, f.kind)
		}
		if got := domain.RetryAfter(err); got != f.wait && f.wait != anyWait {
			t.Errorf("%s: says to wait %s, the world said %s", f.fault, got, f.wait)
		}
	}
	if did == 0 {
		t.Skip("this world cannot fail by status")
	}
	b.world.Heal(t)
}

// stops checks that a call ends with its context: one that ended before, and one that ends while the world hangs.
func (b *bundle) stops(t *testing.T, call func(context.Context) error) {
	t.Helper()
	ended, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := call(ended); err == nil {
		t.Error("a call with an ended context succeeds")
	}
	if !b.world.Fault(t, FaultHang) {
		t.Logf("this world cannot do the fault %q", FaultHang)
		return
	}
	short, cancel := context.WithTimeout(b.ctx, 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- call(short) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a call to a system that does not answer succeeds")
		}
		b.clean(t, err)
	case <-time.After(20 * time.Second):
		t.Error("a call goes on 20 s after its context ended")
	}
	b.world.Heal(t)
}
