package store

import (
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestOnlyConnectionsThatRunTakeThePlacesOfTheirPlatform(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	over := b.integration(org)
	b.integration(org)
	b.tenant(org, func(tx *Tx) error {
		f, err := tx.LockFailover(ctx, over.ID)
		if err != nil {
			return err
		}
		f.Mode, f.Since = domain.FailoverPolling, tx.Now
		return tx.SaveFailover(ctx, f)
	})
	for _, c := range []struct {
		state       domain.IntegrationState
		over, total int
	}{{domain.IntegrationActive, 1, 2}, {domain.IntegrationPaused, 0, 1}, {domain.IntegrationActive, 1, 2}, {domain.IntegrationDeleted, 0, 1}} {
		b.tenant(org, func(tx *Tx) error {
			_, err := tx.SetIntegrationState(ctx, over.ID, c.state, "test")
			return err
		})
		if n, total, err := b.PlatformFailovers(ctx, over.Provider); err != nil || n != c.over || total != c.total {
			t.Errorf("while it is %s %d of %d failed over, want %d of %d: %v", c.state, n, total, c.over, c.total, err)
		}
	}
}
