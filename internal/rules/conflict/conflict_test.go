package conflict_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

const (
	wedding      = domain.CategoryWedding
	engagement   = domain.CategoryEngagement
	vendor       = domain.CategoryVendor
	consultation = domain.CategoryConsultation
	travel       = domain.CategoryTravel
	hold         = domain.CategoryHold
	maintenance  = domain.CategoryMaintenance
	personal     = domain.CategoryPersonal
)

// london and friends share one zone, so that the tables can be read as a diary.
var london = mustZone("Europe/London")

func mustZone(name string) *time.Location {
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		panic(err)
	}
	return loc
}

// spring is a time far from every booking in the tables, so that nearness plays no part.
var spring = at("2027-03-01 12:00")

func at(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, london)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

// entry reads "wedding 2027-06-05 12:00 > 2027-06-05 23:00"; a leading "tentative" makes it so.
func entry(res domain.Resource, id, text string) conflict.Candidate {
	rest, soft := strings.CutPrefix(text, "tentative ")
	what, times, _ := strings.Cut(rest, " ")
	from, to, _ := strings.Cut(times, " > ")
	c := conflict.Candidate{BookingID: domain.BookingID(id), Category: domain.Category(what), Status: domain.StatusConfirmed,
		Event: domain.Span{Start: at(from), End: at(to)}, CreatedAt: at("2027-01-01 00:00")}
	if soft {
		c.Status = domain.StatusTentative
	}
	c.Busy = conflict.Busy(res, c.Event, c.Category)
	return c
}

func photographer() domain.Resource {
	return domain.Resource{Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1,
		BufferBefore: time.Hour, BufferAfter: time.Hour, OneWeddingADay: true}
}

func studioHours() domain.WorkingHours {
	var w domain.WorkingHours
	for d := time.Monday; d <= time.Friday; d++ {
		w = append(w, domain.DayHours{Weekday: d, From: 9 * 60, To: 12 * 60}, domain.DayHours{Weekday: d, From: 13 * 60, To: 18 * 60})
	}
	return append(w, domain.DayHours{Weekday: time.Saturday, From: 10 * 60, To: 1440}, domain.DayHours{Weekday: time.Sunday, From: 0, To: 60})
}

func tell(found []conflict.Found) []string {
	out := []string{}
	for _, f := range found {
		out = append(out, fmt.Sprintf("%s %s: %s gives way to %q: %s", f.Severity, f.Kind, f.BookingID, f.OtherID, f.Explanation))
	}
	return out
}

func TestDetectTellsAPlannerWhatClashes(t *testing.T) {
	t.Parallel()
	const big = "wedding 2027-06-05 12:00 > 2027-06-05 23:00"
	for _, c := range []struct {
		name    string
		edit    func(*domain.Resource)
		subject string
		others  []string
		want    []string
	}{
		{"a consultation inside a wedding gives way", nil, "consultation 2027-06-05 14:00 > 2027-06-05 15:00", []string{big},
			[]string{`high overlap: subject gives way to "n1": consultation 14:00-15:00 lies inside wedding 12:00-23:00 on Sat 5 June 2027 (Europe/London)`}},
		{"two weddings at once are critical, the larger id gives way", nil, "wedding 2027-06-05 20:00 > 2027-06-06 01:00", []string{big},
			[]string{`critical overlap: subject gives way to "n1": wedding from 20:00 on Sat 5 June 2027 to 01:00 on Sun 6 June 2027 overlaps wedding 12:00-23:00 on Sat 5 June 2027, by 3 h (Europe/London)`}},
		{"two weddings on one day that do not touch", nil, "wedding 2027-06-05 09:00 > 2027-06-05 10:30", []string{big},
			[]string{`high same_day: subject gives way to "n1": wedding 09:00-10:30 and wedding 12:00-23:00 are both on Sat 5 June 2027; the resource takes one wedding a day (Europe/London)`}},
		{"a band that plays two weddings a day only needs its buffers", func(r *domain.Resource) { r.OneWeddingADay = false }, "wedding 2027-06-05 09:00 > 2027-06-05 10:00", []string{big}, []string{}},
		{"a party until two leaves the next day free", nil, "wedding 2027-06-06 12:00 > 2027-06-06 23:00", []string{"wedding 2027-06-05 12:00 > 2027-06-06 02:00"}, []string{}},
		{"a wedding until breakfast does not", nil, "wedding 2027-06-06 12:00 > 2027-06-06 23:00", []string{"wedding 2027-06-05 12:00 > 2027-06-06 07:00"},
			[]string{`high same_day: subject gives way to "n1": wedding 12:00-23:00 and wedding from 12:00 on Sat 5 June 2027 to 07:00 on Sun 6 June 2027 are both on Sun 6 June 2027; the resource takes one wedding a day (Europe/London)`}},
		{"whole-day weddings on two days in a row", nil, "wedding 2027-06-05 00:00 > 2027-06-06 00:00",
			[]string{"wedding 2027-06-06 00:00 > 2027-06-07 00:00"},
			[]string{}},
		{"a whole-day wedding clashes with one in the evening of its day", nil, "wedding 2027-06-05 00:00 > 2027-06-06 00:00", []string{"wedding 2027-06-05 18:00 > 2027-06-06 02:00"},
			[]string{`critical overlap: subject gives way to "n1": wedding all day on Sat 5 June 2027 overlaps wedding from 18:00 on Sat 5 June 2027 to 02:00 on Sun 6 June 2027, by 6 h (Europe/London)`}},
		{"too little time to get there", nil, "consultation 2027-06-05 10:00 > 2027-06-05 11:00", []string{big},
			[]string{`medium buffer: subject gives way to "n1": consultation 10:00-11:00 ends 1 h before wedding 12:00-23:00 on Sat 5 June 2027; set-up and travel time is short by 1 h (Europe/London)`}},
		{"just enough time to get there", nil, "consultation 2027-06-05 09:00 > 2027-06-05 10:00", []string{big}, []string{}},
		{"travel belongs into the buffer of a wedding", nil, "travel 2027-06-05 11:00 > 2027-06-05 12:00", []string{big}, []string{}},
		{"travel during a wedding does not", nil, "travel 2027-06-05 11:30 > 2027-06-05 12:30", []string{big},
			[]string{`high overlap: subject gives way to "n1": travel 11:30-12:30 overlaps wedding 12:00-23:00 on Sat 5 June 2027, by 30 min (Europe/London)`}},
		{"a dentist in the buffer of a wedding", nil, "personal 2027-06-05 11:00 > 2027-06-05 12:00", []string{big},
			[]string{`medium buffer: subject gives way to "n1": personal 11:00-12:00 ends right before wedding 12:00-23:00 on Sat 5 June 2027; set-up and travel time is short by 1 h (Europe/London)`}},
		{"two dentists need no time between them", nil, "personal 2027-06-05 11:00 > 2027-06-05 12:00", []string{"personal 2027-06-05 12:00 > 2027-06-05 13:00"}, []string{}},
		{"a tentative consultation is one step milder", nil, "tentative consultation 2027-06-07 14:00 > 2027-06-07 15:00", []string{"consultation 2027-06-07 14:00 > 2027-06-07 15:00"},
			[]string{`low overlap: subject gives way to "n1": tentative consultation 14:00-15:00 is at the same time as consultation 14:00-15:00 on Mon 7 June 2027 (Europe/London)`}},
		{"a tentative neighbour gives way to a confirmed subject", nil, "consultation 2027-06-07 14:00 > 2027-06-07 15:00", []string{"tentative consultation 2027-06-07 14:30 > 2027-06-07 15:30"},
			[]string{`low overlap: n1 gives way to "subject": tentative consultation 14:30-15:30 overlaps consultation 14:00-15:00 on Mon 7 June 2027, by 30 min (Europe/London)`}},
		{"a wedding keeps its place before several appointments", nil, big, []string{"engagement 2027-06-05 13:00 > 2027-06-05 14:00", "hold 2027-06-05 00:00 > 2027-06-06 00:00", "consultation 2027-06-05 23:30 > 2027-06-06 00:30"},
			[]string{`high overlap: n2 gives way to "subject": hold all day covers wedding 12:00-23:00 on Sat 5 June 2027 (Europe/London)`,
				`high overlap: n1 gives way to "subject": engagement 13:00-14:00 lies inside wedding 12:00-23:00 on Sat 5 June 2027 (Europe/London)`,
				`medium buffer: n3 gives way to "subject": consultation from 23:30 on Sat 5 June 2027 to 00:30 on Sun 6 June 2027 begins 30 min after wedding 12:00-23:00 on Sat 5 June 2027; set-up and travel time is short by 1 h 30 min (Europe/London)`}},
		{"two bookings in a room for two", func(r *domain.Resource) { r.Capacity = 2 }, "consultation 2027-06-07 14:00 > 2027-06-07 16:00", []string{"consultation 2027-06-07 14:00 > 2027-06-07 15:00", "consultation 2027-06-07 17:30 > 2027-06-07 18:00"}, []string{}},
		{"three in a room for two: the least important gives way", func(r *domain.Resource) { r.Capacity = 2 }, "consultation 2027-06-07 14:00 > 2027-06-07 16:00",
			[]string{"engagement 2027-06-07 13:00 > 2027-06-07 15:00", "vendor 2027-06-07 14:30 > 2027-06-07 18:00"},
			[]string{`medium capacity: subject gives way to "n2": consultation 14:00-16:00 on Mon 7 June 2027 is one of 3 bookings at once in 14:30-15:00 on Mon 7 June 2027; the resource can serve 2 (Europe/London)`}},
		{"three in a room for two only with set-up", func(r *domain.Resource) { r.Capacity = 2 }, "engagement 2027-06-07 14:00 > 2027-06-07 16:00",
			[]string{"consultation 2027-06-07 12:00 > 2027-06-07 13:30", "vendor 2027-06-07 14:00 > 2027-06-07 18:00"},
			[]string{`low capacity: n1 gives way to "subject": consultation 12:00-13:30 on Mon 7 June 2027 is one of 3 bookings, set-up and travel time included, at once in 13:00-14:30 on Mon 7 June 2027; the resource can serve 2 (Europe/London)`}},
		{"three in a room for two thanks to a tentative one", func(r *domain.Resource) { r.Capacity = 2 }, "wedding 2027-06-05 12:00 > 2027-06-05 23:00",
			[]string{"engagement 2027-06-05 13:00 > 2027-06-05 15:00", "tentative engagement 2027-06-05 14:00 > 2027-06-05 18:00"},
			[]string{`medium capacity: n2 gives way to "subject": tentative engagement 14:00-18:00 on Sat 5 June 2027 is one of 3 bookings at once in 14:00-15:00 on Sat 5 June 2027; the resource can serve 2 (Europe/London)`}},
		{"pairs in turn never fill a room for two", func(r *domain.Resource) { r.Capacity, r.BufferBefore, r.BufferAfter = 2, 0, 0 }, "consultation 2027-06-07 14:00 > 2027-06-07 16:00",
			[]string{"engagement 2027-06-07 13:00 > 2027-06-07 15:00", "vendor 2027-06-07 15:00 > 2027-06-07 18:00"}, []string{}},
		{"one wedding a day holds in a room for two", func(r *domain.Resource) { r.Capacity = 2 }, "wedding 2027-06-05 13:00 > 2027-06-05 20:00", []string{big},
			[]string{`high same_day: subject gives way to "n1": wedding 13:00-20:00 and wedding 12:00-23:00 are both on Sat 5 June 2027; the resource takes one wedding a day (Europe/London)`}},
		{"a consultation in the evening", func(r *domain.Resource) { r.Hours = studioHours() }, "consultation 2027-06-07 17:30 > 2027-06-07 19:00", nil,
			[]string{`low off_hours: subject gives way to "": consultation 17:30-19:00 on Mon 7 June 2027 lies outside the working hours, which are 09:00-12:00 and 13:00-18:00 on Mondays (Europe/London)`}},
		{"an engagement on a closed morning", func(r *domain.Resource) { r.Hours = studioHours() }, "engagement 2027-06-06 10:00 > 2027-06-06 11:00", nil,
			[]string{`low off_hours: subject gives way to "": engagement 10:00-11:00 on Sun 6 June 2027 lies outside the working hours, which are 00:00-01:00 on Sundays (Europe/London)`}},
		{"over lunch", func(r *domain.Resource) { r.Hours = studioHours() }, "vendor 2027-06-07 11:00 > 2027-06-07 14:00", nil,
			[]string{`low off_hours: subject gives way to "": vendor 11:00-14:00 on Mon 7 June 2027 lies outside the working hours, which are 09:00-12:00 and 13:00-18:00 on Mondays (Europe/London)`}},
		{"hours that run over midnight", func(r *domain.Resource) { r.Hours = studioHours() }, "engagement 2027-06-05 22:00 > 2027-06-06 01:00", nil, []string{}},
		{"a whole day with hours states no hour", func(r *domain.Resource) { r.Hours = studioHours() }, "engagement 2027-06-07 00:00 > 2027-06-08 00:00", nil, []string{}},
		{"a whole day without any hours", func(r *domain.Resource) { r.Hours = studioHours()[:10] }, "engagement 2027-06-06 00:00 > 2027-06-07 00:00", nil,
			[]string{`low off_hours: subject gives way to "": engagement all day on Sun 6 June 2027 lies outside the working hours, which are none on Sundays (Europe/London)`}},
		{"weddings keep no hours", func(r *domain.Resource) { r.Hours = studioHours() }, "wedding 2027-06-06 03:00 > 2027-06-06 20:00", nil, []string{}},
		{"clocks that go back make the day longer, not the booking", nil, "consultation 2027-10-31 01:30 > 2027-10-31 03:00", []string{"hold 2027-10-31 02:00 > 2027-10-31 04:00"},
			[]string{`medium overlap: n1 gives way to "subject": hold 02:00-04:00 overlaps consultation 01:30-03:00 on Sun 31 October 2027, by 1 h (Europe/London)`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			res := photographer()
			if c.edit != nil {
				c.edit(&res)
			}
			var others []conflict.Candidate
			for i, o := range c.others {
				others = append(others, entry(res, fmt.Sprintf("n%d", i+1), o))
			}
			subject := entry(res, "subject", c.subject)
			others = append(others, subject) // a booking never clashes with itself
			if diff := cmp.Diff(c.want, tell(conflict.Detect(spring, res, london, subject, others))); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSeverityGrowsAsTheWeddingComesNear(t *testing.T) {
	t.Parallel()
	res := photographer()
	overlap, buffer := "consultation 2027-06-05 14:00 > 2027-06-05 15:00", "consultation 2027-06-05 10:00 > 2027-06-05 11:00"
	for _, c := range []struct {
		now, what string
		want      domain.Severity
	}{
		{"2027-05-22 11:59", overlap, domain.SeverityHigh},
		{"2027-05-22 12:00", overlap, domain.SeverityCritical}, // 14 days
		{"2027-05-22 11:59", buffer, domain.SeverityMedium},
		{"2027-05-22 12:00", buffer, domain.SeverityHigh},
		{"2027-06-03 11:59", buffer, domain.SeverityHigh},
		{"2027-06-03 12:00", buffer, domain.SeverityCritical}, // 48 hours
		{"2027-06-03 12:00", "tentative " + buffer, domain.SeverityHigh},
		{"2027-05-22 12:00", "tentative " + overlap, domain.SeverityHigh},
		{"2027-06-05 13:00", overlap, domain.SeverityCritical}, // it is on
	} {
		got := conflict.Detect(at(c.now), res, london, entry(res, "b", c.what), []conflict.Candidate{entry(res, "a", "wedding 2027-06-05 12:00 > 2027-06-05 23:00")})
		if len(got) != 1 || got[0].Severity != c.want {
			t.Errorf("at %s, %s: got %v, want one of severity %s", c.now, c.what, tell(got), c.want)
		}
	}
	// Without a wedding nothing comes near.
	got := conflict.Detect(at("2027-06-07 13:00"), res, london, entry(res, "b", "consultation 2027-06-07 14:00 > 2027-06-07 15:00"),
		[]conflict.Candidate{entry(res, "a", "vendor 2027-06-07 14:00 > 2027-06-07 15:00")})
	if len(got) != 1 || got[0].Severity != domain.SeverityMedium {
		t.Errorf("two appointments in an hour: got %v, want medium", tell(got))
	}
}

func TestSeverityOfOverlapsFollowsTheTable(t *testing.T) {
	t.Parallel()
	res := photographer()
	const low, medium, high, critical = domain.SeverityLow, domain.SeverityMedium, domain.SeverityHigh, domain.SeverityCritical
	want := map[domain.Category]map[domain.Category]domain.Severity{
		wedding:      {wedding: critical, engagement: high, vendor: high, consultation: high, travel: high, hold: high, maintenance: high, personal: high},
		engagement:   {engagement: high, vendor: medium, consultation: medium, travel: medium, hold: medium, maintenance: medium, personal: medium},
		vendor:       {vendor: medium, consultation: medium, travel: medium, hold: medium, maintenance: medium, personal: medium},
		consultation: {consultation: medium, travel: medium, hold: medium, maintenance: medium, personal: medium},
		travel:       {travel: low, hold: low, maintenance: low, personal: low},
		hold:         {hold: low, maintenance: low, personal: low},
		maintenance:  {maintenance: low, personal: low},
		personal:     {personal: low},
	}
	for higher, row := range want {
		for lower, severity := range row {
			a := entry(res, "a", string(higher)+" 2027-06-07 14:00 > 2027-06-07 15:00")
			b := entry(res, "b", string(lower)+" 2027-06-07 14:00 > 2027-06-07 15:00")
			got := conflict.Detect(spring, res, london, a, []conflict.Candidate{b})
			if len(got) != 1 || got[0].Severity != severity || got[0].BookingID != "b" {
				t.Errorf("%s and %s: got %v, want %s with the %s giving way", higher, lower, tell(got), severity, lower)
			}
		}
	}
}

func TestWhatIsOverIsNeverReported(t *testing.T) {
	t.Parallel()
	res := photographer()
	a := entry(res, "a", "wedding 2027-06-05 09:00 > 2027-06-05 11:00")
	b := entry(res, "b", "wedding 2027-06-05 10:00 > 2027-06-05 14:00")
	for _, c := range []struct {
		now  string
		want int
	}{{"2027-06-05 10:59", 1}, {"2027-06-05 11:00", 0}, {"2027-06-06 00:00", 0}} {
		for _, pair := range [][2]conflict.Candidate{{a, b}, {b, a}} {
			if got := conflict.Detect(at(c.now), res, london, pair[0], pair[1:]); len(got) != c.want {
				t.Errorf("at %s: found %v, want %d", c.now, tell(got), c.want)
			}
		}
	}
	b.Status = domain.StatusCancelled
	if got := conflict.Detect(spring, res, london, a, []conflict.Candidate{b}); len(got) != 0 {
		t.Errorf("a cancelled wedding clashes: %v", tell(got))
	}
}

func TestGivingWayGoesByRankFirmnessAgeAndID(t *testing.T) {
	t.Parallel()
	res := photographer()
	when := " 2027-06-07 14:00 > 2027-06-07 15:00"
	older := entry(res, "z", "vendor"+when)
	older.CreatedAt = older.CreatedAt.Add(-time.Hour)
	order := []conflict.Candidate{ // each gives way to all below it
		entry(res, "a", "personal"+when),
		entry(res, "b", "tentative vendor"+when),
		entry(res, "d", "vendor"+when),
		entry(res, "c", "vendor"+when),
		older,
		entry(res, "y", "tentative wedding"+when),
		entry(res, "x", "wedding"+when),
	}
	for i, a := range order {
		for j, b := range order {
			if got := conflict.GivesWay(a, b); got != (i < j) {
				t.Errorf("%s before %s: got %v", a.BookingID, b.BookingID, got)
			}
		}
	}
}

func TestBusyAddsBuffersOnlyWhereClientsAreServed(t *testing.T) {
	t.Parallel()
	res := photographer()
	res.BufferAfter = 30 * time.Minute
	event := domain.Span{Start: at("2027-06-07 14:00"), End: at("2027-06-07 15:00")}
	day := domain.Span{Start: at("2027-06-07 00:00"), End: at("2027-06-09 00:00")}
	for _, c := range domain.Categories() {
		if got := conflict.Busy(res, day, c); got != day {
			t.Errorf("%s of whole days: got %s, want %s", c, got, day)
		}
		want := event
		if slices.Contains([]domain.Category{wedding, engagement, vendor, consultation}, c) {
			want = domain.Span{Start: at("2027-06-07 13:00"), End: at("2027-06-07 15:30")}
		}
		if got := conflict.Busy(res, event, c); got != want {
			t.Errorf("%s: got %s, want %s", c, got, want)
		}
	}
}

func TestSlotTakesTheFirstFreePlace(t *testing.T) {
	t.Parallel()
	res := photographer()
	res.Capacity = 3
	subject := entry(res, "s", "consultation 2027-06-07 14:00 > 2027-06-07 15:00")
	in := func(slot int, exclusive bool, text string) conflict.Occupied {
		return conflict.Occupied{Candidate: entry(res, fmt.Sprintf("n%d%s", slot, text), text), Slot: slot, Exclusive: exclusive}
	}
	const same, near, later = "vendor 2027-06-07 14:00 > 2027-06-07 15:00", "vendor 2027-06-07 16:00 > 2027-06-07 17:00", "vendor 2027-06-07 17:00 > 2027-06-07 18:00"
	own := in(0, true, same)
	own.BookingID = "s"
	for _, c := range []struct {
		name       string
		neighbours []conflict.Occupied
		slot       int
		exclusive  bool
	}{
		{"nobody there", nil, 0, true},
		{"first taken", []conflict.Occupied{in(0, true, same)}, 1, true},
		{"first taken by a buffer alone", []conflict.Occupied{in(0, true, near)}, 1, true},
		{"first taken at another time", []conflict.Occupied{in(0, true, later)}, 0, true},
		{"a gap in the middle", []conflict.Occupied{in(0, true, same), in(2, true, same)}, 1, true},
		{"all taken", []conflict.Occupied{in(0, true, same), in(1, true, same), in(2, true, same)}, 0, false},
		{"the first only by reality that does not exclude", []conflict.Occupied{in(0, false, same)}, 0, true},
		{"the first only tentatively", []conflict.Occupied{in(0, true, "tentative "+same)}, 0, true},
		{"the first by itself", []conflict.Occupied{own}, 0, true},
	} {
		if slot, exclusive := conflict.Slot(res, subject, c.neighbours); slot != c.slot || exclusive != c.exclusive {
			t.Errorf("%s: got %d, %v, want %d, %v", c.name, slot, exclusive, c.slot, c.exclusive)
		}
	}
}

// drawResource and drawCandidate keep to a few days and quarter hours, so that clashes are frequent.
func drawResource(t *rapid.T) domain.Resource {
	res := domain.Resource{Zone: "Europe/London", Capacity: rapid.IntRange(1, 3).Draw(t, "capacity"), OneWeddingADay: rapid.Bool().Draw(t, "one wedding a day"),
		BufferBefore: time.Duration(rapid.IntRange(0, 8).Draw(t, "before")) * 15 * time.Minute,
		BufferAfter:  time.Duration(rapid.IntRange(0, 8).Draw(t, "after")) * 15 * time.Minute}
	if rapid.Bool().Draw(t, "hours") {
		res.Hours = studioHours()
	}
	if rapid.Bool().Draw(t, "travels") {
		res.Travel = domain.Travel{SpeedKmh: rapid.SampledFrom([]int{0, 20, 60, 300}).Draw(t, "speed"), MinMinutes: rapid.IntRange(0, 40).Draw(t, "least"),
			FixedMinutes: rapid.IntRange(0, 90).Draw(t, "fixed")}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "blackouts") {
		from := 27 + rapid.IntRange(0, 4).Draw(t, fmt.Sprintf("blackout %d", i))
		res.Blackouts = append(res.Blackouts, domain.Blackout{From: fmt.Sprintf("2027-10-%d", from), To: fmt.Sprintf("2027-10-%d", min(31, from+i)), Yearly: rapid.Bool().Draw(t, "yearly")})
	}
	return res
}

// towns are places that property tests draw from; the first is not known.
var towns = []domain.Point{{}, bath, bristol, {Lat: 51.3811, Lon: -2.3592}, {Lat: 48.8566, Lon: 2.3522}, {Lat: -33.87, Lon: 151.21}}

func drawCandidate(t *rapid.T, res domain.Resource, id string) conflict.Candidate {
	start := at("2027-10-29 00:00").Add(time.Duration(rapid.IntRange(0, 4*96).Draw(t, id+" start")) * 15 * time.Minute)
	c := conflict.Candidate{BookingID: domain.BookingID(id), Category: rapid.SampledFrom(domain.Categories()).Draw(t, id+" category"),
		Status:    rapid.SampledFrom([]domain.BookingStatus{domain.StatusConfirmed, domain.StatusTentative}).Draw(t, id+" status"),
		Event:     domain.Span{Start: start, End: start.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, id+" length")) * 15 * time.Minute)},
		CreatedAt: at("2027-01-01 00:00").Add(time.Duration(rapid.IntRange(0, 3).Draw(t, id+" age")) * time.Hour)}
	c.Busy, c.Place = conflict.Busy(res, c.Event, c.Category), rapid.SampledFrom(towns).Draw(t, id+" place")
	return c
}

func TestDetectIsTheSameFromBothSides(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		res := drawResource(t)
		res.Capacity, res.Hours, res.Blackouts = 1, nil, nil // what concerns one booking alone has no other side
		a, b := drawCandidate(t, res, "a"), drawCandidate(t, res, "b")
		now := at("2027-10-30 12:00").Add(time.Duration(rapid.IntRange(-1000, 48).Draw(t, "now")) * time.Hour)
		one := conflict.Detect(now, res, london, a, []conflict.Candidate{b})
		two := conflict.Detect(now, res, london, b, []conflict.Candidate{a})
		if diff := cmp.Diff(one, two); diff != "" {
			t.Fatalf("seen from a and from b (-a +b):\n%s", diff)
		}
		if len(one) == 1 && one[0].BookingID == one[0].OtherID {
			t.Fatal("a booking clashes with itself")
		}
	})
}

func TestDetectKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		res := drawResource(t)
		subject := drawCandidate(t, res, "s")
		var others []conflict.Candidate
		for i := range rapid.IntRange(0, 8).Draw(t, "others") {
			others = append(others, drawCandidate(t, res, fmt.Sprintf("n%d", i)))
		}
		now := at("2027-10-30 12:00").Add(time.Duration(rapid.IntRange(-1000, 48).Draw(t, "now")) * time.Hour)
		got := conflict.Detect(now, res, london, subject, others)
		if conflict.Clear(now, res, london, subject, others) != (len(got) == 0) {
			t.Fatalf("Clear disagrees with %v", tell(got))
		}
		shuffled := rapid.Permutation(append(slices.Clone(others), subject)).Draw(t, "order")
		if diff := cmp.Diff(got, conflict.Detect(now, res, london, subject, shuffled)); diff != "" {
			t.Fatalf("the order of the neighbours matters:\n%s", diff)
		}
		pairs := map[domain.BookingID]bool{}
		for _, f := range got {
			other := f.OtherID
			if other == subject.BookingID {
				other = f.BookingID
			} else if f.BookingID != subject.BookingID {
				t.Fatalf("a clash without the subject: %v", f)
			}
			if pairs[other] {
				t.Fatalf("two findings about one pair: %v", tell(got))
			}
			pairs[other] = true
			if !f.Overlap.End.After(f.Overlap.Start) || f.Severity.Level() == 0 || f.Explanation == "" || alone(f.Kind) != (other == "") {
				t.Fatalf("an incomplete finding: %+v", f)
			}
		}
		if res.Capacity == 1 {
			for _, n := range others {
				if n.Event.Overlaps(subject.Event) && n.Event.End.After(now) && subject.Event.End.After(now) && !pairs[n.BookingID] {
					t.Fatalf("%s overlaps and is missing from %v", n.BookingID, tell(got))
				}
			}
			return
		}
		// Counting at every quarter hour of the subject must agree with the sweep.
		full := false
		for at := subject.Event.Start; at.Before(subject.Event.End) && subject.Event.End.After(now); at = at.Add(15 * time.Minute) {
			n := 1
			for _, o := range others {
				if !o.Event.Start.After(at) && o.Event.End.After(at) && o.Event.End.After(now) {
					n++
				}
			}
			full = full || n > res.Capacity
		}
		reported := slices.ContainsFunc(got, func(f conflict.Found) bool { return f.Kind == domain.ConflictCapacity })
		if full && !reported {
			t.Fatalf("more than %d at once and not found: %v", res.Capacity, tell(got))
		}
		if !full && reported && res.BufferBefore+res.BufferAfter == 0 {
			t.Fatalf("never more than %d at once, but found %v", res.Capacity, tell(got))
		}
	})
}

// alone reports whether a kind of clash is between a booking and a rule.
func alone(k domain.ConflictKind) bool {
	return k == domain.ConflictOffHours || k == domain.ConflictBlackout
}

func BenchmarkDetectAmongTwoHundred(b *testing.B) {
	res := photographer()
	res.Hours = studioHours()
	subject := entry(res, "s", "wedding 2027-06-05 12:00 > 2027-06-05 23:00")
	var others []conflict.Candidate
	for i := range 200 {
		c := entry(res, fmt.Sprintf("n%d", i), "consultation 2027-06-05 14:00 > 2027-06-05 15:00")
		shift := time.Duration(i-100) * 12 * time.Hour
		c.Event = domain.Span{Start: c.Event.Start.Add(shift), End: c.Event.End.Add(shift)}
		c.Busy = conflict.Busy(res, c.Event, c.Category)
		others = append(others, c)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(conflict.Detect(spring, res, london, subject, others)) == 0 {
			b.Fatal("found nothing")
		}
	}
}
