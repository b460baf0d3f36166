package server

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// careFor stores the care for a wedding within its freeze, with a preflight, a line of its log and a report.
func careFor(ctx context.Context, tx *store.Tx, wedding domain.BookingID, resource domain.ResourceID) error {
	now := tx.Now
	p := domain.Preflight{ID: domain.NewID[domain.PreflightID](now), BookingID: wedding, Kind: domain.PreflightFreeze, State: domain.CheckBlocking, Start: now.Add(30 * time.Hour),
		MadeAt: now, By: "system:wedding", Checks: []domain.Check{
			{Kind: domain.CheckAnswers, State: domain.CheckBlocking, Name: "Studio <calendar>", Reason: "it did not answer, twice", Do: "See whether the system itself works."},
			{Kind: domain.CheckConfirmed, State: domain.CheckOK, Reason: "the booking is confirmed"}}}
	c := domain.WeddingCare{BookingID: wedding, ResourceID: resource, State: domain.CareFrozen, StartsAt: now.Add(30 * time.Hour), EndsAt: now.Add(38 * time.Hour), Zone: "Europe/Berlin",
		Date: "2027-06-12", PreflightWeek: now.Add(-4 * 24 * time.Hour), PreflightFreeze: now.Add(-18 * time.Hour), FreezeFrom: now.Add(-18 * time.Hour), DayFrom: now.Add(-time.Hour),
		DayUntil: now.Add(48 * time.Hour), Preflight: p.State, PreflightAt: &now, PreflightID: p.ID, NextAt: now.Add(time.Hour)}
	if err := tx.SaveWeddingCare(ctx, c); err != nil {
		return err
	}
	if err := tx.SavePreflight(ctx, p); err != nil {
		return err
	}
	if _, err := tx.AddWeddingNotes(ctx, wedding, []domain.WeddingNote{{At: now, Kind: domain.NoteHealth, Bad: true, Subject: "integration/x", Text: "Studio calendar is down", Key: "health/1"}}); err != nil {
		return err
	}
	return tx.SaveHandOver(ctx, domain.HandOver{BookingID: wedding, DayFrom: c.DayFrom, DayUntil: c.DayUntil, Zone: c.Zone, MadeAt: now, Summary: "One thing failed on the day.",
		Failures: []domain.DayFailure{{Subject: "integration/x", Name: "Studio calendar", What: "it was down", NoticedAt: now.Add(-90 * time.Second), OverAt: &now, Done: []string{"people were told"}}},
		Open:     []domain.DayLeft{{Subject: "conflict/x", What: "a conflict is open", Do: "Decide it on the dashboard."}}, Log: []domain.WeddingNote{}})
}

func TestTheCareForAWeddingIsReadAndAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator, viewer := b.token(b.a.org, domain.RoleOperator), b.token(b.a.org, domain.RoleViewer)
	path := "/v1/weddings/" + string(b.a.booking)
	var listed struct{ Items []domain.WeddingCare }
	b.do("GET", "/v1/weddings?open=true&state=frozen", viewer, "").into(t, &listed)
	if len(listed.Items) != 1 || listed.Items[0].BookingID != b.a.booking || listed.Items[0].Preflight != domain.CheckBlocking {
		t.Errorf("%+v", listed)
	}
	b.do("GET", "/v1/weddings?to=2001-01-01T00:00:00Z", viewer, "").into(t, &listed)
	if len(listed.Items) != 0 {
		t.Errorf("before the first: %+v", listed)
	}
	b.do("GET", "/v1/weddings?state=cake", viewer, "").problem(t, 422, "invalid")
	var one struct {
		State    domain.CareState
		WantedBy string            `json:"wanted_by"`
		Newest   *domain.Preflight `json:"newest_preflight"`
		HandOver *struct {
			Summary  string
			Failures []struct {
				Name   string
				Lasted int64 `json:"lasted_seconds"`
			}
		}
	}
	b.do("GET", path, viewer, "").into(t, &one)
	if one.State != domain.CareFrozen || one.Newest == nil || len(one.Newest.Checks) != 2 || one.HandOver == nil || len(one.HandOver.Failures) != 1 || one.HandOver.Failures[0].Lasted != 90 {
		t.Errorf("%+v", one)
	}
	b.do("POST", path+"/preflight", viewer, "").problem(t, 403, "forbidden")
	if got := b.do("POST", path+"/preflight", operator, `{"reason":"the florist asked"}`); got.status != 202 {
		t.Fatalf("asked: %d %s", got.status, got.body)
	}
	b.do("GET", path, viewer, "").into(t, &one)
	if one.WantedBy == "" {
		t.Errorf("nobody waits: %+v", one)
	}
	var lines int
	err := b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM outbox WHERE kind = 'wedding' AND target_id = $1", b.a.booking).Scan(&lines)
	})
	if err != nil || lines == 0 {
		t.Errorf("its workflow is told %d times, %v", lines, err)
	}
	foreign := b.token(b.b.org, domain.RoleAdmin)
	for _, p := range []string{path, path + "/preflights", path + "/log", path + "/handover", "/v1/weddings/nonsense"} {
		b.do("GET", p, foreign, "").problem(t, 404, "not_found")
	}
	b.do("POST", path+"/preflight", foreign, "").problem(t, 404, "not_found")
	var log struct{ Items []domain.WeddingNote }
	b.do("GET", path+"/log", viewer, "").into(t, &log)
	if len(log.Items) != 1 || !log.Items[0].Bad {
		t.Errorf("%+v", log)
	}
}

func TestAPlannerReadsTheCareForAWeddingInABrowser(t *testing.T) {
	t.Parallel()
	b := setup(t)
	raw := b.token(b.a.org, domain.RoleOperator)
	cookie := header("Cookie", "wedsync="+raw)
	list := b.do("GET", "/weddings", "", "", cookie)
	if list.status != 200 || !strings.Contains(string(list.body), "/weddings/"+string(b.a.booking)) || !strings.Contains(string(list.body), "Frozen: nothing risky happens by itself") {
		t.Errorf("%d %s", list.status, list.body)
	}
	page := b.do("GET", "/weddings/"+string(b.a.booking), "", "", cookie)
	for _, part := range []string{"One thing puts the wedding in danger.", "Studio &lt;calendar&gt;", "It did not answer, twice.", "See whether the system itself works.", "One thing failed on the day.",
		"over ", "Decide it on the dashboard.", "Studio calendar is down", "Check everything now"} {
		if !strings.Contains(string(page.body), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	form := url.Values{"csrf": {csrfToken(raw)}}.Encode()
	kind := header("Content-Type", "application/x-www-form-urlencoded")
	if got := b.do("POST", "/do/weddings/"+string(b.a.booking)+"/preflight", "", form, cookie, kind); got.status != 303 || !strings.HasSuffix(got.header.Get("Location"), string(b.a.booking)) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if page := b.do("GET", "/weddings/"+string(b.a.booking), "", "", cookie); !strings.Contains(string(page.body), "being checked now") {
		t.Error("the page does not say that it is being checked")
	}
	viewer := header("Cookie", "wedsync="+b.token(b.a.org, domain.RoleViewer))
	if page := b.do("GET", "/weddings/"+string(b.a.booking), "", "", viewer); page.status != 200 || strings.Contains(string(page.body), "Check everything now") {
		t.Errorf("a viewer: %d", page.status)
	}
}

func TestMetricsOfWeddingsHaveFewLabels(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reg := prometheus.NewRegistry()
	b.must(reg.Register(NewWeddingCollector(b.store.CareTotals, time.Now, b.server.log)))
	families, err := reg.Gather()
	b.must(err)
	series := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) != 1 {
				t.Errorf("%s has labels %v", f.GetName(), m.GetLabel())
			}
			series[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	// Both organisations of the fixture have one.
	if len(series) != len(domain.CareStates())+3 || series["wedsync_wedding_preflights blocking"] != 2 || series["wedsync_weddings frozen"] != 2 || series["wedsync_weddings day"] != 0 {
		t.Errorf("%v", series)
	}
}
