package server

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// faultsOf lists what keeps a page from being used without a mouse, without sight or without scripts.
func faultsOf(page []byte) (out []string) {
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return []string{err.Error()}
	}
	attr := func(n *html.Node, key string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val, true
			}
		}
		return "", false
	}
	ids, labels := map[string]int{}, map[string]bool{}
	var fields, refs []string
	headings := 0
	level := 0
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				out = append(out, n.Data+" has the attribute "+a.Key+", which the policy forbids")
			}
		}
		id, named := attr(n, "id")
		if named {
			ids[id]++
		}
		for _, key := range []string{"aria-labelledby", "aria-describedby"} {
			if ref, ok := attr(n, key); ok {
				refs = append(refs, ref)
			}
		}
		kind, _ := attr(n, "type")
		switch n.Data {
		case "label":
			of, _ := attr(n, "for")
			labels[of] = true
		case "input", "select", "textarea":
			if kind != "hidden" {
				fields = append(fields, id)
			}
		case "h1":
			headings++
			level = 1
		case "h2", "h3", "h4":
			now := int(n.Data[1] - '0')
			if now > level+1 {
				out = append(out, n.Data+" follows a heading of level "+string(rune('0'+level)))
			}
			level = now
		case "script":
			if src, _ := attr(n, "src"); src != "/assets/live.js" {
				out = append(out, "a script of its own")
			}
		case "form":
			if method, _ := attr(n, "method"); strings.EqualFold(method, "post") && !strings.Contains(nodeText(n), `name="csrf"`) {
				out = append(out, "a form without the token of the session")
			}
		case "div":
			if class, _ := attr(n, "class"); class == "scroll" {
				_, label := attr(n, "aria-label")
				_, by := attr(n, "aria-labelledby")
				if role, _ := attr(n, "role"); role != "region" || !label && !by {
					out = append(out, "what scrolls has no name")
				}
			}
		}
	}
	for id, n := range ids {
		if n > 1 {
			out = append(out, "two elements have the id "+id)
		}
	}
	for _, ref := range refs {
		if ids[ref] == 0 {
			out = append(out, "nothing has the id "+ref)
		}
	}
	for _, id := range fields {
		if id == "" || !labels[id] {
			out = append(out, "a field has no label: "+id)
		}
	}
	if headings != 1 {
		out = append(out, "the page has not one first heading")
	}
	return out
}

func nodeText(n *html.Node) string {
	var b bytes.Buffer
	if html.Render(&b, n) != nil {
		return ""
	}
	return b.String()
}

func TestPagesCanBeUsedByEverybody(t *testing.T) {
	t.Parallel()
	b, relay := relayBundle(t, `{}`)
	b.stored(relay, 1, `{"trigger":"client_created"}`)
	wedding := b.weddingToday(b.a)
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error { return careFor(ctx, tx, wedding, b.a.spare) }))
	w := b.signIn(domain.RoleAdmin)
	if got := w.post("/do/maintenance", proposal(b, nextDay(time.Wednesday), "k1")); got.status != http.StatusSeeOther {
		t.Fatalf("proposed: %d %s", got.status, got.body)
	}
	for _, path := range []string{"/", "/alerts", "/weddings", "/weddings/" + string(wedding), "/maintenance", "/maintenance?minutes=60", "/integrations/" + string(b.a.integration),
		"/integrations/" + string(relay), "/integrations/" + string(relay) + "/mapping", "/sla/2031-01"} {
		for _, fault := range faultsOf([]byte(w.open(path))) {
			t.Errorf("%s: %s", path, fault)
		}
	}
	for path, form := range map[string]url.Values{
		"/do/integrations/" + string(b.a.integration) + "/resync": {"full": {"1"}},
		"/do/integrations/" + string(relay) + "/mapping":          {"do": {"backtest"}, "last": {"5"}},
		"/do/maintenance": {"reason": {"x"}},
	} {
		for _, fault := range faultsOf(w.post(path, form).body) {
			t.Errorf("what %s answers: %s", path, fault)
		}
	}
	for _, page := range []string{`<h1>x</h1><h3>y</h3>`, `<h1>x</h1><input id="a">`, `<p>x`, `<h1 id="a">x</h1><p id="a">`, `<h1 onclick="x">x</h1>`, `<h1>x</h1><form method="post"></form>`,
		`<h1 aria-labelledby="y">x</h1>`, `<h1>x</h1><div class="scroll"></div>`, `<h1>x</h1><script>1</script>`} {
		if len(faultsOf([]byte(page))) == 0 {
			t.Errorf("nothing is found wrong with %s", page)
		}
	}
}

func TestABrowserIsToldWhatIsWrongByAPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.signIn(domain.RoleViewer)
	cookie, page := header("Cookie", w.cookie), header("Accept", "text/html,application/xhtml+xml")
	got := b.do("GET", "/weddings/00000000-0000-7000-8000-000000000000", "", "", cookie, page)
	if text := string(got.body); got.status != 404 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") || !strings.Contains(text, "<h1>Not Found</h1>") ||
		!strings.Contains(text, `href="/"`) || len(faultsOf(got.body)) > 0 {
		t.Errorf("a wedding that is none: %d %s, %v", got.status, got.body, faultsOf(got.body))
	}
	got = b.do("GET", "/integrations/"+string(b.a.integration)+"/mapping", "", "", cookie, page)
	if got.status != 403 || !strings.Contains(string(got.body), "Needs the role admin; the token has viewer.") {
		t.Errorf("a page of admins: %d %s", got.status, got.body)
	}
	got = w.post("/sign-out", url.Values{"csrf": {"0"}}, page)
	if got.status != 403 || !strings.Contains(string(got.body), "reload the page") || strings.Contains(string(got.body), "{") {
		t.Errorf("a form of another session: %d %s", got.status, got.body)
	}
	b.do("GET", "/v1/weddings/x", b.token(b.a.org, domain.RoleViewer), "", page).problem(t, 404, "not_found")
	b.do("GET", "/live?wedding=%00", "", "", cookie, page).problem(t, 400, "invalid")
}

func TestTheLivePageNamesTopicsThatExist(t *testing.T) {
	t.Parallel()
	known, err := os.ReadFile("../internal/domain/event.go")
	if err != nil {
		t.Fatal(err)
	}
	script, err := webFiles.ReadFile("web/live.js")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^    "([a-z_.]+)": "`).FindAllSubmatch(script, -1)
	if len(named) < 30 {
		t.Fatalf("%d topics are named", len(named))
	}
	for _, one := range named {
		if !strings.Contains(string(known), `= "`+string(one[1])+`"`) {
			t.Errorf("%s is no topic", one[1])
		}
	}
}
