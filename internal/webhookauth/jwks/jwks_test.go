package jwks

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func edKey(t testing.TB, id string) map[string]any {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": id, "x": b64(public)}
}

func setOf(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	if keys == nil {
		keys = []map[string]any{}
	}
	out, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rig is a server whose behaviour can be changed, and a cache with a clock of its own.
type rig struct {
	*Sets
	url  string
	asks atomic.Int64

	mu     sync.Mutex
	now    time.Time
	answer http.HandlerFunc
}

func setup(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{now: time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asks.Add(1)
		r.mu.Lock()
		answer := r.answer
		r.mu.Unlock()
		answer(w, req)
	}))
	t.Cleanup(s.Close)
	client, err := httpx.New(httpx.Options{Allow: httpx.AllowPrivate, MaxBody: MaxBody, Timeouts: httpx.Timeouts{Total: 300 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	o.HTTP, o.AllowHTTP = client, true
	o.Random = func() float64 { return 1 }
	o.Now = func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now }
	r.Sets, r.url = New(o), s.URL+"/keys"
	return r
}

func (r *rig) forward(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *rig) say(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

func body(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
}

// want asks for a key and checks kind of error ("" for none) and the number of requests so far.
func (r *rig) want(t *testing.T, id string, kind domain.ErrorKind, asks int64) {
	t.Helper()
	_, err := r.Key(t.Context(), r.url, id)
	if err == nil && kind != "" || err != nil && domain.KindOf(err) != kind {
		t.Errorf("key %q: %v, want kind %q", id, err, kind)
	}
	if n := r.asks.Load(); n != asks {
		t.Errorf("key %q: %d requests so far, want %d", id, n, asks)
	}
}

func TestRotationIsNoticedByAnUnknownIDAndAFloodOfThemIsNot(t *testing.T) {
	t.Parallel()
	r := setup(t, Options{})
	first, second := edKey(t, "one"), edKey(t, "two")
	r.say(body(setOf(t, first)))
	r.want(t, "one", "", 1)
	r.want(t, "one", "", 1)
	r.say(body(setOf(t, first, second)))
	r.pending(t, "two", unknownEvery, 1) // the set may have it by now, so nobody can say
	r.forward(unknownEvery)
	r.want(t, "two", "", 2)
	for i := range 100 {
		r.pending(t, fmt.Sprint("invented", i), unknownEvery, 2)
	}
	r.forward(10 * time.Second)
	r.pending(t, "invented", unknownEvery-10*time.Second, 2)
	r.forward(-10 * time.Second)
	r.forward(unknownEvery)
	r.want(t, "invented", domain.KindNotFound, 3)
	r.want(t, "one", "", 3)
}

// pending asks for a key that is not known yet, and checks what is told of it.
func (r *rig) pending(t *testing.T, id string, wait time.Duration, asks int64) {
	t.Helper()
	r.want(t, id, domain.KindUnavailable, asks)
	_, err := r.Key(t.Context(), r.url, id)
	var pending *webhookauth.KeyPending
	if !errors.As(err, &pending) || pending.Wait != wait || domain.RetryAfter(err) != wait {
		t.Errorf("key %q: %v with %+v; want it to be pending for %s", id, err, pending, wait)
	}
}

// TestATokenThatNamesNoKeyIsTriedOnEachAndOnNewOnes is about senders whose sets have no ids: one that changes its key, or has
// two for a while, loses no webhook.
func TestATokenThatNamesNoKeyIsTriedOnEachAndOnNewOnes(t *testing.T) {
	t.Parallel()
	r := setup(t, Options{})
	keys := make([]map[string]any, MaxTried+1)
	for n := range keys {
		keys[n] = edKey(t, "")
	}
	ask := func(key map[string]any, kind domain.ErrorKind, asks int64) {
		t.Helper()
		tried := 0
		got, err := r.Signer(t.Context(), r.url, func(k webhookauth.PublicKey) bool {
			tried++
			return b64(k.Key.(ed25519.PublicKey)) == key["x"]
		})
		switch n := r.asks.Load(); {
		case n != asks:
			t.Errorf("%d requests so far, want %d", n, asks)
		case err == nil && (kind != "" || b64(got.Key.(ed25519.PublicKey)) != key["x"]), err != nil && domain.KindOf(err) != kind:
			t.Errorf("%v, %v, want kind %q", got, err, kind)
		case tried > 2*MaxTried:
			t.Errorf("%d keys were tried", tried)
		}
	}
	r.say(body(setOf(t, keys[0])))
	ask(keys[0], "", 1)
	r.say(body(setOf(t, keys[1], keys[2])))
	ask(keys[1], domain.KindUnavailable, 1) // the sender may have it by now
	ask(keys[0], "", 1)
	r.forward(unknownEvery)
	ask(keys[2], "", 2)
	ask(keys[1], "", 2)
	ask(keys[0], domain.KindUnavailable, 2)
	r.forward(unknownEvery)
	ask(keys[0], domain.KindNotFound, 3)
	r.say(body(setOf(t, keys...)))
	r.forward(unknownEvery)
	ask(keys[MaxTried-1], "", 4)
	r.forward(unknownEvery)
	ask(keys[MaxTried], domain.KindNotFound, 5)
}

func TestAFetchThatBeganBeforeACallDoesNotProveThatAKeyIsUnknown(t *testing.T) {
	t.Parallel()
	r := setup(t, Options{})
	arrived, release := make(chan struct{}), make(chan struct{})
	set := setOf(t, edKey(t, "one"))
	r.say(func(w http.ResponseWriter, _ *http.Request) { close(arrived); <-release; _, _ = w.Write(set) })
	began := make(chan error, 1)
	go func() { _, err := r.Key(t.Context(), r.url, "new"); began <- err }()
	<-arrived
	came := -1
	none := func([]webhookauth.PublicKey) int { return -1 }
	_, wait, err := r.look(t.Context(), r.url, none, &came) // comes while the fetch is under way
	if wait == nil || err != nil {
		t.Fatalf("a call during the fetch got %v at once; want it to wait", err)
	}
	close(release)
	if err := <-began; domain.KindOf(err) != domain.KindNotFound {
		t.Errorf("who began the fetch got %v; want not_found", err)
	}
	<-wait
	_, wait, err = r.look(t.Context(), r.url, none, &came)
	if pending := (*webhookauth.KeyPending)(nil); wait != nil || !errors.As(err, &pending) {
		t.Errorf("who came during the fetch got %v; want the key to be pending", err)
	}
}

func TestAFaultSaysWhenTheAddressIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, Options{})
	r.say(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "90")
		w.WriteHeader(503)
	})
	r.want(t, "one", domain.KindUnavailable, 1)
	r.forward(20 * time.Second)
	if _, err := r.Key(t.Context(), r.url, "one"); domain.RetryAfter(err) != 70*time.Second {
		t.Errorf("%v, again in %s; want 70 s", err, domain.RetryAfter(err))
	}
	r.forward(70 * time.Second)
	r.want(t, "one", domain.KindUnavailable, 2)
}

func TestAKeyThatIsWithdrawnIsGoneWhenTheSetIsReadAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, Options{})
	r.say(body(setOf(t, edKey(t, "old"), edKey(t, "new"))))
	r.want(t, "old", "", 1)
	r.say(body(setOf(t, edKey(t, "new"))))
	r.forward(defaultFresh)
	r.want(t, "old", domain.KindNotFound, 2)
}

func TestMaxAgeIsRespectedWithinBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		control, age string
		want         time.Duration
	}{
		{"", "", defaultFresh}, {"max-age=3600", "", time.Hour}, {"public, max-age=3600", "600", 50 * time.Minute}, {"max-age=1", "", minFresh},
		{"max-age=0", "", minFresh}, {"max-age=99999999", "", maxFresh}, {"max-age=-5", "", minFresh}, {"max-age=x", "", minFresh},
		{"no-store, max-age=3600", "", minFresh}, {`MAX-AGE="120"`, "", 2 * time.Minute}, {"max-age=3600", "99999", minFresh},
	} {
		h := http.Header{"Cache-Control": {c.control}, "Age": {c.age}}
		if got := freshness(h); got != c.want {
			t.Errorf("%q, age %q: %s, want %s", c.control, c.age, got, c.want)
		}
	}
	r := setup(t, Options{})
	r.say(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		body(setOf(t, edKey(t, "one")))(w, req)
	})
	r.want(t, "one", "", 1)
	r.forward(time.Hour - time.Second)
	r.want(t, "one", "", 1)
	r.forward(time.Second)
	r.want(t, "one", "", 2)
}

func TestFaultsBackOffAndTheOldSetServesForABoundedTime(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, fault := range map[string]http.HandlerFunc{
		"500":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"redirect":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"garbage":    body([]byte("\x00{]")),
		"other JSON": body([]byte(`{"error":"x"}`)),
		"no keys":    body([]byte(`{"keys":[]}`)),
		"huge":       body([]byte(`{"keys":["` + strings.Repeat("x", MaxBody) + `"]}`)),
		"hang": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-release:
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, Options{})
			r.say(fault)
			r.want(t, "one", domain.KindUnavailable, 1)
			r.want(t, "one", domain.KindUnavailable, 1) // within the first wait
			r.say(body(setOf(t, edKey(t, "one"))))
			r.forward(firstWait)
			r.want(t, "one", "", 2)
			r.say(fault)
			r.forward(defaultFresh)
			r.want(t, "one", "", 3)                     // stale, the fetch failed
			r.want(t, "one", "", 3)                     // not tried again at once
			r.want(t, "two", domain.KindUnavailable, 3) // may be a new key: nobody can say
			r.forward(firstWait)                        //
			r.want(t, "one", "", 4)                     // tried again
			r.forward(firstWait)                        //
			r.want(t, "one", "", 4)                     // the wait has doubled
			r.forward(StaleFor)                         //
			r.want(t, "one", domain.KindUnavailable, 5) // too old
			r.say(body(setOf(t, edKey(t, "one"))))      //
			r.forward(maxWait)                          //
			r.want(t, "one", "", 6)                     // healed
		})
	}
}

func TestWaitBetweenTriesIsBoundedAndFollowsRetryAfter(t *testing.T) {
	t.Parallel()
	r := setup(t, Options{})
	r.say(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	for i := range int64(40) {
		r.want(t, "one", domain.KindUnavailable, i+1)
		r.forward(maxWait)
	}
	r.say(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(503)
	})
	r.want(t, "one", domain.KindUnavailable, 41)
	r.forward(maxWait - time.Second)
	r.want(t, "one", domain.KindUnavailable, 41)
	r.forward(time.Second)
	r.want(t, "one", domain.KindUnavailable, 42)
}

func TestAHundredCallersAskOnceAndOneThatGivesUpHarmsNobody(t *testing.T) {
	t.Parallel()
	r := setup(t, Options{})
	arrived, release := make(chan struct{}), make(chan struct{})
	set := setOf(t, edKey(t, "one"))
	r.say(func(w http.ResponseWriter, _ *http.Request) { close(arrived); <-release; _, _ = w.Write(set) })
	leaving, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := r.Key(leaving, r.url, "one"); first <- err }()
	<-arrived
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := r.Key(t.Context(), r.url, "one"); err != nil {
				t.Error(err)
			}
		})
	}
	leave()
	if err := <-first; domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("who gave up got %v", err)
	}
	close(release)
	all.Wait()
	if n := r.asks.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestNumberOfAddressesIsBounded(t *testing.T) {
	t.Parallel()
	r := setup(t, Options{MaxURLs: 3})
	r.say(body(setOf(t, edKey(t, "one"))))
	for i := range 10 {
		if _, err := r.Key(t.Context(), fmt.Sprint(r.url, i), "one"); err != nil {
			t.Fatal(err)
		}
		r.forward(time.Second)
	}
	if n := len(r.urls); n != 3 {
		t.Errorf("%d sets kept, want 3", n)
	}
}

func TestAddressesOtherThanHTTPSAreNotAsked(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, address := range []string{"", "http://example.com/keys", "file:///etc/passwd", "//example.com", "https://", "gopher://example.com", "https://exa mple.com"} {
		if _, err := s.Key(t.Context(), address, "x"); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestSetsAreTakenWholeAndKeysOnlyIfSound(t *testing.T) {
	t.Parallel()
	rsaKey := func(bits int) map[string]any {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"kty": "RSA", "kid": "r", "n": b64(k.N.Bytes()), "e": "AQAB"}
	}
	ecKey := func(c elliptic.Curve) map[string]any {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := (len(point) - 1) / 2
		return map[string]any{"kty": "EC", "kid": "e", "crv": c.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	}
	with := func(m map[string]any, name string, v any) map[string]any {
		out := map[string]any{name: v}
		for k, old := range m {
			if k != name {
				out[k] = old
			}
		}
		return out
	}
	good := ecKey(elliptic.P256())
	offCurve := with(good, "y", good["x"])
	ed := edKey(t, "o")
	point := func(h string) map[string]any {
		raw, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		return with(ed, "x", b64(raw))
	}
	r2048 := rsaKey(2048)
	for name, c := range map[string]struct {
		keys []map[string]any
		want int // keys; -1 = the set is refused
	}{
		"one of each kind":                    {[]map[string]any{with(r2048, "kid", "1"), with(good, "kid", "2"), with(ecKey(elliptic.P384()), "kid", "3"), with(ecKey(elliptic.P521()), "kid", "4"), ed}, 5},
		"signing use and operation":           {[]map[string]any{with(with(ed, "use", "sig"), "key_ops", []string{"verify"})}, 1},
		"no id":                               {[]map[string]any{with(ed, "kid", "")}, 1},
		"two of one id":                       {[]map[string]any{ed, with(good, "kid", "o")}, -1},
		"two of one id, one of them unusable": {[]map[string]any{ed, {"kty": "oct", "kid": "o", "k": "AAAA"}}, -1},
		"shared secret":                       {[]map[string]any{{"kty": "oct", "kid": "s", "k": b64(make([]byte, 32))}, ed}, 1},
		"for encryption":                      {[]map[string]any{with(r2048, "use", "enc"), ed}, 1},
		"operation sign only":                 {[]map[string]any{with(r2048, "key_ops", []string{"sign"}), ed}, 1},
		"private key":                         {[]map[string]any{with(ed, "d", "AAAA")}, -1},
		"X25519":                              {[]map[string]any{with(ed, "crv", "X25519")}, -1},
		"Ed448":                               {[]map[string]any{with(ed, "crv", "Ed448")}, -1},
		"secp256k1":                           {[]map[string]any{with(good, "crv", "secp256k1")}, -1},
		"P-224":                               {[]map[string]any{with(good, "crv", "P-224")}, -1},
		"RSA 1024":                            {[]map[string]any{rsaKey(1024)}, -1},
		"RSA of 9000 bits":                    {[]map[string]any{with(r2048, "n", b64(append([]byte{0xff}, make([]byte, 1124)...)))}, -1},
		"RSA even modulus":                    {[]map[string]any{with(r2048, "n", b64(new(big.Int).Lsh(big.NewInt(1), 2050).Bytes()))}, -1},
		"RSA exponent 1":                      {[]map[string]any{with(r2048, "e", "AQ")}, -1},
		"RSA exponent even":                   {[]map[string]any{with(r2048, "e", "AQAA")}, -1},
		"RSA exponent of 33 bits":             {[]map[string]any{with(r2048, "e", "AQAAAAE")}, -1},
		"RSA exponent with the sign bit":      {[]map[string]any{with(r2048, "e", b64([]byte{0x80, 0, 0, 1}))}, -1},
		"point not on the curve":              {[]map[string]any{offCurve}, -1},
		"point of another curve":              {[]map[string]any{with(ecKey(elliptic.P384()), "crv", "P-256")}, -1},
		"point at zero":                       {[]map[string]any{with(with(good, "x", b64(make([]byte, 32))), "y", b64(make([]byte, 32)))}, -1},
		"short coordinate":                    {[]map[string]any{with(good, "x", b64(make([]byte, 31)))}, -1},
		"padded base64":                       {[]map[string]any{with(ed, "x", ed["x"].(string)+"=")}, -1},
		"Ed25519 of 31 bytes":                 {[]map[string]any{with(ed, "x", b64(make([]byte, 31)))}, -1},
		"Ed25519 neutral element":             {[]map[string]any{point("01" + strings.Repeat("00", 31))}, -1},
		"Ed25519 order 4":                     {[]map[string]any{point(strings.Repeat("00", 32))}, -1},
		"Ed25519 order 8":                     {[]map[string]any{point("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")}, -1},
		"Ed25519 not canonical":               {[]map[string]any{point("ee" + strings.Repeat("ff", 30) + "7f")}, -1},
		"Ed25519 no point":                    {[]map[string]any{point("02" + strings.Repeat("00", 31))}, -1},
		"kid is a number":                     {[]map[string]any{with(ed, "kid", 1)}, -1},
		"kid too long":                        {[]map[string]any{with(ed, "kid", strings.Repeat("k", MaxKeyID+1))}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := Parse(setOf(t, c.keys...))
			if c.want < 0 && err == nil || c.want >= 0 && (err != nil || len(keys) != c.want) {
				t.Errorf("%d keys, %v; want %d", len(keys), err, c.want)
			}
		})
	}
	many := make([]map[string]any, MaxKeys+1)
	for i := range many {
		many[i] = with(ed, "kid", fmt.Sprint(i))
	}
	if _, err := Parse(setOf(t, many...)); err == nil {
		t.Error("too many keys were taken")
	}
	if keys, err := Parse(setOf(t, many[1:]...)); err != nil || len(keys) != MaxKeys {
		t.Errorf("as many as allowed: %d, %v", len(keys), err)
	}
}

// Every key that the standard library makes is a good point.
func TestGeneratedEd25519KeysAreGoodPoints(t *testing.T) {
	t.Parallel()
	for range 50 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !goodPoint(public) {
			t.Fatalf("%x is refused", public)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(setOf(f, edKey(f, "one")))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	f.Add([]byte(`{"keys":[null,1,"x",{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-521","x":"` + strings.Repeat("A", 88) + `","y":"` + strings.Repeat("A", 88) + `"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := Parse(b)
		if (err == nil) != (len(keys) > 0) || len(keys) > MaxKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if err := webhookauth.CheckPublicKey(k.Key); err != nil {
				t.Fatal(err)
			}
		}
	})
}
