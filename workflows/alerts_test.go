package workflows_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/alerting"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/pagerdutysim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/workflows"
)

// looks stands in for the step that looks at connections.
type looks struct {
	mu     sync.Mutex
	at     []time.Duration // since the start
	clock  func() time.Time
	answer func(n int) (activities.EvaluateAlertsResult, error)
}

func (l *looks) EvaluateAlerts(context.Context, activities.EvaluateAlertsInput) (activities.EvaluateAlertsResult, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = append(l.at, l.clock().Sub(start))
	return l.answer(len(l.at))
}

func alertStage(t *testing.T, answer func(n int) (activities.EvaluateAlertsResult, error)) (*stage, *looks) {
	t.Helper()
	s := newStage(t, contract.AlertsWorkflowID(org))
	l := &looks{clock: s.Now, answer: answer}
	s.RegisterActivity(l)
	return s, l
}

func (s *stage) watch() { s.ExecuteWorkflow(workflows.Alerts, contract.AlertsInput{OrgID: org}) }

// watched answers n looks as one does that has connections, and then as one that has none.
func watched(n int) func(int) (activities.EvaluateAlertsResult, error) {
	return func(i int) (activities.EvaluateAlertsResult, error) {
		if i > n {
			return activities.EvaluateAlertsResult{}, nil
		}
		return activities.EvaluateAlertsResult{Watched: 3}, nil
	}
}

func (l *looks) want(t *testing.T, want ...time.Duration) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.at {
		l.at[i] = l.at[i].Round(time.Second)
	}
	if d := cmp.Diff(want, l.at); d != "" {
		t.Errorf("looks (-want +got):\n%s", d)
	}
}

func TestAlertsAreLookedForEveryMinuteWhileAnythingIsKnown(t *testing.T) {
	t.Parallel()
	s, l := alertStage(t, watched(3))
	s.watch()
	s.ended(nil)
	l.want(t, 0, time.Minute, 2*time.Minute, 3*time.Minute)
}

func TestAChangeOfHealthIsLookedAtWithinSeconds(t *testing.T) {
	t.Parallel()
	s, l := alertStage(t, watched(4))
	for n := range 50 { // a platform fails
		s.at(30*time.Second+time.Duration(n)*100*time.Millisecond, func() { s.SignalWorkflow(contract.SignalWake, contract.WakeSignal{}) })
	}
	s.watch()
	s.ended(nil)
	l.want(t, 0, 30*time.Second, 35*time.Second, 95*time.Second, 155*time.Second)
}

func TestWhatIsDueBeforeTheMinuteIsLookedAtThen(t *testing.T) {
	t.Parallel()
	s, l := alertStage(t, func(n int) (activities.EvaluateAlertsResult, error) {
		switch n {
		case 1:
			return activities.EvaluateAlertsResult{Open: 1, Next: start.Add(20 * time.Second)}, nil
		case 2: // a clock that is ahead of the workflow's must not make it spin
			return activities.EvaluateAlertsResult{Open: 1, Next: start}, nil
		case 3:
			return activities.EvaluateAlertsResult{Open: 1, More: true}, nil
		}
		return activities.EvaluateAlertsResult{}, nil
	})
	s.watch()
	s.ended(nil)
	l.want(t, 0, 20*time.Second, 21*time.Second, 21*time.Second)
}

func TestAFailedLookIsTriedAgainAndChangesMeanwhileAreNotLost(t *testing.T) {
	t.Parallel()
	s, l := alertStage(t, func(n int) (activities.EvaluateAlertsResult, error) {
		if n <= 6 { // twice three quick tries
			return activities.EvaluateAlertsResult{}, errDown
		}
		return activities.EvaluateAlertsResult{Told: 1}, nil
	})
	s.watch()
	s.ended(nil)
	if len(l.at) != 7 {
		t.Errorf("%d looks, want 7", len(l.at))
	}
	if got := ask[contract.AlertsStatus](s, contract.QueryStatus); got.Counts.Looks != 3 || got.Counts.Told != 1 || got.Failures != 0 {
		t.Errorf("%+v", got)
	}
}

func TestAlertsGoOnInANewRun(t *testing.T) {
	t.Parallel()
	s, _ := alertStage(t, watched(100))
	s.SetContinueAsNewSuggested(true)
	s.watch()
	in := carried[contract.AlertsInput](s)
	if in.Carried == nil || in.Carried.Runs != 1 || !in.Carried.LookAt.Equal(start.Add(time.Minute)) || in.Carried.Counts.Looks != 1 {
		t.Fatalf("%+v", in.Carried)
	}
	again, l := alertStage(t, watched(0))
	again.ExecuteWorkflow(workflows.Alerts, in)
	again.ended(nil)
	l.want(t, time.Minute)
}

const pagerKey = "0123456789abcdef0123456789abcdef"

// connected makes a connection of the office's desk whose health is up.
func (o *office) connected() domain.IntegrationID {
	o.t.Helper()
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](start), Name: "Desk calendar", Provider: "caldav", Direction: domain.DirectionImport, ResourceID: o.desk.ID, Settings: []byte(`{}`)}
	o.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.CreateIntegration(ctx, i, nil) })
	o.moved(i.ID, domain.HealthUp)
	return i.ID
}

func (o *office) moved(id domain.IntegrationID, to domain.HealthState) {
	o.t.Helper()
	code := domain.HealthAnswers
	if to == domain.HealthDown {
		code = domain.HealthNoAnswer
	}
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.MoveHealth(ctx, store.HealthMove{Integration: id, To: to, Reason: domain.HealthReason{Code: code, Text: "because of " + string(code)}})
		return err
	})
}

func (o *office) alert() (a domain.Alert) {
	o.t.Helper()
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		all, _, err := tx.Alerts(ctx, store.AlertFilter{}, store.Page{})
		if len(all) > 0 {
			a = all[0]
		}
		return err
	})
	return a
}

// TestAnOutageIsToldEscalatedAcknowledgedAndEnded runs an hour of an outage on storage, with the clock of the workflow.
func TestAnOutageIsToldEscalatedAcknowledgedAndEnded(t *testing.T) {
	t.Parallel()
	o := newOffice(t, domain.NotifyPreferences{})
	o.RegisterActivity(&activities.Alerts{Store: o.db})
	id := o.connected()
	after := func(t *time.Time) time.Duration {
		if t == nil {
			return -1
		}
		return t.Sub(start).Round(time.Second)
	}
	o.at(90*time.Second, func() {
		o.moved(id, domain.HealthDown)
		o.wake()
	})
	o.at(92*time.Second, func() {
		if a := o.alert(); after(a.ToldAt) != 90*time.Second || a.Severity != domain.SeverityHigh || after(a.EscalateAt) != 16*time.Minute+30*time.Second {
			t.Errorf("opened: %+v", a)
		}
	})
	o.at(17*time.Minute, func() {
		if a := o.alert(); a.Level != 1 || after(a.EscalateAt) != 61*time.Minute+30*time.Second {
			t.Errorf("escalated: %+v", a)
		}
	})
	o.at(62*time.Minute, func() {
		a := o.alert()
		if a.Level != 2 || a.EscalateAt != nil || after(a.RemindAt) != 121*time.Minute+30*time.Second {
			t.Errorf("escalated twice: %+v", a)
		}
	})
	o.at(122*time.Minute, func() {
		if a := o.alert(); a.Reminders != 1 {
			t.Errorf("reminded: %+v", a)
		}
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.AcknowledgeAlert(ctx, o.alert().ID, "ann")
			return err
		})
	})
	o.at(5*time.Hour, func() {
		if a := o.alert(); a.Reminders != 1 || a.State != domain.AlertAcknowledged {
			t.Errorf("acknowledged: %+v", a)
		}
		o.moved(id, domain.HealthUp)
		o.wake()
	})
	o.at(5*time.Hour+6*time.Minute, func() {
		if a := o.alert(); a.State != domain.AlertResolved || after(a.ResolvedAt) != 5*time.Hour+5*time.Minute {
			t.Errorf("ended: %+v", a)
		}
		o.CancelWorkflow()
	})
	o.ExecuteWorkflow(workflows.Alerts, contract.AlertsInput{OrgID: o.org})
	if !o.IsWorkflowCompleted() {
		t.Fatal("the workflow did not end")
	}
}

// pages gives the person a service of PagerDuty.
func (o *office) pages() {
	o.t.Helper()
	o.tenant(func(ctx context.Context, tx *store.Tx) error {
		who, err := tx.Recipient(ctx, o.ann.ID)
		if err != nil {
			return err
		}
		who.Addresses.PagerDuty = pagerKey
		return tx.UpdateRecipient(ctx, who, "", who.Version)
	})
}

// TestPagerDutyFollowsAnAlertThroughFaults tells a person by PagerDuty, which fails at first, and by mail.
func TestPagerDutyFollowsAnAlertThroughFaults(t *testing.T) {
	t.Parallel()
	kinds := append([]domain.NotifyKind{domain.NotifyAlertOpened, domain.NotifyAlertWorse, domain.NotifyAlertReminder, domain.NotifyAlertEscalated,
		domain.NotifyAlertAcknowledged, domain.NotifyAlertResolved}, conflictKinds...)
	o := newOffice(t, domain.NotifyPreferences{Rules: []domain.NotifyRule{{Kinds: kinds, Channels: []domain.NotifyChannel{domain.ChannelPagerDuty, domain.ChannelEmail}, MinSeverity: domain.SeverityMedium}},
		Quiet: &domain.QuietHours{From: 0, To: 23*60 + 59}})
	o.pages()
	o.clash(start.AddDate(0, 2, 0)) // PagerDuty is told of alerts only
	id := o.connected()
	look := func() {
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := alerting.Evaluate(ctx, tx)
			return err
		})
		o.wake()
	}
	o.pager.Fail(pagerdutysim.Limited, pagerdutysim.Down, pagerdutysim.Cut, pagerdutysim.LostAnswer)
	o.at(time.Minute, func() {
		o.moved(id, domain.HealthDown)
		look()
	})
	o.at(2*time.Hour, func() {
		all := o.pager.Incidents()
		if len(all) != 1 || all[0].Status != "triggered" || all[0].Severity != "error" || all[0].DedupKey != "wedsync/alert/"+string(o.alert().ID) ||
			!strings.HasPrefix(all[0].Summary, "High alert: Desk calendar does not work") {
			t.Errorf("%+v", all)
		}
		o.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.AcknowledgeAlert(ctx, o.alert().ID, "ann")
			return err
		})
		o.wake()
	})
	o.at(3*time.Hour, func() {
		if all := o.pager.Incidents(); len(all) != 1 || all[0].Status != "acknowledged" {
			t.Errorf("%+v", all)
		}
		o.moved(id, domain.HealthUp)
		look()
	})
	o.at(3*time.Hour+6*time.Minute, look)
	o.run()
	o.ended(nil)
	if all := o.pager.Incidents(); len(all) != 1 || all[0].Status != "resolved" {
		t.Errorf("%+v", all)
	}
	paged, mailed := 0, 0
	for _, line := range o.list() {
		switch {
		case strings.HasPrefix(line, "alert_") && strings.Contains(line, "by pagerduty: sent"):
			paged++
		case strings.HasPrefix(line, "alert_") && strings.Contains(line, "by email"):
			mailed++
		case strings.HasPrefix(line, "conflict_") && strings.Contains(line, "by pagerduty: suppressed, PagerDuty is told of alerts only"):
		case strings.HasPrefix(line, "conflict_"):
		default:
			t.Error(line)
		}
	}
	if paged != 3 || mailed == 0 {
		t.Errorf("%d events and %d mails of the alert: %v", paged, mailed, o.list())
	}
}
