package webhookauth

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// Scheme names a way of signing.
type Scheme string

// Encoding is how a signature is written in its header.
type Encoding string

// Content is what a signature covers: one of the names below or, for HMAC, a template such as "{id}.{timestamp}.{body}".
type Content string

const (
	// StandardWebhooks is Standard Webhooks v1 and v1a: HMAC-SHA256 or Ed25519 of "id.timestamp.body" in base64.
	StandardWebhooks Scheme = "standard-webhooks"
	// HMACSHA256 is the family of HMAC-SHA256 signatures in a single header.
	HMACSHA256 Scheme = "hmac-sha256"
	// HMAC is the family of HMAC signatures with any hash, encoding and content. It includes HMACSHA256.
	HMAC Scheme = "hmac"
	// Twilio signs the registered address and the form, or the digest of the body, with HMAC-SHA1.
	Twilio Scheme = "twilio"
	// MessageSignatures is HTTP Message Signatures (RFC 9421) over at least the Content-Digest (RFC 9530).
	MessageSignatures Scheme = "http-message-signatures"

	// Hex is base 16, in either case.
	Hex Encoding = "hex"
	// Base64 is the standard alphabet with padding.
	Base64 Encoding = "base64"
	// Base64URL is the alphabet for addresses, with or without padding.
	Base64URL Encoding = "base64url"

	// BodyOnly signs the body alone.
	BodyOnly Content = "body"
	// TimestampBody signs the timestamp header as received, a dot, and the body.
	TimestampBody Content = "timestamp.body"
)

// Limits of a Config and of the headers it reads.
const (
	// DefaultToleranceSeconds applies when ToleranceSeconds is 0.
	DefaultToleranceSeconds = 300
	// MaxToleranceSeconds is the largest tolerance, one day.
	MaxToleranceSeconds = 86400
	// MaxSecrets is how many secrets one integration may have at once.
	MaxSecrets = 8
	// MaxHeaderName is the longest header name in bytes.
	MaxHeaderName = 64
	// MaxPrefix is the longest signature prefix in bytes.
	MaxPrefix = 32
	// MaxSignatures is how many entries a list of signatures may have, of whatever version.
	MaxSignatures = 16
	// MaxSignatureHeader is the longest signature header in bytes.
	MaxSignatureHeader = 4096
	// MaxMessageID is the longest message id in bytes.
	MaxMessageID = 256
	// MaxTimestampDigits is the longest timestamp; 12 digits of seconds reach the year 33658.
	MaxTimestampDigits = 12
)

// Config is how one integration's webhooks are signed. The zero value of a field means the scheme's default. It holds
// no secret and is stored as JSON in the integration row.
type Config struct {
	Scheme Scheme `json:"scheme"`
	// Header carries the signature. Required for HMAC and HMACSHA256; StandardWebhooks: "webhook-signature".
	Header string `json:"header,omitempty"`
	// Algorithm is the hash of HMAC: "sha256" by default, "sha384", "sha512", or "sha1" with AllowSHA1. For
	// MessageSignatures it is "hmac-sha256" or "ed25519" and required.
	Algorithm string `json:"algorithm,omitempty"`
	// AllowSHA1 says that the sender has nothing better than SHA-1.
	AllowSHA1 bool `json:"allow_sha1,omitempty"`
	// Encoding of the signature. HMAC and HMACSHA256: hex by default. StandardWebhooks: always base64.
	Encoding Encoding `json:"encoding,omitempty"`
	// SecretEncoding is how the sender writes the secret of HMAC and MessageSignatures: "raw" by default, "hex" or "base64".
	SecretEncoding string `json:"secret_encoding,omitempty"`
	// Prefix stands before the signature, such as "sha256=". It is compared exactly. HMAC and HMACSHA256 only.
	Prefix string `json:"prefix,omitempty"`
	// SignatureKey and TimestampKey are for signature headers of HMAC that are lists such as "t=1700000000,v1=5257a8...":
	// the names of the entries with a signature ("v1", of which there may be several) and with the time ("t").
	SignatureKey string `json:"signature_key,omitempty"`
	TimestampKey string `json:"timestamp_key,omitempty"`
	// TimestampHeader carries the Unix time. HMAC: with "{timestamp}" in the content, unless TimestampKey is set.
	// HMACSHA256: only with content "timestamp.body", and required there. StandardWebhooks: "webhook-timestamp".
	TimestampHeader string `json:"timestamp_header,omitempty"`
	// TimestampUnit of HMAC is "seconds" by default, or "milliseconds".
	TimestampUnit string `json:"timestamp_unit,omitempty"`
	// IDHeader carries the sender's id of the message. HMACSHA256: optional, and not covered by the signature. HMAC:
	// the same unless the content has "{id}".
	// StandardWebhooks: "webhook-id", covered.
	IDHeader string `json:"id_header,omitempty"`
	// Content is what is signed. HMAC and HMACSHA256: the body by default. StandardWebhooks: fixed, leave empty.
	Content Content `json:"content,omitempty"`
	// URL is the address as it was registered with the sender, for schemes that sign it.
	URL string `json:"url,omitempty"`
	// Components must be covered by MessageSignatures, beside "content-digest": "@method", "@target-uri", "x-event".
	// Default "@method".
	Components []string `json:"components,omitempty"`
	// Label names the signature of MessageSignatures where a request may have several; "" means the only one.
	Label string `json:"label,omitempty"`
	// KeyID is the keyid that MessageSignatures must carry; "" means any.
	KeyID string `json:"key_id,omitempty"`
	// Challenge is the handshake by which the sender tests the address before it sends anything. See [Verifier.Challenge].
	Challenge Handshake `json:"challenge,omitempty"`
	// ToleranceSeconds is how far a timestamp may be from now on either side: 1 to 86400, 0 means 300.
	ToleranceSeconds int `json:"tolerance_seconds,omitempty"`
	// JWT is for the scheme of the same name only.
	JWT *JWT `json:"jwt,omitempty"`
	// Query names a parameter of the address that carries the key, in place of a header. APIKey only.
	Query string `json:"query,omitempty"`
	// Certificate is for ClientCertificate only.
	Certificate *Certificate `json:"client_certificate,omitempty"`
	// AllowAddresses are addresses and CIDR ranges from which alone requests are taken, beside what the scheme asks
	// for; empty means from everywhere. At most MaxAllowAddresses.
	AllowAddresses []string `json:"allow_addresses,omitempty"`
}

// Validate returns an error of kind invalid that names the first wrong field, by its JSON name, and the limit.
func (c Config) Validate() error {
	_, _, err := c.resolve()
	return err
}

// resolve returns the config with defaults filled in and the spec of its scheme.
func (c Config) resolve() (Config, spec, error) {
	s, ok := schemes[c.Scheme]
	if !ok {
		return c, s, domain.Invalid("scheme", "unknown; want one of %s", strings.Join(schemeNames(), ", "))
	}
	if err := c.checkOthers(); err != nil {
		return c, s, err
	}
	if err := c.checkFields(s.fields); err != nil {
		return c, s, err
	}
	if err := s.check(&c); err != nil {
		return c, s, err
	}
	if err := checkChallenge(c.Challenge); err != nil {
		return c, s, err
	}
	if c.ToleranceSeconds < 0 || c.ToleranceSeconds > MaxToleranceSeconds {
		return c, s, domain.Invalid("tolerance_seconds", "%d; want 1 to %d, or 0 for %d", c.ToleranceSeconds, MaxToleranceSeconds, DefaultToleranceSeconds)
	}
	if c.ToleranceSeconds == 0 {
		c.ToleranceSeconds = DefaultToleranceSeconds
	}
	if c.Header == "" && !s.headerless {
		return c, s, domain.Invalid("header", "missing; want the name of the header with the signature")
	}
	names := []struct {
		field string
		name  *string
	}{{"header", &c.Header}, {"timestamp_header", &c.TimestampHeader}, {"id_header", &c.IDHeader}}
	for i, n := range names {
		if err := checkHeaderName(n.field, *n.name); err != nil {
			return c, s, err
		}
		*n.name = http.CanonicalHeaderKey(*n.name)
		for _, before := range names[:i] {
			if *n.name != "" && *n.name == *before.name {
				return c, s, domain.Invalid(n.field, "same header as %s; want different ones", before.field)
			}
		}
	}
	return c, s, nil
}

// commonFields may be set with every scheme.
var commonFields = []string{"scheme", "challenge", "allow_addresses"}

// checkFields refuses a field that the scheme would ignore, since whoever set it relies on it. nil allows all.
func (c Config) checkFields(allowed []string) error {
	if allowed == nil {
		return nil
	}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if !v.Field(i).IsZero() && !slices.Contains(commonFields, name) && !slices.Contains(allowed, name) {
			return domain.Invalid(name, "%s has no use for it; leave it empty", c.Scheme)
		}
	}
	return nil
}

func checkHeaderName(field, name string) error {
	if name == "" {
		return nil
	}
	if len(name) > MaxHeaderName {
		return domain.Invalid(field, "%d bytes; want at most %d", len(name), MaxHeaderName)
	}
	for _, b := range []byte(name) {
		if !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0) {
			return domain.Invalid(field, "holds a character that no header name may have")
		}
	}
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Connection", "Trailer", "Transfer-Encoding", "Content-Length":
		return domain.Invalid(field, "belongs to the transport and cannot carry this")
	}
	return nil
}

func schemeNames() []string {
	names := make([]string, 0, len(schemes))
	for name := range schemes {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}

// Secret is what sender and receiver share, in the form the sender shows it: "whsec_…" or "whpk_…" for StandardWebhooks,
// the raw bytes for HMACSHA256. It never prints itself and refuses to become JSON; seal its bytes to store it.
type Secret []byte

// String hides the secret.
func (Secret) String() string { return "secret(hidden)" }

// Format hides the secret from every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "secret(hidden)") }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("secret(hidden)") }

// MarshalJSON fails, so that no secret reaches a log or a response as a part of something else.
func (Secret) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a webhook secret is not written as JSON; seal its bytes")
}
