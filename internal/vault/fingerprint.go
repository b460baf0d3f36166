package vault

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
)

// Fingerprint returns a keyed hash of a text for a place. Equal texts of one organisation and place have equal ones, which
// say nothing to whoever lacks the key. It is made with the active key, whose header it begins with: after a rotation it has
// to be made anew, see [Sealer.Current].
func (s *Sealer) Fingerprint(text []byte, place ...string) []byte {
	header := s.keys[0].header
	m := hmac.New(sha256.New, s.print)
	m.Write(appendBinding(nil, header, append(place[:len(place):len(place)], string(text))))
	return m.Sum(bytes.Clone(header))
}

// Current reports whether a fingerprint was made with the active key, so that it can be compared with others of today.
func (s *Sealer) Current(fingerprint []byte) bool {
	return len(fingerprint) == len(s.keys[0].header)+sha256.Size && bytes.HasPrefix(fingerprint, s.keys[0].header)
}
