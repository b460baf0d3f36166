package server

import (
	"net/url"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/honeybook"
)

// relayBundle has a HoneyBook integration of tenant a.
func relayBundle(t *testing.T, settings string, change ...func(*Deps)) (*bundle, domain.IntegrationID) {
	t.Helper()
	b := setup(t, append(change, func(d *Deps) { d.Providers = append(d.Providers, honeybook.Registration) })...)
	var made struct{ ID domain.IntegrationID }
	b.do("POST", "/v1/integrations", b.token(b.a.org, domain.RoleAdmin), `{"name":"HoneyBook","provider":"honeybook","direction":"import","resource_id":"`+string(b.a.resource)+
		`","settings":`+settings+`,"secrets":{"webhook_secret":"relay-key-5be0a1f3"}}`).into(t, &made)
	if made.ID == "" {
		t.Fatal("no integration was made")
	}
	return b, made.ID
}

func TestProvidersSayWhatTheyCannotDo(t *testing.T) {
	t.Parallel()
	b, _ := relayBundle(t, `{}`)
	var got struct {
		Items []struct {
			Name      string
			Mappings  bool
			Limits    []string
			Abilities []struct {
				Name, How string
				Has       bool
			}
		}
	}
	viewer := b.token(b.a.org, domain.RoleViewer)
	b.do("GET", "/v1/providers", viewer, "").into(t, &got)
	for _, p := range got.Items {
		if p.Name != "honeybook" {
			continue
		}
		if !p.Mappings || len(p.Limits) < 4 || len(p.Abilities) != 7 || p.Abilities[0].Name != "list" || p.Abilities[0].Has || !strings.Contains(p.Abilities[0].How, "publishes no API") {
			t.Errorf("HoneyBook is shown as %+v", p)
		}
	}
	var samples struct {
		Items []struct {
			Kind, Title string
			Sample      map[string]string
			Mapping     map[string]string
		}
	}
	b.do("GET", "/v1/providers/honeybook/samples", viewer, "").into(t, &samples)
	if len(samples.Items) != 6 || samples.Items[2].Sample["trigger"] != "project_booked" || samples.Items[2].Mapping["start"] == "" {
		t.Errorf("samples %+v", samples)
	}
	b.do("GET", "/v1/providers/cake/samples", viewer, "").problem(t, 404, "not_found")
	b.do("GET", "/v1/providers/plain/samples", viewer, "").problem(t, 409, "conflict")
}

func TestMappingOfATriggerIsTestedChangedAndTakenBack(t *testing.T) {
	t.Parallel()
	b, id := relayBundle(t, `{"date_order":"dmy"}`)
	admin, operator := b.token(b.a.org, domain.RoleAdmin), b.token(b.a.org, domain.RoleOperator)
	path := "/v1/integrations/" + string(id)
	type tested struct {
		Outcome, Reason string
		EventType       string `json:"event_type"`
		Changes         []domain.Change
	}
	sample := `"sample":{"body":{"trigger":"project_booked","project_id":"7","project_name":"Marigold","project_date":"5/6/2027","day":"2027-07-01"}}`
	var got tested
	b.do("POST", path+"/mapping:test", operator, `{`+sample+`}`).into(t, &got)
	if got.Outcome != "applied" || got.EventType != "project_booked" || got.Changes[0].When.Start.Format("2006-01-02") != "2027-06-04" { // midnight in London
		t.Errorf("the stored mapping: %+v", got)
	}
	other := `"settings":{"triggers":{"project_booked":{"mapping":{"start":"item.day"}}}}`
	b.do("POST", path+"/mapping:test", operator, `{`+other+`,`+sample+`}`).into(t, &got)
	if got.Outcome != "applied" || got.Changes[0].When.Start.Format("2006-01-02") != "2027-06-30" {
		t.Errorf("another mapping: %+v", got)
	}
	b.stored(id, 1, `{"trigger":"project_booked","project_id":"7","project_name":"Marigold","project_date":"5/6/2027","day":"2027-07-01"}`)
	b.stored(id, 2, `{"trigger":"client_created"}`)
	var back struct{ Counts map[string]int }
	b.do("POST", path+"/mapping:backtest", operator, `{`+other+`}`).into(t, &back)
	if back.Counts["changed"] != 1 || back.Counts["same"] != 1 {
		t.Errorf("backtest %+v", back)
	}

	var have struct {
		Version int64
		Fields  []string
		Kinds   []struct {
			Kind    string
			Mapping map[string]string
			Changed []string
		}
	}
	read := func() {
		t.Helper()
		b.do("GET", path+"/mappings", operator, "").into(t, &have)
	}
	if read(); len(have.Kinds) != 6 || len(have.Kinds[2].Changed) != 0 || have.Kinds[2].Mapping["category"] == "" {
		t.Fatalf("mappings %+v", have)
	}
	set := path + "/mappings/project_booked"
	b.do("PUT", set, operator, `{"version":1,"mapping":{}}`).problem(t, 403, "forbidden")
	b.do("PUT", set, admin, `{"mapping":{}}`).problem(t, 428, "version_required")
	b.do("PUT", set, admin, `{"version":99,"mapping":{}}`).problem(t, 409, "conflict")
	b.do("PUT", path+"/mappings/cake", admin, `{"version":1,"mapping":{}}`).problem(t, 422, "invalid")
	if p := b.do("PUT", set, admin, `{"version":1,"mapping":{"start":"itm.day"}}`).problem(t, 422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Field != "settings.triggers.project_booked.mapping.start" {
		t.Errorf("a wrong expression: %+v", p)
	}
	if got := b.do("PUT", set, admin, `{"version":1,"mapping":{"start":"item.day"},"reason":"the step sends it so"}`); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if read(); have.Version != 2 || len(have.Kinds[2].Changed) != 1 || have.Kinds[2].Mapping["start"] != "item.day" {
		t.Errorf("after the change: %+v", have)
	}
	if e := b.lastAction(b.a, "integration.update"); e.Reason != "the step sends it so" {
		t.Errorf("the trail says %+v", e)
	}
	b.do("PUT", set, admin, `{"version":2,"mapping":{}}`)
	if read(); len(have.Kinds[2].Changed) != 0 {
		t.Errorf("taken back: %+v", have.Kinds[2])
	}
	if strings.Contains(b.log.String(), "Marigold") {
		t.Error("a value reached the log")
	}
}

func TestMappingPageShowsSampleMappingAndResultAndSaves(t *testing.T) {
	t.Parallel()
	b, id := relayBundle(t, `{}`)
	w := b.signIn(domain.RoleAdmin)
	page := "/integrations/" + string(id) + "/mapping"
	if !strings.Contains(w.page, `href="`+page+`"`) {
		t.Error("the dashboard does not lead to the mapping")
	}
	open := func(path string) string {
		t.Helper()
		got := w.do("GET", path, "", "", header("Cookie", w.cookie))
		if got.status != 200 {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
		return string(got.body)
	}
	first := open(page + "?kind=project_booked")
	for _, want := range []string{"New Project Booked", "It would be applied.", "project/prj-1001", "Wedding, confirmed", "Sat 5 Jun 2027, all day (Europe/London)", `name="field.start"`,
		"What HoneyBook does not offer", "No public API", `aria-current="page"`} {
		if !strings.Contains(first, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"<script", "style=", "onclick", "https://"} {
		if strings.Contains(first, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	form := func(more url.Values) url.Values {
		out := url.Values{"kind": {"project_booked"}, "version": {"1"}, "do": {"try"},
			"sample": {`{"trigger":"project_booked","project_id":"7","project_name":"<b>Marigold</b>","day":"2027-07-01"}`}, "field.start": {"item.day"}}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	do := "/do" + page
	got := w.post(do, form(nil))
	if body := string(got.body); got.status != 200 || !strings.Contains(body, "Thu 1 Jul 2027") || !strings.Contains(body, "&lt;b&gt;Marigold&lt;/b&gt;") || strings.Contains(body, "<b>Marigold") || !strings.Contains(body, "changed") {
		t.Errorf("tried: %d %s", got.status, body)
	}
	if got = w.post(do, form(url.Values{"sample": {"{"}})); got.status != 200 || !strings.Contains(string(got.body), "It could not be understood.") {
		t.Errorf("a sample that is no JSON: %d %s", got.status, got.body)
	}
	if got = w.post(do, form(url.Values{"do": {"save"}, "field.start": {"itm.day"}})); got.status != 422 || !strings.Contains(string(got.body), "undeclared reference") || !strings.Contains(string(got.body), `aria-invalid="true"`) {
		t.Errorf("a wrong expression is saved: %d %s", got.status, got.body)
	}
	if got = w.post(do, form(url.Values{"do": {"save"}, "version": {"9"}})); got.status != 409 {
		t.Errorf("an old version is saved: %d", got.status)
	}
	if got = w.post(do, form(url.Values{"do": {"save"}, "version": {"soon"}})); got.status != 400 {
		t.Errorf("a version that is none: %d", got.status)
	}
	if got = w.post(do, form(url.Values{"do": {"save"}, "csrf": {"0"}})); got.status != 403 {
		t.Errorf("a form of another session: %d", got.status)
	}
	if got = w.post(do, form(url.Values{"kind": {"cake"}})); got.status != 404 {
		t.Errorf("another kind: %d", got.status)
	}
	if got = w.post(do, form(url.Values{"do": {"save"}, "reason": {"the step sends it so"}})); got.status != 303 || got.header.Get("Location") != page+"?kind=project_booked&done=save" {
		t.Fatalf("saved: %d %s", got.status, got.body)
	}
	if after := open(page + "?kind=project_booked&done=save"); !strings.Contains(after, "The mapping is saved.") || !strings.Contains(after, "item.day") {
		t.Error("the page does not show what was saved")
	}
	operator := b.signIn(domain.RoleOperator)
	if got := operator.do("GET", page, "", "", header("Cookie", operator.cookie)); got.status != 403 || strings.Contains(operator.page, page) {
		t.Errorf("an operator sees the mapping: %d", got.status)
	}
	if strings.Contains(b.log.String(), "Marigold") {
		t.Error("a value reached the log")
	}
}
