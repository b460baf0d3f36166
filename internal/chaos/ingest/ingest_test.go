package ingest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	bench "github.com/wedsync/wedsync/internal/bench/load"
	"github.com/wedsync/wedsync/internal/chaos/rig"
	"github.com/wedsync/wedsync/internal/devstack"
	"github.com/wedsync/wedsync/internal/domain"
)

// short is a run of less than a minute, with the given points.
func short(t *testing.T, tag string, hits int, points ...Point) Result {
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
	r, err := Run(ctx, Options{Binary: binary, Hits: hits, Points: points, LongOutage: -1, Rate: 50, Settle: 2 * time.Minute,
		Say: func(line string) { t.Log(line) }})
	if errors.Is(err, devstack.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return r
}

func TestOneHitOfEveryPointLosesDoublesAndStrandsNothing(t *testing.T) {
	t.Parallel()
	r := short(t, "", 1, Points()...)
	if faults := r.Faults(Points(), 1); len(faults) > 0 {
		t.Errorf("%s: %v", r.Line(), faults)
	}
}

func TestAProgramWithoutDeduplicationIsFoundOut(t *testing.T) {
	t.Parallel()
	r := short(t, "chaos_nodedupe", 1, AfterCommit)
	if r.Duplicated == 0 || len(r.Faults(nil, 0)) == 0 {
		t.Errorf("%s; want duplicates", r.Line())
	}
}

func TestAProgramThatAnswersBeforeTheCommitIsFoundOut(t *testing.T) {
	t.Parallel()
	r := short(t, "chaos_ackearly", 2, Postgres)
	if r.Lost == 0 || len(r.Faults(nil, 0)) == 0 {
		t.Errorf("%s; want losses", r.Line())
	}
}

func TestANormalBuildHoldsNothingOfTheFailpoints(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: builds wedsync twice")
	}
	with, err := rig.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	without := filepath.Join(t.TempDir(), "wedsync")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", without, "github.com/wedsync/wedsync/cmd/wedsync").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	for path, want := range map[string]bool{with: true, without: false} {
		symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", path).Output()
		if err != nil {
			t.Fatalf("list the symbols of %s: %v", path, err)
		}
		if !bytes.Contains(symbols, []byte("github.com/wedsync/wedsync/internal/inbox.")) {
			t.Fatalf("%s has no symbol of package inbox; the check sees nothing", path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(symbols, []byte("github.com/wedsync/wedsync/internal/failpoint.")); got != want {
			t.Errorf("symbols of package failpoint: %t; want %t", got, want)
		}
		for _, word := range []string{"WEDSYNC_FAILPOINTS", string(AfterCommit), string(BeforeCall)} {
			if got := bytes.Contains(text, []byte(word)); got != want {
				t.Errorf("the program holds %q: %t; want %t", word, got, want)
			}
		}
	}
}

// books are two messages of one entry, both acknowledged, and the world in which all is well.
func books(t *testing.T) (*load, world) {
	t.Helper()
	b := &bed{o: Options{Senders: 1}, targets: []target{{id: domain.NewID[domain.IntegrationID](time.Now())}}}
	l := newLoad(b, nil)
	e := l.newEntry(0)
	w := world{entries: map[entryKey][]booking{}, bookings: 1}
	for range 2 {
		m := l.newMessage(e)
		id := domain.NewID[domain.DeliveryID](time.Now())
		m.acks = []domain.DeliveryID{id, "", id}
		w.rows = append(w.rows, row{id: id, key: rowKey{b.targets[0].id, bench.DedupeKey(m.number)}, state: domain.DeliveryApplied, ends: 1})
	}
	start, end := e.state(2)
	w.entries[entryKey{b.targets[0].id, e.name}] = []booking{{id: "b", start: start, end: end, version: 2}}
	return l, w
}

func TestTheCheckerNamesEveryKindOfFault(t *testing.T) {
	t.Parallel()
	entryOf := func(l *load) entryKey { return entryKey{l.b.targets[0].id, l.entries[0].name} }
	for name, c := range map[string]struct {
		spoil                   func(l *load, w *world)
		lost, duplicated, stuck int
	}{
		"all is well":                    {func(*load, *world) {}, 0, 0, 0},
		"an acknowledged row is missing": {func(_ *load, w *world) { w.rows = w.rows[:1] }, 1, 0, 0},
		"two ids for one message":        {func(l *load, w *world) { l.messages[0].acks[1] = w.rows[1].id }, 0, 1, 0},
		"a row that nobody sent": {func(_ *load, w *world) {
			r := w.rows[0]
			r.id, r.key.dedupe[0] = "other", r.key.dedupe[0]+1
			w.rows = append(w.rows, r)
		}, 0, 1, 0},
		"a message stored twice":       {func(_ *load, w *world) { r := w.rows[0]; r.id = "other"; w.rows = append(w.rows, r) }, 0, 1, 0},
		"a delivery waits":             {func(_ *load, w *world) { w.rows[0].state = domain.DeliveryReceived }, 0, 0, 1},
		"a delivery is dead":           {func(_ *load, w *world) { w.rows[0].state = domain.DeliveryDead }, 0, 0, 1},
		"a delivery took effect twice": {func(_ *load, w *world) { w.rows[0].ends = 2 }, 0, 1, 0},
		"a message never acknowledged": {func(l *load, _ *world) { l.messages[1].acks = nil }, 0, 0, 1},
		"a booking is missing":         {func(l *load, w *world) { delete(w.entries, entryOf(l)); w.bookings = 0 }, 1, 0, 0},
		"a booking in an older state":  {func(l *load, w *world) { e := w.entries[entryOf(l)]; e[0].start = e[0].start.Add(-15 * time.Minute) }, 1, 0, 0},
		"an entry with two bookings": {func(l *load, w *world) {
			k := entryOf(l)
			w.entries[k] = append(w.entries[k], w.entries[k][0])
			w.bookings++
		}, 0, 1, 0},
		"a booking of nobody":             {func(_ *load, w *world) { w.bookings++ }, 0, 1, 0},
		"a booking changed too often":     {func(l *load, w *world) { w.entries[entryOf(l)][0].version = 3 }, 0, 1, 0},
		"an outbox row is left":           {func(_ *load, w *world) { w.outbox = 1 }, 0, 0, 1},
		"the dispatcher has not finished": {func(_ *load, w *world) { w.held = 2 }, 0, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, w := books(t)
			c.spoil(l, &w)
			var r Result
			l.judge(w, &r)
			if diff := cmp.Diff([3]int{c.lost, c.duplicated, c.stuck}, [3]int{r.Lost, r.Duplicated, r.Stuck}); diff != "" {
				t.Errorf("lost, duplicated, stuck (-want +got):\n%s\n%s", diff, strings.Join(r.Notes, "\n"))
			}
		})
	}
}

func TestAPointHitTooSeldomIsAFault(t *testing.T) {
	t.Parallel()
	r := Result{Acked: 1, Hits: map[Point]int{Postgres: 19}}
	if faults := r.Faults([]Point{Postgres}, 20); len(faults) != 1 {
		t.Errorf("faults %v; want one", faults)
	}
}

func TestTheResultIsOneLineWithTheAgreedNames(t *testing.T) {
	t.Parallel()
	want := `{"chaos":"ingest","episodes":120,"acked":9,"lost":0,"duplicated":0,"stuck":0}`
	if got := (Result{Chaos: "ingest", Episodes: 120, Acked: 9}).Line(); got != want {
		t.Errorf("line %s; want %s", got, want)
	}
}
