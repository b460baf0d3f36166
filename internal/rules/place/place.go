// Package place finds where a booking is from what its location says.
//
// Find knows two ways: coordinates that are part of the text ("51.3811, -2.3590", or a geo: address of RFC 5870), and the
// organisation's known venues, whose name or alias the text is, or begins with before a comma or in a line of its own: so
// "Assembly Rooms, Bennett Street, Bath" is at the venue Assembly Rooms. Letters' case, spaces and punctuation make no
// difference. What is neither is at no known place; nothing is guessed and nobody outside is asked.
//
// It is pure, and order of venues does not matter: where two venues fit, the longer name wins, then the smaller id.
//
// Test it with tables and the fuzz target (go test ./internal/rules/place).
package place

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/wedsync/wedsync/internal/domain"
)

// Known are the venues of one organisation, ready for look-ups.
type Known struct{ byName map[string]domain.Venue }

// Learn prepares venues for Find.
func Learn(venues []domain.Venue) Known {
	k := Known{byName: make(map[string]domain.Venue, len(venues))}
	for _, v := range venues {
		for _, name := range append([]string{v.Name}, v.Aliases...) {
			n := Fold(name)
			if had, taken := k.byName[n]; n == "" || taken && had.ID <= v.ID {
				continue
			}
			k.byName[n] = v
		}
	}
	return k
}

// Find returns the point that a location names; the zero point when it names none that is known.
func (k Known) Find(location string) domain.Point {
	if location == "" {
		return domain.Point{}
	}
	if p, ok := Coordinates(location); ok {
		return p
	}
	v, _ := k.Venue(location)
	return v.Point
}

// Named returns the venue that has a name or alias, as a whole.
func (k Known) Named(name string) (domain.Venue, bool) {
	v, ok := k.byName[Fold(name)]
	return v, ok
}

// Venue returns the known venue that a location names.
func (k Known) Venue(location string) (domain.Venue, bool) {
	if len(k.byName) == 0 {
		return domain.Venue{}, false
	}
	if v, ok := k.byName[Fold(location)]; ok {
		return v, true
	}
	// The name stands first, as people and vendors write addresses; the longest beginning that is a name counts.
	parts := strings.FieldsFunc(location, func(r rune) bool { return strings.ContainsRune(",;\n\r|()", r) })
	for n := len(parts); n > 0; n-- {
		if v, ok := k.byName[Fold(strings.Join(parts[:n], " "))]; ok {
			return v, true
		}
	}
	return domain.Venue{}, false
}

// Fold is a name without what people write differently by chance.
func Fold(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	}), " ")
}

// pair is two decimal numbers that are all of a text, or follow geo:. Whole numbers alone could be a street and a house, so
// both need a fraction.
var pair = regexp.MustCompile(`^\s*(?:[gG][eE][oO]:)?\s*([+-]?\d{1,3}\.\d{1,12})\s*[,; ]\s*([+-]?\d{1,3}\.\d{1,12})(?:\s*$|[;,?])`)

// Coordinates reads a latitude and a longitude in decimal degrees that a text begins with.
func Coordinates(text string) (domain.Point, bool) {
	m := pair.FindStringSubmatch(text)
	if m == nil {
		return domain.Point{}, false
	}
	lat, errLat := strconv.ParseFloat(m[1], 64)
	lon, errLon := strconv.ParseFloat(m[2], 64)
	p := domain.Point{Lat: lat, Lon: lon}
	if errLat != nil || errLon != nil || math.IsInf(lat, 0) || p.Validate("") != nil {
		return domain.Point{}, false
	}
	return p, true
}
