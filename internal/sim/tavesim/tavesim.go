// Package tavesim is a studio of Tave, which VSCO sells as Workspace, as far as its API v2 is about dates: events, jobs,
// contacts, orders, their settings, worksheets, rest hooks, and the older New Lead API. Tests, the benchmarks and the
// demonstration use it in place of the real service.
//
//	sim := tavesim.New(tavesim.Options{Key: "k", Zone: "Europe/London"})
//	server := httptest.NewServer(sim.Handler())              // the API is below server.URL + tavesim.Base
//	id := sim.Add("event", tavesim.Object{"name": "Tasting", "startDate": "2027-03-10", "startTime": "10:00:00"})
//
// # What is documented
//
// Paths, methods, parameters, members and bodies of answers are those of the vendor's OpenAPI document, and tests hold every
// exchange against it (package openapitest): the envelope of lists, page from 1 and pageSize from 10 to 100, sortBy, closed
// jobs and hidden entries left out unless asked for, ids as lower-case ULIDs, times to the second, worksheets that roll back
// as a whole, rest hooks for four events with limitTo, of which a delivery names the targetId only, 400 with a
// validation-error, 429 with Retry-After.
//
// # What is assumed
//
// The vendor's texts leave these open, and the simulator had to choose. An option shows the other choice where there is one.
//
//   - PUT replaces: a writable member that is left out becomes empty (Options.Merge: it stays). External mappings stay in
//     any case, because the document says that they cannot be updated. Read-only members in a request are ignored.
//   - An id that does not exist is 404 with an Error. A key that is missing or wrong is 401 with an Error.
//   - A studio in read-only mode refuses writes with 403.
//   - An all-day event ends with its endDate. An event without an end has none.
//   - A worksheet that is read leaves out hidden events (Options.HiddenInWorksheets).
//   - Of equal values a list is in the order of ids.
//   - primarySessionId is the first event whose type is a session.
//   - Removing a job removes its events.
//   - A rest hook is posted as JSON {"targetId": "..."}; an answer other than 2xx is tried again twice. Nothing is signed,
//     which the vendor's texts do say.
//   - A lead of the New Lead API becomes a job with webLead, whose Message is its leadNotes and whose Brand and JobType are
//     found by name. Its job has no job type and no date for the first reads (Options.LateReads), as was seen in use.
//
// Faults are switched on by SetFaults and those of hooks by BreakHooks. All methods may be called by several goroutines.
package tavesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Base is the path of the API, as at workspace.vsco.co.
const Base = "/api/v2"

// Object is an entity as the API writes it.
type Object = map[string]any

// Options sets a studio up. The zero value is one in UTC that needs no key.
type Options struct {
	Key      string           // the API key; "" accepts every request
	Zone     string           // IANA zone of the studio; "" is UTC
	Readonly bool             // the studio is in read-only mode
	Now      func() time.Time // the servers' clock; nil is time.Now

	Merge              bool // PUT leaves members that are not named
	HiddenInWorksheets bool
	NoMeta             bool // lists have no meta member, which the document allows

	LeadStudio, LeadSecret string // of the New Lead API; "" is off
	LateReads              int    // how many reads see a new lead without its type and date

	// Wrap is put around the part that answers honestly, inside the faults; nil is nothing.
	Wrap func(http.Handler) http.Handler
}

// Server is the simulated studio.
type Server struct {
	front
	opt     Options
	zone    *time.Location
	handler http.Handler

	mu       sync.Mutex
	skew     time.Duration
	count    uint64 // of ids
	legacy   int    // of legacy job ids
	all      map[string]map[string]Object
	studio   Object
	late     map[string]*lateLead
	queue    []Hook
	broken   map[HookFault]int
	requests map[string]int
}

// New makes a studio with three event types (Wedding, a session; Call; Block, of kind other), two job types (Wedding,
// Portrait) and no entries.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == "" {
		o.Zone = "UTC"
	}
	zone, err := time.LoadLocation(o.Zone)
	if err != nil {
		panic("tavesim: no such zone " + o.Zone)
	}
	s := &Server{opt: o, zone: zone, all: map[string]map[string]Object{}, late: map[string]*lateLead{}, broken: map[HookFault]int{},
		requests: map[string]int{}, legacy: 1000}
	for name := range kinds {
		s.all[name] = map[string]Object{}
	}
	home := s.Add("timezone", Object{"name": o.Zone})
	s.studio = Object{"id": s.newID(), "name": "Simulated Studio", "currencyCode": "EUR", "timezoneId": home, "created": s.stamp(), "modified": s.stamp()}
	for _, t := range []Object{{"name": "Wedding", "kind": "session", "tokenPrefix": "wedding"}, {"name": "Call", "kind": "call", "tokenPrefix": "call"},
		{"name": "Block", "kind": "other", "tokenPrefix": "block"}} {
		s.Add("event-type", t)
	}
	for _, name := range []string{"Wedding", "Portrait"} {
		s.Add("job-type", Object{"name": name})
	}
	s.handler = s.routes()
	if o.Wrap != nil {
		s.handler = o.Wrap(s.handler)
	}
	return s
}

// Handler serves the studio below Base, and the New Lead API below /webservice.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// StudioID is the id that /studio/me shows.
func (s *Server) StudioID() string { return s.studio["id"].(string) }

// SetReadonly switches the studio's read-only mode.
func (s *Server) SetReadonly(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opt.Readonly = on
}

// Skew puts the servers' clock forward, or back when it is negative.
func (s *Server) Skew(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew = d
}

// Add makes an entity of a kind, such as "event" or "job", as somebody in the studio would, and returns its id. It panics on
// members that the API does not know.
func (s *Server) Add(kind string, o Object) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, faults := s.create(kind, o)
	if len(faults) > 0 {
		panic(fmt.Sprintf("tavesim: %s: %v", kind, faults))
	}
	return made["id"].(string)
}

// Edit changes members of an entity, read-only ones such as hidden too.
func (s *Server) Edit(kind, id string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[kind][id]
	if e == nil {
		panic("tavesim: no " + kind + " " + id)
	}
	maps.Copy(e, plain(o))
	s.touch(e)
}

// Delete removes an entity.
func (s *Server) Delete(kind, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(kind, id)
}

// Get returns an entity as the API shows it, nil if there is none.
func (s *Server) Get(kind, id string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[kind][id] == nil {
		return nil
	}
	return s.show(kind, s.all[kind][id])
}

// All returns the ids of a kind in their order.
func (s *Server) All(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.all[kind]))
}

// Named returns the id of an entity of a kind by its name, "" if there is none.
func (s *Server) Named(kind, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.named(kind, name)
}

func (s *Server) named(kind, name string) string {
	for _, id := range slices.Sorted(maps.Keys(s.all[kind])) {
		if s.all[kind][id]["name"] == name {
			return id
		}
	}
	return ""
}

// Requests counts the requests so far by method and path, ids replaced by {id}.
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// newID makes a ULID that is greater than all before.
func (s *Server) newID() string {
	s.count++
	ms := uint64(s.opt.Now().UnixMilli())
	var b [26]byte
	for i := 9; i >= 0; i-- {
		b[i] = crockford[ms&31]
		ms >>= 5
	}
	n := s.count
	for i := 25; i >= 10; i-- {
		b[i] = crockford[n&31]
		n >>= 5
	}
	return string(b[:])
}

func (s *Server) clock() time.Time { return s.opt.Now().Add(s.skew).UTC().Truncate(time.Second) }
func (s *Server) stamp() string    { return s.clock().Format(time.RFC3339) }
func (s *Server) touch(o Object)   { o["modified"] = s.stamp() }

// plain copies an object into what JSON reads: numbers are float64 and lists []any.
func plain(o Object) Object {
	b, err := json.Marshal(o)
	if err != nil {
		panic("tavesim: " + err.Error())
	}
	var out Object
	if err := json.Unmarshal(b, &out); err != nil {
		panic("tavesim: " + err.Error())
	}
	return out
}

// create makes an entity; faults say what is wrong with it, by member.
func (s *Server) create(kind string, in Object) (Object, map[string]string) {
	made, faults := s.written(kind, nil, plain(in))
	if len(faults) > 0 {
		return nil, faults
	}
	made["id"], made["created"] = s.newID(), s.stamp()
	s.touch(made)
	if kind == "job" {
		s.legacy++
		made["#legacy"] = s.legacy
		if made["stage"] == nil {
			made["stage"] = "lead"
		}
	}
	s.all[kind][made["id"].(string)] = made
	s.tell(kind, made)
	return made, nil
}

// written returns an entity after a write of in over was, which is nil for a new one.
func (s *Server) written(kind string, was, in Object) (Object, map[string]string) {
	k, faults, out := kinds[kind], map[string]string{}, Object{}
	maps.Copy(out, was)
	for name := range in {
		if _, known := k.fields[name]; !known && !slices.Contains(readOnly, name) && k.closed {
			faults[name] = "unknown property"
		}
	}
	for name, f := range k.fields {
		v, given := in[name]
		switch {
		case f.readOnly:
			continue
		case name == "externalMappings" && was != nil:
			continue // they cannot be updated
		case !given && was != nil && s.opt.Merge:
			continue
		case !given:
			v = f.fallback
		}
		if v == nil && given && !f.nullable {
			faults[name] = "may not be null"
			continue
		}
		if v != nil {
			if wrong := f.check(v); wrong != "" {
				faults[name] = wrong
				continue
			}
		}
		out[name] = v
	}
	for _, name := range k.required {
		if out[name] == nil || out[name] == "" {
			faults[name] = "is required"
		}
	}
	for name, other := range k.refers {
		if id, _ := out[name].(string); id != "" && s.all[other][id] == nil {
			faults[name] = "refers to nothing"
		}
	}
	return out, faults
}

func (s *Server) remove(kind, id string) {
	delete(s.all[kind], id)
	if kind == "job" {
		for _, part := range []string{"event", "job-contact", "order"} {
			for other, o := range s.all[part] {
				if o["jobId"] == id {
					delete(s.all[part], other)
				}
			}
		}
	}
}

// show renders an entity with what the servers work out.
func (s *Server) show(kind string, o Object) Object {
	out := Object{}
	for name, v := range o {
		if !strings.HasPrefix(name, "#") {
			out[name] = v
		}
	}
	id := o["id"].(string)
	self := Object{"href": "https://tave.io/v2/" + kind + "/" + id}
	if kind == "job" {
		self["managerHref"] = fmt.Sprintf("https://workspace.vsco.co/jobs/view/%d", o["#legacy"])
	}
	if !kinds[kind].linkless {
		out["links"] = Object{"self": self}
	}
	switch kind {
	case "job":
		s.showJob(out)
	case "event":
		s.showEvent(out)
	case "address-book":
		out["name"] = strings.TrimSpace(fmt.Sprintf("%s %s", text(o["firstName"]), text(o["lastName"])))
	case "job-contact":
		out["roleKinds"] = []string{}
		if o["client"] == true {
			out["roleKinds"] = []string{"client"}
		}
	}
	if kinds[kind].hideable && out["hidden"] == nil {
		out["hidden"] = false
	}
	return out
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func (s *Server) showJob(o Object) {
	if t := s.all["job-type"][text(o["jobTypeId"])]; t != nil {
		o["jobTypeName"] = t["name"]
	}
	o["sample"] = o["sample"] == true
	o["title"] = o["name"]
	if o["name"] == nil {
		var who []string
		for _, id := range slices.Sorted(maps.Keys(s.all["job-contact"])) {
			if c := s.all["job-contact"][id]; c["jobId"] == o["id"] && c["client"] == true {
				if p := s.all["address-book"][text(c["contactId"])]; p != nil {
					who = append(who, text(p["lastName"]))
				}
			}
		}
		o["title"] = strings.TrimSpace(strings.Join(who, " & ") + " " + text(o["jobTypeName"]))
	}
	o["primarySessionId"] = nil
	for _, id := range slices.Sorted(maps.Keys(s.all["event"])) {
		e := s.all["event"][id]
		if t := s.all["event-type"][text(e["typeId"])]; e["jobId"] == o["id"] && e["hidden"] != true && t != nil && t["kind"] == "session" {
			o["primarySessionId"] = id
			break
		}
	}
}

func (s *Server) showEvent(o Object) {
	if o["readOnly"] == nil {
		o["readOnly"] = false
	}
	zone := s.zone
	if name := text(o["timezoneName"]); name != "" {
		if own, err := time.LoadLocation(name); err == nil {
			zone = own
		}
	}
	for end, names := range map[string][2]string{"startUtc": {"startDate", "startTime"}, "endUtc": {"endDate", "endTime"}} {
		o[end] = nil
		date, clock := text(o[names[0]]), text(o[names[1]])
		if end == "endUtc" && date == "" {
			date = text(o["startDate"])
		}
		if date == "" || clock == "" || o["allDay"] == true {
			continue
		}
		if at, err := time.ParseInLocation("2006-01-02 15:04:05", date+" "+clock[:5]+":00", zone); err == nil {
			o[end] = at.UTC().Format("2006-01-02T15:04:05+00:00")
		}
	}
}
