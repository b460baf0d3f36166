package webhookauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// macKey computes HMAC-SHA256 under one key without allocating: keyed states are kept and reset, which also saves
// hashing the key anew each time.
type macKey struct {
	states sync.Pool
}

type macState struct {
	hash hash.Hash
	head []byte // what is signed before the body
	sum  [sha256.Size]byte
	text [64]byte // the sum in hex (64) or base64 (44), or the signature taken from hex
}

func newMACKeys(keys [][]byte) []*macKey {
	out := make([]*macKey, len(keys))
	for i, key := range keys {
		out[i] = &macKey{}
		out[i].states.New = func() any { return &macState{hash: hmac.New(sha256.New, key)} }
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

// compute leaves the code of head and body in s.sum.
func (s *macState) compute(body []byte) {
	s.hash.Reset()
	s.hash.Write(s.head)
	s.hash.Write(body)
	s.hash.Sum(s.sum[:0])
}
