package activities_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

var resolutionHistories = flag.Int("resolutions", 12, "random histories of decisions, refusals, crashes and news to play")

// quarrelling is a random history over a real database: people decide, policies act, systems refuse, lose answers and are
// down, calendars change in between, steps run twice and at once. When all is quiet no two bookings may clash without an
// open conflict or a person's word, no conflict may be open without a clash, and every system must show what is true.
type quarrelling struct {
	*desk
	*rand.Rand
	second domain.Resource
	log    []string
	made   int
}

func (q *quarrelling) note(format string, args ...any) {
	q.log = append(q.log, fmt.Sprintf("%s "+format, append([]any{q.clock().Format("02 15:04:05")}, args...)...))
}

func (q *quarrelling) failf(format string, args ...any) {
	q.t.Helper()
	q.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(q.log, "\n"))
}

// place is a time on one of three days, on the full hour, so that bookings meet often.
func (q *quarrelling) place() (from, to float64) {
	from = float64(q.IntN(3)*24 + 9 + q.IntN(8))
	return from, from + float64(1+q.IntN(3))
}

func (q *quarrelling) side() (domain.Integration, *outside) {
	if q.IntN(2) == 0 {
		return q.cal, q.atCal
	}
	return q.crm, q.atCRM
}

// news is a change that somebody makes in a system.
func (q *quarrelling) news() {
	i, at := q.side()
	from, to := q.place()
	var own []string
	for id, e := range at.entries {
		if e.Origin == "" && e.Status != domain.StatusCancelled {
			own = append(own, id)
		}
	}
	if len(own) > 0 && q.IntN(3) == 0 {
		e := at.entries[own[q.IntN(len(own))]]
		e.Revision += "x"
		if q.IntN(4) == 0 {
			e.Status = domain.StatusCancelled
		} else {
			e.When = span(from, to)
		}
		at.entries[e.ExternalID] = e
		q.note("news: %s %s %v", e.ExternalID, e.Status, e.When)
		q.arrive(i, e)
		return
	}
	q.made++
	categories := []domain.Category{meeting, meeting, domain.CategoryVendor, domain.CategoryWedding}
	e := change(fmt.Sprintf("e%d", q.made), categories[q.IntN(len(categories))], from, to)
	e.Revision = "r"
	if q.IntN(4) == 0 {
		e.Status = domain.StatusTentative
	}
	at.entries[e.ExternalID] = e
	q.note("news: %s %s %s %v", e.ExternalID, e.Category, e.Status, e.When)
	q.arrive(i, e)
}

func (q *quarrelling) unclosed() []domain.Conflict {
	var out []domain.Conflict
	for _, s := range domain.ConflictStates() {
		if s.Open() {
			out = append(out, q.conflicts(s)...)
		}
	}
	return out
}

func (q *quarrelling) pick() (domain.Conflict, bool) {
	all := q.unclosed()
	if len(all) == 0 {
		return domain.Conflict{}, false
	}
	return all[q.IntN(len(all))], true
}

func (q *quarrelling) decideSomething() {
	c, ok := q.pick()
	if !ok {
		return
	}
	who := []domain.BookingID{c.BookingID, c.OtherID}[q.IntN(2)]
	if who == "" {
		who = c.BookingID
	}
	r := domain.Resolution{BookingID: who}
	switch q.IntN(8) {
	case 0:
		r.Action = domain.ActionCancel
	case 1:
		r.Action = domain.ActionTentative
	case 2:
		r.Action, r.BookingID = domain.ActionKeepBoth, ""
	case 3:
		until := q.clock().Add(time.Duration(1+q.IntN(100)) * time.Hour)
		r.Action, r.BookingID, r.Until = domain.ActionIgnore, "", &until
	case 4:
		r.Action, r.ResourceID = domain.ActionReassign, q.second.ID
	case 5:
		from, to := q.place()
		when := span(from, to)
		r.Action, r.When = domain.ActionMove, &when
	default:
		if len(c.Alternatives) == 0 {
			return
		}
		a := c.Alternatives[q.IntN(len(c.Alternatives))]
		r.Action, r.BookingID = a.Action, a.BookingID
		if a.Action == domain.ActionReassign {
			r.ResourceID = a.ResourceID
		} else {
			r.When = &a.When
		}
	}
	in := q.decide(c, r)
	v, err := call(q.desk, q.resolver().BeginResolution, in)
	q.note("decide %s %s of %s: %s %v", c.ID[30:], r.Action, c.State, v.State, err)
	if err != nil && activities.RefusalText(err) == "" {
		q.failf("a decision failed without words for a person: %v", err)
	}
	if q.IntN(4) == 0 {
		_, _ = call(q.desk, q.resolver().BeginResolution, in) // once more, as after a lost answer
	}
}

func (q *quarrelling) writeSomething() {
	i, at := q.side()
	switch q.IntN(6) {
	case 0:
		at.refuse(1)
		q.note("%s will refuse", i.Name)
	case 1:
		at.faults["put"] = append(at.faults["put"], domain.E(domain.KindUnavailable, "down"))
	case 2:
		at.lost["put"]++
		q.note("%s will lose an answer", i.Name)
	}
	got := q.write(i)
	q.note("write %s: %+v", i.Name, got)
}

func (q *quarrelling) look() {
	c, ok := q.pick()
	if !ok || !c.State.Carrying() {
		return
	}
	_, at := q.side()
	if q.IntN(5) == 0 {
		at.faults["read"] = append(at.faults["read"], domain.E(domain.KindUnavailable, "down"))
	}
	if q.IntN(4) == 0 {
		// A step whose worker was taken for dead and its repeat.
		var wait sync.WaitGroup
		for range 2 {
			wait.Go(func() { _, _ = call(q.desk, q.resolver().VerifyResolution, q.ref(c)) })
		}
		wait.Wait()
		return
	}
	got, err := call(q.desk, q.resolver().VerifyResolution, q.ref(c))
	q.note("look at %s: %s, %s %v", c.ID[30:], got.State, got.Step, err)
}

func (q *quarrelling) tick() {
	q.advance(time.Duration(1+q.IntN(5)) * []time.Duration{time.Second, time.Minute, time.Hour}[q.IntN(3)])
	for _, c := range q.unclosed() {
		switch {
		case c.IgnoredUntil != nil && !q.clock().Before(*c.IgnoredUntil):
			run(q.desk, q.resolver().WakeConflict, activities.WakeConflictInput{ConflictRef: q.ref(c), Until: *c.IgnoredUntil})
		case c.DeadlineAt != nil && c.EscalatedAt == nil && !q.clock().Before(*c.DeadlineAt):
			run(q.desk, q.resolver().EscalateConflict, activities.EscalateConflictInput{ConflictRef: q.ref(c), Deadline: *c.DeadlineAt})
		case q.IntN(6) == 0:
			run(q.desk, q.resolver().RemindConflict, activities.RemindConflictInput{ConflictRef: q.ref(c), Number: c.Reminders + 1})
		case q.IntN(2) == 0:
			q.judged(c)
		}
	}
}

// settle lets everything that is under way come to its end with healthy systems.
func (q *quarrelling) settle() {
	for _, at := range []*outside{q.atCal, q.atCRM} {
		clear(at.faults)
		clear(at.lost)
	}
	for round := 0; ; round++ {
		q.advance(7 * time.Hour)
		busy := false
		// What was refused outside of a decision waits for a person, who has it written again.
		q.tenant(func(ctx context.Context, tx *store.Tx) error {
			bookings, _, err := tx.Bookings(ctx, store.BookingFilter{}, store.Page{Limit: 200})
			if err != nil {
				return err
			}
			for _, b := range bookings {
				pushes, err := tx.PushesOf(ctx, b.ID)
				if err != nil {
					return err
				}
				for _, p := range pushes {
					if p.State == domain.PushFailed && !q.carried(b.ID) {
						if err := tx.ReleasePush(ctx, p.IntegrationID, b.ID); err != nil {
							return err
						}
					}
				}
			}
			return nil
		})
		for _, i := range []domain.Integration{q.cal, q.crm} {
			if got := q.write(i); got.Done+got.Retried+got.Failed > 0 {
				busy = true
			}
		}
		for _, c := range q.unclosed() {
			if c.State.Carrying() {
				busy = true
				run(q.desk, q.resolver().VerifyResolution, q.ref(c))
			}
		}
		if !busy {
			return
		}
		if round > 40 {
			q.failf("it does not come to an end: %+v", q.unclosed())
		}
	}
}

// carried reports whether a decision about a booking is under way.
func (q *quarrelling) carried(id domain.BookingID) bool {
	for _, c := range q.unclosed() {
		if c.State.Carrying() && (c.BookingID == id || c.OtherID == id) {
			return true
		}
	}
	return false
}

func (q *quarrelling) check() {
	q.t.Helper()
	var bookings []domain.Booking
	accepted := map[string]bool{}
	byPair := map[string]domain.Conflict{}
	q.tenant(func(ctx context.Context, tx *store.Tx) error {
		var err error
		if bookings, _, err = tx.Bookings(ctx, store.BookingFilter{}, store.Page{Limit: 200}); err != nil {
			return err
		}
		for _, c := range q.conflicts("") {
			pair := string(c.BookingID) + "+" + string(c.OtherID)
			if c.OtherID < c.BookingID {
				pair = string(c.OtherID) + "+" + string(c.BookingID)
			}
			switch {
			case c.State == domain.ConflictDismissed:
				accepted[pair] = true
			case c.State.Open():
				if _, twice := byPair[pair]; twice {
					q.failf("two open conflicts of one pair: %+v", c)
				}
				byPair[pair] = c
				if _, still, err := apply.ClashOf(ctx, tx, c); err != nil || !still {
					q.failf("conflict %s is %s and nothing clashes (%v)", c.ID, c.State, err)
				}
			}
		}
		// Every pair is asked about as if it had a conflict.
		for n, a := range bookings {
			for _, b := range bookings[n+1:] {
				if !a.Blocks() || !b.Blocks() || a.ResourceID != b.ResourceID {
					continue
				}
				x, y := a.ID, b.ID
				if y < x {
					x, y = y, x
				}
				f, still, err := apply.ClashOf(ctx, tx, domain.Conflict{ResourceID: a.ResourceID, BookingID: x, OtherID: y})
				if err != nil {
					return err
				}
				pair := string(x) + "+" + string(y)
				if _, open := byPair[pair]; still && !open && !accepted[pair] {
					q.failf("%s and %s clash (%s) and nobody knows", x, y, f.Explanation)
				}
			}
		}
		return nil
	})
	for _, b := range bookings {
		for _, side := range []struct {
			i  domain.Integration
			at *outside
		}{{q.cal, q.atCal}, {q.crm, q.atCRM}} {
			for _, l := range q.links(b.ID, side.i) {
				if l.RemovedAt != nil {
					continue
				}
				e, there := side.at.entries[l.ExternalID]
				gone := !there || e.Status == domain.StatusCancelled
				if gone != (b.Status == domain.StatusCancelled) || !gone && !e.When.Start.Equal(b.When.Start) {
					q.failf("%s shows %s at %v (there: %v), the booking is %s at %v", side.i.Name, l.ExternalID, e.When, there, b.Status, b.When)
				}
			}
		}
	}
}

func TestAnyHistoryOfDecisionsEndsWithoutAClashThatNobodyKnowsOf(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: plays histories on PostgreSQL")
	}
	for seed := range *resolutionHistories {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			q := &quarrelling{desk: setup(t), Rand: rand.New(rand.NewPCG(uint64(seed), 5))}
			q.second = q.newResource()
			if q.IntN(2) == 0 {
				q.policy(domain.ConflictPolicy{Category: meeting, Other: meeting, Rule: domain.PolicyFirstConfirmed, Then: []domain.PolicyThen{domain.ThenBest,
					domain.ThenTentative, domain.ThenCancel}[q.IntN(3)]})
				q.policy(domain.ConflictPolicy{Category: domain.CategoryWedding, Other: meeting, Rule: domain.PolicyHigherCategory})
			}
			for range 40 {
				q.advance(time.Second)
				switch q.IntN(10) {
				case 0, 1, 2:
					q.news()
				case 3, 4:
					q.decideSomething()
				case 5, 6:
					q.writeSomething()
				case 7, 8:
					q.look()
				default:
					q.tick()
				}
			}
			q.settle()
			q.check()
		})
	}
}
