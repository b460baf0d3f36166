// Package sharelink makes and reads the tokens of links to weddings.
//
//	links := sharelink.New(ring)
//	token := links.Mint(sharelink.Claims{Org: org, Share: id, Expires: end})
//	claims, err := links.Parse(token, now)
//
// # Form
//
//	wsl_ and base64url, without padding, of a value that vault sealed:
//	version (1 byte, 0x01) | organisation (16) | link (16) | end in Unix seconds (8, big-endian)
//
// Sealing is authenticated encryption under a key of the ring that is derived for these tokens alone, so it signs: nobody
// without the ring can make or change one, and nobody can read whose it is. Nonces are random, so two tokens of one link differ.
//
// # Promises
//
//   - What was not made here does not get as far as a look-up in storage. Every refusal but an expired token has the same text.
//   - A token does not say that its link still works: storage knows its hash, whether it was revoked, and its end.
//   - A token opens as long as the key that sealed it is in the ring. Whoever drops a key ends the links made under it.
//
// # Testing
//
// No clock, network or database; FuzzParse takes any bytes.
package sharelink

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/vault"
)

const (
	prefix  = "wsl_"
	version = 1
	size    = 1 + 16 + 16 + 8
	// maxToken bounds what is read; one made under the longest key id has 190 characters.
	maxToken = 256
)

// ErrExpired is in the chain of the error about a token whose time is over.
var ErrExpired = errors.New("the link has expired")

// Claims is what a token says.
type Claims struct {
	Org     domain.OrgID
	Share   domain.ShareID
	Expires time.Time // whole seconds
}

// Links makes and reads tokens. It may be used by many goroutines at once.
type Links struct{ sealer *vault.Sealer }

// New returns Links over a ring.
func New(ring *vault.Keyring) *Links { return &Links{ring.Scope("share links")} }

// Mint makes a token. Ids that are none are KindInvalid.
func (l *Links) Mint(c Claims) (string, error) {
	org, ok := domain.ParseUUID(string(c.Org))
	share, also := domain.ParseUUID(string(c.Share))
	if !ok || !also {
		return "", domain.Invalid("share", "ids must be UUIDs")
	}
	plain := make([]byte, 0, size)
	plain = append(plain, version)
	plain = append(plain, org[:]...)
	plain = append(plain, share[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(c.Expires.Unix()))
	return prefix + base64.RawURLEncoding.EncodeToString(l.sealer.Seal(plain, "shares", "token")), nil
}

// Parse reads a token. One that is over at now is an error with [ErrExpired], with the claims beside it; anything else that is
// wrong is KindNotFound.
func (l *Links) Parse(token string, now time.Time) (Claims, error) {
	unknown := domain.E(domain.KindNotFound, "no such link")
	text, ok := strings.CutPrefix(token, prefix)
	if !ok || len(token) > maxToken {
		return Claims{}, unknown
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Claims{}, unknown
	}
	plain, err := l.sealer.Open(sealed, "shares", "token")
	if err != nil || len(plain) != size || plain[0] != version {
		return Claims{}, unknown
	}
	c := Claims{Org: domain.OrgID(domain.FormatUUID([16]byte(plain[1:17]))), Share: domain.ShareID(domain.FormatUUID([16]byte(plain[17:33]))),
		Expires: time.Unix(int64(binary.BigEndian.Uint64(plain[33:])), 0).UTC()}
	if !now.Before(c.Expires) {
		return c, domain.E(domain.KindNotFound, "%w", ErrExpired)
	}
	return c, nil
}

// Hash is what is stored of a token.
func Hash(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }
