package maintenance_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
)

// office is traffic on weekdays from 08:00 to 18:00.
func office() (t maintenance.Traffic) {
	for day := 1; day <= 5; day++ {
		for hour := 8; hour < 18; hour++ {
			t[day*24+hour] = 30
		}
	}
	return t
}

func TestTheQuietestFreeTimeIsProposedFirst(t *testing.T) {
	t.Parallel()
	now := at(t, "2027-06-07 09:00") // a Monday
	look := span(t, "2027-06-07 09:00", "2027-06-14 00:00")
	closed := maintenance.Closures(look, []maintenance.Closure{maintenance.Frozen("w", span(t, "2027-06-11 14:00", "2027-06-14 00:00"))}, calendarOf(t, "UTC", nil))
	ask := maintenance.Ask{Now: now, Search: look, Duration: 2 * time.Hour, Notice: 24 * time.Hour, Limit: 3, Closures: closed, Traffic: office(), Zone: time.UTC}
	got, err := maintenance.Propose(ask)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("%d proposals: %+v", len(got), got)
	}
	if first := got[0]; first.Expected != 0 || first.Start.Hour() < 1 || first.Start.Hour() > 4 || first.Score != 80 || first.Start.Before(now.Add(24*time.Hour)) {
		t.Errorf("the best is %+v", first)
	}
	days := map[string]bool{}
	for _, p := range got {
		days[p.Start.Format(time.DateOnly)] = true
		if len(p.Why) < 3 {
			t.Errorf("%v says only %q", p.Span, p.Why)
		}
	}
	if len(days) != 3 {
		t.Errorf("several of one day: %+v", got)
	}
	// Times at which the provider is away anyway come first.
	ask.Announced = []domain.Span{span(t, "2027-06-09 03:10", "2027-06-09 05:10")}
	if got, err = maintenance.Propose(ask); err != nil || !got[0].Start.Equal(at(t, "2027-06-09 03:10")) || got[0].Score != 100 {
		t.Errorf("with an announced window: %+v, %v", got, err)
	}
	// What another window has is not free.
	ask.Taken = ask.Announced
	if got, err = maintenance.Propose(ask); err != nil || slices.ContainsFunc(got, func(p maintenance.Proposal) bool { return p.Overlaps(ask.Taken[0]) }) {
		t.Errorf("beside another window: %+v, %v", got, err)
	}
}

func TestNothingIsProposedWhereNothingIsFree(t *testing.T) {
	t.Parallel()
	look := span(t, "2027-06-07 00:00", "2027-06-14 00:00")
	frozen := []maintenance.Closure{maintenance.Frozen("w", look)}
	for name, ask := range map[string]maintenance.Ask{
		"frozen":             {Search: look, Now: look.Start, Duration: time.Hour, Zone: time.UTC, Closures: frozen},
		"the notice is long": {Search: look, Now: look.Start, Duration: time.Hour, Zone: time.UTC, Notice: 8 * 24 * time.Hour},
		"too short":          {Search: span(t, "2027-06-07 00:00", "2027-06-07 00:50"), Now: look.Start, Duration: time.Hour, Zone: time.UTC},
	} {
		if got, err := maintenance.Propose(ask); err != nil || len(got) != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestWrongQuestionsAreRefusedByField(t *testing.T) {
	t.Parallel()
	look := span(t, "2027-06-07 00:00", "2027-06-14 00:00")
	for field, ask := range map[string]maintenance.Ask{
		"duration_minutes": {Search: look, Duration: time.Minute, Zone: time.UTC},
		"until":            {Search: domain.Span{Start: look.End, End: look.Start}, Duration: time.Hour, Zone: time.UTC},
		"limit":            {Search: look, Duration: time.Hour, Zone: time.UTC, Limit: 21},
		"zone":             {Search: look, Duration: time.Hour},
	} {
		if _, err := maintenance.Propose(ask); domain.FieldOf(err) != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestTrafficIsAveragedByTheLocalHourOfTheWeek(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	// Four weeks around the change of the clock on 28 March 2027: 09:00 on Mondays is 09:00 UTC before and 08:00 UTC after it.
	from, until := at(t, "2027-03-15 00:00"), at(t, "2027-04-12 00:00")
	var hours []maintenance.HourCount
	for _, s := range []string{"2027-03-15 09:00", "2027-03-22 09:00", "2027-03-29 08:00", "2027-04-05 08:00", "2027-04-19 08:00"} {
		hours = append(hours, maintenance.HourCount{Hour: at(t, s), Count: 8})
	}
	got := maintenance.TrafficOf(hours, from, until, zone)
	for n, v := range got {
		if want := map[bool]float64{true: 8, false: 0}[n == 24+9]; v != want {
			t.Errorf("hour %d of the week has %v, want %v", n, v, want)
		}
	}
	if sum := got.Plus(got); sum[24+9] != 16 {
		t.Errorf("twice that is %v", sum[24+9])
	}
}

func TestProposalsNeverTouchWhatIsClosed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		look, freezes, c := world(t)
		ask := maintenance.Ask{Now: look.Start.Add(-time.Duration(rapid.IntRange(0, 72).Draw(t, "hours before")) * time.Hour), Search: look,
			Duration: time.Duration(rapid.IntRange(5, 720).Draw(t, "minutes")) * time.Minute, Notice: time.Duration(rapid.IntRange(0, 96).Draw(t, "notice")) * time.Hour,
			Limit: rapid.IntRange(1, maintenance.MaxProposals).Draw(t, "limit"), Closures: maintenance.Closures(look, freezes, c), Zone: c.Zone()}
		for n := range ask.Traffic {
			ask.Traffic[n] = float64(rapid.IntRange(0, 50).Draw(t, "traffic"))
		}
		for range rapid.IntRange(0, 3).Draw(t, "others") {
			start := look.Start.Add(time.Duration(rapid.IntRange(0, 40*24).Draw(t, "other")) * time.Hour)
			other := domain.Span{Start: start, End: start.Add(3 * time.Hour)}
			if rapid.Bool().Draw(t, "taken") {
				ask.Taken = append(ask.Taken, other)
			} else {
				ask.Announced = append(ask.Announced, other)
			}
		}
		got, err := maintenance.Propose(ask)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := maintenance.Propose(ask); err != nil || cmp.Diff(got, again) != "" {
			t.Fatalf("the same question has two answers: %v", err)
		}
		if len(got) > ask.Limit {
			t.Fatalf("%d proposals", len(got))
		}
		for n, p := range got {
			if p.Duration() != ask.Duration || !look.Contains(p.Span) || p.Start.Before(ask.Now.Add(ask.Notice)) {
				t.Fatalf("%v of %v, %s long, asked at %v", p.Span, look, ask.Duration, ask.Now)
			}
			if hit := maintenance.InTheWay(p.Span, ask.Closures); len(hit) > 0 {
				t.Fatalf("%v touches %v", p.Span, hit)
			}
			for _, f := range freezes {
				if f.Overlaps(p.Span) {
					t.Fatalf("%v lies in the freeze %v", p.Span, f.Span)
				}
			}
			for _, o := range ask.Taken {
				if o.Overlaps(p.Span) {
					t.Fatalf("%v lies in another window %v", p.Span, o)
				}
			}
			if p.Score < 0 || p.Score > 100 || n > 0 && got[n-1].Score < p.Score {
				t.Fatalf("scores %+v", got)
			}
		}
	})
}

func TestAYearIsSearchedInBoundedWork(t *testing.T) {
	t.Parallel()
	now := at(t, "2027-01-01 00:00")
	look := domain.Span{Start: now, End: now.Add(maintenance.MaxSearch)}
	var freezes []maintenance.Closure
	for n := range 400 {
		start := now.Add(time.Duration(n) * 24 * time.Hour)
		freezes = append(freezes, maintenance.Frozen("w", domain.Span{Start: start.Add(8 * time.Hour), End: start.Add(20 * time.Hour)}))
	}
	got, err := maintenance.Propose(maintenance.Ask{Now: now, Search: look, Duration: time.Hour, Limit: 20, Closures: maintenance.Closures(look, freezes, calendarOf(t, "Europe/London", nil)),
		Zone: time.UTC, Traffic: office()})
	if err != nil || len(got) != 20 {
		t.Errorf("%d proposals, %v", len(got), err)
	}
}

func TestTheLongestFreePartOfAStretchIsFoundOnWholeMinutes(t *testing.T) {
	t.Parallel()
	whole := span(t, "2027-06-14 02:00", "2027-06-14 08:00")
	frozen := func(from, until string) []maintenance.Closure {
		return []maintenance.Closure{maintenance.Frozen("w", span(t, from, until))}
	}
	for name, x := range map[string]struct {
		in     domain.Span
		closed []maintenance.Closure
		taken  []domain.Span
		want   domain.Span
		ok     bool
	}{
		"all of it":                      {in: whole, want: whole, ok: true},
		"its longer part":                {whole, frozen("2027-06-14 03:00", "2027-06-14 04:00"), nil, span(t, "2027-06-14 04:00", "2027-06-14 08:00"), true},
		"of equal ones the first":        {whole, frozen("2027-06-14 04:00", "2027-06-14 06:00"), nil, span(t, "2027-06-14 02:00", "2027-06-14 04:00"), true},
		"beside another window":          {whole, nil, []domain.Span{span(t, "2027-06-14 01:00", "2027-06-14 07:30")}, span(t, "2027-06-14 07:30", "2027-06-14 08:00"), true},
		"no longer than a window may be": {span(t, "2027-06-14 00:00", "2027-06-16 00:00"), nil, nil, span(t, "2027-06-14 00:00", "2027-06-14 12:00"), true},
		"nothing is free":                {whole, frozen("2027-06-13 00:00", "2027-06-15 00:00"), nil, domain.Span{}, false},
		"too short a part is none":       {whole, frozen("2027-06-14 02:04", "2027-06-15 00:00"), nil, domain.Span{}, false},
		"not over its bounds":            {domain.Span{Start: whole.Start.Add(time.Second), End: whole.End.Add(-time.Second)}, nil, nil, span(t, "2027-06-14 02:01", "2027-06-14 07:59"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := maintenance.Within(x.in, x.closed, x.taken)
			if ok != x.ok || ok && got != x.want {
				t.Errorf("%s, %v; want %s, %v", got, ok, x.want, x.ok)
			}
		})
	}
}
