package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// onboard changes the newest onboarding of an integration as its workflow would.
func (b *bundle) onboard(x tenant, id string, change func(o *domain.Onboarding)) {
	b.Helper()
	b.must(b.store.Tenant(b.Context(), x.org, func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.ChangeOnboarding(ctx, domain.IntegrationID(id), false, func(o *domain.Onboarding) (bool, error) {
			change(o)
			return true, nil
		})
		return err
	}))
}

// outboxOf counts the lines that wait for an integration.
func (b *bundle) outboxOf(id string) (n int) {
	b.Helper()
	rows, err := b.store.ClaimOutbox(b.Context(), 1000)
	b.must(err)
	var told []int64
	for _, r := range rows {
		told = append(told, r.ID)
		if r.Kind == store.OutboxOnboarding && r.Target == id {
			n++
		}
	}
	b.must(b.store.DeleteOutbox(b.Context(), told))
	return n
}

func TestAnIntegrationIsOnboardedWhereThatIsWished(t *testing.T) {
	t.Parallel()
	b := setup(t, func(d *Deps) {
		d.Onboard = func(context.Context, domain.Integration, map[string]string, string, provider.TokenSource) (json.RawMessage, error) {
			return nil, domain.E(domain.KindUnauthenticated, "not accepted")
		}
	})
	admin, viewer := b.token(b.a.org, domain.RoleAdmin), b.token(b.a.org, domain.RoleViewer)
	body := `{"name":"x","provider":"plain","resource_id":"` + string(b.a.resource) + `","secrets":{"key":"k"}`
	b.do("POST", "/v1/integrations", admin, body+`}`).problem(t, 422, "invalid") // asked at once, as ever
	var made struct{ ID, State string }
	got := b.do("POST", "/v1/integrations", admin, body+`,"onboard":true}`, header("Idempotency-Key", "one"))
	got.into(t, &made)
	if got.status != 201 || made.State != "connecting" || b.outboxOf(made.ID) != 1 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	var again struct{ ID string }
	b.do("POST", "/v1/integrations", admin, body+`,"onboard":true}`, header("Idempotency-Key", "one")).into(t, &again)
	if again.ID != made.ID {
		t.Errorf("the same key made %s and %s", made.ID, again.ID)
	}
	path := "/v1/integrations/" + made.ID
	var v onboardingView
	read := func() {
		t.Helper()
		v = onboardingView{}
		if got := b.do("GET", path+"/onboarding", viewer, ""); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		} else {
			got.into(t, &v)
		}
	}
	if read(); v.State != domain.OnboardingRunning || len(v.Steps) != 6 || v.IntegrationState != domain.IntegrationConnecting || v.Attempt != 1 || v.RequestedBy != "admin@example.test" {
		t.Errorf("begun as %+v", v)
	}
	// Begun once; pausing, resuming and resyncing are the onboarding's meanwhile, and a first reading is shown with its progress.
	if got := b.do("POST", path+"/onboarding", admin, ""); got.status != 202 || b.outboxOf(made.ID) != 0 {
		t.Errorf("begun twice: %d %s", got.status, got.body)
	}
	run := domain.NewID[domain.SyncRunID](b.server.now())
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: run, IntegrationID: domain.IntegrationID(made.ID), RequestedBy: "onboarding"})
		return err
	}))
	b.onboard(b.a, made.ID, func(o *domain.Onboarding) {
		o.RunID = run
		o.Move(domain.OnboardFirstSync, domain.OnboardStepRunning, "", b.server.now())
	})
	if read(); v.Step != domain.OnboardFirstSync || v.Sync == nil || v.Sync.ID != run || v.Progress == nil || v.Next != "" {
		t.Errorf("while it reads: %+v", v)
	}
	// Refused: it waits, and goes on with other secrets, which nobody is asked about before.
	wait := func(kind domain.ErrorKind) {
		b.onboard(b.a, made.ID, func(o *domain.Onboarding) {
			now := b.server.now()
			o.State, o.FaultKind, o.Fault, o.WaitingSince = domain.OnboardingWaiting, kind, "no such word", &now
			o.Move(domain.OnboardCredentials, domain.OnboardStepFailed, "", now)
		})
	}
	for kind, next := range map[domain.ErrorKind]string{domain.KindUnauthenticated: "PATCH", domain.KindConflict: "allow_duplicate", domain.KindUnavailable: "by itself", domain.KindInvalid: "settings"} {
		wait(kind)
		if read(); !strings.Contains(v.Next, next) || v.Fault != "no such word" {
			t.Errorf("%s: %+v", kind, v)
		}
	}
	changed := b.do("PATCH", path, admin, `{"secrets":{"key":"other"}}`, header("If-Match", b.do("GET", path, admin, "").header.Get("ETag")))
	if read(); changed.status != 200 || v.State != domain.OnboardingRunning || v.Attempt != 2 || b.outboxOf(made.ID) != 1 {
		t.Errorf("with other secrets: %d %s; %+v", changed.status, changed.body, v)
	}
	renamed := b.do("PATCH", path, admin, `{"name":"y"}`, header("If-Match", changed.header.Get("ETag")))
	if read(); renamed.status != 200 || v.Attempt != 2 {
		t.Errorf("a new name began it anew: %d %+v", renamed.status, v)
	}
	wait(domain.KindConflict)
	if got := b.do("POST", path+"/onboarding/resume", admin, `{"allow_duplicate":true,"reason":"both are ours"}`); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if read(); v.State != domain.OnboardingRunning || !v.AllowDuplicate || v.Attempt != 3 {
		t.Errorf("resumed: %+v", v)
	}
	if e := b.lastAction(b.a, "onboarding.resume"); e.Reason != "both are ours" || e.Subject != "integration/"+made.ID {
		t.Errorf("the trail says %+v", e)
	}
	b.flow.fail(domain.E(domain.KindUnavailable, "Temporal is away"))
	b.do("POST", path+"/onboarding/cancel", admin, "").problem(t, 503, "unavailable")
	b.flow.fail(nil)
	if got := b.do("POST", path+"/onboarding/cancel", admin, ""); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if read(); v.State != domain.OnboardingCancelling {
		t.Errorf("cancelled: %+v", v)
	}
	b.onboard(b.a, made.ID, func(o *domain.Onboarding) { o.End(domain.OnboardingCancelled, b.server.now()) })
	b.do("POST", path+"/onboarding/cancel", admin, "").problem(t, 409, "conflict")
	if read(); !strings.Contains(v.Next, "/onboarding") {
		t.Errorf("ended: %+v", v)
	}
	// Begun anew, and deleted on the way.
	if got := b.do("POST", path+"/onboarding", admin, `{"allow_duplicate":true}`); got.status != 202 || b.outboxOf(made.ID) != 1 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := b.do("DELETE", path, admin, ""); got.status != http.StatusNoContent || b.outboxOf(made.ID) != 1 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if read(); v.State != domain.OnboardingCancelled || v.IntegrationState != domain.IntegrationDeleted {
		t.Errorf("deleted: %+v", v)
	}
}

func TestTheDashboardShowsHowFarConnectingIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	var made struct{ ID string }
	b.do("POST", "/v1/integrations", admin, `{"name":"Newcomer","provider":"plain","onboard":true,"resource_id":"`+string(b.a.resource)+`","secrets":{"key":"k"}}`).into(t, &made)
	b.onboard(b.a, made.ID, func(o *domain.Onboarding) {
		now := b.server.now()
		o.Move(domain.OnboardCredentials, domain.OnboardStepFailed, "", now)
		o.State, o.Fault, o.FaultKind, o.WaitingSince = domain.OnboardingWaiting, "the key is unknown", domain.KindUnauthenticated, &now
	})
	w := b.signIn(domain.RoleAdmin)
	for _, want := range []string{"Being connected", "Connecting: 0 of 6 steps, refused while checking the credentials", "Waits: the key is unknown",
		"/do/integrations/" + made.ID + "/onboard", "/do/integrations/" + made.ID + "/cancel-onboarding"} {
		if !strings.Contains(w.page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got := w.post("/do/integrations/"+made.ID+"/onboard", url.Values{}); got.status != 303 {
		t.Errorf("try again: %d %s", got.status, got.body)
	}
	if w.load(); !strings.Contains(w.page, "Connecting: 0 of 6 steps") || strings.Contains(w.page, "Waits:") {
		t.Error("the page does not show that it goes on")
	}
	operator := b.signIn(domain.RoleOperator)
	if strings.Contains(operator.page, "cancel-onboarding") {
		t.Error("an operator sees buttons of admins")
	}
	if got := operator.post("/do/integrations/"+made.ID+"/cancel-onboarding", url.Values{}); got.status != 403 {
		t.Errorf("an operator cancels: %d", got.status)
	}
	if got := w.post("/do/integrations/"+made.ID+"/cancel-onboarding", url.Values{}); got.status != 303 {
		t.Errorf("cancel: %d %s", got.status, got.body)
	}
}
