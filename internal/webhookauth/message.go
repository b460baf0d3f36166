package webhookauth

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// HTTP Message Signatures (RFC 9421) with hmac-sha256 or ed25519. The signature must cover the Content-Digest
// (RFC 9530), without which the body could be replaced, and whatever else the config asks for; it may cover more. The
// time of its making is required; the RFC leaves it optional.
var messageSpec = spec{
	about:    "HTTP Message Signatures (RFC 9421) with a covered Content-Digest (RFC 9530)",
	secret:   "hmac-sha256: 16 to 512 bytes, as secret_encoding says; ed25519: the public key as base64, whpk_... or PEM",
	fields:   []string{"algorithm", "secret_encoding", "components", "label", "key_id", "url", "tolerance_seconds"},
	required: []string{"algorithm"},
	check:    checkMessage, key: messageKey, build: buildMessage, split: splitKeys,
	generate: func(c Config) (string, error) {
		if c.Algorithm == messageEd25519 {
			return "", domain.Invalid("generate", "public keys come from the sender")
		}
		return generateHMAC(c)
	},
}

// The algorithms of [MessageSignatures].
const (
	messageHMAC    = "hmac-sha256"
	messageEd25519 = "ed25519"
)

const (
	// MaxComponents is how many components a signature may cover.
	MaxComponents = maxFieldItems
	maxLabel      = 64
)

func checkMessage(c *Config) error {
	c.Header = "Signature"
	switch c.Algorithm {
	case messageHMAC:
		if err := checkSecretEncoding(c); err != nil {
			return err
		}
	case messageEd25519:
		if c.SecretEncoding != "" {
			return domain.Invalid("secret_encoding", "only has a meaning with algorithm %s", messageHMAC)
		}
	default:
		return domain.Invalid("algorithm", "want %s or %s", messageHMAC, messageEd25519)
	}
	if c.URL != "" {
		if err := checkURL(c.URL); err != nil {
			return err
		}
	}
	if c.Label != "" {
		r := fieldReader{s: c.Label}
		if _, ok := r.key(); !ok || r.at != len(c.Label) || len(c.Label) > maxLabel {
			return domain.Invalid("label", "want 1 to %d lower-case letters, digits, and -, _, . or *, starting with a letter or *", maxLabel)
		}
	}
	if len(c.KeyID) > MaxMessageID || !printableASCII(c.KeyID) {
		return domain.Invalid("key_id", "want at most %d ASCII characters", MaxMessageID)
	}
	if len(c.Components) > MaxComponents-1 {
		return domain.Invalid("components", "%d; want at most %d", len(c.Components), MaxComponents-1)
	}
	if len(c.Components) == 0 {
		c.Components = []string{"@method"}
	}
	for i, name := range c.Components {
		if !derived[name] && !validComponent(name) {
			return domain.Invalid(fmt.Sprintf("components[%d]", i), "want a header name in lower case, or @method, @target-uri, @authority, @scheme, @request-target, @path or @query")
		}
		if slices.Contains(c.Components[:i], name) {
			return domain.Invalid(fmt.Sprintf("components[%d]", i), "is there twice")
		}
	}
	return nil
}

// derived are the components that stand for parts of a request other than its header fields.
var derived = map[string]bool{"@method": true, "@target-uri": true, "@authority": true, "@scheme": true, "@request-target": true, "@path": true, "@query": true}

func validComponent(name string) bool {
	return name != "" && !strings.HasPrefix(name, "@") && strings.ToLower(name) == name && len(name) <= MaxHeaderName &&
		checkHeaderName("", name) == nil
}

func printableASCII(s string) bool { return visible(strings.ReplaceAll(s, " ", "")) }

// messageKey takes the secret as it is; which of the two it must be depends on the config.
func messageKey(secret Secret) ([]byte, error) { return hmacKey(secret) }

type message struct {
	label, keyID, algorithm string
	components              []string // required, content-digest among them
	target                  *url.URL // as registered, or nil
	tolerance               int64
	macs                    []*macKey
	eds                     []ed25519.PublicKey
	undigested              bool // for published examples that cover no digest
}

func buildMessage(c Config, keys [][]byte, _ Options) (engine, error) {
	e := &message{label: c.Label, keyID: c.KeyID, algorithm: c.Algorithm, tolerance: int64(c.ToleranceSeconds),
		components: slices.Clone(c.Components)}
	if !slices.Contains(e.components, "content-digest") {
		e.components = append(e.components, "content-digest")
	}
	var err error
	if c.URL != "" {
		if e.target, err = url.Parse(c.URL); err != nil {
			return nil, domain.Invalid("url", "want an address")
		}
	}
	if c.Algorithm == messageHMAC {
		if keys, err = decodeKeys(c.SecretEncoding, keys); err != nil {
			return nil, err
		}
		e.macs = newMACKeys(keys)
		return e, nil
	}
	for i, key := range keys {
		public, err := messagePublicKey(key)
		if err != nil {
			return nil, domain.Invalid(fmt.Sprintf("secrets[%d]", i), "%s", err)
		}
		e.eds = append(e.eds, public)
	}
	return e, nil
}

func messagePublicKey(text []byte) (ed25519.PublicKey, error) {
	if block, _ := pem.Decode(text); block != nil {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if public, ok := key.(ed25519.PublicKey); ok {
				return public, nil
			}
		}
		return nil, fmt.Errorf("want the PEM of an Ed25519 public key")
	}
	return ed25519Key([]byte(strings.TrimPrefix(string(text), "whpk_")))
}

func (e *message) verify(_ context.Context, req Request, now time.Time) (Result, *Reason) {
	input, signature, reason := e.pick(req.Header)
	if reason != nil {
		return Result{}, reason
	}
	result, reason := e.checkParameters(&input, now)
	if reason != nil {
		return Result{}, reason
	}
	base, reason := e.base(req, &input)
	if reason != nil {
		return Result{}, reason
	}
	found := -1
	for i, key := range e.macs {
		if key.matchSum(base, signature) {
			found = i
			break
		}
	}
	for i, key := range e.eds {
		if len(signature) == ed25519.SignatureSize && edKeys.Verify(key, base, signature) {
			found = i
			break
		}
	}
	if found < 0 {
		return Result{}, refuse(SignatureMismatch,
			"the signature fits none of the %d secrets; check the secret, the address as the sender calls it, and that nothing on the way changes a covered header", len(e.macs)+len(e.eds))
	}
	if !e.undigested {
		if reason := checkDigest(req.Header, req.Body); reason != nil {
			return Result{}, reason
		}
	}
	result.SecretIndex = found
	return result, nil
}

func (k *macKey) matchSum(content, signature []byte) bool {
	s := k.get()
	defer k.put(s)
	s.compute(content)
	return subtle.ConstantTimeCompare(s.sum[:sha256.Size], signature) == 1
}

// pick finds the signature and what it says that it covers.
func (e *message) pick(h http.Header) (input fieldValue, signature []byte, _ *Reason) {
	var members [2][]fieldMember
	for i, name := range []string{"Signature-Input", "Signature"} {
		text, reason := required(h, name, MaxSignatureHeader)
		if reason != nil {
			return input, nil, reason
		}
		var ok bool
		if members[i], ok = parseDictionary(text); !ok {
			return input, nil, refuse(MalformedSignature, "header %s is not a dictionary of structured fields with at most %d members", name, maxFieldMembers)
		}
	}
	label := e.label
	if label == "" {
		if len(members[0]) != 1 {
			return input, nil, refuse(TooManySignatures, "header Signature-Input has %d signatures; configure the label of the sender's", len(members[0]))
		}
		label = members[0][0].name
	}
	for _, m := range members[0] {
		if m.name == label {
			input = m.value
		}
	}
	var value fieldValue
	for _, m := range members[1] {
		if m.name == label {
			value = m.value
		}
	}
	if input.kind == 0 || value.kind == 0 {
		return input, nil, refuse(NoSupportedSignature, "no signature under the label in both of Signature and Signature-Input")
	}
	if input.kind != fieldList || value.kind != fieldBytes {
		return input, nil, refuse(MalformedSignature, "want a list in Signature-Input and a byte sequence in Signature")
	}
	return input, value.bytes, nil
}

// checkParameters holds the parameters of a signature against config and clock.
func (e *message) checkParameters(input *fieldValue, now time.Time) (result Result, _ *Reason) {
	created, ok := input.param("created")
	if !ok {
		return result, refuse(MalformedTimestamp, "header Signature-Input has no parameter created")
	}
	// A year of twelve digits' seconds still fits every calculation with times.
	if created.kind != fieldInteger || created.number < 0 || created.number > 999_999_999_999 {
		return result, refuse(MalformedTimestamp, "the parameter created is not a Unix time in seconds of at most %d digits", MaxTimestampDigits)
	}
	result.Timestamp = time.Unix(created.number, 0).UTC()
	if reason := checkAge(result.Timestamp, now, e.tolerance); reason != nil {
		return Result{}, reason
	}
	if expires, ok := input.param("expires"); ok {
		if expires.kind != fieldInteger {
			return Result{}, refuse(MalformedTimestamp, "the parameter expires is not a Unix time in seconds")
		}
		if now.Unix() > expires.number {
			return Result{}, refuse(TimestampTooOld, "the signature's own expiry is past")
		}
	}
	// The algorithm is the config's in any case: what a signature says of itself can only contradict it.
	if alg, ok := input.param("alg"); ok && (alg.kind != fieldString || alg.text != e.algorithm) {
		return Result{}, refuse(NoSupportedSignature, "the parameter alg is not %s", e.algorithm)
	}
	if keyID, ok := input.param("keyid"); e.keyID != "" && (!ok || keyID.kind != fieldString || subtle.ConstantTimeCompare([]byte(keyID.text), []byte(e.keyID)) != 1) {
		return Result{}, refuse(KeyIDMismatch, "the parameter keyid is missing or another than configured")
	}
	if nonce, ok := input.param("nonce"); ok {
		if nonce.kind != fieldString || nonce.text == "" || len(nonce.text) > MaxMessageID || !visible(nonce.text) {
			return Result{}, refuse(MalformedID, "the parameter nonce is not a string of 1 to %d visible characters", MaxMessageID)
		}
		result.MessageID, result.IDSigned = nonce.text, true
	}
	return result, nil
}

// errNotAsked stands for an address that nothing needed.
var errNotAsked = errors.New("not asked for")

// base makes the signature base of section 2.5.
func (e *message) base(req Request, input *fieldValue) ([]byte, *Reason) {
	var space [4]string
	covered := space[:0] // few enough to look through: at most MaxComponents
	var target *url.URL
	var raw string
	err := errNotAsked
	b := make([]byte, 0, 512)
	for i := range input.list {
		c := &input.list[i]
		if c.kind != fieldString {
			return nil, refuse(MalformedSignature, "component %d of header Signature-Input is not a string", i+1)
		}
		id := string(appendValue(nil, c))
		if slices.Contains(covered, id) {
			return nil, refuse(MalformedSignature, "component %d of header Signature-Input is there twice", i+1)
		}
		covered = append(covered, id)
		if strings.HasPrefix(c.text, "@") && c.text != "@method" {
			if err == errNotAsked {
				target, raw, err = e.address(req.URL)
			}
			if err != nil {
				return nil, refuse(MissingComponent, "the address of the request is not known; configure url")
			}
		}
		value, reason := component(req, c, target, raw)
		if reason != nil {
			return nil, reason
		}
		b = append(append(append(append(b, id...), ": "...), value...), '\n')
	}
	for _, name := range e.components {
		if !slices.Contains(covered, `"`+name+`"`) {
			return nil, refuse(MissingComponent, "the signature does not cover %s", name)
		}
	}
	return appendValue(append(b, `"@signature-params": `...), input), nil
}

// address is the request's as the sender called it: the registered one with the query that came.
func (e *message) address(seen string) (u *url.URL, raw string, err error) {
	if seen == "" && e.target == nil {
		return nil, "", fmt.Errorf("no address")
	}
	if seen != "" {
		if u, err = url.Parse(seen); err != nil {
			return nil, "", err
		}
	}
	if e.target == nil {
		return u, seen, nil
	}
	target := *e.target
	if u != nil {
		target.RawQuery, target.ForceQuery = u.RawQuery, u.ForceQuery
	}
	return &target, target.String(), nil
}

// component returns the value of a covered component.
func component(req Request, c *fieldValue, target *url.URL, raw string) (string, *Reason) {
	if c.text == "@query-param" {
		name, ok := c.param("name")
		if !ok || len(c.params) != 1 || name.kind != fieldString {
			return "", refuse(MalformedSignature, "@query-param without one name")
		}
		return queryParam(target.RawQuery, name.text)
	}
	if len(c.params) > 0 {
		return "", refuse(NoSupportedSignature, "components with parameters are not supported, except @query-param")
	}
	if !strings.HasPrefix(c.text, "@") {
		if !validFieldName(c.text) {
			return "", refuse(MalformedSignature, "a component that is no header name in lower case")
		}
		return fieldLine(req.Header, http.CanonicalHeaderKey(c.text))
	}
	path := "/"
	if target != nil && target.EscapedPath() != "" {
		path = target.EscapedPath()
	}
	switch c.text {
	case "@method":
		if req.Method == "" {
			return http.MethodPost, nil
		}
		return req.Method, nil
	case "@target-uri":
		return raw, nil
	case "@scheme":
		return strings.ToLower(target.Scheme), nil
	case "@authority":
		host := strings.ToLower(target.Host)
		if port := target.Port(); port == "443" && target.Scheme == "https" || port == "80" && target.Scheme == "http" {
			host = strings.TrimSuffix(host, ":"+port)
		}
		return host, nil
	case "@path":
		return path, nil
	case "@query":
		return "?" + target.RawQuery, nil
	case "@request-target":
		if target.RawQuery != "" || target.ForceQuery {
			path += "?" + target.RawQuery
		}
		return path, nil
	}
	return "", refuse(NoSupportedSignature, "a component of the protocol that requests do not have or that is not supported")
}

// validFieldName is wider than validComponent: Content-Length may be covered too.
func validFieldName(name string) bool {
	return validComponent(name) || name == "content-length"
}

// fieldLine joins the lines of a field as section 2.1 says.
func fieldLine(h http.Header, name string) (string, *Reason) {
	values := h[name]
	if len(values) == 0 {
		return "", refuse(MissingHeader, "header %s is covered by the signature and missing", name)
	}
	size := 0
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.Trim(v, " \t")
		if size += len(v) + 2; size > 2*MaxSignatureHeader {
			return "", refuse(HeaderTooLong, "header %s has more than %d bytes", name, 2*MaxSignatureHeader)
		}
		// Line breaks in a value would let one line of the base pass for two.
		if strings.ContainsAny(v, "\r\n") {
			return "", refuse(MalformedSignature, "header %s holds a line break", name)
		}
	}
	return strings.Join(trimmed, ", "), nil
}

// queryParam returns the value of a parameter that is there once, encoded anew as section 2.2.8 says.
func queryParam(query, name string) (string, *Reason) {
	found, value := 0, ""
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		key, text, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(key)
		if err != nil || formEncode(plain) != name {
			continue
		}
		if text, err = url.QueryUnescape(text); err != nil {
			return "", refuse(MalformedSignature, "a covered parameter of the query cannot be decoded")
		}
		found++
		value = formEncode(text)
	}
	if found != 1 {
		return "", refuse(MissingComponent, "a covered parameter of the query is there %d times; want once", found)
	}
	return value, nil
}

func formEncode(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b []byte
	for i := range len(s) {
		if c := s[i]; letter(c) || digit(c) || strings.IndexByte("*-._", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// checkDigest holds the body against Content-Digest. Digests of unknown kinds are ignored, those known must all fit.
func checkDigest(h http.Header, body []byte) *Reason {
	text, reason := required(h, "Content-Digest", MaxSignatureHeader)
	if reason != nil {
		return reason
	}
	members, ok := parseDictionary(text)
	if !ok {
		return refuse(MalformedSignature, "header Content-Digest is not a dictionary of structured fields")
	}
	known := 0
	for _, m := range members {
		var sum []byte
		switch m.name {
		case "sha-256":
			s := sha256.Sum256(body)
			sum = s[:]
		case "sha-512":
			s := sha512.Sum512(body)
			sum = s[:]
		default:
			continue
		}
		known++
		if m.value.kind != fieldBytes || subtle.ConstantTimeCompare(m.value.bytes, sum) != 1 {
			return refuse(DigestMismatch, "the body does not have the digest %s of header Content-Digest", m.name)
		}
	}
	if known == 0 {
		return refuse(DigestMismatch, "header Content-Digest has neither sha-256 nor sha-512")
	}
	return nil
}

// sign signs the required components, as far as they are parts of the address or the digest, with id as the nonce.
func (e *message) sign(h http.Header, id string, ts time.Time, body []byte) error {
	if len(e.macs) == 0 {
		return domain.Invalid("secrets[0]", "a public key verifies and cannot sign")
	}
	if _, err := formatTimestamp(ts); err != nil {
		return err
	}
	if id != "" && (len(id) > MaxMessageID || !visible(id)) {
		return domain.Invalid("id", "want 1 to %d visible ASCII characters", MaxMessageID)
	}
	sum := sha256.Sum256(body)
	h.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	input := fieldValue{kind: fieldList, params: []fieldParam{{"created", fieldValue{kind: fieldInteger, number: ts.Unix()}}}}
	if e.keyID != "" {
		input.params = append(input.params, fieldParam{"keyid", fieldValue{kind: fieldString, text: e.keyID}})
	}
	if id != "" {
		input.params = append(input.params, fieldParam{"nonce", fieldValue{kind: fieldString, text: id}})
	}
	for _, name := range e.components {
		input.list = append(input.list, fieldValue{kind: fieldString, text: name})
	}
	base, reason := e.base(Request{Header: h}, &input)
	if reason != nil {
		return domain.Invalid("components", "cannot be signed here: %s", reason.Text)
	}
	label := e.label
	if label == "" {
		label = "sig1"
	}
	s := e.macs[0].get()
	defer e.macs[0].put(s)
	s.compute(base)
	h.Set("Signature-Input", label+"="+string(appendValue(nil, &input)))
	h.Set("Signature", label+"=:"+base64.StdEncoding.EncodeToString(s.sum[:sha256.Size])+":")
	return nil
}
