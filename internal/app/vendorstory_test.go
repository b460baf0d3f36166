package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/apiclient"
	"github.com/wedsync/wedsync/internal/app"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
	"github.com/wedsync/wedsync/internal/sim/schedulersim"
	"github.com/wedsync/wedsync/internal/store"
)

// TestVendorsWithoutAFullAPIAreKeptInStep tells of a scheduler and of Light Blue on the whole program: real Postgres, real
// Temporal and the simulators. Each part has a person of its own, so that they meet nowhere.
func TestVendorsWithoutAFullAPIAreKeptInStep(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cfg := app.Defaults()
	cfg.LogLevel, cfg.PublicURL = "error", "http://"+addr
	stack := startStack(t, addr, cfg)
	api := apiclient.New(stack.Ready.HTTP, stack.Ready.AdminToken)
	t.Cleanup(api.Close)
	for _, part := range []struct {
		name string
		tell func(*vendor)
	}{
		{"a scheduler", (*vendor).scheduler}, {"a studio with feed and Inbox", (*vendor).feedAndInbox}, {"a portal of pages", (*vendor).portal},
	} {
		t.Run(part.name, func(t *testing.T) {
			began := time.Now()
			v := &vendor{studio: &studio{T: t, stack: stack, api: api, doors: map[string]*door{}, ids: map[string]string{}}, day: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 2, 0)}
			var resource struct {
				ID string `json:"id"`
			}
			v.call(http.MethodPost, "/v1/resources", map[string]any{"name": part.name, "kind": "person", "zone": "Europe/London"}, &resource)
			v.resource = resource.ID
			part.tell(v)
			t.Logf("told in %s", time.Since(began).Round(time.Millisecond))
		})
	}
}

// vendor is a part of the story: one person with one outside system.
type vendor struct {
	*studio
	day time.Time
}

// at is ten o'clock in UTC on the nth day of the story.
func (v *vendor) at(n int) time.Time { return v.day.AddDate(0, 0, n).Add(10 * time.Hour) }

func (v *vendor) create(provider, direction string, body map[string]any) {
	v.Helper()
	body["name"], body["provider"], body["direction"], body["resource_id"] = provider, provider, direction, v.resource
	var i domain.Integration
	v.call(http.MethodPost, "/v1/integrations", body, &i)
	v.ids[provider] = string(i.ID)
}

// stands waits until exactly these bookings stand: when each begins, by title.
func (v *vendor) stands(what string, want map[string]time.Time) (ids map[string]domain.BookingID) {
	v.Helper()
	v.await(what, func() error {
		ids = map[string]domain.BookingID{}
		list := v.bookings()
		for _, b := range list {
			if at, ok := want[b.Details.Title]; !ok || !at.Equal(b.When.Start) {
				return fmt.Errorf("%s at %s, which is not wanted", b.Details.Title, b.When.Start)
			}
			ids[b.Details.Title] = b.ID
		}
		if len(list) != len(want) || len(ids) != len(want) {
			return fmt.Errorf("%d bookings, want %d", len(list), len(want))
		}
		return nil
	})
	return ids
}

// finished waits for the end of a sync, whatever it is.
func (v *vendor) finished(id string) (run domain.SyncRun) {
	v.Helper()
	v.await("the end of a sync", func() error {
		if run = v.run(id).SyncRun; run.State == domain.SyncRunning {
			return fmt.Errorf("page %d", run.Pages)
		}
		return nil
	})
	return run
}

// clashes are the conflicts that there ever were of the bookings of this part.
func (v *vendor) clashes() (out []domain.Conflict) {
	v.Helper()
	var all listOf[domain.Conflict]
	v.call(http.MethodGet, "/v1/conflicts?limit=200", nil, &all)
	for _, c := range all.Items {
		if string(c.ResourceID) == v.resource {
			out = append(out, c)
		}
	}
	return out
}

// aDayLater makes the watches due that are looked at once a day.
func (v *vendor) aDayLater(provider string) {
	v.Helper()
	err := v.stack.Core.Store.Tenant(v.Context(), domain.OrgID(v.stack.Ready.Org), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE watches SET renew_after = $3 WHERE org_id = $1 AND integration_id = $2", tx.Org, v.ids[provider], tx.Now.Add(-time.Minute))
		return err
	})
	if err != nil {
		v.Fatal(err)
	}
	v.change(provider, map[string]any{"reason": "story"}) // its workflow reads when they are due
}

// scheduler: a client books, moves and gives up at Calendly. Its hook is disabled and made anew.
func (v *vendor) scheduler() {
	sim := schedulersim.New(schedulersim.Calendly, time.Now)
	appointment := func(title string, at time.Time) schedulersim.Appointment {
		return schedulersim.Appointment{Title: title, Start: at, End: at.Add(time.Hour), Client: "A client"}
	}
	// posted is nil when every hook that works took a message about an appointment.
	tell := func(id string) (took int) {
		v.Helper()
		statuses, err := sim.Tell(v.Context(), id)
		if err != nil {
			v.Fatal(err)
		}
		for _, status := range statuses {
			if status/100 != 2 {
				v.Errorf("a message was answered %d", status)
			}
		}
		return len(statuses)
	}
	consultation := sim.Book(appointment("Consultation", v.at(1)))
	v.create("calendly", "import", map[string]any{"settings": map[string]any{"development": map[string]any{"api": v.serve(sim.Handler())}}, "secrets": map[string]string{"token": schedulersim.Token}})
	v.resync("calendly", false)
	want := map[string]time.Time{"Consultation": v.at(1)}
	v.stands("what was booked before", want)
	hooks := func() (standing []schedulersim.Hook) {
		return slices.DeleteFunc(sim.Hooks(), func(h schedulersim.Hook) bool { return h.Disabled })
	}
	v.await("the webhook", func() error {
		f := v.integration("calendly").Freshness
		if len(hooks()) != 1 || f == nil || len(f.Watches) != 1 || f.Watches[0].State != domain.WatchActive {
			return fmt.Errorf("%d hooks, %+v", len(hooks()), f)
		}
		return nil
	})

	// A booking is told by a message, which comes twice.
	tasting := sim.Book(appointment("Tasting", v.at(2)))
	if tell(tasting)+tell(tasting) != 2 {
		v.Error("the webhook did not take two messages")
	}
	want["Tasting"] = v.at(2)
	old := v.stands("a booking that a message told of", want)
	if b := v.bookings()[old["Tasting"]]; b.Category != domain.CategoryConsultation || b.Status != domain.StatusConfirmed {
		v.Errorf("it is %s, %s", b.Category, b.Status)
	}

	// A client moves it by half an hour: a cancelled appointment and a new one, told in the wrong order. It never clashes with
	// itself.
	moved := sim.Reschedule(tasting, v.at(2).Add(30*time.Minute), v.at(2).Add(90*time.Minute))
	if moved == tasting {
		v.Fatal("Calendly moves by making a new appointment")
	}
	tell(moved)
	tell(tasting)
	want["Tasting"] = v.at(2).Add(30 * time.Minute)
	v.stands("a rescheduled appointment once", want)
	if b := v.booking(old["Tasting"]); b.Status != domain.StatusCancelled {
		v.Errorf("what it was before is %s", b.Status)
	}

	// The pair comes split: for a while there is only the end of the old one.
	sim.Cancel(moved)
	tell(moved)
	delete(want, "Tasting")
	v.stands("the first half of a pair", want)
	again := sim.Book(appointment("Tasting", v.at(2).Add(45*time.Minute)))
	tell(again)
	tell(moved) // late, and known
	want["Tasting"] = v.at(2).Add(45 * time.Minute)
	v.stands("both halves of a pair", want)
	if c := v.clashes(); len(c) != 0 {
		v.Errorf("%d conflicts of appointments that were only moved: %+v", len(c), c)
	}

	// Calendly disables the webhook. Nobody is told of what comes then, until the webhook is looked at and made anew.
	first := hooks()[0]
	sim.Disable(first.ID)
	sim.Cancel(consultation)
	rehearsal := sim.Book(appointment("Rehearsal", v.at(3)))
	if n := tell(rehearsal); n != 0 {
		v.Errorf("a disabled webhook took %d messages", n)
	}
	delete(want, "Consultation")
	want["Rehearsal"] = v.at(3)
	v.aDayLater("calendly")
	v.await("another webhook", func() error {
		if now := hooks(); len(now) != 1 || now[0].ID == first.ID || now[0].Secret == first.Secret {
			return fmt.Errorf("%d hooks", len(now))
		}
		return nil
	})
	v.stands("what nobody told of, since the new webhook makes us look", want)
	sitting := sim.Book(appointment("Sitting", v.at(4)))
	if tell(sitting) != 1 {
		v.Error("the new webhook takes no message")
	}
	want["Sitting"] = v.at(4)
	v.stands("a booking that the new webhook told of", want)
	v.await("the old webhook to end", func() error {
		if n := len(sim.Hooks()); n != 1 {
			return fmt.Errorf("%d are there", n)
		}
		return nil
	})
}

// feedAndInbox: a studio whose diary is read by its feed, and whose Inbox takes what is booked here.
func (v *vendor) feedAndInbox() {
	sim := lightbluesim.New(lightbluesim.Options{})
	address := v.serve(sim.Handler())
	shoot := func(id, title string, at time.Time) {
		const form = "20060102T150405Z"
		sim.Feed.Put(id, "DTSTAMP:20270101T000000Z", "SUMMARY:"+title, "STATUS:CONFIRMED", "DTSTART:"+at.Format(form), "DTEND:"+at.Add(time.Hour).Format(form))
	}
	shoot("shoot-1@lightblue.test", "Engagement", v.at(1))
	shoot("shoot-2@lightblue.test", "Album", v.at(2))
	v.create("lightblue", "bidirectional", map[string]any{"settings": map[string]any{"development": map[string]any{"api": address}},
		"secrets": map[string]string{"api_key": lightbluesim.Key, "feed_url": address + lightbluesim.FeedPath, "feed_user": lightbluesim.FeedUser, "feed_password": lightbluesim.FeedPassword}})
	v.resync("lightblue", false)
	want := map[string]time.Time{"Engagement": v.at(1), "Album": v.at(2)}
	ids := v.stands("the diary", want)
	if n := len(sim.Inbox()); n != 0 {
		v.Errorf("what came from the diary lies in the Inbox: %d messages", n)
	}

	// A booking made here becomes one message, although the answer to it is lost.
	sim.SetFaults(lightbluesim.Faults{LoseAnswer: true})
	var made domain.Booking
	v.call(http.MethodPost, "/v1/bookings", map[string]any{"resource_id": v.resource, "category": "wedding", "status": "confirmed", "reason": "story",
		"when": map[string]any{"start": v.at(5), "end": v.at(5).Add(6 * time.Hour), "zone": "Europe/London"}, "details": map[string]any{"title": "Marigold"}}, &made)
	inbox := func(n int, what string) lightbluesim.Message {
		v.Helper()
		v.await(what, func() error {
			if got, left := len(sim.Inbox()), v.unwritten("lightblue"); got != n || left != 0 {
				return fmt.Errorf("%d messages, want %d; %d writes wait", got, n, left)
			}
			return nil
		})
		return sim.Inbox()[n-1]
	}
	if m := inbox(1, "the booking in the Inbox, once"); m["shoottitle"] != "Marigold" || m["source"] != "WedSync" {
		v.Errorf("the message says %v", m)
	}
	want["Marigold"] = v.at(5)
	v.decideOn(made.ID, map[string]any{"status": "cancelled"})
	if m := inbox(2, "its end in the Inbox"); !strings.Contains(m["message"], "CANCELLED") {
		v.Errorf("the second message says %q", m["message"])
	}
	delete(want, "Marigold")

	// The feed is empty from one moment to the next: nothing is removed by that, and what it really removes goes.
	sim.Feed.Delete("shoot-1@lightblue.test")
	sim.Feed.Delete("shoot-2@lightblue.test")
	if run := v.resync("lightblue", true); run.Removed != 0 || run.Seen != 0 {
		v.Errorf("an empty feed: %d seen, %d removed", run.Seen, run.Removed)
	}
	v.stands("the diary as it was", want)
	shoot("shoot-2@lightblue.test", "Album", v.at(2))
	shoot("shoot-3@lightblue.test", "Reception", v.at(3))
	if run := v.resync("lightblue", true); run.Removed != 1 {
		v.Errorf("a full feed again: %d removed, want the one that is gone", run.Removed)
	}
	delete(want, "Engagement")
	want["Reception"] = v.at(3)
	if now := v.stands("the diary without what it removed", want); now["Album"] != ids["Album"] {
		v.Error("a shoot that came back is another booking")
	}
}

// unwritten is how many copies are still to be written or removed, those included that wait for another try.
func (v *vendor) unwritten(provider string) (n int) {
	v.Helper()
	err := v.stack.Core.Store.TenantRead(v.Context(), domain.OrgID(v.stack.Ready.Org), func(ctx context.Context, tx *store.Tx) (err error) {
		_, n, err = tx.NextPushDue(ctx, domain.IntegrationID(v.ids[provider]))
		return err
	})
	if err != nil {
		v.Fatal(err)
	}
	return n
}

// decideOn changes a booking as a person does.
func (v *vendor) decideOn(id domain.BookingID, fields map[string]any) {
	v.Helper()
	fields["version"], fields["reason"] = v.booking(id).Version, "story"
	v.call(http.MethodPatch, "/v1/bookings/"+string(id), fields, nil)
}

const portalRecipe = `{"version":1,"name":"Portal","base":"SERVER","zone":"Europe/London",
	"login":{"path":"/portal/login","form":"form#login","fields":{"email":"{secret.user}","password":"{secret.password}"},"refused":"p.error"},
	"logged_out":{"selector":"form#login"},
	"list":{"path":"/portal/shoots?page=1","container":"table#shoots","rows":"tr.shoot","empty":"p.none","next":"nav.pages a.next","identity":["id"],"fields":{
		"id":{"attr":"data-id","required":true},"title":{"selector":"td.title","required":true},
		"date":{"selector":"td.date","type":"date","formats":["DD/MM/YYYY"],"required":true},
		"start_time":{"selector":"td.start","type":"time","formats":["HH:mm"]},"end_time":{"selector":"td.end","type":"time","formats":["HH:mm"]},
		"status":{"selector":"td.status","map":{"Booked":"confirmed","Pencilled":"tentative","Cancelled":"cancelled"}}}},
	"limits":{"interval":0.001}}`

// portal: a studio that shows its shoots on pages of its own. The pages change, and nothing is removed by that.
func (v *vendor) portal() {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		v.Fatal(err)
	}
	sim := lightbluesim.New(lightbluesim.Options{PageSize: 2})
	address := v.serve(sim.Handler())
	shoot := func(title string, at time.Time) lightbluesim.Shoot {
		return lightbluesim.Shoot{Title: title, Start: at.In(london), End: at.Add(time.Hour).In(london), Client: "Quillfeather"}
	}
	first := sim.AddShoot(shoot("First look", v.at(1)))
	sim.AddShoot(shoot("Ceremony", v.at(2)))
	sim.AddShoot(shoot("Speeches", v.at(3)))
	// The consent is given with the connection, and so the first reading finds it.
	v.create("lightblue", "import", map[string]any{"settings": map[string]any{"recipe": jsonText(strings.ReplaceAll(portalRecipe, "SERVER", address))},
		"secrets":       map[string]string{"portal_user": lightbluesim.PortalUser, "portal_password": lightbluesim.PortalPassword},
		"pages_consent": map[string]any{"origin": address, "agreed": true}, "reason": "asked the owner"})
	v.resync("lightblue", false)
	want := map[string]time.Time{"First look": v.at(1), "Ceremony": v.at(2), "Speeches": v.at(3)}
	v.stands("the pages", want)

	// The page names its date in another way, then its rows are gone without a word. Both are drift.
	for n, fault := range []lightbluesim.PortalFaults{{RenameDate: true}, {NoRows: true}} {
		sim.SetFaults(lightbluesim.Faults{Portal: fault})
		run := v.finished(v.startSync("lightblue", n == 1))
		if run.State != domain.SyncFailed || run.Removed != 0 {
			v.Errorf("a page that changed was read: %s, %d removed", run.State, run.Removed)
		}
		v.stands("what was there before the page changed", want)
		var kept listOf[domain.Snapshot]
		v.await("the snapshot of the page", func() error {
			v.call(http.MethodGet, "/v1/integrations/"+v.ids["lightblue"]+"/snapshots", nil, &kept)
			if len(kept.Items) != n+1 {
				return fmt.Errorf("%d are kept", len(kept.Items))
			}
			return nil
		})
		one := kept.Items[0]
		var page struct {
			Page string `json:"page"`
		}
		v.call(http.MethodGet, "/v1/integrations/"+v.ids["lightblue"]+"/snapshots/"+string(one.ID), nil, &page)
		if one.Kind != domain.KindDrift || one.SyncRunID != run.ID || one.Report == "" || !strings.Contains(page.Page, "<table") {
			v.Errorf("the snapshot is %+v with a page of %d bytes", one, len(page.Page))
		}
		for _, secret := range []string{"Quillfeather", "Ceremony", lightbluesim.PortalUser, lightbluesim.PortalPassword} {
			if strings.Contains(page.Page+one.Report+run.Error, secret) {
				v.Errorf("the snapshot or the fault shows %q", secret)
			}
		}
		if err := v.sealed(one.ID); err != nil {
			v.Error(err)
		}
	}

	// The page is as it was, one shoot was taken out and one moved: the next reading tells both, and asks before it removes.
	sim.Heal()
	sim.RemoveShoot(first)
	sim.AddShoot(shoot("Fireworks", v.at(4)))
	v.resync("lightblue", true)
	delete(want, "First look")
	want["Fireworks"] = v.at(4)
	v.stands("the pages as they are again", want)

	// A consent that is withdrawn ends the reading at once, and removes nothing.
	var consents listOf[domain.ScrapeConsent]
	v.call(http.MethodGet, "/v1/integrations/"+v.ids["lightblue"]+"/scrape-consents", nil, &consents)
	if len(consents.Items) != 1 || consents.Items[0].Origin != address {
		v.Fatalf("consents: %+v", consents.Items)
	}
	v.call(http.MethodDelete, "/v1/integrations/"+v.ids["lightblue"]+"/scrape-consents/"+string(consents.Items[0].ID), nil, nil)
	before := len(sim.Requests())
	if run := v.finished(v.startSync("lightblue", true)); run.State != domain.SyncFailed || len(sim.Requests()) != before {
		v.Errorf("without a consent: %s, %d requests", run.State, len(sim.Requests())-before)
	}
	v.stands("what was read with consent", want)
}

// sealed is nil when a kept page is stored sealed.
func (v *vendor) sealed(id domain.SnapshotID) error {
	return v.stack.Core.Store.TenantRead(v.Context(), domain.OrgID(v.stack.Ready.Org), func(ctx context.Context, tx *store.Tx) error {
		var stored []byte
		if err := tx.QueryRow(ctx, "SELECT page FROM scrape_snapshots WHERE org_id = $1 AND id = $2", tx.Org, id).Scan(&stored); err != nil {
			return err
		}
		if len(stored) == 0 || strings.Contains(string(stored), "table") {
			return errors.New("the page is stored as it is")
		}
		return nil
	})
}

// jsonText is JSON that goes into a body as it is.
type jsonText string

func (t jsonText) MarshalJSON() ([]byte, error) { return []byte(t), nil }
