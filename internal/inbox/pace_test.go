package inbox

import (
	"testing"
	"time"
)

// flood tells a pace of a steady intake for a while and counts the signals that it lets out meanwhile.
func flood(p *pace, now *time.Time, perSecond int, during time.Duration) (signals int) {
	const step = 10 * time.Millisecond
	for end := now.Add(during); now.Before(end); {
		*now = now.Add(step)
		p.observe(int(float64(perSecond) * step.Seconds()))
		p.advance(*now)
		for p.wait() == 0 {
			p.spend()
			signals++
		}
	}
	return signals
}

func TestPaceLetsAQuietIntakeThroughAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	p := newPace(200, 100, now)
	if got := flood(&p, &now, 100, 10*time.Second); got < 1000 {
		t.Errorf("%d signals for 1,000 deliveries of a calm intake, want one each or more", got)
	}
}

func TestPaceBelievesAFloodWithinItsFirstSecond(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	p := newPace(200, 100, now)
	// Each signal of a flood's beginning would carry two or three deliveries, and costs as much as one that carries 50.
	if got := flood(&p, &now, 2000, 5*time.Second); got > 320 {
		t.Errorf("%d signals for 10,000 deliveries, want at most 320", got)
	}
	if got := flood(&p, &now, 100, 3*time.Second); got < 200 {
		t.Errorf("%d signals in the three seconds after a flood, want at least 200", got)
	}
}

func TestPaceNeverStops(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	p := newPace(200, 100, now)
	for range 50 {
		p.exhausted()
		p.answered(10 * time.Second)
	}
	if got := flood(&p, &now, 5_000_000, 5*time.Second); got < 5*leastRate-1 {
		t.Errorf("%d signals in five seconds, want at least %d a second", got, leastRate)
	}
}
