package conflict

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// earthRadius is the mean radius in km, by which great circles are off by at most half a percent.
const earthRadius = 6371.0088

// onePlace is how far apart, in km, two points may lie and still be one place: maps put pins on gates and on roofs.
const onePlace = 0.15

// Distance is the great-circle distance of two points in km.
func Distance(a, b domain.Point) float64 {
	rad := func(deg float64) float64 { return deg * math.Pi / 180 }
	dLat, dLon := rad(b.Lat-a.Lat)/2, rad(b.Lon-a.Lon)/2
	h := math.Pow(math.Sin(dLat), 2) + math.Cos(rad(a.Lat))*math.Cos(rad(b.Lat))*math.Pow(math.Sin(dLon), 2)
	return 2 * earthRadius * math.Asin(math.Min(1, math.Sqrt(h)))
}

// Way is how long a resource takes from one place to another.
type Way struct {
	Took  time.Duration // whole minutes, 0 to domain.MaxWay
	Km    float64       // above 0 where the distance was measured
	Least bool          // the fixed minimum counts, because the distance alone would take less
}

// WayBetween is the way between two places, in whole minutes rounded up. It is nothing within one place and where the
// resource has no rule for it.
func WayBetween(t domain.Travel, a, b domain.Point) Way {
	measured := a.Known() && b.Known()
	km := 0.0
	if measured {
		if km = Distance(a, b); km <= onePlace {
			return Way{}
		}
	}
	if !measured || t.SpeedKmh <= 0 {
		return Way{Took: min(time.Duration(t.FixedMinutes)*time.Minute, domain.MaxWay)}
	}
	// A thousandth of a minute is below what coordinates tell.
	took := time.Duration(math.Ceil(km/float64(t.SpeedKmh)*60-0.001)) * time.Minute
	w := Way{Took: min(took, domain.MaxWay), Km: km}
	if least := time.Duration(t.MinMinutes) * time.Minute; w.Took < least {
		w.Took, w.Least = min(least, domain.MaxWay), true
	}
	return w
}

// WayOf is the way between two bookings of a resource. Who serves several at once sends somebody else; a travel entry is
// what the way is for; an entry of whole days claims its date, ways included; and between two entries without clients
// nobody asks.
func WayOf(res domain.Resource, a, b Candidate) Way {
	if res.Travel == (domain.Travel{}) || res.Capacity > 1 || a.Category == domain.CategoryTravel || b.Category == domain.CategoryTravel ||
		!HasBuffers(a.Category) && !HasBuffers(b.Category) {
		return Way{}
	}
	w := WayBetween(res.Travel, a.Place, b.Place)
	if w.Took > 0 && (wholeDays(res, a.Event) || wholeDays(res, b.Event)) {
		return Way{}
	}
	return w
}

// claim is the time that two bookings, neither of which overlaps the other, both claim: buffers, and the way between them.
// It is empty, end not after start, when they claim none; else it is as long as the time in between is too short.
func claim(a, b Candidate, way time.Duration) domain.Span {
	if b.Event.Start.Before(a.Event.Start) {
		a, b = b, a
	}
	return domain.Span{Start: b.Busy.Start.Add(-way), End: a.Busy.End}
}

// Words tells a way with its numbers: "the way of 21 km at 50 km/h takes 26 min".
func (w Way) Words(t domain.Travel) string {
	switch {
	case w.Km == 0:
		return "the way takes " + Length(w.Took) + ", as set for the resource"
	case w.Least:
		return fmt.Sprintf("the way of %s takes %s, the least that counts", kilometres(w.Km), Length(w.Took))
	case w.Took == domain.MaxWay:
		return fmt.Sprintf("the way of %s at %d km/h takes a day or more", kilometres(w.Km), t.SpeedKmh)
	}
	return fmt.Sprintf("the way of %s at %d km/h takes %s", kilometres(w.Km), t.SpeedKmh, Length(w.Took))
}

func kilometres(km float64) string {
	if km < 1 {
		return fmt.Sprintf("%d m", int(math.Round(km*10))*100)
	}
	return fmt.Sprintf("%.0f km", km)
}

// travelWords says what makes the time between two bookings too short.
func travelWords(h hit, res domain.Resource, a, b Candidate) string {
	if b.Event.Start.Before(a.Event.Start) {
		a, b = b, a
	}
	parts := []string{h.way.Words(res.Travel)}
	if d := a.Busy.End.Sub(a.Event.End); d > 0 {
		parts = append(parts, "teardown "+Length(d))
	}
	if d := b.Event.Start.Sub(b.Busy.Start); d > 0 {
		parts = append(parts, "set-up "+Length(d))
	}
	return strings.Join(parts, ", ") + ": short by " + Length(h.overlap.Duration())
}
