package weddingday_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := calendartime.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// local reads "2027-06-12 14:00" in a zone.
func local(t testing.TB, loc *time.Location, text string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

const form = "2006-01-02 15:04"

func TestMomentsFollowTheWallClockOfThePlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zone, starts, ends         string
		week, freeze, day, dayEnds string
	}{
		"an afternoon in June": {"Europe/London", "2027-06-12 14:00", "2027-06-12 22:00", "2027-06-05 14:00", "2027-06-10 14:00", "2027-06-12 00:00", "2027-06-13 04:00"},
		"a party past midnight has two days": {"Europe/London", "2027-06-12 14:00", "2027-06-13 02:00", "2027-06-05 14:00", "2027-06-10 14:00",
			"2027-06-12 00:00", "2027-06-14 00:00"},
		"one that ends at midnight has one day and six hours": {"Europe/London", "2027-06-12 14:00", "2027-06-13 00:00", "2027-06-05 14:00", "2027-06-10 14:00",
			"2027-06-12 00:00", "2027-06-13 06:00"},
		"a morning wedding ends with its day": {"Europe/London", "2027-06-12 10:00", "2027-06-12 12:00", "2027-06-05 10:00", "2027-06-10 10:00",
			"2027-06-12 00:00", "2027-06-13 00:00"},
		"clocks go forward between the freeze and the wedding": {"Europe/Berlin", "2027-03-29 14:00", "2027-03-29 20:00", "2027-03-22 14:00", "2027-03-27 14:00",
			"2027-03-29 00:00", "2027-03-30 02:00"},
		"clocks go back on the day": {"Europe/Berlin", "2027-10-31 14:00", "2027-10-31 20:00", "2027-10-24 14:00", "2027-10-29 14:00", "2027-10-31 00:00", "2027-11-01 02:00"},
		"a week before is the other side of the change": {"America/New_York", "2027-03-20 16:00", "2027-03-20 23:00", "2027-03-13 16:00", "2027-03-18 16:00",
			"2027-03-20 00:00", "2027-03-21 05:00"},
		"far in the east": {"Pacific/Auckland", "2027-02-06 15:00", "2027-02-06 23:30", "2027-01-30 15:00", "2027-02-04 15:00", "2027-02-06 00:00", "2027-02-07 05:30"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loc := zone(t, c.zone)
			got := weddingday.Plan(local(t, loc, c.starts), local(t, loc, c.ends), loc, weddingday.Standard)
			show := func(at time.Time) string { return at.In(loc).Format(form) }
			want := []string{c.week, c.freeze, c.freeze, c.day, c.dayEnds, c.dayEnds}
			have := []string{show(got.PreflightWeek), show(got.PreflightFreeze), show(got.FreezeFrom), show(got.DayFrom), show(got.DayUntil), show(got.FreezeUntil)}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestADayWhoseMidnightIsSkippedBeginsWhenClocksResume(t *testing.T) {
	t.Parallel()
	loc := zone(t, "America/Sao_Paulo")
	starts := time.Date(2018, 11, 4, 15, 0, 0, 0, loc)
	got := weddingday.Plan(starts, starts.Add(5*time.Hour), loc, weddingday.Standard)
	if at := got.DayFrom.In(loc).Format(form); at != "2018-11-04 01:00" {
		t.Errorf("the day begins at %s", at)
	}
}

func TestAFreezeAtASkippedClockIsReadAsBeforeTheGap(t *testing.T) {
	t.Parallel()
	loc := zone(t, "Europe/Berlin") // 02:30 of 28 March 2027 does not exist
	starts := local(t, loc, "2027-03-30 02:30")
	got := weddingday.Plan(starts, starts.Add(time.Hour), loc, weddingday.Standard)
	if want := time.Date(2027, 3, 28, 1, 30, 0, 0, time.UTC); !got.FreezeFrom.Equal(want) {
		t.Errorf("the freeze begins at %s, want %s", got.FreezeFrom, want)
	}
}

func TestTheDayItselfIsFrozenHoweverShortThePeriods(t *testing.T) {
	t.Parallel()
	loc := zone(t, "Europe/London")
	starts := local(t, loc, "2027-06-12 20:00")
	got := weddingday.Plan(starts, starts.Add(time.Hour), loc, weddingday.Periods{Preflight: 48 * time.Hour, Freeze: 12 * time.Hour})
	if !got.FreezeFrom.Equal(got.DayFrom) || got.FreezeFrom.In(loc).Format(form) != "2027-06-12 00:00" {
		t.Errorf("the freeze begins at %s", got.FreezeFrom.In(loc))
	}
}

func TestAMovedWeddingMovesEverything(t *testing.T) {
	t.Parallel()
	loc := zone(t, "Europe/London")
	starts := local(t, loc, "2027-06-12 14:00")
	was := weddingday.Plan(starts, starts.Add(8*time.Hour), loc, weddingday.Standard)
	moved := starts.AddDate(0, 0, 7)
	now := weddingday.Plan(moved, moved.Add(8*time.Hour), loc, weddingday.Standard)
	week := 7 * 24 * time.Hour
	if diff := cmp.Diff(weddingday.Times{PreflightWeek: was.PreflightWeek.Add(week), PreflightFreeze: was.PreflightFreeze.Add(week), FreezeFrom: was.FreezeFrom.Add(week),
		DayFrom: was.DayFrom.Add(week), DayUntil: was.DayUntil.Add(week), FreezeUntil: was.FreezeUntil.Add(week)}, now); diff != "" {
		t.Error(diff)
	}
}

func TestThePlaceOfAWeddingGivesItsZone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ booking, resource, want string }{
		{"Europe/Rome", "Europe/London", "Europe/Rome"},
		{"UTC", "Europe/London", "Europe/London"},
		{"", "Europe/London", "Europe/London"},
		{"Mars/Olympus", "Europe/London", "Europe/London"},
		{"Mars/Olympus", "Mars/Olympus", "UTC"},
		{"UTC", "UTC", "UTC"},
	} {
		if got := weddingday.ZoneOf(c.booking, c.resource).String(); got != c.want {
			t.Errorf("%s and %s: %s, want %s", c.booking, c.resource, got, c.want)
		}
	}
}

func TestPeriodsOutOfBoundsAreNamed(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	if err := weddingday.Standard.Validate(""); err != nil {
		t.Errorf("the standard: %v", err)
	}
	for _, c := range []struct {
		p     weddingday.Periods
		field string
	}{
		{weddingday.Periods{Preflight: day, Freeze: 48 * time.Hour}, "periods.preflight_days"},
		{weddingday.Periods{Preflight: 31 * day, Freeze: 48 * time.Hour}, "periods.preflight_days"},
		{weddingday.Periods{Preflight: 7*day + time.Hour, Freeze: 48 * time.Hour}, "periods.preflight"},
		{weddingday.Periods{Preflight: 7 * day, Freeze: 11 * time.Hour}, "periods.freeze_hours"},
		{weddingday.Periods{Preflight: 14 * day, Freeze: 169 * time.Hour}, "periods.freeze_hours"},
		{weddingday.Periods{Preflight: 7 * day, Freeze: 48*time.Hour + 1}, "periods.freeze"},
		{weddingday.Periods{Preflight: 2 * day, Freeze: 49 * time.Hour}, "periods.freeze_hours"},
	} {
		if err := c.p.Validate("periods."); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != c.field {
			t.Errorf("%+v: %v, want a fault of %s", c.p, err, c.field)
		}
	}
	s := domain.StandardFreezeSettings()
	s.Holds = "some"
	if err := s.Validate(""); domain.FieldOf(err) != "holds" {
		t.Errorf("holds: %v", err)
	}
}

var noon = time.Date(2027, 6, 12, 12, 0, 0, 0, time.UTC)

func wedding(id string, starts time.Time) weddingday.Freeze {
	when := domain.When{Span: domain.Span{Start: starts, End: starts.Add(8 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}
	return weddingday.FreezeOf(domain.BookingID(id), when, "Europe/London", weddingday.Standard)
}

func TestOfSeveralFreezesTheLastOneToEndIsTold(t *testing.T) {
	t.Parallel()
	all := []weddingday.Freeze{wedding("sunday", noon.AddDate(0, 0, 1)), wedding("saturday", noon), wedding("next", noon.AddDate(0, 0, 14))}
	got, on := weddingday.On(all, noon)
	if !on || got.Booking != "sunday" {
		t.Errorf("got %s, %t", got.Booking, on)
	}
	if _, on := weddingday.On(all, noon.AddDate(0, 0, 7)); on {
		t.Error("a week later nothing is on")
	}
	if thaw := weddingday.Thaw(all, noon); !thaw.Equal(got.Until) {
		t.Errorf("it ends at %s, want %s", thaw, got.Until)
	}
	// Weddings two days apart leave no break between their freezes.
	chain := []weddingday.Freeze{wedding("c", noon.AddDate(0, 0, 4)), wedding("a", noon), wedding("b", noon.AddDate(0, 0, 2))}
	if thaw := weddingday.Thaw(chain, noon); !thaw.Equal(chain[0].Until) {
		t.Errorf("the chain ends at %s, want %s", thaw, chain[0].Until)
	}
	if thaw := weddingday.Thaw(nil, noon); !thaw.Equal(noon) {
		t.Errorf("nothing ends at %s", thaw)
	}
}

func TestWhatWaitsForAPerson(t *testing.T) {
	t.Parallel()
	freezes := []weddingday.Freeze{wedding("a", noon)}
	day := func(n int) domain.Span {
		return domain.Span{Start: noon.AddDate(0, 0, n), End: noon.AddDate(0, 0, n).Add(time.Hour)}
	}
	for name, c := range map[string]struct {
		at    time.Time
		about domain.Span
		holds domain.FreezeHolds
		want  bool
	}{
		"the wedding itself, an hour before":           {noon.Add(-time.Hour), freezes[0].Event, domain.FreezeHoldsAll, true},
		"a meeting next month, all held":               {noon.Add(-time.Hour), day(30), domain.FreezeHoldsAll, true},
		"a meeting next month, near ones held":         {noon.Add(-time.Hour), day(30), domain.FreezeHoldsNear, false},
		"a delivery the day before, near ones held":    {noon.Add(-time.Hour), day(-1), domain.FreezeHoldsNear, true},
		"the wedding itself, near ones held":           {noon.Add(-time.Hour), freezes[0].Event, domain.FreezeHoldsNear, true},
		"the wedding itself, three days before":        {noon.AddDate(0, 0, -3), freezes[0].Event, domain.FreezeHoldsAll, false},
		"the first instant of the freeze":              {freezes[0].From, freezes[0].Event, domain.FreezeHoldsAll, true},
		"the instant before it":                        {freezes[0].From.Add(-1), freezes[0].Event, domain.FreezeHoldsAll, false},
		"the instant in which it ends":                 {freezes[0].Until, freezes[0].Event, domain.FreezeHoldsAll, false},
		"what begins when the freeze ends, near held":  {noon, domain.Span{Start: freezes[0].Until, End: freezes[0].Until.Add(1)}, domain.FreezeHoldsNear, false},
		"what ends in its first instant, near ones":    {noon, domain.Span{Start: freezes[0].From.Add(-1), End: freezes[0].From}, domain.FreezeHoldsNear, false},
		"what shares an instant with it, near ones on": {noon, domain.Span{Start: freezes[0].From.Add(-1), End: freezes[0].From.Add(1)}, domain.FreezeHoldsNear, true},
	} {
		if _, got := weddingday.Stops(freezes, c.at, c.about, c.holds); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestThePlatformIsLeftAloneOnTheDayAndSomeHoursBefore(t *testing.T) {
	t.Parallel()
	f := wedding("a", noon) // its day begins at 23:00 UTC of the 11th and ends at 02:00 of the 13th
	for _, c := range []struct {
		at     time.Time
		within time.Duration
		want   bool
	}{
		{f.Day.Start.Add(-12 * time.Hour), 12 * time.Hour, true},
		{f.Day.Start.Add(-12*time.Hour - 1), 12 * time.Hour, false},
		{f.Day.Start, 0, true},
		{f.Day.Start.Add(-1), 0, false},
		{f.Day.End.Add(-1), 0, true},
		{f.Day.End, 12 * time.Hour, false},
		{f.From, 12 * time.Hour, false},
	} {
		if got := f.Deploying(c.at, c.within); got != c.want {
			t.Errorf("at %s within %s: %t, want %t", c.at, c.within, got, c.want)
		}
	}
}

func TestMomentsKeepTheirOrderInEveryZone(t *testing.T) {
	t.Parallel()
	names := []string{"Europe/London", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca", "Asia/Beirut", "UTC"}
	rapid.Check(t, func(r *rapid.T) {
		loc := zone(t, rapid.SampledFrom(names).Draw(r, "zone"))
		starts := time.Unix(rapid.Int64Range(1_262_304_000, 2_208_988_800).Draw(r, "starts"), 0)
		ends := starts.Add(time.Duration(rapid.Int64Range(1, int64(4*24*time.Hour)).Draw(r, "lasts")))
		p := weddingday.PeriodsOf(domain.FreezeSettings{PreflightDays: rapid.IntRange(7, 30).Draw(r, "days"), FreezeHours: rapid.IntRange(12, 168).Draw(r, "hours")})
		got := weddingday.Plan(starts, ends, loc, p)
		order := []time.Time{got.PreflightWeek, got.FreezeFrom, got.DayFrom}
		for i := 1; i < len(order); i++ {
			if order[i].Before(order[i-1]) {
				r.Fatalf("moment %d is before the one before it: %+v", i, got)
			}
		}
		switch {
		case !got.PreflightFreeze.Equal(got.FreezeFrom), !got.DayUntil.Equal(got.FreezeUntil):
			r.Fatalf("the freeze has other ends than told: %+v", got)
		case got.DayFrom.After(starts), got.DayUntil.Before(ends.Add(6 * time.Hour)):
			r.Fatalf("the day from %s to %s does not hold the wedding from %s to %s", got.DayFrom, got.DayUntil, starts, ends)
		case starts.Sub(got.FreezeFrom) > weddingday.Ahead, got.FreezeUntil.Sub(ends) > weddingday.Behind:
			r.Fatalf("the freeze %s to %s lies beyond the reach of a wedding from %s to %s", got.FreezeFrom, got.FreezeUntil, starts, ends)
		case got.DayUntil.In(loc).Before(ends.In(loc)):
			r.Fatal("the day ends before the wedding")
		}
		// As many hours on the wall clock, whatever the clocks did: the difference to real hours is a change of the zone.
		_, there := got.FreezeFrom.In(loc).Zone()
		_, here := starts.In(loc).Zone()
		wall := starts.Truncate(time.Second).Sub(got.FreezeFrom) + time.Duration(here-there)*time.Second
		if got.FreezeFrom.Before(got.DayFrom) && wall != p.Freeze && !aroundAGap(got.FreezeFrom, loc) {
			r.Fatalf("the freeze begins %s before on the wall clock, want %s", wall, p.Freeze)
		}
	})
}

// aroundAGap reports whether clocks change within a day of an instant: there a wall clock may not exist.
func aroundAGap(at time.Time, loc *time.Location) bool {
	_, before := at.Add(-26 * time.Hour).In(loc).Zone()
	_, after := at.Add(26 * time.Hour).In(loc).Zone()
	return before != after
}

func TestFreezesGoByTheirWeddings(t *testing.T) {
	t.Parallel()
	all := []weddingday.Freeze{wedding("c", noon.AddDate(0, 0, 1)), wedding("b", noon), wedding("a", noon)}
	weddingday.Sort(all)
	if all[0].Booking != "a" || all[1].Booking != "b" || all[2].Booking != "c" {
		t.Errorf("got %v", all)
	}
}
