package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/devstack/pgtest"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/vault"
)

// orgs is a core with storage only, and organisations with a connection each.
func orgs(t *testing.T, n int) (*Core, []domain.OrgID) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	url := pgtest.New(t, func(ctx context.Context, url string) error {
		_, err := store.Migrate(ctx, url)
		return err
	})
	ring, err := vault.ParseKeys(vault.GenerateKey())
	must(err)
	s, err := store.Open(t.Context(), url, ring, store.Options{MaxConns: 4, SystemMaxConns: 2})
	must(err)
	t.Cleanup(s.Close)
	var ids []domain.OrgID
	for range n {
		org := domain.NewID[domain.OrgID](time.Now())
		must(s.CreateOrganization(t.Context(), domain.Organization{ID: org, Name: "Studio", Zone: "UTC"}, "admin"))
		must(s.Tenant(t.Context(), org, func(ctx context.Context, tx *store.Tx) error {
			r := domain.Resource{ID: domain.NewID[domain.ResourceID](tx.Now), Name: "Desk", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
			if err := tx.CreateResource(ctx, r); err != nil {
				return err
			}
			return tx.CreateIntegration(ctx, domain.Integration{ID: domain.NewID[domain.IntegrationID](tx.Now), Name: "system", Provider: "caldav",
				Direction: domain.DirectionBidirectional, ResourceID: r.ID, Settings: []byte(`{}`), State: domain.IntegrationActive}, nil)
		}))
		ids = append(ids, org)
	}
	return &Core{Store: s, Log: slog.New(slog.DiscardHandler)}, ids
}

func TestAServerProposesMaintenanceForEveryOrganisation(t *testing.T) {
	t.Parallel()
	c, ids := orgs(t, 2)
	for _, org := range ids {
		if err := c.Store.Tenant(t.Context(), org, func(ctx context.Context, tx *store.Tx) error {
			s := domain.StandardMaintenanceSettings()
			s.ProposeDays = 30
			_, err := tx.PutMaintenanceSettings(ctx, s, "admin", 0)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second pass, of this server or of another one, proposes nothing more
		if err := c.sweepMaintenance(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, org := range ids {
		if err := c.Store.Tenant(t.Context(), org, func(ctx context.Context, tx *store.Tx) error {
			open, err := tx.OpenMaintenances(ctx)
			if err == nil && (len(open) != 1 || open[0].State != domain.MaintenanceProposed || open[0].RequestedBy != "system:maintenance") {
				t.Errorf("proposed for %s: %+v", org, open)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnOrganisationThatFailsKeepsAPassFromNobody(t *testing.T) {
	t.Parallel()
	c, ids := orgs(t, 3)
	done := map[domain.OrgID]bool{}
	broken := errors.New("broken")
	err := c.eachOrganization(t.Context(), func(_ context.Context, tx *store.Tx) error {
		done[tx.Org] = true
		if tx.Org == ids[0] {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || len(done) != len(ids) {
		t.Errorf("%d of %d were looked at: %v", len(done), len(ids), err)
	}
}
