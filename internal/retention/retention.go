// Package retention removes what has been kept long enough: raw bodies of webhooks, then their rows, old live events, the
// log of refused webhooks, results of probes and kept pages of failed readings.
//
//	job, err := retention.New(store, retention.Options{Bodies: 30 * 24 * time.Hour}, metrics, log)
//	go job.Run(ctx)                 // in every server
//	report, err := job.Once(ctx)    // `wedsync retention run`
//
// A pass goes through every organisation in steps of a few hundred rows, each a short transaction, with a pause between
// them. Rows that anybody has locked are left for the next pass, so intake and workers never wait for it, and it may run
// in any number of processes at once: what one has removed, the other does not find. A pass that fails says so, leaves
// what it did, and the next one begins anew. Each day's counts go into the audit trail once the day is over.
//
// What waits (received, retrying) is never touched. A dead delivery keeps its raw body until its row goes, because
// somebody may still want to mend its cause and replay it.
//
// The tests run on real Postgres with a clock of their own.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// Bounds of the settings.
const (
	Day = 24 * time.Hour
	// LeastRows is the least time that rows are kept, because vendors repeat webhooks and a repeat must be recognised.
	LeastRows = 30 * Day
	// MostKept bounds all of them.
	MostKept = 3650 * Day
)

// Store is what the job needs of storage: store.Store.
type Store interface {
	Organizations(ctx context.Context) ([]domain.Organization, error)
	EraseBodies(ctx context.Context, org domain.OrgID, before time.Time, after domain.DeliveryID, limit int) (store.Retained, error)
	DeleteDeliveries(ctx context.Context, org domain.OrgID, before time.Time, after domain.DeliveryID, limit int) (store.Retained, error)
	PurgeStream(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeRefusals(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeProbes(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeSnapshots(ctx context.Context, before time.Time, limit int) (int, error)
	AuditRetention(ctx context.Context, limit int) (int, error)
}

// Options say how long things are kept. The zero value of every field takes its default.
type Options struct {
	// Bodies is how long raw bodies are kept, default 30 days; 1 day at least and not longer than Rows.
	Bodies time.Duration
	// Rows is how long deliveries are kept, which is the dedupe window, default 90 days, 30 at least.
	Rows time.Duration
	// Stream is how long live events are kept, default 30 days; Refusals the log of refused webhooks, default 7.
	Stream   time.Duration
	Refusals time.Duration
	// Every is the time between passes, default 10 minutes, spread by a fifth. Batch is the rows of a step, default 500,
	// and Pause the time between two steps, default 100 ms.
	Every time.Duration
	Batch int
	Pause time.Duration
	Now   func() time.Time // nil = time.Now
}

// Defaults returns o with its defaults filled in.
func (o Options) Defaults() Options {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&o.Bodies, 30 * Day}, {&o.Rows, 90 * Day}, {&o.Stream, 30 * Day}, {&o.Refusals, 7 * Day}, {&o.Every, 10 * time.Minute}, {&o.Pause, 100 * time.Millisecond}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if o.Batch == 0 {
		o.Batch = 500
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Validate returns every fault at once, each naming the setting and its limits.
func (o Options) Validate() error {
	o = o.Defaults()
	var faults []error
	if o.Rows < LeastRows || o.Rows > MostKept {
		faults = append(faults, domain.Invalid("keep-deliveries", "must be %s to %s, is %s: it is the time in which a repeated webhook is recognised", LeastRows, MostKept, o.Rows))
	}
	if o.Bodies < Day || o.Bodies > o.Rows {
		faults = append(faults, domain.Invalid("keep-bodies", "must be %s to keep-deliveries (%s), is %s", Day, o.Rows, o.Bodies))
	}
	if o.Batch < 1 || o.Batch > 10_000 {
		faults = append(faults, domain.Invalid("batch", "must be 1 to 10000, is %d", o.Batch))
	}
	return errors.Join(faults...)
}

// Report counts what a pass removed.
type Report struct {
	Erased   int `json:"erased"`   // raw bodies
	Deleted  int `json:"deleted"`  // deliveries
	Events   int `json:"events"`   // live events
	Refusals int `json:"refusals"` // refused webhooks
	Probes   int `json:"probes"`   // rows of probes, each of some minutes of one connection
	Pages    int `json:"pages"`    // kept pages of failed readings, after domain.SnapshotLife
	Lines    int `json:"lines"`    // written to the audit trail
}

// Job removes what is old.
type Job struct {
	db      Store
	o       Options
	log     *slog.Logger
	removed *prometheus.CounterVec
	passes  *prometheus.CounterVec
	took    prometheus.Gauge

	// How far bodies are erased, by organisation. What was passed over there, because it waited or was locked, is found
	// when the walk begins anew.
	reached map[domain.OrgID]domain.DeliveryID
	anew    time.Time
}

// New makes a Job. Errors: options out of their limits, metrics registered twice. metrics and log may be nil.
func New(db Store, o Options, metrics prometheus.Registerer, log *slog.Logger) (*Job, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	j := &Job{db: db, o: o.Defaults(), log: log, reached: make(map[domain.OrgID]domain.DeliveryID),
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wedsync_retention_removed_total",
			Help: "What retention removed: bodies erased, deliveries, events, refusals and rows of probes deleted."}, []string{"kind"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wedsync_retention_passes_total", Help: "Passes of retention, by outcome."}, []string{"outcome"}),
		took:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "wedsync_retention_pass_seconds", Help: "Time that the last pass took."})}
	if metrics != nil {
		for _, c := range []prometheus.Collector{j.removed, j.passes, j.took} {
			if err := metrics.Register(c); err != nil {
				return nil, domain.E(domain.KindInternal, "register retention metrics: %w", err)
			}
		}
	}
	return j, nil
}

// Run makes a pass now and then until ctx ends. Faults are logged and tried again.
func (j *Job) Run(ctx context.Context) {
	timer := time.NewTimer(rand.N(j.o.Every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if _, err := j.Once(ctx); err != nil && ctx.Err() == nil {
			j.log.Warn("what is old could not be removed; trying again later", "error", err)
		}
		timer.Reset(j.o.Every - j.o.Every/10 + rand.N(j.o.Every/5+1))
	}
}

// Once makes one pass and returns what it did, also when it fails. The first pass of a Job, and one a day after it, looks at
// everything that is old enough; the others go on where the one before ended. It must not run twice at once.
func (j *Job) Once(ctx context.Context) (r Report, err error) {
	began := time.Now()
	defer func() {
		outcome := "ok"
		if err != nil {
			outcome = "error"
		}
		j.passes.WithLabelValues(outcome).Inc()
		j.took.Set(time.Since(began).Seconds())
	}()
	now := j.o.Now()
	orgs, err := j.db.Organizations(ctx)
	if err != nil {
		return r, err
	}
	if now.Sub(j.anew) >= Day {
		clear(j.reached)
		j.anew = now
	}
	for _, org := range orgs {
		// Rows that go altogether need no erasing first.
		if _, err := j.walk(ctx, org.ID, "", "deliveries", &r.Deleted, now.Add(-j.o.Rows), j.db.DeleteDeliveries); err != nil {
			return r, err
		}
		if j.reached[org.ID], err = j.walk(ctx, org.ID, j.reached[org.ID], "bodies", &r.Erased, now.Add(-j.o.Bodies), j.db.EraseBodies); err != nil {
			return r, err
		}
	}
	if err := j.purge(ctx, "events", &r.Events, now.Add(-j.o.Stream), j.db.PurgeStream); err != nil {
		return r, err
	}
	if err := j.purge(ctx, "refusals", &r.Refusals, now.Add(-j.o.Refusals), j.db.PurgeRefusals); err != nil {
		return r, err
	}
	if err := j.purge(ctx, "probes", &r.Probes, now.Add(-store.ProbesKept), j.db.PurgeProbes); err != nil {
		return r, err
	}
	if err := j.purge(ctx, "pages", &r.Pages, now.Add(-domain.SnapshotLife), j.db.PurgeSnapshots); err != nil {
		return r, err
	}
	r.Lines, err = j.db.AuditRetention(ctx, 1000)
	return r, err
}

type step func(ctx context.Context, org domain.OrgID, before time.Time, after domain.DeliveryID, limit int) (store.Retained, error)

// walk takes steps behind an id until nothing is old enough, and returns the id that it came to.
func (j *Job) walk(ctx context.Context, org domain.OrgID, after domain.DeliveryID, kind string, sum *int, before time.Time, do step) (domain.DeliveryID, error) {
	for {
		done, err := do(ctx, org, before, after, j.o.Batch)
		if err != nil {
			return after, err
		}
		*sum += done.Done
		j.removed.WithLabelValues(kind).Add(float64(done.Done))
		if after = done.Last; !done.More {
			return after, nil
		}
		if err := j.pause(ctx); err != nil {
			return after, err
		}
	}
}

func (j *Job) purge(ctx context.Context, kind string, sum *int, before time.Time, do func(context.Context, time.Time, int) (int, error)) error {
	for {
		n, err := do(ctx, before, j.o.Batch)
		if err != nil {
			return err
		}
		*sum += n
		j.removed.WithLabelValues(kind).Add(float64(n))
		if n < j.o.Batch {
			return nil
		}
		if err := j.pause(ctx); err != nil {
			return err
		}
	}
}

func (j *Job) pause(ctx context.Context) error {
	timer := time.NewTimer(j.o.Pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
