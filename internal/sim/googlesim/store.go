package googlesim

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"time"
)

const stamp = "2006-01-02T15:04:05.000Z"

var validID = regexp.MustCompile(`^[a-v0-9]{5,}$`)

// readOnly are fields that a client cannot set.
var readOnly = []string{"kind", "etag", "created", "updated", "creator", "organizer", "htmlLink", "recurringEventId", "originalStartTime"}

// create stores a new event. It answers what the API would refuse it with.
func (s *Server) create(c *calendar, in map[string]any) (*event, *failure) {
	for _, name := range readOnly {
		delete(in, name)
	}
	id := text(in, "id")
	switch {
	case id == "":
		s.made++
		in["id"] = fmt.Sprintf("sim%021d", s.made)
	case !validID.MatchString(id) || len(id) > 1024:
		return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "Invalid resource id value."}
	case c.events[id] != nil:
		return nil, &failure{status: http.StatusConflict, reason: "duplicate", message: "The requested identifier already exists."}
	}
	if text(in, "iCalUID") == "" {
		in["iCalUID"] = text(in, "id") + "@google.com"
	}
	for _, e := range c.events {
		if e.str("iCalUID") == text(in, "iCalUID") {
			return nil, &failure{status: http.StatusConflict, reason: "duplicate", message: "The requested identifier already exists."}
		}
	}
	if f := c.check(in); f != nil {
		return nil, f
	}
	e := &event{fields: in}
	e.fields["created"] = s.opt.Now().UTC().Truncate(time.Second).Format(stamp)
	c.events[text(in, "id")] = e
	s.touch(c, e)
	return e, nil
}

// check says what is wrong with the fields of a live event, and fills in defaults.
func (c *calendar) check(in map[string]any) *failure {
	if text(in, "status") == "" {
		in["status"] = "confirmed"
	}
	start, okStart := readMoment(in["start"], c.Zone)
	end, okEnd := readMoment(in["end"], c.Zone)
	switch {
	case in["start"] == nil || in["end"] == nil:
		return &failure{status: http.StatusBadRequest, reason: "required", message: "Missing end time."}
	case !okStart || !okEnd || start.allDay != end.allDay:
		return &failure{status: http.StatusBadRequest, reason: "invalid", message: "Invalid start or end time."}
	case end.at.Before(start.at) || end.at.Equal(start.at) && end.allDay:
		return &failure{status: http.StatusBadRequest, domain: "calendar", reason: "timeRangeEmpty", message: "The specified time range is empty."}
	}
	if rules := list(in["recurrence"]); len(rules) > 0 {
		if !start.allDay && text(object(in["start"]), "timeZone") == "" {
			return &failure{status: http.StatusBadRequest, reason: "required", message: "Missing time zone definition for start time."}
		}
		if _, err := readRule(rules); err != nil {
			return &failure{status: http.StatusBadRequest, reason: "invalid", message: "Invalid recurrence rule: " + err.Error()}
		}
	}
	for _, name := range []string{"start", "end"} {
		if m, _ := readMoment(in[name], c.Zone); !m.allDay {
			zone := text(object(in[name]), "timeZone")
			shown := moment{at: m.at, zone: m.zone}.json(zone)
			if zone == "" {
				delete(shown, "timeZone")
			}
			in[name] = shown
		}
	}
	return nil
}

// empty refuses an event without length, as the API does. Imported calendars hold such events all the same.
func (c *calendar) empty(in map[string]any) *failure {
	start, okStart := readMoment(in["start"], c.Zone)
	end, okEnd := readMoment(in["end"], c.Zone)
	if okStart && okEnd && !end.at.After(start.at) {
		return &failure{status: http.StatusBadRequest, domain: "calendar", reason: "timeRangeEmpty", message: "The specified time range is empty."}
	}
	return nil
}

// replace puts other fields into an event. An instance becomes an exception of its series by that.
func (s *Server) replace(c *calendar, e *event, in map[string]any) *failure {
	in = maps.Clone(in)
	for _, name := range append([]string{"id", "iCalUID"}, readOnly...) {
		delete(in, name)
		if v, there := e.fields[name]; there {
			in[name] = v
		}
	}
	if text(in, "status") == "cancelled" {
		s.cancel(c, e)
		return nil
	}
	if was, is := text(e.fields, "eventType"), text(in, "eventType"); was != "" && is != "" && was != is {
		return &failure{status: http.StatusBadRequest, reason: "eventTypeRestriction", message: "The type of an event cannot change."}
	}
	if f := c.check(in); f != nil {
		return f
	}
	before := s.instances(c, e)
	moved := !reflect.DeepEqual(e.fields["start"], in["start"]) || !reflect.DeepEqual(e.fields["recurrence"], in["recurrence"])
	e.previous, e.fields = e.fields, in
	c.events[e.str("id")] = e
	s.touch(c, e)
	if before != nil && e.str("recurringEventId") == "" {
		s.note(c, e, before, moved)
	}
	return nil
}

// cancel deletes an event, a series or an instance.
func (s *Server) cancel(c *calendar, e *event) {
	before := s.instances(c, e)
	f := maps.Clone(e.fields)
	f["status"] = "cancelled"
	e.previous, e.fields = nil, f
	c.events[e.str("id")] = e
	s.touch(c, e)
	if e.str("recurringEventId") == "" {
		s.note(c, e, before, true)
	}
}

// touch gives an event a new revision and tells the channels.
func (s *Server) touch(c *calendar, e *event) {
	e.rev = s.next()
	sequence, _ := e.fields["sequence"].(float64)
	e.fields["sequence"] = sequence + 1
	e.fields["updated"] = s.opt.Now().UTC().Add(time.Duration(e.rev) * time.Millisecond).Format(stamp)
	s.announce(c)
}

// show is an event as the API writes it.
func (s *Server) show(e *event) map[string]any {
	f := clone(e.fields)
	f["kind"], f["etag"] = "calendar#event", etag(e.rev)
	if text(f, "eventType") == "" {
		f["eventType"] = "default"
	}
	return f
}

// shell is a cancelled event in a list: an exception of a live series has its place, any other only its id.
func (s *Server) shell(c *calendar, e *event) map[string]any {
	if s.faults.BareTombstones || e.str("recurringEventId") == "" {
		return map[string]any{"kind": "calendar#event", "id": e.str("id"), "status": "cancelled", "etag": etag(e.rev)}
	}
	return map[string]any{"kind": "calendar#event", "id": e.str("id"), "status": "cancelled", "etag": etag(e.rev),
		"recurringEventId": e.str("recurringEventId"), "originalStartTime": e.fields["originalStartTime"]}
}
