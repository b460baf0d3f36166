package calendartime_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

func span(t *testing.T, start, end string) domain.Span {
	t.Helper()
	return domain.Span{Start: instant(t, start).UTC(), End: instant(t, end).UTC()}
}

func walls(t *testing.T, list ...string) []calendartime.Wall {
	t.Helper()
	var out []calendartime.Wall
	for _, s := range list {
		out = append(out, wall(t, s))
	}
	return out
}

// show writes each occurrence as "recurrence id: start length", the start with the local offset.
func show(occ []calendartime.Occurrence, loc *time.Location) []string {
	out := []string{}
	for _, o := range occ {
		id := o.RecurrenceID.String()
		out = append(out, id[:10]+" "+id[11:16]+": "+o.Span.Start.In(loc).Format("2006-01-02T15:04Z07:00")+" "+o.Span.Duration().String())
	}
	return out
}

func TestExpandListsWhatAPlannerWouldExpect(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	type series = calendartime.Series
	for _, c := range []struct {
		name   string
		zone   string
		s      series
		window [2]string
		want   []string
	}{
		{"a weekly meeting keeps its clock when summer time ends", "Europe/London",
			series{Start: wall(t, "2027-10-24 10:00"), Duration: hour, RRULE: "FREQ=WEEKLY;COUNT=3"},
			[2]string{"2027-10-01T00:00:00Z", "2027-12-01T00:00:00Z"},
			[]string{"2027-10-24 10:00: 2027-10-24T10:00+01:00 1h0m0s", "2027-10-31 10:00: 2027-10-31T10:00Z 1h0m0s", "2027-11-07 10:00: 2027-11-07T10:00Z 1h0m0s"}},
		{"a daily 02:30 is read with the old offset on the night without 02:30", "America/New_York",
			series{Start: wall(t, "2026-03-07 02:30"), Duration: hour, RRULE: "FREQ=DAILY;COUNT=3"},
			[2]string{"2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"},
			[]string{"2026-03-07 02:30: 2026-03-07T02:30-05:00 1h0m0s", "2026-03-08 02:30: 2026-03-08T03:30-04:00 1h0m0s", "2026-03-09 02:30: 2026-03-09T02:30-04:00 1h0m0s"}},
		{"UNTIL is inclusive and in UTC", "Europe/Amsterdam",
			series{Start: wall(t, "2020-10-24 02:30"), Duration: hour, RRULE: "RRULE:FREQ=DAILY;UNTIL=20201025T003000Z"},
			[2]string{"2020-10-01T00:00:00Z", "2020-12-01T00:00:00Z"},
			[]string{"2020-10-24 02:30: 2020-10-24T02:30+02:00 1h0m0s", "2020-10-25 02:30: 2020-10-25T02:30+02:00 1h0m0s"}},
		{"UNTIL one second before an instance leaves it out", "Europe/Amsterdam",
			series{Start: wall(t, "2020-10-24 02:30"), Duration: hour, RRULE: "FREQ=DAILY;UNTIL=20201025T002959Z"},
			[2]string{"2020-10-01T00:00:00Z", "2020-12-01T00:00:00Z"},
			[]string{"2020-10-24 02:30: 2020-10-24T02:30+02:00 1h0m0s"}},
		{"UNTIL as a date includes that day", "Europe/London",
			series{Start: wall(t, "2027-06-05 20:00"), Duration: hour, RRULE: "FREQ=DAILY;UNTIL=20270606"},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-05 20:00: 2027-06-05T20:00+01:00 1h0m0s", "2027-06-06 20:00: 2027-06-06T20:00+01:00 1h0m0s"}},
		{"the start counts although the rule does not name it", "Europe/London",
			series{Start: wall(t, "2027-06-04 10:00"), Duration: hour, RRULE: "FREQ=WEEKLY;BYDAY=SA;COUNT=3"},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-04 10:00: 2027-06-04T10:00+01:00 1h0m0s", "2027-06-05 10:00: 2027-06-05T10:00+01:00 1h0m0s", "2027-06-12 10:00: 2027-06-12T10:00+01:00 1h0m0s"}},
		{"dates without a rule, one taken out", "Europe/London",
			series{Start: wall(t, "2027-06-04 10:00"), Duration: hour, RDATE: walls(t, "2027-06-09 11:00", "2027-06-07 12:00", "2027-06-09 11:00"), EXDATE: walls(t, "2027-06-07 12:00")},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-04 10:00: 2027-06-04T10:00+01:00 1h0m0s", "2027-06-09 11:00: 2027-06-09T11:00+01:00 1h0m0s"}},
		{"even the first instance can be taken out", "Europe/London",
			series{Start: wall(t, "2027-06-04 10:00"), Duration: hour, RRULE: "FREQ=DAILY;COUNT=2", EXDATE: walls(t, "2027-06-04 10:00")},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-05 10:00: 2027-06-05T10:00+01:00 1h0m0s"}},
		{"all-day series are made of local days of 23, 24 and 25 hours", "Europe/London",
			series{Start: wall(t, "2027-03-28"), AllDay: true, RRULE: "FREQ=MONTHLY;BYMONTHDAY=28,31;UNTIL=20271031"},
			[2]string{"2027-03-27T00:00:00Z", "2027-04-30T00:00:00Z"},
			[]string{"2027-03-28 00:00: 2027-03-28T00:00Z 23h0m0s", "2027-03-31 00:00: 2027-03-31T00:00+01:00 24h0m0s", "2027-04-28 00:00: 2027-04-28T00:00+01:00 24h0m0s"}},
		{"an all-day UNTIL written as midnight UTC keeps its day west of Greenwich", "America/New_York",
			series{Start: wall(t, "2027-06-04"), End: wall(t, "2027-06-05"), AllDay: true, RRULE: "FREQ=DAILY;UNTIL=20270605T000000Z"},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-04 00:00: 2027-06-04T00:00-04:00 24h0m0s", "2027-06-05 00:00: 2027-06-05T00:00-04:00 24h0m0s"}},
		{"an all-day UNTIL written as local midnight in UTC keeps its day east of Greenwich", "Europe/Amsterdam",
			series{Start: wall(t, "2027-06-04"), AllDay: true, RRULE: "FREQ=DAILY;UNTIL=20270604T220000Z"},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-04 00:00: 2027-06-04T00:00+02:00 24h0m0s", "2027-06-05 00:00: 2027-06-05T00:00+02:00 24h0m0s"}},
		{"an end fixes the elapsed time, a length in days the clock", "Europe/London",
			series{Start: wall(t, "2027-03-26 18:00"), End: wall(t, "2027-03-27 18:00"), RRULE: "FREQ=DAILY;COUNT=2"},
			[2]string{"2027-03-26T00:00:00Z", "2027-03-30T00:00:00Z"},
			[]string{"2027-03-26 18:00: 2027-03-26T18:00Z 24h0m0s", "2027-03-27 18:00: 2027-03-27T18:00Z 24h0m0s"}},
		{"a length of one day is shorter over the night clocks go forward", "Europe/London",
			series{Start: wall(t, "2027-03-26 18:00"), Days: 1, RRULE: "FREQ=DAILY;COUNT=2"},
			[2]string{"2027-03-26T00:00:00Z", "2027-03-30T00:00:00Z"},
			[]string{"2027-03-26 18:00: 2027-03-26T18:00Z 24h0m0s", "2027-03-27 18:00: 2027-03-27T18:00Z 23h0m0s"}},
		{"an instance moved out of the window is gone, one moved in is there", "Europe/London",
			series{Start: wall(t, "2027-06-04 10:00"), Duration: hour, RRULE: "FREQ=WEEKLY", Overrides: map[calendartime.Wall]calendartime.Override{
				wall(t, "2027-06-11 10:00"): {Span: span(t, "2027-07-20T10:00:00Z", "2027-07-20T12:00:00Z")},
				wall(t, "2027-08-06 10:00"): {Span: span(t, "2027-06-12T10:00:00Z", "2027-06-12T12:00:00Z")},
				wall(t, "2027-06-18 10:00"): {Cancelled: true},
			}},
			[2]string{"2027-06-08T00:00:00Z", "2027-06-26T00:00:00Z"},
			[]string{"2027-08-06 10:00: 2027-06-12T11:00+01:00 2h0m0s", "2027-06-25 10:00: 2027-06-25T10:00+01:00 1h0m0s"}},
		{"a change from one instance onward moves the later ones by the same clock", "Europe/London",
			series{Start: wall(t, "2027-10-22 10:00"), Duration: hour, RRULE: "FREQ=WEEKLY;COUNT=4", Overrides: map[calendartime.Wall]calendartime.Override{
				wall(t, "2027-10-29 10:00"): {Span: span(t, "2027-10-30T11:00:00Z", "2027-10-30T13:00:00Z"), ThisAndFuture: true},
				wall(t, "2027-11-12 10:00"): {Cancelled: true, ThisAndFuture: true},
			}},
			[2]string{"2027-10-01T00:00:00Z", "2027-12-01T00:00:00Z"},
			[]string{"2027-10-22 10:00: 2027-10-22T10:00+01:00 1h0m0s", "2027-10-29 10:00: 2027-10-30T12:00+01:00 2h0m0s", "2027-11-05 10:00: 2027-11-06T12:00Z 2h0m0s"}},
		{"an instance that began before the window still takes its time", "Europe/London",
			series{Start: wall(t, "2027-06-04 22:00"), Duration: 6 * hour},
			[2]string{"2027-06-05T00:00:00Z", "2027-06-06T00:00:00Z"},
			[]string{"2027-06-04 22:00: 2027-06-04T22:00+01:00 6h0m0s"}},
		{"touching the window is not being in it", "UTC",
			series{Start: wall(t, "2027-06-04 23:00"), Duration: hour, RRULE: "FREQ=DAILY;COUNT=3"},
			[2]string{"2027-06-05T00:00:00Z", "2027-06-05T23:00:00Z"},
			[]string{}},
		{"the last Saturday of the month", "Europe/London",
			series{Start: wall(t, "2027-05-29 10:00"), Duration: hour, RRULE: "freq=monthly;byday=-1SA;count=3;wkst=MO;"},
			[2]string{"2027-05-01T00:00:00Z", "2028-05-01T00:00:00Z"},
			[]string{"2027-05-29 10:00: 2027-05-29T10:00+01:00 1h0m0s", "2027-06-26 10:00: 2027-06-26T10:00+01:00 1h0m0s", "2027-07-31 10:00: 2027-07-31T10:00+01:00 1h0m0s"}},
		{"a value listed twice counts once", "UTC",
			series{Start: wall(t, "2027-06-01 10:00"), Duration: hour, RRULE: "FREQ=WEEKLY;BYDAY=TU,TU,TH;COUNT=3"},
			[2]string{"2027-06-01T00:00:00Z", "2027-08-01T00:00:00Z"},
			[]string{"2027-06-01 10:00: 2027-06-01T10:00Z 1h0m0s", "2027-06-03 10:00: 2027-06-03T10:00Z 1h0m0s", "2027-06-08 10:00: 2027-06-08T10:00Z 1h0m0s"}},
		{"leap days come every four years", "Europe/London",
			series{Start: wall(t, "2024-02-29"), AllDay: true, RRULE: "FREQ=YEARLY"},
			[2]string{"2025-01-01T00:00:00Z", "2033-01-01T00:00:00Z"},
			[]string{"2028-02-29 00:00: 2028-02-29T00:00Z 24h0m0s", "2032-02-29 00:00: 2032-02-29T00:00Z 24h0m0s"}},
		{"a rule takes out what another puts in, and the start with it", "UTC",
			series{Start: wall(t, "2027-06-04 10:00"), Duration: hour, RRULE: "FREQ=DAILY;COUNT=5", EXRULE: []string{"FREQ=DAILY;INTERVAL=2"}},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-05 10:00: 2027-06-05T10:00Z 1h0m0s", "2027-06-07 10:00: 2027-06-07T10:00Z 1h0m0s"}},
		{"two rules add up, an instance of both is one", "UTC",
			series{Start: wall(t, "2027-06-04 10:00"), Duration: hour, RRULE: "FREQ=DAILY;COUNT=2", MoreRule: []string{"FREQ=WEEKLY;COUNT=2"}},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-04 10:00: 2027-06-04T10:00Z 1h0m0s", "2027-06-05 10:00: 2027-06-05T10:00Z 1h0m0s", "2027-06-11 10:00: 2027-06-11T10:00Z 1h0m0s"}},
		{"a period has a length of its own, unless it is taken out", "Europe/London",
			series{Start: wall(t, "2027-03-26 10:00"), Duration: hour, Periods: []calendartime.Period{
				{Start: wall(t, "2027-03-27 18:00"), Days: 1}, {Start: wall(t, "2027-03-29 18:00"), Duration: 3 * hour}, {Start: wall(t, "2027-03-30 18:00"), Duration: hour}},
				EXDATE: walls(t, "2027-03-30 18:00")},
			[2]string{"2027-03-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-03-26 10:00: 2027-03-26T10:00Z 1h0m0s", "2027-03-27 18:00: 2027-03-27T18:00Z 23h0m0s", "2027-03-29 18:00: 2027-03-29T18:00+01:00 3h0m0s"}},
		{"an override of an instance that was taken out still takes place", "UTC",
			series{Start: wall(t, "2027-06-04 10:00"), Duration: hour, RRULE: "FREQ=DAILY;COUNT=2", EXDATE: walls(t, "2027-06-05 10:00"), Overrides: map[calendartime.Wall]calendartime.Override{
				wall(t, "2027-06-05 10:00"): {Span: span(t, "2027-06-05T15:00:00Z", "2027-06-05T16:00:00Z")}}},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-04 10:00: 2027-06-04T10:00Z 1h0m0s", "2027-06-05 10:00: 2027-06-05T15:00Z 1h0m0s"}},
		{"an override of an override onward: the later one wins from its own instance on", "UTC",
			series{Start: wall(t, "2027-06-04 10:00"), Duration: hour, RRULE: "FREQ=DAILY;COUNT=4", Overrides: map[calendartime.Wall]calendartime.Override{
				wall(t, "2027-06-05 10:00"): {Span: span(t, "2027-06-05T11:00:00Z", "2027-06-05T12:00:00Z"), ThisAndFuture: true},
				wall(t, "2027-06-07 10:00"): {Span: span(t, "2027-06-07T09:00:00Z", "2027-06-07T10:00:00Z"), ThisAndFuture: true}}},
			[2]string{"2027-06-01T00:00:00Z", "2027-07-01T00:00:00Z"},
			[]string{"2027-06-04 10:00: 2027-06-04T10:00Z 1h0m0s", "2027-06-05 10:00: 2027-06-05T11:00Z 1h0m0s", "2027-06-06 10:00: 2027-06-06T11:00Z 1h0m0s", "2027-06-07 10:00: 2027-06-07T09:00Z 1h0m0s"}},
		{"week 1 begins in the old year", "UTC",
			series{Start: wall(t, "2018-12-31 10:00"), Duration: hour, RRULE: "FREQ=YEARLY;INTERVAL=1;BYWEEKNO=1;BYDAY=MO"},
			[2]string{"2018-01-01T00:00:00Z", "2021-01-01T00:00:00Z"},
			[]string{"2018-12-31 10:00: 2018-12-31T10:00Z 1h0m0s", "2019-12-30 10:00: 2019-12-30T10:00Z 1h0m0s"}},
		{"a week without a day is that day of the start", "UTC",
			series{Start: wall(t, "2027-05-19 10:00"), Duration: hour, RRULE: "FREQ=YEARLY;BYWEEKNO=20"},
			[2]string{"2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z"},
			[]string{"2027-05-19 10:00: 2027-05-19T10:00Z 1h0m0s", "2028-05-17 10:00: 2028-05-17T10:00Z 1h0m0s"}},
		{"a day that the zone left out takes no time", "Pacific/Apia",
			series{Start: wall(t, "2011-12-29"), AllDay: true, RRULE: "FREQ=DAILY;COUNT=3"},
			[2]string{"2011-12-20T00:00:00Z", "2012-01-10T00:00:00Z"},
			[]string{"2011-12-29 00:00: 2011-12-29T00:00-10:00 24h0m0s", "2011-12-31 00:00: 2011-12-31T00:00+14:00 24h0m0s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.s.Loc = zone(t, c.zone)
			got, err := calendartime.Expand(c.s, span(t, c.window[0], c.window[1]), 100)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, show(got, c.s.Loc)); diff != "" {
				t.Errorf("occurrences (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExpandRefusesWhatItCannotDoWholly(t *testing.T) {
	t.Parallel()
	year := span(t, "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z")
	base := func() calendartime.Series {
		return calendartime.Series{Start: wall(t, "2027-06-04 10:00"), Loc: time.UTC, Duration: time.Hour, RRULE: "FREQ=DAILY"}
	}
	rule := func(text string) func(*calendartime.Series) {
		return func(s *calendartime.Series) { s.RRULE = text }
	}
	for _, c := range []struct {
		name  string
		edit  func(*calendartime.Series)
		kind  domain.ErrorKind
		field string
	}{
		{"more occurrences than asked for", rule("FREQ=DAILY"), domain.KindTooLarge, ""},
		{"too many steps before the window", func(s *calendartime.Series) { s.Start.Year, s.RRULE = 1970, "FREQ=HOURLY" }, domain.KindTooLarge, ""},
		{"every second", rule("FREQ=SECONDLY"), domain.KindTooLarge, ""},
		{"hours of days", func(s *calendartime.Series) { s.AllDay, s.RRULE, s.Duration = true, "FREQ=HOURLY", 0 }, domain.KindInvalid, "rrule"},
		{"positions in nothing", rule("FREQ=DAILY;BYSETPOS=1"), domain.KindInvalid, "rrule"},
		{"an exception rule that cannot be read", func(s *calendartime.Series) { s.EXRULE = []string{"FREQ=NEVER"} }, domain.KindInvalid, "exrule"},
		{"a period without length", func(s *calendartime.Series) { s.Periods = []calendartime.Period{{Start: s.Start}} }, domain.KindInvalid, "rdate"},
		{"no frequency", rule("INTERVAL=2"), domain.KindInvalid, "rrule"},
		{"an unknown part", rule("FREQ=DAILY;BYMOON=FULL"), domain.KindInvalid, "rrule"},
		{"a part twice", rule("FREQ=DAILY;COUNT=2;COUNT=3"), domain.KindInvalid, "rrule"},
		{"count zero", rule("FREQ=DAILY;COUNT=0"), domain.KindInvalid, "rrule"},
		{"a month 13", rule("FREQ=YEARLY;BYMONTH=13"), domain.KindInvalid, "rrule"},
		{"a 53rd Monday of a month", rule("FREQ=MONTHLY;BYDAY=53MO"), domain.KindInvalid, "rrule"},
		{"an UNTIL in words", rule("FREQ=DAILY;UNTIL=SOON"), domain.KindInvalid, "rrule"},
		{"a rule too long", rule("FREQ=DAILY;BYHOUR=" + strings.Repeat("1,", 600) + "1"), domain.KindInvalid, "rrule"},
		{"another calendar", rule("RSCALE=CHINESE;FREQ=YEARLY"), domain.KindInvalid, "rrule"},
		{"no length", func(s *calendartime.Series) { s.Duration = 0 }, domain.KindInvalid, "dtend"},
		{"an end before the start", func(s *calendartime.Series) { s.End = wall(t, "2027-06-03 10:00") }, domain.KindInvalid, "dtend"},
		{"half a day all day", func(s *calendartime.Series) { s.AllDay = true }, domain.KindInvalid, "duration"},
		{"no zone", func(s *calendartime.Series) { s.Loc = nil }, domain.KindInvalid, "zone"},
		{"30 February", func(s *calendartime.Series) { s.Start.Month, s.Start.Day = 2, 30 }, domain.KindInvalid, "dtstart"},
		{"an exception on 30 February", func(s *calendartime.Series) { s.EXDATE = []calendartime.Wall{{Year: 2027, Month: 2, Day: 30}} }, domain.KindInvalid, "exdate"},
		{"an override without time", func(s *calendartime.Series) {
			s.Overrides = map[calendartime.Wall]calendartime.Override{s.Start: {}}
		}, domain.KindInvalid, "override"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := base()
			c.edit(&s)
			got, err := calendartime.Expand(s, year, 20)
			if err == nil {
				t.Fatalf("accepted, with %d occurrences", len(got))
			}
			if domain.KindOf(err) != c.kind || domain.FieldOf(err) != c.field || got != nil {
				t.Errorf("got %d occurrences and %v (kind %s, field %q), want kind %s, field %q", len(got), err, domain.KindOf(err), domain.FieldOf(err), c.kind, c.field)
			}
		})
	}
	if _, err := calendartime.Expand(base(), span(t, "2027-01-01T00:00:00Z", "2049-01-01T00:00:00Z"), 20); domain.FieldOf(err) != "window" {
		t.Errorf("a window of 22 years: %v", err)
	}
}

func TestExpandEndsQuicklyOnRulesThatNeverMatch(t *testing.T) {
	t.Parallel()
	s := calendartime.Series{Start: wall(t, "2027-06-04 10:00"), Loc: time.UTC, Duration: time.Hour}
	for _, rule := range []string{"FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=31", "FREQ=WEEKLY;BYMONTH=2;BYMONTHDAY=31", "FREQ=MONTHLY;BYSETPOS=300;BYDAY=MO",
		"FREQ=HOURLY;INTERVAL=24;BYHOUR=5", "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MINUTELY;INTERVAL=60;BYMINUTE=7"} {
		s.RRULE = rule
		began := time.Now()
		got, err := calendartime.Expand(s, span(t, "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"), 20)
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %d occurrences, %v; want the start alone", rule, len(got), err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %s", rule, took)
		}
	}
}

func TestBudgetIsSharedAndEnds(t *testing.T) {
	t.Parallel()
	s := calendartime.Series{Start: wall(t, "2027-06-04 10:00"), Loc: time.UTC, Duration: time.Hour, RRULE: "FREQ=DAILY"}
	year := span(t, "2027-07-01T00:00:00Z", "2028-01-01T00:00:00Z")
	budget := calendartime.NewBudget(1000)
	fitted := 0
	for {
		_, err := calendartime.ExpandWithin(budget, s, year, 400)
		if err != nil {
			if domain.KindOf(err) != domain.KindTooLarge {
				t.Fatal(err)
			}
			break
		}
		fitted++
	}
	if fitted != 5 { // half a year of days takes some 190 looks
		t.Errorf("%d half years fitted into 1000 looks", fitted)
	}
	if _, err := calendartime.Expand(s, year, 400); err != nil {
		t.Errorf("a series of its own: %v", err)
	}
}

func TestDenseRulesEndQuickly(t *testing.T) {
	t.Parallel()
	all := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, strconv.Itoa(i))
		}
		return strings.Join(list, ",")
	}
	dense := "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=" + all(24) + ";BYMINUTE=" + all(60) + ";BYSECOND=" + all(60)
	s := calendartime.Series{Start: wall(t, "2027-12-31 10:00"), Loc: time.UTC, Duration: time.Second, RRULE: dense, EXRULE: []string{dense, dense, dense}}
	began := time.Now()
	_, err := calendartime.Expand(s, span(t, "2028-06-01T00:00:00Z", "2028-07-01T00:00:00Z"), 20)
	if domain.KindOf(err) != domain.KindTooLarge || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	s.RRULE, s.EXRULE = strings.Replace(dense, "BYSECOND="+all(60), "BYSECOND=7", 1), nil
	got, err := calendartime.Expand(s, span(t, "2028-06-01T00:00:00Z", "2028-06-01T00:05:00Z"), 20)
	if err != nil || len(got) != 5 {
		t.Errorf("%d occurrences in five minutes, %v", len(got), err)
	}
}

func TestExpandAgreesWithCountingDays(t *testing.T) {
	t.Parallel()
	names := []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(someZones).Draw(t, "zone"))
		first := calendartime.DateOf(time.Unix(rapid.Int64Range(1_500_000_000, 2_500_000_000).Draw(t, "start"), 0), time.UTC)
		start := first.At(rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"))
		days := rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 1, 7, rapid.ID[int]).Draw(t, "weekdays")
		count := rapid.IntRange(1, 40).Draw(t, "count")
		var on []string
		wanted := map[time.Weekday]bool{}
		for _, d := range days {
			on = append(on, names[d])
			wanted[time.Weekday(d)] = true
		}
		window := domain.Span{Start: calendartime.Resolve(start, loc).UTC().AddDate(0, 0, rapid.IntRange(-30, 60).Draw(t, "from"))}
		window.End = window.Start.AddDate(0, 0, rapid.IntRange(1, 90).Draw(t, "days"))

		want := []string{}
		n := 0
		for d := first; n < count; d = d.AddDays(1) {
			if d != first && !wanted[d.Weekday()] {
				continue
			}
			n++
			at := calendartime.Resolve(d.At(start.Hour, start.Minute), loc).UTC()
			if s := (domain.Span{Start: at, End: at.Add(time.Hour)}); s.Overlaps(window) {
				want = append(want, s.String())
			}
		}
		got, err := calendartime.Expand(calendartime.Series{Start: start, Loc: loc, Duration: time.Hour,
			RRULE: "FREQ=DAILY;BYDAY=" + strings.Join(on, ",") + ";COUNT=" + strconv.Itoa(count)}, window, 100)
		if err != nil {
			t.Fatal(err)
		}
		seen := []string{}
		for _, o := range got {
			seen = append(seen, o.Span.String())
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Fatalf("occurrences (-want +got):\n%s", diff)
		}
	})
}

func TestExpandSurvivesAnyRule(t *testing.T) {
	t.Parallel()
	window := span(t, "2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z")
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]string{"-366", "-53", "-5", "-1", "0", "1", "2", "5", "12", "13", "23", "31", "53", "60", "366", "99999999999999999999"})
		parts := []string{"FREQ=" + rapid.SampledFrom([]string{"SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}).Draw(t, "freq")}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"INTERVAL", "COUNT", "BYSETPOS", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYHOUR", "BYMINUTE", "BYSECOND", "BYDAY", "WKST", "UNTIL"}), 0, 5, rapid.ID[string]).Draw(t, "parts") {
			switch name {
			case "BYDAY":
				parts = append(parts, name+"="+rapid.SampledFrom([]string{"MO", "5SU", "-5FR", "53TH", "-53TH", "0TU", "XX", "-1SA,2SA"}).Draw(t, name))
			case "WKST":
				parts = append(parts, name+"=SU")
			case "UNTIL":
				parts = append(parts, name+"="+rapid.SampledFrom([]string{"20280101", "99991231T235959Z", "19700101T000000", "2028"}).Draw(t, name))
			case "INTERVAL", "COUNT":
				parts = append(parts, name+"="+value.Draw(t, name))
			default:
				parts = append(parts, name+"="+strings.Join(rapid.SliceOfN(value, 1, 3).Draw(t, name), ","))
			}
		}
		s := calendartime.Series{Start: wall(t, "2027-02-28 09:30"), Loc: zone(t, "Europe/London"), Duration: time.Hour, RRULE: strings.Join(parts, ";")}
		got, err := calendartime.Expand(s, window, 2000)
		if err != nil {
			if k := domain.KindOf(err); k != domain.KindInvalid && k != domain.KindTooLarge {
				t.Fatalf("%s: %v", s.RRULE, err)
			}
			return
		}
		if len(got) == 0 || got[0].RecurrenceID != s.Start {
			t.Fatalf("%s: the start is missing from %d occurrences", s.RRULE, len(got))
		}
		for i, o := range got {
			if !o.Span.Valid() || !o.Span.Overlaps(window) || i > 0 && o.Span.Start.Before(got[i-1].Span.Start) {
				t.Fatalf("%s: occurrence %d is %s", s.RRULE, i, o.Span)
			}
		}
	})
}
