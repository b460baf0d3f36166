package outbound

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/rules/breaker"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
)

// ErrHeld is in the chain of the error of every call that was not sent because it was held back.
var ErrHeld = errors.New("not sent")

// Options tune a Discipline. The zero value of every field takes its default.
type Options struct {
	// Store is where limits and circuits are shared; nil = this process is alone.
	Store *store.Store
	Log   *slog.Logger
	// Metrics takes the metrics; nil = none.
	Metrics prometheus.Registerer
	// Rates are this installation's numbers; nil = those of the providers and provider.DefaultLimits.
	Rates Rates
	// Rules are those of circuits; the zero value is breaker.Default.
	Rules breaker.Rules
	// MaxTurn is how long a call waits for its turn at the most, default 5 s: the worker's slot is taken meanwhile.
	MaxTurn time.Duration
	// Refresh is how often the circuits of other processes are read, default 2 s.
	Refresh time.Duration
	// Now is the clock of decisions; nil = time.Now.
	Now func() time.Time
	// Random returns 0 to 1 for jitter; nil = the process's own randomness.
	Random func() float64
}

func (o *Options) defaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rules == (breaker.Rules{}) {
		o.Rules = breaker.Default
	}
	if o.MaxTurn <= 0 {
		o.MaxTurn = 5 * time.Second
	}
	if o.Refresh <= 0 {
		o.Refresh = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = mathrand.Float64
	}
}

// Discipline keeps limits and circuits for a process. Make one with [New] and share it.
type Discipline struct {
	o     Options
	life  context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup
	says  rate.Sometimes
	meter *meter

	limits struct {
		sync.Mutex
		shared map[shape]*ratelimit.Shared
		turns  map[place]*turnstile
	}
	self  [16]byte // names this process where slots are counted
	slots struct {
		sync.Mutex
		byKey map[ratelimit.Key]*pool
	}
	paces struct {
		sync.Mutex
		byKey map[ratelimit.Key]pace
	}
	circuits struct {
		sync.Mutex
		byPlace map[line]*circuit
	}
}

// New starts a Discipline. It works until Close, also after ctx has ended, so that what a stopping process still does is bound
// too. The error is of the metrics.
func New(ctx context.Context, o Options) (*Discipline, error) {
	o.defaults()
	d := &Discipline{o: o, says: rate.Sometimes{Interval: time.Minute}}
	d.life, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.limits.shared, d.limits.turns = map[shape]*ratelimit.Shared{}, map[place]*turnstile{}
	d.circuits.byPlace = map[line]*circuit{}
	d.slots.byKey, d.paces.byKey = map[ratelimit.Key]*pool{}, map[ratelimit.Key]pace{}
	if _, err := rand.Read(d.self[:]); err != nil {
		d.stop()
		return nil, domain.E(domain.KindInternal, "name this process: %w", err)
	}
	d.meter = newMeter(d)
	if o.Metrics != nil {
		if err := o.Metrics.Register(d.meter); err != nil {
			d.stop()
			return nil, domain.E(domain.KindInternal, "register metrics of outbound calls: %w", err)
		}
	}
	if o.Store != nil {
		d.tasks.Go(d.follow)
	}
	return d, nil
}

// Close ends what runs beside. Calls under way finish.
func (d *Discipline) Close() {
	d.stop()
	d.tasks.Wait()
}

// For returns the gate of an integration. r declares the limits and the header for ids of requests, c is what the
// integration is opened with.
func (d *Discipline) For(i domain.Integration, r provider.Registration, c provider.Connection) httpx.Gate {
	var limits []provider.Limit
	if r.Rates != nil {
		limits = r.Rates(c)
	}
	return d.gate(i, r.Name, r.RequestIDHeader, d.o.Rates.of(r.Name, limits), r.Name)
}

// ForTokens returns the gate of an integration to the token endpoint of its system, which has limits of its own: [Tokens] of
// [ParseRates], by integration and by host.
func (d *Discipline) ForTokens(i domain.Integration) httpx.Gate {
	return d.gate(i, i.Provider, "", d.o.Rates.of(Tokens, tokenLimits()), Tokens)
}

// gate makes a gate. kind tells the keys of one kind of call from those of another.
func (d *Discipline) gate(i domain.Integration, name, idHeader string, limits []provider.Limit, kind string) *gate {
	g := &gate{d: d, org: i.OrgID, id: i.ID, provider: name, kind: kind, idHeader: idHeader}
	for _, l := range limits {
		if !(l.PerSecond > 0) && l.AtOnce < 1 {
			continue
		}
		b := bound{scope: l.Scope, key: keyOf(l, kind, i.ID), atOnce: l.AtOnce, account: l.Scope == provider.PerAccount && l.Account != ""}
		if b.account {
			b.rest = l.Rest
		}
		g.shares, g.rests = g.shares || b.account, g.rests || b.rest > 0
		if l.PerSecond > 0 {
			b.shapes = append(b.shapes, d.shapeOf(l))
			if l.Slows {
				b.shapes = append(b.shapes, d.slower(l)...)
			}
		}
		g.slows = g.slows || len(b.shapes) > 1
		g.limits = append(g.limits, b)
	}
	return g
}

// gate is the discipline of one integration.
type gate struct {
	d        *Discipline
	org      domain.OrgID
	id       domain.IntegrationID
	provider string
	kind     string
	idHeader string
	limits   []bound
	slows    bool // with refusals
	shares   bool // an account with other integrations, perhaps
	rests    bool // with a 503 as with a 429
}

// bound is a limit of an integration. The key of one per host is made when the host is known.
type bound struct {
	shapes []shape // the rate, and what it is after one refusal, two, …; none = no rate
	scope  provider.LimitScope
	key    ratelimit.Key
	atOnce int // 0 = no bound
	// account says that the key is of an account that several integrations may have: what the system asks one of them holds for all.
	account bool
	rest    time.Duration // as of provider.Limit
}

func digest(parts ...string) ratelimit.Key {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return ratelimit.Key(sum[:16])
}

func keyOf(l provider.Limit, name string, id domain.IntegrationID) ratelimit.Key {
	if l.Scope == provider.PerAccount && l.Account != "" {
		return digest("account", name, l.Account)
	}
	if b, ok := domain.ParseUUID(string(id)); ok && name != Tokens {
		return b
	}
	return digest("integration", name, string(id))
}

// Enter is httpx.Gate.
func (g *gate) Enter(req *http.Request) (func(*httpx.Response, error), error) {
	ctx, host := req.Context(), strings.ToLower(req.URL.Host)
	span := tracing.Current(ctx)
	if span.On() {
		span.Set(tracing.Word(tracing.KeyProvider, g.provider), tracing.ID(tracing.KeyIntegration, g.id))
	}
	at := line{g.id, host}
	if g.shares {
		if wait := g.pause(); wait > 0 {
			g.d.meter.held(g.provider, heldByPause)
			span.Set(tracing.Word(tracing.KeyHeld, heldByLimit))
			return nil, held(domain.KindRateLimited, wait, "%s asked to be left alone with this account for another %s", host, wait.Round(time.Second))
		}
	}
	probe, err := g.d.admit(ctx, g, at)
	if err != nil {
		span.Set(tracing.Word(tracing.KeyHeld, heldByCircuit))
		return nil, err
	}
	ended, err := g.turn(ctx, host)
	if err != nil {
		if probe {
			g.d.report(ctx, g, at, true, breaker.Unknown, nil)
		}
		g.d.meter.held(g.provider, heldByLimit)
		span.Set(tracing.Word(tracing.KeyHeld, heldByLimit))
		return nil, err
	}
	if g.idHeader != "" && req.Header.Get(g.idHeader) == "" {
		req.Header.Set(g.idHeader, string(domain.NewID[domain.PushID](g.d.o.Now())))
	}
	sent := g.d.o.Now()
	return func(_ *httpx.Response, err error) {
		ended()
		o := outcomeOf(ctx, err)
		g.d.meter.called(g.provider, o)
		switch status := httpx.StatusOf(err); {
		case (g.slows || g.shares) && status == http.StatusTooManyRequests, g.rests && status == http.StatusServiceUnavailable:
			err = g.slow(ctx, host, sent, err)
		}
		g.d.report(ctx, g, at, probe, o, err)
	}, nil
}

// turn waits for a token of each rate, and then for the right to be one of the calls under way. ended must be called once.
func (g *gate) turn(ctx context.Context, host string) (ended func(), err error) {
	for _, l := range g.limits {
		if len(l.shapes) == 0 {
			continue
		}
		key := g.keyAt(l, host)
		if err := g.d.turn(ctx, l.shapes[g.d.level(key, len(l.shapes)-1)], key, g.id); err != nil {
			return nil, err
		}
	}
	var leaves []func()
	ended = func() {
		for _, leave := range leaves {
			leave()
		}
	}
	for _, l := range g.limits {
		if l.atOnce == 0 {
			continue
		}
		leave, err := g.d.slot(ctx, g.keyAt(l, host), l.atOnce, g.id)
		if err != nil {
			ended()
			return nil, err
		}
		leaves = append(leaves, leave)
	}
	return ended, nil
}

func (g *gate) keyAt(l bound, host string) ratelimit.Key {
	if l.scope == provider.PerHost {
		return digest("host", g.kind, host)
	}
	return l.key
}

// outcomeOf tells what a call says of the system, whatever it says of the entry.
func outcomeOf(ctx context.Context, err error) breaker.Outcome {
	status := httpx.StatusOf(err)
	switch kind := domain.KindOf(err); {
	case err == nil:
		return breaker.Worked
	case status == http.StatusNotImplemented:
		return breaker.Worked // it answers, and will not do this
	case status >= 500:
		return breaker.Failed
	case status != 0, kind == domain.KindTooLarge:
		return breaker.Worked
	case ctx.Err() != nil, kind != domain.KindUnavailable:
		return breaker.Unknown // the caller gave up, or nothing could be sent
	}
	return breaker.Failed
}

// held makes the error of a call that is not sent.
func held(kind domain.ErrorKind, wait time.Duration, format string, args ...any) error {
	return domain.WithRetryAfter(domain.E(kind, "%w: "+format, append([]any{ErrHeld}, args...)...), max(wait, time.Second))
}
