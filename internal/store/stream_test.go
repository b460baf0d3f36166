package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

func (b *bundle) emit(org domain.OrgID, names ...string) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) error {
		for _, n := range names {
			if err := tx.Emit(b.t.Context(), domain.TopicBookingChanged, map[string]string{"booking": n}); err != nil {
				return err
			}
		}
		return nil
	})
}

// reader follows the stream from a cursor.
type reader struct {
	b      *bundle
	org    domain.OrgID
	cursor string
	names  []string
}

func (r *reader) read() {
	r.b.t.Helper()
	for {
		events, next, err := r.b.StreamAfter(r.b.t.Context(), r.cursor, r.org, 3)
		r.b.must(err)
		for _, e := range events {
			r.names = append(r.names, e.Refs["booking"])
		}
		r.cursor = next
		if len(events) < 3 {
			return
		}
	}
}

func (r *reader) awaitNames(want ...string) {
	r.b.t.Helper()
	await(r.b.t, fmt.Sprint(want), func() bool {
		r.read()
		return len(r.names) >= len(want)
	})
	if diff := cmp.Diff(want, r.names); diff != "" {
		r.b.t.Fatal(diff)
	}
}

func TestStreamResumesInOrderWithinOneOrganisation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := b.org(), b.org()
	b.emit(one, "a", "b")
	b.emit(two, "x")
	b.emit(one, "c", "d", "e")
	mine, all := &reader{b: b, org: one}, &reader{b: b}
	mine.awaitNames("a", "b", "c", "d", "e")
	all.awaitNames("a", "b", "x", "c", "d", "e")
	resumed := &reader{b: b, org: one, cursor: mine.cursor}
	b.emit(one, "f")
	resumed.awaitNames("f")
	events, _, err := b.StreamAfter(t.Context(), "", one, 1)
	b.must(err)
	want := domain.Event{Cursor: events[0].Cursor, OrgID: one, Topic: domain.TopicBookingChanged, At: b.timestamp(), Refs: map[string]string{"booking": "a"}}
	if diff := cmp.Diff([]domain.Event{want}, events); diff != "" || len(want.Cursor) > 60 {
		t.Fatal(diff, want.Cursor)
	}
	for _, bad := range []string{"x", "1", "1-", "-1-2", "1--2", "1-2-3", strings.Repeat("9", 61)} {
		_, _, err := b.StreamAfter(t.Context(), bad, one, 1)
		wantKind(t, err, domain.KindInvalid)
	}
}

func TestATransactionThatCommitsLateIsMetExactlyOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	b.emit(org, "before")
	r := &reader{b: b, org: org}
	r.awaitNames("before")
	// The late transaction writes its row, and so takes its place in the order, before the quick one starts.
	written, release := make(chan struct{}), make(chan struct{})
	var late error
	var wg sync.WaitGroup
	wg.Go(func() {
		late = b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
			if err := tx.Emit(ctx, domain.TopicBookingChanged, map[string]string{"booking": "late"}); err != nil {
				return err
			}
			if err := writeGathered(ctx, tx); err != nil {
				return err
			}
			tx.events = nil
			close(written)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return ctx.Err()
		})
	})
	<-written
	b.emit(org, "quick")
	var stored int
	b.must(b.owner().QueryRow(t.Context(), "SELECT count(*) FROM stream_events WHERE refs->>'booking' = 'quick'").Scan(&stored))
	if stored != 1 {
		t.Fatal("the quick event is not committed, the test would prove nothing")
	}
	r.read()
	if diff := cmp.Diff([]string{"before"}, r.names); diff != "" {
		t.Fatalf("read past a running transaction\n%s", diff)
	}
	head, err := b.StreamHead(t.Context())
	b.must(err)
	close(release)
	wg.Wait()
	b.must(late)
	resumed := &reader{b: b, org: org, cursor: r.cursor}
	resumed.awaitNames("late", "quick")
	fromHead := &reader{b: b, org: org, cursor: head}
	fromHead.awaitNames("late", "quick")
	b.emit(org, "after")
	resumed.awaitNames("late", "quick", "after")
}

func TestReadersOfABusyStreamMissNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	const writers, each = 4, 25
	var want []string
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		for n := range each {
			want = append(want, fmt.Sprintf("%d/%d", w, n))
		}
		wg.Go(func() {
			for n := range each {
				errs[w] = errors.Join(errs[w], b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
					return tx.Emit(ctx, domain.TopicBookingChanged, map[string]string{"booking": fmt.Sprintf("%d/%d", w, n)})
				}))
			}
		})
	}
	r := &reader{b: b, org: org}
	await(t, "all events", func() bool {
		r.read()
		return len(r.names) >= len(want)
	})
	wg.Wait()
	b.must(errors.Join(errs...))
	r.read()
	slices.Sort(want)
	slices.Sort(r.names)
	if diff := cmp.Diff(want, r.names); diff != "" {
		t.Fatal(diff)
	}
}

func TestEventsOfARolledBackTransactionAreNeverSeen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	boom := errors.New("boom")
	err := b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
		if err := tx.Emit(ctx, domain.TopicBookingChanged, map[string]string{"booking": "ghost"}); err != nil {
			return err
		}
		return errors.Join(writeGathered(ctx, tx), boom)
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	b.emit(org, "real")
	(&reader{b: b, org: org}).awaitNames("real")
}

func TestListenersHearOnceAtTheStartAndAfterEveryCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() { done <- b.Listen(ctx, ChannelStream, func() { calls <- struct{}{} }) }()
	hear := func(what string) {
		t.Helper()
		select {
		case <-calls:
		case <-time.After(20 * time.Second):
			t.Fatalf("not called %s", what)
		}
	}
	hear("at the start")
	b.emit(org, "a", "b", "c")
	hear("after a commit")
	owner := b.owner()
	_, err := owner.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()`)
	b.must(err)
	hear("after the connection broke")
	b.emit(org, "d")
	hear("after a commit on the new connection")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
	if len(calls) > 0 {
		t.Errorf("%d calls too many", len(calls))
	}
	wantKind(t, b.Listen(t.Context(), "x; drop table", func() {}), domain.KindInvalid)
}

func TestOldEventsArePurged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	b.emit(org, "a", "b", "c")
	b.clock.advance(time.Hour)
	b.emit(org, "d")
	for _, want := range []int{2, 1, 0} {
		n, err := b.PurgeStream(t.Context(), b.clock.now().Add(-time.Minute), 2)
		if err != nil || n != want {
			t.Fatalf("purged %d, want %d, %v", n, want, err)
		}
	}
	(&reader{b: b, org: org}).awaitNames("d")
}

// writeGathered writes what a transaction has gathered before its end.
func writeGathered(ctx context.Context, tx *Tx) error {
	b, err := tx.gathered(ctx)
	if err != nil {
		return err
	}
	return tx.SendBatch(ctx, b).Close()
}
