package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// weddingCollector shows where the care for weddings stands, of all organisations together.
type weddingCollector struct {
	storedFigures[store.CareTotals]

	states, preflights *prometheus.Desc
}

// NewWeddingCollector makes wedsync_weddings and wedsync_wedding_preflights. read is store.Store.CareTotals, which is asked at most
// every 15 s; while it does not answer the last figures are shown.
func NewWeddingCollector(read func(ctx context.Context) (store.CareTotals, error), now func() time.Time, log *slog.Logger) prometheus.Collector {
	return &weddingCollector{storedFigures: storedFigures[store.CareTotals]{what: "weddings", read: read, now: now, log: log},
		states: prometheus.NewDesc("wedsync_weddings", "Weddings that are or were looked after, by state. Every server shows the figures of all.", []string{"state"}, nil),
		preflights: prometheus.NewDesc("wedsync_wedding_preflights", "Weddings within a week or on their day, by the outcome of their newest preflight. Every server shows the figures of all.",
			[]string{"outcome"}, nil)}
}

// Describe is for the registry.
func (c *weddingCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.states
	out <- c.preflights
}

// Collect is for the registry.
func (c *weddingCollector) Collect(out chan<- prometheus.Metric) {
	totals := c.newest()
	for _, s := range domain.CareStates() {
		out <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(totals.States[s]), string(s))
	}
	for _, s := range []domain.CheckState{domain.CheckBlocking, domain.CheckAttention, domain.CheckOK} {
		out <- prometheus.MustNewConstMetric(c.preflights, prometheus.GaugeValue, float64(totals.Preflights[s]), string(s))
	}
}
