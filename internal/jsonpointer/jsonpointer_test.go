package jsonpointer

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestAPointerLeadsToOneScalar(t *testing.T) {
	t.Parallel()
	const body = `{"skip":{"id":[1,{"a":"}"}]},"id":7,"data":[{"id":"x"},{"a/b":{"~":true,"":"empty name"}}],"none":null,"text":"","id":8,"neg":-1.50e2}`
	for pointer, want := range map[string]string{
		"/id": "n7", "/data/0/id": "sx", "/data/1/a~1b/~0": "btrue", "/data/1/a~1b/": "sempty name", "/neg": "n-1.50e2", "/skip/id/1/a": "s}",
		"/none": "", "/text": "", "/data": "", "/skip": "", "/data/2": "", "/data/00/id": "", "/data/-": "", "/data/x": "", "/id/0": "", "/absent": "", "/data/0/id/x": "",
	} {
		p, err := Parse(pointer)
		if err != nil {
			t.Fatal(pointer, err)
		}
		if got, ok := p.Scalar([]byte(body)); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %t; want %q", pointer, got, ok, want)
		}
	}
	id, err := Parse("/id")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "[", `"id"`, "{", `{"a":`, `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `,"id":1}`, `{"id":"` + strings.Repeat("x", MaxValue+1) + `"}`} {
		if got, ok := id.Scalar([]byte(bad)); ok {
			t.Errorf("%.20s: %q", bad, got)
		}
	}
}

func TestAWrongPointerIsRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "id", "/a~", "/a~2", "/" + strings.Repeat("x", MaxPointer), strings.Repeat("/a", MaxSteps+1)} {
		if _, err := Parse(bad); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func FuzzScalar(f *testing.F) {
	for _, s := range []string{`{"data":{"id":"a"}}`, `{"data":[1,2]}`, `{"data":{"id":1e5}}`, `{"data":{"x":[[[]]],"id":false}}`, `[`, `{"data":{"id":"\ud800"}}`} {
		f.Add([]byte(s))
	}
	p, err := Parse("/data/id")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := p.Scalar(body)
		if ok && (len(got) < 2 || len(got) > MaxValue+1) {
			t.Fatalf("%d bytes", len(got))
		}
		// A standard reader that finds one member of each name finds the same.
		var v struct {
			Data map[string]json.RawMessage `json:"data"`
		}
		if json.Unmarshal(body, &v) != nil || strings.Count(strings.ToLower(string(body)), `"data"`) != 1 || !strings.Contains(string(body), `"data"`) || strings.Count(strings.ToLower(string(body)), "id") != 1 || strings.Contains(string(body), `\u`) {
			return
		}
		var text string
		if raw, there := v.Data["id"]; there && json.Unmarshal(raw, &text) == nil && string(raw) != "null" && text != "" && len(text) <= MaxValue && (!ok || got != "s"+text) {
			t.Fatalf("%q, %t; want %q of %q", got, ok, text, body)
		}
	})
}
