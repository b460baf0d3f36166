package calendartime_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

func zone(t interface{ Fatalf(string, ...any) }, name string) *time.Location {
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		t.Fatalf("load %s: %v", name, err)
	}
	return loc
}

func wall(t interface{ Fatalf(string, ...any) }, s string) calendartime.Wall {
	at, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		at, err = time.Parse("2006-01-02 15:04", s)
	}
	if err != nil {
		at, err = time.Parse("2006-01-02", s)
	}
	if err != nil {
		t.Fatalf("wall clock %q: %v", s, err)
	}
	return calendartime.WallOf(at, time.UTC)
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatalf("instant %q: %v", s, err)
	}
	return at
}

func date(t *testing.T, s string) calendartime.Date {
	t.Helper()
	d, err := calendartime.ParseDate(s)
	if err != nil {
		t.Fatalf("date %q: %v", s, err)
	}
	return d
}

func TestResolveFollowsRFC5545WhereClocksJump(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, wall, want, why string }{
		{"Europe/London", "2027-06-05 14:00", "2027-06-05T14:00:00+01:00", "an ordinary summer day"},
		{"Europe/London", "2027-12-05 14:00", "2027-12-05T14:00:00Z", "an ordinary winter day"},
		{"America/New_York", "2026-03-08 02:30", "2026-03-08T03:30:00-04:00", "skipped: offset before the gap"},
		{"America/New_York", "2026-03-08 01:59:59", "2026-03-08T01:59:59-05:00", "just before the gap"},
		{"America/New_York", "2026-03-08 03:00", "2026-03-08T03:00:00-04:00", "just after the gap"},
		{"America/New_York", "2026-11-01 01:30", "2026-11-01T01:30:00-04:00", "twice: the first"},
		{"America/New_York", "2026-11-01 02:00", "2026-11-01T02:00:00-05:00", "after the repeated hour"},
		{"Europe/Amsterdam", "2020-10-25 02:30", "2020-10-25T02:30:00+02:00", "twice: the first"},
		{"Australia/Sydney", "2026-04-05 02:30", "2026-04-05T02:30:00+11:00", "twice, southern autumn"},
		{"Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-05T01:45:00+11:00", "twice, half an hour"},
		{"Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-04T02:45:00+11:00", "skipped, half an hour"},
		{"America/Sao_Paulo", "2018-11-04 00:00", "2018-11-04T01:00:00-02:00", "no midnight"},
		{"Africa/Cairo", "2026-04-24 00:00", "2026-04-24T01:00:00+03:00", "no midnight"},
		{"Pacific/Apia", "2011-12-30 12:00", "2011-12-31T12:00:00+14:00", "no such day"},
		{"UTC", "2027-06-05 14:00", "2027-06-05T14:00:00Z", "no zone"},
		{"Pacific/Kiritimati", "2027-06-05 00:00", "2027-06-05T00:00:00+14:00", "furthest ahead"},
		{"Etc/GMT+12", "2027-06-05 23:59", "2027-06-05T23:59:00-12:00", "furthest behind"},
	} {
		got := calendartime.Resolve(wall(t, c.wall), zone(t, c.zone)).Format(time.RFC3339)
		if got != c.want {
			t.Errorf("%s %s (%s): got %s, want %s", c.zone, c.wall, c.why, got, c.want)
		}
	}
}

var someZones = []string{"Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo",
	"Pacific/Apia", "Asia/Kathmandu", "America/St_Johns", "Europe/Dublin", "Africa/Casablanca", "Asia/Tehran", "UTC"}

func drawInstant(t *rapid.T, label string) time.Time {
	return time.Unix(rapid.Int64Range(-1_000_000_000, 4_000_000_000).Draw(t, label), 0).UTC()
}

func TestResolveFindsTheFirstInstantThatShowsTheClock(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(someZones).Draw(t, "zone"))
		at := drawInstant(t, "at")
		w := calendartime.WallOf(at, loc)
		got := calendartime.Resolve(w, loc)
		if calendartime.WallOf(got, loc) != w {
			t.Fatalf("%s shows %s, want %s", got, calendartime.WallOf(got, loc), w)
		}
		if got.After(at) {
			t.Fatalf("resolved to %s, but %s shows %s earlier", got, at, w)
		}
	})
}

func TestResolveReadsSkippedClocksWithTheOffsetBeforeTheGap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(someZones).Draw(t, "zone"))
		_, gap := drawInstant(t, "at").In(loc).ZoneBounds()
		if gap.IsZero() {
			return
		}
		_, before := gap.Add(-time.Second).Zone()
		_, after := gap.Zone()
		if after <= before {
			return
		}
		into := rapid.IntRange(0, after-before-1).Draw(t, "seconds into the gap")
		skipped := calendartime.WallOf(gap.Add(time.Duration(before+into)*time.Second), time.UTC)
		want := gap.Add(time.Duration(into) * time.Second)
		if got := calendartime.Resolve(skipped, loc); !got.Equal(want) {
			t.Fatalf("%s: got %s, want %s", skipped, got, want)
		}
	})
}

func TestResolveWorksOnTheLastDayOfLeapYears(t *testing.T) {
	t.Parallel()
	for _, name := range someZones {
		loc := zone(t, name)
		for year := 2024; year <= 2100; year += 4 {
			at := time.Date(year, time.December, 31, 13, 30, 0, 0, time.UTC)
			if got := calendartime.Resolve(calendartime.WallOf(at, loc), loc); !got.Equal(at) {
				t.Errorf("%s: got %s, want %s", name, got, at)
			}
		}
	}
}

func TestLoadZoneAcceptsOnlyNamesOfTheDatabase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UTC", "Europe/London", "America/Argentina/Buenos_Aires", "Etc/GMT+5"} {
		first := zone(t, name)
		if again := zone(t, name); again != first {
			t.Errorf("%s was loaded twice", name)
		}
	}
	for _, name := range []string{"", "Local", "Europe", "Mars/Olympus", "GMT Standard Time", "../etc/passwd",
		"/usr/share/zoneinfo/UTC", "right/Europe/London", "posixrules", "Europe/London\x00",
		"A123456789012345678901234567890123456789012345678901234567890123456789"} {
		loc, err := calendartime.LoadZone(name)
		if err == nil {
			t.Errorf("%q was accepted as %s", name, loc)
			continue
		}
		if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "zone" {
			t.Errorf("%q: error %v has kind %s and field %q", name, err, domain.KindOf(err), domain.FieldOf(err))
		}
	}
}

func TestDaysAreLocalAndHaveTheirRealLength(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, day  string
		start      string
		wantLength time.Duration
	}{
		{"Europe/London", "2027-06-05", "2027-06-04T23:00:00Z", 24 * time.Hour},
		{"Europe/London", "2027-03-28", "2027-03-28T00:00:00Z", 23 * time.Hour},
		{"Europe/London", "2027-10-31", "2027-10-30T23:00:00Z", 25 * time.Hour},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23 * time.Hour},
		{"Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z", 23 * time.Hour},
		{"Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", 24*time.Hour + 30*time.Minute},
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0},
	} {
		loc, d := zone(t, c.zone), date(t, c.day)
		got := calendartime.AllDay(loc, d, d.AddDays(1))
		if !got.Start.Equal(instant(t, c.start)) || got.Duration() != c.wantLength {
			t.Errorf("%s %s: got %s of %s, want start %s and %s", c.zone, c.day, got, got.Duration(), c.start, c.wantLength)
		}
		if got.Start.Location() != time.UTC {
			t.Errorf("%s %s: span is not in UTC", c.zone, c.day)
		}
	}
}

func TestDaysTileTheTimeOfEveryZone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(someZones).Draw(t, "zone"))
		at := drawInstant(t, "at")
		d := calendartime.DateOf(at, loc)
		if start := calendartime.DayStart(d, loc); start.After(at) || calendartime.DateOf(start, loc) != d {
			t.Fatalf("day %s of %s starts at %s, a %s", d, at, start, calendartime.DateOf(start, loc))
		}
		span := calendartime.AllDay(loc, d, d.AddDays(1))
		if before := span.Start.Add(-time.Second); calendartime.DateOf(before, loc) == d {
			t.Fatalf("%s already shows %s, which starts at %s", before, d, span.Start)
		}
		if first, end, ok := calendartime.WholeDays(span, loc); !ok || first != d || end != d.AddDays(1) {
			t.Fatalf("whole days of %s: %s to %s, %v", span, first, end, ok)
		}
	})
}

func TestDatesCountLikeACalendar(t *testing.T) {
	t.Parallel()
	d := date(t, "2027-02-27")
	if got := d.AddDays(2).String(); got != "2027-03-01" {
		t.Errorf("two days later is %s", got)
	}
	if got := d.AddDays(-58).String(); got != "2026-12-31" {
		t.Errorf("58 days earlier is %s", got)
	}
	if d.Weekday() != time.Saturday {
		t.Errorf("weekday is %s", d.Weekday())
	}
	if !d.Before(d.AddDays(1)) || d.Before(d) {
		t.Error("Before does not order days")
	}
	if n := d.DaysUntil(date(t, "2028-02-27")); n != 365 {
		t.Errorf("days in a year: %d", n)
	}
	for _, s := range []string{"", "2027-02-29", "2027-2-3", "27-02-03", "2027-02-03T00:00:00Z", "0000-01-01"} {
		if d, err := calendartime.ParseDate(s); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%q was read as %s, %v", s, d, err)
		}
	}
}

func TestWallKnowsWhatExists(t *testing.T) {
	t.Parallel()
	good := calendartime.Wall{Year: 2028, Month: time.February, Day: 29, Hour: 23, Minute: 59, Second: 59}
	if !good.Valid() {
		t.Errorf("%s is a real time", good)
	}
	for _, w := range []calendartime.Wall{{}, {Year: 2027, Month: 2, Day: 29}, {Year: 2027, Month: 13, Day: 1},
		{Year: 2027, Month: 1, Day: 1, Hour: 24}, {Year: 2027, Month: 1, Day: 1, Second: 60}} {
		if w.Valid() {
			t.Errorf("%s is not a real time", w)
		}
	}
	if diff := cmp.Diff(wall(t, "2028-03-01 23:59:59"), good.AddDays(1)); diff != "" {
		t.Errorf("the day after (-want +got):\n%s", diff)
	}
}
