package server

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/store"
)

// open reads a page as the browser's person.
func (w *browser) open(path string) string {
	w.Helper()
	got := w.do("GET", path, "", "", header("Cookie", w.cookie), header("Accept", "text/html"))
	if got.status != http.StatusOK {
		w.Fatalf("%s: %d %s", path, got.status, got.body)
	}
	return string(got.body)
}

// has reports the parts that a page lacks, and those that it has and must not.
func (w *browser) has(page string, wanted, unwanted []string) {
	w.Helper()
	for _, part := range wanted {
		if !strings.Contains(page, part) {
			w.Errorf("the page lacks %q", part)
		}
	}
	for _, part := range unwanted {
		if strings.Contains(page, part) {
			w.Errorf("the page has %q", part)
		}
	}
}

func TestPagesTellWhichWeddingIsFrozenAndWhatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	viewer := b.signIn(domain.RoleViewer)
	of := "/integrations/" + string(b.a.integration)
	title := "A wedding is near or on"
	for _, path := range []string{"/", of, "/maintenance"} {
		viewer.has(viewer.open(path), nil, []string{title})
	}
	wedding := b.weddingToday(b.a)
	link := `href="/weddings/` + string(wedding) + `"`
	viewer.has(viewer.open("/"), []string{title, "Photographer Two", "(Europe/London)", "full resyncs", "An admin may insist, with a reason."}, []string{link, "As an admin"})
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error { return careFor(ctx, tx, wedding, b.a.spare) }))
	for _, path := range []string{"/", of, "/maintenance", "/weddings/" + string(wedding)} {
		viewer.has(viewer.open(path), []string{title, link, "frozen from", "(Europe/London)"}, nil)
	}
	admin := b.signIn(domain.RoleAdmin)
	admin.has(admin.page, []string{title, "As an admin you may insist"}, nil)
	other := b.do("GET", "/", "", "", header("Cookie", "wedsync="+b.token(b.b.org, domain.RoleAdmin)))
	if text := string(other.body); other.status != 200 || strings.Contains(text, title) || strings.Contains(text, string(wedding)) {
		t.Errorf("another organisation is told of the freeze: %d", other.status)
	}
}

func TestAFullResyncThatAFreezeRefusesIsDoneWhenAnAdminInsists(t *testing.T) {
	t.Parallel()
	b := setup(t)
	wedding := b.weddingToday(b.a)
	path := "/do/integrations/" + string(b.a.integration) + "/resync"
	form := func(more ...string) url.Values {
		out := url.Values{"full": {"1"}}
		for n := 0; n < len(more); n += 2 {
			out.Set(more[n], more[n+1])
		}
		return out
	}
	field := `name="override" required minlength="3" maxlength="500"`
	operator, admin := b.signIn(domain.RoleOperator), b.signIn(domain.RoleAdmin)
	got := operator.post(path, form())
	if got.status != http.StatusLocked {
		t.Fatalf("an operator: %d %s", got.status, got.body)
	}
	operator.has(string(got.body), []string{"A full resync waits until", "(Europe/London)", "An admin may insist, with a reason.", "Open conflicts"}, []string{field, "body.full"})
	if got = operator.post(path, form("override", "the vendor asked for it")); got.status != http.StatusForbidden {
		t.Errorf("an operator who insists: %d", got.status)
	}
	got = admin.post(path, form())
	if got.status != http.StatusLocked {
		t.Fatalf("an admin: %d %s", got.status, got.body)
	}
	admin.has(string(got.body), []string{"A full resync waits until", field, `action="` + path + `"`, `name="full" value="1"`}, nil)
	got = admin.post(path, form("override", " no "))
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("a reason that is none: %d", got.status)
	}
	admin.has(string(got.body), []string{"The reason for doing it all the same must be a reason of 3 to 500 characters.", field}, nil)
	got = admin.post(path, form("from", "integration"))
	if got.status != http.StatusLocked {
		t.Errorf("from the page of the integration: %d", got.status)
	}
	admin.has(string(got.body), []string{"A full resync waits until", field, "Recovery drills", `name="from" value="integration"`}, []string{"Open conflicts"})
	if n := b.overridden(b.a, wedding); n != 0 {
		t.Errorf("%d overrides are on record before one was made", n)
	}
	if got = admin.post(path, form("override", "the vendor asked for it", "from", "integration")); got.status != http.StatusSeeOther ||
		got.header.Get("Location") != "/integrations/"+string(b.a.integration)+"?done=resync" {
		t.Errorf("an admin who insists: %d %s", got.status, got.body)
	}
	if n := b.overridden(b.a, wedding); n != 1 {
		t.Errorf("%d overrides are on record, want 1", n)
	}
	b.flow.mu.Lock()
	defer b.flow.mu.Unlock()
	if len(b.flow.resyncs) != 1 || !b.flow.resyncs[0].Full {
		t.Errorf("asked for %+v, want one full reading", b.flow.resyncs)
	}
}

func TestAMappingIsSavedInAFreezeOnlyWithAReason(t *testing.T) {
	t.Parallel()
	b, id := relayBundle(t, `{}`)
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetIntegrationState(ctx, id, domain.IntegrationActive, "connected")
		return err
	}))
	w := b.signIn(domain.RoleAdmin)
	page := "/integrations/" + string(id) + "/mapping"
	field := `name="override" required`
	w.has(w.open(page), nil, []string{field})
	wedding := b.weddingToday(b.a)
	w.has(w.open(page), []string{field, "A wedding is near or on"}, nil)
	var i domain.Integration
	b.do("GET", "/v1/integrations/"+string(id), b.token(b.a.org, domain.RoleAdmin), "").into(t, &i)
	form := func(override string) url.Values {
		return url.Values{"kind": {"project_booked"}, "version": {strconv.FormatInt(i.Version, 10)}, "do": {"save"}, "field.start": {"item.day"}, "reason": {"the step sends it so"},
			"override": {override}, "sample": {`{"trigger":"project_booked","project_id":"7","project_name":"Marigold","day":"2027-07-01"}`}}
	}
	got := w.post("/do"+page, form(""))
	if got.status != http.StatusLocked {
		t.Fatalf("without a reason: %d %s", got.status, got.body)
	}
	w.has(string(got.body), []string{"A change of how the system is read waits until", "item.day", "the step sends it so", "It would be applied.", field}, []string{"body.settings"})
	if got = w.post("/do"+page, form("a")); got.status != http.StatusUnprocessableEntity || !strings.Contains(string(got.body), "must be a reason of 3 to 500 characters") {
		t.Errorf("with a letter: %d", got.status)
	}
	if got = w.post("/do"+page, form("the vendor asked for it")); got.status != http.StatusSeeOther {
		t.Errorf("with a reason: %d %s", got.status, got.body)
	}
	if n := b.overridden(b.a, wedding); n != 1 {
		t.Errorf("%d overrides are on record, want 1", n)
	}
}

func TestEveryActThatAFreezeRefusesHasWords(t *testing.T) {
	t.Parallel()
	for _, act := range []freeze.Act{freeze.ActSettings, freeze.ActDirection, freeze.ActResource, freeze.ActSync, freeze.ActGuard, freeze.ActResync, freeze.ActPurge,
		freeze.ActDisconnect, freeze.ActReplay, freeze.ActPolicy, freeze.ActPeriods, freeze.ActPlatform} {
		if frozenWords[act] == "" {
			t.Errorf("%s has none", act)
		}
	}
}
