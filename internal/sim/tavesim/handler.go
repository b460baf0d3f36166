package tavesim

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// routes is the honest part.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webservice/create-lead/{studio}", s.createLead)
	api := func(pattern string, f func(w http.ResponseWriter, r *http.Request)) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+Base+path, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.requests[pattern]++
			w.Header().Set("Date", s.clock().Format(http.TimeFormat))
			if s.opt.Key != "" && r.Header.Get("X-API-KEY") != s.opt.Key && r.Header.Get("Authorization") != "Bearer "+s.opt.Key {
				refuse(w, http.StatusUnauthorized, "API key is missing or invalid")
				return
			}
			if r.Method != http.MethodGet && s.opt.Readonly {
				refuse(w, http.StatusForbidden, "The studio is in read-only mode")
				return
			}
			f(w, r)
		})
	}
	api("GET /studio/me", func(w http.ResponseWriter, _ *http.Request) {
		out := Object{"readonlyEnabled": s.opt.Readonly}
		for k, v := range s.studio {
			out[k] = v
		}
		answer(w, http.StatusOK, out)
	})
	api("POST /job/-/worksheet", s.postWorksheet)
	api("GET /job/{jobId}/worksheet", s.getWorksheet)
	api("GET /job/{jobId}/order", s.getJobOrders)
	for name, k := range kinds {
		if strings.Contains(k.verbs, "L") {
			api("GET /"+name, func(w http.ResponseWriter, r *http.Request) { s.list(w, r, name) })
		}
		if strings.Contains(k.verbs, "C") {
			api("POST /"+name, func(w http.ResponseWriter, r *http.Request) { s.post(w, r, name) })
		}
		if strings.Contains(k.verbs, "G") {
			api("GET /"+name+"/{id}", func(w http.ResponseWriter, r *http.Request) { s.one(w, r, name, s.get) })
		}
		if strings.Contains(k.verbs, "P") {
			api("PUT /"+name+"/{id}", func(w http.ResponseWriter, r *http.Request) { s.one(w, r, name, s.put) })
		}
		if strings.Contains(k.verbs, "D") {
			api("DELETE /"+name+"/{id}", func(w http.ResponseWriter, r *http.Request) { s.one(w, r, name, s.delete) })
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "Not found") })
	return mux
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("tavesim: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may be gone
}

func refuse(w http.ResponseWriter, status int, detail string) {
	kind := "unknown"
	if status == http.StatusTooManyRequests {
		kind = "quota-limit"
	}
	answer(w, status, Object{"type": kind, "title": http.StatusText(status), "detail": detail, "status": status})
}

func invalid(w http.ResponseWriter, faults map[string]string) {
	answer(w, http.StatusBadRequest, Object{"type": "validation-error", "title": "Validation Error", "detail": faults, "status": 400})
}

// body reads a JSON object.
func body(w http.ResponseWriter, r *http.Request) (Object, bool) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	var o Object
	if err != nil || json.Unmarshal(b, &o) != nil || o == nil {
		invalid(w, map[string]string{"body": "must be a JSON object"})
		return nil, false
	}
	return o, true
}

func (s *Server) one(w http.ResponseWriter, r *http.Request, kind string, f func(http.ResponseWriter, *http.Request, string, Object)) {
	o := s.all[kind][r.PathValue("id")]
	if o == nil {
		refuse(w, http.StatusNotFound, "Not found")
		return
	}
	f(w, r, kind, o)
}

func (s *Server) get(w http.ResponseWriter, _ *http.Request, kind string, o Object) {
	answer(w, http.StatusOK, s.seen(kind, o))
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, kind string, o Object) {
	in, ok := body(w, r)
	if !ok {
		return
	}
	next, faults := s.written(kind, o, in)
	if len(faults) > 0 {
		invalid(w, faults)
		return
	}
	s.touch(next)
	s.all[kind][o["id"].(string)] = next
	answer(w, http.StatusOK, s.show(kind, next))
}

func (s *Server) delete(w http.ResponseWriter, _ *http.Request, kind string, o Object) {
	s.remove(kind, o["id"].(string))
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) post(w http.ResponseWriter, r *http.Request, kind string) {
	in, ok := body(w, r)
	if !ok {
		return
	}
	made, faults := s.create(kind, in)
	if len(faults) > 0 {
		invalid(w, faults)
		return
	}
	answer(w, http.StatusCreated, s.show(kind, made))
}

// list answers a page.
func (s *Server) list(w http.ResponseWriter, r *http.Request, name string) {
	k, q, faults := kinds[name], r.URL.Query(), map[string]string{}
	whole := func(param string, fallback, low, high int) int {
		if !q.Has(param) {
			return fallback
		}
		n, err := strconv.Atoi(q.Get(param))
		if err != nil || n < low || n > high {
			faults[param] = "is out of its bounds"
		}
		return n
	}
	page, size := whole("page", 1, 1, 1<<30), whole("pageSize", 100, 10, 100)
	order := k.order
	if q.Has("sortBy") {
		order = q.Get("sortBy")
	}
	by, direction, _ := strings.Cut(order, " ")
	if !slices.Contains([]string{"", "asc", "desc"}, direction) || by != k.order && !slices.Contains([]string{"id", "modified", "created"}, by) && !slices.Contains(k.sorts, by) {
		faults["sortBy"] = "is not one of the known orders"
	}
	if len(faults) > 0 {
		invalid(w, faults)
		return
	}
	var found []Object
	for _, o := range s.all[name] {
		if s.listed(name, k, o, q) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b Object) int {
		n := cmp.Compare(text(a[by]), text(b[by]))
		if direction == "desc" {
			n = -n
		}
		return cmp.Or(n, cmp.Compare(text(a["id"]), text(b["id"])))
	})
	s.page(w, name, k.collection, found, page, size)
}

func (s *Server) listed(name string, k kind, o Object, q url.Values) bool {
	has := func(filter string) bool { return slices.Contains(k.filters, filter) && q.Has(filter) }
	switch {
	case name == "job" && o["closed"] == true && q.Get("includeClosed") != "true":
		return false
	case o["hidden"] == true && slices.Contains(k.filters, "includeHidden") && q.Get("includeHidden") != "true":
		return false
	case has("jobId") && o["jobId"] != q.Get("jobId"), has("contactId") && o["contactId"] != q.Get("contactId"), has("email") && o["email"] != q.Get("email"):
		return false
	case has("search") && !strings.Contains(strings.ToLower(text(o["name"])), strings.ToLower(q.Get("search"))):
		return false
	case has("externalMappingId"):
		list, _ := o["externalMappings"].([]any)
		return slices.ContainsFunc(list, func(m any) bool { return m.(map[string]any)["id"] == q.Get("externalMappingId") })
	}
	return true
}

func (s *Server) page(w http.ResponseWriter, name, collection string, found []Object, page, size int) {
	total := len(found)
	from := min((page-1)*size, total)
	items := make([]Object, 0, size)
	for _, o := range found[from:min(from+size, total)] {
		items = append(items, s.seen(name, o))
	}
	out := Object{"type": collection, "items": items}
	if !s.opt.NoMeta {
		out["meta"] = Object{"currentPage": page, "totalPages": (total + size - 1) / size, "totalItems": total, "rows": len(items)}
	}
	answer(w, http.StatusOK, out)
}

// seen shows an entity to a reader. A new lead shows less to the first ones.
func (s *Server) seen(kind string, o Object) Object {
	if l := s.late[text(o["id"])]; kind == "job" && l != nil {
		if l.reads--; l.reads < 0 {
			for name, v := range l.fields {
				o[name] = v
			}
			s.touch(o)
			delete(s.late, text(o["id"]))
		}
	}
	return s.show(kind, o)
}

// getJobOrders has no paging in the document: all orders of the job.
func (s *Server) getJobOrders(w http.ResponseWriter, r *http.Request) {
	job := r.PathValue("jobId")
	if s.all["job"][job] == nil {
		refuse(w, http.StatusNotFound, "Not found")
		return
	}
	var found []Object
	for _, o := range s.all["order"] {
		if o["jobId"] == job {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b Object) int { return cmp.Compare(text(a["id"]), text(b["id"])) })
	s.page(w, "order", "joborder-collection", found, 1, max(len(found), 1))
}

func (s *Server) getWorksheet(w http.ResponseWriter, r *http.Request) {
	o := s.all["job"][r.PathValue("jobId")]
	if o == nil {
		refuse(w, http.StatusNotFound, "Not found")
		return
	}
	answer(w, http.StatusOK, s.worksheet(s.seen("job", o)))
}

// worksheet adds what belongs to a job.
func (s *Server) worksheet(job Object) Object {
	events, contacts := []Object{}, []Object{}
	for _, id := range sorted(s.all["event"]) {
		if e := s.all["event"][id]; e["jobId"] == job["id"] && (s.opt.HiddenInWorksheets || e["hidden"] != true) {
			events = append(events, s.show("event", e))
		}
	}
	for _, id := range sorted(s.all["job-contact"]) {
		c := s.all["job-contact"][id]
		p := s.all["address-book"][text(c["contactId"])]
		if c["jobId"] != job["id"] || p == nil {
			continue
		}
		shown := s.show("job-contact", c)
		delete(shown, "jobId")
		delete(shown, "contactId")
		shown["contact"] = s.show("address-book", p)
		contacts = append(contacts, shown)
	}
	job["events"], job["contacts"] = events, contacts
	return job
}

func sorted(m map[string]Object) []string {
	out := make([]string, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// postWorksheet makes a job with its contacts and events, or nothing.
func (s *Server) postWorksheet(w http.ResponseWriter, r *http.Request) {
	in, ok := body(w, r)
	if !ok {
		return
	}
	events, _ := in["events"].([]any)
	contacts, _ := in["contacts"].([]any)
	delete(in, "events")
	delete(in, "contacts")
	mark := len(s.queue)
	var undo []func()
	faults := map[string]string{}
	add := func(kind, at string, o Object) Object {
		made, wrong := s.create(kind, o)
		for name, why := range wrong {
			faults[at+name] = why
		}
		if made != nil {
			undo = append(undo, func() { s.remove(kind, made["id"].(string)) })
		}
		return made
	}
	job := add("job", "", in)
	for i, v := range contacts {
		c, _ := v.(map[string]any)
		at := "contacts[" + strconv.Itoa(i) + "]."
		who, _ := c["contact"].(map[string]any)
		if who == nil || job == nil {
			faults[at+"contact"] = "is required"
			continue
		}
		if p := add("address-book", at+"contact.", who); p != nil {
			add("job-contact", at, Object{"jobId": job["id"], "contactId": p["id"], "client": c["client"]})
		}
	}
	for i, v := range events {
		if e, _ := v.(map[string]any); e != nil && job != nil {
			e["jobId"] = job["id"]
			add("event", "events["+strconv.Itoa(i)+"].", e)
		}
	}
	if len(faults) > 0 {
		for _, f := range undo {
			f()
		}
		s.queue = s.queue[:mark]
		invalid(w, faults)
		return
	}
	answer(w, http.StatusCreated, s.worksheet(s.show("job", job)))
}
