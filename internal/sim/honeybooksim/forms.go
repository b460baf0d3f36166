package honeybooksim

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// FormFaults are the ways in which the forms' endpoint fails now. The zero value is a healthy one.
type FormFaults struct {
	// Status answers every enquiry with it, with RetryAfter in whole seconds when positive.
	Status     int
	RetryAfter time.Duration
	Hang       bool // answers nothing until Heal, or until the client goes away
	LoseAnswer bool // takes the next enquiry and then breaks the connection
}

// SetFaults lets the endpoint fail until Heal.
func (s *Studio) SetFaults(f FormFaults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Heal ends the faults and lets calls that hang go on.
func (s *Studio) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = FormFaults{}
	close(s.hang)
	s.hang = make(chan struct{})
}

// Leads returns the enquiries that came, in their order.
func (s *Studio) Leads() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]url.Values{}, s.leads...)
}

// Trapped is how many enquiries had filled in the trap.
func (s *Studio) Trapped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trap
}

// formPath is where contact forms post to.
const formPath = "/api/v2/workspace/widget_inquiries"

var companyID = regexp.MustCompile(`^[0-9a-f]{24}$`)

// Forms is the endpoint of the contact forms.
func (s *Studio) Forms() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+formPath, s.takeForm)
	return mux
}

func (s *Studio) takeForm(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f, hang := s.faults, s.hang
	s.faults.LoseAnswer = false
	s.mu.Unlock()
	switch {
	case f.Hang:
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	case f.Status != 0:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
		}
		answer(w, f.Status, "")
		return
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		answer(w, http.StatusUnsupportedMediaType, "a form is wanted")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		answer(w, http.StatusBadRequest, "the form cannot be read")
		return
	}
	for _, name := range []string{"vendor_id", "contact_form_id", "company_id", "src_host", "full_name", "email"} {
		if r.PostForm.Get(name) == "" {
			answer(w, http.StatusUnprocessableEntity, name+" is missing")
			return
		}
	}
	if id := r.PostForm.Get("company_id"); !companyID.MatchString(id) || s.o.Company != "" && id != s.o.Company {
		answer(w, http.StatusUnprocessableEntity, "company_id is unknown")
		return
	}
	s.mu.Lock()
	if r.PostForm.Get("message") != "" {
		s.trap++
	} else {
		s.leads = append(s.leads, r.PostForm)
	}
	s.mu.Unlock()
	if f.LoseAnswer {
		panic(http.ErrAbortHandler)
	}
	answer(w, http.StatusOK, "")
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	out := map[string]string{}
	if text != "" {
		out["error"] = text
	}
	_ = json.NewEncoder(w).Encode(out) // the client is gone otherwise
}
