package reconcile

import (
	"flag"
	"strings"
	"testing"

	"github.com/wedsync/wedsync/internal/domain"
)

// These tests play histories of two or three systems against Decide, WorkOf, Writing and Wrote.
//
// The world has people who make, move, rename, delete and duplicate entries, their own ones and our copies, and people who
// make, move and cancel bookings in WedSync and answer what they are asked. Systems are bidirectional or only written to.
// Pages are read whole or in part, in any order, with entries twice, and are applied later or never. Systems that count
// changes post each of them; the messages come in any order, twice, or not at all. A system forgets where it was read to, is
// then listed as a whole, and what is missing is asked for. Some number changes by a clock that steps back; what shows an older
// version in a page is asked for. Writes are conditional on the revision. They are refused, or
// succeed and lose their answer; the writer dies between the write and its own commit; anything else may happen in between.
// Systems drop seconds, trim texts, name zones otherwise, tell times of change or not, give a deleted entry back under its
// id or not. All four policies about edits on both sides take part.
//
// When all is quiet, the systems must agree, nothing may be lost or doubled, every time must be one that somebody gave, and
// one more run must write nothing. Where only one side moved events, its last move must stand.
//
// Not in this world: series and their parts, all-day and floating times, filters, private bookings, several resources,
// listings of several pages that change in between, two writers for one system at once, systems that answer from copies of their
// data that are behind, and messages of a system whose clock steps back.

var (
	histories  = flag.Int("histories", 10_000, "random histories to play")
	firstOne   = flag.Uint64("first", 0, "seed of the first random history")
	oneHistory = flag.Int64("history", -1, "the only random history to play, by its seed; it is told in full when it fails")
)

func TestRandomHistoriesConvergeAndNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	if *oneHistory >= 0 {
		if _, bad := playOut(uint64(*oneHistory), seeded(uint64(*oneHistory)), false); bad != nil {
			replay(t, uint64(*oneHistory))
		}
		return
	}
	count := *histories
	if testing.Short() {
		count = min(count, 500)
		t.Logf("%d histories only, because of -short", count)
	}
	for seed := *firstOne; seed < *firstOne+uint64(count); seed++ {
		if _, bad := playOut(seed, seeded(seed), false); bad != nil {
			replay(t, seed)
			return
		}
	}
}

func TestHistoryIsDecidedByItsSeed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		one, bad := playOut(seed, seeded(seed), true)
		two, again := playOut(seed, seeded(seed), true)
		if (bad == nil) != (again == nil) || strings.Join(one.log, "\n") != strings.Join(two.log, "\n") {
			t.Fatalf("history %d went in two ways:\n%s\n\n%s", seed, strings.Join(one.log, "\n"), strings.Join(two.log, "\n"))
		}
	}
}

// settle lets everything be read, written and answered until nothing happens.
func (p *play) settle() {
	for _, s := range p.systems {
		// A message that comes after the one about the entry's end makes a booking of it. The next full listing mends that.
		p.applyPage(s)
		p.confirm(s, false)
		for p.deliver(s, false) {
		}
		s.lost = s.lost || s.ordered
	}
	for round := range 40 {
		did := false
		p.now = p.now.Add(2 * settled)
		for _, s := range p.systems {
			if s.page == nil {
				p.read(s, true)
			}
			did = p.applyPage(s) || did
			did = p.confirm(s, false) || did
			did = s.cursor < len(s.log) || s.lost || did
			did = p.deliver(s, false) || did
			did = p.push(s, false) || did
		}
		if did = p.answer() || did; !did {
			p.note("quiet after %d rounds", round)
			p.check(func(format string, args ...any) { p.failf("the tables are not sound", format, args...) })
			return
		}
	}
	p.failf("not quiet after 40 rounds", "")
}

// repeat is a run over everything once more, which must do nothing.
func (p *play) repeat() {
	before := 0
	for _, s := range p.systems {
		before += s.writes
	}
	for _, s := range p.systems {
		s.lost = true
		p.read(s, true)
		if p.applyPage(s); !p.push(s, false) {
			p.confirm(s, false)
		}
		p.push(s, false)
	}
	for _, s := range p.systems {
		before -= s.writes
	}
	if before != 0 {
		p.failf("a second run wrote", "%d times", -before)
	}
}

// agree checks that every system shows every booking once and at its time, and nothing else.
func (p *play) agree() {
	live := map[domain.BookingID]domain.Booking{}
	for id, b := range p.bookings {
		if b.Blocks() {
			live[id] = b
		}
	}
	for _, s := range p.systems {
		links := map[string]domain.Link{}
		for _, l := range p.linksIn(s) {
			links[l.ExternalID] = l
		}
		shown := map[domain.BookingID]int{}
		for _, e := range s.entries {
			if e.gone || e.cancelled {
				continue
			}
			l, known := links[e.id]
			if !known || l.RemovedAt != nil {
				p.failf("an entry belongs to nothing", "%s of %s, known %v", e.id, s.Name, known)
			}
			b := live[l.BookingID]
			switch {
			case b.ID == "":
				p.failf("an entry shows a booking that is no more", "%s of %s", e.id, s.Name)
			case minutes(e.when) != minutes(b.When):
				p.failf("an entry is not at the time of its booking", "%s of %s is at %s, its booking at %s", e.id, s.Name, minutes(e.when), minutes(b.When))
			case !l.Mirror && b.SourceID == s.ID && strings.TrimSpace(e.title) != strings.TrimSpace(b.Details.Title):
				p.failf("a new name is lost", "%s of %s is %q, its booking %q", e.id, s.Name, e.title, b.Details.Title)
			case l.Mirror && strings.TrimSpace(e.title) != strings.TrimSpace(b.Details.Title):
				p.failf("a copy is not named as its booking", "%s of %s is %q, its booking %q", e.id, s.Name, e.title, b.Details.Title)
			case p.movers == onlyThere && s == p.there && p.moved[e] != "" && p.moved[e] != minutes(e.when) && !p.unsure[e]:
				p.failf("the last move of a user is lost", "%s was moved to %s and is at %s", e.id, p.moved[e], minutes(e.when))
			}
			shown[b.ID]++
		}
		for id := range live {
			if shown[id] != 1 {
				p.failf("a booking is not shown once", "%s shows %s %d times", s.Name, p.nameOf(id), shown[id])
			}
		}
	}
	found, beside := map[string]int{}, map[string]int{}
	for id, b := range live {
		name := p.nameOf(id)
		if beside[name]++; b.BesideID == "" {
			beside[name]--
			found[name]++
		} else if p.movers != everyone && !p.deleted[name] {
			p.failf("both versions are kept where only one side moves events", "%s", name)
		}
		if !p.times[name][minutes(b.When)] {
			p.failf("a booking is at a time that nobody gave it", "%s at %s", name, minutes(b.When))
		}
		if last := p.last[id]; p.movers == onlyHere && last != "" && last != minutes(b.When) {
			p.failf("the last move of a person is lost", "only WedSync moved %s, to %s last, and it is at %s", name, last, minutes(b.When))
		}
	}
	for _, name := range p.events {
		// A duplicate at the very time of a version that was kept beside is the same event.
		if n := found[name]; n > p.made[name] || n+beside[name] < p.made[name] && !p.deleted[name] {
			p.failf("an event is lost or doubled", "%s, of which %d were made, one deleted: %v, is %d bookings", name, p.made[name], p.deleted[name], n)
		}
	}
}

// lone lets one user make one move in a settled world and checks that it is what all see then.
func (p *play) lone() {
	s := p.systems[0]
	e := p.pick(s)
	if e == nil {
		return
	}
	e.when = p.anyWhen()
	p.movers = everyone
	want := p.gave(p.eventOf(e), e.when)
	s.touch(e, p.now)
	p.note("a lone move: %s (%s) in %s to %s", e.id, p.eventOf(e), s.Name, want)
	p.settle()
	if minutes(e.when) != want {
		p.failf("a lone move is lost", "%s", p.eventOf(e))
	}
	p.agree()
}
