package app_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/googlesim"
	"github.com/wedsync/wedsync/internal/sim/graphsim"
)

// TestThreeCalendarsStayInStepThroughEverythingThatCalendarsDo tells the whole story of calendar sync on the whole
// program: real Postgres, real Temporal, and the simulators of Google, Microsoft Graph and CalDAV in one organisation.
func TestThreeCalendarsStayInStepThroughEverythingThatCalendarsDo(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Postgres and Temporal")
	}
	t.Parallel()
	s := newStudio(t)
	s.create()
	began := time.Now()
	for _, part := range []struct {
		name string
		tell func(*chapters)
	}{
		{"connect", (*chapters).connected}, {"copies", (*chapters).copied}, {"echo", (*chapters).quiet}, {"push", (*chapters).pushed},
		{"private", (*chapters).private}, {"policies", (*chapters).edited}, {"deletion", (*chapters).deleted}, {"lost pushes", (*chapters).dropped},
		{"lost tokens", (*chapters).forgotten}, {"revoked", (*chapters).revoked}, {"at rest", (*chapters).rested},
	} {
		c := time.Now()
		part.tell(&chapters{studio: s, day: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 2, 0)})
		t.Logf("%-12s %s", part.name, time.Since(c).Round(time.Millisecond))
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("told in %s", time.Since(began).Round(time.Millisecond))
}

// chapters are the parts of the story. Each event lies on a day of its own, so that none clashes.
type chapters struct {
	*studio
	day time.Time
}

// at is ten o'clock on the nth day of the story.
func (c *chapters) at(n int) time.Time { return c.day.AddDate(0, 0, n).Add(10 * time.Hour) }

func googleTimes(at time.Time) map[string]any {
	return map[string]any{"start": map[string]any{"dateTime": at.Format(time.RFC3339)}, "end": map[string]any{"dateTime": at.Add(time.Hour).Format(time.RFC3339)}}
}

// put makes an event at Google as a person does, and returns its id.
func (c *chapters) put(title string, at time.Time, more map[string]any) string {
	fields := googleTimes(at)
	fields["summary"] = title
	for k, v := range more {
		fields[k] = v
	}
	return c.google.Put(googleCalendar, fields)
}

func googleTitle(n int) string { return fmt.Sprintf("Tasting %d", n) }

// event finds a person's event at Google by its title.
func (c *chapters) event(title string) string {
	c.Helper()
	for _, ev := range c.google.Events(googleCalendar) {
		if ev["summary"] == title {
			id, _ := ev["id"].(string)
			return id
		}
	}
	c.Fatalf("Google has no %q", title)
	return ""
}

const (
	googleEvents = 9 // 0 to 3 for the policies, 4 moved by push, 5 deleted, 6 moved without a push, 7 after lost tokens, 8 while revoked
	total        = googleEvents + 2
	graphTitle   = "Fitting"
	davTitle     = "Rehearsal"
)

// connected: a first sync of Google is seen while it goes on, the others follow, and watches stand.
func (c *chapters) connected() {
	for n := range googleEvents {
		c.put(googleTitle(n), c.at(n), nil)
	}
	c.graph.Add("Calendar", graphsim.Event{Subject: graphTitle, Start: c.at(20), End: c.at(20).Add(time.Hour)})
	release := c.doors["google"].holdPages()
	defer release()
	c.connect("google")
	var first domain.SyncRun
	c.await("the progress of the first sync", func() error {
		for _, run := range c.runs("google") {
			if run.State == domain.SyncRunning && run.Pages == 1 {
				first = run
				return nil
			}
		}
		return fmt.Errorf("runs %v", c.runs("google"))
	})
	if run := c.run(string(first.ID)); run.Seen != 3 || run.Applied != 3 || run.Progress == nil || run.Progress.PerSecond <= 0 || run.State != domain.SyncRunning {
		c.Errorf("in the middle of its first sync: %+v, progress %+v", run.SyncRun, run.Progress)
	}
	if n := len(c.bookings()); n < 3 || n >= total {
		c.Errorf("%d bookings are there while the second page is awaited", n)
	}
	release()
	if run := c.ended("google", string(first.ID)); run.Seen != googleEvents || run.Pages != 3 {
		c.Errorf("the first sync: %+v", run)
	}
	c.connect("outlook")
	c.dav.PutEvent(davCalendar, "rehearsal.ics", davEvent("rehearsal", davTitle, c.at(21)))
	c.resync("caldav", false)

	c.await("the watches", func() error {
		for _, name := range []string{"google", "outlook"} {
			f := c.integration(name).Freshness
			if f == nil || len(f.Watches) != 1 || f.Watches[0].State != domain.WatchActive {
				return fmt.Errorf("%s has %+v", name, f)
			}
			if f.TargetMS != 60_000 {
				return fmt.Errorf("%s aims at %d ms", name, f.TargetMS)
			}
		}
		return nil
	})
	if channels := c.google.Channels(); len(channels) != 1 {
		c.Errorf("channels at Google: %v", channels)
	}
	if n := c.graph.Subscriptions(); n != 1 || c.shakes.count() != 2 {
		c.Errorf("%d subscriptions at Graph after %d handshakes, want 1 after those of both addresses", n, c.shakes.count())
	}
}

func davEvent(uid, title string, at time.Time) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Story//EN\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20270101T000000Z\r\nDTSTART:" +
		at.Format("20060102T150405Z") + "\r\nDTEND:" + at.Add(time.Hour).Format("20060102T150405Z") + "\r\nSUMMARY:" + title + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
}

// copied: what one calendar had all of them have, once.
func (c *chapters) copied() {
	c.await("a copy of everything everywhere", func() error {
		bookings := c.bookings()
		if len(bookings) != total {
			return fmt.Errorf("%d bookings, want %d", len(bookings), total)
		}
		for id, b := range bookings {
			if err := c.everywhere(id, entry{Title: b.Details.Title, Start: b.When.Start}); err != nil {
				return err
			}
		}
		return nil
	})
	c.settle(c.writes())
	c.counts(total)
	// A copy costs one request at Google and CalDAV, and two at Graph, which binds the copy's marker to the id that it gave.
	want := map[string]int{"google": 2, "outlook": 2 * (total - 1), "caldav": total - 1}
	if got := c.writes(); fmt.Sprint(got) != fmt.Sprint(want) {
		c.Errorf("the first copies took %v writes, want %v", got, want)
	}
	if n := c.graph.Invited(); n != 0 {
		c.Errorf("%d guests would have got a mail", n)
	}
}

// counts checks that no calendar has more or less than all.
func (c *chapters) counts(want int) {
	c.Helper()
	if g, o, d := len(c.google.Events(googleCalendar)), c.graph.Count(), len(c.dav.Events(davCalendar)); g != want || o != want || d != want || len(c.bookings()) != want {
		c.Errorf("Google has %d events, Outlook %d, CalDAV %d, WedSync %d bookings; want %d of each", g, o, d, len(c.bookings()), want)
	}
}

// quiet: reading all that was written, by changes and in full, writes nothing; a full listing tells when it will end.
func (c *chapters) quiet() {
	before := c.writes()
	c.settle(before)
	release := c.doors["google"].holdPages()
	defer release()
	id := c.startSync("google", true)
	c.await("the progress of a full sync", func() error {
		run := c.run(id)
		if p := run.Progress; run.Pages != 1 || p == nil || p.Expected != total || p.Percent != 300/total || p.ETA == nil {
			return fmt.Errorf("%+v, progress %+v", run.SyncRun, p)
		}
		return nil
	})
	release()
	if run := c.ended("google", id); run.Seen != total || run.Applied != 0 || run.Removed != 0 || run.Quarantined != 0 {
		c.Errorf("a full sync of what is known: %+v", run)
	}
	for _, name := range []string{"outlook", "caldav"} {
		if run := c.resync(name, true); run.Seen != total || run.Applied != 0 {
			c.Errorf("a full sync of %s: %+v", name, run)
		}
	}
	if since := c.settle(before); fmt.Sprint(since) != fmt.Sprint(map[string]int{"google": 0, "outlook": 0, "caldav": 0}) {
		c.Errorf("reading what was written wrote %v", since)
	}
}

// wrote checks what a change has cost, everything that followed from it included.
func (c *chapters) wrote(what string, before map[string]int, google, outlook, caldav int) {
	c.Helper()
	if since := c.settle(before); since["google"] != google || since["outlook"] != outlook || since["caldav"] != caldav {
		c.Errorf("%s took %v writes, want google %d, outlook %d, caldav %d", what, since, google, outlook, caldav)
	}
}

// pushed: a change at Google, and one at Outlook, is told by a push and reaches the others.
func (c *chapters) pushed() {
	id := c.event(googleTitle(4))
	b, before, later := c.known("google", id), c.writes(), c.at(4).Add(3*time.Hour)
	c.google.Patch(googleCalendar, id, googleTimes(later))
	c.deliver()
	c.await("the change at Google everywhere", func() error { return c.everywhere(b, entry{Title: googleTitle(4), Start: later}) })
	c.wrote("a change at Google", before, 0, 1, 1)
	if run := c.noticed("google"); run == nil || run.NoticedAt == nil {
		c.Errorf("no sync of Google says that a notice was its cause")
	}
	if f := c.integration("google").Freshness; f.LastMS == nil || *f.LastMS > f.TargetMS || f.Samples < 1 || f.Late {
		c.Errorf("freshness of Google after a change: %+v", f)
	}
	e := c.explained("google", id)
	if !e.Known || e.Origin.Provider != "google" || e.Origin.External != id || e.Origin.Cause == nil || e.Origin.Cause.Kind != domain.CauseSyncRun {
		c.Errorf("the origin is explained as %+v", e.Origin)
	}
	for name, want := range map[string]string{"google": "own_entry", "outlook": "copy_written", "caldav": "copy_written"} {
		c.explains("google", id, name, want)
	}
	if n := len(e.Changes); n != 2 || !slices.Contains(e.Changes[0].Fields, "start") {
		c.Errorf("its history is %+v", e.Changes)
	}

	var fitting string
	for _, b := range c.bookings() {
		if b.Details.Title == graphTitle {
			fitting = c.own("outlook", b.ID)
		}
	}
	b, before = c.known("outlook", fitting), c.writes()
	c.graph.Edit(fitting, graphsim.Event{Subject: "Second fitting", Start: c.at(20), End: c.at(20).Add(time.Hour)})
	c.deliver()
	c.await("the change at Outlook everywhere", func() error { return c.everywhere(b, entry{Title: "Second fitting", Start: c.at(20)}) })
	c.wrote("a change at Outlook", before, 1, 0, 1)

	// A moved copy moves the event: the calendars are equal sides.
	before = c.writes()
	copied := c.copyAt("outlook", c.known("google", id))
	ev, _ := c.graph.Event(copied)
	moved := later.Add(time.Hour)
	ev.Start, ev.End = moved, moved.Add(time.Hour)
	c.graph.Edit(copied, ev)
	c.resync("outlook", false)
	c.await("the moved copy everywhere", func() error { return c.everywhere(c.known("google", id), entry{Title: googleTitle(4), Start: moved}) })
	c.wrote("a moved copy", before, 1, 0, 1)
}

// explains waits until an entry is explained, for one calendar, by a code: a write is there a moment before it is noted.
func (c *chapters) explains(of, externalID, name, want string) {
	c.Helper()
	c.await("an explanation of "+name, func() error {
		if got := c.explained(of, externalID).code(c.ids[name]); got != want {
			return fmt.Errorf("it is %s, want %s", got, want)
		}
		return nil
	})
}

func (c *chapters) noticed(name string) *domain.SyncRun {
	for _, run := range c.runs(name) {
		if run.NoticedAt != nil && run.State == domain.SyncDone {
			return &run
		}
	}
	return nil
}

// own and copyAt find the entry of a booking in a calendar.
func (c *chapters) own(name string, id domain.BookingID) string    { return c.linked(name, id, false) }
func (c *chapters) copyAt(name string, id domain.BookingID) string { return c.linked(name, id, true) }

func (c *chapters) linked(name string, id domain.BookingID, mirror bool) string {
	c.Helper()
	for _, x := range c.booking(id).Copies {
		if x.Integration == c.ids[name] && x.Mirror == mirror && x.RemovedAt == nil {
			return x.External
		}
	}
	c.Fatalf("%s has no such entry of %s", name, id)
	return ""
}

// private: others see that the time is taken, and nothing else.
func (c *chapters) private() {
	before := c.writes()
	id := c.put("Surprise party", c.at(30), map[string]any{"visibility": "private", "location": "The secret barn"})
	c.resync("google", false)
	b := c.known("google", id)
	c.await("a copy of a private event", func() error { return c.everywhere(b, entry{Title: "Busy", Start: c.at(30)}, "outlook", "caldav") })
	for _, name := range []string{"outlook", "caldav"} {
		if got := c.shows(name, b)[0]; got.Place != "" {
			c.Errorf("%s learned where a private event is: %v", name, got)
		}
		c.explains("google", id, name, "copy_as_busy")
	}
	c.wrote("a private event", before, 0, 2, 1)
	c.counts(total + 1)
}

// edited: the same event is moved at Google and in WedSync, under each policy.
func (c *chapters) edited() {
	there, here := 2*time.Hour, 5*time.Hour
	for n, policy := range []domain.EditPolicy{domain.EditSourceWins, domain.EditNewestWins, domain.EditKeepBoth, domain.EditManual} {
		c.change("google", map[string]any{"sync": map[string]any{"edit_conflicts": policy}})
		title, id := googleTitle(n), c.event(googleTitle(n))
		b := c.known("google", id)
		c.google.Patch(googleCalendar, id, googleTimes(c.at(n).Add(there)))
		was := c.booking(b)
		c.call(http.MethodPatch, "/v1/bookings/"+string(b), map[string]any{"version": was.Version,
			"when": map[string]any{"start": c.at(n).Add(here), "end": c.at(n).Add(here + time.Hour)}}, nil)
		theirs, ours := entry{Title: title, Start: c.at(n).Add(there)}, entry{Title: title, Start: c.at(n).Add(here)}
		switch policy {
		case domain.EditSourceWins:
			c.await("the source to win", func() error { return c.everywhere(b, theirs) })
		case domain.EditNewestWins:
			c.await("the newest to win", func() error { return c.everywhere(b, ours) })
		case domain.EditKeepBoth:
			c.await("both versions everywhere", func() error {
				for _, other := range c.bookings() {
					if other.BesideID == b {
						first, second := c.booking(b), c.booking(other.ID)
						if both := []time.Time{first.When.Start, second.When.Start}; !slices.Contains(both, theirs.Start) || !slices.Contains(both, ours.Start) {
							return fmt.Errorf("the versions are at %v", both)
						}
						return errors.Join(c.everywhere(b, entry{Title: title, Start: first.When.Start}), c.everywhere(other.ID, entry{Title: title, Start: second.When.Start}))
					}
				}
				return errors.New("there is one version")
			})
		case domain.EditManual:
			c.asked(b, id, theirs, ours)
		}
	}
	c.settle(c.writes())
	c.counts(total + 2)
}

// asked: each side keeps what it has until a person decides.
func (c *chapters) asked(b domain.BookingID, id string, theirs, ours entry) {
	c.Helper()
	var open listOf[domain.EditConflict]
	c.await("the question", func() error {
		c.call(http.MethodGet, "/v1/edit-conflicts?state=open&integration="+c.ids["google"], nil, &open)
		if len(open.Items) != 1 || open.Items[0].BookingID != b {
			return fmt.Errorf("open: %v", open.Items)
		}
		return nil
	})
	c.await("each side to keep its own", func() error {
		return errors.Join(c.everywhere(b, theirs, "google"), c.everywhere(b, ours, "outlook", "caldav"))
	})
	c.explains("google", id, "google", "edited_on_both_sides")
	q := open.Items[0]
	if !q.ThereIsSource {
		c.Errorf("the event came from Google: %+v", q)
	}
	c.call(http.MethodPost, "/v1/edit-conflicts/"+string(q.ID)+"/resolve", map[string]any{"choice": domain.ChooseCopy, "version": q.Version, "reason": "agreed by phone"}, &q)
	if q.State != domain.EditResolved || q.Choice != domain.ChooseCopy {
		c.Errorf("after the decision: %+v", q)
	}
	c.await("the decision everywhere", func() error { return c.everywhere(b, ours) })
	c.explains("google", id, "google", "own_entry")
}

// deleted: an event that goes at Google goes everywhere, and only it.
func (c *chapters) deleted() {
	id := c.event(googleTitle(5))
	b, before := c.known("google", id), c.writes()
	c.google.Delete(googleCalendar, id)
	c.deliver()
	c.await("the deletion everywhere", func() error { return c.nowhere(b) })
	c.wrote("a deletion", before, 0, 1, 1)
	c.counts(total + 1)
	if got := c.booking(b); got.Status != domain.StatusCancelled {
		c.Errorf("the booking is %s", got.Status)
	}
}

// dropped: pushes that got lost are made up for by the poll.
func (c *chapters) dropped() {
	c.google.SetPushes(googlesim.Pushes{Drop: 1})
	c.graph.SetFaults(graphsim.Faults{DropNotes: true})
	id, later := c.event(googleTitle(6)), c.at(6).Add(time.Hour)
	b, before := c.known("google", id), c.writes()
	var fitting domain.BookingID
	for _, x := range c.bookings() {
		if x.Details.Title == "Second fitting" {
			fitting = x.ID
		}
	}
	c.google.Patch(googleCalendar, id, googleTimes(later))
	c.graph.Edit(c.own("outlook", fitting), graphsim.Event{Subject: "Last fitting", Start: c.at(20), End: c.at(20).Add(time.Hour)})
	if n, err := c.google.Deliver(c.Context()); n != 0 || err != nil {
		c.Errorf("%d messages were delivered, %v", n, err)
	}
	if got := c.graph.Deliver(c.Context()); len(got) != 0 {
		c.Errorf("notifications were delivered: %v", got)
	}
	known := map[string]int{"google": len(c.runs("google")), "outlook": len(c.runs("outlook"))}
	for name := range known {
		c.change(name, map[string]any{"poll_seconds": 1})
	}
	c.await("the changes that nobody told of", func() error {
		return errors.Join(c.everywhere(b, entry{Title: googleTitle(6), Start: later}), c.everywhere(fitting, entry{Title: "Last fitting", Start: c.at(20)}))
	})
	for name, before := range known {
		c.change(name, map[string]any{"poll_seconds": 0})
		runs := c.runs(name)
		for _, run := range runs[:len(runs)-before] { // the newest first
			if run.RequestedBy != "schedule" || run.NoticedAt != nil {
				c.Errorf("a sync of %s was by %s, noticed at %v; want one of the schedule alone", name, run.RequestedBy, run.NoticedAt)
			}
		}
	}
	c.google.SetPushes(googlesim.Pushes{})
	c.graph.Heal()
	c.wrote("two changes without a push", before, 1, 1, 2)
}

// forgotten: every calendar forgets where we were. All is read again, nothing is removed, and news arrive.
func (c *chapters) forgotten() {
	known := map[string]int{"outlook": len(c.runs("outlook")), "caldav": len(c.runs("caldav"))}
	c.google.ExpireTokens()
	c.graph.ExpireTokens()
	c.dav.ExpireTokens()
	id, later := c.event(googleTitle(7)), c.at(7).Add(time.Hour)
	b, before, had := c.known("google", id), c.writes(), c.bookings()
	c.google.Patch(googleCalendar, id, googleTimes(later))
	c.deliver()
	c.await("a change after the tokens were lost", func() error { return c.everywhere(b, entry{Title: googleTitle(7), Start: later}) })
	for name, before := range known {
		// A quick poll may have come first, because pushes were lost before.
		c.resync(name, false)
		runs := c.runs(name)
		runs = runs[:len(runs)-before] // the newest first
		if !slices.ContainsFunc(runs, func(r domain.SyncRun) bool { return r.Full }) ||
			slices.ContainsFunc(runs, func(r domain.SyncRun) bool { return r.Removed != 0 || r.Quarantined != 0 }) {
			c.Errorf("the syncs of %s after its token was lost: %+v", name, runs)
		}
	}
	c.wrote("lost tokens and one change", before, 0, 1, 1)
	now := c.bookings()
	for id := range had {
		if _, there := now[id]; !there {
			c.Errorf("booking %s went with a token", id)
		}
	}
	var held listOf[domain.Quarantine]
	if c.call(http.MethodGet, "/v1/quarantines?limit=200", nil, &held); len(held.Items) != 0 || len(now) != len(had) {
		c.Errorf("%d bookings of %d, %d quarantines", len(now), len(had), len(held.Items))
	}
}

// revoked: a grant that is taken back stops one calendar with words, and a new consent makes up for all that was missed.
func (c *chapters) revoked() {
	c.consents["google"].RevokeAll()
	id, later := c.event(googleTitle(8)), c.at(8).Add(time.Hour)
	b, before := c.known("google", id), c.writes()
	c.google.Patch(googleCalendar, id, googleTimes(later))
	c.deliver()
	c.await("the loss of the grant", func() error {
		i := c.integration("google")
		if i.State != domain.IntegrationNeedsReconnect || !strings.Contains(i.StateReason, "wedsync integration connect "+c.ids["google"]) {
			return fmt.Errorf("%s: %s", i.State, i.StateReason)
		}
		return nil
	})
	c.explains("google", id, "google", "own_entry")
	added := c.graph.Add("Calendar", graphsim.Event{Subject: "Cake", Start: c.at(31), End: c.at(31).Add(time.Hour)})
	c.resync("outlook", false)
	cake := c.known("outlook", added)
	c.await("the others to go on", func() error { return c.everywhere(cake, entry{Title: "Cake", Start: c.at(31)}, "outlook", "caldav") })
	if got := c.shows("google", cake); len(got) != 0 {
		c.Errorf("Google shows %v without a grant", got)
	}
	c.explains("outlook", added, "google", "needs_reconnect")
	c.connect("google")
	c.await("Google to catch up", func() error {
		return errors.Join(c.everywhere(cake, entry{Title: "Cake", Start: c.at(31)}), c.everywhere(b, entry{Title: googleTitle(8), Start: later}))
	})
	c.wrote("what was missed", before, 1, 1, 2)
}

// rested: nothing was doubled or lost, and whoever asks is told that all is well.
func (c *chapters) rested() {
	before := c.writes()
	for range 2 {
		for _, name := range calendarProviders {
			c.resync(name, true)
		}
	}
	c.wrote("reading everything again", before, 0, 0, 0)
	c.counts(total + 2)
	for _, name := range calendarProviders {
		titles := map[string]int{}
		for id := range c.bookings() {
			for _, e := range c.shows(name, id) {
				titles[fmt.Sprint(e.Title, " ", e.Start)]++
			}
		}
		for title, n := range titles {
			if n > 1 {
				c.Errorf("%s shows %s %d times", name, title, n)
			}
		}
		i := c.integration(name)
		if f := i.Freshness; i.State != domain.IntegrationActive || f == nil || f.Late || name != "caldav" && cmp.Or(f.TargetMS, -1) != 60_000 {
			c.Errorf("%s is %s, fresh %+v", name, i.State, f)
		}
	}
	if n := c.graph.Invited() + c.graph.WithoutImmutableIDs(); n != 0 || c.graph.Peak() > 4 {
		c.Errorf("Graph: %d guests or requests without immutable ids, %d at once", n, c.graph.Peak())
	}
}
