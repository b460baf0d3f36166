package alert_test

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
)

// TestEverySeverityNearEveryWedding is the whole table.
func TestEverySeverityNearEveryWedding(t *testing.T) {
	t.Parallel()
	const low, medium, high, critical = domain.SeverityLow, domain.SeverityMedium, domain.SeverityHigh, domain.SeverityCritical
	columns := []domain.Severity{low, medium, high, critical}
	for _, row := range []struct {
		until time.Duration // the beginning of the wedding; below 0 = it goes on
		want  [4]domain.Severity
	}{
		{8 * 24 * time.Hour, [4]domain.Severity{low, medium, high, critical}},
		{7*24*time.Hour + time.Second, [4]domain.Severity{low, medium, high, critical}},
		{7 * 24 * time.Hour, [4]domain.Severity{medium, high, critical, critical}},
		{48*time.Hour + time.Second, [4]domain.Severity{medium, high, critical, critical}},
		{48 * time.Hour, [4]domain.Severity{high, critical, critical, critical}},
		{0, [4]domain.Severity{high, critical, critical, critical}},
		{-5 * time.Hour, [4]domain.Severity{high, critical, critical, critical}},
	} {
		wedding := start.Add(row.until)
		for i, technical := range columns {
			f := alert.Finding{Technical: technical}
			if got := f.Near(&wedding, start); got != row.want[i] {
				t.Errorf("%s, wedding in %s: %s, want %s", technical, row.until, got, row.want[i])
			}
			if got := f.Near(nil, start); got != technical {
				t.Errorf("%s without a wedding: %s", technical, got)
			}
			f.AtMost = medium
			if got := f.Near(&wedding, start); got.Level() > medium.Level() {
				t.Errorf("%s, wedding in %s, at most medium: %s", technical, row.until, got)
			}
		}
	}
}

// TestSlowerThanUsualWithinThePromiseWakesNobody shows where the bound holds and where it does not.
func TestSlowerThanUsualWithinThePromiseWakesNobody(t *testing.T) {
	t.Parallel()
	now := start.Add(48 * time.Hour)
	tomorrow := now.Add(24 * time.Hour)
	look := func(took time.Duration, rules ...domain.AlertRule) alert.Seen {
		series := probes(now, after(repeat(aDay, good), repeat(40, alert.Sample{OK: true, Took: took})))
		c := alert.Connection{ID: "i1", Platform: "p", State: domain.HealthUp, Targets: domain.StandardTargets(), Series: series}
		v := alert.Look(c, rules, now)
		// Only what is asked for here: answers beyond the promise are the matter of another rule too.
		var only []alert.Finding
		for _, f := range v.Findings {
			if f.Kind == domain.AlertDegradation {
				only = append(only, f)
			}
		}
		v.Findings = only
		return alert.Seen{ID: "i1", Platform: "p", Wedding: &tomorrow, Verdict: v}
	}
	told := func(all ...alert.Seen) []string {
		d := newDesk(t)
		d.now = now
		return d.look(all...)
	}
	for _, c := range []struct {
		name string
		seen alert.Seen
		want string
	}{
		{"within the promise", look(200 * time.Millisecond), "degradation i1 opened medium"},
		{"beyond the promise", look(900 * time.Millisecond), "degradation i1 opened critical"},
		{"a person wants it otherwise", look(200*time.Millisecond, domain.AlertRule{Kind: domain.AlertDegradation, Enabled: true, Severity: domain.SeverityLow,
			Scope: domain.Scope{Kind: domain.ScopeOrganization}}), "degradation i1 opened high"},
	} {
		if got := told(c.seen); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
	// Many of a platform are bounded as long as each of them is.
	var all []alert.Seen
	for _, id := range []domain.IntegrationID{"i1", "i2", "i3", "i4", "i5"} {
		one := look(200 * time.Millisecond)
		one.ID = id
		all = append(all, one)
	}
	if got := told(all...); len(got) != 1 || got[0] != "degradation p opened medium" {
		t.Errorf("all within the promise: %v", got)
	}
	worse := look(900 * time.Millisecond)
	worse.ID = "i3"
	all[2] = worse
	if got := told(all...); len(got) != 1 || got[0] != "degradation p opened critical" {
		t.Errorf("one beyond the promise: %v", got)
	}
}

// TestDegradationNeedsBothDetectors has each of them see something that the other does not.
func TestDegradationNeedsBothDetectors(t *testing.T) {
	t.Parallel()
	now := start.Add(48 * time.Hour)
	spike, little := alert.Sample{OK: true, Took: 450 * time.Millisecond}, alert.Sample{OK: true, Took: 108 * time.Millisecond}
	third := make([]alert.Sample, 0, 120)
	for i := range cap(third) {
		if i%3 == 0 {
			third = append(third, spike)
		} else {
			third = append(third, good)
		}
	}
	for _, c := range []struct {
		name string
		all  []alert.Sample
		want bool
	}{
		{"every third answer is slow: their sum is large, but most answers are as ever", third, false},
		{"all answers are a little slower, for a few minutes: most are above what is usual, but the sum is small", repeat(10, little), false},
		{"all answers are a little slower, for half an hour: both", repeat(60, little), true},
		{"all answers are slow: both", repeat(20, spike), true},
	} {
		s := probes(now, after(repeat(aDay, good), c.all))
		if got := !s.Degraded().IsZero(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
