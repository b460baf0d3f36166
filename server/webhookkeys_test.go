package server

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/webhookauth"
	"github.com/wedsync/wedsync/internal/webhookauth/jwks"
)

// keyPage is an address where a sender publishes its keys.
type keyPage struct {
	t     *testing.T
	mu    sync.Mutex
	keys  map[string]ed25519.PrivateKey
	asked int
	// nameless keys are published, and sign, without their ids.
	nameless bool
}

func (p *keyPage) add(id string) {
	p.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[id] = key
}

func (p *keyPage) asks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// Do answers in place of the network.
func (p *keyPage) Do(*http.Request) (*httpx.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	keys := []map[string]string{}
	for id, key := range p.keys {
		published := map[string]string{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))}
		if !p.nameless {
			published["kid"] = id
		}
		keys = append(keys, published)
	}
	body, err := json.Marshal(map[string]any{"keys": keys})
	return &httpx.Response{Status: http.StatusOK, Header: http.Header{}, Body: body}, err
}

// token is one for a message, signed by the key that is published under id, or by one that is not published.
func (p *keyPage) token(id, message string, now time.Time) string {
	p.t.Helper()
	p.mu.Lock()
	key, ok := p.keys[id]
	p.mu.Unlock()
	if !ok {
		key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"iss": "crm", "aud": "wedsync", "exp": now.Add(time.Minute).Unix(), "jti": message})
	if !p.nameless {
		t.Header["kid"] = id
	}
	text, err := t.SignedString(key)
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// keyed is an intake with one integration whose sender publishes its keys at page. send posts a message whose token is signed by
// a key of it, and holds the answer, and how often the page was asked so far, against what they are to be.
func keyed(t *testing.T, page *keyPage, refused func(context.Context, []store.RefusedWebhook) error) (rig *intakeRig, send func(name, key string, status int, retryAfter string, asks int)) {
	t.Helper()
	rig = newIntakeRig(t, IntakeLimits{GuessBurst: 5}, func(d *IntakeDeps) {
		d.KeySets = jwks.New(jwks.Options{HTTP: page, Now: func() time.Time { return *rig.now.Load() }})
		d.Refused = refused
	})
	id := rig.add(func(r *store.IntakeRecord) {
		r.Secrets = nil
		r.Integration.Settings = json.RawMessage(strings.Replace(hookBearer, `{"scheme":"bearer"}`,
			`{"scheme":"jwt","jwt":{"algorithms":["EdDSA"],"issuer":"crm","audience":"wedsync","jwks_url":"https://crm.example/jwks"}}`, 1))
	})
	sent := 0
	send = func(name, key string, status int, retryAfter string, asks int) {
		t.Helper()
		sent++
		req := rig.hook(t, id, "m", fmt.Sprintf(`{"n":%d}`, sent))
		req.Header.Set("Authorization", "Bearer "+page.token(key, fmt.Sprint("m", sent), *rig.now.Load()))
		got := post(t, req)
		if got.Status != status || got.RetryAfter != retryAfter || page.asks() != asks {
			t.Errorf("%s: %d, again in %q, %d fetches; want %d, %q, %d", name, got.Status, got.RetryAfter, page.asks(), status, retryAfter, asks)
		}
	}
	return rig, send
}

// A sender that begins with a new key just after its set was read does not lose the webhook, and a stranger who invents key
// ids cannot make it lose one.
func TestAWebhookSignedByAKeyThatIsNotKnownYetIsToBeSentAgain(t *testing.T) {
	t.Parallel()
	page := &keyPage{t: t, keys: map[string]ed25519.PrivateKey{}}
	page.add("old")
	refusals := &recorder{}
	rig, send := keyed(t, page, refusals.record)
	start := *rig.now.Load()
	send("a known key", "old", http.StatusAccepted, "", 1)
	page.add("new")
	rig.at(start.Add(10 * time.Second))
	send("a new key", "new", http.StatusServiceUnavailable, "20", 1)
	reads := rig.reads.Load()
	for i := range 20 {
		send("an invented key", fmt.Sprint("invented", i), http.StatusServiceUnavailable, "20", 1)
	}
	if n := rig.reads.Load() - reads; n != 0 {
		t.Errorf("invented keys caused %d reads of storage; want none", n)
	}
	send("the known key meanwhile", "old", http.StatusAccepted, "", 1)
	rig.at(start.Add(30 * time.Second))
	send("an invented key that causes a fetch", "invented", http.StatusUnauthorized, "", 2)
	send("the new key again", "new", http.StatusAccepted, "", 2)
	if n := rig.stored(); n != 3 {
		t.Errorf("%d deliveries are stored; want the three genuine ones", n)
	}
	rig.decisions(t, map[string]float64{"accepted": 3, "key_not_known_yet": 21, "signature": 1})
	rig.refusals.flush(t.Context())
	codes := map[string]int64{}
	for _, batch := range refusals.batches {
		for _, r := range batch {
			codes[r.Code] += 1 + r.Others
			if r.Code == string(webhookauth.KeyNotKnownYet) && !strings.Contains(r.Reason, "20 s") {
				t.Errorf("the log says %q; want when the keys are asked for again", r.Reason)
			}
		}
	}
	if n := codes[string(webhookauth.KeyNotKnownYet)]; n != 22 || len(codes) != 1 {
		t.Errorf("the refusal log has %v; want 22 refusals told by the first ones", codes)
	}
}

// A sender that names no keys may change its key, or have two for a while, and loses no webhook either.
func TestAWebhookSignedByANamelessKeyThatIsNotKnownYetIsToBeSentAgain(t *testing.T) {
	t.Parallel()
	page := &keyPage{t: t, nameless: true, keys: map[string]ed25519.PrivateKey{}}
	page.add("old")
	refusals := &recorder{}
	rig, send := keyed(t, page, refusals.record)
	start := *rig.now.Load()
	send("the known key", "old", http.StatusAccepted, "", 1)
	page.add("new")
	rig.at(start.Add(10 * time.Second))
	send("the new key", "new", http.StatusServiceUnavailable, "20", 1)
	send("a stranger's key", "stranger", http.StatusServiceUnavailable, "20", 1)
	send("the known key meanwhile", "old", http.StatusAccepted, "", 1)
	rig.at(start.Add(30 * time.Second))
	send("the new key again", "new", http.StatusAccepted, "", 2)
	send("the old key beside it", "old", http.StatusAccepted, "", 2)
	rig.at(start.Add(60 * time.Second))
	send("a stranger's key that causes a reading", "stranger", http.StatusUnauthorized, "", 3)
	if n := rig.stored(); n != 4 {
		t.Errorf("%d deliveries are stored; want the four genuine ones", n)
	}
}
