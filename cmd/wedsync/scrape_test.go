package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/scrape"
	"github.com/wedsync/wedsync/internal/sim/lightbluesim"
)

const portalExample = "../../internal/scrape/examples/lightblue-portal.yaml"

const savedPage = `<table id="shoots">
<tr class="shoot" data-id="S-1"><td class="title"><a>One</a></td><td class="date">05/06/2027</td><td class="status">Booked</td></tr>
<tr class="shoot" data-id="S-2"><td class="title"><a>Two</a></td><td class="date">06/06/2027</td><td class="status">Booked</td></tr>
<tr class="shoot" data-id="S-3"><td class="title"><a>Three</a></td><td class="date"></td><td class="status">Booked</td></tr>
</table><p class="total">3 shoots</p>`

func TestScrapeTestSaysWhatAPageHasAndLacks(t *testing.T) {
	t.Parallel()
	code, out, _ := wedsync(t, "", "scrape", "test", portalExample, "--page", file(t, savedPage))
	if code != 1 {
		t.Errorf("status %d for a page with a bad row", code)
	}
	for _, want := range []string{`line 2  S-1  date="2027-06-05"`, "page 1: 2 rows", "MISSING in the rows of lines [4]", "fault: page 1, line 4: field date is empty (selector td.date)"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
	snapshot := filepath.Join(t.TempDir(), "page.html")
	code, out, _ = wedsync(t, strings.ReplaceAll(savedPage, `class="shoot"`, `class="job"`), "scrape", "test", portalExample, "--page", "-", "--snapshot", snapshot)
	if code != 1 || !strings.Contains(out, "table#shoots matches 1, table#shoots tr.shoot matches 0") {
		t.Errorf("status %d for drift\n%s", code, out)
	}
	if page, err := os.ReadFile(snapshot); err != nil || !strings.Contains(string(page), `class="job"`) || strings.Contains(string(page), "Three") {
		t.Errorf("snapshot %q, %v", page, err)
	}
	if code, out, _ := wedsync(t, "", "scrape", "test", portalExample, "--page", file(t, strings.ReplaceAll(savedPage, `<td class="date"></td>`, `<td class="date">07/06/2027</td>`)), "--json"); code != 0 ||
		!strings.Contains(out, `"id":"S-3"`) {
		t.Errorf("status %d for a page that fits\n%s", code, out)
	}
}

func TestScrapeTestAdvisesWhatWouldProveTheEndOfAList(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../internal/scrape/examples/numbered-table.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page := file(t, `<main id="diary"><article><h3><a href="/events/7">One</a></h3><time class="from" datetime="2027-06-05T12:00">noon</time></article></main>`)
	said := func(recipe string) string {
		t.Helper()
		code, out, fault := wedsync(t, "", "scrape", "test", file(t, recipe), "--page", page)
		if code != 0 || !strings.Contains(out, "page 1: 1 rows") {
			t.Fatalf("status %d: %s\n%s", code, fault, out)
		}
		return out
	}
	if out := said(string(text)); strings.Contains(out, "advice") {
		t.Errorf("advice for a recipe that needs none:\n%s", out)
	}
	unproved := strings.ReplaceAll(strings.ReplaceAll(string(text), "  container: main#diary\n", ""), "  empty: main#diary p.nothing\n", "")
	if out := said(unproved); !strings.Contains(out, "advice: recipe.list.empty:") || !strings.Contains(out, "advice: recipe.list.container, empty or total:") {
		t.Errorf("no advice for a list whose end proves nothing:\n%s", out)
	}
}

func TestScrapeTestReadsRealPagesOnlyWithAgreement(t *testing.T) {
	sim := lightbluesim.New(lightbluesim.Options{})
	start := time.Now().Truncate(time.Hour)
	sim.AddShoot(lightbluesim.Shoot{Title: "One", Start: start, End: start.Add(time.Hour)})
	server := httptest.NewServer(sim.Handler())
	defer server.Close()
	text, err := os.ReadFile(portalExample)
	if err != nil {
		t.Fatal(err)
	}
	recipe := file(t, strings.Replace(string(text), "interval: 1", "interval: 0.001", 1))
	t.Setenv("PORTAL_USER", lightbluesim.PortalUser)
	t.Setenv("PORTAL_PASSWORD", lightbluesim.PortalPassword)
	args := []string{"scrape", "test", recipe, "--live", "--base", server.URL, "--allow-private", "--user-env", "PORTAL_USER", "--password-env", "PORTAL_PASSWORD"}
	if code, _, fault := wedsync(t, "", args...); code != 2 || !strings.Contains(fault, "--agreed") || len(sim.Requests()) != 0 {
		t.Errorf("without agreement: status %d, %s, %d requests", code, fault, len(sim.Requests()))
	}
	code, out, fault := wedsync(t, "", append(args, "--agreed")...)
	if code != 0 || !strings.Contains(out, "1 rows on 1 pages") || strings.Contains(out+fault, lightbluesim.PortalPassword) {
		t.Errorf("status %d, %s\n%s", code, fault, out)
	}
	sim.SetFaults(lightbluesim.Faults{Portal: lightbluesim.PortalFaults{NoRows: true}})
	if code, out, _ := wedsync(t, "", append(args, "--agreed")...); code != 1 || !strings.Contains(out, "recipe.list.rows") {
		t.Errorf("drift: status %d\n%s", code, out)
	}
}

func TestScrapeJSONAndSchemaArePrinted(t *testing.T) {
	t.Parallel()
	code, out, fault := wedsync(t, "", "scrape", "json", portalExample)
	var r scrape.Recipe
	if code != 0 || json.Unmarshal([]byte(out), &r) != nil || r.List.Rows != "table#shoots tr.shoot" {
		t.Errorf("status %d, %s\n%s", code, fault, out)
	}
	if code, out, _ := wedsync(t, "", "scrape", "schema"); code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("status %d\n%s", code, out)
	}
	if code, _, fault := wedsync(t, `{"version":3}`, "scrape", "json", "-"); code != 2 || !strings.Contains(fault, "recipe.version") {
		t.Errorf("a wrong recipe: status %d, %s", code, fault)
	}
}
