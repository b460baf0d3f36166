package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// EnvKeys is the environment variable that holds the master keys in the form [ParseKeys] reads.
const EnvKeys = "WEDSYNC_KEYS"

const (
	// KeySize is the length of a master key in bytes.
	KeySize = 32
	// MaxKeys is how many master keys a ring may hold.
	MaxKeys = 16
	// MaxKeyID is the longest key id in bytes.
	MaxKeyID = 32

	// maxSealers bounds the memory of derived keys (about 1.5 KiB per organisation and key). Past it an arbitrary one
	// is dropped and derived again when next needed, which takes microseconds.
	maxSealers = 16384

	checkSize = 4
)

// Keyring is a set of master keys, the first of which seals. Make one with [ParseKeys] or [LoadOrCreateFile].
type Keyring struct {
	keys []masterKey

	mu      sync.RWMutex
	sealers map[string]*Sealer
}

type masterKey struct {
	id     string
	secret [KeySize]byte
	check  [checkSize]byte
}

// ParseKeys reads "id:base64,id:base64"; the first key is active. An id is 1 to 32 of a-z, 0-9, '-' and '_'; a key is
// exactly 32 bytes in standard base64 with padding. Blanks and line breaks around entries are ignored. Errors name the
// entry and the limit and never show a key.
func ParseKeys(text string) (*Keyring, error) {
	ring, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", EnvKeys, err)
	}
	return ring, nil
}

func parse(text string) (*Keyring, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("empty; want id:base64 of a 32-byte key, several separated by commas")
	}
	entries := strings.Split(text, ",")
	if len(entries) > MaxKeys {
		return nil, fmt.Errorf("%d keys; at most %d are allowed", len(entries), MaxKeys)
	}
	ring := &Keyring{sealers: make(map[string]*Sealer)}
	for i, entry := range entries {
		id, encoded, found := strings.Cut(strings.TrimSpace(entry), ":")
		// An entry without a colon may be a bare key, so it is never quoted.
		if !found {
			return nil, fmt.Errorf("entry %d: no colon between id and key; want id:base64", i+1)
		}
		if err := checkKeyID(id); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		secret, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("entry %d (%s): key is not standard base64 with padding", i+1, id)
		}
		if len(secret) != KeySize {
			return nil, fmt.Errorf("entry %d (%s): key has %d bytes; want exactly %d", i+1, id, len(secret), KeySize)
		}
		if bytes.Count(secret, secret[:1]) == KeySize {
			return nil, fmt.Errorf("entry %d (%s): key is one byte repeated; make one with a random generator", i+1, id)
		}
		for _, other := range ring.keys {
			if other.id == id {
				return nil, fmt.Errorf("entry %d: id %s is used twice", i+1, id)
			}
			if bytes.Equal(other.secret[:], secret) {
				return nil, fmt.Errorf("entry %d (%s): same key as %s; each id needs its own", i+1, id, other.id)
			}
		}
		ring.keys = append(ring.keys, newMasterKey(id, secret))
	}
	return ring, nil
}

func checkKeyID(id string) error {
	if id == "" || len(id) > MaxKeyID {
		return fmt.Errorf("key id has %d characters; want 1 to %d", len(id), MaxKeyID)
	}
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return errors.New("key id holds a character other than a-z, 0-9, '-' and '_'")
		}
	}
	return nil
}

func newMasterKey(id string, secret []byte) masterKey {
	k := masterKey{id: id, secret: [KeySize]byte(secret)}
	copy(k.check[:], derive(k.secret[:], "wedsync vault v1 check\x00"+id, checkSize))
	return k
}

// derive cannot fail: HKDF refuses only lengths above 255 hashes, and a FIPS build refuses only keys below 112 bits.
func derive(secret []byte, info string, length int) []byte {
	out, err := hkdf.Key(sha256.New, secret, nil, info, length)
	if err != nil {
		panic("vault: derive key: " + err.Error())
	}
	return out
}

// GenerateKey returns a new random master key as an entry for [ParseKeys], with a random id ("k1f0c9a2b:…").
func GenerateKey() string {
	var secret [KeySize]byte
	rand.Read(secret[:])
	return newKeyID() + ":" + base64.StdEncoding.EncodeToString(secret[:])
}

func newKeyID() string {
	var id [4]byte
	rand.Read(id[:])
	return "k" + hex.EncodeToString(id[:])
}

// Encode returns the keys in the form [ParseKeys] reads. It is the one way to get the keys out again; the result must
// be handled like a password.
func (r *Keyring) Encode() string {
	entries := make([]string, len(r.keys))
	for i, k := range r.keys {
		entries[i] = k.id + ":" + base64.StdEncoding.EncodeToString(k.secret[:])
	}
	return strings.Join(entries, ",")
}

// WithNewKey returns a ring with a fresh active key in front of the keys of r, which stays as it is. It fails when the
// ring already holds [MaxKeys] keys.
func (r *Keyring) WithNewKey() (*Keyring, error) {
	return parse(GenerateKey() + "," + r.Encode())
}

// ActiveID returns the id of the key that seals.
func (r *Keyring) ActiveID() string { return r.keys[0].id }

// IDs returns all key ids, the active one first.
func (r *Keyring) IDs() []string {
	ids := make([]string, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

// Org returns the sealer of one organisation. Sealers are kept, so a call costs a map look-up. The empty id is a
// scope of its own and shared with nobody.
func (r *Keyring) Org(orgID string) *Sealer { return r.sealer("org\x00" + orgID) }

// Scope returns the sealer for values that belong to the installation and not to an organisation, such as workflow
// payloads. The name is part of the key: values of one scope do not open in another.
func (r *Keyring) Scope(name string) *Sealer { return r.sealer("scope\x00" + name) }

func (r *Keyring) sealer(scope string) *Sealer {
	r.mu.RLock()
	s := r.sealers[scope]
	r.mu.RUnlock()
	if s != nil {
		return s
	}
	s = r.newSealer(scope)
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept := r.sealers[scope]; kept != nil {
		return kept
	}
	if len(r.sealers) >= maxSealers {
		for victim := range r.sealers {
			delete(r.sealers, victim)
			break
		}
	}
	r.sealers[scope] = s
	return s
}

func (r *Keyring) newSealer(scope string) *Sealer {
	s := &Sealer{keys: make([]dataKey, len(r.keys))}
	for i := range r.keys {
		master := &r.keys[i]
		block, err := aes.NewCipher(derive(master.secret[:], "wedsync vault v1 data\x00"+master.id+"\x00"+scope, KeySize))
		if err != nil {
			panic("vault: make cipher: " + err.Error()) // only a wrong key length, which derive rules out
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			panic("vault: make cipher: " + err.Error()) // only a block size other than 16
		}
		header := append([]byte{formatVersion, byte(len(master.id))}, master.id...)
		s.keys[i] = dataKey{aead: aead, header: append(header, master.check[:]...), id: master.id}
		if i == 0 {
			s.print = derive(master.secret[:], "wedsync vault v1 fingerprint\x00"+master.id+"\x00"+scope, KeySize)
		}
	}
	return s
}

// String names the key ids only.
func (r *Keyring) String() string { return "keyring(" + strings.Join(r.IDs(), ",") + ")" }

// Format writes the same as String for every verb, so that no way of printing shows a key.
func (r *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue is what slog shows: the key ids only.
func (r *Keyring) LogValue() slog.Value { return slog.StringValue(r.String()) }
