package graphsim

import "time"

// occurrence is one date of a series.
type occurrence struct {
	date       string // original
	start, end time.Time
	exception  *item
}

// occurrences expands a series on the wall clock of its author. It needs the lock.
func (it *item) occurrences() []occurrence {
	loc := location(it.ev.Zone)
	if it.ev.AllDay {
		loc = time.UTC
	}
	first, length := it.ev.Start.In(loc), it.ev.End.Sub(it.ev.Start)
	var out []occurrence
	for i := range it.ev.Repeat.Count {
		start := first.AddDate(0, 0, i*it.ev.Repeat.Days)
		date := start.Format("2006-01-02")
		if it.gone[date] != 0 {
			continue
		}
		o := occurrence{date: date, start: start.UTC(), end: start.Add(length).UTC(), exception: it.exceptions[date]}
		if o.exception != nil {
			o.start, o.end = o.exception.ev.Start, o.exception.ev.End
		}
		out = append(out, o)
	}
	return out
}

func (it *item) repeats() bool { return it.ev.Repeat.Days > 0 }

// at makes the event of an occurrence.
func (it *item) at(o occurrence) Event {
	e := it.ev
	e.Start, e.End, e.Repeat = o.start, o.end, Repeat{}
	return e
}

// find looks an id up in the form that the request speaks. An occurrence is the item of its master and its date. It
// needs the lock.
func (s *Server) find(id string, immutable bool) (*item, *occurrence) {
	for _, it := range s.items {
		if it.deleted {
			continue
		}
		if immutable && it.id == id || !immutable && it.mutable == id {
			return it, nil
		}
		if !it.repeats() {
			continue
		}
		for _, o := range it.occurrences() {
			a, b := occurrenceIDs(it, o.date)
			if immutable && a == id || !immutable && b == id {
				if o.exception != nil {
					return o.exception, nil
				}
				return it, &o
			}
		}
	}
	return nil, nil
}

// zones are the Windows names that the simulator knows, with the IANA names that it takes for them.
var zones = map[string]string{
	"UTC": "UTC", "GMT Standard Time": "Europe/London", "W. Europe Standard Time": "Europe/Berlin",
	"Romance Standard Time": "Europe/Paris", "Eastern Standard Time": "America/New_York",
	"Pacific Standard Time": "America/Los_Angeles", "AUS Eastern Standard Time": "Australia/Sydney",
}

// customZone is what Outlook names the zones that old clients defined themselves.
const customZone = "tzone://Microsoft/Custom"

// location reads a Windows or IANA name; nil when it is neither.
func location(zone string) *time.Location {
	if zone == customZone {
		return time.UTC
	}
	if iana, ok := zones[zone]; ok {
		zone = iana
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return nil
	}
	return loc
}

// windowsName is the name under which a zone is stored.
func windowsName(zone string) string {
	for windows, iana := range zones {
		if iana == zone {
			return windows
		}
	}
	return zone
}
