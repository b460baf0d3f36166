// Package providertest is the suite that every provider passes, ability by ability, against its simulator or a real
// server on this machine. A provider's test builds a Harness and calls Run; abilities are found by type, so a provider
// that learns to write inherits the cases for writers on that day.
//
// The harness gives Open, which makes a fresh and empty outside world and a provider value connected to it. The suite
// acts on the world behind the provider's back (somebody edits the calendar, the server starts to fail) and checks
// what package provider promises. Worlds differ: what one cannot do is answered by false from Fault, and what a
// system does not offer is named in Harness.Lacks; both become skips that say why, never silent ones.
//
// Run ends with a matrix of the ways in which the outside goes wrong (Hazard): one that a provider is exposed to and that no
// case met fails it, unless Lacks says why it cannot happen there.
//
// Every provider value opened for the suite must use Now as its clock and the zone Europe/London for its resource.
// The suite never sleeps and needs no order between its cases, which run in parallel.
package providertest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
)

// Now is the clock of every provider opened for the suite. All entries lie in the hundred days after it.
var Now = time.Date(2027, time.March, 1, 9, 0, 0, 0, time.UTC)

// Zone is the zone name of the resource of every provider opened for the suite.
const Zone = "Europe/London"

// RetryAfter is what a world under FaultRateLimit or FaultServerError tells in its Retry-After header.
const RetryAfter = 7 * time.Second

// Harness is what the suite needs to know about a provider.
type Harness struct {
	// Registration is the provider under test.
	Registration provider.Registration
	// Open makes a fresh, empty world and a provider value connected to it. Both end with the test. It is called
	// from parallel tests.
	Open func(t testing.TB) (opened any, w World)
	// Many is a number of entries that is more than one page of a listing, 0 when the provider has no pages.
	Many int
	// Deliveries are verified webhooks as the system sends them; required for a WebhookSource.
	Deliveries []Delivery
	// NotDeliveries are verified bodies that can never be understood: Decode must answer KindInvalid. Bodies that
	// are no JSON and no text are added by the suite.
	NotDeliveries []provider.Webhook
	// Lacks names cases that the system cannot pass by its nature, with the reason, for example
	// {"writer/stale revision is a conflict": "the system has no conditional writes"}, and hazards that cannot happen there,
	// for example {"hazard/missing page": "the listing is one file"}.
	Lacks map[string]string
	// Secrets are the secret values of the connections that Open makes: no error text may contain one.
	Secrets []string
}

// World is the outside system as somebody else uses it, behind the provider's back. All methods are called from one
// test at a time and fail that test when they cannot do what they say.
type World interface {
	// Seed creates an entry and returns the ExternalID under which Pull lists it.
	Seed(t testing.TB, e Entry) string
	// Edit changes an entry, also one that the provider wrote, and gives it a new revision.
	Edit(t testing.TB, externalID string, e Entry)
	// Delete removes an entry.
	Delete(t testing.TB, externalID string)
	// Count returns how many entries exist, whoever made them.
	Count(t testing.TB) int
	// Fault makes the world fail from now on, until Heal or another Fault. It answers false when this world cannot
	// do that, and then changes nothing.
	Fault(t testing.TB, f Fault) bool
	// Heal ends the fault. It also lets calls go that a FaultHang holds.
	Heal(t testing.TB)
}

// Entry is an entry of the outside world in the few words that every system has.
type Entry struct {
	Title  string
	When   domain.When
	Status domain.BookingStatus // confirmed when empty
}

// Fault is a way to fail.
type Fault string

// The faults. Those about a listing hit Pull and Read, the others every call.
const (
	FaultForgetTokens  Fault = "forget-tokens"   // every cursor given out so far is unknown now
	FaultServerError   Fault = "server-error"    // 503 with Retry-After
	FaultRateLimit     Fault = "rate-limit"      // 429 with Retry-After
	FaultRateLimitMute Fault = "rate-limit-mute" // 429 that does not say for how long
	FaultUnauthorized  Fault = "unauthorized"    // 401: the credentials were revoked
	FaultCutBody       Fault = "cut-body"        // the connection breaks in the middle of a body, after a success status
	FaultGarbage       Fault = "garbage"         // a success status with a body that is something else
	FaultEmptyAnswer   Fault = "empty-answer"    // a success status with no body at all
	FaultShortListing  Fault = "short-listing"   // a listing leaves out an entry without saying so, where that can be noticed
	FaultHang          Fault = "hang"            // no answer at all until Heal
	FaultLoseAnswer    Fault = "lose-answer"     // the next write is carried out, then the connection breaks; later ones work
	FaultRepeatPage    Fault = "repeat-page"     // a page other than the first holds, once, what the one before held
	FaultMissingPage   Fault = "missing-page"    // a page other than the first is left out, once, without saying so
)

// Skewed is a World whose clock can be moved away from that of the provider.
type Skewed interface {
	// Skew puts the system's clock ahead of the provider's by a time, or behind it when that is negative: the dates of its
	// answers and messages, the times of changes that it tells, and the ends of its tokens.
	Skew(t testing.TB, ahead time.Duration)
}

// Hooked is a World whose system posts messages to watches.
type Hooked interface {
	// Tell posts what there is to tell of everything that Seed, Edit and Delete did since the last call, in that order.
	Tell(t testing.TB)
}

// Lived is a World whose system posts webhooks that say what happened.
type Lived interface {
	// Lives are the deliveries about single entries, each at least two, by a system whose clock is ahead of the provider's by a
	// time, or behind it when that is negative. Lives of another clock are the same otherwise.
	Lives(t testing.TB, ahead time.Duration) []Life
}

// Dated serves next with the dates of a clock, for servers that do not date their answers by a clock of their own.
func Dated(clock func() time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", clock().UTC().Format(http.TimeFormat))
		next.ServeHTTP(w, r)
	})
}

// Life is the life of one entry as a webhook source is told of it.
type Life struct {
	Name string
	// Deliveries are in the order in which things happened; the last one says what is true in the end.
	Deliveries []provider.Webhook
}

// Delivery is a webhook with what it means.
type Delivery struct {
	Name    string
	Webhook provider.Webhook
	Changes int // how many changes it decodes to
}

// Run runs every case that the provider's abilities call for.
func Run(t *testing.T, h Harness) {
	t.Helper()
	t.Run("registration", func(t *testing.T) { registration(t, h) })
	probe, _ := h.Open(t)
	rec := &record{met: map[Hazard]bool{}, known: map[string]bool{}}
	t.Run("abilities are told as they are", func(t *testing.T) { abilities(t, h.Registration, probe) })
	if _, ok := provider.As[provider.Puller](probe); ok {
		group(t, h, rec, "puller", slices.Concat(pullerCases, adversePullerCases))
	}
	if _, ok := provider.As[provider.Reader](probe); ok {
		group(t, h, rec, "reader", readerCases)
	}
	if _, ok := provider.As[provider.Writer](probe); ok {
		group(t, h, rec, "writer", slices.Concat(writerCases, adverseWriterCases))
	}
	if _, ok := provider.As[provider.Prober](probe); ok {
		group(t, h, rec, "prober", proberCases)
	}
	if _, ok := provider.As[provider.Onboarder](probe); ok {
		group(t, h, rec, "onboarder", onboarderCases)
	}
	if _, ok := provider.As[provider.WebhookSource](probe); ok {
		group(t, h, rec, "webhook", slices.Concat(webhookCases, lifeCases))
	}
	if _, ok := provider.As[provider.Watcher](probe); ok {
		group(t, h, rec, "watcher", watcherCases)
	}
	if _, ok := provider.As[provider.Sweeper](probe); ok {
		group(t, h, rec, "sweeper", sweeperCases)
	}
	t.Run("every hazard is met or explained", func(t *testing.T) { matrix(t, h, rec, probe) })
}

type testCase struct {
	name string
	run  func(t *testing.T, b *bundle)
}

func group(t *testing.T, h Harness, rec *record, ability string, cases []testCase) {
	for _, c := range cases {
		rec.listed(ability + "/" + c.name)
	}
	t.Run(ability, func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				rec.begun()
				if why := h.Lacks[ability+"/"+c.name]; why != "" {
					t.Skipf("%s has no such thing: %s", h.Registration.Name, why)
				}
				c.run(t, setup(t, h, rec))
			})
		}
	})
}

// bundle is what one case works with.
type bundle struct {
	h      Harness
	record *record
	opened any
	world  World
	bare   World // world as Open made it, for the abilities that it has beyond World
	ctx    context.Context
}

func setup(t *testing.T, h Harness, rec *record) *bundle {
	t.Helper()
	opened, w := h.Open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return &bundle{h: h, record: rec, opened: opened, world: recorded{w, rec}, bare: w, ctx: ctx}
}

func as[T any](t *testing.T, b *bundle) T {
	t.Helper()
	v, ok := provider.As[T](b.opened)
	if !ok {
		t.Fatalf("%T has the ability in one world and lacks it in another", b.opened)
	}
	return v
}

// fault arms a fault or skips the test.
func (b *bundle) fault(t *testing.T, f Fault) {
	t.Helper()
	if !b.world.Fault(t, f) {
		t.Skipf("this world of %s cannot do the fault %q", b.h.Registration.Name, f)
	}
	t.Cleanup(func() { b.world.Heal(t) })
}

// names are personal words used in every seeded and written entry. No error text may contain one.
var names = []string{"Quillfeather", "Oakbridge", "Marigold"}

// entry makes the n-th entry of a case: one hour on its own day, with personal words in its title.
func entry(n int) Entry {
	start := Now.Add(24*time.Hour + time.Duration(n%90)*24*time.Hour + time.Duration(n/90)*time.Hour)
	return Entry{Title: names[n%len(names)] + " rehearsal", When: zoned(start, time.Hour), Status: domain.StatusConfirmed}
}

func zoned(start time.Time, d time.Duration) domain.When {
	return domain.When{Span: domain.Span{Start: start, End: start.Add(d)}, Zone: "UTC", Kind: domain.TimeZoned}
}

// wantKind fails unless err has the kind and holds nothing that an error may not hold.
func (b *bundle) wantKind(t *testing.T, err error, kinds ...domain.ErrorKind) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one of kind %v", kinds)
	}
	b.clean(t, err)
	for _, k := range kinds {
		if domain.KindOf(err) == k {
			return
		}
	}
	t.Fatalf("error of kind %q (%v), want %v", domain.KindOf(err), err, kinds)
}

// clean fails when the error text holds a personal word or a secret.
func (b *bundle) clean(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, w := range append(append([]string{}, names...), b.h.Secrets...) {
		if w != "" && strings.Contains(err.Error(), w) {
			t.Errorf("the error text holds a personal word or a secret: %q", err.Error())
		}
	}
}

func (b *bundle) ok(t *testing.T, doing string, err error) {
	t.Helper()
	if err != nil {
		b.clean(t, err)
		t.Fatalf("%s: %v", doing, err)
	}
}
