package server

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
)

// proposal is the form of a window that begins by the clock of London.
func proposal(b *bundle, starts time.Time, key string) url.Values {
	loc, err := time.LoadLocation("Europe/London")
	b.must(err)
	return url.Values{"target": {"integration:" + string(b.a.integration)}, "starts": {starts.In(loc).Format("2006-01-02T15:04")}, "minutes": {"90"}, "reason": {"a <new> server"}, "key": {key}}
}

// openWindows are the windows of tenant a that have not ended.
func (b *bundle) openWindows() (all []domain.Maintenance) {
	b.Helper()
	b.must(b.store.TenantRead(b.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.OpenMaintenances(ctx)
		return err
	}))
	return all
}

func TestAWindowIsProposedApprovedAndCalledOffInABrowser(t *testing.T) {
	t.Parallel()
	b := setup(t)
	operator, admin, viewer := b.signIn(domain.RoleOperator), b.signIn(domain.RoleAdmin), b.signIn(domain.RoleViewer)
	viewer.has(viewer.open("/maintenance"), []string{"<h1>Maintenance</h1>", "None on Saturdays.", "No window waits for approval.", "Done"}, []string{"Propose a window", "/do/maintenance"})
	operator.has(operator.page, []string{`href="/maintenance"`}, nil)

	starts := nextDay(time.Wednesday)
	for range 2 { // pressed twice
		if got := operator.post("/do/maintenance", proposal(b, starts, "k1")); got.status != http.StatusSeeOther || got.header.Get("Location") != "/maintenance?done=propose" {
			t.Fatalf("proposed: %d %s", got.status, got.body)
		}
	}
	open := b.openWindows()
	if len(open) != 1 || !open[0].StartsAt.Equal(starts) || open[0].EndsAt.Sub(open[0].StartsAt) != 90*time.Minute || open[0].State != domain.MaintenanceProposed {
		t.Fatalf("stored %+v", open)
	}
	id := string(open[0].ID)
	operator.has(operator.open("/maintenance?done=propose"), []string{"The window is proposed.", "a &lt;new&gt; server", "Studio CRM", "Waits for approval", "Proposed by operator@example.test", "Withdraw"},
		[]string{"<new>", ">Approve<", "Refuse"})
	viewer.has(viewer.open("/maintenance"), []string{"a &lt;new&gt; server"}, []string{"Withdraw", "/do/maintenance"})
	admin.has(admin.open("/maintenance"), []string{">Approve<", ">Refuse<", "/do/maintenance/" + id + "/approve"}, []string{"short_notice"})

	if got := operator.post("/do/maintenance/"+id+"/approve", url.Values{}); got.status != http.StatusForbidden {
		t.Errorf("an operator approves: %d", got.status)
	}
	for _, w := range []struct {
		who    *browser
		action string
	}{{viewer, "approve"}, {viewer, "cancel"}} {
		if got := w.who.post("/do/maintenance/"+id+"/"+w.action, url.Values{}); got.status != http.StatusForbidden {
			t.Errorf("a viewer's %s: %d", w.action, got.status)
		}
	}
	if got := admin.post("/do/maintenance/"+id+"/approve", url.Values{"csrf": {"0"}}); got.status != http.StatusForbidden {
		t.Errorf("a form of another session: %d", got.status)
	}
	if got := admin.post("/do/maintenance/"+id+"/approve", url.Values{"reason": {"a quiet night"}}); got.status != http.StatusSeeOther {
		t.Fatalf("approved: %d %s", got.status, got.body)
	}
	if e := b.lastAction(b.a, "maintenance.approve"); e.Reason != "a quiet night" {
		t.Errorf("the trail says %+v", e)
	}
	admin.has(admin.open("/maintenance"), []string{"Approved by admin@example.test.", ">Cancel<", "No window waits for approval."}, []string{">Approve<"})
	if got := operator.post("/do/maintenance/"+id+"/cancel", url.Values{"reason": {"the vendor is late"}}); got.status != http.StatusSeeOther {
		t.Fatalf("called off: %d %s", got.status, got.body)
	}
	if e := b.lastAction(b.a, "maintenance.cancel"); e.Reason != "the vendor is late" {
		t.Errorf("the trail says %+v", e)
	}
	viewer.has(viewer.open("/maintenance"), []string{"Cancelled by operator@example.test.", "No window is ahead."}, nil)
	if got := admin.post("/do/maintenance/"+id+"/approve", url.Values{}); got.status != http.StatusConflict || !strings.Contains(string(got.body), "The maintenance is cancelled.") {
		t.Errorf("approved after all: %d %s", got.status, got.body)
	}
}

func TestAWindowOnShortNoticeIsApprovedOnlyWhenAnAdminSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var starts time.Time
	for starts = time.Now().UTC().Truncate(time.Hour).Add(24 * time.Hour); starts.Weekday() == time.Saturday || starts.Add(2*time.Hour).Weekday() == time.Saturday; {
		starts = starts.Add(time.Hour)
	}
	admin := b.signIn(domain.RoleAdmin)
	if got := admin.post("/do/maintenance", proposal(b, starts, "k1")); got.status != http.StatusSeeOther {
		t.Fatalf("proposed: %d %s", got.status, got.body)
	}
	id := string(b.openWindows()[0].ID)
	admin.has(admin.open("/maintenance"), []string{`name="short_notice"`}, nil)
	if got := admin.post("/do/maintenance/"+id+"/approve", url.Values{}); got.status != http.StatusConflict {
		t.Errorf("without a word: %d", got.status)
	}
	if got := admin.post("/do/maintenance/"+id+"/approve", url.Values{"short_notice": {"1"}}); got.status != http.StatusSeeOther {
		t.Errorf("on short notice: %d %s", got.status, got.body)
	}
	if m := b.openWindows()[0]; !m.ShortNotice || !m.State.Ahead() || m.State == domain.MaintenanceProposed {
		t.Errorf("stored %+v", m)
	}
}

func TestWhatIsWrongWithAProposalIsSaidAndNothingIsTypedAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.signIn(domain.RoleOperator)
	good := func() url.Values { return proposal(b, nextDay(time.Wednesday), "") }
	for name, c := range map[string]struct {
		field, value string
		status       int
		text         string
	}{
		"no length":           {"minutes", "soon", 422, "The length must be 5 to 720 minutes."},
		"too long":            {"minutes", "721", 422, "The length must be 5 to 720 minutes."},
		"no time":             {"starts", "Wednesday", 422, "The beginning must be a date and a time"},
		"a skipped clock":     {"starts", "2028-03-26T01:30", 422, "clocks in Europe/London go forward then"},
		"over":                {"starts", "2020-01-06T02:00", 422, "The beginning must be ahead."},
		"a Saturday":          {"starts", nextDay(time.Saturday).Format("2006-01-02") + "T12:00", 409, "No maintenance on a Saturday"},
		"another's":           {"target", "integration:" + string(b.b.integration), 422, "What it covers: no such integration."},
		"an unknown platform": {"target", "platform:cake", 422, "What it covers: no such provider."},
		"no target":           {"target", "cake", 400, "What it covers: must be one of the list."},
		"no reason":           {"reason", "", 422, "The reason "},
		"a long key":          {"key", strings.Repeat("k", 201), 400, "at most 200 bytes"},
	} {
		form := good()
		form.Set(c.field, c.value)
		got := w.post("/do/maintenance", form)
		if text := string(got.body); got.status != c.status || !strings.Contains(strings.ToLower(text), strings.ToLower(c.text)) {
			t.Errorf("%s: %d, want %d and %q", name, got.status, c.status, c.text)
		}
		if c.field != "reason" && !strings.Contains(string(got.body), `value="a &lt;new&gt; server"`) {
			t.Errorf("%s: the reason is lost", name)
		}
	}
	if open := b.openWindows(); len(open) != 0 {
		t.Errorf("stored %+v", open)
	}
}

func TestGoodTimesAreOfferedAndProposed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.signIn(domain.RoleOperator)
	page := w.open("/maintenance?minutes=120&target=integration:" + string(b.a.integration))
	w.has(page, []string{"Good times within 30 days, best first", "of 100", "no wedding&#39;s freeze", `name="starts" value="`, " checked"}, nil)
	_, rest, _ := strings.Cut(page, `name="starts" value="`)
	starts, _, _ := strings.Cut(rest, `"`)
	form := proposal(b, time.Now(), "k1")
	form.Set("starts", starts)
	form.Set("minutes", "120")
	if got := w.post("/do/maintenance", form); got.status != http.StatusSeeOther {
		t.Fatalf("proposed: %d %s", got.status, got.body)
	}
	at, err := time.Parse(time.RFC3339, starts)
	b.must(err)
	if open := b.openWindows(); len(open) != 1 || !open[0].StartsAt.Equal(at) {
		t.Errorf("stored %+v, want a beginning at %s", open, at)
	}
	got := w.do("GET", "/maintenance?minutes=soon", "", "", header("Cookie", w.cookie))
	if got.status != 422 || !strings.Contains(string(got.body), "The length must be 5 to 720 minutes.") {
		t.Errorf("a length that is none: %d", got.status)
	}
}

func TestWhetherMaintenanceMayBeIsSaidInWords(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 3, 6, 0, 0, 0, 0, time.UTC)
	closed := []maintenance.Closure{{Text: "no maintenance on a Saturday"}}
	for want, st := range map[string]maintenance.State{
		"Maintenance may be now.": {Open: true},
		"Maintenance may be now, until Sat 6 Mar 2027, 00:00 (UTC): no maintenance on a Saturday.":           {Open: true, Next: &at, Then: closed},
		"No maintenance may be now: no maintenance on a Saturday. That is over Sat 6 Mar 2027, 00:00 (UTC).": {Next: &at, Closed: closed},
	} {
		if diff := cmp.Diff(want, openText(st, time.UTC)); diff != "" {
			t.Error(diff)
		}
	}
	rules := upkeepRules(domain.MaintenanceSettings{Approval: domain.ApprovalAutomatic, NoticeMinutes: 90, Weekdays: []int{1, 2, 3, 4, 5}, FromMinute: 60, UntilMinute: 305,
		WhenWedding: domain.WeddingMoves, Seasons: []domain.Season{{From: "05-01", Until: "09-30", Name: "high season"}}})
	if diff := cmp.Diff([]string{"Windows take place unless somebody cancels them before their notice begins.", "They are approved 90 minutes ahead, unless an admin lets one begin on short notice.",
		"None on Sundays, Saturdays.", "Only from 01:00 to 05:05.", "None from 05-01 to 09-30: high season.", "A window into which a wedding moves is moved to another time."}, rules); diff != "" {
		t.Error(diff)
	}
}
