package inbox

import (
	"math"
	"time"
)

// pace decides how many signals a second go out in total. It is a token bucket whose rate follows two observations:
//
//   - the more deliveries arrive, the less use is a signal for each: a workflow that was told once drains whatever
//     waits. So the rate falls as intake grows, which leaves the machine to the intake.
//   - the longer Temporal takes to answer, the busier it is. So the rate falls as answers get slower, and halves when
//     Temporal says that it is exhausted.
//
// It is not safe for concurrent use.
type pace struct {
	most  float64 // signals a second while little arrives
	burst float64

	tokens  float64
	filled  time.Time
	arrived float64 // deliveries since counted
	counted time.Time
	intake  float64       // deliveries a second, smoothed
	answer  time.Duration // smoothed
	relief  float64       // 0..1, lowered by exhaustion
}

const (
	// intakeKnee is the intake (deliveries a second) at which the rate has halved.
	intakeKnee = 500
	// intakeRises and intakeFalls are the times over which intake is smoothed. A flood is believed soon, so that it does
	// not spend its first second on signals of few deliveries each; its end later, because floods come in waves.
	intakeRises = 200 * time.Millisecond
	intakeFalls = time.Second
	// calmAnswer is an answer time at which Temporal is taken to be at ease.
	calmAnswer = 60 * time.Millisecond
	// easyAnswer is an answer time beyond which the load of one organisation is felt by the others.
	easyAnswer = 15 * time.Millisecond
	// leastRate keeps signals flowing whatever is observed.
	leastRate   = 4
	leastRelief = 0.05
)

func newPace(most float64, burst int, now time.Time) pace {
	return pace{most: most, burst: float64(burst), tokens: float64(burst), filled: now, counted: now, relief: 1}
}

func (p *pace) observe(n int) { p.arrived += float64(n) }

func (p *pace) answered(took time.Duration) {
	p.answer += (took - p.answer) / 8
	p.relief = min(1, p.relief*1.02)
}

// pressed reports whether Temporal answers more slowly than it does at ease.
func (p *pace) pressed() bool { return p.answer > easyAnswer || p.relief < 1 }

func (p *pace) exhausted() { p.relief = max(leastRelief, p.relief/2) }

// calm is 1 while nothing arrives, 1/2 at intakeKnee, and goes to 0 as intake grows.
func (p *pace) calm() float64 { return 1 / (1 + p.intake/intakeKnee) }

func (p *pace) rate() float64 {
	r := p.most * p.relief * p.calm()
	if p.answer > calmAnswer {
		r *= float64(calmAnswer) / float64(p.answer)
	}
	return max(leastRate, r)
}

// advance brings the bucket and the smoothed intake up to now.
func (p *pace) advance(now time.Time) {
	if span := now.Sub(p.counted); span >= 50*time.Millisecond {
		seen, over := p.arrived/span.Seconds(), intakeFalls
		if seen > p.intake {
			over = intakeRises
		}
		p.intake += (1 - math.Exp(-float64(span)/float64(over))) * (seen - p.intake)
		p.arrived, p.counted = 0, now
	}
	if span := now.Sub(p.filled); span > 0 {
		p.tokens = min(max(1, p.burst*p.calm()), p.tokens+span.Seconds()*p.rate())
		p.filled = now
	}
}

// wait returns how long until a signal may go out; 0 when one may at once.
func (p *pace) wait() time.Duration {
	if p.tokens >= 1 {
		return 0
	}
	return time.Duration((1 - p.tokens) / p.rate() * float64(time.Second))
}

func (p *pace) spend() { p.tokens-- }
