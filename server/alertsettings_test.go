package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// wrongBody is a body that is refused, with the field that the answer names and a word of its reason.
type wrongBody struct{ name, body, field, reason string }

func (b *bundle) refuses(method, path, token string, all []wrongBody) {
	b.Helper()
	for _, c := range all {
		got := b.do(method, path, token, c.body)
		if got.status != 422 {
			b.Errorf("%s: answered %d %s", c.name, got.status, got.body)
			continue
		}
		p := got.problem(b, 422, "invalid")
		found := false
		for _, e := range p.Errors {
			found = found || e.Field == c.field && strings.Contains(e.Reason, c.reason)
		}
		if !found {
			b.Errorf("%s: the answer names %+v, want %s with %q", c.name, p.Errors, c.field, c.reason)
		}
	}
}

func TestARuleForAlertsIsSetReadAndTakenBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, viewer := b.token(b.a.org, domain.RoleAdmin), b.token(b.a.org, domain.RoleViewer)
	body := func(rest string) string {
		return `{"scope":{"kind":"integration","target":"` + string(b.a.integration) + `"},"rule":"silence",` + rest + `}`
	}
	var made, again domain.AlertRule
	b.do("PUT", "/v1/alert-rules", admin, body(`"enabled":true,"severity":"high","resolve_after_minutes":30,"reason":"for the season"`)).into(t, &made)
	if made.Kind != domain.AlertSilence || made.Scope.Target != string(b.a.integration) || !made.Enabled || made.Severity != domain.SeverityHigh || made.ResolveAfter != 30 || made.Version != 1 {
		t.Fatalf("%+v", made)
	}
	if e := b.lastAction(b.a, "alert_rule.put"); e.Reason != "for the season" || e.After["severity"] != "high" || e.After["resolve_after_minutes"] != "30" || len(e.Before) != 0 {
		t.Errorf("the trail says %+v", e)
	}
	b.do("PUT", "/v1/alert-rules", admin, body(`"enabled":false`)).into(t, &again)
	if again.ID != made.ID || again.Enabled || again.Severity != "" || again.ResolveAfter != 0 || again.Version != 2 {
		t.Errorf("set once more: %+v", again)
	}
	if e := b.lastAction(b.a, "alert_rule.put"); e.Before["severity"] != "high" || e.After["enabled"] != "false" {
		t.Errorf("the trail says %+v", e)
	}
	var all struct{ Items []domain.AlertRule }
	b.do("GET", "/v1/alert-rules", viewer, "").into(t, &all)
	if len(all.Items) != 1 || all.Items[0].ID != made.ID {
		t.Errorf("listed: %+v", all.Items)
	}
	b.do("GET", "/v1/alert-rules", b.token(b.b.org, domain.RoleAdmin), "").into(t, &all)
	if len(all.Items) != 0 {
		t.Errorf("another organisation sees %+v", all.Items)
	}
	at := "/v1/alert-rules/" + string(made.ID)
	b.do("DELETE", at, b.token(b.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	b.do("DELETE", at+"?reason="+strings.Repeat("x", 501), admin, "").problem(t, 422, "invalid")
	if got := b.do("DELETE", at+"?reason=over", admin, ""); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.do("DELETE", at, admin, "").problem(t, 404, "not_found")
	for _, role := range []domain.Role{domain.RoleViewer, domain.RoleOperator} {
		b.do("PUT", "/v1/alert-rules", b.token(b.a.org, role), body(`"enabled":true`)).problem(t, 403, "forbidden")
		b.do("DELETE", at, b.token(b.a.org, role), "").problem(t, 403, "forbidden")
	}
}

func TestEveryFieldOfARuleForAlertsHasItsLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	whole := `"scope":{"kind":"organization"}`
	b.refuses("PUT", "/v1/alert-rules", admin, []wrongBody{
		{"a scope of another kind", `{"scope":{"kind":"planet"},"rule":"silence","enabled":true}`, "body.scope.kind", "organization"},
		{"the organisation with a target", `{"scope":{"kind":"organization","target":"plain"},"rule":"silence","enabled":true}`, "body.scope.target", "empty"},
		{"a platform without a name", `{"scope":{"kind":"platform"},"rule":"silence","enabled":true}`, "body.scope.target", "1 to 64"},
		{"a platform with a long name", `{"scope":{"kind":"platform","target":"` + strings.Repeat("x", 65) + `"},"rule":"silence","enabled":true}`, "body.scope.target", "64"},
		{"a platform that is not there", `{"scope":{"kind":"platform","target":"nothing"},"rule":"silence","enabled":true}`, "body.scope.target", "no such provider"},
		{"an integration that is no id", `{"scope":{"kind":"integration","target":"x"},"rule":"silence","enabled":true}`, "body.scope.target", ""},
		{"another organisation's integration", `{"scope":{"kind":"integration","target":"` + string(b.b.integration) + `"},"rule":"silence","enabled":true}`, "body.scope.target", "no such integration"},
		{"no scope", `{"rule":"silence","enabled":true}`, "body.scope", ""},
		{"an unknown rule", `{` + whole + `,"rule":"weather","enabled":true}`, "body.rule", "error_rate"},
		{"no rule", `{` + whole + `,"enabled":true}`, "body.rule", ""},
		{"neither on nor off", `{` + whole + `,"rule":"silence"}`, "body.enabled", ""},
		{"an unknown severity", `{` + whole + `,"rule":"silence","enabled":true,"severity":"worst"}`, "body.severity", "critical"},
		{"calm for less than nothing", `{` + whole + `,"rule":"silence","enabled":true,"resolve_after_minutes":-1}`, "body.resolve_after_minutes", "0"},
		{"calm for more than a day", `{` + whole + `,"rule":"silence","enabled":true,"resolve_after_minutes":1441}`, "body.resolve_after_minutes", "1440"},
		{"a long reason", `{` + whole + `,"rule":"silence","enabled":true,"reason":"` + strings.Repeat("x", 501) + `"}`, "body.reason", "500"},
		{"a field that is not there", `{` + whole + `,"rule":"silence","enabled":true,"severty":"low"}`, "body.severty", ""},
		{"a field of the scope that is not there", `{"scope":{"kind":"organization","id":"x"},"rule":"silence","enabled":true}`, "body.scope.id", ""},
	})
}

func TestRemindersAndEscalationAreSetWithinTheirLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	var p domain.AlertPolicy
	b.do("GET", "/v1/alert-policy", b.token(b.a.org, domain.RoleViewer), "").into(t, &p)
	if p.Version != 0 || p.RemindEvery != 60 || len(p.Steps) != 2 {
		t.Errorf("the standard is %+v", p)
	}
	good := `{"remind_every_minutes":30,"steps":[{"after_minutes":5},{"after_minutes":20,"roles":["owner","lead"]}],"version":%d}`
	b.do("PUT", "/v1/alert-policy", admin, fmt.Sprintf(good, 0)).into(t, &p)
	if p.Version != 1 || p.RemindEvery != 30 || len(p.Steps) != 2 || p.Steps[1].After != 20 || len(p.Steps[1].Roles) != 2 {
		t.Errorf("set to %+v", p)
	}
	if e := b.lastAction(b.a, "alert_policy.put"); e.Before["steps_after_minutes"] != "15,60" || e.After["steps_after_minutes"] != "5,20" {
		t.Errorf("the trail says %+v", e)
	}
	for _, stale := range []int{0, 2} {
		b.do("PUT", "/v1/alert-policy", admin, fmt.Sprintf(good, stale)).problem(t, 409, "conflict")
	}
	b.do("PUT", "/v1/alert-policy", b.token(b.a.org, domain.RoleOperator), fmt.Sprintf(good, 1)).problem(t, 403, "forbidden")
	b.do("GET", "/v1/alert-policy", b.token(b.b.org, domain.RoleViewer), "").into(t, &p)
	if p.Version != 0 {
		t.Errorf("another organisation has %+v", p)
	}
	with := func(remind, steps string) string {
		return `{"remind_every_minutes":` + remind + `,"steps":` + steps + `,"version":1}`
	}
	many := func(n int, one string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = strings.ReplaceAll(one, "#", fmt.Sprint(i+1))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	b.refuses("PUT", "/v1/alert-policy", admin, []wrongBody{
		{"reminders too often", with("4", "[]"), "body.remind_every_minutes", "5"},
		{"reminders too seldom", with("1441", "[]"), "body.remind_every_minutes", "1440"},
		{"too many steps", with("60", many(11, `{"after_minutes":#}`)), "body.steps", "10"},
		{"a step at once", with("60", `[{"after_minutes":0}]`), "body.steps[0].after_minutes", "1"},
		{"a step after a day", with("60", `[{"after_minutes":1441}]`), "body.steps[0].after_minutes", "1440"},
		{"steps that do not rise", with("60", `[{"after_minutes":9},{"after_minutes":9}]`), "body.steps[1].after_minutes", "later than the step before"},
		{"too many roles", with("60", `[{"after_minutes":9,"roles":`+many(11, `"r#"`)+`}]`), "body.steps[0].roles", "10"},
		{"a role that is too long", with("60", `[{"after_minutes":9,"roles":["`+strings.Repeat("x", 61)+`"]}]`), "body.steps[0].roles", "60"},
		{"a role of nothing", with("60", `[{"after_minutes":9,"roles":[" "]}]`), "body.steps[0].roles", "1"},
		{"a field of a step that is not there", with("60", `[{"after_minutes":9,"to":"ann"}]`), "body.steps[0].to", ""},
		{"no version", `{"remind_every_minutes":60,"steps":[]}`, "body.version", ""},
		{"a version below 0", `{"remind_every_minutes":60,"steps":[],"version":-1}`, "body.version", "0"},
	})
}

func TestEveryFieldOfASilenceHasItsLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	times := `"starts_at":"2027-03-20T01:30:00Z","ends_at":"2027-03-20T02:30:00Z"`
	scope := `"scope":{"kind":"organization"}`
	with := func(rest string) string { return `{` + scope + `,` + times + `,"reason":"backups",` + rest + `}` }
	b.refuses("POST", "/v1/silences", operator, []wrongBody{
		{"another organisation's integration", `{"scope":{"kind":"integration","target":"` + string(b.b.integration) + `"},` + times + `,"reason":"x"}`, "body.scope.target", "no such integration"},
		{"a platform that is not there", `{"scope":{"kind":"platform","target":"nothing"},` + times + `,"reason":"x"}`, "body.scope.target", "no such provider"},
		{"no scope", `{` + times + `,"reason":"x"}`, "body.scope", ""},
		{"no reason", `{` + scope + `,` + times + `}`, "body.reason", ""},
		{"an empty reason", `{` + scope + `,` + times + `,"reason":""}`, "body.reason", "1"},
		{"a long reason", `{` + scope + `,` + times + `,"reason":"` + strings.Repeat("x", 501) + `"}`, "body.reason", "500"},
		{"it ends before it starts", `{` + scope + `,"starts_at":"2027-03-20T02:30:00Z","ends_at":"2027-03-20T01:30:00Z","reason":"x"}`, "body.ends_at", "a minute to 31 days"},
		{"it lasts for more than a month", `{` + scope + `,"starts_at":"2027-03-01T00:00:00Z","ends_at":"2027-04-02T00:00:00Z","reason":"x"}`, "body.ends_at", "31 days"},
		{"no time", `{` + scope + `,"starts_at":"soon","ends_at":"2027-04-02T00:00:00Z","reason":"x"}`, "body.starts_at", ""},
		{"an unknown rule", with(`"rules":["weather"]`), "body.rules", "error_rate"},
		{"more rules than there are", with(`"rules":["silence","silence","silence","silence","silence","silence"]`), "body.rules", "5"},
		{"a recurrence that cannot be read", with(`"rrule":"FREQ=SOMETIMES"`), "body.rrule", ""},
		{"a recurrence that comes too often", with(`"rrule":"FREQ=SECONDLY"`), "body.rrule", "at most 100"},
		{"a recurrence that is too long", with(`"rrule":"FREQ=DAILY;BYDAY=` + strings.Repeat("SU,", 200) + `SU"`), "body.rrule", "500"},
		{"a zone that is not there", with(`"zone":"Mars/Base"`), "body.zone", "IANA"},
		{"a zone that is too long", with(`"zone":"` + strings.Repeat("x", 65) + `"`), "body.zone", "64"},
		{"a field that is not there", with(`"rule":"silence"`), "body.rule", ""},
	})
	var made silenceView
	b.do("POST", "/v1/silences", operator, with(`"rules":["silence"],"rrule":"FREQ=WEEKLY;BYDAY=SA","zone":"Europe/London"`)).into(t, &made)
	at := "/v1/silences/" + string(made.ID)
	if made.Zone != "Europe/London" || made.RRULE == "" || len(made.Kinds) != 1 || made.Version != 1 || made.CreatedBy == "" {
		t.Fatalf("%+v", made)
	}
	b.do("PATCH", at, operator, `{"reason":"more"}`).problem(t, 428, "version_required")
	b.do("PATCH", at, operator, `{"version":9,"reason":"more"}`).problem(t, 409, "conflict")
	b.refuses("PATCH", at, operator, []wrongBody{
		{"another organisation's integration", `{"version":1,"scope":{"kind":"integration","target":"` + string(b.b.integration) + `"}}`, "body.scope.target", "no such integration"},
		{"it ends before it starts", `{"version":1,"ends_at":"2027-03-19T00:00:00Z"}`, "body.ends_at", "31 days"},
		{"a recurrence that cannot be read", `{"version":1,"rrule":"DAILY"}`, "body.rrule", ""},
		{"a zone that is not there", `{"version":1,"zone":"Mars/Base"}`, "body.zone", "IANA"},
		{"an empty zone", `{"version":1,"zone":""}`, "body.zone", "1"},
		{"an unknown rule", `{"version":1,"rules":["weather"]}`, "body.rules", ""},
		{"a field that is not there", `{"version":1,"ended_at":"2027-03-19T00:00:00Z"}`, "body.ended_at", ""},
	})
	var now silenceView
	b.do("PATCH", at, operator, `{"version":1,"rules":[],"rrule":"","zone":"UTC"}`).into(t, &now)
	if len(now.Kinds) != 0 || now.RRULE != "" || now.Zone != "UTC" || now.Reason != "backups" || now.Version != 2 {
		t.Errorf("changed to %+v", now)
	}
	stranger := b.token(b.b.org, domain.RoleAdmin)
	b.do("GET", at, stranger, "").problem(t, 404, "not_found")
	b.do("PATCH", at, stranger, `{"version":2,"reason":"mine"}`).problem(t, 404, "not_found")
	b.do("DELETE", at, stranger, "").problem(t, 404, "not_found")
	viewer := b.token(b.a.org, domain.RoleViewer)
	b.do("POST", "/v1/silences", viewer, with(`"zone":"UTC"`)).problem(t, 403, "forbidden")
	b.do("PATCH", at, viewer, `{"version":2,"reason":"mine"}`).problem(t, 403, "forbidden")
	b.do("DELETE", at, viewer, "").problem(t, 403, "forbidden")
	if got := b.do("DELETE", at+"?reason=over", operator, ""); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.do("PATCH", at, operator, `{"version":3,"reason":"more"}`).problem(t, 404, "not_found")
	b.do("GET", at, viewer, "").into(t, &now)
	if now.EndedAt == nil || now.ActiveUntil != nil {
		t.Errorf("ended: %+v", now)
	}
}

func TestThereAreAsManySilencesAsMayBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		have, err := tx.SilencesInForce(ctx)
		if err != nil {
			return err
		}
		for range domain.MaxSilences - len(have) {
			if _, err := tx.CreateSilence(ctx, domain.Silence{ID: domain.NewID[domain.SilenceID](tx.Now), Scope: domain.Scope{Kind: domain.ScopeOrganization}, StartsAt: tx.Now, EndsAt: tx.Now.Add(time.Hour),
				Zone: "UTC", Reason: "test", CreatedBy: "test"}); err != nil {
				return err
			}
		}
		return nil
	}))
	p := b.do("POST", "/v1/silences", b.token(b.a.org, domain.RoleOperator), `{"scope":{"kind":"organization"},"starts_at":"2027-03-20T01:30:00Z","ends_at":"2027-03-20T02:30:00Z","reason":"x"}`).problem(t, 409, "conflict")
	if !strings.Contains(p.Detail, "200") {
		t.Errorf("the answer does not tell the limit: %s", p.Detail)
	}
}

func TestEveryTargetOfAnObjectiveHasItsLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	with := func(scope, targets string) string { return `{"scope":` + scope + `,"targets":` + targets + `}` }
	whole, good := `{"kind":"organization"}`, `{"availability_percent":99.5,"latency_ms":800,"errors_percent":2}`
	b.refuses("PUT", "/v1/objectives", admin, []wrongBody{
		{"less than half of the time", with(whole, `{"availability_percent":49.9,"latency_ms":800,"errors_percent":2}`), "body.targets.availability_percent", "50"},
		{"always", with(whole, `{"availability_percent":100,"latency_ms":800,"errors_percent":2}`), "body.targets.availability_percent", "99.999"},
		{"faster than light", with(whole, `{"availability_percent":99.5,"latency_ms":9,"errors_percent":2}`), "body.targets.latency_ms", "10"},
		{"slower than a minute", with(whole, `{"availability_percent":99.5,"latency_ms":60001,"errors_percent":2}`), "body.targets.latency_ms", "60000"},
		{"half a millisecond", with(whole, `{"availability_percent":99.5,"latency_ms":10.5,"errors_percent":2}`), "body.targets.latency_ms", ""},
		{"no errors", with(whole, `{"availability_percent":99.5,"latency_ms":800,"errors_percent":0}`), "body.targets.errors_percent", "0.01"},
		{"more errors than half", with(whole, `{"availability_percent":99.5,"latency_ms":800,"errors_percent":50.1}`), "body.targets.errors_percent", "50"},
		{"a target is missing", with(whole, `{"availability_percent":99.5,"latency_ms":800}`), "body.targets.errors_percent", ""},
		{"a target that is not there", with(whole, `{"availability_percent":99.5,"latency_ms":800,"errors_percent":2,"p99_ms":3}`), "body.targets.p99_ms", ""},
		{"another organisation's integration", with(`{"kind":"integration","target":"`+string(b.b.integration)+`"}`, good), "body.scope.target", "no such integration"},
		{"no targets", `{"scope":` + whole + `}`, "body.targets", ""},
	})
	var made domain.Objective
	b.do("PUT", "/v1/objectives", admin, with(whole, good)).into(t, &made)
	if made.Targets != (domain.Targets{Availability: 99.5, LatencyMS: 800, Errors: 2}) {
		t.Errorf("%+v", made)
	}
	at := "/v1/objectives/" + string(made.ID)
	b.do("DELETE", at, b.token(b.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	b.do("DELETE", at, b.token(b.a.org, domain.RoleOperator), "").problem(t, 403, "forbidden")
	b.do("PUT", "/v1/objectives", b.token(b.a.org, domain.RoleOperator), with(whole, good)).problem(t, 403, "forbidden")
	if got := b.do("DELETE", at, admin, ""); got.status != 204 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestAnAlertIsAcknowledgedOnceByWhoMay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	at := "/v1/alerts/" + string(b.a.alert)
	b.do("POST", at+"/acknowledge", b.token(b.a.org, domain.RoleViewer), "").problem(t, 403, "forbidden")
	b.do("POST", at+"/acknowledge", b.token(b.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	b.refuses("POST", at+"/acknowledge", operator, []wrongBody{
		{"a long reason", `{"reason":"` + strings.Repeat("x", 501) + `"}`, "body.reason", "500"},
		{"a field that is not there", `{"by":"ann"}`, "body.by", ""},
	})
	var first, second domain.Alert
	b.do("POST", at+"/acknowledge", operator, `{"reason":"the vendor is told"}`).into(t, &first)
	b.do("POST", at+"/acknowledge", operator, "").into(t, &second)
	if first.State != domain.AlertAcknowledged || first.AcknowledgedBy == "" || second.Version != first.Version {
		t.Errorf("%+v, then %+v", first, second)
	}
	var all struct{ Items []domain.Alert }
	for query, want := range map[string]int{"?state=acknowledged": 1, "?state=open": 0, "?target=" + string(b.a.integration): 1, "?target=plain": 0} {
		b.do("GET", "/v1/alerts"+query, operator, "").into(t, &all)
		if len(all.Items) != want {
			t.Errorf("%s lists %d", query, len(all.Items))
		}
	}
	b.do("GET", "/v1/alerts?state=asleep", operator, "").problem(t, 422, "invalid")
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		a, err := tx.Alert(ctx, b.a.alert)
		if err != nil {
			return err
		}
		a.State, a.ResolvedAt = domain.AlertResolved, &tx.Now
		return tx.SaveAlert(ctx, a, false, "")
	}))
	b.do("POST", at+"/acknowledge", operator, "").problem(t, 409, "conflict")
}
