package webhookauth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
)

// hashed are secrets that are shown as they are. Hashes are compared, because comparing texts of different lengths
// would tell the length.
type hashed [][sha256.Size]byte

func newHashed(keys [][]byte) hashed {
	out := make(hashed, len(keys))
	for i, key := range keys {
		out[i] = sha256.Sum256(key)
	}
	return out
}

// match returns the position of the first secret that is equal to what was shown. It looks at all of them, so that the
// time tells nothing either.
func (h hashed) match(shown string) (index int, ok bool) {
	sum := sha256.Sum256([]byte(shown))
	found := len(h)
	for i := len(h) - 1; i >= 0; i-- {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], h[i][:]), i, found)
	}
	return found, found < len(h)
}

// Limits of secrets that the sender shows as they are, in bytes.
const (
	minShown = 16
	maxShown = 512
)

func shownKey(secret Secret) ([]byte, error) {
	if len(secret) < minShown || len(secret) > maxShown {
		return nil, fmt.Errorf("%d bytes; want %d to %d", len(secret), minShown, maxShown)
	}
	if !visible(string(secret)) {
		return nil, fmt.Errorf("want visible ASCII characters without blanks")
	}
	return []byte(string(secret)), nil
}

// Split parts a text that holds one secret or several of them, each in the form that the scheme takes. Most are parted
// by blanks or line ends; passwords by line ends, since they may hold blanks; PEM keys by their own marks. An empty text
// has none.
func (c Config) Split(text string) []Secret {
	split := strings.Fields
	if s, ok := schemes[c.Scheme]; ok && s.split != nil {
		split = s.split
	}
	var out []Secret
	for _, one := range split(text) {
		out = append(out, Secret(one))
	}
	return out
}

func splitLines(text string) (out []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// Secretless reports whether a valid config takes no secrets at all.
func (c Config) Secretless() bool {
	c, s, err := c.resolve()
	return err == nil && s.secretless != nil && s.secretless(c)
}

// Generate makes a new secret that fits a config, from 256 random bits or more. Errors are of kind invalid: a wrong
// config, or one whose secrets only the sender can make, such as the public key of a pair.
func Generate(c Config) (Secret, error) {
	c, s, err := c.resolve()
	if err != nil {
		return nil, err
	}
	if s.secretless != nil && s.secretless(c) {
		return nil, domain.Invalid("generate", "this integration takes no secrets")
	}
	make := func(Config) (string, error) { return randomText(32), nil }
	if s.generate != nil {
		make = s.generate
	}
	text, err := make(c)
	if err != nil {
		return nil, err
	}
	if _, err := s.key(Secret(text)); err != nil {
		return nil, domain.Invalid("generate", "a secret of scheme %s comes from the sender: %s", c.Scheme, err)
	}
	return Secret(text), nil
}

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: the program ends when the system has no randomness
	return base64.RawURLEncoding.EncodeToString(b)
}

// noSign is for schemes whose requests are made by the transport and not by headers.
func noSign(s Scheme) error {
	return domain.Invalid("scheme", "requests of %s are not made by headers", s)
}
