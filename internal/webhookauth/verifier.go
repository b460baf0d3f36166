package webhookauth

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/edverify"
)

// Request is what is verified. Every scheme needs the headers and the body; the rest serves some of them.
type Request struct {
	Header http.Header // canonical names, as net/http delivers them
	Body   []byte      // raw, whole
	Method string      // "" means POST
	// URL is the address as the sender called it, with scheme, host and query: behind a proxy not what the server saw.
	URL string
	// PathToken is the part of the path behind the integration, for senders that sign nothing.
	PathToken string
	// Peer is the address of the sender, found through trusted proxies only; the zero Addr means unknown.
	Peer netip.Addr
	// ClientCert is the certificate that the sender proved in its TLS handshake, as a trusted proxy forwarded it.
	ClientCert *x509.Certificate
}

// Credential is one of the secrets of an integration, of which any may match.
type Credential struct {
	ID     string // names it to operators; not secret
	Secret Secret
	// NotAfter is when it stops being accepted; the zero time means never.
	NotAfter time.Time
}

// Plain makes credentials that never expire.
func Plain(secrets ...Secret) []Credential {
	out := make([]Credential, len(secrets))
	for i, s := range secrets {
		out[i] = Credential{Secret: s}
	}
	return out
}

// KeySets finds public keys that an integration's sender publishes at an address, for schemes that need them.
type KeySets interface {
	// Key returns a key of the set at url by its id. It may ask the network, bounded in time and in how often; what it
	// fetched before is used while the address cannot be reached. Errors: not_found for an id that the set, asked for
	// after the call, does not have; a [KeyPending] when it is not in the set and the address may not be asked again yet;
	// unavailable when there is no set, with the wait of domain.RetryAfter where it is known.
	Key(ctx context.Context, url, id string) (PublicKey, error)
	// Signer is Key for a token that names no key: it returns a key of the set for which signed is true. signed may be asked
	// for every key, more than once.
	Signer(ctx context.Context, url string, signed func(PublicKey) bool) (PublicKey, error)
}

// edKeys verifies by Ed25519, for all integrations: a platform that signs for its accounts has one key for them all. About 20 MiB
// at the most.
var edKeys = edverify.New(2048)

// KeyPending is the error for a key that the set lacks as it was last read, which is no proof that the sender does not
// have it. Its kind is unavailable.
type KeyPending struct {
	Wait time.Duration // until the set may be asked for again
}

// Error says when the set is asked for again.
func (p *KeyPending) Error() string {
	return fmt.Sprintf("the key set lacks the key and is asked for again in %s", p.Wait.Round(time.Second))
}

// Unwrap gives the error its kind and its wait.
func (p *KeyPending) Unwrap() error {
	return domain.WithRetryAfter(domain.E(domain.KindUnavailable, "the key set lacks the key"), p.Wait)
}

// PublicKey is a key of a set. Key is *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
type PublicKey struct {
	ID, Use, Algorithm string // "" where the set does not say
	Operations         []string
	Key                crypto.PublicKey
}

// Options are what some schemes need beside their Config. The zero value serves all others.
type Options struct {
	KeySets KeySets
	// VerifyToken is what a sender must show in the handshake [MetaHandshake], 16 to 512 bytes.
	VerifyToken Secret
}

// Result describes a genuine request.
type Result struct {
	// MessageID is the sender's id, the same on each of its retries; empty when the scheme or the request has none.
	MessageID string
	// IDSigned reports whether the signature covers MessageID. If not, a replay may carry another id.
	IDSigned bool
	// Timestamp is the signed time in UTC, zero when the scheme has none. With most senders it is the time of the
	// attempt and not of the event.
	Timestamp time.Time
	// SecretIndex is the position of the credential that matched and Credential its id, to see when an old one is out
	// of use. A scheme that needs no secret leaves them zero.
	SecretIndex int
	Credential  string
	// Hint reports that the request proves no more than that its sender knows the address. Nothing in the body may be
	// believed: take it as a hint that something changed, and read from the system what.
	Hint bool
}

// Code names why a request was refused; it is stable and fit for metrics.
type Code string

// The codes of refusal.
const (
	MissingHeader        Code = "missing_header"
	DuplicateHeader      Code = "duplicate_header"
	HeaderTooLong        Code = "header_too_long"
	MalformedID          Code = "malformed_id"
	MalformedTimestamp   Code = "malformed_timestamp"
	TimestampTooOld      Code = "timestamp_too_old"
	TimestampInFuture    Code = "timestamp_in_future"
	MalformedSignature   Code = "malformed_signature"
	TooManySignatures    Code = "too_many_signatures"
	NoSupportedSignature Code = "no_supported_signature"
	SignatureMismatch    Code = "signature_mismatch"
	CredentialExpired    Code = "credential_expired"

	AddressNotAllowed     Code = "address_not_allowed"
	CredentialMismatch    Code = "credential_mismatch"
	MalformedCredential   Code = "malformed_credential"
	MalformedToken        Code = "malformed_token"
	AlgorithmNotAllowed   Code = "algorithm_not_allowed"
	UnknownKey            Code = "unknown_key"
	KeysUnavailable       Code = "keys_unavailable"  // the sender's keys cannot be had now; a retry may pass
	KeyNotKnownYet        Code = "key_not_known_yet" // not among the sender's keys when they were last read; a retry may pass
	TokenExpired          Code = "token_expired"
	TokenNotYetValid      Code = "token_not_yet_valid"
	WrongIssuer           Code = "wrong_issuer"
	WrongAudience         Code = "wrong_audience"
	MissingClaim          Code = "missing_claim"
	BodyMismatch          Code = "body_mismatch"
	MissingCertificate    Code = "missing_certificate"
	CertificateExpired    Code = "certificate_expired"
	CertificateNotTrusted Code = "certificate_not_trusted"

	MalformedBody    Code = "malformed_body"
	MissingComponent Code = "missing_component"
	DigestMismatch   Code = "digest_mismatch"
	KeyIDMismatch    Code = "key_id_mismatch"
)

// Reason is why a request was refused, written for the operator of the integration. Text holds no secret, signature or
// part of the request other than numbers.
type Reason struct {
	Code Code
	Text string
	// RetryAfter is when a retry may pass, with KeysUnavailable and KeyNotKnownYet; 0 where that is not known.
	RetryAfter time.Duration
}

// Undecided reports that the request may be genuine: what it is verified by cannot be had now. It is to be sent again.
func (r *Reason) Undecided() bool { return r.Code == KeysUnavailable || r.Code == KeyNotKnownYet }

// Error returns code and text.
func (r *Reason) Error() string { return string(r.Code) + ": " + r.Text }

func refuse(code Code, format string, args ...any) *Reason {
	return &Reason{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Verifier checks requests by one Config and its credentials. Make one with [New], keep it, share it between goroutines.
type Verifier struct {
	engine      engine
	credentials []Credential // without their secrets
	addresses   []netip.Prefix
	handshake   handshake
	idHeader    string

	// of makes an engine of some of the credentials, by their positions. left is the last one that was made.
	of   func(positions []int) (engine, error)
	left atomic.Pointer[remainder]
}

// remainder is an engine of those credentials that had not ended, by their positions.
type remainder struct {
	positions []int
	engine    engine
}

// IDHeader is the canonical name of the header with the message id, "" where the scheme has none.
func (v *Verifier) IDHeader() string { return v.idHeader }

// New compiles a config with 1 to [MaxSecrets] credentials, of which any may match; schemes that need no secret take
// none. Errors are of kind invalid and name the field ("header", "secrets[1]") and the limit.
func New(cfg Config, credentials []Credential, o Options) (*Verifier, error) {
	cfg, s, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	least := 1
	if s.secretless != nil && s.secretless(cfg) {
		least = 0
	}
	if len(credentials) < least || len(credentials) > MaxSecrets {
		return nil, domain.Invalid("secrets", "%d; want %d to %d", len(credentials), least, MaxSecrets)
	}
	v := &Verifier{credentials: make([]Credential, len(credentials)), idHeader: cfg.IDHeader}
	if v.addresses, err = parseAddresses(cfg.AllowAddresses); err != nil {
		return nil, err
	}
	keys := make([][]byte, len(credentials))
	for i, c := range credentials {
		if keys[i], err = s.key(c.Secret); err != nil {
			return nil, domain.Invalid(fmt.Sprintf("secrets[%d]", i), "%s", err)
		}
		v.credentials[i] = Credential{ID: c.ID, NotAfter: c.NotAfter}
	}
	if v.engine, err = s.build(cfg, keys, o); err != nil {
		return nil, err
	}
	v.of = func(positions []int) (engine, error) {
		some := make([][]byte, len(positions))
		for i, at := range positions {
			some[i] = keys[at]
		}
		return s.build(cfg, some, o)
	}
	if v.handshake, err = newHandshake(cfg.Challenge, credentials, o.VerifyToken); err != nil {
		return nil, err
	}
	return v, nil
}

// Verify returns what the request says about itself if it is genuine and fresh at now, and a [*Reason] if not. It
// looks at nothing but its arguments, except for keys that it asks Options.KeySets for.
func (v *Verifier) Verify(ctx context.Context, req Request, now time.Time) (Result, error) {
	if reason := v.checkAddress(req.Peer); reason != nil {
		return Result{}, reason
	}
	result, reason := v.engine.verify(ctx, req, now)
	if reason != nil {
		return Result{}, reason
	}
	if len(v.credentials) > 0 {
		c := &v.credentials[result.SecretIndex]
		if c.ended(now) {
			// While a secret is replaced, senders sign by the old and by the new one. The old one was met first.
			other, ok := v.verifyByRest(ctx, req, now)
			if !ok {
				return Result{}, refuse(CredentialExpired, "genuine, but by a credential that ended %s ago", now.Sub(c.NotAfter).Round(time.Second))
			}
			result, c = other, &v.credentials[other.SecretIndex]
		}
		result.Credential = c.ID
	}
	return result, nil
}

func (c *Credential) ended(now time.Time) bool { return !c.NotAfter.IsZero() && now.After(c.NotAfter) }

// verifyByRest asks the credentials alone that have not ended. Only a request that is genuine by one that has comes here.
func (v *Verifier) verifyByRest(ctx context.Context, req Request, now time.Time) (Result, bool) {
	var positions []int
	for i := range v.credentials {
		if !v.credentials[i].ended(now) {
			positions = append(positions, i)
		}
	}
	if len(positions) == 0 {
		return Result{}, false
	}
	rest := v.left.Load()
	if rest == nil || !slices.Equal(rest.positions, positions) {
		e, err := v.of(positions)
		if err != nil {
			return Result{}, false // all of them together were fine, so some of them are
		}
		rest = &remainder{positions, e}
		v.left.Store(rest)
	}
	result, reason := rest.engine.verify(ctx, req, now)
	if reason != nil {
		return Result{}, false
	}
	result.SecretIndex = positions[result.SecretIndex]
	return result, true
}

// Sign returns the headers that make body a genuine request at ts. The id is required where the scheme signs it and
// ignored where the config has no id header. Errors are of kind invalid.
func Sign(cfg Config, secret Secret, id string, ts time.Time, body []byte) (http.Header, error) {
	v, err := New(cfg, Plain(secret), Options{})
	if err != nil {
		return nil, err
	}
	return v.Sign(id, ts, body)
}

// Sign is the function [Sign] with the first of the verifier's secrets, for senders of many messages.
func (v *Verifier) Sign(id string, ts time.Time, body []byte) (http.Header, error) {
	h := make(http.Header, 3)
	if err := v.engine.sign(h, id, ts, body); err != nil {
		return nil, err
	}
	return h, nil
}
