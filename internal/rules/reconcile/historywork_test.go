package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/privacy"
)

// What follows does in the modelled world what the activities do: PullPage, ConfirmRemovals, ApplyDeliveries, PushBookings.

// read asks for a page. It is applied later.
func (p *play) read(s *system, whole bool) {
	if s.absent != nil {
		return // the run is not over
	}
	s.page = s.read(p.tape, whole, p.now)
	p.note("%s is read from %d to %d, full %v: %d changes", s.Name, s.cursor, s.page.next, s.page.full, len(s.page.changes))
}

// applyPage applies what was read.
func (p *play) applyPage(s *system) bool {
	pg := s.page
	if pg == nil {
		return false
	}
	s.page = nil
	items := make([]Item, len(pg.changes))
	for i := range pg.changes {
		items[i].Change = &pg.changes[i]
	}
	plan := p.decide(s, pg.at, items...)
	p.note("%s: page applied, reread %v: %s", s.Name, plan.Reread, p.effects(plan, pg.changes))
	if plan.Reread || p.doubts(s, pg, plan) {
		return true
	}
	s.pages++
	if !pg.full {
		s.cursor = max(s.cursor, pg.next)
		return !plan.Empty()
	}
	s.cursor, s.lost, s.absent = pg.next, false, &absence{seen: pg.seen}
	return true
}

// doubts asks for the entries of a page that are in doubt, and reports whether the page must be read again.
func (p *play) doubts(s *system, pg *page, plan Plan) bool {
	var items []Item
	for i, o := range plan.Outcomes {
		if o.Doubt {
			there := s.asked(pg.changes[i].ExternalID)
			items = append(items, Item{Change: &there})
			p.note("%s: %s is in doubt and asked for: @%s %d", s.Name, there.ExternalID, there.Revision, there.RemoteVersion)
		}
	}
	if len(items) == 0 {
		return false
	}
	again := p.decide(s, pg.at, items...)
	return again.Reread || slices.ContainsFunc(again.Outcomes, func(o Outcome) bool { return o.Doubt })
}

func (p *play) effects(plan Plan, changes []domain.Change) string {
	if !p.loud {
		return ""
	}
	var out []string
	for i, o := range plan.Outcomes {
		c := changes[i]
		text := c.ExternalID + "@" + c.Revision + " " + string(c.Op)
		if c.Op == domain.OpUpsert {
			text += " " + minutes(c.When)
		}
		out = append(out, fmt.Sprintf("%s: %s %s (%s)", text, o.Effect, short(o.BookingID), o.Reason))
	}
	return strings.Join(out, "; ")
}

// confirm asks for every known entry that a full listing did not have, as ConfirmRemovals does.
func (p *play) confirm(s *system, faults bool) bool {
	a := s.absent
	if a == nil {
		return false
	}
	for _, l := range p.linksIn(s) {
		if l.RemovedAt != nil || a.seen[l.ExternalID] {
			continue
		}
		if faults && p.chance(6) {
			p.note("%s: looking for what was not listed breaks off", s.Name)
			return true
		}
		for try := 0; ; try++ {
			if try > 20 {
				p.failf("an entry cannot be asked for", "%s", l.ExternalID)
			}
			asked, there := p.now, s.asked(l.ExternalID)
			p.note("%s: %s was not listed and is asked for", s.Name, l.ExternalID)
			if faults {
				p.meanwhile()
			}
			plan := p.decide(s, asked, Item{Change: &there})
			p.note("%s: %s", s.Name, p.effects(plan, []domain.Change{there}))
			if !plan.Reread {
				break
			}
		}
	}
	s.absent = nil
	return true
}

// deliver applies one of the messages that are on their way: any of them, and perhaps not for the last time.
func (p *play) deliver(s *system, faults bool) bool {
	if len(s.posts) == 0 {
		return false
	}
	at := p.n(len(s.posts))
	c := s.posts[at]
	if faults && p.chance(6) {
		p.note("%s: the message about %s is dropped", s.Name, c.ExternalID)
		s.posts = slices.Delete(s.posts, at, at+1)
		return true
	}
	if !faults || !p.chance(3) {
		s.posts = slices.Delete(s.posts, at, at+1)
	}
	plan := p.decide(s, time.Time{}, Item{Change: &c})
	p.note("%s: message %s", s.Name, p.effects(plan, []domain.Change{c}))
	return true
}

func (p *play) linksIn(s *system) []domain.Link {
	return p.linksWhere(func(l domain.Link) bool { return l.IntegrationID == s.ID })
}

func (p *play) linksOf(id domain.BookingID) []domain.Link {
	return p.linksWhere(func(l domain.Link) bool { return l.BookingID == id })
}

func (p *play) linksWhere(fits func(domain.Link) bool) []domain.Link {
	var out []domain.Link
	for _, l := range p.links {
		if fits(l) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b domain.Link) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

// meanwhile lets other things happen while somebody waits for an answer.
func (p *play) meanwhile() {
	if p.depth > 2 || !p.chance(3) {
		return
	}
	p.depth++
	for range 1 + p.n(5) {
		p.step()
	}
	p.depth--
}

// push carries the waiting wishes of a system out.
func (p *play) push(s *system, faults bool) (did bool) {
	if s.busy {
		return false
	}
	s.busy = true
	defer func() { s.busy = false }()
	var keys []string
	for k, w := range p.pushes {
		if w.IntegrationID == s.ID && w.State == domain.PushPending {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(string(p.pushes[a].ID), string(p.pushes[b].ID)) })
	for _, k := range keys {
		did = true
		w := p.pushes[k]
		err := p.carry(s, w, faults)
		switch now := p.pushes[k]; {
		case err == errDied:
		case now.WantVersion != w.WantVersion || !now.UpdatedAt.Equal(w.UpdatedAt):
		case err != nil:
			now.Attempts++
			p.pushes[k] = now
		default:
			now.State = domain.PushDone
			p.pushes[k] = now
		}
	}
	return did
}

var (
	errDied = domain.E(domain.KindUnavailable, "the writer died")
	errLost = domain.E(domain.KindUnavailable, "the answer was lost")
)

// carry is one push, as the activity does it.
func (p *play) carry(s *system, w domain.Push, faults bool) error {
	b, pages := p.bookings[w.BookingID], s.pages
	standing := StandingOf(p.linksOf(b.ID), s.ID)
	work := WorkOf(b, s.Integration, w.Op, standing)
	if work.Put && work.Live != nil {
		noted := Writing(*work.Live, b, p.now)
		work.Live = &noted
		p.links[noted.ID] = noted
	}
	if faults {
		p.meanwhile()
	}
	for _, l := range work.Remove {
		if err := s.remove(l.ExternalID, l.Revision, p.now); err != nil {
			p.note("%s: removing %s is refused", s.Name, l.ExternalID)
			return p.learn(s, w, l.ExternalID, err)
		}
		if faults && p.chance(6) {
			p.note("%s: the answer about removing %s is lost", s.Name, l.ExternalID)
			return errLost
		}
		if faults {
			p.meanwhile()
		}
		p.note("%s: removed %s", s.Name, l.ExternalID)
		p.links[l.ID] = Removed(p.linksOf(b.ID), l, p.now)
	}
	if !work.Put {
		return nil
	}
	write := write{key: fmt.Sprint(w.ID, standing.Removed), title: privacy.Copy(b, s.Sync).Title, when: b.When, origin: b.ID, source: work.Source,
		cancel: b.Status == domain.StatusCancelled}
	if work.Source {
		write.title = b.Details.Title
	}
	if work.Live != nil {
		write.id, write.revision = work.Live.ExternalID, work.Live.Revision
	}
	asked := p.now
	back, adopted, err := s.put(write, p.now)
	if e := s.byID[write.id]; err != nil && !s.Direction.Imports() && e != nil && !e.gone {
		write.revision = s.see(e).Revision
		back, adopted, err = s.put(write, p.now)
	}
	if err != nil {
		p.note("%s: writing %s at %s over %s@%s is refused", s.Name, short(b.ID), minutes(b.When), write.id, write.revision)
		return p.learn(s, w, write.id, err)
	}
	if faults && p.chance(5) {
		p.note("%s: the answer about writing %s at %s as %s@%s is lost", s.Name, short(b.ID), minutes(b.When), back.ExternalID, back.Revision)
		return errLost
	}
	if faults {
		p.meanwhile()
	}
	if adopted {
		plan := p.decide(s, asked, Item{Change: &back})
		p.note("%s: the copy of an earlier try shows something else: %s", s.Name, p.effects(plan, []domain.Change{back}))
		p.unsure[s.byID[back.ExternalID]] = b.Version > 1
		return errChanged
	}
	p.note("%s: wrote %s as %s@%s at %s", s.Name, short(b.ID), back.ExternalID, back.Revision, minutes(back.When))
	for _, l := range Wrote(work.Live, p.linksOf(b.ID), b, s.ID, back, back.UID, p.now) {
		if _, known := p.links[l.ID]; !known {
			l.ID = domain.NewIDFrom[domain.LinkID](p.now, p.fill)
		}
		p.links[l.ID] = l
	}
	if work.Live == nil && s.pages != pages {
		p.ask(s, back.ExternalID)
	}
	if faults && p.chance(8) {
		p.note("%s: the writer dies before it has finished", s.Name)
		return errDied
	}
	return nil
}

// learn asks for an entry that refused a write twice, as the activity does.
func (p *play) learn(s *system, w domain.Push, id string, refused error) error {
	if s.byID[id] != nil && w.Attempts > 0 {
		p.ask(s, id)
	}
	return refused
}

func (p *play) ask(s *system, id string) {
	there := s.asked(id)
	plan := p.decide(s, p.now, Item{Change: &there})
	p.note("%s: %s is asked for: %s", s.Name, id, p.effects(plan, []domain.Change{there}))
}
