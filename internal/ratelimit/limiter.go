package ratelimit

import (
	"hash/maphash"
	"math"
	"sync"
	"time"
)

// Key names what is limited: an address, or the bytes of a UUID.
type Key [16]byte

// Pair names two things together, such as an address at an integration.
type Pair struct{ A, B Key }

// Options describe the buckets of a Limiter. The zero value of MaxKeys takes its default.
type Options struct {
	// Rate is how many tokens a bucket gains a second, more than 0 and up to 1e9. Burst is how many it holds, at least 1.
	Rate  float64
	Burst int
	// MaxKeys bounds the buckets kept, default 65,536. Each costs less than 100 bytes.
	MaxKeys int
}

// Decision is the answer to one question.
type Decision struct {
	OK        bool
	Remaining int // tokens left in the bucket now
	Limit     int // what the bucket holds at most
	// RetryAfter is when the same question can succeed, 0 when it did; a question for more than Limit never can, and is
	// told the time that fills a bucket. Full is when the bucket is full again.
	RetryAfter time.Duration
	Full       time.Duration
}

const (
	shardCount = 32
	sampled    = 8 // buckets looked at to find one that can be forgotten
)

// Limiter is a set of token buckets, one per key. Make one with [New].
type Limiter[K comparable] struct {
	cost   int64 // nanoseconds in which one token is gained
	room   int64 // nanoseconds in which an empty bucket is full
	burst  int
	seed   maphash.Seed
	shards [shardCount]shard[K]
}

// shard keeps a part of the keys. fullAt is the time, in Unix nanoseconds, at which a bucket has all of its tokens: how
// far it lies ahead is what was taken.
type shard[K comparable] struct {
	mu      sync.Mutex
	index   map[K]int32
	buckets []bucket[K]
	most    int
	hand    int
	others  int64 // fullAt of the bucket that new keys share when there is no room
	_       [64]byte
}

type bucket[K comparable] struct {
	key    K
	fullAt int64
}

// New makes a Limiter. A rate or burst that is not positive is taken as the least there is.
func New[K comparable](o Options) *Limiter[K] {
	if o.MaxKeys <= 0 {
		o.MaxKeys = 1 << 16
	}
	o.Burst = max(o.Burst, 1)
	l := &Limiter[K]{cost: costOf(o.Rate), burst: o.Burst, seed: maphash.MakeSeed()}
	l.room = saturated(l.cost, int64(o.Burst))
	for i := range l.shards {
		s := &l.shards[i]
		s.most = max(1, o.MaxKeys/shardCount)
		s.index = make(map[K]int32)
	}
	return l
}

// costOf rounds up, so that a rate is never exceeded.
func costOf(rate float64) int64 {
	c := math.Ceil(float64(time.Second) / rate)
	switch {
	case !(rate > 0) || c >= math.MaxInt64/4: // also for NaN
		return math.MaxInt64 / 4
	case c < 1:
		return 1
	}
	return int64(c)
}

func saturated(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64/4/b {
		return math.MaxInt64 / 4
	}
	return a * b
}

// Allow takes n tokens of a key's bucket if they are all there, and nothing if not.
func (l *Limiter[K]) Allow(key K, n int, now time.Time) Decision { return l.take(key, n, now, false) }

// Charge takes n tokens, or what is left of them: for a cost that is known only afterwards. It is never refused.
func (l *Limiter[K]) Charge(key K, n int, now time.Time) Decision { return l.take(key, n, now, true) }

// Peek tells whether a token is there, and takes none. A key that was never seen has a full bucket.
func (l *Limiter[K]) Peek(key K, now time.Time) Decision {
	at := now.UnixNano()
	s := l.shard(key)
	s.mu.Lock()
	fullAt := int64(math.MinInt64)
	if i, ok := s.index[key]; ok {
		fullAt = s.buckets[i].fullAt
	}
	s.mu.Unlock()
	d := l.decision(fullAt, at)
	d.OK = d.Remaining > 0
	if !d.OK {
		d.RetryAfter = time.Duration(max(fullAt, at) + l.cost - l.room - at)
	}
	return d
}

// Len is the number of buckets kept.
func (l *Limiter[K]) Len() (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.index)
		s.mu.Unlock()
	}
	return n
}

func (l *Limiter[K]) shard(key K) *shard[K] {
	return &l.shards[maphash.Comparable(l.seed, key)%shardCount]
}

func (l *Limiter[K]) take(key K, n int, now time.Time, partly bool) Decision {
	at := now.UnixNano()
	want := saturated(l.cost, int64(max(n, 0)))
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	fullAt := s.find(key, at)
	from := max(*fullAt, at)
	if partly {
		want = max(0, min(want, at+l.room-from))
	}
	if from+want > at+l.room {
		d := l.decision(*fullAt, at)
		d.RetryAfter = time.Duration(from + min(want, l.room) - l.room - at)
		if want > l.room {
			d.RetryAfter = time.Duration(l.room)
		}
		return d
	}
	*fullAt = from + want
	d := l.decision(*fullAt, at)
	d.OK = true
	return d
}

func (l *Limiter[K]) decision(fullAt, at int64) Decision {
	ahead := max(0, fullAt-at)
	if fullAt <= at { // also where the difference has no room in 64 bits
		ahead = 0
	}
	return Decision{Limit: l.burst, Remaining: int(max(0, l.room-ahead) / l.cost), Full: time.Duration(ahead)}
}

// find returns the bucket of a key, making room for a new one. It runs under the lock.
func (s *shard[K]) find(key K, at int64) *int64 {
	if i, ok := s.index[key]; ok {
		return &s.buckets[i].fullAt
	}
	if len(s.buckets) < s.most {
		s.buckets = append(s.buckets, bucket[K]{key: key, fullAt: at})
		s.index[key] = int32(len(s.buckets) - 1)
		return &s.buckets[len(s.buckets)-1].fullAt
	}
	// Of a few buckets that are full again the one that has been so for longest goes.
	found := -1
	for range min(sampled, len(s.buckets)) {
		if s.hand++; s.hand >= len(s.buckets) {
			s.hand = 0
		}
		if b := &s.buckets[s.hand]; b.fullAt <= at && (found < 0 || b.fullAt < s.buckets[found].fullAt) {
			found = s.hand
		}
	}
	if found < 0 {
		return &s.others
	}
	delete(s.index, s.buckets[found].key)
	// It may have taken from the shared bucket before: what is missing there counts as taken by each newcomer.
	s.buckets[found] = bucket[K]{key: key, fullAt: max(at, s.others)}
	s.index[key] = int32(found)
	return &s.buckets[found].fullAt
}
