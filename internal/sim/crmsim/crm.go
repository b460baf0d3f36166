// Package crmsim is a small customer system of a wedding studio, with everything that a custom integration can use:
// a REST API in JSON with an API key, a paged listing with a change token, conditional updates, idempotent creation,
// and webhooks signed by Standard Webhooks. It is our own invention and imitates no vendor. It can fail in the ways in
// which real systems do.
//
//	crm := crmsim.New(crmsim.Options{APIKey: key, WebhookSecret: secret, Now: clock})
//	srv := httptest.NewServer(crm)
//	settings := crmsim.Settings(srv.URL) // a complete custom integration for it
//	ev := crm.Create(crmsim.Event{Kind: "wedding", State: "booked", Starts: "2027-06-05T14:00:00Z", …})
//	results, err := crm.DeliverPending(ctx, http.DefaultClient, hookURL)
//
// Everything is held in memory. Events are listed in the order of their ids, changes in the order in which they
// happened. All methods may be called by several goroutines. A fault lasts until Heal or until it has happened as often
// as asked; hanging calls end with Heal, with their request or with Close.
//
// Test it with go test ./internal/sim/crmsim; the shared provider suite runs over it from internal/providers/custom.
package crmsim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Event is an entry of the studio's calendar as the API shows it. The zero value of a field is left out.
type Event struct {
	ID      string `json:"id"`                // "ev-000001"
	Kind    string `json:"kind,omitempty"`    // wedding, engagement, vendor, meeting, travel, hold, maintenance, personal
	State   string `json:"state,omitempty"`   // booked, pencilled or cancelled
	Starts  string `json:"starts,omitempty"`  // a date when AllDay; else RFC 3339, or a local time without offset
	Ends    string `json:"ends,omitempty"`    // the same form; exclusive for dates
	AllDay  bool   `json:"all_day,omitempty"` //
	Zone    string `json:"zone,omitempty"`    // IANA name
	Title   string `json:"title,omitempty"`
	Venue   string `json:"venue,omitempty"`
	Notes   string `json:"notes,omitempty"`
	Client  string `json:"client,omitempty"`
	Private bool   `json:"private,omitempty"`
	Free    bool   `json:"free,omitempty"`
	Ref     string `json:"ref,omitempty"` // kept for other systems; WedSync puts its booking id here
	Seq     int64  `json:"seq"`           // grows with every change in the studio
	Rev     string `json:"rev"`           // changes with every change of this event
	Deleted bool   `json:"deleted,omitempty"`
}

// Options are the knobs of a simulator. The zero value of each has a default.
type Options struct {
	APIKey        string           // in the header X-Api-Key; "" accepts every request
	WebhookSecret string           // whsec_…; "" makes Deliver fail
	Now           func() time.Time // default time.Now
	PageSize      int              // most events on a page; default 50
	// Wait is asked before the n-th retry of a delivery, from 1; default: no wait.
	Wait func(n int) <-chan time.Time
}

// CRM is a running simulator. It is an http.Handler.
type CRM struct {
	opt    Options
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	events   map[string]Event // deleted ones included, as tombstones
	seq      int64
	ids      int
	oldest   int64            // change tokens below it are expired
	byKey    map[string]Event // answers to creations, by idempotency key
	faults   map[Fault]*fault
	healed   chan struct{}
	messages []Message
	hooks    map[HookFault]int
	calls    int
	msgs     int
}

// New makes an empty studio.
func New(opt Options) *CRM {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.PageSize == 0 {
		opt.PageSize = 50
	}
	if opt.Wait == nil {
		opt.Wait = func(int) <-chan time.Time { c := make(chan time.Time); close(c); return c }
	}
	return &CRM{opt: opt, closed: make(chan struct{}), events: map[string]Event{}, byKey: map[string]Event{},
		faults: map[Fault]*fault{}, healed: make(chan struct{}), hooks: map[HookFault]int{}}
}

// Close ends hanging calls. It may be called several times.
func (c *CRM) Close() { c.once.Do(func() { close(c.closed) }) }

// Create adds an event as somebody in the studio would, and returns it with its id.
func (c *CRM) Create(e Event) Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.create(e)
}

func (c *CRM) create(e Event) Event {
	c.ids++
	e.ID = fmt.Sprintf("ev-%06d", c.ids)
	return c.store(e, "event.created")
}

// store writes an event under a new sequence number and makes its webhook.
func (c *CRM) store(e Event, kind string) Event {
	c.seq++
	e.Seq, e.Rev = c.seq, "r"+strconv.FormatInt(c.seq, 10)
	c.events[e.ID] = e
	c.enqueue(kind, e)
	return e
}

// Update changes an event. It answers false when there is no such event.
func (c *CRM) Update(id string, change func(*Event)) (Event, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.live(id)
	if !ok {
		return Event{}, false
	}
	change(&e)
	e.ID = id
	return c.store(e, "event.updated"), true
}

// Delete removes an event. It answers false when there is no such event.
func (c *CRM) Delete(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remove(id)
}

func (c *CRM) remove(id string) bool {
	if _, ok := c.live(id); !ok {
		return false
	}
	c.store(Event{ID: id, Deleted: true}, "event.deleted")
	return true
}

func (c *CRM) live(id string) (Event, bool) {
	e, ok := c.events[id]
	return e, ok && !e.Deleted
}

// Get returns an event that is not deleted.
func (c *CRM) Get(id string) (Event, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live(id)
}

// Events returns all events that are not deleted, in the order of their ids.
func (c *CRM) Events() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sorted(func(e Event) bool { return !e.Deleted })
}

// Calls returns how many requests the API has had.
func (c *CRM) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// ForgetTokens expires every change token given out so far.
func (c *CRM) ForgetTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	c.oldest = c.seq
}

func (c *CRM) sorted(keep func(Event) bool) []Event {
	var out []Event
	for _, id := range slices.Sorted(maps.Keys(c.events)) {
		if e := c.events[id]; keep(e) {
			out = append(out, e)
		}
	}
	return out
}
