package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// weddingCollector shows where the care for weddings stands, of all organisations together. It is read from storage, so every
// server shows the figures of all.
type weddingCollector struct {
	read func(ctx context.Context) (store.CareTotals, error)
	now  func() time.Time
	log  *slog.Logger

	states, preflights *prometheus.Desc

	mu     sync.Mutex
	readAt time.Time
	totals store.CareTotals
}

// NewWeddingCollector makes wedsync_weddings and wedsync_wedding_preflights. read is store.Store.CareTotals, which is asked at most
// every 15 s; while it does not answer the last figures are shown.
func NewWeddingCollector(read func(ctx context.Context) (store.CareTotals, error), now func() time.Time, log *slog.Logger) prometheus.Collector {
	return &weddingCollector{read: read, now: now, log: log,
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.readAt.IsZero() || now.Sub(c.readAt) >= lagsFreshFor {
		ctx, cancel := context.WithTimeout(context.Background(), lagsTimeout)
		totals, err := c.read(ctx)
		cancel()
		if err != nil {
			c.log.Warn("weddings for metrics could not be read; the last figures are shown", "error", err)
		} else {
			c.totals = totals
		}
		c.readAt = now
	}
	for _, s := range domain.CareStates() {
		out <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(c.totals.States[s]), string(s))
	}
	for _, s := range []domain.CheckState{domain.CheckBlocking, domain.CheckAttention, domain.CheckOK} {
		out <- prometheus.MustNewConstMetric(c.preflights, prometheus.GaugeValue, float64(c.totals.Preflights[s]), string(s))
	}
}
