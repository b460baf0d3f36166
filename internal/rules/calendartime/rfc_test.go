package calendartime_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// days writes "1997-09-02,09,16 1997-10-07": further days of a month follow a comma.
func days(clock, text string) []string {
	var out []string
	for _, month := range strings.Fields(text) {
		for _, day := range strings.Split(month[8:], ",") {
			out = append(out, month[:8]+day+" "+clock)
		}
	}
	return out
}

// span of days from one to another.
func everyDay(clock, from string, n, step int) []string {
	var out []string
	at, err := time.Parse(time.DateOnly, from)
	if err != nil {
		panic(err)
	}
	for range n {
		out = append(out, at.Format(time.DateOnly)+" "+clock)
		at = at.AddDate(0, 0, step)
	}
	return out
}

func clocks(day string, from, to, step int) []string {
	var out []string
	for m := from; m <= to; m += step {
		out = append(out, fmt.Sprintf("%s %02d:%02d", day, m/60, m%60))
	}
	return out
}

// TestExamplesOfRFC5545 holds the examples of section 3.8.5.3, in its order. Their zone is America/New_York.
func TestExamplesOfRFC5545(t *testing.T) {
	t.Parallel()
	loc := zone(t, "America/New_York")
	const nine = "09:00"
	january := append(append(everyDay(nine, "1998-01-01", 31, 1), everyDay(nine, "1999-01-01", 31, 1)...), everyDay(nine, "2000-01-01", 31, 1)...)
	for _, c := range []struct {
		start, rule string
		want        []string
	}{
		{"1997-09-02", "FREQ=DAILY;COUNT=10", everyDay(nine, "1997-09-02", 10, 1)},
		{"1997-09-02", "FREQ=DAILY;UNTIL=19971224T000000Z", everyDay(nine, "1997-09-02", 113, 1)},
		{"1997-09-02", "FREQ=DAILY;INTERVAL=2", everyDay(nine, "1997-09-02", 47, 2)},
		{"1997-09-02", "FREQ=DAILY;INTERVAL=10;COUNT=5", days(nine, "1997-09-02,12,22 1997-10-02,12")},
		{"1998-01-01", "FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA", january},
		{"1998-01-01", "FREQ=DAILY;UNTIL=20000131T140000Z;BYMONTH=1", january},
		{"1997-09-02", "FREQ=WEEKLY;COUNT=10", everyDay(nine, "1997-09-02", 10, 7)},
		{"1997-09-02", "FREQ=WEEKLY;UNTIL=19971224T000000Z", everyDay(nine, "1997-09-02", 17, 7)},
		{"1997-09-02", "FREQ=WEEKLY;INTERVAL=2;WKST=SU", everyDay(nine, "1997-09-02", 13, 14)},
		{"1997-09-02", "FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH", days(nine, "1997-09-02,04,09,11,16,18,23,25,30 1997-10-02")},
		{"1997-09-02", "FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH", days(nine, "1997-09-02,04,09,11,16,18,23,25,30 1997-10-02")},
		{"1997-09-01", "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
			days(nine, "1997-09-01,03,05,15,17,19,29 1997-10-01,03,13,15,17,27,29,31 1997-11-10,12,14,24,26,28 1997-12-08,10,12,22")},
		{"1997-09-02", "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", days(nine, "1997-09-02,04,16,18,30 1997-10-02,14,16")},
		{"1997-09-05", "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
			days(nine, "1997-09-05 1997-10-03 1997-11-07 1997-12-05 1998-01-02 1998-02-06 1998-03-06 1998-04-03 1998-05-01 1998-06-05")},
		{"1997-09-05", "FREQ=MONTHLY;UNTIL=19971224T000000Z;BYDAY=1FR", days(nine, "1997-09-05 1997-10-03 1997-11-07 1997-12-05")},
		{"1997-09-07", "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", days(nine, "1997-09-07,28 1997-11-02,30 1998-01-04,25 1998-03-01,29 1998-05-03,31")},
		{"1997-09-22", "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", days(nine, "1997-09-22 1997-10-20 1997-11-17 1997-12-22 1998-01-19 1998-02-16")},
		{"1997-09-28", "FREQ=MONTHLY;BYMONTHDAY=-3", days(nine, "1997-09-28 1997-10-29 1997-11-28 1997-12-29 1998-01-29 1998-02-26")},
		{"1997-09-02", "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15", days(nine, "1997-09-02,15 1997-10-02,15 1997-11-02,15 1997-12-02,15 1998-01-02,15")},
		{"1997-09-30", "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", days(nine, "1997-09-30 1997-10-01,31 1997-11-01,30 1997-12-01,31 1998-01-01,31 1998-02-01")},
		{"1997-09-10", "FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15", days(nine, "1997-09-10,11,12,13,14,15 1999-03-10,11,12,13")},
		{"1997-09-02", "FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", days(nine, "1997-09-02,09,16,23,30 1997-11-04,11,18,25 1998-01-06,13,20,27 1998-03-03,10,17,24,31")},
		{"1997-06-10", "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
			days(nine, "1997-06-10 1997-07-10 1998-06-10 1998-07-10 1999-06-10 1999-07-10 2000-06-10 2000-07-10 2001-06-10 2001-07-10")},
		{"1997-03-10", "FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3",
			days(nine, "1997-03-10 1999-01-10 1999-02-10 1999-03-10 2001-01-10 2001-02-10 2001-03-10 2003-01-10 2003-02-10 2003-03-10")},
		{"1997-01-01", "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
			days(nine, "1997-01-01 1997-04-10 1997-07-19 2000-01-01 2000-04-09 2000-07-18 2003-01-01 2003-04-10 2003-07-19 2006-01-01")},
		{"1997-05-19", "FREQ=YEARLY;BYDAY=20MO", days(nine, "1997-05-19 1998-05-18 1999-05-17")},
		{"1997-05-12", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", days(nine, "1997-05-12 1998-05-11 1999-05-17")},
		{"1997-03-13", "FREQ=YEARLY;BYMONTH=3;BYDAY=TH", days(nine, "1997-03-13,20,27 1998-03-05,12,19,26 1999-03-04,11,18,25")},
		{"1997-06-05", "FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8",
			days(nine, "1997-06-05,12,19,26 1997-07-03,10,17,24,31 1997-08-07,14,21,28 1998-06-04,11,18,25 1998-07-02,09,16,23,30 1998-08-06,13,20,27")},
		{"1998-02-13", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", days(nine, "1998-02-13 1998-03-13 1998-11-13 1999-08-13 2000-10-13")},
		{"1997-09-13", "FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13",
			days(nine, "1997-09-13 1997-10-11 1997-11-08 1997-12-13 1998-01-10 1998-02-07 1998-03-07 1998-04-11 1998-05-09 1998-06-13")},
		{"1996-11-05", "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", days(nine, "1996-11-05 2000-11-07 2004-11-02")},
		{"1997-09-04", "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", days(nine, "1997-09-04 1997-10-07 1997-11-06")},
		{"1997-09-29", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", days(nine, "1997-09-29 1997-10-30 1997-11-27 1997-12-30 1998-01-29 1998-02-26 1998-03-30")},
		// The RFC's erratum 3883: 17:00 in New York is 21:00 in UTC.
		{"1997-09-02", "FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T210000Z", clocks("1997-09-02", 9*60, 15*60, 180)},
		{"1997-09-02", "FREQ=MINUTELY;INTERVAL=15;COUNT=6", clocks("1997-09-02", 9*60, 10*60+15, 15)},
		{"1997-09-02", "FREQ=MINUTELY;INTERVAL=90;COUNT=4", clocks("1997-09-02", 9*60, 13*60+30, 90)},
		{"1997-09-02", "FREQ=DAILY;BYHOUR=9,10,11,12,13,14,15,16;BYMINUTE=0,20,40", append(clocks("1997-09-02", 9*60, 16*60+40, 20), clocks("1997-09-03", 9*60, 16*60+40, 20)...)},
		{"1997-09-02", "FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10,11,12,13,14,15,16", append(clocks("1997-09-02", 9*60, 16*60+40, 20), clocks("1997-09-03", 9*60, 16*60+40, 20)...)},
		{"1997-08-05", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", days(nine, "1997-08-05,10,19,24")},
		{"1997-08-05", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", days(nine, "1997-08-05,17,19,31")},
		{"2007-01-15", "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", days(nine, "2007-01-15,30 2007-02-15 2007-03-15,30")},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			s := calendartime.Series{Start: wall(t, c.start+" 09:00"), Loc: loc, Duration: time.Minute, RRULE: c.rule}
			window := domain.Span{Start: time.Date(1996, 1, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)}
			if !strings.Contains(c.rule, "COUNT") && !strings.Contains(c.rule, "UNTIL") {
				window.End = calendartime.Resolve(wall(t, c.want[len(c.want)-1]), loc).Add(time.Minute).UTC()
			}
			found, err := calendartime.Expand(s, window, 1000)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range found {
				got = append(got, o.Span.Start.In(loc).Format("2006-01-02 15:04"))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFridaysThe13thLeaveOutTheStart is the RFC's example with an EXDATE of DTSTART.
func TestFridaysThe13thLeaveOutTheStart(t *testing.T) {
	t.Parallel()
	loc := zone(t, "America/New_York")
	s := calendartime.Series{Start: wall(t, "1997-09-02 09:00"), Loc: loc, Duration: time.Hour, RRULE: "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", EXDATE: walls(t, "1997-09-02 09:00")}
	got, err := calendartime.Expand(s, span(t, "1997-01-01T00:00:00Z", "1998-12-01T00:00:00Z"), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1998-02-13 09:00: 1998-02-13T09:00-05:00 1h0m0s", "1998-03-13 09:00: 1998-03-13T09:00-05:00 1h0m0s", "1998-11-13 09:00: 1998-11-13T09:00-05:00 1h0m0s"}
	if diff := cmp.Diff(want, show(got, loc)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
