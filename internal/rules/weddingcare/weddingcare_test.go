package weddingcare_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingcare"
)

var (
	begins = time.Date(2027, 6, 12, 13, 0, 0, 0, time.UTC)
	day    = time.Date(2027, 6, 11, 23, 0, 0, 0, time.UTC) // midnight in London
)

const hour = time.Hour

func care() domain.WeddingCare {
	return domain.WeddingCare{BookingID: "01900000-0000-7000-8000-000000000007", State: domain.CareWaiting, StartsAt: begins, EndsAt: begins.Add(8 * hour), Zone: "Europe/London",
		PreflightWeek: begins.Add(-7 * 24 * hour), PreflightFreeze: begins.Add(-48 * hour), FreezeFrom: begins.Add(-48 * hour), DayFrom: day, DayUntil: begins.Add(14 * hour)}
}

func TestEachPartBeginsAtItsTime(t *testing.T) {
	t.Parallel()
	c := care()
	for _, x := range []struct {
		at   time.Time
		want domain.CareState
	}{
		{c.PreflightWeek.Add(-1), domain.CareWaiting}, {c.PreflightWeek, domain.CarePreflight}, {c.FreezeFrom.Add(-1), domain.CarePreflight},
		{c.FreezeFrom, domain.CareFrozen}, {c.DayFrom.Add(-1), domain.CareFrozen}, {c.DayFrom, domain.CareDay}, {c.DayUntil.Add(-1), domain.CareDay},
		{c.DayUntil, domain.CareHandedOver},
	} {
		if got := weddingcare.Phase(c, x.at); got != x.want {
			t.Errorf("at %s it is %s, want %s", x.at, got, x.want)
		}
	}
}

func TestAPreflightIsDueOnceAndAgainWhileSomethingIsWrong(t *testing.T) {
	t.Parallel()
	at := func(c domain.WeddingCare, s domain.CheckState, made time.Time) domain.WeddingCare {
		c.Preflight, c.PreflightAt = s, &made
		return c
	}
	wanted := func(c domain.WeddingCare) domain.WeddingCare {
		now := begins
		c.WantedAt = &now
		return c
	}
	c := care()
	week, freeze := c.PreflightWeek, c.PreflightFreeze
	for _, x := range []struct {
		name string
		c    domain.WeddingCare
		now  time.Time
		want domain.PreflightKind
	}{
		{"far away", c, week.Add(-1), ""},
		{"far away, and asked for", wanted(c), week.Add(-1), domain.PreflightAsked},
		{"a week before", c, week, domain.PreflightWeek},
		{"made", at(c, domain.CheckOK, week), freeze.Add(-1), ""},
		{"one that was asked for earlier does not count", at(c, domain.CheckOK, week.Add(-hour)), week, domain.PreflightWeek},
		{"48 hours before", at(c, domain.CheckOK, week), freeze, domain.PreflightFreeze},
		{"booked within the freeze", c, freeze.Add(hour), domain.PreflightFreeze},
		{"booked on the day", c, day.Add(hour), domain.PreflightFreeze},
		{"on the day nothing is made again", at(c, domain.CheckBlocking, freeze), day.Add(hour), ""},
		{"on the day somebody asks", wanted(at(c, domain.CheckOK, freeze)), day.Add(hour), domain.PreflightAsked},
		{"in danger, not yet", at(c, domain.CheckBlocking, week), week.Add(hour - 1), ""},
		{"in danger", at(c, domain.CheckBlocking, week), week.Add(hour), domain.PreflightAgain},
		{"in danger within the freeze", at(c, domain.CheckBlocking, freeze), freeze.Add(30 * time.Minute), domain.PreflightAgain},
		{"needs a look, not yet", at(c, domain.CheckAttention, week), week.Add(6*hour - 1), ""},
		{"needs a look", at(c, domain.CheckAttention, week), week.Add(6 * hour), domain.PreflightAgain},
		{"over", wanted(c), c.DayUntil, ""},
	} {
		got, due := weddingcare.Due(x.c, x.now)
		if due != (x.want != "") || due && got != x.want {
			t.Errorf("%s: %q, %t; want %q", x.name, got, due, x.want)
		}
	}
}

func TestTimeAloneNeverBringsMoreThanOneLookAtOnceAndEndsWithTheDay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := care()
		now := c.PreflightWeek.Add(time.Duration(rapid.Int64Range(-int64(48*hour), int64(10*24*hour)).Draw(t, "now")))
		c.Preflight = rapid.SampledFrom([]domain.CheckState{"", domain.CheckOK, domain.CheckAttention, domain.CheckBlocking}).Draw(t, "preflight")
		if c.Preflight != "" {
			made := now.Add(-time.Duration(rapid.Int64Range(0, int64(24*hour)).Draw(t, "age")))
			c.PreflightAt = &made
		}
		next := weddingcare.Next(c, now)
		if over := weddingcare.Phase(c, now).Over(); over != next.IsZero() {
			t.Fatalf("over %t and next %s", over, next)
		}
		if !next.IsZero() && !next.After(now) {
			t.Fatalf("next is %s, which is not after %s", next, now)
		}
		if next.After(c.DayUntil) {
			t.Fatalf("next is %s, behind the end", next)
		}
		// Whatever is made now satisfies what was due.
		if kind, due := weddingcare.Due(c, now); due {
			c.PreflightAt, c.WantedAt, c.Preflight = &now, nil, domain.CheckBlocking
			if again, still := weddingcare.Due(c, now); still {
				t.Fatalf("%s was made, and %s is due at once", kind, again)
			}
		}
	})
}

func check(kind domain.CheckKind, s domain.CheckState) domain.Check {
	return domain.Check{Kind: kind, State: s, Reason: "r"}
}

func TestPeopleAreToldOfWhatIsNewAndOfTheEnd(t *testing.T) {
	t.Parallel()
	bad := []domain.Check{check(domain.CheckConnected, domain.CheckBlocking), check(domain.CheckConfirmed, domain.CheckOK)}
	both := append([]domain.Check{check(domain.CheckTimeline, domain.CheckAttention)}, bad...)
	fine := []domain.Check{check(domain.CheckConfirmed, domain.CheckOK), check(domain.CheckVendors, domain.CheckNone)}
	known := weddingcare.Findings(bad)
	for _, x := range []struct {
		name   string
		told   []string
		kind   domain.PreflightKind
		checks []domain.Check
		want   weddingcare.Telling
	}{
		{"nothing wrong", nil, domain.PreflightWeek, fine, weddingcare.TellNothing},
		{"something new", nil, domain.PreflightAgain, bad, weddingcare.TellFailed},
		{"the same again", known, domain.PreflightAgain, bad, weddingcare.TellNothing},
		{"the same 48 hours before", known, domain.PreflightFreeze, bad, weddingcare.TellFailed},
		{"one more", known, domain.PreflightAsked, both, weddingcare.TellFailed},
		{"one less", weddingcare.Findings(both), domain.PreflightAgain, bad, weddingcare.TellNothing},
		{"mended", known, domain.PreflightAgain, fine, weddingcare.TellPassed},
	} {
		got, told := weddingcare.Tell(x.told, x.kind, x.checks)
		if got != x.want || !cmp.Equal(told, weddingcare.Findings(x.checks)) {
			t.Errorf("%s: %q and %v", x.name, got, told)
		}
	}
	for _, x := range []struct {
		s     domain.CheckState
		phase domain.CareState
		want  domain.Severity
	}{
		{domain.CheckBlocking, domain.CareFrozen, domain.SeverityCritical}, {domain.CheckBlocking, domain.CarePreflight, domain.SeverityHigh},
		{domain.CheckAttention, domain.CareDay, domain.SeverityHigh}, {domain.CheckAttention, domain.CareWaiting, domain.SeverityMedium},
	} {
		if got := weddingcare.Severity(x.s, x.phase); got != x.want {
			t.Errorf("%s while %s is %s, want %s", x.s, x.phase, got, x.want)
		}
	}
}

// sound is a wedding that everything is well with.
func sound() weddingcare.Facts {
	read := begins.Add(-50 * hour)
	return weddingcare.Facts{Care: care(), Status: domain.StatusConfirmed, Timeline: &weddingcare.Timeline{Items: 5, OfVendors: 2},
		Connections: []weddingcare.Connection{{
			Integration: domain.Integration{ID: "01900000-0000-7000-8000-000000000002", Name: "Calendar", State: domain.IntegrationActive, Direction: domain.DirectionBidirectional, LastSyncAt: &read},
			Health:      domain.Health{State: domain.HealthUp}, Said: weddingcare.Said{Asked: true, Outcome: domain.ProbeOK, TookMS: 40},
			Grant:     &weddingcare.Grant{Active: true, Renews: true, ExpiresAt: begins.Add(-47 * hour)},
			Freshness: domain.Freshness{Target: time.Minute}, Push: &domain.Push{State: domain.PushDone}}}}
}

func TestEachCheckFindsWhatItIsFor(t *testing.T) {
	t.Parallel()
	now := begins.Add(-48 * hour)
	at := func(d time.Duration) *time.Time { x := begins.Add(d); return &x }
	of := func(edit func(c *weddingcare.Connection)) func(f *weddingcare.Facts) {
		return func(f *weddingcare.Facts) { edit(&f.Connections[0]) }
	}
	for _, x := range []struct {
		name string
		edit func(f *weddingcare.Facts)
		kind domain.CheckKind
		want domain.CheckState
	}{
		{"all is well", func(*weddingcare.Facts) {}, "", domain.CheckOK},
		{"not confirmed", func(f *weddingcare.Facts) { f.Status = domain.StatusTentative }, domain.CheckConfirmed, domain.CheckAttention},
		{"a severe conflict", func(f *weddingcare.Facts) { f.Conflicts = []domain.Conflict{{Severity: domain.SeverityCritical}} }, domain.CheckConflicts, domain.CheckBlocking},
		{"a mild conflict", func(f *weddingcare.Facts) { f.Conflicts = []domain.Conflict{{Severity: domain.SeverityLow}} }, domain.CheckConflicts, domain.CheckAttention},
		{"a held removal", func(f *weddingcare.Facts) { f.Removals = 1 }, domain.CheckHeld, domain.CheckBlocking},
		{"two versions", func(f *weddingcare.Facts) { f.Edits = 1 }, domain.CheckHeld, domain.CheckAttention},
		{"no timeline", func(f *weddingcare.Facts) { f.Timeline = nil }, domain.CheckTimeline, domain.CheckAttention},
		{"a timeline that cannot be kept", func(f *weddingcare.Facts) { f.Timeline.Clashes = 1 }, domain.CheckTimeline, domain.CheckBlocking},
		{"an item that was moved", func(f *weddingcare.Facts) { f.Timeline.Drifted = 1 }, domain.CheckTimeline, domain.CheckAttention},
		{"a vendor who did not confirm", func(f *weddingcare.Facts) { f.Timeline.Unconfirmed = 1 }, domain.CheckVendors, domain.CheckAttention},
		{"an item that changed since", func(f *weddingcare.Facts) { f.Timeline.Outdated = 1 }, domain.CheckVendors, domain.CheckAttention},
		{"no connection", func(f *weddingcare.Facts) { f.Connections = nil }, domain.CheckConnection, domain.CheckAttention},
		{"paused", of(func(c *weddingcare.Connection) { c.Integration.State = domain.IntegrationPaused }), domain.CheckConnected, domain.CheckBlocking},
		{"must be connected anew", of(func(c *weddingcare.Connection) { c.Integration.State = domain.IntegrationNeedsReconnect }), domain.CheckConnected, domain.CheckBlocking},
		{"being connected", of(func(c *weddingcare.Connection) { c.Integration.State = domain.IntegrationConnecting }), domain.CheckConnected, domain.CheckAttention},
		{"down", of(func(c *weddingcare.Connection) { c.Health.State = domain.HealthDown }), domain.CheckConnected, domain.CheckBlocking},
		{"polled", of(func(c *weddingcare.Connection) { c.Health.State = domain.HealthPolling }), domain.CheckConnected, domain.CheckAttention},
		{"in maintenance", of(func(c *weddingcare.Connection) { c.Health.State = domain.HealthMaintenance }), domain.CheckConnected, domain.CheckAttention},
		{"not asked", of(func(c *weddingcare.Connection) { c.Said = weddingcare.Said{} }), domain.CheckAnswers, domain.CheckAttention},
		{"no answer", of(func(c *weddingcare.Connection) { c.Said.Outcome = domain.ProbeFailed }), domain.CheckAnswers, domain.CheckBlocking},
		{"refused", of(func(c *weddingcare.Connection) { c.Said.Outcome = domain.ProbeRefused }), domain.CheckAnswers, domain.CheckBlocking},
		{"our own outage", of(func(c *weddingcare.Connection) { c.Said.Outcome = domain.ProbeBlind }), domain.CheckAnswers, domain.CheckAttention},
		{"nothing to ask", of(func(c *weddingcare.Connection) { c.Said = weddingcare.Said{Asked: true, Silent: true} }), domain.CheckAnswers, domain.CheckNone},
		{"a consent that was withdrawn", of(func(c *weddingcare.Connection) { c.Grant.Active = false }), domain.CheckCredentials, domain.CheckBlocking},
		{"a consent that ends before the day does", of(func(c *weddingcare.Connection) { c.Grant.Renews, c.Grant.ExpiresAt = false, begins.Add(13*hour) }), domain.CheckCredentials, domain.CheckBlocking},
		{"a consent that outlasts the day", of(func(c *weddingcare.Connection) { c.Grant.Renews, c.Grant.ExpiresAt = false, begins.Add(14*hour) }), domain.CheckCredentials, domain.CheckOK},
		{"a token that was not renewed", of(func(c *weddingcare.Connection) { c.Grant.ExpiresAt = now.Add(-2 * hour) }), domain.CheckCredentials, domain.CheckAttention},
		{"the secret in use ends on the day", of(func(c *weddingcare.Connection) {
			c.Credentials = []domain.WebhookCredential{{NotAfter: at(hour), LastUsedAt: at(-49 * hour)}}
		}), domain.CheckWebhooks, domain.CheckBlocking},
		{"another secret ends", of(func(c *weddingcare.Connection) {
			c.Credentials = []domain.WebhookCredential{{NotAfter: at(hour)}, {LastUsedAt: at(-49 * hour)}}
		}), domain.CheckWebhooks, domain.CheckAttention},
		{"a secret that ended long ago", of(func(c *weddingcare.Connection) {
			c.Credentials = []domain.WebhookCredential{{NotAfter: at(-100 * hour)}, {LastUsedAt: at(-49 * hour)}}
		}), domain.CheckWebhooks, domain.CheckOK},
		{"a watch that is prolonged", of(func(c *weddingcare.Connection) {
			c.Watches = []domain.Watch{{State: domain.WatchActive, ExpiresAt: at(0), RenewAfter: *at(-20 * hour)}}
		}), domain.CheckWatch, domain.CheckOK},
		{"a watch that cannot be prolonged", of(func(c *weddingcare.Connection) {
			c.Watches = []domain.Watch{{State: domain.WatchActive, ExpiresAt: at(0), RenewAfter: *at(-20 * hour), Failures: 2}}
		}), domain.CheckWatch, domain.CheckAttention},
		{"a watch that ended", of(func(c *weddingcare.Connection) {
			c.Watches = []domain.Watch{{State: domain.WatchActive, ExpiresAt: at(-49 * hour)}}
		}), domain.CheckWatch, domain.CheckAttention},
		{"a watch that is not there yet", of(func(c *weddingcare.Connection) { c.Watches = []domain.Watch{{State: domain.WatchPending}} }), domain.CheckWatch, domain.CheckAttention},
		{"read late", of(func(c *weddingcare.Connection) { c.Freshness.Late, c.Freshness.LateReason = true, "x" }), domain.CheckFresh, domain.CheckAttention},
		{"never read", of(func(c *weddingcare.Connection) { c.Integration.LastSyncAt = nil }), domain.CheckFresh, domain.CheckAttention},
		{"the last reading failed", of(func(c *weddingcare.Connection) { c.ReadFailed = "x" }), domain.CheckFresh, domain.CheckAttention},
		{"only written to", of(func(c *weddingcare.Connection) { c.Integration.Direction = domain.DirectionExport }), domain.CheckFresh, domain.CheckNone},
		{"a dead delivery of it", of(func(c *weddingcare.Connection) { c.Deliveries = []domain.Delivery{{State: domain.DeliveryDead}} }), domain.CheckDeliveries, domain.CheckBlocking},
		{"one that is tried again", of(func(c *weddingcare.Connection) { c.Deliveries = []domain.Delivery{{State: domain.DeliveryRetrying}} }), domain.CheckDeliveries, domain.CheckAttention},
		{"dead ones that nobody could read", of(func(c *weddingcare.Connection) { c.Unread = 3 }), domain.CheckDeliveries, domain.CheckAttention},
		{"a copy that was given up", of(func(c *weddingcare.Connection) { c.Push.State = domain.PushFailed }), domain.CheckCopy, domain.CheckBlocking},
		{"a copy that is tried again", of(func(c *weddingcare.Connection) { c.Push.State = domain.PushRetrying }), domain.CheckCopy, domain.CheckAttention},
		{"not written to it", of(func(c *weddingcare.Connection) { c.Push = nil }), domain.CheckCopy, domain.CheckNone},
	} {
		f := sound()
		x.edit(&f)
		checks := weddingcare.Judge(f, now)
		for n, c := range checks {
			if c.Reason == "" || n > 0 && c.State.Level() > checks[n-1].State.Level() {
				t.Errorf("%s: check %d is %+v", x.name, n, c)
			}
			if c.State == domain.CheckBlocking && c.Do == "" {
				t.Errorf("%s: %s puts the wedding in danger and says not what to do", x.name, c.Kind)
			}
			if c.Kind == x.kind && c.State != x.want {
				t.Errorf("%s: %s is %s (%s), want %s", x.name, c.Kind, c.State, c.Reason, x.want)
			}
			// Nothing else is wrong.
			if c.Kind != x.kind && c.State.Level() >= domain.CheckAttention.Level() {
				t.Errorf("%s: %s is %s too: %s", x.name, c.Kind, c.State, c.Reason)
			}
		}
		if x.want.Level() > 0 {
			if got := weddingcare.Worst(checks); got != x.want {
				t.Errorf("%s: the preflight is %s", x.name, got)
			}
		}
	}
}

func TestAReportSaysWhatFailedWhenItWasNoticedAndWhatIsLeft(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return day.Add(10*hour + time.Duration(minute)*time.Minute) }
	note := func(minute int, kind domain.NoteKind, bad bool, subject, text string) domain.WeddingNote {
		return domain.WeddingNote{At: at(minute), Kind: kind, Bad: bad, Subject: subject, Text: text}
	}
	log := []domain.WeddingNote{
		note(0, domain.NoteCare, false, "booking/1", "probes are faster"),
		note(1, domain.NoteHealth, true, "integration/a", "Calendar tells of no news"),
		note(2, domain.NoteFailover, false, "integration/a", "it is read at once"),
		note(2, domain.NoteHealth, true, "integration/a", "Calendar is read at intervals"),
		note(3, domain.NoteAlert, false, "integration/a", "people were told (critical)"),
		note(9, domain.NoteHealth, false, "integration/a", "Calendar works"),
		note(12, domain.NoteHealth, true, "integration/b", "CRM is down"),
		note(20, domain.NoteHealth, true, "integration/a", "Calendar is down"),
		note(21, domain.NoteHealth, false, "integration/a", "Calendar works"),
	}
	left := []domain.DayLeft{{Subject: "integration/b", What: "CRM is down", Do: "Look at its health."}}
	c := care()
	h := weddingcare.Report(c, log, left, map[string]string{"integration/a": "Calendar", "integration/b": "CRM"}, c.DayUntil)
	over := func(minute int) *time.Time { x := at(minute); return &x }
	want := []domain.DayFailure{
		{Subject: "integration/a", Name: "Calendar", What: "Calendar tells of no news", NoticedAt: at(1), OverAt: over(9), Lasted: 8 * time.Minute, Done: []string{"it is read at once", "people were told (critical)"}},
		{Subject: "integration/b", Name: "CRM", What: "CRM is down", NoticedAt: at(12), Lasted: c.DayUntil.Sub(at(12)), Done: []string{}},
		{Subject: "integration/a", Name: "Calendar", What: "Calendar is down", NoticedAt: at(20), OverAt: over(21), Lasted: time.Minute, Done: []string{}},
	}
	if d := cmp.Diff(want, h.Failures); d != "" {
		t.Errorf("failures (-want +got):\n%s", d)
	}
	if h.Quiet || h.Summary != "3 things failed on the day, and 1 of them goes on; one thing is left to do." {
		t.Errorf("quiet %t: %s", h.Quiet, h.Summary)
	}
	text := weddingcare.HandOverText(h)
	for _, part := range []string{"Calendar tells of no news", "over Sat 12 Jun 2027, 10:09, after 8m0s", "- it is read at once", "goes on", "Look at its health.", "probes are faster"} {
		if !strings.Contains(text, part) {
			t.Errorf("the text lacks %q:\n%s", part, text)
		}
	}
	quiet := weddingcare.Report(c, log[:1], nil, nil, c.DayUntil)
	if !quiet.Quiet || quiet.Summary != "Nothing failed on the day, and nothing is left to do." {
		t.Errorf("a quiet day: %+v", quiet)
	}
}

func TestAPreflightReadsAsTextInTheZoneOfTheWedding(t *testing.T) {
	t.Parallel()
	f := sound()
	f.Connections[0].Said.Outcome = domain.ProbeFailed
	f.Timeline = nil
	p := domain.Preflight{Kind: domain.PreflightFreeze, Checks: weddingcare.Judge(f, begins.Add(-48*hour)), Start: begins, MadeAt: begins.Add(-48 * hour)}
	text := weddingcare.PreflightText(p, "Pacific/Auckland")
	for _, part := range []string{"Sun 13 Jun 2027, 01:00", "as the look for the freeze", "One thing puts the wedding in danger, and one needs a look.", "IN DANGER  Calendar: it did not answer, twice",
		"-> See whether the system itself works", "LOOK       there is no timeline"} {
		if !strings.Contains(text, part) {
			t.Errorf("the text lacks %q:\n%s", part, text)
		}
	}
}
