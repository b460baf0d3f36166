package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/explain"
	"github.com/wedsync/wedsync/internal/store"
)

// listing is a system that can be listed and asked.
type listing struct {
	pages map[string]provider.Page
	reads atomic.Int32
}

func (l *listing) Pull(_ context.Context, cursor string) (provider.Page, error) {
	p, ok := l.pages[cursor]
	if !ok {
		return p, domain.E(domain.KindUnauthenticated, "no")
	}
	return p, nil
}

func (l *listing) Read(context.Context, string) (domain.Change, error) {
	l.reads.Add(1)
	return domain.Change{}, domain.E(domain.KindNotFound, "no such entry")
}

// guardedServer starts a server whose systems are all l.
func guardedServer(t *testing.T, l *listing) *bundle {
	t.Helper()
	return setup(t, func(d *Deps) {
		d.Guard = &guard.Guard{Store: d.Store, Opener: connect.New(func(string) (provider.Registration, bool) {
			return provider.Registration{Name: "plain", Open: func(provider.Connection) (any, error) { return l, nil }}, true
		}, nil, time.Now, 0)}
	})
}

func entry(n int, title string) domain.Change {
	start := nextSaturday().AddDate(0, 1, n)
	return domain.Change{Op: domain.OpUpsert, ExternalID: fmt.Sprintf("e%d", n), Category: domain.CategoryVendor, Status: domain.StatusConfirmed,
		When: domain.When{Span: domain.Span{Start: start, End: start.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}, Details: domain.Details{Title: title}}
}

// bring applies n entries of a tenant's integration.
func (b *bundle) bring(x tenant, n int) []domain.BookingID {
	b.Helper()
	var out []domain.BookingID
	b.must(b.store.Tenant(b.Context(), x.org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, x.integration)
		if err != nil {
			return err
		}
		out = out[:0]
		for k := range n {
			r, err := applyChanges(ctx, tx, i, entry(k, fmt.Sprintf("Flowers %d", k)))
			if err != nil {
				return err
			}
			out = append(out, r)
		}
		return nil
	}))
	return out
}

func TestHeldRemovalsAreShownDecidedAndTold(t *testing.T) {
	t.Parallel()
	b := guardedServer(t, &listing{})
	ids := b.bring(b.a, 7)
	operator, viewer := b.token(b.a.org, domain.RoleOperator), b.token(b.a.org, domain.RoleViewer)
	b.must(b.store.Tenant(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, b.a.integration)
		if err != nil {
			return err
		}
		var gone []domain.Change
		for k := range 7 {
			gone = append(gone, domain.Change{Op: domain.OpRemove, ExternalID: fmt.Sprintf("e%d", k)})
		}
		held, err := guard.Sift(ctx, tx, i, guard.Since(tx.Now, time.Time{}), gone, func(int) domain.Cause { return domain.Cause{Kind: domain.CauseDelivery, ID: "d"} })
		if len(held) != 7 {
			t.Errorf("%d are held", len(held))
		}
		return err
	}))
	var all listBody[domain.Quarantine]
	b.do("GET", "/v1/quarantines?state=open", viewer, "").into(t, &all)
	if len(all.Items) != 1 || all.Items[0].Held != 7 {
		t.Fatalf("quarantines: %+v", all.Items)
	}
	path := "/v1/quarantines/" + string(all.Items[0].ID)
	var shown struct {
		Removals []heldView `json:"removals"`
	}
	b.do("GET", path, viewer, "").into(t, &shown)
	if len(shown.Removals) != 7 || !strings.HasPrefix(shown.Removals[0].Title, "Flowers") || shown.Removals[0].ExternalID == "" {
		t.Errorf("shown: %+v", shown.Removals)
	}
	page := b.do("GET", "/", "", "", header("Cookie", "wedsync="+operator))
	if !strings.Contains(string(page.body), "Restore: keep them") || !strings.Contains(string(page.body), "Flowers 0") {
		t.Error("the dashboard does not show the held removals")
	}
	if got := b.do("POST", path+"/approve", operator, `{"reason":"season over"}`); got.status != http.StatusOK {
		t.Fatalf("approve: %d %s", got.status, got.body)
	}
	var left int
	b.must(b.store.TenantRead(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		for _, id := range ids {
			x, err := tx.Booking(ctx, id)
			if err != nil {
				return err
			}
			if x.Status != domain.StatusCancelled {
				left++
			}
		}
		return nil
	}))
	if left != 0 {
		t.Errorf("%d bookings are left", left)
	}
	b.do("POST", path+"/restore", operator, `{}`).problem(t, http.StatusConflict, "conflict")
	var trail listBody[domain.AuditEntry]
	b.do("GET", "/v1/audit?limit=200", b.token(b.a.org, domain.RoleAdmin), "").into(t, &trail)
	text, _ := json.Marshal(trail)
	for _, action := range []string{"quarantine.open", "quarantine.approve"} {
		if !strings.Contains(string(text), action) {
			t.Errorf("the trail has no %s", action)
		}
	}
	if strings.Contains(string(text), "Flowers") {
		t.Error("the trail names an entry")
	}
}

func TestGuardLimitsAreCheckedAndShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	path := "/v1/integrations/" + string(b.a.integration)
	b.do("PATCH", path, admin, `{"version":1,"guard":{"removals":-1,"percent":20}}`).problem(t, http.StatusUnprocessableEntity, "invalid")
	b.do("PATCH", path, admin, `{"version":1,"guard":{"removals":1,"percent":101}}`).problem(t, http.StatusUnprocessableEntity, "invalid")
	var i integrationView
	b.do("PATCH", path, admin, `{"version":1,"guard":{"removals":2,"percent":10}}`).into(t, &i)
	if i.Guard != (domain.Guard{Removals: 2, Percent: 10}) {
		t.Errorf("guard is %+v", i.Guard)
	}
}

func TestAPlanTellsEveryEntryAndStoresNothing(t *testing.T) {
	t.Parallel()
	known, moved := entry(0, "Flowers 0"), entry(1, "Flowers 1")
	moved.When.End = moved.When.End.Add(time.Hour)
	l := &listing{pages: map[string]provider.Page{"": {Changes: []domain.Change{known, moved}, Next: "2", More: true},
		"2": {Changes: []domain.Change{entry(9, "News")}, Problems: []provider.Problem{{ExternalID: "odd"}}, Complete: true}}}
	b := guardedServer(t, l)
	b.bring(b.a, 3)
	before := b.do("GET", "/v1/bookings?limit=200", b.token(b.a.org, domain.RoleViewer), "")
	var p guard.Plan
	got := b.do("POST", "/v1/integrations/"+string(b.a.integration)+"/plan", b.token(b.a.org, domain.RoleOperator), "")
	got.into(t, &p)
	want := map[guard.PlanAction]int{guard.PlanUnchanged: 1, guard.PlanChange: 1, guard.PlanCreate: 1, guard.PlanReject: 1, guard.PlanRemove: 1}
	if fmt.Sprint(p.Counts) != fmt.Sprint(want) || !p.Complete || p.Read != 4 || p.Pages != 2 || p.Limits.Entries == 0 {
		t.Errorf("plan: %s", got.body)
	}
	for _, e := range p.Entries {
		if e.Reason == "" {
			t.Errorf("%s %s has no reason", e.Action, e.ExternalID)
		}
		if e.Action == guard.PlanChange && fmt.Sprint(e.Fields) != "[end]" {
			t.Errorf("changed fields: %v", e.Fields)
		}
	}
	after := b.do("GET", "/v1/bookings?limit=200", b.token(b.a.org, domain.RoleViewer), "")
	if string(before.body) != string(after.body) {
		t.Error("the plan changed bookings")
	}
	// A refusal of the system's is none of ours.
	l.pages = nil
	b.do("POST", "/v1/integrations/"+string(b.a.integration)+"/plan", b.token(b.a.org, domain.RoleOperator), "").problem(t, http.StatusConflict, "conflict")
}

func TestEveryBookingAndEntryIsExplained(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.bring(b.a, 1)
	viewer := b.token(b.a.org, domain.RoleViewer)
	var x struct {
		BookingID domain.BookingID       `json:"booking_id"`
		Known     bool                   `json:"known"`
		Reason    string                 `json:"reason"`
		Origin    *originView            `json:"origin"`
		Systems   []systemView           `json:"systems"`
		Changes   []domain.BookingChange `json:"changes"`
	}
	b.do("GET", "/v1/bookings/"+string(ids[0])+"/explain", viewer, "").into(t, &x)
	if !x.Known || x.Origin.Kind != "system" || x.Origin.ExternalID != "e0" || len(x.Systems) != 1 || x.Systems[0].Code != explain.CodeOwn {
		t.Errorf("explained: %+v", x)
	}
	if len(x.Changes) != 1 || fmt.Sprint(x.Changes[0].Fields) != "[created]" || x.Changes[0].Cause != (domain.Cause{Kind: domain.CauseIntegration, ID: string(b.a.integration)}) {
		t.Errorf("history: %+v", x.Changes)
	}
	at := "/v1/integrations/" + string(b.a.integration) + "/explain?external_id="
	b.do("GET", at+"e0", viewer, "").into(t, &x)
	if x.BookingID != ids[0] || x.Reason != "it is an entry of the system's own" {
		t.Errorf("entry: %+v", x)
	}
	var none struct {
		Known  bool   `json:"known"`
		Reason string `json:"reason"`
	}
	b.do("GET", at+url.QueryEscape("never/heard"), viewer, "").into(t, &none)
	if none.Known || none.Reason == "" {
		t.Errorf("unknown entry: %+v", none)
	}
	// A question that waits for a person comes before everything else.
	b.do("GET", "/v1/bookings/"+string(b.a.booking)+"/explain", viewer, "").into(t, &x)
	if x.Systems[0].Code != explain.CodeEdited || x.Systems[0].Shows != explain.ShowsFailed {
		t.Errorf("with an open edit conflict: %+v", x.Systems)
	}
	b.must(b.store.Tenant(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE edit_conflicts SET state = 'cleared', closed_at = now() WHERE org_id = $1 AND id = $2", b.a.org, b.a.edit)
		return err
	}))
	// A booking by hand names the person, and an import-only connection why it does not show it.
	b.do("GET", "/v1/bookings/"+string(b.a.booking)+"/explain", viewer, "").into(t, &x)
	if x.Origin.Kind != "wedsync" || x.Systems[0].Code != explain.CodeImportOnly || x.Changes[0].Cause.Kind != domain.CauseSystem {
		t.Errorf("made here: %+v", x)
	}
}

func TestDeletingWithPurgeWaitsForTheCopies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := b.token(b.a.org, domain.RoleAdmin)
	path := "/v1/integrations/" + string(b.a.integration)
	b.must(b.store.Tenant(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		return tx.StoreLinks(ctx, []domain.Link{{ID: domain.NewID[domain.LinkID](tx.Now), IntegrationID: b.a.integration, BookingID: b.a.booking, ExternalID: "copy", Mirror: true, UpdatedAt: tx.Now}})
	}))
	var p purgeView
	b.do("POST", path+"/purge", admin, `{"dry_run":true}`).into(t, &p)
	if p.State != "counted" || p.Copies != 1 || !p.DryRun {
		t.Errorf("dry run: %+v", p)
	}
	b.do("GET", path+"/purge", admin, "").problem(t, http.StatusNotFound, "not_found")
	if got := b.do("DELETE", path+"?purge=true", admin, ""); got.status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", got.status, got.body)
	}
	b.do("GET", path+"/purge", admin, "").into(t, &p)
	if p.State != "running" || p.Left != 1 || !p.Disconnect {
		t.Errorf("purge: %+v", p)
	}
	var i integrationView
	b.do("GET", path, admin, "").into(t, &i)
	if i.State != domain.IntegrationActive || i.Copies != domain.CopiesPurging {
		t.Errorf("integration is %s, its copies %s", i.State, i.Copies)
	}
	// Setting the direction anew keeps what is left and lets copies be written again.
	b.do("PATCH", path, admin, fmt.Sprintf(`{"version":%d,"direction":"import"}`, i.Version)).into(t, &i)
	if i.Copies != domain.CopiesKept {
		t.Errorf("copies are %s", i.Copies)
	}
}

func TestAnIntegrationTellsThatItsSystemDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer := b.token(b.a.org, domain.RoleViewer)
	path := "/v1/integrations/" + string(b.a.integration)
	put := func(c domain.Circuit) {
		t.Helper()
		b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
			c.IntegrationID, c.Host, c.Since = b.a.integration, "crm.example", tx.Now
			c.Until = tx.Now.Add(time.Minute)
			_, err := tx.PutCircuit(ctx, c)
			return err
		}))
	}
	var was, i integrationView
	b.do("GET", path, viewer, "").into(t, &was)
	if len(was.Circuits) != 0 {
		t.Errorf("circuits of a system that works: %+v", was.Circuits)
	}
	put(domain.Circuit{State: domain.CircuitOpen, Openings: 1, Reason: "GET crm.example: status 503 Service Unavailable", RequestID: "req-1"})
	b.do("GET", path, viewer, "").into(t, &i)
	if len(i.Circuits) != 1 || i.Circuits[0].State != domain.CircuitOpen || i.Circuits[0].RequestID != "req-1" || i.State != domain.IntegrationActive ||
		!strings.Contains(i.StateReason, "crm.example does not answer") || !strings.Contains(i.StateReason, "503") {
		t.Errorf("%s, %+v", i.StateReason, i.Circuits)
	}
	var all struct {
		Items []integrationView `json:"items"`
	}
	b.do("GET", "/v1/integrations", viewer, "").into(t, &all)
	told := 0
	for _, one := range all.Items {
		told += len(one.Circuits)
	}
	if told != 1 {
		t.Errorf("the list tells of %d circuits", told)
	}
	var other integrationView
	b.do("GET", "/v1/integrations/"+string(b.b.integration), b.token(b.b.org, domain.RoleViewer), "").into(t, &other)
	if len(other.Circuits) != 0 {
		t.Errorf("another tenant sees %+v", other.Circuits)
	}
	put(domain.Circuit{State: domain.CircuitClosed})
	i = integrationView{}
	if b.do("GET", path, viewer, "").into(t, &i); i.StateReason != was.StateReason || len(i.Circuits) != 0 {
		t.Errorf("after it came back: %q, %+v", i.StateReason, i.Circuits)
	}
}
