package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/oauth"
	"github.com/wedsync/wedsync/internal/providers"
)

func TestHalfARegistrationWithAVendorIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(" from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		app           OAuthApp
		secret, field string
	}{
		"none":          {OAuthApp{}, "", ""},
		"whole":         {OAuthApp{ID: "id", Secret: "s3cret"}, "s3cret", ""},
		"file":          {OAuthApp{ID: "id", SecretFile: file}, "from-file", ""},
		"no secret":     {OAuthApp{ID: "id"}, "", "google-client-secret"},
		"no id":         {OAuthApp{Secret: "s3cret"}, "", "google-client-id"},
		"no id, file":   {OAuthApp{SecretFile: file}, "", "google-client-id"},
		"twice":         {OAuthApp{ID: "id", Secret: "s3cret", SecretFile: file}, "", "google-client-secret"},
		"no such file":  {OAuthApp{ID: "id", SecretFile: file + "x"}, "", "google-client-secret-file"},
		"an empty file": {OAuthApp{ID: "id", SecretFile: empty}, "", "google-client-secret-file"},
		"a folder":      {OAuthApp{ID: "id", SecretFile: filepath.Dir(file)}, "", "google-client-secret-file"},
	} {
		got, err := tc.app.secret("google")
		if got != tc.secret || domain.FieldOf(err) != tc.field || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		c := Defaults()
		c.Google = tc.app
		if err := c.Validate(false); (err != nil && strings.Contains(err.Error(), "google-")) != (tc.field != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, v := range vendors {
		if err := v.notSetUp(); !strings.Contains(err.Error(), "WEDSYNC_"+strings.ToUpper(v.name)+"_CLIENT_ID") {
			t.Error(err)
		}
	}
}

func TestConsentsComeBackToThePublicAddress(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		public  string
		private bool
		want    string
	}{
		"public":      {"https://sync.example.com/", false, "https://sync.example.com/oauth/callback"},
		"development": {"", true, "http://127.0.0.1:8080/oauth/callback"},
		"unknown":     {"", false, ""},
	} {
		if got := (Config{PublicURL: tc.public, AllowPrivate: tc.private}).callbackURL("127.0.0.1:8080"); got != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestEveryProviderWithConsentHasItsVendor(t *testing.T) {
	t.Parallel()
	out, err := httpx.New(httpx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, reg := range providers.All() {
		if reg.OAuth == nil || reg.OAuthClient != nil {
			continue // who asks is part of the integration
		}
		found := false
		for _, v := range vendors {
			if v.provider != reg.Name {
				continue
			}
			found = true
			c, err := oauth.New(oauth.Client{ID: "id", Secret: "secret", Hosts: v.hosts, HTTP: out})
			if err != nil {
				t.Fatal(err)
			}
			e, err := reg.OAuth(json.RawMessage(`{}`), true)
			if err != nil {
				t.Fatalf("%s: %v", reg.Name, err)
			}
			for _, u := range []string{e.AuthURL, e.TokenURL, e.RevokeURL} {
				if u == "" {
					continue
				}
				if _, err := c.AuthURL(oauth.Endpoint{AuthURL: u}, oauth.Request{RedirectURL: "https://x.example", State: oauth.NewSecret(), Verifier: oauth.NewSecret()}); err != nil {
					t.Errorf("%s: %s: %v", reg.Name, u, err)
				}
			}
		}
		if !found {
			t.Errorf("%s is connected by consent and belongs to no vendor; add it to vendors", reg.Name)
		}
	}
}
