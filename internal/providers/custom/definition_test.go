package custom

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

const someDefinition = `name: Desk
base_url: https://desk.example/v1
auth: {kind: bearer}
limits: {requests: 1}
mapping:
  external_id: item.id
  category: "'wedding'"
  start: item.start
  end: item.end
  remote_version: item.v
list:
  path: /entries
  items: body.entries
  total: body.total
  paging: {kind: page}
  incremental: {watermark: item.changed, full_every_hours: 24}
  query: {since: "${since}"}
read:
  path: /entries/${entry.external_id}
probe: {path: /me}
samples:
  - name: it answers
    do: probe
    exchanges: [{request: {path: /me}, answer: {}}]
`

func lintText(t testing.TB, text string) []string {
	t.Helper()
	var out []string
	for _, f := range Lint(t.Context(), []byte(text)).Findings {
		out = append(out, f.String())
	}
	return out
}

func TestGoodDefinitionHasNoFindings(t *testing.T) {
	t.Parallel()
	report := Lint(t.Context(), []byte(someDefinition))
	if len(report.Findings) != 0 || report.Samples != 1 || report.Name != "Desk" || !slices.Equal(report.Secrets, []string{"token"}) {
		t.Fatalf("%+v", report)
	}
	if err := Validate(report.Settings, testSecrets); err != nil {
		t.Error(err)
	}
	var asJSON any
	doc, err := readDocument([]byte(someDefinition))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(doc.value, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	again := Lint(t.Context(), b)
	if len(again.Findings) != 0 || !bytes.Equal(again.Settings, report.Settings) || json.Unmarshal(b, &asJSON) != nil {
		t.Errorf("the same in JSON: %v", again.Findings)
	}
}

func TestEveryFaultIsToldWithItsPlace(t *testing.T) {
	t.Parallel()
	change := func(pairs ...string) string {
		text := someDefinition
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("nothing to change: %q", pairs[i])
			}
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		return text
	}
	for name, c := range map[string]struct {
		text string
		want []string // beginnings
	}{
		"empty":              {"", []string{"1:1: error: "}},
		"a text":             {"hello", []string{"1:1: error: must be an object"}},
		"two documents":      {someDefinition + "---\na: b\n", []string{"25:1: error: a file holds one document"}},
		"broken YAML":        {"a: [1", []string{"1:1: error: did not find"}},
		"broken JSON":        {"{\n  \"a\": ]}", []string{"2:8: error: "}},
		"anchor":             {change("kind: bearer", "kind: &a bearer"), []string{"3:14: error: anchors"}},
		"alias":              {"a: &x 1\nb: *x\n", []string{"1:4: error: anchors"}},
		"tag":                {change("'wedding'", "x", `"x"`, "!!binary eA=="), []string{"7:13: error: tags"}},
		"twice":              {change("probe:", "read: {path: /x}\nprobe:"), []string{"20:1: error: the name occurs twice"}},
		"hexadecimal":        {change("requests: 1", "requests: 0x10"), []string{"4:20: error: write a whole number"}},
		"unknown field":      {change("items:", "itemz:"), []string{"13:3: error: list.itemz: unknown field", "12:"}},
		"unknown at the top": {change("probe:", "prob:"), []string{"20:1: error: prob: unknown field"}},
		"wrong type":         {change("requests: 1", "requests: many"), []string{"4:20: error: limits.requests: must be a whole number"}},
		"several at once": {change("item.id", "itm.id", "body.entries", "body.entries ||", "kind: page", "kind: scroll", "requests: 1", "requests: 0"), []string{
			"4:20: error: limits.requests:", "6:16: error: mapping.external_id: undeclared reference", "13:", "15:18: error: list.paging.kind: must be one of"}},
		"several of two sorts": {change("item.id", "itm.id", "requests: 1", "requests: x", "items:", "itemz:"), []string{
			"4:20: error: limits.requests:", "6:16: error: mapping.external_id:", "13:3: error: list.itemz:", "12:"}},
		"in a quoted text":   {change(`"'wedding'"`, `"item.a + b.c"`), []string{"7:23: error: mapping.category: undeclared reference to 'b'"}},
		"in a block":         {change("category: \"'wedding'\"", "category: |\n    item.a ||\n      b.c"), []string{"9:7: error: mapping.category: undeclared reference to 'b'"}},
		"in a template":      {change("${since}", "x${page + nope}"), []string{"17:29: error: list.query.since: undeclared reference to 'nope'"}},
		"missing":            {change("  external_id: item.id\n", ""), []string{"11:3: error: list.mapping.external_id: required", "18:3: error: read.mapping.external_id: required"}},
		"no secrets in it":   {change("kind: bearer", "kind: query, param: key"), []string{"3:14: warning: auth.kind: a key in the address"}},
		"credential":         {change("query: {since:", "headers: {X-Api-Key: abc}\n  query: {since:"), []string{"17:24: warning: list.headers.X-Api-Key: looks like a credential"}},
		"plain http":         {change("https://desk", "http://desk"), []string{"2:11: warning: base_url: plain http"}},
		"no total":           {change("  total: body.total\n", ""), []string{"14:11: warning: list.paging: without list.total"}},
		"no read":            {change("read:\n  path: /entries/${entry.external_id}\n", ""), []string{"12:3: warning: list: without the part read"}},
		"no removals":        {change(", full_every_hours: 24", ""), []string{"16:16: warning: list.incremental: a listing by watermark"}},
		"since is not asked": {change("  query: {since: \"${since}\"}\n", ""), []string{"16:16: warning: list.incremental: no template"}},
		"sample is refused":  {change("answer: {}", "answer: {status: 401}"), []string{"22:5: error: samples[0]: ends with an error"}},
		"sample asks else":   {change("[{request: {path: /me}", "[{request: {path: /you}"), []string{"24:27: error: samples[0].exchanges[0].request: the path is /me"}},
		"sample of nothing":  {change("do: probe", "do: webhook"), []string{"23:9: error: samples[0].do: the definition has no part webhook"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := lintText(t, c.text)
			if len(got) != len(c.want) {
				t.Fatalf("findings:\n%s", strings.Join(got, "\n"))
			}
			for _, want := range c.want {
				if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, want) }) {
					t.Errorf("none begins with %q:\n%s", want, strings.Join(got, "\n"))
				}
			}
		})
	}
}

func TestRiskyChoicesAreWarnedOf(t *testing.T) {
	t.Parallel()
	text := `base_url: https://desk.example/v1
mapping: {external_id: item.id, category: "'wedding'", start: item.start, end: item.end}
webhook: {verify: {scheme: bearer}}
write:
  idempotency_header: Idempotency-Key
  create: {path: /e}
  remove: {path: "/e/${entry.external_id}"}
  update: {path: "/e/${entry.external_id}"}
errors: [{status: [400], kind: not_found}, {kind: unavailable}]
`
	got := strings.Join(lintText(t, text), "\n")
	for _, want := range []string{"requests carry no credentials", "no limits", "no probe", "write: without mapping.origin", "write.update: without mapping.revision",
		"write: without the part read", "webhook.verify.scheme: the credential", "webhook: without mapping.remote_version", "webhook: without the part list",
		"errors[0].kind: not_found", "errors[1]: applies to every refusal", "no samples"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	if strings.Contains(got, "error: ") {
		t.Error(got)
	}
}

// definitions are the examples that ship, by name.
func definitions(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../../../docs/examples/definitions/*")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if strings.HasSuffix(f, "schema.json") {
			continue
		}
		if out[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	if len(out) < 3 {
		t.Fatalf("only %d examples", len(out))
	}
	return out
}

func compiledSchema(t testing.TB, raw []byte) *jsonschema.Schema {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:definition", v); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:definition")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fitsSchema(t testing.TB, s *jsonschema.Schema, v any) error {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	again, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(again)
}

func TestShippedExamplesLintCleanAndFitThePublishedSchema(t *testing.T) {
	t.Parallel()
	s := compiledSchema(t, DefinitionSchema())
	for name, text := range definitions(t) {
		report := Lint(t.Context(), text)
		for _, f := range report.Findings {
			if !strings.Contains(f.Text, "who knows the address") { // the vendor signs nothing
				t.Errorf("%s:%s", name, f)
			}
		}
		if report.Samples < 2 || report.Name == "" {
			t.Errorf("%s: %d samples, name %q", name, report.Samples, report.Name)
		}
		doc, err := readDocument(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := fitsSchema(t, s, doc.value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShippedSchemaIsThePublishedOne(t *testing.T) {
	t.Parallel()
	shipped, err := os.ReadFile("../../../docs/examples/definitions/definition.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(shipped, DefinitionSchema()) {
		t.Error("write it anew: wedsync integration schema > docs/examples/definitions/definition.schema.json")
	}
	compiledSchema(t, shipped)
	var more struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(samplesSchema, &more); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sortedKeys(jsonFields(reflect.TypeFor[aside]())), sortedKeys(more.Properties)); diff != "" {
		t.Error(diff)
	}
	for name, typ := range map[string]reflect.Type{"sample": reflect.TypeFor[Sample](), "sampleEntry": reflect.TypeFor[SampleEntry](),
		"sampleDelivery": reflect.TypeFor[SampleDelivery](), "sampleExchange": reflect.TypeFor[SampleExchange](), "sampleRequest": reflect.TypeFor[SampleRequest](),
		"sampleAnswer": reflect.TypeFor[SampleAnswer](), "sampleExpect": reflect.TypeFor[SampleExpect](), "sampleChange": reflect.TypeFor[SampleChange]()} {
		if diff := cmp.Diff(sortedKeys(jsonFields(typ)), sortedKeys(more.Defs[name].Properties)); diff != "" {
			t.Errorf("%s (-struct +schema)\n%s", name, diff)
		}
	}
}

func TestDraftOfEveryKindLintsClean(t *testing.T) {
	t.Parallel()
	s := compiledSchema(t, DefinitionSchema())
	whole := func(d Draft) {
		t.Helper()
		text, err := Scaffold(d)
		if err != nil {
			t.Fatal(err)
		}
		report := Lint(t.Context(), text)
		if !report.OK() {
			t.Fatalf("%+v\n%v\n%s", d, report.Findings, text)
		}
		doc, err := readDocument(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := fitsSchema(t, s, doc.value); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	for _, auth := range DraftAuths {
		for _, paging := range DraftPagings {
			for i, hook := range append([]string{""}, DraftHooks...) {
				d := Defaults()
				d.Auth, d.Paging, d.Webhook, d.Write, d.FetchBack = auth, paging, hook, i%2 == 0, i%3 == 0
				whole(d)
			}
		}
	}
	whole(Draft{Write: true})
	whole(Draft{Webhook: "hmac-sha256"})
	for _, f := range Lint(t.Context(), must1(Scaffold(Defaults()))).Findings {
		t.Errorf("the defaults: %s", f)
	}
	for _, d := range []Draft{{}, {ListPath: "/x", Auth: "oauth9"}, {ListPath: "/x", Paging: "scroll"}, {Webhook: "trust"}} {
		if _, err := Scaffold(d); err == nil {
			t.Errorf("%+v is taken", d)
		}
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestTextsOfADraftStayTexts: whatever a person types becomes a value, and never structure.
func TestTextsOfADraftStayTexts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringN(1, 40, 100).Draw(rt, "name")
		d := Defaults()
		d.Name, d.Header = name, rapid.StringN(1, 20, 60).Draw(rt, "header")
		text, err := Scaffold(d)
		if err != nil {
			rt.Fatal(err)
		}
		doc, err := readDocument(text)
		if err != nil {
			if strings.ContainsRune(name+d.Header, '\uFFFD') {
				return // stands for what is not UTF-8, and is refused
			}
			rt.Fatalf("%v\n%s", err, text)
		}
		top, _ := doc.value.(map[string]any)
		auth, _ := top["auth"].(map[string]any)
		if top["name"] != name || auth["header"] != d.Header {
			rt.Errorf("name %q became %q, header %q became %q", name, top["name"], d.Header, auth["header"])
		}
	})
}

// maxFuzzed bounds what FuzzDefinition reads. The fuzzer makes every text that it finds interesting shorter before it goes on, in
// steps whose number grows with the square of the length and for a minute each, so that with whole definitions it did nothing
// else. Their parts say as much.
const maxFuzzed = 1 << 10

// shortenLess lets the fuzzer take a hundred steps to make a text shorter, in place of a minute, unless a flag says otherwise.
func shortenLess(f *testing.F) {
	m := flag.Lookup("test.fuzzminimizetime")
	if m == nil || m.Value.String() != m.DefValue {
		return
	}
	if err := m.Value.Set("100x"); err != nil {
		f.Fatal(err)
	}
}

func FuzzDefinition(f *testing.F) {
	shortenLess(f)
	f.Add([]byte(someDefinition))
	for _, text := range definitions(f) {
		for _, part := range bytes.Split(text, []byte("\n\n")) {
			if len(part) <= maxFuzzed {
				f.Add(part)
			}
		}
	}
	for _, s := range []string{"", "{", "a: &a [*a]", "? {a: b}\n: c", "a: !!float nan", "- - - -", "\"\\uD800\": 1", "a: 2027-06-05", "<<: {a: b}", "%YAML 1.1\n---\na: |+\n  x\n", "a: \x01", "{\"a\": [1e999, {}]}", "{\"a\": 123456789012345678901234567890}", "{\"a\":1}{", "a: 1\n...\nb: 2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxFuzzed {
			return
		}
		doc, err := readDocument(text)
		if err != nil {
			var bad *syntaxError
			if !asSyntax(err, &bad) || bad.line < 1 || bad.column < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		b, err := json.Marshal(doc.value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseJSON(b); err != nil {
			t.Fatalf("the value is not JSON of ours: %s %v", b, err)
		}
		l := &linter{doc: doc}
		if _, s, settings, whole := l.shape(); whole != nil {
			l.compile(settings, s, whole)
		}
		lines := 1 // as YAML counts them
		for _, br := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
			lines += bytes.Count(text, []byte(br))
		}
		for _, f := range l.findings {
			if f.Line < 1 || f.Line > lines+1 || f.Column < 1 {
				t.Errorf("a finding outside of the %d lines: %s", lines, f)
			}
		}
	})
}

func asSyntax(err error, to **syntaxError) bool {
	bad, ok := err.(*syntaxError)
	*to = bad
	return ok
}

func TestNextLinkIsReadByRFC8288(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		`<https://a.example/x?page=2>; rel="next"`:                              "https://a.example/x?page=2",
		`<a>; rel=prev, <b>; rel=next`:                                          "b",
		`<a>; title="x, rel=\"next\""; rel="prev", <b> ; REL = "Prefetch NEXT"`: "b",
		`<a,b;c>;rel=next`:                                                      "a,b;c",
		`<a>; rel=prev; rel=next`:                                               "",
		`<a>; rel*=next`:                                                        "",
		`<a>`:                                                                   "",
		`a; rel=next`:                                                           "",
		`<a; rel=next`:                                                          "",
		`<a>; rel="next`:                                                        "",
		`<a> rel=next`:                                                          "",
		`<a>; ;rel=next`:                                                        "a",
		`, , <a>;rel=next;`:                                                     "a",
		`<>; rel=next`:                                                          "",
		`<a>; foo=bar baz; rel=next`:                                            "",
		``:                                                                      "",
	} {
		if got := nextLink([]string{header}); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if got := nextLink([]string{`<broken`, `<b>; rel=next`}); got != "b" {
		t.Errorf("second header: %q", got)
	}
}

func FuzzNextLink(f *testing.F) {
	for _, s := range []string{`<https://a.example/x?page=2>; rel="next"`, `<a>; title="x\"", <b>; rel=next`, `<`, `<>;=`, `<a>;"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got := nextLink([]string{header})
		if got != "" && !strings.Contains(header, got) {
			t.Errorf("%q is not in %q", got, header)
		}
		quoted := `<x>; title="` + strings.ReplaceAll(strings.ReplaceAll(header, `\`, `\\`), `"`, `\"`) + `"; rel=next`
		if nextLink([]string{quoted}) != "x" {
			t.Errorf("a title misleads: %q", quoted)
		}
	})
}
