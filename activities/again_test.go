package activities_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// fails makes the next decoding of a body fail, in a way that passes.
func (d *desk) fails(body string) string {
	d.atCRM.mu.Lock()
	defer d.atCRM.mu.Unlock()
	d.atCRM.faults["decode "+body] = append(d.atCRM.faults["decode "+body], domain.E(domain.KindUnavailable, "ask the system for the entry"))
	return body
}

// begins is when the booking of an entry begins, the zero time when none stands.
func (d *desk) begins(entry string) (at time.Time) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		err := tx.QueryRow(ctx, `SELECT b.starts_at FROM links l JOIN bookings b ON b.org_id = l.org_id AND b.id = l.booking_id
			WHERE l.org_id = $1 AND l.integration_id = $2 AND l.external_id = $3 AND l.removed_at IS NULL AND b.status <> 'cancelled'`, d.org, d.crm.ID, entry).Scan(&at)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return at.UTC()
}

// TestADeliveryThatIsTriedAgainUndoesNothingNewer lets the older of two deliveries of one entry wait for another try, while the
// newer one is applied.
func TestADeliveryThatIsTriedAgainUndoesNothingNewer(t *testing.T) {
	t.Parallel()
	older, newer := body(change("w", domain.CategoryVendor, 10, 12)), body(change("w", domain.CategoryVendor, 20, 22))
	for name, c := range map[string]struct {
		newer string
		act   func(d *desk, newer string) (first domain.DeliveryID)
		want  time.Time
	}{
		"the newer one came later": {newer, func(d *desk, newer string) domain.DeliveryID {
			first := d.deliver(d.crm, d.fails(older))[0]
			d.applyTo(d.crm)
			d.deliver(d.crm, newer)
			d.applyTo(d.crm)
			return first
		}, span(20, 22).Start},
		"both came together": {newer, func(d *desk, newer string) domain.DeliveryID {
			first := d.deliver(d.crm, d.fails(older), newer)[0]
			d.applyTo(d.crm)
			return first
		}, span(20, 22).Start},
		"one beside them spoils the batch": {newer, func(d *desk, newer string) domain.DeliveryID {
			d.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
				`CREATE TRIGGER refuse BEFORE INSERT ON links FOR EACH ROW WHEN (NEW.external_id = 'poison') EXECUTE FUNCTION refuse()`)
			// Once with the others, and once by itself.
			first := d.deliver(d.crm, d.fails(d.fails(older)), body(change("poison", domain.CategoryVendor, 1, 2)), newer)[0]
			d.applyTo(d.crm)
			d.exec(`DROP TRIGGER refuse ON links`)
			return first
		}, span(20, 22).Start},
		"the newer one is the end": {body(domain.Change{Op: domain.OpRemove, ExternalID: "w"}), func(d *desk, newer string) domain.DeliveryID {
			first := d.deliver(d.crm, d.fails(older))[0]
			d.applyTo(d.crm)
			d.deliver(d.crm, newer)
			d.applyTo(d.crm)
			return first
		}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			first := c.act(d, c.newer)
			if have := d.delivery(first); have.State != domain.DeliveryRetrying {
				t.Fatalf("the older one is %s, want it to be tried again", have.State)
			}
			d.advance(time.Minute)
			d.applyTo(d.crm)
			have := d.delivery(first)
			if have.State != domain.DeliveryApplied || !strings.Contains(have.Reason, "a newer delivery of this entry went first") {
				t.Errorf("the older one is %s because %q", have.State, have.Reason)
			}
			if at := d.begins("w"); !at.Equal(c.want) {
				t.Errorf("the booking begins at %s, want %s", at, c.want)
			}
			left := -1
			d.tenant(func(ctx context.Context, tx *store.Tx) error {
				if _, _, err := tx.NextDeliveryDue(ctx, d.crm.ID); err != nil {
					return err
				}
				return tx.QueryRow(ctx, "SELECT count(*) FROM overtakes WHERE org_id = $1", d.org).Scan(&left)
			})
			if left != 0 {
				t.Errorf("%d entries are still remembered though nothing waits", left)
			}
		})
	}
}

// TestAReplayOfAnOlderDeliveryKeepsNoNewerOneOut repeats the first delivery of an entry while the second waits for another try.
func TestAReplayOfAnOlderDeliveryKeepsNoNewerOneOut(t *testing.T) {
	t.Parallel()
	d := setup(t)
	origin := d.deliver(d.crm, body(change("w", domain.CategoryVendor, 10, 12)))[0]
	d.applyTo(d.crm)
	waits := d.deliver(d.crm, d.fails(body(change("w", domain.CategoryVendor, 20, 22))))[0]
	d.applyTo(d.crm)
	d.advance(time.Second)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.ReplayOne(ctx, domain.Replay{ID: domain.NewID[domain.ReplayID](d.clock()), RequestedBy: "admin", Reason: "test"}, origin)
		return err
	})
	d.applyTo(d.crm)
	d.advance(time.Minute)
	d.applyTo(d.crm)
	if have := d.delivery(waits); have.State != domain.DeliveryApplied || !d.begins("w").Equal(span(20, 22).Start) {
		t.Errorf("the newer one is %s because %q, and the booking begins at %s", have.State, have.Reason, d.begins("w"))
	}
}

// TestAContentThatCannotBeOpenedHoldsNothingUp changes what is sealed of one delivery.
func TestAContentThatCannotBeOpenedHoldsNothingUp(t *testing.T) {
	t.Parallel()
	d := setup(t)
	ids := d.deliver(d.crm, body(change("a", domain.CategoryVendor, 1, 2)), body(change("b", domain.CategoryVendor, 3, 4)), body(change("c", domain.CategoryVendor, 5, 6)))
	d.exec(fmt.Sprintf(`UPDATE deliveries SET content = overlay(content placing '\x0102030405060708' from octet_length(content) - 10) WHERE id = '%s'`, ids[1]))
	if got := d.applyTo(d.crm); got.Applied != 2 || got.Retried != 1 {
		t.Fatalf("result is %+v", got)
	}
	// Nor what is said later of an entry that one of old told of.
	old := d.deliver(d.crm, body(domain.Change{Op: domain.OpRemove, ExternalID: "e", RemoteVersion: 1}))[0]
	d.applyTo(d.crm)
	d.exec(fmt.Sprintf(`UPDATE deliveries SET content = 'not what was sealed' WHERE id = '%s'`, old))
	later := change("e", domain.CategoryVendor, 7, 8)
	later.RemoteVersion = 2
	if id := d.deliver(d.crm, body(later))[0]; d.applyTo(d.crm).Applied != 1 || d.begins("e").IsZero() {
		t.Errorf("a later delivery is %s because %q", d.delivery(id).State, d.delivery(id).Reason)
	}
	for range 15 {
		d.advance(15 * time.Hour)
		d.applyTo(d.crm)
	}
	have := d.delivery(ids[1])
	if have.State != domain.DeliveryDead || !strings.Contains(have.Reason, "cannot be opened") || strings.Contains(have.Reason, "Marker") {
		t.Errorf("it is %s because %q", have.State, have.Reason)
	}
	for _, dry := range []bool{true, false} {
		ref := d.ask(domain.ReplayFilter{Integration: d.crm.ID}, dry)
		d.page(ref, 100)
		if got := d.replay(ref); got.Replayed != 3 || got.Tally.Skipped[domain.SkipUnreadable] != 2 {
			t.Errorf("replay, dry %t: %+v", dry, got)
		}
	}
	err := d.Tenant(t.Context(), d.org, func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.ReplayOne(ctx, domain.Replay{ID: domain.NewID[domain.ReplayID](d.clock()), RequestedBy: "admin", Reason: "test"}, ids[1])
		return err
	})
	if domain.KindOf(err) != domain.KindConflict || !strings.Contains(err.Error(), "cannot be opened") {
		t.Errorf("a replay of that one alone: %v", err)
	}
}
