package custom

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
)

// The grants of auth kind oauth2.
const (
	grantOwn    = "client_credentials"
	grantPerson = "authorization_code"
)

// Bounds of auth kind oauth2.
const (
	maxScopes     = 30
	maxParams     = 20
	maxOAuthText  = 500
	maxOAuthURL   = 500
	ownTokenSpare = time.Minute // how long before its end a token is not used any more
)

// authorizer puts our credentials on requests.
type authorizer struct {
	sign func(*http.Request) // for credentials that do not change
	hide string              // query parameter that holds a credential; "" = none

	oauth  *Auth  // of kind oauth2; nil = sign
	secret string // of its client
	tokens provider.TokenSource
}

// connect gives an authorizer the way to its tokens.
func (a *authorizer) connect(client *httpx.Client, granted provider.TokenSource, now func() time.Time) {
	switch {
	case a.oauth == nil:
	case a.oauth.Grant == grantPerson:
		a.tokens = granted
	default:
		a.tokens = &ownTokens{auth: *a.oauth, secret: a.secret, http: client, now: now}
	}
}

// send sends a request with our credentials. A token that the system refuses is replaced once: a 401 means that nothing
// was done, so every method may be sent again.
func (a *authorizer) send(client sender, req *http.Request) (*httpx.Response, error) {
	if a.oauth == nil {
		a.sign(req)
		return client.Do(req)
	}
	if a.tokens == nil {
		return nil, domain.E(domain.KindUnauthenticated, "the integration is not connected: a person has to consent first")
	}
	for try := 1; ; try++ {
		token, err := a.tokens.Token(req.Context())
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		if httpx.StatusOf(err) != http.StatusUnauthorized {
			return res, err
		}
		a.tokens.Refused(token)
		if try > 1 {
			return res, err
		}
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, domain.E(domain.KindInternal, "send a body again: %w", err)
			}
		}
	}
}

// ownTokens gets tokens for the client itself (RFC 6749 section 4.4), and keeps one until it ends.
type ownTokens struct {
	auth   Auth
	secret string
	http   *httpx.Client
	now    func() time.Time

	mu     sync.Mutex
	access string
	until  time.Time
}

// Token is provider.TokenSource. Callers wait for the one that asks.
func (o *ownTokens) Token(ctx context.Context) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.access != "" && o.now().Before(o.until) {
		return o.access, nil
	}
	u, err := url.Parse(o.auth.TokenURL)
	if err != nil {
		return "", domain.Invalid("settings.auth.token_url", "is no address")
	}
	// The client refuses inward addresses by itself, so plain http on this machine is for development only.
	client, err := oauth.New(oauth.Client{ID: o.auth.ClientID, Secret: o.secret, Hosts: []string{strings.ToLower(u.Hostname())}, Loopback: true,
		Basic: o.auth.ClientAuth == "basic", HTTP: o.http, Now: o.now})
	if err != nil {
		return "", err
	}
	t, err := client.Own(ctx, oauth.Endpoint{TokenURL: o.auth.TokenURL, Scopes: o.auth.Scopes, Params: o.auth.Params})
	if err != nil {
		return "", err
	}
	o.access = t.Access
	// A token that lives for less than the spare time is good for half its life.
	life := t.ExpiresAt.Sub(o.now())
	o.until = t.ExpiresAt.Add(-min(ownTokenSpare, life/2))
	return t.Access, nil
}

// Refused is provider.TokenSource.
func (o *ownTokens) Refused(token string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.access == token {
		o.access = ""
	}
}

// compileAuth returns what puts the credentials on a request.
func compileAuth(a *Auth, secrets map[string]string) (*authorizer, error) {
	nothing := &authorizer{sign: func(*http.Request) {}}
	if a == nil {
		return nothing, nil
	}
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	need := func(name string) string {
		v := strings.TrimSpace(secrets[name])
		switch {
		case v == "":
			note(domain.Invalid("secrets."+name, "required with auth kind %s", a.Kind))
		case len(v) > 4096 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }):
			note(domain.Invalid("secrets."+name, "must have at most 4096 bytes and no control characters"))
		}
		return v
	}
	var fields []string // that have a meaning
	out := nothing
	switch a.Kind {
	case "none":
	case "bearer":
		token := need(SecretToken)
		out = &authorizer{sign: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }}
	case "basic":
		fields = []string{"username"}
		password := need(SecretPassword)
		if a.Username == "" || strings.ContainsAny(a.Username, ":\r\n") {
			note(domain.Invalid("settings.auth.username", "required, without a colon"))
		}
		out = &authorizer{sign: func(r *http.Request) { r.SetBasicAuth(a.Username, password) }}
	case "header":
		fields = []string{"header", "prefix"}
		key := need(SecretAPIKey)
		if !headerName(a.Header) {
			note(domain.Invalid("settings.auth.header", "must be a header name such as X-Api-Key"))
		}
		if _, bad := headerText(a.Prefix); bad != nil {
			note(domain.Invalid("settings.auth.prefix", "must not hold control characters"))
		}
		out = &authorizer{sign: func(r *http.Request) { r.Header.Set(a.Header, a.Prefix+key) }}
	case "query":
		fields = []string{"param"}
		key := need(SecretAPIKey)
		if a.Param == "" || len(a.Param) > 60 {
			note(domain.Invalid("settings.auth.param", "must have 1 to 60 bytes"))
		}
		out = &authorizer{hide: a.Param, sign: func(r *http.Request) {
			q := r.URL.Query()
			q.Set(a.Param, key)
			r.URL.RawQuery = q.Encode()
		}}
	case "oauth2":
		fields = []string{"grant", "client_id", "token_url", "scopes", "params", "client_auth"}
		if a.Grant == grantPerson {
			fields = append(fields, "auth_url", "revoke_url")
		}
		note(a.checkOAuth())
		out = &authorizer{oauth: a, secret: need(SecretClient)}
	default:
		return nil, domain.Invalid("settings.auth.kind", "must be none, bearer, basic, header, query or oauth2")
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"username", a.Username != ""}, {"header", a.Header != ""}, {"prefix", a.Prefix != ""}, {"param", a.Param != ""}, {"grant", a.Grant != ""},
		{"client_id", a.ClientID != ""}, {"auth_url", a.AuthURL != ""}, {"token_url", a.TokenURL != ""}, {"revoke_url", a.RevokeURL != ""},
		{"scopes", len(a.Scopes) > 0}, {"params", len(a.Params) > 0}, {"client_auth", a.ClientAuth != ""}} {
		if f.set && !slices.Contains(fields, f.name) {
			with := "kind " + a.Kind
			if a.Kind == "oauth2" {
				with = "grant " + grantOwn
			}
			note(domain.Invalid("settings.auth."+f.name, "has no meaning with %s", with))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return out, nil
}

// checkOAuth checks the fields of kind oauth2.
func (a *Auth) checkOAuth() error {
	const part = "settings.auth."
	var faults []error
	note := func(field, format string, args ...any) {
		faults = append(faults, domain.Invalid(part+field, format, args...))
	}
	if a.Grant != grantOwn && a.Grant != grantPerson {
		note("grant", "must be %s or %s", grantOwn, grantPerson)
	}
	if a.ClientID == "" || len(a.ClientID) > maxOAuthText || strings.ContainsFunc(a.ClientID, notPrintable) {
		note("client_id", "required: 1 to %d visible characters", maxOAuthText)
	}
	for _, f := range []struct {
		name, value string
		needed      bool
	}{{"token_url", a.TokenURL, true}, {"auth_url", a.AuthURL, a.Grant == grantPerson}, {"revoke_url", a.RevokeURL, false}} {
		if f.value == "" {
			if f.needed {
				note(f.name, "required with grant %s", a.Grant)
			}
			continue
		}
		u, err := url.Parse(f.value)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(f.value) > maxOAuthURL ||
			(u.Scheme != "https" || u.Port() != "" && u.Port() != "443") && !provider.OnThisMachine(f.value) {
			note(f.name, "must be an https address without user and fragment, at port 443, of at most %d bytes", maxOAuthURL)
		}
	}
	if len(a.Scopes) > maxScopes || slices.ContainsFunc(a.Scopes, func(s string) bool {
		return s == "" || len(s) > maxOAuthText || strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || notPrintable(r) })
	}) {
		note("scopes", "at most %d, each without spaces", maxScopes)
	}
	if len(a.Params) > maxParams {
		note("params", "at most %d", maxParams)
	}
	for _, name := range sortedKeys(a.Params) {
		if v := a.Params[name]; name == "" || len(name)+len(v) > maxOAuthText || strings.ContainsFunc(name+v, notPrintable) {
			note("params."+safeName(name), "must have at most %d visible characters", maxOAuthText)
		}
	}
	if a.ClientAuth != "" && a.ClientAuth != "body" && a.ClientAuth != "basic" {
		note("client_auth", "must be body or basic")
	}
	return errors.Join(faults...)
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// authOf reads the auth of settings that were checked before.
func authOf(settings json.RawMessage) Auth {
	var s struct {
		Auth Auth `json:"auth"`
	}
	if json.Unmarshal(settings, &s) != nil {
		return Auth{}
	}
	return s.Auth
}

// byConsent reports whether settings need a person's consent.
func byConsent(settings json.RawMessage) bool {
	a := authOf(settings)
	return a.Kind == "oauth2" && a.Grant == grantPerson
}

// consent is Registration.OAuth. A definition asks for the scopes that it lists, whatever the direction.
func consent(settings json.RawMessage, _ bool) (provider.OAuth, error) {
	a := authOf(settings)
	if err := a.checkOAuth(); err != nil {
		return provider.OAuth{}, err
	}
	return provider.OAuth{AuthURL: a.AuthURL, TokenURL: a.TokenURL, RevokeURL: a.RevokeURL, Scopes: a.Scopes, Params: a.Params}, nil
}

// oauthClient is Registration.OAuthClient: whoever wrote the definition is registered with the system, and not this
// installation. The secret goes to no host but those that the same definition names.
func oauthClient(settings json.RawMessage, secrets map[string]string) (provider.OAuthClient, error) {
	a := authOf(settings)
	out := provider.OAuthClient{ID: a.ClientID, Secret: strings.TrimSpace(secrets[SecretClient]), Basic: a.ClientAuth == "basic"}
	for _, address := range []string{a.AuthURL, a.TokenURL, a.RevokeURL} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			if host := strings.ToLower(u.Hostname()); !slices.Contains(out.Hosts, host) {
				out.Hosts = append(out.Hosts, host)
			}
		}
	}
	if out.Secret == "" {
		return out, domain.Invalid("secrets."+SecretClient, "required with auth kind oauth2")
	}
	return out, nil
}
