package alert_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
)

var start = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// probes makes a series of one probe each 30 seconds until now; each element says how it ended.
func probes(now time.Time, all []alert.Sample) *alert.Series {
	var s alert.Series
	for i, p := range all {
		p.At = now.Add(-time.Duration(len(all)-1-i) * every)
		s.Observe(p, 500*time.Millisecond)
	}
	return &s
}

func repeat(n int, p alert.Sample) []alert.Sample {
	out := make([]alert.Sample, n)
	for i := range out {
		out[i] = p
	}
	return out
}

var (
	good  = alert.Sample{OK: true, Took: 100 * time.Millisecond}
	slow  = alert.Sample{OK: true, Took: 900 * time.Millisecond}
	bad   = alert.Sample{}
	aDay  = 2880
	after = func(lists ...[]alert.Sample) (all []alert.Sample) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
)

func TestEachRuleFindsWhatItIsFor(t *testing.T) {
	t.Parallel()
	now := start.Add(48 * time.Hour)
	day := repeat(aDay, good)
	mixed := func(n, one int, p alert.Sample) []alert.Sample {
		out := repeat(n, good)
		for i := 0; i < n; i += one {
			out[n-1-i] = p
		}
		return out
	}
	lax := domain.StandardTargets()
	lax.Availability, lax.Errors = 90, 1
	for _, c := range []struct {
		name    string
		c       alert.Connection
		rules   []domain.AlertRule
		want    []string // rule and severity
		held    int
		offWhen bool
	}{
		{name: "healthy", c: alert.Connection{State: domain.HealthUp, Series: probes(now, day)}},
		{name: "one failure", c: alert.Connection{State: domain.HealthUp, Series: probes(now, after(day, []alert.Sample{bad}))}},
		{name: "down tells of nothing else", c: alert.Connection{State: domain.HealthDown, Series: probes(now, after(day, repeat(60, bad)))}, want: []string{"connection high"}, held: 4},
		{name: "must be connected anew", c: alert.Connection{State: domain.HealthNeedsReconnect}, want: []string{"connection high"}, held: 4},
		{name: "failing over", c: alert.Connection{State: domain.HealthFailingOver, Series: probes(now, day)}, want: []string{"connection medium"}},
		{name: "polling", c: alert.Connection{State: domain.HealthPolling, Series: probes(now, day)}, want: []string{"connection low"}},
		{name: "paused", c: alert.Connection{State: domain.HealthPaused, Series: probes(now, repeat(100, bad))}, offWhen: true},
		{name: "maintenance", c: alert.Connection{State: domain.HealthMaintenance, Series: probes(now, repeat(100, bad))}, offWhen: true},
		{name: "unknown says nothing", c: alert.Connection{State: domain.HealthUnknown, Series: probes(now, repeat(100, bad))}, held: 5},
		{name: "what is old says nothing", c: alert.Connection{State: domain.HealthUp, Series: probes(now.Add(-11*time.Minute), repeat(100, bad))}, held: 3},
		{name: "never probed", c: alert.Connection{State: domain.HealthUp}, held: 3},
		{name: "six failures in an hour", c: alert.Connection{State: domain.HealthDegraded, Series: probes(now, after(day, repeat(6, bad)))}, want: []string{"error_rate high"}},
		{name: "five failures in an hour", c: alert.Connection{State: domain.HealthDegraded, Series: probes(now, after(day, repeat(5, bad)))}},
		{name: "one in thirty for six hours", c: alert.Connection{State: domain.HealthDegraded, Series: probes(now, after(day, mixed(720, 30, bad)))}, want: []string{"error_rate high"}},
		{name: "one in 120 for a day", c: alert.Connection{State: domain.HealthDegraded, Series: probes(now, after(day, mixed(aDay, 120, bad)))}, want: []string{"error_rate medium"}},
		{name: "what failed an hour ago and no more", c: alert.Connection{State: domain.HealthUp, Series: probes(now, after(day, repeat(6, bad), repeat(200, good)))}},
		{name: "many errors though the budget is large", c: alert.Connection{State: domain.HealthDegraded, Targets: lax, Series: probes(now, after(day, mixed(720, 20, bad)))}, want: []string{"error_rate medium"}},
		{name: "some slow answers", c: alert.Connection{State: domain.HealthUp, Series: probes(now, after(day, mixed(60, 4, slow)))}, want: []string{"response_time low"}},
		{name: "a few slow answers", c: alert.Connection{State: domain.HealthUp, Series: probes(now, after(day, mixed(60, 12, slow)))}},
		{name: "one failure of a connection that is known since five minutes", c: alert.Connection{State: domain.HealthUp, Series: probes(now, after(repeat(9, good), []alert.Sample{bad}))}},
		{name: "five failures of a connection that is known since five minutes", c: alert.Connection{State: domain.HealthDegraded, Series: probes(now, after(repeat(5, good), repeat(5, bad)))}, want: []string{"error_rate high"}},
		{name: "nine slow answers of a connection that is known since five minutes", c: alert.Connection{State: domain.HealthUp, Series: probes(now, repeat(9, slow))}},
		{name: "ten slow answers and no others", c: alert.Connection{State: domain.HealthUp, Series: probes(now, repeat(10, slow))}, want: []string{"response_time medium"}},
		{name: "silent webhooks", c: alert.Connection{State: domain.HealthUp, Series: probes(now, day), Signals: []domain.HealthSignal{
			{Kind: domain.SignalWebhooks, Text: "no webhook for 9 h"}, {Kind: domain.SignalToken, Text: "expired"}}}, want: []string{"silence medium"}},
		{name: "webhooks as usual", c: alert.Connection{State: domain.HealthUp, Series: probes(now, day), Signals: []domain.HealthSignal{{Kind: domain.SignalWebhooks, OK: true}}}},
		{name: "a rule that is off", c: alert.Connection{ID: "x", State: domain.HealthPolling, Series: probes(now, day)},
			rules: []domain.AlertRule{{Kind: domain.AlertConnection, Scope: domain.Scope{Kind: domain.ScopeIntegration, Target: "x"}}}},
		{name: "a rule with a severity, the narrower one", c: alert.Connection{ID: "x", Platform: "p", State: domain.HealthPolling, Series: probes(now, day)},
			rules: []domain.AlertRule{{Kind: domain.AlertConnection, Scope: domain.Scope{Kind: domain.ScopePlatform, Target: "p"}, Enabled: true, Severity: domain.SeverityCritical},
				{Kind: domain.AlertConnection, Scope: domain.Scope{Kind: domain.ScopeOrganization}}}, want: []string{"connection critical"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.c.Since = start
			if c.c.Targets == (domain.Targets{}) {
				c.c.Targets = domain.StandardTargets()
			}
			v := alert.Look(c.c, c.rules, now)
			var got []string
			for _, f := range v.Findings {
				got = append(got, fmt.Sprintf("%s %s", f.Kind, f.Technical))
				if f.Reason == "" {
					t.Errorf("%+v says nothing", f)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%+v", diff, v.Findings)
			}
			if len(v.Held) != c.held || (v.Off != "") != c.offWhen {
				t.Errorf("held %v, off %q", v.Held, v.Off)
			}
		})
	}
}

func TestSlowerAnswersAreDegradedAndFastOnesEndIt(t *testing.T) {
	t.Parallel()
	now := start.Add(48 * time.Hour)
	look := func(all ...[]alert.Sample) []alert.Finding {
		return alert.Look(alert.Connection{State: domain.HealthUp, Targets: domain.StandardTargets(), Series: probes(now, after(all...))}, nil, now).Findings
	}
	slower := alert.Sample{OK: true, Took: 180 * time.Millisecond}
	if f := look(repeat(aDay, good), repeat(30, slower)); len(f) != 1 || f[0].Kind != domain.AlertDegradation {
		t.Errorf("slower answers: %+v", f)
	}
	if f := look(repeat(aDay, good), repeat(30, slower), repeat(14, good)); len(f) != 0 {
		t.Errorf("as before: %+v", f)
	}
	if f := look(repeat(aDay, good), []alert.Sample{slow, good, slow, good, good, good, slow}); len(f) != 0 {
		t.Errorf("single slow answers: %+v", f)
	}
	if f := look(repeat(100, good), repeat(100, slower)); len(f) != 0 {
		t.Errorf("nothing is usual yet: %+v", f)
	}
	if f := look(repeat(aDay, good), repeat(aDay+100, slower)); len(f) != 0 {
		t.Errorf("what lasts for a day is the new usual: %+v", f)
	}
}

func TestSeverityRisesWithTheWedding(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) *time.Time { w := start.Add(d); return &w }
	for _, c := range []struct {
		technical domain.Severity
		wedding   *time.Time
		want      domain.Severity
	}{
		{domain.SeverityLow, nil, domain.SeverityLow},
		{domain.SeverityLow, at(8 * 24 * time.Hour), domain.SeverityLow},
		{domain.SeverityLow, at(7 * 24 * time.Hour), domain.SeverityMedium},
		{domain.SeverityLow, at(48 * time.Hour), domain.SeverityHigh},
		{domain.SeverityLow, at(-time.Hour), domain.SeverityHigh},
		{domain.SeverityMedium, at(time.Hour), domain.SeverityCritical},
		{domain.SeverityHigh, at(3 * 24 * time.Hour), domain.SeverityCritical},
		{domain.SeverityCritical, at(time.Hour), domain.SeverityCritical},
	} {
		if got := alert.Raise(c.technical, c.wedding, start); got != c.want {
			t.Errorf("%s, wedding at %v: %s, want %s", c.technical, c.wedding, got, c.want)
		}
	}
}

func TestCountsAgreeWithTheSamples(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s alert.Series
		var at []time.Time
		var ok []bool
		now := start
		for range rapid.IntRange(1, 300).Draw(t, "probes") {
			now = now.Add(time.Duration(rapid.Int64Range(1, 5000).Draw(t, "gap")) * time.Second)
			fine := rapid.Bool().Draw(t, "ok")
			at, ok = append(at, now), append(ok, fine)
			s.Observe(alert.Sample{At: now, OK: fine, Took: time.Second}, 500*time.Millisecond)
		}
		for _, d := range []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour} {
			width := 5 * time.Minute
			if d > 6*time.Hour {
				width = time.Hour
			}
			least, most := 0, 0
			for i := range at {
				if ok[i] {
					continue
				}
				if now.Sub(at[i]) <= d {
					least++
				}
				if now.Sub(at[i]) <= d+width {
					most++
				}
			}
			if got := s.Failed(d); got.Bad < int64(least) || got.Bad > int64(most) {
				t.Fatalf("%s: %d failed, want %d to %d", d, got.Bad, least, most)
			}
			if slow, all := s.Slow(d), s.Failed(d); slow.N != all.N-all.Bad || slow.Bad != slow.N {
				t.Fatalf("%s: slow %+v of %+v", d, slow, all)
			}
		}
		raw, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var back alert.Series
		if err := back.UnmarshalBinary(raw); err != nil {
			t.Fatal(err)
		}
		again, _ := back.MarshalBinary()
		if string(again) != string(raw) || !back.Last().Equal(s.Last()) {
			t.Fatal("a series that was stored is another one")
		}
	})
}

func FuzzSeries(f *testing.F) {
	s := probes(start, after(repeat(400, good), repeat(3, bad)))
	raw, _ := s.MarshalBinary()
	f.Add(raw)
	f.Add([]byte{1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s alert.Series
		if err := s.UnmarshalBinary(b); err != nil {
			if domain.KindOf(err) != domain.KindInvalid {
				t.Fatal(err)
			}
			s = alert.Series{}
		}
		// Whatever was read can be gone on with.
		s.Observe(alert.Sample{At: start, OK: true, Took: time.Second}, time.Second)
		alert.Look(alert.Connection{State: domain.HealthUp, Series: &s, Targets: domain.StandardTargets()}, nil, s.Last())
		if _, err := s.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSilencesRecurOnTheClockOfTheirZone(t *testing.T) {
	t.Parallel()
	// Sundays from 2 to 4 in London; the clock changes on 25 October 2026 at 2 in the night.
	s := domain.Silence{Scope: domain.Scope{Kind: domain.ScopeOrganization}, Zone: "Europe/London", RRULE: "FREQ=WEEKLY;BYDAY=SU", Reason: "backups",
		StartsAt: time.Date(2026, 10, 4, 1, 0, 0, 0, time.UTC), EndsAt: time.Date(2026, 10, 4, 3, 0, 0, 0, time.UTC)}
	if err := alert.CheckSilence(s); err != nil {
		t.Fatal(err)
	}
	ended := time.Date(2026, 11, 1, 2, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		at    string
		ended *time.Time
		until string // "" = not silent
	}{
		{"2026-10-04T00:59:59Z", nil, ""},
		{"2026-10-04T01:00:00Z", nil, "2026-10-04T03:00:00Z"},
		{"2026-10-04T03:00:00Z", nil, ""},
		{"2026-10-11T02:59:59Z", nil, "2026-10-11T03:00:00Z"},
		{"2026-10-12T02:00:00Z", nil, ""},
		{"2026-11-01T01:30:00Z", nil, ""},
		{"2026-11-01T03:30:00Z", nil, "2026-11-01T04:00:00Z"},
		{"2026-11-01T03:30:00Z", &ended, ""},
		{"2026-09-27T02:00:00Z", nil, ""},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		s.EndedAt = c.ended
		until, ok, err := alert.Silent(s, at)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if ok {
			got = until.UTC().Format(time.RFC3339)
		}
		if got != c.until {
			t.Errorf("at %s: silent until %q, want %q", c.at, got, c.until)
		}
	}
	for name, change := range map[string]func(*domain.Silence){
		"rrule":        func(s *domain.Silence) { s.RRULE = "FREQ=SOMETIMES" },
		"zone":         func(s *domain.Silence) { s.Zone = "Mars/Base" },
		"ends_at":      func(s *domain.Silence) { s.EndsAt = s.StartsAt },
		"scope.target": func(s *domain.Silence) { s.Scope = domain.Scope{Kind: domain.ScopeIntegration, Target: "x"} },
		"rules":        func(s *domain.Silence) { s.Kinds = []domain.AlertKind{"weather"} },
	} {
		bad := s
		change(&bad)
		if err := alert.CheckSilence(bad); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
