package alert_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
)

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// nightly is silent from half past one to half past two, every night in London. On 29 March 2026 the clock goes from one to two,
// on 25 October it shows the hour from one to two twice.
func nightly(t *testing.T) domain.Silence {
	return domain.Silence{Scope: domain.Scope{Kind: domain.ScopeOrganization}, Zone: "Europe/London", RRULE: "FREQ=DAILY", Reason: "backups",
		StartsAt: moment(t, "2026-03-20T01:30:00Z"), EndsAt: moment(t, "2026-03-20T02:30:00Z")}
}

func TestSilencesFollowTheClockWhenItChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, at, until string }{
		{"before the change", "2026-03-28T01:30:00Z", "2026-03-28T02:30:00Z"},
		{"a time that the clock leaves out is an hour later on it", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"},
		{"and not an hour before", "2026-03-29T00:45:00Z", ""},
		{"in summer", "2026-03-30T00:30:00Z", "2026-03-30T01:30:00Z"},
		{"in summer no longer at the winter's time", "2026-03-30T01:45:00Z", ""},
		{"a time that comes twice is the first one", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"and not the second one too", "2026-10-25T01:45:00Z", ""},
		{"in winter again", "2026-10-26T01:30:00Z", "2026-10-26T02:30:00Z"},
	} {
		until, ok, err := alert.Silent(nightly(t), moment(t, c.at))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if ok {
			got = until.UTC().Format(time.RFC3339)
		}
		if got != c.until {
			t.Errorf("%s: at %s silent until %q, want %q", c.name, c.at, got, c.until)
		}
	}
}

func TestASilenceThatComesTooOftenIsRefusedWithTheLimit(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=HOURLY;BYMINUTE=0,10,20,30,40,50"} {
		s := nightly(t)
		s.RRULE, s.EndsAt = rule, s.StartsAt.Add(31*24*time.Hour)
		err := alert.CheckSilence(s)
		if domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != "rrule" || !strings.Contains(err.Error(), "at most 100") {
			t.Errorf("%s: %v", rule, err)
		}
	}
	s := nightly(t)
	s.RRULE = "FREQ=HOURLY"
	if err := alert.CheckSilence(s); err != nil {
		t.Errorf("every hour, an hour: %v", err)
	}
	// One that goes on for a century can still be followed.
	s = nightly(t)
	if _, ok, err := alert.Silent(s, s.StartsAt.AddDate(100, 0, 0)); err != nil || !ok {
		t.Errorf("a century later it is silent: %v, %v", ok, err)
	}
}

func TestASilenceIsOverWhenNothingOfItIsLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule, at string
		over     bool
	}{
		{"", "2026-03-20T02:29:59Z", false},
		{"", "2026-03-20T02:30:00Z", true},
		{"FREQ=DAILY", "2099-01-01T00:00:00Z", false},
		{"FREQ=DAILY;COUNT=3", "2026-03-22T02:29:59Z", false},
		{"FREQ=DAILY;COUNT=3", "2026-03-22T02:30:00Z", true},
		{"FREQ=WEEKLY;UNTIL=20260501T000000Z", "2026-04-20T00:00:00Z", false},
		{"FREQ=WEEKLY;UNTIL=20260501T000000Z", "2026-05-02T00:00:00Z", true},
		{"freq=yearly;interval=20;count=2", "2030-01-01T00:00:00Z", false},
		{"FREQ=SECONDLY;UNTIL=20960501T000000Z", "2026-05-02T00:00:00Z", false}, // not found in bounded time
		{"FREQ=SOMETIMES;COUNT=1", "2026-05-02T00:00:00Z", false},
	} {
		s := nightly(t)
		s.RRULE = c.rule
		if got := alert.Over(s, moment(t, c.at)); got != c.over {
			t.Errorf("%q at %s is over: %v", c.rule, c.at, got)
		}
	}
}

func TestSilencesReachAsFarAsTheirScopeAndTheirRules(t *testing.T) {
	t.Parallel()
	one, whole := domain.Scope{Kind: domain.ScopeIntegration, Target: "i1"}, domain.Scope{Kind: domain.ScopePlatform, Target: "p"}
	for _, c := range []struct {
		name    string
		silence domain.Silence
		alert   domain.Alert
		want    bool
	}{
		{"the organisation's, an alert of a connection", domain.Silence{Scope: domain.Scope{Kind: domain.ScopeOrganization}}, domain.Alert{Scope: one}, true},
		{"the organisation's, an alert of a platform", domain.Silence{Scope: domain.Scope{Kind: domain.ScopeOrganization}}, domain.Alert{Scope: whole}, true},
		{"the platform's, an alert of its connection", domain.Silence{Scope: whole}, domain.Alert{Scope: one}, true},
		{"the platform's, an alert of it", domain.Silence{Scope: whole}, domain.Alert{Scope: whole}, true},
		{"another platform's", domain.Silence{Scope: domain.Scope{Kind: domain.ScopePlatform, Target: "q"}}, domain.Alert{Scope: one}, false},
		{"the connection's", domain.Silence{Scope: one}, domain.Alert{Scope: one}, true},
		{"the connection's, an alert of its platform", domain.Silence{Scope: one}, domain.Alert{Scope: whole}, false},
		{"another connection's", domain.Silence{Scope: domain.Scope{Kind: domain.ScopeIntegration, Target: "i2"}}, domain.Alert{Scope: one}, false},
		{"of this rule", domain.Silence{Scope: one, Kinds: []domain.AlertKind{domain.AlertSilence, domain.AlertErrorRate}}, domain.Alert{Scope: one, Kind: domain.AlertErrorRate}, true},
		{"of another rule", domain.Silence{Scope: one, Kinds: []domain.AlertKind{domain.AlertSilence}}, domain.Alert{Scope: one, Kind: domain.AlertErrorRate}, false},
	} {
		if got := c.silence.Matches(c.alert, "p"); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
