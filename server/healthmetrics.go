package server

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// mostPlatforms bounds the label platform. Providers are a list of the build, so there are fewer; a database that knows more,
// of other builds, has the rest together under "other".
const mostPlatforms = 60

// healthCollector shows how connected systems do. An integration's id is never a label.
type healthCollector struct {
	storedFigures[map[string]store.HealthTotals]

	states, probes, took, lag *prometheus.Desc
}

// NewHealthCollector makes wedsync_integrations, wedsync_probes_total, wedsync_probe_seconds and wedsync_probe_lag_seconds by
// platform. read is store.Store.HealthTotals, which is asked at most every 15 s; while it does not answer the last figures are
// shown.
func NewHealthCollector(read func(ctx context.Context) (map[string]store.HealthTotals, error), now func() time.Time, log *slog.Logger) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help+" Every server shows the figures of all.", append([]string{"platform"}, labels...), nil)
	}
	return &healthCollector{storedFigures: storedFigures[map[string]store.HealthTotals]{what: "health", read: read, now: now, log: log},
		states: desc("wedsync_integrations", "Connections by platform and health.", "state"),
		probes: desc("wedsync_probes_total", "Probes by platform and outcome; only ok and failed say anything of the system.", "outcome"),
		took:   desc("wedsync_probe_seconds", "Time that answers to probes took."),
		lag:    desc("wedsync_probe_lag_seconds", "How late probes began: the prober's own lag.")}
}

// Describe is for the registry.
func (c *healthCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.states, c.probes, c.took, c.lag} {
		out <- d
	}
}

// Collect is for the registry.
func (c *healthCollector) Collect(out chan<- prometheus.Metric) {
	for platform, t := range bounded(c.newest()) {
		for _, state := range domain.HealthStates() {
			out <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(t.States[state]), platform, string(state))
		}
		for o := domain.ProbeOK; o <= domain.ProbeBlind; o++ {
			out <- prometheus.MustNewConstMetric(c.probes, prometheus.CounterValue, float64(t.Outcomes[o]), platform, o.String())
		}
		out <- histogram(c.took, domain.ProbeBounds, t.Took, t.TookSum, platform)
		out <- histogram(c.lag, domain.ProbeLagBounds, t.Lag, t.LagSum, platform)
	}
}

func histogram(desc *prometheus.Desc, bounds []time.Duration, h domain.Histogram, sum time.Duration, labels ...string) prometheus.Metric {
	upTo, count := make(map[float64]uint64, len(bounds)), uint64(0)
	for n, b := range bounds {
		if n < len(h) {
			count += uint64(h[n])
		}
		upTo[b.Seconds()] = count
	}
	return prometheus.MustNewConstHistogram(desc, uint64(h.Count()), sum.Seconds(), upTo, labels...)
}

// bounded keeps the platforms few.
func bounded(totals map[string]store.HealthTotals) map[string]store.HealthTotals {
	if len(totals) <= mostPlatforms {
		return totals
	}
	var names []string
	for name := range totals {
		names = append(names, name)
	}
	slices.Sort(names)
	out := make(map[string]store.HealthTotals, mostPlatforms)
	other := store.HealthTotals{States: map[domain.HealthState]int{}, Outcomes: map[domain.ProbeOutcome]int64{}}
	for n, name := range names {
		t := totals[name]
		if n < mostPlatforms-1 {
			out[name] = t
			continue
		}
		for s, k := range t.States {
			other.States[s] += k
		}
		for o, k := range t.Outcomes {
			other.Outcomes[o] += k
		}
		other.Took, other.Lag = other.Took.Merge(t.Took), other.Lag.Merge(t.Lag)
		other.TookSum, other.LagSum = other.TookSum+t.TookSum, other.LagSum+t.LagSum
	}
	out["other"] = other
	return out
}
