package scrape

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

const shoots = `<!DOCTYPE html>
<html><body>
<h1>Shoots of Marigold</h1>
<table id="shoots">
<tr class="shoot" data-id="A1"><td class="title"><a href="/x">One &amp; two</a></td>
  <td class="date">05/06/2027</td><td class="status">Booked</td></tr>
<tr class="shoot" data-id="B2"><td class="title"><a>Three</a></td>
  <td class="date">06/06/2027</td><td class="status">Pencilled</td></tr>
<tr class="shoot" data-id="C3"><td class="title"><a>Four</a></td>
  <td class="date">soon</td><td class="status">Booked</td></tr>
</table>
<p class="total">3 shoots</p>
</body></html>`

func portal(t testing.TB) *Program {
	return program(t, strings.ReplaceAll(portalRecipe, "BASE", "https://portal.example.com"))
}

func TestAReportNamesSelectorsCountsAndLines(t *testing.T) {
	t.Parallel()
	r := portal(t).Explain([]byte(shoots), "", 1, nil)
	if r.Err != nil || len(r.Rows) != 2 || r.Total != 3 || r.LoggedOut {
		t.Fatalf("%+v", r)
	}
	if r.Rows[0].Line != 5 || r.Rows[1].Line != 7 || r.Rows[0].Fields["title"] != "One & two" {
		t.Errorf("rows %+v", r.Rows)
	}
	want := []Fault{{ID: "C3", Field: "date", Selector: "td.date", Page: 1, Line: 9, Why: "fits none of the formats"}}
	if diff := cmp.Diff(want, r.Faults); diff != "" {
		t.Error(diff)
	}
	for _, s := range r.Selectors {
		if s.Path == "recipe.list.fields.date" && (s.Matches != 2 || s.Of != 3 || !s.Required || !cmp.Equal(s.Lines, []int{9})) {
			t.Errorf("date: %+v", s)
		}
	}
}

func TestRowsOfOneNameThatDifferAreAFault(t *testing.T) {
	t.Parallel()
	other := strings.Replace(shoots, `data-id="B2"`, `data-id="A1"`, 1)
	r := portal(t).Explain([]byte(other), "", 1, nil)
	want := Fault{ID: "A1", Field: "id", Page: 1, Line: 7, Why: "names another row of this page too"}
	if r.Err != nil || len(r.Rows) != 1 || len(r.Faults) != 2 || r.Faults[0] != want {
		t.Errorf("rows %+v, faults %+v, %v", r.Rows, r.Faults, r.Err)
	}
	same := strings.Replace(shoots, `</table>`, `<tr class="shoot" data-id="B2"><td class="title"><a>Three</a></td><td class="date">06/06/2027</td><td class="status">Pencilled</td></tr></table>`, 1)
	if r := portal(t).Explain([]byte(same), "", 1, nil); len(r.Faults) != 1 {
		t.Errorf("the same row twice: faults %+v", r.Faults)
	}
}

func TestDriftIsExplainedByHowFarTheSelectorFits(t *testing.T) {
	t.Parallel()
	r := portal(t).Explain([]byte(strings.ReplaceAll(shoots, `class="shoot"`, `class="job"`)), "", 1, nil)
	var drift *Drift
	if !errors.As(r.Err, &drift) {
		t.Fatalf("%v", r.Err)
	}
	if drift.Path != "recipe.list.rows" || drift.Hint != "table#shoots matches 1, table#shoots tr.shoot matches 0" {
		t.Errorf("%+v", drift)
	}
}

func TestSnapshotsKeepTheStructureAndNoValue(t *testing.T) {
	t.Parallel()
	doc, err := parsePage([]byte(`<html><head><title>Marigold</title><script>var token="Oakbridge"</script><!-- Quillfeather --></head>
		<body><form id="f12345" method="post" action="/in?user=Oakbridge"><input type="hidden" name="csrf" value="Quillfeather"><input name="field7712345" title="Marigold"></form>
		<td class="date" data-client="Oakbridge">05/06/2027</td><a href="mailto:oakbridge@x.example">Marigold &lt;3</a></body></html>`), "")
	if err != nil {
		t.Fatal(err)
	}
	got := string(Redact(doc, MaxSnapshot))
	for _, word := range []string{"marigold", "oakbridge", "quillfeather", "2027", "12345", lineAttr} {
		if strings.Contains(strings.ToLower(got), word) {
			t.Errorf("%s stands in the snapshot:\n%s", word, got)
		}
	}
	for _, part := range []string{`<form id="x00000" method="post" action="/xx?xxxx=xxxxxxxxx">`, `<input type="hidden" name="csrf" value="">`, "00/00/0000", "<title>xxxxxxxx</title>"} {
		if !strings.Contains(got, part) {
			t.Errorf("%s does not stand in the snapshot:\n%s", part, got)
		}
	}
	if short := Redact(doc, 50); len(short) > 50+len("\n<!-- cut off -->") {
		t.Errorf("a snapshot of 50 bytes has %d", len(short))
	}
}

func TestSnapshotsOfBadMarkupHoldNoValueEither(t *testing.T) {
	t.Parallel()
	doc, err := parsePage([]byte(`<table id="shoots"><tr class="shoot" data-id="7"><td title=Marigold Oakbridge>Marigold <marigold.oakbridge@example.com></td>
		<td data-phone-02079460000="" alt="Marigold" Oakbridge"><my-row>x</my-row></td></tr></table>`), "")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ToLower(string(Redact(doc, MaxSnapshot)))
	for _, never := range []string{"oakbridge", "marigold", "example.com", "0207"} {
		if strings.Contains(page, never) {
			t.Errorf("%s is in %s", never, page)
		}
	}
	for _, kept := range []string{`class="shoot"`, `data-id=""`, "<my-row>", `title=""`} {
		if !strings.Contains(page, kept) {
			t.Errorf("%s is not in %s", kept, page)
		}
	}
}

func TestLinesAreCountedThroughAnyMarkup(t *testing.T) {
	t.Parallel()
	doc, err := parsePage([]byte("<ul>\n<li\n id=a>x\n<li id=b/>\n<script>\n'<li id=no>'\n</script><li id=c><br/>\n<li id=d>"), "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := compileSelector("s", "li", true)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, n := range s.all(doc) {
		id, _ := attr(n, "id")
		got[id] = lineOf(n)
	}
	if diff := cmp.Diff(map[string]int{"a": 2, "b/": 4, "c": 7, "d": 8}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRobotsAreReadAsTheStandardSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		robots, path string
		want         bool
	}{
		{"", "/a", true},
		{"User-agent: *\nDisallow:", "/a", true},
		{"User-agent: *\nDisallow: /", "/a", false},
		{"User-agent: *\nDisallow: /a", "/ab", false},
		{"User-agent: *\nDisallow: /a/\nAllow: /a/b", "/a/b", true},
		{"User-agent: *\nAllow: /a\nDisallow: /a", "/a", true},
		{"User-agent: *\nDisallow: /*.php$", "/x.php", false},
		{"User-agent: *\nDisallow: /*.php$", "/x.php?y", true},
		{"User-agent: *\nDisallow: /a*c", "/abbbc/d", false},
		{"User-agent: a\nUser-agent: wedsync\nDisallow: /x\n\nUser-agent: *\nDisallow: /", "/y", true},
		{"User-agent: a\nUser-agent: wedsync\nDisallow: /x\n\nUser-agent: *\nDisallow: /", "/x", false},
		{"\ufeffuser-AGENT : WedSync # us\ndisallow : /x # no\n", "/x", false},
		{"Disallow: /", "/a", true}, // of nobody
	} {
		if got := parseRobots([]byte(c.robots)).allows(c.path); got != c.want {
			t.Errorf("%q allows %s: %v", c.robots, c.path, got)
		}
	}
}

func FuzzPage(f *testing.F) {
	p := portal(f)
	f.Add([]byte(shoots))
	f.Add([]byte("<table id=shoots><tr class=shoot><td"))
	f.Add([]byte(strings.Repeat("<div>", 600)))
	f.Add([]byte("<svg><title><tr class=shoot></svg>\xff\xfe"))
	f.Fuzz(func(t *testing.T, page []byte) {
		r := p.Explain(page, "", 1, nil)
		for _, row := range r.Rows {
			if row.ID == "" || row.Line < 1 || strings.Contains(row.ID, "#") || len(row.ID) > domain.MaxExternalID {
				t.Errorf("row %q of line %d", row.ID, row.Line)
			}
		}
		var drift *Drift
		if errors.As(r.Err, &drift) {
			if _, snapshot := drift.Snapshot(); len(snapshot) > MaxSnapshot+50 {
				t.Errorf("a snapshot of %d bytes", len(snapshot))
			}
		}
	})
}

func FuzzRobots(f *testing.F) {
	f.Add([]byte("User-agent: *\nDisallow: /*a*b$\nCrawl-delay: 3"), "/xaxb")
	f.Fuzz(func(t *testing.T, robots []byte, path string) {
		if r := parseRobots(robots); r.delay < 0 || len(r.lines) == 0 && !r.allows(path) {
			t.Errorf("%+v", r)
		}
	})
}
