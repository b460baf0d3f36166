package vendors

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

func TestAFewSystemsAreConnectedAndEveryChangeIsAppliedOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts Postgres, Temporal, a server and a worker")
	}
	r, err := Run(t.Context(), Options{Integrations: 12, Hinted: 0.25, Interval: 4 * time.Second, Duration: 8 * time.Second, Idle: time.Second,
		Poll: 5 * time.Second, Hosts: 2, Dir: t.TempDir(), Say: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Changes != 24 || r.Lost != 0 || r.Duplicated != 0 {
		t.Errorf("%d changes, lost %d, duplicated %d; want 24 applied once", r.Changes, r.Lost, r.Duplicated)
	}
	if r.AppliedP99 <= 0 || r.HintedP99 <= 0 || r.RSS <= 0 || r.Cores <= 0 || r.Connections < 1 || r.Polls < 1 {
		t.Errorf("something was not measured: %s", r.Line())
	}
	if !strings.HasPrefix(r.Line(), `{"bench":"vendors","integrations":12,"applied_p99_ms":`) {
		t.Errorf("the line is %s", r.Line())
	}
}

func TestWhatMissesABarIsSaid(t *testing.T) {
	t.Parallel()
	if missed := (Result{}).Bars(); len(missed) != 0 {
		t.Errorf("an empty result misses %q", missed)
	}
	if missed := (Result{AppliedP99: 5001, RSS: 1537, IdleCores: 1, Lost: 1}).Bars(); len(missed) != 4 {
		t.Errorf("missed: %q", missed)
	}
}
