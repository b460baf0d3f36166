// Package edverify verifies Ed25519 signatures (RFC 8032) of keys that sign again and again, such as those of a vendor that posts
// webhooks, in about half the time of crypto/ed25519.
//
//	keys := edverify.New(2048)
//	if !keys.Verify(public, message, signature) { … }
//
// # Promises
//
//   - The answer is the one of [ed25519.Verify] for every key, message and signature, odd encodings and points of small order
//     included; only keys and signatures of a wrong length are answered false where that one may panic.
//   - Multiples of a key are kept once it was asked for a few times, about 10 KiB for each of at most as many keys as New is told.
//     Where there are more, those that were not asked for lately give way.
//   - Time depends on key, message and signature, which are all public. Never use this with a secret.
//   - A Keys may be used by any number of goroutines.
//
// The points are those of filippo.io/edwards25519, from which crypto/ed25519 has its own; what is here is only which of them are
// added up. Verifying needs S·B − k·A for the base point B and the key A. Done once, most of it is 253 doublings. With multiples of
// A and B at hand, 31 doublings and about ninety additions are left.
//
// # Testing
//
// go test ./internal/edverify compares with crypto/ed25519 and with math/big. go test -bench . shows both side by side.
package edverify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"sync"
	"sync/atomic"

	"filippo.io/edwards25519"
)

// worthwhile is with which verification a key's multiples are made, which takes as long as verifying once. Fewer would spend that
// on keys that are seen once or twice and then give way.
const worthwhile = 4

// Keys keeps multiples of the keys that were used most lately.
type Keys struct {
	most  int
	clock atomic.Uint64 // counts verifications

	mu  sync.RWMutex
	all map[[ed25519.PublicKeySize]byte]*entry
}

type entry struct {
	used      atomic.Uint64             // the clock when it was used last
	times     atomic.Uint32             // how often, up to worthwhile
	multiples atomic.Pointer[multiples] // of −A
}

// New keeps the multiples of at most so many keys; less than one means one.
func New(most int) *Keys {
	return &Keys{most: max(most, 1), all: make(map[[ed25519.PublicKeySize]byte]*entry)}
}

// Verify reports whether a signature is the key's of the message.
func (k *Keys) Verify(key ed25519.PublicKey, message, signature []byte) bool {
	if len(key) != ed25519.PublicKeySize || len(signature) != ed25519.SignatureSize {
		return false
	}
	e := k.entry([ed25519.PublicKeySize]byte(key))
	e.used.Store(k.clock.Add(1))
	m := e.multiples.Load()
	if m == nil {
		// Exactly one caller comes to the number; the others go on without.
		if e.times.Load() >= worthwhile || e.times.Add(1) != worthwhile {
			return ed25519.Verify(key, message, signature)
		}
		a, err := new(edwards25519.Point).SetBytes(key)
		if err != nil {
			return false // it is no point, so nothing is its signature
		}
		m = multiplesOf(a.Negate(a))
		e.multiples.Store(m)
	}
	return m.verify(key, message, signature)
}

// entry finds or makes what is kept for a key.
func (k *Keys) entry(key [ed25519.PublicKeySize]byte) *entry {
	k.mu.RLock()
	e := k.all[key]
	k.mu.RUnlock()
	if e != nil {
		return e
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e = k.all[key]; e != nil {
		return e
	}
	if len(k.all) >= k.most {
		k.evict()
	}
	e = new(entry)
	k.all[key] = e
	return e
}

// lots is among how many keys drawn by lot the one is searched for that gives way.
const lots = 16

// evict removes the key that was used longest ago, of a few.
func (k *Keys) evict() {
	var oldest [ed25519.PublicKeySize]byte
	var at uint64
	n := 0
	for key, e := range k.all { // a map begins anywhere
		if used := e.used.Load(); n == 0 || used < at {
			oldest, at = key, used
		}
		if n++; n == lots {
			break
		}
	}
	delete(k.all, oldest)
}

// verify does what RFC 8032, section 5.1.7, asks for: the hash k of R, key and message, and whether S·B − k·A encodes as R. As in
// crypto/ed25519, S has to be below the group's order and R is compared as bytes.
func (m *multiples) verify(key ed25519.PublicKey, message, signature []byte) bool {
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(signature[32:])
	if err != nil {
		return false
	}
	hash := sha512.New()
	hash.Write(signature[:32])
	hash.Write(key)
	hash.Write(message)
	var sum [sha512.Size]byte
	h, err := new(edwards25519.Scalar).SetUniformBytes(hash.Sum(sum[:0]))
	if err != nil {
		return false // it has 64 bytes
	}
	return bytes.Equal(m.sum(h, s).Bytes(), signature[:32])
}
