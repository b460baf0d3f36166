package webhookauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// HMAC-SHA256 in one header: many systems have their own name for the header and its prefix but sign alike.
var hmacSpec = spec{check: checkHMAC, key: hmacKey, build: buildHMAC}

const (
	minHMACKey = 16
	maxHMACKey = 512
)

func checkHMAC(c *Config) error {
	switch c.Encoding {
	case "":
		c.Encoding = Hex
	case Hex, Base64:
	default:
		return domain.Invalid("encoding", "unknown; want %s or %s", Hex, Base64)
	}
	if len(c.Prefix) > MaxPrefix {
		return domain.Invalid("prefix", "%d bytes; want at most %d", len(c.Prefix), MaxPrefix)
	}
	// Inner blanks are fine ("HMAC-SHA256 "), but a leading one is trimmed off every header value.
	if strings.HasPrefix(c.Prefix, " ") || !visible(strings.ReplaceAll(c.Prefix, " ", "")) {
		return domain.Invalid("prefix", "want visible ASCII characters, not starting with a blank")
	}
	switch c.Content {
	case "", BodyOnly:
		c.Content = BodyOnly
		if c.TimestampHeader != "" {
			return domain.Invalid("timestamp_header", "a timestamp that is not signed proves nothing; set content to %q or leave this empty", TimestampBody)
		}
		if c.ToleranceSeconds != 0 {
			return domain.Invalid("tolerance_seconds", "only has a meaning with content %q", TimestampBody)
		}
	case TimestampBody:
		if c.TimestampHeader == "" {
			return domain.Invalid("timestamp_header", "missing; required with content %q", TimestampBody)
		}
	default:
		return domain.Invalid("content", "unknown; want %q or %q", BodyOnly, TimestampBody)
	}
	return nil
}

func hmacKey(secret Secret) ([]byte, error) {
	if len(secret) < minHMACKey || len(secret) > maxHMACKey {
		return nil, fmt.Errorf("%d bytes; want %d to %d", len(secret), minHMACKey, maxHMACKey)
	}
	return append([]byte(nil), secret...), nil
}

type plainHMAC struct {
	signature, timestamp, id string
	prefix                   string
	encoding                 Encoding
	digits                   int // length of the signature without prefix
	tolerance                int64
	keys                     []*macKey
}

func buildHMAC(c Config, keys [][]byte, _ Options) (engine, error) {
	e := &plainHMAC{
		signature: c.Header, timestamp: c.TimestampHeader, id: c.IDHeader, prefix: c.Prefix,
		encoding: c.Encoding, digits: hex.EncodedLen(sha256.Size), tolerance: int64(c.ToleranceSeconds), keys: newMACKeys(keys),
	}
	if c.Encoding == Base64 {
		e.digits = macBase64
	}
	return e, nil
}

func (e *plainHMAC) verify(_ context.Context, req Request, now time.Time) (Result, *Reason) {
	var result Result
	header, reason := required(req.Header, e.signature, MaxSignatureHeader)
	if reason != nil {
		return result, reason
	}
	signature, ok := strings.CutPrefix(header, e.prefix)
	if !ok {
		return result, refuse(MalformedSignature, "header %s does not start with %q", e.signature, e.prefix)
	}
	if len(signature) != e.digits {
		return result, refuse(MalformedSignature, "header %s has %d characters of signature; want %d of %s", e.signature, len(signature), e.digits, e.encoding)
	}
	if e.id != "" {
		// A sender may leave the id out; the caller then falls back to a digest of the body, as for any unsigned id.
		id, found, reason := single(req.Header, e.id, MaxMessageID)
		if reason != nil {
			return result, reason
		}
		if found && (id == "" || !visible(id)) {
			return result, refuse(MalformedID, "header %s is empty or holds a blank or a character outside ASCII", e.id)
		}
		result.MessageID = id
	}
	var timestamp string
	if e.timestamp != "" {
		if timestamp, result.Timestamp, reason = freshTimestamp(req.Header, e.timestamp, now, e.tolerance); reason != nil {
			return Result{}, reason
		}
	}
	for i, key := range e.keys {
		match, wellFormed := e.match(key, timestamp, req.Body, signature)
		if !wellFormed {
			return Result{}, refuse(MalformedSignature, "header %s is not %s", e.signature, e.encoding)
		}
		if match {
			result.SecretIndex = i
			return result, nil
		}
	}
	return Result{}, refuse(SignatureMismatch,
		"the signature fits none of the %d secrets; check the secret and that nothing on the way changes the body", len(e.keys))
}

func (e *plainHMAC) match(key *macKey, timestamp string, body []byte, signature string) (match, wellFormed bool) {
	s := key.get()
	defer key.put(s)
	e.compute(s, timestamp, body)
	s.head = append(s.head[:0], signature...)
	if e.encoding == Base64 {
		base64.StdEncoding.Encode(s.text[:macBase64], s.sum[:])
		return subtle.ConstantTimeCompare(s.head, s.text[:macBase64]) == 1, true
	}
	// Hex is decoded, not encoded, because both cases are in use.
	if _, err := hex.Decode(s.text[:sha256.Size], s.head); err != nil {
		return false, false
	}
	return subtle.ConstantTimeCompare(s.text[:sha256.Size], s.sum[:]) == 1, true
}

func (e *plainHMAC) compute(s *macState, timestamp string, body []byte) {
	if e.timestamp != "" {
		s.head = append(s.head, timestamp...)
		s.head = append(s.head, '.')
	}
	s.compute(body)
}

func (e *plainHMAC) sign(h http.Header, id string, ts time.Time, body []byte) error {
	var timestamp string
	if e.timestamp != "" {
		var err error
		if timestamp, err = formatTimestamp(ts); err != nil {
			return err
		}
		h.Set(e.timestamp, timestamp)
	}
	if e.id != "" && id != "" {
		if len(id) > MaxMessageID || !visible(id) {
			return domain.Invalid("id", "want 1 to %d visible ASCII characters", MaxMessageID)
		}
		h.Set(e.id, id)
	}
	s := e.keys[0].get()
	defer e.keys[0].put(s)
	e.compute(s, timestamp, body)
	if e.encoding == Base64 {
		h.Set(e.signature, e.prefix+base64.StdEncoding.EncodeToString(s.sum[:]))
	} else {
		h.Set(e.signature, e.prefix+hex.EncodeToString(s.sum[:]))
	}
	return nil
}
