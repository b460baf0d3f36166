package activities

import (
	"context"
	"slices"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/reconcile"
	"github.com/wedsync/wedsync/internal/store"
)

// ConfirmRemovalsInput names a run that listed everything.
type ConfirmRemovalsInput struct {
	SyncRef
}

// ConfirmRemovalsResult counts proved removals and those held back.
type ConfirmRemovalsResult struct {
	Removed     int `json:"removed"`
	Quarantined int `json:"quarantined"`
}

// ConfirmRemovals looks at the entries that a complete listing did not contain. Each is asked for by itself, and only
// the system's own word that it does not exist removes it. When too many are missing at once, or the system cannot be
// asked, nothing is removed and they are held in a quarantine.
//
// Running it again finds the ones that are left.
func (a *Syncs) ConfirmRemovals(ctx context.Context, in ConfirmRemovalsInput) (ConfirmRemovalsResult, error) {
	var out ConfirmRemovalsResult
	err := beating(ctx, func(ctx context.Context) (err error) {
		out, err = a.confirmRemovals(ctx, in.SyncRef)
		return err
	})
	return out, a.fail(ctx, in.SyncRef, "prove removals", err)
}

func (a *Syncs) confirmRemovals(ctx context.Context, ref SyncRef) (ConfirmRemovalsResult, error) {
	var (
		out         ConfirmRemovalsResult
		unseen      []domain.Link
		integration domain.Integration
		opened      any
		reader      provider.Reader
	)
	const all = 100_000
	err := a.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
		out = ConfirmRemovalsResult{}
		run, err := tx.SyncRun(ctx, ref.Run)
		if err != nil {
			return err
		}
		if integration, opened, err = open(ctx, tx, a.Opener, ref.Integration); err != nil {
			return err
		}
		if unseen, _, err = tx.UnseenLinks(ctx, ref.Integration, run, all); err != nil {
			return err
		}
		unseen = listable(opened, unseen)
		var askable bool
		reader, askable = provider.As[provider.Reader](opened)
		if unseen, out.Quarantined, err = guard.SiftAbsent(ctx, tx, integration, run, unseen, askable); err != nil || !askable {
			return err
		}
		// What was touched while it was listed is not missing, so it counts for no quarantine. But it may be gone: no later page
		// tells, because the listing began after.
		touched, err := tx.TouchedLinks(ctx, ref.Integration, run, all)
		unseen = append(unseen, listable(opened, touched)...)
		return err
	})
	if err != nil {
		return out, err
	}
	for _, link := range unseen {
		r, err := ask(ctx, a.Store, integration, reader, link.ExternalID, domain.Cause{Kind: domain.CauseSyncRun, ID: string(ref.Run)})
		if err != nil {
			return out, err
		}
		if r.Outcomes[0].Effect == reconcile.EffectRemoved {
			out.Removed++
		}
	}
	return out, nil
}

// listable leaves out the entries that the system never lists, so that their absence says nothing.
func listable(opened any, links []domain.Link) []domain.Link {
	u, ok := provider.As[provider.Unlister](opened)
	if !ok {
		return links
	}
	return slices.DeleteFunc(links, func(l domain.Link) bool { return u.Unlisted(l.ExternalID) })
}
