// Package schedulersim is one scheduler with three faces, those of Calendly, Acuity Scheduling and Cal.com, for tests of
// the providers.
//
//	sim := schedulersim.New(schedulersim.Calendly, time.Now)
//	server := httptest.NewServer(sim.Handler()) // the API is at the root
//	id := sim.Book(schedulersim.Appointment{Title: "Consultation", Start: start, End: end})
//	sim.Cancel(id)
//	sim.SetFaults(schedulersim.Faults{Status: 503})
//
// # Documented behaviour
//
// Calendly (developer.calendly.com): resources named by addresses; GET /users/me, GET /scheduled_events with user, status,
// sort, min_start_time, max_start_time, count up to 100 and page_token, GET /scheduled_events/{uuid}; webhook
// subscriptions with scope, state and signing key, listed by organization, user and scope; the signature header t=,v1= over
// "t.body"; a subscription that fails for a day is disabled; a reschedule is a cancelled event and a new one.
//
// Acuity (developers.acuityscheduling.com): Basic authentication, GET /me, GET /appointments with max, minDate, maxDate,
// direction, canceled, showall, excludeForms, GET /appointments/{id}, webhooks by POST, GET and DELETE /webhooks, at most
// 25, form-encoded messages with action, id, calendarID and appointmentTypeID, signed with the API key; "changed" is posted
// with every other event.
//
// Cal.com (cal.com/docs, API v2): GET /me, /bookings with take, skip, sortStart, afterStart, beforeEnd and the pagination
// object, /bookings/{uid}; /webhooks with take up to 250 and skip, and with active, subscriberUrl, triggers and secret; X-Cal-Signature-256 over the body.
//
// # Assumed
//
// Calendly answers 400 for a page token that it does not know, and 409 for a second subscription of one address, as
// Cal.com does; Acuity makes a second webhook, which posts as well. Calendly's pages of subscriptions hold three. Acuity lists
// in order of time for direction ASC, takes max up to 500, and its dates are days in UTC here. Cal.com's totalItems counts
// what fits the query, and its bookings need the header cal-api-version. A cancelled appointment stays readable by its
// id. Retry-After in whole seconds on 429 and 503. Nothing is known of how Acuity repeats messages.
//
// A Sim is safe for concurrent use. It keeps everything in memory, and posts only when Tell is called.
package schedulersim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Face is the scheduler that is shown.
type Face string

// The faces.
const (
	Calendly Face = "calendly"
	Acuity   Face = "acuity"
	CalCom   Face = "calcom"
)

// Credentials that the sim takes, and the account they belong to.
const (
	Token   = "pat-3f1c9a77d2"    // of Calendly
	UserID  = "100451"            // of Acuity
	APIKey  = "cal_live_5be0a1f3" // of Acuity and Cal.com
	Account = "1042"
)

// Appointment is an entry.
type Appointment struct {
	ID         string
	Title      string
	Start, End time.Time
	Tentative  bool // Cal.com: waits for a confirmation
	Cancelled  bool
	Updated    time.Time
	Client     string
}

// Faults are the ways in which the sim fails now. The zero value is a healthy one.
type Faults struct {
	// Status answers every request with it, with RetryAfter in whole seconds when positive.
	Status     int
	RetryAfter time.Duration
	// Hang answers nothing until Heal, or until the client goes away.
	Hang bool
	// CutBody breaks the connection in the middle of the body; HTML sends a page; Nothing sends no byte.
	CutBody, HTML, Nothing bool
	// Short leaves the last appointment out of every page without saying so.
	Short bool
	// RepeatPage answers, once, a page other than the first with what the one before held; SkipPage leaves one out.
	RepeatPage, SkipPage bool
	// ForgetPages makes every page token given out so far unknown.
	ForgetPages bool
	// LoseAnswer carries the next write out and then breaks the connection.
	LoseAnswer bool
	// NoHooks refuses webhooks, as a free plan does.
	NoHooks bool
}

// Hook is a webhook.
type Hook struct {
	ID, URL, Secret string
	Disabled        bool
	Events          []string
}

// Sim is a scheduler. Make it by New.
type Sim struct {
	face Face
	now  func() time.Time

	mu       sync.Mutex
	entries  map[string]*Appointment
	hooks    []*Hook
	next     int
	pages    map[string]int // Calendly's page tokens
	faults   Faults
	hang     chan struct{}
	requests []string
	first    string   // of Acuity's lists: the date that the first page was asked for by
	last     []object // and what was answered last
}

// New makes an empty scheduler.
func New(face Face, now func() time.Time) *Sim {
	return &Sim{face: face, now: now, entries: map[string]*Appointment{}, pages: map[string]int{}}
}

// Book adds an appointment and returns its id.
func (s *Sim) Book(a Appointment) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	a.ID = strconv.Itoa(700_000 + s.next)
	if s.face != Acuity {
		a.ID = fmt.Sprintf("AAAA%08d", s.next)
	}
	a.Updated = s.tick()
	s.entries[a.ID] = &a
	return a.ID
}

// tick is a time that no other change has.
func (s *Sim) tick() time.Time {
	at := s.now().UTC()
	for _, e := range s.entries {
		if !at.After(e.Updated) {
			at = e.Updated.Add(time.Millisecond)
		}
	}
	return at
}

// Change edits an appointment.
func (s *Sim) Change(id string, edit func(*Appointment)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(s.entries[id])
	s.entries[id].Updated = s.tick()
}

// Cancel cancels an appointment.
func (s *Sim) Cancel(id string) { s.Change(id, func(a *Appointment) { a.Cancelled = true }) }

// Reschedule moves an appointment as the scheduler does, and returns the id that it has then.
func (s *Sim) Reschedule(id string, start, end time.Time) string {
	if s.face == Acuity {
		s.Change(id, func(a *Appointment) { a.Start, a.End = start, end })
		return id
	}
	s.mu.Lock()
	old := *s.entries[id]
	s.mu.Unlock()
	s.Cancel(id)
	old.Start, old.End = start, end
	return s.Book(old)
}

// Count is how many appointments stand.
func (s *Sim) Count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if !e.Cancelled {
			n++
		}
	}
	return n
}

// SetFaults replaces the faults. Requests held by an earlier Hang go on.
func (s *Sim) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hang != nil {
		close(s.hang)
		s.hang = nil
	}
	if s.faults = f; f.Hang {
		s.hang = make(chan struct{})
	}
	if f.ForgetPages {
		clear(s.pages)
	}
}

// Heal ends all faults.
func (s *Sim) Heal() { s.SetFaults(Faults{}) }

// Requests are the methods and paths asked for so far.
func (s *Sim) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Hooks are the webhooks that stand.
func (s *Sim) Hooks() []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Hook, 0, len(s.hooks))
	for _, h := range s.hooks {
		out = append(out, *h)
	}
	return out
}

// Disable disables a webhook, as the scheduler does after a day of failures. Acuity forgets it.
func (s *Sim) Disable(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.face == Acuity {
		s.hooks = slices.DeleteFunc(s.hooks, func(h *Hook) bool { return h.ID == id })
		return
	}
	for _, h := range s.hooks {
		if h.ID == id {
			h.Disabled = true
		}
	}
}

// Message makes the message that a webhook posts about an appointment.
func (s *Sim) Message(h Hook, id string) (address string, header http.Header, body []byte) {
	s.mu.Lock()
	a := *s.entries[id]
	s.mu.Unlock()
	header = http.Header{"Content-Type": {"application/json"}}
	mac := func(key, text string) []byte {
		m := hmac.New(sha256.New, []byte(key))
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	switch s.face {
	case Calendly:
		event := "invitee.created"
		if a.Cancelled {
			event = "invitee.canceled"
		}
		body = fmt.Appendf(nil, `{"event":%q,"created_at":%q,"payload":{"uri":%q,"status":%q}}`, event, a.Updated.Format(time.RFC3339), "https://api.calendly.com/scheduled_events/"+id+"/invitees/1", "active")
		at := strconv.FormatInt(s.now().Unix(), 10)
		header.Set("Calendly-Webhook-Signature", "t="+at+",v1="+hex.EncodeToString(mac(h.Secret, at+"."+string(body))))
	case Acuity:
		body = []byte(url.Values{"action": {"changed"}, "id": {id}, "calendarID": {"1"}, "appointmentTypeID": {"2"}}.Encode())
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		header.Set("X-Acuity-Signature", base64.StdEncoding.EncodeToString(mac(APIKey, string(body))))
	case CalCom:
		trigger := "BOOKING_CREATED"
		if a.Cancelled {
			trigger = "BOOKING_CANCELLED"
		}
		body = fmt.Appendf(nil, `{"triggerEvent":%q,"createdAt":%q,"payload":{"uid":%q}}`, trigger, a.Updated.Format(time.RFC3339), id)
		header.Set("X-Cal-Signature-256", hex.EncodeToString(mac(h.Secret, string(body))))
	}
	return h.URL, header, body
}

// Tell posts a message about an appointment to every webhook that works, and returns the statuses that came back.
func (s *Sim) Tell(ctx context.Context, id string) (statuses []int, err error) {
	for _, h := range s.Hooks() {
		if h.Disabled {
			continue
		}
		address, header, body := s.Message(h, id)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
		if err != nil {
			return statuses, err
		}
		req.Header = header
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return statuses, err
		}
		_ = res.Body.Close() // only the status is of interest
		statuses = append(statuses, res.StatusCode)
	}
	return statuses, nil
}

// standing returns the appointments that a test of the query lets pass, in order of start.
func (s *Sim) standing(fits func(*Appointment) bool) []*Appointment {
	var out []*Appointment
	for _, e := range s.entries {
		if fits(e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *Appointment) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}
