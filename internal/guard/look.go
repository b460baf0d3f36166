package guard

import (
	"context"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// Doubted returns the known entries that a page wants looked at and does not speak of itself (provider.Page.Look). Each
// is to be asked for, and Answered says what the answer means. Runs and plans share both, so that they agree.
func Doubted(ctx context.Context, s *store.Store, org domain.OrgID, integration domain.IntegrationID, page provider.Page) ([]domain.Link, error) {
	if len(page.Look) == 0 {
		return nil, nil
	}
	var known []domain.Link
	err := s.TenantRead(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
		known, err = tx.LinksNamed(ctx, integration, page.Look)
		return err
	})
	if err != nil {
		return nil, err
	}
	told, removed := map[string]bool{}, map[string]bool{}
	for _, c := range page.Changes {
		told[c.ExternalID], removed[c.ExternalID] = true, c.Op == domain.OpRemove
	}
	for _, p := range page.Problems {
		told[p.ExternalID] = true
	}
	var out []domain.Link
	for _, l := range known {
		if whole, _, part := strings.Cut(l.ExternalID, "#"); !told[l.ExternalID] && !(part && removed[whole]) {
			out = append(out, l)
		}
	}
	return out, nil
}

// Answered turns the answer of a provider.Reader about a doubted entry into the change that it means. Only the system's
// own word that the entry does not exist removes it; one that cannot be understood stays as it is, which is news false.
// Any other error is a doubt, and is returned.
func Answered(externalID string, read domain.Change, err error) (change domain.Change, news bool, doubt error) {
	switch {
	case domain.KindOf(err) == domain.KindNotFound:
		return domain.Change{Op: domain.OpRemove, ExternalID: externalID}, true, nil
	case domain.KindOf(err) == domain.KindInvalid:
		return domain.Change{}, false, nil
	case err != nil:
		return domain.Change{}, false, err
	}
	read.Asked = true
	return read, true, nil
}
