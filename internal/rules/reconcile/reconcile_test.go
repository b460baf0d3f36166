package reconcile

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/conflict"
)

var (
	now     = time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)
	org     = domain.NewID[domain.OrgID](now)
	persons = []domain.ResourceID{domain.NewID[domain.ResourceID](now), domain.NewID[domain.ResourceID](now)}
	crm     = domain.Integration{ID: domain.NewID[domain.IntegrationID](now), Direction: domain.DirectionBidirectional, ResourceID: persons[0]}
	cal     = domain.Integration{ID: domain.NewID[domain.IntegrationID](now), Direction: domain.DirectionBidirectional, ResourceID: persons[0]}
	board   = domain.Integration{ID: domain.NewID[domain.IntegrationID](now), Direction: domain.DirectionExport, ResourceID: persons[1]}
)

// tables is what a database would hold: the outcome of plans, from which the next input is made.
type tables struct {
	resources   map[domain.ResourceID]Resource
	bookings    map[domain.BookingID]domain.Booking
	links       map[domain.LinkID]domain.Link
	allocations map[domain.BookingID]domain.Allocation
	conflicts   map[domain.ConflictID]domain.Conflict
	pushes      map[string]domain.Push
	dismissed   map[string]string
}

func newTables(capacity int) *tables {
	t := &tables{resources: map[domain.ResourceID]Resource{}, bookings: map[domain.BookingID]domain.Booking{},
		links: map[domain.LinkID]domain.Link{}, allocations: map[domain.BookingID]domain.Allocation{},
		conflicts: map[domain.ConflictID]domain.Conflict{}, pushes: map[string]domain.Push{}, dismissed: map[string]string{}}
	for _, id := range persons {
		t.resources[id] = Resource{Resource: domain.Resource{ID: id, Zone: "UTC", Capacity: capacity, BufferAfter: 30 * time.Minute, OneWeddingADay: true}, Loc: time.UTC}
	}
	return t
}

func (t *tables) input(from domain.Integration, items ...Item) Input {
	in := Input{Now: now, Org: org, From: from, Items: items, Bookings: maps.Clone(t.bookings), Resources: t.resources,
		Occupied: map[domain.ResourceID][]Occupied{}, Exports: []domain.Integration{crm, cal, board}, Dismissed: t.dismissed}
	for _, id := range slices.Sorted(maps.Keys(t.links)) {
		in.Links = append(in.Links, t.links[id])
	}
	for _, id := range slices.Sorted(maps.Keys(t.allocations)) {
		a := t.allocations[id]
		in.Occupied[a.ResourceID] = append(in.Occupied[a.ResourceID], Occupied{AllocationID: a.ID, Occupied: conflict.Occupied{
			Candidate: conflict.Candidate{BookingID: id, Category: a.Category, Status: a.Status, Event: a.Event, Busy: a.Busy, CreatedAt: t.bookings[id].CreatedAt},
			Slot:      a.Slot, Exclusive: a.Exclusive}})
	}
	for _, id := range slices.Sorted(maps.Keys(t.conflicts)) {
		if c := t.conflicts[id]; c.State.Open() {
			in.Conflicts = append(in.Conflicts, c)
		}
	}
	return in
}

func (t *tables) store(p Plan) {
	for _, b := range p.Bookings {
		t.bookings[b.Booking.ID] = b.Booking
	}
	for _, id := range p.Freed {
		delete(t.allocations, id)
	}
	for _, a := range p.Allocations {
		t.allocations[a.BookingID] = a
	}
	for _, l := range p.Links {
		t.links[l.ID] = l
	}
	for _, list := range [][]domain.Conflict{p.Opened, p.Updated, p.Cleared} {
		for _, c := range list {
			t.conflicts[c.ID] = c
		}
	}
	for _, push := range p.Pushes {
		key := string(push.IntegrationID) + string(push.BookingID)
		if had, ok := t.pushes[key]; ok {
			push.ID = had.ID // a wish replaces the one before in its row
		}
		t.pushes[key] = push
	}
}

// check holds what is true of the tables after any plan.
func (t *tables) check(fatalf func(string, ...any)) {
	for id, b := range t.bookings {
		a, has := t.allocations[id]
		if has != b.Blocks() {
			fatalf("booking %s blocks: %v, has an allocation: %v", id, b.Blocks(), has)
		}
		if has && (a.ResourceID != b.ResourceID || !a.Event.Start.Equal(b.When.Start) || !a.Event.End.Equal(b.When.End)) {
			fatalf("allocation %+v of booking %+v", a, b)
		}
	}
	open := map[string]int{}
	for _, c := range t.conflicts {
		if c.State.Open() {
			open[string(c.ResourceID)+PairKey(c.BookingID, c.OtherID)]++
		}
	}
	for key, n := range open {
		if n > 1 {
			fatalf("%d open conflicts of one pair %s", n, key)
		}
	}
	for x, a := range t.allocations {
		for y, b := range t.allocations {
			if x >= y || a.ResourceID != b.ResourceID || !a.Busy.Overlaps(b.Busy) {
				continue
			}
			if a.Exclusive && b.Exclusive && a.Slot == b.Slot {
				fatalf("%s and %s hold one slot at once", x, y)
			}
			if t.resources[a.ResourceID].Capacity == 1 && a.Event.Overlaps(b.Event) && open[string(a.ResourceID)+PairKey(x, y)] == 0 {
				fatalf("%s and %s overlap without an open conflict", x, y)
			}
		}
	}
	for _, c := range t.conflicts {
		a, b := t.allocations[c.BookingID], t.allocations[c.OtherID]
		if c.State.Open() && c.Kind == domain.ConflictOverlap && !a.Event.Overlaps(b.Event) {
			fatalf("conflict %s is open and nothing overlaps", c.ID)
		}
	}
}

func drawWhen(t *rapid.T) domain.When {
	start := now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "start")) * 30 * time.Minute)
	return domain.When{Span: domain.Span{Start: start, End: start.Add(time.Duration(rapid.IntRange(1, 8).Draw(t, "length")) * 30 * time.Minute)},
		Zone: "UTC", Kind: domain.TimeZoned}
}

func drawChange(t *rapid.T, known []domain.BookingID) domain.Change {
	c := domain.Change{Op: domain.OpUpsert, ExternalID: rapid.SampledFrom([]string{"a", "b", "c", "d", "d#1", "d#2"}).Draw(t, "id"),
		UID: rapid.SampledFrom([]string{"", "", "u1", "u2"}).Draw(t, "uid"), RemoteVersion: int64(rapid.IntRange(0, 3).Draw(t, "version")),
		Category: rapid.SampledFrom(domain.Categories()).Draw(t, "category"),
		Status:   rapid.SampledFrom([]domain.BookingStatus{domain.StatusConfirmed, domain.StatusConfirmed, domain.StatusTentative, domain.StatusCancelled}).Draw(t, "status"),
		When:     drawWhen(t), Free: rapid.IntRange(0, 5).Draw(t, "free") == 0,
		Details: domain.Details{Title: rapid.SampledFrom([]string{"Marker One", "Marker Two", "Wedding"}).Draw(t, "title")}}
	switch rapid.IntRange(0, 9).Draw(t, "shape") {
	case 0, 1:
		c = domain.Change{Op: domain.OpRemove, ExternalID: c.ExternalID, RemoteVersion: c.RemoteVersion}
	case 2:
		if len(known) > 0 {
			c.Origin = rapid.SampledFrom(known).Draw(t, "origin")
		}
	case 3:
		c.Category = "nonsense"
	case 4:
		c.When = domain.When{}
	}
	return c
}

func drawItem(t *rapid.T, tb *tables) (domain.Integration, Item) {
	known := slices.Sorted(maps.Keys(tb.bookings))
	if len(known) > 0 && rapid.IntRange(0, 4).Draw(t, "by person") == 0 {
		b := tb.bookings[rapid.SampledFrom(known).Draw(t, "booking")]
		b.When, b.ResourceID = drawWhen(t), rapid.SampledFrom(persons).Draw(t, "resource")
		b.Status = rapid.SampledFrom([]domain.BookingStatus{domain.StatusConfirmed, domain.StatusCancelled}).Draw(t, "status")
		return domain.Integration{}, Item{Manual: &b}
	}
	c := drawChange(t, known)
	return rapid.SampledFrom([]domain.Integration{crm, cal, board}).Draw(t, "from"), Item{Change: &c}
}

func TestPlanOfARepeatIsEmptyAndTheTablesStaySound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tb := newTables(rapid.IntRange(1, 2).Draw(t, "capacity"))
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			from, item := drawItem(t, tb)
			tb.store(Decide(tb.input(from, item)))
			tb.check(t.Fatalf)
			again := Decide(tb.input(from, item))
			if !again.Empty() {
				t.Fatalf("a repeat of %+v is not empty: %+v", item, again)
			}
		}
	})
}

func TestBatchEndsWhereSingleStepsEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tb := newTables(1)
		var items []Item
		for range rapid.IntRange(1, 12).Draw(t, "n") {
			c := drawChange(t, nil)
			items = append(items, Item{Change: &c})
		}
		p := Decide(tb.input(crm, items...))
		if len(p.Outcomes) != len(items) {
			t.Fatalf("%d outcomes for %d items", len(p.Outcomes), len(items))
		}
		tb.store(p)
		tb.check(t.Fatalf)
		single := newTables(1)
		for _, item := range items {
			single.store(Decide(single.input(crm, item)))
		}
		shape := func(tb *tables) []string {
			var out []string
			for _, l := range tb.links {
				b := tb.bookings[l.BookingID]
				out = append(out, strings.Join([]string{l.ExternalID, string(b.Status), b.When.String(), string(b.Category), l.Hash}, " "))
			}
			slices.Sort(out)
			return out
		}
		if a, b := shape(tb), shape(single); !slices.Equal(a, b) {
			t.Fatalf("together:\n%s\nsingly:\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	})
}

func TestStrangersWithOneMailProviderAreNotOneEvent(t *testing.T) {
	t.Parallel()
	when := domain.When{Span: domain.Span{Start: now.Add(time.Hour), End: now.Add(2 * time.Hour)}, Zone: "UTC", Kind: domain.TimeZoned}
	b := domain.Booking{Category: domain.CategoryConsultation, Status: domain.StatusConfirmed, When: when,
		Details: domain.Details{Title: "Consultation Marker", Contact: "marker@mail.example"}}
	for _, tc := range []struct {
		title, contact string
		same           bool
	}{
		{"Consultation Other", "other@mail.example", false},
		{"Consultation", "info@mail.example", false},
		{"Consultation", "", false},
		{"Marker", "", true},
		{"Consultation with Marker", "marker@elsewhere.example", true},
	} {
		c := domain.Change{Op: domain.OpUpsert, Category: b.Category, Status: b.Status, When: when, Details: domain.Details{Title: tc.title, Contact: tc.contact}}
		if score := Likeness(b, c); score >= LikenessBar != tc.same {
			t.Errorf("%q %q scores %d, same event: %v", tc.title, tc.contact, score, tc.same)
		}
	}
}

func TestPairKeyAndFingerprintDoNotDependOnOrderOrClock(t *testing.T) {
	t.Parallel()
	if PairKey("a", "b") != PairKey("b", "a") || PairKey("a", "") != PairKey("", "a") {
		t.Error("the key of a pair depends on its order")
	}
	f := conflict.Found{Kind: domain.ConflictOverlap, Overlap: domain.Span{Start: now, End: now.Add(time.Hour)}}
	g := f
	g.Overlap.Start, g.Severity = f.Overlap.Start.In(time.FixedZone("", 3600)), domain.SeverityHigh
	if Fingerprint(f) != Fingerprint(g) {
		t.Error("the same times have two fingerprints")
	}
}
