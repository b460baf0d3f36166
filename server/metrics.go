package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/stream"
)

// metrics are the server's own. Labels have the routes of the table only, never a path as it was asked for.
type metrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	handler  http.Handler
}

func newMetrics(reg *prometheus.Registry, hub *stream.Hub) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wedsync_http_requests_total",
			Help: "Requests answered, without webhooks."}, []string{"method", "route", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "wedsync_http_request_seconds",
			Help: "Time to answer, without webhooks and live streams.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}, []string{"route"}),
		handler: promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}),
	}
	count := func(name, help string, f func(stream.Counts) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return f(hub.Counts()) })
	}
	for _, c := range []prometheus.Collector{m.requests, m.took,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wedsync_stream_subscribers", Help: "Open live streams."},
			func() float64 { return float64(hub.Counts().Subscribers) }),
		count("wedsync_stream_events_total", "Events handed to live streams.", func(c stream.Counts) float64 { return float64(c.Events) }),
		count("wedsync_stream_dropped_total", "Live streams closed because they were too slow.", func(c stream.Counts) float64 { return float64(c.Dropped) }),
		count("wedsync_stream_refused_total", "Live streams refused beyond a limit.", func(c stream.Counts) float64 { return float64(c.Refused) }),
		count("wedsync_stream_read_failures_total", "Reads of the live stream that did not work.", func(c stream.Counts) float64 { return float64(c.Failures) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, domain.E(domain.KindInternal, "register server metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(method, route string, status int, took time.Duration, endless bool) {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodHead, http.MethodPut:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	if !endless {
		m.took.WithLabelValues(route).Observe(took.Seconds())
	}
}

func (s *Server) showMetrics(c echo.Context) error {
	s.metrics.handler.ServeHTTP(c.Response(), c.Request())
	return nil
}

// MetricsHandler serves the metrics without any check, for a listener of its own.
func (s *Server) MetricsHandler() http.Handler { return s.metrics.handler }

func (s *Server) hasCodec() bool { return s.deps.Codec != nil }

func (s *Server) codec(c echo.Context) error {
	h := c.Response().Header()
	h.Del("Cross-Origin-Resource-Policy") // Temporal's UI is another origin; the handler decides which one may
	s.deps.Codec.ServeHTTP(c.Response(), c.Request())
	return nil
}
