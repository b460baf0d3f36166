package vault

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// The kinds of fault [Sealer.Open] can meet; compare with errors.Is.
var (
	// ErrFormat: not a sealed value, cut short, or of a version this program does not know.
	ErrFormat = errors.New("not a sealed value")
	// ErrUnknownKey: the key that sealed it is not in the ring.
	ErrUnknownKey = errors.New("key not in the ring")
	// ErrWrongKey: the ring has the key id but with other bytes than the ones that sealed the value.
	ErrWrongKey = errors.New("key has other bytes than the one that sealed")
	// ErrTampered: the value was altered, or it is opened in another place or organisation than it was sealed for.
	ErrTampered = errors.New("authentication failed: altered, or sealed for another place")
)

const (
	formatVersion = 1
	nonceSize     = 12
	tagSize       = 16
)

// Sealer seals and opens the values of one organisation or scope. Get one from [Keyring.Org] or [Keyring.Scope].
type Sealer struct {
	keys  []dataKey // the active one first
	print []byte    // key of fingerprints, of the active key
}

type dataKey struct {
	id     string
	aead   cipher.AEAD
	header []byte // version, id length, id, key check
}

// scratch holds the buffers in which the place is spelled out; they hold no secrets.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 256); return &b }}

// Overhead returns how many bytes longer than its text a value sealed now is.
func (s *Sealer) Overhead() int { return len(s.keys[0].header) + nonceSize + tagSize }

// Seal returns text sealed under the active key and bound to a place: table, column and row id. It cannot fail.
func (s *Sealer) Seal(text []byte, place ...string) []byte {
	return s.AppendSeal(nil, text, place...)
}

// AppendSeal is [Sealer.Seal] appending to dst. Without need to grow dst it allocates nothing. The room behind dst must
// not overlap text.
func (s *Sealer) AppendSeal(dst, text []byte, place ...string) []byte {
	k := &s.keys[0]
	dst = slices.Grow(dst, len(k.header)+nonceSize+len(text)+tagSize)
	dst = append(dst, k.header...)
	buf := scratch.Get().(*[]byte)
	*buf = appendBinding((*buf)[:0], k.header, place)
	dst = k.aead.Seal(dst, nil, text, *buf)
	scratch.Put(buf)
	return dst
}

// Open returns the text of a sealed value, given the place it was sealed for. On any fault the text is nil.
func (s *Sealer) Open(sealed []byte, place ...string) ([]byte, error) {
	return s.AppendOpen(nil, sealed, place...)
}

// AppendOpen is [Sealer.Open] appending to dst. On a fault it returns dst unchanged. The room behind dst must not
// overlap sealed.
func (s *Sealer) AppendOpen(dst, sealed []byte, place ...string) ([]byte, error) {
	k, body, err := s.find(sealed)
	if err != nil {
		return dst, fmt.Errorf("open sealed value: %w", err)
	}
	buf := scratch.Get().(*[]byte)
	*buf = appendBinding((*buf)[:0], k.header, place)
	out, err := k.aead.Open(dst, nil, body, *buf)
	scratch.Put(buf)
	if err != nil {
		return dst, fmt.Errorf("open sealed value: key %s: %w", k.id, ErrTampered)
	}
	return out, nil
}

// NeedsRotation reports whether a value is sealed under another key than the active one. It looks at the outside only:
// a value it cannot read is reported as due, so that the run which reseals meets it and says what is wrong.
func (s *Sealer) NeedsRotation(sealed []byte) bool {
	return !bytes.HasPrefix(sealed, s.keys[0].header)
}

// Reseal opens a value and seals its text under the active key for the same place. A value already under the active
// key is returned as it is, unopened.
func (s *Sealer) Reseal(sealed []byte, place ...string) ([]byte, error) {
	if !s.NeedsRotation(sealed) {
		return sealed, nil
	}
	text, err := s.Open(sealed, place...)
	if err != nil {
		return nil, fmt.Errorf("reseal: %w", err)
	}
	defer clear(text)
	return s.Seal(text, place...), nil
}

// KeyID returns the id of the key a value says it was sealed with, without opening it.
func KeyID(sealed []byte) (string, error) {
	id, _, _, err := split(sealed)
	if err != nil {
		return "", fmt.Errorf("read sealed value: %w", err)
	}
	return id, nil
}

func (s *Sealer) find(sealed []byte) (*dataKey, []byte, error) {
	// The common case first: one comparison settles version, id and key check.
	for i := range s.keys {
		k := &s.keys[i]
		if bytes.HasPrefix(sealed, k.header) && len(sealed) >= len(k.header)+nonceSize+tagSize {
			return k, sealed[len(k.header):], nil
		}
	}
	id, _, _, err := split(sealed)
	if err != nil {
		return nil, nil, err
	}
	for i := range s.keys {
		if s.keys[i].id == id {
			return nil, nil, fmt.Errorf("key %s: %w", id, ErrWrongKey)
		}
	}
	return nil, nil, fmt.Errorf("key %s: %w", id, ErrUnknownKey)
}

// split takes a value apart and vouches for nothing but its outer form. The id is checked before it reaches an error
// text, since a value that was never sealed could hold anything there.
func split(sealed []byte) (id string, check, body []byte, err error) {
	if len(sealed) < 2 {
		return "", nil, nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(sealed))
	}
	if sealed[0] != formatVersion {
		return "", nil, nil, fmt.Errorf("%w: version %d, want %d", ErrFormat, sealed[0], formatVersion)
	}
	idEnd := 2 + int(sealed[1])
	bodyStart := idEnd + checkSize
	if len(sealed) < bodyStart+nonceSize+tagSize {
		return "", nil, nil, fmt.Errorf("%w: cut short at %d bytes", ErrFormat, len(sealed))
	}
	id = string(sealed[2:idEnd])
	if checkKeyID(id) != nil {
		return "", nil, nil, fmt.Errorf("%w: malformed key id", ErrFormat)
	}
	return id, sealed[idEnd:bodyStart], sealed[bodyStart:], nil
}

// appendBinding spells out what the ciphertext is bound to. Each part carries its length, so that no two lists of
// parts give the same bytes ("a","bc" and "ab","c").
func appendBinding(dst, header []byte, place []string) []byte {
	dst = append(dst, header...)
	dst = binary.AppendUvarint(dst, uint64(len(place)))
	for _, part := range place {
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return dst
}
