package sharelink

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/vault"
)

var now = time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)

func ring(t testing.TB) *vault.Keyring {
	t.Helper()
	r, err := vault.ParseKeys(vault.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func claims() Claims {
	return Claims{Org: domain.NewID[domain.OrgID](now), Share: domain.NewID[domain.ShareID](now), Expires: now.Add(time.Hour)}
}

func mint(t testing.TB, l *Links, c Claims) string {
	t.Helper()
	token, err := l.Mint(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestATokenComesBackUntilItsEndAndAfterRotation(t *testing.T) {
	t.Parallel()
	r := ring(t)
	l, c := New(r), claims()
	token := mint(t, l, c)
	if len(token) > maxToken || strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		t.Errorf("the token does not fit into an address: %d characters", len(token))
	}
	if again := mint(t, l, c); again == token || Hash(again) == Hash(token) {
		t.Error("two tokens of one link are the same")
	}
	newer, err := r.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Links{l, New(newer)} {
		got, err := l.Parse(token, now)
		if d := cmp.Diff(c, got); d != "" || err != nil {
			t.Errorf("%v %s", err, d)
		}
	}
	if _, err := l.Parse(token, c.Expires.Add(-time.Nanosecond)); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	if got, err := l.Parse(token, c.Expires); !errors.Is(err, ErrExpired) || got.Share != c.Share {
		t.Errorf("at its end: %v", err)
	}
}

func TestNothingElseIsAToken(t *testing.T) {
	t.Parallel()
	r := ring(t)
	l, c := New(r), claims()
	token := mint(t, l, c)
	text := strings.TrimPrefix(token, prefix)
	org, _ := domain.ParseUUID(string(c.Org))
	seal := func(scope, place string, plain []byte) string {
		return prefix + base64.RawURLEncoding.EncodeToString(r.Scope(scope).Seal(plain, "shares", place))
	}
	whole := append(append([]byte{version}, make([]byte, 39)...), 1)
	bad := map[string]string{"empty": "", "prefix alone": prefix, "without prefix": text, "another prefix": "wsl-" + text, "padding": token + "=", "a space": token + " ",
		"cut": token[:len(token)-1], "longer": token + "A", "too long": token + strings.Repeat("A", maxToken), "another ring": mint(t, New(ring(t)), c),
		"another scope": seal("other", "token", whole), "another place": seal("share links", "label", whole), "too short inside": seal("share links", "token", whole[:40]),
		"another version":                  seal("share links", "token", append([]byte{2}, whole[1:]...)),
		"of the organisation's own sealer": prefix + base64.RawURLEncoding.EncodeToString(r.Org(string(c.Org)).Seal(org[:], "shares", "token"))}
	for i := range text { // every character counts
		other := byte('A')
		if text[i] == other {
			other = 'B'
		}
		bad["changed at "+string(rune('0'+i%10))+text[:i]] = prefix + text[:i] + string(other) + text[i+1:]
	}
	for name, token := range bad {
		if got, err := l.Parse(token, now); domain.KindOf(err) != domain.KindNotFound || err.Error() != "no such link" || got != (Claims{}) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	if _, err := l.Mint(Claims{Org: "x", Share: c.Share}); domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("minted for what is no organisation: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	l := New(ring(f))
	c := claims()
	token := mint(f, l, c)
	for _, seed := range []string{token, "", prefix, prefix + "AAAA", token[:40], "wsl_" + strings.Repeat("_", 200), token + "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := l.Parse(s, now)
		if err == nil && (s != token || got != c) {
			t.Errorf("%q was taken as a token", s)
		}
		if err != nil && strings.Contains(err.Error(), strings.TrimPrefix(s, prefix)) && len(s) > 12 {
			t.Errorf("the error quotes the token: %v", err)
		}
	})
}
