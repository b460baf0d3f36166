package ical_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/ical"
)

// choir repeats weekly on Saturdays at 10:00 in London, for five weeks over the start of summer time on 28 March.
var choir = []string{"UID:s", "SUMMARY:Choir", "DTSTART;TZID=Europe/London:20270320T100000", "DTEND;TZID=Europe/London:20270320T110000", "RRULE:FREQ=WEEKLY;COUNT=5"}

func exception(id string, lines ...string) string {
	return vevent(append([]string{"UID:s", "RECURRENCE-ID" + id}, lines...)...)
}

func TestSeriesTakesPlaceWithItsExceptions(t *testing.T) {
	t.Parallel()
	week := func(n int) string {
		at := time.Date(2027, 3, 20+7*n, 10, 0, 0, 0, time.UTC)
		offset := "Z"
		if n >= 2 {
			offset = "+01:00"
		}
		return "s#" + at.Format("20060102T150405") + " " + at.Format("2006-01-02T15:04") + offset + " 1h0m0s"
	}
	weeks := func(list ...int) []string {
		out := []string{}
		for _, n := range list {
			out = append(out, week(n))
		}
		return out
	}
	for _, c := range []struct {
		name  string
		extra []string // lines of the master
		more  []string // components
		want  []string
	}{
		{"on its clock, summer and winter", nil, nil, weeks(0, 1, 2, 3, 4)},
		{"without a date in its own form", []string{"EXDATE;TZID=Europe/London:20270327T100000"}, nil, weeks(0, 2, 3, 4)},
		{"without a date in UTC", []string{"EXDATE:20270403T090000Z"}, nil, weeks(0, 1, 3, 4)},
		{"without a date in another zone", []string{"EXDATE;TZID=W. Europe Standard Time:20270403T110000"}, nil, weeks(0, 1, 3, 4)},
		{"without a date in no zone", []string{"EXDATE:20270403T100000"}, nil, weeks(0, 1, 3, 4)},
		{"without a day", []string{"EXDATE;VALUE=DATE:20270403"}, nil, weeks(0, 1, 3, 4)},
		{"without several dates on one line, an empty one among them", []string{"EXDATE;TZID=Europe/London:20270327T100000,20270403T100000,"}, nil, weeks(0, 3, 4)},
		{"without the instances of another rule", []string{"EXRULE:FREQ=WEEKLY;INTERVAL=2"}, nil, weeks(1, 3)},
		{"with a date more", []string{"RDATE:20270325T180000Z"}, nil, append(weeks(0), "s#20270325T180000 2027-03-25T18:00Z 1h0m0s", week(1), week(2), week(3), week(4))},
		{"with a period of its own length", []string{"RDATE;VALUE=PERIOD:20270325T180000Z/PT3H"}, nil, append(weeks(0), "s#20270325T180000 2027-03-25T18:00Z 3h0m0s", week(1), week(2), week(3), week(4))},
		{"with a period that ends at a time", []string{"RDATE;VALUE=PERIOD:20270325T180000Z/20270325T200000Z"}, nil, append(weeks(0), "s#20270325T180000 2027-03-25T18:00Z 2h0m0s", week(1), week(2), week(3), week(4))},
		{"one moved, found by its id in UTC", nil, []string{exception(":20270403T090000Z", "DTSTART:20270404T120000Z", "DURATION:PT2H")},
			[]string{week(0), week(1), "s#20270403T100000 2027-04-04T12:00Z 2h0m0s", week(3), week(4)}},
		{"one moved out of the year", nil, []string{exception(";TZID=Europe/London:20270403T100000", "DTSTART:20280404T120000Z", "DURATION:PT2H")}, weeks(0, 1, 3, 4)},
		{"one of another year moved in", []string{"RDATE:20280101T100000Z"}, []string{exception(":20280101T100000Z", "DTSTART:20270501T120000Z", "DURATION:PT2H")},
			append(weeks(0, 1, 2, 3, 4), "s#20280101T100000 2027-05-01T12:00Z 2h0m0s")},
		{"one cancelled, which is still told", nil, []string{exception(";TZID=Europe/London:20270403T100000", "STATUS:CANCELLED", "DTSTART;TZID=Europe/London:20270403T100000", "DURATION:PT1H")}, weeks(0, 1, 2, 3, 4)},
		{"an exception to a date that was taken out", []string{"EXDATE;TZID=Europe/London:20270403T100000"}, []string{exception(";TZID=Europe/London:20270403T100000", "DTSTART:20270404T120000Z", "DURATION:PT2H")},
			[]string{week(0), week(1), "s#20270403T100000 2027-04-04T12:00Z 2h0m0s", week(3), week(4)}},
		{"the later ones moved together", nil, []string{exception(";RANGE=THISANDFUTURE;TZID=Europe/London:20270403T100000", "DTSTART;TZID=Europe/London:20270404T120000", "DURATION:PT2H")},
			[]string{week(0), week(1), "s#20270403T100000 2027-04-04T12:00+01:00 2h0m0s", "s#20270410T100000 2027-04-11T12:00+01:00 2h0m0s", "s#20270417T100000 2027-04-18T12:00+01:00 2h0m0s"}},
		{"an exception told twice, the later wording counts", nil, []string{
			exception(":20270403T090000Z", "SEQUENCE:2", "DTSTART:20270404T120000Z", "DURATION:PT2H"), exception(":20270403T090000Z", "SEQUENCE:1", "DTSTART:20270405T120000Z", "DURATION:PT2H")},
			[]string{week(0), week(1), "s#20270403T100000 2027-04-04T12:00Z 2h0m0s", week(3), week(4)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := told(t, calendar(append([]string{vevent(append(append([]string{}, choir...), c.extra...)...)}, c.more...)...))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestExceptionsWithoutTheirSeriesAreEvents(t *testing.T) {
	t.Parallel()
	got := told(t, calendar(exception(";TZID=Europe/London:20270403T100000", "DTSTART;TZID=Europe/London:20270404T120000", "DURATION:PT2H"),
		exception(";TZID=Europe/London:20270410T100000", "STATUS:CANCELLED", "DTSTART;TZID=Europe/London:20270410T100000", "DURATION:PT1H")))
	want := []string{"s#20270403T100000 2027-04-04T12:00+01:00 2h0m0s", "s#20270410T100000 2027-04-10T10:00+01:00 1h0m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDaysStayDaysInEveryZone(t *testing.T) {
	t.Parallel()
	text := calendar(vevent("UID:a", "DTSTART;VALUE=DATE;TZID=Asia/Tokyo:20271030", "DTEND;VALUE=DATE:20271101", "RRULE:FREQ=WEEKLY;COUNT=2", "EXDATE;VALUE=DATE:20271106"),
		vevent("UID:b", "DTSTART;VALUE=DATE:20180203", "RRULE:FREQ=YEARLY;UNTIL=20270203"))
	for _, name := range []string{"Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Sao_Paulo", "Europe/London", "Asia/Kathmandu"} {
		loc := load(t, name)
		cal, problems, err := ical.Read(strings.NewReader(text), ical.Options{Zone: loc})
		if err != nil || len(problems) != 0 {
			t.Fatal(err, problems)
		}
		found, _ := cal.Occurrences(year2027[0], year2027[1], 10)
		var got []string
		for _, o := range found {
			got = append(got, fmt.Sprint(o.UID, " ", o.RecurrenceID, " ", o.AllDay(), " ", o.Span.Start.In(loc).Format("0102T15"), " ", o.Span.End.In(loc).Format("0102T15")))
		}
		want := []string{"b 20270203 true 0203T00 0204T00", "a 20271030 true 1030T00 1101T00"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestSlidingWindowShowsEachInstanceOnce: day by day, an instance comes into a window once and leaves it once.
func TestSlidingWindowShowsEachInstanceOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := load(t, rapid.SampledFrom([]string{"Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/London", "America/New_York", "UTC"}).Draw(t, "zone"))
		text := calendar(vevent("UID:a", "DTSTART;VALUE=DATE:20270310", "RRULE:FREQ=DAILY;INTERVAL=3;COUNT=8"), vevent("UID:b", "DTSTART:20270401T233000", "DURATION:PT1H"))
		cal, _, err := ical.Read(strings.NewReader(text), ical.Options{Zone: loc})
		if err != nil {
			t.Fatal(err)
		}
		length := time.Duration(rapid.IntRange(2, 40).Draw(t, "days")) * 24 * time.Hour
		step := time.Duration(rapid.SampledFrom([]int{7, 12, 24, 30}).Draw(t, "step")) * time.Hour
		shown, comings := map[string]bool{}, map[string]int{}
		for at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); at.Before(time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC)); at = at.Add(step) {
			found, problems := cal.Occurrences(at, at.Add(length), 100)
			if len(problems) != 0 {
				t.Fatal(problems)
			}
			now := map[string]bool{}
			for _, o := range found {
				name := o.UID + o.RecurrenceID
				if now[name] {
					t.Fatalf("%s is shown twice", name)
				}
				now[name] = true
				if !shown[name] {
					comings[name]++
				}
			}
			shown = now
		}
		for name, n := range comings {
			if n != 1 {
				t.Fatalf("%s came into the window %d times", name, n)
			}
		}
		if len(comings) != 9 || len(shown) != 0 {
			t.Fatalf("%d of 9 were shown; %d never left", len(comings), len(shown))
		}
	})
}

func TestCaseOfOneUIDTwiceIsDecidedOrTold(t *testing.T) {
	t.Parallel()
	first := vevent("UID:a", "SEQUENCE:1", "DTSTART:20270605T130000Z", "DURATION:PT1H")
	if diff := cmp.Diff([]string{"a 2027-06-06T13:00Z 1h0m0s"}, told(t, calendar(first, vevent("UID:a", "SEQUENCE:2", "DTSTART:20270606T130000Z", "DURATION:PT1H")))); diff != "" {
		t.Errorf("a newer wording (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a 2027-06-05T13:00Z 1h0m0s"}, told(t, calendar(first, first))); diff != "" {
		t.Errorf("the same twice (-want +got):\n%s", diff)
	}
	cal, problems := read(t, calendar(first, vevent("UID:a", "SEQUENCE:1", "DTSTART:20270606T130000Z", "DURATION:PT1H")))
	if len(problems) != 1 || !problems[0].Lost || len(cal.Objects) != 0 {
		t.Errorf("two events of one UID: %v, %d objects", problems, len(cal.Objects))
	}
	if got := told(t, calendar(vevent("DTSTART:20270605T130000Z"), vevent("DTSTART:20270606T130000Z"))); len(got) != 2 {
		t.Errorf("two events without a UID: %v", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(calendar(ownZone, vevent("UID:a", "DTSTART;TZID=Customized Time Zone:20270605T130000", "DURATION:PT1H")))
	f.Add(calendar(vevent(choir...), exception(";RANGE=THISANDFUTURE:20270403T090000Z", "DTSTART:20270404T120000Z", "DURATION:PT2H")))
	f.Add(calendar(vevent("UID:a", "DTSTART;VALUE=DATE:20270605", "RDATE;VALUE=PERIOD:20270607T100000Z/PT1H,20270608T100000Z/20270608T110000Z", "EXRULE:FREQ=DAILY")))
	f.Add(calendar(vevent("UID:a", "DTSTART:20270605T130000", "RRULE:FREQ=SECONDLY;BYSECOND=1,59;BYSETPOS=-1")))
	f.Add("BEGIN:VCALENDAR\nA;B=\"\nEND:VCALENDAR")
	f.Add("BEGIN:VCALENDAR\nA;B=C")
	f.Add("\ufeffBEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20270605T130000Z\r\n \r\nEND:VALARM\r\nEND:VCALENDAR")
	f.Fuzz(func(t *testing.T, text string) {
		cal, problems, err := ical.Read(strings.NewReader(text), ical.Options{Zone: time.UTC, MaxBytes: 1 << 16})
		if err != nil {
			if len(cal.Objects)+len(problems) != 0 {
				t.Error("an error with half an answer")
			}
			return
		}
		lost := 0
		for _, p := range problems {
			if p.Lost {
				lost++
			}
			if p.Err == nil || p.String() == "" {
				t.Errorf("a problem without a reason: %+v", p)
			}
		}
		if lost == 0 && cal.Lost > 0 {
			t.Errorf("%d objects are left out and not told", cal.Lost)
		}
		found, more := cal.Occurrences(year2027[0], year2027[1], 500)
		if len(found) > 500 {
			t.Errorf("%d occurrences, at most 500 were asked for", len(found))
		}
		for i, o := range found {
			if !o.Span.Valid() || !o.Span.Start.Before(year2027[1]) || !o.Span.End.After(year2027[0]) {
				t.Errorf("occurrence %s is outside the window", o.Span)
			}
			if i > 0 && o.Span.Start.Before(found[i-1].Span.Start) {
				t.Error("occurrences out of order")
			}
		}
		for _, p := range more {
			if !p.Lost || p.Err == nil {
				t.Errorf("an unclear problem: %+v", p)
			}
		}
	})
}
