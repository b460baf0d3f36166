package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

func TestLagsOfAllProcessesAreShownAsAHistogram(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)
	reads := 0
	var fault error
	reg := prometheus.NewRegistry()
	reg.MustRegister(NewLagCollector(func(context.Context) (map[string]store.LagTotals, error) {
		reads++
		return map[string]store.LagTotals{"google": {Buckets: []int64{3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, int64(reads)}, Sum: 90 * time.Second}}, fault
	}, func() time.Time { return now }, slog.New(slog.DiscardHandler)))
	show := func() string {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		text, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := func(text string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("%q is missing in\n%s", line, text)
			}
		}
	}
	want(show(), `wedsync_sync_lag_seconds_bucket{provider="google",le="1"} 3`, `wedsync_sync_lag_seconds_bucket{provider="google",le="2"} 5`,
		`wedsync_sync_lag_seconds_bucket{provider="google",le="86400"} 5`, `wedsync_sync_lag_seconds_bucket{provider="google",le="+Inf"} 6`,
		`wedsync_sync_lag_seconds_sum{provider="google"} 90`)
	now = now.Add(10 * time.Second)
	want(show(), `wedsync_sync_lag_seconds_count{provider="google"} 6`)
	now, fault = now.Add(10*time.Second), domain.E(domain.KindUnavailable, "down")
	want(show(), `wedsync_sync_lag_seconds_count{provider="google"} 6`)
	now, fault = now.Add(20*time.Second), nil
	want(show(), `wedsync_sync_lag_seconds_count{provider="google"} 8`)
	if reads != 3 {
		t.Errorf("storage was read %d times", reads)
	}
}
