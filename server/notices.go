package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wedsync/wedsync/internal/clientaddr"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

const (
	// MaxNotice bounds the body of a message to a watch, in bytes.
	MaxNotice = 256 << 10
	// noticeTime bounds a message from its headers to its answer. Vendors wait for 3 s and then count it as lost.
	noticeTime = 2500 * time.Millisecond
	// noticeBody is the part of it that the sender may take for the body.
	noticeBody = time.Second
	// noticesInFlight bounds the messages under way, and with MaxNotice the memory for their bodies.
	noticesInFlight = 256
	// watchFreshFor is how long a watch is used before it is read again. Whether it still stands is asked with every message.
	watchFreshFor = 30 * time.Second
	watchesCached = 10_000
)

// NoticeDeps are the parts that Notices stand on. All funcs are called by many goroutines.
type NoticeDeps struct {
	// Record reads what is needed to check a message to a watch: store.Store.WatchRecord. KindNotFound is for unknown ones.
	Record func(ctx context.Context, id domain.WatchID) (store.WatchRecord, error)
	// Note stores what a message means and reports whether the watch still stood. What it returns without an error is on
	// disk.
	Note func(ctx context.Context, org domain.OrgID, id domain.WatchID, n store.WatchNotice) (bool, error)
	// Provider finds a registration by name.
	Provider func(name string) (provider.Registration, bool)
	// Senders finds out who sent a request; nil trusts no proxy.
	Senders *clientaddr.Resolver
	Now     func() time.Time      // nil = time.Now
	Log     *slog.Logger          // nil = slog.Default
	Metrics prometheus.Registerer // nil = none
	// Limits are those of webhooks, as far as they are about addresses, forgeries and strangers.
	Limits IntakeLimits
}

// Notices answer POST /v1/notify/{watch}, where outside systems post when something changed there. Such a message is a
// hint: it is answered with 202 once the wish to read the system is stored, so that a burst of them is one wish. A watch
// that is not known or over is answered in the same way, because systems go on posting for a while after they were told
// to end. A wrong secret is 401 and tells nothing.
type Notices struct {
	deps      NoticeDeps
	guard     *intakeGuard
	log       *slog.Logger
	says      *rate.Limiter
	strangers *rate.Limiter
	inFlight  atomic.Int64
	outcomes  *prometheus.CounterVec
	took      prometheus.Histogram

	mu      sync.Mutex
	cached  map[domain.WatchID]cachedWatch
	unknown map[domain.WatchID]time.Time // ids that storage does not know, and when it said so
}

// cachedWatch is a watch as it was read; the zero value is one that is not known.
type cachedWatch struct {
	store.WatchRecord
	readAt time.Time
}

func (w cachedWatch) over() bool { return w.Org == "" || w.State == domain.WatchRetired }

// NewNotices makes Notices. Errors: a part is missing, or metrics are registered twice.
func NewNotices(deps NoticeDeps) (*Notices, error) {
	if deps.Record == nil || deps.Note == nil || deps.Provider == nil {
		return nil, domain.E(domain.KindInvalid, "make notices: Record, Note and Provider are required")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.Default()
	}
	deps.Limits.defaults()
	guard, err := newIntakeGuard(IntakeDeps{Senders: deps.Senders, Limits: deps.Limits})
	if err != nil {
		return nil, err
	}
	n := &Notices{deps: deps, guard: guard, log: deps.Log, says: rate.NewLimiter(1, 5), cached: map[domain.WatchID]cachedWatch{}, unknown: map[domain.WatchID]time.Time{},
		strangers: rate.NewLimiter(rate.Limit(deps.Limits.StrangerReads), int(2*deps.Limits.StrangerReads)+1),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_watch_notices_total", Help: "Messages to watches, by what became of them."}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wedsync_watch_notice_seconds", Help: "Time from the headers of a message to a watch to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13)})}
	if deps.Metrics != nil {
		for _, c := range []prometheus.Collector{n.outcomes, n.took} {
			if err := deps.Metrics.Register(c); err != nil {
				return nil, domain.E(domain.KindInternal, "register metrics of notices: %w", err)
			}
		}
	}
	return n, nil
}

// Handle is the Echo handler of the route, whose path parameter is named "watch".
func (n *Notices) Handle(c echo.Context) error {
	start := n.deps.Now()
	w, r := c.Response(), c.Request()
	ctx, cancel := context.WithTimeout(r.Context(), noticeTime)
	defer cancel()
	v := visit{slow: http.NewResponseController(w)}
	echoed, outcome, err := n.take(ctx, &v, r, c.Param("watch"), start)
	n.guard.leave(&v)
	n.guard.tell(w.Header(), &v)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case err != nil:
		outcome = n.refuse(w, r, &v, err)
	case echoed != nil:
		// What is sent back was chosen by the sender: no browser may take it for a page.
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(echoed) // the sender may be gone; it will ask again
	default:
		v.leaveUnread(w, r)
		w.WriteHeader(http.StatusAccepted)
	}
	n.outcomes.WithLabelValues(outcome).Inc()
	n.took.Observe(n.deps.Now().Sub(start).Seconds())
	return nil
}

var (
	errNoWatch     = domain.E(domain.KindNotFound, "no such address")
	errNoticeBusy  = because("in_flight", errOverloaded)
	errNoticeLarge = domain.E(domain.KindTooLarge, "the body may have at most %d bytes", MaxNotice)
)

func (n *Notices) take(ctx context.Context, v *visit, r *http.Request, id string, now time.Time) (echoed []byte, outcome string, err error) {
	if under := n.inFlight.Add(1); under > noticesInFlight {
		n.inFlight.Add(-1)
		return nil, "", errNoticeBusy
	}
	defer n.inFlight.Add(-1)
	if err := n.guard.enter(v, r, now); err != nil {
		return nil, "", err
	}
	key, ok := domain.ParseUUID(id)
	if !ok {
		n.guard.stray(v, now)
		return nil, "", errNoWatch
	}
	if err := n.guard.admit(v, key, now); err != nil {
		return nil, "", err
	}
	watch, err := n.get(ctx, domain.WatchID(id), now)
	if err != nil {
		return nil, "", err
	}
	if watch.Org == "" {
		n.guard.stray(v, now)
		return nil, "unknown", nil
	}
	if watch.over() {
		return nil, "over", nil
	}
	registration, ok := n.deps.Provider(watch.Provider)
	if !ok || registration.Notice == nil {
		return nil, "", domain.E(domain.KindInternal, "provider %q reads no notices", watch.Provider)
	}
	body, err := readNotice(v, r)
	if err != nil {
		return nil, "", err
	}
	notice, err := readBy(registration, provider.NoticeRequest{Secret: watch.Secret, RemoteID: watch.RemoteID, Header: r.Header, Query: r.URL.Query(), Body: body, At: now})
	if err != nil {
		if domain.KindOf(err) == domain.KindUnauthenticated {
			n.guard.forged(v, key, now)
		}
		return nil, "", err
	}
	if notice.Echo != nil {
		return notice.Echo, "echo", nil
	}
	stood, err := n.deps.Note(ctx, watch.Org, domain.WatchID(id), store.WatchNotice{Pull: notice.Changed || notice.Missed, Removed: notice.Removed, Renew: notice.Renew})
	if err != nil {
		return nil, "", err
	}
	if !stood || notice.Removed {
		n.forget(domain.WatchID(id))
	}
	switch {
	case !stood:
		outcome = "over"
	case notice.Removed:
		outcome = "removed"
	case notice.Renew:
		outcome = "renew"
	case notice.Missed:
		outcome = "missed"
	case notice.Changed:
		outcome = "changed"
	default:
		outcome = "nothing"
	}
	return nil, outcome, nil
}

// readBy asks the provider what a message says. A message that makes it panic is one that cannot be read.
func readBy(registration provider.Registration, r provider.NoticeRequest) (notice provider.Notice, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			// The value is left out: it may quote the message.
			err = domain.E(domain.KindInvalid, "read notice: the provider panicked (%T)", fault)
		}
	}()
	return registration.Notice(r)
}

// readNotice reads a body to its end, within its bounds of size and time.
func readNotice(v *visit, r *http.Request) ([]byte, error) {
	if r.ContentLength > MaxNotice {
		return nil, errNoticeLarge
	}
	if r.ContentLength == 0 {
		v.read = true
		return nil, nil
	}
	_ = v.slow.SetReadDeadline(time.Now().Add(noticeBody)) // not every writer in tests has a connection
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxNotice+1))
	switch {
	case err != nil:
		return nil, errSlowBody
	case len(body) > MaxNotice:
		return nil, errNoticeLarge
	}
	_ = v.slow.SetReadDeadline(time.Time{})
	v.read = true
	return body, nil
}

// get returns a watch as it was read lately. What storage does not know is remembered too, apart from the others, so that a
// flood of invented ids pushes no watch out. Reads that find nothing are few, however many ids are invented; a watch that was
// found once is read again whatever strangers do.
func (n *Notices) get(ctx context.Context, id domain.WatchID, now time.Time) (cachedWatch, error) {
	n.mu.Lock()
	w, found := n.cached[id]
	missed, missing := n.unknown[id]
	n.mu.Unlock()
	switch {
	case found && now.Sub(w.readAt) < watchFreshFor:
		return w, nil
	case !found && missing && now.Sub(missed) < watchFreshFor:
		return cachedWatch{}, nil
	case !found && n.strangers.TokensAt(now) < 1:
		return w, errStrangers
	}
	record, err := n.deps.Record(ctx, id)
	if err != nil && domain.KindOf(err) != domain.KindNotFound {
		return w, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.strangers.AllowN(now, 1)
		delete(n.cached, id)
		keepNotice(n.unknown, id, now)
		return cachedWatch{}, nil
	}
	w = cachedWatch{record, now}
	delete(n.unknown, id)
	keepNotice(n.cached, id, w)
	return w, nil
}

// keepNotice remembers v, in the place of any other where there is no room: that one is read again when it is needed.
func keepNotice[V any](m map[domain.WatchID]V, id domain.WatchID, v V) {
	if _, there := m[id]; !there && len(m) >= watchesCached {
		for other := range m {
			delete(m, other)
			break
		}
	}
	m[id] = v
}

func (n *Notices) forget(id domain.WatchID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cached, id)
}

// leaveUnread lets go of a body that nobody wants: its sender must not hold the connection by sending it slowly.
func (v *visit) leaveUnread(w http.ResponseWriter, r *http.Request) {
	if !v.read && r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		_ = v.slow.SetReadDeadline(time.Now().Add(unreadGrace)) // not every writer in tests has a connection
	}
}

// refuse answers with a status and no words: whoever posts to a watch is a machine, or a stranger who is to learn nothing.
func (n *Notices) refuse(w *echo.Response, r *http.Request, v *visit, err error) (outcome string) {
	status, code := statusOf(err)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		status, code = http.StatusServiceUnavailable, string(domain.KindUnavailable)
	}
	v.leaveUnread(w, r)
	for name, values := range (&Problem{Status: status, retryAfter: max(domain.RetryAfter(err), time.Second)}).GetHeaders() {
		if status != http.StatusUnauthorized {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(status)
	if status >= http.StatusInternalServerError && n.says.Allow() {
		n.log.Warn("a message to a watch was not taken", "code", code, "error", err)
	}
	return reasonOf(err, code)
}

// notify is passed by chain: no deadline timer and no access log.
func (s *Server) notify(c echo.Context) error {
	if s.deps.Notices == nil {
		writeProblem(c.Response(), c.Request(), domain.E(domain.KindUnavailable, "this server takes no notices"))
		return nil
	}
	return s.deps.Notices.Handle(c)
}
