package server

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func TestThePageOfAnIntegrationTellsOfDrillsEpisodesAndMaintenance(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/integrations/" + string(b.a.integration)
	viewer := b.signIn(domain.RoleViewer)
	if !strings.Contains(viewer.page, `href="`+path+`"`) {
		t.Error("the dashboard does not lead to it")
	}
	viewer.has(viewer.open(path), []string{"<h1>Studio CRM</h1>", "As usual", "It was never exercised.", "Quick polls never had to stand in.", "No window covers it."},
		[]string{"<form method=\"post\" action=\"/do/", "Begin a drill"})
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		began := tx.Now.Add(-time.Hour)
		drill := domain.Drill{ID: domain.NewID[domain.DrillID](tx.Now), IntegrationID: b.a.integration, State: domain.DrillWatching, RequestedBy: "pia", BeganAt: began,
			WatchUntil: began.Add(5 * time.Minute), MutedUntil: began.Add(15 * time.Minute)}
		if err := tx.CreateDrill(ctx, drill); err != nil {
			return err
		}
		noticed, ended := tx.Now.Add(65*time.Second), tx.Now.Add(9*time.Minute) // it begins when it is stored
		drill.State, drill.NoticedAt, drill.EndedAt, drill.Lost, drill.Verdict, drill.MaxLag = domain.DrillFailed, &noticed, &ended, 2, "two entries were <lost>", 40*time.Second
		if err := tx.SaveDrill(ctx, drill); err != nil {
			return err
		}
		e := domain.FailoverEpisode{ID: domain.NewID[domain.EpisodeID](tx.Now), IntegrationID: b.a.integration, Provider: "plain", Kind: domain.EpisodeFailover, Cause: domain.OverSilent,
			Reason: "nothing for 20 min", By: "system:monitor", BeganAt: began}
		if err := tx.BeginEpisode(ctx, e); err != nil {
			return err
		}
		if _, err := tx.EndEpisode(ctx, e.ID); err != nil {
			return err
		}
		_, err := tx.SaveMaintenance(ctx, domain.Maintenance{ID: domain.NewID[domain.MaintenanceID](tx.Now), Scopes: []domain.Scope{{Kind: domain.ScopePlatform, Target: "plain"}},
			StartsAt: tx.Now.Add(240 * time.Hour), EndsAt: tx.Now.Add(241 * time.Hour), State: domain.MaintenanceProposed, Approval: domain.ApprovalByPerson, Reason: "a new server",
			RequestedBy: "pia"}, true, "")
		return err
	}))
	viewer.has(viewer.open(path), []string{"Failed", "Two entries were &lt;lost&gt;", "1 min 5 s", "not by itself", "40 s", "Quick polls stood in", "Webhooks were silent", "nothing for 20 min", "1 h 0 min",
		"Waits for approval", "a new server"}, []string{"<lost>", "It was never exercised."})
	foreign := header("Cookie", "wedsync="+b.token(b.b.org, domain.RoleAdmin))
	for _, of := range []string{path, "/integrations/no-uuid"} {
		if got := b.do("GET", of, "", "", foreign); got.status != http.StatusNotFound {
			t.Errorf("%s for a stranger: %d", of, got.status)
		}
	}
}

func TestTheButtonsOfAnIntegrationLeadBackToItsPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/integrations/" + string(b.a.integration)
	w := b.signIn(domain.RoleOperator)
	w.has(w.open(path), []string{">Pause", "Full resync", "Begin a drill", "Let quick polls stand in"}, nil)
	back := func(action string, form url.Values, done string) {
		t.Helper()
		form.Set("from", "integration")
		if got := w.post("/do"+path+"/"+action, form); got.status != http.StatusSeeOther || got.header.Get("Location") != path+"?done="+done {
			t.Errorf("%s: %d to %q, %s", action, got.status, got.header.Get("Location"), got.body)
		}
	}
	back("pause", url.Values{}, "pause")
	back("resume", url.Values{}, "resume")
	back("failover", url.Values{"to": {"polling"}, "reason": {"the vendor moves"}}, "polling")
	back("drill", url.Values{"reason": {"spring"}}, "drill")
	w.has(w.open(path+"?done=drill"), []string{"The drill has begun.", "it is waited that somebody notices"}, []string{"Begin a drill"})
	again := w.post("/do"+path+"/drill", url.Values{"from": {"integration"}})
	if again.status != http.StatusConflict {
		t.Errorf("a second drill: %d", again.status)
	}
	w.has(string(again.body), []string{"That did not work.", "Recovery drills"}, nil)
	if got := w.post("/do"+path+"/failover", url.Values{"to": {"mars"}}); got.status != http.StatusBadRequest {
		t.Errorf("over to Mars: %d", got.status)
	}
	if got := w.post("/do"+path+"/pause", url.Values{"from": {"//evil.example"}}); got.status != http.StatusSeeOther || got.header.Get("Location") != "/?done=pause" {
		t.Errorf("a page of others: %d to %q", got.status, got.header.Get("Location"))
	}
	viewer := b.signIn(domain.RoleViewer)
	for _, action := range []string{"drill", "failover", "pause", "resync"} {
		if got := viewer.post("/do"+path+"/"+action, url.Values{"to": {"polling"}}); got.status != http.StatusForbidden {
			t.Errorf("a viewer's %s: %d", action, got.status)
		}
	}
	stranger := "/do/integrations/" + string(b.b.integration)
	for _, action := range []string{"drill", "failover", "resync"} {
		if got := w.post(stranger+"/"+action, url.Values{"to": {"polling"}, "from": {"integration"}}); got.status != http.StatusNotFound {
			t.Errorf("%s of another organisation: %d", action, got.status)
		}
	}
	b.flow.mu.Lock()
	defer b.flow.mu.Unlock()
	if len(b.flow.sent) != 1 || b.flow.sent[0].To != contract.FailoverToPolling || b.flow.sent[0].Cause != domain.OverByPerson {
		t.Errorf("sent %+v", b.flow.sent)
	}
}

func TestEveryCauseAndStateOfFailingOverHasWords(t *testing.T) {
	t.Parallel()
	for _, c := range []domain.FailoverCause{domain.OverSilent, domain.OverWatch, domain.OverUnannounced, domain.OverByPerson, domain.OverWeddingDay, domain.OverDrill,
		domain.BackHeardAgain, domain.BackRepaired, domain.BackRefused, domain.OverOutage, domain.OverReconnected} {
		if causeWords[c] == "" {
			t.Errorf("%s has none", c)
		}
	}
	for s, want := range map[domain.DrillState]string{domain.DrillDone: "Passed", domain.DrillFailed: "Failed", domain.DrillCancelled: "Called off"} {
		if got := drillMark(s); got.Word != want || got.Shape == "" {
			t.Errorf("%s is shown as %+v", s, got)
		}
	}
}
