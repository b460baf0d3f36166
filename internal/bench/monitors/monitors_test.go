package monitors

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/devstack"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// TestAPlatformThatDiesIsNoticed runs everything with few connections that are asked often; bench monitor measures with many.
func TestAPlatformThatDiesIsNoticed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: starts Postgres, Temporal and a worker process")
	}
	r, err := Run(t.Context(), Options{Endpoints: 160, Platforms: 4, Every: 5 * time.Second, For: 80 * time.Second, Refuse: true, Say: func(line string) { t.Log(line) }})
	if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Probes < 1000 || r.Due < r.Probes/2 || r.Wrong != 0 || r.Detect <= 0 || r.Detect > 40 || r.RSS <= 0 || r.Cores <= 0 || r.Events <= 0 {
		t.Errorf("%+v", r)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(r.Line()), &back); err != nil || len(back) != 7 || back["bench"] != "monitor" {
		t.Errorf("line %s: %v", r.Line(), err)
	}
}

func TestEveryBarIsHeld(t *testing.T) {
	t.Parallel()
	good := Result{LagP99: 0.1, Detect: 80, Cores: 0.3, Events: 0.001, Probes: 95, Due: 100}
	if missed := good.Bars(); len(missed) != 0 {
		t.Errorf("%v", missed)
	}
	if missed := (Result{LagP99: 6, Detect: 130, Cores: 1.1, Events: 0.02, Wrong: 1, Probes: 94, Due: 100}).Bars(); len(missed) != 6 {
		t.Errorf("%v", missed)
	}
	if missed := (Result{}).Bars(); len(missed) != 1 {
		t.Errorf("nothing was noticed, and yet %v", missed)
	}
}
