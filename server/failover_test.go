package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func TestFailoverIsToldAndWishedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	x := b.tenant()
	path := "/v1/integrations/" + string(x.integration) + "/failover"
	operator := b.token(x.org, domain.RoleOperator)
	var got struct {
		Mode, Cause string
		Episodes    []domain.FailoverEpisode
	}
	b.do("GET", path, operator, "").into(t, &got)
	if got.Mode != "usual" || len(got.Episodes) != 0 {
		t.Errorf("%+v", got)
	}
	if res := b.do("POST", path, operator, `{"to":"polling","reason":"the vendor moves"}`); res.status != http.StatusOK {
		t.Fatalf("%d %s", res.status, res.body)
	}
	if len(b.flow.sent) != 1 || b.flow.sent[0].To != contract.FailoverToPolling || !b.flow.sent[0].Hold || b.flow.sent[0].By == "" || b.flow.sent[0].Cause != domain.OverByPerson {
		t.Errorf("sent %+v", b.flow.sent)
	}
	if res := b.do("POST", path, operator, `{"to":"mars"}`); res.status != http.StatusUnprocessableEntity {
		t.Errorf("%d", res.status)
	}
	if res := b.do("POST", path, b.token(b.tenant().org, domain.RoleAdmin), `{"to":"polling"}`); res.status != http.StatusNotFound {
		t.Errorf("a stranger is answered %d", res.status)
	}
}

func TestADrillIsBegunListedAndReported(t *testing.T) {
	t.Parallel()
	b := setup(t)
	x := b.tenant()
	operator := b.token(x.org, domain.RoleOperator)
	var begun struct{ ID, State string }
	res := b.do("POST", "/v1/integrations/"+string(x.integration)+"/drill", operator, `{"reason":"spring"}`)
	if res.status != http.StatusAccepted {
		t.Fatalf("%d %s", res.status, res.body)
	}
	res.into(t, &begun)
	if begun.State != "watching" {
		t.Errorf("%+v", begun)
	}
	if again := b.do("POST", "/v1/integrations/"+string(x.integration)+"/drill", operator, ""); again.status != http.StatusConflict {
		t.Errorf("a second one is answered %d", again.status)
	}
	b.must(b.store.Tenant(t.Context(), x.org, func(ctx context.Context, tx *store.Tx) error {
		d, err := tx.Drill(ctx, domain.DrillID(begun.ID))
		if err != nil {
			return err
		}
		at := d.BeganAt.Add(65 * time.Second)
		d.State, d.NoticedAt, d.NoticedItself, d.MaxLag, d.EndedAt, d.Verdict = domain.DrillDone, &at, true, 12*time.Second, &tx.Now, "nothing was lost"
		return tx.SaveDrill(ctx, d)
	}))
	var report struct {
		State, Verdict string
		Noticed        int `json:"noticed_after_ms"`
		Lag            int `json:"max_lag_ms"`
	}
	b.do("GET", "/v1/drills/"+begun.ID, operator, "").into(t, &report)
	if report.State != "done" || report.Noticed != 65000 || report.Lag != 12000 || report.Verdict == "" {
		t.Errorf("%+v", report)
	}
	if text := string(b.do("GET", "/v1/drills?integration_id="+string(x.integration), operator, "").body); !strings.Contains(text, begun.ID) {
		t.Error(text)
	}
	if res := b.do("GET", "/v1/drills/"+begun.ID, b.token(b.tenant().org, domain.RoleAdmin), ""); res.status != http.StatusNotFound {
		t.Errorf("a stranger is answered %d", res.status)
	}
}

func TestTheScheduleOfDrillsIsSetAndEnded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	x := b.tenant()
	admin := b.token(x.org, domain.RoleAdmin)
	for _, days := range []string{"30", "0"} {
		if res := b.do("PUT", "/v1/drill-schedule", admin, `{"every_days":`+days+`}`); res.status != http.StatusOK {
			t.Fatalf("%d %s", res.status, res.body)
		}
		text := string(b.do("GET", "/v1/drill-schedule", admin, "").body)
		if !strings.Contains(text, `"every_days":`+days) || strings.Contains(text, "next_at") != (days != "0") {
			t.Error(text)
		}
	}
	if res := b.do("PUT", "/v1/drill-schedule", admin, `{"every_days":400}`); res.status != http.StatusUnprocessableEntity {
		t.Errorf("%d", res.status)
	}
}
