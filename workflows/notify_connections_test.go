package workflows_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/store"
)

// connect makes an integration that is read every five minutes.
func (o *office) connect(p domain.SyncPolicy) (i domain.Integration) {
	o.t.Helper()
	i = domain.Integration{ID: domain.NewID[domain.IntegrationID](o.clock()), Name: "calendar", Provider: "outside", Direction: domain.DirectionBidirectional,
		ResourceID: o.desk.ID, Settings: []byte(`{}`), State: domain.IntegrationActive, PollEvery: 5 * time.Minute, Sync: p}
	o.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		if err = tx.CreateIntegration(ctx, i, nil); err != nil {
			return err
		}
		i, err = tx.Integration(ctx, i.ID)
		return err
	})
	return i
}

func (o *office) reconnect(i domain.Integration, state domain.IntegrationState) {
	o.t.Helper()
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, i.ID, state, "the test says so")
		return err
	})
}

// remote is what a system tells of a booking of its own, n hours after two months from the start.
func remote(n, hours int) domain.Change {
	from := start.AddDate(0, 2, 0).Add(time.Duration(3*n+hours) * time.Hour)
	return domain.Change{Op: domain.OpUpsert, ExternalID: fmt.Sprint("e", n), Category: domain.CategoryVendor, Status: domain.StatusConfirmed,
		When:    domain.When{Span: domain.Span{Start: from, End: from.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned},
		Details: domain.Details{Title: "obsidian-pelican"}}
}

// arrive applies what a system tells.
func (o *office) arrive(i domain.Integration, changes ...domain.Change) (id domain.BookingID) {
	o.t.Helper()
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		r, err := apply.Changes(ctx, tx, i, changes)
		if err == nil {
			id = r.Outcomes[0].BookingID
		}
		return err
	})
	return id
}

// onlyMail checks that one mail was sent and says what it is about.
func (o *office) onlyMail(about string) {
	o.t.Helper()
	all := o.mail.Mails()
	if len(all) != 1 || !bytes.Contains(all[0].Data, []byte(about)) {
		o.t.Fatalf("%d mails, want one that says %q", len(all), about)
	}
}

func TestAConnectionThatNeedsAPersonIsToldOfUnlessItIsMendedFirst(t *testing.T) {
	t.Parallel()
	for _, mended := range []bool{false, true} {
		t.Run(fmt.Sprintf("mended=%v", mended), func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, domain.NotifyPreferences{Rules: byMail(domain.NotifyReconnect), Quiet: &domain.QuietHours{From: 9 * 60, To: 18 * 60}})
			i := o.connect(domain.SyncPolicy{})
			o.reconnect(i, domain.IntegrationNeedsReconnect)
			if mended {
				o.at(time.Hour, func() { o.reconnect(i, domain.IntegrationActive); o.wake() })
			}
			o.run()
			o.ended(nil)
			if mended {
				o.want("needs_reconnect by email: suppressed, the connection was active before this was sent")
				return
			}
			o.want("needs_reconnect by email: sent after 8h0m0s")
			o.onlyMail("Subject: calendar needs reconnecting")
		})
	}
}

func TestAConnectionThatFallsBehindIsToldOfOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(domain.NotifySyncStale)})
	i := o.connect(domain.SyncPolicy{})
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		run := domain.SyncRun{ID: domain.NewID[domain.SyncRunID](tx.Now), OrgID: o.org, IntegrationID: i.ID, RequestedBy: "schedule"}
		if _, _, err := tx.StartSyncRun(ctx, run); err != nil {
			return err
		}
		_, err := tx.EndSyncRun(ctx, run.ID, domain.SyncDone, store.SyncPage{}, "")
		return err
	})
	o.at(2*time.Hour, o.CancelWorkflow)
	o.run()
	o.want("sync_stale by email: sent after 15m0s")
	o.onlyMail("Subject: calendar is behind")
}

func TestManyRemovalsThatAreHeldAreToldOf(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(domain.NotifyQuarantine)})
	i := o.connect(domain.SyncPolicy{})
	var gone []domain.Change
	for n := range 10 {
		o.arrive(i, remote(n, 0))
		gone = append(gone, domain.Change{Op: domain.OpRemove, ExternalID: fmt.Sprint("e", n)})
	}
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		held, err := guard.Sift(ctx, tx, i, guard.Since(tx.Now, time.Time{}), gone, func(int) domain.Cause { return domain.Cause{Kind: domain.CauseSyncRun, ID: "run"} })
		if len(held) != 10 {
			t.Errorf("%d of 10 removals are held", len(held))
		}
		return err
	})
	o.run()
	o.ended(nil)
	o.want("quarantine_waiting by email: sent after 0s")
	o.onlyMail("10")
}

func TestAnEditOnBothSidesIsToldOf(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(domain.NotifyEditConflict)})
	i := o.connect(domain.SyncPolicy{EditConflicts: domain.EditManual})
	id := o.arrive(i, remote(0, 0))
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		b, err := tx.Booking(ctx, id)
		if err != nil {
			return err
		}
		b.When.Span = domain.Span{Start: b.When.Start.Add(time.Hour), End: b.When.End.Add(time.Hour)}
		_, err = apply.Manual(ctx, tx, b, "admin-1", "test")
		return err
	})
	o.arrive(i, remote(0, 5))
	o.run()
	o.ended(nil)
	o.want("edit_conflict by email: sent after 0s")
}
