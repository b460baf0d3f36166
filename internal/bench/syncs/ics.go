package syncs

import (
	"fmt"
	"strings"
	"time"
)

const (
	clock   = "20060102T150405"
	instant = clock + "Z"
)

// rules are the zones as calendar programs write them into every entry.
var rules = map[string]string{
	"Europe/London":    vtimezone("Europe/London", "+0000", "+0100", "GMT", "BST", "19700329T010000", "BYMONTH=3;BYDAY=-1SU", "19701025T020000", "BYMONTH=10;BYDAY=-1SU"),
	"Europe/Berlin":    vtimezone("Europe/Berlin", "+0100", "+0200", "CET", "CEST", "19700329T020000", "BYMONTH=3;BYDAY=-1SU", "19701025T030000", "BYMONTH=10;BYDAY=-1SU"),
	"America/New_York": vtimezone("America/New_York", "-0500", "-0400", "EST", "EDT", "19700308T020000", "BYMONTH=3;BYDAY=2SU", "19701101T020000", "BYMONTH=11;BYDAY=1SU"),
}

func vtimezone(name, standard, summer, winterName, summerName, summerFrom, summerRule, winterFrom, winterRule string) string {
	part := func(kind, from, to, called, start, rule string) string {
		return fmt.Sprintf("BEGIN:%s\r\nTZOFFSETFROM:%s\r\nTZOFFSETTO:%s\r\nTZNAME:%s\r\nDTSTART:%s\r\nRRULE:FREQ=YEARLY;%s\r\nEND:%s\r\n", kind, from, to, called, start, rule, kind)
	}
	return "BEGIN:VTIMEZONE\r\nTZID:" + name + "\r\n" + part("DAYLIGHT", standard, summer, summerName, summerFrom, summerRule) +
		part("STANDARD", summer, standard, winterName, winterFrom, winterRule) + "END:VTIMEZONE\r\n"
}

// ics writes an entry as a calendar program stores it.
func (e *entry) ics() string {
	var b strings.Builder
	b.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//Calendar 4.2//EN\r\nCALSCALE:GREGORIAN\r\n")
	if e.kind == zoned || e.kind == weekly {
		b.WriteString(rules[e.zone.String()])
	}
	var more []string
	if e.kind == weekly {
		more = append(more, fmt.Sprintf("RRULE:FREQ=WEEKLY;COUNT=%d", e.count))
		if e.except >= 0 {
			more = append(more, "EXDATE"+e.moment(e.instance(e.except)))
		}
	}
	e.vevent(&b, e.start, more...)
	if e.moved >= 0 {
		at := e.instance(e.moved)
		e.vevent(&b, at.Add(10*time.Minute), "RECURRENCE-ID"+e.moment(at))
	}
	b.WriteString("END:VCALENDAR\r\n")
	return b.String()
}

func (e *entry) vevent(b *strings.Builder, start time.Time, more ...string) {
	line := func(s string) {
		for len(s) > 75 {
			b.WriteString(s[:75] + "\r\n")
			s = " " + s[75:]
		}
		b.WriteString(s + "\r\n")
	}
	line("BEGIN:VEVENT")
	line("UID:" + e.uid)
	line("DTSTAMP:20260901T080000Z")
	line("CREATED:20260901T080000Z")
	line("LAST-MODIFIED:20260901T080000Z")
	line("SEQUENCE:1")
	if e.kind == allDay {
		y, m, on := start.Date()
		line("DTSTART;VALUE=DATE:" + start.Format("20060102"))
		line("DTEND;VALUE=DATE:" + time.Date(y, m, on+e.days, 0, 0, 0, 0, time.UTC).Format("20060102"))
		line("TRANSP:TRANSPARENT")
	} else {
		line("DTSTART" + e.moment(start))
		line("DTEND" + e.moment(start.Add(e.length)))
		line("TRANSP:OPAQUE")
	}
	for _, l := range more {
		line(l)
	}
	line("SUMMARY:" + escape(e.title))
	line("LOCATION:" + escape(e.location))
	line("DESCRIPTION:" + escape(e.notes))
	line("CATEGORIES:" + escape(e.category))
	line("STATUS:CONFIRMED")
	line("END:VEVENT")
}

// moment writes a time behind a property's name.
func (e *entry) moment(t time.Time) string {
	switch e.kind {
	case universal:
		return ":" + t.UTC().Format(instant)
	case floating:
		return ":" + t.In(e.zone).Format(clock)
	case zoned, weekly, allDay:
	}
	return ";TZID=" + e.zone.String() + ":" + t.In(e.zone).Format(clock)
}

var escape = strings.NewReplacer(`\`, `\\`, ",", `\,`, ";", `\;`, "\n", `\n`).Replace
