package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/store"
)

const (
	lagsFreshFor = 15 * time.Second
	lagsTimeout  = 5 * time.Second
)

// lagCollector shows how long changes took from their systems to us. Workers have no port and many processes measure, so
// the figures are read from storage: every server shows those of all.
type lagCollector struct {
	read func(ctx context.Context) (map[string]store.LagTotals, error)
	now  func() time.Time
	log  *slog.Logger
	desc *prometheus.Desc

	mu     sync.Mutex
	readAt time.Time
	totals map[string]store.LagTotals
}

// NewPushLagCollector makes the histogram wedsync_push_lag_seconds by provider. read is store.Store.PushLagTotals; the rest is
// as for NewLagCollector.
func NewPushLagCollector(read func(ctx context.Context) (map[string]store.LagTotals, error), now func() time.Time, log *slog.Logger) prometheus.Collector {
	return &lagCollector{read: read, now: now, log: log, desc: prometheus.NewDesc("wedsync_push_lag_seconds",
		"Time from a change here to its copy in an outside system. Every server shows the figures of all.", []string{"provider"}, nil)}
}

// NewLagCollector makes the histogram wedsync_sync_lag_seconds by provider. read is store.Store.LagTotals, which is asked at
// most every 15 s; while it does not answer the last figures are shown.
func NewLagCollector(read func(ctx context.Context) (map[string]store.LagTotals, error), now func() time.Time, log *slog.Logger) prometheus.Collector {
	return &lagCollector{read: read, now: now, log: log, desc: prometheus.NewDesc("wedsync_sync_lag_seconds",
		"Time from a change in an outside system to its effect here, as far as it can be told. Every server shows the figures of all.", []string{"provider"}, nil)}
}

// Describe is for the registry.
func (c *lagCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect is for the registry.
func (c *lagCollector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.readAt.IsZero() || now.Sub(c.readAt) >= lagsFreshFor {
		ctx, cancel := context.WithTimeout(context.Background(), lagsTimeout)
		totals, err := c.read(ctx)
		cancel()
		if err != nil {
			c.log.Warn("lags for metrics could not be read; the last figures are shown", "error", err)
		} else {
			c.totals = totals
		}
		c.readAt = now
	}
	for provider, t := range c.totals {
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
