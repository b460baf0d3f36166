package failover

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/chaos/rig"
	"github.com/wedsync/wedsync/internal/devstack"
)

// short is a run of about a minute.
func short(t *testing.T, tag string, episodes int, settle time.Duration, kinds ...Kind) Result {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped by -short: builds wedsync and starts PostgreSQL and Temporal")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var tags []string
	if tag != "" {
		tags = append(tags, tag)
	}
	binary, err := rig.Build(ctx, t.TempDir(), tags...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(ctx, Options{Binary: binary, Episodes: episodes, Kinds: kinds, Studios: 2, Schedulers: 1, Rate: 3, Settle: settle,
		Say: func(line string) { t.Log(line) }})
	if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return r
}

func TestOneEpisodeOfEveryKindLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	r := short(t, "", len(Kinds()), 3*time.Minute)
	if faults := r.Faults(); len(faults) > 0 {
		t.Errorf("%s: %v", r.Line(), faults)
	}
}

func TestAProgramThatKnowsNothingAgainIsFoundOut(t *testing.T) {
	t.Parallel()
	r := short(t, "chaos_noledger", 1, 10*time.Second, HooksLost)
	if r.Duplicated == 0 || len(r.Faults()) == 0 {
		t.Errorf("%s; want duplicates", r.Line())
	}
}

func TestAProgramThatLosesWhatPollsBringIsFoundOut(t *testing.T) {
	t.Parallel()
	r := short(t, "chaos_losepolled", 2, 10*time.Second, HooksLost)
	if r.Lost == 0 || len(r.Faults()) == 0 {
		t.Errorf("%s; want losses", r.Line())
	}
}

// log is one entry that was moved once, and the world in which all is well.
func log(at time.Time) ([]book, world) {
	begin := at.Add(48 * time.Hour)
	e := entry{name: "one", states: []state{{at: at, begin: begin}, {at: at.Add(10 * time.Second), begin: begin.Add(15 * time.Minute)}}}
	w := world{entries: map[key][]booking{{"i", "one"}: {{id: "b", begin: begin.Add(15 * time.Minute), changes: []time.Time{at.Add(time.Second), at.Add(12500 * time.Millisecond)}}}},
		bookings: 1, failovers: 1}
	return []book{{integration: "i", entries: []entry{e}}}, w
}

func TestTheCheckerNamesEveryKindOfFault(t *testing.T) {
	t.Parallel()
	one := key{"i", "one"}
	for name, c := range map[string]struct {
		spoil            func(b []book, w *world)
		lost, duplicated int
	}{
		"all is well":                    {func([]book, *world) {}, 0, 0},
		"a change that another overtook": {func(_ []book, w *world) { w.entries[one][0].changes = w.entries[one][0].changes[1:] }, 0, 0},
		"a booking is missing":           {func(_ []book, w *world) { delete(w.entries, one); w.bookings = 0 }, 1, 0},
		"an older state":                 {func(b []book, w *world) { w.entries[one][0].begin = b[0].entries[0].states[0].begin }, 1, 0},
		"it is gone there only":          {func(b []book, _ *world) { b[0].entries[0].states[1].gone = true }, 1, 0},
		"it is gone here only":           {func(_ []book, w *world) { w.entries[one][0].gone = true }, 1, 0},
		"it came and went unseen": {func(b []book, w *world) {
			b[0].entries[0].states[1].gone = true
			delete(w.entries, one)
			w.bookings = 0
		}, 0, 0},
		"two bookings":        {func(_ []book, w *world) { w.entries[one] = append(w.entries[one], w.entries[one][0]); w.bookings++ }, 0, 1},
		"a booking of nobody": {func(_ []book, w *world) { w.bookings++ }, 0, 1},
		"a change that took effect twice": {func(_ []book, w *world) {
			w.entries[one][0].changes = append(w.entries[one][0].changes, time.Now())
		}, 0, 1},
		"a webhook waits":   {func(_ []book, w *world) { w.waiting = 1 }, 1, 0},
		"a webhook is dead": {func(_ []book, w *world) { w.dead = 2 }, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, w := log(time.Now())
			c.spoil(b, &w)
			var r Result
			judge(b, w, &r)
			if diff := cmp.Diff([2]int{c.lost, c.duplicated}, [2]int{r.Lost, r.Duplicated}); diff != "" {
				t.Errorf("lost, duplicated (-want +got):\n%s\n%s", diff, strings.Join(r.Notes, "\n"))
			}
		})
	}
}

func TestLagIsFromAChangeToItsEffect(t *testing.T) {
	t.Parallel()
	b, w := log(time.Now())
	var r Result
	judge(b, w, &r)
	if r.MaxLag != 2.5 || r.Changes != 2 {
		t.Errorf("%s", r.Line())
	}
}

func TestARunInWhichNothingHappenedIsAFault(t *testing.T) {
	t.Parallel()
	if faults := (Result{}).Faults(); len(faults) != 2 {
		t.Errorf("faults %v; want nothing changed and nothing failed over", faults)
	}
}

func TestTheResultIsOneLineWithTheAgreedNames(t *testing.T) {
	t.Parallel()
	want := `{"chaos":"failover","episodes":30,"changes":9,"lost":0,"duplicated":0,"max_lag_s":12.5}`
	if got := (Result{Chaos: "failover", Episodes: 30, Changes: 9, MaxLag: 12.5}).Line(); got != want {
		t.Errorf("line %s; want %s", got, want)
	}
}
