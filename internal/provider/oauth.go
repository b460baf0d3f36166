package provider

import "context"

// TokenSource gives the access tokens of an OAuth grant. It refreshes them, one process at a time, and keeps rotated
// refresh tokens before they are used. Use it from any number of goroutines; ask it again for every request.
type TokenSource interface {
	// Token returns an access token that is good for at least the next minute. KindUnauthenticated means that the grant
	// is gone and a person must connect again; KindUnavailable that the token endpoint could not be asked.
	Token(ctx context.Context) (string, error)
	// Refused tells that the system answered 401 to a token, so that the next call of Token does not return it again.
	Refused(token string)
}

// OAuth describes how a grant is got from a system (RFC 6749 with PKCE, RFC 7636). Client id and secret belong to the
// installation, or to Registration.OAuthClient, and are no part of it.
type OAuth struct {
	AuthURL   string            // authorization endpoint, to which the admin's browser is sent
	TokenURL  string            // token endpoint
	RevokeURL string            // RFC 7009, called when an integration is deleted; "" = the system has none
	Scopes    []string          // the least that the connection's direction needs
	Params    map[string]string // further parameters of the authorization request, such as access_type
}

// OAuthClient is a registration with an authorization server.
type OAuthClient struct {
	ID     string
	Secret string
	Hosts  []string // the only hosts that the secret is sent to, and the browser
	Basic  bool     // the token endpoint is told by Basic authentication and not in the form
}

// String hides the secret from whoever prints the value.
func (OAuthClient) String() string { return "OAuth client" }

// GoString hides the secret from %#v.
func (OAuthClient) GoString() string { return "provider.OAuthClient{…}" }
