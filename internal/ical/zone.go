package ical

import (
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// zoneSet resolves the TZIDs of one calendar.
type zoneSet struct {
	embedded map[string]*Component // VTIMEZONE by TZID
	known    map[string]foundZone
}

type foundZone struct {
	zone calendartime.NamedZone
	err  error
}

func newZoneSet(cal *Component) *zoneSet {
	z := &zoneSet{embedded: map[string]*Component{}, known: map[string]foundZone{}}
	for _, comp := range cal.Children {
		if comp.Name != "VTIMEZONE" {
			continue
		}
		if p := comp.Get("TZID"); p != nil {
			z.embedded[zoneKey(p.Value)] = comp
		}
	}
	return z
}

// zoneKey makes the TZID of a VTIMEZONE, which is TEXT, and the one of a parameter comparable.
func zoneKey(tzid string) string { return strings.Trim(Unescape(tzid), "\" ") }

// resolve reads a TZID. Names come first because the rules that programs embed are often those of one year only.
func (z *zoneSet) resolve(tzid string) (calendartime.NamedZone, error) {
	key := zoneKey(tzid)
	if known, ok := z.known[key]; ok {
		return known.zone, known.err
	}
	found, err := z.find(key)
	found.Written = tzid
	z.known[key] = foundZone{found, err}
	return found, err
}

func (z *zoneSet) find(key string) (calendartime.NamedZone, error) {
	if found, err := calendartime.ResolveZoneName(key); err == nil {
		return found, nil
	}
	comp, ok := z.embedded[key]
	if !ok {
		return calendartime.NamedZone{}, domain.Invalid("tzid", "names a time zone that is neither in the IANA database nor defined by the calendar")
	}
	// Programs that make up a TZID tend to say here which place they mean.
	if p := comp.Get("X-LIC-LOCATION"); p != nil {
		if found, err := calendartime.ResolveZoneName(zoneKey(p.Value)); err == nil {
			return found, nil
		}
	}
	loc, err := embeddedZone(comp)
	if err != nil {
		return calendartime.NamedZone{}, err
	}
	return calendartime.NamedZone{Name: "UTC", Loc: loc}, nil
}
