package schedulersim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answer is a status with a body, which is marshalled.
type answer struct {
	status int
	body   any
}

type object = map[string]any

func problem(status int, text string) answer { return answer{status, object{"message": text}} }

// Handler serves the API of the face.
func (s *Sim) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Sim) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f, hang := s.faults, s.hang
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	if f.Status != 0 {
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
		}
		w.WriteHeader(f.Status)
		return
	}
	var in object
	if r.Body != nil && r.ContentLength != 0 && json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	got := s.answer(r, in)
	lose := s.faults.LoseAnswer && r.Method != http.MethodGet
	if lose {
		s.faults.LoseAnswer = false
	}
	s.mu.Unlock()
	body, err := json.Marshal(got.body)
	switch {
	case err != nil:
		panic("marshal an answer of plain values: " + err.Error())
	case lose:
		panic(http.ErrAbortHandler)
	case f.HTML:
		_, _ = w.Write([]byte("<html><body>Please sign in</body></html>"))
		return
	case f.Nothing:
		return
	case f.CutBody:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(got.status)
	if got.body != nil {
		_, _ = w.Write(body)
	}
}

func (s *Sim) answer(r *http.Request, in object) answer {
	user, password, _ := r.BasicAuth()
	bearer := r.Header.Get("Authorization")
	switch {
	case s.face == Calendly && bearer != "Bearer "+Token, s.face == CalCom && bearer != "Bearer "+APIKey,
		s.face == Acuity && (user != UserID || password != APIKey):
		return problem(http.StatusUnauthorized, "unauthenticated")
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	route := r.Method + " " + path[0]
	id := ""
	if len(path) == 2 {
		id = path[1]
	}
	switch s.face {
	case Calendly:
		return s.calendly(r, route, id, in)
	case Acuity:
		return s.acuity(r, route, id, in)
	}
	return s.calcom(r, route, id, in)
}

// only reports whether a query has no other parameters than these. The real ones ignore such, which hides mistakes.
func only(q url.Values, names ...string) bool {
	for name := range q {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return true
}

func text(in object, name string) string { v, _ := in[name].(string); return v }

// turned is where a page other than the first really begins under the faults RepeatPage and SkipPage, each of which happens
// once.
func (s *Sim) turned(from, most int) int {
	switch {
	case from == 0:
	case s.faults.RepeatPage:
		s.faults.RepeatPage = false
		return max(0, from-most)
	case s.faults.SkipPage:
		s.faults.SkipPage = false
		return from + most
	}
	return from
}

// part is a page of a list under the fault Short.
func (s *Sim) part(all []*Appointment, from, most int) []*Appointment {
	page := all[min(from, len(all)):min(from+most, len(all))]
	if s.faults.Short && len(page) > 0 {
		page = page[:len(page)-1]
	}
	return page
}

func between(q url.Values, from, until string) (func(*Appointment) bool, bool) {
	start, err1 := time.Parse(time.RFC3339, q.Get(from))
	end, err2 := time.Parse(time.RFC3339, q.Get(until))
	return func(a *Appointment) bool { return !a.Start.Before(start) && a.Start.Before(end) }, err1 == nil && err2 == nil
}

const calendlyBase = "https://api.calendly.com"

func calendlyResource(a *Appointment) object {
	status := "active"
	if a.Cancelled {
		status = "canceled"
	}
	return object{"uri": calendlyBase + "/scheduled_events/" + a.ID, "name": a.Title, "status": status, "start_time": a.Start.UTC(), "end_time": a.End.UTC(),
		"created_at": a.Updated, "updated_at": a.Updated, "event_type": calendlyBase + "/event_types/1", "location": object{"type": "physical", "location": "Studio"},
		"invitees_counter": object{"total": 1, "active": 1, "limit": 1}, "event_memberships": []object{}, "event_guests": []object{}}
}

func (h *Hook) calendly() object {
	state := "active"
	if h.Disabled {
		state = "disabled"
	}
	return object{"uri": calendlyBase + "/webhook_subscriptions/" + h.ID, "callback_url": h.URL, "state": state, "events": h.Events, "scope": "user"}
}

func (s *Sim) calendly(r *http.Request, route, id string, in object) answer {
	user, q := calendlyBase+"/users/"+Account, r.URL.Query()
	switch {
	case route == "GET users" && id == "me":
		return answer{200, object{"resource": object{"uri": user, "current_organization": calendlyBase + "/organizations/9", "timezone": "Europe/London"}}}
	case route == "GET scheduled_events" && id == "":
		fits, ok := between(q, "min_start_time", "max_start_time")
		count, err := strconv.Atoi(q.Get("count"))
		if !ok || err != nil || count < 1 || count > 100 || q.Get("user") != user || !only(q, "user", "count", "sort", "min_start_time", "max_start_time", "page_token") {
			return problem(400, "Invalid Argument")
		}
		from := 0
		if token := q.Get("page_token"); token != "" {
			if from, ok = s.pages[token]; !ok {
				return problem(400, "Invalid Argument")
			}
		}
		all, list := s.standing(fits), []object{}
		from = s.turned(from, count) // what follows is told by the page that is answered
		for _, a := range s.part(all, from, count) {
			list = append(list, calendlyResource(a))
		}
		pagination := object{"count": len(list), "next_page": nil, "next_page_token": nil}
		if from+count < len(all) {
			token := fmt.Sprintf("page-%d-%d", from+count, len(all))
			s.pages[token] = from + count
			pagination["next_page_token"] = token
		}
		return answer{200, object{"collection": list, "pagination": pagination}}
	case route == "GET scheduled_events":
		if a := s.entries[id]; a != nil {
			return answer{200, object{"resource": calendlyResource(a)}}
		}
	case route == "POST webhook_subscriptions":
		if s.faults.NoHooks {
			return problem(403, "Please upgrade your Calendly account to Standard")
		}
		if text(in, "scope") != "user" || text(in, "user") != user || text(in, "organization") == "" || text(in, "signing_key") == "" {
			return problem(400, "Invalid Argument")
		}
		h, ok := s.addHook(text(in, "url"), text(in, "signing_key"), in["events"])
		if !ok {
			return problem(409, "Hook with this url already exists")
		}
		return answer{201, object{"resource": h.calendly()}}
	case route == "GET webhook_subscriptions" && id == "":
		if q.Get("organization") == "" || q.Get("scope") != "user" || q.Get("user") != user || !only(q, "organization", "scope", "user", "count", "page_token") {
			return problem(400, "Invalid Argument")
		}
		page, next, ok := s.someHooks(q.Get("page_token"))
		if !ok {
			return problem(400, "Invalid Argument")
		}
		list := []object{}
		for _, h := range page {
			list = append(list, h.calendly())
		}
		pagination := object{"count": len(list), "next_page": nil, "next_page_token": nil}
		if next != "" {
			pagination["next_page_token"] = next
		}
		return answer{200, object{"collection": list, "pagination": pagination}}
	case route == "GET webhook_subscriptions" && id != "":
		if h := s.hook(id); h != nil {
			return answer{200, object{"resource": h.calendly()}}
		}
	case route == "DELETE webhook_subscriptions":
		if s.dropHook(id) {
			return answer{status: 204}
		}
	}
	return problem(404, "The server could not find the requested resource.")
}

func (s *Sim) addHook(address, secret string, events any) (*Hook, bool) {
	if u, err := url.Parse(address); err != nil || u.Host == "" {
		return nil, false
	}
	for _, h := range s.hooks {
		if h.URL == address && s.face != Acuity {
			return nil, false
		}
	}
	s.next++
	h := &Hook{ID: strconv.Itoa(s.next), URL: address, Secret: secret}
	list, _ := events.([]any)
	for _, e := range list {
		h.Events = append(h.Events, fmt.Sprint(e))
	}
	s.hooks = append(s.hooks, h)
	return h, true
}

// hookPage is how many webhooks Calendly lists at once here, few enough for tests to see more than one page.
const hookPage = 3

// someHooks is a page of the webhooks, named by how many come before it.
func (s *Sim) someHooks(token string) (page []*Hook, next string, ok bool) {
	from, err := strconv.Atoi(cmp.Or(token, "0"))
	if err != nil || from < 0 || from > len(s.hooks) {
		return nil, "", false
	}
	page = s.hooks[from:min(from+hookPage, len(s.hooks))]
	if from+hookPage < len(s.hooks) {
		next = strconv.Itoa(from + hookPage)
	}
	return page, next, true
}

func (s *Sim) hook(id string) *Hook {
	for _, h := range s.hooks {
		if h.ID == id {
			return h
		}
	}
	return nil
}

func (s *Sim) dropHook(id string) bool {
	before := len(s.hooks)
	s.hooks = slices.DeleteFunc(s.hooks, func(h *Hook) bool { return h.ID == id })
	return len(s.hooks) < before
}

// astray is turned for pages that are asked for by a date: it reports whether the answer before is to be given again.
func (s *Sim) astray(date string, all *[]*Appointment, most int) bool {
	switch {
	case s.last == nil || date == s.first:
	case s.faults.RepeatPage:
		s.faults.RepeatPage = false
		return true
	case s.faults.SkipPage:
		s.faults.SkipPage = false
		*all = (*all)[min(most, len(*all)):]
	}
	return false
}

func acuityResource(a *Appointment) object {
	id, _ := strconv.Atoi(a.ID) // made by Book
	first, last, _ := strings.Cut(a.Client, " ")
	return object{"id": id, "firstName": first, "lastName": last, "type": a.Title, "appointmentTypeID": 2, "calendar": "Studio", "calendarID": 1,
		"datetime": a.Start.UTC().Format("2006-01-02T15:04:05-0700"), "duration": strconv.Itoa(int(a.End.Sub(a.Start).Minutes())), "canceled": a.Cancelled,
		"location": "Studio", "notes": "", "timezone": "Europe/London"}
}

func (s *Sim) acuity(r *http.Request, route, id string, in object) answer {
	q := r.URL.Query()
	switch {
	case route == "GET me":
		n, _ := strconv.Atoi(Account)
		return answer{200, object{"id": n, "timezone": "Europe/London"}}
	case route == "GET appointments" && id == "":
		from, err1 := time.Parse("2006-01-02", q.Get("minDate"))
		until, err2 := time.Parse("2006-01-02", q.Get("maxDate"))
		most, err3 := strconv.Atoi(q.Get("max"))
		if err1 != nil || err2 != nil || err3 != nil || most < 1 || most > 500 || !only(q, "max", "minDate", "maxDate", "direction", "showall", "excludeForms") {
			return problem(400, "bad_request")
		}
		all := s.standing(func(a *Appointment) bool {
			return !a.Start.Before(from) && a.Start.Before(until.AddDate(0, 0, 1)) && (q.Get("showall") == "true" || !a.Cancelled)
		})
		if q.Get("direction") != "ASC" {
			slices.Reverse(all)
		}
		list := []object{}
		if s.astray(q.Get("minDate"), &all, most) {
			return answer{200, s.last}
		}
		for _, a := range s.part(all, 0, most) {
			list = append(list, acuityResource(a))
		}
		s.first, s.last = cmp.Or(s.first, q.Get("minDate")), list
		return answer{200, list}
	case route == "GET appointments":
		if a := s.entries[id]; a != nil {
			return answer{200, acuityResource(a)}
		}
	case route == "POST webhooks":
		if len(s.hooks) >= 25 {
			return problem(400, "too many webhooks")
		}
		if s.faults.NoHooks {
			return problem(403, "forbidden")
		}
		h, ok := s.addHook(text(in, "target"), APIKey, []any{in["event"]})
		if !ok || text(in, "event") == "" {
			return problem(400, "bad_request")
		}
		n, _ := strconv.Atoi(h.ID)
		return answer{200, object{"id": n, "event": h.Events[0], "target": h.URL, "status": "active"}}
	case route == "GET webhooks":
		list := []object{}
		for _, h := range s.hooks {
			n, _ := strconv.Atoi(h.ID)
			list = append(list, object{"id": n, "target": h.URL, "status": "active"})
		}
		return answer{200, list}
	case route == "DELETE webhooks":
		if s.dropHook(id) {
			return answer{status: 204}
		}
	}
	return problem(404, "not_found")
}

func calcomResource(a *Appointment) object {
	status := "accepted"
	switch {
	case a.Cancelled:
		status = "cancelled"
	case a.Tentative:
		status = "pending"
	}
	return object{"id": 1, "uid": a.ID, "title": a.Title, "description": "", "status": status, "start": a.Start.UTC(), "end": a.End.UTC(), "createdAt": a.Updated,
		"updatedAt": a.Updated, "location": "Studio", "attendees": []object{{"name": a.Client}}, "eventType": object{"id": 3, "slug": "consultation"}}
}

func (s *Sim) calcom(r *http.Request, route, id string, in object) answer {
	q := r.URL.Query()
	done := func(data any) answer { return answer{200, object{"status": "success", "data": data}} }
	hook := func(h *Hook) object {
		return object{"id": h.ID, "subscriberUrl": h.URL, "active": !h.Disabled, "triggers": h.Events}
	}
	switch {
	case route == "GET me":
		n, _ := strconv.Atoi(Account)
		return done(object{"id": n, "timeZone": "Europe/London"})
	case route == "GET bookings" && id == "":
		fits, ok := between(q, "afterStart", "beforeEnd")
		take, err1 := strconv.Atoi(q.Get("take"))
		skip, err2 := strconv.Atoi(q.Get("skip"))
		if !ok || err1 != nil || err2 != nil || take < 1 || take > 100 || skip < 0 || r.Header.Get("cal-api-version") != "2024-08-13" ||
			!only(q, "take", "skip", "sortStart", "afterStart", "beforeEnd") {
			return problem(400, "bad request")
		}
		all, list := s.standing(fits), []object{}
		for _, a := range s.part(all, s.turned(skip, take), take) {
			list = append(list, calcomResource(a))
		}
		got := done(list)
		got.body.(object)["pagination"] = object{"returnedItems": len(list), "totalItems": len(all), "itemsPerPage": take, "hasNextPage": skip+take < len(all)}
		return got
	case route == "GET bookings":
		if a := s.entries[id]; a != nil {
			return done(calcomResource(a))
		}
	case route == "POST webhooks":
		if s.faults.NoHooks {
			return problem(403, "forbidden")
		}
		if in["active"] != true || text(in, "secret") == "" {
			return problem(400, "bad request")
		}
		h, ok := s.addHook(text(in, "subscriberUrl"), text(in, "secret"), in["triggers"])
		if !ok {
			return problem(409, "a webhook with this subscriber url exists")
		}
		return answer{201, object{"status": "success", "data": hook(h)}}
	case route == "GET webhooks" && id == "":
		take, err1 := strconv.Atoi(q.Get("take"))
		skip, err2 := strconv.Atoi(q.Get("skip"))
		if err1 != nil || err2 != nil || take < 1 || take > 250 || skip < 0 || !only(q, "take", "skip") {
			return problem(400, "bad request")
		}
		list := []object{}
		for _, h := range s.hooks[min(skip, len(s.hooks)):min(skip+take, len(s.hooks))] {
			list = append(list, hook(h))
		}
		return done(list)
	case route == "GET webhooks" && id != "":
		if h := s.hook(id); h != nil {
			return done(hook(h))
		}
	case route == "DELETE webhooks":
		if s.dropHook(id) {
			return done(object{})
		}
	}
	return problem(404, "not found")
}
