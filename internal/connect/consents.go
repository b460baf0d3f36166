package connect

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// StoredConsents finds the consents that customers gave to the reading of pages, for Opener.WithConsents. It asks Postgres each
// time, so that one that is withdrawn counts no more at once.
func StoredConsents(s *store.Store) func(ctx context.Context, i domain.Integration, origin string) (provider.Consent, error) {
	return func(ctx context.Context, i domain.Integration, origin string) (out provider.Consent, err error) {
		err = s.TenantRead(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
			given, err := tx.ScrapeConsent(ctx, i.ID, origin)
			out = provider.Consent{By: given.GivenBy, At: given.GivenAt}
			return err
		})
		return out, err
	}
}
