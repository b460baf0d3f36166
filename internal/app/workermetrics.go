package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wedsync/wedsync/internal/domain"
)

// checkMetricsAddr refuses an address on which everybody could read.
func (c Config) checkMetricsAddr() error {
	if c.WorkerMetricsAddr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.WorkerMetricsAddr)
	if err != nil {
		return domain.Invalid("worker-metrics-addr", "must be host:port")
	}
	if ip := net.ParseIP(host); c.MetricsToken == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return domain.Invalid("worker-metrics-addr", "must be of this machine, such as 127.0.0.1:9090, unless metrics-token is set")
	}
	return nil
}

// serveMetrics shows a worker's metrics at /metrics of its own address, if it has one, until ctx ends.
func (c *Core) serveMetrics(ctx context.Context) error {
	if c.Config.WorkerMetricsAddr == "" {
		return nil
	}
	l, err := net.Listen("tcp", c.Config.WorkerMetricsAddr)
	if err != nil {
		return domain.E(domain.KindInvalid, "worker-metrics-addr: cannot listen on %s", c.Config.WorkerMetricsAddr)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", c.metricsHandler())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, MaxHeaderBytes: 16 << 10}
	context.AfterFunc(ctx, func() { _ = srv.Close() }) // a reader that is cut off asks again elsewhere
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("the metrics of this worker are not shown any more", "error", err)
		}
	}()
	return nil
}

func (c *Core) metricsHandler() http.Handler {
	shown := promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
	want := sha256.Sum256([]byte("Bearer " + c.Config.MetricsToken))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if c.Config.MetricsToken != "" && subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			http.Error(w, "not the metrics token", http.StatusUnauthorized)
			return
		}
		shown.ServeHTTP(w, r)
	})
}
