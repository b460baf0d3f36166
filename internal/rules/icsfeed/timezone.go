package icsfeed

import (
	"fmt"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// zoneUse is a zone and the time in which the stream uses it.
type zoneUse struct {
	loc  *time.Location
	span domain.Span
}

// observance is an offset that begins at one or several instants.
type observance struct {
	daylight bool
	from, to int // seconds east of UTC before and during it
	name     string
	onsets   []time.Time // as wall clocks before the change, written as UTC
}

// write adds the VTIMEZONE. The changes of offset are listed one by one, as the time-zone database of this program
// knows them: a rule would claim more than is known.
func (z zoneUse) write(w *writer, name string) {
	w.line("BEGIN", "VTIMEZONE")
	w.line("TZID", name)
	for _, o := range z.observances() {
		part := "STANDARD"
		if o.daylight {
			part = "DAYLIGHT"
		}
		w.line("BEGIN", part)
		w.line("DTSTART", o.onsets[0].Format(wallLayout))
		for _, at := range o.onsets[1:] {
			w.line("RDATE", at.Format(wallLayout))
		}
		w.line("TZOFFSETFROM", offset(o.from))
		w.line("TZOFFSETTO", offset(o.to))
		w.text("TZNAME", o.name)
		w.line("END", part)
	}
	w.line("END", "VTIMEZONE")
}

// observances lists what is in force from the begin to the end of the use. An offset greater than the one before counts
// as daylight time: a few zones call their winter so, and programs stumble over a daylight time that goes back.
func (z zoneUse) observances() []observance {
	var all []observance
	at := z.span.Start.In(z.loc)
	_, before := at.Zone()
	for first := true; ; first = false {
		start, end := at.ZoneBounds()
		name, to := at.Zone()
		o := observance{from: before, to: to, name: name, daylight: to > before}
		onset := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
		if !start.IsZero() {
			if first {
				_, o.from = start.Add(-time.Second).In(z.loc).Zone()
				o.daylight = to > o.from
			}
			onset = start.UTC().Add(time.Duration(o.from) * time.Second)
		}
		o.onsets = []time.Time{onset}
		same := -1
		for i, have := range all {
			if have.from == o.from && have.to == o.to && have.name == o.name {
				same = i
			}
		}
		if same >= 0 {
			all[same].onsets = append(all[same].onsets, onset)
		} else {
			all = append(all, o)
		}
		if end.IsZero() || end.After(z.span.End) {
			return all
		}
		before, at = to, end
	}
}

func offset(seconds int) string {
	sign := '+'
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	text := fmt.Sprintf("%c%02d%02d", sign, seconds/3600, seconds/60%60)
	if rest := seconds % 60; rest != 0 {
		text += fmt.Sprintf("%02d", rest)
	}
	return text
}
