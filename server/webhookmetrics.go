package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

// intakeMetrics has labels with few values only, none of them chosen by senders.
type intakeMetrics struct {
	accepted, duplicates prometheus.Counter
	refusals, signatures *prometheus.CounterVec
	took                 prometheus.Histogram
	answers              *prometheus.CounterVec
	admissions           *prometheus.CounterVec
	admitNew, admitAgain prometheus.Counter
	guardErrors          prometheus.Counter
}

func newIntakeMetrics() *intakeMetrics {
	m := &intakeMetrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_webhooks_acknowledged_total", Help: "Webhooks acknowledged, by status told to the vendor."}, []string{"status"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_webhooks_refused_total", Help: "Webhooks refused, by problem code."}, []string{"code"}),
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_webhook_signatures_refused_total", Help: "Signatures refused, by reason."}, []string{"reason"}),
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_webhook_admissions_total", Help: "Decisions about webhooks: accepted, duplicate, or the reason of the refusal."}, []string{"decision"}),
		guardErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wedsync_webhook_limit_errors_total", Help: "Times that limits could not ask Postgres; each server then gives its share."}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wedsync_webhook_ack_seconds", Help: "Time from the headers of a webhook to its acknowledgement, commit included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
	}
	m.accepted, m.duplicates = m.answers.WithLabelValues("accepted"), m.answers.WithLabelValues("duplicate")
	m.admitNew, m.admitAgain = m.admissions.WithLabelValues("accepted"), m.admissions.WithLabelValues("duplicate")
	return m
}

func (m *intakeMetrics) register(r prometheus.Registerer, in *Intake) error {
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.answers, m.refusals, m.signatures, m.took, m.admissions, m.guardErrors, in.refusals.kept,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wedsync_webhooks_in_flight", Help: "Webhooks under way."},
			func() float64 { return float64(in.inFlight.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wedsync_webhook_backlog_shedding", Help: "1 while webhooks are refused because too many wait."},
			func() float64 {
				if in.guard.backlog.Load() {
					return 1
				}
				return 0
			}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wedsync_webhook_integrations_ready", Help: "Integrations kept ready for their webhooks."},
			func() float64 { return float64(in.cache.size()) }),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
