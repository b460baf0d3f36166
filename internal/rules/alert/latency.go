package alert

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// The constants are chosen for 5,000 series of 2,880 samples a day: textbook values (a CUSUM threshold of 5) would raise
// thousands of false alarms a day. These raise about a dozen a month, and see a shift of two deviations after ten answers on
// average; a higher threshold would have fewer false alarms and be later.
const (
	learn      = 240      // answers before anything is said: two hours
	rough      = 30       // answers before single ones are clipped
	memory     = 1. / 960 // weight of a new answer in the usual mean and deviation: eight hours
	clip       = 3.       // deviations beyond which an answer says no more
	slack      = 0.75     // deviations that the CUSUM lets pass
	threshold  = 11.      // of the CUSUM, in deviations
	lookedAt   = 14       // last answers that the second detector looks at
	tooMany    = 7        // of them above the quantile
	calm       = 5        // of them above the quantile, or fewer, end a degradation
	quantile90 = 1.2816   // of the normal distribution, where the learned quantile begins
	stepOf     = 0.02     // of the learned quantile, in deviations
	leastDev   = 0.05     // deviation of the logarithm: answers are measured in whole milliseconds
	pause      = 10 * 60  // seconds without an answer after which the last ones say nothing of the next
	newNormal  = 24 * 3600
)

// latency remembers how long answers usually take, as the natural logarithm of milliseconds.
type latency struct {
	n      uint32 // answers learned from
	mean   float64
	vary   float64 // variance
	upper  float64 // the learned 90 % quantile
	cusum  float64
	last   int64
	since  int64 // when it degraded; 0 = it did not
	filled uint8
	recent [lookedAt]float32 // the newest at (filled-1)%lookedAt
}

func (l *latency) dev() float64 { return max(math.Sqrt(max(l.vary, 0)), leastDev) }

func (l *latency) observe(at int64, took time.Duration) {
	x := math.Log(max(float64(took)/float64(time.Millisecond), 1))
	if l.last != 0 && at-l.last > pause {
		l.cusum, l.filled = 0, 0
	}
	l.last = at
	if l.n < learn {
		l.learn(x)
		return
	}
	if l.filled == 2*lookedAt {
		l.filled = lookedAt
	}
	l.recent[int(l.filled)%lookedAt] = float32(x)
	l.filled++
	dev := l.dev()
	z := min(max((x-l.mean)/dev, -clip), clip)
	// Bounded, so that what lasted long is over soon after it ends.
	l.cusum = min(max(l.cusum+z-slack, 0), 2*threshold)
	switch {
	case l.since != 0 && at-l.since > newNormal:
		*l = latency{last: at}
		l.learn(x)
	case l.since != 0:
		if above, known := l.above(); known && above <= calm {
			l.since, l.cusum = 0, 0
		}
	case l.cusum >= threshold:
		if above, known := l.above(); known && above >= tooMany {
			l.since = at
		}
	case l.cusum < threshold/2:
		// What may be a shift is not learned from.
		l.mean += memory * z * dev
		l.vary += memory * (z*z*dev*dev - l.vary)
		step := -0.1
		if x > l.upper {
			step = 0.9
		}
		l.upper += stepOf * dev * step
	}
}

func (l *latency) learn(x float64) {
	if l.n >= rough {
		dev := l.dev()
		x = min(max(x, l.mean-clip*dev), l.mean+clip*dev)
	}
	l.n++
	d := x - l.mean
	l.mean += d / float64(l.n)
	l.vary += (d*(x-l.mean) - l.vary) / float64(l.n)
	if l.n == learn {
		l.upper = l.mean + quantile90*l.dev()
	}
}

// above counts how many of the last answers lie above the usual quantile; known is false while there are too few.
func (l *latency) above() (n int, known bool) {
	if l.filled < lookedAt {
		return 0, false
	}
	for _, x := range l.recent {
		if float64(x) > l.upper {
			n++
		}
	}
	return n, true
}

func (l *latency) usual() time.Duration {
	if l.n < learn {
		return 0
	}
	return of(l.mean)
}

func (l *latency) now() time.Duration {
	if l.filled < lookedAt {
		return 0
	}
	all := slices.Clone(l.recent[:])
	slices.Sort(all)
	return of(float64(all[lookedAt/2]))
}

// of is the time of a logarithm; a day at most.
func of(x float64) time.Duration {
	return time.Duration(math.Exp(min(x, math.Log(24*3600*1000))) * float64(time.Millisecond)).Round(time.Millisecond)
}

const latencySize = 4 + 4*8 + 2*8 + 1 + lookedAt*4

func (l *latency) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, l.n)
	for _, f := range []float64{l.mean, l.vary, l.upper, l.cusum} {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(f))
	}
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(l.last)), uint64(l.since))
	b = append(b, l.filled)
	for _, x := range l.recent {
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func (l *latency) read(b []byte) error {
	bad := domain.Invalid("series", "must have finite times of answers in order")
	*l = latency{n: binary.BigEndian.Uint32(b)}
	for i, f := range []*float64{&l.mean, &l.vary, &l.upper, &l.cusum} {
		if *f = math.Float64frombits(binary.BigEndian.Uint64(b[4+8*i:])); math.IsNaN(*f) || math.Abs(*f) > 1e6 {
			return bad
		}
	}
	l.last, l.since, l.filled = int64(binary.BigEndian.Uint64(b[36:])), int64(binary.BigEndian.Uint64(b[44:])), b[52]
	if l.n > learn || l.vary < 0 || l.cusum < 0 || l.last < 0 || l.since < 0 || l.last > 1<<33 || l.since > 1<<33 || l.filled > 2*lookedAt {
		return bad
	}
	for i := range l.recent {
		x := math.Float32frombits(binary.BigEndian.Uint32(b[53+4*i:]))
		if math.IsNaN(float64(x)) || math.Abs(float64(x)) > 1e6 {
			return bad
		}
		l.recent[i] = x
	}
	return nil
}
