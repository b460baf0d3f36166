package calendartime_test

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
)

// plainRule is a rule for the slow reference.
type plainRule struct {
	freq     string
	interval int
	count    int
	setpos   []int
	by       map[string][]int
	days     []string // of BYDAY
	until    time.Time
}

func (r plainRule) String() string {
	parts := []string{"FREQ=" + r.freq, "INTERVAL=" + strconv.Itoa(r.interval)}
	if r.count > 0 {
		parts = append(parts, "COUNT="+strconv.Itoa(r.count))
	}
	if !r.until.IsZero() {
		parts = append(parts, "UNTIL="+r.until.Format("20060102T150405Z"))
	}
	for name, list := range r.by {
		parts = append(parts, name+"="+join(list))
	}
	if len(r.days) > 0 {
		parts = append(parts, "BYDAY="+strings.Join(r.days, ","))
	}
	if len(r.setpos) > 0 {
		parts = append(parts, "BYSETPOS="+join(r.setpos))
	}
	return strings.Join(parts, ";")
}

func join(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ",")
}

// period numbers the period of a frequency that an instant lies in. Weeks begin on Monday.
func (r plainRule) period(t time.Time) int {
	day := int(t.Unix() / 86400)
	switch r.freq {
	case "YEARLY":
		if r.by["BYWEEKNO"] != nil {
			year, _ := t.ISOWeek()
			return year
		}
		return t.Year()
	case "MONTHLY":
		return t.Year()*12 + int(t.Month())
	case "WEEKLY":
		return (day + 3) / 7
	case "DAILY":
		return day
	}
	return int(t.Unix() / 3600)
}

func oneOf(list []int, values ...int) bool {
	return slices.ContainsFunc(values, func(v int) bool { return slices.Contains(list, v) })
}

// named reports whether the rule's BY parts, with what DTSTART adds, name an hour.
func (r plainRule) named(t, start time.Time) bool {
	inMonth := time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	inYear := time.Date(t.Year(), 12, 31, 0, 0, 0, 0, time.UTC).YearDay()
	isoYear, week := t.ISOWeek()
	_, weeks := time.Date(isoYear, 12, 28, 0, 0, 0, 0, time.UTC).ISOWeek()
	for name, list := range r.by {
		ok := map[string]bool{
			"BYMONTH":    oneOf(list, int(t.Month())),
			"BYMONTHDAY": oneOf(list, t.Day(), t.Day()-inMonth-1),
			"BYYEARDAY":  oneOf(list, t.YearDay(), t.YearDay()-inYear-1),
			"BYWEEKNO":   oneOf(list, week, week-weeks-1),
			"BYHOUR":     oneOf(list, t.Hour()),
		}[name]
		if !ok {
			return false
		}
	}
	if len(r.days) > 0 && !slices.ContainsFunc(r.days, func(d string) bool { return r.isDay(d, t) }) {
		return false
	}
	if r.by["BYHOUR"] == nil && r.freq != "HOURLY" && t.Hour() != start.Hour() {
		return false
	}
	if len(r.days) > 0 || r.by["BYMONTHDAY"] != nil || r.by["BYYEARDAY"] != nil {
		return true
	}
	switch {
	case r.freq == "WEEKLY", r.freq == "YEARLY" && r.by["BYWEEKNO"] != nil:
		return t.Weekday() == start.Weekday()
	case r.freq == "MONTHLY":
		return t.Day() == start.Day()
	case r.freq == "YEARLY":
		return t.Day() == start.Day() && (r.by["BYMONTH"] != nil || t.Month() == start.Month())
	}
	return true
}

// isDay reads a value of BYDAY by counting such weekdays in the month or the year.
func (r plainRule) isDay(d string, t time.Time) bool {
	if !strings.EqualFold(t.Weekday().String()[:2], d[len(d)-2:]) {
		return false
	}
	n, err := strconv.Atoi(d[:len(d)-2])
	if err != nil || r.freq != "MONTHLY" && r.freq != "YEARLY" || r.by["BYWEEKNO"] != nil {
		return true
	}
	first, last := time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC), time.Date(t.Year(), 12, 31, 0, 0, 0, 0, time.UTC)
	if r.freq == "MONTHLY" || r.by["BYMONTH"] != nil {
		first = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		last = first.AddDate(0, 1, -1)
	}
	var same []int
	for x := first; !x.After(last); x = x.AddDate(0, 0, 1) {
		if x.Weekday() == t.Weekday() {
			same = append(same, x.YearDay())
		}
	}
	if n < 0 {
		n += len(same) + 1
	}
	return n >= 1 && n <= len(same) && same[n-1] == t.YearDay()
}

// expand looks at every hour of every period, puts the named ones of a period together, chooses by position, and counts.
func (r plainRule) expand(start, bound time.Time) []time.Time {
	sets := map[int][]time.Time{}
	var order []int
	first := r.period(start)
	began := start.AddDate(-1, 0, -10).Truncate(24 * time.Hour).Add(time.Duration(start.Minute()) * time.Minute)
	for t := began; t.Before(bound.AddDate(1, 0, 10)); t = t.Add(time.Hour) {
		p := r.period(t)
		if p < first || (p-first)%r.interval != 0 || !r.named(t, start) {
			continue
		}
		if sets[p] == nil {
			order = append(order, p)
		}
		sets[p] = append(sets[p], t)
	}
	out := []time.Time{start}
	for _, p := range order {
		for i, t := range sets[p] {
			chosen := len(r.setpos) == 0 || oneOf(r.setpos, i+1, i-len(sets[p]))
			switch {
			case !chosen, !t.After(start), t.After(bound), !r.until.IsZero() && t.After(r.until):
			case r.count > 0 && len(out) == r.count:
				return out
			default:
				out = append(out, t)
			}
		}
	}
	return out
}

func TestExpandAgreesWithLookingAtEveryHour(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		some := func(name string, from, to int) []int {
			values := rapid.SliceOfNDistinct(rapid.IntRange(from, to).Filter(func(n int) bool { return n != 0 || name == "BYHOUR" }), 1, 4, rapid.ID[int]).Draw(t, name)
			return values
		}
		r := plainRule{freq: rapid.SampledFrom([]string{"HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}).Draw(t, "freq"),
			interval: rapid.SampledFrom([]int{1, 1, 1, 2, 3, 5, 7}).Draw(t, "interval"), by: map[string][]int{}}
		maybe := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, "with "+name) == 0 }
		limits := map[string][2]int{"BYMONTH": {1, 12}, "BYMONTHDAY": {-31, 31}, "BYYEARDAY": {-366, 366}, "BYWEEKNO": {-53, 53}, "BYHOUR": {0, 23}}
		for _, name := range []string{"BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYHOUR"} {
			if maybe(name) {
				r.by[name] = some(name, limits[name][0], limits[name][1])
			}
		}
		if twice := maybe("BYDAY"); maybe("BYDAY") || twice {
			r.days = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"MO", "TU", "WE", "TH", "FR", "SA", "SU", "1MO", "2TU", "-1FR", "-2SU", "5WE", "3SA"}), 1, 4, rapid.ID[string]).Draw(t, "BYDAY")
		}
		if (len(r.by) > 0 || len(r.days) > 0) && maybe("BYSETPOS") {
			r.setpos = some("BYSETPOS", -4, 4)
		}
		start := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "start"), 0).UTC().Truncate(time.Minute)
		window := domain.Span{Start: start.AddDate(0, 0, rapid.IntRange(-400, 800).Draw(t, "from"))}
		window.End = window.Start.AddDate(0, 0, rapid.IntRange(1, 500).Draw(t, "days"))
		switch rapid.IntRange(0, 2).Draw(t, "end") {
		case 0:
			r.count = rapid.IntRange(1, 60).Draw(t, "count")
		case 1:
			r.until = start.Add(time.Duration(rapid.IntRange(-10, 20_000).Draw(t, "until")) * time.Hour)
		}
		want := []string{}
		for _, at := range r.expand(start, window.End) {
			if (domain.Span{Start: at, End: at.Add(time.Hour)}).Overlaps(window) {
				want = append(want, at.Format("2006-01-02T15:04"))
			}
		}
		found, err := calendartime.Expand(calendartime.Series{Start: calendartime.WallOf(start, time.UTC), Loc: time.UTC, Duration: time.Hour, RRULE: r.String()}, window, 50_000)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		got := []string{}
		for _, o := range found {
			got = append(got, o.Span.Start.Format("2006-01-02T15:04"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s from %s in %s (-want +got):\n%s", r, start.Format(time.RFC3339), window, diff)
		}
	})
}

// TestWindowsAddUp: what two windows show one after the other is what one over both shows, so that a window that
// slides loses and doubles nothing.
func TestWindowsAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := calendartime.Series{
			Start: calendartime.WallOf(time.Unix(rapid.Int64Range(1_500_000_000, 1_900_000_000).Draw(t, "start"), 0), time.UTC),
			Loc:   zone(t, rapid.SampledFrom(someZones).Draw(t, "zone")), AllDay: rapid.Bool().Draw(t, "all day"),
			RRULE: rapid.SampledFrom([]string{"FREQ=DAILY", "FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,SA", "FREQ=MONTHLY;BYDAY=-1SA", "FREQ=MONTHLY;BYMONTHDAY=31;BYHOUR=1,2,3",
				"FREQ=YEARLY;BYWEEKNO=1,53", "FREQ=DAILY;INTERVAL=5;COUNT=200", "FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-2,3"}).Draw(t, "rule"),
			Days: rapid.IntRange(1, 3).Draw(t, "length"),
		}
		from := time.Unix(rapid.Int64Range(1_600_000_000, 2_000_000_000).Draw(t, "from"), 0).UTC()
		mid := from.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "first")) * time.Hour)
		to := mid.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "second")) * time.Hour)
		list := func(from, to time.Time) map[string]bool {
			found, err := calendartime.Expand(s, domain.Span{Start: from, End: to}, 5000)
			if err != nil {
				t.Fatal(err)
			}
			out := map[string]bool{}
			for _, o := range found {
				out[fmt.Sprint(o.RecurrenceID, o.Span)] = true
			}
			return out
		}
		both := list(from, mid)
		for k := range list(mid, to) {
			both[k] = true
		}
		if diff := cmp.Diff(list(from, to), both); diff != "" {
			t.Fatalf("%s: one window, then two (-one +two):\n%s", s.RRULE, diff)
		}
	})
}
