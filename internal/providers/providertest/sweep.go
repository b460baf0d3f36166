package providertest

import (
	"context"
	"net/url"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// another is a second wish for a watch whose messages arrive at the same mailbox.
func (m *mailbox) another() provider.WatchRequest {
	r := m.request
	r.ID = "0193d000-0000-7000-8000-000000000002"
	r.URL = m.request.URL[:len(m.request.URL)-len(m.request.ID)] + r.ID
	return r
}

// posted makes one change in the world and returns how many messages it brought to each watch.
func (b *bundle) posted(t *testing.T, m *mailbox, tell func()) map[string]int {
	t.Helper()
	m.take()
	b.world.Seed(t, entry(0))
	tell()
	n := map[string]int{}
	_, at := m.taken()
	for _, path := range at {
		n[path]++
	}
	return n
}

// wantPosts fails unless one change brings messages to a watch, as many as are due to one watch, and to no other.
func (b *bundle) wantPosts(t *testing.T, m *mailbox, tell func(), to provider.WatchRequest) {
	t.Helper()
	clean := setup(t, b.h, b.record)
	box, _, tellClean := clean.watched(t)
	due := 0
	for _, n := range clean.posted(t, box, tellClean) {
		due += n
	}
	address, err := url.Parse(to.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.posted(t, m, tell); due == 0 || len(got) != 1 || got[address.Path] != due {
		t.Errorf("one change is posted %v times, want %d times to %s alone", got, due, address.Path)
	}
}

// sweeperCases are about hooks that stand at the system although nobody knows them.
var sweeperCases = []testCase{
	{"watch whose making was not answered is taken over", func(t *testing.T, b *bundle) {
		box, tell := b.listening(t)
		sweeper := as[provider.Sweeper](t, b)
		b.fault(t, FaultLoseAnswer)
		_, err := sweeper.Watch(b.ctx, box.request)
		b.wantKind(t, err, domain.KindUnavailable)
		b.world.Heal(t)
		w, err := sweeper.Watch(b.ctx, box.request)
		b.ok(t, "watch again", err)
		b.wantPosts(t, box, tell, box.request)
		b.ok(t, "end the watch", sweeper.Unwatch(b.ctx, w))
		if got := b.posted(t, box, tell); len(got) != 0 {
			t.Errorf("after its end a watch is posted to: %v", got)
		}
	}},
	{"watch ends those that are over", func(t *testing.T, b *bundle) {
		box, tell := b.listening(t)
		sweeper := as[provider.Sweeper](t, b)
		_, err := sweeper.Watch(b.ctx, box.request)
		b.ok(t, "watch", err)
		next := box.another()
		next.Over = []string{box.request.URL}
		_, err = sweeper.Watch(b.ctx, next)
		b.ok(t, "watch after it", err)
		b.wantPosts(t, box, tell, next)
	}},
	{"sweep ends what posts to its addresses and nothing else", func(t *testing.T, b *bundle) {
		box, tell := b.listening(t)
		sweeper := as[provider.Sweeper](t, b)
		other := box.another()
		for _, r := range []provider.WatchRequest{box.request, other} {
			_, err := sweeper.Watch(b.ctx, r)
			b.ok(t, "watch", err)
		}
		for range 2 {
			b.ok(t, "sweep", sweeper.Sweep(b.ctx, []string{box.request.URL}))
		}
		b.wantPosts(t, box, tell, other)
		b.ok(t, "sweep both", sweeper.Sweep(b.ctx, []string{box.request.URL, other.URL}))
		if got := b.posted(t, box, tell); len(got) != 0 {
			t.Errorf("after a sweep there are posts: %v", got)
		}
	}},
	{"faults have their kinds", func(t *testing.T, b *bundle) {
		box, _, _ := b.watched(t)
		b.faultKinds(t, func(ctx context.Context) error {
			return as[provider.Sweeper](t, b).Sweep(ctx, []string{box.request.URL})
		})
	}},
}
