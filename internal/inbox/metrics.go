package inbox

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics has no label per tenant or integration, so its size does not grow with them.
type metrics struct {
	queueFull    prometheus.Counter
	commits      prometheus.Histogram
	batchRows    prometheus.Histogram
	commitErrors prometheus.Counter
	signals      *prometheus.CounterVec
	linger       prometheus.Histogram
	dropped      prometheus.Counter
	swept        prometheus.Counter
	sweeps       *prometheus.CounterVec
	relayed      prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		queueFull: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wedsync_inbox_queue_full_total", Help: "Deliveries refused because the intake queue was full."}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wedsync_inbox_commit_seconds", Help: "Time of one grouped insert with its commit.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		batchRows: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wedsync_inbox_batch_rows", Help: "Deliveries stored by one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10)}),
		commitErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wedsync_inbox_commit_errors_total", Help: "Batches that could not be stored."}),
		signals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_inbox_signals_total", Help: "Signals and starts sent to Temporal, by kind and outcome."},
			[]string{"kind", "outcome"}),
		linger: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wedsync_inbox_linger_seconds", Help: "Time from the first piece of work for a workflow to its signal.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wedsync_inbox_ids_dropped_total", Help: "Delivery ids not kept in memory; the workflow reads them from storage."}),
		swept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wedsync_inbox_swept_integrations_total", Help: "Integrations with forgotten work found by a sweep."}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_inbox_sweeps_total", Help: "Sweeps, by outcome."}, []string{"outcome"}),
		relayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wedsync_inbox_outbox_rows_total", Help: "Outbox rows passed on to Temporal and deleted."}),
	}
}

// register adds everything to r, with gauges that are read when scraped. A nil r registers nothing.
func (m *metrics) register(r prometheus.Registerer, w *Writer, d *Dispatcher) error {
	if r == nil {
		return nil
	}
	gauge := func(name, help string, read func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
	}
	for _, c := range []prometheus.Collector{m.queueFull, m.commits, m.batchRows, m.commitErrors, m.signals, m.linger,
		m.dropped, m.swept, m.sweeps, m.relayed,
		gauge("wedsync_inbox_queue_depth", "Deliveries waiting for a committer.", w.depth),
		gauge("wedsync_inbox_pending_ids", "Delivery ids waiting for their signal.", func() int { return d.Stats().IDs }),
		gauge("wedsync_inbox_pending_targets", "Workflows waiting for their signal.", func() int { return d.Stats().Targets }),
		gauge("wedsync_inbox_backing_off", "1 while Temporal does not answer.", func() int {
			if d.Stats().BackingOff {
				return 1
			}
			return 0
		}),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
