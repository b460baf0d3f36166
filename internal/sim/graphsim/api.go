package graphsim

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxBody = 4 << 20

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h http.HandlerFunc) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /v1.0"+path, func(w http.ResponseWriter, r *http.Request) {
			if s.authorized(w, r) {
				h(w, r)
			}
		})
	}
	handle("GET /me/calendars", s.listCalendars)
	handle("GET /me/calendars/{calendar}", s.getCalendar)
	handle("GET /me/calendars/{calendar}/calendarView/delta", s.delta)
	handle("GET /me/calendars/{calendar}/events", s.findEvents)
	handle("POST /me/calendars/{calendar}/events", s.createEvent)
	handle("GET /me/calendars/{calendar}/events/{event}", s.getEvent)
	handle("PATCH /me/calendars/{calendar}/events/{event}", s.patchEvent)
	handle("DELETE /me/calendars/{calendar}/events/{event}", s.deleteEvent)
	handle("GET /subscriptions", s.listSubscriptions)
	handle("POST /subscriptions", s.subscribe)
	handle("PATCH /subscriptions/{subscription}", s.renew)
	handle("DELETE /subscriptions/{subscription}", s.unsubscribe)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "BadRequest", "Resource not found for the segment.")
	})
	return mux
}

func (s *Server) authorized(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		refuse(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, map[string]any{"error": map[string]any{"code": code, "message": message,
		"innerError": map[string]any{"request-id": "00000000-0000-0000-0000-000000000001"}}})
}

func reply(w http.ResponseWriter, status int, answer any) {
	b, err := json.Marshal(answer)
	if err != nil {
		panic("graphsim: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal; charset=utf-8")
	w.Header().Set("request-id", "00000000-0000-0000-0000-000000000001")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func notFound(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store.")
}

// pathCalendar finds the calendar of the path and refuses the request when there is none. It needs the lock.
func (s *Server) pathCalendar(w http.ResponseWriter, r *http.Request) *calendar {
	for _, c := range s.calendars {
		if c.id == r.PathValue("calendar") {
			return c
		}
	}
	notFound(w)
	return nil
}

// RemoveCalendar takes a calendar away, as when it is deleted or no longer shared.
func (s *Server) RemoveCalendar(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := s.calendar(name)
	s.calendars = slices.DeleteFunc(slices.Clone(s.calendars), func(c *calendar) bool { return c == gone })
}

func (c *calendar) render() map[string]any {
	return map[string]any{"id": c.id, "name": c.Name, "canEdit": !c.ReadOnly, "isDefaultCalendar": c.isDefault,
		"owner": map[string]any{"name": "Studio", "address": "studio@example.com"}}
}

// listCalendars gives the calendars two a page, so that whoever reads only the first page is found out.
func (s *Server) listCalendars(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	skip, err := strconv.Atoi(r.URL.Query().Get("$skip"))
	if err != nil || skip < 0 {
		skip = 0
	}
	rows, end := []any{}, min(skip+2, len(s.calendars))
	for _, c := range s.calendars[min(skip, end):end] {
		rows = append(rows, c.render())
	}
	answer := map[string]any{"value": rows}
	if end < len(s.calendars) {
		answer["@odata.nextLink"] = "http://" + r.Host + r.URL.Path + "?$skip=" + strconv.Itoa(end)
	}
	reply(w, http.StatusOK, answer)
}

func (s *Server) getCalendar(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.pathCalendar(w, r); c != nil {
		reply(w, http.StatusOK, c.render())
	}
}

var filterForm = regexp.MustCompile(`^singleValueExtendedProperties/any\((\w+): ?(\w+)/id eq '([^']+)' and (\w+)/value eq '([^']+)'\)$`)

func (s *Server) findEvents(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cal := s.pathCalendar(w, r)
	if cal == nil {
		return
	}
	m := filterForm.FindStringSubmatch(r.URL.Query().Get("$filter"))
	if m == nil || m[1] != m[2] || m[1] != m[4] {
		refuse(w, http.StatusBadRequest, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
		return
	}
	rows := []any{}
	for _, it := range s.items {
		if value, ok := it.props[m[3]]; ok && value == m[5] && it.cal == cal && !it.deleted {
			rows = append(rows, s.render(r, it, nil, r.URL.Query().Get("$expand")))
		}
	}
	reply(w, http.StatusOK, map[string]any{"value": rows})
}

// pathEvent finds the event of the path and refuses the request when there is none. It needs the lock.
func (s *Server) pathEvent(w http.ResponseWriter, r *http.Request) (*item, *occurrence) {
	cal := s.pathCalendar(w, r)
	if cal == nil {
		return nil, nil
	}
	it, o := s.find(r.PathValue("event"), prefers(r, `IdType="ImmutableId"`))
	if it == nil || it.cal != cal {
		notFound(w)
		return nil, nil
	}
	return it, o
}

func (s *Server) getEvent(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it, o := s.pathEvent(w, r); it != nil {
		reply(w, http.StatusOK, s.render(r, it, o, r.URL.Query().Get("$expand")))
	}
}

// writable checks what every change of an event must pass. It needs the lock.
func (s *Server) writable(w http.ResponseWriter, r *http.Request, it *item) bool {
	if it.cal.ReadOnly {
		refuse(w, http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
		return false
	}
	if match := r.Header.Get("If-Match"); match != "" && match != "*" && match != it.etag() {
		refuse(w, http.StatusPreconditionFailed, "ErrorIrresolvableConflict", "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.")
		return false
	}
	return true
}

func (s *Server) deleteEvent(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, o := s.pathEvent(w, r)
	if it == nil || !s.writable(w, r, it) {
		return
	}
	switch {
	case o != nil:
		s.dropOccurrence(it, o.date)
	case it.master != nil:
		s.dropOccurrence(it.master, it.date)
	default:
		s.drop(it)
	}
	w.WriteHeader(http.StatusNoContent)
}

// wish is the body of a POST or PATCH.
type wish struct {
	Subject *string `json:"subject"`
	Body    *struct {
		ContentType string `json:"contentType"`
		Content     string `json:"content"`
	} `json:"body"`
	Location *struct {
		DisplayName string `json:"displayName"`
	} `json:"location"`
	Start, End    *dateTime
	IsAllDay      *bool     `json:"isAllDay"`
	ShowAs        *string   `json:"showAs"`
	Sensitivity   *string   `json:"sensitivity"`
	Categories    *[]string `json:"categories"`
	TransactionID string    `json:"transactionId"`
	Attendees     []any     `json:"attendees"`
	Properties    []struct {
		ID    string `json:"id"`
		Value string `json:"value"`
	} `json:"singleValueExtendedProperties"`
}

type dateTime struct {
	DateTime string `json:"dateTime"`
	TimeZone string `json:"timeZone"`
}

var propertyForm = regexp.MustCompile(`^String \{[0-9a-fA-F-]{36}\} Name [A-Za-z0-9_]+$`)

func (s *Server) createEvent(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cal := s.pathCalendar(w, r)
	if cal == nil {
		return
	}
	blank := &item{cal: cal}
	if !s.writable(w, r, blank) {
		return
	}
	in, e, ok := readWish(w, r, normal(Event{}))
	if !ok {
		return
	}
	if in.Start == nil || in.End == nil {
		refuse(w, http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation.")
		return
	}
	for _, it := range s.items {
		if in.TransactionID == "" || it.transaction != in.TransactionID || it.deleted && !s.opt.KeepTransactions {
			continue
		}
		if it.deleted || s.opt.RefuseRepeats {
			refuse(w, http.StatusConflict, "ErrorDuplicateTransactionId", "Your request can't be completed. The TransactionId specified in the request has already been used to create a different event.")
			return
		}
		reply(w, http.StatusCreated, s.render(r, it, nil, ""))
		return
	}
	it := s.add(cal, e)
	it.transaction = in.TransactionID
	s.keep(it, in)
	reply(w, http.StatusCreated, s.render(r, it, nil, ""))
}

// keep stores what is not part of the event proper. It needs the lock.
func (s *Server) keep(it *item, in wish) {
	for _, p := range in.Properties {
		it.props[p.ID] = p.Value
	}
	s.invited += len(in.Attendees)
}

func (s *Server) patchEvent(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, o := s.pathEvent(w, r)
	if it == nil || !s.writable(w, r, it) {
		return
	}
	from := it.ev
	if o != nil {
		from = it.at(*o)
	}
	in, e, ok := readWish(w, r, from)
	if !ok {
		return
	}
	if in.TransactionID != "" {
		refuse(w, http.StatusBadRequest, "ErrorInvalidPropertySet", "The property 'transactionId' cannot be changed.")
		return
	}
	if o != nil {
		it = s.except(it, o.date, e)
	} else {
		old := *it
		old.before = nil
		it.before, it.ev = &old, e
		s.touch(it, "updated")
	}
	s.keep(it, in)
	reply(w, http.StatusOK, s.render(r, it, nil, ""))
}

// readWish reads a body over an event.
func readWish(w http.ResponseWriter, r *http.Request, e Event) (wish, Event, bool) {
	var in wish
	bad := func(code, message string) (wish, Event, bool) {
		refuse(w, http.StatusBadRequest, code, message)
		return in, e, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || json.Unmarshal(body, &in) != nil {
		return bad("BadRequest", "Unable to read JSON request payload.")
	}
	for _, p := range in.Properties {
		if !propertyForm.MatchString(p.ID) {
			return bad("ErrorInvalidProperty", "PropertyId values may only be in one of the documented formats.")
		}
	}
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&e.Subject, in.Subject)
	set(&e.ShowAs, in.ShowAs)
	set(&e.Sensitivity, in.Sensitivity)
	if in.Body != nil {
		e.Body = strings.ReplaceAll(in.Body.Content, "\r\n", "\n")
	}
	if in.Location != nil {
		e.Location = in.Location.DisplayName
	}
	if in.Categories != nil {
		e.Categories = slices.Clone(*in.Categories)
	}
	if !slices.Contains([]string{"free", "tentative", "busy", "oof", "workingElsewhere", "unknown"}, e.ShowAs) {
		return bad("RequestBodyRead", "Requested value for showAs was not found.")
	}
	if in.IsAllDay != nil {
		e.AllDay = *in.IsAllDay
	}
	for _, t := range []struct {
		in  *dateTime
		out *time.Time
	}{{in.Start, &e.Start}, {in.End, &e.End}} {
		if t.in == nil {
			continue
		}
		loc := location(t.in.TimeZone)
		if loc == nil {
			return bad("TimeZoneNotSupportedException", "A valid TimeZone value must be specified.")
		}
		if e.AllDay {
			loc = time.UTC // dates, whatever the zone
		}
		at, err := time.ParseInLocation("2006-01-02T15:04:05.9999999", t.in.DateTime, loc)
		if err != nil {
			return bad("ErrorInvalidParameter", "The dateTime is not valid.")
		}
		*t.out = at.UTC()
		e.Zone = windowsName(t.in.TimeZone)
	}
	if e.AllDay && in.Start != nil && in.End != nil && in.Start.TimeZone != in.End.TimeZone {
		return bad("ErrorInvalidRequest", "An all-day event needs one time zone.")
	}
	const day = 24 * time.Hour
	if e.AllDay && (!e.Start.Equal(e.Start.Truncate(day)) || !e.End.Equal(e.End.Truncate(day)) || !e.End.After(e.Start)) {
		return bad("ErrorInvalidRequest", "The Event.Start property for an all-day event needs to be set to midnight.")
	}
	if e.End.Before(e.Start) {
		return bad("ErrorPropertyValidationFailure", "The end is before the start.")
	}
	return in, e, true
}
