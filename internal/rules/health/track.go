package health

import (
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Track is what is remembered of the probes of one connection. The zero value knows of none. It is a value: Note returns
// the next one.
type Track struct {
	Failures  int // in a row, confirmed
	Successes int // in a row; that we ask too often is an answer too
	Refusals  int // of our credentials, in a row
	// CountedAt is when the newest result came that says anything about the system.
	CountedAt time.Time
	Last      domain.ProbeResult

	failing time.Time // when the first of the failures in a row was due; zero = not known

	marks [Window]mark
	n     int // marks in use, the newest at marks[(next-1) mod Window]
	next  int
}

type mark struct{ failed, slow bool }

// Note adds a result. Results that say nothing of the system (late, blind) change neither rows nor marks. What was while it
// was down does not count against it afterwards.
func (t Track) Note(r domain.ProbeResult) Track {
	t.Last = r
	at := r.At.Add(r.Lag + r.Took)
	switch r.Outcome {
	case domain.ProbeOK:
		if t.Failures >= DownAfter {
			t.marks, t.n, t.next = [Window]mark{}, 0, 0
		}
		t.Failures, t.Refusals, t.CountedAt, t.failing = 0, 0, at, time.Time{}
		t.Successes++
		t.mark(mark{slow: r.Took > SlowAfter})
	case domain.ProbeFailed:
		t.Successes, t.Refusals, t.CountedAt = 0, 0, at
		if t.Failures++; t.Failures == 1 {
			t.failing = r.At
		}
		t.mark(mark{failed: true})
	case domain.ProbeRefused:
		t.Failures, t.CountedAt, t.failing = 0, at, time.Time{}
		t.Refusals++
	case domain.ProbeLimited:
		t.Failures, t.Refusals, t.CountedAt, t.failing = 0, 0, at, time.Time{}
		t.Successes++
	case domain.ProbeLate, domain.ProbeBlind:
	}
	return t
}

// Unsure takes back that failures were counted, because our own connection turned out to be in doubt at their time.
func (t Track) Unsure() Track {
	t.Failures, t.failing = 0, time.Time{}
	return t
}

// failingFor is from the first failure of the row to the newest one, by the times at which they were due; 0 when it is not known.
func (t Track) failingFor() time.Duration {
	if t.Failures == 0 || t.failing.IsZero() {
		return 0
	}
	return t.Last.At.Sub(t.failing)
}

// Resume is a track that goes on where another process stopped, as far as it handed it over.
func Resume(failures int, at time.Time) Track {
	return Track{Failures: failures, CountedAt: at}
}

// Suspect reports whether the newest counting probe failed.
func (t Track) Suspect() bool { return t.Failures > 0 }

func (t *Track) mark(m mark) {
	t.marks[t.next] = m
	t.next = (t.next + 1) % Window
	t.n = min(t.n+1, Window)
}

func (t Track) count() int { return t.n }

func (t Track) failed() (n int) {
	for _, m := range t.marks[:t.n] {
		if m.failed {
			n++
		}
	}
	return n
}

func (t Track) slow() (n int) {
	for _, m := range t.marks[:t.n] {
		if m.slow {
			n++
		}
	}
	return n
}

// Tally counts the probes of one platform in the last minute.
type Tally struct{ Asked, Failed int }

// The bounds of Doubt: a platform speaks from three probes on, and there must be three platforms.
const (
	doubtProbes    = 3
	doubtPlatforms = 3
)

// Doubt reports whether our own connection is more likely at fault than everybody else: more than half of the platforms
// fail more than half of their probes. Fewer than three platforms that speak prove nothing.
func Doubt(platforms map[string]Tally) bool {
	speak, fail := 0, 0
	for _, t := range platforms {
		if t.Asked < doubtProbes {
			continue
		}
		speak++
		if 2*t.Failed > t.Asked {
			fail++
		}
	}
	return speak >= doubtPlatforms && 2*fail > speak
}
