package doccheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// documents returns the Markdown files by their path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, n)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.ToSlash(name)] = string(b)
		}
	}
	if len(out) < 9 {
		t.Fatalf("found %d documents only", len(out))
	}
	return out
}

// source returns the text of all Go files below the root that match keep.
func source(t *testing.T, keep func(path string) bool) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && path != root && strings.HasPrefix(e.Name(), ".") {
			return filepath.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(path, ".go") || !keep(path) {
			return nil
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadToFilesAndHeadings(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	for name, text := range docs {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, heading, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(name), file))
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: link %s leads nowhere", name, m[1])
			}
			if heading != "" && !hasHeading(docs[target], heading) {
				t.Errorf("%s: link %s leads to no heading", name, m[1])
			}
		}
	}
}

func hasHeading(text, anchor string) bool {
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			words := strings.Map(func(r rune) rune {
				switch {
				case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
					return r
				case r == ' ':
					return '-'
				}
				return -1
			}, strings.ToLower(strings.TrimSpace(title)))
			if words == anchor {
				return true
			}
		}
	}
	return false
}

var testCell = regexp.MustCompile("`\\./([a-z/]+)` ((?:Test[A-Za-z0-9]+(?:, )?)+)")

func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	found := 0
	for name, text := range documents(t) {
		for _, m := range testCell.FindAllStringSubmatch(text, -1) {
			pkg := source(t, func(path string) bool {
				return filepath.ToSlash(filepath.Dir(path)) == root+"/"+m[1] && strings.HasSuffix(path, "_test.go")
			})
			for test := range strings.SplitSeq(m[2], ", ") {
				found++
				if !strings.Contains(pkg, "func "+test+"(t *testing.T)") {
					t.Errorf("%s: ./%s has no %s", name, m[1], test)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d names of tests only; has their form changed?", found)
	}
}

// TestEveryPitfallNamesItsTests reads the tables of docs/calendars.md. TestNamedTestsExist looks for what they name.
func TestEveryPitfallNamesItsTests(t *testing.T) {
	t.Parallel()
	_, section, ok := strings.Cut(documents(t)["docs/calendars.md"], "\n## Pitfalls and the tests that hold them\n")
	if !ok {
		t.Fatal("docs/calendars.md has no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	numbers, rows := map[string]bool{}, 0
	number := regexp.MustCompile(`^\| (?:\*\*)?(\d+)\.`)
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| --- ") || strings.HasPrefix(line, "| pitfall ") || strings.HasPrefix(line, "| defect ") {
			continue
		}
		rows++
		_, tests, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), " |"), " | ")
		for part := range strings.SplitSeq(tests, " · ") {
			if m := testCell.FindString(part); m != part || m == "" {
				t.Errorf("no package and tests in %q of %.60q", part, line)
			}
		}
		if m := number.FindStringSubmatch(line); m != nil {
			numbers[m[1]] = true
		}
	}
	if len(numbers) != 12 || rows < 60 {
		t.Errorf("%d of 12 kinds of pitfalls in %d rows", len(numbers), rows)
	}
}

func TestMakeTargetsExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	target := regexp.MustCompile("`make ([a-z-]+)`|(?m:^make ([a-z-]+))")
	for name, text := range documents(t) {
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+m[2]+":") {
				t.Errorf("%s: there is no make %s", name, m[1]+m[2])
			}
		}
	}
}

func TestMetricsRoutesAndFlagsExist(t *testing.T) {
	t.Parallel()
	code := source(t, func(path string) bool { return !strings.HasSuffix(path, "_test.go") })
	metric := regexp.MustCompile("`(wedsync_[a-z_]+_[a-z]+)[{`]")
	flag := regexp.MustCompile("`--([a-z-]+)[ `]")
	roles := map[string]bool{"wedsync_app": true, "wedsync_system": true, "wedsync_owner": true, "wedsync_login": true}
	// Flags whose names are put together from a vendor's.
	made := regexp.MustCompile(`^(google|microsoft)(-client-id|-client-secret-file)$`)
	for name, text := range documents(t) {
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			if !roles[m[1]] && !strings.Contains(code, `"`+m[1]+`"`) {
				t.Errorf("%s: there is no metric %s", name, m[1])
			}
		}
		for _, m := range flag.FindAllStringSubmatch(text, -1) {
			if parts := made.FindStringSubmatch(m[1]); parts != nil && strings.Contains(code, `"`+parts[2]+`"`) {
				continue
			}
			if !strings.Contains(code, `"`+m[1]+`"`) {
				t.Errorf("%s: there is no flag --%s", name, m[1])
			}
		}
	}
}

func TestFoldersOfTheTablesExist(t *testing.T) {
	t.Parallel()
	path := regexp.MustCompile("`((?:internal|server|workflows|activities|worker|cmd|deploy|tools)/[A-Za-z0-9_./-]+)`")
	for name, text := range documents(t) {
		for _, m := range path.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "NAME") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: %s does not exist", name, m[1])
			}
		}
	}
}

// TestThePageForProvidersKnowsEveryAbilityAndHazard reads docs/add-a-provider.md against the code that it tells of.
func TestThePageForProvidersKnowsEveryAbilityAndHazard(t *testing.T) {
	t.Parallel()
	page := documents(t)["docs/add-a-provider.md"]
	port := source(t, func(path string) bool {
		return filepath.ToSlash(filepath.Dir(path)) == root+"/internal/provider" && !strings.HasSuffix(path, "_test.go")
	})
	row := regexp.MustCompile("(?m)^ *\\| `([A-Z][A-Za-z]+)` \\| ((?:`[A-Z][A-Za-z]+`(?:, )?)+) \\|")
	told := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		told[m[1]] = m[2]
	}
	ability := regexp.MustCompile(`(?s)// ([A-Z][A-Za-z]+) is implemented by.*?\ntype [A-Z][A-Za-z]+ interface \{\n(.*?)\n\}`)
	method := regexp.MustCompile(`(?m)^\t([A-Z][A-Za-z]+)\(`)
	found := 0
	for _, m := range ability.FindAllStringSubmatch(port, -1) {
		found++
		for _, name := range method.FindAllStringSubmatch(m[2], -1) {
			if !strings.Contains(told[m[1]], "`"+name[1]+"`") {
				t.Errorf("the page does not tell of %s.%s", m[1], name[1])
			}
		}
	}
	if found < 10 || len(told) != found {
		t.Errorf("%d abilities in package provider, %d on the page", found, len(told))
	}
	suite := source(t, func(path string) bool { return strings.HasSuffix(filepath.ToSlash(path), "/providertest/hazards.go") })
	all := regexp.MustCompile(`Hazard[A-Za-z]+ +Hazard = "([^"]+)"`).FindAllStringSubmatch(suite, -1)
	for _, m := range all {
		if !strings.Contains(page, m[1]) {
			t.Errorf("the page does not tell of the hazard %q", m[1])
		}
	}
	if len(all) != 14 {
		t.Errorf("%d hazards", len(all))
	}
}
