package reconcile

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// tape is the source of every choice in a history: numbers drawn from a seed, or given. A history that is played from the
// same tape is the same to the last identifier, so one that fails can be cut down by cutting its tape down. Zero, which
// is also what follows the end of a given tape, must always choose the dullest thing: the end of a loop, no fault.
type tape struct {
	rnd    *rand.PCG
	ids    *rand.PCG // identifiers, apart, so that they stay as they are when choices are cut out
	given  []uint32
	played bool // given counts, not rnd
	kept   []uint32
	keep   bool
	at     int
}

func seeded(seed uint64) *tape { return &tape{rnd: rand.NewPCG(seed, 7), ids: rand.NewPCG(seed, 11)} }

func given(seed uint64, choices []uint32) *tape {
	return &tape{ids: rand.NewPCG(seed, 11), given: choices, played: true}
}

// n draws a number below limit.
func (t *tape) n(limit int) int {
	var v uint32
	switch {
	case !t.played:
		v = uint32(t.rnd.Uint64() >> 32)
		if t.keep {
			t.kept = append(t.kept, v)
		}
	case t.at < len(t.given):
		v = t.given[t.at]
	}
	t.at++
	return int(uint64(v) * uint64(limit) >> 32)
}

// chance is true once in odds times, and never at the end of a tape.
func (t *tape) chance(odds int) bool { return t.n(odds) == odds-1 }

// fill makes the random bits of identifiers.
func (t *tape) fill(b []byte) {
	for i := 0; i < len(b); i += 8 {
		v := t.ids.Uint64()
		for j := i; j < min(i+8, len(b)); j++ {
			b[j], v = byte(v), v>>8
		}
	}
}

// failure is how a history tells that it went wrong.
type failure struct {
	rule string // which rule it broke, the same for every history that breaks it
	text string
}

// playOut plays one history and returns what went wrong with it, nil if nothing.
func playOut(seed uint64, t *tape, loud bool) (p *play, bad *failure) {
	p = newPlay(seed, t, loud)
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			bad = &f
		default:
			bad = &failure{rule: "panic", text: fmt.Sprint("panic: ", f)}
		}
	}()
	p.run()
	return p, nil
}

// shrink cuts a failing history down to a small one that breaks the same rule, with a bounded number of tries.
func shrink(seed uint64, choices []uint32, rule string) []uint32 {
	tries := 2500
	fails := func(c []uint32) bool {
		tries--
		_, bad := playOut(seed, given(seed, c), false)
		return bad != nil && bad.rule == rule
	}
	for better := true; better && tries > 0; {
		better = false
		for size := max(1, len(choices)/2); size > 0; size /= 2 {
			for at := len(choices) - size; at >= 0 && tries > 0; at -= max(1, size/2) {
				if at+size > len(choices) {
					continue
				}
				if shorter := append(append([]uint32{}, choices[:at]...), choices[at+size:]...); fails(shorter) {
					choices, better = shorter, true
				}
			}
		}
		for at := range choices {
			if choices[at] == 0 || tries <= 0 {
				continue
			}
			was := choices[at]
			if choices[at] = 0; fails(choices) {
				better = true
				continue
			}
			choices[at] = was
		}
	}
	return choices
}

// replay tells all about a history that failed: how to play it again, and the smallest one that breaks the same rule.
func replay(t *testing.T, seed uint64) {
	t.Helper()
	source := seeded(seed)
	source.keep = true
	long, bad := playOut(seed, source, true)
	if bad == nil {
		t.Fatalf("history %d failed, and not when it was played again: it is not decided by its seed", seed)
	}
	small, last := playOut(seed, given(seed, shrink(seed, source.kept, bad.rule)), true)
	t.Errorf("history %d: %s\nplay it again: go test ./internal/rules/reconcile -run TestRandomHistories -args -history=%d\n"+
		"it takes %d steps; the smallest found that breaks the same rule takes %d:\n%s\n%s", seed, bad.text, seed, len(long.log), len(small.log), last.text,
		strings.Join(small.log, "\n"))
}

func (p *play) failf(rule, format string, args ...any) {
	panic(failure{rule: rule, text: rule + ": " + fmt.Sprintf(format, args...)})
}

// note tells what happens; time passes.
func (p *play) note(format string, args ...any) {
	p.now = p.now.Add(time.Second + time.Duration(p.n(3))*time.Second)
	if p.loud {
		p.log = append(p.log, p.now.Format("15:04:05 ")+fmt.Sprintf(format, args...))
	}
}

func short[T domain.AnyID](id T) string {
	if len(id) < 8 {
		return string(id)
	}
	return string(id[len(id)-6:])
}
