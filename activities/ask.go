package activities

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// askTries is how often an entry is asked for when it changes here while the answer is on its way.
const askTries = 4

// ask reads one entry of a system and applies what it is, or that it is gone; while a wedding is near or on its removal is
// held instead, and the outcome says so. An answer that was overtaken by what was
// written or learned meanwhile is asked for again, because it would be taken for an edit; after some tries that is
// KindUnavailable.
func ask(ctx context.Context, s *store.Store, i domain.Integration, reader provider.Reader, entry string, causes ...domain.Cause) (apply.Result, error) {
	for range askTries {
		var asked time.Time
		err := s.TenantRead(ctx, i.OrgID, func(_ context.Context, tx *store.Tx) error {
			asked = tx.Now
			return nil
		})
		if err != nil {
			return apply.Result{}, err
		}
		var there domain.Change
		err = caught("read entry", func() (err error) {
			there, err = reader.Read(ctx, entry)
			return err
		})
		switch {
		case domain.KindOf(err) == domain.KindNotFound:
			there = domain.Change{Op: domain.OpRemove, ExternalID: entry}
		case err != nil:
			return apply.Result{}, err
		}
		there.Asked = true
		var r apply.Result
		err = s.Tenant(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) (err error) {
			if held, err := guard.SiftFrozen(ctx, tx, i, there, firstOf(i, causes)); err != nil || held {
				r = apply.Result{Outcomes: []reconcile.Outcome{{Effect: reconcile.EffectAsked, Reason: guard.Reason}}}
				return err
			}
			r, err = apply.Page(ctx, tx, i, []domain.Change{there}, asked, causes...)
			return err
		})
		if err != nil || !r.Reread {
			return r, err
		}
	}
	return apply.Result{}, domain.E(domain.KindUnavailable, "an entry changed here whenever it was asked for")
}

// firstOf is what brought an entry that was asked for: its first cause, or the connection.
func firstOf(i domain.Integration, causes []domain.Cause) domain.Cause {
	if len(causes) > 0 {
		return causes[0]
	}
	return domain.Cause{Kind: domain.CauseIntegration, ID: string(i.ID)}
}
