package jwks

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Times of the cache. They are not settings: each is a promise to the sender or to the operator.
const (
	minFresh     = time.Minute
	maxFresh     = 24 * time.Hour
	defaultFresh = 10 * time.Minute
	// StaleFor is how long a set is used beyond its time while its address cannot be reached.
	StaleFor = 24 * time.Hour
	// unknownEvery is how often an unknown id may cause a fetch, per address.
	unknownEvery = 30 * time.Second
	firstWait    = time.Second
	maxWait      = 5 * time.Minute
	fetchTimeout = 10 * time.Second
)

// Doer sends requests: *httpx.Client.
type Doer interface {
	Do(*http.Request) (*httpx.Response, error)
}

// Options configure Sets.
type Options struct {
	// HTTP is the way out; required. Give it MaxBody and short timeouts.
	HTTP Doer
	// MaxURLs bounds the addresses kept, default 1000. The one not used for longest makes room.
	MaxURLs int
	// AllowHTTP lets http addresses through, for development.
	AllowHTTP bool
	Now       func() time.Time // nil = time.Now
	Random    func() float64   // 0 to 1, for jitter; nil = math/rand
}

// Sets keeps the key sets of many addresses. It implements webhookauth.KeySets and may be used by many goroutines.
type Sets struct {
	o Options

	mu   sync.Mutex
	urls map[string]*set
}

var _ webhookauth.KeySets = (*Sets)(nil)

// set is one address. The lock of Sets guards it.
type set struct {
	keys        []webhookauth.PublicKey
	freshUntil  time.Time
	staleUntil  time.Time
	nextTry     time.Time // not before, after a fault
	nextUnknown time.Time // not before, for an unknown id
	failures    int
	fault       error
	begun       int // fetches so far, the one under way included
	got         int // the fetch that brought keys; 0 = none
	used        time.Time
	fetching    chan struct{} // closed at the end; nil when none is under way
}

// New makes an empty cache.
func New(o Options) *Sets {
	if o.MaxURLs <= 0 {
		o.MaxURLs = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return &Sets{o: o, urls: map[string]*set{}}
}

// Key returns a key of the set at address by its id, which is not empty. Errors: not_found for an id that is not in a set whose
// fetch began after the call; a [webhookauth.KeyPending] for an id that is missing while the address may not be asked again yet,
// or is being asked since before the call; unavailable when no set can be had, or only an old one without the id, or ctx ends
// first; invalid for an address that may not be asked. A fault says by domain.RetryAfter when the address is asked again.
func (s *Sets) Key(ctx context.Context, address, id string) (webhookauth.PublicKey, error) {
	return s.find(ctx, address, func(keys []webhookauth.PublicKey) int {
		return slices.IndexFunc(keys, func(k webhookauth.PublicKey) bool { return k.ID == id })
	})
}

// MaxTried is how many keys of a set are tried for a token that names none, so that a forged one costs little.
const MaxTried = 16

// Signer returns the first key of the set at address for which signed is true, of its first MaxTried. A set without one counts
// as one that lacks an id, with the errors of Key: a sender that names no keys begins with new ones too.
func (s *Sets) Signer(ctx context.Context, address string, signed func(webhookauth.PublicKey) bool) (webhookauth.PublicKey, error) {
	return s.find(ctx, address, func(keys []webhookauth.PublicKey) int {
		return slices.IndexFunc(keys[:min(len(keys), MaxTried)], signed)
	})
}

func (s *Sets) find(ctx context.Context, address string, pick func([]webhookauth.PublicKey) int) (webhookauth.PublicKey, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(s.o.AllowHTTP && u.Scheme == "http") {
		return webhookauth.PublicKey{}, domain.Invalid("jwks_url", "want an https address")
	}
	came := -1 // fetches that had begun when the call came
	for {
		key, wait, err := s.look(ctx, address, pick, &came)
		if wait == nil {
			return key, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return webhookauth.PublicKey{}, domain.E(domain.KindUnavailable, "wait for the key set: %w", ctx.Err())
		}
	}
}

// look answers from what is there, or returns what to wait for. The first look of a call has a negative came and sets it.
func (s *Sets) look(ctx context.Context, address string, pick func([]webhookauth.PublicKey) int, came *int) (key webhookauth.PublicKey, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e *set
	found := false
	for seen, got := (*set)(nil), 0; ; {
		if e = s.urls[address]; e == nil {
			if !s.makeRoom() {
				return key, nil, domain.E(domain.KindUnavailable, "too many key sets are being fetched")
			}
			e = &set{used: s.o.Now()}
			s.urls[address] = e
		}
		if e == seen && e.got == got {
			break
		}
		seen, got = e, e.got
		keys := e.keys // never changed, only replaced
		s.mu.Unlock()  // pick may verify signatures, which nobody else is to wait for
		n := pick(keys)
		s.mu.Lock()
		if key, found = (webhookauth.PublicKey{}), n >= 0; found {
			key = keys[n]
		}
	}
	now := s.o.Now()
	e.used = now
	first := *came < 0
	if first {
		*came = e.begun
	}
	usable := len(e.keys) > 0 && now.Before(e.staleUntil)
	fresh := usable && now.Before(e.freshUntil)
	if fresh && found {
		return key, nil, nil
	}
	// A set that is fresh but lacks the id is asked for again now and then: keys rotate before their time.
	due := !fresh && !now.Before(e.nextTry) || fresh && !found && !now.Before(e.nextUnknown) && !now.Before(e.nextTry)
	if first && (due || e.fetching != nil) {
		if e.fetching == nil {
			e.fetching = make(chan struct{})
			e.begun++
			go s.fetch(context.WithoutCancel(ctx), address, e, e.fetching)
		}
		return key, e.fetching, nil
	}
	switch {
	case usable && found:
		return key, nil, nil
	case usable && e.failures == 0 && e.got > *came:
		return key, nil, domain.E(domain.KindNotFound, "the key set has no such key")
	case usable && e.failures == 0:
		// The sender may have begun with a key since the set was read, so its absence says nothing yet.
		return key, nil, &webhookauth.KeyPending{Wait: max(time.Second, e.askable(now).Sub(now))}
	case e.fault != nil:
		return key, nil, domain.WithRetryAfter(domain.E(domain.KindUnavailable, "fetch key set: %w", e.fault), max(0, e.askable(now).Sub(now)))
	}
	return key, nil, domain.E(domain.KindUnavailable, "fetch key set: there is none")
}

// askable is when a call for an id that is not there may cause the next fetch.
func (e *set) askable(now time.Time) time.Time {
	if !now.Before(e.freshUntil) {
		return e.nextTry
	}
	at := e.nextUnknown
	if e.freshUntil.Before(at) {
		at = e.freshUntil
	}
	if at.Before(e.nextTry) {
		at = e.nextTry
	}
	return at
}

// makeRoom removes the set not used for longest. Those being fetched stay.
func (s *Sets) makeRoom() bool {
	if len(s.urls) < s.o.MaxURLs {
		return true
	}
	oldest := ""
	for address, e := range s.urls {
		if e.fetching == nil && (oldest == "" || e.used.Before(s.urls[oldest].used)) {
			oldest = address
		}
	}
	delete(s.urls, oldest)
	return len(s.urls) < s.o.MaxURLs
}

// fetch asks once and records what came of it.
func (s *Sets) fetch(ctx context.Context, address string, e *set, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	keys, fresh, err := s.ask(ctx, address)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	e.nextUnknown = now.Add(unknownEvery)
	if err != nil {
		e.fault = err
		wait := min(firstWait<<min(e.failures, 20), maxWait)
		e.failures++
		// Half of the wait is jitter, so that servers do not come back together.
		wait = wait/2 + time.Duration(s.o.Random()*float64(wait/2))
		e.nextTry = now.Add(max(wait, min(domain.RetryAfter(err), maxWait)))
	} else {
		e.keys, e.fault, e.failures, e.nextTry, e.got = keys, nil, 0, time.Time{}, e.begun
		e.freshUntil = now.Add(fresh)
		e.staleUntil = e.freshUntil.Add(StaleFor)
	}
	e.fetching = nil
	close(done)
}

func (s *Sets) ask(ctx context.Context, address string) ([]webhookauth.PublicKey, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, domain.Invalid("jwks_url", "is not an address")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.o.HTTP.Do(req)
	if err != nil {
		return nil, 0, err
	}
	if res.Status != http.StatusOK {
		return nil, 0, domain.E(domain.KindUnavailable, "status %d in place of a key set", res.Status)
	}
	keys, err := Parse(res.Body)
	if err != nil {
		return nil, 0, domain.E(domain.KindUnavailable, "%w", err)
	}
	return keys, freshness(res.Header), nil
}

// freshness reads Cache-Control and Age within our own bounds.
func freshness(h http.Header) time.Duration {
	fresh := defaultFresh
	for _, directive := range strings.Split(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				return minFresh
			}
			fresh = time.Duration(seconds) * time.Second
		}
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		fresh -= time.Duration(age) * time.Second
	}
	return min(max(fresh, minFresh), maxFresh)
}
