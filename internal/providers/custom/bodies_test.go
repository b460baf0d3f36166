package custom

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

func TestFormsBecomeMaps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		want  any
		fault string
	}{
		{in: "", want: obj{}},
		{in: "a=1&b=x+y%26%3D", want: obj{"a": "1", "b": "x y&="}},
		{in: "a=1&a=2&a=", want: obj{"a": []any{"1", "2", ""}}},
		{in: "&&a&=b&", want: obj{"a": "", "": "b"}},
		{in: "a=1;b=2", want: obj{"a": "1;b=2"}},
		{in: "a[]=1&a[]=2&a=b=c", want: obj{"a[]": []any{"1", "2"}, "a": "b=c"}},
		{in: "n=J%C3%BCrgen", want: obj{"n": "Jürgen"}},
		{in: "a=%C3", fault: "not UTF-8 (byte 2)"},
		{in: "a=1&b=%4", fault: "an escape is cut off (byte 6)"},
		{in: "a=%4&b=1", fault: "an escape is cut off (byte 2)"},
		{in: "a=%zz", fault: "not two hexadecimal digits (byte 2)"},
		{in: strings.Repeat("a&", maxFormFields+1), fault: "more than 10000 form fields"},
	} {
		got, err := parseForm([]byte(c.in))
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) || got != nil {
				t.Errorf("%.30q: %v, error %v, want %s", c.in, got, err, c.fault)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%.30q: %v (-want +got)\n%s", c.in, err, diff)
		}
	}
}

func TestXMLBecomesMaps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		want  any
		fault string
	}{
		{in: `<a/>`, want: obj{"a": obj{}}},
		{in: "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- c --><a> x <!-- y -->z </a>\n", want: obj{"a": obj{"#text": "x z"}}},
		{in: `<a id="1" n:id2='2' xmlns:n="urn:n" xmlns="urn:d"><n:b>x</n:b></a>`, want: obj{"a": obj{"@id": "1", "@id2": "2", "b": obj{"#text": "x"}}}},
		{in: `<a><b>1</b><c/><b>2</b><b/></a>`, want: obj{"a": obj{"b": []any{obj{"#text": "1"}, obj{"#text": "2"}, obj{}}, "c": obj{}}}},
		{in: `<a>x &amp; &#x41;<![CDATA[<y>]]></a>`, want: obj{"a": obj{"#text": "x & A<y>"}}},
		{in: `<a>one<b/>two</a>`, want: obj{"a": obj{"#text": "onetwo", "b": obj{}}}},
		{in: ``, fault: "no element"},
		{in: `text`, fault: "text outside"},
		{in: `<a>`, fault: "ends inside an element"},
		{in: `<a></b>`, fault: "under another name"},
		{in: `<n:a></m:a>`, fault: "under another name"},
		{in: `</a>`, fault: "an end without a begin"},
		{in: `<a/><b/>`, fault: "a second element"},
		{in: `<a/>x`, fault: "text outside"},
		{in: `<a x="1" x="2"/>`, fault: "attribute occurs twice"},
		{in: `<a n:x="1" m:x="2"/>`, fault: "attribute occurs twice"},
		{in: `<a x=1/>`, fault: "not well-formed"},
		{in: "<a>\xff</a>", fault: "not well-formed"},
		{in: `<?xml version="1.0" encoding="iso-8859-1"?><a/>`, fault: "the encoding must be UTF-8"},
		{in: `<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, fault: "document types"},
		{in: `<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>`, fault: "document types"},
		{in: `<a><!ELEMENT b ANY></a>`, fault: "document types"},
		{in: `<a>&Marigold;</a>`, fault: "not well-formed XML (byte"},
		{in: strings.Repeat("<a>", 65) + strings.Repeat("</a>", 65), fault: "nested deeper than 64"},
		{in: "<a>" + strings.Repeat("<b/>", maxXMLElements) + "</a>", fault: "more than 50000 elements"},
		{in: "<a " + manyAttributes(101) + "/>", fault: "more than 100 attributes"},
	} {
		got, err := parseXML([]byte(c.in))
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) || got != nil || strings.Contains(err.Error(), "Marigold") {
				t.Errorf("%.60q: %v, error %v, want %s", c.in, got, err, c.fault)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%.60q: %v (-want +got)\n%s", c.in, err, diff)
		}
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `a%d="" `, i)
	}
	return b.String()
}

func TestFormsSurviveTheRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := url.Values(rapid.MapOfN(rapid.String(), rapid.SliceOfN(rapid.String(), 1, 4), 0, 8).Draw(t, "fields"))
		got, err := parseForm([]byte(want.Encode()))
		if err != nil {
			t.Fatalf("%q: %v", want.Encode(), err)
		}
		back := url.Values{}
		for name, v := range got.(map[string]any) {
			switch v := v.(type) {
			case string:
				back.Add(name, v)
			case []any:
				for _, one := range v {
					back.Add(name, one.(string))
				}
			}
		}
		if !reflect.DeepEqual(want, back) {
			t.Fatalf("%q became %q", want, back)
		}
	})
}

// xmlTree draws an element as parseXML gives it.
func xmlTree(t *rapid.T, depth int) map[string]any {
	name := rapid.StringMatching(`[a-z][a-z0-9_.-]{0,4}`)
	text := rapid.StringMatching(`[ -~äöü漢]{0,8}`)
	out := map[string]any{}
	for range rapid.IntRange(0, 2).Draw(t, "attributes") {
		out["@"+name.Draw(t, "attribute")] = text.Draw(t, "value")
	}
	if s := strings.TrimSpace(text.Draw(t, "text")); s != "" {
		out["#text"] = s
	}
	if depth == 0 {
		return out
	}
	for range rapid.IntRange(0, 3).Draw(t, "children") {
		child := xmlTree(t, depth-1)
		if rapid.Bool().Draw(t, "repeated") {
			out[name.Draw(t, "child")] = []any{child, xmlTree(t, depth-1)}
		} else {
			out[name.Draw(t, "child")] = child
		}
	}
	return out
}

func writeXML(b *bytes.Buffer, name string, e map[string]any) {
	b.WriteString("<" + name)
	for _, k := range sortedKeys(e) {
		if v, ok := e[k].(string); ok && k[0] == '@' {
			b.WriteString(" " + k[1:] + `="`)
			_ = xml.EscapeText(b, []byte(v))
			b.WriteString(`"`)
		}
	}
	b.WriteString(">")
	if s, ok := e["#text"].(string); ok {
		_ = xml.EscapeText(b, []byte(s))
	}
	for _, k := range sortedKeys(e) {
		switch v := e[k].(type) {
		case map[string]any:
			writeXML(b, k, v)
		case []any:
			for _, one := range v {
				writeXML(b, k, one.(map[string]any))
			}
		}
	}
	b.WriteString("</" + name + ">")
}

func TestXMLSurvivesTheRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]any{"root": xmlTree(t, 3)}
		var b bytes.Buffer
		writeXML(&b, "root", want["root"].(map[string]any))
		got, err := parseXML(b.Bytes())
		if diff := cmp.Diff(any(want), got); err != nil || diff != "" {
			t.Fatalf("%s: %v\n%s", b.String(), err, diff)
		}
	})
}

// withinBounds reports whether a value has only the types that expressions read and is no deeper than allowed.
func withinBounds(v any, depth int) error {
	if depth > maxDepth+1 {
		return fmt.Errorf("deeper than %d", maxDepth+1)
	}
	switch v := v.(type) {
	case nil, bool, string, int64, uint64, float64:
		return nil
	case []any:
		for _, e := range v {
			if err := withinBounds(e, depth); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		for _, e := range v {
			if err := withinBounds(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("a value of type %T", v)
}

func fuzzBody(f *testing.F, parse func([]byte) (any, error), seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err != nil {
			if v != nil {
				t.Errorf("both a value and %v", err)
			}
			if !strings.Contains(err.Error(), "(byte ") {
				t.Errorf("an error without a position: %v", err)
			}
			return
		}
		if err := withinBounds(v, 0); err != nil {
			t.Error(err)
		}
		again, err := parse(slices.Clone(b))
		if err != nil || !cmp.Equal(v, again) {
			t.Errorf("parsed twice: %v and %v, %v", v, again, err)
		}
	})
}

func FuzzForm(f *testing.F) {
	fuzzBody(f, parseForm, "", "a=1&b=x+y%26", "a=1&a=2&a=3", "&&=&a", "a=%", "a=%4&", "%C3%BC=%zz", "a[b]=c;d", "a=%00%ff")
}

func FuzzXML(f *testing.F) {
	fuzzBody(f, parseXML, "<a/>", "<a b='c'>x<d/>y<d>z</d></a>", "<?xml version='1.0' encoding='utf-8'?><n:a xmlns:n='u'/>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
		"<a>&#0;&#x110000;</a>", "<a><![CDATA[x]]></a>", "<a></b>", "\ufeff<a/>", "<a"+strings.Repeat("<a>", 70), "<?xml version='1.0' encoding='utf-16'?><a/>")
}

// FuzzExpressionInput gives converted bodies of every notation to expressions of every kind: nothing panics, and an error
// never repeats a value.
func FuzzExpressionInput(f *testing.F) {
	var parts []*webhookPart
	for _, contentType := range []string{"application/json", typeForm, "text/xml"} {
		c, err := compileAll(hookPart(f, obj{
			"content_types": []string{contentType}, "event_type": "body.?type.orValue('none')", "items": "as_list(body.?list)",
			"schema": obj{"type": "object", "maxProperties": 50, "properties": obj{"list": obj{"items": obj{"minLength": 0}}}},
			"rules": []obj{
				{"name": "drop", "when": "body.?drop.orValue(false) == true", "drop": obj{"reason": "x"}},
				{"name": "size", "when": "as_list(body.?list).exists(x, x == body)", "priority": "bulk"},
				{"name": "route", "when": "'to' in body && string(body.to) == 'x'", "route": []string{routeA}, "keep": true},
			},
		}), testSecrets, time.UTC)
		if err != nil {
			f.Fatal(err)
		}
		parts = append(parts, c.webhook)
	}
	for i, s := range []string{`{"list":[{` + entry + `}],"type":"t"}`, `{"drop":true}`, "list=1&list=2&to=x&type=a", "<a><list/></a>", "<list>x</list>", `{"to":[]}`} {
		f.Add(uint8(i), []byte(s))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		part := parts[int(which)%len(parts)]
		got, priority, err := part.decode(newWork(t.Context()), provider.Webhook{Header: http.Header{}, Body: b, ReceivedAt: received})
		if err != nil {
			if k := domain.KindOf(err); k != domain.KindInvalid {
				t.Errorf("error of kind %s: %v", k, err)
			}
			if !reflect.DeepEqual(got, provider.Decoded{}) {
				t.Errorf("both %+v and %v", got, err)
			}
			return
		}
		if len(got.EventType) > provider.MaxEventType || got.Ignore != "" && len(got.Changes) > 0 || priority < 0 || priority > domain.PriorityBulk {
			t.Errorf("decoded %+v with priority %d", got, priority)
		}
	})
}

func TestContentTypesChooseTheConversion(t *testing.T) {
	t.Parallel()
	types := []string{"application/json", typeForm, "application/vnd.hotel+xml", "text/xml"}
	settings := func(types []string) json.RawMessage {
		return hookPart(t, obj{"content_types": types, "mapping": obj{"external_id": "body.?a.?b[?'#text'].or(body.?a).orValue('none')", "op": "'remove'", "category": "'hold'", "start": "'x'"}})
	}
	for _, c := range []struct {
		types      []string
		kind, body string
		want       string
	}{
		{types, "application/json; charset=utf-8", `{"a":"json"}`, "json"},
		{types, typeForm, "a=form", "form"},
		{types, "APPLICATION/X-WWW-FORM-URLENCODED; charset=UTF-8", "a=form", "form"},
		{types, "text/xml", "<a><b>xml</b></a>", "xml"},
		{types, "application/vnd.hotel+xml", "<a><b>xml</b></a>", "xml"},
		{types, "", `{"a":"first listed"}`, "first listed"},
		{[]string{typeForm}, "", "a=only+listed", "only listed"},
		{nil, typeForm, `{"a":"json by default"}`, "json by default"},
		{[]string{"text/plain"}, "text/plain", `{"a":"any other name"}`, "any other name"},
		{types, "text/xml; charset=iso-8859-1", "<a/>", "body: must be in UTF-8; its Content-Type names another charset"},
		{types, typeForm + "; charset=windows-1252", "a=1", "body: must be in UTF-8; its Content-Type names another charset"},
		{types, "text/xml", `{"a":1}`, "body: text outside of the root element (byte 7)"},
	} {
		got, err := decodeWith(t, settings(c.types), c.body, http.Header{"Content-Type": {c.kind}})
		text := errText(err)
		if err == nil {
			text = got.Changes[0].ExternalID
		}
		if text != c.want {
			t.Errorf("%q of %v: %q, want %q", c.kind, c.types, text, c.want)
		}
	}
}

func TestBodiesOfEveryNotationAreBounded(t *testing.T) {
	t.Parallel()
	for _, f := range []format{formatJSON, formatForm, formatXML} {
		if v, err := parseBody(f, make([]byte, maxDelivery+1)); domain.KindOf(err) != domain.KindInvalid || v != nil {
			t.Errorf("%s: %v, error %v", f, v, err)
		}
	}
}
