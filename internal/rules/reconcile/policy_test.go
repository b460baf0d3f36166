package reconcile

import (
	"slices"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

// bench is a small world with three systems: a, where entries are made, and b and c.
type bench struct {
	*tables
	t       *testing.T
	a, b, c domain.Integration
	now     time.Time
}

func newBench(t *testing.T, sync domain.SyncPolicy) *bench {
	k := &bench{tables: newTables(1), t: t, now: now}
	for _, i := range []*domain.Integration{&k.a, &k.b, &k.c} {
		*i = domain.Integration{ID: domain.NewID[domain.IntegrationID](now), Direction: domain.DirectionBidirectional, ResourceID: persons[0], Sync: sync}
	}
	return k
}

func (k *bench) decide(from domain.Integration, item Item) Plan {
	k.t.Helper()
	k.now = k.now.Add(time.Minute)
	in := k.input(from, item)
	in.Now, in.Exports = k.now, nil
	for _, i := range []domain.Integration{k.a, k.b, k.c} {
		if i.Direction.Exports() {
			in.Exports = append(in.Exports, i)
		}
	}
	p := Decide(in)
	k.store(p)
	return p
}

func (k *bench) tell(want Effect, from domain.Integration, c domain.Change) (Plan, domain.BookingID) {
	k.t.Helper()
	p := k.decide(from, Item{Change: &c})
	if got := p.Outcomes[0]; got.Effect != want {
		k.t.Fatalf("effect is %s (%s), want %s", got.Effect, got.Reason, want)
	}
	return p, p.Outcomes[0].BookingID
}

// copied writes a booking's copy into a system, as a push does.
func (k *bench) copied(to domain.Integration, id domain.BookingID, ext string) domain.Change {
	k.t.Helper()
	k.now = k.now.Add(time.Minute)
	b := k.bookings[id]
	back := domain.Change{Op: domain.OpUpsert, ExternalID: ext, Revision: "1", Category: b.Category, Status: b.Status, When: b.When,
		Details: domain.Details{Title: "Busy"}, Origin: id}
	var links []domain.Link
	for _, l := range k.links {
		if l.BookingID == id {
			links = append(links, l)
		}
	}
	for _, l := range Wrote(StandingOf(links, to.ID).Mirror, links, b, to.ID, back, "", k.now) {
		k.links[l.ID] = l
	}
	return back
}

func (k *bench) move(id domain.BookingID, hour int) {
	k.t.Helper()
	b := k.bookings[id]
	b.When = hours(hour)
	k.decide(domain.Integration{}, Item{Manual: &b})
}

func (k *bench) wish(to domain.Integration, id domain.BookingID) domain.Push {
	return k.pushes[string(to.ID)+string(id)]
}

func hours(from int) domain.When {
	start := now.Add(time.Duration(from) * time.Hour)
	return domain.When{Span: domain.Span{Start: start, End: start.Add(time.Hour)}, Zone: "UTC", Kind: domain.TimeZoned}
}

func event(id string, hour int) domain.Change {
	return domain.Change{Op: domain.OpUpsert, ExternalID: id, Category: domain.CategoryConsultation, Status: domain.StatusConfirmed, When: hours(hour),
		Details: domain.Details{Title: "Marker " + id}}
}

func gone(id string) domain.Change { return domain.Change{Op: domain.OpRemove, ExternalID: id} }

func TestEveryFilterLeavesOutWhatItNames(t *testing.T) {
	t.Parallel()
	c := event("e", 10)
	c.Labels, c.Declined, c.Free, c.When.Kind = []string{"Red"}, true, true, domain.TimeAllDay
	for _, tc := range []struct {
		want string
		f    domain.SyncFilters
	}{
		{"", domain.SyncFilters{}},
		{"categories", domain.SyncFilters{Categories: []domain.Category{domain.CategoryWedding}}},
		{"", domain.SyncFilters{Categories: []domain.Category{domain.CategoryConsultation}}},
		{"include_labels", domain.SyncFilters{IncludeLabels: []string{"blue"}}},
		{"", domain.SyncFilters{IncludeLabels: []string{"red"}}},
		{"exclude_labels", domain.SyncFilters{ExcludeLabels: []string{"RED"}}},
		{"title_contains", domain.SyncFilters{TitleContains: "wedding"}},
		{"", domain.SyncFilters{TitleContains: "MARKER"}},
		{"title_matches", domain.SyncFilters{TitleMatches: "^e"}},
		{"title_excludes", domain.SyncFilters{TitleExcludes: "e$"}},
		{"skip_declined", domain.SyncFilters{SkipDeclined: true}},
		{"skip_all_day", domain.SyncFilters{SkipAllDay: true}},
		{"skip_free", domain.SyncFilters{SkipFree: true}},
		{"kinds", domain.SyncFilters{Kinds: []string{"focus_time"}}},
		{"", domain.SyncFilters{Kinds: []string{domain.KindDefault}}},
	} {
		if got := LeavesOut(tc.f, c); got != tc.want {
			t.Errorf("%+v: left out by %q, want %q", tc.f, got, tc.want)
		}
	}
}

func TestEntryLeftOutIsNoBookingAndOneThatComesBackIsTheSame(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{Filters: domain.SyncFilters{SkipDeclined: true}})
	e := event("e", 10)
	e.Declined = true
	k.tell(EffectFiltered, k.a, e)
	if len(k.bookings) != 0 {
		t.Fatal("what was left out became a booking")
	}
	e.Declined = false
	_, id := k.tell(EffectCreated, k.a, e)
	e.Declined = true
	k.tell(EffectRemoved, k.a, e)
	if k.bookings[id].Status != domain.StatusCancelled || k.wish(k.b, id).Op != domain.PushRemove {
		t.Fatalf("booking is %s, wish %s", k.bookings[id].Status, k.wish(k.b, id).Op)
	}
	if p, _ := k.tell(EffectFiltered, k.a, e); !p.Empty() {
		t.Errorf("a repeat does %+v", p)
	}
	e.Declined = false
	if _, again := k.tell(EffectUpdated, k.a, e); again != id || k.bookings[id].Status != domain.StatusConfirmed {
		t.Errorf("it came back as %s, %s", again, k.bookings[id].Status)
	}
}

func TestEntryLeftOutThatAnotherSystemHasGetsNoCopyBesideIt(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	one, other := event("e", 10), event("f", 10)
	one.UID, other.UID = "shared", "shared"
	_, id := k.tell(EffectCreated, k.a, one)
	k.tell(EffectLinked, k.b, other)
	k.b.Sync.Filters.SkipFree, other.Free = true, true
	k.tell(EffectRemoved, k.b, other)
	if k.bookings[id].Status != domain.StatusConfirmed {
		t.Error("another system still has it")
	}
	if w := k.wish(k.b, id); w.Op == domain.PushPut {
		t.Errorf("a copy is wished for beside the entry: %+v", w)
	}
}

func TestEditsOnBothSidesAreDecidedByThePolicy(t *testing.T) {
	t.Parallel()
	for policy, want := range map[domain.EditPolicy]int{"": 15, domain.EditNewestWins: 15, domain.EditSourceWins: 12, domain.EditKeepBoth: 12, domain.EditManual: 12} {
		k := newBench(t, domain.SyncPolicy{EditConflicts: policy})
		_, id := k.tell(EffectCreated, k.a, event("e", 10))
		mirror := k.copied(k.b, id, "m")
		k.move(id, 12)
		mirror.When, mirror.Revision = hours(15), "2"
		p := k.decide(k.b, Item{Change: &mirror})
		if got := k.bookings[id].When; !got.Equal(hours(want)) {
			t.Errorf("%q: the booking is at %s", policy, got)
		}
		switch policy {
		case domain.EditKeepBoth:
			if len(k.bookings) != 2 || !slices.ContainsFunc(p.Bookings, func(w BookingWrite) bool {
				return w.Booking.BesideID == id && w.Booking.When.Equal(hours(15))
			}) {
				t.Errorf("the other version is not kept: %+v", p.Bookings)
			}
		case domain.EditManual:
			if len(p.Edits) != 1 || p.Edits[0].State != domain.EditOpen || p.Edits[0].ThereIsSource {
				t.Fatalf("edits are %+v", p.Edits)
			}
			if again := k.decide(k.b, Item{Change: &mirror}); !again.Empty() {
				t.Errorf("a repeat asks again: %+v", again)
			}
			k.decide(k.b, Item{Settle: &Settle{Edit: p.Edits[0], Choice: domain.ChooseCopy}})
			if got := k.bookings[id].When; !got.Equal(hours(15)) {
				t.Errorf("after choosing the copy the booking is at %s", got)
			}
		}
	}
}

func TestNewestIsToldByTheClocksOfTheSystems(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	inB, inC := k.copied(k.b, id, "mb"), k.copied(k.c, id, "mc")
	late, early := now.Add(10*time.Hour), now.Add(9*time.Hour)
	inB.When, inB.ChangedAt = hours(12), &late
	k.tell(EffectUpdated, k.b, inB)
	inC.When, inC.ChangedAt = hours(15), &early
	k.tell(EffectEcho, k.c, inC)
	if got := k.bookings[id].When; !got.Equal(hours(12)) || k.wish(k.c, id).Op != domain.PushPut {
		t.Errorf("the older edit, which came later, won: %s", got)
	}
}

func TestEditWinsAgainstAConcurrentRemovalUnlessThePolicySaysOtherwise(t *testing.T) {
	t.Parallel()
	for policy, want := range map[domain.EditPolicy]domain.BookingStatus{"": domain.StatusConfirmed, domain.EditKeepBoth: domain.StatusConfirmed,
		domain.EditManual: domain.StatusConfirmed, domain.EditSourceWins: domain.StatusCancelled} {
		k := newBench(t, domain.SyncPolicy{EditConflicts: policy})
		_, id := k.tell(EffectCreated, k.a, event("e", 10))
		k.move(id, 12)
		removal := gone("e")
		p := k.decide(k.a, Item{Change: &removal})
		if got := k.bookings[id].Status; got != want {
			t.Errorf("%q: the booking is %s", policy, got)
		}
		if policy == domain.EditManual && (len(p.Edits) != 1 || p.Edits[0].Kind != domain.EditRemoved) {
			t.Errorf("edits are %+v", p.Edits)
		}
		if policy == "" && k.wish(k.a, id).Op != domain.PushPut {
			t.Error("the system where it was removed gets no copy of what lives on")
		}
	}
}

func TestRemovalByASystemThatIsNeverWrittenToCountsAlsoAfterAnEdit(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	k.a.Direction = domain.DirectionImport
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	k.move(id, 12)
	k.tell(EffectRemoved, k.a, gone("e"))
	if got := k.bookings[id].Status; got != domain.StatusCancelled {
		t.Errorf("the booking is %s", got)
	}
}

func TestDirectionsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	k.b.Direction, k.c.Direction = domain.DirectionExport, domain.DirectionImport
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	mirror := k.copied(k.b, id, "m")
	mirror.When, mirror.Revision = hours(15), "2"
	k.tell(EffectEcho, k.b, mirror)
	if !k.bookings[id].When.Equal(hours(10)) || k.wish(k.b, id).Op != domain.PushPut {
		t.Error("a hand on the copy in a system that is only written to is not put back")
	}
	k.tell(EffectUnknown, k.b, event("own", 20))
	if k.wish(k.c, id).Op != "" {
		t.Error("a system that is only read is written to")
	}
	if w := WorkOf(k.bookings[id], k.c, domain.PushPut, Standing{}); w.Put || len(w.Remove) > 0 {
		t.Errorf("a wish left from when it was written to does %+v", w)
	}
}

func TestCopyMadeByAUserIsANewEvent(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	mirror := k.copied(k.b, id, "m")
	mirror.ExternalID, mirror.Unbound = "copy of m", true
	_, other := k.tell(EffectCreated, k.b, mirror)
	if other == id || k.wish(k.a, other).Op != domain.PushPut {
		t.Errorf("the copy is booking %s of %s", other, id)
	}
	k.tell(EffectRemoved, k.b, gone("m"))
	if k.bookings[other].Status != domain.StatusConfirmed || k.wish(k.b, id).Op != domain.PushPut {
		t.Error("removing the original touched the copy, or the original is not written again")
	}
}

func TestChainOfSystemsSettlesAndAHopRevivesNothing(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	k.copied(k.b, id, "mb")
	// Another tool carries our copy from b to c with its marker, and from there back to a.
	hop := event("hop", 10)
	hop.Origin = id
	k.tell(EffectEcho, k.c, hop)
	k.tell(EffectEcho, k.a, hop)
	if len(k.bookings) != 1 || k.wish(k.a, id).Op != domain.PushRemove {
		t.Fatalf("%d bookings, wish %+v", len(k.bookings), k.wish(k.a, id))
	}
	k.tell(EffectRemoved, k.a, gone("e"))
	late := event("later hop", 10)
	late.Origin = id
	k.decide(k.c, Item{Change: &late})
	for bid, b := range k.bookings {
		if bid == id && b.Status != domain.StatusCancelled {
			t.Error("a hop revived a booking that was removed at its source")
		}
	}
}

func TestOldPageAfterARemovalIsReadAgain(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	e := event("e", 10)
	_, id := k.tell(EffectCreated, k.a, e)
	asked := k.now
	k.tell(EffectRemoved, k.a, gone("e"))
	in := k.input(k.a, Item{Change: &e})
	in.Now, in.ReadAt = k.now.Add(time.Minute), asked
	if p := Decide(in); !p.Reread || p.Outcomes[0].Effect != EffectStale {
		t.Errorf("an old page does %+v", p.Outcomes)
	}
	if k.bookings[id].Status != domain.StatusCancelled {
		t.Error("the booking lives")
	}
}

func TestLostAnswerOfAWriteToAnOwnEntryDoesNotBringItsTimeBack(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	e := event("e", 10)
	_, id := k.tell(EffectCreated, k.a, e)
	k.move(id, 12)
	for lid, l := range k.links {
		k.links[lid] = Writing(l, k.bookings[id], k.now)
	}
	k.move(id, 15)
	e.When, e.Revision = hours(12), "2" // what was written, whose answer was lost
	k.tell(EffectEcho, k.a, e)
	if got := k.bookings[id].When; !got.Equal(hours(15)) {
		t.Errorf("our own older write was taken for an edit: %s", got)
	}
}

func TestAnswerThatComesAfterANewerReadAddsNothing(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	answer := k.copied(k.b, id, "m")
	for lid, l := range k.links {
		if l.ExternalID == "m" {
			delete(k.links, lid) // the answer is on its way: nothing is known of the copy
		}
	}
	moved := answer
	moved.When, moved.Revision = hours(15), "2"
	k.tell(EffectUpdated, k.b, moved)
	var links []domain.Link
	for _, l := range k.links {
		links = append(links, l)
	}
	for _, l := range Wrote(nil, links, k.bookings[id], k.b.ID, answer, "", k.now) {
		if l.Revision != "2" || l.Hash != moved.Hash() {
			t.Errorf("the older answer wrote over what was read since: %+v", l)
		}
	}
}

func TestPrivateBookingIsNotShownWhereThePolicySkipsIt(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	k.b.Sync.Private = domain.PrivateSkip
	e := event("e", 10)
	e.Private = true
	_, id := k.tell(EffectCreated, k.a, e)
	if k.wish(k.b, id).Op != "" || k.wish(k.c, id).Op != domain.PushPut {
		t.Errorf("wishes are %q and %q", k.wish(k.b, id).Op, k.wish(k.c, id).Op)
	}
}

// Providers tell duplicates of our copies by markers that are bound to an entry; likeness alone would take them for the
// original, whose copy would go away.
func TestDuplicateOfACopyIsAnEventOfItsOwnHoweverAlike(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	k.copied(k.b, id, "m")
	dup := event("e", 10)
	dup.ExternalID, dup.CopyOf = "duplicate", id
	// Where we have no copy, another tool brought the event, which is no second one.
	elsewhere := dup
	elsewhere.ExternalID = "brought"
	if _, same := k.tell(EffectLinked, k.c, elsewhere); same != id {
		t.Errorf("what another tool brought is booking %s", same)
	}
	if _, other := k.tell(EffectCreated, k.b, dup); other == id {
		t.Error("the duplicate is the original")
	}
	if w := k.wish(k.b, id); w.Op == domain.PushRemove {
		t.Errorf("our copy of the original must go: %+v", w)
	}
	// Nor does it take the place of the original's copy when that was deleted since the last page.
	after, removal := dup, gone("m")
	after.ExternalID = "duplicate, and the copy gone"
	in := k.input(k.b, Item{Change: &removal}, Item{Change: &after})
	in.Now = k.now.Add(time.Minute)
	if p := Decide(in); p.Outcomes[1].Effect != EffectCreated {
		t.Errorf("effects are %+v", p.Outcomes)
	}
	k.tell(EffectRemoved, k.b, removal)
	after.ExternalID = "duplicate, and the copy long gone"
	k.tell(EffectCreated, k.b, after)
}

func TestCopyOfOursThatAnotherToolCarriesBesideOursIsLeftAlone(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	k.copied(k.b, id, "mb")
	k.copied(k.c, id, "mc")
	for lid, l := range k.links {
		l.UID = "uid of " + l.ExternalID
		k.links[lid] = l
	}
	for _, to := range []struct {
		domain.Integration
		from string
	}{{k.c, "mb"}, {k.b, "mc"}} {
		hop := event("e", 10)
		hop.ExternalID, hop.UID, hop.Origin = "carried", "uid of "+to.from, id
		if p, _ := k.tell(EffectEcho, to.Integration, hop); !p.Empty() {
			t.Errorf("it does %+v", p)
		}
		hop.When = hours(12)
		if p, _ := k.tell(EffectEcho, to.Integration, hop); !p.Empty() {
			t.Errorf("moved by the tool, it does %+v", p)
		}
	}
	// A person's duplicate has a UID of its own.
	dup := event("e", 10)
	dup.ExternalID, dup.UID, dup.Origin, dup.Unbound = "duplicate", "another", id, true
	k.tell(EffectCreated, k.c, dup)
}

func TestTimeOfChangeThatAProgramDoesNotKeepDecidesNothing(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	mirror := k.copied(k.b, id, "m")
	written := k.now
	for lid, l := range k.links {
		if l.ExternalID == "m" {
			l.Agreed.Modified = written
			k.links[lid] = l
		}
	}
	k.move(id, 12)
	mirror.When, mirror.Revision, mirror.ChangedAt = hours(15), "2", &written
	k.tell(EffectUpdated, k.b, mirror)
	if got := k.bookings[id].When; !got.Equal(hours(15)) {
		t.Errorf("an edit whose time stood still lost by it: %s", got)
	}
}

func TestCopyMovedByHandWhileItsTextsWereBehindGetsThem(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	e := event("e", 10)
	_, id := k.tell(EffectCreated, k.a, e)
	mirror := k.copied(k.b, id, "m")
	e.Details.Title = "Marker e, in the garden"
	k.tell(EffectUpdated, k.a, e)
	delete(k.pushes, string(k.b.ID)+string(id)) // the write was refused because of the hand
	mirror.When, mirror.Revision = hours(15), "2"
	k.tell(EffectUpdated, k.b, mirror)
	if w := k.wish(k.b, id); w.Op != domain.PushPut {
		t.Errorf("the copy keeps its old texts: wish %+v", w)
	}
	// One that is up to date is not written again.
	mirror = k.copied(k.b, id, "m")
	delete(k.pushes, string(k.b.ID)+string(id))
	for _, hour := range []int{18, 20} {
		mirror.When, mirror.Revision = hours(hour), mirror.Revision+"1"
		k.tell(EffectUpdated, k.b, mirror)
		if w := k.wish(k.b, id); w.Op != "" {
			t.Errorf("moved by a hand to %d, it is written over: %+v", hour, w)
		}
	}
}

// Two tries whose answers were lost made two copies, because somebody deleted the first; the page names the second first.
func TestSecondCopyOfOursIsNoEventOfItsOwn(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	second := k.copied(k.b, id, "first")
	delete(k.pushes, string(k.b.ID)+string(id))
	second.ExternalID = "second"
	k.tell(EffectEcho, k.b, second)
	if len(k.bookings) != 1 || k.wish(k.b, id).Op != domain.PushPut {
		t.Fatalf("%d bookings, wish %+v", len(k.bookings), k.wish(k.b, id))
	}
	var links []domain.Link
	for _, l := range k.links {
		links = append(links, l)
	}
	if work := WorkOf(k.bookings[id], k.b, domain.PushPut, StandingOf(links, k.b.ID)); len(work.Remove) != 1 || work.Live == nil {
		t.Errorf("work is %+v", work)
	}
}

func TestQuestionThatIsSettledByTheSystemsThemselvesLetsWritesThroughAgain(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{EditConflicts: domain.EditManual})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	mirror := k.copied(k.b, id, "m")
	k.move(id, 12)
	mirror.When, mirror.Revision = hours(15), "2"
	k.tell(EffectAsked, k.b, mirror)
	delete(k.pushes, string(k.b.ID)+string(id)) // carried out while a person was asked, which writes nothing
	mirror.When, mirror.Revision = hours(12), "3"
	p, _ := k.tell(EffectEcho, k.b, mirror)
	if len(p.Edits) != 1 || p.Edits[0].State != domain.EditCleared || k.wish(k.b, id).Op != domain.PushPut {
		t.Errorf("edits %+v, wish %+v", p.Edits, k.wish(k.b, id))
	}
}

func TestQuestionAskedWhileACopyIsRemovedCanBeAnswered(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{EditConflicts: domain.EditManual})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	mirror := k.copied(k.b, id, "m")
	var before domain.Link
	for _, l := range k.links {
		if l.ExternalID == "m" {
			before = l
		}
	}
	k.move(id, 12)
	mirror.When, mirror.Revision = hours(15), "2"
	p, _ := k.tell(EffectAsked, k.b, mirror)
	var now []domain.Link
	for _, l := range k.links {
		now = append(now, l)
	}
	gone := Removed(now, before, k.now)
	k.links[gone.ID] = gone
	if gone.RemovedAt == nil {
		t.Error("the link lives")
	}
	answered := k.decide(k.b, Item{Settle: &Settle{Edit: p.Edits[0], Choice: domain.ChooseSource}})
	if answered.Outcomes[0].Effect != EffectUpdated {
		t.Errorf("the answer is %+v", answered.Outcomes[0])
	}
}

func TestOldPageWithTheSameContentDoesNotBringAnOldRevisionBack(t *testing.T) {
	t.Parallel()
	k := newBench(t, domain.SyncPolicy{})
	_, id := k.tell(EffectCreated, k.a, event("e", 10))
	old := k.copied(k.b, id, "m")
	asked := k.now
	for lid, l := range k.links {
		if l.ExternalID == "m" {
			l.Revision, l.UpdatedAt = "2", k.now.Add(time.Second) // the same was written once more
			k.links[lid] = l
		}
	}
	in := k.input(k.b, Item{Change: &old})
	in.Now, in.ReadAt = k.now.Add(time.Minute), asked
	if p := Decide(in); !p.Reread {
		t.Errorf("an old page does %+v, links %+v", p.Outcomes, p.Links)
	}
}

// The answer to writing a copy is lost, and before the copy is read somebody moves it. Whether that was a hand or an older
// write of ours shows from the booking: one that never had another time was never written with another.
func TestHandOnACopyWhoseAnswerWasLostCountsUnlessTheBookingWasMoved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(k *bench, id domain.BookingID, e domain.Change)
		want      Effect
		hour      int
	}{
		"nothing else": {func(*bench, domain.BookingID, domain.Change) {}, EffectUpdated, 15},
		"renamed": {func(k *bench, _ domain.BookingID, e domain.Change) {
			e.Details.Title = "Marker e, in the garden"
			k.tell(EffectUpdated, k.a, e)
		}, EffectUpdated, 15},
		"renamed twice": {func(k *bench, _ domain.BookingID, e domain.Change) {
			for _, title := range []string{"Marker e, in the garden", "Marker e, indoors"} {
				e.Details.Title = title
				k.tell(EffectUpdated, k.a, e)
			}
		}, EffectUpdated, 15},
		"moved": {func(k *bench, id domain.BookingID, _ domain.Change) { k.move(id, 12) }, EffectEcho, 12},
		"moved and back": {func(k *bench, id domain.BookingID, _ domain.Change) {
			k.move(id, 15)
			k.move(id, 10)
		}, EffectEcho, 10},
		"moved and back, then renamed": {func(k *bench, id domain.BookingID, e domain.Change) {
			k.move(id, 15)
			k.move(id, 10)
			e.Details.Title = "Marker e, in the garden"
			k.tell(EffectUpdated, k.a, e)
		}, EffectEcho, 10},
		"moved and back at the source": {func(k *bench, _ domain.BookingID, e domain.Change) {
			for _, hour := range []int{15, 10} {
				e.When = hours(hour)
				k.tell(EffectUpdated, k.a, e)
			}
		}, EffectEcho, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newBench(t, domain.SyncPolicy{})
			e := event("e", 10)
			_, id := k.tell(EffectCreated, k.a, e)
			written := k.copied(k.b, id, "m")
			for lid, l := range k.links {
				if l.ExternalID == "m" {
					delete(k.links, lid)
				}
			}
			c.meanwhile(k, id, e)
			written.When, written.Revision = hours(15), "2"
			k.tell(c.want, k.b, written)
			if got := k.bookings[id].When; !got.Equal(hours(c.hour)) {
				t.Errorf("the booking is at %s; want %d o'clock", got, c.hour)
			}
		})
	}
}

// A filter that begins to leave a wedding out is no more its end than a removal, while a person is to be asked.
func TestAWeddingThatAFilterLeavesOutWaitsForAPersonWhereOneIsToBeAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ask    bool
		choose domain.EditChoice
		effect Effect
		stays  bool // in the end
	}{
		"nobody is asked":              {false, "", EffectRemoved, false},
		"a person lets it go":          {true, domain.ChooseSource, EffectAsked, false},
		"a person keeps it":            {true, domain.ChooseCopy, EffectAsked, true},
		"a person would keep it twice": {true, domain.ChooseBoth, EffectAsked, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newBench(t, domain.SyncPolicy{})
			k.a.Sync.Filters.SkipFree = true
			e := event("e", 10)
			e.Category = domain.CategoryWedding
			_, id := k.tell(EffectCreated, k.a, e)
			e.Free, e.Revision = true, "2"
			decide := func() Plan {
				k.now = k.now.Add(time.Minute)
				in := k.input(k.a, Item{Change: &e})
				in.Now = k.now
				first := Decide(in)
				if c.ask && slices.Contains(first.Judged, id) {
					in.Ask = map[domain.BookingID]bool{id: true}
				}
				p := Decide(in)
				k.store(p)
				return p
			}
			p := decide()
			if got := p.Outcomes[0].Effect; got != c.effect {
				t.Fatalf("effect is %s, want %s", got, c.effect)
			}
			if b := k.bookings[id]; b.Blocks() != c.ask {
				t.Fatalf("the wedding takes time: %t, want %t", b.Blocks(), c.ask)
			}
			if c.ask {
				if len(p.Edits) != 1 || p.Edits[0].Kind != domain.EditRemoved {
					t.Fatalf("a person is asked %+v", p.Edits)
				}
				if got := decide().Outcomes[0].Effect; got != EffectFiltered {
					t.Errorf("the repeat is %s, want %s", got, EffectFiltered)
				}
				k.decide(k.a, Item{Settle: &Settle{Edit: p.Edits[0], Choice: c.choose}})
			}
			if b := k.bookings[id]; b.Blocks() != c.stays {
				t.Errorf("in the end it takes time: %t, want %t", b.Blocks(), c.stays)
			}
			if decide(); k.bookings[id].Blocks() != c.stays {
				t.Errorf("told once more it takes time: %t, want %t", k.bookings[id].Blocks(), c.stays)
			}
		})
	}
}
