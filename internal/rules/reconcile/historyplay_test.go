package reconcile

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// who moves events in a history. In the histories in which only one side does, nothing can be in dispute, and the last
// move must stand.
const (
	everyone = iota
	onlyHere
	onlyThere
)

// play is one history.
type play struct {
	*tape
	*tables
	loud    bool
	log     []string
	now     time.Time
	systems []*system
	policy  domain.EditPolicy
	movers  int
	there   *system // whose users move events, with onlyThere
	depth   int     // of things that happen while a writer waits for its answer

	events  []string                        // names of all that were made
	made    map[string]int                  // how many of that name there should be
	deleted map[string]bool                 // somebody deleted or cancelled one of that name
	times   map[string]map[string]bool      // every time that somebody gave to one of that name
	last    map[domain.BookingID]string     // the time that a person in WedSync gave it last
	moved   map[*entry]string               // the time that a user gave it last
	unsure  map[*entry]bool                 // whose last move cannot be told from a write of ours
	hours   int                             // of the calendar that were used up: no two moves are near each other
	asked   map[domain.EditConflictID]*edit // questions, as stored
	edits   []domain.EditConflictID
}

type edit struct {
	domain.EditConflict
	from *system
}

func newPlay(seed uint64, t *tape, loud bool) *play {
	p := &play{tape: t, tables: newTables(1), loud: loud, now: now, made: map[string]int{}, deleted: map[string]bool{}, times: map[string]map[string]bool{},
		last: map[domain.BookingID]string{}, moved: map[*entry]string{}, unsure: map[*entry]bool{}, asked: map[domain.EditConflictID]*edit{}}
	p.policy = []domain.EditPolicy{domain.EditNewestWins, domain.EditSourceWins, domain.EditKeepBoth, domain.EditManual}[p.n(4)]
	p.movers = []int{everyone, everyone, onlyHere, onlyThere}[p.n(4)]
	for i := range 2 + p.n(2) {
		s := &system{byID: map[string]*entry{}, Integration: domain.Integration{ID: domain.NewIDFrom[domain.IntegrationID](now, p.fill),
			Name: string(rune('a' + i)), Direction: domain.DirectionBidirectional, ResourceID: persons[0], Sync: domain.SyncPolicy{EditConflicts: p.policy}}}
		if i > 0 && p.chance(5) {
			s.Direction = domain.DirectionExport
		}
		s.reshapes, s.clocked, s.ordered, s.lenient, s.revives, s.strikes = p.chance(2), p.chance(2), p.chance(3), p.chance(2), p.chance(2), p.chance(2)
		s.timed, s.ticks = !s.ordered && p.chance(2), 1000
		p.systems = append(p.systems, s)
	}
	p.there = p.systems[0]
	p.note("history %d: policy %s, movers %d", seed, p.policy, p.movers)
	for _, s := range p.systems {
		p.note("system %s %s: reshapes %v, clocked %v, ordered %v, timed %v, lenient %v, revives %v, strikes %v", s.Name, s.Direction, s.reshapes, s.clocked, s.ordered, s.timed, s.lenient, s.revives, s.strikes)
	}
	return p
}

func (p *play) run() {
	for steps := 0; steps < 60 && p.n(24) > 0; steps++ {
		p.step()
	}
	p.settle()
	p.agree()
	p.repeat()
	p.lone()
}

// step is one thing that happens.
func (p *play) step() {
	s := p.systems[p.n(len(p.systems))]
	switch p.n(16) {
	case 0:
	case 1, 2:
		p.user(s)
	case 3:
		p.person()
	case 4, 5, 6:
		p.read(s, false)
	case 7, 8, 9:
		p.applyPage(s)
	case 10:
		p.deliver(s, true)
	case 11:
		p.oddity(s)
	default:
		p.push(s, true)
	}
}

// oddity is what happens more rarely.
func (p *play) oddity(s *system) {
	switch p.n(7) {
	case 0:
		p.now = p.now.Add(2 * settled)
	case 6:
		p.note("the clock of %s steps back", s.Name)
		s.ticks -= int64(1 + p.n(6))
	case 1:
		p.note("%s forgets where it was read to", s.Name)
		s.lost = true
	case 2:
		if s.page != nil {
			p.note("%s: the reader dies before it has applied its page", s.Name)
			s.page = nil
		}
	case 3:
		p.confirm(s, true)
	case 4:
		p.duplicate(s)
	case 5:
		p.answer()
	}
}

// decide plans and stores, as package apply does.
func (p *play) decide(from *system, readAt time.Time, items ...Item) Plan {
	p.now = p.now.Add(time.Millisecond) // no two transactions are of one moment
	var i domain.Integration
	if from != nil {
		i = from.Integration
	}
	in := p.input(i, items...)
	in.Now, in.ReadAt, in.Exports, in.Random = p.now, readAt, nil, p.fill
	for _, s := range p.systems {
		in.Exports = append(in.Exports, s.Integration)
	}
	plan := Decide(in)
	if plan.Reread {
		return plan
	}
	p.store(plan)
	for _, e := range plan.Edits {
		had := p.asked[e.ID]
		switch {
		case e.There.Op != "":
			if had == nil {
				p.edits = append(p.edits, e.ID)
				if p.movers != everyone && !p.deleted[p.nameOf(e.BookingID)] {
					p.failf("a dispute where only one side moves events", "%s is asked about", p.nameOf(e.BookingID))
				}
			}
			p.asked[e.ID] = &edit{e, from}
		case had != nil && had.State == domain.EditOpen:
			had.State = e.State
		}
	}
	return plan
}

func (p *play) nameOf(id domain.BookingID) string { return named(p.bookings[id].Details.Title) }

func named(title string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(title), " ")
	return name
}

// eventOf names the event that an entry is about.
func (p *play) eventOf(e *entry) string {
	if e.event != "" {
		return e.event
	}
	return p.nameOf(e.origin)
}

// anyWhen is a time that is at least half an hour from every other that was given before, so that likeness is never by
// chance.
func (p *play) anyWhen() domain.When {
	p.hours += 5
	start := now.Add(time.Duration(24+p.hours)*time.Hour + time.Duration(p.n(60))*time.Second)
	return domain.When{Span: domain.Span{Start: start, End: start.Add(time.Duration(1+p.n(4)) * time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}
}

// gave notes a time that somebody gave to an event.
func (p *play) gave(name string, w domain.When) string {
	if p.times[name] == nil {
		p.times[name] = map[string]bool{}
	}
	at := minutes(w)
	p.times[name][at] = true
	return at
}

func (p *play) newEvent() string {
	name := "event" + string(rune('a'+len(p.events)%26)) + strings.Repeat("x", len(p.events)/26)
	p.events = append(p.events, name)
	p.made[name] = 1
	return name
}

// pick is an entry that is there, somebody's own or a copy of ours.
func (p *play) pick(s *system) *entry {
	var all []*entry
	for _, e := range s.entries {
		if !e.gone && !e.cancelled {
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[p.n(len(all))]
}

// user is somebody who works in a system.
func (p *play) user(s *system) {
	e := p.pick(s)
	switch what := p.n(9); {
	case e == nil || what < 3:
		if !s.Direction.Imports() {
			return
		}
		name := p.newEvent()
		id := s.Name + strconv.Itoa(len(s.entries))
		e = s.add(&entry{id: id, uid: "uid-" + id, title: " " + name + " ", when: p.anyWhen(), event: name})
		p.gave(name, e.when)
		p.note("user makes %s (%s) in %s at %s", id, name, s.Name, minutes(e.when))
	case what == 3:
		p.note("user deletes %s (%s) in %s", e.id, p.eventOf(e), s.Name)
		p.deleted[p.eventOf(e)] = true
		delete(p.moved, e) // what is given back after this is at the time of its booking
		e.gone = true
	case what == 4:
		if e.event == "" {
			return
		}
		e.title = " " + e.event + " renamed " + strconv.Itoa(p.n(90)) + " "
		p.note("user renames %s in %s to %s", e.id, s.Name, e.title)
	case p.movers == onlyHere || p.movers == onlyThere && s != p.there:
		return
	default:
		e.when = p.anyWhen()
		p.moved[e] = p.gave(p.eventOf(e), e.when)
		p.note("user moves %s (%s) in %s to %s", e.id, p.eventOf(e), s.Name, p.moved[e])
	}
	s.touch(e, p.now)
}

// duplicate is a user who makes a second entry of one that is there, where it is or at another time.
func (p *play) duplicate(s *system) {
	e := p.pick(s)
	if e == nil || !s.Direction.Imports() || strings.HasPrefix(e.id, "dup") {
		return
	}
	name := p.eventOf(e)
	d := &entry{id: "dup" + s.Name + strconv.Itoa(len(s.entries)), title: e.title, when: e.when, event: name, copyOf: e.origin}
	d.uid = "uid-" + d.id
	if p.chance(2) || p.made[name] > 1 || s.ordered {
		// Not where the message about it may overtake the one about its original: then it counts as the same event.
		d.when = p.anyWhen()
	}
	p.made[name]++
	p.gave(name, d.when)
	s.add(d)
	p.note("user duplicates %s (%s) in %s as %s at %s", e.id, name, s.Name, d.id, minutes(d.when))
	s.touch(d, p.now)
}

// person changes a booking in WedSync itself.
func (p *play) person() {
	var ids []domain.BookingID
	for id, b := range p.bookings {
		if b.Status != domain.StatusCancelled {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	what := p.n(8)
	if len(ids) == 0 || what == 6 {
		name := p.newEvent()
		b := domain.Booking{ID: domain.NewIDFrom[domain.BookingID](p.now, p.fill), ResourceID: persons[0], Category: domain.CategoryConsultation,
			Status: domain.StatusConfirmed, When: p.anyWhen(), Details: domain.Details{Title: name}}
		p.note("person makes %s (%s) at %s", short(b.ID), name, minutes(b.When))
		p.gave(name, b.When)
		p.decide(nil, time.Time{}, Item{Manual: &b})
		return
	}
	b := p.bookings[ids[p.n(len(ids))]]
	name := p.nameOf(b.ID)
	switch {
	case what == 7:
		b.Status = domain.StatusCancelled
		p.deleted[name] = true
		p.note("person cancels %s (%s)", short(b.ID), name)
	case p.movers == onlyThere:
		return
	default:
		b.When = p.anyWhen()
		p.last[b.ID] = p.gave(name, b.When)
		p.note("person moves %s (%s) to %s", short(b.ID), name, p.last[b.ID])
	}
	p.decide(nil, time.Time{}, Item{Manual: &b})
}

// answer is a person who answers a question about edits on both sides.
func (p *play) answer() bool {
	var open []*edit
	for _, id := range p.edits {
		if e := p.asked[id]; e.State == domain.EditOpen {
			open = append(open, e)
		}
	}
	if len(open) == 0 {
		return false
	}
	e := open[p.n(len(open))]
	choice := []domain.EditChoice{domain.ChooseSource, domain.ChooseCopy, domain.ChooseBoth}[p.n(3)]
	if e.Kind == domain.EditRemoved && choice != domain.ChooseBoth {
		p.deleted[p.nameOf(e.BookingID)] = true
	}
	p.note("person settles what became of %s (%s): %s", e.ExternalID, e.Kind, choice)
	e.State = domain.EditResolved
	plan := p.decide(e.from, time.Time{}, Item{Settle: &Settle{Edit: e.EditConflict, Choice: choice}})
	if plan.Outcomes[0].Effect == EffectRejected {
		p.failf("an open question cannot be answered", "%s", plan.Outcomes[0].Reason)
	}
	return true
}
