package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/sim/smtpsim"
	"github.com/wedsync/wedsync/internal/store"
)

// weddingDay is one wedding in Rome of a photographer with two systems, on the whole program.
type weddingDay struct {
	*studio
	clock   *clock
	zone    *time.Location // of the wedding's place
	day     time.Time      // local midnight
	mail    *smtpsim.Server
	systems map[string]*crmsim.CRM // by label
	hooks   map[string]string      // addresses that they post to
	wedding domain.BookingID
}

const (
	studioCRM   = "Studio CRM"
	venueDiary  = "Venue diary"
	hookSecret  = "whsec_" + "ZGVtby1zZWNyZXQtb2YtdGhlLXNpbXVsYXRlZC1jcm0hIQ=="
	plannerMail = "planner@example.com"
	onCallMail  = "on-call@example.com"
)

// local is a time so many days after the wedding's day, on the clock of its place.
func (d *weddingDay) local(days, hour, minute int) time.Time {
	return time.Date(d.day.Year(), d.day.Month(), d.day.Day()+days, hour, minute, 0, 0, d.zone)
}

func newWeddingDay(t *testing.T) *weddingDay {
	t.Helper()
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	d := &weddingDay{clock: &clock{}, zone: rome, systems: map[string]*crmsim.CRM{}, hooks: map[string]string{}}
	if d.mail, err = smtpsim.Start(smtpsim.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.mail.Close)
	ahead := d.clock.Now().In(rome).AddDate(0, 0, 9)
	d.day = time.Date(ahead.Year(), ahead.Month(), ahead.Day()+(int(time.Saturday)-int(ahead.Weekday())+7)%7, 0, 0, 0, 0, rome)

	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cfg := app.Defaults()
	cfg.LogLevel, cfg.PublicURL = "error", "http://"+addr
	cfg.SMTP = app.SMTP{Addr: d.mail.Addr(), Mode: "plain", From: "WedSync <notify@example.com>"}
	d.studio = &studio{T: t, stack: startStack(t, addr, cfg, d.clock), doors: map[string]*door{}, ids: map[string]string{}}
	d.api = apiclient.New(d.stack.Ready.HTTP, d.stack.Ready.AdminToken)
	t.Cleanup(d.api.Close)

	var resource struct {
		ID string `json:"id"`
	}
	d.call(http.MethodPost, "/v1/resources", map[string]any{"name": "The photographer", "kind": "person", "zone": "Europe/London"}, &resource)
	d.resource = resource.ID
	d.call(http.MethodPost, "/v1/recipients", map[string]any{"name": "Marker the planner", "role": "planner", "zone": "Europe/London", "addresses": map[string]string{"email": plannerMail}}, nil)
	d.call(http.MethodPost, "/v1/recipients", map[string]any{"name": "Marker on call", "role": "on call", "zone": "Europe/London", "addresses": map[string]string{"email": onCallMail}}, nil)
	d.call(http.MethodPut, "/v1/alert-policy", map[string]any{"remind_every_minutes": 60, "version": 0, "steps": []map[string]any{{"after_minutes": 15, "roles": []string{"on call"}}}}, nil)
	for _, name := range []string{studioCRM, venueDiary} {
		system := crmsim.New(crmsim.Options{APIKey: "key", WebhookSecret: hookSecret, Now: d.clock.Now})
		t.Cleanup(system.Close)
		var i struct {
			ID  string `json:"id"`
			URL string `json:"webhook_url"`
		}
		d.call(http.MethodPost, "/v1/integrations", map[string]any{"name": name, "provider": "custom", "direction": "bidirectional", "resource_id": d.resource, "poll_seconds": 3600,
			"settings": crmsim.Settings(d.serve(system)), "secrets": map[string]string{"api_key": "key", "webhook_secret": hookSecret}}, &i)
		d.ids[name], d.hooks[name], d.systems[name] = i.ID, i.URL, system
	}
	for name := range d.ids {
		d.await("the first reading of "+name, func() error {
			if i := d.integration(name); i.LastSyncAt == nil {
				return fmt.Errorf("it is %s, %s", i.State, i.StateReason)
			}
			return nil
		})
	}
	return d
}

// send posts a message of a system to its hook, signed, so many times.
func (d *weddingDay) send(name string, m crmsim.Message, times int) {
	d.Helper()
	for range times {
		if got, err := d.systems[name].Deliver(d.Context(), http.DefaultClient, d.hooks[name], m); err != nil || !got.Delivered() {
			d.Errorf("a webhook of %s: %+v %v", name, got, err)
		}
	}
}

// post has a system tell what it has to tell.
func (d *weddingDay) post(name string, times int) {
	d.Helper()
	for _, m := range d.systems[name].TakeMessages() {
		d.send(name, m, times)
	}
}

// event adds an entry to the CRM, without telling of it.
func (d *weddingDay) event(kind, title string, days, from, to int) crmsim.Event {
	return d.systems[studioCRM].Create(crmsim.Event{Kind: kind, State: "booked", Starts: d.local(days, from, 0).Format(time.RFC3339), Ends: d.local(days, to, 0).Format(time.RFC3339),
		Zone: d.zone.String(), Title: title, Client: "Marker & Marker"})
}

func (d *weddingDay) move(e crmsim.Event, days, from, to int) {
	d.Helper()
	if _, there := d.systems[studioCRM].Update(e.ID, func(e *crmsim.Event) {
		e.Starts, e.Ends = d.local(days, from, 0).Format(time.RFC3339), d.local(days, to, 0).Format(time.RFC3339)
	}); !there {
		d.Fatalf("%s is not there", e.ID)
	}
}

// is waits until an entry of the CRM is a booking as it is wanted.
func (d *weddingDay) is(what string, e crmsim.Event, status domain.BookingStatus, starts time.Time) domain.BookingID {
	d.Helper()
	var id domain.BookingID
	d.await(what, func() error {
		if id = d.known(studioCRM, e.ID); id == "" {
			return fmt.Errorf("%s is not known", e.ID)
		}
		if b := d.booking(id); b.Status != status || !b.When.Start.Equal(starts) {
			return fmt.Errorf("it is %s at %s", b.Status, b.When.Start)
		}
		return nil
	})
	return id
}

// decide changes a booking as the planner does.
func (d *weddingDay) decide(id domain.BookingID, fields map[string]any) {
	d.Helper()
	fields["version"], fields["reason"] = d.booking(id).Version, "agreed by phone"
	d.call(http.MethodPatch, "/v1/bookings/"+string(id), fields, nil)
}

// told waits until somebody got a mail with words in its subject.
func (d *weddingDay) told(to, words string) {
	d.Helper()
	d.await("a mail to "+to+" that says "+words, func() error {
		var subjects []string
		for _, m := range d.mail.Mails() {
			one, err := mail.ReadMessage(bytes.NewReader(m.Data))
			if err != nil {
				return err
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(one.Header.Get("Subject"))
			if err != nil {
				return err
			}
			if strings.Contains(m.To, to) {
				subjects = append(subjects, subject)
			}
			if strings.Contains(m.To, to) && strings.Contains(subject, words) {
				return nil
			}
		}
		return fmt.Errorf("there are %q", subjects)
	})
}

func (d *weddingDay) look() (w struct {
	domain.WeddingCare
	Newest *domain.Preflight `json:"newest_preflight"`
}) {
	d.Helper()
	d.call(http.MethodGet, "/v1/weddings/"+string(d.wedding), nil, &w)
	return w
}

// becomes waits until the care for the wedding is in a state, and a preflight of a kind was made.
func (d *weddingDay) becomes(state domain.CareState, kind domain.PreflightKind) {
	d.Helper()
	d.await("the wedding to be "+string(state), func() error {
		var w domain.WeddingCare
		var made listOf[domain.Preflight]
		if _, err := d.api.Do(d.Context(), http.MethodGet, "/v1/weddings/"+string(d.wedding), nil, &w); err != nil {
			return err // nobody looks after it yet
		}
		d.call(http.MethodGet, "/v1/weddings/"+string(d.wedding)+"/preflights?limit=50", nil, &made)
		if w.State != state || kind != "" && !slices.ContainsFunc(made.Items, func(p domain.Preflight) bool { return p.Kind == kind }) {
			return fmt.Errorf("it is %s with %d preflights", w.State, len(made.Items))
		}
		return nil
	})
}

func (d *weddingDay) health(name string) (h domain.Health) {
	d.Helper()
	if err := d.stack.Core.Store.TenantRead(d.Context(), domain.OrgID(d.stack.Ready.Org), func(ctx context.Context, tx *store.Tx) (err error) {
		h, err = tx.Health(ctx, domain.IntegrationID(d.ids[name]))
		return err
	}); err != nil {
		d.Fatal(err)
	}
	return h
}

func (d *weddingDay) does(name string, want domain.HealthState) {
	d.Helper()
	d.await(name+" to be "+string(want), func() error {
		if h := d.health(name); h.State != want {
			return fmt.Errorf("it is %s: %s", h.State, h.Reason.Text)
		}
		return nil
	})
}

// failover waits until news of the CRM come in a way.
func (d *weddingDay) failover(want domain.FailoverMode) (episodes []domain.FailoverEpisode) {
	d.Helper()
	d.await("the way of news to be "+string(want), func() error {
		var f struct {
			domain.Failover
			Episodes []domain.FailoverEpisode `json:"episodes"`
		}
		d.call(http.MethodGet, "/v1/integrations/"+d.ids[studioCRM]+"/failover", nil, &f)
		if f.Mode != want {
			return fmt.Errorf("it is %s: %s", f.Mode, f.Reason)
		}
		episodes = f.Episodes
		return nil
	})
	return episodes
}

// polled waits until the CRM was read after a time.
func (d *weddingDay) polled(after time.Time) {
	d.Helper()
	d.await("a poll of "+studioCRM, func() error {
		if i := d.integration(studioCRM); i.LastSyncAt == nil || i.LastSyncAt.Before(after) {
			return fmt.Errorf("last read %v", i.LastSyncAt)
		}
		return nil
	})
}

// shownUntil is until when the diary shows the wedding.
func (d *weddingDay) shownUntil() string {
	d.Helper()
	for _, c := range d.booking(d.wedding).Copies {
		if c.Integration == d.ids[venueDiary] && c.RemovedAt == nil {
			e, _ := d.systems[venueDiary].Get(c.External)
			if at, err := time.Parse(time.RFC3339, e.Ends); err == nil {
				return at.In(d.zone).Format("15:04")
			}
		}
	}
	return ""
}

func (d *weddingDay) ledger(e crmsim.Event, want int) {
	d.Helper()
	if got := d.explained(studioCRM, e.ID).Changes; len(got) != want {
		d.Errorf("%s changed %d times, want %d: %+v", e.ID, len(got), want, got)
	}
}

// TestASaturdayWithThreeFailuresEndsInAReportThatAPlannerCanRead tells a wedding from its booking to the morning after: an hour of
// maintenance weeks before, a preflight, a freeze, and a day on which a vendor's webhooks stop, a system goes down, and a double
// booking is made. It ends with the report, which is in the test's log.
//
// What is real: server and worker with the settings of production, the HTTP server with signed webhooks over loopback, Postgres, the
// Temporal server, the calls to two simulated systems and of their prober, and mails over SMTP. Compressed is time alone. The clock of
// the story runs as that of the machine does and is put forward between the scenes, in which nothing would happen but usual polls;
// storage, workflows, the intake and the simulators go by it. Timers of workflows are those of Temporal in pieces of a second, and no
// workflow is told that time went by. The prober goes by the machine: that a system is down, and that it is back, is found out in as
// many seconds as it takes on any Saturday.
func TestASaturdayWithThreeFailuresEndsInAReportThatAPlannerCanRead(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	d := newWeddingDay(t)
	began := time.Now()
	scene := func(name string) {
		t.Logf("%s %s: %s", time.Since(began).Round(time.Second), d.clock.Now().In(d.zone).Format("Mon 15:04:05"), name)
	}

	scene("three bookings are told by webhooks")
	wedding := d.event("wedding", "Marker wedding at the mill", 0, 14, 22)
	meeting := d.event("meeting", "Marker albums", 21, 10, 11)
	florist := d.event("vendor", "Marker flowers", 22, 9, 10)
	d.post(studioCRM, 2)
	d.wedding = d.is("the wedding", wedding, domain.StatusConfirmed, d.local(0, 14, 0))
	d.is("the meeting", meeting, domain.StatusConfirmed, d.local(21, 10, 0))
	d.is("the flowers", florist, domain.StatusConfirmed, d.local(22, 9, 0))
	d.becomes(domain.CareWaiting, "")
	d.await("the copy in the diary", func() error {
		if at := d.shownUntil(); at != "22:00" {
			return fmt.Errorf("it shows the wedding until %q", at)
		}
		return nil
	})

	scene("a webhook comes while its connection rests")
	d.rest()

	scene("seven days before, and the workflow of the wedding was lost")
	d.lost()

	scene("two days before")
	d.clock.to(d.local(-2, 14, 1))
	d.becomes(domain.CareFrozen, domain.PreflightFreeze)
	if p := d.look().Newest; p.State == domain.CheckBlocking {
		t.Errorf("a preflight finds danger:\n%s", weddingcare.PreflightText(*p, d.zone.String()))
	}
	d.told(plannerMail, "nothing risky happens by itself")
	d.frozen(meeting)

	scene("the day begins")
	d.clock.to(d.local(0, 0, 1))
	d.becomes(domain.CareDay, "")
	for name := range d.ids {
		if h := d.health(name); h.Every(d.clock.Now(), cfgProbeEvery) != weddingcare.ProbeEvery {
			t.Errorf("%s is asked every %s", name, h.Every(d.clock.Now(), cfgProbeEvery))
		}
	}
	if days, err := freeze.Platform(t.Context(), d.stack.Core.Store, freeze.DeployWithin); err != nil || len(days.Freezes) != 1 {
		t.Errorf("a deployment on the day: %s, %v", days, err)
	}

	scene("the webhooks of the CRM stop")
	d.silence(florist)
	scene("the diary is down")
	d.outage()
	scene("a double booking is made")
	d.doubleBooking()

	scene("the morning after")
	d.clock.to(d.local(1, 4, 31)) // they danced until 22:30
	d.becomes(domain.CareHandedOver, "")
	d.told(plannerMail, "The report of the wedding day")
	d.report()
	d.afterwards(florist, meeting)
	scene("the end")
}

// cfgProbeEvery is the usual interval of probes.
var cfgProbeEvery = app.Defaults().ProbeEvery

// rest lets the CRM rest for an hour, in which it posts a booking twice: it is kept, and applied once when the hour is over.
func (d *weddingDay) rest() {
	d.Helper()
	crm := d.ids[studioCRM]
	var proposed listOf[domain.Span]
	d.call(http.MethodGet, "/v1/maintenance-proposals?duration_minutes=60&limit=1&integration="+crm+"&until="+d.local(-7, 0, 0).UTC().Format(time.RFC3339), nil, &proposed)
	if len(proposed.Items) != 1 {
		d.Fatalf("proposals: %+v", proposed.Items)
	}
	window := proposed.Items[0]
	var m struct {
		domain.Maintenance
		Members []domain.MaintenanceMember `json:"members"`
	}
	d.call(http.MethodPost, "/v1/maintenance", map[string]any{"scopes": []domain.Scope{{Kind: domain.ScopeIntegration, Target: crm}}, "starts_at": window.Start, "ends_at": window.End,
		"reason": "a new server"}, &m)
	at := "/v1/maintenance/" + string(m.ID)
	d.await("the approval", func() error {
		_, err := d.api.Do(d.Context(), http.MethodPost, at+"/approve", map[string]any{"short_notice": true, "reason": "nobody works then"}, nil)
		return err
	})
	state := func(want domain.MaintenanceState) {
		d.Helper()
		d.await("a maintenance that is "+string(want), func() error {
			m.Members = nil
			if d.call(http.MethodGet, at, nil, &m); m.State != want {
				return fmt.Errorf("it is %s: %+v", m.State, m.Members)
			}
			return nil
		})
	}
	d.clock.to(window.Start.Add(time.Second))
	state(domain.MaintenanceRunning)
	sitting := d.event("engagement", "Marker sitting", 23, 15, 16)
	d.post(studioCRM, 2)
	var kept domain.Delivery
	d.await("a webhook that waits", func() error {
		var all listOf[domain.Delivery]
		d.call(http.MethodGet, "/v1/deliveries?state=received&integration="+crm, nil, &all)
		if len(all.Items) != 1 {
			return fmt.Errorf("%d wait", len(all.Items))
		}
		kept = all.Items[0]
		return nil
	})
	state(domain.MaintenanceRunning)
	if d.known(studioCRM, sitting.ID) != "" {
		d.Error("a webhook was applied in the maintenance")
	}
	d.clock.to(window.End.Add(time.Second))
	d.is("what was posted in the maintenance", sitting, domain.StatusConfirmed, d.local(23, 15, 0))
	d.call(http.MethodGet, "/v1/deliveries/"+string(kept.ID), nil, &kept)
	if kept.State != domain.DeliveryApplied && kept.State != domain.DeliveryIgnored {
		d.Errorf("after the maintenance a webhook is %s", kept.State)
	}
	d.ledger(sitting, 1)
}

// lost takes the workflow of the wedding away before its first look is due. A server finds that nobody looks after it.
func (d *weddingDay) lost() {
	d.Helper()
	if err := d.stack.Core.Flow.Temporal().TerminateWorkflow(d.Context(), contract.WeddingWorkflowID(d.wedding), "", "lost"); err != nil {
		d.Fatal(err)
	}
	d.clock.to(d.local(-7, 14, 11)) // what is ten minutes late counts as lost
	ctx, stop := context.WithCancel(d.Context())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		d.stack.Core.KeepWeddings(ctx)
	}()
	d.becomes(domain.CarePreflight, domain.PreflightWeek)
	stop()
	<-kept
}

// frozen tries what is risky.
func (d *weddingDay) frozen(meeting crmsim.Event) {
	d.Helper()
	d.systems[studioCRM].Delete(meeting.ID)
	d.post(studioCRM, 1)
	d.await("a removal that is held", func() error {
		var open listOf[domain.Quarantine]
		if d.call(http.MethodGet, "/v1/quarantines?state=open", nil, &open); len(open.Items) != 1 || open.Items[0].Held != 1 {
			return fmt.Errorf("%+v", open.Items)
		}
		return nil
	})
	if b := d.booking(d.known(studioCRM, meeting.ID)); b.Status != domain.StatusConfirmed {
		d.Errorf("a removal was carried out in the freeze: the meeting is %s", b.Status)
	}
	policy := "/v1/conflict-policies/vendor/consultation"
	if status, err := d.api.Do(d.Context(), http.MethodPut, policy, map[string]any{"rule": "higher_category"}, nil); status != http.StatusLocked {
		d.Errorf("another policy in the freeze: %d %v", status, err)
	}
	if _, err := d.api.With(freeze.Header, "the couple asked for it").Do(d.Context(), http.MethodPut, policy, map[string]any{"rule": "higher_category"}, nil); err != nil {
		d.Errorf("another policy with an admin's reason: %v", err)
	}
}

// silence is the first failure: the CRM posts nothing from 07:30 on. The usual poll finds what it did not tell, quick polls stand in,
// and when it posts again, what lay first and each message twice, it goes back.
func (d *weddingDay) silence(florist crmsim.Event) {
	d.Helper()
	d.clock.to(d.local(0, 7, 30))
	d.polled(d.local(0, 7, 30))
	d.move(florist, 22, 11, 12)
	tasting := d.event("meeting", "Marker tasting", 24, 10, 11)
	late := d.systems[studioCRM].TakeMessages()
	d.clock.to(d.local(0, 8, 40))
	d.is("what only a poll found", tasting, domain.StatusConfirmed, d.local(24, 10, 0))
	d.is("a move that only a poll found", florist, domain.StatusConfirmed, d.local(22, 11, 0))
	d.clock.to(d.clock.Now().Add(31 * time.Second)) // no message came meanwhile
	d.failover(domain.FailoverPolling)
	d.does(studioCRM, domain.HealthPolling)

	d.move(tasting, 24, 12, 13)
	late = append(late, d.systems[studioCRM].TakeMessages()...)
	d.clock.to(d.clock.Now().Add(16 * time.Second))
	d.is("what a quick poll found", tasting, domain.StatusConfirmed, d.local(24, 12, 0))

	d.clock.to(d.local(0, 9, 10))
	d.move(florist, 22, 13, 14)
	for _, m := range append(late, d.systems[studioCRM].TakeMessages()...) {
		d.send(studioCRM, m, 2)
	}
	d.is("what a webhook told again", florist, domain.StatusConfirmed, d.local(22, 13, 0))
	d.clock.to(d.clock.Now().Add(2 * time.Minute))
	episodes := d.failover(domain.FailoverUsual)
	d.does(studioCRM, domain.HealthUp)
	if len(episodes) != 1 || episodes[0].Cause != domain.OverUnannounced || episodes[0].EndedAt == nil || episodes[0].Polls == 0 {
		d.Errorf("episodes: %+v", episodes)
	}
	d.ledger(tasting, 2) // made and moved
	d.ledger(florist, 3) // made and moved twice
	var newest listOf[domain.Delivery]
	d.call(http.MethodGet, "/v1/deliveries?limit=1&integration="+d.ids[studioCRM], nil, &newest)
	if len(newest.Items) != 1 || newest.Items[0].Priority != domain.PriorityUrgent {
		d.Errorf("on the day deliveries are %+v", newest.Items)
	}
}

// outage is the second failure: the diary answers with 503 for fifty minutes, in which the planner makes the party longer.
func (d *weddingDay) outage() {
	d.Helper()
	diary := d.systems[venueDiary]
	diary.Break(crmsim.FaultServerError, -1)
	d.decide(d.wedding, map[string]any{"when": map[string]any{"start": d.local(0, 14, 0), "end": d.local(0, 22, 30), "zone": d.zone.String()}})
	d.does(venueDiary, domain.HealthDown)
	d.told(plannerMail, "Wedding day: Critical alert: "+venueDiary)
	d.told(onCallMail, "Nobody acknowledged it: "+venueDiary)
	var alerts listOf[domain.Alert]
	d.call(http.MethodGet, "/v1/alerts?state=open&target="+d.ids[venueDiary], nil, &alerts)
	for _, a := range alerts.Items {
		d.call(http.MethodPost, "/v1/alerts/"+string(a.ID)+"/acknowledge", map[string]any{"reason": "the venue restarts it"}, nil)
	}
	d.clock.to(d.clock.Now().Add(50 * time.Minute))
	if d.shownUntil() != "22:00" {
		d.Error("a system that is down was written to")
	}
	diary.Heal()
	d.does(venueDiary, domain.HealthUp)
	d.await("the diary to show the longer party", func() error {
		if at := d.shownUntil(); at != "22:30" {
			return fmt.Errorf("it shows it until %s", at)
		}
		return nil
	})
	d.clock.to(d.clock.Now().Add(weddingcare.LogEvery + time.Minute))
	d.await("the day's log to say that the diary is right again", func() error {
		var notes listOf[domain.WeddingNote]
		d.call(http.MethodGet, "/v1/weddings/"+string(d.wedding)+"/log", nil, &notes)
		for _, n := range notes.Items {
			if n.Text == venueDiary+" shows the wedding as it is" {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", notes.Items)
	})
}

// doubleBooking is the third failure: at noon the CRM books the photographer into the wedding. The planner decides.
func (d *weddingDay) doubleBooking() {
	d.Helper()
	open := func(n int) {
		d.Helper()
		d.await(fmt.Sprintf("%d conflicts", n), func() error {
			var all listOf[domain.Conflict]
			d.call(http.MethodGet, "/v1/conflicts?state=open&resource="+d.resource, nil, &all)
			if len(all.Items) != n || n == 1 && all.Items[0].Severity != domain.SeverityCritical {
				return fmt.Errorf("%+v", all.Items)
			}
			return nil
		})
	}
	d.clock.to(d.local(0, 12, 0))
	late := d.event("engagement", "Marker in the park", 0, 16, 18)
	d.post(studioCRM, 2)
	open(1)
	d.told(plannerMail, "Wedding day: Critical")
	id := d.is("the double booking", late, domain.StatusConfirmed, d.local(0, 16, 0))
	d.clock.to(d.local(0, 12, 25))
	d.decide(id, map[string]any{"status": "cancelled"})
	open(0)
	d.await("the decision in the CRM", func() error {
		if e, there := d.systems[studioCRM].Get(late.ID); there && e.State != "cancelled" {
			return fmt.Errorf("it is %s", e.State)
		}
		return nil
	})
}

// report reads the report of the day as a planner does.
func (d *weddingDay) report() {
	d.Helper()
	var h domain.HandOver
	d.call(http.MethodGet, "/v1/weddings/"+string(d.wedding)+"/handover", nil, &h)
	text := weddingcare.HandOverText(h)
	d.Log("\n" + text)
	lasted := map[string]time.Duration{}
	clashes := 0
	for _, f := range h.Failures {
		if f.OverAt == nil {
			d.Errorf("%s goes on: %s", f.Subject, f.What)
			continue
		}
		lasted[f.Name] = max(lasted[f.Name], f.OverAt.Sub(f.NoticedAt))
		if strings.HasPrefix(f.Subject, "conflict/") {
			clashes++
		}
	}
	if lasted[studioCRM] < 2*time.Minute || lasted[studioCRM] > 2*time.Hour || lasted[venueDiary] < 50*time.Minute || lasted[venueDiary] > 2*time.Hour {
		d.Errorf("failures lasted %v", lasted)
	}
	if clashes != 1 || h.Quiet || len(h.Open) != 0 {
		d.Errorf("%d clashes, quiet %t, left: %+v", clashes, h.Quiet, h.Open)
	}
	for _, want := range []string{
		"Report of the day from " + d.local(0, 0, 0).Format("Mon 2 Jan 2006, 15:04") + " to " + d.local(1, 4, 30).Format("Mon 2 Jan 2006, 15:04") + " (Europe/Rome)",
		"things failed on the day and are over; nothing is left to do.",
		"* " + studioCRM + " tells of no news", "* " + venueDiary + " is down", "* a critical conflict",
		venueDiary + " does not show the wedding as it is", "- people were told (critical)", "- more people were told", "- somebody said that they look after it",
		venueDiary + " works", studioCRM + " is read at intervals instead of telling of news", studioCRM + " works",
	} {
		if !strings.Contains(text, want) {
			d.Errorf("the report does not say %q", want)
		}
	}
	if strings.Contains(text, "Marker") {
		d.Error("the report names people")
	}
}

// afterwards is everything as on any day, and what is held waits still for its person.
func (d *weddingDay) afterwards(florist, meeting crmsim.Event) {
	d.Helper()
	for name := range d.ids {
		if h := d.health(name); h.BoostEvery != 0 {
			d.Errorf("%s is still asked every %s", name, h.BoostEvery)
		}
	}
	d.systems[studioCRM].Delete(florist.ID)
	d.post(studioCRM, 1)
	d.is("a removal behind the freeze", florist, domain.StatusCancelled, d.local(22, 13, 0))
	var open listOf[domain.Quarantine]
	d.call(http.MethodGet, "/v1/quarantines?state=open", nil, &open)
	if len(open.Items) != 1 {
		d.Fatalf("held: %+v", open.Items)
	}
	d.call(http.MethodPost, "/v1/quarantines/"+string(open.Items[0].ID)+"/approve", map[string]any{"reason": "the albums are off"}, nil)
	d.is("an approved removal", meeting, domain.StatusCancelled, d.local(21, 10, 0))
	d.atOnce()
	// Nothing was lost, and nothing is there twice: the wedding, the sitting and the tasting are left.
	if left := d.bookings(); len(left) != 3 {
		d.Errorf("%d bookings are left: %+v", len(left), left)
	}
}

// atOnce asks for connections to be read at once, as the care for a wedding does of those that tell of no news on the day.
func (d *weddingDay) atOnce() {
	d.Helper()
	org := domain.OrgID(d.stack.Ready.Org)
	ask := func(name string) error {
		return d.stack.Core.PollAtOnce(d.Context(), org, domain.IntegrationID(d.ids[name]))
	}
	// One that posts fails over, and a second wish changes nothing.
	for range 2 {
		if err := ask(studioCRM); err != nil {
			d.Errorf("a connection that posts: %v", err)
		}
	}
	if episodes := d.failover(domain.FailoverPolling); len(episodes) != 2 || episodes[0].Cause != domain.OverWeddingDay || episodes[0].By != "system:wedding" {
		d.Errorf("episodes: %+v", episodes)
	}
	// One whose system posts nothing is read now, although it is read when somebody asks only.
	const silent = "Feed of the band"
	system := crmsim.New(crmsim.Options{APIKey: "key"})
	d.Cleanup(system.Close)
	var settings map[string]any
	if err := json.Unmarshal(crmsim.Settings(d.serve(system)), &settings); err != nil {
		d.Fatal(err)
	}
	delete(settings, "webhook")
	var i domain.Integration
	d.call(http.MethodPost, "/v1/integrations", map[string]any{"name": silent, "provider": "custom", "direction": "import", "resource_id": d.resource, "settings": settings,
		"secrets": map[string]string{"api_key": "key"}}, &i)
	d.ids[silent] = string(i.ID)
	d.await("the first reading of "+silent, func() error {
		if d.integration(silent).LastSyncAt == nil {
			return errors.New("it was not read")
		}
		return nil
	})
	had := len(d.runs(silent))
	if err := ask(silent); err != nil {
		d.Errorf("a connection that posts nothing: %v", err)
	}
	d.await("a reading at once", func() error {
		runs := d.runs(silent)
		if len(runs) != had+1 || runs[0].RequestedBy != "system:wedding" || runs[0].State != domain.SyncDone {
			return fmt.Errorf("%+v", runs)
		}
		return nil
	})
	// One that is paused is refused, with the reason for people.
	d.call(http.MethodPost, "/v1/integrations/"+d.ids[silent]+"/pause", map[string]any{"reason": "the band plays"}, nil)
	if err := ask(silent); domain.KindOf(err) != domain.KindConflict || !strings.Contains(err.Error(), "paused") {
		d.Errorf("a connection that is paused: %v", err)
	}
	if err := d.stack.Core.PollAtOnce(d.Context(), org, domain.NewID[domain.IntegrationID](d.clock.Now())); domain.KindOf(err) != domain.KindNotFound {
		d.Errorf("a connection that is not there: %v", err)
	}
}
