package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/ratelimit"
)

// intakeGuard is what stands before the intake: who may send how much. Nothing in it asks storage; what it needs from
// there is fetched by run, ahead of need.
type intakeGuard struct {
	limit   IntakeLimits
	senders *clientaddr.Resolver

	total        *rate.Limiter                     // genuine or not, over all integrations
	addresses    *ratelimit.Limiter[ratelimit.Key] // nil = no limit
	underWay     *ratelimit.Gauge[ratelimit.Key]   // by address
	guesses      *ratelimit.Limiter[ratelimit.Pair]
	integrations *ratelimit.Limiter[ratelimit.Key]
	orgs         orgLimiter // nil = no limit
	shared       *ratelimit.Shared
	full         func() bool // the queue of the writer
	waiting      func(ctx context.Context, most, each int) (int, error)
	backlog      atomic.Bool
	piles        func(ctx context.Context, least, most int) (map[domain.IntegrationID]int, error)
	piled        atomic.Pointer[map[domain.IntegrationID]bool] // integrations for which too much waits

	strangerPolicy, genuinePolicy []string
}

type orgLimiter interface {
	Allow(key ratelimit.Key, n int, now time.Time) ratelimit.Decision
	Peek(key ratelimit.Key, now time.Time) ratelimit.Decision
}

func newIntakeGuard(deps IntakeDeps) (*intakeGuard, error) {
	l := deps.Limits
	g := &intakeGuard{limit: l, senders: deps.Senders, full: deps.Full, waiting: deps.Waiting, piles: deps.Piles,
		total:        rate.NewLimiter(rate.Limit(l.TotalRate), l.TotalBurst),
		underWay:     ratelimit.NewGauge[ratelimit.Key](l.AddressInFlight),
		integrations: ratelimit.New[ratelimit.Key](ratelimit.Options{Rate: l.Rate, Burst: l.Burst, MaxKeys: 4 * l.Cached}),
	}
	if g.senders == nil {
		var err error
		if g.senders, err = clientaddr.New(clientaddr.Options{}); err != nil {
			return nil, err
		}
	}
	if l.AddressRate > 0 {
		g.addresses = ratelimit.New[ratelimit.Key](ratelimit.Options{Rate: l.AddressRate, Burst: l.AddressBurst})
	}
	if l.GuessRate > 0 {
		g.guesses = ratelimit.New[ratelimit.Pair](ratelimit.Options{Rate: l.GuessRate, Burst: l.GuessBurst})
	}
	switch {
	case l.OrgRate > 0 && deps.Lease != nil:
		g.shared = ratelimit.NewShared(ratelimit.SharedOptions{Rate: l.OrgRate, Burst: l.OrgBurst, Share: l.OrgShare, Lease: deps.Lease, MaxKeys: l.Cached})
		g.orgs = g.shared
	case l.OrgRate > 0:
		g.orgs = ratelimit.New[ratelimit.Key](ratelimit.Options{Rate: l.OrgRate, Burst: l.OrgBurst, MaxKeys: l.Cached})
	}
	var stranger, genuine []byte
	if g.addresses != nil {
		stranger = appendPolicy(stranger, "address", l.AddressRate, l.AddressBurst)
		g.strangerPolicy = []string{string(stranger)}
	}
	genuine = appendPolicy(stranger, "integration", l.Rate, l.Burst)
	if g.orgs != nil {
		genuine = appendPolicy(genuine, "organization", l.OrgRate, l.OrgBurst)
	}
	g.genuinePolicy = []string{string(genuine)}
	return g, nil
}

// Names and syntax are those of draft-ietf-httpapi-ratelimit-headers-11: q tokens within a window of w seconds, and r
// left of them, all again in t seconds.
func appendPolicy(b []byte, name string, rate float64, burst int) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = append(append(append(b, '"'), name...), `";q=`...)
	b = append(strconv.AppendInt(b, int64(burst), 10), ";w="...)
	return strconv.AppendInt(b, int64(math.Ceil(float64(burst)/rate)), 10)
}

func appendLimit(b []byte, name string, d ratelimit.Decision) []byte {
	if d.Limit == 0 {
		return b
	}
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = append(append(append(b, '"'), name...), `";r=`...)
	b = append(strconv.AppendInt(b, int64(d.Remaining), 10), ";t="...)
	return strconv.AppendInt(b, int64(math.Ceil(d.Full.Seconds())), 10)
}

// visit is one request on its way through the guard.
type visit struct {
	from    clientaddr.Sender
	address ratelimit.Key
	inside  bool // counted in underWay
	genuine bool // the headers may tell about the integration
	read    bool // its body was read to the end
	slow    *http.ResponseController

	byAddress, byIntegration, byOrg ratelimit.Decision
}

// tell writes the headers about limits. A stranger learns about its own address only.
func (g *intakeGuard) tell(h http.Header, v *visit) {
	var room [160]byte
	out := appendLimit(room[:0], "address", v.byAddress)
	policy := g.strangerPolicy
	if v.genuine {
		out = appendLimit(appendLimit(out, "integration", v.byIntegration), "organization", v.byOrg)
		policy = g.genuinePolicy
	}
	if len(out) == 0 {
		return
	}
	h["Ratelimit"] = []string{string(out)}
	h["Ratelimit-Policy"] = policy
}

// refusal is a refused request with the reason that metrics count. Reasons are few and none is chosen by a sender.
type refusal struct {
	reason string
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func because(reason string, err error) error { return &refusal{reason, err} }

// reasonOf names why a request was refused; code is that of its answer.
func reasonOf(err error, code string) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	switch domain.ErrorKind(code) {
	case domain.KindNotFound:
		return "unknown"
	case domain.KindUnavailable:
		return "storage"
	}
	return code
}

// The refusals of the guard that are always the same. They are made once: a flood of them costs little.
var (
	errOverloaded  = domain.WithRetryAfter(domain.E(domain.KindUnavailable, "the server is overloaded"), time.Second)
	errInFlight    = because("in_flight", errOverloaded)
	errTotalRate   = because("rate", errOverloaded)
	errBodyMemory  = because("body_memory", errOverloaded)
	errBacklog     = because("backlog", domain.WithRetryAfter(domain.E(domain.KindUnavailable, "too much waits to be worked on"), 30*time.Second))
	errPile        = because("integration_backlog", domain.WithRetryAfter(domain.E(domain.KindUnavailable, "too much of this integration waits to be worked on"), 30*time.Second))
	errQueueing    = because("queue_full", errOverloaded)
	errHeaders     = because("headers", withStatus(http.StatusRequestHeaderFieldsTooLarge, "headers_too_large", errors.New("the request has too many header lines")))
	errAddressBusy = because("address_in_flight", domain.WithRetryAfter(domain.E(domain.KindRateLimited, "too many requests of this address are under way"), time.Second))
	errStrangers   = because("strangers", domain.WithRetryAfter(domain.E(domain.KindRateLimited, "too many unknown integrations were asked for"), time.Second))
	errBusy        = because("integration_in_flight", domain.WithRetryAfter(domain.E(domain.KindRateLimited, "too many webhooks of this integration are under way"), time.Second))
)

func tooMany(reason, of string, d ratelimit.Decision) error {
	return because(reason, domain.WithRetryAfter(domain.E(domain.KindRateLimited, "too many requests of this %s", of), max(d.RetryAfter, time.Second)))
}

// enter decides by what is known before anything is looked up: the server's own state, the headers, the address, and
// what the address and the integration did before. leave must follow in any case.
func (g *intakeGuard) enter(v *visit, r *http.Request, now time.Time) error {
	if !g.total.AllowN(now, 1) {
		return errTotalRate
	}
	if g.backlog.Load() {
		return errBacklog
	}
	if g.full != nil && g.full() {
		return errQueueing
	}
	lines := 0
	for _, values := range r.Header {
		lines += len(values)
	}
	if lines > g.limit.MaxHeaders {
		return errHeaders
	}
	v.from = g.senders.Resolve(r)
	v.address = v.from.Key()
	if g.addresses != nil {
		if v.byAddress = g.addresses.Allow(v.address, 1, now); !v.byAddress.OK {
			return tooMany("address_rate", "address", v.byAddress)
		}
	}
	if v.inside = g.underWay.Enter(v.address); !v.inside {
		return errAddressBusy
	}
	return nil
}

func (g *intakeGuard) leave(v *visit) {
	if v.inside {
		g.underWay.Leave(v.address)
	}
}

// admit decides by the integration that is asked for, before it is looked up.
func (g *intakeGuard) admit(v *visit, integration ratelimit.Key, now time.Time) error {
	if g.guesses != nil {
		if d := g.guesses.Peek(ratelimit.Pair{A: v.address, B: integration}, now); !d.OK {
			return tooMany("guesses", "address for this integration", d)
		}
	}
	// Only genuine webhooks use this allowance up, so that a stranger who learned the address cannot empty it.
	if v.byIntegration = g.integrations.Peek(integration, now); !v.byIntegration.OK {
		return tooMany("integration_rate", "integration", v.byIntegration)
	}
	return nil
}

// expect decides by the integration's own backlog and by the organisation, as soon as both are known.
func (g *intakeGuard) expect(v *visit, integration domain.IntegrationID, org ratelimit.Key, now time.Time) error {
	if full := g.piled.Load(); full != nil && (*full)[integration] {
		return errPile
	}
	if g.orgs != nil {
		if v.byOrg = g.orgs.Peek(org, now); !v.byOrg.OK {
			return tooMany("organization_rate", "organisation", v.byOrg)
		}
	}
	return nil
}

// take uses the allowances of a genuine webhook up.
func (g *intakeGuard) take(v *visit, integration, org ratelimit.Key, now time.Time) error {
	v.genuine = true
	if v.byIntegration = g.integrations.Allow(integration, 1, now); !v.byIntegration.OK {
		return tooMany("integration_rate", "integration", v.byIntegration)
	}
	if g.orgs != nil {
		if v.byOrg = g.orgs.Allow(org, 1, now); !v.byOrg.OK {
			return tooMany("organization_rate", "organisation", v.byOrg)
		}
	}
	return nil
}

// forged makes whoever guesses at an integration slower there, and its address poorer.
func (g *intakeGuard) forged(v *visit, integration ratelimit.Key, now time.Time) {
	if g.guesses != nil {
		g.guesses.Charge(ratelimit.Pair{A: v.address, B: integration}, 1, now)
	}
	g.stray(v, now)
}

// stray charges an address for a request that led nowhere.
func (g *intakeGuard) stray(v *visit, now time.Time) {
	if g.addresses != nil && v.inside {
		v.byAddress = g.addresses.Charge(v.address, g.limit.StrayCost-1, now)
	}
}

const (
	backlogEvery = 5 * time.Second
	// backlogRest is how much longer than a count the pause after it is, so that counting takes 2 % of a processor.
	backlogRest = 50
)

// run leases tokens and watches the backlog until ctx ends.
func (g *intakeGuard) run(ctx context.Context, now func() time.Time, failed func(what string, err error)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if g.shared != nil {
			g.shared.Run(ctx, now, func(err error) { failed("lease tokens for organisations", err) })
		}
	}()
	defer func() { <-done }()
	var watches sync.WaitGroup
	if g.waiting != nil && g.limit.MaxWaiting > 0 {
		watches.Go(func() { watchCount(ctx, g.count, func(err error) { failed("count waiting deliveries", err) }) })
	}
	if g.piles != nil && g.limit.MaxWaiting > 0 {
		// By itself: it reads more, and must not make the other one late.
		watches.Go(func() {
			watchCount(ctx, g.countPiles, func(err error) { failed("count waiting deliveries of integrations", err) })
		})
	}
	watches.Wait()
	<-ctx.Done()
}

// watchCount counts again and again until ctx ends.
func watchCount(ctx context.Context, count func(context.Context) error, failed func(error)) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		began := time.Now()
		if err := count(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
		pause.Reset(max(backlogEvery, backlogRest*time.Since(began)))
	}
}

// count decides whether too much waits. Once it does, it is over at nine tenths of the mark, so that the answer does not
// change with every delivery. When the count fails the last answer stays: the commit will tell about storage.
func (g *intakeGuard) count(ctx context.Context) error {
	mark := g.limit.MaxWaiting
	if g.backlog.Load() {
		mark -= mark / 10
	}
	// One integration alone, such as one that goes on after a long pause, is no backlog of everybody: it counts half at most.
	n, err := g.waiting(ctx, mark, max(1, g.limit.MaxWaiting/2))
	if err == nil {
		g.backlog.Store(n >= mark)
	}
	return err
}

// countPiles finds the integrations for which alone as much waits as may in all, as one that is paused may have: their
// webhooks are refused, and nobody else's. That too is over at nine tenths.
func (g *intakeGuard) countPiles(ctx context.Context) error {
	mark := g.limit.MaxWaiting
	high, err := g.piles(ctx, mark-mark/10, mark)
	if err != nil {
		return err
	}
	was := g.piled.Load()
	full := map[domain.IntegrationID]bool{}
	for id, n := range high {
		if n >= mark || was != nil && (*was)[id] {
			full[id] = true
		}
	}
	g.piled.Store(&full)
	return nil
}
