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

func at(t testing.TB, s string) time.Time {
	t.Helper()
	out, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func span(t testing.TB, from, until string) domain.Span {
	t.Helper()
	return domain.Span{Start: at(t, from), End: at(t, until)}
}

func calendarOf(t testing.TB, zone string, change func(*domain.MaintenanceSettings)) maintenance.Calendar {
	t.Helper()
	s := domain.StandardMaintenanceSettings()
	if change != nil {
		change(&s)
	}
	c, err := maintenance.CalendarOf(s, zone)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// said is a closure as one line.
func said(all []maintenance.Closure) []string {
	out := []string{}
	for _, c := range all {
		out = append(out, string(c.Code)+" "+c.Start.Format("2006-01-02 15:04")+" to "+c.End.Format("2006-01-02 15:04"))
	}
	return out
}

func TestDaysHoursSeasonsAndFreezesClose(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		zone        string
		change      func(*domain.MaintenanceSettings)
		freezes     []maintenance.Closure
		from, until string
		want        []string
	}{
		"a Saturday is closed from local midnight to local midnight": {zone: "Europe/London", from: "2027-06-10 00:00", until: "2027-06-14 00:00",
			want: []string{"weekday 2027-06-11 23:00 to 2027-06-12 23:00"}},
		"a Saturday ends when the clock resumes after a midnight that is skipped": {zone: "America/Sao_Paulo", from: "2018-11-02 00:00", until: "2018-11-05 00:00",
			want: []string{"weekday 2018-11-03 03:00 to 2018-11-04 03:00"}},
		"hours that reach over midnight leave the middle of the day closed": {zone: "UTC", change: func(s *domain.MaintenanceSettings) {
			s.Weekdays, s.FromMinute, s.UntilMinute = []int{0, 1, 2, 3, 4, 5, 6}, 22*60, 5*60
		}, from: "2027-06-10 00:00", until: "2027-06-11 12:00",
			want: []string{"hours 2027-06-10 05:00 to 2027-06-10 22:00", "hours 2027-06-11 05:00 to 2027-06-11 12:00"}},
		"hours within the day leave the night closed, as one": {zone: "UTC", change: func(s *domain.MaintenanceSettings) {
			s.Weekdays, s.FromMinute, s.UntilMinute = []int{0, 1, 2, 3, 4, 5, 6}, 9*60, 17*60
		}, from: "2027-06-10 08:00", until: "2027-06-11 10:00",
			want: []string{"hours 2027-06-10 08:00 to 2027-06-10 09:00", "hours 2027-06-10 17:00 to 2027-06-11 09:00"}},
		"an hour that the clock skips ends when it resumes": {zone: "Europe/London", change: func(s *domain.MaintenanceSettings) {
			s.Weekdays, s.FromMinute, s.UntilMinute = []int{0, 1, 2, 3, 4, 5, 6}, 90, 1440
		}, from: "2027-03-28 00:00", until: "2027-03-28 12:00",
			want: []string{"hours 2027-03-28 00:00 to 2027-03-28 01:30"}}, // 01:30 is read with the offset before the gap
		"a season of every year reaches over the new year": {zone: "UTC", change: func(s *domain.MaintenanceSettings) {
			s.Weekdays = []int{0, 1, 2, 3, 4, 5, 6}
			s.Seasons = []domain.Season{{From: "12-20", Until: "01-02", Name: "holidays"}}
		}, from: "2027-12-18 00:00", until: "2028-01-10 00:00", want: []string{"season 2027-12-20 00:00 to 2028-01-03 00:00"}},
		"a season for once does not come back": {zone: "UTC", change: func(s *domain.MaintenanceSettings) {
			s.Weekdays = []int{0, 1, 2, 3, 4, 5, 6}
			s.Seasons = []domain.Season{{From: "2026-05-01", Until: "2026-05-31", Name: "peak"}}
		}, from: "2027-05-01 00:00", until: "2027-06-01 00:00", want: []string{}},
		"freezes are cut to what is looked at": {zone: "UTC", change: func(s *domain.MaintenanceSettings) { s.Weekdays = []int{0, 1, 2, 3, 4, 5, 6} },
			freezes: []maintenance.Closure{maintenance.Frozen("w1", domain.Span{Start: time.Date(2027, 6, 10, 12, 0, 0, 0, time.UTC), End: time.Date(2027, 6, 13, 0, 0, 0, 0, time.UTC)}),
				maintenance.Frozen("w2", domain.Span{Start: time.Date(2027, 7, 10, 12, 0, 0, 0, time.UTC), End: time.Date(2027, 7, 13, 0, 0, 0, 0, time.UTC)})},
			from: "2027-06-12 00:00", until: "2027-06-20 00:00", want: []string{"freeze 2027-06-12 00:00 to 2027-06-13 00:00"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := said(maintenance.Closures(span(t, x.from, x.until), x.freezes, calendarOf(t, x.zone, x.change)))
			if d := cmp.Diff(x.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestStateNamesWhatClosesAndTheNextChange(t *testing.T) {
	t.Parallel()
	look := span(t, "2027-06-01 00:00", "2027-07-01 00:00")
	freeze := maintenance.Frozen("w", span(t, "2027-06-17 14:00", "2027-06-20 06:00")) // a wedding on Saturday the 19th
	closed := maintenance.Closures(look, []maintenance.Closure{freeze}, calendarOf(t, "UTC", nil))
	for _, x := range []struct {
		at, next string
		open     bool
		why      []maintenance.Code
	}{
		{"2027-06-16 00:00", "2027-06-17 14:00", true, nil},
		{"2027-06-17 13:59", "2027-06-17 14:00", true, nil},
		{"2027-06-17 14:00", "2027-06-20 06:00", false, []maintenance.Code{maintenance.Freeze}}, // closed at its very beginning
		{"2027-06-19 12:00", "2027-06-20 06:00", false, []maintenance.Code{maintenance.Freeze, maintenance.Weekday}},
		{"2027-06-20 06:00", "2027-06-26 00:00", true, nil}, // open at its very end
		{"2027-06-26 12:00", "2027-06-27 00:00", false, []maintenance.Code{maintenance.Weekday}},
		{"2027-06-27 00:00", "", true, nil}, // nothing more before the horizon
	} {
		s := maintenance.StateAt(at(t, x.at), closed, look.End)
		var why []maintenance.Code
		for _, c := range s.Closed {
			why = append(why, c.Code)
		}
		next := ""
		if s.Next != nil {
			next = s.Next.Format("2006-01-02 15:04")
		}
		if s.Open != x.open || next != x.next || !slices.Equal(why, x.why) {
			t.Errorf("at %s: open %t because of %v, next %q; want %t, %v, %q", x.at, s.Open, why, next, x.open, x.why, x.next)
		}
		if s.Open && s.Next != nil && len(s.Then) == 0 {
			t.Errorf("at %s: it is not said what closes it", x.at)
		}
	}
}

func TestWrongSettingsAreRefusedByField(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*domain.MaintenanceSettings){
		"approval":         func(s *domain.MaintenanceSettings) { s.Approval = "dice" },
		"when_wedding":     func(s *domain.MaintenanceSettings) { s.WhenWedding = "ignore" },
		"notice_minutes":   func(s *domain.MaintenanceSettings) { s.NoticeMinutes = 43201 },
		"announce_minutes": func(s *domain.MaintenanceSettings) { s.AnnounceMinutes = []int{60, 60} },
		"weekdays":         func(s *domain.MaintenanceSettings) { s.Weekdays = []int{1, 1} },
		"from_minute":      func(s *domain.MaintenanceSettings) { s.FromMinute, s.UntilMinute = 60, 60 },
		"zone":             func(s *domain.MaintenanceSettings) { s.Zone = "Mars/Olympus" },
		"seasons[0].from": func(s *domain.MaintenanceSettings) {
			s.Seasons = []domain.Season{{From: "02-30", Until: "03-01", Name: "x"}}
		},
		"seasons[0].name": func(s *domain.MaintenanceSettings) {
			s.Seasons = []domain.Season{{From: "02-01", Until: "03-01", Name: " "}}
		},
	} {
		s := domain.StandardMaintenanceSettings()
		change(&s)
		if _, err := maintenance.CalendarOf(s, "UTC"); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// world draws a calendar with freezes, in a zone whose clocks change.
func world(t *rapid.T) (look domain.Span, freezes []maintenance.Closure, c maintenance.Calendar) {
	s := domain.StandardMaintenanceSettings()
	s.Weekdays = rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 1, 7, rapid.ID).Draw(t, "weekdays")
	s.FromMinute = rapid.IntRange(0, 1439).Draw(t, "from")
	s.UntilMinute = rapid.IntRange(1, 1440).Filter(func(n int) bool { return n != s.FromMinute }).Draw(t, "until")
	if rapid.Bool().Draw(t, "has a season") {
		s.Seasons = []domain.Season{{From: "03-25", Until: "04-02", Name: "peak"}}
	}
	zone := rapid.SampledFrom([]string{"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"}).Draw(t, "zone")
	c, err := maintenance.CalendarOf(s, zone)
	if err != nil {
		t.Fatal(err)
	}
	base := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 240*24*60).Draw(t, "begins")) * time.Minute)
	look = domain.Span{Start: base, End: base.Add(time.Duration(rapid.IntRange(1, 40*24).Draw(t, "hours")) * time.Hour)}
	for range rapid.IntRange(0, 6).Draw(t, "weddings") {
		start := base.Add(time.Duration(rapid.IntRange(-5*24*60, 40*24*60).Draw(t, "freeze")) * time.Minute)
		freezes = append(freezes, maintenance.Frozen("w", domain.Span{Start: start, End: start.Add(time.Duration(rapid.IntRange(1, 5*24*60).Draw(t, "frozen")) * time.Minute)}))
	}
	return look, freezes, c
}

func TestFreeAndClosedAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		look, freezes, c := world(t)
		closed := maintenance.Closures(look, freezes, c)
		free := maintenance.Free(look, closed, nil)
		for n, f := range free {
			if !f.Start.Before(f.End) || !look.Contains(f) || n > 0 && !free[n-1].End.Before(f.Start) {
				t.Fatalf("free %v of %v", free, look)
			}
			if hit := maintenance.InTheWay(f, closed); len(hit) > 0 {
				t.Fatalf("%v is free and closed by %v", f, hit)
			}
		}
		// Any moment is either open and free, or closed and not; and the state holds up to the next change.
		for range 20 {
			at := look.Start.Add(time.Duration(rapid.Int64Range(0, int64(look.Duration())-1).Draw(t, "at")))
			inFree := slices.ContainsFunc(free, func(f domain.Span) bool { return !at.Before(f.Start) && at.Before(f.End) })
			s := maintenance.StateAt(at, closed, look.End)
			if s.Open != inFree || s.Open != (len(s.Closed) == 0) {
				t.Fatalf("%v: open %t, free %t", at, s.Open, inFree)
			}
			until := look.End
			if s.Next != nil {
				until = *s.Next
				if after := maintenance.StateAt(until, closed, look.End); !until.After(at) || after.Open == s.Open {
					t.Fatalf("%v: nothing changes at %v", at, until)
				}
			}
			if before := maintenance.StateAt(until.Add(-1), closed, look.End); before.Open != s.Open {
				t.Fatalf("%v: it changes before %v", at, until)
			}
		}
	})
}
