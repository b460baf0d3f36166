package workflows_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/mailer"
	"github.com/wedsync/wedsync/internal/notify"
	"github.com/wedsync/wedsync/internal/resolutions"
	"github.com/wedsync/wedsync/internal/sim/pagerdutysim"
	"github.com/wedsync/wedsync/internal/sim/slacksim"
	"github.com/wedsync/wedsync/internal/sim/smtpsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/internal/vault"
	"github.com/wedsync/wedsync/workflows"
)

// planner stands in for the steps of notifications.
type planner struct {
	*script
	plan func(n int, in activities.PlanNotificationsInput) (activities.PlanNotificationsResult, error)
	send func(n int) (activities.SendNotificationsResult, error)
}

func (p *planner) PlanNotifications(_ context.Context, in activities.PlanNotificationsInput) (activities.PlanNotificationsResult, error) {
	return answer(p.script, "PlanNotifications", func(n int) (activities.PlanNotificationsResult, error) { return p.plan(n, in) })
}

func (p *planner) SendNotifications(context.Context, activities.SendNotificationsInput) (activities.SendNotificationsResult, error) {
	return answer(p.script, "SendNotifications", p.send)
}

func notifyStage(t *testing.T, plan func(n int, in activities.PlanNotificationsInput) (activities.PlanNotificationsResult, error),
	send func(n int) (activities.SendNotificationsResult, error)) *stage {
	t.Helper()
	s := newStage(t, contract.NotifyWorkflowID(org))
	p := &planner{script: s.script, plan: plan, send: send}
	s.RegisterActivity(p.PlanNotifications)
	s.RegisterActivity(p.SendNotifications)
	return s
}

func (s *stage) runNotify() { s.ExecuteWorkflow(workflows.Notify, contract.NotifyInput{OrgID: org}) }

func TestNotifyEndsWhenNothingWaitsAndSendsWhenItIsDue(t *testing.T) {
	t.Parallel()
	at := start.Add(10 * time.Hour)
	sent := false
	s := notifyStage(t, func(n int, _ activities.PlanNotificationsInput) (activities.PlanNotificationsResult, error) {
		if sent {
			return activities.PlanNotificationsResult{}, nil
		}
		return activities.PlanNotificationsResult{Facts: 1, Added: 1, DueAt: at, More: n == 1}, nil
	}, func(int) (activities.SendNotificationsResult, error) {
		sent = true
		return activities.SendNotificationsResult{Sent: 1}, nil
	})
	s.runNotify()
	s.ended(nil)
	if got := s.after("SendNotifications", 1); got != 10*time.Hour || s.count("SendNotifications") != 1 || s.count("PlanNotifications") != 3 {
		t.Errorf("sent after %s, %d times; planned %d times", got, s.count("SendNotifications"), s.count("PlanNotifications"))
	}
	status := ask[contract.NotifyStatus](s, contract.QueryStatus)
	if status.Counts.Sent != 1 || status.Counts.Added != 2 || !status.DueAt.IsZero() || status.Sending {
		t.Errorf("%+v", status)
	}
}

func TestNewsIsPlannedWhileAMessageWaitsAndStaleLooksKeepTheirTime(t *testing.T) {
	t.Parallel()
	var looks []time.Duration
	var s *stage
	s = notifyStage(t, func(_ int, in activities.PlanNotificationsInput) (activities.PlanNotificationsResult, error) {
		if in.Look {
			looks = append(looks, s.Now().Sub(start).Round(time.Second))
		}
		return activities.PlanNotificationsResult{LookAt: s.Now().Add(15 * time.Minute)}, nil
	}, nil)
	for n := range 5 {
		s.at(time.Duration(n*4)*time.Minute+time.Minute, func() { s.SignalWorkflow(contract.SignalWake, contract.WakeSignal{}) })
	}
	s.at(46*time.Minute, s.CancelWorkflow)
	s.runNotify()
	if d := cmp.Diff([]time.Duration{15 * time.Minute, 30 * time.Minute, 45 * time.Minute}, looks); d != "" {
		t.Errorf("looks (-want +got):\n%s", d)
	}
}

func TestAStepThatFailsIsTriedAgainWithBackOff(t *testing.T) {
	t.Parallel()
	s := notifyStage(t, func(n int, _ activities.PlanNotificationsInput) (activities.PlanNotificationsResult, error) {
		if n <= 9 {
			return activities.PlanNotificationsResult{}, errDown
		}
		return activities.PlanNotificationsResult{}, nil
	}, nil)
	s.runNotify()
	s.ended(nil)
	// Three quick tries each, then a wait of 1 s, 2 s and 4 s.
	if n := s.count("PlanNotifications"); n != 10 {
		t.Errorf("%d tries", n)
	}
	if got := s.after("PlanNotifications", 10); got < 7*time.Second || got > 12*time.Second {
		t.Errorf("it worked after %s", got)
	}
}

// office is an organisation in a database of its own whose clock is that of a workflow that skips time, with a mail server and
// Slack beside it.
type office struct {
	*stage
	db    *store.Store
	ring  *vault.Keyring
	org   domain.OrgID
	ann   domain.Recipient
	desk  domain.Resource
	mail  *smtpsim.Server
	slack *slacksim.Server
	pager *pagerdutysim.Server
}

// hookSecret signs the webhooks of the office's person.
var hookSecret = "whsec_" + strings.Repeat("A", 43) + "="

func newOffice(t *testing.T, prefer domain.NotifyPreferences) *office {
	t.Helper()
	o := &office{stage: newStage(t, "notify/test"), slack: slacksim.New(), pager: pagerdutysim.New(pagerKey)}
	// The stage has stand-ins for the steps of others only.
	o.ring = storetest.Ring(t)
	o.db = storetest.Open(t, storetest.URL(t), o.ring, store.Options{MaxConns: 6, SystemMaxConns: 2, Now: o.clock})
	var err error
	o.mail, err = smtpsim.Start(smtpsim.Options{STARTTLS: true, Username: "u", Password: "p"})
	o.fatal(err)
	t.Cleanup(o.mail.Close)
	srv := httptest.NewServer(o.slack)
	t.Cleanup(srv.Close)
	pager := httptest.NewServer(o.pager)
	t.Cleanup(pager.Close)
	m, err := mailer.New(mailer.Options{Addr: o.mail.Addr(), From: "WedSync <notify@studio.example>", Username: "u", Password: "p", Allow: httpx.AllowPrivate, RootCAs: o.mail.RootCAs()})
	o.fatal(err)
	out, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, Timeouts: httpx.Timeouts{Header: 5 * time.Second, Total: 5 * time.Second}})
	o.fatal(err)
	t.Cleanup(out.Close)
	o.RegisterActivity(&activities.Notifications{Store: o.db, Senders: notify.Senders{Mail: m, HTTP: out, PagerDuty: pager.URL + "/v2/enqueue"}, Link: "https://sync.example.com"})

	o.org = domain.NewID[domain.OrgID](start)
	o.desk = domain.Resource{ID: domain.NewID[domain.ResourceID](start), Name: "Quillfeather", Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1, OneWeddingADay: true}
	o.ann = domain.Recipient{ID: domain.NewID[domain.RecipientID](start), Name: "Ann", Zone: "Europe/London", CreatedBy: "test", Prefer: prefer,
		Addresses: domain.NotifyAddresses{Email: "ann@example.com", Slack: srv.URL + "/services/T/B/X"}}
	o.fatal(o.db.CreateOrganization(t.Context(), domain.Organization{ID: o.org, Name: "Studio", Zone: "Europe/London"}, "admin"))
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, o.desk); err != nil {
			return err
		}
		return tx.CreateRecipient(ctx, o.ann, hookSecret)
	})
	return o
}

// clock is the workflow's, which begins at start.
func (o *office) clock() time.Time {
	if now := o.Now(); now.After(start) {
		return now
	}
	return start
}

func (o *office) fatal(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	o.t.Helper()
	if err := o.db.Tenant(o.t.Context(), o.org, fn); err != nil {
		o.t.Error(err)
	}
}

// clash books a wedding and something beside it, which makes a conflict.
func (o *office) clash(at time.Time) (id domain.ConflictID) {
	o.t.Helper()
	for _, c := range []domain.Category{domain.CategoryWedding, domain.CategoryConsultation} {
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			r, err := apply.Manual(ctx, tx, domain.Booking{ID: domain.NewID[domain.BookingID](tx.Now), OrgID: o.org, ResourceID: o.desk.ID, Category: c, Status: domain.StatusConfirmed,
				When:    domain.When{Span: domain.Span{Start: at, End: at.Add(2 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned},
				Details: domain.Details{Title: "obsidian-pelican"}}, "admin-1", "test")
			if err != nil {
				return err
			}
			for _, opened := range r.Conflicts() {
				id = opened.ID
			}
			return nil
		})
	}
	if id == "" {
		o.t.Error("two bookings at one time made no conflict")
	}
	return id
}

func (o *office) remind(id domain.ConflictID, n int) {
	o.t.Helper()
	o.tenant(func(ctx context.Context, tx *store.Tx) error { return resolutions.Remind(ctx, tx, id, n) })
}

func (o *office) wake() { o.SignalWorkflow(contract.SignalWake, contract.WakeSignal{}) }

func (o *office) run() { o.ExecuteWorkflow(workflows.Notify, contract.NotifyInput{OrgID: o.org}) }

// list says what became of every notification, oldest first, with times counted from the start.
func (o *office) list() (out []string) {
	o.t.Helper()
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		all, _, err := tx.Notifications(ctx, store.NotificationFilter{}, store.Page{Limit: store.MaxPage})
		out = nil
		for i := len(all) - 1; i >= 0; i-- {
			n := all[i]
			text := fmt.Sprintf("%s by %s: %s", n.Kind, n.Channel, n.State)
			if n.SentAt != nil {
				text += " after " + n.SentAt.Sub(start).Round(time.Second).String()
			}
			if n.State.Waiting() {
				text += " due after " + n.DueAt.Sub(start).Round(time.Second).String()
			}
			if n.Reason != "" {
				text += ", " + n.Reason
			}
			if n.Reminders > 0 {
				text += fmt.Sprintf(", %d reminders", n.Reminders)
			}
			out = append(out, text)
		}
		return err
	})
	return out
}

func (o *office) want(want ...string) {
	o.t.Helper()
	if d := cmp.Diff(want, o.list()); d != "" {
		o.t.Errorf("notifications (-want +got):\n%s", d)
	}
}

func byMail(kinds ...domain.NotifyKind) []domain.NotifyRule {
	return []domain.NotifyRule{{Kinds: kinds, Channels: []domain.NotifyChannel{domain.ChannelEmail}}}
}

var conflictKinds = []domain.NotifyKind{domain.NotifyConflictOpened, domain.NotifyConflictReminder, domain.NotifyConflictEscalated, domain.NotifyConflictResolved}

// The stage starts on 1 May 2027 at 9:00 UTC, which is 10:00 in London.
func TestMailWaitsForTheEndOfQuietHoursAndRemindersJoinIt(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(conflictKinds...), Quiet: &domain.QuietHours{From: 9 * 60, To: 18 * 60}})
	id := o.clash(start.AddDate(0, 2, 0))
	o.at(time.Hour, func() { o.want("conflict_opened by email: held due after 8h0m0s, quiet hours") })
	for n := 1; n <= 3; n++ {
		o.at(time.Duration(n)*2*time.Hour, func() { o.remind(id, n); o.wake() })
	}
	o.run()
	o.ended(nil)
	o.want("conflict_opened by email: sent after 8h0m0s, 3 reminders",
		"conflict_reminder by email: suppressed, joined the one that still waited",
		"conflict_reminder by email: suppressed, joined the one that still waited",
		"conflict_reminder by email: suppressed, joined the one that still waited")
	if all := o.mail.Mails(); len(all) != 1 || all[0].To != "ann@example.com" || !bytes.Contains(all[0].Data, []byte("obsidian-pelican")) {
		t.Errorf("%d mails", len(all))
	}
}

func TestAWeddingTomorrowDisturbsAtAnyHour(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(conflictKinds...), Quiet: &domain.QuietHours{From: 0, To: 23*60 + 59}})
	o.clash(start.AddDate(0, 0, 1))
	o.run()
	o.ended(nil)
	o.want("conflict_opened by email: sent after 0s")
	if m, err := mail.ReadMessage(bytes.NewReader(o.mail.Mails()[0].Data)); err != nil || !strings.HasPrefix(m.Header.Get("Subject"), "Wedding day: ") {
		t.Errorf("%v %v", m.Header, err)
	}
}

func TestAMailServerThatFailsIsTriedAgainUnderOneMessageID(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(conflictKinds...)})
	o.clash(start.AddDate(0, 2, 0))
	o.mail.Fail(smtpsim.Greylist, smtpsim.Busy, smtpsim.LostAnswer)
	o.run()
	o.ended(nil)
	// 30 s, 2 min and 10 min after the failures.
	list := o.list()
	if len(list) != 1 || !strings.HasPrefix(list[0], "conflict_opened by email: sent after 12m3") {
		t.Errorf("%v", list)
	}
	// The server took two: one whose answer was lost, and the next. They are known to be one.
	all := o.mail.Mails()
	if len(all) != 2 || !bytes.Equal(all[0].Data, all[1].Data) {
		t.Fatalf("%d mails", len(all))
	}
	m, err := mail.ReadMessage(bytes.NewReader(all[0].Data))
	if err != nil || !strings.HasPrefix(m.Header.Get("Message-Id"), "<ntf-") {
		t.Errorf("Message-ID %q: %v", m.Header.Get("Message-Id"), err)
	}
}

func TestAMailboxThatIsNotThereIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(conflictKinds...)})
	o.clash(start.AddDate(0, 2, 0))
	o.mail.Fail(smtpsim.NoMailbox)
	o.run()
	o.ended(nil)
	o.want("conflict_opened by email: failed, name the recipient: the mail server answered 550")
}

func TestAServerThatStaysDownIsGivenUpAfterTwoDays(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(conflictKinds...)})
	o.clash(start.AddDate(0, 2, 0))
	for range 100 {
		o.mail.Fail(smtpsim.Busy)
	}
	o.run()
	o.ended(nil)
	o.want("conflict_opened by email: failed, given up after two days: read the mail server's greeting: the mail server answered 421")
	if n := o.mail.Connections(); n < 45 || n > 60 {
		t.Errorf("%d tries in two days", n)
	}
}

func TestSlackIsObeyedAndARepeatCarriesTheSameReference(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: []domain.NotifyRule{{Kinds: conflictKinds, Channels: []domain.NotifyChannel{domain.ChannelSlack}}}})
	o.clash(start.AddDate(0, 2, 0))
	o.slack.Fail(slacksim.Limited, slacksim.Down, slacksim.Cut, slacksim.LostAnswer)
	o.run()
	o.ended(nil)
	all := o.slack.Messages()
	if len(all) != 2 || !bytes.Equal(all[0].Raw, all[1].Raw) || !bytes.Contains(all[0].Raw, []byte("reference ntf-")) || o.slack.Asked() != 5 {
		t.Fatalf("%d messages of %d requests: %+v", len(all), o.slack.Asked(), all)
	}
	if text := string(all[0].Raw); strings.Contains(text, "obsidian") || !strings.Contains(text, "Quillfeather") {
		t.Errorf("Slack is told %s", text)
	}
	if list := o.list(); len(list) != 1 || !strings.Contains(list[0], ": sent after ") {
		t.Errorf("%v", list)
	}
}

func TestWhatIsSettledBeforeItIsSentIsNotSent(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(conflictKinds...), Quiet: &domain.QuietHours{From: 9 * 60, To: 18 * 60}})
	id := o.clash(start.AddDate(0, 2, 0))
	o.at(time.Hour, func() { o.cancel(id); o.wake() })
	o.run()
	o.ended(nil)
	o.want("conflict_opened by email: suppressed, the conflict was cleared before this was sent")
	if n := len(o.mail.Mails()); n != 0 {
		t.Errorf("%d mails", n)
	}
}

// cancel ends a conflict by cancelling the booking that gives way.
func (o *office) cancel(id domain.ConflictID) {
	o.t.Helper()
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.Conflict(ctx, id)
		if err != nil {
			return err
		}
		b, err := tx.Booking(ctx, c.BookingID)
		if err != nil {
			return err
		}
		b.Status = domain.StatusCancelled
		_, err = apply.Manual(ctx, tx, b, "admin-1", "test")
		return err
	})
}

func TestWhoWasToldOfAConflictIsToldOfItsEnd(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(conflictKinds...)})
	id := o.clash(start.AddDate(0, 2, 0))
	o.run()
	o.ended(nil)
	o.want("conflict_opened by email: sent after 0s")
	again := &office{stage: newStage(t, "notify/again"), db: o.db, org: o.org, mail: o.mail}
	again.RegisterActivity(o.steps())
	o.cancel(id)
	again.run()
	again.ended(nil)
	list := o.list()
	slices.Sort(list) // both have ids of one moment
	if len(list) != 2 || !strings.HasPrefix(list[1], "conflict_resolved by email: sent") || len(o.mail.Mails()) != 2 {
		t.Errorf("%v, %d mails", list, len(o.mail.Mails()))
	}
}

func (o *office) steps() *activities.Notifications {
	m, err := mailer.New(mailer.Options{Addr: o.mail.Addr(), From: "WedSync <notify@studio.example>", Username: "u", Password: "p", Allow: httpx.AllowPrivate, RootCAs: o.mail.RootCAs()})
	o.fatal(err)
	return &activities.Notifications{Store: o.db, Senders: notify.Senders{Mail: m}}
}

func TestADigestIsOneMailAtItsTime(t *testing.T) {
	t.Parallel()
	rules := byMail(conflictKinds...)
	rules[0].Digest = true
	o := newOffice(t, domain.NotifyPreferences{Rules: rules, DigestAt: 8 * 60})
	for n := range 3 {
		o.clash(start.AddDate(0, 2, 7*n))
	}
	o.mail.Fail(smtpsim.Greylist)
	o.run()
	o.ended(nil)
	all := o.mail.Mails()
	if len(all) != 1 || !bytes.Contains(all[0].Data, []byte("Subject: 3 things to know")) {
		t.Fatalf("%d mails", len(all))
	}
	for _, line := range o.list() {
		// 8:00 in London is 7:00 UTC, 22 hours after the start; the first try was greylisted.
		if !strings.HasPrefix(line, "conflict_opened by email: sent after 22h0m3") {
			t.Error(line)
		}
	}
}

func TestAHoldIsToldOfAnHourBeforeItEndsUnlessItIsConfirmed(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{Rules: byMail(domain.NotifyHoldExpiring)})
	hold := func(day int, life time.Duration) (id domain.BookingID) {
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			id = domain.NewID[domain.BookingID](tx.Now)
			at := start.AddDate(0, 2, day)
			if _, err := apply.Manual(ctx, tx, domain.Booking{ID: id, OrgID: o.org, ResourceID: o.desk.ID, Category: domain.CategoryWedding, Status: domain.StatusTentative,
				When: domain.When{Span: domain.Span{Start: at, End: at.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}}, "admin-1", "test"); err != nil {
				return err
			}
			return tx.CreateHold(ctx, domain.Hold{ID: id, State: domain.HoldLive, ExpiresAt: tx.Now.Add(life), MadeBy: "admin-1"}, []byte("{}"))
		})
		return id
	}
	hold(1, 24*time.Hour)
	confirmed := hold(2, 12*time.Hour)
	hold(3, 15*time.Minute)
	o.at(time.Hour, func() {
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			h, err := tx.LockHold(ctx, confirmed)
			if err != nil {
				return err
			}
			h.State, h.EndedAt = domain.HoldConfirmed, &tx.Now
			_, err = tx.SaveHold(ctx, h)
			return err
		})
		o.wake()
	})
	o.run()
	o.ended(nil)
	list := o.list()
	slices.Sort(list)
	if d := cmp.Diff([]string{"hold_expiring by email: sent after 23h0m0s", "hold_expiring by email: suppressed, the hold changed before this was sent"}, list); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
