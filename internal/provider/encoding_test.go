package provider

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

func packed(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encoded(coding string, body []byte) Webhook {
	h := http.Header{}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	return Webhook{Header: h, Body: body}
}

func TestBodiesAreUnpackedOnlyWhereDeclaredAndWithinBounds(t *testing.T) {
	t.Parallel()
	text := strings.Repeat(`{"a":1}`, 100)
	for name, c := range map[string]struct {
		declared string
		w        Webhook
		want     string // "" = refused
	}{
		"plain":                {"", encoded("", []byte(text)), text},
		"plain, gzip declared": {Gzip, encoded("identity", []byte(text)), text},
		"gzip":                 {Gzip, encoded("GZIP", packed(t, text)), text},
		"two members":          {Gzip, encoded("gzip", append(packed(t, text), packed(t, "x")...)), text + "x"},
		"not declared":         {"", encoded("gzip", packed(t, text)), ""},
		"another coding":       {Gzip, encoded("br", packed(t, text)), ""},
		"twice":                {Gzip, encoded("gzip, gzip", packed(t, text)), ""},
		"not gzip":             {Gzip, encoded("gzip", []byte(text)), ""},
		"cut off":              {Gzip, encoded("gzip", packed(t, text)[:40]), ""},
		"bomb":                 {Gzip, encoded("gzip", packed(t, strings.Repeat("x", 1<<20))), ""},
		"over the cap":         {Gzip, encoded("gzip", bytes.Repeat(packed(t, strings.Repeat("x", 1<<16)), 200)), ""},
	} {
		got, err := c.w.Plain(c.declared)
		if c.want == "" && domain.KindOf(err) != domain.KindInvalid || string(got) != c.want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add(packed(f, "{}"))
	f.Add(packed(f, strings.Repeat("x", 1<<18)))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Fuzz(func(t *testing.T, body []byte) {
		plain, err := encoded("gzip", body).Plain(Gzip)
		if most := min(MaxPlain, max(MaxRatio*len(body), plainRoom)); len(plain) > most || err != nil && domain.KindOf(err) != domain.KindInvalid {
			t.Fatalf("%d bytes of %d, %v", len(plain), len(body), err)
		}
	})
}
