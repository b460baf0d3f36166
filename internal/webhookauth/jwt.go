package webhookauth

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// JWTBearer is a signed JSON Web Token (RFC 7519) in "Authorization: Bearer …", or alone in a header of its own. Keys come
// from the credentials or from the configured address and never from the token: jwk, jku, x5u and x5c in its header are
// not looked at. The token says nothing about the body unless BodyHashClaim is set.
const JWTBearer Scheme = "jwt"

// JWT is what a token must be. Algorithms, Issuer and Audience are required, and every token must have exp.
type JWT struct {
	// Algorithms are the accepted ones: HS, RS, PS or ES with 256, 384 or 512, and EdDSA. Shared secrets (HS) and
	// public keys do not go together.
	Algorithms []string `json:"algorithms"`
	Issuer     string   `json:"issuer"`
	Audience   string   `json:"audience"`
	// LeewaySeconds is how far clocks may differ, 0 to 300.
	LeewaySeconds int `json:"leeway_seconds,omitempty"`
	// RequireNotBefore refuses tokens without nbf. One that is there is always held against the clock.
	RequireNotBefore bool `json:"require_nbf,omitempty"`
	// MaxAgeSeconds is how long after iat a token is taken, up to 86400; 0 means until exp. With it iat is required.
	MaxAgeSeconds int `json:"max_age_seconds,omitempty"`
	// Type is what the header's typ must say, such as "secevent+jwt". Empty takes "JWT" and tokens without typ.
	Type string `json:"type,omitempty"`
	// JWKSURL is where the sender publishes its public keys. Empty means that the credentials are the keys.
	JWKSURL string `json:"jwks_url,omitempty"`
	// BodyHashClaim names the claim with the SHA-256 of the body in hex, base64 or base64url; it is then required.
	BodyHashClaim string `json:"body_hash_claim,omitempty"`
	// SharedToken says that the sender uses one token for several messages. Its jti then names no message, and
	// messages are told apart by their bodies.
	SharedToken bool `json:"shared_token,omitempty"`
}

// Limits of tokens and their settings.
const (
	// MaxToken is the longest token in bytes.
	MaxToken = 8 << 10
	// MaxLeewaySeconds is the largest leeway.
	MaxLeewaySeconds = 300
	maxJWTText       = 512
	maxKeptHeader    = 512
	maxClaimDepth    = 8
	maxAudiences     = 16
	latestTime       = 253402300799 // the end of the year 9999
)

var jwtSpec = spec{about: "a signed JSON Web Token of pinned algorithms, issuer and audience", secret: "a shared secret or PEM public keys, or none with jwt.jwks_url",
	fields: []string{"jwt", "header", "prefix"}, required: []string{"jwt"}, check: checkJWT, key: jwtKeyText, build: buildJWT, split: splitKeys, generate: generateJWT,
	secretless: func(c Config) bool { return c.JWT != nil && c.JWT.JWKSURL != "" }}

var jwtAlgorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func checkJWT(c *Config) error {
	if err := c.unused(); err != nil {
		return err
	}
	if c.IDHeader != "" {
		return domain.Invalid("id_header", "the id of a message is the token's jti; leave it empty")
	}
	j := c.JWT
	if j == nil {
		return domain.Invalid("jwt", "missing; required with scheme %q", JWTBearer)
	}
	if len(j.Algorithms) == 0 || len(j.Algorithms) > len(jwtAlgorithms) {
		return domain.Invalid("jwt.algorithms", "missing; want some of %s", strings.Join(jwtAlgorithms, ", "))
	}
	symmetric := 0
	for i, a := range j.Algorithms {
		if !slices.Contains(jwtAlgorithms, a) {
			return domain.Invalid("jwt.algorithms", "entry %d is unknown; want some of %s", i+1, strings.Join(jwtAlgorithms, ", "))
		}
		if slices.Contains(j.Algorithms[:i], a) {
			return domain.Invalid("jwt.algorithms", "%s stands there twice", a)
		}
		if strings.HasPrefix(a, "HS") {
			symmetric++
		}
	}
	if symmetric > 0 && symmetric < len(j.Algorithms) {
		return domain.Invalid("jwt.algorithms", "HS is for shared secrets and the others are for public keys; want one kind only")
	}
	for _, f := range []struct{ name, value string }{{"issuer", j.Issuer}, {"audience", j.Audience}} {
		if f.value == "" || len(f.value) > maxJWTText {
			return domain.Invalid("jwt."+f.name, "required, at most %d bytes", maxJWTText)
		}
	}
	if j.LeewaySeconds < 0 || j.LeewaySeconds > MaxLeewaySeconds {
		return domain.Invalid("jwt.leeway_seconds", "%d; want 0 to %d", j.LeewaySeconds, MaxLeewaySeconds)
	}
	if j.MaxAgeSeconds < 0 || j.MaxAgeSeconds > MaxToleranceSeconds {
		return domain.Invalid("jwt.max_age_seconds", "%d; want 0 to %d", j.MaxAgeSeconds, MaxToleranceSeconds)
	}
	if len(j.Type) > maxJWTText || !visible(j.Type) || len(j.BodyHashClaim) > maxJWTText {
		return domain.Invalid("jwt.type", "type and body_hash_claim have at most %d visible characters", maxJWTText)
	}
	if slices.Contains([]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}, j.BodyHashClaim) {
		return domain.Invalid("jwt.body_hash_claim", "%s has another meaning", j.BodyHashClaim)
	}
	if j.JWKSURL != "" {
		if symmetric > 0 {
			return domain.Invalid("jwt.jwks_url", "shared secrets are not published; leave it empty with HS")
		}
		u, err := url.Parse(j.JWKSURL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" || len(j.JWKSURL) > 2*maxJWTText {
			return domain.Invalid("jwt.jwks_url", "want an https address without user and fragment, at most %d bytes", 2*maxJWTText)
		}
	}
	if c.Header != "" && !strings.EqualFold(c.Header, "Authorization") {
		if len(c.Prefix) > MaxPrefix || strings.HasPrefix(c.Prefix, " ") || !visible(strings.ReplaceAll(c.Prefix, " ", "")) {
			return domain.Invalid("prefix", "want at most %d visible ASCII characters, not starting with a blank", MaxPrefix)
		}
	} else if c.Prefix != "" {
		return domain.Invalid("prefix", "in Authorization it is always Bearer; leave it empty")
	}
	fill(&c.Header, "Authorization")
	return nil
}

type jwtEngine struct {
	config         JWT
	header, prefix string
	bearer         bool
	keys           []any // by position of the credential
	sets           KeySets
	claims         []jwt.ParserOption // all but the time
	validators     sync.Pool          // of *clockedValidator
	// last is the header that came last. A sender's tokens nearly always have the same, and taking it apart is half the work.
	last atomic.Pointer[tokenHeader]
}

// tokenHeader is a header that was found good.
type tokenHeader struct{ part, algorithm, keyID string }

func buildJWT(c Config, texts [][]byte, o Options) (engine, error) {
	e := &jwtEngine{config: *c.JWT, header: c.Header, prefix: c.Prefix, bearer: c.Header == "Authorization", sets: o.KeySets}
	e.config.Algorithms = slices.Clone(c.JWT.Algorithms)
	if e.config.JWKSURL != "" && len(texts) > 0 {
		return nil, domain.Invalid("secrets", "%d; want none beside jwks_url", len(texts))
	}
	for i, text := range texts {
		key, err := jwtKey(e.config.Algorithms, text)
		if err != nil {
			return nil, domain.Invalid(fmt.Sprintf("secrets[%d]", i), "%s", err)
		}
		e.keys = append(e.keys, key)
	}
	e.claims = []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithIssuer(e.config.Issuer), jwt.WithAudience(e.config.Audience),
		jwt.WithLeeway(time.Duration(e.config.LeewaySeconds) * time.Second)}
	if e.config.RequireNotBefore {
		e.claims = append(e.claims, jwt.WithNotBeforeRequired())
	}
	e.validators.New = func() any {
		c := &clockedValidator{}
		c.validator = jwt.NewValidator(append(slices.Clone(e.claims), jwt.WithTimeFunc(func() time.Time { return c.now }))...)
		return c
	}
	return e, nil
}

// clockedValidator is the library's check of claims at a time. Making one costs more than using it.
type clockedValidator struct {
	now       time.Time
	validator *jwt.Validator
}

// token is a token taken apart, with nothing verified.
type token struct {
	signed, algorithm, keyID string // signed is what the signature is over
	signature                []byte
	claims                   members
}

func (e *jwtEngine) verify(ctx context.Context, req Request, now time.Time) (Result, *Reason) {
	raw, reason := e.read(req.Header)
	if reason != nil {
		return Result{}, reason
	}
	var room [12]member
	t, reason := e.parse(raw, room[:0])
	if reason != nil {
		return Result{}, reason
	}
	result := Result{}
	if e.config.JWKSURL != "" {
		if reason := e.checkPublished(ctx, t, now); reason != nil {
			return Result{}, reason
		}
	} else {
		fitting := false
		reason = nil
		for i, key := range e.keys {
			if !keyFits(t.algorithm, key) {
				continue
			}
			fitting = true
			if reason = e.check(t, key, now); reason == nil || reason.Code != SignatureMismatch {
				result.SecretIndex = i
				break
			}
		}
		if !fitting {
			return Result{}, refuse(UnknownKey, "none of the %d keys is for %s", len(e.keys), t.algorithm)
		}
		if reason != nil {
			return Result{}, reason
		}
	}
	return e.accept(t, req.Body, now, result)
}

func (e *jwtEngine) read(h http.Header) (string, *Reason) {
	if e.bearer {
		return authorization(h, e.header, "Bearer", len("Bearer ")+MaxToken)
	}
	value, reason := required(h, e.header, MaxPrefix+MaxToken)
	if reason != nil {
		return "", reason
	}
	raw, ok := strings.CutPrefix(value, e.prefix)
	if !ok {
		return "", refuse(MalformedCredential, "header %s does not start with %q", e.header, e.prefix)
	}
	if len(raw) > MaxToken {
		return "", refuse(HeaderTooLong, "the token has %d bytes; want at most %d", len(raw), MaxToken)
	}
	return raw, nil
}

// parse takes a token apart more strictly than the library does: members that come twice, other types and unknown
// critical extensions have led other verifiers astray.
func (e *jwtEngine) parse(raw string, room members) (token, *Reason) {
	var parts [3]string
	var ok, more bool
	parts[0], parts[1], ok = strings.Cut(raw, ".")
	if parts[1], parts[2], more = strings.Cut(parts[1], "."); !ok || !more || strings.Contains(parts[2], ".") {
		return token{}, refuse(MalformedToken, "the token has not three parts; encrypted tokens and other forms are not taken")
	}
	head := e.last.Load()
	if head == nil || head.part != parts[0] {
		var reason *Reason
		if head, reason = e.parseHeader(parts[0]); reason != nil {
			return token{}, reason
		}
		if len(head.part) <= maxKeptHeader { // nothing is proved yet, so a stranger may have sent it
			e.last.Store(head)
		}
	}
	t := token{signed: raw[:len(raw)-len(parts[2])-1], algorithm: head.algorithm, keyID: head.keyID}
	var err error
	if t.signature, err = base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil || strings.ContainsAny(parts[2], "\r\n") {
		return t, refuse(MalformedToken, "the token's signature is not base64url")
	}
	if t.claims, err = strictObject(parts[1], room); err != nil {
		return t, refuse(MalformedToken, "the token's claims %s", err)
	}
	for _, name := range [...]string{"exp", "nbf", "iat"} {
		if _, there := t.claims.get(name); there {
			if seconds, ok := t.claims.number(name); !ok || seconds < 0 || seconds > latestTime {
				return t, refuse(MalformedToken, "the token's %s is not a number of seconds since 1970", name)
			}
		}
	}
	if _, there := t.claims.get("jti"); there {
		if id, ok := t.claims.string("jti"); !ok || id == "" || len(id) > MaxMessageID || !visible(id) {
			return t, refuse(MalformedToken, "the token's jti is not a text of 1 to %d visible ASCII characters", MaxMessageID)
		}
	}
	if aud, _ := t.claims.get("aud"); aud.kind == isList && aud.length() > maxAudiences {
		return t, refuse(MalformedToken, "the token's aud has more than %d entries", maxAudiences)
	}
	return t, nil
}

// parseHeader reads a token's header. What it returns is shared and does not change.
func (e *jwtEngine) parseHeader(part string) (*tokenHeader, *Reason) {
	t := &tokenHeader{part: strings.Clone(part)}
	head, err := strictObject(part, nil)
	if err != nil {
		return nil, refuse(MalformedToken, "the token's header %s", err)
	}
	var ok bool
	if t.algorithm, ok = head.string("alg"); !ok {
		return nil, refuse(MalformedToken, "the token's header names no algorithm")
	}
	if !slices.Contains(e.config.Algorithms, t.algorithm) {
		return nil, refuse(AlgorithmNotAllowed, "the token is signed by an algorithm other than %s", strings.Join(e.config.Algorithms, ", "))
	}
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, there := head.get(name); there {
			return nil, refuse(MalformedToken, "the token's header has %s, which is not understood here", name)
		}
	}
	if _, there := head.get("kid"); there {
		if t.keyID, ok = head.string("kid"); !ok || t.keyID == "" || len(t.keyID) > MaxMessageID {
			return nil, refuse(MalformedToken, "the token's kid is not a text of 1 to %d bytes", MaxMessageID)
		}
	}
	typ, ok := head.string("typ")
	if _, there := head.get("typ"); there && !ok {
		return nil, refuse(MalformedToken, "the token's typ is not a text")
	}
	if !e.typeFits(typ) {
		return nil, refuse(MalformedToken, "the token's typ is that of another kind of token")
	}
	return t, nil
}

// typeFits compares media types: in any case, with "application/" left out or not (RFC 7515, 4.1.9).
func (e *jwtEngine) typeFits(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if e.config.Type != "" {
		return typ == strings.TrimPrefix(strings.ToLower(e.config.Type), "application/")
	}
	return typ == "" || typ == "jwt"
}

// checkPublished verifies a token by the keys that its sender publishes: the one of its kid, or any if it has none.
func (e *jwtEngine) checkPublished(ctx context.Context, t token, now time.Time) *Reason {
	if e.sets == nil {
		return refuse(KeysUnavailable, "published keys are not available in this program")
	}
	var key PublicKey
	var err error
	if t.keyID != "" {
		key, err = e.sets.Key(ctx, e.config.JWKSURL, t.keyID)
	} else {
		key, err = e.sets.Signer(ctx, e.config.JWKSURL, func(k PublicKey) bool { return unusable(k, t.algorithm) == "" && signedBy(t, k.Key) })
	}
	var pending *KeyPending
	switch {
	case domain.KindOf(err) == domain.KindNotFound && t.keyID == "":
		return refuse(SignatureMismatch, "the token names no key, and its signature fits none of the sender's published keys, asked for anew")
	case domain.KindOf(err) == domain.KindNotFound:
		return refuse(UnknownKey, "the sender's published keys, asked for anew, have none of the token's kid")
	case errors.As(err, &pending):
		lack := "have none of the token's kid"
		if t.keyID == "" {
			lack = "did not sign the token, which names none of them,"
		}
		reason := refuse(KeyNotKnownYet, "the sender's published keys %s and are asked for again in %d s; a retry then is decided", lack, seconds(pending.Wait))
		reason.RetryAfter = pending.Wait
		return reason
	case err != nil:
		reason := refuse(KeysUnavailable, "the sender's published keys cannot be had: %s", err)
		reason.RetryAfter = domain.RetryAfter(err)
		return reason
	}
	if t.keyID == "" {
		return e.checkClaims(t, now) // it signed the token
	}
	if why := unusable(key, t.algorithm); why != "" {
		return refuse(UnknownKey, "the published key is %s", why)
	}
	return e.check(t, key.Key, now)
}

// unusable says why a published key may not verify tokens of an algorithm; "" when it may.
func unusable(key PublicKey, algorithm string) string {
	switch {
	case key.Use != "" && key.Use != "sig":
		return "not for signatures"
	case len(key.Operations) > 0 && !slices.Contains(key.Operations, "verify"):
		return "not for verifying"
	case key.Algorithm != "" && key.Algorithm != algorithm:
		return "for another algorithm"
	case CheckPublicKey(key.Key) != nil || !keyFits(algorithm, key.Key):
		return "not one for " + algorithm
	}
	return ""
}

// signedBy reports whether a key, which fits the token's algorithm, signed the token.
func signedBy(t token, key any) bool {
	if public, ok := key.(ed25519.PublicKey); ok {
		return t.algorithm == jwt.SigningMethodEdDSA.Alg() && edKeys.Verify(public, []byte(t.signed), t.signature)
	}
	method := jwt.GetSigningMethod(t.algorithm)
	return method != nil && method.Verify(t.signed, t.signature, key) == nil
}

// seconds rounds up: a second too late is better than one too early.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// check verifies signature, times, issuer and audience with one key.
func (e *jwtEngine) check(t token, key any, now time.Time) *Reason {
	if !signedBy(t, key) {
		return refuse(SignatureMismatch, "the token's signature fits none of the keys")
	}
	return e.checkClaims(t, now)
}

// checkClaims verifies times, issuer and audience.
func (e *jwtEngine) checkClaims(t token, now time.Time) *Reason {
	c := e.validators.Get().(*clockedValidator)
	c.now = now
	err := c.validator.Validate(t.claims)
	e.validators.Put(c)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return refuse(MissingClaim, "the token lacks one of exp, iss and aud%s", map[bool]string{true: " or nbf"}[e.config.RequireNotBefore])
	case errors.Is(err, jwt.ErrTokenExpired):
		return refuse(TokenExpired, "the token has expired (a replay, a slow sender or a wrong clock)")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return refuse(TokenNotYetValid, "the token is valid only later (a wrong clock)")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return refuse(WrongIssuer, "the token is of another issuer")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return refuse(WrongAudience, "the token is for another audience")
	}
	return refuse(MalformedToken, "the token cannot be understood")
}

// accept checks what the library does not know of and makes the result.
func (e *jwtEngine) accept(t token, body []byte, now time.Time, result Result) (Result, *Reason) {
	if iat, ok := t.claims.number("iat"); ok {
		result.Timestamp = time.Unix(int64(iat), 0).UTC()
	}
	if most := e.config.MaxAgeSeconds; most > 0 {
		if result.Timestamp.IsZero() {
			return Result{}, refuse(MissingClaim, "the token lacks iat, which max_age_seconds needs")
		}
		if age := now.Unix() - result.Timestamp.Unix(); age > int64(most+e.config.LeewaySeconds) {
			return Result{}, refuse(TimestampTooOld, "issued %d s ago; the limit is %d s", age, most)
		}
	}
	if name := e.config.BodyHashClaim; name != "" {
		text, ok := t.claims.string(name)
		if !ok {
			return Result{}, refuse(MissingClaim, "the token lacks %s, the hash of the body", name)
		}
		sum := sha256.Sum256(body)
		if subtle.ConstantTimeCompare(decodeSum(text), sum[:]) != 1 {
			return Result{}, refuse(BodyMismatch, "the token was made for another body; check that nothing on the way changes it")
		}
	}
	if id, ok := t.claims.string("jti"); ok && !e.config.SharedToken {
		result.MessageID, result.IDSigned = id, true
	}
	return result, nil
}

// decodeSum reads a SHA-256 sum in one of its spellings, nil if it is none.
func decodeSum(s string) []byte {
	var sum []byte
	var err error
	switch len(s) {
	case 2 * sha256.Size:
		sum, err = hex.DecodeString(s)
	case 43:
		sum, err = base64.RawURLEncoding.Strict().DecodeString(s)
	case 44:
		sum, err = base64.StdEncoding.Strict().DecodeString(s)
	}
	if err != nil {
		return nil
	}
	return sum
}

// sign makes a token for ts with a shared secret; public keys make none.
func (e *jwtEngine) sign(h http.Header, id string, ts time.Time, body []byte) error {
	if len(e.keys) == 0 || !strings.HasPrefix(e.config.Algorithms[0], "HS") {
		return domain.Invalid("jwt.algorithms", "a token can only be made here with a shared secret")
	}
	claims := jwt.MapClaims{"iss": e.config.Issuer, "aud": e.config.Audience, "iat": ts.Unix(), "nbf": ts.Unix(), "exp": ts.Unix() + 60}
	if id != "" {
		if len(id) > MaxMessageID || !visible(id) {
			return domain.Invalid("id", "want 1 to %d visible ASCII characters", MaxMessageID)
		}
		claims["jti"] = id
	}
	if e.config.BodyHashClaim != "" {
		sum := sha256.Sum256(body)
		claims[e.config.BodyHashClaim] = hex.EncodeToString(sum[:])
	}
	t := jwt.NewWithClaims(jwt.GetSigningMethod(e.config.Algorithms[0]), claims)
	if e.config.Type != "" {
		t.Header["typ"] = e.config.Type
	}
	text, err := t.SignedString(e.keys[0])
	if err != nil {
		return domain.E(domain.KindInternal, "sign token: %w", err)
	}
	if e.bearer {
		text = "Bearer " + text
	} else {
		text = e.prefix + text
	}
	h.Set(e.header, text)
	return nil
}
