package ingest_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/bench/ingest"
	"github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/providers/custom"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/webhookauth"
)

func TestMain(m *testing.M) {
	load.Child() // the generator is this program
	os.Exit(m.Run())
}

func TestAShortRunLosesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: needs PostgreSQL and Temporal")
	}
	r, err := ingest.Run(t.Context(), ingest.Options{
		Duration: time.Second, Warmup: -1, Connections: 8, Targets: 4, Dir: t.TempDir(), Say: func(line string) { t.Log(line) },
		Provider:  ingest.Provider{Registration: custom.Registration, Settings: crmsim.MinimalWebhookSettings(), SecretName: "webhook_secret"},
		NoWorkers: true, // signals wait in Temporal for workers that never come, as they may in the real system
	})
	if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	for name, v := range map[string]float64{"accept": r.AckedPerS, "full": r.FullAckedPerS, "naive": r.NaivePerS, "raw": r.RawRowsPerS,
		"ratio to naive": r.RatioVsNaive, "p50": r.P50, "p99": r.P99, "full p99": r.FullP99} {
		if v <= 0 {
			t.Errorf("%s: %v; want it measured", name, v)
		}
	}
	if r.Lost != 0 || r.Duplicated != 0 {
		t.Errorf("%d lost, %d duplicated; want none", r.Lost, r.Duplicated)
	}
}

func TestSchemesAreMeasuredOneByOne(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: needs PostgreSQL")
	}
	secret := "a-secret-of-more-than-thirty-two-bytes-for-all"
	r, err := ingest.RunSchemes(t.Context(), ingest.Options{
		Duration: 500 * time.Millisecond, Warmup: -1, Connections: 8, Targets: 100, Dir: t.TempDir(), Say: func(line string) { t.Log(line) },
		Provider: ingest.Provider{Registration: custom.Registration, Settings: crmsim.MinimalWebhookSettings(), SecretName: custom.SecretWebhook},
	}, []ingest.Scheme{
		{Name: "hmac", Auth: webhookauth.Config{Scheme: webhookauth.HMAC, Header: "X-Signature"}, Secret: secret},
		{Name: "bearer", Auth: webhookauth.Config{Scheme: webhookauth.Bearer}, Secret: secret},
		{Name: "left out", Auth: webhookauth.Config{Scheme: "none"}},
	}, []string{"hmac", "bearer"})
	if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	if len(r.Schemes) != 2 || r.Schemes[0].AckedPerS <= 0 || r.Schemes[1].P99 <= 0 || r.SlowestPerS <= 0 || r.Lost+r.Duplicated != 0 {
		t.Errorf("got %s; want two schemes measured and nothing lost", r.Line())
	}
}

func TestTheLineHasTheAgreedKeys(t *testing.T) {
	t.Parallel()
	want := `{"bench":"ingest","acked_per_s":0,"p50_ms":0,"p99_ms":0,"full_acked_per_s":0,"full_p99_ms":0,"naive_per_s":0,` +
		`"ratio_vs_naive":0,"raw_rows_per_s":0,"ratio_vs_raw":0,"lost":0,"duplicated":0}`
	if diff := cmp.Diff(want, ingest.Result{Bench: "ingest"}.Line()); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func TestBarsNameWhatIsMissed(t *testing.T) {
	t.Parallel()
	good := ingest.Result{AckedPerS: 11000, RatioVsNaive: 12, P99: 25, FullAckedPerS: 5000, FullP99: 50}
	if missed := good.Bars(); len(missed) != 0 {
		t.Errorf("at the bars: %v missed; want none", missed)
	}
	bad := good
	bad.P99, bad.Lost = 25.1, 1
	missed := strings.Join(bad.Bars(), "\n")
	if want := "p99_ms is 25.1; the bar is at most 25\nlost is 1; the bar is at most 0"; missed != want {
		t.Errorf("got %q; want %q", missed, want)
	}
}
