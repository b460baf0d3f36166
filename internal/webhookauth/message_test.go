package webhookauth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

const rfcSharedKey = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
const rfcEd25519 = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="

// rfcRequest is the request of RFC 9421, B.2.
func rfcRequest(input, signature string) Request {
	return Request{Method: "POST", URL: "https://example.com/foo?param=Value&Pet=dog", Body: []byte(`{"hello": "world"}`), Header: http.Header{
		"Date": {"Tue, 20 Apr 2021 02:07:55 GMT"}, "Content-Type": {"application/json"}, "Content-Length": {"18"},
		"Content-Digest":  {"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"},
		"Signature-Input": {input}, "Signature": {signature},
	}}
}

// The examples B.2.5 and B.2.6 of RFC 9421 cover no digest, which a config cannot allow; the test lets it go.
func TestPublishedMessageSignaturesVerify(t *testing.T) {
	t.Parallel()
	at := time.Unix(1618884473, 0)
	for _, c := range []struct {
		name      string
		cfg       Config
		key       string
		req       Request
		unsignsIf string
	}{
		{"B.2.5, hmac-sha256", Config{Scheme: MessageSignatures, Algorithm: messageHMAC, SecretEncoding: "base64", Components: []string{"@authority"}, Label: "sig-b25", KeyID: "test-shared-secret"}, rfcSharedKey,
			rfcRequest(`sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`, "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"), "Date"},
		{"B.2.6, ed25519", Config{Scheme: MessageSignatures, Algorithm: messageEd25519, KeyID: "test-key-ed25519"}, rfcEd25519,
			rfcRequest(`sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
				"sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"), "Content-Length"},
	} {
		v := mustNew(t, c.cfg, c.key)
		if _, err := v.Verify(t.Context(), c.req, at); code(t, err) != MissingComponent {
			t.Errorf("%s: %v; want a refusal because the digest is not covered", c.name, err)
		}
		e := v.engine.(*message)
		e.components = c.cfg.Components
		got, err := v.Verify(t.Context(), c.req, at)
		if err != nil || !got.Timestamp.Equal(at) {
			t.Errorf("%s: %v %v", c.name, got.Timestamp, err)
		}
		c.req.Header.Set(c.unsignsIf, "19")
		if _, err := v.Verify(t.Context(), c.req, at); code(t, err) != SignatureMismatch {
			t.Errorf("%s, %s altered: %v", c.name, c.unsignsIf, err)
		}
	}
	if reason := checkDigest(rfcRequest("", "").Header, []byte(`{"hello": "world"}`)); reason != nil {
		t.Errorf("the digest of B.2: %v", reason)
	}
}

func TestAttacksOnMessageSignatures(t *testing.T) {
	t.Parallel()
	const body = `{"booking":1}`
	const secret = "a-shared-secret-of-some-length"
	cfg := Config{Scheme: MessageSignatures, Algorithm: messageHMAC, Components: []string{"@method", "@target-uri"}, KeyID: "k1", Label: "sig1"}
	signer := cfg
	signer.URL = "https://example.com/hook?a=1"
	const created = "1781956800"
	input := func(f func(string) string) func(*Request) {
		return func(r *Request) { r.Header.Set("Signature-Input", f(r.Header.Get("Signature-Input"))) }
	}
	replace := func(old, new string) func(*Request) {
		return input(func(s string) string {
			if !strings.Contains(s, old) {
				panic("nothing to replace in " + s)
			}
			return strings.Replace(s, old, new, 1)
		})
	}
	// resign signs whatever the input says, for forgeries by somebody who has the secret or settings that let too much in.
	resign := func(input string) func(*Request) {
		return func(r *Request) {
			members, ok := parseDictionary(input)
			if !ok {
				panic(input)
			}
			e, err := buildMessage(Config{Algorithm: messageHMAC}, [][]byte{[]byte(secret)}, Options{})
			if err != nil {
				panic(err)
			}
			m := e.(*message)
			m.components = nil
			r.Header.Set("Signature-Input", input)
			base, reason := m.base(*r, &members[0].value)
			if reason != nil {
				return // the verifier will say the same
			}
			s := m.macs[0].get()
			s.compute(base)
			r.Header.Set("Signature", members[0].name+"=:"+base64.StdEncoding.EncodeToString(s.sum[:32])+":")
		}
	}
	digest := func(alg, of string) string {
		sum := sha256.Sum256([]byte(of))
		return alg + "=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	const list = `sig1=("@method" "@target-uri" "content-digest")`
	for name, c := range map[string]struct {
		alter func(*Request)
		want  Code
	}{
		"signature absent":             {func(r *Request) { r.Header.Del("Signature") }, MissingHeader},
		"input absent":                 {func(r *Request) { r.Header.Del("Signature-Input") }, MissingHeader},
		"digest absent":                {func(r *Request) { r.Header.Del("Content-Digest") }, MissingHeader},
		"signature twice":              {func(r *Request) { r.Header.Add("Signature", r.Header.Get("Signature")) }, DuplicateHeader},
		"input twice":                  {func(r *Request) { r.Header.Add("Signature-Input", "x=()") }, DuplicateHeader},
		"body altered":                 {func(r *Request) { r.Body = []byte(`{"booking":2}`) }, DigestMismatch},
		"body and digest altered":      {func(r *Request) { r.Body = []byte("x"); r.Header.Set("Content-Digest", digest("sha-256", "x")) }, SignatureMismatch},
		"second digest of another":     {func(r *Request) { r.Header.Add("Content-Digest", digest("sha-256", "x")) }, SignatureMismatch},
		"address altered":              {func(r *Request) { r.URL = "https://example.com/other?a=1" }, SignatureMismatch},
		"query altered":                {func(r *Request) { r.URL = "https://example.com/hook?a=2" }, SignatureMismatch},
		"address not known":            {func(r *Request) { r.URL = "" }, MissingComponent},
		"method altered":               {func(r *Request) { r.Method = "PUT" }, SignatureMismatch},
		"component dropped":            {replace(`"@target-uri" `, ""), MissingComponent},
		"digest dropped":               {replace(` "content-digest"`, ""), MissingComponent},
		"nothing covered":              {resign(`sig1=();created=` + created + `;keyid="k1"`), MissingComponent},
		"components in another order":  {replace(`"@method" "@target-uri"`, `"@target-uri" "@method"`), SignatureMismatch},
		"component twice":              {resign(`sig1=("@method" "@method" "@target-uri" "content-digest");created=` + created + `;keyid="k1"`), MalformedSignature},
		"component of the response":    {resign(`sig1=("@status" "@method" "@target-uri" "content-digest");created=` + created + `;keyid="k1"`), NoSupportedSignature},
		"digest of the request's twin": {replace(`"content-digest"`, `"content-digest";req`), NoSupportedSignature},
		"component as a token":         {replace(`"@method"`, `method`), MalformedSignature},
		"component with a line break":  {resign(`sig1=("a\\b" "@method" "@target-uri" "content-digest");created=` + created + `;keyid="k1"`), MalformedSignature},
		"component in capitals":        {resign(`sig1=("Content-Digest" "@method" "@target-uri" "content-digest");created=` + created + `;keyid="k1"`), MalformedSignature},
		"created missing":              {resign(list + `;keyid="k1"`), MalformedTimestamp},
		"created refreshed":            {replace("created="+created, "created=1781956801"), SignatureMismatch},
		"created long ago":             {resign(list + `;created=1781956499;keyid="k1"`), TimestampTooOld},
		"created in the future":        {resign(list + `;created=1781957101;keyid="k1"`), TimestampInFuture},
		"created as a string":          {resign(list + `;created="` + created + `";keyid="k1"`), MalformedTimestamp},
		"created negative":             {resign(list + `;created=-1;keyid="k1"`), MalformedTimestamp},
		"created of fifteen digits":    {resign(list + `;created=999999999999999;keyid="k1"`), MalformedTimestamp},
		"created twice":                {replace(";created="+created, ";created=1;created="+created), MalformedSignature},
		"expired":                      {resign(list + `;created=` + created + `;expires=1781956799;keyid="k1"`), TimestampTooOld},
		"expiry as a string":           {resign(list + `;created=` + created + `;expires="1";keyid="k1"`), MalformedTimestamp},
		"expiry taken off": {func(r *Request) {
			resign(list + `;created=` + created + `;expires=1;keyid="k1"`)(r)
			replace(";expires=1", "")(r)
		}, SignatureMismatch},
		"algorithm of the sender's choice": {resign(list + `;created=` + created + `;keyid="k1";alg="none"`), NoSupportedSignature},
		"algorithm as a token":             {resign(list + `;created=` + created + `;keyid="k1";alg=hmac-sha256`), NoSupportedSignature},
		"another key's id":                 {resign(list + `;created=` + created + `;keyid="k2"`), KeyIDMismatch},
		"no key id":                        {resign(list + `;created=` + created), KeyIDMismatch},
		"nonce with a blank":               {resign(list + `;created=` + created + `;keyid="k1";nonce="a b"`), MalformedID},
		"nonce empty":                      {resign(list + `;created=` + created + `;keyid="k1";nonce=""`), MalformedID},
		"nonce swapped":                    {replace(`nonce="id-1"`, `nonce="id-2"`), SignatureMismatch},
		"another label in the signature":   {func(r *Request) { r.Header.Set("Signature", "sig2="+r.Header.Get("Signature")[5:]) }, NoSupportedSignature},
		"another label in both": {func(r *Request) {
			r.Header.Set("Signature", "sig2="+r.Header.Get("Signature")[5:])
			replace("sig1=", "sig2=")(r)
		}, NoSupportedSignature},
		"label twice":     {func(r *Request) { r.Header.Set("Signature", r.Header.Get("Signature")+", sig1=:AAAA:") }, MalformedSignature},
		"signature empty": {func(r *Request) { r.Header.Set("Signature", "sig1=::") }, SignatureMismatch},
		"signature of zeros": {func(r *Request) {
			r.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(make([]byte, 32))+":")
		}, SignatureMismatch},
		"signature as a string":   {func(r *Request) { r.Header.Set("Signature", `sig1="x"`) }, MalformedSignature},
		"signature not base64":    {func(r *Request) { r.Header.Set("Signature", "sig1=:%%%:") }, MalformedSignature},
		"input as a string":       {func(r *Request) { r.Header.Set("Signature-Input", `sig1="x"`) }, MalformedSignature},
		"list without its end":    {func(r *Request) { r.Header.Set("Signature-Input", `sig1=("@method"`) }, MalformedSignature},
		"seventeen members":       {func(r *Request) { r.Header.Set("Signature-Input", strings.Repeat("a,", 16)+"b") }, MalformedSignature},
		"thirty-three components": {func(r *Request) { r.Header.Set("Signature-Input", "sig1=("+strings.Repeat(`"a" `, 33)+")") }, MalformedSignature},
		"input of 1 MiB":          {func(r *Request) { r.Header.Set("Signature-Input", strings.Repeat("(", 1<<20)) }, HeaderTooLong},
		"digest of an unknown kind only": {func(r *Request) {
			r.Header.Set("Content-Digest", "md5=:AAAA:")
			resign(list + `;created=` + created + `;keyid="k1"`)(r)
		}, DigestMismatch},
		"one digest of two wrong": {func(r *Request) {
			r.Header.Set("Content-Digest", digest("sha-256", body)+", "+digest("sha-512", body))
			resign(list + `;created=` + created + `;keyid="k1"`)(r)
		}, DigestMismatch},
		"covered header missing": {resign(`sig1=("@method" "@target-uri" "content-digest" "x-event");created=` + created + `;keyid="k1"`), MissingHeader},
		// Not attacks.
		"untouched":          {func(*Request) {}, ""},
		"blanks in the list": {replace(`("@method" "@target-uri" "content-digest")`, `(  "@method"  "@target-uri" "content-digest" )`), ""},
		"another party's signature": {func(r *Request) {
			r.Header.Set("Signature", "proxy=:AAAA:, "+r.Header.Get("Signature"))
			input(func(s string) string { return "proxy=();created=1, " + s })(r)
		}, ""},
		"more covered than required": {resign(`sig1=("@method" "@target-uri" "@authority" "@path" "@query" "@scheme" "@request-target" "@query-param";name="a" "content-digest");created=` + created + `;keyid="k1"`), ""},
		"its own expiry ahead":       {resign(list + `;created=` + created + `;expires=1781956800;keyid="k1";alg="hmac-sha256";tag="x"`), ""},
		"a digest of unknown kind": {func(r *Request) {
			r.Header.Set("Content-Digest", "md5=:AAAA:, "+digest("sha-256", body))
			resign(list + `;created=` + created + `;keyid="k1"`)(r)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := Request{Header: mustSign(t, signer, secret, "id-1", noon, body), Body: []byte(body), Method: "POST", URL: signer.URL}
			c.alter(&req)
			got, err := mustNew(t, cfg, secret).Verify(t.Context(), req, noon)
			if code(t, err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err == nil && got.MessageID != "" && !got.IDSigned {
				t.Error("the nonce is signed")
			}
		})
	}
}

func TestEd25519MessageSignaturesVerifyUnderAnyOfTheKeys(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, fixed"[:32]))
	public := base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	cfg := Config{Scheme: MessageSignatures, Algorithm: messageEd25519}
	v := mustNew(t, cfg, rfcEd25519, "whpk_"+public)
	sum := sha256.Sum256([]byte("{}"))
	req := Request{Body: []byte("{}"), Header: http.Header{"Content-Digest": {"sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"}}}
	text := `s=("@method" "content-digest");created=1781956800;nonce="n-1"`
	members, ok := parseDictionary(text)
	if !ok {
		t.Fatal(text)
	}
	base, reason := v.engine.(*message).base(req, &members[0].value)
	if reason != nil {
		t.Fatal(reason)
	}
	req.Header.Set("Signature-Input", text)
	req.Header.Set("Signature", "s=:"+base64.StdEncoding.EncodeToString(ed25519.Sign(private, base))+":")
	got, err := v.Verify(t.Context(), req, noon)
	if err != nil || got.SecretIndex != 1 || got.MessageID != "n-1" || !got.IDSigned {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := Sign(cfg, Secret(public), "n", noon, nil); err == nil || !strings.Contains(err.Error(), "cannot sign") {
		t.Errorf("signed with a public key: %v", err)
	}
	if _, err := Generate(cfg); err == nil {
		t.Error("made the sender's key")
	}
	for _, wrong := range []string{"not base64 at all!!", base64.StdEncoding.EncodeToString(make([]byte, 31)), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := New(cfg, Plain(Secret(wrong)), Options{}); err == nil || !strings.HasPrefix(err.Error(), "secrets[0]: want") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	pem := "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n"
	mustNew(t, cfg, pem)
}

func TestFaultsOfMessageSettingsNameTheField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "algorithm: want hmac-sha256 or ed25519"},
		{Config{Algorithm: "rsa-pss-sha512"}, "algorithm: want"},
		{Config{Algorithm: messageEd25519, SecretEncoding: "hex"}, "secret_encoding: only"},
		{Config{Algorithm: messageHMAC, Label: "Sig"}, "label: want"},
		{Config{Algorithm: messageHMAC, Components: []string{"@status"}}, "components[0]: want a header name"},
		{Config{Algorithm: messageHMAC, Components: []string{"X-Event"}}, "components[0]: want a header name"},
		{Config{Algorithm: messageHMAC, Components: []string{"@path", "@path"}}, "components[1]: is there twice"},
		{Config{Algorithm: messageHMAC, Components: make([]string, 32)}, "components: 32; want at most 31"},
		{Config{Algorithm: messageHMAC, KeyID: "k\n"}, "key_id: want"},
		{Config{Algorithm: messageHMAC, URL: "ftp://x"}, "url: want https"},
		{Config{Algorithm: messageHMAC, Header: "Signature"}, "header: http-message-signatures has no use"},
	} {
		c.cfg.Scheme = MessageSignatures
		if err := c.cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.cfg, err, c.want)
		}
	}
}
