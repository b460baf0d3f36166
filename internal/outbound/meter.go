package outbound

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/rules/breaker"
)

// Why a call was held back, as the label of its metric.
const (
	heldByLimit   = "limit"
	heldByPause   = "pause"
	heldByCircuit = "circuit"
)

var outcomes = map[breaker.Outcome]string{breaker.Worked: "worked", breaker.Failed: "failed", breaker.Unknown: "unknown"}

// meter holds the metrics. Labels are names of providers and words of ours, never a host: hosts come from settings.
type meter struct {
	d                  *Discipline
	calls, heldBack    *prometheus.CounterVec
	openings           *prometheus.CounterVec
	leases             prometheus.Counter
	unleased, unstored prometheus.Counter
	circuits           *prometheus.Desc
	waiting            *prometheus.Desc
}

func newMeter(d *Discipline) *meter {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &meter{d: d,
		calls:    vector("wedsync_outbound_calls_total", "Calls of outside systems, by whether the system answered.", "provider", "outcome"),
		heldBack: vector("wedsync_outbound_held_total", "Calls that were not sent: over a limit, in a pause that the system asked for, or because it does not answer.", "provider", "why"),
		openings: vector("wedsync_outbound_circuit_openings_total", "Times that a system was found not to answer.", "provider"),
		leases:   counter("wedsync_outbound_leases_total", "Questions to Postgres for shares of limits, each for many."),
		unleased: counter("wedsync_outbound_lease_failures_total", "Such questions that were not answered; each process then gives half of a limit by itself."),
		unstored: counter("wedsync_outbound_circuit_store_failures_total", "Times that circuits could not be read or written."),
		circuits: prometheus.NewDesc("wedsync_outbound_circuits", "Lines to outside systems on which calls are held back, as this process knows.", []string{"state"}, nil),
		waiting:  prometheus.NewDesc("wedsync_outbound_waiting", "Calls that wait for their turn at a limit.", nil, nil),
	}
}

func (m *meter) called(provider string, o breaker.Outcome) {
	m.calls.WithLabelValues(provider, outcomes[o]).Inc()
}

func (m *meter) held(provider, why string) { m.heldBack.WithLabelValues(provider, why).Inc() }

func (m *meter) opened(provider string) { m.openings.WithLabelValues(provider).Inc() }

func (m *meter) parts() []prometheus.Collector {
	return []prometheus.Collector{m.calls, m.heldBack, m.openings, m.leases, m.unleased, m.unstored}
}

// Describe is prometheus.Collector.
func (m *meter) Describe(to chan<- *prometheus.Desc) {
	for _, p := range m.parts() {
		p.Describe(to)
	}
	to <- m.circuits
	to <- m.waiting
}

// Collect is prometheus.Collector.
func (m *meter) Collect(to chan<- prometheus.Metric) {
	for _, p := range m.parts() {
		p.Collect(to)
	}
	now := m.d.o.Now()
	open, paused := 0, 0
	m.d.circuits.Lock()
	for _, c := range m.d.circuits.byPlace {
		switch {
		case c.state.Open:
			open++
		case c.paused.After(now):
			paused++
		}
	}
	m.d.circuits.Unlock()
	waiting := 0
	m.d.limits.Lock()
	for _, t := range m.d.limits.turns {
		waiting += t.alive
	}
	m.d.limits.Unlock()
	m.d.slots.Lock()
	for _, p := range m.d.slots.byKey {
		waiting += p.alive
	}
	m.d.slots.Unlock()
	to <- prometheus.MustNewConstMetric(m.circuits, prometheus.GaugeValue, float64(open), "open")
	to <- prometheus.MustNewConstMetric(m.circuits, prometheus.GaugeValue, float64(paused), "paused")
	to <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(waiting))
}
