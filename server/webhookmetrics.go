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
}

func newIntakeMetrics() *intakeMetrics {
	m := &intakeMetrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_webhooks_acknowledged_total", Help: "Webhooks acknowledged, by status told to the vendor."}, []string{"status"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_webhooks_refused_total", Help: "Webhooks refused, by problem code."}, []string{"code"}),
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wedsync_webhook_signatures_refused_total", Help: "Signatures refused, by reason."}, []string{"reason"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wedsync_webhook_ack_seconds", Help: "Time from the headers of a webhook to its acknowledgement, commit included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
	}
	m.accepted, m.duplicates = m.answers.WithLabelValues("accepted"), m.answers.WithLabelValues("duplicate")
	return m
}

func (m *intakeMetrics) register(r prometheus.Registerer, in *Intake) error {
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.answers, m.refusals, m.signatures, m.took, in.refusals.kept,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wedsync_webhooks_in_flight", Help: "Webhooks under way."},
			func() float64 { return float64(in.inFlight.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wedsync_webhook_integrations_ready", Help: "Integrations kept ready for their webhooks."},
			func() float64 { return float64(in.cache.size()) }),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
