package app_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers"
	"github.com/wedsync/wedsync/internal/rules/health"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/workflows"
)

// weddingDay is one wedding of a photographer with two systems. Its clock is that of a workflow that skips time, and everything
// else goes by it: the store, the simulators and the probes. Storage, providers, workflow and steps are the real ones; only
// Temporal is its own test environment, because the real one cannot skip twelve days, and webhooks are handed in behind their
// signature, which other stories check.
type weddingDay struct {
	*testsuite.TestWorkflowEnvironment
	t      *testing.T
	db     *store.Store
	opener *connect.Opener
	prober *monitor.Prober
	began  time.Time
	zone   *time.Location

	org        domain.OrgID
	person     domain.ResourceID
	crm, diary domain.Integration
	atCRM      *crmsim.CRM
	atDiary    *crmsim.CRM
	tracks     map[domain.IntegrationID]health.Track
	wedding    domain.BookingID
}

func (d *weddingDay) clock() time.Time {
	if now := d.Now(); now.After(d.began) {
		return now.UTC()
	}
	return d.began
}

func (d *weddingDay) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *weddingDay) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	d.t.Helper()
	d.must(d.db.Tenant(d.t.Context(), d.org, fn))
}

// local is a time of June 2027 on the clock of the wedding's place.
func (d *weddingDay) local(day, hour, minute int) time.Time {
	return time.Date(2027, time.June, day, hour, minute, 0, 0, d.zone)
}

// at does something at a time, and lets the wedding look, as the outbox does.
func (d *weddingDay) at(when time.Time, fn func()) {
	d.RegisterDelayedCallback(func() {
		fn()
		d.SignalWorkflow(contract.SignalWedding, nil)
	}, when.Sub(d.began))
}

// stepOf runs an activity.
func stepOf[R, I any](d *weddingDay, fn func(context.Context, I) (R, error), in I) (out R) {
	d.t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(temporallog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(fn)
	value, err := env.ExecuteActivity(fn, in)
	d.must(err)
	d.must(value.Get(&out))
	return out
}

const diarySecret = "whsec_" + "ZGVtby1zZWNyZXQtb2YtdGhlLXNpbXVsYXRlZC1jcm0hIQ=="

func (d *weddingDay) connect(name string) (domain.Integration, *crmsim.CRM) {
	d.t.Helper()
	system := crmsim.New(crmsim.Options{APIKey: "key", WebhookSecret: diarySecret, Now: d.clock})
	d.t.Cleanup(system.Close)
	srv := httptest.NewServer(system)
	d.t.Cleanup(srv.Close)
	i := domain.Integration{ID: domain.NewID[domain.IntegrationID](d.clock()), Name: name, Provider: "custom", Direction: domain.DirectionBidirectional,
		ResourceID: d.person, Settings: crmsim.Settings(srv.URL), State: domain.IntegrationActive}
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateIntegration(ctx, i, map[string]string{"api_key": "key", "webhook_secret": diarySecret}); err != nil {
			return err
		}
		stored, err := tx.Integration(ctx, i.ID)
		i = stored
		return err
	})
	return i, system
}

// hear hands in what a system wants to tell, each message as often as it sends it, and applies what is new.
func (d *weddingDay) hear(times int) (stored, repeated int) {
	d.t.Helper()
	for _, m := range d.atCRM.TakeMessages() {
		signed, err := d.atCRM.Headers(m, d.clock())
		d.must(err)
		headers := map[string]string{}
		for name := range signed {
			headers[strings.ToLower(name)] = signed.Get(name)
		}
		for range times {
			id := domain.NewID[domain.DeliveryID](d.clock())
			out, err := d.db.InsertDeliveries(d.t.Context(), []store.NewDelivery{{ID: id, OrgID: d.org, IntegrationID: d.crm.ID, Dedupe: sha256.Sum256([]byte(m.ID)), Size: len(m.Body),
				ReceivedAt: d.clock(), Content: d.db.SealDelivery(d.org, id, headers, m.Body)}})
			d.must(err)
			if out[0].Duplicate {
				repeated++
			} else {
				stored++
			}
		}
	}
	for {
		got := stepOf(d, (&activities.Deliveries{Store: d.db, Opener: d.opener}).ApplyDeliveries, activities.ApplyDeliveriesInput{Org: d.org, Integration: d.crm.ID})
		if !got.More {
			return stored, repeated
		}
	}
}

// write brings the copies in both systems up to date, as far as they can be reached.
func (d *weddingDay) write() {
	d.t.Helper()
	for _, i := range []domain.Integration{d.crm, d.diary} {
		for stepOf(d, (&activities.Pushes{Store: d.db, Opener: d.opener}).PushBookings, activities.PushBookingsInput{Org: d.org, Integration: i.ID}).More {
		}
	}
}

// probe asks the systems that may be asked, moves their health as the rules say, and has alerts looked at.
func (d *weddingDay) probe() {
	d.t.Helper()
	for _, i := range []domain.Integration{d.crm, d.diary} {
		target, err := d.db.ProbeTarget(d.t.Context(), d.org, i.ID)
		d.must(err)
		if target.Wish == domain.IntegrationActive {
			asked := d.prober.Once(d.t.Context(), target)
			asked.Result.At, asked.Result.Lag = d.clock(), 0
			d.tracks[i.ID] = d.tracks[i.ID].Note(asked.Result)
		}
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			now, err := tx.Integration(ctx, i.ID)
			if err != nil {
				return err
			}
			h, err := tx.Health(ctx, i.ID)
			if err != nil {
				return err
			}
			v := health.Decide(tx.Now, target.State, health.Evidence{Wish: now.State, WishReason: now.StateReason, Probed: true, Every: 10 * time.Second, Track: d.tracks[i.ID], Since: d.began})
			if v.State == h.State && v.State == target.State {
				return nil
			}
			_, _, err = tx.MoveHealth(ctx, store.HealthMove{Integration: i.ID, To: v.State, Reason: v.Reason})
			return err
		})
	}
	stepOf(d, (&activities.Alerts{Store: d.db}).EvaluateAlerts, activities.EvaluateAlertsInput{Org: d.org})
}

// probing asks every ten seconds, as on a wedding day, so many times.
func (d *weddingDay) probing(from time.Time, times int) {
	for n := range times {
		d.at(from.Add(time.Duration(n)*10*time.Second), d.probe)
	}
}

func (d *weddingDay) state(i domain.Integration) (wish domain.IntegrationState, does domain.HealthState) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Integration(ctx, i.ID)
		if err != nil {
			return err
		}
		h, err := tx.Health(ctx, i.ID)
		wish, does = now.State, h.State
		return err
	})
	return wish, does
}

func (d *weddingDay) booking(id domain.BookingID) (b domain.Booking) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		b, err = tx.Booking(ctx, id)
		return err
	})
	return b
}

// bookingOf is that of an entry of the CRM.
func (d *weddingDay) bookingOf(entry string) (b domain.Booking) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		links, err := tx.LinksFor(ctx, store.LinkKeys{Integration: d.crm.ID, ExternalIDs: []string{entry}})
		if err != nil {
			return err
		}
		if len(links) == 0 {
			return domain.E(domain.KindNotFound, "entry %s has no booking", entry)
		}
		b, err = tx.Booking(ctx, links[0].BookingID)
		return err
	})
	return b
}

// planner changes a booking by hand.
func (d *weddingDay) planner(b domain.Booking, why string) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Manual(ctx, tx, b, "planner", why)
		return err
	})
}

func (d *weddingDay) event(kind, title string, day, from, to int) crmsim.Event {
	return d.atCRM.Create(crmsim.Event{Kind: kind, State: "booked", Starts: d.local(day, from, 0).Format(time.RFC3339), Ends: d.local(day, to, 0).Format(time.RFC3339),
		Zone: "Europe/London", Title: title, Client: "Marker & Marker"})
}

// insist asks for a risky act as an admin does by the API, with a reason or without.
func (d *weddingDay) insist(reason string) (err error) {
	return d.db.Tenant(d.t.Context(), d.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := freeze.Person(ctx, tx, freeze.ActSettings, "body.settings", "integration/"+string(d.crm.ID), freeze.Override{By: "ann", Admin: true, Reason: reason})
		return err
	})
}

func newWeddingDay(t *testing.T) *weddingDay {
	t.Helper()
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(temporallog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	d := &weddingDay{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t, zone: zone, began: time.Date(2027, 6, 1, 8, 0, 0, 0, time.UTC), tracks: map[domain.IntegrationID]health.Track{}}
	d.SetStartTime(d.began)
	d.SetTestTimeout(5 * time.Minute)
	d.db = storetest.New(t, store.Options{MaxConns: 8, SystemMaxConns: 2, Now: d.clock})
	outward, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	d.must(err)
	t.Cleanup(outward.Close)
	d.opener = connect.New(func(name string) (provider.Registration, bool) {
		r, err := providers.Get(name)
		return r, err == nil
	}, outward, d.clock, 0)
	d.prober = activities.NewProber(d.db, d.opener, slog.New(slog.DiscardHandler), monitor.Options{Confirm: time.Millisecond})
	d.RegisterActivity(&activities.Weddings{Store: d.db, Prober: d.prober, FailOver: func(context.Context, domain.OrgID, domain.IntegrationID, string) error { return nil }})

	d.org = domain.NewID[domain.OrgID](d.began)
	d.must(d.db.CreateOrganization(t.Context(), domain.Organization{ID: d.org, Name: "Studio", Zone: "Europe/London"}, "admin"))
	d.person = domain.NewID[domain.ResourceID](d.began)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateRecipient(ctx, domain.Recipient{ID: domain.NewID[domain.RecipientID](tx.Now), Name: "Marker the planner", Zone: "Europe/London", CreatedBy: "admin",
			Addresses: domain.NotifyAddresses{Email: "planner@example.com"}}, diarySecret); err != nil {
			return err
		}
		return tx.CreateResource(ctx, domain.Resource{ID: d.person, Name: "Marker the photographer", Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1, OneWeddingADay: true})
	})
	d.crm, d.atCRM = d.connect("Studio CRM")
	d.diary, d.atDiary = d.connect("Venue diary")
	return d
}

// TestASaturdayWithThreeFailuresEndsInAReportThatAPlannerCanRead tells a whole wedding from twelve days before to the morning
// after, on a clock that skips time: everything is checked twice, the freeze holds back what is risky, and on the day the vendor's
// CRM goes down, a token is revoked, and a storm of webhooks brings a double booking. Nobody sleeps in this test.
func TestASaturdayWithThreeFailuresEndsInAReportThatAPlannerCanRead(t *testing.T) {
	t.Parallel()
	d := newWeddingDay(t)
	entry := d.event("wedding", "Marker wedding at the mill", 12, 14, 22)
	meeting := d.event("meeting", "Marker albums", 26, 10, 11)
	florist := d.event("vendor", "Marker flowers", 25, 9, 10)
	d.hear(1)
	d.write()
	d.probe()
	d.wedding = d.bookingOf(entry.ID).ID
	d.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: contract.WeddingWorkflowID(d.wedding), TaskQueue: contract.QueueCore})

	// Friday: what is risky waits.
	d.at(d.local(11, 10, 0), func() {
		d.atCRM.Delete(meeting.ID)
		d.hear(1)
		if b := d.bookingOf(meeting.ID); b.Status != domain.StatusConfirmed {
			t.Errorf("a removal was carried out in the freeze: the meeting is %s", b.Status)
		}
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			open, _, err := tx.Quarantines(ctx, store.QuarantineFilter{State: domain.QuarantineOpen}, store.Page{})
			if err == nil && (len(open) != 1 || open[0].Held != 1) {
				t.Errorf("held: %+v", open)
			}
			return err
		})
		var refused *freeze.Refusal
		if err := d.insist(""); !errors.As(err, &refused) || !refused.Thaw.Equal(d.local(13, 4, 0)) {
			t.Errorf("another mapping: %v", err)
		}
		if err := d.insist("the vendor renamed a field"); err != nil {
			t.Errorf("another mapping with an admin's reason: %v", err)
		}
		days, err := freeze.Platform(context.Background(), d.db, freeze.DeployWithin)
		if err != nil || days.Any() {
			t.Errorf("a deployment on Friday morning: %s, %v", days, err)
		}
	})

	// 07:30, the first failure: the CRM is down for fifty minutes.
	d.at(d.local(12, 7, 30), func() { d.atCRM.Break(crmsim.FaultServerError, -1) })
	d.probing(d.local(12, 7, 30).Add(time.Second), 4)
	d.at(d.local(12, 7, 33), func() {
		if _, does := d.state(d.crm); does != domain.HealthDown {
			t.Errorf("after three probes the CRM is %s", does)
		}
		days, err := freeze.Platform(context.Background(), d.db, freeze.DeployWithin)
		if err != nil || len(days.Freezes) != 1 {
			t.Errorf("a deployment on the day: %s, %v", days, err)
		}
	})
	d.at(d.local(12, 8, 20), d.atCRM.Heal)
	d.probing(d.local(12, 8, 20).Add(time.Second), 3)

	// 09:30, the second one: the CRM has much to tell, each of it twice, and a double booking is among it.
	var late crmsim.Event
	d.at(d.local(12, 9, 30), func() {
		for n := range 40 {
			d.atCRM.Update(florist.ID, func(e *crmsim.Event) { e.Notes = strings.Repeat("white roses ", n) })
		}
		late = d.event("engagement", "Marker in the park", 12, 16, 18)
		if stored, repeated := d.hear(2); stored != 41 || repeated != 41 {
			t.Errorf("of the storm %d were stored and %d known again, want 41 each", stored, repeated)
		}
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			open, _, err := tx.Conflicts(ctx, store.ConflictFilter{State: domain.ConflictOpen}, store.Page{})
			if err == nil && (len(open) != 1 || open[0].Severity != domain.SeverityCritical) {
				t.Errorf("conflicts: %+v", open)
			}
			return err
		})
	})
	d.at(d.local(12, 10, 15), func() {
		b := d.bookingOf(late.ID)
		b.Status = domain.StatusCancelled
		d.planner(b, "the couple of the park agreed to another day")
		d.write()
		if e, there := d.atCRM.Get(late.ID); there && e.State != "cancelled" && !e.Deleted {
			t.Errorf("a person's decision did not reach the CRM: %+v", e)
		}
	})

	// 12:00, the third one: the diary does not accept our key any more, as the planner makes the party longer.
	d.at(d.local(12, 12, 0), func() {
		d.atDiary.Break(crmsim.FaultUnauthorized, -1)
		b := d.booking(d.wedding)
		b.When.End = d.local(12, 22, 30).UTC()
		d.planner(b, "they dance longer")
		d.write()
		if wish, _ := d.state(d.diary); wish != domain.IntegrationNeedsReconnect {
			t.Errorf("the diary is %s", wish)
		}
	})
	d.probing(d.local(12, 12, 0).Add(time.Second), 2)
	d.at(d.local(12, 13, 0), func() {
		d.atDiary.Heal()
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SetIntegrationState(ctx, d.diary.ID, domain.IntegrationActive, "connected again by ann")
			return err
		})
		d.write()
	})
	d.probing(d.local(12, 13, 0).Add(time.Second), 3)

	d.ExecuteWorkflow(workflows.Wedding, contract.WeddingInput{OrgID: d.org, BookingID: d.wedding})
	d.must(d.GetWorkflowError())
	var out contract.WeddingStatus
	d.must(d.GetWorkflowResult(&out))
	// Half an hour more of dancing moved the end of everything.
	if out.State != domain.CareHandedOver || !out.DayUntil.Equal(d.local(13, 4, 30)) || d.clock().Before(out.DayUntil) {
		t.Errorf("it ended as %+v at %s", out, d.clock())
	}
	d.read(late)

	// Behind the freeze a removal is carried out as on any day, and the held one still waits for its person.
	d.atCRM.Delete(florist.ID)
	d.hear(1)
	if b := d.bookingOf(florist.ID); b.Status != domain.StatusCancelled {
		t.Errorf("after the freeze the flowers are %s", b.Status)
	}
	var held []domain.Quarantine
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		held, _, err = tx.Quarantines(ctx, store.QuarantineFilter{State: domain.QuarantineOpen}, store.Page{})
		return err
	})
	if len(held) != 1 {
		t.Fatalf("held: %+v", held)
	}
	if _, err := (&guard.Guard{Store: d.db, Opener: d.opener}).Approve(t.Context(), d.org, held[0].ID, "ann", "the albums are off", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if b := d.bookingOf(meeting.ID); b.Status != domain.StatusCancelled {
		t.Errorf("the approved removal leaves the meeting %s", b.Status)
	}
}

// read checks the report as a planner reads it.
func (d *weddingDay) read(late crmsim.Event) {
	d.t.Helper()
	var h domain.HandOver
	var kinds []domain.PreflightKind
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		preflights, _, err := tx.Preflights(ctx, d.wedding, store.Page{})
		if err != nil {
			return err
		}
		kinds = nil
		for _, p := range preflights {
			kinds = append(kinds, p.Kind)
		}
		h, err = tx.HandOver(ctx, d.wedding)
		return err
	})
	if !slices.Contains(kinds, domain.PreflightWeek) || !slices.Contains(kinds, domain.PreflightFreeze) {
		d.t.Errorf("it was checked only %v", kinds)
	}
	text := weddingcare.HandOverText(h)
	d.t.Log(text)
	over := map[string]time.Duration{}
	clash := 0
	for _, f := range h.Failures {
		if f.OverAt == nil {
			d.t.Errorf("%s goes on: %s", f.Subject, f.What)
			continue
		}
		over[f.Subject] = max(over[f.Subject], f.OverAt.Sub(f.NoticedAt))
		if strings.HasPrefix(f.Subject, "conflict/") {
			clash++
		}
	}
	for subject, least := range map[string]time.Duration{"integration/" + string(d.crm.ID): 45 * time.Minute, "integration/" + string(d.diary.ID): 55 * time.Minute} {
		if lasted := over[subject]; lasted < least || lasted > 65*time.Minute {
			d.t.Errorf("%s lasted %s by the report", subject, lasted)
		}
	}
	if clash != 1 || h.Quiet || len(h.Open) != 0 {
		d.t.Errorf("%d clashes, quiet %t, left: %+v", clash, h.Quiet, h.Open)
	}
	for _, want := range []string{"Studio CRM", "Venue diary", "Sat 12 Jun 2027", "Europe/London", "nothing is left to do", "people were told"} {
		if !strings.Contains(text, want) {
			d.t.Errorf("the report does not say %q", want)
		}
	}
	if strings.Contains(text, "Marker") || strings.Contains(text, late.Title) {
		d.t.Error("the report names people")
	}
}
