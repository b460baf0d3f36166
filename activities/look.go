package activities

import (
	"context"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// look returns the changes of a page, together with those of the known entries that the page wants looked at. Each is
// asked for by itself, and only the system's own word that it does not exist removes it.
func (a *Syncs) look(ctx context.Context, ref SyncRef, opened any, page provider.Page) ([]domain.Change, error) {
	reader, ok := provider.As[provider.Reader](opened)
	if len(page.Look) == 0 || !ok {
		return page.Changes, nil
	}
	var known []domain.Link
	err := a.Store.TenantRead(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		known, err = tx.LinksNamed(ctx, ref.Integration, page.Look)
		return err
	})
	if err != nil {
		return nil, err
	}
	told := map[string]bool{}
	for _, c := range page.Changes {
		told[c.ExternalID] = true
	}
	for _, p := range page.Problems {
		told[p.ExternalID] = true
	}
	removed := map[string]bool{}
	for _, c := range page.Changes {
		removed[c.ExternalID] = c.Op == domain.OpRemove
	}
	changes := page.Changes
	for _, link := range known {
		whole, _, part := strings.Cut(link.ExternalID, "#")
		if told[link.ExternalID] || part && removed[whole] {
			continue
		}
		var change domain.Change
		err := caught("read entry", func() (err error) {
			change, err = reader.Read(ctx, link.ExternalID)
			return err
		})
		switch {
		case domain.KindOf(err) == domain.KindNotFound:
			change = domain.Change{Op: domain.OpRemove, ExternalID: link.ExternalID}
		case domain.KindOf(err) == domain.KindInvalid:
			continue // an entry that cannot be understood stays as it is
		case err != nil:
			return nil, err
		}
		changes = append(changes, change)
	}
	return changes, nil
}
