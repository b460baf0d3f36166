package app

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/server"
)

// OAuthApp is this installation's registration with a vendor whose systems are connected by consent.
type OAuthApp struct {
	ID         string
	Secret     string // from the environment only: a flag would show it in the list of processes
	SecretFile string // read instead of Secret
}

// vendor says which providers a registration serves, and to which hosts its secret may be sent.
type vendor struct {
	name     string // of the settings
	title    string
	provider string
	hosts    []string
}

var vendors = []vendor{
	{"google", "Google", "google", []string{"accounts.google.com", "oauth2.googleapis.com"}},
	{"microsoft", "Microsoft", "outlook", []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}},
}

func (c Config) oauthApp(vendor string) OAuthApp {
	if vendor == "google" {
		return c.Google
	}
	return c.Microsoft
}

// maxSecretFile bounds a file of a client's secret, in bytes.
const maxSecretFile = 4096

// secret returns the secret of a registration, and checks that it is whole.
func (a OAuthApp) secret(vendor string) (string, error) {
	id, secret := vendor+"-client-id", vendor+"-client-secret"
	switch {
	case a.ID == "" && a.Secret == "" && a.SecretFile == "":
		return "", nil
	case a.ID == "":
		return "", domain.Invalid(id, "is required beside the secret")
	case a.Secret != "" && a.SecretFile != "":
		return "", domain.Invalid(secret, "is given twice, in the environment and as a file")
	case a.Secret != "":
		return a.Secret, nil
	case a.SecretFile == "":
		return "", domain.Invalid(secret, "is required beside the id, in the environment variable or as a file")
	}
	f, err := os.Open(a.SecretFile)
	if err != nil {
		return "", domain.Invalid(secret+"-file", "cannot be opened: %s", errors.Unwrap(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if text = bytes.TrimSpace(text); err != nil || len(text) == 0 || len(text) > maxSecretFile {
		return "", domain.Invalid(secret+"-file", "must hold the secret, 1 to %d bytes", maxSecretFile)
	}
	return string(text), nil
}

// notSetUp says what to configure before a vendor's systems can be connected.
func (v vendor) notSetUp() error {
	env := "WEDSYNC_GOOGLE"
	if v.name == "microsoft" {
		env = "WEDSYNC_MICROSOFT"
	}
	return domain.E(domain.KindConflict, "this installation is not registered with %s: set %s_CLIENT_ID and %s_CLIENT_SECRET (or %s_CLIENT_SECRET_FILE) for servers and workers",
		v.title, env, env, env)
}

// openGrants prepares the ways of consents. Their client is one of its own: token endpoints answer briefly and soon.
func (c *Core) openGrants() error {
	policy := httpx.PublicOnly
	if c.Config.AllowPrivate {
		policy = httpx.AllowPrivate
	}
	var err error
	if c.consents, err = httpx.New(httpx.Options{Allow: policy, UserAgent: "WedSync/" + Version, MaxBody: oauth.MaxAnswer,
		Timeouts: httpx.Timeouts{Header: 8 * time.Second, Total: 10 * time.Second}}); err != nil {
		return err
	}
	clients := map[string]*oauth.Client{}
	missing := map[string]error{}
	for _, v := range vendors {
		app := c.Config.oauthApp(v.name)
		secret, err := app.secret(v.name)
		if err != nil {
			return err
		}
		if secret == "" {
			missing[v.provider] = v.notSetUp()
			continue
		}
		if clients[v.provider], err = oauth.New(oauth.Client{ID: app.ID, Secret: secret, Hosts: v.hosts, Loopback: c.Config.AllowPrivate, HTTP: c.consents}); err != nil {
			return err
		}
	}
	c.Grants = connect.NewGrants(connect.GrantsOptions{Store: c.Store, Find: findProvider, Client: func(name string) (*oauth.Client, error) {
		if client := clients[name]; client != nil {
			return client, nil
		}
		if err := missing[name]; err != nil {
			return nil, err
		}
		return nil, domain.E(domain.KindConflict, "integrations of %s cannot be connected by consent in this build", name)
	}, Own: func(own provider.OAuthClient) (*oauth.Client, error) {
		return oauth.New(oauth.Client{ID: own.ID, Secret: own.Secret, Hosts: own.Hosts, Basic: own.Basic, Loopback: c.Config.AllowPrivate, HTTP: c.consents})
	}, Gate: c.Outbound.ForTokens})
	return nil
}

// callbackURL is where consents come back; "" where nobody said how browsers reach this server.
func (c Config) callbackURL(addr string) string {
	switch {
	case c.PublicURL != "":
		return strings.TrimRight(c.PublicURL, "/") + server.CallbackPath
	case c.AllowPrivate:
		return "http://" + addr + server.CallbackPath
	}
	return ""
}
