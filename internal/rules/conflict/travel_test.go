package conflict_test

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

var (
	bath    = domain.Point{Lat: 51.3811, Lon: -2.3590}
	bristol = domain.Point{Lat: 51.4478, Lon: -2.6450} // Ashton Court, 21 km from Bath
	london0 = domain.Point{Lat: 51.5074, Lon: -0.1278}
)

// planner reads a row such as
//
//	"ceremony in Bath until 15:00, reception in Bristol at 15:20, 21 km at 50 km/h: travel clash of 6 minutes"
//
// on one Saturday, for a photographer. The distance is checked against the places; "20 min set-up" and the like set buffers.
var planner = regexp.MustCompile(`^(tentative )?(\w+) (?:in (\w+) |all day|somewhere )(?:until (\d\d:\d\d))?, (tentative )?(\w+) (?:in (\w+)|somewhere) at (\d\d:\d\d)(?:, (.+?))?: (.+)$`)

func TestAPlannersSentencesAboutTheWayHold(t *testing.T) {
	t.Parallel()
	places := map[string]domain.Point{"Bath": bath, "Bristol": bristol, "London": london0}
	kinds := map[string]domain.Category{"ceremony": wedding, "reception": vendor, "tasting": consultation, "portraits": engagement, "dentist": personal,
		"repair": maintenance, "drive": travel, "hold": hold}
	for _, row := range []string{
		"ceremony in Bath until 15:00, reception in Bristol at 15:20, 21 km at 50 km/h: travel clash of 6 minutes, medium",
		"ceremony in Bath until 15:00, reception in Bristol at 15:26, 21 km at 50 km/h: fine",
		"ceremony in Bath until 15:00, reception in Bristol at 15:25, 21 km at 50 km/h: travel clash of 1 minutes, medium",
		"ceremony in Bath until 15:00, reception in Bath at 15:00, at 50 km/h: fine",
		"ceremony in Bath until 15:00, reception in London at 17:00, 155 km at 70 km/h: travel clash of 14 minutes, medium",
		"tasting in Bath until 15:00, portraits in Bristol at 15:20, 21 km at 50 km/h: travel clash of 6 minutes, low",
		"tentative ceremony in Bath until 15:00, reception in Bristol at 15:20, 21 km at 50 km/h: travel clash of 6 minutes, low",
		"ceremony in Bath until 15:00, tentative reception in Bristol at 15:20, 21 km at 50 km/h: travel clash of 6 minutes, low",
		"ceremony in Bath until 15:00, reception in Bristol at 15:40, 21 km at 50 km/h, never below 45 min: travel clash of 5 minutes, medium",
		"ceremony in Bath until 15:00, reception in Bristol at 15:40, 21 km at 50 km/h, 20 min set-up: travel clash of 6 minutes, medium",
		"ceremony in Bath until 15:00, reception in Bristol at 15:40, 21 km at 50 km/h, 10 min teardown, 10 min set-up: travel clash of 6 minutes, medium",
		"ceremony in Bath until 15:00, reception in Bristol at 15:50, 21 km at 50 km/h, 10 min teardown, 10 min set-up: fine",
		"ceremony in Bath until 15:00, reception somewhere at 15:20, at 50 km/h: fine",
		"ceremony in Bath until 15:00, reception somewhere at 15:20, at 50 km/h, ways take 30 min: travel clash of 10 minutes, medium",
		"ceremony somewhere until 15:00, reception somewhere at 15:20, ways take 30 min: travel clash of 10 minutes, medium",
		"ceremony in Bath until 15:00, reception in Bath at 15:00, ways take 30 min: fine",
		"ceremony in Bath until 15:00, reception in Bristol at 15:20, ways take 30 min: travel clash of 10 minutes, medium",
		"ceremony in Bath until 15:00, dentist in Bristol at 15:20, 21 km at 50 km/h: travel clash of 6 minutes, medium",
		"dentist in Bath until 15:00, repair in Bristol at 15:00, 21 km at 50 km/h: fine",
		"ceremony in Bath until 15:00, drive in Bath at 15:00, 20 min set-up: fine",
		"drive in Bath until 15:00, reception in Bristol at 15:00, 21 km at 50 km/h: fine",
		"ceremony all day, reception in Bristol at 00:10, 21 km at 50 km/h: overlap clash of 60 minutes, high",
		"ceremony in Bath until 15:00, reception in Bristol at 14:50, 21 km at 50 km/h: overlap clash of 10 minutes, high",
		"ceremony in Bath until 15:00, reception in Bristol at 15:05, 10 min teardown: buffer clash of 5 minutes, medium",
		"hold in Bath until 15:00, reception in Bristol at 15:20, 21 km at 50 km/h: travel clash of 6 minutes, low",
		"ceremony in Bath until 15:00, reception in Bristol at 15:00, 21 km at 50 km/h, two teams: fine",
	} {
		m := planner.FindStringSubmatch(row)
		if m == nil {
			t.Errorf("%q is no sentence of the table", row)
			continue
		}
		res := domain.Resource{Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1}
		wantKm := 0.0
		for _, part := range strings.Split(m[9], ", ") {
			var n, km int
			switch {
			case part == "two teams":
				res.Capacity = 2
			case scan(part, "%d km at %d km/h", &km, &n):
				res.Travel.SpeedKmh, wantKm = n, float64(km)
			case scan(part, "at %d km/h", &n):
				res.Travel.SpeedKmh = n
			case scan(part, "never below %d min", &n):
				res.Travel.MinMinutes = n
			case scan(part, "ways take %d min", &n):
				res.Travel.FixedMinutes = n
			case scan(part, "%d min set-up", &n):
				res.BufferBefore = time.Duration(n) * time.Minute
			case scan(part, "%d min teardown", &n):
				res.BufferAfter = time.Duration(n) * time.Minute
			case part != "":
				t.Fatalf("%q: %q says nothing", row, part)
			}
		}
		make := func(id, soft, kind, where, from, to string) conflict.Candidate {
			c := entry(res, id, soft+string(kinds[kind])+" 2027-06-05 "+from+" > 2027-06-05 "+to)
			c.Place = places[where]
			return c
		}
		first := make("first", m[1], m[2], m[3], "12:00", m[4]+strings.Repeat("13:00", btoi(m[4] == "")))
		if m[4] == "" {
			first = entry(res, "first", m[1]+string(kinds[m[2]])+" 2027-06-05 00:00 > 2027-06-06 00:00")
		}
		end := at("2027-06-05 " + m[8]).Add(time.Hour).In(london).Format("15:04")
		second := make("second", m[5], m[6], m[7], m[8], end)
		if wantKm > 0 && first.Place.Known() && second.Place.Known() && math.Abs(conflict.Distance(first.Place, second.Place)-wantKm) > 0.5 {
			t.Errorf("%q: they are %.1f km apart", row, conflict.Distance(first.Place, second.Place))
		}
		said := "fine"
		for _, f := range conflict.Detect(spring, res, london, first, []conflict.Candidate{second}) {
			said = fmt.Sprintf("%s clash of %d minutes, %s", f.Kind, int(f.Overlap.Duration()/time.Minute), f.Severity)
		}
		if said != m[10] {
			t.Errorf("%q: it is %s", row, said)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func scan(text, format string, args ...any) bool {
	n, err := fmt.Sscanf(text, format, args...)
	return err == nil && n == len(args)
}

func TestTheWayIsExplainedWithItsNumbers(t *testing.T) {
	t.Parallel()
	res := photographer()
	res.BufferBefore, res.BufferAfter, res.Travel = 15*time.Minute, 10*time.Minute, domain.Travel{SpeedKmh: 50, MinMinutes: 20, FixedMinutes: 40}
	first := entry(res, "first", "wedding 2027-06-05 12:00 > 2027-06-05 15:00")
	second := entry(res, "second", "vendor 2027-06-05 15:20 > 2027-06-05 18:00")
	for _, c := range []struct {
		from, to domain.Point
		want     string
	}{
		{bath, bristol, "vendor 15:20-18:00 begins 20 min after wedding 12:00-15:00 on Sat 5 June 2027; the way of 21 km at 50 km/h takes 26 min, teardown 10 min, set-up 15 min: short by 31 min (Europe/London)"},
		{bath, domain.Point{Lat: bath.Lat + 0.02, Lon: bath.Lon}, "vendor 15:20-18:00 begins 20 min after wedding 12:00-15:00 on Sat 5 June 2027; the way of 2 km takes 20 min, the least that counts, teardown 10 min, set-up 15 min: short by 25 min (Europe/London)"},
		{bath, domain.Point{}, "vendor 15:20-18:00 begins 20 min after wedding 12:00-15:00 on Sat 5 June 2027; the way takes 40 min, as set for the resource, teardown 10 min, set-up 15 min: short by 45 min (Europe/London)"},
		{bath, bath, "vendor 15:20-18:00 begins 20 min after wedding 12:00-15:00 on Sat 5 June 2027; set-up and travel time is short by 5 min (Europe/London)"},
	} {
		first.Place, second.Place = c.from, c.to
		found := conflict.Detect(spring, res, london, second, []conflict.Candidate{first})
		if len(found) != 1 || found[0].Explanation != c.want {
			t.Errorf("from %v to %v: %v", c.from, c.to, tell(found))
		}
	}
}

func TestDistanceIsThatOfTheGlobe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b domain.Point
		km   float64
	}{
		{bath, bristol, 21.2}, {bath, london0, 155.3}, {domain.Point{Lat: 90}, domain.Point{Lat: -90}, 20015},
		{domain.Point{Lat: 0, Lon: 179.5}, domain.Point{Lat: 0, Lon: -179.5}, 111.2}, {bath, bath, 0},
	} {
		if got := conflict.Distance(c.a, c.b); math.Abs(got-c.km) > math.Max(0.1, c.km/1000) {
			t.Errorf("%v to %v is %.1f km, want %.1f", c.a, c.b, got, c.km)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		point := func(name string) domain.Point {
			return domain.Point{Lat: rapid.Float64Range(-90, 90).Draw(t, name+" lat"), Lon: rapid.Float64Range(-180, 180).Draw(t, name+" lon")}
		}
		a, b, c := point("a"), point("b"), point("c")
		ab, ba := conflict.Distance(a, b), conflict.Distance(b, a)
		if math.IsNaN(ab) || ab < 0 || ab > 20016 || math.Abs(ab-ba) > 1e-6 {
			t.Fatalf("there %v, back %v", ab, ba)
		}
		if ab > conflict.Distance(a, c)+conflict.Distance(c, b)+1e-6 {
			t.Fatal("a detour is shorter")
		}
		travel := domain.Travel{SpeedKmh: rapid.IntRange(0, 300).Draw(t, "speed"), MinMinutes: rapid.IntRange(0, 1440).Draw(t, "least"), FixedMinutes: rapid.IntRange(0, 1440).Draw(t, "fixed")}
		if w := conflict.WayBetween(travel, a, b); w.Took < 0 || w.Took > domain.MaxWay || w.Took%time.Minute != 0 || w != conflict.WayBetween(travel, b, a) && math.Abs(ab-ba) == 0 {
			t.Fatalf("the way is %+v", w)
		}
	})
}

// TestDaysWithoutClientsReadLikeADiary reads rows such as "wedding 2027-12-24 12:00 > 2027-12-24 22:00, away 12-24 to 12-26".
func TestDaysWithoutClientsReadLikeADiary(t *testing.T) {
	t.Parallel()
	const none = ""
	for _, c := range []struct {
		name, away, entry, want string
	}{
		{"a wedding on Christmas Eve", "2027-12-24 to 2027-12-26", "wedding 2027-12-24 12:00 > 2027-12-24 22:00",
			`high blackout: subject gives way to "": wedding 12:00-22:00 on Fri 24 December 2027 lies on days that the resource keeps free of clients, Fri 24 December 2027 to Sun 26 December 2027 (Europe/London)`},
		{"a tentative wedding is one step milder", "2027-12-24", "tentative wedding 2027-12-24 12:00 > 2027-12-24 22:00",
			`medium blackout: subject gives way to "": tentative wedding 12:00-22:00 on Fri 24 December 2027 lies on days that the resource keeps free of clients, Fri 24 December 2027 (Europe/London)`},
		{"a consultation", "2027-12-24", "consultation 2027-12-24 12:00 > 2027-12-24 13:00",
			`medium blackout: subject gives way to "": consultation 12:00-13:00 on Fri 24 December 2027 lies on days that the resource keeps free of clients, Fri 24 December 2027 (Europe/London)`},
		{"a hold for a couple", "2027-12-24", "hold 2027-12-24 00:00 > 2027-12-25 00:00",
			`low blackout: subject gives way to "": hold all day on Fri 24 December 2027 lies on days that the resource keeps free of clients, Fri 24 December 2027 (Europe/London)`},
		{"the flight to the holiday", "2027-12-24", "travel 2027-12-24 12:00 > 2027-12-24 13:00", none},
		{"the dentist", "2027-12-24", "personal 2027-12-24 12:00 > 2027-12-24 13:00", none},
		{"the camera in repair", "2027-12-24", "maintenance 2027-12-24 12:00 > 2027-12-24 13:00", none},
		{"the day before", "2027-12-24", "consultation 2027-12-23 23:00 > 2027-12-24 00:00", none},
		{"the day after", "2027-12-24", "consultation 2027-12-25 00:00 > 2027-12-25 01:00", none},
		{"a party that runs into the day", "2027-12-24", "wedding 2027-12-23 14:00 > 2027-12-24 02:00", none},
		{"a consultation that runs into the day", "2027-12-24", "consultation 2027-12-23 23:30 > 2027-12-24 00:30",
			`medium blackout: subject gives way to "": consultation from 23:30 on Thu 23 December 2027 to 00:30 on Fri 24 December 2027 lies on days that the resource keeps free of clients, Fri 24 December 2027 (Europe/London)`},
		{"every year", "yearly 2025-12-24 to 2025-12-26", "vendor 2027-12-26 12:00 > 2027-12-26 13:00",
			`medium blackout: subject gives way to "": vendor 12:00-13:00 on Sun 26 December 2027 lies on days that the resource keeps free of clients, 24 December to 26 December of every year (Europe/London)`},
		{"every year over New Year", "yearly 2025-12-30 to 2026-01-02", "vendor 2028-01-02 12:00 > 2028-01-02 13:00",
			`medium blackout: subject gives way to "": vendor 12:00-13:00 on Sun 2 January 2028 lies on days that the resource keeps free of clients, 30 December to 2 January of every year (Europe/London)`},
		{"not before the first year", "yearly 2028-12-24", "vendor 2027-12-24 12:00 > 2027-12-24 13:00", none},
		{"29 February is the 28th in other years", "yearly 2024-02-29", "vendor 2027-02-28 12:00 > 2027-02-28 13:00",
			`medium blackout: subject gives way to "": vendor 12:00-13:00 on Sun 28 February 2027 lies on days that the resource keeps free of clients, 29 February of every year (Europe/London)`},
		{"working hours are not spoken of on such a day", "2027-12-24", "consultation 2027-12-24 03:00 > 2027-12-24 04:00",
			`medium blackout: subject gives way to "": consultation 03:00-04:00 on Fri 24 December 2027 lies on days that the resource keeps free of clients, Fri 24 December 2027 (Europe/London)`},
	} {
		res := photographer()
		res.Hours = studioHours()
		b := domain.Blackout{}
		days := c.away
		days, b.Yearly = strings.CutPrefix(days, "yearly ")
		var ranged bool
		if b.From, b.To, ranged = strings.Cut(days, " to "); !ranged {
			b.To = b.From
		}
		res.Blackouts = []domain.Blackout{b}
		if err := b.Validate(""); err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, f := range conflict.Detect(at("2026-10-01 12:00"), res, london, entry(res, "subject", c.entry), nil) {
			if f.Kind != domain.ConflictOffHours {
				got = append(got, tell([]conflict.Found{f})...)
			}
		}
		want := []string{}
		if c.want != none {
			want = append(want, c.want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestWholeDaysAreMeantWhereTheResourceWorks(t *testing.T) {
	t.Parallel()
	res := photographer()
	newYork := mustZone("America/New_York")
	june5 := calendartime.Date{Year: 2027, Month: time.June, Day: 5}
	there := domain.When{Span: calendartime.AllDay(newYork, june5, june5.AddDays(1)), Zone: "America/New_York", Kind: domain.TimeAllDay}
	here := calendartime.AllDay(london, june5, june5.AddDays(1))
	if got := conflict.EventOf(there, london); got != here {
		t.Errorf("5 June written in New York is %s, want %s", got, here)
	}
	allDay := entry(res, "a", "wedding 2027-06-05 00:00 > 2027-06-06 00:00")
	allDay.Event = conflict.EventOf(there, london)
	allDay.Busy = conflict.Busy(res, allDay.Event, allDay.Category)
	early := entry(res, "b", "vendor 2027-06-05 02:00 > 2027-06-05 03:00")
	if found := conflict.Detect(spring, res, london, early, []conflict.Candidate{allDay}); len(found) != 1 || found[0].Kind != domain.ConflictOverlap {
		t.Errorf("02:00 on the day itself: %v", tell(found))
	}
	next := entry(res, "c", "vendor 2027-06-06 02:00 > 2027-06-06 03:00")
	if found := conflict.Detect(spring, res, london, next, []conflict.Candidate{allDay}); len(found) != 0 {
		t.Errorf("02:00 on the day after, which is 5 June in New York still: %v", tell(found))
	}
	for _, same := range []domain.When{{Span: here, Zone: "Europe/London", Kind: domain.TimeAllDay}, {Span: there.Span, Zone: "America/New_York", Kind: domain.TimeZoned},
		{Span: here, Zone: "Nowhere/Land", Kind: domain.TimeAllDay}} {
		if got := conflict.EventOf(same, london); got != same.Span {
			t.Errorf("%#v became %s", same, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom([]string{"Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Sao_Paulo", "Asia/Tokyo", "UTC", "Europe/London"}).Draw(t, "zone")
		first := june5.AddDays(rapid.IntRange(-400, 400).Draw(t, "day"))
		n := rapid.IntRange(1, 5).Draw(t, "days")
		loc := mustZone(zone)
		got := conflict.EventOf(domain.When{Span: calendartime.AllDay(loc, first, first.AddDays(n)), Zone: zone, Kind: domain.TimeAllDay}, london)
		from, to, whole := calendartime.WholeDays(got, london)
		if !whole || from != first || to != first.AddDays(n) {
			t.Fatalf("%s for %d days in %s is %s", first, n, zone, got)
		}
	})
}
