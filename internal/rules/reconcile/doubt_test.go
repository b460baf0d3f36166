package reconcile

import (
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
)

func TestAnOlderVersionCountsOnlyWhereTheEntryItselfWasAskedFor(t *testing.T) {
	t.Parallel()
	later := now.Add(time.Hour)
	for name, tc := range map[string]struct {
		says   func(c *domain.Change) // what differs from what is known, besides a lower version
		readAt time.Time              // zero = it was posted
		effect Effect
		doubt  bool
	}{
		"a late message stays stale":                   {effect: EffectStale},
		"a page is in doubt":                           {readAt: later, effect: EffectStale, doubt: true},
		"a page that tells nothing new is not":         {says: func(c *domain.Change) { c.When, c.Revision = told("e", "Visit", 10).When, "r1" }, readAt: later, effect: EffectStale},
		"a page with another revision is":              {says: func(c *domain.Change) { c.When = told("e", "Visit", 10).When }, readAt: later, effect: EffectStale, doubt: true},
		"a removal in a page is in doubt":              {says: func(c *domain.Change) { c.Op = domain.OpRemove }, readAt: later, effect: EffectStale, doubt: true},
		"a posted removal stays stale":                 {says: func(c *domain.Change) { c.Op = domain.OpRemove }, effect: EffectStale},
		"what was asked for counts":                    {says: func(c *domain.Change) { c.Asked = true }, readAt: later, effect: EffectUpdated},
		"so does what a message made us ask for":       {says: func(c *domain.Change) { c.Asked = true }, effect: EffectUpdated},
		"but not so soon after the last word":          {says: func(c *domain.Change) { c.Asked = true }, readAt: now.Add(settled - time.Second), effect: EffectStale, doubt: true},
		"nor when the last word came after the asking": {says: func(c *domain.Change) { c.Asked = true }, readAt: now.Add(-time.Second), effect: EffectStale, doubt: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tb := newTables(1)
			known := told("e", "Visit", 10)
			known.RemoteVersion, known.Revision = 5000, "r1"
			tb.store(Decide(tb.input(crm, Item{Change: &known})))

			c := told("e", "Visit", 14)
			c.RemoteVersion, c.Revision = 4000, "r2"
			if tc.says != nil {
				tc.says(&c)
			}
			in := tb.input(crm, Item{Change: &c})
			in.Now, in.ReadAt = later.Add(time.Second), tc.readAt
			p := Decide(in)
			if o := p.Outcomes[0]; o.Effect != tc.effect || o.Doubt != tc.doubt {
				t.Fatalf("%s, doubt %v; want %s, %v", o.Effect, o.Doubt, tc.effect, tc.doubt)
			}
			if tc.effect == EffectStale {
				if !p.Empty() {
					t.Fatalf("a stale change did something: %+v", p)
				}
				return
			}
			tb.store(p)
			for _, l := range tb.links {
				if b := tb.bookings[l.BookingID]; l.RemoteVersion != 4000 || l.Revision != "r2" || !b.When.Equal(c.When) {
					t.Errorf("version %d, revision %s, booking at %s", l.RemoteVersion, l.Revision, b.When.Span)
				}
			}
		})
	}
}

// Of two reports of one entry in one batch, which may have come in any order, the versions still decide.
func TestVersionsDecideInsideOneBatch(t *testing.T) {
	t.Parallel()
	tb := newTables(1)
	newer, old := told("e", "Visit", 14), told("e", "Visit", 10)
	newer.RemoteVersion, old.RemoteVersion, old.Asked = 2, 1, true
	in := tb.input(crm, Item{Change: &newer}, Item{Change: &old})
	in.ReadAt, in.Now = now.Add(time.Hour), now.Add(time.Hour)
	if o := Decide(in).Outcomes[1]; o.Effect != EffectStale || o.Doubt {
		t.Errorf("%s, doubt %v", o.Effect, o.Doubt)
	}
}
