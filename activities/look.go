package activities

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
)

// look returns the changes of a page, together with those of the known entries that the page wants looked at.
func (a *Syncs) look(ctx context.Context, ref SyncRef, opened any, page provider.Page) ([]domain.Change, error) {
	reader, ok := provider.As[provider.Reader](opened)
	if !ok {
		return page.Changes, nil
	}
	doubted, err := guard.Doubted(ctx, a.Store, ref.Org, ref.Integration, page)
	if err != nil {
		return nil, err
	}
	changes := page.Changes
	for _, link := range doubted {
		var read domain.Change
		err := caught("read entry", func() (err error) {
			read, err = reader.Read(ctx, link.ExternalID)
			return err
		})
		change, news, err := guard.Answered(link.ExternalID, read, err)
		if err != nil {
			return nil, err
		}
		if news {
			changes = append(changes, change)
		}
	}
	return changes, nil
}
