// Package lightbluesim stands for the online services of Light Blue: the API that takes messages into the Inbox and a
// calendar feed. It also serves a portal that lists shoots, which is an invention of this project.
//
//	sim := lightbluesim.New(lightbluesim.Options{Now: time.Now})
//	server := httptest.NewServer(sim.Handler())
//	sim.SetFaults(lightbluesim.Faults{LoseAnswer: true})
//
// # Documented by the vendor
//
// POST /api.php, form-encoded, with key, type "contact form", ID, Source, SourceAPIVersion, DateFormat, Message and fields
// of contact and shoot; the answer is a status code and, for errors, a summary: 0 success, -3 the type is wrong or no
// parameter is valid, -4 a duplicate of ID and Source, -20 https is wanted. POST /apiCheck.php with Key. That a calendar
// feed is protected by user name and password. Of the vendor's own plug-ins: both answers are over HTTP 200, with lines
// that end in CR.
//
// # Assumed
//
// Names of parameters in any case of letters (the plug-ins and the documentation differ). The code of a refused key is
// [CodeBadKey]: the vendor's list was seen only in part. The address of the feed. That the API answers with HTTP statuses
// and Retry-After like other servers when it is in trouble. This server takes plain http: Options.WantHTTPS answers -20.
//
// # Invented
//
// The portal. Light Blue has no page that lists clients or shoots, and no way to log in to one was found anywhere. What is
// below /portal, its log-in form, its sessions, its markup and robots.txt are made up here, to try the reading of pages on
// something that behaves like many small systems do. See portal.go.
//
// A Server is safe for concurrent use, keeps everything in memory and starts nothing by itself.
package lightbluesim

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/sim/icssim"
)

// What the simulated studio is reached with.
const (
	Key            = "lb-simulated-key-5f1c"
	FeedPath       = "/calendar/studio.ics"
	FeedUser       = "studio"
	FeedPassword   = "feed-simulated-password"
	PortalUser     = "owner@studio.example"
	PortalPassword = "portal-simulated-password"
	CodeBadKey     = -2 // assumed
)

// Options configure a Server.
type Options struct {
	Now       func() time.Time // nil = time.Now
	WantHTTPS bool             // answer -20 to plain http, as the vendor does
	PageSize  int              // shoots on a page of the portal; 0 = 10
}

// Message is what lies in the Inbox, by lower-case name of the parameter. The key is left out.
type Message map[string]string

// Faults are the ways in which the server fails now. The zero value is a healthy server.
type Faults struct {
	// Status answers every request with it, with RetryAfter in whole seconds when positive.
	Status     int
	RetryAfter time.Duration
	// Hang answers nothing until Heal or until the client goes away.
	Hang bool
	// CutBody breaks the connection in the middle of the body, HTML sends another page and Nothing no byte.
	CutBody, HTML, Nothing bool
	// BadKey says that the key, the feed's password and the portal's are no longer valid.
	BadKey bool
	// LoseAnswer takes the next message and breaks the connection. Later ones work.
	LoseAnswer bool
	// Code is answered by the API to every message, 0 = none.
	Code int
	// Portal are faults of the portal's pages.
	Portal PortalFaults
}

// Server is a studio's account.
type Server struct {
	o    Options
	Feed *icssim.Server

	mu     sync.Mutex
	inbox  []Message
	known  map[[2]string]bool // source and ID
	faults Faults
	hang   chan struct{}
	portal portal
}

// New makes an account without messages, events and shoots.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PageSize == 0 {
		o.PageSize = 10
	}
	return &Server{o: o, Feed: icssim.New(o.Now), known: map[[2]string]bool{}, portal: newPortal()}
}

// Inbox returns the messages in the order in which they came.
func (s *Server) Inbox() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Message, len(s.inbox))
	for i, m := range s.inbox {
		out[i] = maps.Clone(m)
	}
	return out
}

// SetFaults replaces the faults. Requests held by an earlier Hang go on.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hang != nil {
		close(s.hang)
		s.hang = nil
	}
	s.faults = f
	if f.Hang {
		s.hang = make(chan struct{})
	}
}

// Heal ends all faults.
func (s *Server) Heal() { s.SetFaults(Faults{}) }

// Handler serves the API, the feed and the portal.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api.php", s.api)
	mux.HandleFunc("POST /apiCheck.php", s.check)
	mux.HandleFunc("GET "+FeedPath, s.feed)
	s.mountPortal(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		f, hang := s.faults, s.hang
		s.portal.requests = append(s.portal.requests, r.Method+" "+r.URL.RequestURI())
		s.mu.Unlock()
		if hang != nil {
			select {
			case <-hang:
			case <-r.Context().Done():
				return
			}
		}
		switch {
		case r.URL.Path == "/robots.txt": // it lies on another server than the pages
		case f.Status != 0:
			if f.RetryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
			}
			http.Error(w, "refused: "+r.URL.Path, f.Status)
			return
		case f.HTML:
			_, _ = w.Write([]byte("<!DOCTYPE html><html><body><p>We will be back soon</p></body></html>"))
			return
		case f.Nothing:
			w.WriteHeader(http.StatusOK)
			return
		case f.CutBody:
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("0\r"))
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	})
}

// parameters reads a form without regard to the case of names.
func parameters(w http.ResponseWriter, r *http.Request) (Message, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if r.ParseForm() != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return nil, false
	}
	out := Message{}
	for _, name := range slices.Sorted(maps.Keys(r.PostForm)) {
		out[strings.ToLower(name)] = r.PostForm.Get(name)
	}
	return out, true
}

// answer writes a status code and a summary, each ended by CR.
func answer(w http.ResponseWriter, code int, summary string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if summary != "" {
		summary += "\r"
	}
	_, _ = fmt.Fprintf(w, "%d\r%s", code, summary)
}

func (s *Server) refuses(w http.ResponseWriter, r *http.Request, key string) bool {
	s.mu.Lock()
	bad := s.faults.BadKey
	s.mu.Unlock()
	switch {
	case s.o.WantHTTPS && r.TLS == nil:
		answer(w, -20, "Please use HTTPS")
	case key != Key || bad:
		answer(w, CodeBadKey, "Invalid API key")
	default:
		return false
	}
	return true
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	form, ok := parameters(w, r)
	if !ok || s.refuses(w, r, form["key"]) {
		return
	}
	answer(w, 0, "API key is valid")
}

// Parameters that are no content.
var aside = []string{"key", "type", "id", "source", "sourceapiversion", "dateformat", "reference", "decimalseparator"}

// Parameters that were seen in the vendor's documentation or on its forms.
var content = []string{"message", "contactnamefull", "contactnamefirst", "contactnamelast", "contactrole", "contacttitle", "contactsource", "contactemail",
	"contactphonehome", "contactphonework", "contactphonemobile", "shoottitle", "shoottype", "shootdate", "shoottimestart", "shoottimeend", "shootlocation",
	"shootreferralsource"}

func (s *Server) api(w http.ResponseWriter, r *http.Request) {
	form, ok := parameters(w, r)
	if !ok || s.refuses(w, r, form["key"]) {
		return
	}
	said := 0
	for name, value := range form {
		if slices.Contains(content, name) && value != "" {
			said++
		}
	}
	s.mu.Lock()
	code, lose := s.faults.Code, s.faults.LoseAnswer
	once := [2]string{form["source"], form["id"]}
	switch {
	case code != 0:
	case form["type"] != "contact form" || said == 0:
		code = -3
	case form["id"] != "" && s.known[once]:
		code = -4
	default:
		delete(form, "key")
		s.inbox, s.known[once] = append(s.inbox, form), true
		s.faults.LoseAnswer = false
	}
	s.mu.Unlock()
	switch {
	case code == 0 && lose:
		panic(http.ErrAbortHandler)
	case code == 0:
		answer(w, 0, "")
	case code == -4:
		answer(w, code, "Duplicate request")
	default:
		answer(w, code, "Refused")
	}
}

// Put lays a message into the Inbox as somebody else would, for instance a contact form.
func (s *Server) Put(fields url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := Message{}
	for name := range fields {
		if !slices.Contains(aside, strings.ToLower(name)) {
			m[strings.ToLower(name)] = fields.Get(name)
		}
	}
	s.inbox = append(s.inbox, m)
}

func (s *Server) feed(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	bad := s.faults.BadKey
	s.mu.Unlock()
	if user, password, ok := r.BasicAuth(); !ok || user != FeedUser || password != FeedPassword || bad {
		w.Header().Set("WWW-Authenticate", `Basic realm="calendar"`)
		http.Error(w, "log in", http.StatusUnauthorized)
		return
	}
	s.Feed.Handler().ServeHTTP(w, r)
}
