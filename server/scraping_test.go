package server

import (
	"context"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func TestAConsentIsGivenListedWithdrawnAndOnTheTrail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	path := "/v1/integrations/" + string(b.a.integration) + "/scrape-consents"
	b.do("POST", path, admin, `{"origin":"https://portal.example.com","agreed":false}`).problem(t, 422, "invalid")
	var made domain.ScrapeConsent
	for range 2 { // the second changes nothing
		got := b.do("POST", path, admin, `{"origin":"https://portal.example.com","agreed":true,"reason":"asked"}`)
		if got.status != 201 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		got.into(t, &made)
	}
	var all struct{ Items []domain.ScrapeConsent }
	b.do("GET", path, admin, "").into(t, &all)
	if len(all.Items) != 1 || all.Items[0].ID != made.ID || all.Items[0].GivenBy == "" || all.Items[0].GivenAt.IsZero() {
		t.Errorf("listed %+v", all.Items)
	}
	for range 2 {
		if got := b.do("DELETE", path+"/"+string(made.ID)+"?reason=enough", admin, ""); got.status != 204 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	var trail struct{ Items []domain.AuditEntry }
	b.do("GET", "/v1/audit?limit=10", admin, "").into(t, &trail)
	said := ""
	for _, e := range trail.Items {
		said += e.Action + "/" + e.Reason + " "
	}
	if strings.Count(said, "scrape.consent/asked ") != 1 || strings.Count(said, "scrape.withdraw/enough ") != 1 {
		t.Errorf("the trail says %s", said)
	}
	b.do("POST", strings.Replace(path, string(b.a.integration), string(b.b.integration), 1), admin, `{"origin":"https://portal.example.com","agreed":true}`).problem(t, 404, "not_found")
}

func TestAConsentCanBeGivenWithTheIntegrationThatItIsFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	create := func(consent string) reply {
		return b.do("POST", "/v1/integrations", admin, `{"name":"Pages","provider":"plain","direction":"import","resource_id":"`+string(b.a.resource)+
			`","settings":{"a":1},"secrets":{"key":"k"},"reason":"asked the owner","pages_consent":`+consent+`}`)
	}
	create(`{"origin":"https://portal.example.com","agreed":false}`).problem(t, 422, "invalid")
	create(`{"origin":"","agreed":true}`).problem(t, 422, "invalid")
	created := create(`{"origin":"https://portal.example.com","agreed":true}`)
	if created.status != 201 {
		t.Fatalf("%d %s", created.status, created.body)
	}
	var i domain.Integration
	created.into(t, &i)
	var all struct{ Items []domain.ScrapeConsent }
	b.do("GET", "/v1/integrations/"+string(i.ID)+"/scrape-consents", admin, "").into(t, &all)
	if len(all.Items) != 1 || all.Items[0].Origin != "https://portal.example.com" || all.Items[0].GivenBy == "" || all.Items[0].WithdrawnAt != nil {
		t.Errorf("listed %+v", all.Items)
	}
	if e := b.lastAction(b.a, "scrape.consent"); e.Reason != "asked the owner" || e.Subject != "integration/"+string(i.ID) {
		t.Errorf("the trail says %+v", e)
	}
}

func TestSnapshotsAreForAdminsOfTheirOrganisation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var kept domain.Snapshot
	err := b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) (err error) {
		kept, err = tx.KeepSnapshot(ctx, domain.Snapshot{IntegrationID: b.a.integration, Kind: domain.KindDrift, Report: "rows are missing"}, []byte("<table></table>"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/integrations/" + string(b.a.integration) + "/snapshots"
	var all struct{ Items []domain.Snapshot }
	b.do("GET", path, b.token(b.a.org, domain.RoleAdmin), "").into(t, &all)
	if len(all.Items) != 1 || all.Items[0].Report != "rows are missing" || all.Items[0].Kind != domain.KindDrift {
		t.Errorf("listed %+v", all.Items)
	}
	var one struct {
		domain.Snapshot
		Page string
	}
	b.do("GET", path+"/"+string(kept.ID), b.token(b.a.org, domain.RoleAdmin), "").into(t, &one)
	if one.ID != kept.ID || one.Page != "<table></table>" {
		t.Errorf("read %+v", one)
	}
	b.do("GET", path+"/"+string(kept.ID), b.token(b.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")
	b.do("GET", path, b.token(b.a.org, domain.RoleOperator), "").problem(t, 403, "forbidden")
}
