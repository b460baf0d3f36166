package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	// Audience is the "aud" of every token of the admin API.
	Audience = "wedsync"
	// MinKeyBytes is the shortest secret accepted: as long as the hash, after RFC 7518 section 3.2.
	MinKeyBytes = 32
	// MaxTokenBytes is the longest token read.
	MaxTokenBytes = 4096
	// DefaultMaxLifetime bounds exp - iat where Options has no other bound. Development tokens live this long at most.
	DefaultMaxLifetime = 31 * 24 * time.Hour
	// DefaultLeeway covers clocks that differ between issuer and server.
	DefaultLeeway = 10 * time.Second
	// MaxSubject is the longest subject, in bytes.
	MaxSubject = 200
	maxKeyID   = 64
)

// Key is one signing key.
type Key struct {
	ID     string // the "kid" of its tokens, 1..64 characters
	Secret []byte // at least MinKeyBytes random bytes
}

func (k Key) validate(field string) error {
	if n := len(k.ID); n < 1 || n > maxKeyID {
		return domain.Invalid(field+".id", "must have 1 to %d characters, has %d", maxKeyID, n)
	}
	if n := len(k.Secret); n < MinKeyBytes {
		return domain.Invalid(field+".secret", "must have at least %d bytes, has %d", MinKeyBytes, n)
	}
	return nil
}

// Grant says for whom a token is minted.
type Grant struct {
	Org     domain.OrgID
	Role    domain.Role
	Subject string // who acts, as the audit trail will name them; 1..MaxSubject bytes
}

func (g Grant) validate() error {
	if _, err := domain.ParseID[domain.OrgID]("org", string(g.Org)); err != nil {
		return err
	}
	if g.Role.Level() == 0 {
		return domain.Invalid("role", "must be viewer, operator or admin, not %q", string(g.Role))
	}
	if n := len(g.Subject); n < 1 || n > MaxSubject {
		return domain.Invalid("sub", "must have 1 to %d bytes, has %d", MaxSubject, n)
	}
	if !utf8.ValidString(g.Subject) {
		return domain.Invalid("sub", "must be UTF-8")
	}
	for _, r := range g.Subject {
		if unicode.IsControl(r) {
			return domain.Invalid("sub", "must not have control characters")
		}
	}
	return nil
}

// Claims is what a verified token says.
type Claims struct {
	Grant
	KeyID    string
	IssuedAt time.Time
	Expires  time.Time
}

// wire is the form of the claims in a token.
type wire struct {
	jwt.RegisteredClaims
	Org  domain.OrgID `json:"org"`
	Role domain.Role  `json:"role"`
}

// Issuer mints tokens with one key.
type Issuer struct {
	name string
	key  Key
}

// NewIssuer returns an issuer that signs with key as name ("iss"). A missing name or a short key is invalid.
func NewIssuer(name string, key Key) (*Issuer, error) {
	if name == "" {
		return nil, domain.Invalid("issuer", "missing")
	}
	if err := key.validate("key"); err != nil {
		return nil, err
	}
	return &Issuer{name: name, key: key}, nil
}

// Mint returns a token for g that lives for ttl from now. A ttl of less than a second, or a grant that Verify would
// refuse, is invalid. Whether ttl is within the verifier's bound is the verifier's decision.
func (i *Issuer) Mint(g Grant, ttl time.Duration, now time.Time) (string, error) {
	if err := g.validate(); err != nil {
		return "", err
	}
	if ttl < time.Second {
		return "", domain.Invalid("ttl", "must be at least 1 s, is %s", ttl)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, wire{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: i.name, Subject: g.Subject, Audience: jwt.ClaimStrings{Audience},
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		Org: g.Org, Role: g.Role,
	})
	t.Header["kid"] = i.key.ID
	raw, err := t.SignedString(i.key.Secret)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return raw, nil
}

// Options sets what a Verifier accepts.
type Options struct {
	Issuer      string        // the only accepted "iss"
	Keys        []Key         // at least one; ids differ
	MaxLifetime time.Duration // bound of exp - iat; 0 = DefaultMaxLifetime
	Leeway      time.Duration // tolerance for clocks, at most a minute; 0 = DefaultLeeway
}

// Verifier checks tokens.
type Verifier struct {
	issuer      string
	keys        map[string][]byte
	maxLifetime time.Duration
	leeway      time.Duration
}

// NewVerifier checks the options; no key, a short key, two keys of one id or a leeway over a minute is invalid.
func NewVerifier(o Options) (*Verifier, error) {
	if o.Issuer == "" {
		return nil, domain.Invalid("issuer", "missing")
	}
	if len(o.Keys) == 0 {
		return nil, domain.Invalid("keys", "at least one is needed")
	}
	if o.MaxLifetime == 0 {
		o.MaxLifetime = DefaultMaxLifetime
	}
	if o.MaxLifetime < 0 {
		return nil, domain.Invalid("max_lifetime", "must be positive, is %s", o.MaxLifetime)
	}
	if o.Leeway == 0 {
		o.Leeway = DefaultLeeway
	}
	if o.Leeway < 0 || o.Leeway > time.Minute {
		return nil, domain.Invalid("leeway", "must be 0 to 1 m, is %s", o.Leeway)
	}
	v := &Verifier{issuer: o.Issuer, keys: make(map[string][]byte, len(o.Keys)), maxLifetime: o.MaxLifetime, leeway: o.Leeway}
	for n, k := range o.Keys {
		if err := k.validate(fmt.Sprintf("keys[%d]", n)); err != nil {
			return nil, err
		}
		if _, twice := v.keys[k.ID]; twice {
			return nil, domain.Invalid(fmt.Sprintf("keys[%d].id", n), "%q is there twice", k.ID)
		}
		v.keys[k.ID] = append([]byte(nil), k.Secret...)
	}
	return v, nil
}

// Verify checks a raw token at a time and returns what it says. Every refusal has kind unauthenticated.
func (v *Verifier) Verify(raw string, now time.Time) (Claims, error) {
	if raw == "" {
		return Claims{}, refuse("token missing")
	}
	if len(raw) > MaxTokenBytes {
		return Claims{}, refuse("token longer than %d bytes", MaxTokenBytes)
	}
	var w wire
	parsed, err := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(v.issuer),
		jwt.WithAudience(Audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(v.leeway),
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	).ParseWithClaims(raw, &w, v.key)
	if err != nil {
		return Claims{}, refuse("%s", reason(err))
	}
	kid, _ := parsed.Header["kid"].(string)
	if w.IssuedAt == nil {
		return Claims{}, refuse("token has no issue time (iat)")
	}
	if life := w.ExpiresAt.Sub(w.IssuedAt.Time); life <= 0 || life > v.maxLifetime {
		return Claims{}, refuse("token lives for %s; at most %s is accepted", life, v.maxLifetime)
	}
	c := Claims{Grant: Grant{Org: w.Org, Role: w.Role, Subject: w.Subject}, KeyID: kid,
		IssuedAt: w.IssuedAt.Time, Expires: w.ExpiresAt.Time}
	if err := c.validate(); err != nil {
		return Claims{}, refuse("token claim not usable: %s", domain.FieldOf(err))
	}
	return c, nil
}

// key finds the key that a token names. Headers that change the meaning of a token are refused.
func (v *Verifier) key(t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, errHeader
	}
	if typ, there := t.Header["typ"]; there && typ != "JWT" {
		return nil, errHeader
	}
	kid, _ := t.Header["kid"].(string)
	secret, known := v.keys[kid]
	if !known {
		return nil, errKey
	}
	return secret, nil
}

var (
	errHeader = errors.New("token header not usable")
	errKey    = errors.New("token names no known key (kid)")
)

// reason puts the library's errors into words that never quote the token.
func reason(err error) string {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errHeader):
		return errHeader.Error()
	case errors.Is(err, errKey):
		return errKey.Error()
	case errors.Is(err, jwt.ErrTokenMalformed), errors.As(err, &syntax):
		return "token malformed"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return "token signature not valid"
	case errors.Is(err, jwt.ErrTokenExpired):
		return "token expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return "token not valid yet; check the clocks"
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return "token of another issuer (iss)"
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return "token for another audience (aud)"
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return "token lacks a required claim: iss, aud and exp must be there"
	}
	return "token not valid"
}

func refuse(format string, args ...any) error {
	return domain.E(domain.KindUnauthenticated, format, args...)
}
