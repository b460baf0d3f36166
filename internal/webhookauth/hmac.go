package webhookauth

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// HMAC in one header: many systems have their own name for the header, its prefix and what it covers, but sign alike.
var hmacSpec = spec{
	about:  "HMAC of a content template, in one header",
	secret: "16 to 512 bytes, as secret_encoding says",
	fields: []string{"header", "algorithm", "allow_sha1", "encoding", "secret_encoding", "prefix", "signature_key", "timestamp_key",
		"timestamp_header", "timestamp_unit", "id_header", "content", "url", "tolerance_seconds"},
	required: []string{"header"},
	check:    checkHMAC, key: hmacKey, build: buildHMAC, generate: generateHMAC,
}

// generateHMAC writes a new secret as the config says that secrets are written.
func generateHMAC(c Config) (string, error) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: the program ends when the system has no randomness
	switch c.SecretEncoding {
	case "hex":
		return hex.EncodeToString(b), nil
	case "base64":
		return base64.StdEncoding.EncodeToString(b), nil
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// The smaller scheme of the first release, kept for the settings that name it.
var hmacSHA256Spec = spec{
	about:    "HMAC-SHA256 of the body, or of timestamp.body, in one header",
	secret:   "16 to 512 bytes",
	fields:   []string{"header", "encoding", "prefix", "timestamp_header", "id_header", "content", "tolerance_seconds"},
	required: []string{"header"},
	check:    checkHMACSHA256, key: hmacKey, build: buildHMAC,
}

const (
	minHMACKey = 16
	maxHMACKey = 512
)

var hmacHashes = map[string]struct {
	new  func() hash.Hash
	size int
}{
	"sha1": {sha1.New, sha1.Size}, "sha256": {sha256.New, sha256.Size}, "sha384": {sha512.New384, sha512.Size384}, "sha512": {sha512.New, sha512.Size},
}

func checkHMACSHA256(c *Config) error {
	if c.Encoding == Base64URL || c.Encoding != "" && c.Encoding != Hex && c.Encoding != Base64 {
		return domain.Invalid("encoding", "unknown; want %s or %s", Hex, Base64)
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
	return checkHMAC(c)
}

func checkHMAC(c *Config) error {
	switch fill((*string)(&c.Encoding), string(Hex)); c.Encoding {
	case Hex, Base64, Base64URL:
	default:
		return domain.Invalid("encoding", "unknown; want %s, %s or %s", Hex, Base64, Base64URL)
	}
	fill(&c.Algorithm, "sha256")
	if _, ok := hmacHashes[c.Algorithm]; !ok {
		return domain.Invalid("algorithm", "unknown; want sha256, sha384, sha512 or sha1")
	}
	if c.Algorithm == "sha1" && !c.AllowSHA1 {
		return domain.Invalid("algorithm", "sha1 is out of date; set allow_sha1 if the sender has nothing better")
	}
	if c.Algorithm != "sha1" && c.AllowSHA1 {
		return domain.Invalid("allow_sha1", "only has a meaning with algorithm sha1")
	}
	if err := checkSecretEncoding(c); err != nil {
		return err
	}
	if len(c.Prefix) > MaxPrefix {
		return domain.Invalid("prefix", "%d bytes; want at most %d", len(c.Prefix), MaxPrefix)
	}
	// Inner blanks are fine ("HMAC-SHA256 "), but a leading one is trimmed off every header value.
	if strings.HasPrefix(c.Prefix, " ") || !visible(strings.ReplaceAll(c.Prefix, " ", "")) {
		return domain.Invalid("prefix", "want visible ASCII characters, not starting with a blank")
	}
	if err := checkList(c); err != nil {
		return err
	}
	return checkContent(c)
}

func checkSecretEncoding(c *Config) error {
	switch fill(&c.SecretEncoding, "raw"); c.SecretEncoding {
	case "raw", "hex", "base64":
		return nil
	}
	return domain.Invalid("secret_encoding", "unknown; want raw, hex or base64")
}

func checkList(c *Config) error {
	if c.SignatureKey == "" && c.TimestampKey == "" {
		return nil
	}
	if !validListKey(c.SignatureKey) {
		return domain.Invalid("signature_key", "want the name of the entries with a signature, 1 to 16 visible characters other than = and the comma")
	}
	if c.TimestampKey != "" && (!validListKey(c.TimestampKey) || c.TimestampKey == c.SignatureKey) {
		return domain.Invalid("timestamp_key", "want the name of the entry with the time, 1 to 16 visible characters other than = and the comma, and not that of the signatures")
	}
	if c.TimestampKey != "" && c.TimestampHeader != "" {
		return domain.Invalid("timestamp_header", "the time is in the signature header already, by timestamp_key")
	}
	if c.Prefix != "" {
		return domain.Invalid("prefix", "a list of signatures has none; leave it empty")
	}
	return nil
}

// checkContent holds the template against the fields that it needs.
func checkContent(c *Config) error {
	switch c.Content {
	case "", BodyOnly:
		c.Content = "{body}"
	case TimestampBody:
		c.Content = "{timestamp}.{body}"
	}
	t, err := parseTemplate(c.Content)
	if err != nil {
		return err
	}
	timed := c.TimestampHeader != "" || c.TimestampKey != ""
	switch {
	case t.timestamp && !timed:
		return domain.Invalid("timestamp_header", "missing; required with {timestamp} in content, unless timestamp_key is set")
	case !t.timestamp && c.TimestampHeader != "":
		return domain.Invalid("timestamp_header", "a timestamp that is not signed proves nothing; put {timestamp} into content or leave this empty")
	case !t.timestamp && c.TimestampKey != "":
		return domain.Invalid("timestamp_key", "a timestamp that is not signed proves nothing; put {timestamp} into content or leave this empty")
	case !t.timestamp && c.ToleranceSeconds != 0:
		return domain.Invalid("tolerance_seconds", "only has a meaning with {timestamp} in content")
	case !t.timestamp && c.TimestampUnit != "":
		return domain.Invalid("timestamp_unit", "only has a meaning with {timestamp} in content")
	case c.TimestampUnit != "" && c.TimestampUnit != "seconds" && c.TimestampUnit != "milliseconds":
		return domain.Invalid("timestamp_unit", "unknown; want seconds or milliseconds")
	case t.id && c.IDHeader == "":
		return domain.Invalid("id_header", "missing; required with {id} in content")
	case !t.url && c.URL != "":
		return domain.Invalid("url", "only has a meaning with {url} in content")
	case t.url:
		return checkURL(c.URL)
	}
	return nil
}

// MaxURL is the longest registered address in bytes.
const MaxURL = 2048

func checkURL(s string) error {
	if s == "" {
		return domain.Invalid("url", "missing; want the address as it was registered with the sender, which signs it")
	}
	if len(s) > MaxURL {
		return domain.Invalid("url", "%d bytes; want at most %d", len(s), MaxURL)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" || !visible(s) {
		return domain.Invalid("url", "want https://host/path in visible ASCII characters, without user and fragment")
	}
	return nil
}

func hmacKey(secret Secret) ([]byte, error) {
	if len(secret) < minHMACKey || len(secret) > maxHMACKey {
		return nil, fmt.Errorf("%d bytes; want %d to %d", len(secret), minHMACKey, maxHMACKey)
	}
	return append([]byte(nil), secret...), nil
}

// decodeKeys undoes the encoding in which a sender shows its secrets.
func decodeKeys(encoding string, keys [][]byte) ([][]byte, error) {
	if encoding == "raw" || encoding == "" {
		return keys, nil
	}
	out := make([][]byte, len(keys))
	for i, key := range keys {
		var err error
		if encoding == "hex" {
			out[i], err = hex.DecodeString(string(key))
		} else {
			out[i], err = base64.StdEncoding.DecodeString(string(key))
		}
		if err != nil {
			err = errors.New("want " + encoding) // the decoder's own text quotes the secret
		} else {
			_, err = hmacKey(out[i])
		}
		if err != nil {
			return nil, domain.Invalid(fmt.Sprintf("secrets[%d]", i), "%s", err)
		}
	}
	return out, nil
}

type plainHMAC struct {
	signature, timestamp, id string
	prefix                   string
	list                     *signatureList // nil for one signature
	encoding                 Encoding
	size, digits             int // of a signature: in bytes, and as it is written, without prefix
	content                  contentTemplate
	url                      string
	milliseconds             bool
	tolerance                int64
	keys                     []*macKey
}

func buildHMAC(c Config, keys [][]byte, _ Options) (engine, error) {
	keys, err := decodeKeys(c.SecretEncoding, keys)
	if err != nil {
		return nil, err
	}
	content, err := parseTemplate(c.Content)
	if err != nil {
		return nil, err
	}
	h := hmacHashes[c.Algorithm]
	e := &plainHMAC{
		signature: c.Header, timestamp: c.TimestampHeader, id: c.IDHeader, prefix: c.Prefix, encoding: c.Encoding, size: h.size,
		content: content, url: c.URL, milliseconds: c.TimestampUnit == "milliseconds", tolerance: int64(c.ToleranceSeconds),
		keys: newMACKeysOf(h.new, keys),
	}
	if c.SignatureKey != "" {
		e.list = &signatureList{c.SignatureKey, c.TimestampKey}
	}
	switch c.Encoding {
	case Hex:
		e.digits = hex.EncodedLen(h.size)
	case Base64:
		e.digits = base64.StdEncoding.EncodedLen(h.size)
	case Base64URL:
		e.digits = base64.RawURLEncoding.EncodedLen(h.size)
	}
	return e, nil
}

func (e *plainHMAC) verify(_ context.Context, req Request, now time.Time) (Result, *Reason) {
	var result Result
	header, reason := required(req.Header, e.signature, MaxSignatureHeader)
	if reason != nil {
		return result, reason
	}
	var signatures [MaxSignatures]string
	v := values{url: e.url, method: req.Method}
	n := 1
	if e.list != nil {
		if v.timestamp, n, reason = e.fromList(header, &signatures); reason != nil {
			return result, reason
		}
	} else if signatures[0], reason = e.fromHeader(header); reason != nil {
		return result, reason
	}
	if v.method == "" {
		v.method = http.MethodPost
	}
	if e.id != "" {
		if v.id, reason = e.messageID(req.Header); reason != nil {
			return result, reason
		}
		result.MessageID, result.IDSigned = v.id, e.content.id
	}
	if e.content.timestamp {
		where := e.signature
		if e.list == nil || e.list.timestampKey == "" {
			where = e.timestamp
			if v.timestamp, reason = required(req.Header, where, MaxSignatureHeader); reason != nil {
				return Result{}, reason
			}
		}
		if result.Timestamp, reason = fresh(v.timestamp, where, e.milliseconds, now, e.tolerance); reason != nil {
			return Result{}, reason
		}
	}
	for i, key := range e.keys {
		if e.match(key, &v, req.Body, signatures[:n]) {
			result.SecretIndex = i
			return result, nil
		}
	}
	return Result{}, refuse(SignatureMismatch,
		"the signature fits none of the %d secrets; check the secret and that nothing on the way changes the body", len(e.keys))
}

// fromHeader takes the one signature out of its header.
func (e *plainHMAC) fromHeader(header string) (string, *Reason) {
	signature, ok := strings.CutPrefix(header, e.prefix)
	if !ok {
		return "", refuse(MalformedSignature, "header %s does not start with %q", e.signature, e.prefix)
	}
	if e.encoding == Base64URL {
		signature = unpad(signature, e.size)
	}
	if len(signature) != e.digits {
		return "", refuse(MalformedSignature, "header %s has %d characters of signature; want %d of %s", e.signature, len(signature), e.digits, e.encoding)
	}
	if e.encoding == Hex && !isHex(signature) {
		return "", refuse(MalformedSignature, "header %s is not %s", e.signature, e.encoding)
	}
	return signature, nil
}

// fromList takes the signatures out of a list. Those that cannot be ours are dropped.
func (e *plainHMAC) fromList(header string, signatures *[MaxSignatures]string) (timestamp string, n int, _ *Reason) {
	timestamp, all, reason := e.list.parse(header, e.signature, signatures)
	if reason != nil {
		return "", 0, reason
	}
	for _, signature := range signatures[:all] {
		if e.encoding == Base64URL {
			signature = unpad(signature, e.size)
		}
		if len(signature) == e.digits && (e.encoding != Hex || isHex(signature)) {
			signatures[n] = signature
			n++
		}
	}
	if n == 0 {
		return "", 0, refuse(NoSupportedSignature, "none of the %d %q entries of header %s has %d characters of %s", all, e.list.signatureKey, e.signature, e.digits, e.encoding)
	}
	return timestamp, n, nil
}

// messageID reads the id. A sender may leave one out that is not signed; the caller then falls back to a digest of the
// body, as for any unsigned id.
func (e *plainHMAC) messageID(h http.Header) (string, *Reason) {
	id, found, reason := single(h, e.id, MaxMessageID)
	switch {
	case reason != nil:
		return "", reason
	case !found && e.content.id:
		return "", refuse(MissingHeader, "header %s is missing or empty", e.id)
	case found && (id == "" || !visible(id)):
		return "", refuse(MalformedID, "header %s is empty or holds a blank or a character outside ASCII", e.id)
	case e.content.idStops != "" && strings.ContainsAny(id, e.content.idStops):
		return "", refuse(MalformedID, "header %s holds a character that parts it from what else is signed", e.id)
	}
	return id, nil
}

func (e *plainHMAC) match(key *macKey, v *values, body []byte, signatures []string) bool {
	s := key.get()
	defer key.put(s)
	s.computeContent(&e.content, v, body)
	match := 0
	for _, signature := range signatures {
		s.head = append(s.head[:0], signature...) // free again by now
		if e.encoding == Hex {
			// Hex is decoded, not encoded, because both cases are in use.
			if _, err := hex.Decode(s.text[:e.size], s.head); err == nil {
				match |= subtle.ConstantTimeCompare(s.text[:e.size], s.sum[:e.size])
			}
			continue
		}
		// Comparing the encoded form takes the one canonical spelling only.
		e.encode(s)
		match |= subtle.ConstantTimeCompare(s.head, s.text[:e.digits])
	}
	return match == 1
}

// encode leaves the sum as it is written in s.text.
func (e *plainHMAC) encode(s *macState) {
	switch e.encoding {
	case Hex:
		hex.Encode(s.text[:e.digits], s.sum[:e.size])
	case Base64:
		base64.StdEncoding.Encode(s.text[:e.digits], s.sum[:e.size])
	case Base64URL:
		base64.RawURLEncoding.Encode(s.text[:e.digits], s.sum[:e.size])
	}
}

func (e *plainHMAC) sign(h http.Header, id string, ts time.Time, body []byte) error {
	v := values{url: e.url, method: http.MethodPost}
	if e.content.timestamp {
		var err error
		if v.timestamp, err = formatTime(ts, e.milliseconds); err != nil {
			return err
		}
		if e.timestamp != "" {
			h.Set(e.timestamp, v.timestamp)
		}
	}
	if e.id != "" && (id != "" || e.content.id) {
		if id == "" || len(id) > MaxMessageID || !visible(id) || strings.ContainsAny(id, e.content.idStops) {
			return domain.Invalid("id", "want 1 to %d visible ASCII characters, and none of %q", MaxMessageID, e.content.idStops)
		}
		v.id = id
		h.Set(e.id, id)
	}
	s := e.keys[0].get()
	defer e.keys[0].put(s)
	s.computeContent(&e.content, &v, body)
	e.encode(s)
	signature := string(s.text[:e.digits])
	switch {
	case e.list == nil:
		signature = e.prefix + signature
	case e.list.timestampKey == "":
		signature = e.list.signatureKey + "=" + signature
	default:
		signature = e.list.timestampKey + "=" + v.timestamp + "," + e.list.signatureKey + "=" + signature
	}
	h.Set(e.signature, signature)
	return nil
}

func isHex(s string) bool {
	for i := range len(s) {
		if b := s[i]; (b < '0' || b > '9') && (b < 'a' || b > 'f') && (b < 'A' || b > 'F') {
			return false
		}
	}
	return true
}

// unpad takes the padding off a text that is exactly as long as size bytes with padding are.
func unpad(s string, size int) string {
	if raw := base64.RawURLEncoding.EncodedLen(size); len(s) == base64.URLEncoding.EncodedLen(size) && s[raw:] == "==="[:len(s)-raw] {
		return s[:raw]
	}
	return s
}
