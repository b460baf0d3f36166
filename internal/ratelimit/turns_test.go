package ratelimit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEveryMemberHasItsTurnAndNobodyIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type one struct{ member, n int }
		var q Turns[int, one]
		pushed := map[int]int{}
		popped := map[int]int{}
		waited := map[int]int{} // turns of others since a member that waits had its own
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "push") {
				m := rapid.IntRange(0, 5).Draw(t, "member")
				before := q.Before(m)
				if before > q.Len() {
					t.Fatalf("%d turns before it, and %d wait", before, q.Len())
				}
				q.Push(m, one{m, pushed[m]})
				pushed[m]++
				continue
			}
			members := q.Members()
			v, ok := q.Pop()
			if !ok {
				if members != 0 || q.Len() != 0 {
					t.Fatal("somebody waits and has no turn")
				}
				continue
			}
			if v.n != popped[v.member] {
				t.Fatalf("member %d: turn %d came before %d", v.member, v.n, popped[v.member])
			}
			popped[v.member]++
			for m := range pushed {
				if m != v.member && pushed[m] > popped[m] {
					if waited[m]++; waited[m] > 6 {
						t.Fatalf("member %d waits for %d turns of others", m, waited[m])
					}
				}
			}
			waited[v.member] = 0
		}
		left := 0
		for m := range pushed {
			left += pushed[m] - popped[m]
		}
		if q.Len() != left {
			t.Fatalf("%d wait, want %d", q.Len(), left)
		}
	})
}

func TestBeforeTellsHowManyTurnsPass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q Turns[int, int]
		for range rapid.IntRange(0, 60).Draw(t, "others") {
			q.Push(rapid.IntRange(0, 4).Draw(t, "member"), 0)
		}
		m := rapid.IntRange(0, 5).Draw(t, "mine")
		most := q.Before(m)
		q.Push(m, 1)
		for n := 0; ; n++ {
			if v, ok := q.Pop(); !ok {
				t.Fatal("lost")
			} else if v == 1 {
				if n > most {
					t.Fatalf("%d turns passed, told %d", n, most)
				}
				return
			}
		}
	})
}

func TestAKeyThatIsUsedLittleNeverAsksWhereCreditComesBack(t *testing.T) {
	t.Parallel()
	p := &place{now: time.Unix(1e9, 0)}
	s := shares(p, 1, SharedOptions{Rate: 20, Burst: 100, Credit: 4, Free: 0.05})[0]
	for at := p.now; at.Before(p.now.Add(time.Hour)); at = at.Add(3 * time.Second) {
		for range 3 { // one a second
			if !s.Allow(key(1), 1, at).OK {
				t.Fatal("a quiet key was refused")
			}
		}
		if err := s.Refill(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	if p.asks != 0 {
		t.Errorf("the place was asked %d times", p.asks)
	}
}
