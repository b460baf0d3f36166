package googlesim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	base    = "/calendar/v3/"
	maxBody = 1 << 20
)

// failure is an error as the API writes it.
type failure struct {
	status                            int
	domain, reason, message, location string
}

func (f *failure) json() map[string]any {
	one := map[string]any{"domain": f.domain, "reason": f.reason, "message": f.message}
	if f.domain == "" {
		one["domain"] = "global"
	}
	if f.location != "" {
		one["location"], one["locationType"] = f.location, "parameter"
	}
	return map[string]any{"error": map[string]any{"code": f.status, "message": f.message, "errors": []any{one}}}
}

var notFound = &failure{status: http.StatusNotFound, reason: "notFound", message: "Not Found"}

// call is one request below a calendar.
type call struct {
	r        *http.Request
	calendar *calendar
	id       string // of the event
	body     map[string]any
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	within := func(pattern string, writes bool, do func(call) (map[string]any, *failure)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			c := call{r: r, id: r.PathValue("event"), body: map[string]any{}}
			if raw, err := io.ReadAll(r.Body); err != nil || len(raw) > 0 && json.Unmarshal(raw, &c.body) != nil {
				answer(w, nil, &failure{status: http.StatusBadRequest, reason: "parseError", message: "Parse Error"})
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if id := r.PathValue("calendar"); id != "" {
				if c.calendar = s.visible(id); c.calendar == nil {
					answer(w, nil, notFound)
					return
				}
				if role := c.calendar.AccessRole; writes && role != "owner" && role != "writer" {
					answer(w, nil, &failure{status: http.StatusForbidden, domain: "calendar", reason: "requiredAccessLevel", message: "You need to have writer access to this calendar."})
					return
				}
			}
			out, f := do(c)
			answer(w, out, f)
		})
	}
	events := base + "calendars/{calendar}/events"
	within("GET "+base+"users/me/calendarList", false, s.listCalendars)
	within("GET "+base+"users/me/calendarList/{calendar}", false, func(c call) (map[string]any, *failure) { return c.calendar.entry(), nil })
	within("GET "+events, false, func(c call) (map[string]any, *failure) { return s.listEvents(c.calendar, c.r.URL.Query()) })
	within("POST "+events, true, s.insert)
	within("POST "+events+"/import", true, s.importEvent)
	within("GET "+events+"/{event}", false, s.get)
	within("PUT "+events+"/{event}", true, func(c call) (map[string]any, *failure) { return s.update(c, c.body) })
	within("PATCH "+events+"/{event}", true, func(c call) (map[string]any, *failure) {
		if e := s.find(c.calendar, c.id); e != nil {
			return s.update(c, merge(e.fields, c.body))
		}
		return nil, notFound
	})
	within("DELETE "+events+"/{event}", true, s.remove)
	within("POST "+base+"freeBusy", false, func(c call) (map[string]any, *failure) { return s.freeBusy(c.body) })
	mux.HandleFunc("POST "+events+"/watch", s.watch)
	within("POST "+base+"channels/stop", false, s.stop)
	return mux
}

// visible finds a calendar that the account may see; "primary" is its own.
func (s *Server) visible(id string) *calendar {
	if id == "primary" {
		for _, c := range s.calendars {
			if c.Primary {
				return c
			}
		}
	}
	if c := s.calendars[id]; c != nil && c.AccessRole != "" {
		return c
	}
	return nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.Query(), r.Header.Clone(), body})
	faults, hang, token := s.faults, s.hang, s.token
	s.mu.Unlock()
	if !held(r, hang) || faults.broken(w, s.opt.Now()) {
		return
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || bearer == "" || token != "" && bearer != token {
		answer(w, nil, &failure{status: http.StatusUnauthorized, reason: "authError", message: "Invalid Credentials", location: "Authorization"})
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rec := &recorder{header: http.Header{}, status: http.StatusOK}
	s.mux.ServeHTTP(rec, r)
	if r.Method != http.MethodGet && rec.status/100 == 2 && s.loses() {
		panic(http.ErrAbortHandler)
	}
	if mask := r.URL.Query().Get("fields"); mask != "" && rec.status == http.StatusOK && !rec.mask(mask) {
		rec = &recorder{header: http.Header{}, status: http.StatusOK}
		answer(rec, nil, &failure{status: http.StatusBadRequest, reason: "invalidParameter", message: "Invalid field selection.", location: "fields"})
	}
	rec.send(w, faults.CutBody)
}

// answer writes an object, nothing (204), or a failure.
func answer(w http.ResponseWriter, out map[string]any, f *failure) {
	status := http.StatusOK
	switch {
	case f != nil:
		status, out = f.status, f.json()
	case out == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if tag := text(out, "etag"); tag != "" {
		w.Header().Set("ETag", tag)
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic("googlesim: " + err.Error())
	}
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func (c *calendar) entry() map[string]any {
	e := map[string]any{"kind": "calendar#calendarListEntry", "etag": etag(0), "id": c.ID, "summary": c.Summary, "timeZone": c.Zone, "accessRole": c.AccessRole}
	if c.Primary {
		e["primary"] = true
	}
	return e
}

var roles = []string{"", "freeBusyReader", "reader", "writer", "owner"}

func rank(role string) int {
	for i, r := range roles {
		if r == role {
			return i
		}
	}
	return -1
}

func (s *Server) listCalendars(c call) (map[string]any, *failure) {
	least := rank(c.r.URL.Query().Get("minAccessRole"))
	if least < 0 {
		return nil, &failure{status: http.StatusBadRequest, reason: "invalidParameter", message: "Invalid value.", location: "minAccessRole"}
	}
	items := []any{}
	for _, id := range s.order {
		if one := s.calendars[id]; one.AccessRole != "" && rank(one.AccessRole) >= least {
			items = append(items, one.entry())
		}
	}
	out := map[string]any{"kind": "calendar#calendarList", "etag": etag(0)}
	at := 0
	if token := c.r.URL.Query().Get("pageToken"); token != "" {
		if at = len(token); at > len(items) || strings.Trim(token, "p") != "" {
			return nil, &failure{status: http.StatusBadRequest, reason: "invalid", message: "Invalid page token value.", location: "pageToken"}
		}
	}
	end := len(items)
	if s.opt.PageSize > 0 {
		end = min(end, at+s.opt.PageSize)
	}
	if out["items"] = items[at:end]; end < len(items) {
		out["nextPageToken"] = strings.Repeat("p", end)
	} else {
		out["nextSyncToken"] = "list"
	}
	return out, nil
}

func (s *Server) get(c call) (map[string]any, *failure) {
	if c.calendar.AccessRole == "freeBusyReader" {
		return nil, &failure{status: http.StatusForbidden, reason: "requiredAccessLevel", message: "You need to have reader access to this calendar."}
	}
	e := s.find(c.calendar, c.id)
	if e == nil || e.cancelled() && s.faults.HideDeleted {
		return nil, notFound
	}
	if c.r.Header.Get("If-None-Match") == etag(e.rev) {
		return nil, &failure{status: http.StatusNotModified}
	}
	return s.show(e), nil
}

func (s *Server) insert(c call) (map[string]any, *failure) {
	if f := c.calendar.empty(c.body); f != nil {
		return nil, f
	}
	e, f := s.create(c.calendar, c.body)
	if f != nil {
		return nil, f
	}
	return s.show(e), nil
}

// importEvent stores by iCalUID: an event that has it is replaced.
func (s *Server) importEvent(c call) (map[string]any, *failure) {
	uid := text(c.body, "iCalUID")
	if uid == "" {
		return nil, &failure{status: http.StatusBadRequest, reason: "required", message: "Missing iCalUID."}
	}
	if kind := text(c.body, "eventType"); kind != "" && kind != "default" {
		return nil, &failure{status: http.StatusBadRequest, reason: "eventTypeRestriction", message: "Only default events can be imported."}
	}
	for _, e := range c.calendar.events {
		if e.str("iCalUID") == uid && e.str("recurringEventId") == "" {
			if f := s.replace(c.calendar, e, c.body); f != nil {
				return nil, f
			}
			return s.show(e), nil
		}
	}
	return s.insert(c)
}

func (s *Server) update(c call, fields map[string]any) (map[string]any, *failure) {
	e := s.find(c.calendar, c.id)
	if e == nil {
		return nil, notFound
	}
	if f := precondition(c.r, e); f != nil {
		return nil, f
	}
	if f := c.calendar.empty(fields); f != nil {
		return nil, f
	}
	if f := s.replace(c.calendar, e, fields); f != nil {
		return nil, f
	}
	return s.show(e), nil
}

func (s *Server) remove(c call) (map[string]any, *failure) {
	e := s.find(c.calendar, c.id)
	if e == nil {
		return nil, notFound
	}
	if f := precondition(c.r, e); f != nil {
		return nil, f
	}
	if e.cancelled() {
		return nil, &failure{status: http.StatusGone, reason: "deleted", message: "Resource has been deleted"}
	}
	s.cancel(c.calendar, e)
	return nil, nil
}

func precondition(r *http.Request, e *event) *failure {
	if want := r.Header.Get("If-Match"); want != "" && want != "*" && want != etag(e.rev) {
		return &failure{status: http.StatusPreconditionFailed, reason: "conditionNotMet", message: "Precondition Failed", location: "If-Match"}
	}
	return nil
}

// retryAt is the time in the message of a throttled answer.
func retryAt(now time.Time, wait time.Duration) string {
	return now.Add(wait).UTC().Format("2006-01-02T15:04:05.000Z")
}
