package crmsim

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// listing is the answer to GET /api/events.
type listing struct {
	Events []Event `json:"events"`
	Next   string  `json:"next,omitempty"` // token of the next page
	Total  int     `json:"total"`          // events in the whole listing
	Sync   string  `json:"sync"`           // token for asking what changed after this answer
}

// ServeHTTP answers the API.
//
//	GET    /api/me                                 who am I
//	GET    /api/events?limit=&page=&since=&ref=    listing; since gives what changed, deleted events included
//	GET    /api/events/{id}                        one event, 404 when it does not exist
//	POST   /api/events                             create; Idempotency-Key makes it repeatable
//	PATCH  /api/events/{id}                        change the given fields; If-Match takes the rev
//	DELETE /api/events/{id}                        delete; If-Match takes the rev
func (c *CRM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.calls++
	c.mu.Unlock()
	if c.opt.APIKey != "" && r.Header.Get("X-Api-Key") != c.opt.APIKey {
		problem(w, http.StatusUnauthorized, "unknown key")
		return
	}
	if c.failBefore(w, r) {
		return
	}
	id, one := strings.CutPrefix(r.URL.Path, "/api/events/")
	switch {
	case r.URL.Path == "/api/me" && r.Method == http.MethodGet:
		c.answer(w, http.StatusOK, map[string]string{"studio": "simulated"})
	case r.URL.Path == "/api/events" && r.Method == http.MethodGet:
		c.list(w, r)
	case r.URL.Path == "/api/events" && r.Method == http.MethodPost:
		c.post(w, r)
	case one && r.Method == http.MethodGet:
		if e, ok := c.Get(id); ok {
			c.answer(w, http.StatusOK, e)
			return
		}
		problem(w, http.StatusNotFound, "no such event")
	case one && r.Method == http.MethodPatch:
		c.patch(w, r, id)
	case one && r.Method == http.MethodDelete:
		c.delete(w, r, id)
	default:
		problem(w, http.StatusNotFound, "no such resource")
	}
}

func (c *CRM) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := c.opt.PageSize
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && n < limit {
		limit = n
	}
	offset := 0
	if page := q.Get("page"); page != "" {
		n, err := strconv.Atoi(page)
		if err != nil || n < 0 {
			problem(w, http.StatusBadRequest, "unknown page")
			return
		}
		offset = n
	}
	c.mu.Lock()
	keep := func(e Event) bool { return !e.Deleted }
	if since := q.Get("since"); since != "" {
		n, err := strconv.ParseInt(since, 10, 64)
		if err != nil || n < c.oldest || n > c.seq {
			c.mu.Unlock()
			problem(w, http.StatusGone, "token expired")
			return
		}
		keep = func(e Event) bool { return e.Seq > n }
	}
	if ref := q.Get("ref"); ref != "" {
		keep = func(e Event) bool { return !e.Deleted && e.Ref == ref }
	}
	all := c.sorted(keep)
	out := listing{Events: []Event{}, Total: len(all), Sync: strconv.FormatInt(c.seq, 10)}
	if offset < len(all) {
		end := min(offset+limit, len(all))
		out.Events = append(out.Events, all[offset:end]...)
		if end < len(all) {
			out.Next = strconv.Itoa(end)
			switch {
			case end+limit < len(all) && c.brokenLocked(FaultMissingPage):
				out.Next = strconv.Itoa(end + limit)
			case c.brokenLocked(FaultRepeatPage):
				out.Next = strconv.Itoa(max(end-1, 1))
			}
		}
	}
	if n := len(out.Events); n > 0 && c.brokenLocked(FaultDropEntry) {
		out.Events = out.Events[:n-1]
	}
	c.mu.Unlock()
	c.answer(w, http.StatusOK, out)
}

func (c *CRM) post(w http.ResponseWriter, r *http.Request) {
	var e Event
	if !readEvent(w, r, &e) {
		return
	}
	key := r.Header.Get("Idempotency-Key")
	c.mu.Lock()
	stored, again := c.byKey[key]
	if key == "" || !again {
		// The answer is kept under its key also when the event is deleted later, as many APIs do for a day.
		e.Deleted = false
		stored = c.create(e)
		if key != "" {
			c.byKey[key] = stored
		}
	}
	c.mu.Unlock()
	c.answerWrite(w, http.StatusCreated, stored)
}

func (c *CRM) patch(w http.ResponseWriter, r *http.Request, id string) {
	c.mu.Lock()
	e, ok := c.live(id)
	c.mu.Unlock()
	if !ok {
		problem(w, http.StatusNotFound, "no such event")
		return
	}
	before := e.Rev
	if !readEvent(w, r, &e) {
		return
	}
	c.mu.Lock()
	now, ok := c.live(id)
	switch match := r.Header.Get("If-Match"); {
	case !ok:
		c.mu.Unlock()
		problem(w, http.StatusNotFound, "no such event")
		return
	case match != "" && match != now.Rev, before != now.Rev:
		c.mu.Unlock()
		problem(w, http.StatusPreconditionFailed, "changed meanwhile")
		return
	}
	e.ID, e.Deleted = id, false
	e = c.store(e, "event.updated")
	c.mu.Unlock()
	c.answerWrite(w, http.StatusOK, e)
}

func (c *CRM) delete(w http.ResponseWriter, r *http.Request, id string) {
	c.mu.Lock()
	e, ok := c.live(id)
	status, text := http.StatusNoContent, ""
	switch match := r.Header.Get("If-Match"); {
	case !ok:
		status, text = http.StatusNotFound, "no such event"
	case match != "" && match != e.Rev:
		status, text = http.StatusPreconditionFailed, "changed meanwhile"
	default:
		c.remove(id)
	}
	c.mu.Unlock()
	if text != "" {
		problem(w, status, text)
		return
	}
	if c.broken(FaultLoseAnswer) {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
}

// readEvent fills e with what the body names and leaves the rest as it is.
func readEvent(w http.ResponseWriter, r *http.Request, e *Event) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		problem(w, http.StatusRequestEntityTooLarge, "too large")
		return false
	}
	if err := json.Unmarshal(body, e); err != nil {
		problem(w, http.StatusBadRequest, "not an event")
		return false
	}
	if e.Starts == "" || e.Ends == "" || e.State == "" {
		problem(w, http.StatusUnprocessableEntity, "starts, ends and state are required")
		return false
	}
	return true
}

func (c *CRM) answerWrite(w http.ResponseWriter, status int, v any) {
	if c.broken(FaultLoseAnswer) {
		panic(http.ErrAbortHandler)
	}
	c.answer(w, status, v)
}

func (c *CRM) answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		problem(w, http.StatusInternalServerError, "cannot write the answer")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if c.broken(FaultCutBody) {
		_, _ = w.Write(body[:len(body)/2])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

func problem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body, _ := json.Marshal(map[string]string{"error": text})
	_, _ = w.Write(body)
}
