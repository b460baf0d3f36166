package availability_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/availability"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

var london = func() *time.Location {
	loc, err := calendartime.LoadZone("Europe/London")
	if err != nil {
		panic(err)
	}
	return loc
}()

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

func photographer() domain.Resource {
	res := domain.Resource{Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1, BufferBefore: time.Hour, BufferAfter: 30 * time.Minute, OneWeddingADay: true}
	for d := time.Monday; d <= time.Friday; d++ {
		res.Hours = append(res.Hours, domain.DayHours{Weekday: d, From: 9 * 60, To: 18 * 60})
	}
	return res
}

// tell writes an answer as a diary: free windows first, then what blocks.
func tell(a availability.Answer) []string {
	clock := func(s domain.Span) string {
		return s.Start.In(london).Format("Mon 15:04") + " > " + s.End.In(london).Format("Mon 15:04")
	}
	out := []string{}
	for _, f := range a.Free {
		out = append(out, "free "+clock(f))
	}
	for _, b := range a.Blocked {
		out = append(out, fmt.Sprintf("%s %s %q: %s", b.Rule, clock(b.Span), b.BookingID, b.Reason))
	}
	return out
}

func TestWindowsReadLikeADiary(t *testing.T) {
	t.Parallel()
	monday := between("2027-06-07 00:00", "2027-06-08 00:00")
	for _, c := range []struct {
		name   string
		now    string
		edit   func(*domain.Resource)
		window domain.Span
		want   availability.Want
		busy   func(domain.Resource) []conflict.Candidate
		says   []string
	}{
		{"an hour with a client around a vendor visit", "2027-06-07 09:30", nil, monday, availability.Want{Category: domain.CategoryConsultation, Duration: time.Hour},
			func(r domain.Resource) []conflict.Candidate {
				return []conflict.Candidate{booked(r, "v", domain.CategoryVendor, between("2027-06-07 12:00", "2027-06-07 13:00")),
					booked(r, "p", domain.CategoryPersonal, between("2027-06-07 15:30", "2027-06-07 17:00"))}
			}, []string{
				// One hour before the visit and half an hour after a client: both buffers lie between them.
				"free Mon 09:30 > Mon 10:30",
				`off_hours Mon 00:00 > Mon 09:00 "": outside working hours`,
				`past Mon 00:00 > Mon 09:30 "": already over`,
				`buffer Mon 10:30 > Mon 12:00 "v": set-up and travel time for vendor 12:00-13:00 on Mon 7 June 2027`,
				`overlap Mon 12:00 > Mon 13:00 "v": vendor 12:00-13:00 on Mon 7 June 2027`,
				`buffer Mon 13:00 > Mon 14:30 "v": set-up and travel time for vendor 12:00-13:00 on Mon 7 June 2027`,
				`too_short Mon 14:30 > Mon 15:00 "": only 30 min free, 1 h wanted`,
				`buffer Mon 15:00 > Mon 15:30 "p": set-up and travel time for personal 15:30-17:00 on Mon 7 June 2027`,
				`overlap Mon 15:30 > Mon 17:00 "p": personal 15:30-17:00 on Mon 7 June 2027`,
				`buffer Mon 17:00 > Mon 18:00 "p": set-up and travel time for personal 15:30-17:00 on Mon 7 June 2027`,
				`off_hours Mon 18:00 > Tue 00:00 "": outside working hours`,
			}},
		{"a wedding on a weekend with one on Sunday", "2027-05-01 09:00", nil, between("2027-06-05 00:00", "2027-06-07 00:00"), availability.Want{Category: domain.CategoryWedding, Duration: 12 * time.Hour},
			func(r domain.Resource) []conflict.Candidate {
				return []conflict.Candidate{booked(r, "w", domain.CategoryWedding, between("2027-06-06 12:00", "2027-06-06 22:00"))}
			}, []string{
				"free Sat 00:00 > Sun 06:00",
				`same_day Sun 06:00 > Mon 00:00 "w": Sun 6 June 2027 already has a wedding, and the resource takes one a day`,
				`buffer Sun 10:30 > Sun 12:00 "w": set-up and travel time for wedding 12:00-22:00 on Sun 6 June 2027`,
				`overlap Sun 12:00 > Sun 22:00 "w": wedding 12:00-22:00 on Sun 6 June 2027`,
				`buffer Sun 22:00 > Sun 23:30 "w": set-up and travel time for wedding 12:00-22:00 on Sun 6 June 2027`,
			}},
		{"a room for two is full only where two are in it", "2027-05-01 09:00", func(r *domain.Resource) { r.Capacity, r.Hours, r.BufferAfter = 2, nil, 0 }, monday,
			availability.Want{Category: domain.CategoryVendor, Duration: time.Hour},
			func(r domain.Resource) []conflict.Candidate {
				return []conflict.Candidate{booked(r, "a", domain.CategoryVendor, between("2027-06-07 10:00", "2027-06-07 14:00")),
					booked(r, "b", domain.CategoryConsultation, between("2027-06-07 13:00", "2027-06-07 16:00"))}
			}, []string{
				"free Mon 00:00 > Mon 12:00",
				"free Mon 15:00 > Tue 00:00",
				`capacity Mon 12:00 > Mon 14:00 "b": all 2 places are taken, one by consultation 13:00-16:00 on Mon 7 June 2027`,
				`buffer Mon 14:00 > Mon 15:00 "b": set-up and travel time for consultation 13:00-16:00 on Mon 7 June 2027`,
			}},
		{"a day off, and the way to Bath", "2027-05-01 09:00", func(r *domain.Resource) {
			r.Hours, r.BufferBefore, r.BufferAfter, r.Travel = nil, 0, 0, domain.Travel{SpeedKmh: 50}
			r.Blackouts = []domain.Blackout{{From: "2026-06-08", To: "2026-06-08", Yearly: true}}
		}, between("2027-06-07 12:00", "2027-06-09 00:00"), availability.Want{Category: domain.CategoryConsultation, Duration: time.Hour, Place: towns[1]},
			func(r domain.Resource) []conflict.Candidate {
				b := booked(r, "v", domain.CategoryVendor, between("2027-06-07 15:00", "2027-06-07 18:00"))
				b.Place = towns[2]
				return []conflict.Candidate{b}
			}, []string{
				"free Mon 12:00 > Mon 14:34",
				"free Mon 18:26 > Tue 00:00",
				`travel Mon 14:34 > Mon 15:00 "v": the way of 21 km at 50 km/h takes 26 min, to or from vendor 15:00-18:00 on Mon 7 June 2027`,
				`overlap Mon 15:00 > Mon 18:00 "v": vendor 15:00-18:00 on Mon 7 June 2027`,
				`travel Mon 18:00 > Mon 18:26 "v": the way of 21 km at 50 km/h takes 26 min, to or from vendor 15:00-18:00 on Mon 7 June 2027`,
				`blackout Tue 00:00 > Wed 00:00 "": kept free of clients, 8 June of every year`,
			}},
		{"travel may use the buffers of a wedding", "2027-05-01 09:00", nil, between("2027-06-05 10:00", "2027-06-05 13:00"), availability.Want{Category: domain.CategoryTravel, Duration: time.Hour},
			func(r domain.Resource) []conflict.Candidate {
				return []conflict.Candidate{booked(r, "w", domain.CategoryWedding, between("2027-06-05 12:00", "2027-06-05 22:00"))}
			}, []string{
				"free Sat 10:00 > Sat 12:00",
				`overlap Sat 12:00 > Sat 13:00 "w": wedding 12:00-22:00 on Sat 5 June 2027`,
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			res := photographer()
			if c.edit != nil {
				c.edit(&res)
			}
			got, err := availability.Windows(at(c.now), res, london, c.window, c.busy(res), c.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.says, tell(got)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWindowsRefusesWhatItCannotAnswer(t *testing.T) {
	t.Parallel()
	day := between("2027-06-07 00:00", "2027-06-08 00:00")
	hour := availability.Want{Category: domain.CategoryVendor, Duration: time.Hour}
	for _, c := range []struct {
		field  string
		window domain.Span
		want   availability.Want
	}{
		{"window", domain.Span{Start: day.End, End: day.Start}, hour},
		{"window", domain.Span{Start: day.Start, End: day.Start.Add(availability.MaxWindow + time.Second)}, hour},
		{"category", day, availability.Want{Category: "party", Duration: time.Hour}},
		{"duration", day, availability.Want{Category: domain.CategoryVendor}},
		{"duration", day, availability.Want{Category: domain.CategoryVendor, Duration: domain.MaxSpan + 1}},
	} {
		got, err := availability.Windows(day.Start, photographer(), london, c.window, nil, c.want)
		if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != c.field || got.Free != nil {
			t.Errorf("%s %+v: got %v, want an error about %s", c.window, c.want, err, c.field)
		}
		if _, err := availability.Free(day.Start, photographer(), london, c.window, nil, c.want); domain.FieldOf(err) != c.field {
			t.Errorf("Free of %s %+v: got %v, want an error about %s", c.window, c.want, err, c.field)
		}
	}
	longest := domain.Span{Start: day.Start, End: day.Start.Add(availability.MaxWindow)}
	if got, err := availability.Windows(day.Start, photographer(), london, longest, nil, hour); err != nil || len(got.Free) < 285 {
		t.Errorf("400 days: %d windows, %v", len(got.Free), err)
	}
}

// towns are places that tests draw from; the first is not known.
var towns = []domain.Point{{}, {Lat: 51.3811, Lon: -2.3590}, {Lat: 51.4478, Lon: -2.6450}, {Lat: 48.8566, Lon: 2.3522}}

func TestWindowsAgreesWithConflict(t *testing.T) {
	t.Parallel()
	const quarter = 15 * time.Minute
	rapid.Check(t, func(t *rapid.T) {
		res := photographer()
		res.Capacity = rapid.IntRange(1, 3).Draw(t, "capacity")
		res.OneWeddingADay = rapid.Bool().Draw(t, "one wedding a day")
		res.BufferBefore = time.Duration(rapid.IntRange(0, 8).Draw(t, "before")) * quarter
		res.BufferAfter = time.Duration(rapid.IntRange(0, 8).Draw(t, "after")) * quarter
		res.LeadMinutes = max(rapid.IntRange(-20, 96).Draw(t, "lead")*15, 0)
		if rapid.Bool().Draw(t, "no hours") {
			res.Hours = nil
		}
		if rapid.Bool().Draw(t, "travels") {
			res.Travel = domain.Travel{SpeedKmh: rapid.SampledFrom([]int{0, 20, 60, 300}).Draw(t, "speed"), MinMinutes: rapid.IntRange(0, 3).Draw(t, "least") * 15,
				FixedMinutes: rapid.IntRange(0, 6).Draw(t, "fixed") * 15}
		}
		if rapid.Bool().Draw(t, "blackout") {
			from := 28 + rapid.IntRange(0, 3).Draw(t, "blackout from")
			res.Blackouts = []domain.Blackout{{From: fmt.Sprintf("2027-10-%d", from), To: fmt.Sprintf("2027-10-%d", min(31, from+rapid.IntRange(0, 1).Draw(t, "blackout days"))), Yearly: rapid.Bool().Draw(t, "yearly")}}
		}
		// Clocks go back in the middle of the window.
		window := between("2027-10-29 00:00", "2027-11-02 00:00")
		var busy []conflict.Candidate
		for i := range rapid.IntRange(0, 8).Draw(t, "busy") {
			id := fmt.Sprintf("n%d", i)
			start := window.Start.Add(time.Duration(rapid.IntRange(-48, 4*96).Draw(t, id)) * quarter)
			end := start.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, id+" length")) * quarter)
			b := booked(res, id, rapid.SampledFrom(domain.Categories()).Draw(t, id+" category"), domain.Span{Start: start, End: end})
			b.Status = rapid.SampledFrom([]domain.BookingStatus{domain.StatusConfirmed, domain.StatusTentative, domain.StatusCancelled}).Draw(t, id+" status")
			b.Place = rapid.SampledFrom(towns).Draw(t, id+" place")
			busy = append(busy, b)
		}
		now := window.Start.Add(time.Duration(rapid.IntRange(-96, 192).Draw(t, "now")) * quarter)
		want := availability.Want{Category: rapid.SampledFrom(domain.Categories()).Draw(t, "category"), Duration: time.Duration(rapid.IntRange(1, 60).Draw(t, "duration")) * quarter, Place: rapid.SampledFrom(towns).Draw(t, "place")}
		soonest := now.Add(time.Duration(res.LeadMinutes) * time.Minute)
		got, err := availability.Windows(now, res, london, window, busy, want)
		if err != nil {
			t.Fatal(err)
		}
		free, err := availability.Free(now, res, london, window, busy, want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got.Free, free); diff != "" {
			t.Fatalf("Windows and Free differ:\n%s", diff)
		}
		clashes := func(event domain.Span) []conflict.Found {
			wanted := booked(res, "wanted", want.Category, event)
			wanted.Place = want.Place
			return conflict.Detect(now, res, london, wanted, busy)
		}
		for _, f := range got.Free {
			if !window.Contains(f) || f.Duration() < want.Duration || f.Start.Before(soonest) {
				t.Fatalf("free %s of %s in %s at %s", f, f.Duration(), window, now)
			}
			start := f.Start.Add(time.Duration(rapid.Int64Range(0, int64(f.Duration()/quarter)-1).Draw(t, "from")) * quarter)
			length := time.Duration(rapid.Int64Range(1, int64(f.End.Sub(start)/quarter)).Draw(t, "length")) * quarter
			if found := clashes(domain.Span{Start: start, End: start.Add(length)}); len(found) > 0 {
				t.Fatalf("free %s: %s for %s clashes: %v", f, start, length, found)
			}
		}
		for start := window.Start; !start.Add(want.Duration).After(window.End); start = start.Add(quarter) {
			event := domain.Span{Start: start, End: start.Add(want.Duration)}
			if _, _, whole := calendartime.WholeDays(event, london); whole || start.Before(soonest) {
				continue
			}
			offered := slices.ContainsFunc(got.Free, func(f domain.Span) bool { return f.Contains(event) })
			if found := clashes(event); offered != (len(found) == 0) {
				t.Fatalf("%s: offered %v, clashes %v", event, offered, found)
			}
		}
		// Everything is either free or blocked with a reason, never both.
		var all []domain.Span
		for _, b := range got.Blocked {
			if b.Reason == "" || b.Rule == "" || !window.Contains(b.Span) || slices.ContainsFunc(got.Free, b.Span.Overlaps) {
				t.Fatalf("blocked %+v", b)
			}
			all = append(all, b.Span)
		}
		if joined := conflict.Join(append(all, got.Free...)); len(joined) != 1 || joined[0] != window {
			t.Fatalf("%v does not cover %s", joined, window)
		}
	})
}
