package webhookauth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Standard Webhooks 1.0.0, signature version v1. The signature header is a list of "version,signature" parted by
// blanks; one match is enough. Entries of other versions, v1a (ed25519) among them, are ignored: a sender may add one
// at any time. This is stricter than the official library in three ways: id and timestamp may hold no dot, since dots
// part the signed fields; the timestamp is signed as received and has one spelling only; and an entry must be exactly
// a version and a signature.
var standardSpec = spec{check: checkStandard, key: standardKey, build: buildStandard, generate: generateStandard}

const (
	minStandardKey = 24
	maxStandardKey = 64
	macBase64      = 44 // length of a SHA-256 sum in base64
)

func checkStandard(c *Config) error {
	if c.Encoding != "" && c.Encoding != Base64 {
		return domain.Invalid("encoding", "%s always uses base64; leave it empty", StandardWebhooks)
	}
	if c.Prefix != "" {
		return domain.Invalid("prefix", "%s has none; leave it empty", StandardWebhooks)
	}
	if c.Content != "" {
		return domain.Invalid("content", "%s always signs id, timestamp and body; leave it empty", StandardWebhooks)
	}
	c.Encoding = Base64
	fill(&c.Header, "webhook-signature")
	fill(&c.TimestampHeader, "webhook-timestamp")
	fill(&c.IDHeader, "webhook-id")
	return nil
}

func fill(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func standardKey(secret Secret) ([]byte, error) {
	for _, asymmetric := range []string{"whpk_", "whsk_"} {
		if bytes.HasPrefix(secret, []byte(asymmetric)) {
			return nil, fmt.Errorf("%s keys belong to v1a signatures; want the whsec_ secret of v1", asymmetric)
		}
	}
	// Some senders show the base64 alone; the official library takes that too.
	text := bytes.TrimPrefix(secret, []byte("whsec_"))
	if len(text) > base64.StdEncoding.EncodedLen(maxStandardKey) {
		return nil, fmt.Errorf("too long; want whsec_ and base64 of %d to %d bytes", minStandardKey, maxStandardKey)
	}
	key := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(key, text)
	if err != nil {
		return nil, errors.New("want whsec_ and standard base64 with padding")
	}
	if n < minStandardKey || n > maxStandardKey {
		return nil, fmt.Errorf("%d bytes after decoding; want %d to %d", n, minStandardKey, maxStandardKey)
	}
	return key[:n], nil
}

func generateStandard(Config) (string, error) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return "whsec_" + base64.StdEncoding.EncodeToString(b), nil
}

type standard struct {
	signature, timestamp, id string
	tolerance                int64
	keys                     []*macKey
}

func buildStandard(c Config, keys [][]byte, _ Options) (engine, error) {
	return &standard{c.Header, c.TimestampHeader, c.IDHeader, int64(c.ToleranceSeconds), newMACKeys(keys)}, nil
}

func (e *standard) verify(_ context.Context, req Request, now time.Time) (Result, *Reason) {
	id, reason := required(req.Header, e.id, MaxMessageID)
	if reason != nil {
		return Result{}, reason
	}
	if !validID(id) {
		return Result{}, refuse(MalformedID, "header %s holds a dot, a blank or a character outside ASCII", e.id)
	}
	header, reason := required(req.Header, e.signature, MaxSignatureHeader)
	if reason != nil {
		return Result{}, reason
	}
	var list [MaxSignatures]string
	entries, n := 0, 0
	for rest := header; rest != ""; {
		var entry string
		entry, rest, _ = strings.Cut(rest, " ")
		if entry == "" {
			continue
		}
		if entries++; entries > MaxSignatures {
			return Result{}, refuse(TooManySignatures, "header %s lists more than %d signatures", e.signature, MaxSignatures)
		}
		if signature, ok := strings.CutPrefix(entry, "v1,"); ok && len(signature) == macBase64 {
			list[n] = signature
			n++
		}
	}
	if n == 0 {
		return Result{}, refuse(NoSupportedSignature, "none of the %d entries of header %s is a well-formed v1 signature", entries, e.signature)
	}
	// Only now the clock, so that a sender who signs in another way altogether learns that first.
	timestamp, at, reason := freshTimestamp(req.Header, e.timestamp, now, e.tolerance)
	if reason != nil {
		return Result{}, reason
	}
	for i, key := range e.keys {
		if key.matchStandard(id, timestamp, req.Body, list[:n]) {
			return Result{MessageID: id, IDSigned: true, Timestamp: at, SecretIndex: i}, nil
		}
	}
	return Result{}, refuse(SignatureMismatch,
		"none of the %d v1 signatures fits any of the %d secrets; check the secret and that nothing on the way changes the body", n, len(e.keys))
}

func (k *macKey) matchStandard(id, timestamp string, body []byte, signatures []string) bool {
	s := k.get()
	defer k.put(s)
	expected := s.standardSignature(id, timestamp, body)
	match := 0
	for _, signature := range signatures {
		// Comparing the encoded form takes the one canonical spelling only. head is free again by now.
		s.head = append(s.head[:0], signature...)
		match |= subtle.ConstantTimeCompare(s.head, expected)
	}
	return match == 1
}

// standardSignature returns the base64 signature, valid until the state is put back.
func (s *macState) standardSignature(id, timestamp string, body []byte) []byte {
	s.head = append(s.head, id...)
	s.head = append(s.head, '.')
	s.head = append(s.head, timestamp...)
	s.head = append(s.head, '.')
	s.compute(body)
	base64.StdEncoding.Encode(s.text[:macBase64], s.sum[:sha256.Size])
	return s.text[:macBase64]
}

func validID(id string) bool {
	return id != "" && len(id) <= MaxMessageID && visible(id) && !strings.Contains(id, ".")
}

func (e *standard) sign(h http.Header, id string, ts time.Time, body []byte) error {
	if !validID(id) {
		return domain.Invalid("id", "want 1 to %d visible ASCII characters and no dot", MaxMessageID)
	}
	timestamp, err := formatTimestamp(ts)
	if err != nil {
		return err
	}
	s := e.keys[0].get()
	defer e.keys[0].put(s)
	h.Set(e.id, id)
	h.Set(e.timestamp, timestamp)
	h.Set(e.signature, "v1,"+string(s.standardSignature(id, timestamp, body)))
	return nil
}
