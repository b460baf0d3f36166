package ical

import (
	"errors"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// Event is one VEVENT with its times read.
type Event struct {
	*Component
	Start         Moment // when HasStart; a cancelled event need not say when it was
	End           time.Time
	DTEnd         Moment // DTEND, when HasEnd, in the form of the start
	Length        Length // DURATION, when HasLength
	HasStart      bool
	HasEnd        bool
	HasLength     bool
	ThisAndFuture bool // RANGE of the RECURRENCE-ID
	Cancelled     bool
}

// located is an error about one property.
type located struct {
	error
	line     int
	property string
}

func (l *located) Unwrap() error { return l.error }

func at(p Prop, err error) error {
	if err == nil {
		return nil
	}
	return &located{err, p.Line, p.Name}
}

// problem tells an error about a component with the line that is at fault.
func problem(c *Component, err error) Problem {
	out := Problem{Line: c.Line, Err: err}
	if l := (*located)(nil); errors.As(err, &l) {
		out.Line, out.Property, out.Err = l.line, l.property, l.error
		return out
	}
	name := strings.ToUpper(domain.FieldOf(err))
	if p := c.Get(name); p != nil {
		out.Line, out.Property = p.Line, p.Name
	}
	return out
}

// Event reads the times of a VEVENT. Errors are domain.KindInvalid on the property's name in lower case.
func (r Reader) Event(c *Component) (Event, error) {
	e := Event{Component: c, Cancelled: strings.EqualFold(c.Text("STATUS"), "CANCELLED")}
	if p := c.Get("RECURRENCE-ID"); p != nil {
		e.ThisAndFuture = strings.EqualFold(p.Param("RANGE"), "THISANDFUTURE")
	}
	start := c.Get("DTSTART")
	if start == nil {
		if e.Cancelled {
			return e, nil
		}
		return e, domain.Invalid("dtstart", "is missing")
	}
	var err error
	if e.Start, err = r.Moment(*start); err != nil {
		return e, at(*start, err)
	}
	e.HasStart = true
	begins := e.Start.Instant()
	if p := c.Get("DTEND"); p != nil {
		if e.DTEnd, err = r.Moment(*p); err != nil {
			return e, at(*p, err)
		}
		// A day as the end of a timed entry, and a time as the end of a day, are read in the form of the start.
		switch {
		case e.Start.Form == FormDate && e.DTEnd.Form != FormDate:
			e.DTEnd = Moment{Form: FormDate, Wall: e.DTEnd.Wall.Date().At(0, 0), Zone: r.local}
		case e.Start.Form != FormDate && e.DTEnd.Form == FormDate:
			e.DTEnd = Moment{Form: e.Start.Form, Wall: e.DTEnd.Wall, Zone: e.Start.Zone, TZID: e.Start.TZID}
		}
		e.HasEnd, e.End = true, e.DTEnd.Instant()
	} else if p := c.Get("DURATION"); p != nil {
		if e.Length, err = ParseLength(p.Value); err != nil {
			return e, at(*p, err)
		}
		e.HasLength, e.End = true, e.Length.After(e.Start)
	} else {
		e.End = begins
	}
	if e.Start.Form == FormDate && !e.End.After(begins) && (!e.HasEnd || e.DTEnd.Wall == e.Start.Wall) {
		e.End = Length{Days: 1}.After(e.Start)
	}
	if e.End.Before(begins) {
		return e, domain.Invalid("dtend", "is before the start")
	}
	if e.End.Sub(begins) > domain.MaxSpan {
		return e, domain.Invalid("dtend", "must be at most %d days after the start", int(domain.MaxSpan.Hours()/24))
	}
	return e, nil
}

// Span is the event's own time. One that takes no time is shown as a minute.
func (e Event) Span() domain.Span {
	s := domain.Span{Start: e.Start.Instant(), End: e.End}
	if !s.End.After(s.Start) {
		s.End = s.Start.Add(time.Minute)
	}
	return s
}

// TakesTime is false for a reminder: a timed event without end or length.
func (e Event) TakesTime() bool { return !e.HasStart || e.End.After(e.Start.Instant()) }

// AllDay reports whether the event is written in days.
func (e Event) AllDay() bool { return e.HasStart && e.Start.Form == FormDate }

// Status is the event's STATUS in the words of domain; anything unknown counts as confirmed.
func (e Event) Status() domain.BookingStatus {
	switch {
	case e.Cancelled:
		return domain.StatusCancelled
	case strings.EqualFold(e.Text("STATUS"), "TENTATIVE"):
		return domain.StatusTentative
	}
	return domain.StatusConfirmed
}

// Revised is when the event was last changed in its store: LAST-MODIFIED, and where that is missing DTSTAMP, which means the
// same in an object that has no METHOD (RFC 5545, 3.8.7.2). With one it is when the object was sent, which tells nothing of
// its events; method is that of the calendar. nil when neither can be read; both must be in UTC.
func (e Event) Revised(method string) *time.Time {
	names := []string{"LAST-MODIFIED", "DTSTAMP"}
	if method != "" {
		names = names[:1]
	}
	for _, name := range names {
		if p := e.Get(name); p != nil {
			if at, err := time.Parse("20060102T150405Z", strings.TrimSpace(p.Value)); err == nil {
				return &at
			}
		}
	}
	return nil
}

// Busy reports whether the event keeps its owner from doing something else: it is not cancelled, not TRANSPARENT, and
// takes time. Outlook's own word for free counts too.
func (e Event) Busy() bool {
	return !e.Cancelled && e.TakesTime() && !strings.EqualFold(e.Text("TRANSP"), "TRANSPARENT") &&
		!strings.EqualFold(e.Text("X-MICROSOFT-CDO-BUSYSTATUS"), "FREE")
}

// Declined reports whether the attendee of an address said no.
func (e Event) Declined(address string) bool {
	for _, p := range e.All("ATTENDEE") {
		who := p.Value
		if len(who) > 7 && strings.EqualFold(who[:7], "mailto:") {
			who = who[7:]
		}
		if strings.EqualFold(who, address) && strings.EqualFold(p.Param("PARTSTAT"), "DECLINED") {
			return true
		}
	}
	return false
}
