package tavesim

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
)

// lateLead is what a new lead does not show yet.
type lateLead struct {
	reads  int
	fields Object
}

// createLead is the New Lead API: a form or JSON with the studio's secret in it.
func (s *Server) createLead(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests["POST /webservice/create-lead/{studio}"]++
	in := map[string]string{}
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch form, formErr := url.ParseQuery(string(b)); {
	case err != nil:
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	case kind == "application/json":
		err = json.Unmarshal(b, &in)
	default:
		err = formErr
		for k := range form {
			in[k] = form.Get(k)
		}
	}
	switch {
	case err != nil || in["FirstName"] == "" || in["JobType"] == "":
		http.Error(w, "FirstName and JobType are required", http.StatusBadRequest)
		return
	case s.opt.LeadStudio == "" || r.PathValue("studio") != s.opt.LeadStudio || in["SecretKey"] != s.opt.LeadSecret:
		http.Error(w, "Unknown studio or secret", http.StatusForbidden)
		return
	case s.opt.Readonly:
		http.Error(w, "The studio is in read-only mode", http.StatusForbidden)
		return
	}
	job, faults := s.create("job", Object{"stage": "lead", "webLead": true, "leadNotes": in["Message"], "inquiryDate": s.clock().Format("2006-01-02")})
	if len(faults) > 0 {
		http.Error(w, "The lead was refused", http.StatusBadRequest)
		return
	}
	later := Object{"jobTypeId": nil, "eventDate": nil}
	if id := s.named("job-type", in["JobType"]); id != "" {
		later["jobTypeId"] = id
	}
	if in["EventDate"] != "" {
		later["eventDate"] = in["EventDate"]
	}
	s.late[text(job["id"])] = &lateLead{s.opt.LateReads, later}
	if person, wrong := s.create("address-book", Object{"kind": "person", "firstName": in["FirstName"], "lastName": in["LastName"]}); len(wrong) == 0 {
		s.create("job-contact", Object{"jobId": job["id"], "contactId": person["id"], "client": true})
	}
	if r.Header.Get("Accept") == "application/json" {
		answer(w, http.StatusOK, Object{"Status": "Success", "JobID": job["#legacy"]})
		return
	}
	_, _ = io.WriteString(w, "OK") // the client may be gone
}
