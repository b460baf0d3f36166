package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/failpoint"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/ratelimit"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/tracing"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

// IntakeDeps are the parts an Intake stands on. All funcs are called by many goroutines.
type IntakeDeps struct {
	// Record reads what is needed to verify an integration's webhooks: store.Store.IntakeRecord. KindNotFound is for
	// unknown and deleted ones.
	Record func(ctx context.Context, id domain.IntegrationID) (store.IntakeRecord, error)
	// Versions lists integrations that changed since a time, with their versions: store.Store.IntegrationVersions.
	Versions func(ctx context.Context, since time.Time) (map[domain.IntegrationID]int64, error)
	// Provider finds a registration by name.
	Provider func(name string) (provider.Registration, bool)
	// Connect completes a connection before it is opened, such as with the HTTP client; nil leaves it as it is.
	Connect func(*provider.Connection)
	// Seal seals what is kept of a delivery: store.Store.SealDelivery.
	Seal func(org domain.OrgID, id domain.DeliveryID, headers map[string]string, body []byte) []byte
	// Put stores a delivery and returns the id under which it is stored: inbox.Writer.Put. An error means that nothing
	// may be acknowledged.
	Put func(ctx context.Context, d store.NewDelivery, provider string) (store.InsertedDelivery, error)
	// Refused stores a sample of refused webhooks for operators: store.Store.RecordRefusals. nil keeps none.
	Refused func(ctx context.Context, batch []store.RefusedWebhook) error
	// Senders finds out who sent a request; nil trusts no proxy.
	Senders *clientaddr.Resolver
	// Lease takes tokens for organisations from where all servers count them; nil counts in this process only.
	Lease func(ctx context.Context, asks []ratelimit.Ask) ([]int, error)
	// Full tells that the writer's queue is nearly full; nil = never. Waiting counts deliveries that nobody worked on yet
	// and that do not wait on purpose, up to most and up to each of one integration: store.Store.WaitingDeliveryCount; nil
	// counts none. Piles tells for which integrations at least least wait, counted up to most, whatever for:
	// store.Store.WaitingPiles; nil knows of none.
	Full    func() bool
	Waiting func(ctx context.Context, most, each int) (int, error)
	Piles   func(ctx context.Context, least, most int) (map[domain.IntegrationID]int, error)

	// KeySets finds keys that senders publish, for integrations with jwks_url; nil answers those with 503.
	KeySets webhookauth.KeySets
	// CredentialUses writes when stored credentials were last used: store.Store.NoteCredentialUses; nil = not kept.
	CredentialUses func(ctx context.Context, uses []store.CredentialUse) error

	// Tracer begins the trace of each genuine webhook; nil = tracing is off. TraceCallers are the networks of callers whose own
	// traces are continued, such as a gateway that sets traceparent anew; others' are linked.
	Tracer       *tracing.Tracer
	TraceCallers []netip.Prefix

	Now     func() time.Time      // nil = time.Now
	Log     *slog.Logger          // nil = slog.Default
	Metrics prometheus.Registerer // nil = none
	Limits  IntakeLimits
}

// IntakeLimits bound what webhooks may take of the server. The zero value of a field takes its default, where that is
// not said to be no limit.
type IntakeLimits struct {
	// MaxBody is the largest body in bytes, default 1 MiB.
	MaxBody int64
	// Rate and Burst bound the genuine webhooks of one integration a second, default 1000 and 2000; InFlight those
	// under way at once, genuine or not, default 256.
	Rate     float64
	Burst    int
	InFlight int
	// TotalRate, TotalBurst and TotalInFlight are the same for all integrations together, default 50,000, 50,000 and
	// 4096. BodyMemory bounds the bytes of all bodies under way, default 128 MiB.
	TotalRate     float64
	TotalBurst    int
	TotalInFlight int
	BodyMemory    int64
	// Cached bounds the integrations kept ready, default 20,000, and the unknown ids remembered as such.
	Cached int
	// FreshFor is how long a ready integration is used before it is read again even if nobody said that it changed,
	// default 1 minute. Changes made anywhere are noticed about a second later, through Versions.
	FreshFor time.Duration
	// StrangerReads bounds the reads of storage for ids that are not known to exist, a second, default 50.
	StrangerReads float64
	// AddressRate and AddressBurst bound the requests of one source address (the /64 network with IPv6) a second, 0 = no
	// limit, and twice AddressRate. One that leads nowhere (no such integration, forged) costs StrayCost of them, default
	// 10. AddressInFlight bounds those under way at once, default 1024.
	AddressRate     float64
	AddressBurst    int
	StrayCost       int
	AddressInFlight int
	// GuessRate and GuessBurst bound the forgeries of one address for one integration a second, default 1 and 60; beyond
	// them its requests are refused unread. Less than 0 = no limit.
	GuessRate  float64
	GuessBurst int
	// OrgRate and OrgBurst bound the genuine webhooks of one organisation a second, over all servers if Lease is set;
	// 0 = no limit, and twice OrgRate. OrgShare is the part that this server gives by itself while nothing can be leased,
	// default 0.5.
	OrgRate  float64
	OrgBurst int
	OrgShare float64
	// MaxWaiting is how many deliveries may wait to be worked on before new ones are refused, and how many of one
	// integration may wait for whatever reason before its own are; 0 = no limit.
	MaxWaiting int
	// MaxHeaders bounds the header lines of a request, default 100.
	MaxHeaders int
	// BodyGrace is how long a sender may take for a body, default 5 s, plus a second for each BodyPace bytes that came,
	// default 8 KiB; BodyTime bounds the whole, default 25 s.
	BodyGrace, BodyTime time.Duration
	BodyPace            int64
}

func (l *IntakeLimits) defaults() {
	fallback(&l.MaxBody, 1<<20)
	fallback(&l.Rate, 1000)
	fallback(&l.Burst, 2000)
	fallback(&l.InFlight, 256)
	fallback(&l.TotalRate, 50_000)
	fallback(&l.TotalBurst, 50_000)
	fallback(&l.TotalInFlight, 4096)
	fallback(&l.BodyMemory, 128<<20)
	fallback(&l.Cached, 20_000)
	fallback(&l.FreshFor, time.Minute)
	fallback(&l.StrangerReads, 50)
	fallback(&l.AddressBurst, int(2*l.AddressRate))
	fallback(&l.StrayCost, 10)
	fallback(&l.AddressInFlight, 1024)
	if l.GuessRate == 0 {
		l.GuessRate = 1
	}
	fallback(&l.GuessBurst, 60)
	fallback(&l.OrgBurst, int(2*l.OrgRate))
	fallback(&l.MaxHeaders, 100)
	fallback(&l.BodyGrace, 5*time.Second)
	fallback(&l.BodyTime, 25*time.Second)
	fallback(&l.BodyPace, 8<<10)
}

func fallback[T int | int64 | float64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Intake answers POST /v1/webhooks/{integration}, and GET for handshakes that come so. The order of its steps is a promise: nothing is read from storage for
// an id that cannot exist, no body is read for a request that is refused anyway, nothing of a body is looked at before
// its signature, and an id leaves only after the commit.
type Intake struct {
	deps  IntakeDeps
	limit IntakeLimits
	cache *intakeCache
	m     *intakeMetrics
	log   *slog.Logger
	guard *intakeGuard
	says  *rate.Limiter // log lines about refused signatures

	refusals   *refusalLog
	uses       credentialUses
	writeEvery time.Duration

	inFlight  atomic.Int64
	bodyBytes atomic.Int64
	draining  atomic.Bool
}

// NewIntake makes an Intake. [Intake.Run] must run beside it. Errors: metrics registered twice.
func NewIntake(deps IntakeDeps) (*Intake, error) {
	if deps.Record == nil || deps.Provider == nil || deps.Seal == nil || deps.Put == nil {
		return nil, domain.E(domain.KindInvalid, "make an intake: Record, Provider, Seal and Put are required")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.Default()
	}
	deps.Limits.defaults()
	in := &Intake{deps: deps, limit: deps.Limits, log: deps.Log, m: newIntakeMetrics(), says: rate.NewLimiter(1, 5)}
	var err error
	if in.guard, err = newIntakeGuard(deps); err != nil {
		return nil, err
	}
	in.cache = newIntakeCache(deps, in.log)
	in.refusals = newRefusalLog(deps.Refused)
	in.writeEvery = writeUsesEvery
	if err := in.m.register(deps.Metrics, in); err != nil {
		return nil, domain.E(domain.KindInternal, "register intake metrics: %w", err)
	}
	return in, nil
}

// Run notices changes of integrations, leases tokens, watches the backlog and stores the sample of refused webhooks and
// the last uses of credentials, until ctx ends. It always returns nil after that.
func (in *Intake) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { in.refusals.run(ctx) })
	parts.Go(func() { in.keepUses(ctx) })
	parts.Go(func() {
		in.guard.run(ctx, in.deps.Now, func(what string, err error) {
			in.m.guardErrors.Inc()
			if in.says.Allow() {
				in.log.Warn("webhook limits", "doing", what, "error", err)
			}
		})
	})
	in.cache.follow(ctx)
	parts.Wait()
	return nil
}

// Invalidate makes the next webhook of an integration read it again. Call it after a change made in this process; those
// made elsewhere are noticed by Run.
func (in *Intake) Invalidate(id domain.IntegrationID) { in.cache.invalidate(id) }

// Drain refuses new webhooks with 503 and waits until those under way are answered, or ctx ends.
func (in *Intake) Drain(ctx context.Context) error {
	in.draining.Store(true)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for in.inFlight.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return domain.E(domain.KindUnavailable, "drain webhooks: %w", ctx.Err())
		}
	}
	return nil
}

// Handle is the Echo handler of the routes, whose path parameters are named "integration" and, where there is one,
// "token".
func (in *Intake) Handle(c echo.Context) error {
	start := in.deps.Now()
	r := c.Request()
	v := visit{slow: http.NewResponseController(c.Response())}
	stored, err := func() (store.InsertedDelivery, error) {
		defer in.guard.leave(&v) // also of one that panics: nothing may stay counted
		return in.accept(&v, r, c.Param("integration"), c.Param("token"), start)
	}()
	in.guard.tell(c.Response().Header(), &v)
	if err != nil {
		in.refuse(c.Response(), r, &v, err)
		in.noteRefusal(&v, c.Param("integration"), err)
		return nil
	}
	in.m.took.Observe(in.deps.Now().Sub(start).Seconds())
	if stored.Duplicate {
		in.m.duplicates.Inc()
		in.m.admitAgain.Inc()
		writeReceipt(c.Response(), http.StatusOK, stored.ID, `","status":"duplicate"}`)
	} else {
		in.m.accepted.Inc()
		in.m.admitNew.Inc()
		writeReceipt(c.Response(), http.StatusAccepted, stored.ID, `","status":"accepted"}`)
	}
	if failpoint.Enabled {
		c.Response().Flush()
		failpoint.Answered(string(stored.ID))
	}
	return nil
}

// The refusals that tell the sender nothing beyond their status. They are made once: a flood of them costs little.
var (
	errUnknownIntegration = domain.E(domain.KindNotFound, "no such integration")
	errSignature          = because("signature", withStatus(http.StatusUnauthorized, string(domain.KindUnauthenticated),
		errors.New("the signature is missing, wrong or too old")))
	errStopping = because("stopping", domain.WithRetryAfter(domain.E(domain.KindUnavailable, "the server is stopping"), time.Second))
)

// undecided answers a webhook that cannot be verified now. Senders give up after a 401, and this one may be genuine. It is
// charged as no forgery, because genuine ones by a new key come in numbers; it costs no read of storage and no fetch.
func undecided(reason *webhookauth.Reason) error {
	why, wait := "keys", reason.RetryAfter
	if reason.Code == webhookauth.KeyNotKnownYet {
		why = "key_not_known_yet"
	}
	if wait <= 0 {
		wait = 30 * time.Second
	}
	return because(why, domain.WithRetryAfter(domain.E(domain.KindUnavailable, "webhooks of this integration cannot be verified now"), wait))
}

func (in *Intake) accept(v *visit, r *http.Request, id, token string, now time.Time) (store.InsertedDelivery, error) {
	var none store.InsertedDelivery
	if in.draining.Load() {
		return none, errStopping
	}
	if n := in.inFlight.Add(1); n > int64(in.limit.TotalInFlight) {
		in.inFlight.Add(-1)
		return none, errInFlight
	}
	defer in.inFlight.Add(-1)
	if err := in.guard.enter(v, r, now); err != nil {
		return none, err
	}
	integration, ok := domain.ParseUUID(id)
	if !ok {
		in.guard.stray(v, now)
		return none, errUnknownIntegration
	}
	if err := in.guard.admit(v, integration, now); err != nil {
		return none, err
	}
	from, err := in.cache.get(r.Context(), domain.IntegrationID(id))
	if err != nil {
		if domain.KindOf(err) == domain.KindNotFound {
			in.guard.stray(v, now)
		}
		return none, err
	}
	if err := from.greet(r, now); err != nil {
		if errors.Is(err, errUnknownIntegration) {
			in.guard.forged(v, integration, now)
		}
		return none, err
	}
	if err := from.checkType(r.Header); err != nil {
		return none, err
	}
	org, _ := domain.ParseUUID(string(from.org)) // it was read from storage
	if err := in.guard.expect(v, from.id, org, now); err != nil {
		return none, err
	}
	body, err := in.readBody(v, r)
	if err != nil {
		return none, err
	}
	defer in.releaseBody(body)
	certificate, err := in.guard.senders.Certificate(r, v.from)
	if err != nil {
		in.log.Debug("a forwarded client certificate cannot be read", "integration", from.id, "error", err)
	}
	result, err := from.verifier.Verify(r.Context(), webhookauth.Request{Header: r.Header, Body: body.bytes, Method: r.Method,
		URL: in.guard.senders.URL(r, v.from), PathToken: token, Peer: v.from.Addr, ClientCert: certificate}, now)
	if err != nil {
		if reason := (*webhookauth.Reason)(nil); errors.As(err, &reason) && reason.Undecided() {
			in.refused(from, err)
			in.noteSignature(v, from, err)
			return none, undecided(reason)
		}
		in.guard.forged(v, integration, now)
		in.refused(from, err)
		in.noteSignature(v, from, err)
		return none, errSignature
	}
	in.uses.note(from, result.SecretIndex, now)
	if err := in.guard.take(v, integration, org, now); err != nil {
		return none, err
	}
	if err := from.greetSigned(body.bytes, result); err != nil {
		return none, err
	}
	// Counted only now: a stranger who sends slowly to an integration takes nothing of it.
	if n := from.allowance.inFlight.Add(1); n > int64(in.limit.InFlight) {
		from.allowance.inFlight.Add(-1)
		return none, errBusy
	}
	defer from.allowance.inFlight.Add(-1)
	headers, err := from.keptHeaders(r.Header)
	if err != nil {
		return none, err
	}
	delivery := domain.NewID[domain.DeliveryID](now)
	d := store.NewDelivery{
		ID: delivery, OrgID: from.org, IntegrationID: from.id,
		Dedupe: from.dedupeKey(r.Header, result, delivery, body), RepeatsSince: from.repeats.since(now), Size: len(body.bytes), ReceivedAt: now,
		Priority: from.priorityOf(r.Header, body.bytes, now),
	}
	d.Content = in.deps.Seal(d.OrgID, d.ID, headers, body.bytes)
	if in.deps.Tracer != nil {
		return in.putTraced(r, from, d, now)
	}
	return in.deps.Put(r.Context(), d, from.provider)
}

// dedupeKey names the message. A signed id stands for itself. An id that is not signed could be changed by whoever
// replays a captured request, to take the place of a later message, so the body is a part of the key with it.
func (e *intakeEntry) dedupeKey(h http.Header, result webhookauth.Result, delivery domain.DeliveryID, body *bodyBuffer) [sha256.Size]byte {
	if failpoint.NoDedupe { // a fault on purpose, in one build only
		return sha256.Sum256([]byte(rand.Text()))
	}
	if key, ok := e.repeats.key(h, delivery, body); ok {
		return key
	}
	id, kind := result.MessageID, byte('m')
	if e.dedupeHeader != "" {
		if values := h[e.dedupeHeader]; len(values) == 1 && values[0] != "" && values[0] != result.MessageID {
			id, kind = values[0], 'h'
		}
	}
	switch {
	case id == "":
		return e.repeats.plain(delivery, body)
	case kind == 'm' && result.IDSigned:
		body.key = append(append(body.key[:0], 'm', 0), id...)
	default:
		sum := sha256.Sum256(body.bytes)
		body.key = append(append(append(body.key[:0], 'h', 0), sum[:]...), id...)
	}
	return sha256.Sum256(body.key)
}

// unreadGrace is how long the rest of a body that nobody wants may take, which net/http reads for the connection's sake.
const unreadGrace = time.Second

// refuse answers with a problem. A refused body is read to its end only if it is small, and comes at once.
func (in *Intake) refuse(w *echo.Response, r *http.Request, v *visit, err error) {
	if in.writeAnswer(w, err) {
		in.m.admissions.WithLabelValues("handshake").Inc()
		return
	}
	if domain.KindOf(err) == domain.KindTooLarge || !v.read && (r.ContentLength < 0 || r.ContentLength > keepBuffer) || errors.Is(err, errSlowBody) {
		w.Header().Set("Connection", "close")
	}
	if !v.read && r.ContentLength != 0 {
		_ = v.slow.SetReadDeadline(time.Now().Add(unreadGrace)) // not every writer in tests has a connection
	}
	p := writeProblem(w, r, err)
	in.m.refusals.WithLabelValues(p.Code).Inc()
	in.m.admissions.WithLabelValues(reasonOf(err, p.Code)).Inc()
	if p.Status == http.StatusInternalServerError {
		in.log.Error("webhook intake", "request_id", p.RequestID, "error", err)
	}
}

// refused tells the operator why a signature was refused. The sender learns nothing of it, and a flood of forgeries
// fills neither the log nor a table.
func (in *Intake) refused(e *intakeEntry, err error) {
	code := "other"
	var reason *webhookauth.Reason
	if errors.As(err, &reason) {
		code = string(reason.Code)
	}
	in.m.signatures.WithLabelValues(code).Inc()
	if in.says.Allow() {
		in.log.Warn("a webhook's signature was refused", "integration", e.id, "reason", err)
	}
}

var jsonType = []string{"application/json"}

func writeReceipt(w *echo.Response, status int, id domain.DeliveryID, rest string) {
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	var room [80]byte
	out := append(append(append(room[:0], `{"id":"`...), id...), rest...)
	// The vendor may be gone; it will send the webhook again and get the same id.
	_, _ = w.Write(out)
}
