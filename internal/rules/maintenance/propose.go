package maintenance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

const (
	hoursOfWeek = 7 * 24
	// grid is how far apart the beginnings are that are looked at.
	grid = 30 * time.Minute
	// enoughMargin is the time before the next closure from which on more is no better.
	enoughMargin = 24 * time.Hour
	// MaxProposals bounds what is proposed at once.
	MaxProposals = 20
)

// Traffic is how much a connection has to do on average, by the hour of the local week, from Sunday 00:00 on.
type Traffic [hoursOfWeek]float64

// HourCount is how much there was in an hour that began at Hour.
type HourCount struct {
	Hour  time.Time
	Count int64
}

// TrafficOf averages the counts of [from, until) over the weeks that the stretch has. Hours that are missing had nothing. A stretch
// longer than MaxSearch is cut at its beginning.
func TrafficOf(hours []HourCount, from, until time.Time, zone *time.Location) Traffic {
	var sum, times Traffic
	if until.Sub(from) > MaxSearch {
		from = until.Add(-MaxSearch)
	}
	for at := from.UTC().Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		times[hourOfWeek(at, zone)]++
	}
	for _, h := range hours {
		if !h.Hour.Before(from.UTC().Truncate(time.Hour)) && h.Hour.Before(until) {
			sum[hourOfWeek(h.Hour, zone)] += float64(h.Count)
		}
	}
	for n := range sum {
		if times[n] > 0 {
			sum[n] /= times[n]
		}
	}
	return sum
}

// Plus adds what two connections have to do.
func (t Traffic) Plus(o Traffic) Traffic {
	for n := range t {
		t[n] += o[n]
	}
	return t
}

func hourOfWeek(at time.Time, zone *time.Location) int {
	t := at.In(zone)
	return int(t.Weekday())*24 + t.Hour()
}

// in is how much there is to do in a stretch.
func (t Traffic) in(span domain.Span, zone *time.Location) float64 {
	sum := 0.0
	for at := span.Start; at.Before(span.End); {
		end := earliest(at.Truncate(time.Hour).Add(time.Hour), span.End)
		sum += t[hourOfWeek(at, zone)] * end.Sub(at).Hours()
		at = end
	}
	return sum
}

// busiest is how much there is to do in the busiest stretch of a length, which may begin with any hour.
func (t Traffic) busiest(d time.Duration) float64 {
	most := 0.0
	for first := range t {
		sum, left := 0.0, d.Hours()
		for n := first; left > 0; n++ {
			sum += t[n%hoursOfWeek] * math.Min(left, 1)
			left--
		}
		most = math.Max(most, sum)
	}
	return most
}

// Ask is a question for times of maintenance.
type Ask struct {
	Now      time.Time
	Search   domain.Span
	Duration time.Duration
	Notice   time.Duration // no window begins earlier than this from now
	Limit    int           // 1 to MaxProposals; 0 = 5
	Closures []Closure     // of the search; see Closures
	Taken    []domain.Span // other windows of the same connections
	// Announced are the times at which the providers concerned are in maintenance of their own.
	Announced []domain.Span
	Traffic   Traffic
	Zone      *time.Location // of the traffic, and of the night
}

// Proposal is a time for maintenance with why it is a good one.
type Proposal struct {
	domain.Span
	Score    float64  `json:"score"`    // 0 to 100
	Expected float64  `json:"expected"` // deliveries that will wait, by the traffic of the last weeks
	Why      []string `json:"why"`
}

// Propose ranks times, the best first; of one local day only the best. Fewer than Limit are returned when there are no more, and
// none when nothing is free. The score is the sum of four parts: up to 60 for little traffic against the busiest stretch of the
// week, up to 20 for the provider's own maintenance, up to 10 for the margin to whatever closes next, and up to 10 for the night
// (01:00 to 06:00). Equal scores go by the earlier beginning. Errors: KindInvalid with the field.
func Propose(a Ask) ([]Proposal, error) {
	switch {
	case a.Duration < domain.MinMaintenance || a.Duration > domain.MaxMaintenance:
		return nil, domain.Invalid("duration_minutes", "must be %d to %d", int(domain.MinMaintenance.Minutes()), int(domain.MaxMaintenance.Minutes()))
	case !a.Search.Start.Before(a.Search.End) || a.Search.End.Sub(a.Search.Start) > MaxSearch:
		return nil, domain.Invalid("until", "must be after from, by at most %d days", int(MaxSearch.Hours()/24))
	case a.Limit < 0 || a.Limit > MaxProposals:
		return nil, domain.Invalid("limit", "must be 1 to %d", MaxProposals)
	case a.Zone == nil:
		return nil, domain.Invalid("zone", "is required")
	}
	if a.Limit == 0 {
		a.Limit = 5
	}
	search := bounded(a.Search)
	search.Start = latest(search.Start, a.Now.Add(a.Notice).UTC())
	if !search.Start.Before(search.End) {
		return []Proposal{}, nil
	}
	busiest := a.Traffic.busiest(a.Duration)
	var all []Proposal
	for _, free := range Free(search, a.Closures, a.Taken) {
		for _, start := range a.beginnings(free) {
			all = append(all, a.rate(domain.Span{Start: start, End: start.Add(a.Duration)}, free.End, busiest))
		}
	}
	slices.SortStableFunc(all, func(x, y Proposal) int {
		return cmp.Or(cmp.Compare(y.Score, x.Score), x.Start.Compare(y.Start))
	})
	out := []Proposal{}
	days := map[calendartime.Date]bool{}
	for _, p := range all {
		day := calendartime.DateOf(p.Start, a.Zone)
		if days[day] || slices.ContainsFunc(out, func(o Proposal) bool { return o.Overlaps(p.Span) }) {
			continue
		}
		days[day] = true
		p.Why = a.why(p, busiest)
		if out = append(out, p); len(out) == a.Limit {
			break
		}
	}
	return out, nil
}

// Within returns the longest part of a stretch that a window may have, of equal ones the first, on whole minutes and no longer than a
// window may be. false = none is as long as a window must be.
func Within(span domain.Span, closures []Closure, taken []domain.Span) (domain.Span, bool) {
	var best domain.Span
	for _, free := range Free(span, closures, taken) {
		free.Start, free.End = free.Start.Add(time.Minute-1).Truncate(time.Minute), free.End.Truncate(time.Minute)
		if free.Start.Before(free.End) && free.Duration() > best.Duration() {
			best = free
		}
	}
	best.End = earliest(best.End, best.Start.Add(domain.MaxMaintenance))
	return best, best.Duration() >= domain.MinMaintenance
}

// beginnings are those that are looked at in a free stretch: on the grid, and with each announced window.
func (a Ask) beginnings(free domain.Span) []time.Time {
	last := free.End.Add(-a.Duration)
	var out []time.Time
	for at := free.Start.Add(grid - 1).Truncate(grid); !at.After(last); at = at.Add(grid) {
		out = append(out, at)
	}
	for _, w := range a.Announced {
		if at := w.Start.UTC().Truncate(time.Minute); !at.Before(free.Start) && !at.After(last) && !at.Equal(at.Truncate(grid)) {
			out = append(out, at)
		}
	}
	return out
}

func (a Ask) rate(span domain.Span, closes time.Time, busiest float64) Proposal {
	p := Proposal{Span: span, Expected: a.Traffic.in(span, a.Zone)}
	quiet := 1.0
	if busiest > 0 {
		quiet = 1 - math.Min(p.Expected/busiest, 1)
	}
	margin := math.Min(closes.Sub(span.End).Hours()/enoughMargin.Hours(), 1)
	p.Score = 60*quiet + 20*share(span, a.Announced) + 10*margin + 10*a.night(span)
	// Rounded, so that sums that differ in their last bit are equal.
	p.Score, p.Expected = math.Round(p.Score*100)/100, math.Round(p.Expected*100)/100
	return p
}

// share is how much of a stretch others cover; where they overlap each other, the part that covers most counts.
func share(span domain.Span, others []domain.Span) float64 {
	most := 0.0
	for _, o := range others {
		if part := span.Intersect(o); part.Start.Before(part.End) {
			most = math.Max(most, part.Duration().Hours()/span.Duration().Hours())
		}
	}
	return most
}

// night is how much of a stretch lies between 01:00 and 06:00.
func (a Ask) night(span domain.Span) float64 {
	const step = 15 * time.Minute
	in, all := 0, 0
	for at := span.Start; at.Before(span.End); at = at.Add(step) {
		if h := at.In(a.Zone).Hour(); h >= 1 && h < 6 {
			in++
		}
		all++
	}
	return float64(in) / float64(all)
}

func (a Ask) why(p Proposal, busiest float64) []string {
	out := []string{"no wedding's freeze, no closed day or season, and no other window touches it"}
	switch {
	case busiest == 0:
		out = append(out, "nothing is known of the traffic")
	default:
		out = append(out, fmt.Sprintf("about %.1f deliveries will wait, of %.1f in the busiest time of the week", p.Expected, busiest))
	}
	if s := share(p.Span, a.Announced); s > 0 {
		out = append(out, fmt.Sprintf("for %d %% of it the provider is in maintenance of its own", int(math.Round(100*s))))
	}
	if next := StateAt(p.End, a.Closures, a.Search.End); !next.Open {
		out = append(out, "it ends when maintenance closes")
	} else if next.Next != nil {
		out = append(out, fmt.Sprintf("maintenance closes %s after it", next.Next.Sub(p.End).Round(time.Minute)))
	}
	return out
}
