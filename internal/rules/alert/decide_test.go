package alert_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
)

// desk carries plans out as storage does.
type desk struct {
	t        interface{ Fatalf(string, ...any) }
	now      time.Time
	alerts   []domain.Alert
	silences []domain.Silence
	rules    []domain.AlertRule
	policy   domain.AlertPolicy
	next     time.Time
	ids      int
}

func newDesk(t interface{ Fatalf(string, ...any) }) *desk {
	return &desk{t: t, now: start, policy: domain.StandardAlertPolicy()}
}

// look carries out one evaluation and says what was told, such as "connection i1 opened high".
func (d *desk) look(seen ...alert.Seen) []string {
	in := func() alert.Input {
		var near []domain.Alert
		for _, a := range d.alerts {
			if a.Unresolved() || d.now.Sub(*a.ResolvedAt) <= alert.FlapWindow {
				near = append(near, a)
			}
		}
		return alert.Input{Now: d.now, Seen: seen, Alerts: near, Rules: d.rules, Silences: d.silences, Policy: d.policy, NewID: func() domain.AlertID {
			d.ids++
			return domain.AlertID("a" + strconv.Itoa(d.ids))
		}}
	}
	plan := alert.Decide(in())
	var told []string
	for _, c := range plan.Changes {
		i := slices.IndexFunc(d.alerts, func(a domain.Alert) bool { return a.ID == c.Alert.ID })
		if (i < 0) != c.New {
			d.t.Fatalf("alert %s is new: %v", c.Alert.ID, c.New)
		}
		if i < 0 {
			d.alerts = append(d.alerts, c.Alert)
		} else {
			d.alerts[i] = c.Alert
		}
		if c.Tell != alert.TellNothing {
			told = append(told, fmt.Sprintf("%s %s %s %s", c.Alert.Kind, c.Alert.Scope.Target, c.Tell, c.Alert.Severity))
		}
	}
	d.next = plan.Next
	if again := alert.Decide(in()); len(again.Changes) != 0 {
		d.t.Fatalf("looking again changes %+v", again.Changes)
	}
	open := 0
	for _, a := range d.alerts {
		if a.Unresolved() {
			open++
		}
	}
	if open != plan.Open {
		d.t.Fatalf("%d alerts are open, the plan says %d", open, plan.Open)
	}
	return told
}

func (d *desk) wait(by time.Duration) *desk { d.now = d.now.Add(by); return d }

func (d *desk) tells(want []string, seen ...alert.Seen) {
	if diff := cmp.Diff(want, d.look(seen...)); diff != "" {
		d.t.Fatalf("at %s: %s", d.now.Sub(start), diff)
	}
}

func ill(id string, kind domain.AlertKind, severity domain.Severity) alert.Seen {
	return alert.Seen{ID: domain.IntegrationID(id), Platform: "p", Verdict: alert.Verdict{Findings: []alert.Finding{{Kind: kind, Technical: severity, Reason: "it is ill"}}}}
}

func well(id string) alert.Seen { return alert.Seen{ID: domain.IntegrationID(id), Platform: "p"} }

func TestAnAlertOpensRemindsEscalatesAndEnds(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	down := ill("i1", domain.AlertConnection, domain.SeverityHigh)
	d.tells(nil, well("i1"))
	d.tells([]string{"connection i1 opened high"}, down)
	if want := start.Add(15 * time.Minute); !d.next.Equal(want) {
		t.Errorf("looks again at %s, want %s", d.next, want)
	}
	d.wait(14*time.Minute).tells(nil, down)
	d.wait(time.Minute).tells([]string{"connection i1 escalated high"}, down)
	d.wait(45*time.Minute).tells([]string{"connection i1 escalated high"}, down)
	d.wait(59*time.Minute).tells(nil, down)
	d.wait(time.Minute).tells([]string{"connection i1 reminder high"}, down)
	d.wait(time.Minute).tells(nil, well("i1"))
	d.wait(4*time.Minute).tells(nil, well("i1"))
	d.wait(time.Minute).tells([]string{"connection i1 resolved high"}, well("i1"))
	d.wait(time.Hour).tells(nil, well("i1"))
	if a := d.alerts[0]; len(d.alerts) != 1 || a.Level != 2 || a.Reminders != 1 || a.Resolution == "" {
		t.Errorf("%+v", d.alerts)
	}
}

func TestAnAlertIsOverWhenItWasCalmForAsLongAsItsRuleSays(t *testing.T) {
	t.Parallel()
	for minutes, scope := range map[int]domain.Scope{30: {Kind: domain.ScopeIntegration, Target: "i1"}, 2: {Kind: domain.ScopePlatform, Target: "p"}, 12: {Kind: domain.ScopeOrganization}} {
		d := newDesk(t)
		d.rules = []domain.AlertRule{{Kind: domain.AlertConnection, Scope: scope, Enabled: true, ResolveAfter: minutes}, {Kind: domain.AlertSilence, Scope: scope, Enabled: true, ResolveAfter: 90}}
		d.tells([]string{"connection i1 opened high"}, ill("i1", domain.AlertConnection, domain.SeverityHigh))
		d.wait(time.Minute).tells(nil, well("i1"))
		if want := d.now.Add(time.Duration(minutes) * time.Minute); minutes < 15 && !d.next.Equal(want) {
			t.Errorf("%d minutes: looks again at %s, want %s", minutes, d.next, want)
		}
		d.wait(time.Duration(minutes)*time.Minute-time.Second).tells(nil, well("i1"))
		d.wait(time.Second).tells([]string{"connection i1 resolved high"}, well("i1"))
	}
}

func TestWhoAcknowledgedIsLeftAloneUntilItGetsWorse(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	late := ill("i1", domain.AlertResponseTime, domain.SeverityLow)
	d.tells([]string{"response_time i1 opened low"}, late)
	d.alerts[0].State = domain.AlertAcknowledged
	d.alerts[0].AcknowledgedAt, d.alerts[0].AcknowledgedBy = &d.now, "ann"
	d.wait(3*time.Hour).tells(nil, late)
	wedding := d.now.Add(48 * time.Hour)
	late.Wedding = &wedding
	d.tells([]string{"response_time i1 worse high"}, late)
	if a := d.alerts[0]; a.State != domain.AlertOpen || a.AcknowledgedBy != "" {
		t.Errorf("%+v", a)
	}
	d.wait(15*time.Minute).tells([]string{"response_time i1 escalated high"}, late)
}

func TestUnknownNeitherRaisesNorEndsAnAlert(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	unknown := alert.Seen{ID: "i1", Platform: "p", Verdict: alert.Verdict{Held: domain.AlertKinds()}}
	d.tells(nil, unknown)
	d.tells([]string{"connection i1 opened high"}, ill("i1", domain.AlertConnection, domain.SeverityHigh))
	d.wait(4*time.Minute).tells(nil, well("i1"))
	d.wait(time.Minute).tells(nil, unknown)
	d.wait(10*time.Minute).tells([]string{"connection i1 escalated high"}, unknown)
	d.wait(time.Minute).tells(nil, well("i1"))
	d.wait(5*time.Minute).tells([]string{"connection i1 resolved high"}, well("i1"))
}

func TestPauseAndRemovalEndAlertsAtOnce(t *testing.T) {
	t.Parallel()
	for name, seen := range map[string][]alert.Seen{"paused": {{ID: "i1", Platform: "p", Verdict: alert.Verdict{Off: "the connection was paused"}}}, "gone": nil} {
		d := newDesk(t)
		d.tells([]string{"connection i1 opened high"}, ill("i1", domain.AlertConnection, domain.SeverityHigh))
		if diff := cmp.Diff([]string{"connection i1 resolved high"}, d.wait(time.Minute).look(seen...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAFlappingConnectionIsSaidToFlapAndMustBeCalmForLonger(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	down := ill("i1", domain.AlertConnection, domain.SeverityHigh)
	told := d.look(down)
	for range 20 { // up for six minutes, down for one, again and again
		told = append(told, d.wait(time.Minute).look(well("i1"))...)
		told = append(told, d.wait(5*time.Minute).look(well("i1"))...)
		d.alerts[0].RemindAt, d.alerts[0].EscalateAt = nil, nil
		told = append(told, d.wait(time.Minute).look(down)...)
	}
	opened := 0
	for _, s := range told {
		if s == "connection i1 opened high" {
			opened++
		}
	}
	if opened != 4 || len(d.alerts) != 1 || !d.alerts[0].Flapping {
		t.Errorf("told of it %d times as new: %v\n%+v", opened, told, d.alerts)
	}
	d.alerts[0].RemindAt, d.alerts[0].EscalateAt = nil, nil
	d.wait(time.Minute).tells(nil, well("i1"))
	d.wait(29*time.Minute).tells(nil, well("i1"))
	d.wait(time.Minute).tells([]string{"connection i1 resolved high"}, well("i1"))
}

func TestWhatComesBackLaterIsAnotherAlert(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	down := ill("i1", domain.AlertConnection, domain.SeverityHigh)
	d.tells([]string{"connection i1 opened high"}, down)
	d.wait(time.Minute).tells(nil, well("i1"))
	d.wait(5*time.Minute).tells([]string{"connection i1 resolved high"}, well("i1"))
	d.wait(31*time.Minute).tells([]string{"connection i1 opened high"}, down)
	if len(d.alerts) != 2 {
		t.Errorf("%+v", d.alerts)
	}
}

// platform makes n connections of which the first k are down.
func platform(n, k int) []alert.Seen {
	var out []alert.Seen
	for i := range n {
		id := fmt.Sprintf("i%04d", i)
		if i < k {
			out = append(out, ill(id, domain.AlertConnection, domain.SeverityHigh))
		} else {
			out = append(out, well(id))
		}
	}
	return out
}

func TestManyOfAPlatformAreOneAlert(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	wedding := start.Add(24 * time.Hour)
	all := platform(1000, 400)
	all[7].Wedding = &wedding
	d.tells([]string{"connection p opened critical"}, all...)
	if len(d.alerts) != 401 || d.alerts[0].Members != 400 || d.alerts[400].InhibitedBy != d.alerts[0].ID {
		t.Fatalf("%d alerts, %+v", len(d.alerts), d.alerts[0])
	}
	// It stays one alert until fewer than 15 of 100 have it; those that still do are told by themselves then.
	d.wait(time.Minute).tells(nil, platform(1000, 160)...)
	told := d.wait(time.Minute).look(platform(1000, 3)...)
	if diff := cmp.Diff([]string{"connection i0000 opened high", "connection i0001 opened high", "connection i0002 opened high"}, told); diff != "" {
		t.Error(diff)
	}
	told = d.wait(6 * time.Minute).look(platform(1000, 3)...)
	if diff := cmp.Diff([]string{"connection p resolved high"}, told); diff != "" {
		t.Error(diff)
	}
}

func TestFewOfAPlatformAreToldOneByOne(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.tells([]string{"connection i0000 opened high", "connection i0001 opened high"}, platform(7, 2)...)
	small := newDesk(t)
	if told := small.look(platform(4, 4)...); len(told) != 4 {
		t.Errorf("four of four: %v", told)
	}
}

func TestAPlatformThatIsUnknownStaysAsItWas(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.tells([]string{"connection p opened high"}, platform(10, 10)...)
	var unknown []alert.Seen
	for i := range 10 {
		unknown = append(unknown, alert.Seen{ID: domain.IntegrationID(fmt.Sprintf("i%04d", i)), Platform: "p", Verdict: alert.Verdict{Held: domain.AlertKinds()}})
	}
	d.wait(10*time.Minute).tells(nil, unknown...)
	d.wait(time.Minute).tells(nil, platform(10, 0)...)
	d.wait(5*time.Minute).tells([]string{"connection p resolved high"}, platform(10, 0)...)
}

func TestDownKeepsOtherAlertsOfTheConnectionQuiet(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.tells([]string{"error_rate i1 opened high"}, ill("i1", domain.AlertErrorRate, domain.SeverityHigh))
	down := ill("i1", domain.AlertConnection, domain.SeverityHigh)
	down.Held = domain.AlertKinds()[1:]
	d.wait(time.Minute).tells([]string{"connection i1 opened high"}, down)
	d.wait(15*time.Minute).tells([]string{"connection i1 escalated high"}, down)
	if d.alerts[0].InhibitedBy != d.alerts[1].ID {
		t.Errorf("%+v", d.alerts[0])
	}
}

func TestSilencesKeepAlertsQuietAndLetThemBeToldAfterwards(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.silences = []domain.Silence{{Scope: domain.Scope{Kind: domain.ScopePlatform, Target: "p"}, Kinds: []domain.AlertKind{domain.AlertConnection}, Zone: "UTC",
		StartsAt: start, EndsAt: start.Add(time.Hour)}, {Scope: domain.Scope{Kind: domain.ScopeOrganization}, Zone: "nowhere", RRULE: "FREQ=DAILY", StartsAt: start, EndsAt: start.Add(time.Hour)}}
	down := ill("i1", domain.AlertConnection, domain.SeverityHigh)
	d.tells(nil, down)
	if !d.next.Equal(start.Add(time.Hour)) || d.alerts[0].SilencedUntil == nil {
		t.Errorf("next %s, %+v", d.next, d.alerts[0])
	}
	d.wait(time.Minute).tells([]string{"response_time i2 opened high"}, down, ill("i2", domain.AlertResponseTime, domain.SeverityHigh))
	d.wait(59*time.Minute).tells([]string{"connection i1 opened high", "response_time i2 escalated high"}, down, ill("i2", domain.AlertResponseTime, domain.SeverityHigh))

	short := newDesk(t)
	short.silences = d.silences
	short.tells(nil, down)
	short.wait(time.Minute).tells(nil, well("i1"))
	short.wait(5*time.Minute).tells(nil, well("i1")) // nobody was told of it, so nobody is told of its end
	if short.alerts[0].State != domain.AlertResolved {
		t.Errorf("%+v", short.alerts[0])
	}
}

// TestAnyHistoryEndsQuietly lets anything happen and then all be well: no alert stays, and whoever was told of one is told of its
// end.
func TestAnyHistoryEndsQuietly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk(t)
		open := map[string]int{}
		note := func(told []string) {
			for _, s := range told {
				var kind, target, what, severity string
				if _, err := fmt.Sscan(s, &kind, &target, &what, &severity); err != nil {
					t.Fatal(err)
				}
				switch what {
				case "opened":
					open[kind+" "+target]++
				case "resolved":
					open[kind+" "+target]--
				default:
					if open[kind+" "+target] != 1 {
						t.Fatalf("%q of something that nobody was told of", s)
					}
				}
			}
		}
		ids := []string{"i1", "i2", "i3", "i4", "i5", "i6"}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			var seen []alert.Seen
			for _, id := range ids {
				one := well(id)
				switch rapid.IntRange(0, 6).Draw(t, id) {
				case 0, 1:
					one = ill(id, domain.AlertConnection, domain.SeverityHigh)
					one.Held = domain.AlertKinds()[1:]
				case 2:
					one = ill(id, rapid.SampledFrom(domain.AlertKinds()).Draw(t, "kind"), domain.SeverityLow)
				case 3:
					one.Held = domain.AlertKinds()
				case 4:
					one.Off = "paused"
				}
				seen = append(seen, one)
			}
			note(d.wait(time.Duration(rapid.IntRange(1, 40).Draw(t, "minutes")) * time.Minute).look(seen...))
		}
		var calm []alert.Seen
		for _, id := range ids {
			calm = append(calm, well(id))
		}
		for range 3 {
			note(d.wait(31 * time.Minute).look(calm...))
		}
		for _, a := range d.alerts {
			if a.Unresolved() {
				t.Fatalf("still open: %+v", a)
			}
		}
		for what, n := range open {
			if n != 0 {
				t.Fatalf("%s was opened %d times more than ended", what, n)
			}
		}
	})
}
