package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/holds"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/sharelink"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/stream"
	"github.com/wedsync/wedsync/internal/token"
)

// Flow is the part of *flow.Client that the admin API uses. Errors are unavailable when Temporal is, conflict when a
// workflow refuses (the text is shown), and not_found.
type Flow interface {
	Ping(ctx context.Context) error
	Pause(ctx context.Context, ref flow.IntegrationRef, r contract.PauseRequest) (contract.StateResult, error)
	Resume(ctx context.Context, ref flow.IntegrationRef, r contract.ResumeRequest) (contract.StateResult, error)
	Resync(ctx context.Context, ref flow.IntegrationRef, r contract.ResyncRequest) (contract.ResyncResult, error)
	Failover(ctx context.Context, ref flow.IntegrationRef, r contract.FailoverRequest) (contract.FailoverResult, error)
	Resolve(ctx context.Context, id domain.ConflictID, r contract.ResolveRequest) (contract.ResolveResult, error)
	SyncProgress(ctx context.Context, run domain.SyncRunID) (contract.SyncProgress, error)
	WakeSubscription(ctx context.Context, ref flow.SubscriptionRef, s contract.WakeSignal) error
	PauseSubscription(ctx context.Context, ref flow.SubscriptionRef, r contract.PauseRequest) (contract.SubscriptionStateResult, error)
	ResumeSubscription(ctx context.Context, ref flow.SubscriptionRef, r contract.SubscriptionResumeRequest) (contract.SubscriptionStateResult, error)
	TestSubscription(ctx context.Context, ref flow.SubscriptionRef, r contract.TestRequest) (contract.TestResult, error)
	PauseReplay(ctx context.Context, id domain.ReplayID, r contract.PauseRequest) (contract.ReplayStateResult, error)
	ResumeReplay(ctx context.Context, id domain.ReplayID, r contract.ResumeRequest) (contract.ReplayStateResult, error)
	CancelReplay(ctx context.Context, id domain.ReplayID, r contract.CancelRequest) (contract.ReplayStateResult, error)
	ResumeOnboarding(ctx context.Context, in contract.OnboardInput, r contract.OnboardResumeRequest) (contract.OnboardStatus, error)
	CancelOnboarding(ctx context.Context, in contract.OnboardInput, r contract.CancelRequest) (contract.OnboardStatus, error)
	ApproveMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.ApproveRequest) (contract.MaintenanceStatus, error)
	CancelMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.CancelRequest) (contract.MaintenanceStatus, error)
	RescheduleMaintenance(ctx context.Context, in contract.MaintenanceInput, r contract.RescheduleRequest) (contract.MaintenanceStatus, error)
}

// ManualChange is a booking as a person wants it to be.
type ManualChange struct {
	ID         domain.BookingID // chosen by the server for a new booking
	ResourceID domain.ResourceID
	Category   domain.Category
	Status     domain.BookingStatus
	When       domain.When
	Details    domain.Details
	Private    bool
	Free       bool
	// ExpectVersion is the version that the person saw; 0 makes a new booking. Another one is KindConflict, and so is
	// making a booking whose id exists.
	ExpectVersion int64
	Reason        string // for the audit trail; may be empty
}

// Deps is what a server stands on.
type Deps struct {
	Store     *store.Store
	Flow      Flow
	Hub       *stream.Hub // its Run must run beside the server
	Tokens    *token.Verifier
	Providers []provider.Registration
	// ApplyManual makes or changes a booking by hand, with its conflicts, outbound copies and audit line, in one
	// transaction.
	ApplyManual func(ctx context.Context, org domain.OrgID, actor string, c ManualChange) (domain.Booking, []domain.Conflict, error)

	// Onboard asks an outside system to complete an integration's settings, for providers that can; nil asks nobody. It
	// returns the settings as they are for others. tokens are those of a consent that is not stored yet; nil = the stored
	// ones.
	Onboard func(ctx context.Context, i domain.Integration, secrets map[string]string, zone string, tokens provider.TokenSource) (json.RawMessage, error)
	// Outward is the only way out to systems that take enquiries; nil sends none.
	Outward *httpx.Client
	// Probe makes the cheapest authenticated call of an integration's system; nil asks nobody. One that has none is not asked.
	Probe   func(ctx context.Context, org domain.OrgID, id domain.IntegrationID) error
	Grants  *connect.Grants // of systems that are connected by consent; nil connects none
	Intake  *Intake         // takes webhooks; nil answers them with 503
	Notices *Notices        // takes messages to watches; nil answers them with 503
	Codec   http.Handler    // decodes payloads for Temporal UI and checks its callers itself; nil leaves the routes out
	// Senders tells from where readers of published feeds come, behind proxies too; nil trusts no proxy.
	Senders *clientaddr.Resolver
	Links   *sharelink.Links     // makes and reads the tokens of links to weddings; nil makes none and knows none
	Metrics *prometheus.Registry // shown at /metrics, and gets the server's own; nil makes a new one
	Logger  *slog.Logger
	Now     func() time.Time
	Options Options
	// Holds keeps holds; nil answers what changes them with 503.
	Holds *holds.Desk
	// Guard carries decisions about held removals out and plans readings; nil answers these with 503.
	Guard Guard
}

// Options tune a server. Zero values take the defaults named.
type Options struct {
	PublicURL string // how others reach this server, such as https://sync.example.com; "" = from each request
	// CallbackURL is PublicURL with CallbackPath, where systems send browsers back to; "" = not known, which refuses consents.
	CallbackURL string
	Version     string // shown in the OpenAPI document; "dev"
	// TemporalUI is linked to from the dashboard; "" leaves the links out.
	TemporalUI string
	// MetricsToken is the bearer token of /metrics. Without one, only callers on the same machine are answered, and
	// nobody who came through a proxy.
	MetricsToken string
	// MetricsElsewhere takes /metrics off this listener; serve MetricsHandler on another one.
	MetricsElsewhere bool
	MaxBody          int64         // largest body of the admin API; 1 MiB
	RequestTimeout   time.Duration // longest answer that is no stream; 30 s
	DrainTimeout     time.Duration // longest wait for requests in flight at the end; 20 s
	// DrainDelay is how long /readyz says 503 before connections are refused, for load balancers to notice; 0.
	DrainDelay time.Duration
	// AllowPrivate lets subscribers have private addresses and plain http, for development.
	AllowPrivate bool
	// DeliveriesKept is how long deliveries are kept, for which alone repeats can be known; 0 = not known.
	DeliveriesKept time.Duration
	// FeedRate bounds the requests of one source address for published feeds, and for links to weddings, a second, with a burst of twenty times
	// that; 5. Less than 0 = no limit.
	FeedRate float64
}

func (o *Options) defaults() error {
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 1 << 20
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = 30 * time.Second
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 20 * time.Second
	}
	if o.FeedRate == 0 {
		o.FeedRate = 5
	}
	o.PublicURL, o.TemporalUI = strings.TrimSuffix(o.PublicURL, "/"), strings.TrimSuffix(o.TemporalUI, "/")
	for _, u := range []struct{ field, value string }{{"public_url", o.PublicURL}, {"temporal_ui", o.TemporalUI}} {
		if u.value != "" && !strings.HasPrefix(u.value, "http://") && !strings.HasPrefix(u.value, "https://") {
			return domain.Invalid(u.field, "must begin with http:// or https://")
		}
	}
	return nil
}

// Server is the HTTP side of one process. Make one with New.
type Server struct {
	deps      Deps
	o         Options
	log       *slog.Logger
	now       func() time.Time
	echo      *echo.Echo
	api       huma.API
	rows      map[string]Route // by method and Echo path
	providers map[string]provider.Registration
	backtests atomic.Int32 // under way
	plans     atomic.Int32 // under way
	health    *health
	metrics   *metrics
	pages     *pages
	feeds     *feedGuard
	shares    *feedGuard // of links to weddings, which strangers may try as well
	spec      spec
	origin    *http.CrossOriginProtection
	draining  atomic.Bool
}

// New checks deps, naming everything that is missing, and builds the routes.
func New(d Deps) (*Server, error) {
	var missing []error
	for _, m := range []struct {
		field string
		there bool
	}{{"Store", d.Store != nil}, {"Flow", d.Flow != nil}, {"Hub", d.Hub != nil}, {"Tokens", d.Tokens != nil}, {"ApplyManual", d.ApplyManual != nil}} {
		if !m.there {
			missing = append(missing, domain.Invalid("server."+m.field, "is required"))
		}
	}
	missing = append(missing, d.Options.defaults())
	if err := errors.Join(missing...); err != nil {
		return nil, err
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Metrics == nil {
		d.Metrics = prometheus.NewRegistry()
	}
	s := &Server{deps: d, o: d.Options, log: d.Logger, now: d.Now, rows: make(map[string]Route),
		providers: make(map[string]provider.Registration), origin: http.NewCrossOriginProtection()}
	for _, p := range d.Providers {
		if _, twice := s.providers[p.Name]; twice {
			return nil, domain.Invalid("server.Providers", "%q is there twice", p.Name)
		}
		s.providers[p.Name] = p
	}
	s.health = newHealth(d, &s.draining)
	var err error
	if s.metrics, err = newMetrics(d.Metrics, d.Hub); err != nil {
		return nil, err
	}
	if s.pages, err = newPages(); err != nil {
		return nil, err
	}
	if s.feeds, err = newFeedGuard(d.Senders, d.Options.FeedRate); err != nil {
		return nil, err
	}
	if s.shares, err = newFeedGuard(d.Senders, d.Options.FeedRate); err != nil {
		return nil, err
	}
	s.build()
	return s, s.document()
}

// build makes the router from the route table.
func (s *Server) build() {
	s.echo = echo.New()
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.HTTPErrorHandler = func(err error, c echo.Context) {
		if !c.Response().Committed {
			securityHeaders(c.Response().Header())
			s.answer(c, echoError(err))
		}
	}
	s.echo.Use(s.chain)
	s.api = s.newAPI()
	for _, r := range Routes() {
		if r.optional != nil && !r.optional(s) {
			continue
		}
		s.rows[r.Method+" "+echoPath(r.Path)] = r
		r.mount(s, r)
	}
}

// webhook is passed by chain: no access log, no request id, no deadline timer.
func (s *Server) webhook(c echo.Context) error {
	if s.deps.Intake == nil {
		writeProblem(c.Response(), c.Request(), domain.E(domain.KindUnavailable, "this server takes no webhooks"))
		return nil
	}
	return s.deps.Intake.Handle(c)
}

// Handler returns everything as one handler, for tests and for servers with a life of their own.
func (s *Server) Handler() http.Handler { return s.echo }

// Timeouts of connections. They bound what a slow or silent client can hold.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second // live streams set their own, per write
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Run serves on l until ctx ends, and then drains: /readyz turns 503, connections are refused after DrainDelay, webhooks
// and requests in flight finish within DrainTimeout. Live streams end when the hub does; give it the same ctx. Run
// returns nil after a drain that was complete.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	// Requests outlive ctx: they end by themselves, or at the end of the drain.
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	h := &http.Server{
		Handler: s.echo, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // clients' handshake faults
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return domain.E(domain.KindInternal, "serve http: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.log.Info("draining", "delay", s.o.DrainDelay, "timeout", s.o.DrainTimeout)
	if s.o.DrainDelay > 0 {
		t := time.NewTimer(s.o.DrainDelay)
		defer t.Stop()
		select {
		case err := <-failed:
			return domain.E(domain.KindInternal, "serve http: %w", err)
		case <-t.C:
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.DrainTimeout)
	defer cancel()
	// Shutdown closes idle connections and waits for the others. Webhooks that come in on kept connections meanwhile are
	// still taken: refusing them would only move the work.
	err := h.Shutdown(end)
	if err != nil {
		cut()
		_ = h.Close() // the listener is closed already; connections are what is left
		return domain.E(domain.KindUnavailable, "drain: requests were still running after %s", s.o.DrainTimeout)
	}
	return nil
}
