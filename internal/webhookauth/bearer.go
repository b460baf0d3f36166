package webhookauth

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
)

// Schemes in which the sender shows a secret with each request. They prove who sent it and nothing about the body, which
// TLS alone protects on its way.
const (
	// Bearer is a fixed token in "Authorization: Bearer …" (RFC 6750).
	Bearer Scheme = "bearer"
	// Basic is a user and a password in "Authorization: Basic …" (RFC 7617), in UTF-8. A secret is "user:password".
	Basic Scheme = "basic"
	// APIKey is a fixed key in a header of its own or in a parameter of the address.
	APIKey Scheme = "api-key"
	// PathToken is a part of the address that cannot be guessed, for senders that sign nothing. Addresses end in logs
	// of proxies and senders, so its requests are hints only: see Result.Hint.
	PathToken Scheme = "path-token"
)

var (
	bearerSpec = spec{about: "Authorization: Bearer and a fixed token", secret: "the token, 16 to 512 visible characters",
		fields: []string{"header", "id_header"}, check: checkBearer, key: shownKey, build: buildBearer}
	basicSpec = spec{about: "Authorization: Basic, in UTF-8", secret: "user:password",
		fields: []string{"header", "id_header"}, check: checkBearer, key: basicKey, build: buildBearer, split: splitLines,
		generate: func(Config) (string, error) { return "wedsync:" + randomText(32), nil }}
	apiKeySpec = spec{about: "a fixed key in a header of its own or in a parameter of the address; one of header and query is required", secret: "the key, 16 to 512 visible characters",
		fields: []string{"header", "prefix", "query", "id_header"}, check: checkAPIKey, key: shownKey, build: buildAPIKey, headerless: true}
	pathTokenSpec = spec{about: "a part of the address that cannot be guessed; deliveries are hints only", secret: "the token at the end of the address",
		fields: []string{"id_header"}, check: checkPathToken, key: pathTokenKey, build: buildPathToken, headerless: true}
)

const (
	// maxAuthorization bounds the whole header of a bearer or basic credential, in bytes.
	maxAuthorization = 2048
	// maxQuery bounds the query that is searched for a key, in bytes, and maxParameters its parameters.
	maxQuery      = 4096
	maxParameters = 64
	maxPathToken  = 128
)

func checkBearer(c *Config) error {
	if err := c.unused(); err != nil {
		return err
	}
	if c.Prefix != "" {
		return domain.Invalid("prefix", "%s has its own; leave it empty", c.Scheme)
	}
	fill(&c.Header, "Authorization")
	return nil
}

// authorization returns what follows the scheme word of an Authorization header: one blank, then the credential. The
// word is compared without regard to case (RFC 9110, 11.1).
func authorization(h http.Header, name, word string, limit int) (string, *Reason) {
	value, reason := required(h, name, limit)
	if reason != nil {
		return "", reason
	}
	if len(value) <= len(word) || !strings.EqualFold(value[:len(word)], word) || value[len(word)] != ' ' {
		return "", refuse(MalformedCredential, "header %s does not start with %q and one blank", name, word)
	}
	rest := value[len(word)+1:]
	if rest == "" || !visible(rest) {
		return "", refuse(MalformedCredential, "header %s holds nothing behind %q, or more blanks than one, or a character outside ASCII", name, word)
	}
	return rest, nil
}

type bearer struct {
	header  string
	basic   bool
	id      string
	secrets hashed
	first   string
}

func buildBearer(c Config, keys [][]byte, _ Options) (engine, error) {
	return &bearer{header: c.Header, basic: c.Scheme == Basic, id: c.IDHeader, secrets: newHashed(keys), first: string(keys[0])}, nil
}

func (e *bearer) verify(_ context.Context, req Request, _ time.Time) (Result, *Reason) {
	word := "Bearer"
	if e.basic {
		word = "Basic"
	}
	shown, reason := authorization(req.Header, e.header, word, maxAuthorization)
	if reason != nil {
		return Result{}, reason
	}
	if e.basic {
		user, password, ok := parseBasic(shown)
		if !ok {
			return Result{}, refuse(MalformedCredential, "header %s is not base64 of user, colon and password in UTF-8", e.header)
		}
		shown = user + ":" + password
	}
	i, ok := e.secrets.match(shown)
	if !ok {
		return Result{}, refuse(CredentialMismatch, "header %s fits none of the %d credentials", e.header, len(e.secrets))
	}
	return withID(req.Header, e.id, Result{SecretIndex: i})
}

// withID adds the sender's id of the message, which no secret covers.
func withID(h http.Header, name string, r Result) (Result, *Reason) {
	if name == "" {
		return r, nil
	}
	id, found, reason := single(h, name, MaxMessageID)
	if reason != nil {
		return Result{}, reason
	}
	if found && (id == "" || !visible(id)) {
		return Result{}, refuse(MalformedID, "header %s is empty or holds a blank or a character outside ASCII", name)
	}
	r.MessageID = id
	return r, nil
}

func setID(h http.Header, name, id string) error {
	if name == "" || id == "" {
		return nil
	}
	if len(id) > MaxMessageID || !visible(id) {
		return domain.Invalid("id", "want 1 to %d visible ASCII characters", MaxMessageID)
	}
	h.Set(name, id)
	return nil
}

func (e *bearer) sign(h http.Header, id string, _ time.Time, _ []byte) error {
	if e.basic {
		h.Set(e.header, "Basic "+base64.StdEncoding.EncodeToString([]byte(e.first)))
	} else {
		h.Set(e.header, "Bearer "+e.first)
	}
	return setID(h, e.id, id)
}

// parseBasic reads the credential of RFC 7617: the first colon ends the user, further ones belong to the password.
func parseBasic(text string) (user, password string, ok bool) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || !utf8.Valid(raw) {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(raw), ":")
	if !ok || strings.ContainsFunc(user, unicode.IsControl) || strings.ContainsFunc(password, unicode.IsControl) {
		return "", "", false
	}
	return user, password, true
}

// minPassword is the shortest password in bytes.
const minPassword = 8

func basicKey(secret Secret) ([]byte, error) {
	user, password, ok := parseBasic(base64.StdEncoding.EncodeToString(secret))
	switch {
	case !ok || user == "":
		return nil, fmt.Errorf("want user:password in UTF-8 without control characters")
	case len(password) < minPassword || len(secret) > maxShown:
		return nil, fmt.Errorf("want a password of at least %d bytes and at most %d in all", minPassword, maxShown)
	}
	return []byte(string(secret)), nil
}

func checkAPIKey(c *Config) error {
	if err := c.unused(); err != nil {
		return err
	}
	switch {
	case (c.Header == "") == (c.Query == ""):
		return domain.Invalid("header", "want either header or query, the place of the key")
	case c.Query != "" && c.Prefix != "":
		return domain.Invalid("prefix", "only has a meaning with header")
	case len(c.Query) > MaxHeaderName || !visible(c.Query) || strings.ContainsAny(c.Query, "&=;%+#?"):
		return domain.Invalid("query", "want the name of a parameter, at most %d visible ASCII characters", MaxHeaderName)
	case len(c.Prefix) > MaxPrefix || strings.HasPrefix(c.Prefix, " ") || !visible(strings.ReplaceAll(c.Prefix, " ", "")):
		return domain.Invalid("prefix", "want at most %d visible ASCII characters, not starting with a blank", MaxPrefix)
	}
	return nil
}

type apiKey struct {
	header, prefix, query, id string
	secrets                   hashed
	first                     string
}

func buildAPIKey(c Config, keys [][]byte, _ Options) (engine, error) {
	return &apiKey{header: c.Header, prefix: c.Prefix, query: c.Query, id: c.IDHeader, secrets: newHashed(keys), first: string(keys[0])}, nil
}

func (e *apiKey) verify(_ context.Context, req Request, _ time.Time) (Result, *Reason) {
	shown, place := "", "the parameter "+e.query
	var reason *Reason
	if e.header != "" {
		place = "header " + e.header
		if shown, reason = required(req.Header, e.header, maxAuthorization); reason != nil {
			return Result{}, reason
		}
		var ok bool
		if shown, ok = strings.CutPrefix(shown, e.prefix); !ok {
			return Result{}, refuse(MalformedCredential, "header %s does not start with %q", e.header, e.prefix)
		}
	} else if shown, reason = parameter(req.URL, e.query); reason != nil {
		return Result{}, reason
	}
	i, ok := e.secrets.match(shown)
	if !ok {
		return Result{}, refuse(CredentialMismatch, "%s fits none of the %d keys", place, len(e.secrets))
	}
	return withID(req.Header, e.id, Result{SecretIndex: i})
}

// parameter returns the one value of a parameter of an address.
func parameter(address, name string) (string, *Reason) {
	address, _, _ = strings.Cut(address, "#")
	_, query, _ := strings.Cut(address, "?")
	if len(query) > maxQuery || strings.Count(query, "&") >= maxParameters {
		return "", refuse(HeaderTooLong, "the query has more than %d bytes or %d parameters", maxQuery, maxParameters)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", refuse(MalformedCredential, "the query of the address cannot be read")
	}
	switch all := values[name]; {
	case len(all) == 0 || len(all) == 1 && all[0] == "":
		return "", refuse(MissingHeader, "the parameter %s is missing or empty", name)
	case len(all) > 1:
		return "", refuse(DuplicateHeader, "the parameter %s came %d times; want once", name, len(all))
	default:
		return all[0], nil
	}
}

func (e *apiKey) sign(h http.Header, id string, _ time.Time, _ []byte) error {
	if e.header == "" {
		return noSign(APIKey)
	}
	h.Set(e.header, e.prefix+e.first)
	return setID(h, e.id, id)
}

func checkPathToken(c *Config) error {
	if err := c.unused(); err != nil {
		return err
	}
	if c.Header != "" || c.Prefix != "" {
		return domain.Invalid("header", "%s stands in the address; leave header and prefix empty", PathToken)
	}
	return nil
}

// pathTokenKey wants 128 bits: 22 characters of base64url, or 32 where only hexadecimal digits are used. Few different
// characters are the mark of a token that somebody typed.
func pathTokenKey(secret Secret) ([]byte, error) {
	different := map[byte]bool{}
	onlyHex := true
	for _, b := range secret {
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		digit := b >= '0' && b <= '9'
		if !letter && !digit && b != '-' && b != '_' {
			return nil, fmt.Errorf("want letters, digits, - and _ only, since it is a part of an address")
		}
		different[b] = true
		onlyHex = onlyHex && (digit || b|0x20 >= 'a' && b|0x20 <= 'f')
	}
	least := 22
	if onlyHex {
		least = 32
	}
	if len(secret) < least || len(secret) > maxPathToken || len(different) < 8 {
		return nil, fmt.Errorf("%d characters, %d of them different; want %d to %d random ones, which is 128 bits", len(secret), len(different), least, maxPathToken)
	}
	return []byte(string(secret)), nil
}

type pathToken struct {
	id      string
	secrets hashed
}

func buildPathToken(c Config, keys [][]byte, _ Options) (engine, error) {
	return &pathToken{id: c.IDHeader, secrets: newHashed(keys)}, nil
}

func (e *pathToken) verify(_ context.Context, req Request, _ time.Time) (Result, *Reason) {
	if req.PathToken == "" {
		return Result{}, refuse(MissingHeader, "the address has no token behind the integration")
	}
	if len(req.PathToken) > maxPathToken {
		return Result{}, refuse(HeaderTooLong, "the token in the address has %d characters; want at most %d", len(req.PathToken), maxPathToken)
	}
	i, ok := e.secrets.match(req.PathToken)
	if !ok {
		return Result{}, refuse(CredentialMismatch, "the token in the address is none of the %d", len(e.secrets))
	}
	return withID(req.Header, e.id, Result{SecretIndex: i, Hint: true})
}

func (*pathToken) sign(http.Header, string, time.Time, []byte) error { return noSign(PathToken) }
