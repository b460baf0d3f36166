package activities_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// The histories of package reconcile play its rules against tables in memory. These play the seams around them: runs,
// pages, removals and pushes go through the activities and package apply on PostgreSQL, for two or three calendars in
// memory. Answers are lost, calls fail, cursors are forgotten, processes die between a remote effect and their own commit,
// and other things happen while a call is on its way. Then all must agree, with nothing lost or doubled, and one more full
// run must write nothing anywhere.
//
// A seed decides what happens; the identifiers drawn on the way are the system's own. Workflows are not part of it: the
// history does what they do.

var (
	histories  = flag.Int("histories", 200, "random histories to play on PostgreSQL")
	oneHistory = flag.Int64("history", -1, "the only random history to play, by its seed")
)

func TestRandomHistoriesOnPostgresConvergeAndNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	d := setup(t)
	first, count := uint64(0), uint64(*histories)
	if *oneHistory >= 0 {
		first, count = uint64(*oneHistory), 1
	}
	for seed := first; seed < first+count; seed++ {
		h := newHistory(d, seed)
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.SetTestTimeout(5 * time.Minute)
		play := func(ctx context.Context) error { return h.play(ctx) }
		env.RegisterActivity(play)
		if _, err := env.ExecuteActivity(play); err != nil {
			t.Fatalf("history %d: %v\nplay it again: go test ./activities -run TestRandomHistoriesOnPostgres -args -history=%d\n%s", seed, err, seed,
				strings.Join(h.log, "\n"))
		}
	}
}

// history is one of them, in an organisation of its own.
type history struct {
	*desk
	*rand.Rand
	ctx     context.Context
	org     domain.OrgID
	person  domain.ResourceID
	places  []*place
	log     []string
	depth   int
	first   time.Time // no entry lies before it: what is over is not missed
	hours   int
	wrong   error
	events  []string
	deleted map[string]bool
	times   map[string]map[string]bool
}

// place is a calendar with what reads and writes it.
type place struct {
	domain.Integration
	*agenda
	run      domain.SyncRunID // "" = none
	complete bool             // the run listed everything
	busy     map[string]bool  // what is at work
}

func newHistory(d *desk, seed uint64) *history {
	h := &history{desk: d, Rand: rand.New(rand.NewPCG(seed, 3)), org: domain.NewID[domain.OrgID](d.clock()), first: d.clock().Truncate(24*time.Hour).AddDate(0, 3, 0), deleted: map[string]bool{},
		times: map[string]map[string]bool{}}
	d.must(d.CreateOrganization(d.t.Context(), domain.Organization{ID: h.org, Name: "Studio", Zone: "Europe/London"}, "admin"))
	h.person = domain.NewID[domain.ResourceID](d.clock())
	policy := []domain.EditPolicy{domain.EditNewestWins, domain.EditSourceWins, domain.EditKeepBoth, domain.EditManual}[h.IntN(4)]
	d.must(d.Tenant(d.t.Context(), h.org, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, domain.Resource{ID: h.person, Name: "Robin Marker", Kind: domain.ResourcePerson, Zone: "Europe/London", Capacity: 1}); err != nil {
			return err
		}
		for i := range 2 + h.IntN(2) {
			p := &place{busy: map[string]bool{}, agenda: &agenda{name: string(rune('a' + i)), rnd: h.Rand, clock: d.clock, byID: map[string]*note{},
				reshapes: h.IntN(2) == 0, clocked: h.IntN(2) == 0}}
			p.Integration = domain.Integration{ID: domain.NewID[domain.IntegrationID](tx.Now), Name: p.agenda.name, Provider: "outside",
				Direction: domain.DirectionBidirectional, ResourceID: h.person, Settings: []byte(`{}`), State: domain.IntegrationActive,
				Sync: domain.SyncPolicy{EditConflicts: policy}, Guard: domain.Guard{Removals: 1000, Percent: 100}}
			d.mu.Lock()
			d.systems[p.ID] = p.agenda
			d.mu.Unlock()
			if err := tx.CreateIntegration(ctx, p.Integration, nil); err != nil {
				return err
			}
			h.places = append(h.places, p)
		}
		return nil
	}))
	h.note("history %d: policy %s, %d calendars", seed, policy, len(h.places))
	return h
}

func (h *history) note(format string, args ...any) {
	h.advance(time.Duration(1+h.IntN(3)) * time.Second)
	h.log = append(h.log, h.clock().Format("01-02 15:04:05 ")+fmt.Sprintf(format, args...))
}

func (h *history) play(ctx context.Context) error {
	h.ctx = ctx
	for range 12 + h.IntN(20) {
		h.step()
	}
	for _, p := range h.places {
		p.rnd, p.between = nil, nil
	}
	h.settle()
	h.agree()
	h.again()
	return h.wrong
}

func (h *history) fail(format string, args ...any) {
	if h.wrong == nil {
		h.wrong = fmt.Errorf(format, args...)
	}
}

func (h *history) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	if err := h.Tenant(h.ctx, h.org, fn); err != nil {
		h.fail("store: %w", err)
	}
}

var errBusy = errors.New("somebody is at it")

// step is one thing that happens.
func (h *history) step() {
	if h.wrong != nil {
		return
	}
	p := h.places[h.IntN(len(h.places))]
	switch h.IntN(13) {
	case 0, 1, 2, 3:
		h.user(p)
	case 4:
		h.manual()
	case 5, 6, 7, 8:
		h.read(p)
	case 9:
		if h.IntN(4) == 0 {
			p.mu.Lock()
			p.epoch++
			p.mu.Unlock()
			h.note("%s forgets its cursors", p.agenda.name)
		}
	default:
		h.write(p)
	}
}

// during runs an activity that may die, and lets other things happen while it waits.
func (h *history) during(p *place, what string, fn func(ctx context.Context) error) error {
	if p.busy[what] || h.depth > 1 {
		return errBusy
	}
	p.busy[what] = true
	h.depth++
	ctx, die := context.WithCancel(h.ctx)
	was, wasDie := p.between, p.die
	p.die = die
	p.between = func() {
		for range 1 + h.IntN(3) {
			h.step()
		}
	}
	if p.rnd == nil {
		p.between = nil
	}
	err := fn(ctx)
	die()
	p.between, p.die = was, wasDie
	h.depth--
	p.busy[what] = false
	h.note("%s: %s: %v", p.agenda.name, what, err)
	return err
}

// read goes a step on with a run.
func (h *history) read(p *place) (did bool) {
	a, ref := h.syncs(), activities.SyncRef{Org: h.org, Integration: p.ID, Run: p.run}
	switch {
	case p.busy["read"]:
		return false
	case p.run == "":
		ref.Run = domain.NewID[domain.SyncRunID](h.clock())
		if h.during(p, "read", func(ctx context.Context) error {
			return a.StartSyncRun(ctx, activities.StartSyncRunInput{SyncRef: ref, By: "alex"})
		}) == nil {
			p.run = ref.Run
		}
		return false
	case p.complete:
		var out activities.ConfirmRemovalsResult
		err := h.during(p, "read", func(ctx context.Context) (err error) {
			out, err = a.ConfirmRemovals(ctx, activities.ConfirmRemovalsInput{SyncRef: ref})
			return err
		})
		if err == nil {
			h.finish(p, ref)
		}
		return out.Removed > 0
	}
	var out activities.PullPageResult
	err := h.during(p, "read", func(ctx context.Context) (err error) {
		out, err = a.PullPage(ctx, activities.PullPageInput{SyncRef: ref})
		return err
	})
	if err == nil && !out.More {
		if p.complete = out.Complete; !p.complete {
			h.finish(p, ref)
		}
	}
	return err != nil || out.Applied+out.Removed > 0
}

func (h *history) finish(p *place, ref activities.SyncRef) {
	if err := h.syncs().EndSyncRun(h.ctx, activities.EndSyncRunInput{SyncRef: ref, State: domain.SyncDone}); err != nil {
		h.fail("end run: %w", err)
	}
	p.run, p.complete = "", false
}

// write carries the waiting pushes out.
func (h *history) write(p *place) bool {
	if p.busy["write"] {
		return false
	}
	var out activities.PushBookingsResult
	err := h.during(p, "write", func(ctx context.Context) (err error) {
		out, err = h.pushes().PushBookings(ctx, activities.PushBookingsInput{Org: h.org, Integration: p.ID})
		return err
	})
	if out.Failed > 0 {
		h.fail("a push was given up")
	}
	return err != nil || out.Done+out.Retried > 0 || out.More || !out.NextDue.IsZero()
}

func (h *history) anyWhen() domain.When {
	h.hours += 5
	start := h.first.Add(time.Duration(h.hours)*time.Hour + time.Duration(h.IntN(60))*time.Second)
	return domain.When{Span: domain.Span{Start: start, End: start.Add(time.Hour)}, Zone: "Europe/London", Kind: domain.TimeZoned}
}

func minute(w domain.When) string { return w.Start.UTC().Truncate(time.Minute).Format("01-02T15:04") }

func (h *history) gave(name string, w domain.When) string {
	if h.times[name] == nil {
		h.times[name] = map[string]bool{}
	}
	h.times[name][minute(w)] = true
	return minute(w)
}

func (h *history) newEvent() string {
	name := "event" + string(rune('a'+len(h.events)%26)) + strings.Repeat("x", len(h.events)/26)
	h.events = append(h.events, name)
	return name
}

func (h *history) bookings() map[domain.BookingID]domain.Booking {
	out := map[domain.BookingID]domain.Booking{}
	h.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Bookings(ctx, store.BookingFilter{Resource: h.person}, store.Page{Limit: 200})
		for _, b := range list {
			out[b.ID] = b
		}
		return err
	})
	return out
}

func (h *history) eventOf(n *note) string {
	if n.event != "" {
		return n.event
	}
	return strings.TrimSpace(h.bookings()[n.origin].Details.Title)
}

// user is somebody who works in a calendar.
func (h *history) user(p *place) {
	var there []*note
	for _, n := range p.entries {
		if !n.gone {
			there = append(there, n)
		}
	}
	what := h.IntN(8)
	if len(there) == 0 || what < 3 {
		name := h.newEvent()
		n := &note{id: p.agenda.name + strconv.Itoa(len(p.entries)), title: " " + name + " ", when: h.anyWhen(), event: name}
		h.note("user makes %s (%s) in %s at %s", n.id, name, p.agenda.name, h.gave(name, n.when))
		p.mu.Lock()
		defer p.mu.Unlock()
		p.entries, p.byID[n.id] = append(p.entries, n), n
		p.touch(n)
		return
	}
	n := there[h.IntN(len(there))]
	name := h.eventOf(n)
	if what == 3 {
		h.note("user deletes %s (%s) in %s", n.id, name, p.agenda.name)
		h.deleted[name] = true
	} else {
		n.when = h.anyWhen()
		h.note("user moves %s (%s) in %s to %s", n.id, name, p.agenda.name, h.gave(name, n.when))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n.gone = what == 3
	p.touch(n)
}

// manual is a person who moves a booking in WedSync.
func (h *history) manual() {
	all := h.bookings()
	ids := slices.DeleteFunc(slices.SortedFunc(maps.Keys(all), func(a, b domain.BookingID) int {
		return strings.Compare(all[a].Details.Title+string(a), all[b].Details.Title+string(b))
	}), func(id domain.BookingID) bool { return !all[id].Blocks() })
	if len(ids) == 0 {
		return
	}
	b := all[ids[h.IntN(len(ids))]]
	b.When = h.anyWhen()
	name := strings.TrimSpace(b.Details.Title)
	h.note("person moves %s to %s", name, h.gave(name, b.When))
	h.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Manual(ctx, tx, b, "alex", "asked by the couple")
		return err
	})
}

// answer settles the open questions about edits on both sides.
func (h *history) answer() (did bool) {
	h.tenant(func(ctx context.Context, tx *store.Tx) error {
		open, _, err := tx.EditConflicts(ctx, store.EditConflictFilter{State: domain.EditOpen}, store.Page{Limit: 200})
		for _, e := range open {
			did = true
			choice := []domain.EditChoice{domain.ChooseSource, domain.ChooseCopy, domain.ChooseBoth}[h.IntN(3)]
			h.note("person settles %s (%s): %s", e.ExternalID, e.Kind, choice)
			if _, err := apply.Settle(ctx, tx, e.ID, choice, e.Version, "alex", "as the couple said"); err != nil {
				return err
			}
		}
		return err
	})
	return did
}

// settle lets everything be read, written and answered until nothing happens.
func (h *history) settle() {
	for round := 0; h.wrong == nil; round++ {
		if round == 25 {
			h.fail("not quiet after %d rounds", round)
			return
		}
		h.advance(7 * time.Hour) // everything is due again
		did := false
		for _, p := range h.places {
			for p.run != "" && h.wrong == nil { // what is left of a run that began before
				did = h.read(p) || did
			}
			h.read(p)
			for p.run != "" && h.wrong == nil {
				did = h.read(p) || did
			}
			did = h.write(p) || did
		}
		if did = h.answer() || did; !did {
			h.note("quiet after %d rounds", round)
			return
		}
	}
}

// again reads everything once more, which must change nothing.
func (h *history) again() {
	writes, versions := 0, map[domain.BookingID]int64{}
	for _, p := range h.places {
		writes += p.writes
		p.epoch++
	}
	for id, b := range h.bookings() {
		versions[id] = b.Version
	}
	h.settle()
	for _, p := range h.places {
		writes -= p.writes
	}
	if writes != 0 {
		h.fail("a second run wrote %d times", -writes)
	}
	for id, b := range h.bookings() {
		if versions[id] != b.Version {
			h.fail("a second run changed %s", b.Details.Title)
		}
	}
}

// agree checks that every calendar shows every booking once and at its time, and nothing else.
func (h *history) agree() {
	all, found := h.bookings(), map[string]int{}
	for id, b := range all {
		if !b.Blocks() {
			delete(all, id)
			continue
		}
		name := strings.TrimSpace(b.Details.Title)
		if b.BesideID == "" {
			found[name]++
		}
		if !h.times[name][minute(b.When)] {
			h.fail("%s is at %s, a time that nobody gave it", name, minute(b.When))
		}
	}
	for _, p := range h.places {
		var links []domain.Link
		h.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			links, err = tx.LinksNamed(ctx, p.ID, slices.Collect(maps.Keys(p.byID)))
			return err
		})
		shown := map[domain.BookingID]int{}
		for _, n := range p.entries {
			at := slices.IndexFunc(links, func(l domain.Link) bool { return l.ExternalID == n.id })
			switch {
			case n.gone:
			case at < 0:
				h.fail("entry %s of %s belongs to nothing", n.id, p.agenda.name)
			default:
				b := all[links[at].BookingID]
				if shown[b.ID]++; b.ID == "" || minute(n.when) != minute(b.When) {
					h.fail("entry %s of %s is at %s, its booking %q at %s", n.id, p.agenda.name, minute(n.when), b.ID, minute(b.When))
				}
			}
		}
		for id, b := range all {
			if shown[id] != 1 {
				h.fail("%s shows %s %d times", p.agenda.name, strings.TrimSpace(b.Details.Title), shown[id])
			}
		}
	}
	for _, name := range h.events {
		if n := found[name]; n > 1 || n == 0 && !h.deleted[name] {
			h.fail("%s, deleted by somebody: %v, is %d bookings", name, h.deleted[name], n)
		}
	}
}
