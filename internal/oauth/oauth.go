// Package oauth speaks the OAuth 2.0 protocol of a confidential client: authorization requests with PKCE and state (RFC
// 6749, RFC 7636), the exchange of a code, refreshing, and revocation (RFC 7009). It keeps nothing and asks nobody twice.
//
//	client, err := oauth.New(oauth.Client{ID: id, Secret: secret, HTTP: out})
//	verifier, state := oauth.NewSecret(), oauth.NewSecret()
//	link, err := client.AuthURL(endpoint, oauth.Request{RedirectURL: back, State: state, Verifier: verifier})
//	tokens, err := client.Exchange(ctx, endpoint, code, back, verifier)
//	tokens, err = client.Refresh(ctx, endpoint, tokens.Refresh)
//
// The usual library (golang.org/x/oauth2) refreshes inside the transport and hands the new token to the request before
// anybody can store it. A system that rotates refresh tokens would then lose the grant in a crash between the two, and
// two processes would refresh at once. Here every step is a call of its own, so the caller stores between them.
//
// # Promises
//
//   - Calls go through internal/httpx, once each, and redirects are never followed. An answer over MaxAnswer is refused.
//   - Tokens, codes, verifiers and the client secret are in no error. Of an answer only the error code of RFC 6749 is
//     shown, and only if it is one of those that the standard names.
//   - Client.Hosts bounds where the client's secret may go: an endpoint made from a tenant's settings cannot lead it away.
//
// # Errors
//
//	invalid_grant unauthenticated: the code or refresh token is gone, a person must consent again
//	429 rate_limited with the time to wait · 5xx, timeouts, temporarily_unavailable and unreadable answers unavailable
//	invalid_client, unauthorized_client, other refusals permanent · an endpoint outside of Hosts invalid
//
// # Testing
//
// Tests run against internal/sim/oauthsim; what an answer may hold has a fuzz target.
package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

const (
	// MaxAnswer is the largest answer of a token endpoint, in bytes.
	MaxAnswer = 64 << 10
	// MaxToken is the longest token taken, in bytes.
	MaxToken = 16 << 10
	// DefaultLifetime is that of an access token whose answer names none; RFC 6749 section 5.1 leaves it open.
	DefaultLifetime = 10 * time.Minute
	// MaxLifetime bounds what an answer may claim.
	MaxLifetime = 30 * 24 * time.Hour
)

// Client is an installation's registration with an authorization server.
type Client struct {
	ID     string
	Secret string
	// Hosts are the only ones to which a browser or the secret may be sent; an entry that begins with a dot stands for
	// all hosts below it.
	Hosts []string
	// Loopback allows 127.0.0.1, ::1 and localhost beside Hosts, with plain http; for development and tests.
	Loopback bool
	// Basic sends id and secret in the Authorization header (RFC 6749 section 2.3.1) and not in the form.
	Basic bool
	HTTP  *httpx.Client
	Now   func() time.Time // nil = time.Now
}

// Endpoint says where the authorization server is and what is asked of it.
type Endpoint struct {
	AuthURL   string
	TokenURL  string
	RevokeURL string // "" = none
	Scopes    []string
	Params    map[string]string // further parameters of the authorization request; the protocol's own win
}

// Request is one authorization request.
type Request struct {
	RedirectURL string
	State       string
	Verifier    string // of PKCE; only its hash is sent
}

// Tokens is what a token endpoint gives.
type Tokens struct {
	Access  string
	Refresh string // "" = the one before stays good
	// ExpiresAt is counted from before the question, so that it is never later than the server means.
	ExpiresAt time.Time
	Scopes    []string // as the server names them; nil = it did not say, which means those that were asked for
}

// String hides the tokens from whoever prints the value.
func (Tokens) String() string { return "tokens" }

// GoString hides the tokens from %#v.
func (Tokens) GoString() string { return "oauth.Tokens{…}" }

// New checks a client. Errors are domain.Invalid and name the field.
func New(c Client) (*Client, error) {
	switch {
	case c.ID == "":
		return nil, domain.Invalid("client_id", "is required")
	case c.Secret == "":
		return nil, domain.Invalid("client_secret", "is required")
	case c.HTTP == nil:
		return nil, domain.Invalid("http", "is required")
	case len(c.Hosts) == 0 && !c.Loopback:
		return nil, domain.Invalid("hosts", "at least one is required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &c, nil
}

// NewSecret returns 32 random bytes in 43 characters, fit for a state and for a PKCE verifier (RFC 7636 section 4.1).
func NewSecret() string {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("read randomness for a secret: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Challenge is the S256 challenge of a verifier (RFC 7636 section 4.2).
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// AuthURL returns the address to which the browser of the person who consents is sent.
func (c *Client) AuthURL(e Endpoint, r Request) (string, error) {
	u, err := c.check("auth_url", e.AuthURL)
	if err != nil {
		return "", err
	}
	if len(r.State) < 43 || len(r.Verifier) < 43 || r.RedirectURL == "" {
		return "", domain.E(domain.KindInternal, "an authorization request needs state, verifier and redirect URL")
	}
	q := u.Query()
	for k, v := range e.Params {
		q.Set(k, v)
	}
	q.Set("response_type", "code")
	q.Set("client_id", c.ID)
	q.Set("redirect_uri", r.RedirectURL)
	q.Set("state", r.State)
	q.Set("code_challenge", Challenge(r.Verifier))
	q.Set("code_challenge_method", "S256")
	if len(e.Scopes) > 0 {
		q.Set("scope", strings.Join(e.Scopes, " "))
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// check lets through only addresses to which this client may be shown.
func (c *Client) check(field, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Host[0] == '.' || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, domain.Invalid(field, "must be an absolute URL without user and fragment")
	}
	host := strings.ToLower(u.Hostname())
	if c.Loopback && Loopback(host) && (u.Scheme == "http" || u.Scheme == "https") {
		return u, nil
	}
	if u.Scheme != "https" {
		return nil, domain.Invalid(field, "must begin with https://")
	}
	if port := u.Port(); port != "" && port != "443" {
		return nil, domain.Invalid(field, "must have the usual port")
	}
	if !slices.ContainsFunc(c.Hosts, func(h string) bool {
		return host == h || strings.HasPrefix(h, ".") && strings.HasSuffix(host, h) && len(host) > len(h)
	}) {
		return nil, domain.Invalid(field, "must be on %s", strings.Join(c.Hosts, ", "))
	}
	return u, nil
}

// Loopback reports whether a host name or address is this machine's own.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Missing returns the scopes of want that granted lacks, in the order of want. What only concerns the sign-in or the
// refresh token is not looked for, because servers leave it out of their answers. Microsoft names scopes of Graph with
// and without the address in front, and in any case of letters.
func Missing(want, granted []string) []string {
	have := make(map[string]bool, len(granted))
	for _, s := range granted {
		have[plainScope(s)] = true
	}
	var out []string
	for _, s := range want {
		switch p := plainScope(s); {
		case p == "offline_access" || p == "openid" || p == "profile" || p == "email":
		case !have[p]:
			out = append(out, s)
		}
	}
	return out
}

func plainScope(s string) string {
	s = strings.ToLower(s)
	for _, graph := range []string{"https://graph.microsoft.com/", "https://graph.microsoft.us/", "https://dod-graph.microsoft.us/", "https://microsoftgraph.chinacloudapi.cn/"} {
		if rest, ok := strings.CutPrefix(s, graph); ok {
			return rest
		}
	}
	return s
}
