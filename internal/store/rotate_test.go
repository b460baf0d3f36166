package store

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/vault"
)

func TestEverySealedColumnIsInTheListForRotation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// Bytes that are not sealed: fingerprints and chain hashes.
	plain := []string{"deliveries.dedupe", "deliveries.body_hash", "audit_heads.hash", "audit_entries.prev", "audit_entries.hash",
		"oauth_states.state_hash", "oauth_states.binding"}
	plain = append(plain, "alert_series.series") // figures of how connections answer
	plain = append(plain, "deliveries.trace", "outbox.trace", "pushes.trace")
	plain = append(plain, "watches.settings_hash", "feeds.content_hash", "feeds.token_hash", "shares.token_hash", "leads.request_hash", "integrations.identity")
	rows, err := b.owner().Query(t.Context(), `SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE table_schema = 'public' AND data_type = 'bytea'`)
	b.must(err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	b.must(err)
	want := plain
	for _, c := range sealedColumns {
		want = append(want, c.table+"."+c.column)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestRotationResealsEverythingSoThatTheOldKeyCanGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	orgs := []domain.OrgID{b.org(), b.org()}
	type kept struct {
		org domain.OrgID
		i   domain.Integration
		k   domain.Booking
		ids []domain.DeliveryID
	}
	var all []kept
	for _, org := range orgs {
		k := kept{org: org, i: b.integration(org)}
		k.ids = b.deliver(org, k.i.ID, 70) // more than one batch
		k.k = b.booking(org, k.i.ResourceID, b.clock.now(), time.Hour)
		all = append(all, k)
	}
	ring, err := b.ring.WithNewKey()
	b.must(err)
	newKey, err := vault.ParseKeys(firstKey(ring))
	b.must(err)
	both, only := b.open(ring), b.open(newKey)

	// A first run is cut off after some batches.
	stopped, stop := context.WithCancel(ctx)
	calls, before := 0, 0
	before, err = both.RotateKeys(stopped, func(string, int) {
		if calls++; calls == 4 {
			stop()
		}
	})
	if err == nil || before == 0 {
		t.Fatalf("the run was not cut off: %d, %v", before, err)
	}
	totals := map[string]int{}
	after, err := both.RotateKeys(ctx, func(table string, done int) { totals[table] = done })
	b.must(err)
	if want := len(orgs) * (1 + 1 + 1 + 70); before+after != want {
		t.Fatalf("resealed %d and %d (%v), want %d in all", before, after, totals, want)
	}
	if n, err := both.RotateKeys(ctx, nil); n != 0 || err != nil {
		t.Fatalf("a third run found %d, %v", n, err)
	}
	for _, k := range all {
		b.must(only.TenantRead(ctx, k.org, func(ctx context.Context, tx *Tx) error {
			r, err := tx.Resource(ctx, k.i.ResourceID)
			if err != nil || r.Name != "Ada Lovelace" || r.Version != 1 {
				return fmt.Errorf("resource %+v: %w", r, err)
			}
			secrets, err := tx.IntegrationSecrets(ctx, k.i.ID)
			if err != nil || !cmp.Equal(secrets, testSecrets) {
				return fmt.Errorf("secrets: %w", err)
			}
			booking, err := tx.Booking(ctx, k.k.ID)
			if err != nil || booking.Details != k.k.Details {
				return fmt.Errorf("booking: %w", err)
			}
			for _, id := range k.ids {
				if _, err := tx.DeliveryContent(ctx, id); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func firstKey(ring *vault.Keyring) string {
	text := ring.Encode()
	for i, c := range text {
		if c == ',' {
			return text[:i]
		}
	}
	return text
}
