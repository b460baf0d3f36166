package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/weddingday"
	"github.com/wedsync/wedsync/internal/store"
)

// weddingToday books one of the tenant's people for a wedding that has begun.
func (b *bundle) weddingToday(x tenant) domain.BookingID {
	b.Helper()
	id := domain.NewID[domain.BookingID](time.Now())
	from := time.Now().UTC().Truncate(time.Minute).Add(-time.Hour)
	_, _, err := b.applyManual(b.Context(), x.org, "system:test", ManualChange{ID: id, ResourceID: x.spare, Category: domain.CategoryWedding, Status: domain.StatusConfirmed,
		When: domain.When{Span: domain.Span{Start: from, End: from.Add(8 * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}, Reason: "test"})
	b.must(err)
	return id
}

func (b *bundle) version(x tenant) int64 {
	b.Helper()
	var i domain.Integration
	b.do("GET", "/v1/integrations/"+string(x.integration), b.token(x.org, domain.RoleViewer), "").into(b.T, &i)
	return i.Version
}

// riskyRequest is one that is refused while a wedding is near or on.
type riskyRequest struct {
	name, method, path string
	body               func() string
	field              string
	ok                 int // with an override
}

func (b *bundle) riskyRequests(x tenant) []riskyRequest {
	at := "/v1/integrations/" + string(x.integration)
	text := func(s string) func() string { return func() string { return s } }
	patch := func(part string) func() string {
		return func() string { return fmt.Sprintf(`{"version":%d,%s}`, b.version(x), part) }
	}
	return []riskyRequest{
		{"other settings", "PATCH", at, patch(`"settings":{"page":2}`), "body.settings", 200},
		{"another direction", "PATCH", at, patch(`"direction":"export"`), "body.direction", 200},
		{"another resource", "PATCH", at, patch(`"resource_id":"` + string(x.spare) + `"`), "body.resource_id", 200},
		{"another sync policy", "PATCH", at, patch(`"sync":{"edit_conflicts":"manual"}`), "body.sync", 200},
		{"another guard", "PATCH", at, patch(`"guard":{"removals":100,"percent":100}`), "body.guard", 200},
		{"a reading from the beginning", "POST", at + "/resync", text(`{"full":true}`), "body.full", 202},
		{"a replay of many", "POST", "/v1/replays", text(`{"filter":{},"all":true}`), "body.dry_run", 202},
		{"a replay that goes on", "POST", "/v1/replays/" + string(x.replay) + "/resume", text(""), "id", 200},
		{"a policy for conflicts", "PUT", "/v1/conflict-policies/vendor/consultation", text(`{"rule":"higher_category"}`), "body.rule", 200},
		{"policies for what is open", "POST", "/v1/conflict-policies/apply", text(""), "body", 202},
		{"a shorter freeze", "PUT", "/v1/freeze", text(`{"preflight_days":7,"freeze_hours":12,"version":0}`), "body.freeze_hours", 200},
		{"a purge", "POST", at + "/purge", text(`{}`), "id", 202},
		{"a disconnection", "DELETE", at, text(""), "id", 204},
	}
}

func TestRiskyRequestsAreRefusedOnAWeddingDayUnlessAnAdminOverrides(t *testing.T) {
	t.Parallel()
	b := setup(t)
	wedding := b.weddingToday(b.a)
	admin := b.token(b.a.org, domain.RoleAdmin)
	for n, r := range b.riskyRequests(b.a) {
		p := b.do(r.method, r.path, admin, r.body()).problem(t, http.StatusLocked, "frozen")
		if p.Freeze == nil || p.Freeze.Booking != wedding || !p.Freeze.Until.After(time.Now()) || p.Freeze.Override != "Override-Freeze" || p.Freeze.Zone != "Europe/London" {
			t.Errorf("%s: the problem tells of the freeze %+v", r.name, p.Freeze)
		}
		if len(p.Errors) != 1 || p.Errors[0].Field != r.field {
			t.Errorf("%s: fields %+v, want %s", r.name, p.Errors, r.field)
		}
		b.do(r.method, r.path, admin, r.body(), header("Override-Freeze", "no")).problem(t, http.StatusUnprocessableEntity, "invalid")
		got := b.do(r.method, r.path, admin, r.body(), header("Override-Freeze", "the vendor asked for it"))
		if got.status != r.ok {
			t.Errorf("%s with an override: %d %s, want %d", r.name, got.status, got.body, r.ok)
		}
		if lines := b.overridden(b.a, wedding); lines != n+1 {
			t.Errorf("%s: %d lines on record, want %d", r.name, lines, n+1)
		}
	}
}

// overridden counts the lines of the trail about a wedding whose freeze was overridden.
func (b *bundle) overridden(x tenant, wedding domain.BookingID) (n int) {
	b.Helper()
	b.must(b.store.TenantRead(b.Context(), x.org, func(ctx context.Context, tx *store.Tx) error {
		all, _, err := tx.AuditEntries(ctx, store.Page{Limit: 200})
		n = 0
		for _, e := range all {
			if e.Action == "freeze.override" && e.Subject == "booking/"+string(wedding) && e.Reason == "the vendor asked for it" && e.After["act"] != "" {
				n++
			}
		}
		return err
	}))
	return n
}

func TestAnOperatorCannotOverrideAFreeze(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.weddingToday(b.a)
	operator := b.token(b.a.org, domain.RoleOperator)
	at := "/v1/integrations/" + string(b.a.integration) + "/resync"
	b.do("POST", at, operator, `{"full":true}`, header("Override-Freeze", "the vendor asked for it")).problem(t, http.StatusForbidden, "forbidden")
	b.do("POST", at, operator, `{"full":true}`).problem(t, http.StatusLocked, "frozen")
	if got := b.do("POST", at, operator, `{"full":false}`); got.status != http.StatusAccepted {
		t.Errorf("a reading of what changed: %d %s", got.status, got.body)
	}
	b.flow.mu.Lock()
	defer b.flow.mu.Unlock()
	if n := len(b.flow.resyncs); n != 1 {
		t.Errorf("%d readings were asked for, want the one that is not from the beginning", n)
	}
}

// TestAConnectionThatRanIsFrozenAlsoWhileItIsConnectedAnew: who pauses it and has it connected again comes around no freeze.
func TestAConnectionThatRanIsFrozenAlsoWhileItIsConnectedAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.weddingToday(b.a)
	admin, at := b.token(b.a.org, domain.RoleAdmin), "/v1/integrations/"+string(b.a.integration)
	connecting := func(read string) {
		b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE integrations SET state = 'connecting', last_delivery_at = NULL, last_sync_at = "+read+" WHERE org_id = $1 AND id = $2", tx.Org, b.a.integration)
			return err
		}))
	}
	settings := func() string { return fmt.Sprintf(`{"version":%d,"settings":{"page":2}}`, b.version(b.a)) }
	connecting("created_at")
	b.do("PATCH", at, admin, settings()).problem(t, http.StatusLocked, "frozen")
	b.do("DELETE", at, admin, "").problem(t, http.StatusLocked, "frozen")
	connecting("NULL")
	if got := b.do("PATCH", at, admin, settings()); got.status != http.StatusOK {
		t.Errorf("other settings of a connection that never ran: %d %s", got.status, got.body)
	}
	if got := b.do("DELETE", at, admin, ""); got.status != http.StatusNoContent {
		t.Errorf("the end of a connection that never ran: %d %s", got.status, got.body)
	}
}

func TestWhatMendsAndProtectsIsNotFrozen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.weddingToday(b.a)
	admin := b.token(b.a.org, domain.RoleAdmin)
	at := "/v1/integrations/" + string(b.a.integration)
	for name, r := range map[string]struct {
		method, path, body string
		ok                 int
	}{
		"another name and other credentials": {"PATCH", at, fmt.Sprintf(`{"version":%d,"name":"The CRM","secrets":{"key":"a-new-key"},"poll_seconds":60,"priority":"high"}`, b.version(b.a)), 200},
		"a dry run of a purge":               {"POST", at + "/purge", `{"dry_run":true}`, 202},
		"a dry run of a replay":              {"POST", "/v1/replays", `{"filter":{},"all":true,"dry_run":true}`, 202},
		"a dry run of a disconnection":       {"POST", at + "/disconnect", `{"copies":"remove","dry_run":true}`, 202},
		"leaving conflicts to people":        {"PUT", "/v1/conflict-policies/vendor/consultation", `{"rule":"manual"}`, 200},
		"a longer freeze":                    {"PUT", "/v1/freeze", `{"preflight_days":14,"freeze_hours":72,"version":0}`, 200},
		"a person's own change of a booking": {"PATCH", "/v1/bookings/" + string(b.a.booking), `{"version":1,"status":"cancelled"}`, 200},
	} {
		if got := b.do(r.method, r.path, admin, r.body); got.status != r.ok {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, r.ok)
		}
	}
}

func TestTheFreezeIsShownWithItsSettings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer, admin := b.token(b.a.org, domain.RoleViewer), b.token(b.a.org, domain.RoleAdmin)
	type shown struct {
		Frozen   bool                  `json:"frozen"`
		Until    *time.Time            `json:"until"`
		Freezes  []weddingday.Freeze   `json:"freezes"`
		Settings domain.FreezeSettings `json:"settings"`
	}
	read := func() (s shown) {
		t.Helper()
		b.do("GET", "/v1/freeze", viewer, "").into(t, &s)
		return s
	}
	if got := read(); got.Frozen || got.Until != nil || got.Freezes == nil || got.Settings.FreezeHours != 48 || got.Settings.Version != 0 {
		t.Errorf("without a wedding near: %+v", got)
	}
	b.do("PUT", "/v1/freeze", admin, `{"preflight_days":7,"freeze_hours":24,"holds":"near","version":1}`).problem(t, http.StatusConflict, "conflict")
	if got := b.do("PUT", "/v1/freeze", admin, `{"preflight_days":7,"freeze_hours":24,"holds":"near","version":0,"reason":"weddings on most days"}`); got.status != http.StatusOK {
		t.Fatalf("set: %d %s", got.status, got.body)
	}
	wedding := b.weddingToday(b.a)
	got := read()
	if !got.Frozen || got.Until == nil || len(got.Freezes) != 1 || got.Freezes[0].Booking != wedding || got.Settings.FreezeHours != 24 || got.Settings.Holds != domain.FreezeHoldsNear {
		t.Errorf("on the day: %+v", got)
	}
	if body := b.do("GET", "/v1/freeze", viewer, "").body; strings.Contains(string(body), "Wedding of") {
		t.Errorf("it names people: %s", body)
	}
}
