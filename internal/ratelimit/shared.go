package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// Ask is what a process wants for one key.
type Ask struct {
	Key  Key
	Want int // tokens to hold ahead of need
	Used int // tokens given on credit since the last ask, which are to be taken whether they are there or not
}

// SharedOptions describe a limit that holds over several processes. The zero value of every field but Lease takes its
// default.
type SharedOptions struct {
	// Rate and Burst are those of the whole, default 1000 and one second's worth.
	Rate  float64
	Burst int
	// Lease takes tokens from the one place where all are counted and returns how many each ask got, in order. Required.
	Lease func(ctx context.Context, asks []Ask) ([]int, error)
	// Share is the part of the rate that this process gives by itself while nothing is leased to it, because the place
	// cannot be asked or is slow, default 0.5. With one over the number of processes the limit holds then too.
	Share float64
	// Ahead is for how long tokens are held, at the pace at which they went, default 100 ms. Every is how often the place
	// is asked at most, default 20 ms, and Patience how long one answer may take until Share counts, default 250 ms.
	Ahead, Every, Patience time.Duration
	// Credit is how many tokens a key is given before the place is asked, default 1 % of Burst and at least 2.
	Credit int
	// Free is the part of the rate at which credit comes back by itself, default 0. What so comes back is counted nowhere:
	// Rate must leave room for it in every process. With it, keys that are used little never ask.
	Free float64
	// Spare asks the place for a key that had too little not before Ahead has passed. It is for slow limits with many keys that
	// wait: asked with every look they would cost the place more than what it gives is worth.
	Spare bool
	// MaxKeys bounds the accounts kept, default 65,536. Without room the one that was not used for longest of a few goes:
	// what it gave on credit, 1 % of Burst at most, is forgotten.
	MaxKeys int
}

func (o *SharedOptions) defaults() {
	if !(o.Rate > 0) {
		o.Rate = 1000
	}
	if o.Burst <= 0 {
		o.Burst = max(1, int(o.Rate))
	}
	if !(o.Share > 0) || o.Share > 1 {
		o.Share = 0.5
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&o.Ahead, 100 * time.Millisecond}, {&o.Every, 20 * time.Millisecond}, {&o.Patience, 250 * time.Millisecond}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	if o.MaxKeys <= 0 {
		o.MaxKeys = 1 << 16
	}
	if o.Credit <= 0 {
		o.Credit = max(2, o.Burst/100)
	}
	if !(o.Free > 0) || o.Free > 1 {
		o.Free = 0
	}
}

// Shared bounds keys over several processes. Each holds a few tokens per busy key, leased ahead of need by [Shared.Run]
// from the place where all are counted, so that no decision waits for it.
//
// A key that is used little is given its tokens on credit, up to SharedOptions.Credit, and the place is asked only when
// the credit is used up: thousands of quiet keys cost nothing. Leases are counted as taken when they are given, so
// that a process that dies takes its tokens with it and the limit holds; they end after ten times Ahead. While the place
// cannot be asked each process gives its share.
type Shared struct {
	o      SharedOptions
	credit int
	seed   maphash.Seed
	local  *Limiter[Key] // the share
	shards [shardCount]accounts
	wake   chan struct{}

	asking sync.Mutex // one question at a time
	asks   []Ask
}

type accounts struct {
	mu    sync.Mutex
	byKey map[Key]*account
	wish  []Key // of accounts that need an answer
	_     [64]byte
}

// account is one key as this process sees it. Times are Unix nanoseconds.
type account struct {
	held      int   // leased tokens
	heldUntil int64 // and their end
	credit    int   // tokens given without a lease since the last ask
	freeFrom  int64 // when credit last came back by itself
	demand    int   // tokens wanted since the last ask
	since     int64 // of the last ask
	pace      float64
	dryUntil  int64 // the place had too little: no credit before this
	wishedAt  int64 // 0 = needs nothing
	silent    bool  // wishedAt is longer ago than Patience
	used      int64
}

// NewShared makes a Shared. Run it, or nothing is leased.
func NewShared(o SharedOptions) *Shared {
	o.defaults()
	s := &Shared{o: o, credit: o.Credit, seed: maphash.MakeSeed(), wake: make(chan struct{}, 1),
		local: New[Key](Options{Rate: o.Rate * o.Share, Burst: max(1, int(float64(o.Burst)*o.Share/10)), MaxKeys: o.MaxKeys})}
	for i := range s.shards {
		s.shards[i].byKey = make(map[Key]*account)
	}
	return s
}

// Allow takes n tokens of a key if they are there. It waits for nothing. Remaining is what this process can give at once.
func (s *Shared) Allow(key Key, n int, now time.Time) Decision { return s.decide(key, n, now, true) }

// Peek tells whether Allow would give a token, and takes none. A refusal counts as demand.
func (s *Shared) Peek(key Key, now time.Time) Decision { return s.decide(key, 1, now, false) }

func (s *Shared) decide(key Key, n int, now time.Time, take bool) Decision {
	at := now.UnixNano()
	sh := &s.shards[maphash.Comparable(s.seed, key)%shardCount]
	sh.mu.Lock()
	a := sh.byKey[key]
	if a == nil {
		a = sh.open(key, at, max(1, s.o.MaxKeys/shardCount))
	}
	a.used = at
	if at > a.heldUntil {
		a.held = 0
	}
	s.relieve(a, at)
	if a.wishedAt != 0 && at-a.wishedAt > int64(s.o.Patience) {
		a.silent = true
	}
	d := Decision{Limit: s.o.Burst, OK: true}
	switch {
	case a.held >= n:
		if take {
			a.held -= n
		}
	case !s.dry(a, at) && a.credit+n <= s.credit:
		if take {
			a.credit += n
		}
	case a.silent && take:
		d.OK = s.local.Allow(key, n, now).OK
	case a.silent:
		d.OK = s.local.Peek(key, now).OK
	default:
		d.OK = false
	}
	if take || !d.OK {
		a.demand += n
	}
	d.Remaining = a.held
	if !s.dry(a, at) {
		d.Remaining += s.credit - a.credit
	}
	if !d.OK {
		d.RetryAfter = max(s.o.Ahead, time.Duration(float64(n)/s.o.Rate*float64(time.Second)))
	}
	d.Full = time.Duration(float64(s.o.Burst) / s.o.Rate * float64(time.Second))
	wake := false
	if a.wishedAt == 0 && !(s.o.Spare && at < a.dryUntil) && (!d.OK || s.o.Free == 0 && 2*a.credit >= s.credit || a.pace > 0 && float64(a.held) < a.pace*s.o.Ahead.Seconds()/2) {
		a.wishedAt = at
		sh.wish = append(sh.wish, key)
		wake = true
	}
	sh.mu.Unlock()
	if wake {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return d
}

// dry reports whether the place is known to have too little, so that nothing is given on credit. With Spare that is so until it
// says otherwise, or must have filled up since.
func (s *Shared) dry(a *account, at int64) bool {
	if !s.o.Spare || a.dryUntil == 0 {
		return at < a.dryUntil
	}
	return at < a.dryUntil+int64(float64(s.o.Burst)/s.o.Rate*float64(time.Second))
}

// relieve lets credit come back at the part of the rate that is free. It runs under the lock.
func (s *Shared) relieve(a *account, at int64) {
	if s.o.Free == 0 || a.credit == 0 || at <= a.freeFrom {
		a.freeFrom = at
		return
	}
	each := float64(time.Second) / (s.o.Rate * s.o.Free)
	back := min(float64(at-a.freeFrom)/each, float64(a.credit))
	a.credit -= int(back)
	if a.freeFrom += int64(float64(int(back)) * each); a.credit == 0 {
		a.freeFrom = at
	}
}

// open makes an account, and room for it. It runs under the lock.
func (sh *accounts) open(key Key, at int64, most int) *account {
	if len(sh.byKey) >= most {
		var idle Key
		oldest, looked := int64(0), 0
		for k, a := range sh.byKey { // in random order
			if looked == 0 || a.used < oldest {
				idle, oldest = k, a.used
			}
			if looked++; looked == sampled {
				break
			}
		}
		delete(sh.byKey, idle)
	}
	a := &account{since: at, freeFrom: at}
	sh.byKey[key] = a
	return a
}

// Refill asks once for everything that is needed now, and hands it out. Errors are those of Lease; what was wished for is
// then asked for again.
func (s *Shared) Refill(ctx context.Context, now time.Time) error {
	s.asking.Lock()
	defer s.asking.Unlock()
	at := now.UnixNano()
	s.asks = s.asks[:0]
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, key := range sh.wish {
			a := sh.byKey[key]
			if a == nil {
				continue // it had to go
			}
			s.asks = append(s.asks, Ask{Key: key, Want: s.want(a, at), Used: a.credit})
		}
		sh.wish = sh.wish[:0]
		sh.mu.Unlock()
	}
	if len(s.asks) == 0 {
		return nil
	}
	got, err := s.o.Lease(ctx, s.asks)
	for i, ask := range s.asks {
		sh := &s.shards[maphash.Comparable(s.seed, ask.Key)%shardCount]
		sh.mu.Lock()
		if a := sh.byKey[ask.Key]; a != nil {
			if err != nil || i >= len(got) {
				sh.wish = append(sh.wish, ask.Key)
			} else {
				a.take(ask, got[i], at, s.o)
			}
		}
		sh.mu.Unlock()
	}
	return err
}

// want is how many tokens an account should get: what goes in Ahead at its present pace, never more than the whole
// limit gives in that time, because what one process holds no other can give.
func (s *Shared) want(a *account, at int64) int {
	if span := time.Duration(at - a.since); span > 0 {
		pace := float64(a.demand) / max(span, s.o.Every).Seconds()
		if a.pace == 0 || span > time.Second {
			a.pace = pace
		} else {
			a.pace = (a.pace + pace) / 2
		}
	}
	a.demand, a.since = 0, at
	if at > a.heldUntil {
		a.held = 0
	}
	ahead := s.o.Ahead.Seconds()
	return max(0, int(min(a.pace, s.o.Rate)*ahead)+1-a.held)
}

func (a *account) take(ask Ask, got int, at int64, o SharedOptions) {
	a.credit = max(0, a.credit-ask.Used)
	a.wishedAt, a.silent = 0, false
	if got > 0 {
		a.held += got
		a.heldUntil = at + int64(10*o.Ahead)
	}
	a.dryUntil = 0
	if got < ask.Want {
		a.dryUntil = at + int64(o.Ahead)
	}
	if a.pace*o.Ahead.Seconds() < 1 {
		a.pace = 0 // used little again: credit will do
	}
}

// Keys is the number of accounts kept.
func (s *Shared) Keys() (n int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += len(sh.byKey)
		sh.mu.Unlock()
	}
	return n
}

// Run asks for what is needed until ctx ends, at most every Every and more rarely while the place does not answer. failed
// is told each failure. now is the clock.
func (s *Shared) Run(ctx context.Context, now func() time.Time, failed func(error)) {
	wait := time.NewTimer(s.o.Every)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		pause := s.o.Every
		bounded, cancel := context.WithTimeout(ctx, 10*s.o.Patience)
		err := s.Refill(bounded, now())
		cancel()
		if err != nil && ctx.Err() == nil {
			failed(err)
			pause = max(pause, s.o.Patience)
			select { // what was not answered is asked for again
			case s.wake <- struct{}{}:
			default:
			}
		}
		wait.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
	}
}
