package webhookauth

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Twilio signs with HMAC-SHA1 the address that was registered with it, followed, for a form, by every name and value,
// sorted; for any other body, the address with the digest of the body as the parameter bodySHA256. Names and values of
// a form are joined without anything between them, which is how it is published: whoever captures a request can move
// characters between a name and its value, but cannot add any. There is no time in it, so a replay is a retry.
var twilioSpec = spec{
	about:    "X-Twilio-Signature: HMAC-SHA1 over url and sorted form, or url with bodySHA256",
	secret:   "the account's auth token",
	fields:   []string{"url"},
	required: []string{"url"},
	check: func(c *Config) error {
		c.Header = "X-Twilio-Signature"
		return checkURL(c.URL)
	},
	key: hmacKey, build: buildTwilio,
}

// MaxFormFields is how many fields a signed form may have.
const MaxFormFields = 1000

const sha1Base64 = 28

type twilio struct {
	header string
	urls   []string // with and without the default port, since the sender does not always keep to what was registered
	keys   []*macKey
}

func buildTwilio(c Config, keys [][]byte, _ Options) (engine, error) {
	e := &twilio{header: c.Header, urls: []string{c.URL}, keys: newMACKeysOf(sha1.New, keys)}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, domain.Invalid("url", "want an address")
	}
	// The text is changed at the host only, so that the rest stays as registered.
	scheme, rest, _ := strings.Cut(c.URL, "://")
	other := u.Hostname()
	if strings.Contains(other, ":") {
		other = "[" + other + "]"
	}
	if u.Port() == "" {
		other += ":" + map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	if tail, ok := strings.CutPrefix(rest, u.Host); ok {
		e.urls = append(e.urls, scheme+"://"+other+tail)
	}
	return e, nil
}

func (e *twilio) verify(_ context.Context, req Request, _ time.Time) (Result, *Reason) {
	signature, reason := required(req.Header, e.header, MaxSignatureHeader)
	if reason != nil {
		return Result{}, reason
	}
	if len(signature) != sha1Base64 {
		return Result{}, refuse(MalformedSignature, "header %s has %d characters of signature; want %d of base64", e.header, len(signature), sha1Base64)
	}
	contentType, _, reason := single(req.Header, "Content-Type", MaxSignatureHeader)
	if reason != nil {
		return Result{}, reason
	}
	var tail []byte
	media, _, _ := mime.ParseMediaType(contentType)
	form := media == "application/x-www-form-urlencoded"
	if form {
		fields, ok := parseForm(string(req.Body))
		if !ok {
			return Result{}, refuse(MalformedBody, "not a form of at most %d fields", MaxFormFields)
		}
		tail = twilioForm(fields)
	}
	for i, key := range e.keys {
		for _, address := range e.urls {
			if matchTwilio(key, address, form, tail, req.Body, signature) {
				return Result{SecretIndex: i}, nil
			}
		}
	}
	return Result{}, refuse(SignatureMismatch,
		"the signature fits none of the %d secrets; check the secret, that url is exactly as registered, and that nothing on the way changes the body", len(e.keys))
}

func matchTwilio(key *macKey, address string, form bool, tail, body []byte, signature string) bool {
	s := key.get()
	defer key.put(s)
	s.twilioSum(address, form, tail, body)
	s.head = append(s.head[:0], signature...)
	return subtle.ConstantTimeCompare(s.head, s.text[:sha1Base64]) == 1
}

// twilioSum leaves the signature in base64 in s.text.
func (s *macState) twilioSum(address string, form bool, tail, body []byte) {
	s.head = append(s.head[:0], address...)
	if !form {
		// The digest is of the body that came, whatever the request's own address says.
		if strings.Contains(address, "?") {
			s.head = append(s.head, "&bodySHA256="...)
		} else {
			s.head = append(s.head, "?bodySHA256="...)
		}
		sum := sha256.Sum256(body)
		s.head = hex.AppendEncode(s.head, sum[:])
	}
	s.compute(tail)
	base64.StdEncoding.Encode(s.text[:sha1Base64], s.sum[:sha1.Size])
}

// sign signs bodies other than forms.
func (e *twilio) sign(h http.Header, _ string, _ time.Time, body []byte) error {
	s := e.keys[0].get()
	defer e.keys[0].put(s)
	s.twilioSum(e.urls[0], false, nil, body)
	h.Set(e.header, string(s.text[:sha1Base64]))
	h.Set("Content-Type", "application/json")
	return nil
}

type formField struct{ name, value string }

// parseForm reads a form whole or not at all.
func parseForm(body string) ([]formField, bool) {
	var fields []formField
	for rest := body; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		if len(fields) == MaxFormFields {
			return nil, false
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, false
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, false
		}
		fields = append(fields, formField{name, value})
	}
	return fields, true
}

// twilioForm joins the fields, sorted by name and then by value, each pair once.
func twilioForm(fields []formField) []byte {
	slices.SortFunc(fields, func(a, b formField) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var out []byte
	for _, f := range slices.Compact(fields) {
		out = append(append(out, f.name...), f.value...)
	}
	return out
}
