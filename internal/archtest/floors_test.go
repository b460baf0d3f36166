package archtest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floor is one height of the building.
type floor struct {
	number int
	why    string
	// levels are patterns of package paths below the module; a package may import earlier levels of its own floor.
	levels [][]string
}

// floors is the one place that names them, from the ground up.
var floors = []floor{
	{0, "the nouns that everybody shares know nothing of tables, HTTP or Temporal, so no circle can start below them",
		[][]string{{"internal/domain"}}},
	{1, "rules decide from arguments alone, so that every decision can be tried in a table; contract holds the words on the wire",
		[][]string{{"internal/contract", "internal/rules/breaker", "internal/rules/calendartime", "internal/rules/freshness", "internal/rules/place", "internal/rules/resolution", "internal/rules/retry", "internal/rules/timeline"}, {"internal/rules/conflict", "internal/rules/privacy", "internal/rules/sla", "internal/rules/weddingday"},
			{"internal/rules/alert", "internal/rules/availability", "internal/rules/explain", "internal/rules/failover", "internal/rules/health", "internal/rules/icsfeed", "internal/rules/maintenance", "internal/rules/notify", "internal/rules/reconcile", "internal/rules/score", "internal/rules/share", "internal/rules/weddingcare"}, {"internal/rules/suggest"}}},
	{2, "tools that know no tenant's data and could serve another product",
		[][]string{{"internal/edverify", "internal/tracing"}, {"internal/apiclient", "internal/clientaddr", "internal/httpx", "internal/ical", "internal/jsonpointer", "internal/openapitest", "internal/ratelimit", "internal/token", "internal/vault", "internal/webhookauth"}, {"internal/codec", "internal/failpoint", "internal/mailer", "internal/oauth", "internal/scrape", "internal/sharelink", "internal/webhookauth/jwks"}}},
	{3, "the ports to the outside: each hides one foreign system behind our own words",
		[][]string{{"internal/flow", "internal/provider", "internal/store", "internal/stream"}, {"internal/outbound", "internal/store/storetest"}}},
	{4, "what joins ports and rules: one provider per folder, and the transactions that apply, accept and dispatch",
		[][]string{{"internal/freeze", "internal/providers/custom", "internal/providers/ics", "internal/providers/scrape"}, {"internal/apply", "internal/broadcast", "internal/connect", "internal/diary", "internal/drills", "internal/inbox", "internal/monitor", "internal/providers/*", "internal/retention", "internal/trial"}, {"internal/alerting", "internal/guard", "internal/holds", "internal/notify", "internal/providers", "internal/resolutions", "internal/timelines", "internal/upkeep"}, {"internal/weddings"}}},
	{5, "steps that may run twice, for workflows to put in order", [][]string{{"activities"}}},
	{6, "stories: deterministic, so they reach the world only through activities", [][]string{{"workflows"}}},
	{7, "the list of what a worker process serves", [][]string{{"worker"}}},
	{8, "HTTP for people and vendors: it signals workflows by contract and flow and must run without a worker in the process",
		[][]string{{"server"}}},
	{9, "wiring, and the stories and measurements told on the wired program",
		[][]string{{"internal/app", "internal/bench/load"}, {"internal/chaos/rig"}, {"internal/demo", "internal/bench/*", "internal/chaos/*"}}},
	{10, "programs", [][]string{{"cmd/*", "internal/bench/cmd/*", "internal/chaos/cmd/*"}}},
}

// apart are the packages beside the building.
var apart = []struct {
	pattern, why string
	mayImport    int      // the highest floor, -1 for none
	importedBy   []string // patterns; nil = anybody
}{
	{"internal/devstack", "it starts servers for the product and for tests of every floor, so it must not need any of them", -1, nil},
	{"internal/devstack/*", "it starts servers for the product and for tests of every floor, so it must not need any of them", -1, []string{"internal/devstack/*", "internal/store/storetest"}},
	{"internal/sim/*", "simulators stand for systems of others: sharing our code with the code they try would hide faults", 2,
		[]string{"internal/app", "cmd/*", "internal/bench/*", "internal/bench/cmd/*", "internal/chaos/*", "internal/demo", "internal/sim/*"}},
	{"internal/archtest", "it holds tests only", -1, []string{"internal/archtest"}},
}

// height is where a package stands.
type height struct{ floor, level int }

func (h height) below(o height) bool {
	return h.floor < o.floor || h.floor == o.floor && h.level < o.level
}

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, pkg)
		return err == nil && ok
	})
}

func heightOf(pkg string) (height, bool) {
	for i, f := range floors {
		for n, patterns := range f.levels {
			if matches(patterns, pkg) {
				return height{i, n}, true
			}
		}
	}
	return height{}, false
}

func TestEveryPackageImportsOnlyLowerFloors(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, pkg := range packages(t) {
		if beside(t, pkg) {
			continue
		}
		here, ok := heightOf(pkg.path)
		if !ok {
			t.Errorf("package %s stands on no floor; give it one in internal/archtest/floors_test.go", pkg.path)
			continue
		}
		for imported, file := range pkg.imports {
			below, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			checked++
			if i := slices.IndexFunc(apart, func(a struct {
				pattern, why string
				mayImport    int
				importedBy   []string
			}) bool {
				return matches([]string{a.pattern}, below)
			}); i >= 0 {
				if a := apart[i]; a.importedBy != nil && !matches(a.importedBy, pkg.path) {
					t.Errorf("%s imports %s, which only %s may.\nWhy: %s.", file, below, strings.Join(a.importedBy, ", "), a.why)
				}
				continue
			}
			if h, ok := heightOf(below); ok && !h.below(here) {
				t.Errorf("%s imports %s, which does not lie below it (floor %d, and %s is on floor %d).\nWhy floor %d exists: %s.",
					file, below, floors[h.floor].number, pkg.path, floors[here.floor].number, floors[here.floor].number, floors[here.floor].why)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d imports were looked at; the check sees too little", checked)
	}
}

// beside checks a package that stands on no floor, and reports whether it is one.
func beside(t *testing.T, pkg pkg) bool {
	t.Helper()
	for _, a := range apart {
		if !matches([]string{a.pattern}, pkg.path) {
			continue
		}
		for imported, file := range pkg.imports {
			below, ours := strings.CutPrefix(imported, module+"/")
			if !ours || matches([]string{a.pattern, path.Dir(a.pattern)}, below) {
				continue
			}
			if h, ok := heightOf(below); !ok || floors[h.floor].number > a.mayImport {
				t.Errorf("%s imports %s.\nWhy it may not: %s.", file, below, a.why)
			}
		}
		return true
	}
	return false
}

func TestNoPatternOfTheFloorsIsLeftOver(t *testing.T) {
	t.Parallel()
	all := packages(t)
	for _, f := range floors {
		for _, level := range f.levels {
			for _, p := range level {
				if !slices.ContainsFunc(all, func(one pkg) bool { return matches([]string{p}, one.path) }) {
					t.Errorf("floor %d names %s, which does not exist any more", f.number, p)
				}
			}
		}
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

func TestTheDocumentShowsTheSameFloors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Floors\n")
	table, _, _ = strings.Cut(table, "\n## ")
	shown := map[int][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		number, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue // the head, and what stands beside
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			pattern := m[1]
			if first, _, _ := strings.Cut(pattern, "/"); !exists(filepath.Join(root, first)) {
				pattern = "internal/" + pattern
			}
			shown[number] = append(shown[number], pattern)
		}
	}
	used := map[string]bool{}
	for _, pkg := range packages(t) {
		h, ok := heightOf(pkg.path)
		if !ok {
			continue
		}
		for number, patterns := range shown {
			for _, p := range patterns {
				if !matches([]string{p}, pkg.path) {
					continue
				}
				used[p] = true
				if number != floors[h.floor].number {
					t.Errorf("the document has %s on floor %d; it is on floor %d", pkg.path, number, floors[h.floor].number)
				}
			}
		}
		if number := floors[h.floor].number; !matches(shown[number], pkg.path) {
			t.Errorf("the document does not have %s on floor %d", pkg.path, number)
		}
	}
	for number, patterns := range shown {
		for _, p := range patterns {
			if !used[p] {
				t.Errorf("the document has %s on floor %d, which does not exist", p, number)
			}
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func TestOutsideLibrariesAreImportedInOnePlace(t *testing.T) {
	t.Parallel()
	for _, rule := range []struct {
		prefix, why string
		allowed     []string
	}{
		{"github.com/labstack/echo", "HTTP routing is the server's business, so that everything else can be called without it",
			[]string{"server", "internal/bench/ingest"}}, // the bench mounts intake alone on a server of its own
		{"github.com/jackc/pgx", "SQL lives beside the tables it needs; whoever writes SQL elsewhere goes around tenancy",
			[]string{"internal/store", "internal/devstack", "internal/devstack/*", "internal/bench/*", "internal/chaos/*"}},
		{"go.temporal.io/sdk/workflow", "workflow code is replayed and may live only where the replay test and workflowcheck look",
			[]string{"workflows", "worker", "activities"}},
		{"github.com/emersion/go-webdav", "a client library belongs to its provider or to the simulator of its system",
			[]string{"internal/providers/caldav", "internal/sim/caldavsim"}},
		{"go.opentelemetry.io", "spans are made through internal/tracing, which lets no text out that could name a person",
			[]string{"internal/tracing", "internal/sim/otlpsim"}},
		{"google.golang.org/api", "a client library belongs to its provider; the simulator must not know what its client expects",
			[]string{"internal/providers/google"}},
	} {
		found := false
		for _, pkg := range packages(t) {
			for imported, file := range pkg.imports {
				if imported != rule.prefix && !strings.HasPrefix(imported, rule.prefix+"/") {
					continue
				}
				found = true
				if !matches(rule.allowed, pkg.path) {
					t.Errorf("%s imports %s, which only %s may.\nWhy: %s.", file, imported, strings.Join(rule.allowed, ", "), rule.why)
				}
			}
		}
		if !found {
			t.Errorf("nothing imports %s any more; the rule can go", rule.prefix)
		}
	}
}

func TestNounsAndRulesNeedOnlyTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, pkg := range packages(t) {
		if pkg.path != "internal/domain" && pkg.path != "internal/contract" && !strings.HasPrefix(pkg.path, "internal/rules/") {
			continue
		}
		for imported, file := range pkg.imports {
			if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") && !strings.HasPrefix(imported, module+"/") {
				t.Errorf("%s imports %s.\nWhy it may not: decisions and words are what everything rests on, and outlive every library.", file, imported)
			}
		}
	}
}
