package syncs

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/devstack"
)

func TestMain(m *testing.M) {
	Child() // the worker is this program
	os.Exit(m.Run())
}

// TestAShortRunLosesNothing runs every part with few events; bench sync measures with many.
func TestAShortRunLosesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: needs PostgreSQL, Temporal, Radicale and vdirsyncer")
	}
	r, err := Run(t.Context(), Options{Events: 300, Small: 60, Large: 320, Changes: 20, Rounds: 1, NoOps: 1, Dir: t.TempDir(), Say: func(line string) { t.Log(line) }})
	if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	for name, v := range map[string]float64{"first": r.FirstPerS, "vdirsyncer": r.VdirsyncerPerS, "ratio": r.Ratio, "incremental": r.IncrementalMS, "no-op": r.NoOpMS,
		"Google first": r.GoogleFirstPerS, "Google incremental": r.GoogleIncrementalMS, "Google no-op": r.GoogleNoOpMS, "heap": r.HeapSmall, "large heap": r.HeapLarge} {
		if v <= 0 {
			t.Errorf("%s: %v; want it measured", name, v)
		}
	}
	if r.RequestsPerNoOp != 1 || r.GoogleRequestsPerNoOp != 1 {
		t.Errorf("a sync without news made %v requests of CalDAV and %v of Google; want one each", r.RequestsPerNoOp, r.GoogleRequestsPerNoOp)
	}
	if r.Lost != 0 || r.Duplicated != 0 {
		t.Errorf("%d lost, %d duplicated; want none", r.Lost, r.Duplicated)
	}
}

func TestTheLineBeginsWithTheAgreedKeys(t *testing.T) {
	t.Parallel()
	const want = `{"bench":"sync","first_events_per_s":0,"vdirsyncer_events_per_s":0,"ratio":0,"incremental_ms":0,"noop_ms":0,"requests_per_noop":0,`
	line := Result{Bench: "sync"}.Line()
	if diff := cmp.Diff(want, line[:min(len(want), len(line))]); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(line), &back); err != nil || back["lost"] != 0.0 || back["duplicated"] != 0.0 {
		t.Errorf("line %s: %v; want lost and duplicated in it", line, err)
	}
}

func TestBarsNameWhatIsMissed(t *testing.T) {
	t.Parallel()
	good := Result{Ratio: 3, RequestsPerNoOp: 1, GoogleRequestsPerNoOp: 1, HeapSmall: 40, Heap: 50, HeapLarge: 50}
	if missed := good.Bars(); len(missed) != 0 {
		t.Errorf("at the bars: %v missed; want none", missed)
	}
	bad := good
	bad.Ratio, bad.HeapLarge, bad.Lost = 2.99, 51, 1
	want := []string{"2.99 times as fast as vdirsyncer, bar 3", "heap 40.0, 50.0 and 51.0 MiB, growth 1.27, bar 1.25", "lost 1, duplicated 0, bar 0"}
	if diff := cmp.Diff(want, bad.Bars()); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
}

// TestADiaryIsWhatItSays holds the generator: nothing is compared with anything if it makes nothing.
func TestADiaryIsWhatItSays(t *testing.T) {
	t.Parallel()
	d, err := newDiary(1000)
	if err != nil {
		t.Fatal(err)
	}
	count := func() (events, bookings int, kinds map[kind]int) {
		kinds = map[kind]int{}
		for _, e := range d.entries {
			if list := e.occurrences(); len(list) > 0 {
				events, bookings = events+1, bookings+len(list)
				kinds[e.kind]++
			}
		}
		return events, bookings, kinds
	}
	events, bookings, kinds := count()
	if want := map[kind]int{weekly: 50, allDay: 50, floating: 100, universal: 200, zoned: 600}; events != 1000 || bookings != 1000+3*50-10 || !cmp.Equal(want, kinds) {
		t.Errorf("%d events, %d bookings, of kinds %v; want 1000, 1140 and %v", events, bookings, kinds, want)
	}
	ch := d.change(100)
	if len(ch.edited) != 60 || len(ch.gone) != 20 || len(ch.added) != 20 {
		t.Errorf("%d edited, %d removed, %d added; want 60, 20 and 20", len(ch.edited), len(ch.gone), len(ch.added))
	}
	if events, bookings, _ := count(); events != 1000 || bookings != 1140 {
		t.Errorf("%d events and %d bookings after the changes; want 1000 and 1140", events, bookings)
	}
}
