package caldav

import (
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// event is one VEVENT with its times read.
type event struct {
	comp  *ical.Component
	start moment
	end   time.Time // equal to the start for one that takes no time
	dtend moment    // DTEND as written, when hasEnd
	hasEnd,
	hasStart bool
	length length // DURATION, when hasLength
	hasLength,
	thisAndFuture bool
	cancelled bool
}

func (r reader) event(comp *ical.Component) (event, error) {
	e := event{comp: comp, cancelled: strings.EqualFold(text(comp, ical.PropStatus), "CANCELLED")}
	if p := comp.Props.Get(ical.PropRecurrenceID); p != nil {
		e.thisAndFuture = strings.EqualFold(p.Params.Get("RANGE"), "THISANDFUTURE")
	}
	start := comp.Props.Get(ical.PropDateTimeStart)
	if start == nil {
		if e.cancelled {
			return e, nil // what is cancelled need not say when it was
		}
		return e, domain.Invalid("dtstart", "is missing")
	}
	var err error
	if e.start, err = r.moment("dtstart", start); err != nil {
		return e, err
	}
	e.hasStart = true
	if p := comp.Props.Get(ical.PropDateTimeEnd); p != nil {
		if e.dtend, err = r.moment("dtend", p); err != nil {
			return e, err
		}
		// A day as the end of a timed entry, and a time as the end of a day, are read in the form of the start.
		switch {
		case e.start.form == formDate && e.dtend.form != formDate:
			wall := e.dtend.wall.Date().At(0, 0)
			e.dtend = moment{form: formDate, wall: wall, zone: r.local}
		case e.start.form != formDate && e.dtend.form == formDate:
			e.dtend = moment{form: e.start.form, wall: e.dtend.wall, zone: e.start.zone, tzid: e.start.tzid}
		}
		e.hasEnd, e.end = true, e.dtend.instant()
	} else if p := comp.Props.Get(ical.PropDuration); p != nil {
		if e.length, err = parseLength(p.Value); err != nil {
			return e, err
		}
		e.hasLength, e.end = true, e.length.after(e.start)
	} else {
		e.end = e.start.instant()
	}
	if e.start.form == formDate && !e.end.After(e.start.instant()) && (!e.hasEnd || e.dtend.wall == e.start.wall) {
		e.end = length{days: 1}.after(e.start)
	}
	if e.end.Before(e.start.instant()) {
		return e, domain.Invalid("dtend", "is before the start")
	}
	return e, nil
}

// span is the event's time; one that takes no time is shown as a minute.
func (e event) span() domain.Span {
	s := domain.Span{Start: e.start.instant(), End: e.end}
	if !s.End.After(s.Start) {
		s.End = s.Start.Add(time.Minute)
	}
	return s
}

func (e event) takesTime() bool { return !e.hasStart || e.end.After(e.start.instant()) }

// resource is one object of the collection, read.
type resource struct {
	path   string // as an ExternalID
	etag   string
	uid    string
	reader reader
	master *event // nil when there are only overrides
	// overrides are the VEVENTs with a RECURRENCE-ID, in the series' zone. Without a master the key is in their own.
	overrides map[calendartime.Wall]event
	ids       map[calendartime.Wall]moment // RECURRENCE-ID as written
}

// read parses an object. A resource without a VEVENT gives nil.
func (c *connection) read(path, etag string, raw []byte) (*resource, error) {
	cal, err := parseCalendar(raw)
	if err != nil {
		return nil, err
	}
	r := &resource{path: path, etag: etag, reader: reader{newZoneSet(cal), c.local},
		overrides: map[calendartime.Wall]event{}, ids: map[calendartime.Wall]moment{}}
	var others []*ical.Component
	found := false
	for _, comp := range cal.Children {
		if comp.Name != ical.CompEvent {
			continue
		}
		found = true
		r.uid = text(comp, ical.PropUID)
		if comp.Props.Get(ical.PropRecurrenceID) != nil {
			others = append(others, comp)
			continue
		}
		if r.master != nil {
			return nil, domain.Invalid("vevent", "occurs twice without RECURRENCE-ID")
		}
		e, err := r.reader.event(comp)
		if err != nil {
			return nil, err
		}
		r.master = &e
	}
	for _, comp := range others {
		id, err := r.reader.moment("recurrence-id", comp.Props.Get(ical.PropRecurrenceID))
		if err != nil {
			return nil, err
		}
		wall := id.wall
		if r.master != nil && r.master.hasStart {
			wall = id.in(r.master.start)
		}
		e, err := r.reader.event(comp)
		if err != nil {
			return nil, err
		}
		r.overrides[wall], r.ids[wall] = e, id
	}
	if !found {
		return nil, nil
	}
	return r, nil
}

func (r *resource) repeats() bool {
	if r.master == nil {
		return true
	}
	p := r.master.comp.Props
	return p.Get(ical.PropRecurrenceRule) != nil || p.Get(ical.PropRecurrenceDates) != nil || len(r.overrides) > 0
}

// instanceID names an instance within its resource.
func (r *resource) instanceID(w calendartime.Wall) string {
	form := formDate
	if r.master != nil {
		form = r.master.start.form
	} else {
		form = r.ids[w].form
	}
	if form == formDate {
		return time.Date(w.Year, w.Month, w.Day, 0, 0, 0, 0, time.UTC).Format("20060102")
	}
	return time.Date(w.Year, w.Month, w.Day, w.Hour, w.Minute, w.Second, 0, time.UTC).Format("20060102T150405")
}

func parseInstanceID(s string) (calendartime.Wall, bool) {
	layout := "20060102T150405"
	if len(s) == 8 {
		layout = "20060102"
	}
	t, err := time.Parse(layout, s)
	return calendartime.WallOf(t, time.UTC), err == nil
}

// change turns a VEVENT into a change. instance is "" for a single entry.
func (c *connection) change(r *resource, e event, span domain.Span, instance string) domain.Change {
	out := domain.Change{Op: domain.OpUpsert, ExternalID: r.path, UID: r.uid, Revision: r.etag, Status: domain.StatusConfirmed}
	if instance != "" {
		out.ExternalID += "#" + instance
		if out.UID != "" {
			out.UID += "#" + instance
		}
	}
	if e.hasStart {
		out.When = domain.When{Span: span, Zone: e.start.zone.name, Kind: e.start.kind()}
	}
	switch {
	case e.cancelled, r.master != nil && r.master.cancelled:
		out.Status = domain.StatusCancelled
	case strings.EqualFold(text(e.comp, ical.PropStatus), "TENTATIVE"):
		out.Status = domain.StatusTentative
	}
	out.Details = domain.Details{
		Title:    cut(text(e.comp, ical.PropSummary), domain.MaxTitle),
		Location: cut(text(e.comp, ical.PropLocation), domain.MaxTitle),
		Notes:    cut(text(e.comp, ical.PropDescription), domain.MaxNotes),
		Contact:  cut(text(e.comp, ical.PropContact), domain.MaxTitle),
	}
	switch strings.ToUpper(text(e.comp, ical.PropClass)) {
	case "PRIVATE", "CONFIDENTIAL":
		out.Private = true
	}
	out.Free = strings.EqualFold(text(e.comp, ical.PropTransparency), "TRANSPARENT") || c.declined(e.comp) || !e.takesTime()
	if booking, category, ok := readMarker(e.comp, r.uid); ok {
		out.Origin = booking
		if category.Valid() {
			out.Category = category
		}
	}
	if out.Category == "" {
		out.Category = c.settings.category(append(texts(e.comp, ical.PropCategories), out.Details.Title)...)
	}
	return out
}

// declined reports whether the owner of the account said no to the invitation.
func (c *connection) declined(comp *ical.Component) bool {
	for _, p := range comp.Props.Values(ical.PropAttendee) {
		address := p.Value
		if len(address) > 7 && strings.EqualFold(address[:7], "mailto:") {
			address = address[7:]
		}
		if strings.EqualFold(address, c.settings.Username) && strings.EqualFold(p.Params.Get("PARTSTAT"), "DECLINED") {
			return true
		}
	}
	return false
}
