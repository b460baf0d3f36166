package webhookauth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
)

// Handshake names the way in which a sender tests an address before it sends webhooks there.
type Handshake string

const (
	// GraphHandshake is Microsoft Graph's: POST with ?validationToken=, answered with the token as plain text. Nothing
	// proves who asks; what is answered is bounded, escaped text.
	GraphHandshake Handshake = "microsoft-graph"
	// SlackHandshake is Slack's url_verification: a signed POST, answered with its challenge.
	SlackHandshake Handshake = "slack"
	// XHandshake is the challenge-response check of X (Twitter): GET with ?crc_token=, answered with its HMAC-SHA256
	// under the first credential that has not ended.
	XHandshake Handshake = "x"
	// ZoomHandshake is Zoom's endpoint.url_validation: a signed POST, answered with the HMAC-SHA256 of its plainToken
	// under the credential that signed it.
	ZoomHandshake Handshake = "zoom"
	// MetaHandshake is that of Meta's webhooks and of WebSub: GET with ?hub.verify_token=, which must be
	// Options.VerifyToken, answered with hub.challenge.
	MetaHandshake Handshake = "meta"
)

// Limits of a handshake.
const (
	// MaxChallenge is the longest token that is answered, in bytes.
	MaxChallenge = 1024
	// MaxChallengeQuery is the longest query, in bytes, and MaxChallengeBody the largest body that is looked at.
	MaxChallengeQuery = 4096
	MaxChallengeBody  = 16 << 10
	// MinVerifyToken and MaxVerifyToken bound the verify token, in bytes.
	MinVerifyToken = 16
	MaxVerifyToken = 512
)

// Answer is what a handshake is answered with. The body is short, never HTML, and its type must not be guessed.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
	Header      http.Header
}

func answer(contentType string, body []byte) Answer {
	return Answer{Status: http.StatusOK, ContentType: contentType, Body: body,
		Header: http.Header{"X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"}}}
}

const maxCRCToken = 256

const plainText, jsonText = "text/plain; charset=utf-8", "application/json"

func checkChallenge(h Handshake) error {
	switch h {
	case "", GraphHandshake, SlackHandshake, XHandshake, ZoomHandshake, MetaHandshake:
		return nil
	}
	return domain.Invalid("challenge", "unknown; want %s, %s, %s, %s or %s", GraphHandshake, MetaHandshake, SlackHandshake, XHandshake, ZoomHandshake)
}

// handshake is the compiled form of Config.Challenge.
type handshake struct {
	kind        Handshake
	verifyToken [sha256.Size]byte
	secrets     [][]byte // as the sender shows them, for the kinds that sign their answer
}

func newHandshake(kind Handshake, credentials []Credential, token Secret) (handshake, error) {
	h := handshake{kind: kind}
	switch kind {
	case MetaHandshake:
		if len(token) < MinVerifyToken || len(token) > MaxVerifyToken {
			return h, domain.Invalid("verify_token", "%d bytes; want %d to %d for the handshake %s", len(token), MinVerifyToken, MaxVerifyToken, kind)
		}
		h.verifyToken = sha256.Sum256(token)
	case XHandshake, ZoomHandshake:
		if len(credentials) == 0 {
			return h, domain.Invalid("secrets", "0; the handshake %s needs one", kind)
		}
		for i, c := range credentials {
			if len(c.Secret) < minHMACKey {
				return h, domain.Invalid(fmt.Sprintf("secrets[%d]", i), "%d bytes; want at least %d for the handshake %s", len(c.Secret), minHMACKey, kind)
			}
			h.secrets = append(h.secrets, bytes.Clone(c.Secret))
		}
	}
	return h, nil
}

// Challenge answers a handshake that is not signed: those of Graph, X and Meta. Call it before anything else is done
// with a request, with the method and the query as it came. It reports false for whatever is no such handshake, which
// is then treated as any other request.
func (v *Verifier) Challenge(method, query string, now time.Time) (Answer, bool) {
	h := &v.handshake
	want := http.MethodGet
	switch h.kind {
	case GraphHandshake:
		want = http.MethodPost
	case XHandshake, MetaHandshake:
	default:
		return Answer{}, false
	}
	if method != want || query == "" || len(query) > MaxChallengeQuery {
		return Answer{}, false
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return Answer{}, false
	}
	switch h.kind {
	case GraphHandshake:
		token, ok := onlyValue(q, "validationToken")
		if !ok || !printable(token) {
			return Answer{}, false
		}
		return answer(plainText, []byte(html.EscapeString(token))), true
	case XHandshake:
		// Anybody may ask, and the answer is a signature under the secret: of a text that could be a body it would be
		// a forgery made to order. The sender's own tokens are base64.
		token, ok := onlyValue(q, "crc_token")
		if !ok || len(token) > maxCRCToken || !plainWord(strings.TrimRight(token, "=")) || strings.ContainsAny(strings.TrimRight(token, "="), "=:") {
			return Answer{}, false
		}
		for i, secret := range h.secrets {
			if end := v.credentials[i].NotAfter; end.IsZero() || !now.After(end) {
				return jsonAnswer(struct {
					Token string `json:"response_token"`
				}{"sha256=" + base64.StdEncoding.EncodeToString(hmacSHA256(secret, token))})
			}
		}
	case MetaHandshake:
		mode, ok1 := onlyValue(q, "hub.mode")
		token, ok2 := onlyValue(q, "hub.verify_token")
		challenge, ok3 := onlyValue(q, "hub.challenge")
		if !ok1 || !ok2 || !ok3 || mode != "subscribe" || !plainWord(challenge) {
			return Answer{}, false
		}
		// Digests are of one length, so that the comparison tells nothing of the token's.
		if sum := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(sum[:], h.verifyToken[:]) == 1 {
			return answer(plainText, []byte(challenge)), true
		}
	}
	return Answer{}, false
}

// SignedChallenge answers a handshake that is signed: those of Slack and Zoom. Call it with the body and the result of
// a request that was verified, and with no other. It reports false for whatever is no such handshake, which is then an
// ordinary webhook.
func (v *Verifier) SignedChallenge(body []byte, verified Result) (Answer, bool) {
	if len(body) > MaxChallengeBody {
		return Answer{}, false
	}
	switch h := &v.handshake; h.kind {
	case SlackHandshake:
		if !bytes.Contains(body, []byte(`"url_verification"`)) {
			return Answer{}, false
		}
		var m struct {
			Type      string `json:"type"`
			Challenge string `json:"challenge"`
		}
		if json.Unmarshal(body, &m) != nil || m.Type != "url_verification" || !plainWord(m.Challenge) {
			return Answer{}, false
		}
		return jsonAnswer(struct {
			Challenge string `json:"challenge"`
		}{m.Challenge})
	case ZoomHandshake:
		if !bytes.Contains(body, []byte(`"endpoint.url_validation"`)) {
			return Answer{}, false
		}
		var m struct {
			Event   string `json:"event"`
			Payload struct {
				PlainToken string `json:"plainToken"`
			} `json:"payload"`
		}
		if json.Unmarshal(body, &m) != nil || m.Event != "endpoint.url_validation" || !plainWord(m.Payload.PlainToken) ||
			verified.SecretIndex >= len(h.secrets) {
			return Answer{}, false
		}
		return jsonAnswer(struct {
			Plain     string `json:"plainToken"`
			Encrypted string `json:"encryptedToken"`
		}{m.Payload.PlainToken, hex.EncodeToString(hmacSHA256(h.secrets[verified.SecretIndex], m.Payload.PlainToken))})
	}
	return Answer{}, false
}

func jsonAnswer(v any) (Answer, bool) {
	text, err := json.Marshal(v)
	return answer(jsonText, text), err == nil
}

func hmacSHA256(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// onlyValue returns a parameter that is there once and not empty or too long.
func onlyValue(q url.Values, name string) (string, bool) {
	values := q[name]
	if len(values) != 1 || values[0] == "" || len(values[0]) > MaxChallenge {
		return "", false
	}
	return values[0], true
}

// plainWord holds for tokens that mean nothing in any language: letters, digits and a few marks.
func plainWord(s string) bool {
	for i := range len(s) {
		b := s[i]
		if (b < '0' || b > '9') && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && strings.IndexByte("-_.~+/=:", b) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= MaxChallenge
}

// printable holds for text without control characters.
func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError {
			return false
		}
	}
	return true
}
