package webhookauth

import (
	"fmt"
	"net/http"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Request is what is verified: the headers, with canonical names as net/http delivers them, and the raw body.
type Request struct {
	Header http.Header
	Body   []byte
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
	// SecretIndex is the position of the secret that matched, to see when an old one is out of use.
	SecretIndex int
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
)

// Reason is why a request was refused, written for the operator of the integration. Text holds no secret, signature or
// part of the request other than numbers.
type Reason struct {
	Code Code
	Text string
}

// Error returns code and text.
func (r *Reason) Error() string { return string(r.Code) + ": " + r.Text }

func refuse(code Code, format string, args ...any) *Reason {
	return &Reason{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Verifier checks requests by one Config and its secrets. Make one with [New], keep it, share it between goroutines.
type Verifier struct {
	engine engine
}

// New compiles a config with 1 to [MaxSecrets] secrets, of which any may match. Errors are of kind invalid and name the
// field ("header", "secrets[1]") and the limit.
func New(cfg Config, secrets []Secret) (*Verifier, error) {
	cfg, s, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	if len(secrets) < 1 || len(secrets) > MaxSecrets {
		return nil, domain.Invalid("secrets", "%d; want 1 to %d", len(secrets), MaxSecrets)
	}
	keys := make([][]byte, len(secrets))
	for i, secret := range secrets {
		if keys[i], err = s.key(secret); err != nil {
			return nil, domain.Invalid(fmt.Sprintf("secrets[%d]", i), "%s", err)
		}
	}
	return &Verifier{engine: s.build(cfg, keys)}, nil
}

// Verify returns what the request says about itself if it is genuine and fresh at now, and a [*Reason] if not. It
// looks at nothing but its arguments.
func (v *Verifier) Verify(req Request, now time.Time) (Result, error) {
	result, reason := v.engine.verify(req, now)
	if reason != nil {
		return Result{}, reason
	}
	return result, nil
}

// Sign returns the headers that make body a genuine request at ts. The id is required where the scheme signs it and
// ignored where the config has no id header. Errors are of kind invalid.
func Sign(cfg Config, secret Secret, id string, ts time.Time, body []byte) (http.Header, error) {
	v, err := New(cfg, []Secret{secret})
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
