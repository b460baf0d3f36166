package webhookauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// plainObject is what a part means, read by encoding/json token by token: the form that the reader of members must agree
// with.
func plainObject(part string) (map[string]any, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || strings.ContainsAny(part, "\r\n") || !utf8.Valid(raw) {
		return nil, errNotJSON
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := plainValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more behind the end")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("no object")
	}
	return object, nil
}

func plainValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxClaimDepth {
		return nil, errDeep
	}
	if open == '[' {
		list := []any{}
		for d.More() {
			v, err := plainValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	object := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if _, twice := object[name]; !ok || twice {
			return nil, errTwice
		}
		if object[name], err = plainValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return object, err
}

// checkObject holds the reader of members against encoding/json.
func checkObject(t *testing.T, part string) {
	t.Helper()
	want, wantErr := plainObject(part)
	got, err := strictObject(part, nil)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: %v, but token by token %v", part, err, wantErr)
	}
	if err != nil {
		return
	}
	if len(got) != len(want) {
		t.Fatalf("%q: %d members, want %d", part, len(got), len(want))
	}
	for name, v := range want {
		m, there := got.get(name)
		if !there {
			t.Fatalf("%q: no member %q", part, name)
		}
		switch v := v.(type) {
		case string:
			if m.kind != isText || m.text != v {
				t.Fatalf("%q: %q is %q, want %q", part, name, m.text, v)
			}
		case json.Number:
			if m.kind != isNumber || m.text != string(v) {
				t.Fatalf("%q: %q is %q, want %s", part, name, m.text, v)
			}
			wantF, wantErr := v.Float64()
			if f, ok := got.number(name); ok != (wantErr == nil) || ok && f != wantF {
				t.Fatalf("%q: %q is %v, want %v", part, name, f, wantF)
			}
		case bool:
			if m.kind != isBoolean || (m.text == "true") != v {
				t.Fatalf("%q: %q is %q, want %t", part, name, m.text, v)
			}
		case nil:
			if m.kind != isNull {
				t.Fatalf("%q: %q is not null", part, name)
			}
		case map[string]any:
			if m.kind != isObject {
				t.Fatalf("%q: %q is not an object", part, name)
			}
		case []any:
			if m.kind != isList || m.length() != len(v) {
				t.Fatalf("%q: %q has %d entries, want %d", part, name, m.length(), len(v))
			}
			var wantTexts []string
			texts := true
			for _, one := range v {
				text, ok := one.(string)
				texts = texts && ok
				wantTexts = append(wantTexts, text)
			}
			gotTexts, err := m.texts()
			if (err == nil) != texts || texts && !cmp.Equal(gotTexts, wantTexts) {
				t.Fatalf("%q: %q has the texts %q, %v, want %q", part, name, gotTexts, err, wantTexts)
			}
		}
	}
}

// objects are texts whose meaning readers of JSON have disagreed about.
var objects = []string{
	`{}`, ` { } `, `{"a":1}`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{"a":}`, `{"a":1 "b":2}`, `{"a":1,"b"}`, `{a:1}`, `{1:2}`, `{"a":1}}`, `{"a":1}{}`, `{"a":1} x`,
	`{"a":1`, `{"a"`, `{`, ``, ` `, `[]`, `[{}]`, `1`, `"a"`, `null`, `true`, `{"a":[1,2,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1,2}}`, `{"a":{"b":1]}`, `{"a":[]}`, `{"a":[ "x" , "y" ]}`,
	`{"a":["x",["y"]]}`, `{"a":["x",1]}`, `{"a":0}`, `{"a":-0}`, `{"a":01}`, `{"a":+1}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1.5e+3}`, `{"a":1E-2}`, `{"a":1e}`, `{"a":1e+}`, `{"a":1e999}`,
	`{"a":0x1}`, `{"a":1_000}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":tru}`, `{"a":true}`, `{"a":truee}`, `{"a":false,"b":null}`, `{"a":nul}`, `{"a":'x'}`, "{\"a\":\"\x00\"}", "{\"a\":\"\t\"}",
	"{\"a\":\"\x7f\"}", `{"a":"\u0041\n\"\\\/"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12G4"}`, `{"a":"\ud800"}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud800\u0041"}`, `{"a":"\`, `{"a":"\"`, `{"a":"\\"}`,
	`{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `{"a":{"b":1,"b":1}}`, `{"a":[{"b":1},{"b":1}]}`, `{"":1}`, `{"":1,"":2}`, "\ufeff{}", "{}\x00", "\x00{}", "{\x00}", "{\"a\":1\x0b}", "\v{}", `//x`, `{"a":1/*x*/}`,
	`{"a":` + strings.Repeat("[", 7) + strings.Repeat("]", 7) + `}`, `{"a":` + strings.Repeat("[", 8) + strings.Repeat("]", 8) + `}`, `{"a":` + strings.Repeat(`{"a":`, 7) + `1` + strings.Repeat("}", 7) + `}`,
	`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1}`, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"m":1}`,
	`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"b":1}`, `{"aud":["x","y"],"exp":1700000000,"iss":"i"}`, "{\"a\":\"\xff\"}", "{\"\u00e4\":\"\u20ac\u2028\"}",
}

func TestMembersAreThoseThatEncodingJSONReads(t *testing.T) {
	t.Parallel()
	for _, text := range objects {
		checkObject(t, b64url([]byte(text)))
	}
	for _, part := range []string{"e30=", "e3 0", "e30\n", "e31", "e30", "-_-_", "+/+/"} {
		checkObject(t, part)
	}
}

func FuzzMembersOfTokens(f *testing.F) {
	for _, text := range objects {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkObject(t, b64url(text)) })
}
