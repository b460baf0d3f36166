package suggest_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
	"github.com/wedsync/wedsync/internal/rules/suggest"
)

func mustZone(name string) *time.Location {
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		panic(err)
	}
	return loc
}

var london = mustZone("Europe/London")

func at(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, london)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func between(from, to string) domain.Span { return domain.Span{Start: at(from), End: at(to)} }

func booked(res domain.Resource, id string, category domain.Category, event domain.Span) conflict.Candidate {
	return conflict.Candidate{BookingID: domain.BookingID(id), Category: category, Status: domain.StatusConfirmed, Event: event, Busy: conflict.Busy(res, event, category)}
}

func photographer(id string, skills ...string) domain.Resource {
	return domain.Resource{ID: domain.ResourceID(id), Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1,
		BufferBefore: time.Hour, BufferAfter: time.Hour, OneWeddingADay: true, Skills: skills}
}

func booking(category domain.Category, event domain.Span) domain.Booking {
	return domain.Booking{ID: "subject", Category: category, Status: domain.StatusConfirmed, When: domain.When{Span: event, Zone: "Europe/London", Kind: domain.TimeZoned}}
}

// saturday is the clash of the demonstration: a consultation inside a wedding on Saturday 5 June 2027.
func saturday() suggest.Request {
	res := photographer("anna", "portrait")
	return suggest.Request{
		Subject: booking(domain.CategoryConsultation, between("2027-06-05 14:00", "2027-06-05 15:00")), Resource: res, Loc: london,
		Busy: []conflict.Candidate{booked(res, "w", domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 18:00"))},
		Now:  at("2027-05-01 09:00"),
	}
}

func tell(list []domain.Alternative) []string {
	out := []string{}
	for _, a := range list {
		out = append(out, fmt.Sprintf("%d %s %s %s: %s", a.Score, a.Action, a.ResourceID,
			a.When.Start.In(london).Format("Mon 2 Jan 15:04")+"-"+a.When.End.In(london).Format("15:04"), strings.Join(a.Reasons, "; ")))
	}
	return out
}

func TestAlternativesReadLikeAPlannersAdvice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		edit func(*suggest.Request)
		want []string
	}{
		{"a consultation inside a wedding", func(*suggest.Request) {}, []string{
			"87 move anna Sat 29 May 14:00-15:00: 7 days earlier, on Sat 29 May 2027: +27; same weekday: +15; same clock time: +30; same resource: +15",
			"87 move anna Sat 12 Jun 14:00-15:00: 7 days later, on Sat 12 June 2027: +27; same weekday: +15; same clock time: +30; same resource: +15",
			"85 move anna Sun 6 Jun 14:00-15:00: 1 day later, on Sun 6 June 2027: +33; same part of the week: +7; same clock time: +30; same resource: +15",
			"80 move anna Sat 22 May 14:00-15:00: 14 days earlier, on Sat 22 May 2027: +20; same weekday: +15; same clock time: +30; same resource: +15",
			"73 move anna Sat 5 Jun 09:00-10:00: same day: +40; same weekday: +15; the clock 5 h earlier: +3; same resource: +15",
		}},
		{"a colleague who is free", func(r *suggest.Request) {
			r.Max = 3
			able, unable, busy := photographer("ben", "drone", "Portrait"), photographer("cleo", "drone"), photographer("dora", "portrait")
			room := photographer("room", "portrait")
			room.Kind = domain.ResourceRoom
			r.Others = []suggest.Other{{Resource: able, Loc: london}, {Resource: unable, Loc: london}, {Resource: room, Loc: london}, {Resource: r.Resource, Loc: london},
				{Resource: busy, Loc: london, Busy: []conflict.Candidate{booked(busy, "x", domain.CategoryVendor, between("2027-06-05 15:30", "2027-06-05 16:00"))}}}
		}, []string{
			"90 reassign ben Sat 5 Jun 14:00-15:00: same day: +40; same weekday: +15; same clock time: +30; another resource of the same kind with the same skills: +0; which has nothing else that day: +5",
			"87 move anna Sat 29 May 14:00-15:00: 7 days earlier, on Sat 29 May 2027: +27; same weekday: +15; same clock time: +30; same resource: +15",
			"73 move anna Sat 5 Jun 09:00-10:00: same day: +40; same weekday: +15; the clock 5 h earlier: +3; same resource: +15",
		}},
		{"an hour later on the same day", func(r *suggest.Request) {
			r.Max = 1
			r.Busy[0] = booked(r.Resource, "p", domain.CategoryPersonal, between("2027-06-05 13:30", "2027-06-05 14:30"))
		}, []string{
			"91 move anna Sat 5 Jun 15:30-16:30: same day: +40; same weekday: +15; the clock 1 h 30 min later: +21; same resource: +15",
		}},
		{"a wedding is only moved if the couple wishes it", func(r *suggest.Request) {
			r.Max = 3
			r.Subject = booking(domain.CategoryWedding, between("2027-06-05 13:00", "2027-06-05 22:00"))
			r.Others = []suggest.Other{{Resource: photographer("ben", "portrait"), Loc: london}}
		}, []string{
			"90 reassign ben Sat 5 Jun 13:00-22:00: same day: +40; same weekday: +15; same clock time: +30; another resource of the same kind with the same skills: +0; which has nothing else that day: +5",
			"7 move anna Sat 29 May 13:00-22:00: 7 days earlier, on Sat 29 May 2027: +27; same weekday: +15; same clock time: +30; same resource: +15; a wedding should only move if the couple wishes it: -50; to another date even less: -30",
			"7 move anna Sat 12 Jun 13:00-22:00: 7 days later, on Sat 12 June 2027: +27; same weekday: +15; same clock time: +30; same resource: +15; a wedding should only move if the couple wishes it: -50; to another date even less: -30",
		}},
		{"nothing sooner than two hours from now", func(r *suggest.Request) {
			r.Max = 2
			r.Now = at("2027-06-05 11:10")
			r.Busy[0] = booked(r.Resource, "p", domain.CategoryPersonal, between("2027-06-05 14:00", "2027-06-05 14:30"))
			r.Others = []suggest.Other{{Resource: photographer("ben", "portrait"), Loc: london}}
		}, []string{
			"91 move anna Sat 5 Jun 15:30-16:30: same day: +40; same weekday: +15; the clock 1 h 30 min later: +21; same resource: +15",
			"90 reassign ben Sat 5 Jun 14:00-15:00: same day: +40; same weekday: +15; same clock time: +30; another resource of the same kind with the same skills: +0; which has nothing else that day: +5",
		}},
		{"a wedding within two days may only get another resource, and that says so", func(r *suggest.Request) {
			r.Max = 3
			r.Now = at("2027-06-04 09:00")
			r.Subject = booking(domain.CategoryWedding, between("2027-06-05 13:00", "2027-06-05 22:00"))
			r.Others = []suggest.Other{{Resource: photographer("ben", "portrait"), Loc: london}}
		}, []string{
			"50 reassign ben Sat 5 Jun 13:00-22:00: same day: +40; same weekday: +15; same clock time: +30; another resource of the same kind with the same skills: +0; which has nothing else that day: +5; the wedding begins within 48 h or is on: -40",
		}},
		{"the same clock on the other side of the clock change", func(r *suggest.Request) {
			r.Max = 2
			r.Subject = booking(domain.CategoryConsultation, between("2027-10-28 10:00", "2027-10-28 11:00"))
			r.Busy = []conflict.Candidate{booked(r.Resource, "h", domain.CategoryHold, between("2027-10-14 00:00", "2027-11-04 00:00"))}
		}, []string{
			"87 move anna Thu 4 Nov 10:00-11:00: 7 days later, on Thu 4 November 2027: +27; same weekday: +15; same clock time: +30; same resource: +15",
			"80 move anna Thu 11 Nov 10:00-11:00: 14 days later, on Thu 11 November 2027: +20; same weekday: +15; same clock time: +30; same resource: +15",
		}},
		{"a booking that is over needs no way out", func(r *suggest.Request) { r.Now = at("2027-06-05 15:00") }, []string{}},
		{"nor does a cancelled one", func(r *suggest.Request) { r.Subject.Status = domain.StatusCancelled }, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := saturday()
			c.edit(&r)
			if diff := cmp.Diff(c.want, tell(suggest.Alternatives(r))); diff != "" {
				t.Errorf("ways (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAWeddingMovesUpToTheFreezeOfTheOrganisation(t *testing.T) {
	t.Parallel()
	for freeze, moves := range map[time.Duration]bool{0: false, 24 * time.Hour: true, 40 * time.Hour: false, 168 * time.Hour: false} {
		r := saturday()
		r.Subject.Category = domain.CategoryWedding
		r.Others = []suggest.Other{{Resource: photographer("ben", "portrait"), Loc: london}}
		r.Now, r.Freeze = r.Subject.When.Start.Add(-40*time.Hour), freeze
		got := suggest.Alternatives(r)
		if moved := slices.ContainsFunc(got, func(a domain.Alternative) bool { return a.Action == domain.ActionMove }); moved != moves {
			t.Errorf("40 hours before it, with a freeze of %s: %v", freeze, tell(got))
		}
		hours := 48
		if freeze > 0 {
			hours = int(freeze.Hours())
		}
		words := fmt.Sprintf("the wedding begins within %d h or is on", hours)
		if said := strings.Contains(strings.Join(tell(got), "; "), words); said == moves {
			t.Errorf("with a freeze of %s it says %v", freeze, tell(got))
		}
	}
}

func TestAlternativesAreVaried(t *testing.T) {
	t.Parallel()
	r := saturday()
	r.Busy[0] = booked(r.Resource, "p", domain.CategoryPersonal, between("2027-06-05 13:30", "2027-06-05 14:30"))
	got := suggest.Alternatives(r)
	if len(got) != suggest.DefaultMax {
		t.Fatalf("%d ways: %v", len(got), tell(got))
	}
	onTheDay := 0
	for i, a := range got {
		if calendartime.DateOf(a.When.Start, london) == calendartime.DateOf(r.Subject.When.Start, london) {
			onTheDay++
		}
		for _, b := range got[:i] {
			if a.When.Start.Sub(b.When.Start).Abs() < 2*time.Hour {
				t.Errorf("two ways within two hours: %v", tell(got))
			}
		}
	}
	if onTheDay != 2 {
		t.Errorf("%d ways on the day itself, want 2: %v", onTheDay, tell(got))
	}
}

func TestAlternativesLookFurtherWhenTheWeeksAreFull(t *testing.T) {
	t.Parallel()
	r := saturday()
	r.Busy = append(r.Busy, booked(r.Resource, "leave", domain.CategoryPersonal, between("2027-05-10 00:00", "2027-06-28 00:00")))
	got := suggest.Alternatives(r)
	if len(got) != suggest.DefaultMax {
		t.Fatalf("%d ways: %v", len(got), tell(got))
	}
	for _, a := range got {
		if a.When.Overlaps(r.Busy[1].Event) {
			t.Errorf("offered during the leave: %v", tell(got))
		}
	}
}

func TestAlternativesTakeWhatLittleIsLeft(t *testing.T) {
	t.Parallel()
	r := saturday()
	r.Resource.BufferBefore, r.Resource.BufferAfter = 0, 0
	// Everything is taken but one odd stretch of an hour and three quarters at night.
	r.Busy = []conflict.Candidate{booked(r.Resource, "a", domain.CategoryHold, between("2027-03-01 00:00", "2027-06-06 01:07")),
		booked(r.Resource, "b", domain.CategoryHold, between("2027-06-06 02:52", "2027-09-01 00:00"))}
	got := suggest.Alternatives(r)
	if len(got) < 3 {
		t.Fatalf("%d ways although three fit: %v", len(got), tell(got))
	}
	r.Busy = []conflict.Candidate{booked(r.Resource, "a", domain.CategoryHold, between("2027-03-01 00:00", "2027-06-06 01:07")),
		booked(r.Resource, "b", domain.CategoryHold, between("2027-06-06 02:07", "2027-09-01 00:00"))}
	if got = suggest.Alternatives(r); len(got) != 1 || !got[0].When.Start.Equal(at("2027-06-06 01:07")) {
		t.Fatalf("the only hour left was not found: %v", tell(got))
	}
}

func TestAllDayStaysAllDayAndLocal(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"Europe/London", "America/New_York", "Australia/Lord_Howe"} {
		loc := mustZone(zone)
		res := photographer("anna")
		res.Zone = zone
		for d := time.Monday; d <= time.Saturday; d++ {
			res.Hours = append(res.Hours, domain.DayHours{Weekday: d, From: 9 * 60, To: 17 * 60})
		}
		first := calendartime.Date{Year: 2027, Month: time.October, Day: 28}
		subject := booking(domain.CategoryEngagement, calendartime.AllDay(loc, first, first.AddDays(2)))
		subject.When.Zone, subject.When.Kind = zone, domain.TimeAllDay
		got := suggest.Alternatives(suggest.Request{Subject: subject, Resource: res, Loc: loc, Now: subject.When.Start.AddDate(0, -2, 0),
			Busy: []conflict.Candidate{booked(res, "h", domain.CategoryHold, calendartime.AllDay(loc, first, first.AddDays(2)))}})
		if len(got) != suggest.DefaultMax {
			t.Errorf("%s: %d ways: %v", zone, len(got), tell(got))
		}
		for _, a := range got {
			from, to, whole := calendartime.WholeDays(a.When.Span, loc)
			if !whole || from.DaysUntil(to) != 2 || a.When.Kind != domain.TimeAllDay || a.When.Zone != zone {
				t.Errorf("%s: %#v is not two whole days", zone, a.When)
			}
			if from.Weekday() == time.Sunday || to.AddDays(-1).Weekday() == time.Sunday {
				t.Errorf("%s: offered on a Sunday without hours: %v", zone, tell(got))
			}
		}
	}
}

func TestFloatingClocksStayInstantsOnAResourceOfAnotherZone(t *testing.T) {
	t.Parallel()
	r := saturday()
	r.Subject.When.Kind = domain.TimeFloating
	ben := photographer("ben", "portrait")
	ben.Zone = "Europe/Paris"
	r.Others = []suggest.Other{{Resource: ben, Loc: mustZone("Europe/Paris")}}
	for _, a := range suggest.Alternatives(r) {
		want := domain.TimeFloating
		if a.Action == domain.ActionReassign {
			want = domain.TimeZoned
			if !a.When.Start.Equal(r.Subject.When.Start) {
				t.Errorf("the instant changed to %s", a.When.Start)
			}
		}
		if a.When.Kind != want || a.When.Zone != "Europe/London" {
			t.Errorf("%s: kind %s in %s", a.Action, a.When.Kind, a.When.Zone)
		}
	}
}

// lead is how long ahead the least is that a resource takes.
func lead(r suggest.Request, id domain.ResourceID) time.Duration {
	for _, o := range append(slices.Clone(r.Others), suggest.Other{Resource: r.Resource}) {
		if o.Resource.ID == id {
			return max(suggest.LeadTime, time.Duration(o.Resource.LeadMinutes)*time.Minute)
		}
	}
	return suggest.LeadTime
}

func drawRequest(t *rapid.T) suggest.Request {
	const quarter = 15 * time.Minute
	res := photographer("anna")
	res.Capacity = rapid.IntRange(1, 2).Draw(t, "capacity")
	res.OneWeddingADay = rapid.Bool().Draw(t, "one wedding a day")
	res.BufferBefore = time.Duration(rapid.IntRange(0, 6).Draw(t, "before")) * quarter
	res.LeadMinutes = rapid.SampledFrom([]int{0, 0, 60, 24 * 60, 5 * 24 * 60}).Draw(t, "lead")
	if rapid.Bool().Draw(t, "hours") {
		for d := time.Monday; d <= time.Saturday; d++ {
			res.Hours = append(res.Hours, domain.DayHours{Weekday: d, From: 9 * 60, To: 18*60 + 10})
		}
	}
	start := at("2027-10-30 00:00").Add(time.Duration(rapid.IntRange(0, 192).Draw(t, "start")) * quarter)
	subject := booking(rapid.SampledFrom(domain.Categories()).Draw(t, "category"), domain.Span{Start: start, End: start.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "length")) * quarter)})
	subject.When.Zone = rapid.SampledFrom([]string{"Europe/London", "UTC", "America/New_York", "Nowhere/Land"}).Draw(t, "zone")
	if rapid.IntRange(0, 3).Draw(t, "form") == 0 {
		d := calendartime.DateOf(start, london)
		subject.When = domain.When{Span: calendartime.AllDay(london, d, d.AddDays(rapid.IntRange(1, 3).Draw(t, "days"))), Zone: "Europe/London", Kind: domain.TimeAllDay}
	}
	towns := []domain.Point{{}, {Lat: 51.3811, Lon: -2.3590}, {Lat: 51.4478, Lon: -2.6450}, {Lat: 48.8566, Lon: 2.3522}}
	if rapid.Bool().Draw(t, "travels") {
		res.Travel = domain.Travel{SpeedKmh: rapid.SampledFrom([]int{0, 20, 60, 300}).Draw(t, "speed"), FixedMinutes: rapid.IntRange(0, 90).Draw(t, "fixed")}
	}
	if rapid.Bool().Draw(t, "blackout") {
		first := rapid.IntRange(20, 31).Draw(t, "blackout from")
		res.Blackouts = []domain.Blackout{{From: fmt.Sprintf("2027-10-%d", first), To: fmt.Sprintf("2027-11-%02d", rapid.IntRange(1, 9).Draw(t, "blackout to")), Yearly: rapid.Bool().Draw(t, "yearly")}}
	}
	r := suggest.Request{Subject: subject, Place: rapid.SampledFrom(towns).Draw(t, "place"), Resource: res, Loc: london, Max: rapid.IntRange(0, 8).Draw(t, "max"),
		Now: at("2027-10-30 00:00").Add(time.Duration(rapid.IntRange(-2000, 200).Draw(t, "now")) * quarter)}
	entries := func(owner domain.Resource, label string) (busy []conflict.Candidate) {
		for i := range rapid.IntRange(0, 25).Draw(t, label) {
			id := fmt.Sprintf("%s%d", label, i)
			from := at("2027-10-15 00:00").Add(time.Duration(rapid.IntRange(0, 30*96).Draw(t, id)) * 5 * time.Minute * 3)
			b := booked(owner, id, rapid.SampledFrom(domain.Categories()).Draw(t, id+" category"),
				domain.Span{Start: from, End: from.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, id+" length")) * quarter)})
			b.Place = rapid.SampledFrom(towns).Draw(t, id+" place")
			busy = append(busy, b)
		}
		return busy
	}
	r.Busy = entries(res, "busy")
	for i := range rapid.IntRange(0, 3).Draw(t, "others") {
		other := photographer(fmt.Sprintf("other%d", i))
		other.LeadMinutes = rapid.SampledFrom([]int{0, 0, 3 * 60, 2 * 24 * 60}).Draw(t, fmt.Sprint("lead of other ", i))
		other.Travel = res.Travel
		r.Others = append(r.Others, suggest.Other{Resource: other, Loc: london, Busy: entries(other, fmt.Sprintf("other%d-", i))})
	}
	return r
}

func TestAlternativesKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRequest(t)
		got := suggest.Alternatives(r)
		limit := r.Max
		if limit == 0 {
			limit = suggest.DefaultMax
		}
		if len(got) > limit {
			t.Fatalf("%d ways, at most %d wanted", len(got), limit)
		}
		if diff := cmp.Diff(got, suggest.Alternatives(r)); diff != "" {
			t.Fatalf("asked again (-first +second):\n%s", diff)
		}
		for i, a := range got {
			res, busy := r.Resource, r.Busy
			for _, o := range r.Others {
				if o.Resource.ID == a.ResourceID {
					res, busy = o.Resource, o.Busy
				}
			}
			c := booked(res, "subject", r.Subject.Category, a.When.Span)
			c.Place = r.Place
			if found := conflict.Detect(r.Now, res, london, c, busy); len(found) > 0 {
				t.Fatalf("%v clashes: %+v", tell(got[i:i+1]), found)
			}
			if a.Score < 0 || a.Score > 100 || i > 0 && a.Score > got[i-1].Score {
				t.Fatalf("scores are out of range or order: %v", tell(got))
			}
			sum := 0
			for _, reason := range a.Reasons {
				n, err := strconv.Atoi(reason[strings.LastIndex(reason, ": ")+2:])
				if err != nil {
					t.Fatalf("reason %q has no number", reason)
				}
				sum += n
			}
			if sum != a.Score {
				t.Fatalf("reasons add up to %d: %v", sum, tell(got[i:i+1]))
			}
			if a.When.Start.Before(r.Now.Add(lead(r, a.ResourceID))) {
				t.Fatalf("%v is too soon after %s", tell(got[i:i+1]), r.Now)
			}
			if a.BookingID != "subject" || a.When.Kind != r.Subject.When.Kind || a.When.Zone != r.Subject.When.Zone {
				t.Fatalf("%+v is not the subject moved", a)
			}
			if _, _, whole := calendartime.WholeDays(a.When.Span, london); r.Subject.When.Kind == domain.TimeAllDay && !whole {
				t.Fatalf("%v is no longer whole days", tell(got[i:i+1]))
			}
			if r.Subject.When.Kind != domain.TimeAllDay && a.When.Duration() != r.Subject.When.Duration() {
				t.Fatalf("%v changed its length", tell(got[i:i+1]))
			}
			if same := a.When.Start.Equal(r.Subject.When.Start); same != (a.Action == domain.ActionReassign) {
				t.Fatalf("%v: same time %v", tell(got[i:i+1]), same)
			}
			if slices.ContainsFunc(got[:i], func(b domain.Alternative) bool {
				return b.ResourceID == a.ResourceID && b.When.Start.Equal(a.When.Start)
			}) {
				t.Fatalf("a way is offered twice: %v", tell(got))
			}
		}
		// Three different starts that are free within the wide horizon mean three ways.
		if near := r.Subject.When.Start.Sub(r.Now) <= suggest.Freeze; r.Subject.Category == domain.CategoryWedding && near {
			for _, a := range got {
				if a.Action == domain.ActionMove {
					t.Fatalf("a wedding that begins within %s is moved: %v", suggest.Freeze, tell(got))
				}
			}
			return
		}
		if r.Subject.When.Kind == domain.TimeAllDay || len(got) >= min(3, limit) || !r.Subject.When.End.After(r.Now) {
			return
		}
		room := 0
		for start := r.Subject.When.Start.Add(-13 * 24 * time.Hour).Truncate(15 * time.Minute); start.Before(r.Subject.When.Start.Add(13 * 24 * time.Hour)); start = start.Add(15 * time.Minute) {
			c := booked(r.Resource, "subject", r.Subject.Category, domain.Span{Start: start, End: start.Add(r.Subject.When.Duration())})
			c.Place = r.Place
			if !start.Before(r.Now.Add(lead(r, r.Resource.ID))) && !start.Equal(r.Subject.When.Start) && conflict.Clear(r.Now, r.Resource, london, c, r.Busy) {
				room++
			}
		}
		if room >= 3 {
			t.Fatalf("%d ways although %d starts are free: %v", len(got), room, tell(got))
		}
	})
}

// crowded is a request among 200 entries; every is the time from one to the next.
func crowded(every time.Duration) suggest.Request {
	r := saturday()
	for d := time.Monday; d <= time.Saturday; d++ {
		r.Resource.Hours = append(r.Resource.Hours, domain.DayHours{Weekday: d, From: 9 * 60, To: 18 * 60})
	}
	r.Busy = nil
	for i := range 200 {
		start := r.Subject.When.Start.Add(time.Duration(i-100) * every)
		r.Busy = append(r.Busy, booked(r.Resource, fmt.Sprintf("b%d", i), domain.CategoryConsultation, domain.Span{Start: start, End: start.Add(time.Hour)}))
	}
	for i := range 5 {
		o := photographer(fmt.Sprintf("o%d", i), "portrait")
		r.Others = append(r.Others, suggest.Other{Resource: o, Loc: london, Busy: r.Busy})
	}
	return r
}

func BenchmarkAlternatives(b *testing.B) {
	allDay := crowded(14 * time.Hour)
	first := calendartime.DateOf(allDay.Subject.When.Start, london)
	allDay.Subject.When.Span = calendartime.AllDay(london, first, first.AddDays(1))
	allDay.Subject.When.Kind = domain.TimeAllDay
	for _, c := range []struct {
		name string
		r    suggest.Request
	}{
		{"200 entries over four months", crowded(14 * time.Hour)},
		{"200 entries that fill four weeks", crowded(3 * time.Hour)},
		{"200 entries, all-day", allDay},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = len(suggest.Alternatives(c.r))
			}
			b.ReportMetric(float64(n), "ways")
		})
	}
}
