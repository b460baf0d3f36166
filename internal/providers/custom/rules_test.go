package custom

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

const (
	routeA = "01890000-0000-7000-8000-00000000000a"
	routeB = "01890000-0000-7000-8000-00000000000b"
)

// hookPart makes settings of a webhook with a simple mapping and further members of the webhook part.
func hookPart(t testing.TB, more map[string]any) json.RawMessage {
	t.Helper()
	hook := map[string]any{"verify": map[string]string{"scheme": "standard-webhooks"}, "mapping": map[string]string{
		"external_id": "string(item.id)", "category": "'wedding'", "start": "item.start", "end": "item.end"}}
	for k, v := range more {
		hook[k] = v
	}
	b, err := json.Marshal(map[string]any{"webhook": hook})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type obj = map[string]any

func decodeWith(t testing.TB, settings json.RawMessage, body string, header http.Header) (provider.Decoded, error) {
	t.Helper()
	return openHooks(t, settings, time.UTC).Decode(t.Context(), provider.Webhook{Header: header, Body: []byte(body), ReceivedAt: received})
}

const entry = `"id":"e1","start":"2027-06-05T14:00:00Z","end":"2027-06-05T18:00:00Z"`

func TestRulesAreAskedInOrder(t *testing.T) {
	t.Parallel()
	settings := hookPart(t, obj{"event_type": "body.?type", "rules": []obj{
		{"name": "tests", "when": "body.?test", "drop": obj{"reason": "a test of the vendor"}},
		{"name": "hotel too", "when": "body.?type.orValue('').startsWith('hotel.')", "route": []string{routeA}, "keep": true},
		{"name": "hotel again", "when": "body.?type.orValue('') == 'hotel.room'", "route": []string{routeA, routeB}, "keep": true},
		{"name": "travel", "when": "headers['x-kind'] == 'travel'", "route": []string{routeB}},
		{"name": "late drop", "when": "body.?late", "drop": obj{"reason": "never reached for travel"}},
	}})
	for _, c := range []struct {
		name, body, kind string
		want             provider.Decoded
	}{
		{"no rule applies", `{` + entry + `}`, "x", provider.Decoded{}},
		{"dropped before anything else", `{"test":true,"type":"hotel.room"}`, "travel", provider.Decoded{Ignore: `dropped by rule "tests": a test of the vendor`, EventType: "hotel.room"}},
		{"routed and kept", `{"type":"hotel.day",` + entry + `}`, "x", provider.Decoded{Route: []domain.IntegrationID{routeA}, EventType: "hotel.day"}},
		{"two routes name each target once", `{"type":"hotel.room",` + entry + `}`, "x", provider.Decoded{Route: []domain.IntegrationID{routeA, routeB}, EventType: "hotel.room"}},
		{"routed away", `{"late":true}`, "travel", provider.Decoded{Ignore: `routed by rule "travel": it is for other integrations`, Route: []domain.IntegrationID{routeB}}},
		{"a route that keeps and a drop", `{"type":"hotel.day","late":true}`, "x",
			provider.Decoded{Ignore: `dropped by rule "late drop": never reached for travel`, Route: []domain.IntegrationID{routeA}, EventType: "hotel.day"}},
		{"null is false", `{"test":null,` + entry + `}`, "x", provider.Decoded{}},
	} {
		got, err := decodeWith(t, settings, c.body, http.Header{"X-Kind": {c.kind}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.want.Ignore == "" && len(got.Changes) != 1 || c.want.Ignore != "" && len(got.Changes) != 0 {
			t.Errorf("%s: %d changes", c.name, len(got.Changes))
		}
		got.Changes = nil
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
	}
	if keep := openHooks(t, settings, time.UTC).Intake(); !cmp.Equal(keep.KeepHeaders, []string{"X-Kind"}) || keep.Priority != nil {
		t.Errorf("keeps %v, priority set: %t", keep.KeepHeaders, keep.Priority != nil)
	}
}

func TestRuleThatCannotBeEvaluatedMakesTheDeliveryInvalid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ when, body, text string }{
		"missing member": {"body.kind == 'x'", `{"name":"Marigold"}`, `rule "r": when: the expression needs "kind", which is not there`},
		"wrong type":     {"body.kind", `{"kind":"Marigold"}`, `rule "r": when: must be true or false, is a text`},
		"too much work":  {"body.l.exists(a, body.l.exists(b, body.l.exists(c, a + b + c < 0)))", `{"l":[` + strings.Repeat("1,", 999) + `1]}`, `rule "r": when: the expression does more work than allowed`},
	} {
		got, err := decodeWith(t, hookPart(t, obj{"rules": []obj{{"name": "r", "when": c.when, "drop": obj{"reason": "x"}}}}), c.body, nil)
		if domain.KindOf(err) != domain.KindInvalid || err.Error() != c.text || len(got.Changes)+len(got.Route) != 0 {
			t.Errorf("%s: %v and %+v", name, err, got)
		}
	}
}

func TestPriorityIsThatOfTheFirstRuleThatSetsOne(t *testing.T) {
	t.Parallel()
	in := openHooks(t, hookPart(t, obj{"rules": []obj{
		{"name": "noise", "when": "body.?noise", "drop": obj{"reason": "noise"}},
		{"name": "soon", "when": "body.?soon", "priority": "urgent"},
		{"name": "away", "when": "body.?away", "route": []string{routeA}},
		{"name": "import", "when": "headers['x-import'] == '1'", "priority": "bulk"},
	}}), time.UTC).Intake()
	imported := http.Header{"X-Import": {"1"}}
	for _, c := range []struct {
		name, body string
		header     http.Header
		want       domain.Priority
		set        bool
	}{
		{"first wins", `{"soon":true}`, imported, domain.PriorityUrgent, true},
		{"by a header", `{}`, imported, domain.PriorityBulk, true},
		{"none", `{}`, http.Header{"X-Import": {"0"}}, 0, false},
		{"dropped has none", `{"noise":true,"soon":true}`, imported, 0, false},
		{"routed away keeps what was said before", `{"away":true}`, imported, 0, false},
		{"no JSON", `{`, imported, 0, false},
		{"a rule that fails", `{"soon":"yes"}`, imported, 0, false},
		{"too large", `{"soon":true,"x":"` + strings.Repeat("x", priorityBody) + `"}`, imported, 0, false},
	} {
		if got, set := in.Priority(c.header, []byte(c.body)); got != c.want || set != c.set {
			t.Errorf("%s: %v %t, want %v %t", c.name, got, set, c.want, c.set)
		}
	}
}

func TestWrongRulesAreRefusedWithTheirNameAndPlace(t *testing.T) {
	t.Parallel()
	drop := obj{"reason": "x"}
	for _, c := range []struct {
		name  string
		rules any
		field string
		text  string
	}{
		{"syntax", []obj{{"name": "a b", "when": "body.x ==", "drop": drop}}, "settings.webhook.rules[0].when", `rule "a b": line 1, column 10: Syntax error`},
		{"second rule", []obj{{"name": "a", "when": "true", "drop": drop}, {"name": "b", "when": "body.x &&\n  nope", "drop": drop}}, "settings.webhook.rules[1].when", `rule "b": line 2, column 3: undeclared reference to 'nope'`},
		{"no bool", []obj{{"name": "a", "when": "'x'", "drop": drop}}, "settings.webhook.rules[0].when", "gives a text, must give true or false"},
		{"item is not there yet", []obj{{"name": "a", "when": "item.x", "drop": drop}}, "settings.webhook.rules[0].when", "undeclared reference to 'item'"},
		{"no condition", []obj{{"name": "a", "drop": drop}}, "settings.webhook.rules[0].when", "the expression is empty"},
		{"no name", []obj{{"when": "true", "drop": drop}}, "settings.webhook.rules[0].name", "1 to 60"},
		{"same name", []obj{{"name": "a", "when": "true", "drop": drop}, {"name": "a", "when": "true", "drop": drop}}, "settings.webhook.rules[1].name", "two rules"},
		{"nothing to do", []obj{{"name": "a", "when": "true"}}, "settings.webhook.rules[0]", "exactly one of drop, route and priority"},
		{"two things to do", []obj{{"name": "a", "when": "true", "drop": drop, "priority": "high"}}, "settings.webhook.rules[0]", "exactly one"},
		{"no reason", []obj{{"name": "a", "when": "true", "drop": obj{}}}, "settings.webhook.rules[0].drop.reason", "1 to 200"},
		{"no id", []obj{{"name": "a", "when": "true", "route": []string{"b"}}}, "settings.webhook.rules[0].route[0]", "must be the id"},
		{"no target", []obj{{"name": "a", "when": "true", "route": []string{}}}, "settings.webhook.rules[0].route", "1 to 10"},
		{"keep without route", []obj{{"name": "a", "when": "true", "keep": true, "drop": drop}}, "settings.webhook.rules[0].keep", "without route"},
		{"priority", []obj{{"name": "a", "when": "true", "priority": "now"}}, "settings.webhook.rules[0].priority", "urgent, high, normal or bulk"},
		{"unknown member", []obj{{"name": "a", "when": "true", "dorp": drop}}, "settings.webhook.rules[0].dorp", "unknown field"},
		{"too many", make([]obj, 51), "settings.webhook.rules", "at most 50"},
		{"too large an expression", []obj{{"name": "a", "when": "'" + strings.Repeat("x", 5000) + "' == ''", "drop": drop}}, "settings.webhook.rules[0].when", "size"},
		{"too deep an expression", []obj{{"name": "a", "when": strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300), "drop": drop}}, "settings.webhook.rules[0].when", `rule "a": `},
	} {
		err := Validate(hookPart(t, obj{"rules": c.rules}), testSecrets)
		found := false
		for _, line := range strings.Split(errText(err), "\n") {
			found = found || strings.HasPrefix(line, c.field+": ") && strings.Contains(line, c.text)
		}
		if !found || domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: error\n%v\nwant %s: %s", c.name, err, c.field, c.text)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestExplanationTellsEveryStepWithItsPlace(t *testing.T) {
	t.Parallel()
	explain := func(settings json.RawMessage, body string) provider.Explanation {
		e, ok := provider.As[provider.Explainer](openHooks(t, settings, time.UTC))
		if !ok {
			t.Fatal("does not explain")
		}
		return e.Explain(t.Context(), provider.Webhook{Body: []byte(body), ReceivedAt: received})
	}
	good := hookPart(t, obj{"schema": obj{"type": "object"}, "items": "body.list", "rules": []obj{
		{"name": "bulk", "when": "body.list.size() > 1", "priority": "bulk"}, {"name": "no", "when": "body.list.size() > 9", "drop": obj{"reason": "x"}}}})
	got := explain(good, `{"list":[{`+entry+`},{"id":"e2"}]}`)
	var names []string
	for _, s := range got.Steps {
		names = append(names, strings.TrimSpace(s.Name+" "+s.Subject)+": "+s.Result)
	}
	want := []string{"conversion: JSON of 94 bytes: an object with 1 members", "schema: fits", "rule bulk: applies: priority bulk",
		"rule no: does not apply", "items: 2 entries", "entry 1: upsert", "entry 2: failed"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("steps (-want +got)\n%s", diff)
	}
	fault := got.Steps[len(got.Steps)-1].Fault
	if fault == nil || fault.Path != "settings.webhook.mapping.start" || fault.Line != 1 || fault.Column != 5 || got.Err == nil || len(got.Decoded.Changes) != 0 {
		t.Errorf("fault %+v, error %v, %+v", fault, got.Err, got.Decoded)
	}
	if got.Cost == 0 || got.Cost > deliveryCost {
		t.Errorf("cost %d", got.Cost)
	}
	if ok := explain(good, `{"list":[{`+entry+`}]}`); ok.Err != nil || len(ok.Decoded.Changes) != 1 || ok.Priority != 0 {
		t.Errorf("a good delivery: %+v", ok)
	}
	for name, c := range map[string]struct{ settings, body, path, text string }{
		"rule":            {string(hookPart(t, obj{"rules": []obj{{"name": "r", "when": "true &&\n  body.kind == 'x'", "drop": obj{"reason": "x"}}}})), `{}`, "settings.webhook.rules[0].when 2:7", "needs \"kind\""},
		"no JSON":         {string(hookPart(t, nil)), `{"a":`, " 0:0", "ends too early"},
		"type of a value": {string(hookSettings(t, map[string]string{"title": "item.t"})), `{` + entry + `,"t":true}`, "settings.webhook.mapping.title 1:1", "must be a text"},
		"time":            {string(hookPart(t, nil)), `{"id":"e","start":"soon","end":"later"}`, "settings.webhook.mapping.start 1:1", "start"},
	} {
		got := explain(json.RawMessage(c.settings), c.body)
		f := got.Steps[len(got.Steps)-1].Fault
		if f == nil {
			t.Errorf("%s: no fault in %+v", name, got.Steps)
			continue
		}
		if at := f.Path + " " + itoa(f.Line) + ":" + itoa(f.Column); at != c.path || !strings.Contains(f.Text, c.text) {
			t.Errorf("%s: at %q: %s", name, at, f.Text)
		}
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestDecodingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	src := openHooks(t, hookPart(t, obj{"rules": []obj{{"name": "r", "when": "body.l.exists(x, x > 5)", "drop": obj{"reason": "x"}}}}), time.UTC)
	if _, err := src.Decode(ctx, provider.Webhook{Body: []byte(`{"l":[1,2]}`)}); domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("error %v, want KindUnavailable so that it is tried again", err)
	}
}

func TestTrialSettingsTakeThePlaceOfTheWebhookPart(t *testing.T) {
	t.Parallel()
	stored := json.RawMessage(`{"base_url":"https://crm.example","webhook":{"a":1}}`)
	for name, c := range map[string]struct{ given, want string }{
		"part":  {`{"items":"body"}`, `{"base_url":"https://crm.example","webhook":{"items":"body"}}`},
		"whole": {`{"webhook":{"items":"x"}}`, `{"webhook":{"items":"x"}}`},
	} {
		got, err := trial(stored, json.RawMessage(c.given))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
	for _, given := range []string{``, `[]`, `{"a":1,"a":2}`, `{"x":"` + strings.Repeat("x", maxSettings) + `"}`} {
		if _, err := trial(stored, json.RawMessage(given)); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%.20s: error %v", given, err)
		}
	}
}
