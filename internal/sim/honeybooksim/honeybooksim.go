// Package honeybooksim is a studio at HoneyBook with the steps that its owner built at Zapier or Make, and the endpoint that
// HoneyBook's contact forms post to, for tests of the provider.
//
//	studio := honeybooksim.New(honeybooksim.Options{Tool: honeybooksim.Zapier, Auth: config, Secret: secret})
//	studio.Book(studio.Enquire(honeybooksim.Project{Name: "…", Date: "2027-06-05"}))
//	results, err := studio.Deliver(ctx, client, integration.WebhookURL)
//	forms := httptest.NewServer(studio.Forms()) // takes enquiries
//
// # Documented
//
// HoneyBook's app at Zapier has the triggers Client Created, New Project Booked, New Payment Paid, Project Stage Changed,
// Meeting Scheduled (scheduled or changed), and one for new enquiries that asks for a form; its action Create Project names
// the fields client full name, client email, phone number, project type, project date, project details, project budget and
// project location (Zapier's pages about the app). Zapier's webhook step posts JSON or a form, with headers and Basic
// authentication of the owner's choice, and leaves empty values out; a failed step is run again up to five times, after 5
// and 30 minutes, 1, 3 and 6 hours, if the owner switched that on (Zapier's help). Make's HTTP module sends a body that the
// owner writes, so empty values stay in, with headers, an API key or Basic authentication (Make's help).
//
// # Seen in use
//
// Sites post enquiries as a form to /api/v2/workspace/widget_inquiries with the hidden fields vendor_id, vendor_name,
// contact_form_id, company_id and src_host, the visible ones as below, and a trap called message that people never see.
//
// # Assumed
//
// Everything about what the triggers carry: the fields here are those that WedSync's documentation tells the owner to fill.
// That a Make scenario tries a failed module three more times. That nothing keeps posts in order: each run is on its own,
// and a late one overtakes nothing but is overtaken. How the form's endpoint answers: 200 with a JSON object; 422 when a
// hidden field is missing; and 200 without an enquiry when the trap was filled in, as such traps do. Nothing may rest on
// these answers.
//
// A Studio is safe for concurrent use, keeps everything in memory, and posts only when Deliver is called.
package honeybooksim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/webhookauth"
)

// Tool is where the owner built the steps.
type Tool string

// The tools.
const (
	Zapier Tool = "zapier"
	Make   Tool = "make"
)

// Options tune a studio. Auth and Secret are how the steps prove themselves; a zero Auth sends nothing.
type Options struct {
	Tool   Tool // Zapier if empty
	Auth   webhookauth.Config
	Secret webhookauth.Secret
	Form   bool // the steps post forms instead of JSON
	// Fields changes what a step sends: an owner who filled in other fields, or fewer. nil leaves it as it is.
	Fields func(trigger string, fields map[string]string) map[string]string
	Now    func() time.Time                  // nil = time.Now
	Wait   func(attempt int) <-chan struct{} // before a further try; nil waits for nothing
	// Company is the company_id that the forms must carry, "" takes any of 24 hexadecimal digits.
	Company string
}

// Project is a project of the studio.
type Project struct {
	ID, Name, Type, Date, EndDate, Location, Details string
	Start, End                                       string // where the owner's step sends a time
	Client, Email                                    string
	Stage                                            string
}

// Meeting is a meeting of the studio.
type Meeting struct{ ID, Name, Start, End, Zone, Status, Project, Client, Email string }

// Post is one run of a step.
type Post struct {
	ID          string // of the run, the same in each of its tries
	Trigger     string
	ContentType string
	Body        []byte
}

// Studio is the simulator. Make it by New.
type Studio struct {
	o Options

	mu       sync.Mutex
	projects map[string]*Project
	made     int
	runs     int
	queue    []Post
	broken   map[RelayFault]int

	faults FormFaults
	hang   chan struct{}
	leads  []url.Values
	trap   int
}

// New makes a studio without projects.
func New(o Options) *Studio {
	if o.Tool == "" {
		o.Tool = Zapier
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Studio{o: o, projects: map[string]*Project{}, broken: map[RelayFault]int{}, hang: make(chan struct{})}
}

// Enquire makes a project by a contact form and returns its id.
func (s *Studio) Enquire(p Project) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.ID == "" {
		s.made++
		p.ID = "prj-" + strconv.Itoa(1000+s.made)
	}
	s.projects[p.ID] = &p
	s.fire("inquiry", p.fields())
	return p.ID
}

// Client adds a client without a project.
func (s *Studio) Client(name, email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fire("client_created", map[string]string{"client_full_name": name, "client_email": email})
}

// Book books a project: its agreement was signed.
func (s *Studio) Book(id string) { s.tell(id, "project_booked", nil) }

// Pay pays something of a project.
func (s *Studio) Pay(id, amount string) {
	s.tell(id, "payment_paid", map[string]string{"payment_amount": amount})
}

// Move moves a project to a stage of the pipeline.
func (s *Studio) Move(id, stage string) {
	s.Edit(id, func(p *Project) { p.Stage = stage })
	s.tell(id, "stage_changed", map[string]string{"stage": stage})
}

// Edit changes a project. No trigger tells of it.
func (s *Studio) Edit(id string, change func(*Project)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.project(id))
}

// Meet schedules or changes a meeting and returns its id.
func (s *Studio) Meet(m Meeting) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.ID == "" {
		s.made++
		m.ID = "mtg-" + strconv.Itoa(1000+s.made)
	}
	s.fire("meeting_scheduled", map[string]string{"meeting_id": m.ID, "meeting_name": m.Name, "meeting_start": m.Start, "meeting_end": m.End, "meeting_zone": m.Zone,
		"meeting_status": m.Status, "project_id": m.Project, "client_full_name": m.Client, "client_email": m.Email})
	return m.ID
}

func (s *Studio) tell(id, trigger string, more map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fields := s.project(id).fields()
	maps.Copy(fields, more)
	s.fire(trigger, fields)
}

func (s *Studio) project(id string) *Project {
	p := s.projects[id]
	if p == nil {
		panic("honeybooksim: no project " + id)
	}
	return p
}

func (p Project) fields() map[string]string {
	return map[string]string{"project_id": p.ID, "project_name": p.Name, "project_type": p.Type, "project_date": p.Date, "project_end_date": p.EndDate,
		"project_start": p.Start, "project_end": p.End, "project_location": p.Location, "project_details": p.Details,
		"client_full_name": p.Client, "client_email": p.Email}
}

// fire queues the run of a step. Each carries the time at which it ran, and so differs from every other.
func (s *Studio) fire(trigger string, fields map[string]string) {
	fields["trigger"], fields["occurred_at"] = trigger, s.o.Now().UTC().Format(time.RFC3339)
	if s.o.Fields != nil {
		fields = s.o.Fields(trigger, fields)
	}
	if s.o.Tool == Zapier {
		maps.DeleteFunc(fields, func(_, v string) bool { return v == "" })
	}
	s.runs++
	p := Post{ID: "run-" + strconv.Itoa(s.runs), Trigger: trigger, ContentType: "application/json; charset=utf-8"}
	if s.o.Form {
		p.ContentType = "application/x-www-form-urlencoded"
		v := url.Values{}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			v.Set(name, fields[name])
		}
		p.Body = []byte(v.Encode())
	} else {
		b, err := json.Marshal(fields)
		if err != nil {
			panic(fmt.Sprintf("honeybooksim: write texts as JSON: %v", err))
		}
		p.Body = b
	}
	s.queue = append(s.queue, p)
}

// TakePosts returns the runs that wait and forgets them, for tests that hand them over by themselves.
func (s *Studio) TakePosts() []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.queue
	s.queue = nil
	return out
}
