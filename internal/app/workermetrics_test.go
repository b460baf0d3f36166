package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAWorkersMetricsAreNotForEverybody(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{"": true, "127.0.0.1:9090": true, "localhost:9090": true, "[::1]:9090": true, "0.0.0.0:9090": false, ":9090": false, "9090": false} {
		if err := (Config{WorkerMetricsAddr: addr}).checkMetricsAddr(); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
	if err := (Config{WorkerMetricsAddr: "0.0.0.0:9090", MetricsToken: "hush"}).checkMetricsAddr(); err != nil {
		t.Errorf("with a token: %v", err)
	}
	c := &Core{Config: Config{MetricsToken: "hush"}, Metrics: prometheus.NewRegistry()}
	c.Metrics.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "wedsync_one", Help: "One."}))
	for header, want := range map[string]int{"": http.StatusUnauthorized, "Bearer other": http.StatusUnauthorized, "Bearer hush": http.StatusOK} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		c.metricsHandler().ServeHTTP(w, r)
		if w.Code != want || strings.Contains(w.Body.String(), "wedsync_one") != (want == http.StatusOK) {
			t.Errorf("%q is answered %d", header, w.Code)
		}
	}
}
