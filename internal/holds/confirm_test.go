package holds_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/diary"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/store"
)

// finish lets a reading be done at once, having found an entry at the time of found; zero finds nothing.
func (s *studio) finish(found domain.When) func(ctx context.Context, i domain.Integration, run domain.SyncRunID) error {
	return func(ctx context.Context, i domain.Integration, run domain.SyncRunID) error {
		return s.Tenant(ctx, s.org, func(ctx context.Context, tx *store.Tx) error {
			if _, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: run, IntegrationID: i.ID, RequestedBy: "alex"}); err != nil {
				return err
			}
			if !found.Start.IsZero() {
				if err := s.entry(ctx, tx, i, found); err != nil {
					return err
				}
			}
			_, err := tx.EndSyncRun(ctx, run, domain.SyncDone, store.SyncPage{}, "")
			return err
		})
	}
}

func TestSourcesThatAreNotFreshAreReadBeforeAConfirmation(t *testing.T) {
	t.Parallel()
	s := setup(t)
	source := s.connect("listed", domain.DirectionImport, s.person.ID)
	s.connect("listed", domain.DirectionImport, s.second.ID) // of another resource
	s.read = s.finish(domain.When{})
	v := s.placed(s.wish(12, 20))
	v, err := s.confirm(v.ID)
	s.must(err)
	if diff := cmp.Diff([]domain.IntegrationID{source.ID}, s.reads); diff != "" {
		t.Errorf("systems read (-want +got):\n%s", diff)
	}
	for _, told := range v.Sources {
		if told.State != diary.SourceFresh {
			t.Errorf("source %+v", told)
		}
	}
	// A moment later it is fresh, and is not read again.
	v = s.placed(s.wish(36, 40))
	_, err = s.confirm(v.ID)
	s.must(err)
	if len(s.reads) != 1 {
		t.Errorf("read %d times", len(s.reads))
	}
}

func TestWhatAReadingBringsIsInTheWay(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.connect("listed", domain.DirectionImport, s.person.ID)
	s.read = s.finish(span(13, 15))
	v := s.placed(s.wish(12, 20))
	_, err := s.confirm(v.ID)
	var refused *holds.Refusal
	if !errors.As(err, &refused) || len(refused.Clashes) != 1 || errors.Is(err, holds.ErrUnknownSources) {
		t.Fatalf("confirm over what the reading brought: %v", err)
	}
}

func TestASourceThatCannotBeReadIsUnknownAndNeverFree(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		read  func(s *studio) func(context.Context, domain.Integration, domain.SyncRunID) error
		state domain.IntegrationState
		reads int
	}{
		"nobody takes the wish": {func(*studio) func(context.Context, domain.Integration, domain.SyncRunID) error { return nil }, domain.IntegrationActive, 1},
		"it does not answer in time": {func(s *studio) func(context.Context, domain.Integration, domain.SyncRunID) error {
			s.desk.ReadWithin = 200 * time.Millisecond
			return func(context.Context, domain.Integration, domain.SyncRunID) error { return nil }
		}, domain.IntegrationActive, 1},
		"the reading fails": {func(s *studio) func(context.Context, domain.Integration, domain.SyncRunID) error {
			return func(ctx context.Context, i domain.Integration, run domain.SyncRunID) error {
				return s.Tenant(ctx, s.org, func(ctx context.Context, tx *store.Tx) error {
					if _, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: run, IntegrationID: i.ID, RequestedBy: "alex"}); err != nil {
						return err
					}
					_, err := tx.EndSyncRun(ctx, run, domain.SyncFailed, store.SyncPage{}, "down")
					return err
				})
			}
		}, domain.IntegrationActive, 1},
		"it is paused": {func(*studio) func(context.Context, domain.Integration, domain.SyncRunID) error { return nil }, domain.IntegrationPaused, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			source := s.connect("listed", domain.DirectionImport, s.person.ID)
			s.read = s.finish(domain.When{})
			s.must(s.desk.Read(t.Context(), source, domain.NewID[domain.SyncRunID](s.clock()), "alex"))
			lastRead := s.clock()
			s.reads = nil
			s.tenant(func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.SetIntegrationState(ctx, source.ID, c.state, "test")
				return err
			})
			v := s.placed(s.wish(12, 20))
			s.advance(30 * time.Minute)
			s.mu.Lock()
			s.read = nil
			s.mu.Unlock()
			if read := c.read(s); read != nil {
				s.read = read
			}
			_, err := s.confirm(v.ID)
			var refused *holds.Refusal
			if !errors.As(err, &refused) || !errors.Is(err, holds.ErrUnknownSources) || domain.KindOf(err) != domain.KindConflict {
				t.Fatalf("confirm: %v", err)
			}
			if len(refused.Unknown) != 1 || refused.Unknown[0].IntegrationID != source.ID || refused.Unknown[0].Since == nil || !refused.Unknown[0].Since.Equal(lastRead) ||
				refused.Unknown[0].Reason == "" {
				t.Errorf("unknown %+v, want the source since %s", refused.Unknown, lastRead)
			}
			if len(s.reads) != c.reads {
				t.Errorf("read %d times, want %d", len(s.reads), c.reads)
			}
			if b := s.booking(v.ID); b.Status != domain.StatusTentative {
				t.Errorf("the booking is %s", b.Status)
			}
			got, err := s.desk.Confirm(t.Context(), s.org, v.ID, holds.Confirmation{By: "alex", Reason: "signed", Override: "asked the owner by phone"})
			s.must(err)
			if got.State != domain.HoldConfirmed || len(got.Sources) != 2 || !slices.ContainsFunc(got.Sources, func(x diary.Source) bool { return x.State == diary.SourceUnknown }) {
				t.Errorf("overridden: %+v", got)
			}
			if n := s.count(`SELECT count(*) FROM audit_entries WHERE action = 'hold.confirm_override' AND after->>'override' = 'asked the owner by phone'
				AND after->>'unknown_sources' = $1`, string(source.ID)); n != 1 {
				t.Errorf("%d audit lines tell of the override", n)
			}
		})
	}
}

func TestReadingsBeforeAConfirmationGoOnAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for range 3 {
		s.connect("listed", domain.DirectionImport, s.person.ID)
	}
	all := make(chan struct{})
	begun := make(chan struct{}, 3)
	done := s.finish(domain.When{})
	s.read = func(ctx context.Context, i domain.Integration, run domain.SyncRunID) error {
		begun <- struct{}{}
		select {
		case <-all: // none ends before all have begun
		case <-ctx.Done():
			return ctx.Err()
		}
		return done(ctx, i, run)
	}
	go func() {
		for range 3 {
			<-begun
		}
		close(all)
	}()
	v := s.placed(s.wish(12, 20))
	if _, err := s.confirm(v.ID); err != nil {
		t.Fatal(err)
	}
}
