package sla_test

import (
	"encoding/csv"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/sla"
)

func TestWilsonAgreesWithPublishedValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ bad, n, low, high float64 }{
		{0, 10, 0, 0.2775}, {1, 10, 0.0179, 0.4042}, {81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {10, 10, 0.7225, 1}, // R. G. Newcombe (1998), table I, method 3
	} {
		low, high := sla.Wilson(c.bad, c.n, sla.Z975)
		if math.Abs(low-c.low) > 6e-5 || math.Abs(high-c.high) > 6e-5 {
			t.Errorf("%v of %v: %.4f to %.4f, want %.4f to %.4f", c.bad, c.n, low, high, c.low, c.high)
		}
	}
	if low, high := sla.Wilson(0, 0, sla.Z975); low != 0 || high != 1 {
		t.Errorf("nothing of nothing: %v to %v", low, high)
	}
}

func TestWilsonHoldsTheShareAndNarrowsWithMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 1e6).Draw(t, "n")
		bad := rapid.Int64Range(0, n).Draw(t, "bad")
		low, high := sla.Wilson(float64(bad), float64(n), sla.Z995)
		p := float64(bad) / float64(n)
		if low < 0 || high > 1 || low > p+1e-12 || high < p-1e-12 {
			t.Fatalf("%d of %d: %v to %v", bad, n, low, high)
		}
		low4, high4 := sla.Wilson(float64(4*bad), float64(4*n), sla.Z995)
		if high4-low4 > high-low+1e-12 {
			t.Fatalf("%d of %d: more probes say less", bad, n)
		}
	})
}

// TestHowManyFailuresAPageNeeds says what the bounds mean at a probe each 30 seconds.
func TestHowManyFailuresAPageNeeds(t *testing.T) {
	t.Parallel()
	least := func(of sla.Window) int64 {
		for bad := int64(1); ; bad++ {
			burns := sla.Burns(0.001, func(d time.Duration) sla.Count {
				n := int64(d / (30 * time.Second))
				return sla.Count{N: n, Bad: min(bad, n)}
			})
			for _, b := range burns {
				if b.Name == of.Name && b.Firing {
					return bad
				}
			}
		}
	}
	got := map[string]int64{}
	for _, w := range sla.Windows() {
		got[w.Name] = least(w)
	}
	if diff := cmp.Diff(map[string]int64{"page quick": 6, "page slow": 10, "ticket quick": 17, "ticket slow": 17}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBurnsNeedBothWindows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		long, short sla.Count
		firing      bool
	}{
		{"both", sla.Count{N: 120, Bad: 30}, sla.Count{N: 10, Bad: 3}, true},
		{"over already", sla.Count{N: 120, Bad: 30}, sla.Count{N: 10}, false},
		{"too few to be sure", sla.Count{N: 10, Bad: 1}, sla.Count{N: 10, Bad: 1}, false},
		{"nothing measured", sla.Count{}, sla.Count{}, false},
		{"one failure of the first ten", sla.Count{N: 10, Bad: 1}, sla.Count{N: 10, Bad: 1}, false},
		{"three failures of the first ten", sla.Count{N: 10, Bad: 3}, sla.Count{N: 10, Bad: 3}, false},
		{"four failures of the first ten", sla.Count{N: 10, Bad: 4}, sla.Count{N: 10, Bad: 4}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			burns := sla.Burns(0.001, func(d time.Duration) sla.Count {
				switch d {
				case time.Hour:
					return c.long
				case 5 * time.Minute:
					return c.short
				}
				return sla.Count{}
			})
			b, ok := sla.Fastest(burns)
			if ok != c.firing || ok && b.Name != "page quick" {
				t.Errorf("fires: %v (%s), want %v", ok, b.Name, c.firing)
			}
		})
	}
}

func TestPeriodsFollowTheCalendarOfTheZone(t *testing.T) {
	t.Parallel()
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	month, err := sla.ParsePeriod("2026-03", london)
	if err != nil {
		t.Fatal(err)
	}
	if len(month.Parts) != 31 || month.End.Sub(month.Start) != 31*24*time.Hour-time.Hour {
		t.Errorf("March has %d days and %s", len(month.Parts), month.End.Sub(month.Start))
	}
	year, err := sla.ParsePeriod("2028", london)
	if err != nil {
		t.Fatal(err)
	}
	if len(year.Parts) != 12 || year.End.Sub(year.Start) != 366*24*time.Hour || year.Parts[1].Name != "2028-02" {
		t.Errorf("2028 has %d months and %s", len(year.Parts), year.End.Sub(year.Start))
	}
	for _, p := range []sla.Period{month, year} {
		for i := 1; i < len(p.Parts); i++ {
			if !p.Parts[i].Start.Equal(p.Parts[i-1].End) {
				t.Errorf("%s does not begin where the part before ends", p.Parts[i].Name)
			}
		}
	}
	for _, bad := range []string{"", "26", "2026-13", "2026-00", "2026/01", "1999", "2200", "2026-1", "+202", "2026-+1", "20261-1"} {
		if _, err := sla.ParsePeriod(bad, time.UTC); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestMonthsOfEveryZoneFollowOneAnother(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, period, start string
		hours               time.Duration
	}{
		{"America/New_York", "2026-03", "2026-03-01T05:00:00Z", 743},
		{"America/New_York", "2026-11", "2026-11-01T04:00:00Z", 721},
		{"Asia/Kolkata", "2026-11", "2026-10-31T18:30:00Z", 720},
		{"Pacific/Auckland", "2026-04", "2026-03-31T11:00:00Z", 721},
		{"Pacific/Kiritimati", "2026-02", "2026-01-31T10:00:00Z", 672},
		// The clock of Santiago leaves out the first hour of 6 September.
		{"America/Santiago", "2026-09", "2026-09-01T04:00:00Z", 719},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		p, err := sla.ParsePeriod(c.period, loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Start.UTC().Format(time.RFC3339); got != c.start || p.End.Sub(p.Start) != c.hours*time.Hour {
			t.Errorf("%s in %s begins at %s and has %s", c.period, c.zone, got, p.End.Sub(p.Start))
		}
		year, err := sla.ParsePeriod(c.period[:4], loc)
		if err != nil {
			t.Fatal(err)
		}
		var sum time.Duration
		for _, part := range year.Parts {
			month, err := sla.ParsePeriod(part.Name, loc)
			if err != nil || !month.Start.Equal(part.Start) || !month.End.Equal(part.End) {
				t.Errorf("%s of the year in %s is not the month: %v", part.Name, c.zone, err)
			}
			sum += month.End.Sub(month.Start)
		}
		if sum != year.End.Sub(year.Start) {
			t.Errorf("the months of %s in %s have %s, the year %s", c.period[:4], c.zone, sum, year.End.Sub(year.Start))
		}
	}
}

func FuzzParsePeriod(f *testing.F) {
	for _, s := range []string{"2026", "2026-11", "2026-13", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := sla.ParsePeriod(s, time.UTC)
		if err == nil && (p.Name != s || !p.Start.Before(p.End) || len(p.Parts) < 12) {
			t.Errorf("%q: %+v", s, p)
		}
	})
}

// june is a report of one connection that existed throughout June 2026, read at now.
func june(t *testing.T, now time.Time, day func(i int) sla.Tally) sla.Report {
	t.Helper()
	p, err := sla.ParsePeriod("2026-06", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	s := sla.Source{ID: "one", Name: "One", Platform: "caldav", Since: p.Start.AddDate(-1, 0, 0), Targets: domain.StandardTargets()}
	for i := range p.Parts {
		s.Parts = append(s.Parts, day(i))
	}
	return sla.Build(p, now, standards(), []sla.Source{s})
}

func standards() sla.Standards {
	return sla.Standards{Organization: domain.StandardTargets(), Platform: func(string) domain.Targets { return domain.StandardTargets() }}
}

const day = 24 * time.Hour

func TestReportsSayWhatIsKnown(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	full := sla.Tally{Probes: 2880, Known: day}
	for _, c := range []struct {
		name                string
		now                 time.Time
		day                 func(i int) sla.Tally
		avail, with, lowest float64 // -1 = not known
		verdict             sla.Verdict
		unknown, left       int64
	}{
		{"a whole month up", end, func(int) sla.Tally { return full }, 100, 100, 100, sla.Met, 0, 2592},
		{"a gap of one day is not up", end, func(i int) sla.Tally {
			if i == 3 {
				return sla.Tally{}
			}
			return full
		}, 100, 100, 96.6666, sla.Unknown, 86400, 2592},
		{"nothing known", end, func(int) sla.Tally { return sla.Tally{} }, -1, -1, 0, sla.Unknown, 30 * 86400, 2592},
		{"maintenance is left out of one number and down in the other", end, func(i int) sla.Tally {
			if i == 0 {
				return sla.Tally{Known: day, Maintenance: 12 * time.Hour, Probes: 1440}
			}
			return full
		}, 100, 98.3333, 100, sla.Met, 0, 2549},
		{"an hour of downtime is more than the budget, whatever is unknown", end, func(i int) sla.Tally {
			if i == 0 {
				return sla.Tally{Probes: 2880, Failed: 120, Known: day, Down: time.Hour}
			}
			return sla.Tally{}
		}, 95.8333, 95.8333, 3.1944, sla.Missed, 29 * 86400, -1008},
		{"half of the month has passed", end.AddDate(0, 0, -15), func(i int) sla.Tally {
			if i >= 15 {
				return sla.Tally{}
			}
			return full
		}, 100, 100, 100, sla.Met, 0, 2592},
		{"a row that says more than has passed", end.AddDate(0, 0, -29).Add(-12 * time.Hour), func(i int) sla.Tally {
			if i > 0 {
				return sla.Tally{}
			}
			return full
		}, 100, 100, 100, sla.Met, 0, 2592},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := june(t, c.now, c.day).All
			for name, v := range map[string]struct {
				got  *float64
				want float64
			}{"availability": {l.Availability, c.avail}, "with maintenance": {l.WithMaintenance, c.with}, "lowest": {l.Lowest, c.lowest}} {
				switch {
				case v.want < 0 && v.got != nil:
					t.Errorf("%s is %v, want none", name, *v.got)
				case v.want >= 0 && (v.got == nil || math.Abs(*v.got-v.want) > 1e-9):
					t.Errorf("%s is %v, want %v", name, v.got, v.want)
				}
			}
			if l.Verdict != c.verdict || l.UnknownSeconds != c.unknown || l.BudgetLeftSeconds != c.left {
				t.Errorf("%s, %d s unknown, %d s left; want %s, %d, %d", l.Verdict, l.UnknownSeconds, l.BudgetLeftSeconds, c.verdict, c.unknown, c.left)
			}
		})
	}
}

func TestWhatIsNotWholeNeverReadsAs100(t *testing.T) {
	t.Parallel()
	r := june(t, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), func(i int) sla.Tally {
		if i == 0 {
			return sla.Tally{Probes: 2880, Failed: 1, Known: day, Down: time.Second}
		}
		return sla.Tally{Probes: 2880, Known: day}
	})
	if *r.All.Availability != 99.9999 {
		t.Errorf("a second of downtime: %v", *r.All.Availability)
	}
}

func TestLatencyVerdictIsOpenWhereTheHistogramCannotTell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		limit int
		took  map[time.Duration]int
		want  sla.Verdict
	}{
		{"all within", 500, map[time.Duration]int{400 * time.Millisecond: 100}, sla.Met},
		{"six of a hundred beyond", 500, map[time.Duration]int{400 * time.Millisecond: 94, time.Second: 6}, sla.Missed},
		{"five of a hundred beyond", 500, map[time.Duration]int{400 * time.Millisecond: 95, time.Second: 5}, sla.Met},
		{"the limit lies inside of the bucket", 600, map[time.Duration]int{550 * time.Millisecond: 100}, sla.Unknown},
		{"beyond whatever the bucket holds", 600, map[time.Duration]int{550 * time.Millisecond: 50, 3 * time.Second: 50}, sla.Missed},
		{"above all bounds", 500, map[time.Duration]int{time.Minute: 10}, sla.Missed},
		{"nothing", 500, nil, sla.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var h domain.Histogram
			for d, n := range c.took {
				for range n {
					h = h.Add(domain.ProbeBounds, d)
				}
			}
			p, err := sla.ParsePeriod("2026-06", time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			targets := domain.StandardTargets()
			targets.LatencyMS = c.limit
			r := sla.Build(p, p.End, standards(), []sla.Source{{Name: "one", Since: p.Start, Targets: targets, Parts: []sla.Tally{{Known: day, Latency: h}}}})
			if got := r.Lines[0].LatencyVerdict; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestSumsAddUpAndWorstBudgetComesFirst(t *testing.T) {
	t.Parallel()
	p, err := sla.ParsePeriod("2026-06", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	good := sla.Source{ID: "good", Name: "=Good", Platform: "caldav", Since: p.Start, Targets: domain.StandardTargets(), Parts: []sla.Tally{{Probes: 2880, Known: day}}}
	bad := sla.Source{ID: "bad", Name: "Bad", Platform: "google", Since: p.Start, Targets: domain.StandardTargets(),
		Parts: []sla.Tally{{Probes: 2880, Failed: 288, Known: day, Down: 2 * time.Hour}}}
	later := sla.Source{ID: "later", Name: "Later", Platform: "google", Since: p.End, Targets: domain.StandardTargets()}
	r := sla.Build(p, p.Start.Add(day), standards(), []sla.Source{good, bad, later})
	if len(r.Lines) != 2 || r.Lines[0].ID != "bad" {
		t.Fatalf("lines: %+v", r.Lines)
	}
	if r.All.TotalSeconds != 2*86400 || r.All.DownSeconds != 7200 || r.All.Probes != 5760 || len(r.Platforms) != 2 || len(r.Parts) != 1 {
		t.Errorf("sum: %+v", r.All)
	}
	if r.All.ErrorVerdict != sla.Missed || *r.All.ErrorPercent != 5 || r.Platforms[0].ErrorVerdict != sla.Met {
		t.Errorf("errors: %+v", r.All)
	}
	var out strings.Builder
	if err := sla.WriteCSV(&out, r); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+1+2+2+1 || rows[1][0] != "organization" || rows[5][1] != "'=Good" || rows[5][24] != "" {
		t.Errorf("rows: %v", rows)
	}
}

func TestSharesStayInRange(t *testing.T) {
	t.Parallel()
	p, err := sla.ParsePeriod("2026-06", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := sla.Source{Name: "one", Since: p.Start, Targets: domain.StandardTargets()}
		length := func(label string) time.Duration {
			return time.Duration(rapid.Int64Range(-10, 100_000).Draw(t, label)) * time.Second
		}
		for range p.Parts {
			s.Parts = append(s.Parts, sla.Tally{Known: length("known"), Down: length("down"), Maintenance: length("maintenance")})
		}
		l := sla.Build(p, p.End, standards(), []sla.Source{s}).Lines[0]
		for _, v := range []*float64{l.Availability, l.WithMaintenance, l.Lowest} {
			if v != nil && (*v < 0 || *v > 100) {
				t.Fatalf("a share of %v", *v)
			}
		}
		if l.Lowest != nil && l.Availability != nil && *l.Lowest > *l.Availability {
			t.Fatalf("lowest %v is above %v", *l.Lowest, *l.Availability)
		}
		if l.Verdict == sla.Met && l.UnknownSeconds > l.BudgetSeconds {
			t.Fatal("met, though more is unknown than the budget")
		}
	})
}
