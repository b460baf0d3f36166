package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
)

// desk is a person who says what is one event, over the tables of systems that go on reporting.
type desk struct {
	*tables
	choices map[string]domain.LinkChoice
	clock   time.Time
	known   []domain.BookingID // in the order in which they were made
	entries []domain.LinkID
}

func newDesk() *desk {
	return &desk{tables: newTables(1), choices: map[string]domain.LinkChoice{}, clock: now}
}

func (d *desk) decide(from domain.Integration, item Item) Outcome {
	in := d.input(from, item)
	in.Now = d.clock
	in.Choices = slices.Collect(maps.Values(d.choices))
	p := Decide(in)
	d.store(p)
	for _, b := range p.Bookings {
		if !slices.Contains(d.known, b.Booking.ID) {
			d.known = append(d.known, b.Booking.ID)
		}
	}
	for _, l := range p.Links {
		if !slices.Contains(d.entries, l.ID) {
			d.entries = append(d.entries, l.ID)
		}
	}
	return p.Outcomes[0]
}

func (d *desk) report(from domain.Integration, c domain.Change) domain.BookingID {
	return d.decide(from, Item{Change: &c}).BookingID
}

func (d *desk) linksOf(id domain.BookingID) (out []domain.Link) {
	for _, k := range d.entries {
		if d.links[k].BookingID == id {
			out = append(out, d.links[k])
		}
	}
	return out
}

func (d *desk) merged(into domain.BookingID) (out []domain.BookingID) {
	for _, id := range d.known {
		if d.bookings[id].MergedInto == into {
			out = append(out, id)
		}
	}
	return out
}

func (d *desk) note(c domain.LinkChoice) {
	d.clock = d.clock.Add(time.Second)
	c.At = d.clock
	d.choices[PairKey(c.BookingID, c.OtherID)] = c
}

func (d *desk) link(keep, drop domain.BookingID) Outcome {
	entries, was := ChosenEntries(append(d.linksOf(keep), d.linksOf(drop)...)), d.bookings[drop].Status
	o := d.decide(domain.Integration{}, Item{Join: &Join{Keep: keep, Drop: drop, Along: d.merged(drop)}})
	if o.Effect != EffectRejected {
		d.note(domain.LinkChoice{BookingID: drop, OtherID: keep, Decision: domain.DecidedLinked, Was: was, Entries: entries})
	}
	return o
}

func (d *desk) unlink(p Part) Outcome {
	before := d.linksOf(p.From)
	if p.Back != "" {
		by, along := Family(p.Back, d.merged(p.From), slices.Collect(maps.Values(d.choices)))
		p.Was, p.Had, p.Along = by.Was, HadEntries(by, p.Back), along
	}
	o := d.decide(domain.Integration{}, Item{Part: &p})
	if o.Effect == EffectRejected {
		return o
	}
	for i := range before {
		before[i].BookingID = d.links[before[i].ID].BookingID
	}
	d.note(domain.LinkChoice{BookingID: o.BookingID, OtherID: p.From, Decision: domain.DecidedUnlinked, Entries: ChosenEntries(before)})
	return o
}

func told(id, title string, hour int) domain.Change {
	start := now.Add(time.Duration(hour) * time.Hour)
	return domain.Change{Op: domain.OpUpsert, ExternalID: id, Category: domain.CategoryVendor, Status: domain.StatusConfirmed,
		When:    domain.When{Span: domain.Span{Start: start, End: start.Add(time.Hour)}, Zone: "UTC", Kind: domain.TimeZoned},
		Details: domain.Details{Title: title}}
}

func TestALinkedPairIsOneBookingAndAPartedOneTwo(t *testing.T) {
	t.Parallel()
	d := newDesk()
	a := d.report(crm, told("a", "Marker One", 3))
	b := d.report(cal, told("b", "Session", 4))
	if o := d.link(a, b); o.Effect != EffectLinked || o.BookingID != a {
		t.Fatalf("linking: %+v", o)
	}
	if kept, gone := d.bookings[a], d.bookings[b]; gone.Status != domain.StatusCancelled || gone.MergedInto != a || kept.Status != domain.StatusConfirmed || len(d.allocations) != 1 {
		t.Fatalf("kept %+v, gone %+v, %d allocations", kept, gone, len(d.allocations))
	}
	// The calendar goes on with its entry: repeats are nothing, a move moves the one booking, words stay its source's.
	if o := d.decide(cal, Item{Change: ptr(told("b", "Session", 4))}); o.Effect != EffectUnchanged {
		t.Errorf("a repeat: %+v", o)
	}
	if o := d.decide(cal, Item{Change: ptr(told("b", "Session", 6))}); o.Effect != EffectUpdated || o.BookingID != a {
		t.Errorf("a move: %+v", o)
	}
	if got := d.bookings[a]; !got.When.Equal(told("b", "", 6).When) || got.Details.Title != "Marker One" {
		t.Errorf("after the move: %+v", got)
	}
	// The CRM's entry goes; the booking lives on through the calendar's.
	d.report(crm, domain.Change{Op: domain.OpRemove, ExternalID: "a"})
	if got := d.bookings[a]; got.Status != domain.StatusConfirmed {
		t.Errorf("removed in one of two systems: %+v", got)
	}
	// Parted, each goes the way of its own entry.
	if o := d.unlink(Part{From: a, Back: b}); o.Effect != EffectUpdated || o.BookingID != b {
		t.Fatalf("parting: %+v", o)
	}
	if x, y := d.bookings[a], d.bookings[b]; x.Status != domain.StatusCancelled || y.Status != domain.StatusConfirmed || y.MergedInto != "" || !y.When.Equal(told("b", "", 6).When) {
		t.Errorf("after parting: %+v and %+v", x, y)
	}
	// The next reading brings its words back.
	d.report(cal, told("b", "Session renamed", 6))
	if got := d.bookings[b]; got.Details.Title != "Session renamed" {
		t.Errorf("words of the parted booking: %+v", got.Details)
	}
	d.check(t.Fatalf)
}

func ptr[T any](v T) *T { return &v }

func TestWhatTheMachineLinkedAPersonCanPart(t *testing.T) {
	t.Parallel()
	d := newDesk()
	a := d.report(crm, told("a", "Marker One", 3))
	o := d.decide(cal, Item{Change: ptr(told("b", "Marker One", 3))})
	if o.Effect != EffectLinked || o.BookingID != a || o.Reason != "same event as one known from another system, by likeness 100 of 100: same times +60, the same words +35, same category +5" {
		t.Fatalf("linked: %+v", o)
	}
	entry := domain.Link{}
	for _, l := range d.linksOf(a) {
		if l.IntegrationID == cal.ID {
			entry = l
		}
	}
	if entry.How == "" {
		t.Error("the link does not say how it was found")
	}
	parted := d.unlink(Part{From: a, Entries: []domain.LinkID{entry.ID}})
	if parted.Effect != EffectUpdated || parted.BookingID == a || d.bookings[parted.BookingID].SourceID != cal.ID {
		t.Fatalf("parting: %+v", parted)
	}
	if len(d.allocations) != 2 {
		t.Errorf("%d bookings take time", len(d.allocations))
	}
	// The calendar is read anew from the beginning, its entry gets another id, and the connection is made anew: the person's
	// word stands.
	for name, again := range map[string]func() domain.BookingID{
		"a resync": func() domain.BookingID { return d.report(cal, told("b", "Marker One", 3)) },
		"another id": func() domain.BookingID {
			d.report(cal, domain.Change{Op: domain.OpRemove, ExternalID: "b"})
			return d.report(cal, told("b2", "Marker One", 3))
		},
	} {
		if got := again(); got == a {
			t.Errorf("%s links again what a person parted", name)
		}
	}
	// A third system's entry is like both; it is one of them and never a third.
	third := board
	third.Direction, third.ResourceID, third.ID = domain.DirectionBidirectional, persons[0], domain.NewID[domain.IntegrationID](now)
	if o := d.decide(third, Item{Change: ptr(told("t", "Marker One", 3))}); o.Effect != EffectLinked {
		t.Errorf("a third system: %+v", o)
	}
	d.check(t.Fatalf)
}

func TestWhatAPersonLinkedStaysLinkedUnderAnotherID(t *testing.T) {
	t.Parallel()
	d := newDesk()
	a := d.report(crm, told("a", "Marker One", 3))
	c := told("b", "Session", 3)
	c.UID = "uid-b"
	b := d.report(cal, c)
	d.link(a, b)
	d.report(cal, domain.Change{Op: domain.OpRemove, ExternalID: "b"})
	c.ExternalID = "b2"
	if got := d.report(cal, c); got != a {
		t.Errorf("the same entry under another id is booking %s, want %s", got, a)
	}
	// Parted, it may come again and is another event.
	if o := d.unlink(Part{From: a, Back: b}); o.Effect == EffectRejected {
		t.Fatalf("parting: %+v", o)
	}
	for _, l := range d.linksOf(a) {
		if l.IntegrationID == cal.ID && l.RemovedAt == nil {
			if o := d.unlink(Part{From: a, Entries: []domain.LinkID{l.ID}}); o.Effect == EffectRejected {
				t.Fatalf("parting the entry: %+v", o)
			}
		}
	}
	d.report(cal, domain.Change{Op: domain.OpRemove, ExternalID: "b2"})
	c.ExternalID = "b3"
	if got := d.report(cal, c); got == a {
		t.Error("it was linked again")
	}
	d.check(t.Fatalf)
}

func TestLinksThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	d := newDesk()
	a, b := d.report(crm, told("a", "Marker One", 3)), d.report(crm, told("b", "Marker Two", 3))
	c := d.report(cal, told("c", "Marker Three", 3))
	elsewhere := domain.Booking{ID: domain.NewID[domain.BookingID](now), ResourceID: persons[1], Category: domain.CategoryVendor, Status: domain.StatusConfirmed, When: told("", "", 3).When}
	d.decide(domain.Integration{}, Item{Manual: &elsewhere})
	for name, got := range map[string]Outcome{
		"two entries of one system": d.link(a, b), "itself": d.link(a, a), "another resource": d.link(a, elsewhere.ID), "an unknown one": d.link(a, "nobody"),
		"nothing to part": d.unlink(Part{From: a, Back: c}), "its only entry": d.unlink(Part{From: a, Entries: []domain.LinkID{d.linksOf(a)[0].ID}}),
	} {
		if got.Effect != EffectRejected || got.Reason == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	d.link(a, c)
	gone := d.bookings[c]
	gone.Status = domain.StatusConfirmed
	if o := d.decide(domain.Integration{}, Item{Manual: &gone}); o.Effect != EffectRejected {
		t.Errorf("a person changes a merged booking: %+v", o)
	}
}

// spot names an entry of a system in the property below.
type spot struct {
	in domain.IntegrationID
	id string
}

func TestLinksPartingsAndReadingsInAnyOrderLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	// Systems that are never written to, whose word about a removal counts whatever the others said meanwhile.
	var systems []domain.Integration
	for range 3 {
		systems = append(systems, domain.Integration{ID: domain.NewID[domain.IntegrationID](now), Direction: domain.DirectionImport, ResourceID: persons[0]})
	}
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk()
		live := map[spot]bool{}
		same, differ := map[[2]spot]bool{}, map[[2]spot]bool{}
		at := func(id domain.BookingID) (out []spot) {
			for _, l := range d.linksOf(id) {
				if !l.Mirror {
					out = append(out, spot{l.IntegrationID, l.ExternalID})
				}
			}
			return out
		}
		where := func(e spot) domain.BookingID {
			for _, l := range d.links {
				if l.IntegrationID == e.in && l.ExternalID == e.id {
					return l.BookingID
				}
			}
			return ""
		}
		set := func(yes, no map[[2]spot]bool, xs, ys []spot) {
			for _, x := range xs {
				for _, y := range ys {
					for _, k := range [][2]spot{{x, y}, {y, x}} {
						yes[k] = true
						delete(no, k)
					}
				}
			}
		}
		for step := range rapid.IntRange(1, 30).Draw(t, "steps") {
			var roots []domain.BookingID
			for _, id := range d.known {
				if d.bookings[id].MergedInto == "" {
					roots = append(roots, id)
				}
			}
			draw := func(list []domain.BookingID, name string) domain.BookingID {
				return list[rapid.IntRange(0, len(list)-1).Draw(t, fmt.Sprintf("%s %d", name, step))]
			}
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 5 || len(roots) < 2:
				from := systems[rapid.IntRange(0, len(systems)-1).Draw(t, "system")]
				e := spot{from.ID, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "entry")}
				if live[e] && rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
					d.report(from, domain.Change{Op: domain.OpRemove, ExternalID: e.id})
					delete(live, e)
					break
				}
				c := told(e.id, rapid.SampledFrom([]string{"Marker One", "Marker Two", "Session"}).Draw(t, "title"), rapid.IntRange(1, 5).Draw(t, "hour"))
				c.UID = rapid.SampledFrom([]string{"", "", e.id}).Draw(t, "uid")
				d.report(from, c)
				live[e] = true
			case op < 8:
				keep, drop := draw(roots, "keep"), draw(roots, "drop")
				xs, ys := at(keep), at(drop)
				if o := d.link(keep, drop); o.Effect != EffectRejected {
					set(same, differ, xs, ys)
				}
			default:
				from := draw(roots, "from")
				p := Part{From: from}
				if under := d.merged(from); len(under) > 0 && rapid.Bool().Draw(t, "whole") {
					p.Back = draw(under, "back")
				} else if list := d.linksOf(from); len(list) > 0 {
					p.Entries = []domain.LinkID{list[rapid.IntRange(0, len(list)-1).Draw(t, "link")].ID}
				} else {
					break
				}
				if o := d.unlink(p); o.Effect != EffectRejected {
					set(differ, same, at(o.BookingID), at(from))
				}
			}
			d.check(t.Fatalf)
			held := map[domain.BookingID]bool{}
			for e := range live {
				b := d.bookings[where(e)]
				if b.ID == "" || b.MergedInto != "" || b.Status == domain.StatusCancelled {
					t.Fatalf("entry %v is there and its booking is %+v", e, b)
				}
				held[b.ID] = true
			}
			for id, b := range d.bookings {
				if b.Status != domain.StatusCancelled && !held[id] {
					t.Fatalf("booking %+v is taken and no system has it", b)
				}
				if root := d.bookings[b.MergedInto]; b.MergedInto != "" && (root.ID == "" || root.MergedInto != "") {
					t.Fatalf("booking %s is merged into %+v", id, root)
				}
			}
			for pair := range same {
				if live[pair[0]] && live[pair[1]] && where(pair[0]) != where(pair[1]) {
					t.Fatalf("%v were linked and are two bookings", pair)
				}
			}
			for pair := range differ {
				if live[pair[0]] && live[pair[1]] && where(pair[0]) == where(pair[1]) {
					t.Fatalf("%v were parted and are one booking", pair)
				}
			}
		}
	})
}
