package webhookauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	jwtIssuer   = "https://crm.example"
	jwtAudience = "https://sync.example/hooks"
	jwtSecret   = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg-0x7QbVnZ1kTf8pLs3dJhWq" // 66 bytes
)

func b64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signers are key pairs made once; RSA is slow.
var signers = sync.OnceValue(func() (s struct {
	rsa *rsa.PrivateKey
	ec  map[string]*ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}) {
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	s.ec = map[string]*ecdsa.PrivateKey{}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if s.ec[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			panic(err)
		}
	}
	if _, s.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
	return s
})

// pair returns what an algorithm signs with and the credential that verifies it.
func pair(algorithm string) (private any, credential string) {
	s := signers()
	switch {
	case strings.HasPrefix(algorithm, "HS"):
		return []byte(jwtSecret), jwtSecret
	case algorithm == "EdDSA":
		return s.ed, publicPEM(s.ed.Public())
	case strings.HasPrefix(algorithm, "ES"):
		return s.ec[algorithm], publicPEM(s.ec[algorithm].Public())
	}
	return s.rsa, publicPEM(s.rsa.Public())
}

func publicPEM(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func jwtConfig(algorithms ...string) Config {
	return Config{Scheme: JWTBearer, JWT: &JWT{Algorithms: algorithms, Issuer: jwtIssuer, Audience: jwtAudience}}
}

func goodClaims() map[string]any {
	return map[string]any{"iss": jwtIssuer, "aud": jwtAudience, "exp": noon.Unix() + 60, "iat": noon.Unix(), "jti": "msg_1"}
}

// rawToken joins texts as they are and signs them.
func rawToken(t testing.TB, algorithm string, key any, header, claims string) string {
	t.Helper()
	text := b64url([]byte(header)) + "." + b64url([]byte(claims))
	sig, err := jwt.GetSigningMethod(algorithm).Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64url(sig)
}

func tokenOf(t testing.TB, algorithm string, key any, header, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"alg": algorithm, "typ": "JWT"}
	maps.Copy(all, header)
	h, errH := json.Marshal(all)
	c, errC := json.Marshal(claims)
	if errH != nil || errC != nil {
		t.Fatal(errH, errC)
	}
	return rawToken(t, algorithm, key, string(h), string(c))
}

func bearerRequest(token string) Request {
	return Request{Header: http.Header{"Authorization": {"Bearer " + token}}, Body: []byte("{}")}
}

func TestTokensOfEveryAlgorithmVerify(t *testing.T) {
	t.Parallel()
	for _, algorithm := range jwtAlgorithms {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			private, credential := pair(algorithm)
			v, err := New(jwtConfig(algorithm), []Credential{{ID: "a", Secret: Secret(credential)}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := v.Verify(t.Context(), bearerRequest(tokenOf(t, algorithm, private, nil, goodClaims())), noon)
			if err != nil || got.MessageID != "msg_1" || !got.IDSigned || !got.Timestamp.Equal(noon) || got.Credential != "a" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// sets is a KeySets that knows one key and counts who asks.
type sets struct {
	key  PublicKey
	err  error
	asks atomic.Int64
	url  string
	mu   sync.Mutex
}

func (s *sets) Key(_ context.Context, url, id string) (PublicKey, error) {
	s.asks.Add(1)
	s.mu.Lock()
	s.url = url
	s.mu.Unlock()
	if s.err != nil {
		return PublicKey{}, s.err
	}
	if id != s.key.ID {
		return PublicKey{}, domain.E(domain.KindNotFound, "no such key")
	}
	return s.key, nil
}

func (s *sets) Signer(ctx context.Context, url string, signed func(PublicKey) bool) (PublicKey, error) {
	key, err := s.Key(ctx, url, s.key.ID)
	if err == nil && !signed(key) {
		return PublicKey{}, domain.E(domain.KindNotFound, "no such key")
	}
	return key, err
}

// The attacks on tokens. Each changes a genuine token in one way; the pinned algorithm is RS256, HS256 or ES256.
func TestAttacksOnTokens(t *testing.T) {
	t.Parallel()
	// Whatever a token points to answers here; nobody may ask.
	var calls atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(elsewhere.Close)

	rs, rsPEM := pair("RS256")
	es, _ := pair("ES256")
	der, err := x509.MarshalPKIXPublicKey(rs.(*rsa.PrivateKey).Public())
	if err != nil {
		t.Fatal(err)
	}
	n := b64url(rs.(*rsa.PrivateKey).N.Bytes())
	jwkText := `{"kty":"RSA","n":"` + n + `","e":"AQAB"}`
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ownJWK := map[string]any{"kty": "RSA", "kid": "evil", "n": b64url(own.N.Bytes()), "e": "AQAB"}
	claimsText := func(change string) string {
		return fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":%d%s}`, jwtIssuer, jwtAudience, noon.Unix()+60, change)
	}
	header := func(h map[string]any) string { return tokenOf(t, "RS256", rs, h, goodClaims()) }
	claims := func(name string, v any) string {
		c := goodClaims()
		c[name] = v
		if v == nil {
			delete(c, name)
		}
		return tokenOf(t, "RS256", rs, nil, c)
	}
	rawHeader := func(h string) string { return rawToken(t, "RS256", rs, h, claimsText("")) }
	rawClaims := func(c string) string { return rawToken(t, "RS256", rs, `{"alg":"RS256"}`, c) }
	confused := func(secret []byte) string { return tokenOf(t, "HS256", secret, nil, goodClaims()) }
	unsigned := func(alg string) string {
		return b64url([]byte(`{"alg":`+alg+`}`)) + "." + b64url([]byte(claimsText(""))) + "."
	}
	good := header(nil)
	parts := strings.Split(good, ".")

	type attack struct {
		name, token string
		want        Code
		algorithm   string // pinned; RS256 if ""
	}
	attacks := []attack{
		{name: "alg none", token: unsigned(`"none"`), want: AlgorithmNotAllowed},
		{name: "alg None", token: unsigned(`"None"`), want: AlgorithmNotAllowed},
		{name: "alg nOnE", token: unsigned(`"nOnE"`), want: AlgorithmNotAllowed},
		{name: "alg NONE with old signature", token: strings.Replace(unsigned(`"NONE"`), ".", ".", 1) + parts[2], want: AlgorithmNotAllowed},
		{name: "alg empty", token: unsigned(`""`), want: AlgorithmNotAllowed},
		{name: "alg number", token: unsigned(`0`), want: MalformedToken},
		{name: "alg null", token: unsigned(`null`), want: MalformedToken},
		{name: "alg list", token: unsigned(`["RS256"]`), want: MalformedToken},
		{name: "alg missing", token: rawHeader(`{"typ":"JWT"}`), want: MalformedToken},
		{name: "alg in lower case", token: unsigned(`"rs256"`), want: AlgorithmNotAllowed},
		{name: "alg with a blank", token: unsigned(`"RS256 "`), want: AlgorithmNotAllowed},
		{name: "alg of the same family that is not pinned", token: tokenOf(t, "RS512", rs, nil, goodClaims()), want: AlgorithmNotAllowed},
		{name: "alg PS for RS", token: tokenOf(t, "PS256", rs, nil, goodClaims()), want: AlgorithmNotAllowed},
		{name: "null signature", token: parts[0] + "." + parts[1] + ".", want: SignatureMismatch},
		{name: "RS256 to HS256 with the PEM", token: confused([]byte(rsPEM)), want: AlgorithmNotAllowed},
		{name: "RS256 to HS256 with the PEM, no final newline", token: confused([]byte(strings.TrimSpace(rsPEM))), want: AlgorithmNotAllowed},
		{name: "RS256 to HS256 with the DER", token: confused(der), want: AlgorithmNotAllowed},
		{name: "RS256 to HS256 with the JWK", token: confused([]byte(jwkText)), want: AlgorithmNotAllowed},
		{name: "RS256 to HS256 with the empty secret", token: confused(nil), want: AlgorithmNotAllowed},
		{name: "ES256 zero signature", algorithm: "ES256", want: SignatureMismatch,
			token: strings.Join(strings.Split(tokenOf(t, "ES256", es, nil, goodClaims()), ".")[:2], ".") + "." + b64url(make([]byte, 64))},
		{name: "ES256 signature of the order", algorithm: "ES256", want: SignatureMismatch,
			token: strings.Join(strings.Split(tokenOf(t, "ES256", es, nil, goodClaims()), ".")[:2], ".") + "." +
				b64url(append(elliptic.P256().Params().N.FillBytes(make([]byte, 32)), elliptic.P256().Params().N.FillBytes(make([]byte, 32))...))},
		{name: "ES256 signature in DER", algorithm: "ES256", want: SignatureMismatch,
			token: strings.Join(strings.Split(tokenOf(t, "ES256", es, nil, goodClaims()), ".")[:2], ".") + "." + b64url(derSignature(t, es.(*ecdsa.PrivateKey)))},
		{name: "embedded jwk", token: tokenOf(t, "RS256", own, map[string]any{"jwk": ownJWK}, goodClaims()), want: SignatureMismatch},
		{name: "jku elsewhere", token: tokenOf(t, "RS256", own, map[string]any{"jku": elsewhere.URL + "/jwks", "kid": "evil"}, goodClaims()), want: SignatureMismatch},
		{name: "x5u elsewhere", token: tokenOf(t, "RS256", own, map[string]any{"x5u": elsewhere.URL + "/cert"}, goodClaims()), want: SignatureMismatch},
		{name: "x5c embedded", token: tokenOf(t, "RS256", own, map[string]any{"x5c": []string{b64url(der)}}, goodClaims()), want: SignatureMismatch},
		{name: "kid is a path", token: tokenOf(t, "RS256", own, map[string]any{"kid": "../../dev/null"}, goodClaims()), want: SignatureMismatch},
		{name: "kid is SQL", token: tokenOf(t, "RS256", own, map[string]any{"kid": "x' UNION SELECT 'k'--"}, goodClaims()), want: SignatureMismatch},
		{name: "kid is a command", token: tokenOf(t, "RS256", own, map[string]any{"kid": "|touch /tmp/x"}, goodClaims()), want: SignatureMismatch},
		{name: "kid is a number", token: header(map[string]any{"kid": 1}), want: MalformedToken},
		{name: "kid is an object", token: header(map[string]any{"kid": map[string]any{}}), want: MalformedToken},
		{name: "kid empty", token: header(map[string]any{"kid": ""}), want: MalformedToken},
		{name: "kid huge", token: header(map[string]any{"kid": strings.Repeat("k", 1000)}), want: MalformedToken},
		{name: "kid twice", token: rawHeader(`{"alg":"RS256","kid":"a","kid":"b"}`), want: MalformedToken},
		{name: "alg twice", token: rawHeader(`{"alg":"none","alg":"RS256"}`), want: MalformedToken},
		{name: "claim twice", token: rawClaims(claimsText(`,"iss":"x"`)), want: MalformedToken},
		{name: "claim twice inside", token: rawClaims(claimsText(`,"x":[{"a":1,"a":2}]`)), want: MalformedToken},
		{name: "claim twice by an escape", token: rawClaims(claimsText(`,"\u0069ss":"x"`)), want: MalformedToken},
		{name: "crit unknown", token: header(map[string]any{"crit": []string{"x"}, "x": true}), want: MalformedToken},
		{name: "crit empty", token: header(map[string]any{"crit": []string{}}), want: MalformedToken},
		{name: "b64 false", token: header(map[string]any{"b64": false, "crit": []string{"b64"}}), want: MalformedToken},
		{name: "b64 false without crit", token: header(map[string]any{"b64": false}), want: MalformedToken},
		{name: "JSON serialisation", token: `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, want: MalformedToken},
		{name: "JWE of five parts", token: good + "." + parts[1] + "." + parts[2], want: MalformedToken},
		{name: "thousands of dots", token: strings.Repeat(".", 8000), want: MalformedToken},
		{name: "one part", token: parts[0], want: MalformedToken},
		{name: "huge token", token: strings.Repeat("a", MaxToken+1), want: HeaderTooLong},
		{name: "padding", token: parts[0] + "." + parts[1] + "." + parts[2] + "==", want: MalformedToken},
		{name: "signature with loose bits", token: good[:len(good)-1] + loose(good[len(good)-1]), want: MalformedToken},
		{name: "standard base64", token: strings.NewReplacer("-", "+", "_", "/").Replace(parts[0]+"."+parts[1]) + "." + stdBase64([]byte(strings.Repeat("\xff", 256))), want: MalformedToken},
		{name: "header no JSON", token: rawHeader(`x`), want: MalformedToken},
		{name: "header a list", token: rawHeader(`["RS256"]`), want: MalformedToken},
		{name: "header with a tail", token: rawHeader(`{"alg":"RS256"}{}`), want: MalformedToken},
		{name: "header not UTF-8", token: rawHeader("{\"alg\":\"RS256\",\"x\":\"\xff\"}"), want: MalformedToken},
		{name: "claims null", token: rawClaims(`null`), want: MalformedToken},
		{name: "claims empty", token: rawClaims(`{}`), want: MissingClaim},
		{name: "claims nested deeply", token: rawClaims(claimsText(`,"x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500))), want: MalformedToken},
		{name: "exp missing", token: claims("exp", nil), want: MissingClaim},
		{name: "exp text", token: claims("exp", fmt.Sprint(noon.Unix()+60)), want: MalformedToken},
		{name: "exp null", token: rawClaims(`{"iss":"x","exp":null}`), want: MalformedToken},
		{name: "exp negative", token: claims("exp", -1), want: MalformedToken},
		{name: "exp NaN", token: rawClaims(`{"exp":NaN}`), want: MalformedToken},
		{name: "exp infinite", token: rawClaims(`{"exp":1e999}`), want: MalformedToken},
		{name: "exp far away", token: claims("exp", 1e15), want: MalformedToken},
		{name: "exp past", token: claims("exp", noon.Unix()-1), want: TokenExpired},
		{name: "exp now", token: claims("exp", noon.Unix()), want: TokenExpired},
		{name: "exp a list", token: claims("exp", []int64{noon.Unix() + 60}), want: MalformedToken},
		{name: "nbf to come", token: claims("nbf", noon.Unix()+1), want: TokenNotYetValid},
		{name: "nbf text", token: claims("nbf", "0"), want: MalformedToken},
		{name: "nbf negative", token: claims("nbf", -1), want: MalformedToken},
		{name: "iat to come", token: claims("iat", noon.Unix()+1), want: TokenNotYetValid},
		{name: "iat text", token: claims("iat", "0"), want: MalformedToken},
		{name: "aud missing", token: claims("aud", nil), want: MissingClaim},
		{name: "aud of another", token: claims("aud", "https://other.example"), want: WrongAudience},
		{name: "aud of others", token: claims("aud", []string{"a", "b"}), want: WrongAudience},
		{name: "aud a part of ours", token: claims("aud", jwtAudience[:10]), want: WrongAudience},
		{name: "aud empty list", token: claims("aud", []string{}), want: MissingClaim},
		{name: "aud list of numbers", token: claims("aud", []int{1}), want: MalformedToken},
		{name: "aud of hundreds", token: claims("aud", append(make([]string, 100), jwtAudience)), want: MalformedToken},
		{name: "iss missing", token: claims("iss", nil), want: MissingClaim},
		{name: "iss of another", token: claims("iss", jwtIssuer+"/"), want: WrongIssuer},
		{name: "iss a list", token: claims("iss", []string{jwtIssuer}), want: MalformedToken},
		{name: "typ of another kind", token: header(map[string]any{"typ": "logout+jwt"}), want: MalformedToken},
		{name: "typ a number", token: header(map[string]any{"typ": 1}), want: MalformedToken},
		{name: "jti a number", token: claims("jti", 5), want: MalformedToken},
		{name: "jti empty", token: claims("jti", ""), want: MalformedToken},
		{name: "jti huge", token: claims("jti", strings.Repeat("j", 300)), want: MalformedToken},
		{name: "another key", token: tokenOf(t, "RS256", own, nil, goodClaims()), want: SignatureMismatch},
		{name: "changed claims", token: parts[0] + "." + b64url([]byte(claimsText(`,"admin":true`))) + "." + parts[2], want: SignatureMismatch},
		{name: "HS256 guessed secret", algorithm: "HS256", token: confused([]byte("your-256-bit-secret")), want: SignatureMismatch},
		{name: "HS256 to RS256", algorithm: "HS256", token: good, want: AlgorithmNotAllowed},
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			algorithm := a.algorithm
			if algorithm == "" {
				algorithm = "RS256"
			}
			_, credential := pair(algorithm)
			v := mustNew(t, jwtConfig(algorithm), credential)
			if _, err := v.Verify(t.Context(), bearerRequest(a.token), noon); code(t, err) != a.want {
				t.Errorf("%v, want %s", err, a.want)
			}
		})
	}
	t.Cleanup(func() {
		if n := calls.Load(); n != 0 {
			t.Errorf("%d network calls to addresses in tokens", n)
		}
	})
}

func derSignature(t testing.TB, key *ecdsa.PrivateKey) []byte {
	sum := sha256.Sum256([]byte("x"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// loose returns another last character that decodes to the same bytes where the unused bits are not looked at.
func loose(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)|1])
}

func TestPublishedKeysServeOnlyWhatTheySayTheyAreFor(t *testing.T) {
	t.Parallel()
	private, _ := pair("RS256")
	public := private.(*rsa.PrivateKey).Public()
	cfg := jwtConfig("RS256")
	cfg.JWT.JWKSURL = "https://crm.example/jwks"
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sets *sets
		kid  string
		want Code
	}{
		"plain":                {&sets{key: PublicKey{ID: "k", Key: public}}, "k", ""},
		"for signatures":       {&sets{key: PublicKey{ID: "k", Use: "sig", Operations: []string{"verify"}, Algorithm: "RS256", Key: public}}, "k", ""},
		"for encryption":       {&sets{key: PublicKey{ID: "k", Use: "enc", Key: public}}, "k", UnknownKey},
		"for signing only":     {&sets{key: PublicKey{ID: "k", Operations: []string{"sign"}, Key: public}}, "k", UnknownKey},
		"of another algorithm": {&sets{key: PublicKey{ID: "k", Algorithm: "PS256", Key: public}}, "k", UnknownKey},
		"of another kind":      {&sets{key: PublicKey{ID: "k", Key: signers().ed.Public()}}, "k", UnknownKey},
		"too weak":             {&sets{key: PublicKey{ID: "k", Key: weak.Public()}}, "k", UnknownKey},
		"unknown kid":          {&sets{key: PublicKey{ID: "k", Key: public}}, "other", UnknownKey},
		"path as kid":          {&sets{key: PublicKey{ID: "k", Key: public}}, "../../dev/null", UnknownKey},
		"no kid":               {&sets{key: PublicKey{ID: "k", Key: public}}, "", ""},
		"no kid, another key":  {&sets{key: PublicKey{ID: "k", Key: other.Public()}}, "", SignatureMismatch},
		"no kid, encryption":   {&sets{key: PublicKey{Use: "enc", Key: public}}, "", SignatureMismatch},
		"no kid, too weak":     {&sets{key: PublicKey{Key: weak.Public()}}, "", SignatureMismatch},
		"no kid, undecided":    {&sets{err: &KeyPending{Wait: 12 * time.Second}}, "", KeyNotKnownYet},
		"no kid, not there":    {&sets{err: domain.E(domain.KindUnavailable, "down")}, "", KeysUnavailable},
		"not known yet":        {&sets{err: &KeyPending{Wait: 12 * time.Second}}, "k", KeyNotKnownYet},
		"not to be had":        {&sets{err: domain.E(domain.KindUnavailable, "down")}, "k", KeysUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := New(cfg, nil, Options{KeySets: c.sets})
			if err != nil {
				t.Fatal(err)
			}
			header := map[string]any{"kid": c.kid, "jku": "https://evil.example/jwks"}
			if c.kid == "" {
				delete(header, "kid")
			}
			result, err := v.Verify(t.Context(), bearerRequest(tokenOf(t, "RS256", private, header, goodClaims())), noon)
			if code(t, err) != c.want || err == nil && result.MessageID != "msg_1" {
				t.Errorf("%+v, %v, want %q", result, err, c.want)
			}
			if reason := (*Reason)(nil); errors.As(err, &reason) &&
				(reason.Undecided() != (c.sets.err != nil) || reason.RetryAfter != domain.RetryAfter(c.sets.err)) {
				t.Errorf("%v: undecided %t, again in %s", err, reason.Undecided(), reason.RetryAfter)
			}
			if c.sets.url != cfg.JWT.JWKSURL || c.sets.asks.Load() != 1 {
				t.Errorf("asked %q %d times", c.sets.url, c.sets.asks.Load())
			}
		})
	}
	v, err := New(cfg, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), bearerRequest(tokenOf(t, "RS256", private, nil, goodClaims())), noon); code(t, err) != KeysUnavailable {
		t.Errorf("without key sets: %v", err)
	}
	if _, err := New(cfg, Plain(Secret(publicPEM(public))), Options{}); err == nil {
		t.Error("credentials beside an address of keys were taken")
	}
}

func TestOptionalClaimsAreRequiredWhereConfigured(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("{}"))
	with := func(change func(*JWT)) Config {
		c := jwtConfig("HS256")
		change(c.JWT)
		return c
	}
	nbf := with(func(j *JWT) { j.RequireNotBefore = true })
	age := with(func(j *JWT) { j.MaxAgeSeconds, j.LeewaySeconds = 30, 5 })
	hash := with(func(j *JWT) { j.BodyHashClaim = "body_sha256" })
	event := with(func(j *JWT) { j.Type = "secevent+jwt" })
	shared := with(func(j *JWT) { j.SharedToken = true })
	leeway := with(func(j *JWT) { j.LeewaySeconds = 10 })
	for name, c := range map[string]struct {
		cfg    Config
		header map[string]any
		claims map[string]any
		want   Code
	}{
		"nbf there":              {nbf, nil, map[string]any{"nbf": noon.Unix()}, ""},
		"nbf missing":            {nbf, nil, nil, MissingClaim},
		"as old as allowed":      {age, nil, map[string]any{"iat": noon.Unix() - 35}, ""},
		"older than allowed":     {age, nil, map[string]any{"iat": noon.Unix() - 36}, TimestampTooOld},
		"no age":                 {age, nil, map[string]any{"iat": nil}, MissingClaim},
		"body hash in hex":       {hash, nil, map[string]any{"body_sha256": fmt.Sprintf("%X", sum)}, ""},
		"body hash in base64":    {hash, nil, map[string]any{"body_sha256": stdBase64(sum[:])}, ""},
		"body hash in base64url": {hash, nil, map[string]any{"body_sha256": b64url(sum[:])}, ""},
		"body hash missing":      {hash, nil, nil, MissingClaim},
		"body hash of another":   {hash, nil, map[string]any{"body_sha256": strings.Repeat("0", 64)}, BodyMismatch},
		"body hash cut off":      {hash, nil, map[string]any{"body_sha256": b64url(sum[:16])}, BodyMismatch},
		"body hash empty":        {hash, nil, map[string]any{"body_sha256": ""}, BodyMismatch},
		"type of events":         {event, map[string]any{"typ": "application/SecEvent+JWT"}, nil, ""},
		"plain type for events":  {event, nil, nil, MalformedToken},
		"token for several":      {shared, nil, nil, ""},
		"expired within leeway":  {leeway, nil, map[string]any{"exp": noon.Unix() - 9}, ""},
		"expired beyond leeway":  {leeway, nil, map[string]any{"exp": noon.Unix() - 10}, TokenExpired},
		"early within leeway":    {leeway, nil, map[string]any{"nbf": noon.Unix() + 10, "iat": noon.Unix() + 10}, ""},
		"early beyond leeway":    {leeway, nil, map[string]any{"nbf": noon.Unix() + 11}, TokenNotYetValid},
		"audience among others":  {leeway, nil, map[string]any{"aud": []string{"x", jwtAudience}}, ""},
		"times with fractions":   {leeway, nil, map[string]any{"exp": float64(noon.Unix()) + 0.5}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := goodClaims()
			for k, v := range c.claims {
				if all[k] = v; v == nil {
					delete(all, k)
				}
			}
			got, err := mustNew(t, c.cfg, jwtSecret).Verify(t.Context(), bearerRequest(tokenOf(t, "HS256", []byte(jwtSecret), c.header, all)), noon)
			if code(t, err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err == nil && got.IDSigned == c.cfg.JWT.SharedToken {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestTokensSignedHereVerifyAndTheBodyCounts(t *testing.T) {
	t.Parallel()
	cfg := jwtConfig("HS512", "HS256")
	cfg.JWT.BodyHashClaim, cfg.JWT.RequireNotBefore, cfg.JWT.Type = "bh", true, "hook+jwt"
	cfg.Header, cfg.Prefix = "X-Token", "JWT "
	h := mustSign(t, cfg, jwtSecret, "msg_9", noon, "body")
	v := mustNew(t, cfg, strings.Repeat("0123456789abcdef", 4)+"x", jwtSecret)
	got, err := v.Verify(t.Context(), Request{Header: h, Body: []byte("body")}, noon)
	if err != nil || got.MessageID != "msg_9" || got.SecretIndex != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := v.Verify(t.Context(), Request{Header: h, Body: []byte("other")}, noon); code(t, err) != BodyMismatch {
		t.Errorf("another body: %v", err)
	}
	if _, err := Sign(jwtConfig("RS256"), Secret(publicPEM(signers().rsa.Public())), "m", noon, nil); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("signed with a public key: %v", err)
	}
}

func TestWeakAndMistakenKeysAreRefused(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(signers().rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signers().ed)
	if err != nil {
		t.Fatal(err)
	}
	_, es := pair("ES256")
	_, rs := pair("RS256")
	for name, c := range map[string]struct{ algorithm, key, want string }{
		"short for HS256":       {"HS256", jwtSecret[:31], "31 bytes; want at least 32"},
		"short for HS512":       {"HS512", jwtSecret[:63], "63 bytes; want at least 64"},
		"one character":         {"HS256", strings.Repeat("a", 64), "different bytes"},
		"a word repeated":       {"HS256", strings.Repeat("changeme-secret!", 4), "repeats itself"},
		"PEM as shared secret":  {"HS256", rs, "looks like a public key"},
		"DER as shared secret":  {"HS256", string(der), "looks like a public key"},
		"JWK as shared secret":  {"HS256", `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}`, "looks like a public key"},
		"shared secret for RS":  {"RS256", jwtSecret, "want one public key in PEM"},
		"private key":           {"EdDSA", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "is a private key"},
		"two keys":              {"RS256", rs + es, "want one public key"},
		"RSA of 1024 bits":      {"RS256", publicPEM(weak.Public()), "1024 bits; want 2048"},
		"P-224":                 {"ES256", publicPEM(p224.Public()), "the curve is not"},
		"curve of another":      {"ES384", es, "not one for ES384"},
		"kind of another":       {"EdDSA", rs, "not one for EdDSA"},
		"something else in PEM": {"RS256", string(pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: der})), "want a PUBLIC KEY"},
		"damaged":               {"RS256", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der[:50]})), "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(jwtConfig(c.algorithm), Plain(Secret(c.key)), Options{})
			if domain.KindOf(err) != domain.KindInvalid || !strings.HasPrefix(err.Error(), "secrets[0]: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestFaultsOfTokenSettingsNameTheField(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no part":         {func(c *Config) { c.JWT = nil }, "jwt: "},
		"no algorithms":   {func(c *Config) { c.JWT.Algorithms = nil }, "jwt.algorithms: "},
		"none":            {func(c *Config) { c.JWT.Algorithms = []string{"none"} }, "jwt.algorithms: "},
		"ES256K":          {func(c *Config) { c.JWT.Algorithms = []string{"ES256K"} }, "jwt.algorithms: "},
		"twice":           {func(c *Config) { c.JWT.Algorithms = []string{"RS256", "RS256"} }, "jwt.algorithms: "},
		"both kinds":      {func(c *Config) { c.JWT.Algorithms = []string{"RS256", "HS256"} }, "jwt.algorithms: HS is for shared"},
		"no issuer":       {func(c *Config) { c.JWT.Issuer = "" }, "jwt.issuer: "},
		"no audience":     {func(c *Config) { c.JWT.Audience = "" }, "jwt.audience: "},
		"leeway":          {func(c *Config) { c.JWT.LeewaySeconds = 301 }, "jwt.leeway_seconds: "},
		"age":             {func(c *Config) { c.JWT.MaxAgeSeconds = -1 }, "jwt.max_age_seconds: "},
		"hash in iss":     {func(c *Config) { c.JWT.BodyHashClaim = "iss" }, "jwt.body_hash_claim: "},
		"keys of HS":      {func(c *Config) { c.JWT.Algorithms, c.JWT.JWKSURL = []string{"HS256"}, "https://x.example" }, "jwt.jwks_url: "},
		"address of file": {func(c *Config) { c.JWT.JWKSURL = "file:///etc/passwd" }, "jwt.jwks_url: "},
		"address of user": {func(c *Config) { c.JWT.JWKSURL = "https://a:b@x.example/" }, "jwt.jwks_url: "},
		"prefix":          {func(c *Config) { c.Prefix = "JWT " }, "prefix: "},
		"tolerance":       {func(c *Config) { c.ToleranceSeconds = 5 }, "tolerance_seconds: "},
		"id header":       {func(c *Config) { c.IDHeader = "X-Id" }, "id_header: "},
		"another scheme":  {func(c *Config) { c.Scheme = StandardWebhooks }, "jwt: only has a meaning"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := jwtConfig("RS256")
			c.change(&cfg)
			if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Published examples. Those with iss "joe" have expired and have no audience, so a genuine signature shows by the refusal
// for the missing claim, and a changed one by the mismatch.
func TestKnownAnswersOfTheRFCs(t *testing.T) {
	t.Parallel()
	unb64 := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	hmacKey := unb64("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	rsaN := new(big.Int).SetBytes(unb64("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"))
	p256 := append(append([]byte{4}, unb64("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")...), unb64("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")...)
	es256, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), p256)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ algorithm, key, header, signature string }{
		"RFC 7515 A.1": {"HS256", string(hmacKey), "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
		"RFC 7515 A.2": {"RS256", publicPEM(&rsa.PublicKey{N: rsaN, E: 65537}), "eyJhbGciOiJSUzI1NiJ9",
			"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
		"RFC 7515 A.3": {"ES256", publicPEM(es256), "eyJhbGciOiJFUzI1NiJ9", "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
	} {
		cfg := Config{Scheme: JWTBearer, JWT: &JWT{Algorithms: []string{c.algorithm}, Issuer: "joe", Audience: "us"}}
		v := mustNew(t, cfg, c.key)
		at := time.Unix(1300819379, 0)
		if _, err := v.Verify(t.Context(), bearerRequest(c.header+"."+joe+"."+c.signature), at); code(t, err) != MissingClaim {
			t.Errorf("%s: %v, want the refusal behind the signature", name, err)
		}
		other := []byte(c.signature)
		other[5] ^= 1
		if _, err := v.Verify(t.Context(), bearerRequest(c.header+"."+joe+"."+string(other)), at); code(t, err) != SignatureMismatch {
			t.Errorf("%s, changed: %v", name, err)
		}
	}
	// RFC 7515 A.5 and RFC 7519 6.1 are the same unsecured token.
	v := mustNew(t, Config{Scheme: JWTBearer, JWT: &JWT{Algorithms: []string{"HS256"}, Issuer: "joe", Audience: "us"}}, string(hmacKey))
	if _, err := v.Verify(t.Context(), bearerRequest("eyJhbGciOiJub25lIn0."+joe+"."), time.Unix(1300819379, 0)); code(t, err) != AlgorithmNotAllowed {
		t.Errorf("unsecured token: %v", err)
	}
	// Those without claims are no tokens; the signature alone is checked.
	p521 := append(append([]byte{4}, unb64("AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk")...),
		unb64("ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2")...)
	es512, err := ecdsa.ParseUncompressedPublicKey(elliptic.P521(), p521)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method    jwt.SigningMethod
		key       any
		text, sig string
	}{
		"RFC 7515 A.4": {jwt.SigningMethodES512, es512, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
			"AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"},
		"RFC 8037 A.4": {jwt.SigningMethodEdDSA, ed25519.PublicKey(unb64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")),
			"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
			"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
	} {
		sig := unb64(c.sig)
		if err := c.method.Verify(c.text, sig, c.key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sig[9] ^= 1
		if c.method.Verify(c.text, sig, c.key) == nil {
			t.Errorf("%s: a changed signature verifies", name)
		}
	}
}

func FuzzJWT(f *testing.F) {
	mac := hmac.New(sha256.New, []byte(jwtSecret))
	sign := func(header, claims string) string {
		mac.Reset()
		text := b64url([]byte(header)) + "." + b64url([]byte(claims))
		mac.Write([]byte(text))
		return text + "." + b64url(mac.Sum(nil))
	}
	f.Add("Bearer "+sign(`{"alg":"HS256"}`, `{"iss":"`+jwtIssuer+`","aud":["`+jwtAudience+`"],"exp":1e10,"jti":"x"}`), []byte("{}"))
	f.Add("bearer "+sign(`{"alg":"HS256","crit":["b64"],"b64":false}`, `{}`), []byte(""))
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.", []byte(""))
	f.Add("Bearer "+sign(`{"alg":"HS256","kid":{},"alg":"none"}`, `[[[[`), []byte(""))
	f.Add("Bearer ....", []byte(""))
	v := mustNew(f, jwtConfig("HS256"), jwtSecret)
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		result, err := v.Verify(t.Context(), Request{Header: http.Header{"Authorization": {header}}, Body: body}, noon)
		if err != nil {
			code(t, err)
			return
		}
		// Only who has the secret gets here: the seed corpus, or the same in another case.
		_, raw, _ := strings.Cut(header, " ")
		parts := strings.Split(raw, ".")
		mac := hmac.New(sha256.New, []byte(jwtSecret))
		mac.Write([]byte(parts[0] + "." + parts[1]))
		if parts[2] != b64url(mac.Sum(nil)) || result.SecretIndex != 0 {
			t.Fatalf("%q passed", header)
		}
	})
}
