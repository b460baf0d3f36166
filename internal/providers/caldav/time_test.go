package caldav

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/caldavsim"
)

func TestNewZoneRulesAskForAFullListingThatDeletesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{})
	b.sim.PutEvent("weddings", "s.ics", vevent("UID:s", "DTSTART;TZID=Europe/London:20270320T100000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=5"))
	first := pullAll(t, b.conn, "")
	if page := pullAll(t, b.conn, first.Next); len(page.Changes) != 0 {
		t.Fatalf("a quiet calendar told %d changes", len(page.Changes))
	}
	b.conn.zoneData = "another version"
	if _, err := b.conn.Pull(t.Context(), first.Next); domain.KindOf(err) != domain.KindGoneToken {
		t.Fatalf("error %v, want KindGoneToken", err)
	}
	again := pullAll(t, b.conn, "")
	if !again.Complete || len(again.Changes) != len(first.Changes) {
		t.Errorf("the full listing has %d changes, complete %v; want the %d instances", len(again.Changes), again.Complete, len(first.Changes))
	}
	for _, c := range again.Changes {
		if c.Op != domain.OpUpsert {
			t.Errorf("%s: %s", c.ExternalID, c.Op)
		}
	}
	if page := pullAll(t, b.conn, again.Next); len(page.Changes) != 0 {
		t.Errorf("after it, a quiet calendar told %d changes", len(page.Changes))
	}
}

func TestInstancesComeIntoTheWindowAsTimeGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{}, func(s *settings) { ten := 10; s.PastDays, s.FutureDays = &ten, &ten })
	path := b.sim.PutEvent("weddings", "s.ics", vevent("UID:s", "DTSTART;VALUE=DATE:20200101", "RRULE:FREQ=DAILY"))
	now := providertest.Now
	b.conn.now = func() time.Time { return now }
	seen := map[string]bool{}
	cursor := ""
	for range 40 {
		page, err := b.conn.Pull(t.Context(), cursor)
		if domain.KindOf(err) == domain.KindGoneToken {
			page, err = b.conn.Pull(t.Context(), "")
		}
		if err != nil || page.More {
			t.Fatalf("pull: %v, more %v", err, page.More)
		}
		for _, c := range page.Changes {
			if c.Op != domain.OpUpsert {
				t.Errorf("%s: %s", c.ExternalID, c.Op)
			}
			seen[c.ExternalID] = true
		}
		cursor = page.Next
		now = now.Add(24 * time.Hour)
	}
	// The step of the window is the most that its end may lag behind.
	first := providertest.Now.UTC().Truncate(24 * time.Hour)
	for day := first; day.Before(now.Add(10*24*time.Hour - windowStep - 24*time.Hour)); day = day.Add(24 * time.Hour) {
		if id := path + "#" + day.Format("20060102"); !seen[id] {
			t.Errorf("%s never came", id)
		}
	}
}

func TestDayAtTheEdgeOfTheWindowDoesNotOscillate(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/London"} {
		c := offline(t, func(s *settings) { ten := 10; s.PastDays, s.FutureDays = &ten, &ten })
		c.local.Name, c.local.Loc = name, mustZone(t, name)
		for _, data := range []string{
			vevent("UID:a", "DTSTART;VALUE=DATE:20270301"),
			vevent("UID:a", "DTSTART;VALUE=DATE:20270301", "RRULE:FREQ=DAILY;COUNT=1"),
		} {
			turns, shown := 0, false
			for at := time.Date(2027, 2, 10, 0, 0, 0, 0, time.UTC); at.Before(time.Date(2027, 3, 20, 0, 0, 0, 0, time.UTC)); at = at.Add(time.Hour) {
				c.now = func() time.Time { return at }
				got, problems := changesOf(t, c, data)
				if len(problems) != 0 || len(got) > 1 {
					t.Fatalf("%d changes, problems %v", len(got), problems)
				}
				if (len(got) == 1) != shown {
					turns, shown = turns+1, !shown
				}
			}
			if turns != 2 || shown {
				t.Errorf("%s: the day came and went %d times, want once each", name, turns)
			}
		}
	}
}

func TestEntryOutsideTheWindowIsNotProvedGone(t *testing.T) {
	t.Parallel()
	b := setup(t, caldavsim.Options{}, func(s *settings) { ten := 10; s.PastDays, s.FutureDays = &ten, &ten })
	path := b.sim.PutEvent("weddings", "s.ics", vevent("UID:s", "DTSTART;VALUE=DATE:20200101", "RRULE:FREQ=DAILY"))
	single := b.sim.PutEvent("weddings", "a.ics", vevent("UID:a", "DTSTART;VALUE=DATE:20200101"))
	for _, id := range []string{path + "#20200105", single} {
		if got, err := b.conn.Read(t.Context(), id); err != nil || got.ExternalID != id {
			t.Errorf("%s: %v; it left the window, and it is still there", id, err)
		}
	}
}
