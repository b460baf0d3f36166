package webhookauth

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	shownSecret = "tok_5f2c8b1e9d7a4c60"
	shownOther  = "tok_0011223344556677-longer"
	pathSecret  = "q7Zr3vXk9LmT2nWb5yHc8D"
)

func basicHeader(userPassword string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userPassword))
}

// attack is a request that must be refused, or, with no code, a genuine one beside them.
type attack struct {
	name string
	req  Request
	want Code
}

func authorized(values ...string) Request {
	return Request{Header: http.Header{"Authorization": values}, Body: []byte("{}")}
}

func called(url string) Request { return Request{Header: http.Header{}, URL: url, Body: []byte("{}")} }

func run(t *testing.T, v *Verifier, attacks []attack) {
	t.Helper()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			if a.req.Header == nil {
				a.req.Header = http.Header{}
			}
			if _, err := v.Verify(t.Context(), a.req, noon); code(t, err) != a.want {
				t.Errorf("%v, want %q", err, a.want)
			}
		})
	}
}

func TestAttacksOnBearer(t *testing.T) {
	t.Parallel()
	run(t, mustNew(t, Config{Scheme: Bearer}, shownOther, shownSecret), []attack{
		{"genuine", authorized("Bearer " + shownSecret), ""},
		{"word in another case", authorized("bEARER " + shownSecret), ""},
		{"no header", authorized(), MissingHeader},
		{"empty", authorized(""), MissingHeader},
		{"word alone", authorized("Bearer"), MalformedCredential},
		{"word and blank", authorized("Bearer "), MalformedCredential},
		{"another word with the right token", authorized("Foo " + shownSecret), MalformedCredential}, // a gateway took this
		{"longer word", authorized("Bearers " + shownSecret), MalformedCredential},
		{"no word", authorized(shownSecret), MalformedCredential},
		{"two blanks", authorized("Bearer  " + shownSecret), MalformedCredential},
		{"tab", authorized("Bearer\t" + shownSecret), MalformedCredential},
		{"blank behind", authorized("Bearer " + shownSecret + " "), MalformedCredential},
		{"two tokens", authorized("Bearer " + shownSecret + " " + shownSecret), MalformedCredential},
		{"header twice", authorized("Bearer "+shownSecret, "Bearer "+shownSecret), DuplicateHeader},
		{"wrong token", authorized("Bearer " + shownSecret[:len(shownSecret)-1] + "1"), CredentialMismatch},
		{"beginning of the token", authorized("Bearer " + shownSecret[:8]), CredentialMismatch},
		{"token and more", authorized("Bearer " + shownSecret + "x"), CredentialMismatch},
		{"other case", authorized("Bearer " + strings.ToUpper(shownSecret)), CredentialMismatch},
		{"basic with the token", authorized(basicHeader(":" + shownSecret)), MalformedCredential},
		{"huge", authorized("Bearer " + strings.Repeat("a", maxAuthorization)), HeaderTooLong},
		{"not ASCII", authorized("Bearer " + shownSecret + "é"), MalformedCredential},
		{"in the query", Request{URL: "https://x.example/?access_token=" + shownSecret}, MissingHeader},
	})
}

func TestAttacksOnBasic(t *testing.T) {
	t.Parallel()
	const secret = "studio:pass:word:with:colons"
	v := mustNew(t, Config{Scheme: Basic}, "größe:naïve pässwörd 123£", secret)
	run(t, v, []attack{
		{"genuine, colons in the password", authorized(basicHeader(secret)), ""}, // a gateway always refused these
		{"UTF-8 and blanks", authorized(basicHeader("größe:naïve pässwörd 123£")), ""},
		{"word in another case", authorized("bAsIc" + strings.TrimPrefix(basicHeader(secret), "Basic")), ""},
		{"Latin-1", authorized(basicHeader("gr\xf6\xdfe:na\xefve p\xe4ssw\xf6rd 123\xa3")), MalformedCredential},
		{"user of one, password of the other", authorized(basicHeader("größe:pass:word:with:colons")), CredentialMismatch},
		{"colon moved", authorized(basicHeader("studio:pass:word:with::colons")), CredentialMismatch},
		{"no colon", authorized(basicHeader("studio")), MalformedCredential},
		{"empty password", authorized(basicHeader("studio:")), CredentialMismatch},
		{"empty user", authorized(basicHeader(":pass:word:with:colons")), CredentialMismatch},
		{"other case", authorized(basicHeader("Studio:pass:word:with:colons")), CredentialMismatch},
		{"control character", authorized(basicHeader(secret + "\x00")), MalformedCredential},
		{"line break", authorized(basicHeader(secret + "\n")), MalformedCredential},
		{"not base64", authorized("Basic " + secret), MalformedCredential},
		{"base64url", authorized("Basic " + base64.RawURLEncoding.EncodeToString([]byte(secret))), MalformedCredential},
		{"line break in base64", authorized("Basic c3R1\nZGlv"), MalformedCredential},
		{"bearer word", authorized("Bearer" + strings.TrimPrefix(basicHeader(secret), "Basic")), MalformedCredential},
		{"no header", authorized(), MissingHeader},
		{"header twice", authorized(basicHeader(secret), basicHeader(secret)), DuplicateHeader},
		{"proxy header", Request{Header: http.Header{"Proxy-Authorization": {basicHeader(secret)}}}, MissingHeader},
	})
	// The example of RFC 7617, 2.1.
	if user, password, ok := parseBasic("dGVzdDoxMjPCow=="); user != "test" || password != "123£" || !ok {
		t.Errorf("%q %q %t", user, password, ok)
	}
}

func TestAttacksOnAPIKeys(t *testing.T) {
	t.Parallel()
	key := func(values ...string) Request { return Request{Header: http.Header{"X-Api-Key": values}} }
	t.Run("header", func(t *testing.T) {
		t.Parallel()
		run(t, mustNew(t, Config{Scheme: APIKey, Header: "x-api-key", Prefix: "Key "}, shownSecret), []attack{
			{"genuine", key("Key " + shownSecret), ""},
			{"prefix in another case", key("key " + shownSecret), MalformedCredential},
			{"no prefix", key(shownSecret), MalformedCredential},
			{"wrong", key("Key " + shownOther), CredentialMismatch},
			{"prefix alone", key("Key "), CredentialMismatch},
			{"twice", key("Key "+shownSecret, "x"), DuplicateHeader},
			{"missing", key(), MissingHeader},
			{"in the query", called("https://x.example/?X-Api-Key=" + shownSecret), MissingHeader},
		})
	})
	t.Run("query", func(t *testing.T) {
		t.Parallel()
		run(t, mustNew(t, Config{Scheme: APIKey, Query: "key"}, shownSecret), []attack{
			{"genuine", called("https://x.example/hook?a=1&key=" + shownSecret), ""},
			{"escaped", called("https://x.example/hook?%6bey=" + strings.ReplaceAll(shownSecret, "_", "%5F")), ""},
			{"wrong", called("/hook?key=" + shownOther), CredentialMismatch},
			{"twice", called("/hook?key=" + shownSecret + "&key=x"), DuplicateHeader},
			{"twice the same", called("/hook?key=" + shownSecret + "&key=" + shownSecret), DuplicateHeader},
			{"missing", called("/hook"), MissingHeader},
			{"empty", called("/hook?key="), MissingHeader},
			{"other case", called("/hook?KEY=" + shownSecret), MissingHeader},
			{"in the fragment", called("/hook#?key=" + shownSecret), MissingHeader},
			{"semicolon", called("/hook?a=1;key=" + shownSecret), MalformedCredential},
			{"bad escape", called("/hook?%zz&key=" + shownSecret), MalformedCredential},
			{"thousands of parameters", called("/hook?" + strings.Repeat("&", 2000) + "key=" + shownSecret), HeaderTooLong},
			{"huge", called("/hook?x=" + strings.Repeat("a", maxQuery) + "&key=" + shownSecret), HeaderTooLong},
			{"in a header", key(shownSecret), MissingHeader},
		})
	})
}

func TestAttacksOnPathTokens(t *testing.T) {
	t.Parallel()
	v := mustNew(t, Config{Scheme: PathToken}, shownOther, pathSecret)
	run(t, v, []attack{
		{"genuine", Request{PathToken: pathSecret}, ""},
		{"missing", Request{}, MissingHeader},
		{"wrong", Request{PathToken: pathSecret[1:]}, CredentialMismatch},
		{"other case", Request{PathToken: strings.ToLower(pathSecret)}, CredentialMismatch},
		{"huge", Request{PathToken: strings.Repeat("a", 1000)}, HeaderTooLong},
		{"in the query", called("/v1/webhooks/x?token=" + pathSecret), MissingHeader},
		{"in a header", authorized("Bearer " + pathSecret), MissingHeader},
	})
	got, err := v.Verify(t.Context(), Request{Header: http.Header{}, PathToken: pathSecret}, noon)
	if err != nil || !got.Hint || got.IDSigned {
		t.Errorf("%+v, %v; want a hint", got, err)
	}
}

func TestOnlyAllowedAddressesPassWhateverTheScheme(t *testing.T) {
	t.Parallel()
	cfg := Config{Scheme: Bearer, AllowAddresses: []string{"192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::ffff:203.0.113.0/120"}}
	v := mustNew(t, cfg, shownSecret)
	for peer, want := range map[string]Code{
		"192.0.2.1": "", "::ffff:192.0.2.1": "", "198.51.100.7": "", "2001:db8::1": "", "203.0.113.9": "", "::ffff:203.0.113.9": "",
		"192.0.3.1": AddressNotAllowed, "198.51.100.8": AddressNotAllowed, "2001:db9::1": AddressNotAllowed, "127.0.0.1": AddressNotAllowed,
		"::192.0.2.1": AddressNotAllowed, "64:ff9b::c000:201": AddressNotAllowed, "": AddressNotAllowed,
	} {
		req := authorized("Bearer " + shownSecret)
		if peer != "" {
			req.Peer = netip.MustParseAddr(peer)
		}
		req.Header.Set("X-Forwarded-For", "192.0.2.1")
		if _, err := v.Verify(t.Context(), req, noon); code(t, err) != want {
			t.Errorf("%q: %v, want %q", peer, err, want)
		}
	}
	req := authorized("Bearer " + shownOther)
	req.Peer = netip.MustParseAddr("192.0.2.1")
	if _, err := v.Verify(t.Context(), req, noon); code(t, err) != CredentialMismatch {
		t.Errorf("an allowed address in place of a credential: %v", err)
	}
	for _, bad := range []string{"", "x", "192.0.2.1/24", "192.0.2.0/33", "::ffff:0:0/90", "fe80::1%eth0", "300.1.1.1"} {
		if err := (Config{Scheme: Bearer, AllowAddresses: []string{bad}}).Validate(); domain.KindOf(err) != domain.KindInvalid || !strings.HasPrefix(err.Error(), "allow_addresses") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := (Config{Scheme: Bearer, AllowAddresses: make([]string, MaxAllowAddresses+1)}).Validate(); err == nil {
		t.Error("too many ranges were taken")
	}
}

func TestWeakShownSecretsAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg    Config
		secret string
	}{
		"bearer of 15":              {Config{Scheme: Bearer}, shownSecret[:15]},
		"bearer with a blank":       {Config{Scheme: Bearer}, "0123456789 abcdef"},
		"bearer of 513":             {Config{Scheme: Bearer}, strings.Repeat("ab", 257)},
		"key not ASCII":             {Config{Scheme: APIKey, Query: "k"}, "0123456789abcdéf"},
		"basic without colon":       {Config{Scheme: Basic}, "studio-password"},
		"basic with short password": {Config{Scheme: Basic}, "studio:passwor"},
		"basic without user":        {Config{Scheme: Basic}, ":let-me-in-1"},
		"basic not UTF-8":           {Config{Scheme: Basic}, "studio:pass\xffword"},
		"path of 21":                {Config{Scheme: PathToken}, pathSecret[:21]},
		"path of 31 hex digits":     {Config{Scheme: PathToken}, "0123456789abcdef0123456789abcde"},
		"path typed":                {Config{Scheme: PathToken}, strings.Repeat("ab-", 10)},
		"path with a slash":         {Config{Scheme: PathToken}, pathSecret + "/x"},
		"path of 129":               {Config{Scheme: PathToken}, strings.Repeat(pathSecret, 6)},
		"fingerprint of SHA-1":      {Config{Scheme: ClientCertificate}, "sha1:" + strings.Repeat("ab", 20)},
		"fingerprint cut off":       {Config{Scheme: ClientCertificate}, "sha256:" + strings.Repeat("ab", 31)},
		"fingerprint without kind":  {Config{Scheme: ClientCertificate}, strings.Repeat("ab", 32)},
	} {
		_, err := New(c.cfg, Plain(Secret(c.secret)), Options{})
		if domain.KindOf(err) != domain.KindInvalid || !strings.HasPrefix(err.Error(), "secrets[0]: ") || strings.Contains(err.Error(), c.secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Config{Scheme: PathToken}, nil, Options{}); err == nil {
		t.Error("a scheme without a secret was taken")
	}
	if err := (Config{Scheme: "none"}).Validate(); err == nil {
		t.Error("there must be no scheme none")
	}
}

func TestGeneratedSecretsFitTheirScheme(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg Config
		ok  bool
	}{
		"standard":    {Config{Scheme: StandardWebhooks}, true},
		"hmac":        {Config{Scheme: HMACSHA256, Header: "X-S"}, true},
		"bearer":      {Config{Scheme: Bearer}, true},
		"basic":       {Config{Scheme: Basic}, true},
		"api-key":     {Config{Scheme: APIKey, Header: "X-K"}, true},
		"path-token":  {Config{Scheme: PathToken}, true},
		"jwt HS512":   {jwtConfig("HS512"), true},
		"jwt RS256":   {jwtConfig("RS256"), false},
		"certificate": {Config{Scheme: ClientCertificate}, false},
		"unknown":     {Config{}, false},
	} {
		one, err := Generate(c.cfg)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !c.ok {
			continue
		}
		two, err := Generate(c.cfg)
		if err != nil || string(one) == string(two) {
			t.Errorf("%s: not random, %v", name, err)
		}
		if _, err := New(c.cfg, Plain(one, two), Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTextsOfSeveralSecretsArePartedAsTheSchemeNeeds(t *testing.T) {
	t.Parallel()
	_, es := pair("ES256")
	_, rs := pair("RS256")
	for name, c := range map[string]struct {
		cfg  Config
		text string
		want []string
	}{
		"blanks":            {Config{Scheme: Bearer}, " a b\r\nc\t", []string{"a", "b", "c"}},
		"passwords":         {Config{Scheme: Basic}, "u:a b \r\n\nv:c", []string{"u:a b ", "v:c"}},
		"PEM":               {jwtConfig("RS256"), "\n" + rs + es, []string{strings.TrimSpace(rs), strings.TrimSpace(es)}},
		"shared":            {jwtConfig("HS256"), "a b", []string{"a", "b"}},
		"nothing":           {jwtConfig("HS256"), " \n", nil},
		"an unknown scheme": {Config{}, "a b", []string{"a", "b"}},
	} {
		var got []string
		for _, s := range c.cfg.Split(c.text) {
			got = append(got, string([]byte(s)))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func FuzzBasic(f *testing.F) {
	f.Add("Basic dGVzdDoxMjPCow==")
	f.Add(basicHeader("studio:pass:word"))
	f.Add("basic ")
	f.Add("Basic Og==")
	v := mustNew(f, Config{Scheme: Basic}, "studio:pass:word")
	f.Fuzz(func(t *testing.T, header string) {
		_, err := v.Verify(t.Context(), authorized(header), noon)
		if err == nil && !strings.EqualFold(header, basicHeader("studio:pass:word")) {
			t.Fatalf("%q passed", header)
		}
		if err != nil {
			code(t, err)
		}
	})
}
