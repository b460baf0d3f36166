package server

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestAMappingIsTriedOverStoredWebhooksBeforeItIsSaved(t *testing.T) {
	t.Parallel()
	b, id := relayBundle(t, `{"date_order":"dmy"}`)
	changed := b.stored(id, 1, `{"trigger":"project_booked","project_id":"7","project_name":"Marigold","project_date":"5/6/2027","day":"2027-07-01"}`)
	broken := b.stored(id, 2, `{"trigger":"project_booked","project_id":"8","project_name":"Marigold","project_date":"6/6/2027"}`)
	alike := b.stored(id, 3, `{"trigger":"client_created"}`)
	w := b.signIn(domain.RoleAdmin)
	page := "/integrations/" + string(id) + "/mapping"
	form := func(more ...string) url.Values {
		out := url.Values{"kind": {"project_booked"}, "version": {"1"}, "do": {"backtest"}, "last": {"10"}, "reason": {"the step sends it so"},
			"sample": {`{"trigger":"project_booked","project_id":"9","project_name":"Rose","day":"2027-07-01"}`}, "field.start": {"item.day"}}
		for n := 0; n < len(more); n += 2 {
			out.Set(more[n], more[n+1])
		}
		return out
	}
	if !strings.Contains(w.open(page), "Try it over these") {
		t.Error("the page offers no trial")
	}
	got := w.post("/do"+page, form())
	if got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	w.has(string(got.body), []string{"3 tried: 2 would be read otherwise, 1 as now.", "Other than now: end, start.", "It could not be understood any more.", "line 1, column ", ".mapping.start", string(changed),
		string(broken), string(alike), "item.day", "the step sends it so", "As now: left alone."}, []string{"Marigold", "<script", "style="})
	if e := b.lastAction(b.a, "integration.backtest"); e.After["last"] != "10" {
		t.Errorf("the trail says %+v", e)
	}
	var i domain.Integration
	b.do("GET", "/v1/integrations/"+string(id), b.token(b.a.org, domain.RoleAdmin), "").into(t, &i)
	if i.Version != 1 {
		t.Errorf("the trial made version %d", i.Version)
	}
	for name, c := range map[string]struct {
		form   url.Values
		status int
		text   string
	}{
		"a wrong expression": {form("field.start", "itm.day"), 422, "undeclared reference"},
		"no number":          {form("last", "all"), 422, "The number of webhooks must be 1 to 1000."},
		"too many":           {form("last", "1001"), 422, "The number of webhooks must be 1 to 1000."},
	} {
		if got := w.post("/do"+page, c.form); got.status != c.status || !strings.Contains(string(got.body), c.text) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	b.server.backtests.Add(backtestsAtOnce)
	if got := w.post("/do"+page, form()); got.status != http.StatusTooManyRequests || !strings.Contains(string(got.body), "are tried over stored deliveries already") {
		t.Errorf("a third at once: %d", got.status)
	}
	b.server.backtests.Add(-backtestsAtOnce)
}

// Laid over the stored settings, an expression that is taken back would stay in effect, and the trial would promise that nothing changes.
func TestAnExpressionThatIsTakenBackIsTriedAsTheProvidersOwn(t *testing.T) {
	t.Parallel()
	b, id := relayBundle(t, `{"triggers":{"project_booked":{"mapping":{"start":"item.day"}}}}`)
	b.stored(id, 1, `{"trigger":"project_booked","project_id":"7","project_name":"Marigold","project_date":"2027-06-05","day":"2027-07-01"}`)
	w := b.signIn(domain.RoleAdmin)
	got := w.post("/do/integrations/"+string(id)+"/mapping", url.Values{"kind": {"project_booked"}, "version": {"1"}, "do": {"backtest"}, "last": {"10"}, "field.start": {""}})
	if got.status != http.StatusOK || !strings.Contains(string(got.body), "1 tried: 1 would be read otherwise, 0 as now.") {
		t.Errorf("%d %s", got.status, got.body)
	}
}
