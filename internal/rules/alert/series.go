package alert

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/sla"
)

// Sample is one probe that counted.
type Sample struct {
	At   time.Time
	OK   bool
	Took time.Duration // of an answer
}

const (
	// Both rings have the same size: six hours in slots of five minutes and three days in hours, and the slot that has begun.
	slots     = 73
	fiveWidth = 5 * time.Minute
	hourWidth = time.Hour
)

type slot struct{ n, bad, slow uint16 }

// Series is what the rules remember of one connection, in less than a kilobyte: counts of probes for the windows, and the usual
// times of its answers. The zero value remembers nothing. It is not safe for concurrent use.
type Series struct {
	// Through is how far its samples were taken from storage; the package only keeps it.
	Through time.Time
	last    int64 // Unix second of the newest sample
	five    int64 // number of the newest slot
	hour    int64
	fives   [slots]slot
	hours   [slots]slot
	latency latency
}

// Last is the time of the newest sample; zero before the first.
func (s *Series) Last() time.Time {
	if s.last == 0 {
		return time.Time{}
	}
	return time.Unix(s.last, 0).UTC()
}

// Observe takes one sample. Those of one connection come in the order of their times; one that is older than the windows is left
// out. An answer that took longer than slow counts as slow.
func (s *Series) Observe(p Sample, slow time.Duration) {
	at := p.At.Unix()
	if at <= 0 {
		return
	}
	count(&s.fives, &s.five, at/int64(fiveWidth/time.Second), p, slow)
	count(&s.hours, &s.hour, at/int64(hourWidth/time.Second), p, slow)
	if p.OK {
		s.latency.observe(at, p.Took)
	}
	s.last = max(s.last, at)
}

func count(ring *[slots]slot, newest *int64, number int64, p Sample, slow time.Duration) {
	switch {
	case *newest == 0 || number >= *newest+slots:
		clear(ring[:])
		*newest = number
	case number <= *newest-slots:
		return
	}
	for *newest < number {
		*newest++
		ring[*newest%slots] = slot{}
	}
	one := &ring[number%slots]
	add(&one.n)
	if !p.OK {
		add(&one.bad)
	} else if p.Took > slow {
		add(&one.slow)
	}
}

// add counts on and stays at the largest number rather than begin anew.
func add(n *uint16) {
	if *n < math.MaxUint16 {
		*n++
	}
}

// Failed counts probes and failures of so long a time until the newest sample, in whole slots: of five minutes up to six hours,
// of hours above.
func (s *Series) Failed(d time.Duration) sla.Count {
	return s.sum(d, func(o slot) sla.Count { return sla.Count{N: int64(o.n), Bad: int64(o.bad)} })
}

// Slow counts answers and slow ones in the same way.
func (s *Series) Slow(d time.Duration) sla.Count {
	return s.sum(d, func(o slot) sla.Count { return sla.Count{N: int64(o.n) - int64(o.bad), Bad: int64(o.slow)} })
}

func (s *Series) sum(d time.Duration, of func(slot) sla.Count) (out sla.Count) {
	ring, newest, width := &s.fives, s.five, int64(fiveWidth/time.Second)
	if d > (slots-1)*fiveWidth {
		ring, newest, width = &s.hours, s.hour, int64(hourWidth/time.Second)
	}
	first := max((s.last-int64(d/time.Second))/width, newest-slots+1, 0)
	for n := first; n <= newest; n++ {
		c := of(ring[n%slots])
		out.N, out.Bad = out.N+c.N, out.Bad+c.Bad
	}
	return out
}

// Degraded says since when answers take longer than they used to; zero when they do not.
func (s *Series) Degraded() time.Time {
	if s.latency.since == 0 {
		return time.Time{}
	}
	return time.Unix(s.latency.since, 0).UTC()
}

// Usual and Recent are the medians of the time of an answer as it used to be and of the last answers; 0 when they are not known.
func (s *Series) Usual() time.Duration { return s.latency.usual() }

// Recent is described with Usual.
func (s *Series) Recent() time.Duration { return s.latency.now() }

// The form in which a series is stored: a version, then everything in a fixed order, big-endian.
const (
	seriesVersion = 1
	seriesSize    = 1 + 8 + 8 + 8 + 8 + 2*slots*6 + latencySize
)

// MarshalBinary returns the series in the form in which it is stored. It never fails.
func (s *Series) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, seriesSize)
	b = append(b, seriesVersion)
	through := int64(0)
	if !s.Through.IsZero() {
		through = s.Through.UnixMicro()
	}
	for _, n := range []int64{through, s.last, s.five, s.hour} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, ring := range []*[slots]slot{&s.fives, &s.hours} {
		for _, o := range ring {
			b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, o.n), o.bad), o.slow)
		}
	}
	return s.latency.append(b), nil
}

// UnmarshalBinary reads what MarshalBinary wrote. KindInvalid: it is something else; the series is empty then, and learns anew.
func (s *Series) UnmarshalBinary(b []byte) error {
	*s = Series{}
	if len(b) != seriesSize || b[0] != seriesVersion {
		return domain.Invalid("series", "must be %d bytes of version %d", seriesSize, seriesVersion)
	}
	var head [4]int64
	for i := range head {
		head[i] = int64(binary.BigEndian.Uint64(b[1+8*i:]))
	}
	// A century from now at most, so that no sum of times overflows.
	const far = 1 << 33
	var out Series
	if head[0] < 0 || head[0] > far*1e6 || head[1] < 0 || head[1] > far || head[2] < 0 || head[2] > far || head[3] < 0 || head[3] > far {
		return domain.Invalid("series", "must have times between 1970 and 2242")
	}
	if head[0] != 0 {
		out.Through = time.UnixMicro(head[0]).UTC()
	}
	out.last, out.five, out.hour = head[1], head[2], head[3]
	at := 1 + 8*4
	for _, ring := range []*[slots]slot{&out.fives, &out.hours} {
		for i := range ring {
			o := slot{binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:]), binary.BigEndian.Uint16(b[at+4:])}
			if int(o.bad)+int(o.slow) > int(o.n) {
				return domain.Invalid("series", "must not count more failures and slow answers than probes")
			}
			ring[i] = o
			at += 6
		}
	}
	if err := out.latency.read(b[at:]); err != nil {
		return err
	}
	*s = out
	return nil
}
