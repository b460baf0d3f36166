package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// nextDay is the next such day that is at least ten days ahead, at 02:00 UTC.
func nextDay(day time.Weekday) time.Time {
	at := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 10)
	for at.Weekday() != day {
		at = at.AddDate(0, 0, 1)
	}
	return at.Add(2 * time.Hour)
}

func maintenanceBody(i domain.IntegrationID, starts time.Time) string {
	return fmt.Sprintf(`{"scopes":[{"kind":"integration","target":%q}],"starts_at":%q,"ends_at":%q,"reason":"a new server"}`, i, starts.Format(time.RFC3339),
		starts.Add(2*time.Hour).Format(time.RFC3339))
}

type maintenanceSeen struct {
	domain.Maintenance
	Members []domain.MaintenanceMember
}

func TestAMaintenanceIsProposedApprovedAndCancelled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, operator := b.token(b.a.org, domain.RoleAdmin), b.token(b.a.org, domain.RoleOperator)
	var m maintenanceSeen
	starts := nextDay(time.Wednesday)
	b.do("POST", "/v1/maintenance", operator, maintenanceBody(b.a.integration, starts)).into(t, &m)
	if m.State != domain.MaintenanceProposed || !m.StartsAt.Equal(starts) || m.Approval != domain.ApprovalByPerson || len(m.Members) != 0 {
		t.Fatalf("proposed: %+v", m)
	}
	path := "/v1/maintenance/" + string(m.ID)
	b.do("POST", path+"/approve", operator, `{}`).problem(t, 403, "forbidden")
	b.do("POST", path+"/approve", admin, `{"reason":"a quiet night"}`).into(t, &m)
	if m.State != domain.MaintenanceApproved || m.ApprovedBy == "" {
		t.Errorf("approved: %+v", m)
	}
	b.do("POST", path+"/reschedule", admin, fmt.Sprintf(`{"ends_at":%q,"version":%d}`, starts.Add(3*time.Hour).Format(time.RFC3339), m.Version)).into(t, &m)
	if !m.EndsAt.Equal(starts.Add(3 * time.Hour)) {
		t.Errorf("longer: %+v", m)
	}
	b.do("POST", path+"/reschedule", admin, `{}`).problem(t, 422, "invalid")
	b.do("POST", path+"/reschedule", admin, fmt.Sprintf(`{"ends_at":%q,"version":1}`, starts.Add(4*time.Hour).Format(time.RFC3339))).problem(t, 409, "conflict")
	var open struct{ Items []domain.Maintenance }
	b.do("GET", "/v1/maintenance?open=true", admin, "").into(t, &open)
	if len(open.Items) != 1 || open.Items[0].ID != m.ID {
		t.Errorf("open: %+v", open.Items)
	}
	b.do("POST", path+"/cancel", operator, `{"reason":"not needed"}`).into(t, &m)
	if m.State != domain.MaintenanceCancelled || m.EndedAt == nil {
		t.Errorf("cancelled: %+v", m)
	}
	b.do("POST", path+"/approve", admin, `{}`).problem(t, 409, "conflict")
}

func TestAMaintenanceIsRefusedWhereItIsClosedAndSaysWhy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	saturday := nextDay(time.Saturday)
	p := b.do("POST", "/v1/maintenance", operator, maintenanceBody(b.a.integration, saturday)).problem(t, 409, "conflict")
	if want := "no maintenance on a Saturday"; !strings.Contains(p.Detail, want) {
		t.Errorf("%q does not say %q", p.Detail, want)
	}
	var state struct {
		Open   bool
		Next   *time.Time `json:"next_change"`
		Closed []struct{ Code string }
	}
	b.do("GET", "/v1/maintenance-state?at="+saturday.Add(10*time.Hour).Format(time.RFC3339), operator, "").into(t, &state)
	if state.Open || state.Next == nil || len(state.Closed) == 0 || state.Closed[len(state.Closed)-1].Code != "weekday" {
		t.Errorf("on a Saturday: %+v", state)
	}
	b.do("GET", "/v1/maintenance-state?at=1999-01-01T00:00:00Z", operator, "").problem(t, 422, "invalid")
	b.do("POST", "/v1/maintenance", operator, maintenanceBody(b.b.integration, nextDay(time.Wednesday))).problem(t, 422, "invalid")
	b.do("POST", "/v1/maintenance", operator, maintenanceBody(b.a.integration, time.Now().UTC().Add(-time.Hour))).problem(t, 422, "invalid")
}

func TestTheSameKeyProposesOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator := b.token(b.a.org, domain.RoleOperator)
	var first, second maintenanceSeen
	for _, m := range []*maintenanceSeen{&first, &second} {
		b.do("POST", "/v1/maintenance", operator, maintenanceBody(b.a.integration, nextDay(time.Tuesday)), header("Idempotency-Key", "once")).into(t, m)
	}
	if first.ID == "" || first.ID != second.ID {
		t.Errorf("%s and %s", first.ID, second.ID)
	}
}

func TestTimesForMaintenanceAreProposedWithTheirReasons(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer := b.token(b.a.org, domain.RoleViewer)
	var got struct {
		Items []struct {
			Start, End time.Time
			Score      float64
			Why        []string
		}
	}
	b.do("GET", "/v1/maintenance-proposals?duration_minutes=90&limit=3&integration="+string(b.a.integration), viewer, "").into(t, &got)
	if len(got.Items) == 0 || len(got.Items) > 3 {
		t.Fatalf("%+v", got)
	}
	for n, p := range got.Items {
		if p.End.Sub(p.Start) != 90*time.Minute || p.Start.Before(time.Now().Add(71*time.Hour)) || len(p.Why) == 0 || n > 0 && p.Score > got.Items[n-1].Score {
			t.Errorf("%+v", p)
		}
	}
	b.do("GET", "/v1/maintenance-proposals?platform=nothing", viewer, "").problem(t, 422, "invalid")
	b.do("GET", "/v1/maintenance-proposals?platform=plain&integration="+string(b.a.integration), viewer, "").problem(t, 422, "invalid")
}

func TestSettingsAndAnnouncementsOfMaintenanceAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	var s domain.MaintenanceSettings
	b.do("GET", "/v1/maintenance-settings", admin, "").into(t, &s)
	if s.Version != 0 || s.NoticeMinutes != 72*60 {
		t.Errorf("standard: %+v", s)
	}
	body := `{"approval":"automatic","notice_minutes":60,"announce_minutes":[60,5],"weekdays":[1,2,3],"from_minute":60,"until_minute":300,"when_wedding":"move","version":%d,
		"seasons":[{"from":"05-01","until":"09-30","name":"high season"}]}`
	b.do("PUT", "/v1/maintenance-settings", admin, fmt.Sprintf(body, 0)).into(t, &s)
	if s.Version != 1 || s.Approval != domain.ApprovalAutomatic || len(s.Seasons) != 1 {
		t.Errorf("stored: %+v", s)
	}
	b.do("PUT", "/v1/maintenance-settings", admin, fmt.Sprintf(body, 0)).problem(t, 409, "conflict")
	p := b.do("PUT", "/v1/maintenance-settings", admin, `{"approval":"automatic","notice_minutes":60,"announce_minutes":[],"weekdays":[1],"from_minute":60,"until_minute":300,
		"when_wedding":"move","version":1,"seasons":[{"from":"02-30","until":"03-01","name":"x"}]}`).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "body.seasons[0].from" {
		t.Errorf("a day that does not exist: %+v", p.Errors)
	}
	starts := nextDay(time.Monday)
	var w domain.ProviderWindow
	b.do("POST", "/v1/provider-windows", admin, fmt.Sprintf(`{"provider":"plain","starts_at":%q,"ends_at":%q,"source":"https://status.example.com/7"}`,
		starts.Format(time.RFC3339), starts.Add(time.Hour).Format(time.RFC3339))).into(t, &w)
	b.do("POST", "/v1/provider-windows", admin, fmt.Sprintf(`{"provider":"plain","starts_at":%q,"ends_at":%q,"source":"http://status.example.com/7"}`,
		starts.Format(time.RFC3339), starts.Add(time.Hour).Format(time.RFC3339))).problem(t, 422, "invalid")
	var all struct{ Items []domain.ProviderWindow }
	b.do("GET", "/v1/provider-windows", admin, "").into(t, &all)
	if len(all.Items) != 1 || all.Items[0].ID != w.ID || all.Items[0].Source != "https://status.example.com/7" {
		t.Errorf("%+v", all.Items)
	}
	if got := b.do("DELETE", "/v1/provider-windows/"+string(w.ID), admin, ""); got.status != 204 {
		t.Errorf("forgotten with %d", got.status)
	}
}

func TestAnAnnouncementIsProposedAtOnceAndTakenBackWithIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	var i struct{ Provider string }
	b.do("GET", "/v1/integrations/"+string(b.a.integration), admin, "").into(t, &i)
	starts := nextDay(time.Wednesday)
	var w domain.ProviderWindow
	b.do("POST", "/v1/provider-windows", admin, fmt.Sprintf(`{"provider":%q,"starts_at":%q,"ends_at":%q,"source":"their status page"}`,
		i.Provider, starts.Format(time.RFC3339), starts.Add(time.Hour).Format(time.RFC3339))).into(t, &w)
	if w.MaintenanceID == "" {
		t.Fatalf("nothing was proposed for %+v", w)
	}
	var m maintenanceSeen
	b.do("GET", "/v1/maintenance/"+string(w.MaintenanceID), admin, "").into(t, &m)
	if m.State != domain.MaintenanceProposed || m.RequestedBy != "system:maintenance" || !m.StartsAt.Equal(starts) || !m.EndsAt.Equal(starts.Add(time.Hour)) {
		t.Errorf("%+v", m)
	}
	if got := b.do("DELETE", "/v1/provider-windows/"+string(w.ID), admin, ""); got.status != 204 {
		t.Fatalf("taken back with %d", got.status)
	}
	b.do("GET", "/v1/maintenance/"+string(w.MaintenanceID), admin, "").into(t, &m)
	if m.State != domain.MaintenanceCancelled {
		t.Errorf("it is %s still", m.State)
	}
}

func TestProposingByItselfIsASetting(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	body := `{"approval":"person","notice_minutes":60,"announce_minutes":[60],"weekdays":[1,2,3],"from_minute":0,"until_minute":1440,"when_wedding":"move","version":%d%s}`
	var s domain.MaintenanceSettings
	b.do("GET", "/v1/maintenance-settings", admin, "").into(t, &s)
	if s.ProposeDays != 0 || s.ProposeMinutes != 60 {
		t.Errorf("standard: %+v", s)
	}
	b.do("PUT", "/v1/maintenance-settings", admin, fmt.Sprintf(body, 0, `,"propose_days":30,"propose_minutes":120`)).into(t, &s)
	if s.ProposeDays != 30 || s.ProposeMinutes != 120 {
		t.Errorf("stored: %+v", s)
	}
	// Who does not speak of it does not change it.
	b.do("PUT", "/v1/maintenance-settings", admin, fmt.Sprintf(body, 1, "")).into(t, &s)
	if s.ProposeDays != 30 || s.ProposeMinutes != 120 || s.Version != 2 {
		t.Errorf("not spoken of: %+v", s)
	}
	p := b.do("PUT", "/v1/maintenance-settings", admin, fmt.Sprintf(body, 2, `,"propose_days":3`)).problem(t, 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Field != "body.propose_days" {
		t.Errorf("%+v", p)
	}
}

func TestAConnectionInMaintenanceSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	until := time.Now().UTC().Add(time.Hour).Truncate(time.Second)
	err := b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.HoldWork(ctx, b.a.maintenance, []domain.IntegrationID{b.a.integration}, until, "a maintenance is going on")
	})
	if err != nil {
		t.Fatal(err)
	}
	var i struct {
		State domain.IntegrationState
		Hold  json.RawMessage `json:"work_hold"`
	}
	b.do("GET", "/v1/integrations/"+string(b.a.integration), b.token(b.a.org, domain.RoleViewer), "").into(t, &i)
	if want := fmt.Sprintf(`{"by":%q,"until":%q}`, b.a.maintenance, until.Format(time.RFC3339)); i.State != domain.IntegrationActive || string(i.Hold) != want {
		t.Errorf("%s %s, want %s", i.State, i.Hold, want)
	}
}
