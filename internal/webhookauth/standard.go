package webhookauth

import (
	"bytes"
	"context"
	"crypto/ed25519"
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

// Standard Webhooks 1.0.0, signature versions v1 (HMAC-SHA256, whsec_ secrets) and v1a (Ed25519, whpk_ public keys). The
// signature header is a list of "version,signature" parted by blanks; one match is enough. Entries of other versions,
// and of a version for which there is no credential, are ignored: a sender may add one at any time. This is stricter
// than the official library in three ways: id and timestamp may hold no dot, since dots part the signed fields; the
// timestamp is signed as received and has one spelling only; and an entry must be exactly a version and a signature.
var standardSpec = spec{
	about:  "Standard Webhooks v1 and v1a: HMAC-SHA256 or Ed25519 over id.timestamp.body",
	secret: "whsec_ and base64 of 24 to 64 bytes, or whpk_ and base64 of an Ed25519 public key",
	fields: []string{"header", "timestamp_header", "id_header", "encoding", "prefix", "content", "tolerance_seconds"},
	check:  checkStandard, key: standardKey, build: buildStandard, generate: generateStandard,
}

// Svix has its own header names for the same scheme.
var svixSpec = spec{
	about:  "Standard Webhooks under the headers svix-id, svix-timestamp and svix-signature",
	secret: standardSpec.secret,
	fields: []string{"tolerance_seconds"},
	check: func(c *Config) error {
		c.Header, c.TimestampHeader, c.IDHeader, c.Encoding = "svix-signature", "svix-timestamp", "svix-id", Base64
		return nil
	},
	key: standardKey, build: buildStandard, generate: generateStandard,
}

const (
	minStandardKey = 24
	maxStandardKey = 64
	macBase64      = 44 // length of a SHA-256 sum in base64
	edBase64       = 88 // length of an Ed25519 signature in base64
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

// The kind of a key is the byte in front of it, since any 32 bytes may be a key of either kind.
const (
	macKind = 'm'
	edKind  = 'e'
)

func standardKey(secret Secret) ([]byte, error) {
	if bytes.HasPrefix(secret, []byte("whsk_")) {
		return nil, errors.New("whsk_ keys are the sender's own; want its whpk_ public key, or the whsec_ secret of v1")
	}
	if text, ok := bytes.CutPrefix(secret, []byte("whpk_")); ok {
		key, err := ed25519Key(text)
		return append([]byte{edKind}, key...), err
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
	return append([]byte{macKind}, key[:n]...), nil
}

// ed25519Key reads a public key in base64.
func ed25519Key(text []byte) (ed25519.PublicKey, error) {
	key := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(key, text)
	if err != nil || n != ed25519.PublicKeySize {
		return nil, fmt.Errorf("want standard base64 of an Ed25519 public key, %d bytes", ed25519.PublicKeySize)
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
	keys                     []standardVerifier
	macs, eds                bool // whether there are keys of the kind
}

// standardVerifier has one of the two.
type standardVerifier struct {
	mac *macKey
	ed  ed25519.PublicKey
}

func buildStandard(c Config, keys [][]byte, _ Options) (engine, error) {
	e := &standard{signature: c.Header, timestamp: c.TimestampHeader, id: c.IDHeader, tolerance: int64(c.ToleranceSeconds)}
	for _, key := range keys {
		if key[0] == edKind {
			e.keys, e.eds = append(e.keys, standardVerifier{ed: key[1:]}), true
		} else {
			e.keys, e.macs = append(e.keys, standardVerifier{mac: newMACKeys([][]byte{key[1:]})[0]}), true
		}
	}
	return e, nil
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
	var list, edList [MaxSignatures]string
	entries, n, eds := 0, 0, 0
	for rest := header; rest != ""; {
		var entry string
		entry, rest, _ = strings.Cut(rest, " ")
		if entry == "" {
			continue
		}
		if entries++; entries > MaxSignatures {
			return Result{}, refuse(TooManySignatures, "header %s lists more than %d signatures", e.signature, MaxSignatures)
		}
		if signature, ok := strings.CutPrefix(entry, "v1,"); ok && e.macs && len(signature) == macBase64 {
			list[n] = signature
			n++
		} else if signature, ok := strings.CutPrefix(entry, "v1a,"); ok && e.eds && len(signature) == edBase64 {
			edList[eds] = signature
			eds++
		}
	}
	if n+eds == 0 {
		return Result{}, refuse(NoSupportedSignature, "none of the %d entries of header %s is a well-formed %s signature", entries, e.signature, e.versions())
	}
	// Only now the clock, so that a sender who signs in another way altogether learns that first.
	timestamp, at, reason := freshTimestamp(req.Header, e.timestamp, now, e.tolerance)
	if reason != nil {
		return Result{}, reason
	}
	for i, key := range e.keys {
		if key.mac != nil && key.mac.matchStandard(id, timestamp, req.Body, list[:n]) ||
			key.ed != nil && matchEd25519(key.ed, id, timestamp, req.Body, edList[:eds]) {
			return Result{MessageID: id, IDSigned: true, Timestamp: at, SecretIndex: i}, nil
		}
	}
	return Result{}, refuse(SignatureMismatch,
		"none of the %d %s signatures fits any of the %d secrets; check the secret and that nothing on the way changes the body", n+eds, e.versions(), len(e.keys))
}

func (e *standard) versions() string {
	switch {
	case e.macs && e.eds:
		return "v1 or v1a"
	case e.eds:
		return "v1a"
	}
	return "v1"
}

// matchEd25519 asks each signature in turn: a public key and a signature have nothing to hide from a clock.
func matchEd25519(key ed25519.PublicKey, id, timestamp string, body []byte, signatures []string) bool {
	if len(signatures) == 0 {
		return false
	}
	message := make([]byte, 0, len(id)+len(timestamp)+2+len(body))
	message = append(append(append(append(message, id...), '.'), timestamp...), '.')
	message = append(message, body...)
	for _, signature := range signatures {
		raw, err := base64.StdEncoding.Strict().DecodeString(signature)
		if err == nil && len(raw) == ed25519.SignatureSize && edKeys.Verify(key, message, raw) {
			return true
		}
	}
	return false
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
	if e.keys[0].mac == nil {
		return domain.Invalid("secrets[0]", "a public key verifies and cannot sign")
	}
	s := e.keys[0].mac.get()
	defer e.keys[0].mac.put(s)
	h.Set(e.id, id)
	h.Set(e.timestamp, timestamp)
	h.Set(e.signature, "v1,"+string(s.standardSignature(id, timestamp, body)))
	return nil
}
