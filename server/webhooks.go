package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/failpoint"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
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

	Now     func() time.Time      // nil = time.Now
	Log     *slog.Logger          // nil = slog.Default
	Metrics prometheus.Registerer // nil = none
	Limits  IntakeLimits
}

// IntakeLimits bound what webhooks may take of the server. The zero value of every field takes its default.
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
	gate  *rate.Limiter // genuine or not, over all integrations
	says  *rate.Limiter // log lines about refused signatures

	refusals *refusalLog

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
	l := deps.Limits
	in := &Intake{deps: deps, limit: l, log: deps.Log, m: newIntakeMetrics(),
		gate: rate.NewLimiter(rate.Limit(l.TotalRate), l.TotalBurst),
		says: rate.NewLimiter(1, 5),
	}
	in.cache = newIntakeCache(deps, in.log)
	in.refusals = newRefusalLog(deps.Refused)
	if err := in.m.register(deps.Metrics, in); err != nil {
		return nil, domain.E(domain.KindInternal, "register intake metrics: %w", err)
	}
	return in, nil
}

// Run notices changes of integrations, and stores the sample of refused webhooks, until ctx ends. It always returns nil after that.
func (in *Intake) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { in.refusals.run(ctx) })
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

// Handle is the Echo handler of the route, whose path parameter is named "integration".
func (in *Intake) Handle(c echo.Context) error {
	start := in.deps.Now()
	r := c.Request()
	stored, err := in.accept(r, c.Param("integration"), start)
	if err != nil {
		in.refuse(c.Response(), r, err)
		in.noteRefusal(r, c.Param("integration"), err)
		return nil
	}
	in.m.took.Observe(in.deps.Now().Sub(start).Seconds())
	if stored.Duplicate {
		in.m.duplicates.Inc()
		writeReceipt(c.Response(), http.StatusOK, stored.ID, `","status":"duplicate"}`)
	} else {
		in.m.accepted.Inc()
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
	errSignature          = withStatus(http.StatusUnauthorized, string(domain.KindUnauthenticated),
		errors.New("the signature is missing, wrong or too old"))
	errTooMany      = domain.WithRetryAfter(domain.E(domain.KindRateLimited, "too many webhooks for this integration"), time.Second)
	errTooManyTotal = domain.WithRetryAfter(domain.E(domain.KindRateLimited, "too many webhooks at once"), time.Second)
	errStopping     = domain.WithRetryAfter(domain.E(domain.KindUnavailable, "the server is stopping"), time.Second)
)

func (in *Intake) accept(r *http.Request, id string, now time.Time) (store.InsertedDelivery, error) {
	var none store.InsertedDelivery
	if in.draining.Load() {
		return none, errStopping
	}
	if n := in.inFlight.Add(1); n > int64(in.limit.TotalInFlight) {
		in.inFlight.Add(-1)
		return none, errTooManyTotal
	}
	defer in.inFlight.Add(-1)
	if !in.gate.AllowN(now, 1) {
		return none, errTooManyTotal
	}
	if _, ok := domain.ParseUUID(id); !ok {
		return none, errUnknownIntegration
	}
	from, err := in.cache.get(r.Context(), domain.IntegrationID(id))
	if err != nil {
		return none, err
	}
	if err := from.greet(r, now); err != nil {
		return none, err
	}
	if err := from.checkType(r.Header); err != nil {
		return none, err
	}
	if n := from.allowance.inFlight.Add(1); n > int64(in.limit.InFlight) {
		from.allowance.inFlight.Add(-1)
		return none, errTooMany
	}
	defer from.allowance.inFlight.Add(-1)
	// Only genuine webhooks use the allowance up, so that a stranger who learned the address cannot empty it.
	if from.allowance.bucket.TokensAt(now) < 1 {
		return none, errTooMany
	}
	body, err := in.readBody(r)
	if err != nil {
		return none, err
	}
	defer in.releaseBody(body)
	result, err := from.verifier.Verify(r.Context(), webhookauth.Request{Header: r.Header, Body: body.bytes}, now)
	if err != nil {
		in.refused(from, err)
		in.noteSignature(from, r, err)
		return none, errSignature
	}
	if !from.allowance.bucket.AllowN(now, 1) {
		return none, errTooMany
	}
	if err := from.greetSigned(body.bytes, result); err != nil {
		return none, err
	}
	headers, err := from.keptHeaders(r.Header)
	if err != nil {
		return none, err
	}
	d := store.NewDelivery{
		ID: domain.NewID[domain.DeliveryID](now), OrgID: from.org, IntegrationID: from.id,
		Dedupe: from.dedupeKey(r.Header, result, body), Size: len(body.bytes), ReceivedAt: now,
		Priority: from.priorityOf(r.Header, body.bytes, now),
	}
	d.Content = in.deps.Seal(d.OrgID, d.ID, headers, body.bytes)
	return in.deps.Put(r.Context(), d, from.provider)
}

// dedupeKey names the message. A signed id stands for itself. An id that is not signed could be changed by whoever
// replays a captured request, to take the place of a later message, so the body is a part of the key with it.
func (e *intakeEntry) dedupeKey(h http.Header, result webhookauth.Result, body *bodyBuffer) [sha256.Size]byte {
	if failpoint.NoDedupe { // a fault on purpose, in one build only
		return sha256.Sum256([]byte(rand.Text()))
	}
	id, kind := result.MessageID, byte('m')
	if e.dedupeHeader != "" {
		if values := h[e.dedupeHeader]; len(values) == 1 && values[0] != "" && values[0] != result.MessageID {
			id, kind = values[0], 'h'
		}
	}
	switch {
	case id == "":
		return sha256.Sum256(body.bytes)
	case kind == 'm' && result.IDSigned:
		body.key = append(append(body.key[:0], 'm', 0), id...)
	default:
		sum := sha256.Sum256(body.bytes)
		body.key = append(append(append(body.key[:0], 'h', 0), sum[:]...), id...)
	}
	return sha256.Sum256(body.key)
}

// refuse answers with a problem. A refused body is not read to its end for the sake of the connection.
func (in *Intake) refuse(w *echo.Response, r *http.Request, err error) {
	if in.writeAnswer(w, err) {
		return
	}
	if domain.KindOf(err) == domain.KindTooLarge {
		w.Header().Set("Connection", "close")
	}
	p := writeProblem(w, r, err)
	in.m.refusals.WithLabelValues(p.Code).Inc()
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
