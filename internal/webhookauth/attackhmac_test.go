package webhookauth

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Each case begins with a genuine, fresh request of a config and is one way to get something else accepted.
func TestAttacksOnConfiguredHMAC(t *testing.T) {
	t.Parallel()
	const body = `{"booking":1}`
	const secret = "a-shared-secret-of-some-length"
	full := Config{Scheme: HMAC, Header: "X-Sig", Algorithm: "sha512", Encoding: Base64URL, Content: "{id}.{timestamp}.{body}", IDHeader: "X-Id", TimestampHeader: "X-Time", TimestampUnit: "milliseconds"}
	tail := Config{Scheme: HMAC, Header: "X-Sig", Content: "{body}|{id}", IDHeader: "X-Id"}
	list := Config{Scheme: HMAC, Header: "X-Sig", SignatureKey: "v1", TimestampKey: "t", Content: "{timestamp}.{body}"}
	old := Config{Scheme: HMAC, Header: "X-Sig", Algorithm: "sha1", AllowSHA1: true, Prefix: "sha1="}
	place := Config{Scheme: HMAC, Header: "X-Sig", Content: "{url}{body}", URL: "https://example.com/a"}
	set := func(name string, f func(string) string) func(*Request) {
		return func(r *Request) { r.Header.Set(name, f(r.Header.Get(name))) }
	}
	to := func(name, value string) func(*Request) { return set(name, func(string) string { return value }) }
	for name, c := range map[string]struct {
		cfg   Config
		alter func(*Request)
		want  Code
	}{
		"signature absent":                  {full, func(r *Request) { r.Header.Del("X-Sig") }, MissingHeader},
		"signature of a shorter hash":       {full, to("X-Sig", strings.Repeat("A", 43)), MalformedSignature},
		"signature in the other alphabet":   {full, set("X-Sig", func(s string) string { return strings.Repeat("+/", 43) }), SignatureMismatch},
		"signature with half its padding":   {full, set("X-Sig", func(s string) string { return s + "=" }), MalformedSignature},
		"signature with other spare bits":   {full, set("X-Sig", otherSpareBitsRaw), SignatureMismatch},
		"id absent where it is signed":      {full, func(r *Request) { r.Header.Del("X-Id") }, MissingHeader},
		"id empty":                          {full, to("X-Id", ""), MalformedID},
		"id swapped":                        {full, to("X-Id", "id-2"), SignatureMismatch},
		"fields shifted by the id":          {full, to("X-Id", "id-1.1781956800000"), MalformedID},
		"id of 1 MiB":                       {full, to("X-Id", strings.Repeat("i", 1<<20)), HeaderTooLong},
		"timestamp in seconds":              {full, to("X-Time", "1781956800"), TimestampTooOld},
		"timestamp later by a millisecond":  {full, to("X-Time", "1781956800001"), SignatureMismatch},
		"timestamp of sixteen digits":       {full, to("X-Time", "1781956800000000"), MalformedTimestamp},
		"timestamp with a fraction":         {full, to("X-Time", "1781956800000.0"), MalformedTimestamp},
		"timestamp twice":                   {full, func(r *Request) { r.Header.Add("X-Time", "1") }, DuplicateHeader},
		"end of the body moved into the id": {tail, func(r *Request) { r.Body = []byte(`{"booking":`); r.Header.Set("X-Id", `1}|id-1`) }, MalformedID},
		"id moved into the body":            {tail, func(r *Request) { r.Body = []byte(body + "|id"); r.Header.Set("X-Id", "-1") }, SignatureMismatch},
		"time of the list refreshed":        {list, set("X-Sig", func(s string) string { return strings.Replace(s, "t=1781956800", "t=1781956801", 1) }), SignatureMismatch},
		"time in front of the list's own":   {list, set("X-Sig", func(s string) string { return "t=1781956801," + s }), DuplicateHeader},
		"list without a signature":          {list, to("X-Sig", "t=1781956800"), NoSupportedSignature},
		"downgrade to v0":                   {list, set("X-Sig", func(s string) string { return strings.Replace(s, "v1=", "v0=", 1) }), NoSupportedSignature},
		"seventeen signatures":              {list, set("X-Sig", func(s string) string { return strings.Repeat("v1=00,", 16) + s }), TooManySignatures},
		"list of 1 MiB":                     {list, to("X-Sig", strings.Repeat("v1=", 1<<20/3)), HeaderTooLong},
		"list of commas":                    {list, to("X-Sig", ",,,,"), MalformedSignature},
		"digits moved from the time into the body": {list, func(r *Request) {
			r.Header.Set("X-Sig", strings.Replace(r.Header.Get("X-Sig"), "t=1781956800", "t=178195680", 1))
			r.Body = []byte("0." + body)
		}, TimestampTooOld},
		"sha256 where sha1 is configured":    {old, to("X-Sig", "sha1="+strings.Repeat("0", 64)), MalformedSignature},
		"prefix of another hash":             {old, set("X-Sig", func(s string) string { return strings.Replace(s, "sha1", "sha256", 1) }), MalformedSignature},
		"body altered under sha1":            {old, func(r *Request) { r.Body = []byte(`{"booking":2}`) }, SignatureMismatch},
		"address of the request's own":       {place, func(r *Request) { r.URL = "https://example.com/a"; r.Body = []byte("x") }, SignatureMismatch},
		"start of the body from the address": {place, func(r *Request) { r.URL = "https://example.com/"; r.Body = []byte("a" + body) }, SignatureMismatch},
		// Not attacks.
		"untouched":                  {full, func(*Request) {}, ""},
		"padded":                     {full, set("X-Sig", func(s string) string { return s + "==" }), ""},
		"list untouched":             {list, func(*Request) {}, ""},
		"sha1 untouched":             {old, func(*Request) {}, ""},
		"registered address":         {place, func(r *Request) { r.URL = "http://inside:8080/a" }, ""},
		"id behind the body":         {tail, func(*Request) {}, ""},
		"bar in the body":            {tail, func(*Request) {}, ""},
		"signature of zeros in list": {list, set("X-Sig", func(s string) string { return s + ",v1=" + strings.Repeat("0", 64) }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := Request{Header: mustSign(t, c.cfg, secret, "id-1", noon, body), Body: []byte(body)}
			c.alter(&req)
			got, err := mustNew(t, c.cfg, secret).Verify(t.Context(), req, noon)
			if code(t, err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err == nil && got.IDSigned != (c.cfg.IDHeader != "") {
				t.Errorf("id signed: %v", got.IDSigned)
			}
		})
	}
}

func otherSpareBitsRaw(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s[:len(s)-1] + string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])^1])
}

func TestEveryHashEncodingAndContentVerifiesWhatItSigned(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"sha1", "sha256", "sha384", "sha512"} {
		for _, encoding := range []Encoding{Hex, Base64, Base64URL} {
			for _, content := range []Content{"{body}", "{timestamp}.{body}", "{id}.{timestamp}.{body}", "{url}{body}", "v0:{timestamp}:{body}", "{method}{url}{body}{timestamp}", "{timestamp}\n{body}\n{id}", TimestampBody} {
				cfg := Config{Scheme: HMAC, Header: "X-Sig", Algorithm: algorithm, AllowSHA1: algorithm == "sha1", Encoding: encoding, Content: content}
				if strings.Contains(string(content), "timestamp") {
					cfg.TimestampHeader = "X-Time"
				}
				if strings.Contains(string(content), "{url}") {
					cfg.URL = "https://example.com/hook"
				}
				if strings.Contains(string(content), "{id}") {
					cfg.IDHeader = "X-Id"
				}
				h := mustSign(t, cfg, whsec, "id-1", noon, "body")
				v := mustNew(t, cfg, whsecTwo, whsec)
				if got, err := v.Verify(t.Context(), Request{Header: h, Body: []byte("body")}, noon); err != nil || got.SecretIndex != 1 {
					t.Errorf("%s %s %q: %v", algorithm, encoding, content, err)
				}
				if _, err := v.Verify(t.Context(), Request{Header: h, Body: []byte("bodz")}, noon); code(t, err) != SignatureMismatch {
					t.Errorf("%s %s %q, altered: %v", algorithm, encoding, content, err)
				}
			}
		}
	}
}

// RFC 4231, test case 2, and RFC 2202, test case 2: a key of four bytes.
func TestPublishedCodesOfEveryHashVerify(t *testing.T) {
	t.Parallel()
	for algorithm, sum := range map[string]string{
		"sha1":   "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
		"sha256": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		"sha384": "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
		"sha512": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
	} {
		v := newUnlimited(t, Config{Scheme: HMAC, Header: "Sum", Algorithm: algorithm, AllowSHA1: algorithm == "sha1"}, "Jefe")
		if _, err := v.Verify(t.Context(), Request{Header: http.Header{"Sum": {sum}}, Body: []byte("what do ya want for nothing?")}, noon); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func TestFaultsOfHMACSettingsNameFieldAndPosition(t *testing.T) {
	t.Parallel()
	with := func(change func(*Config)) Config {
		c := Config{Scheme: HMAC, Header: "X-Sig"}
		change(&c)
		return c
	}
	content := func(s Content) Config { return with(func(c *Config) { c.Content = s }) }
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{content("{bdy}"), "content: position 1: unknown field; want {body}"},
		{content("v0:{timestamp"), "content: position 4: a { without a }"},
		{content("{body}}"), "content: position 7: a } without a {"},
		{content("{body}.{body}"), "content: position 8: {body} is there twice"},
		{content("{timestamp}."), "content: position 13: {body} is missing"},
		{content("{}"), "content: position 1: unknown field"},
		{content("{{body}}"), "content: position 1: unknown field"},
		{content("é{body}"), "content: position 1: want visible ASCII"},
		{content("a\x00{body}"), "content: position 2: want visible ASCII"},
		{content("{id}{body}"), "content: position 5: {id} touches another field"},
		{content("{body}{id}"), "content: position 7: {id} touches another field"},
		{content(Content(strings.Repeat("x", 201))), "content: position 201: longer than 200 bytes"},
		{content("{id}.{body}"), "id_header: missing"},
		{content("{url}{body}"), "url: missing"},
		{content("{timestamp}.{body}"), "timestamp_header: missing"},
		{with(func(c *Config) { c.Algorithm = "md5" }), "algorithm: unknown; want sha256"},
		{with(func(c *Config) { c.Algorithm = "sha1" }), "algorithm: sha1 is out of date; set allow_sha1"},
		{with(func(c *Config) { c.AllowSHA1 = true }), "allow_sha1: only has a meaning"},
		{with(func(c *Config) { c.SecretEncoding = "base32" }), "secret_encoding: unknown"},
		{with(func(c *Config) { c.TimestampKey = "t" }), "signature_key: want the name"},
		{with(func(c *Config) { c.SignatureKey = "a=b" }), "signature_key: want the name"},
		{with(func(c *Config) { c.SignatureKey, c.TimestampKey = "v1", "v1" }), "timestamp_key: want the name"},
		{with(func(c *Config) { c.SignatureKey, c.TimestampKey = "v1", "t" }), "timestamp_key: a timestamp that is not signed"},
		{with(func(c *Config) { c.SignatureKey, c.Prefix = "v1", "x=" }), "prefix: a list of signatures has none"},
		{with(func(c *Config) {
			c.SignatureKey, c.TimestampKey, c.TimestampHeader, c.Content = "v1", "t", "X-T", "{timestamp}{body}"
		}), "timestamp_header: the time is in"},
		{with(func(c *Config) { c.TimestampHeader = "X-T" }), "timestamp_header: a timestamp that is not signed"},
		{with(func(c *Config) { c.TimestampUnit = "seconds" }), "timestamp_unit: only has a meaning"},
		{with(func(c *Config) {
			c.TimestampHeader, c.Content, c.TimestampUnit = "X-T", "{timestamp}{body}", "hours"
		}), "timestamp_unit: unknown"},
		{with(func(c *Config) { c.URL = "https://example.com" }), "url: only has a meaning"},
		{with(func(c *Config) { c.Content, c.URL = "{url}{body}", "/path" }), "url: want https://host/path"},
		{with(func(c *Config) { c.Content, c.URL = "{url}{body}", "https://u:p@example.com/" }), "url: want https://host/path"},
		{with(func(c *Config) { c.Challenge = "knock" }), "challenge: unknown; want microsoft-graph"},
		{with(func(c *Config) { c.Label = "sig1" }), "label: hmac has no use for it"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.cfg, err, c.want)
		}
	}
}

func TestSecretsAreTakenAsTheSenderShowsThem(t *testing.T) {
	t.Parallel()
	raw := "sixteen-bytes-of"
	h := mustSign(t, Config{Scheme: HMAC, Header: "X-Sig"}, raw, "", noon, "{}")
	for encoding, secret := range map[string]string{"raw": raw, "hex": "7369787465656e2d62797465732d6f66", "base64": base64.StdEncoding.EncodeToString([]byte(raw))} {
		cfg := Config{Scheme: HMAC, Header: "X-Sig", SecretEncoding: encoding}
		if _, err := mustNew(t, cfg, secret).Verify(t.Context(), Request{Header: h, Body: []byte("{}")}, noon); err != nil {
			t.Errorf("%s: %v", encoding, err)
		}
		made, err := Generate(cfg)
		if err != nil {
			t.Fatal(err)
		}
		mustNew(t, cfg, string(made))
	}
	for encoding, secret := range map[string]string{"hex": "SecretSecretSecret", "base64": "SecretSecret%%%%%"} {
		_, err := New(Config{Scheme: HMAC, Header: "X-Sig", SecretEncoding: encoding}, Plain(Secret(secret)), Options{})
		if err == nil || err.Error() != "secrets[0]: want "+encoding {
			t.Errorf("%s: %v", encoding, err)
		}
	}
	if _, err := New(Config{Scheme: HMAC, Header: "X-Sig", SecretEncoding: "hex"}, Plain(Secret(strings.Repeat("ab", 15))), Options{}); err == nil || !strings.Contains(err.Error(), "15 bytes; want 16") {
		t.Errorf("a short secret in hex: %v", err)
	}
}

func TestAttacksOnTwilio(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef0123456789abcdef"
	const form = "application/x-www-form-urlencoded"
	cfg := Config{Scheme: Twilio, URL: "https://example.com/hook"}
	sign := func(body string) string { // the form's signature, by the scheme's own parts
		fields, ok := parseForm(body)
		if !ok {
			t.Fatal(body)
		}
		e, err := buildTwilio(Config{URL: cfg.URL}, [][]byte{[]byte(token)}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := e.(*twilio).keys[0].get()
		s.twilioSum(cfg.URL, true, twilioForm(fields), nil)
		return string(s.text[:sha1Base64])
	}
	good := sign("Body=hello&From=%2B1")
	tooMany := strings.Repeat("a=b&", 1001)
	for name, c := range map[string]struct {
		header, contentType, body string
		want                      Code
	}{
		"untouched":                        {good, form, "Body=hello&From=%2B1", ""},
		"order of the fields":              {good, form, "From=%2B1&Body=hello", ""},
		"charset":                          {good, form + "; charset=UTF-8", "Body=hello&From=%2B1", ""},
		"signature absent":                 {"", form, "Body=hello&From=%2B1", MissingHeader},
		"signature cut":                    {good[:27], form, "Body=hello&From=%2B1", MalformedSignature},
		"signature of another hash":        {emptyKeySignature("x"), form, "Body=hello&From=%2B1", MalformedSignature},
		"signature of zeros":               {base64.StdEncoding.EncodeToString(make([]byte, 20)), form, "Body=hello&From=%2B1", SignatureMismatch},
		"signature with other spare bits":  {otherSpareBits(good), form, "Body=hello&From=%2B1", SignatureMismatch},
		"value altered":                    {good, form, "Body=hullo&From=%2B1", SignatureMismatch},
		"field added":                      {good, form, "Body=hello&From=%2B1&Z=1", SignatureMismatch},
		"field left out":                   {good, form, "Body=hello", SignatureMismatch},
		"value added":                      {good, form, "Body=hello&Body=more&From=%2B1", SignatureMismatch},
		"form sent as JSON":                {good, "application/json", "Body=hello&From=%2B1", SignatureMismatch},
		"form without a type":              {good, "", "Body=hello&From=%2B1", SignatureMismatch},
		"plus as a blank":                  {good, form, "Body=hello&From=+1", SignatureMismatch},
		"broken escape":                    {good, form, "Body=%zz", MalformedBody},
		"a thousand and one fields":        {good, form, tooMany, MalformedBody},
		"signature of the empty form":      {sign(""), form, "Body=hello", SignatureMismatch},
		"body under the address's own sum": {sign(""), "application/json", "{}", SignatureMismatch},
	} {
		h := http.Header{}
		if c.header != "" {
			h.Set("X-Twilio-Signature", c.header)
		}
		if c.contentType != "" {
			h.Set("Content-Type", c.contentType)
		}
		// The request's own address is never believed, bodySHA256 included.
		req := Request{Header: h, Body: []byte(c.body), URL: "https://example.com/hook?bodySHA256=" + strings.Repeat("0", 64)}
		if _, err := mustNew(t, cfg, token).Verify(t.Context(), req, time.Time{}); code(t, err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
