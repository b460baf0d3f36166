// Package timeline works out the times of a wedding day's items and finds what cannot go well in them.
//
// An item hangs on an edge of another one, or on the start of the wedding. Resolve follows these ties to times; so when
// the wedding or an item moves, everything behind it moves along. Clashes compares items of the same vendor: due in two
// places at once, or with less time between two places than the way takes.
//
// Both are pure: they take what they need as arguments, change nothing, and give the same answer in any order of items.
// Offsets and durations are lengths of time, so a change of the clocks in between shifts what the wall clock shows.
//
// Test it with go test ./internal/rules/timeline.
package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// MaxReach bounds how far an item may lie from the start of the wedding, in either direction.
const MaxReach = 14 * 24 * time.Hour

// Resolve returns when each item takes place, by key, for a wedding that starts at anchor. Errors are domain.Invalid with
// the path of the field below prefix: an item that hangs on one that does not exist, on itself by way of others, or that
// lies too far away. Items are expected to be valid by themselves (domain.TimelinePlan.Validate).
func Resolve(items []domain.TimelineItem, anchor time.Time, prefix string) (map[string]domain.Span, error) {
	index := make(map[string]int, len(items))
	for i, item := range items {
		index[item.Key] = i
	}
	r := resolver{items: items, index: index, anchor: anchor, prefix: prefix, spans: make(map[string]domain.Span, len(items)),
		under: make([]bool, len(items))}
	for i := range items {
		if _, err := r.span(i); err != nil {
			return nil, err
		}
	}
	return r.spans, nil
}

type resolver struct {
	items  []domain.TimelineItem
	index  map[string]int
	anchor time.Time
	prefix string
	spans  map[string]domain.Span
	under  []bool   // being worked out: meeting one again is a circle
	path   []string // their keys, in order
}

func (r *resolver) span(i int) (domain.Span, error) {
	item := r.items[i]
	if s, ok := r.spans[item.Key]; ok {
		return s, nil
	}
	field := fmt.Sprintf("%sitems[%d]", r.prefix, i)
	if r.under[i] {
		at := slices.Index(r.path, item.Key)
		return domain.Span{}, domain.Invalid(field+".after", "goes round in a circle: %s", strings.Join(append(slices.Clone(r.path[at:]), item.Key), " after "))
	}
	r.under[i], r.path = true, append(r.path, item.Key)
	defer func() { r.under[i], r.path = false, r.path[:len(r.path)-1] }()

	from := r.anchor
	if item.After != "" {
		at, ok := r.index[item.After]
		if !ok {
			return domain.Span{}, domain.Invalid(field+".after", "there is no item %q", item.After)
		}
		before, err := r.span(at)
		if err != nil {
			return domain.Span{}, err
		}
		if from = before.End; item.Edge == domain.EdgeStart {
			from = before.Start
		}
	}
	start := from.Add(time.Duration(item.OffsetMinutes) * time.Minute)
	s := domain.Span{Start: start, End: start.Add(time.Duration(item.DurationMinutes) * time.Minute)}
	if s.Start.Before(r.anchor.Add(-MaxReach)) || s.End.After(r.anchor.Add(MaxReach)) {
		return s, domain.Invalid(field+".offset_minutes", "the item lies more than %d days from the wedding", int(MaxReach.Hours())/24)
	}
	r.spans[item.Key] = s
	return s, nil
}

// ClashKind says what cannot go well.
type ClashKind string

// The kinds of clashes, worst first.
const (
	TwoPlaces ClashKind = "two_places" // a vendor is due in two places at once
	TooFar    ClashKind = "too_far"    // the way takes longer than the time in between
	AtOnce    ClashKind = "at_once"    // a vendor has two things to do at once, in one place or with no place said
)

// Clash is a pair of items of one vendor.
type Clash struct {
	Kind       ClashKind         `json:"kind"`
	ResourceID domain.ResourceID `json:"resource_id"`
	First      string            `json:"first"`  // key of the item that starts earlier
	Second     string            `json:"second"` // key of the other one
	// MissingMinutes is how much later the second would have to start.
	MissingMinutes int `json:"missing_minutes"`
}

// Measured knows the way of a resource between two places by their names, in whole minutes; ok is false where it does not.
type Measured func(resource domain.ResourceID, from, to string) (way time.Duration, ok bool)

// Clashes returns every pair of items of the same resource that do not go together, the earliest first. spans are those of
// Resolve; items without a resource are in nobody's way. A way takes what the plan's journeys say, else what measured says,
// which may be nil, else the plan's usual time.
func Clashes(plan domain.TimelinePlan, spans map[string]domain.Span, measured Measured) []Clash {
	byVendor := map[domain.ResourceID][]domain.TimelineItem{}
	for _, item := range plan.Items {
		if item.ResourceID != "" {
			byVendor[item.ResourceID] = append(byVendor[item.ResourceID], item)
		}
	}
	ways := travel(plan, measured)
	out := []Clash{}
	for vendor, items := range byVendor {
		slices.SortFunc(items, func(a, b domain.TimelineItem) int {
			return cmp.Or(spans[a.Key].Start.Compare(spans[b.Key].Start), spans[a.Key].End.Compare(spans[b.Key].End), strings.Compare(a.Key, b.Key))
		})
		for i, a := range items {
			for _, b := range items[i+1:] {
				gap := spans[b.Key].Start.Sub(spans[a.Key].End)
				way := ways.between(vendor, a.Place, b.Place)
				c := Clash{ResourceID: vendor, First: a.Key, Second: b.Key, MissingMinutes: int((way - gap + time.Minute - 1) / time.Minute)}
				switch apart := way > 0 || different(a.Place, b.Place); {
				case gap < 0 && apart:
					c.Kind = TwoPlaces
				case gap < 0:
					c.Kind = AtOnce
				case gap < way:
					c.Kind = TooFar
				default:
					continue
				}
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, func(a, b Clash) int {
		return cmp.Or(spans[a.Second].Start.Compare(spans[b.Second].Start), strings.Compare(a.First, b.First), strings.Compare(a.Second, b.Second))
	})
	return out
}

// ways knows how long it takes from place to place.
type ways struct {
	usual    time.Duration
	listed   map[[2]string]time.Duration
	measured Measured
}

func travel(p domain.TimelinePlan, measured Measured) ways {
	w := ways{measured: measured, usual: time.Duration(p.TravelMinutes) * time.Minute, listed: map[[2]string]time.Duration{}}
	for _, j := range p.Journeys {
		from, to := place(j.From), place(j.To)
		took := time.Duration(j.Minutes) * time.Minute
		w.listed[[2]string{from, to}], w.listed[[2]string{to, from}] = took, took
	}
	return w
}

// between is 0 for one place, and where a place is not said: an item without one is wherever the vendor is.
func (w ways) between(vendor domain.ResourceID, a, b string) time.Duration {
	if !different(a, b) {
		return 0
	}
	if took, ok := w.listed[[2]string{place(a), place(b)}]; ok {
		return took
	}
	if w.measured != nil {
		if took, ok := w.measured(vendor, a, b); ok {
			return took
		}
	}
	return w.usual
}

func different(a, b string) bool { return place(a) != "" && place(b) != "" && place(a) != place(b) }

// place is a place's name without what people write differently by chance.
func place(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }
