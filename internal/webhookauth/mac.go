package webhookauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"sync"
)

// macKey computes HMAC under one key without allocating: keyed states are kept and reset, which also saves
// hashing the key anew each time.
type macKey struct {
	states sync.Pool
}

type macState struct {
	hash hash.Hash
	head []byte // what is signed before the body
	sum  [sha512.Size]byte
	text [128]byte // the sum in base64, or the signature taken from hex
}

// newMACKeys is for SHA-256.
func newMACKeys(keys [][]byte) []*macKey { return newMACKeysOf(sha256.New, keys) }

func newMACKeysOf(newHash func() hash.Hash, keys [][]byte) []*macKey {
	out := make([]*macKey, len(keys))
	for i, key := range keys {
		out[i] = &macKey{}
		out[i].states.New = func() any { return &macState{hash: hmac.New(newHash, key)} }
	}
	return out
}

func (k *macKey) get() *macState {
	s := k.states.Get().(*macState)
	s.head = s.head[:0]
	return s
}

func (k *macKey) put(s *macState) {
	// The sum is a valid signature; nothing else may find it in memory through this pool.
	clear(s.sum[:])
	clear(s.text[:])
	k.states.Put(s)
}

// compute leaves the code of head and body in s.sum, as long as the hash has bytes.
func (s *macState) compute(body []byte) {
	s.begin(body)
	s.hash.Sum(s.sum[:0])
}

// begin takes head and body in; what else is to be covered may be written to s.hash before its Sum.
func (s *macState) begin(body []byte) {
	s.hash.Reset()
	s.hash.Write(s.head)
	s.hash.Write(body)
}
