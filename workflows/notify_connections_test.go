package workflows_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/alerting"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/sim/slacksim"
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

// TestAConnectionThatNeedsReconnectingIsToldOfOnce has both the notification and an alert of it.
func TestAConnectionThatNeedsReconnectingIsToldOfOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{})
	o.pages()
	i := o.connect(domain.SyncPolicy{})
	o.moved(i.ID, domain.HealthUp)
	look := func() {
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := alerting.Evaluate(ctx, tx)
			return err
		})
		o.wake()
	}
	o.at(time.Minute, func() {
		o.reconnect(i, domain.IntegrationNeedsReconnect)
		o.wake()
	})
	o.at(time.Minute+10*time.Second, look)
	o.at(5*time.Minute, func() {
		list := o.list()
		slices.Sort(list)
		if d := cmp.Diff([]string{"alert_opened by email: suppressed, told already that the connection needs reconnecting",
			"alert_opened by live: suppressed, told already that the connection needs reconnecting",
			"alert_opened by pagerduty: sent after 1m10s",
			"alert_opened by slack: suppressed, told already that the connection needs reconnecting",
			"needs_reconnect by email: sent after 1m0s", "needs_reconnect by live: sent after 1m0s", "needs_reconnect by slack: sent after 1m0s"}, list); d != "" {
			t.Errorf("notifications (-want +got):\n%s", d)
		}
		o.onlyMail("Subject: calendar needs reconnecting")
		if n := len(o.slack.Messages()); n != 1 {
			t.Errorf("Slack is told %d times", n)
		}
		o.reconnect(i, domain.IntegrationActive)
		look()
	})
	o.at(10*time.Minute+time.Second, look)
	o.at(14*time.Minute, o.CancelWorkflow) // it looks for stale connections as long as somebody wants to know of them
	o.run()
	// Who was told of the beginning is told of the end, once.
	over := 0
	for _, line := range o.list() {
		if strings.HasPrefix(line, "alert_resolved by ") && strings.Contains(line, ": sent") {
			over++
		}
	}
	if over != 4 || len(o.mail.Mails()) != 2 || len(o.slack.Messages()) != 2 {
		t.Errorf("%d mails, %d messages in Slack: %v", len(o.mail.Mails()), len(o.slack.Messages()), o.list())
	}
	if all := o.pager.Incidents(); len(all) != 1 || all[0].Status != "resolved" {
		t.Errorf("%+v", all)
	}
}

// TestAnAlertInQuietHoursJoinsTheWordOfReconnecting lets both come in the night: one message in the morning.
func TestAnAlertInQuietHoursJoinsTheWordOfReconnecting(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(domain.NotifyReconnect, domain.NotifyAlertOpened, domain.NotifyAlertEscalated), Quiet: &domain.QuietHours{From: 9 * 60, To: 10*60 + 10}})
	i := o.connect(domain.SyncPolicy{})
	o.moved(i.ID, domain.HealthUp)
	o.reconnect(i, domain.IntegrationNeedsReconnect)
	o.at(time.Minute, func() {
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := alerting.Evaluate(ctx, tx)
			return err
		})
		o.wake()
	})
	o.run()
	o.ended(nil)
	o.want("needs_reconnect by email: sent after 10m0s, 1 reminders", "alert_opened by email: suppressed, told already that the connection needs reconnecting")
	o.onlyMail("Subject: calendar needs reconnecting")
}

// TestAnAlertIsToldWhereTheWordOfReconnectingDidNotGetThrough has the first message refused for good.
func TestAnAlertIsToldWhereTheWordOfReconnectingDidNotGetThrough(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: []domain.NotifyRule{{Channels: []domain.NotifyChannel{domain.ChannelSlack},
		Kinds: []domain.NotifyKind{domain.NotifyReconnect, domain.NotifyAlertOpened, domain.NotifySyncStale}}}})
	i := o.connect(domain.SyncPolicy{})
	o.moved(i.ID, domain.HealthUp)
	o.slack.Fail(slacksim.Prohibited)
	o.reconnect(i, domain.IntegrationNeedsReconnect)
	o.at(time.Minute, func() {
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := alerting.Evaluate(ctx, tx)
			return err
		})
		o.wake()
	})
	o.at(2*time.Minute, o.CancelWorkflow)
	o.run()
	list := o.list()
	if len(list) != 2 || !strings.HasPrefix(list[0], "needs_reconnect by slack: failed") || !strings.HasPrefix(list[1], "alert_opened by slack: sent after 1m0s") {
		t.Errorf("%v", list)
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

func TestPeopleAreToldOfAMaintenanceAndOfTheNewestWordOnly(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(domain.NotifyMaintenanceProposed, domain.NotifyMaintenanceAnnounced, domain.NotifyMaintenanceMoved,
		domain.NotifyMaintenanceCancelled, domain.NotifyMaintenanceStarted, domain.NotifyMaintenanceEnded), Quiet: &domain.QuietHours{From: 0, To: 1439}})
	i := o.connect(domain.SyncPolicy{})
	var m domain.Maintenance
	save := func(state domain.MaintenanceState, isNew bool, told string) {
		o.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			m.State = state
			if state.Ended() {
				m.EndedAt, m.Note = &tx.Now, "cancelled by admin-1"
			}
			m, err = tx.SaveMaintenance(ctx, m, isNew, told)
			return err
		})
	}
	m = domain.Maintenance{ID: domain.NewID[domain.MaintenanceID](o.clock()), Scopes: []domain.Scope{{Kind: domain.ScopeIntegration, Target: string(i.ID)}}, StartsAt: start.Add(100 * time.Hour),
		EndsAt: start.Add(102 * time.Hour), Approval: domain.ApprovalByPerson, Reason: "a new server", RequestedBy: "op-1"}
	save(domain.MaintenanceProposed, true, "proposed")
	save(domain.MaintenanceApproved, false, "") // of which nobody is told
	o.at(time.Minute, func() {
		save(domain.MaintenanceCancelled, false, "cancelled")
		o.wake()
	})
	o.run()
	o.ended(nil)
	all := o.mail.Mails()
	if len(all) != 1 || !bytes.Contains(all[0].Data, []byte("Subject: Maintenance of calendar does not take place")) || !bytes.Contains(all[0].Data, []byte("a new server")) {
		t.Errorf("%d mails", len(all))
	}
	if list := o.list(); len(list) != 2 {
		t.Errorf("%q", list)
	}
}
