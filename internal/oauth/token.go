package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
)

// Exchange turns the code of a callback into tokens. A code works once: after a lost answer the person must begin anew.
func (c *Client) Exchange(ctx context.Context, e Endpoint, code, redirectURL, verifier string) (Tokens, error) {
	return c.ask(ctx, "exchange the code", e, url.Values{"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {redirectURL}, "code_verifier": {verifier}})
}

// Refresh gets a new access token. Where the answer holds a refresh token the old one may be dead from then on: store
// the answer before anything of it is used. KindUnauthenticated means that the grant is gone.
func (c *Client) Refresh(ctx context.Context, e Endpoint, refresh string) (Tokens, error) {
	return c.ask(ctx, "refresh the access token", e, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
}

// Own gets a token for the client itself (RFC 6749 section 4.4). Endpoint.Params are added to the question; the protocol's
// own parameters win. KindUnauthenticated means that the server does not accept the client: its secret may be over.
func (c *Client) Own(ctx context.Context, e Endpoint) (Tokens, error) {
	form := url.Values{}
	for k, v := range e.Params {
		form.Set(k, v)
	}
	form.Set("grant_type", "client_credentials")
	if len(e.Scopes) > 0 {
		form.Set("scope", strings.Join(e.Scopes, " "))
	}
	asked := c.Now()
	res, err := c.post(ctx, "token_url", e.TokenURL, form)
	if err != nil {
		if code := errorCode(res); code == "invalid_client" || code == "unauthorized_client" || code == "" && httpx.StatusOf(err) == http.StatusUnauthorized {
			return Tokens{}, domain.E(domain.KindUnauthenticated, "get a token of our own: the system does not accept the client id and secret")
		}
		return Tokens{}, c.refusal("get a token of our own", res, err)
	}
	t, err := parseTokens(res.Body, asked)
	if err != nil {
		return Tokens{}, domain.E(domain.KindUnavailable, "get a token of our own: %w", err)
	}
	return t, nil
}

// Revoke ends a grant by its refresh token. An endpoint without RevokeURL, and a token that is not known any more, are
// success.
func (c *Client) Revoke(ctx context.Context, e Endpoint, refresh string) error {
	if e.RevokeURL == "" || refresh == "" {
		return nil
	}
	res, err := c.post(ctx, "revoke_url", e.RevokeURL, url.Values{"token": {refresh}, "token_type_hint": {"refresh_token"}})
	if err == nil {
		return nil
	}
	// RFC 7009 answers 200 for an unknown token; Google answers 400 invalid_token.
	if code := errorCode(res); httpx.StatusOf(err) == http.StatusBadRequest && (code == "invalid_token" || code == "invalid_grant") {
		return nil
	}
	return c.refusal("revoke the grant", res, err)
}

func (c *Client) ask(ctx context.Context, doing string, e Endpoint, form url.Values) (Tokens, error) {
	asked := c.Now()
	res, err := c.post(ctx, "token_url", e.TokenURL, form)
	if err != nil {
		return Tokens{}, c.refusal(doing, res, err)
	}
	t, err := parseTokens(res.Body, asked)
	if err != nil {
		return Tokens{}, domain.E(domain.KindUnavailable, "%s: %w", doing, err)
	}
	return t, nil
}

func (c *Client) post(ctx context.Context, field, to string, form url.Values) (*httpx.Response, error) {
	u, err := c.check(field, to)
	if err != nil {
		return nil, err
	}
	if !c.Basic {
		form.Set("client_id", c.ID)
		form.Set("client_secret", c.Secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, domain.Invalid(field, "is no URL that can be asked")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if c.Basic {
		req.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	res, err := c.HTTP.Do(req)
	if err == nil && len(res.Body) > MaxAnswer {
		return nil, domain.E(domain.KindUnavailable, "the answer is larger than %d bytes", MaxAnswer)
	}
	return res, err
}

// refusal gives a fault of an endpoint its kind. The codes are those of RFC 6749 section 5.2; Google and Microsoft use
// them too.
func (c *Client) refusal(doing string, res *httpx.Response, err error) error {
	status := httpx.StatusOf(err)
	if status == 0 {
		kind := domain.KindOf(err)
		if kind == domain.KindTooLarge {
			kind = domain.KindUnavailable
		}
		return domain.E(kind, "%s: %w", doing, err)
	}
	if status == http.StatusTooManyRequests || status >= 500 {
		return domain.E(domain.KindOf(err), "%s: %w", doing, err)
	}
	switch code := errorCode(res); code {
	case "invalid_grant", "interaction_required", "consent_required", "login_required":
		return domain.E(domain.KindUnauthenticated, "%s: the system says %s: the consent is gone", doing, code)
	case "temporarily_unavailable", "server_error":
		return domain.E(domain.KindUnavailable, "%s: the system says %s", doing, code)
	case "invalid_client", "unauthorized_client":
		return domain.E(domain.KindPermanent, "%s: the system says %s: check client id and secret of this installation", doing, code)
	case "":
		if kind := domain.KindOf(err); kind == domain.KindUnavailable {
			return domain.E(kind, "%s: %w", doing, err)
		}
		return domain.E(domain.KindPermanent, "%s: %w", doing, err)
	default:
		return domain.E(domain.KindPermanent, "%s: the system says %s", doing, code)
	}
}

// knownCodes are the only words of an answer that are repeated.
var knownCodes = map[string]bool{"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true,
	"unsupported_grant_type": true, "invalid_scope": true, "invalid_token": true, "unsupported_token_type": true, "access_denied": true,
	"temporarily_unavailable": true, "server_error": true, "interaction_required": true, "consent_required": true, "login_required": true}

// KnownCode returns an error code of the protocol, or "" for any other text: what else a query or an answer says is not
// to be shown.
func KnownCode(code string) string {
	if knownCodes[code] {
		return code
	}
	return ""
}

func errorCode(res *httpx.Response) string {
	if res == nil || len(res.Body) > MaxAnswer {
		return ""
	}
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(res.Body, &answer) != nil {
		return ""
	}
	return KnownCode(answer.Error)
}

var errAnswer = errors.New("the answer holds no tokens that can be used")

// parseTokens reads the answer of a token endpoint (RFC 6749 section 5.1). Errors never repeat it.
func parseTokens(body []byte, asked time.Time) (Tokens, error) {
	var a struct {
		Access  string          `json:"access_token"`
		Type    string          `json:"token_type"`
		Refresh string          `json:"refresh_token"`
		Expires json.RawMessage `json:"expires_in"` // a number; some servers quote it
		Scope   string          `json:"scope"`
	}
	if json.Unmarshal(body, &a) != nil || !printable(a.Access) || a.Access == "" || a.Refresh != "" && !printable(a.Refresh) {
		return Tokens{}, errAnswer
	}
	if a.Type != "" && !strings.EqualFold(a.Type, "bearer") {
		return Tokens{}, errors.New("the answer holds a token that is no bearer token")
	}
	life := DefaultLifetime
	if text := strings.Trim(string(a.Expires), `"`); text != "" && text != "null" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds >= 0) {
			return Tokens{}, errors.New("expires_in of the answer is no number of seconds")
		}
		life = time.Duration(min(seconds, MaxLifetime.Seconds()) * float64(time.Second))
	}
	t := Tokens{Access: a.Access, Refresh: a.Refresh, ExpiresAt: asked.Add(life).UTC()}
	if a.Scope != "" {
		t.Scopes = strings.Fields(a.Scope)
	}
	return t, nil
}

// printable is what a header and a form can carry (RFC 6749 appendix A).
func printable(s string) bool {
	return len(s) <= MaxToken && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}
