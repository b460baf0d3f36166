package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/failpoint"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/failover"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// PullPageInput names the run to go on with.
type PullPageInput struct {
	SyncRef
	// Pages is how many pages may be read one after the other; 0 = one.
	Pages int `json:"pages,omitempty"`
}

// PullPageResult counts what the pages did.
type PullPageResult struct {
	Seen      int  `json:"seen"`
	Applied   int  `json:"applied"`
	Unchanged int  `json:"unchanged"`
	Removed   int  `json:"removed"`
	Rejected  int  `json:"rejected"`
	Held      int  `json:"held,omitempty"` // removals that wait for a person
	More      bool `json:"more"`
	Complete  bool `json:"complete"`           // the run listed everything, so absence may be looked into
	Expected  int  `json:"expected,omitempty"` // entries of the whole listing; 0 = not known
	Further   int  `json:"further,omitempty"`  // pages beyond the first
}

func (r *PullPageResult) add(page PullPageResult) {
	r.Seen, r.Applied, r.Unchanged = r.Seen+page.Seen, r.Applied+page.Applied, r.Unchanged+page.Unchanged
	r.Removed, r.Rejected, r.Held = r.Removed+page.Removed, r.Rejected+page.Rejected, r.Held+page.Held
	r.More, r.Complete, r.Expected = page.More, page.Complete, page.Expected
}

// PullPage reads the page at the run's position and applies it; effects and the new position commit together. When the
// system no longer knows the position, the run goes back to the beginning of a full listing and the error is
// gone_token. With Pages it goes on for as long as there are more and a while has not passed: while a page is applied the
// next one is read. A fault of a later page is left to the next call.
//
// Running it again after the answer was lost reads the next page instead, because the position moved with the effects.
// If that was the last page, the listing counts as not complete and nothing is removed by this run.
func (a *Syncs) PullPage(ctx context.Context, in PullPageInput) (PullPageResult, error) {
	var out PullPageResult
	err := beating(ctx, func(ctx context.Context) (err error) {
		out, err = a.pullPages(ctx, in)
		return err
	})
	return out, a.fail(ctx, in.SyncRef, "read changes", err)
}

// pullFor is how long one call begins further pages: well below the time that an activity has, and short enough for a
// worker that is told to stop.
const pullFor = 10 * time.Second

func (a *Syncs) pullPages(ctx context.Context, in PullPageInput) (out PullPageResult, err error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	var ahead *pageAhead
	for n := 0; ; n++ {
		var page PullPageResult
		last := n+1 >= in.Pages || time.Since(began) > pullFor
		page, ahead, err = a.pullPage(ctx, in.SyncRef, ahead, func(p provider.Puller, i domain.Integration, cursor string) *pageAhead {
			if last {
				return nil
			}
			return a.readAhead(reading, p, i, cursor)
		})
		switch kind := domain.KindOf(err); {
		case err != nil && n > 0 && ctx.Err() == nil && kind != domain.KindGoneToken && kind != domain.KindRateLimited:
			// The next call meets it again. The workflow must hear of a listing that began anew and of a wish to be left alone;
			// what it then does not hear of the pages before is in the run's row.
			return out, nil
		case err != nil:
			return out, err
		}
		out.add(page)
		out.Further = n
		if last || !page.More {
			return out, nil
		}
	}
}

// pageAhead is a page that is read while the one before it is applied.
type pageAhead struct {
	integration domain.Integration
	cursor      string
	readAt      time.Time // by the clock of the store
	page        provider.Page
	err         error
	done        chan struct{}
}

func (a *Syncs) readAhead(ctx context.Context, p provider.Puller, i domain.Integration, cursor string) *pageAhead {
	next := &pageAhead{integration: i, cursor: cursor, done: make(chan struct{})}
	// Nothing is asked of the database for the time.
	next.err = a.Store.TenantRead(ctx, i.OrgID, func(_ context.Context, tx *store.Tx) error {
		next.readAt = tx.Now
		return nil
	})
	if next.err != nil {
		close(next.done)
		return next
	}
	go func() {
		defer close(next.done)
		next.err = caught("pull page", func() (err error) {
			next.page, err = p.Pull(ctx, cursor)
			return err
		})
	}()
	return next
}

// of reports whether the page is the one at a position, read by the connection as it is now.
func (p *pageAhead) of(i domain.Integration, cursor string) bool {
	return p != nil && p.cursor == cursor && p.integration.ID == i.ID && p.integration.Version == i.Version
}

// pullPage reads and applies one page, which may have been read ahead. readAhead is called with the position behind it
// before it is applied, where there is one.
func (a *Syncs) pullPage(ctx context.Context, ref SyncRef, ahead *pageAhead, readAhead func(provider.Puller, domain.Integration, string) *pageAhead) (PullPageResult, *pageAhead, error) {
	var (
		out         PullPageResult
		run         domain.SyncRun
		cursor      string
		integration domain.Integration
		opened      any
		readAt      time.Time
	)
	err := a.Store.TenantRead(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		readAt = tx.Now
		if run, cursor, err = tx.SyncRunCursor(ctx, ref.Run); err != nil {
			return err
		}
		integration, opened, err = open(ctx, tx, a.Opener, ref.Integration)
		return err
	})
	if err != nil {
		return out, nil, err
	}
	if run.State != domain.SyncRunning {
		return out, nil, nil // its last page and its end were stored, and the answer was lost
	}
	puller, ok := provider.As[provider.Puller](opened)
	if !ok {
		return out, nil, domain.E(domain.KindPermanent, "this connection cannot be listed")
	}
	first := run.Full || cursor == "" || integration.SyncCursor == ""
	var page provider.Page
	if ahead.of(integration, cursor) {
		<-ahead.done
		page, readAt, err = ahead.page, ahead.readAt, ahead.err
	} else {
		err = caught("pull page", func() (err error) {
			page, err = puller.Pull(ctx, cursor)
			return err
		})
	}
	if domain.KindOf(err) == domain.KindGoneToken {
		restart := a.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.RestartSyncRun(ctx, ref.Run)
			return err
		})
		if restart != nil {
			return out, nil, restart
		}
		return out, nil, err
	}
	if err != nil {
		return out, nil, err
	}
	var next *pageAhead
	if page.More {
		next = readAhead(puller, integration, page.Next)
	}
	if failpoint.NoLedger || failpoint.LosePolled {
		page.Changes = spoil(page.Changes)
	}
	if page.Changes, err = a.look(ctx, ref, opened, page); err != nil {
		return out, next, err
	}
	var doubted doubts
	keep := func(ctx context.Context, tx *store.Tx) error {
		var lags []time.Duration
		doubted.found = nil
		out = PullPageResult{Seen: len(page.Changes) + len(page.Problems), Rejected: len(page.Problems), More: page.More,
			Complete: page.Complete && run.Full}
		var seen []string
		cause := domain.Cause{Kind: domain.CauseSyncRun, ID: string(ref.Run)}
		// The row is read again: what was held since the page was asked for counts too.
		now, err := tx.Integration(ctx, integration.ID)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(page.Changes, apply.MaxBatch) {
			held, err := guard.Sift(ctx, tx, now, guard.Since(tx.Now, run.StartedAt), chunk, func(int) domain.Cause { return cause })
			if err != nil {
				return err
			}
			if len(held) > 0 {
				out.Held += len(held)
				now.Held = true
				passed := make([]domain.Change, 0, len(chunk))
				for i, c := range chunk {
					if !held[i] {
						passed = append(passed, c)
					} else if c.Op == domain.OpUpsert {
						seen = append(seen, c.ExternalID)
					}
				}
				chunk = passed
			}
			r, err := apply.Page(ctx, tx, integration, chunk, readAt, cause)
			if err != nil {
				return err
			}
			if r.Reread {
				// Read again from the same position; it then shows what was written meanwhile.
				return domain.E(domain.KindUnavailable, "entries changed here while the page was read")
			}
			if err := doubted.look(chunk, r.Outcomes); err != nil {
				return err
			}
			for i, o := range r.Outcomes {
				switch {
				case o.Effect == reconcile.EffectRejected:
					out.Rejected++
				case o.Effect == reconcile.EffectRemoved:
					out.Removed++
				case o.Effect.Changes():
					out.Applied++
				default:
					out.Unchanged++
				}
				if o.Effect == reconcile.EffectRemoved || o.Effect.Changes() {
					if lag, known := freshness.Lag(tx.Now, freshness.Seen{ChangedAt: chunk[i].ChangedAt, NoticedAt: run.NoticedAt,
						ReadBefore: integration.LastSyncAt, First: first}); known {
						lags = append(lags, lag)
					}
				}
				if chunk[i].Op == domain.OpUpsert {
					seen = append(seen, chunk[i].ExternalID)
				}
			}
		}
		for _, p := range page.Problems {
			if p.ExternalID != "" {
				// An entry that cannot be understood is still there.
				seen = append(seen, p.ExternalID)
			}
		}
		if len(doubted.found) > 0 && !doubted.asked {
			return errDoubts // nothing of the page is kept until they were asked for
		}
		if run.Full && len(seen) > 0 {
			if err := tx.MarkSeen(ctx, ref.Integration, ref.Run, seen); err != nil {
				return err
			}
		}
		stored, added, err := tx.AddSyncPage(ctx, ref.Run, store.SyncPage{Number: run.Pages, Next: page.Next, Seen: out.Seen, Applied: out.Applied,
			Unchanged: out.Unchanged, Removed: out.Removed, Rejected: out.Rejected, Quarantined: out.Held, Total: page.Total})
		if err != nil {
			return err
		}
		if !added {
			// Its effects stand and ours are undone; the next try goes on from its position.
			return domain.E(domain.KindUnavailable, "another worker stored this page first")
		}
		out.Expected = stored.Expected
		if err := addLags(ctx, tx, integration, lags); err != nil {
			return err
		}
		if n := out.Applied + out.Removed; n > 0 && !first && run.NoticedAt == nil && hearsOf(opened) && follows(integration, readAt) {
			if err := tx.FoundUntold(ctx, ref.Integration, n, failover.Settings{Grace: a.Grace}.Defaults().Grace); err != nil {
				return err
			}
		}
		return tx.Emit(ctx, domain.TopicSyncProgress, ref.refs(domain.SyncRunning))
	}
	if err = a.Store.Tenant(ctx, ref.Org, keep); errors.Is(err, errDoubts) {
		if page.Changes, err = doubted.ask(ctx, opened, page.Changes); err == nil {
			err = a.Store.Tenant(ctx, ref.Org, keep)
		}
	}
	return out, next, err
}

// spoil is the fault on purpose of builds with the tags chaos_noledger and chaos_losepolled.
func spoil(changes []domain.Change) []domain.Change {
	if failpoint.LosePolled {
		return slices.DeleteFunc(changes, func(c domain.Change) bool { return c.ExternalID[len(c.ExternalID)-1]%2 == 0 })
	}
	for n := range changes {
		changes[n].ExternalID += "-again"
	}
	return changes
}

// hearsOf reports whether the system of a connection posts about every change there.
func hearsOf(opened any) bool {
	if some, ok := provider.As[provider.Selective](opened); ok && some.Selective() {
		return false
	}
	_, hooks := provider.As[provider.WebhookSource](opened)
	_, watches := provider.As[provider.Watcher](opened)
	return hooks || watches
}

// follows reports whether a reading follows the one before closely enough that what it finds tells anything of the time between:
// after a pause or an outage there is much of which nobody could tell.
func follows(i domain.Integration, at time.Time) bool {
	return i.LastSyncAt != nil && at.Sub(*i.LastSyncAt) <= max(2*i.PollEvery, 2*time.Minute)
}

// addLags keeps how long changes took, and how many of them took longer than is aimed at.
func addLags(ctx context.Context, tx *store.Tx, i domain.Integration, lags []time.Duration) error {
	if len(lags) == 0 {
		return nil
	}
	known, err := tx.Freshness(ctx, i.ID)
	if err != nil {
		return err
	}
	target, late := freshness.Of(tx.Now, i, known[i.ID]).Target, 0
	for _, lag := range lags {
		if target > 0 && lag > target {
			late++
		}
	}
	return tx.AddLags(ctx, i.ID, lags, late)
}
