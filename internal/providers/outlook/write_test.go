package outlook

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sim/graphsim"
)

func (b *bundle) put(t testing.TB, w provider.Write) provider.Written {
	t.Helper()
	done, err := b.conn.Put(t.Context(), w)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return done
}

// Hidden properties travel with a duplicate; peers swallowed such copies as echoes or doubled them for ever.
func TestCopyMadeByAPersonIsANewEvent(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	done := b.put(t, write(0))
	copied := b.sim.Duplicate(done.ExternalID)
	page := pullAll(t, b.conn, "")
	if c := byID(t, page, copied); c.Origin != "" {
		t.Errorf("a person's copy is taken for ours, of booking %s", c.Origin)
	}
	if c := byID(t, page, done.ExternalID); c.Origin != write(0).BookingID {
		t.Errorf("our copy has the origin %q", c.Origin)
	}
	// Nor is it adopted, or removed, in the place of ours.
	if again := b.put(t, write(0)); again.ExternalID != done.ExternalID || b.sim.Count() != 2 {
		t.Errorf("put again gave %s of %d events", again.ExternalID, b.sim.Count())
	}
	wantKind(t, b.conn.Remove(t.Context(), copied, ""), domain.KindConflict)
}

func TestCopyThatWasNotBoundYetIsAdoptedAndBound(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	b.conn.client.http = refusing{b.conn.client.http, http.MethodPatch}
	if _, err := b.conn.Put(t.Context(), write(0)); !domain.Retryable(err) {
		t.Fatalf("the second step failed: %v", err)
	}
	b.conn.client.http = b.conn.client.http.(refusing).doer
	page := pullAll(t, b.conn, "")
	if len(page.Changes) != 1 || page.Changes[0].Origin != write(0).BookingID {
		t.Fatalf("a copy that is not bound yet reads as %+v", page.Changes)
	}
	done := b.put(t, write(0))
	if done.ExternalID != page.Changes[0].ExternalID || b.sim.Count() != 1 {
		t.Errorf("another copy was made: %d events", b.sim.Count())
	}
	copied := b.sim.Duplicate(done.ExternalID)
	if c := byID(t, pullAll(t, b.conn, ""), copied); c.Origin != "" {
		t.Error("the adopted copy was not bound to its id")
	}
}

type refusing struct {
	doer
	method string
}

func (r refusing) Do(req *http.Request) (*httpx.Response, error) {
	if req.Method == r.method {
		return nil, domain.E(domain.KindUnavailable, "broken on the way")
	}
	return r.doer.Do(req)
}

func TestNobodyIsInvited(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	w := write(0)
	w.Details.Contact = "couple@example.com"
	done := b.put(t, w)
	w.ExternalID, w.Revision, w.Status = done.ExternalID, done.Revision, domain.StatusTentative
	b.put(t, w)
	if n := b.sim.Invited(); n != 0 {
		t.Errorf("%d people were invited by a copy", n)
	}
}

func TestRepeatOfAFinishedWriteWritesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	done := b.put(t, write(0))
	posts, patches := b.sim.Requests(http.MethodPost), b.sim.Requests(http.MethodPatch)
	again := b.put(t, write(0))
	if again.Revision != done.Revision || b.sim.Requests(http.MethodPost) != posts || b.sim.Requests(http.MethodPatch) != patches {
		t.Errorf("the repeat wrote: revision %s, before %s", again.Revision, done.Revision)
	}
}

func TestAllDayTimesAreMidnightsOfOneZone(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	for zone, allDay := range map[string]bool{"Europe/London": true, "America/New_York": false} {
		loc := mustZone(t, zone)
		w := write(len(zone))
		w.When = domain.When{Zone: zone, Kind: domain.TimeAllDay, Span: domain.Span{
			Start: time.Date(2027, time.June, 5, 0, 0, 0, 0, loc).UTC(), End: time.Date(2027, time.June, 6, 0, 0, 0, 0, loc).UTC()}}
		done := b.put(t, w)
		got, _ := b.sim.Event(done.ExternalID)
		// In the resource's zone the day is a day; the day of another zone is other hours, and the hours count.
		if got.AllDay != allDay || !done.ReadBack.When.Start.Equal(w.When.Start) || !done.ReadBack.When.End.Equal(w.When.End) {
			t.Errorf("%s: all day %v, %v, want %v and %v", zone, got.AllDay, done.ReadBack.When.Span, allDay, w.When.Span)
		}
	}
}

func TestAllDayCopyCanBecomeTimedAndBack(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	loc := mustZone(t, "Europe/London")
	day := domain.When{Zone: "Europe/London", Kind: domain.TimeAllDay, Span: domain.Span{
		Start: time.Date(2027, time.June, 5, 0, 0, 0, 0, loc).UTC(), End: time.Date(2027, time.June, 6, 0, 0, 0, 0, loc).UTC()}}
	timed := write(0).When
	w := write(0)
	for _, when := range []domain.When{day, timed, day} {
		w.When = when
		done := b.put(t, w)
		if done.ReadBack.When.Kind != when.Kind || !done.ReadBack.When.Start.Equal(when.Start) {
			t.Fatalf("%#v reads back as %#v", when, done.ReadBack.When)
		}
		w.ExternalID, w.Revision = done.ExternalID, done.Revision
	}
}

func TestCancelledBookingIsShownAsFreeTime(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	w := write(0)
	w.Status = domain.StatusCancelled
	if done := b.put(t, w); !done.ReadBack.Free {
		t.Errorf("reads back as %+v", done.ReadBack)
	}
}

func TestOccurrenceIsMovedAloneAndOnlyAsItWasRead(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	master := b.sim.Add("Calendar", weekly())
	id := occurrenceID(master, b.sim.Occurrence(master, "2027-03-15"))
	before := byID(t, pullAll(t, b.conn, ""), id)
	w := write(0)
	w.ExternalID, w.Revision, w.Source, w.Details = id, before.Revision, true, domain.Details{}
	w.When = domain.When{Span: domain.Span{Start: at("2027-03-16T12:00:00Z"), End: at("2027-03-16T13:00:00Z")}, Zone: "UTC", Kind: domain.TimeZoned}
	done := b.put(t, w)
	if done.ExternalID != id || done.ReadBack.Details.Title != "Choir" || !done.ReadBack.When.Start.Equal(w.When.Start) || done.ReadBack.When.Zone != "Europe/London" {
		t.Errorf("moved to %v, %+v", done.ReadBack.When, done.ReadBack.Details)
	}
	got := upserts(pullAll(t, b.conn, ""))
	if len(got) != 4 || got[id].Hash() != done.ReadBack.Hash() {
		t.Errorf("%d occurrences after one was moved, want 4", len(got))
	}
	other := occurrenceID(master, b.sim.Occurrence(master, "2027-03-22"))
	w.ExternalID, w.Revision = other, got[other].Revision
	changed := weekly()
	changed.Subject = "Choir, new hall"
	b.sim.Edit(master, changed)
	_, err := b.conn.Put(t.Context(), w)
	wantKind(t, err, domain.KindConflict)
	wantKind(t, b.conn.Remove(t.Context(), other, "x"), domain.KindInvalid)
	w.Source = false
	_, err = b.conn.Put(t.Context(), w)
	wantKind(t, err, domain.KindInvalid)
}

func TestSourceKeepsItsZoneAndWordsWhenMoved(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	e := tasting()
	e.Zone, e.ShowAs, e.Categories = "Eastern Standard Time", "oof", []string{"Travel"}
	id := b.sim.Add("Calendar", e)
	before, err := b.conn.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	w := write(0)
	w.ExternalID, w.Revision, w.Source, w.Details = id, before.Revision, true, domain.Details{}
	done := b.put(t, w)
	got, _ := b.sim.Event(id)
	if got.Zone != e.Zone || got.ShowAs != "oof" || got.Subject != e.Subject || len(got.Categories) != 1 || !got.Start.Equal(w.When.Start) {
		t.Errorf("the moved event is %+v", got)
	}
	// The answer was lost, and the move is tried again under the old revision.
	if again := b.put(t, w); again.Revision != done.Revision {
		t.Error("the repeat of a move wrote again")
	}
	w.Status = domain.StatusCancelled
	w.Revision = done.Revision
	if done = b.put(t, w); !done.ReadBack.Free {
		t.Error("a cancelled source still takes its time")
	}
}

func TestCalendarIsChosenAmongAllPagesOfTheAccount(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Calendars: []graphsim.Calendar{{Name: "Calendar"}, {Name: "Holidays", ReadOnly: true}, {Name: "Birthdays", ReadOnly: true},
		{Name: "Weddings"}, {Name: "Twin"}, {Name: "twin"}}})
	for want, c := range map[string]struct {
		name, id string
		field    string
	}{
		"default":   {name: "", id: b.sim.CalendarID("Calendar")},
		"by name":   {name: "weddings", id: b.sim.CalendarID("Weddings")},
		"by id":     {name: b.sim.CalendarID("Twin"), id: b.sim.CalendarID("Twin")},
		"ambiguous": {name: "Twin", field: "settings.calendar"},
		"unknown":   {name: "Funerals", field: "settings.calendar"},
		"read-only": {name: "Holidays", field: "settings.calendar"},
	} {
		s := b.conn.settings
		s.Calendar = c.name
		raw, err := b.connect(t, s, domain.DirectionBidirectional).Onboard(t.Context())
		if c.field != "" {
			if domain.FieldOf(err) != c.field || domain.KindOf(err) != domain.KindInvalid {
				t.Errorf("%s: %v", want, err)
			}
			continue
		}
		var got settings
		if err != nil || json.Unmarshal(raw, &got) != nil || got.Calendar != c.id || got.Mailbox == "" {
			t.Errorf("%s: %s, %v", want, raw, err)
		}
	}
	s := b.conn.settings
	s.Calendar = "Holidays"
	if _, err := b.connect(t, s, domain.DirectionImport).Onboard(t.Context()); err != nil {
		t.Errorf("a calendar that is only read may be read-only: %v", err)
	}
	s.Calendar, s.Mailbox = "", "0123456789abcdef"
	if _, err := b.connect(t, s, domain.DirectionImport).Onboard(t.Context()); domain.FieldOf(err) != "settings.mailbox" {
		t.Errorf("another account: %v", err)
	}
	s.Calendar, s.Mailbox = b.sim.CalendarID("Holidays"), ""
	wantKind(t, b.connect(t, s, domain.DirectionExport).Probe(t.Context()), domain.KindForbidden)
}
