package store

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestSlotsAreDividedAmongProcessesAndComeBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.clock.now()
	key := [16]byte{1}
	lease := func(holder byte, want, using int) int {
		t.Helper()
		n, err := b.LeaseSlots(t.Context(), SlotsAsk{Key: key, Holder: [16]byte{holder}, Want: want, Using: using, Most: 4, For: 45 * time.Second}, at)
		b.must(err)
		return n
	}
	for n, x := range []struct {
		holder      byte
		want, using int
		got         int
		why         string
	}{
		{1, 4, 0, 4, "one alone has all"},
		{2, 3, 0, 0, "nothing is left, but it is known that another one wants some"},
		{1, 4, 3, 3, "what is in use stays"},
		{2, 3, 0, 1, "one became free"},
		{1, 4, 1, 2, "each has half"},
		{2, 3, 1, 2, "each has half"},
		{3, 1, 0, 0, "all are in use"},
		{1, 2, 1, 1, "a third of four is one"},
		{3, 1, 0, 1, "so the third one gets it"},
		{4, 1, 0, 0, "as many as there are slots"},
	} {
		if got := lease(x.holder, x.want, x.using); got != x.got {
			t.Errorf("step %d: %d slots, want %d: %s", n, got, x.got, x.why)
		}
	}
	b.must(b.ReturnSlots(t.Context(), key, [16]byte{2}))
	if got := lease(4, 1, 0); got != 1 {
		t.Errorf("%d slots after some came back, want 1", got)
	}
	at = at.Add(46 * time.Second)
	if got := lease(5, 4, 0); got != 4 {
		t.Errorf("%d slots when all leases are over, want 4", got)
	}
	_, err := b.LeaseSlots(t.Context(), SlotsAsk{Key: key, Most: 0, For: time.Second}, at)
	if domain.KindOf(err) != domain.KindInvalid {
		t.Errorf("no slots at all: %v", err)
	}
	if n, err := b.PurgeOutbound(t.Context(), at.Add(time.Hour)); err != nil || n != 4 {
		t.Errorf("removed %d, %v; want the leases of four", n, err)
	}
}

func TestTheSlowestPaceThatAnybodyFoundStands(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.clock.now().Truncate(time.Millisecond)
	key := [16]byte{2}
	slow := func(level int, after time.Duration) Pace {
		t.Helper()
		p, err := b.SlowOutbound(t.Context(), Pace{Key: key, Level: level, At: at.Add(after)})
		b.must(err)
		return p
	}
	if p := slow(3, 0); p.Level != 3 || p.Version != 1 || !p.At.Equal(at) {
		t.Errorf("%+v", p)
	}
	if p := slow(1, 10*time.Second); p.Level != 3 || !p.At.Equal(at.Add(10*time.Second)) {
		t.Errorf("who had not heard of it: %+v", p)
	}
	if p := slow(1, 10*time.Second+90*time.Second); p.Level != 2 || !p.Until.IsZero() {
		t.Errorf("a minute gives one back: %+v", p)
	}
	for _, pause := range []time.Duration{5 * time.Minute, 3 * time.Minute, 0} {
		ask := Pace{Key: key, At: at.Add(100 * time.Second)}
		if pause > 0 {
			ask.Until = at.Add(pause)
		}
		if p, err := b.SlowOutbound(t.Context(), ask); err != nil || !p.Until.Equal(at.Add(5*time.Minute)) || p.Level != 2 {
			t.Errorf("the longest pause stands: %+v, %v", p, err)
		}
	}
	all, err := b.PacesSince(t.Context(), at.Add(time.Minute))
	b.must(err)
	if len(all) != 1 || all[0].Key != key || all[0].Level != 2 || all[0].Version != 6 || !all[0].Until.Equal(at.Add(5*time.Minute)) {
		t.Errorf("%+v", all)
	}
	if all, err = b.PacesSince(t.Context(), at.Add(time.Hour)); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestATurnBelongsToOneUntilItIsOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.clock.now().Truncate(time.Millisecond)
	claim := func(key byte, after time.Duration, want bool, until time.Duration) {
		t.Helper()
		p, mine, err := b.ClaimOutbound(t.Context(), [16]byte{key}, at.Add(after), at.Add(after+time.Minute))
		if b.must(err); mine != want || !p.Until.Equal(at.Add(until)) {
			t.Errorf("after %s: mine %t until %s, want %t until %s", after, mine, p.Until.Sub(at), want, until)
		}
	}
	claim(1, 0, true, time.Minute)
	claim(1, 59*time.Second, false, time.Minute)
	claim(2, 59*time.Second, true, 119*time.Second)
	claim(1, time.Minute, true, 2*time.Minute)
	claim(1, time.Minute, false, 2*time.Minute)
	claim(1, time.Hour, true, time.Hour+time.Minute)
	all, err := b.PacesSince(t.Context(), at.Add(30*time.Minute))
	if b.must(err); len(all) != 1 || all[0].Version != 3 || all[0].Level != 0 {
		t.Errorf("others hear of %+v", all)
	}
}
