package webhookauth

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func FuzzSignatureList(f *testing.F) {
	cfg := Config{Scheme: Stripe}
	good := mustSign(f, cfg, whsec, "", noon, "{}").Get("Stripe-Signature")
	for _, s := range []string{good, good + ",v1=potato,v0=x", "t=,v1=", "t=1,t=2,v1=x", ",,,", "=", "v1", ""} {
		f.Add(s, []byte("{}"))
	}
	v := mustNew(f, cfg, whsec)
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		_, err := v.Verify(t.Context(), Request{Header: http.Header{"Stripe-Signature": {header}}, Body: body}, noon)
		if code(t, err) != "" {
			return
		}
		// Accepted: the signature of this body at one of the times named is in the list.
		for _, entry := range strings.Split(header, ",") {
			if stamp, ok := strings.CutPrefix(strings.Trim(entry, " "), "t="); ok {
				seconds, _ := parseTimestamp(stamp)
				if want := mustSign(t, cfg, whsec, "", time.Unix(seconds, 0), string(body)); strings.Contains(strings.ToLower(header), want.Get("Stripe-Signature")[len(stamp)+3:]) {
					return
				}
			}
		}
		t.Fatalf("accepted %q", header)
	})
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{body}", "{id}.{timestamp}.{body}", "{method}{url}{body}{timestamp}", "{", "}", "{{body}}", "{body}{id}", "v0:{timestamp}:{body}"} {
		f.Add(s, "id-1", []byte("body"))
	}
	f.Fuzz(func(t *testing.T, template, id string, body []byte) {
		parsed, err := parseTemplate(Content(template))
		if err != nil {
			return
		}
		// What is computed is the template with its fields filled in.
		v := values{timestamp: "1781956800", id: id, url: "https://example.com", method: "POST"}
		got := append(append(v.appendTo(nil, parsed.before), body...), v.appendTo(nil, parsed.after)...)
		var want []byte
		for rest := template; rest != ""; {
			var literal string
			var more bool
			literal, rest, more = strings.Cut(rest, "{")
			want = append(want, literal...)
			if !more {
				break
			}
			var name string
			name, rest, _ = strings.Cut(rest, "}")
			want = append(want, map[string]string{"timestamp": v.timestamp, "id": v.id, "url": v.url, "method": v.method, "body": string(body)}[name]...)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%q gives %q, want %q", template, got, want)
		}
	})
}

func FuzzStructuredField(f *testing.F) {
	for _, s := range []string{`sig1=("@method" "content-digest";req);created=1;keyid="k\"1"`, "sha-256=:AAAA:, md5=:AA==:;x", "a, b;c=?0, d=tok/en", "a=-12;b=?1", "a=()", "a=(", "a=:", `a="`, "a=1.5", "*a_-.=1", "a=1,", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		members, ok := parseDictionary(s)
		if !ok {
			return
		}
		// The canonical form reads the same, and is its own canonical form.
		canonical := canonicalDictionary(members)
		again, ok := parseDictionary(canonical)
		if !ok || canonicalDictionary(again) != canonical {
			t.Fatalf("%q became %q, which became %q", s, canonical, canonicalDictionary(again))
		}
	})
}

func canonicalDictionary(members []fieldMember) string {
	var b []byte
	for i, m := range members {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, m.name...)
		b = appendValue(append(b, '='), &m.value)
	}
	return string(b)
}

func FuzzMessageSignatures(f *testing.F) {
	cfg := Config{Scheme: MessageSignatures, Algorithm: messageHMAC}
	h := mustSign(f, cfg, whsec, "id-1", noon, "{}")
	f.Add(h.Get("Signature-Input"), h.Get("Signature"), h.Get("Content-Digest"), "https://example.com/", []byte("{}"))
	f.Add(`sig1=("@query-param";name="a" "@path" "content-digest");created=1781956800`, "sig1=:AAAA:", "sha-512=:AAAA:", "/a?a=%zz", []byte(nil))
	v := mustNew(f, cfg, whsecTwo, whsec)
	f.Fuzz(func(t *testing.T, input, signature, digest, address string, body []byte) {
		header := http.Header{"Signature-Input": {input}, "Signature": {signature}, "Content-Digest": {digest}}
		_, err := v.Verify(t.Context(), Request{Header: header, URL: address, Body: body}, noon)
		if code(t, err) == "" && checkDigest(header, body) != nil {
			t.Fatal("accepted a body that its digest does not fit")
		}
	})
}

func FuzzTwilioForm(f *testing.F) {
	for _, s := range []string{"a=b&c=d", "Digits=5678&Digits=1234&Digits=1234", "=&=&&", "a=%zz", "%2B=+", "a;b=c", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		fields, ok := parseForm(body)
		want, err := url.ParseQuery(body)
		// The standard library refuses semicolons beside broken escapes; it has no bound.
		if !ok && err == nil && strings.Count(body, "&") < MaxFormFields {
			t.Fatalf("refused %q", body)
		}
		if !ok || err != nil {
			return
		}
		n := 0
		for _, values := range want {
			n += len(values)
		}
		if n != len(fields) {
			t.Fatalf("%q: %d fields, want %d", body, len(fields), n)
		}
		twilioForm(fields)
	})
}

func FuzzConfiguredHMAC(f *testing.F) {
	cfg := Config{Scheme: HMAC, Header: "X-S", Algorithm: "sha384", Encoding: Base64URL, Content: "{id}.{timestamp}.{body}", IDHeader: "X-Id", TimestampHeader: "X-T"}
	h := mustSign(f, cfg, whsec, "id", noon, "{}")
	f.Add(h.Get("X-S"), h.Get("X-T"), "id", []byte("{}"))
	f.Add(base64.URLEncoding.EncodeToString(make([]byte, 48)), "01", "a.b", []byte(nil))
	v := mustNew(f, cfg, whsec)
	f.Fuzz(func(t *testing.T, sig, ts, id string, body []byte) {
		got, err := v.Verify(t.Context(), Request{Header: http.Header{"X-S": {sig}, "X-T": {ts}, "X-Id": {id}}, Body: body}, noon)
		if code(t, err) != "" {
			return
		}
		if again := mustSign(t, cfg, whsec, got.MessageID, got.Timestamp, string(body)); again.Get("X-S") != strings.TrimRight(sig, "=") {
			t.Fatalf("accepted %q, but signing gives %q", sig, again.Get("X-S"))
		}
	})
}
