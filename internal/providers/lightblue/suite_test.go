package lightblue

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
)

// bed is a studio's account and a connection to it.
type bed struct {
	*lightbluesim.Server
	opened any
	seeded atomic.Int64
	skew   atomic.Int64 // of the clock of Light Blue, its feed and the portal
}

var apiSecrets = map[string]string{secretKey: lightbluesim.Key}

func setup(t testing.TB, d domain.Direction, settings string, more map[string]string) *bed {
	t.Helper()
	b := &bed{}
	theirs := func() time.Time { return providertest.Now.Add(time.Duration(b.skew.Load())) }
	b.Server = lightbluesim.New(lightbluesim.Options{Now: theirs})
	server := httptest.NewServer(providertest.Dated(theirs, b.Handler()))
	t.Cleanup(func() { b.Server.Heal(); server.Close() })
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	zone, err := time.LoadLocation(providertest.Zone)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{secretKey: lightbluesim.Key, secretFeedURL: server.URL + lightbluesim.FeedPath, secretFeedUser: lightbluesim.FeedUser,
		secretFeedPassword: lightbluesim.FeedPassword}
	for k, v := range more {
		secrets[k] = v
	}
	if settings == "" {
		settings = `{"development":{"api":"` + server.URL + `"}}`
	}
	settings = strings.ReplaceAll(settings, "SERVER", server.URL)
	if err := Registration.Validate(json.RawMessage(settings), secrets); err != nil {
		t.Fatal(err)
	}
	b.opened, err = Registration.Open(provider.Connection{
		Integration: domain.Integration{Provider: "lightblue", Direction: d, Settings: json.RawMessage(settings)},
		Consents: func(context.Context, string) (provider.Consent, error) {
			return provider.Consent{By: "the studio", At: providertest.Now}, nil
		},
		Secrets: secrets, Zone: zone, HTTP: client, Now: func() time.Time { return providertest.Now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) Heal(testing.TB) { b.Server.Heal() }

func (b *bed) Skew(_ testing.TB, ahead time.Duration) { b.skew.Store(int64(ahead)) }

func (b *bed) Fault(_ testing.TB, f providertest.Fault) bool {
	faults, ok := map[providertest.Fault]lightbluesim.Faults{
		providertest.FaultServerError:   {Status: http.StatusServiceUnavailable, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimit:     {Status: http.StatusTooManyRequests, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimitMute: {Status: http.StatusTooManyRequests},
		providertest.FaultUnauthorized:  {BadKey: true},
		providertest.FaultCutBody:       {CutBody: true},
		providertest.FaultGarbage:       {HTML: true},
		providertest.FaultEmptyAnswer:   {Nothing: true},
		providertest.FaultHang:          {Hang: true},
		providertest.FaultLoseAnswer:    {LoseAnswer: true},
	}[f]
	if ok {
		b.SetFaults(faults)
	}
	return ok
}

// studio is a bed whose entries are messages in the Inbox.
type studio struct{ *bed }

func (s studio) Seed(_ testing.TB, e providertest.Entry) string {
	s.Put(url.Values{"Message": {e.Title}})
	return fmt.Sprintf("inbox:somebody-else-%d", s.seeded.Add(1))
}
func (s studio) Edit(t testing.TB, _ string, _ providertest.Entry) {
	t.Fatal("an Inbox has no revisions")
}
func (s studio) Delete(t testing.TB, _ string) { t.Fatal("nobody deletes from an Inbox") }
func (s studio) Count(testing.TB) int          { return len(s.Inbox()) }

func TestWritingPassesTheSuite(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Registration: Registration, Secrets: []string{lightbluesim.Key, lightbluesim.FeedPassword},
		Open: func(t testing.TB) (any, providertest.World) {
			b := setup(t, domain.DirectionExport, "", nil)
			return b.opened, studio{b}
		},
		Lacks: map[string]string{
			"writer/put changes the copy in place":              "an Inbox takes a further message; TestAChangeIsAFurtherMessageWithTheSameReference covers it",
			"writer/lost answer of a change can be tried again": "as above; TestALostAnswerOfAChangeCostsNothing covers it",
			"writer/stale revision is a conflict":               "nobody can see or change what lies in the Inbox",
			"writer/remove twice is success":                    "nothing can be taken out of an Inbox; TestARemovalIsOneMessage covers it",
			"writer/copy removed by us can be put again":        "every life of a copy has a key of its own; TestARemovalIsOneMessage covers it",
			"writer/source entry is moved and keeps the rest":   "the API changes no records",
		},
	})
}

// calendar is a bed whose entries are events of the feed.
type calendar struct{ *bed }

func lines(e providertest.Entry) []string {
	status := "CONFIRMED"
	switch e.Status {
	case domain.StatusTentative:
		status = "TENTATIVE"
	case domain.StatusCancelled:
		status = "CANCELLED"
	case domain.StatusConfirmed:
	}
	const form = "20060102T150405Z"
	return []string{"DTSTAMP:20270101T000000Z", "SUMMARY:" + e.Title, "STATUS:" + status,
		"DTSTART:" + e.When.Start.UTC().Format(form), "DTEND:" + e.When.End.UTC().Format(form)}
}

func (c calendar) Seed(_ testing.TB, e providertest.Entry) string {
	id := fmt.Sprintf("shoot-%d@lightblue.test", c.seeded.Add(1))
	c.Feed.Put(id, lines(e)...)
	return id
}
func (c calendar) Edit(_ testing.TB, id string, e providertest.Entry) { c.Feed.Put(id, lines(e)...) }
func (c calendar) Delete(_ testing.TB, id string)                     { c.Feed.Delete(id) }
func (c calendar) Count(testing.TB) int                               { return c.Feed.Count() - 1 }

func TestTheFeedPassesTheSuite(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Registration: Registration, Secrets: []string{lightbluesim.FeedPassword, lightbluesim.Key},
		Open: func(t testing.TB) (any, providertest.World) {
			b := setup(t, domain.DirectionImport, "", nil)
			// One lies far in the past: a feed without any event proves nothing.
			b.Feed.Put("long-ago@lightblue.test", "DTSTAMP:20200101T000000Z", "SUMMARY:Long ago", "DTSTART:20200601T100000Z", "DTEND:20200601T110000Z")
			return b.opened, calendar{b}
		},
		Lacks: map[string]string{
			"puller/forgotten cursor is a gone token and a full listing helps": "a publisher gives no cursors; package ics covers its own",
			"hazard/duplicate page": "the feed is one file, without pages", "hazard/missing page": "the feed is one file, without pages",
		},
	})
}

// pages is a bed whose entries are rows of the invented portal. One lies far in the past, so that the list is never empty.
type pages struct{ *bed }

const portalSettings = `{"recipe":{"version":1,"name":"Portal","base":"SERVER","zone":"UTC",
	"login":{"path":"/portal/login","form":"form#login","fields":{"email":"{secret.user}","password":"{secret.password}"},"refused":"p.error"},
	"logged_out":{"selector":"form#login"},
	"list":{"path":"/portal/shoots?page=1","container":"table#shoots","rows":"tr.shoot","empty":"p.none","next":"nav.pages a.next",
		"total":{"selector":"p.total","pattern":"(\\d+) shoots"},"identity":["id"],"fields":{
		"id":{"attr":"data-id","required":true},"title":{"selector":"td.title","required":true},
		"date":{"selector":"td.date","type":"date","formats":["DD/MM/YYYY"],"required":true},
		"start_time":{"selector":"td.start","type":"time","formats":["HH:mm"]},"end_time":{"selector":"td.end","type":"time","formats":["HH:mm"]},
		"status":{"selector":"td.status","map":{"Booked":"confirmed","Pencilled":"tentative","Cancelled":"cancelled"}}}},
	"limits":{"interval":0.001}}}`

func shoot(e providertest.Entry) lightbluesim.Shoot {
	status := "Booked"
	switch e.Status {
	case domain.StatusTentative:
		status = "Pencilled"
	case domain.StatusCancelled:
		status = "Cancelled"
	case domain.StatusConfirmed:
	}
	return lightbluesim.Shoot{Title: e.Title, Start: e.When.Start.UTC(), End: e.When.End.UTC(), Status: status}
}

func (p pages) Seed(_ testing.TB, e providertest.Entry) string     { return p.AddShoot(shoot(e)) }
func (p pages) Edit(_ testing.TB, id string, e providertest.Entry) { p.EditShoot(id, shoot(e)) }
func (p pages) Delete(_ testing.TB, id string)                     { p.RemoveShoot(id) }
func (p pages) Count(testing.TB) int                               { return p.Shoots() - 1 }

func (p pages) Fault(t testing.TB, f providertest.Fault) bool {
	switch f {
	case providertest.FaultShortListing:
		p.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{Short: true}})
		return true
	case providertest.FaultRepeatPage:
		p.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{Repeat: true}})
		return true
	case providertest.FaultMissingPage:
		p.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{Skip: true}})
		return true
	case providertest.FaultLoseAnswer:
		return false // nothing is written
	}
	return p.bed.Fault(t, f)
}

func TestAPortalPassesTheSuite(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Harness{
		Registration: Registration, Secrets: []string{lightbluesim.PortalPassword, lightbluesim.PortalUser},
		Open: func(t testing.TB) (any, providertest.World) {
			b := setup(t, domain.DirectionImport, portalSettings, map[string]string{secretFeedURL: "", secretPortalUser: lightbluesim.PortalUser,
				secretPortalPassword: lightbluesim.PortalPassword})
			old := providertest.Now.AddDate(-5, 0, 0)
			b.AddShoot(lightbluesim.Shoot{Title: "Long ago", Start: old, End: old.Add(time.Hour)})
			return b.opened, pages{b}
		},
		Lacks: map[string]string{
			"puller/forgotten cursor is a gone token and a full listing helps": "a portal gives no cursors; package scrape (providers) covers its own",
		},
	})
}
