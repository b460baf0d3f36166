package googlesim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a page, as documented.
const (
	defaultPage = 250
	maxPage     = 2500
	maxListings = 64 // lists that wait for their next page
)

// listing is a list whose pages are being fetched.
type listing struct {
	calendar string
	query    string
	items    []map[string]any
	sync     string
}

// syncToken is what a sync token says.
type syncToken struct {
	Epoch    int    `json:"e"`
	Revision int64  `json:"r"`
	Calendar string `json:"c"`
	Query    string `json:"q"`
	Min      string `json:"a,omitempty"`
	Max      string `json:"b,omitempty"`
}

func (t syncToken) String() string {
	b, _ := json.Marshal(t)
	return base64.RawURLEncoding.EncodeToString(b)
}

// forbidden are the parameters that may not go with a sync token.
var forbidden = []string{"iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMin", "timeMax", "updatedMin"}

// fingerprint is the part of a query that must stay the same.
func fingerprint(q url.Values) string {
	rest := maps.Clone(q)
	for _, name := range append([]string{"syncToken", "pageToken", "maxResults", "fields", "alt", "prettyPrint", "showDeleted", "key", "quotaUser", "userIp", "oauth_token"}, forbidden...) {
		delete(rest, name)
	}
	return rest.Encode()
}

func (s *Server) listEvents(c *calendar, q url.Values) (map[string]any, *failure) {
	if c.AccessRole == "freeBusyReader" {
		return nil, &failure{status: http.StatusForbidden, reason: "requiredAccessLevel", message: "You need to have reader access to this calendar."}
	}
	size := defaultPage
	if v := q.Get("maxResults"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return nil, &failure{status: http.StatusBadRequest, reason: "invalidParameter", message: "Invalid value.", location: "maxResults"}
		}
		size = min(n, maxPage)
	}
	if s.opt.PageSize > 0 {
		size = min(size, s.opt.PageSize)
	}
	out := map[string]any{"kind": "calendar#events", "etag": etag(s.revision), "summary": c.Summary, "timeZone": c.Zone,
		"accessRole": c.AccessRole, "updated": s.opt.Now().UTC().Format(stamp), "defaultReminders": []any{}}
	key, at := "", 0
	if token := q.Get("pageToken"); token != "" {
		name, index, _ := strings.Cut(token, ".")
		n, err := strconv.Atoi(index)
		l := s.pages[name]
		if err != nil || l == nil || l.calendar != c.ID || n < 0 || n > len(l.items) {
			return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "Invalid page token value.", location: "pageToken"}
		}
		if l.query != fingerprint(q)+q.Get("timeMin")+q.Get("timeMax")+q.Get("syncToken") {
			return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "The query differs from that of its first page.", location: "pageToken"}
		}
		key, at = name, n
	} else {
		l, f := s.begin(c, q)
		if f != nil {
			return nil, f
		}
		key = fmt.Sprintf("page%d-%d", s.epoch, len(s.requests))
		s.pages[key] = l
		if s.pageKeys = append(s.pageKeys, key); len(s.pageKeys) > maxListings {
			delete(s.pages, s.pageKeys[0])
			s.pageKeys = s.pageKeys[1:]
		}
		if s.faults.EmptyPages {
			out["items"], out["nextPageToken"] = []any{}, key+".0"
			return out, nil
		}
	}
	l := s.pages[key]
	end := min(at+size, len(l.items))
	items := make([]any, 0, end-at)
	for _, i := range l.items[at:end] {
		items = append(items, i)
	}
	out["items"] = items
	if end < len(l.items) {
		next := end
		switch {
		case at > 0:
		case s.faults.RepeatPage:
			next, s.faults.RepeatPage = at, false
		case s.faults.SkipPage:
			next, s.faults.SkipPage = min(end+size, len(l.items)), false
		}
		out["nextPageToken"] = fmt.Sprintf("%s.%d", key, next)
	} else if q.Get("orderBy") == "" && q.Get("privateExtendedProperty") == "" && q.Get("iCalUID") == "" {
		out["nextSyncToken"] = l.sync
	}
	return out, nil
}

// begin takes the snapshot that the pages of a list are made of.
func (s *Server) begin(c *calendar, q url.Values) (*listing, *failure) {
	single, deleted := q.Get("singleEvents") == "true", q.Get("showDeleted") == "true"
	t := syncToken{Epoch: s.epoch, Calendar: c.ID, Query: fingerprint(q), Min: q.Get("timeMin"), Max: q.Get("timeMax")}
	var since int64
	if raw := q.Get("syncToken"); raw != "" {
		for _, name := range forbidden {
			if q.Has(name) {
				return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "Sync token cannot be used with " + name + ".", location: name}
			}
		}
		if q.Get("showDeleted") == "false" {
			return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "Sync token cannot be used with showDeleted=false.", location: "showDeleted"}
		}
		var old syncToken
		b, err := base64.RawURLEncoding.DecodeString(raw)
		if err == nil {
			err = json.Unmarshal(b, &old)
		}
		switch {
		case err != nil:
			return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "Invalid sync token value.", location: "syncToken"}
		case old.Epoch != s.epoch || old.Calendar != c.ID:
			return nil, &failure{status: http.StatusGone, reason: "fullSyncRequired", message: "Sync token is no longer valid, a full sync is required."}
		case old.Query != t.Query:
			return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "The query differs from that of its sync token.", location: "syncToken"}
		}
		since, t.Min, t.Max = old.Revision, old.Min, old.Max
		deleted = true
	}
	t.Revision = s.revision
	from, errFrom := bound(t.Min)
	to, errTo := bound(t.Max)
	if errFrom != nil || errTo != nil || !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "Bad time bounds.", location: "timeMin"}
	}
	l := &listing{calendar: c.ID, query: fingerprint(q) + q.Get("timeMin") + q.Get("timeMax") + q.Get("syncToken"), sync: t.String()}
	var repeats []map[string]any
	add := func(e *event) {
		if e.cancelled() {
			l.items = append(l.items, s.shell(c, e))
			return
		}
		l.items = append(l.items, s.show(e))
		if s.faults.StaleRepeats && e.previous != nil {
			repeats = append(repeats, s.show(&event{fields: e.previous, rev: e.rev - 1}))
		}
	}
	for _, e := range c.sorted() {
		switch {
		case !matches(q, e):
		case e.str("recurringEventId") != "":
			place, _ := readMoment(e.fields["originalStartTime"], c.Zone)
			if e.cancelled() {
				live := c.events[e.str("recurringEventId")]
				if e.rev > since && (deleted || !single && live != nil && !live.cancelled()) && (since > 0 || inside(place, place, from, to)) {
					add(e)
				}
			} else if e.rev > since && (since > 0 || e.inside(c, from, to)) {
				add(e)
			}
		case single && e.repeats() && !e.cancelled():
			if e.rev <= since {
				continue
			}
			made := s.instances(c, e)
			for _, id := range slices.Sorted(maps.Keys(made)) {
				if i := made[id]; c.events[id] == nil && i.inside(c, from, to) {
					add(i)
				}
			}
		case single && e.repeats():
			// A deleted series is told by its instances.
		case e.cancelled():
			if deleted && e.rev > since {
				add(e)
			}
		case e.rev > since && (since > 0 || e.repeats() || e.inside(c, from, to)):
			add(e)
		}
	}
	if single && deleted {
		for _, id := range slices.Sorted(maps.Keys(c.lost)) {
			i := c.lost[id]
			place, _ := readMoment(i.original, c.Zone)
			if i.rev > since && inside(place, place, from, to) {
				add(&event{rev: i.rev, fields: map[string]any{"id": id, "status": "cancelled", "recurringEventId": i.series, "originalStartTime": i.original}})
			}
		}
	}
	l.items = append(l.items, repeats...)
	return l, nil
}

func (c *calendar) sorted() []*event {
	out := slices.Collect(maps.Values(c.events))
	slices.SortFunc(out, func(a, b *event) int { return strings.Compare(a.str("id"), b.str("id")) })
	return out
}

func bound(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, s)
}

func (e *event) inside(c *calendar, from, to time.Time) bool {
	start, _ := readMoment(e.fields["start"], c.Zone)
	end, _ := readMoment(e.fields["end"], c.Zone)
	return inside(start, end, from, to)
}

// inside holds the documented bounds: timeMin is below the end, timeMax above the start.
func inside(start, end moment, from, to time.Time) bool {
	return (from.IsZero() || end.at.After(from)) && (to.IsZero() || start.at.Before(to))
}

func (s *Server) freeBusy(in map[string]any) (map[string]any, *failure) {
	from, errFrom := time.Parse(time.RFC3339, text(in, "timeMin"))
	to, errTo := time.Parse(time.RFC3339, text(in, "timeMax"))
	switch {
	case errFrom != nil || errTo != nil:
		return nil, &failure{status: http.StatusBadRequest, reason: "required", message: "Missing timeMin parameter."}
	case !from.Before(to):
		return nil, &failure{status: http.StatusBadRequest, domain: "calendar", reason: "timeRangeEmpty", message: "The specified time range is empty."}
	case to.Sub(from) > 90*24*time.Hour:
		return nil, &failure{status: http.StatusBadRequest, domain: "calendar", reason: "timeRangeTooLong", message: "The requested time range is too long."}
	case len(list(in["items"])) > 50:
		return nil, &failure{status: http.StatusBadRequest, reason: "tooManyCalendarsRequested", message: "Too many calendars."}
	}
	calendars := map[string]any{}
	for _, i := range list(in["items"]) {
		id := text(object(i), "id")
		c := s.calendars[id]
		if c == nil || c.AccessRole == "" {
			calendars[id] = map[string]any{"errors": []any{map[string]any{"domain": "global", "reason": "notFound"}}, "busy": []any{}}
			continue
		}
		calendars[id] = map[string]any{"busy": s.busy(c, from, to)}
	}
	return map[string]any{"kind": "calendar#freeBusy", "timeMin": from.UTC().Format(time.RFC3339), "timeMax": to.UTC().Format(time.RFC3339), "calendars": calendars}, nil
}

// busy merges what blocks between two instants. Spans are cut at the bounds of the question.
func (s *Server) busy(c *calendar, from, to time.Time) []any {
	loc, err := time.LoadLocation(c.Zone)
	if err != nil {
		loc = time.UTC
	}
	type span struct{ start, end time.Time }
	var spans []span
	add := func(e *event) {
		if e.cancelled() || e.str("transparency") == "transparent" || e.str("eventType") == "workingLocation" || e.str("eventType") == "birthday" || c.declined(e) {
			return
		}
		a, _ := readMoment(e.fields["start"], c.Zone)
		b, _ := readMoment(e.fields["end"], c.Zone)
		if a.allDay {
			a.at, b.at = wall(a.at, loc), wall(b.at, loc)
		}
		if a.at.Before(to) && b.at.After(from) {
			spans = append(spans, span{later(a.at, from), earlier(b.at, to)})
		}
	}
	for _, e := range c.events {
		switch {
		case e.repeats():
			for id, i := range s.instances(c, e) {
				if c.events[id] == nil {
					add(i)
				}
			}
		default:
			add(e)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.start.Compare(b.start) })
	out := []any{}
	for i := 0; i < len(spans); {
		one := spans[i]
		for i++; i < len(spans) && !spans[i].start.After(one.end); i++ {
			one.end = later(one.end, spans[i].end)
		}
		out = append(out, map[string]any{"start": one.start.UTC().Format(time.RFC3339), "end": one.end.UTC().Format(time.RFC3339)})
	}
	return out
}

func wall(d time.Time, loc *time.Location) time.Time {
	return time.Date(d.Year(), d.Month(), d.Day(), 0, 0, 0, 0, loc)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (c *calendar) declined(e *event) bool {
	return slices.ContainsFunc(list(e.fields["attendees"]), func(a any) bool {
		m := object(a)
		return (m["self"] == true || text(m, "email") == c.ID) && text(m, "responseStatus") == "declined"
	})
}

// matches applies the filters by property and iCalUID.
func matches(q url.Values, e *event) bool {
	if uid := q.Get("iCalUID"); uid != "" && e.str("iCalUID") != uid {
		return false
	}
	private := object(object(e.fields["extendedProperties"])["private"])
	for _, p := range q["privateExtendedProperty"] {
		name, value, _ := strings.Cut(p, "=")
		if text(private, name) != value {
			return false
		}
	}
	return true
}
