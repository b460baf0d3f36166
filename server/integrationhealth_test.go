package server

import (
	"context"
	"fmt"
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

// sicken stores an hour of probes of a tenant's integration, and that it went down.
func (b *bundle) sicken(x tenant) {
	b.Helper()
	from := time.Now().UTC().Truncate(time.Hour)
	batch := store.ProbeBatch{Org: x.org, Integration: x.integration, Provider: "plain", From: from, Seconds: map[domain.HealthState]int64{domain.HealthUp: 600, domain.HealthDown: 30},
		Signals: []domain.HealthSignal{{Kind: domain.SignalSync, OK: true, Text: "last read a moment ago"}}}
	for n := range 100 {
		r := domain.ProbeResult{At: from.Add(time.Duration(n) * time.Second), Outcome: domain.ProbeOK, Took: 100 * time.Millisecond, Tries: 1}
		if n >= 97 {
			r.Outcome, r.Cause, r.Text, r.Tries = domain.ProbeFailed, domain.KindUnavailable, "timed out", 2
		}
		batch.Results, batch.Last = append(batch.Results, r), &r
	}
	b.must(b.store.SaveProbes(b.Context(), []store.ProbeBatch{batch}))
	moves := []store.HealthMove{
		{Integration: x.integration, To: domain.HealthUp, Reason: domain.HealthReason{Code: domain.HealthAnswers, Text: "it answers"}},
		{Integration: x.integration, To: domain.HealthDown, Reason: domain.HealthReason{Code: domain.HealthNoAnswer, Text: "3 confirmed probes in a row were not answered"}},
	}
	for _, m := range moves {
		_, err := b.store.MoveHealths(b.Context(), x.org, []store.HealthMove{m})
		b.must(err)
	}
}

func TestHealthIsToldWithItsReasonItsDayAndItsMoves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	x := b.tenant()
	b.sicken(x)
	viewer := b.token(x.org, domain.RoleViewer)
	var got struct {
		State  string
		Reason domain.HealthReason
		Day    struct {
			OK, Failed int
			Percent    *float64 `json:"availability_percent"`
			P95        int      `json:"p95_ms"`
			Seconds    map[string]int
		}
		Last struct {
			Outcome, Cause string
			Took           int `json:"took_ms"`
		} `json:"last_probe"`
		Signals []domain.HealthSignal
		Moves   []struct{ From, To string }
	}
	b.do("GET", "/v1/integrations/"+string(x.integration)+"/health", viewer, "").into(t, &got)
	if got.State != "down" || got.Reason.Code != domain.HealthNoAnswer || got.Reason.Text == "" || len(got.Signals) != 1 {
		t.Errorf("%+v", got)
	}
	if got.Day.OK != 97 || got.Day.Failed != 3 || got.Day.Percent == nil || *got.Day.Percent != 97 || got.Day.P95 < 85 || got.Day.P95 > 120 || got.Day.Seconds["down"] != 30 {
		t.Errorf("the day is %+v", got.Day)
	}
	if got.Last.Outcome != "failed" || got.Last.Cause != "unavailable" || got.Last.Took != 100 {
		t.Errorf("the last probe is %+v", got.Last)
	}
	if len(got.Moves) != 2 || got.Moves[0].To != "down" || got.Moves[1].To != "up" {
		t.Errorf("moves are %+v", got.Moves)
	}
	for _, path := range []string{"/v1/health", "/v1/integrations"} {
		if text := string(b.do("GET", path, viewer, "").body); !strings.Contains(text, "3 confirmed probes in a row were not answered") {
			t.Errorf("%s does not tell why: %s", path, text)
		}
	}
	other := b.tenant()
	if got := b.do("GET", "/v1/integrations/"+string(x.integration)+"/health", b.token(other.org, domain.RoleAdmin), ""); got.status != http.StatusNotFound {
		t.Errorf("a stranger is answered %d", got.status)
	}
}

func TestAnIntegrationThatWasNeverAskedHasNoAvailability(t *testing.T) {
	t.Parallel()
	b := setup(t)
	x := b.tenant()
	text := string(b.do("GET", "/v1/integrations/"+string(x.integration)+"/health", b.token(x.org, domain.RoleViewer), "").body)
	if !strings.Contains(text, `"state":"unknown"`) || strings.Contains(text, "availability_percent") || strings.Contains(text, "last_probe") {
		t.Error(text)
	}
}

func TestEveryStateOfHealthHasAWordOnTheDashboard(t *testing.T) {
	t.Parallel()
	for _, s := range domain.HealthStates() {
		m := markOf(domain.Health{State: s, Reason: domain.HealthReason{Text: "why"}})
		own := s == domain.HealthPaused || s == domain.HealthNeedsReconnect
		if (m.Word == "") != own || (m.Shape == "") != own || m.Why != "why" {
			t.Errorf("%s is shown as %+v", s, m)
		}
	}
}

func TestMetricsOfHealthAreOfPlatformsAndBounded(t *testing.T) {
	t.Parallel()
	now, fault := time.Date(2027, 6, 12, 12, 0, 0, 0, time.UTC), error(nil)
	totals := map[string]store.HealthTotals{"google": {States: map[domain.HealthState]int{domain.HealthDown: 2}, Outcomes: map[domain.ProbeOutcome]int64{domain.ProbeFailed: 7},
		Took: domain.Histogram(nil).Add(domain.ProbeBounds, 400*time.Millisecond), TookSum: 400 * time.Millisecond, Lag: domain.Histogram(nil).Add(domain.ProbeLagBounds, time.Millisecond)}}
	reads := 0
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewHealthCollector(func(context.Context) (map[string]store.HealthTotals, error) {
		reads++
		return totals, fault
	}, func() time.Time { return now }, slog.New(slog.DiscardHandler)))
	show := func() string {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	want := func(lines ...string) {
		t.Helper()
		text := show()
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("%q is missing in\n%s", line, text)
			}
		}
	}
	want(`wedsync_integrations{platform="google",state="down"} 2`, `wedsync_integrations{platform="google",state="up"} 0`,
		`wedsync_probes_total{outcome="failed",platform="google"} 7`, `wedsync_probe_seconds_bucket{platform="google",le="0.34"} 0`,
		`wedsync_probe_seconds_bucket{platform="google",le="0.5"} 1`, `wedsync_probe_seconds_sum{platform="google"} 0.4`,
		`wedsync_probe_lag_seconds_count{platform="google"} 1`)
	// While storage does not answer, the last figures are shown.
	now, fault = now.Add(time.Minute), domain.E(domain.KindUnavailable, "down")
	want(`wedsync_integrations{platform="google",state="down"} 2`)
	// Whatever a database knows, there are few platforms.
	now, fault, totals = now.Add(time.Minute), nil, map[string]store.HealthTotals{}
	for n := range 500 {
		totals[fmt.Sprintf("platform-%03d", n)] = store.HealthTotals{States: map[domain.HealthState]int{domain.HealthUp: 1}}
	}
	text := show()
	if n := strings.Count(text, `state="up"}`); n != 60 || !strings.Contains(text, `wedsync_integrations{platform="other",state="up"} 441`) {
		t.Errorf("%d platforms are shown", n)
	}
	if reads != 3 {
		t.Errorf("storage was asked %d times", reads)
	}
}
