package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestAConsentCountsForItsOriginUntilItIsWithdrawn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i, other := b.integration(org).ID, b.integration(org).ID
	const origin = "https://portal.example.com"
	b.tenant(org, func(tx *Tx) error {
		first, made, err := tx.GiveScrapeConsent(ctx, i, origin, "owner")
		if err != nil || !made || first.GivenBy != "owner" || !first.GivenAt.Equal(tx.Now) {
			t.Fatalf("%+v, made %v, %v", first, made, err)
		}
		again, made, err := tx.GiveScrapeConsent(ctx, i, origin, "somebody")
		if err != nil || made || again.ID != first.ID || again.GivenBy != "owner" {
			t.Errorf("given again: %+v, made %v, %v", again, made, err)
		}
		for name, ask := range map[string]func() error{
			"another integration": func() error { _, err := tx.ScrapeConsent(ctx, other, origin); return err },
			"another origin":      func() error { _, err := tx.ScrapeConsent(ctx, i, "https://other.example.com"); return err },
			"another's to withdraw": func() error {
				_, _, err := tx.WithdrawScrapeConsent(ctx, other, first.ID, "owner")
				return err
			},
		} {
			if err := ask(); domain.KindOf(err) != domain.KindNotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
		gone, changed, err := tx.WithdrawScrapeConsent(ctx, i, first.ID, "admin")
		if err != nil || !changed || gone.WithdrawnBy != "admin" || gone.WithdrawnAt == nil {
			t.Errorf("withdrawn: %+v, %v, %v", gone, changed, err)
		}
		if _, changed, err := tx.WithdrawScrapeConsent(ctx, i, first.ID, "late"); err != nil || changed {
			t.Errorf("withdrawn twice: %v, %v", changed, err)
		}
		if _, err := tx.ScrapeConsent(ctx, i, origin); domain.KindOf(err) != domain.KindNotFound {
			t.Errorf("a withdrawn consent counts: %v", err)
		}
		if _, made, err := tx.GiveScrapeConsent(ctx, i, origin, "owner"); err != nil || !made {
			t.Errorf("given anew: %v, %v", made, err)
		}
		all, _, err := tx.ScrapeConsents(ctx, i, Page{Limit: 10})
		if err != nil || len(all) != 2 {
			t.Errorf("%d consents on record, %v", len(all), err)
		}
		_, _, err = tx.GiveScrapeConsent(ctx, i, strings.Repeat("x", domain.MaxOrigin+1), "owner")
		if domain.FieldOf(err) != "origin" {
			t.Errorf("a long origin: %v", err)
		}
		return nil
	})
}

func TestSnapshotsAreSealedBoundedAndPurged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i := b.integration(org).ID
	page := []byte("<table><tr class=\"shoot\"></tr></table>")
	run := domain.NewID[domain.SyncRunID](b.clock.now())
	b.tenant(org, func(tx *Tx) error {
		first, err := tx.KeepSnapshot(ctx, domain.Snapshot{IntegrationID: i, SyncRunID: run, Kind: domain.KindDrift, Report: "rows are missing"}, page)
		if err != nil {
			return err
		}
		again, err := tx.KeepSnapshot(ctx, domain.Snapshot{IntegrationID: i, SyncRunID: run, Kind: domain.KindDrift, Report: "again"}, page)
		if err != nil || again.ID != first.ID || again.Report != "rows are missing" {
			t.Errorf("a run keeps two: %+v, %v", again, err)
		}
		got, back, err := tx.Snapshot(ctx, i, first.ID)
		if err != nil || !bytes.Equal(back, page) || got.SyncRunID != run || got.Kind != domain.KindDrift {
			t.Errorf("%+v %q, %v", got, back, err)
		}
		var sealed []byte
		if err := tx.QueryRow(ctx, "SELECT page FROM scrape_snapshots WHERE id = $1", first.ID).Scan(&sealed); err != nil || bytes.Contains(sealed, []byte("shoot")) {
			t.Errorf("the page is not sealed, %v", err)
		}
		return nil
	})
	for n := range domain.MaxSnapshots + 5 {
		b.clock.advance(time.Second)
		b.tenant(org, func(tx *Tx) error {
			_, err := tx.KeepSnapshot(ctx, domain.Snapshot{IntegrationID: i, Kind: domain.KindDrift, Report: fmt.Sprintf("number %d", n)}, page)
			return err
		})
	}
	b.tenant(org, func(tx *Tx) error {
		all, _, err := tx.Snapshots(ctx, i, Page{Limit: 200})
		if err != nil || len(all) != domain.MaxSnapshots || all[0].Report != fmt.Sprintf("number %d", domain.MaxSnapshots+4) {
			t.Errorf("%d kept, %v", len(all), err)
		}
		return err
	})
	n, err := b.PurgeSnapshots(ctx, b.clock.now().Add(-3*time.Second), 100)
	if err != nil || n != domain.MaxSnapshots-4 {
		t.Errorf("purged %d, %v", n, err)
	}
}
