// Package icsfeed writes bookings as an iCalendar stream (RFC 5545) for people who subscribe to a calendar by its
// address. It is a pure function of what it is given: the same bookings give the same bytes, on any day and any machine
// with the same time-zone database, so that a hash of them serves as an ETag.
//
//	body := icsfeed.Write(icsfeed.Calendar{Name: "Main hall", Detail: domain.FeedBusy}, bookings)
//
// # Promises
//
// Lines end in CRLF and are folded at 75 octets, never inside a character. Whole days are written as dates, times in a
// named zone with its TZID and a VTIMEZONE that covers them, and what a wall clock cannot say without doubt (the second
// of two equal hours when clocks go back) in UTC. UIDs follow from the booking alone and DTSTAMP from its last change.
// Cancelled bookings are left out; holds and tentative ones are TENTATIVE. There is no METHOD: the stream is a calendar,
// not a message, and programs that see one offer to import it instead of subscribing.
//
// What the reader may know is decided by internal/rules/privacy: private bookings are "Busy". With the detail busy all
// of them are, and those that take no time are left out.
//
// Test with go test ./internal/rules/icsfeed.
package icsfeed

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
	"github.com/wedsync/wedsync/internal/rules/privacy"
)

// ContentType is the media type of what Write returns.
const ContentType = "text/calendar; charset=utf-8"

// Calendar describes the stream.
type Calendar struct {
	Name    string // as subscribers see it
	Detail  domain.FeedDetail
	Refresh time.Duration // how often programs should ask; 0 leaves it to them
	// Cut says that bookings were left out because there are too many; the stream tells it to its readers.
	Cut bool
}

// Write returns the stream. Bookings that are cancelled, or may not be shown at all, are left out; the rest keep their
// order.
func Write(c Calendar, bookings []domain.Booking) []byte {
	w := &writer{}
	w.line("BEGIN", "VCALENDAR")
	w.line("VERSION", "2.0")
	w.line("PRODID", "-//WedSync//WedSync//EN")
	w.line("CALSCALE", "GREGORIAN")
	w.text("NAME", c.Name) // RFC 7986, and what programs read that are older than it
	w.text("X-WR-CALNAME", c.Name)
	if c.Cut {
		for _, name := range []string{"DESCRIPTION", "X-WR-CALDESC"} {
			w.text(name, "This calendar has more than "+strconv.Itoa(domain.MaxFeedEvents)+" bookings; the latest ones are not shown.")
		}
	}
	if c.Refresh > 0 {
		every := "PT" + strconv.Itoa(int(c.Refresh/time.Minute)) + "M"
		w.line("REFRESH-INTERVAL;VALUE=DURATION", every)
		w.line("X-PUBLISHED-TTL", every)
	}
	events, zones := []event{}, map[string]*zoneUse{}
	for _, b := range bookings {
		e, ok := eventOf(b, c.Detail)
		if !ok {
			continue
		}
		events = append(events, e)
		if e.zone == nil {
			continue
		}
		use := zones[e.zone.String()]
		if use == nil {
			use = &zoneUse{loc: e.zone, span: b.When.Span}
			zones[e.zone.String()] = use
		}
		if b.When.Start.Before(use.span.Start) {
			use.span.Start = b.When.Start
		}
		if b.When.End.After(use.span.End) {
			use.span.End = b.When.End
		}
	}
	for _, name := range slices.Sorted(maps.Keys(zones)) {
		zones[name].write(w, name)
	}
	for _, e := range events {
		e.write(w)
	}
	w.line("END", "VCALENDAR")
	return w.out
}

// event is a booking as the reader may see it.
type event struct {
	booking     domain.Booking
	details     domain.Details
	zone        *time.Location // of the wall clocks; nil for dates and UTC
	first, last calendartime.Date
	allDay      bool
	named       bool // the reader may know what it is for
}

func eventOf(b domain.Booking, detail domain.FeedDetail) (event, bool) {
	if b.Status == domain.StatusCancelled || !b.When.Valid() {
		return event{}, false
	}
	e := event{booking: b, details: domain.Details{Title: privacy.BusyTitle}}
	if detail == domain.FeedTitles {
		e.details, e.named = privacy.Project(b), !b.Private
	} else if b.Free {
		return event{}, false
	}
	loc, err := calendartime.LoadZone(b.When.Zone)
	if err != nil || b.When.Zone == "UTC" {
		if b.When.Kind == domain.TimeAllDay && err == nil {
			e.first, e.last, e.allDay = calendartime.WholeDays(b.When.Span, loc)
		}
		return e, true
	}
	if b.When.Kind == domain.TimeAllDay {
		if e.first, e.last, e.allDay = calendartime.WholeDays(b.When.Span, loc); e.allDay {
			return e, true
		}
	}
	if exact(b.When.Start, loc) && exact(b.When.End, loc) {
		e.zone = loc
	}
	return e, true
}

// exact reports whether the wall clock of an instant means this instant.
func exact(t time.Time, loc *time.Location) bool {
	t = t.Truncate(time.Second)
	return calendartime.Resolve(calendartime.WallOf(t, loc), loc).Equal(t)
}

const (
	utcLayout  = "20060102T150405Z"
	wallLayout = "20060102T150405"
)

func (e event) write(w *writer) {
	b := e.booking
	w.line("BEGIN", "VEVENT")
	w.line("UID", UID(b.ID))
	stamp := b.UpdatedAt.UTC().Format(utcLayout)
	w.line("DTSTAMP", stamp)
	w.line("LAST-MODIFIED", stamp)
	w.line("SEQUENCE", strconv.FormatInt(max(b.Version-1, 0), 10))
	switch {
	case e.allDay:
		w.line("DTSTART;VALUE=DATE", strings.ReplaceAll(e.first.String(), "-", ""))
		w.line("DTEND;VALUE=DATE", strings.ReplaceAll(e.last.String(), "-", ""))
	case e.zone != nil:
		w.line("DTSTART;TZID="+e.zone.String(), b.When.Start.In(e.zone).Format(wallLayout))
		w.line("DTEND;TZID="+e.zone.String(), b.When.End.In(e.zone).Format(wallLayout))
	default:
		w.line("DTSTART", b.When.Start.UTC().Format(utcLayout))
		w.line("DTEND", b.When.End.UTC().Format(utcLayout))
	}
	title := e.details.Title
	if strings.TrimSpace(title) == "" {
		title = privacy.BusyTitle
	}
	w.text("SUMMARY", title)
	if e.details.Location != "" {
		w.text("LOCATION", e.details.Location)
	}
	status := "CONFIRMED"
	if b.Status == domain.StatusTentative || b.Category == domain.CategoryHold {
		status = "TENTATIVE"
	}
	w.line("STATUS", status)
	if b.Free {
		w.line("TRANSP", "TRANSPARENT")
	} else {
		w.line("TRANSP", "OPAQUE")
	}
	// A calendar program of ours that subscribes to the feed knows its own bookings by this.
	w.line("X-WEDSYNC-BOOKING", Marker(b.ID))
	if e.named && b.Category.Valid() {
		w.line("X-WEDSYNC-CATEGORY", string(b.Category))
	}
	w.line("END", "VEVENT")
}

// writer builds content lines.
type writer struct{ out []byte }

// line adds a line whose value needs no escaping.
func (w *writer) line(name, value string) {
	s := name + ":" + value
	limit := 75
	for len(s) > limit {
		at := limit
		for at > 1 && !utf8.RuneStart(s[at]) {
			at--
		}
		w.out = append(append(w.out, s[:at]...), "\r\n "...)
		s, limit = s[at:], 74
	}
	w.out = append(append(w.out, s...), "\r\n"...)
}

var escaper = strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`)

// text adds a line of text: escaped, valid UTF-8, and without the control characters that RFC 5545 forbids.
func (w *writer) text(name, value string) {
	value = strings.ToValidUTF8(strings.ReplaceAll(value, "\r\n", "\n"), "\uFFFD")
	value = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, value)
	w.line(name, escaper.Replace(value))
}
