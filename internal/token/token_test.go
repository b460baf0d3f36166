package token

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
)

var (
	now = time.Date(2026, 11, 3, 9, 0, 0, 0, time.UTC)
	org = domain.NewID[domain.OrgID](now)
	k1  = Key{ID: "k1", Secret: bytes.Repeat([]byte{1}, 32)}
	k2  = Key{ID: "k2", Secret: bytes.Repeat([]byte{2}, 48)}
)

func verifier(t testing.TB, keys ...Key) *Verifier {
	t.Helper()
	v, err := NewVerifier(Options{Issuer: "wedsync-test", Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type obj map[string]any

// forge makes a token by hand, so that tests can say what the library would not.
func forge(t testing.TB, header, claims any, secret []byte, h func() hash.Hash) string {
	t.Helper()
	part := func(v any) string {
		if s, ok := v.(string); ok {
			return s
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(header) + "." + part(claims)
	if h == nil {
		return signed + "."
	}
	m := hmac.New(h, secret)
	m.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func claims(change ...func(obj)) obj {
	c := obj{"iss": "wedsync-test", "aud": "wedsync", "sub": "ada", "org": string(org), "role": "operator",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for _, f := range change {
		f(c)
	}
	return c
}

func set(k string, v any) func(obj) { return func(o obj) { o[k] = v } }
func del(k string) func(obj)        { return func(o obj) { delete(o, k) } }

func TestMintedTokenVerifies(t *testing.T) {
	t.Parallel()
	i, err := NewIssuer("wedsync-test", k2)
	if err != nil {
		t.Fatal(err)
	}
	g := Grant{Org: org, Role: domain.RoleAdmin, Subject: "ops@example.test"}
	raw, err := i.Mint(g, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := verifier(t, k1, k2).Verify(raw, now.Add(59*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	want := Claims{Grant: g, KeyID: "k2", IssuedAt: now, Expires: now.Add(time.Hour)}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
	if _, err := verifier(t, k1).Verify(raw, now); domain.KindOf(err) != domain.KindUnauthenticated {
		t.Errorf("after its key was retired: %v, want unauthenticated", err)
	}
}

func TestAttacksAreRefused(t *testing.T) {
	t.Parallel()
	hs := obj{"alg": "HS256", "typ": "JWT", "kid": "k1"}
	head := func(change ...func(obj)) obj {
		h := obj{"alg": "HS256", "typ": "JWT", "kid": "k1"}
		for _, f := range change {
			f(h)
		}
		return h
	}
	good := forge(t, hs, claims(), k1.Secret, sha256.New)
	parts := strings.Split(good, ".")
	tests := map[string]string{
		"empty":                         "",
		"not a token":                   "bearer",
		"two parts":                     parts[0] + "." + parts[1],
		"four parts":                    good + ".x",
		"too long":                      good + strings.Repeat("A", MaxTokenBytes),
		"alg none":                      forge(t, head(set("alg", "none")), claims(), nil, nil),
		"alg None in another case":      forge(t, head(set("alg", "nOnE")), claims(), nil, nil),
		"alg none with a signature":     forge(t, head(set("alg", "none")), claims(), k1.Secret, sha256.New),
		"alg missing":                   forge(t, head(del("alg")), claims(), k1.Secret, sha256.New),
		"alg HS512 with the right key":  forge(t, head(set("alg", "HS512")), claims(), k1.Secret, sha512.New),
		"alg RS256 over the secret":     forge(t, head(set("alg", "RS256")), claims(), k1.Secret, sha256.New),
		"signed by another key":         forge(t, hs, claims(), k2.Secret, sha256.New),
		"signed by the empty key":       forge(t, hs, claims(), nil, sha256.New),
		"kid missing":                   forge(t, head(del("kid")), claims(), k1.Secret, sha256.New),
		"kid empty, empty key":          forge(t, head(set("kid", "")), claims(), nil, sha256.New),
		"kid unknown":                   forge(t, head(set("kid", "k9")), claims(), k1.Secret, sha256.New),
		"kid a number":                  forge(t, head(set("kid", 1)), claims(), k1.Secret, sha256.New),
		"crit header":                   forge(t, head(set("crit", []string{"exp"})), claims(), k1.Secret, sha256.New),
		"typ of something else":         forge(t, head(set("typ", "at+jwt")), claims(), k1.Secret, sha256.New),
		"key in the header":             forge(t, head(del("kid"), set("jwk", obj{"kty": "oct", "k": "AQ"})), claims(), []byte{1}, sha256.New),
		"no signature":                  parts[0] + "." + parts[1] + ".",
		"signature cut":                 good[:len(good)-4],
		"claims changed":                parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"role":"admin"}`)) + "." + parts[2],
		"claims no JSON":                forge(t, hs, base64.RawURLEncoding.EncodeToString([]byte("{")), k1.Secret, sha256.New),
		"padding":                       good + "=",
		"signature in another spelling": respell(good),
		"no exp":                        forge(t, hs, claims(del("exp")), k1.Secret, sha256.New),
		"exp null":                      forge(t, hs, claims(set("exp", nil)), k1.Secret, sha256.New),
		"exp a text":                    forge(t, hs, claims(set("exp", "tomorrow")), k1.Secret, sha256.New),
		"expired":                       forge(t, hs, claims(set("exp", now.Add(-time.Minute).Unix()), set("iat", now.Add(-time.Hour).Unix())), k1.Secret, sha256.New),
		"exp far beyond time":           forge(t, hs, claims(set("exp", 1e300)), k1.Secret, sha256.New),
		"lives too long":                forge(t, hs, claims(set("exp", now.Add(DefaultMaxLifetime+time.Minute).Unix())), k1.Secret, sha256.New),
		"no iat":                        forge(t, hs, claims(del("iat")), k1.Secret, sha256.New),
		"iat in the future":             forge(t, hs, claims(set("iat", now.Add(time.Minute).Unix())), k1.Secret, sha256.New),
		"issued an hour from now": forge(t, hs, claims(set("iat", now.Add(time.Hour).Unix()), set("exp", now.Add(2*time.Hour).Unix())),
			k1.Secret, sha256.New),
		"nbf in the future":   forge(t, hs, claims(set("nbf", now.Add(time.Minute).Unix())), k1.Secret, sha256.New),
		"no iss":              forge(t, hs, claims(del("iss")), k1.Secret, sha256.New),
		"another iss":         forge(t, hs, claims(set("iss", "wedsync")), k1.Secret, sha256.New),
		"no aud":              forge(t, hs, claims(del("aud")), k1.Secret, sha256.New),
		"another aud":         forge(t, hs, claims(set("aud", "billing")), k1.Secret, sha256.New),
		"aud empty list":      forge(t, hs, claims(set("aud", []string{})), k1.Secret, sha256.New),
		"no org":              forge(t, hs, claims(del("org")), k1.Secret, sha256.New),
		"org empty":           forge(t, hs, claims(set("org", "")), k1.Secret, sha256.New),
		"org no UUID":         forge(t, hs, claims(set("org", "*")), k1.Secret, sha256.New),
		"org in upper case":   forge(t, hs, claims(set("org", strings.ToUpper(string(org)))), k1.Secret, sha256.New),
		"no role":             forge(t, hs, claims(del("role")), k1.Secret, sha256.New),
		"unknown role":        forge(t, hs, claims(set("role", "root")), k1.Secret, sha256.New),
		"role in upper case":  forge(t, hs, claims(set("role", "ADMIN")), k1.Secret, sha256.New),
		"no sub":              forge(t, hs, claims(del("sub")), k1.Secret, sha256.New),
		"sub too long":        forge(t, hs, claims(set("sub", strings.Repeat("a", MaxSubject+1))), k1.Secret, sha256.New),
		"sub with a new line": forge(t, hs, claims(set("sub", "a\nb")), k1.Secret, sha256.New),
	}
	v := verifier(t, k1, k2)
	if _, err := v.Verify(good, now); err != nil {
		t.Fatalf("the token that the attacks vary is itself refused: %v", err)
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := v.Verify(raw, now)
			if domain.KindOf(err) != domain.KindUnauthenticated {
				t.Fatalf("got %+v, %v; want unauthenticated", c, err)
			}
			if c != (Claims{}) {
				t.Errorf("a refusal returned claims %+v", c)
			}
			if len(raw) > 20 && strings.Contains(err.Error(), raw[:20]) {
				t.Errorf("the error quotes the token: %v", err)
			}
		})
	}
}

// respell changes the unused low bits of the signature's last base64 letter, which decodes to the same bytes.
func respell(raw string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, raw[len(raw)-1])
	return raw[:len(raw)-1] + string(alphabet[last|1])
}

func TestLeewayIsSmall(t *testing.T) {
	t.Parallel()
	v := verifier(t, k1)
	raw := forge(t, obj{"alg": "HS256", "kid": "k1"}, claims(), k1.Secret, sha256.New)
	for _, tc := range []struct {
		at time.Time
		ok bool
	}{
		{now.Add(-11 * time.Second), false}, {now.Add(-9 * time.Second), true},
		{now.Add(time.Hour + 9*time.Second), true}, {now.Add(time.Hour + 11*time.Second), false},
	} {
		if _, err := v.Verify(raw, tc.at); (err == nil) != tc.ok {
			t.Errorf("at %s: %v, want accepted %t", tc.at.Sub(now), err, tc.ok)
		}
	}
}

func TestWeakSetUpIsRefused(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"no issuer":       {Keys: []Key{k1}},
		"no key":          {Issuer: "i"},
		"empty key":       {Issuer: "i", Keys: []Key{{ID: "k"}}},
		"short key":       {Issuer: "i", Keys: []Key{{ID: "k", Secret: make([]byte, 31)}}},
		"key without id":  {Issuer: "i", Keys: []Key{{Secret: k1.Secret}}},
		"one id twice":    {Issuer: "i", Keys: []Key{k1, {ID: "k1", Secret: k2.Secret}}},
		"long leeway":     {Issuer: "i", Keys: []Key{k1}, Leeway: time.Hour},
		"negative bounds": {Issuer: "i", Keys: []Key{k1}, MaxLifetime: -1},
	} {
		if _, err := NewVerifier(o); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if _, err := NewIssuer("i", Key{ID: "k"}); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("issuer with an empty key: %v, want invalid", err)
	}
	i, err := NewIssuer("i", k1)
	if err != nil {
		t.Fatal(err)
	}
	for name, g := range map[string]Grant{
		"no org": {Role: domain.RoleAdmin, Subject: "a"}, "no role": {Org: org, Subject: "a"}, "no subject": {Org: org, Role: domain.RoleAdmin},
	} {
		if _, err := i.Mint(g, time.Hour, now); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("mint with %s: %v, want invalid", name, err)
		}
	}
	if _, err := i.Mint(Grant{org, domain.RoleAdmin, "a"}, 0, now); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("mint without lifetime: %v, want invalid", err)
	}
}

func TestAnyChangedByteIsRefused(t *testing.T) {
	t.Parallel()
	v := verifier(t, k1)
	good := forge(t, obj{"alg": "HS256", "typ": "JWT", "kid": "k1"}, claims(), k1.Secret, sha256.New)
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(good)-1).Draw(t, "at")
		b := []byte(good)
		b[i] = rapid.Byte().Draw(t, "byte")
		if string(b) == good {
			return
		}
		if c, err := v.Verify(string(b), now); err == nil {
			t.Fatalf("accepted %+v", c)
		}
	})
}
