package ratelimit

import (
	"hash/maphash"
	"sync"
)

// Gauge bounds how much of a key is under way at once. Only keys with something under way take memory. Make one with
// [NewGauge].
type Gauge[K comparable] struct {
	most   int
	seed   maphash.Seed
	shards [shardCount]gaugeShard[K]
}

type gaugeShard[K comparable] struct {
	mu sync.Mutex
	n  map[K]int
	_  [64]byte
}

// NewGauge makes a Gauge that lets most of a key be under way at once.
func NewGauge[K comparable](most int) *Gauge[K] {
	g := &Gauge[K]{most: most, seed: maphash.MakeSeed()}
	for i := range g.shards {
		g.shards[i].n = make(map[K]int)
	}
	return g
}

// Enter reports whether one more of a key may be under way. If so, [Gauge.Leave] must follow.
func (g *Gauge[K]) Enter(key K) bool {
	s := &g.shards[maphash.Comparable(g.seed, key)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.n[key]
	if n >= g.most {
		return false
	}
	s.n[key] = n + 1
	return true
}

// Leave ends what Enter began.
func (g *Gauge[K]) Leave(key K) {
	s := &g.shards[maphash.Comparable(g.seed, key)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.n[key]; n > 1 {
		s.n[key] = n - 1
	} else {
		delete(s.n, key)
	}
}

// Keys is the number of keys with something under way.
func (g *Gauge[K]) Keys() (n int) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		n += len(s.n)
		s.mu.Unlock()
	}
	return n
}
