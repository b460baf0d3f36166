package domain

import (
	"strings"
	"testing"
	"time"
)

func TestTheNarrowestRuleForAlertsCounts(t *testing.T) {
	t.Parallel()
	org := AlertRule{Kind: AlertSilence, Scope: Scope{Kind: ScopeOrganization}, Enabled: true, Severity: SeverityLow}
	platform := AlertRule{Kind: AlertSilence, Scope: Scope{Kind: ScopePlatform, Target: "p"}, Enabled: true, Severity: SeverityMedium}
	one := AlertRule{Kind: AlertSilence, Scope: Scope{Kind: ScopeIntegration, Target: "i"}, Severity: SeverityHigh}
	other := AlertRule{Kind: AlertErrorRate, Scope: Scope{Kind: ScopeIntegration, Target: "i"}, Severity: SeverityCritical}
	for _, c := range []struct {
		name     string
		all      []AlertRule
		platform string
		id       IntegrationID
		enabled  bool
		severity Severity
	}{
		{"without any it is on as usual", nil, "p", "i", true, ""},
		{"the organisation's", []AlertRule{org}, "p", "i", true, SeverityLow},
		{"the platform's before the organisation's", []AlertRule{platform, org}, "p", "i", true, SeverityMedium},
		{"the connection's before all, whatever the order", []AlertRule{one, org, platform, other}, "p", "i", false, SeverityHigh},
		{"another connection's does not count", []AlertRule{org, one}, "p", "j", true, SeverityLow},
		{"another platform's does not count", []AlertRule{platform}, "q", "i", true, ""},
		{"another rule's does not count", []AlertRule{other}, "p", "i", true, ""},
	} {
		got := RuleFor(c.all, AlertSilence, c.platform, c.id)
		if got.Enabled != c.enabled || got.Severity != c.severity || got.Kind != AlertSilence {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestWhoIsToldAtWhichStepOfAnEscalation(t *testing.T) {
	t.Parallel()
	p := AlertPolicy{RemindEvery: 60, Steps: []EscalationStep{{After: 5, Roles: []string{"lead"}}, {After: 15}, {After: 60, Roles: []string{"owner", "lead"}}}}
	for _, c := range []struct {
		role  string
		first bool
		at    [5]bool // by step, from 0
	}{
		{"planner", true, [5]bool{false, false, true, false, false}},
		{"", true, [5]bool{false, false, true, false, false}},
		{"lead", false, [5]bool{false, true, true, true, false}},
		{"owner", false, [5]bool{false, false, true, true, false}},
	} {
		if got := p.ToldFirst(c.role); got != c.first {
			t.Errorf("%q is told first: %v", c.role, got)
		}
		for n, want := range c.at {
			if got := p.ToldAt(n, c.role); got != want {
				t.Errorf("%q is told at step %d: %v", c.role, n, got)
			}
		}
	}
	if StandardAlertPolicy().Validate("") != nil || !StandardAlertPolicy().ToldFirst("anybody") {
		t.Error("the standard tells not everybody")
	}
}

func TestASilenceKeepsItsBounds(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	good := Silence{Scope: Scope{Kind: ScopeOrganization}, StartsAt: start, EndsAt: start.Add(time.Hour), Zone: "UTC", Reason: "test"}
	for _, length := range []time.Duration{time.Minute, MaxSilenceLength} {
		s := good
		s.EndsAt = start.Add(length)
		if err := s.Validate(""); err != nil {
			t.Errorf("%s: %v", length, err)
		}
	}
	for name, change := range map[string]func(*Silence){
		"ends_at":   func(s *Silence) { s.EndsAt = start.Add(time.Minute - time.Nanosecond) },
		"x.ends_at": func(s *Silence) { s.EndsAt = start.Add(MaxSilenceLength + time.Nanosecond) },
		"rrule":     func(s *Silence) { s.RRULE = strings.Repeat("x", MaxSilenceRule+1) },
		"zone":      func(s *Silence) { s.Zone = "" },
		"reason":    func(s *Silence) { s.Reason = "two\nlines" },
		"x.reason":  func(s *Silence) { s.Reason = strings.Repeat("x", maxSilenceReason+1) },
	} {
		s, prefix := good, ""
		if rest, ok := strings.CutPrefix(name, "x."); ok {
			prefix = "x."
			name = prefix + rest
		}
		change(&s)
		if err := s.Validate(prefix); KindOf(err) != KindInvalid || FieldOf(err) != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
