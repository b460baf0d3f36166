package failover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/sim/crmsim"
	"github.com/wedsync/wedsync/internal/sim/schedulersim"
)

// What changes do, in parts of all.
const (
	moves   = 0.25
	removes = 0.04
	most    = 4 // states of one entry
)

// length is of every entry; each has two hours for itself, so that none clashes whatever it is moved to.
const (
	length  = 20 * time.Minute
	stretch = 2 * time.Hour
)

// state is what an entry became at a time.
type state struct {
	at    time.Time // when it was so
	begin time.Time
	gone  bool
}

// entry is one appointment in a simulator, with everything that ever became of it.
type entry struct {
	name   string
	slot   time.Time
	states []state
}

// system is a simulator with its log, and the connection to it.
type system struct {
	name        string
	integration domain.IntegrationID
	org         domain.OrgID
	secret      string
	hook        string // address of the connection, for systems that post what changed
	crm         *crmsim.CRM
	plan        *schedulersim.Sim
	server      *httptest.Server
	client      *http.Client

	mu      sync.Mutex
	entries []*entry
	muted   bool // nothing is posted
	keep    bool // it is posted later
	kept    []crmsim.Message
	told    []string // appointments of which is told later
}

// first is when entries begin: schedulers list what is ahead.
func first(now time.Time) time.Time { return now.UTC().Truncate(24 * time.Hour).Add(48 * time.Hour) }

func event(begin time.Time, title string) crmsim.Event {
	return crmsim.Event{Kind: "meeting", State: "booked", Starts: begin.Format(time.RFC3339), Ends: begin.Add(length).Format(time.RFC3339), Title: title}
}

// step makes one change and posts it, unless that is switched off.
func (s *system) step(ctx context.Context, draw *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e *entry
	if recent := s.entries[max(0, len(s.entries)-40):]; len(recent) > 0 {
		e = recent[draw.IntN(len(recent))]
		if last := e.states[len(e.states)-1]; last.gone || len(e.states) == most {
			e = nil
		}
	}
	switch dice := draw.Float64(); {
	case e != nil && dice < removes:
		s.remove(e)
	case e != nil && dice < removes+moves && s.crm != nil:
		begin := e.slot.Add(time.Duration(len(e.states)) * 15 * time.Minute)
		s.crm.Update(e.name, func(ev *crmsim.Event) { *ev = event(begin, ev.Title) })
		e.states = append(e.states, state{at: time.Now(), begin: begin})
	default:
		e = s.add()
	}
	s.post(ctx, e.name)
}

func (s *system) add() *entry {
	e := &entry{slot: first(time.Now()).Add(time.Duration(len(s.entries)) * stretch)}
	title := fmt.Sprintf("%s %d", s.name, len(s.entries)+1)
	if s.crm != nil {
		e.name = s.crm.Create(event(e.slot, title)).ID
	} else {
		e.name = s.plan.Book(schedulersim.Appointment{Title: title, Start: e.slot, End: e.slot.Add(length), Client: "somebody"})
	}
	e.states = append(e.states, state{at: time.Now(), begin: e.slot})
	s.entries = append(s.entries, e)
	return e
}

func (s *system) remove(e *entry) {
	if s.crm != nil {
		s.crm.Delete(e.name)
	} else {
		s.plan.Cancel(e.name)
	}
	e.states = append(e.states, state{at: time.Now(), begin: e.states[len(e.states)-1].begin, gone: true})
}

// post tells of what changed. Whether it is taken is not of interest: what is not taken must arrive by polls.
func (s *system) post(ctx context.Context, name string) {
	switch {
	case s.muted && s.crm != nil:
		if m := s.crm.TakeMessages(); s.keep {
			s.kept = append(s.kept, m...)
		}
	case s.muted:
		if s.keep {
			s.told = append(s.told, name)
		}
	case s.crm != nil:
		_, _ = s.crm.DeliverPending(ctx, s.client, s.hook)
	default:
		_, _ = s.plan.Tell(ctx, name)
	}
}

// mute switches posting off. keep has it made up for by unmute.
func (s *system) mute(keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted, s.keep = true, keep
}

// unmute switches posting on, and posts what was kept in an order drawn by chance.
func (s *system) unmute(ctx context.Context, draw *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted, s.keep = false, false
	draw.Shuffle(len(s.kept), func(i, j int) { s.kept[i], s.kept[j] = s.kept[j], s.kept[i] })
	for _, m := range s.kept {
		_, _ = s.crm.Deliver(ctx, s.client, s.hook, m)
	}
	for _, name := range s.told {
		_, _ = s.plan.Tell(ctx, name)
	}
	s.kept, s.told = nil, nil
}

// down answers every call with a server error, and up ends that and refusals.
func (s *system) down() {
	if s.crm != nil {
		s.crm.Break(crmsim.FaultCrash, -1)
		return
	}
	s.plan.SetFaults(schedulersim.Faults{Status: http.StatusBadGateway})
}

func (s *system) revoke() {
	if s.crm != nil {
		s.crm.Break(crmsim.FaultUnauthorized, -1)
		return
	}
	s.plan.SetFaults(schedulersim.Faults{Status: http.StatusUnauthorized})
}

func (s *system) up() {
	if s.crm != nil {
		s.crm.Heal()
		return
	}
	s.plan.Heal()
}

// book is a copy of the log.
func (s *system) book() book {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := book{integration: s.integration}
	for _, e := range s.entries {
		b.entries = append(b.entries, entry{name: e.name, states: append([]state(nil), e.states...)})
	}
	return b
}
