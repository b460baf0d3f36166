package scrape

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/wedsync/wedsync/internal/domain"
)

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("recipe.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("recipe.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExamplesAreRecipesByParserAndSchema(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(names) < 2 {
		t.Fatalf("%d examples, %v", len(names), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		if err := schema(t).Validate(v); err != nil {
			t.Errorf("%s does not fit the schema: %v", name, err)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b)
		if diff := cmp.Diff(r, again); err != nil || diff != "" {
			t.Errorf("%s differs as JSON: %v\n%s", name, err, diff)
		}
	}
}

// least is the smallest recipe there is.
const least = `{"version":1,"name":"x","base":"https://a.example","list":{"path":"/l","rows":"tr","identity":["id"],"fields":{"id":{"required":true}}}}`

func TestWrongRecipesNameTheMember(t *testing.T) {
	t.Parallel()
	if _, err := Parse([]byte(least)); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 2000)
	for _, c := range []struct{ from, to, field string }{
		{`"version":1`, `"version":2`, "recipe.version"},
		{`"name":"x"`, `"name":""`, "recipe.name"},
		{`"name":"x"`, `"name":"x","more":1`, "recipe"},
		{`"name":"x"`, `"name":7`, "recipe.name"},
		{`https://a.example`, `http://a.example`, "recipe.base"},
		{`https://a.example`, `https://u:p@a.example`, "recipe.base"},
		{`https://a.example`, `https://a.example/x`, "recipe.base"},
		{`https://a.example`, `https://` + long, "recipe.base"},
		{`"name":"x"`, `"name":"x","zone":"Mars/Olympus"`, "recipe.zone"},
		{`"/l"`, `"l"`, "recipe.list.path"},
		{`"/l"`, `"//b.example"`, "recipe.list.path"},
		{`"/l"`, `"/l?x={secret.password}"`, "recipe.list.path"},
		{`"rows":"tr"`, `"rows":""`, "recipe.list.rows"},
		{`"rows":"tr"`, `"rows":"tr["`, "recipe.list.rows"},
		{`"rows":"tr"`, `"rows":"tr::before"`, "recipe.list.rows"},
		{`"rows":"tr"`, `"rows":"tr","next":"a","path":"/l?p={page}"`, "recipe.list.next"},
		{`"rows":"tr"`, `"rows":"tr","first_page":2`, "recipe.list.first_page"},
		{`"rows":"tr"`, `"rows":"tr","total":{"type":"date","formats":["YYYY"]}`, "recipe.list.total.type"},
		{`["id"]`, `["no"]`, "recipe.list.identity[0]"},
		{`["id"]`, `[]`, "recipe.list.identity"},
		{`{"required":true}`, `{}`, "recipe.list.fields.id.required"},
		{`{"required":true}`, `{"required":true},"A":{}`, "recipe.list.fields"},
		{`{"required":true}`, `{"required":true,"type":"date"}`, "recipe.list.fields.id.formats"},
		{`{"required":true}`, `{"required":true,"type":"date","formats":["Q"]}`, "recipe.list.fields.id.formats[0]"},
		{`{"required":true}`, `{"required":true,"type":"colour"}`, "recipe.list.fields.id.type"},
		{`{"required":true}`, `{"required":true,"pattern":"("}`, "recipe.list.fields.id.pattern"},
		{`{"required":true}`, `{"required":true,"default":"x"}`, "recipe.list.fields.id.default"},
		{`"name":"x"`, `"name":"x","limits":{"pages":51}`, "recipe.limits.pages"},
		{`"name":"x"`, `"name":"x","limits":{"interval":0.5}`, "recipe.limits.interval"},
		{`"name":"x"`, `"name":"x","limits":{"pages":50,"interval":5}`, "recipe.limits"},
		{`"name":"x"`, `"name":"x","limits":{"page_bytes":9999999}`, "recipe.limits.page_bytes"},
		{`"name":"x"`, `"name":"x","login":{"path":"/in","form":"form","fields":{"p":"{secret.password}"}}`, "recipe.logged_out"},
		{`"name":"x"`, `"name":"x","logged_out":{"path":"/in"},"login":{"path":"/in","form":"form","fields":{"p":"{secret.token}"}}`, "recipe.login.fields.p"},
	} {
		text := strings.Replace(least, c.from, c.to, 1)
		if text == least {
			t.Fatalf("%s is not in the recipe", c.from)
		}
		if _, err := Parse([]byte(text)); domain.KindOf(err) != domain.KindInvalid || domain.FieldOf(err) != c.field {
			t.Errorf("%s: %v, want a fault of %s", c.to, err, c.field)
		}
	}
	for name, text := range map[string]string{"nothing": "", "a list": "- 1", "broken YAML": "a: [", "two documents": least + "\n---\na: 1", "two objects": least + "{}",
		"too long": least + strings.Repeat(" ", MaxRecipe), "an alias of aliases": "a: &a [1,1,1]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]"} {
		if _, err := Parse([]byte(text)); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValuesAreReadByType(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		f    Field
		raw  string
		want string
		why  string
	}{
		{Field{}, "  a \n b\u00a0c ", "a b c", ""},
		{Field{Type: TypeDate, Formats: []string{"DD/MM/YYYY"}}, "05/06/2027", "2027-06-05", ""},
		{Field{Type: TypeDate, Formats: []string{"DD/MM/YYYY", "D MMMM YYYY"}}, "5 June 2027", "2027-06-05", ""},
		{Field{Type: TypeDate, Formats: []string{"DD/MM/YYYY"}}, "31/02/2027", "", "fits none of the formats"},
		{Field{Type: TypeDate, Formats: []string{"dddd[,] D MMM YYYY"}}, "Saturday, 5 Jun 2027", "2027-06-05", ""},
		{Field{Type: TypeTime, Formats: []string{"h:mm a", "HH:mm"}}, "2:30 pm", "14:30", ""},
		{Field{Type: TypeTime, Formats: []string{"h:mm a", "HH:mm"}}, "14:30", "14:30", ""},
		{Field{Type: TypeDateTime, Formats: []string{"YYYY-MM-DD[T]HH:mm"}}, "2027-06-05T14:00", "2027-06-05T13:00:00Z", ""},
		{Field{Type: TypeDateTime, Formats: []string{"YYYY-MM-DD HH:mm"}}, "2027-03-28 01:30", "2027-03-28T01:30:00Z", ""}, // the hour does not exist
		{Field{Type: TypeDateTime, Formats: []string{"YYYY-MM-DD[T]HH:mm:ssZ"}}, "2027-06-05T14:00:00+02:00", "2027-06-05T12:00:00Z", ""},
		{Field{Type: TypeNumber}, "1,234", "1234", ""},
		{Field{Type: TypeNumber}, "-1 234.50", "-1234.50", ""},
		{Field{Type: TypeNumber}, "twelve", "", "is no number"},
		{Field{Pattern: `(\d+) shoots`}, "all 12 shoots", "12", ""},
		{Field{Pattern: `\d+`}, "no", "", "does not fit the pattern"},
		{Field{Map: map[string]string{"Booked": "confirmed"}}, "BOOKED", "confirmed", ""},
		{Field{Map: map[string]string{"Booked": "confirmed"}}, "Lost", "", "is not among the mapped values"},
	} {
		f, err := compileField("f", c.f)
		if err != nil {
			t.Errorf("%+v: %v", c.f, err)
			continue
		}
		if got, why := f.read(c.raw, zone); got != c.want || why != c.why {
			t.Errorf("%q as %+v: %q %q, want %q %q", c.raw, c.f, got, why, c.want, c.why)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(least))
	f.Add([]byte(portalRecipe))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(`{"list":{"fields":{"x":{"formats":["[x"]}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err != nil {
			if domain.KindOf(err) != domain.KindInvalid {
				t.Fatalf("%v", err)
			}
			return
		}
		p, err := r.Compile()
		if err != nil {
			t.Fatal("parsed and does not compile: ", err)
		}
		p.Explain([]byte("<table><tr id=a><td>1</table>"), "", 1, nil)
	})
}
