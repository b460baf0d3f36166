package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/store"
)

// lagCollector shows how long changes took from their systems to us, or copies from us to them.
type lagCollector struct {
	storedFigures[map[string]store.LagTotals]
	desc *prometheus.Desc
}

// NewLagCollector makes the histogram wedsync_sync_lag_seconds by provider. read is store.Store.LagTotals, which is asked at
// most every 15 s; while it does not answer the last figures are shown.
func NewLagCollector(read func(ctx context.Context) (map[string]store.LagTotals, error), now func() time.Time, log *slog.Logger) prometheus.Collector {
	return newLagCollector("wedsync_sync_lag_seconds", "Time from a change in an outside system to its effect here, as far as it can be told.", read, now, log)
}

// NewPushLagCollector makes the histogram wedsync_push_lag_seconds by provider. read is store.Store.PushLagTotals; the rest is
// as for NewLagCollector.
func NewPushLagCollector(read func(ctx context.Context) (map[string]store.LagTotals, error), now func() time.Time, log *slog.Logger) prometheus.Collector {
	return newLagCollector("wedsync_push_lag_seconds", "Time from a change here to its copy in an outside system.", read, now, log)
}

func newLagCollector(name, help string, read func(ctx context.Context) (map[string]store.LagTotals, error), now func() time.Time, log *slog.Logger) *lagCollector {
	return &lagCollector{storedFigures: storedFigures[map[string]store.LagTotals]{what: "lags", read: read, now: now, log: log},
		desc: prometheus.NewDesc(name, help+" Every server shows the figures of all.", []string{"provider"}, nil)}
}

// Describe is for the registry.
func (c *lagCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect is for the registry.
func (c *lagCollector) Collect(out chan<- prometheus.Metric) {
	for provider, t := range c.newest() {
		upTo, count := make(map[float64]uint64, len(store.LagBounds)), uint64(0)
		for n, in := range t.Buckets {
			count += uint64(in)
			if n < len(store.LagBounds) {
				upTo[store.LagBounds[n].Seconds()] = count
			}
		}
		out <- prometheus.MustNewConstHistogram(c.desc, count, t.Sum.Seconds(), upTo, provider)
	}
}
