package activities_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/resolutions"
	"github.com/wedsync/wedsync/internal/store"
)

// audited counts lines of the audit trail.
func (d *desk) audited(action, subject string) int {
	d.t.Helper()
	n := 0
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.AuditEntries(ctx, store.Page{Limit: 200})
		for _, e := range list {
			if e.Action == action && e.Subject == subject {
				n++
			}
		}
		return err
	})
	return n
}

// told counts live events of a topic.
func (d *desk) told(topic domain.Topic) int {
	d.t.Helper()
	return strings.Count(d.dump(), `"topic":"`+string(topic)+`"`)
}

// steps are where the systems stand with a conflict's decision.
func (d *desk) steps(c domain.Conflict) map[domain.IntegrationID]domain.ResolutionStep {
	d.t.Helper()
	out := map[domain.IntegrationID]domain.ResolutionStep{}
	for _, st := range d.conflict(c.ID).Resolution.Steps {
		out[st.IntegrationID] = st
	}
	return out
}

func (d *desk) begin(c domain.Conflict, r domain.Resolution) activities.ConflictView {
	d.t.Helper()
	return run(d, d.resolver().BeginResolution, d.decide(c, r))
}

// refuse lets the next writes of a system fail for good.
func (o *outside) refuse(times int) {
	for range times {
		o.faults["put"] = append(o.faults["put"], domain.E(domain.KindPermanent, "the client portal is locked"))
	}
}

func TestSystemsAreTakenBackOneByOneTheLastWrittenFirst(t *testing.T) {
	t.Parallel()
	d := setup(t)
	third := newOutside()
	board := d.connect("board", domain.DirectionBidirectional, third)
	c, _, consult := d.clash()
	d.write(board)
	d.advance(time.Second)
	d.begin(c, moveTo(consult, -10, -9))
	for _, i := range []domain.Integration{d.cal, board} {
		d.advance(time.Second)
		d.write(i)
	}
	d.atCRM.refuse(1)
	d.write(d.crm)
	if got := d.verify(c); got.State != domain.ConflictUndoing {
		t.Fatalf("result is %+v", got)
	}
	steps := d.steps(c)
	if steps[d.crm.ID].State != domain.StepUndone || steps[board.ID].State != domain.StepUndoing || steps[d.cal.ID].State != domain.StepToUndo {
		t.Fatalf("steps are %+v", steps)
	}
	// Its turn has not come: nothing is written there.
	before := d.atCal.count("put")
	if got := d.write(d.cal); got.Done != 0 || d.atCal.count("put") != before {
		t.Errorf("the calendar was written out of turn: %+v", got)
	}
	d.write(board)
	if got := d.verify(c); got.State != domain.ConflictUndoing || !strings.Contains(got.Step, "2 of 3") {
		t.Errorf("result is %+v", got)
	}
	d.write(d.cal)
	if got := d.verify(c); got.State != domain.ConflictOpen {
		t.Errorf("result is %+v", got)
	}
	if d.told(domain.TopicConflictRefused) != 1 {
		t.Error("nobody was told that a system refused")
	}
}

func TestSystemThatDoesNotTakeItBackIsShownAsStuckAndTriedAgain(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	d.begin(c, moveTo(consult, -10, -9))
	d.write(d.cal)
	d.atCRM.refuse(1)
	d.write(d.crm)
	d.verify(c)
	d.atCal.refuse(2)
	d.write(d.cal)
	got := d.verify(c)
	if got.State != domain.ConflictStuck || !strings.Contains(got.Step, "1 of 2 systems do not take the decision back") {
		t.Fatalf("result is %+v", got)
	}
	step := d.steps(c)[d.cal.ID]
	if step.State != domain.StepStuck || !strings.Contains(step.Reason, "locked") {
		t.Errorf("step is %+v", step)
	}
	if d.told(domain.TopicConflictStuck) != 1 || d.audited("conflict.stuck", "conflict/"+string(c.ID)) != 1 {
		t.Error("nobody was told that it is stuck")
	}
	d.unchanged(func() { d.verify(c) })
	// It is tried again, refuses again, and takes it back in the end.
	for range 2 {
		d.advance(10 * time.Minute)
		d.verify(c)
		d.write(d.cal)
	}
	if got := d.verify(c); got.State != domain.ConflictOpen {
		t.Errorf("result is %+v, steps %+v", got, d.steps(c))
	}
}

func TestStuckConflictIsSettledByHandOrByANewDecision(t *testing.T) {
	t.Parallel()
	stuck := func(t *testing.T) (*desk, domain.Conflict, domain.BookingID) {
		d := setup(t)
		c, _, consult := d.clash()
		d.begin(c, moveTo(consult, -10, -9))
		d.write(d.cal)
		d.atCRM.refuse(1)
		d.write(d.crm)
		d.verify(c)
		d.atCal.refuse(1)
		d.write(d.cal)
		if got := d.verify(c); got.State != domain.ConflictStuck {
			t.Fatalf("result is %+v", got)
		}
		return d, c, consult
	}
	t.Run("by hand", func(t *testing.T) {
		t.Parallel()
		d, c, consult := stuck(t)
		for id, e := range d.atCal.entries {
			if e.Origin == consult {
				e.When = span(13, 14)
				d.atCal.entries[id] = e
			}
		}
		if got := d.verify(c); got.State != domain.ConflictOpen {
			t.Errorf("result is %+v", got)
		}
	})
	t.Run("by the decision that the system shows", func(t *testing.T) {
		t.Parallel()
		d, c, consult := stuck(t)
		for _, r := range []domain.Resolution{{Action: domain.ActionKeepBoth}, {Action: domain.ActionIgnore, Until: new(d.clock().Add(time.Hour))}} {
			in := d.decide(c, r)
			_, err := call(d, d.resolver().BeginResolution, in)
			d.wantKind(err, domain.KindConflict)
		}
		d.advance(time.Second)
		d.begin(c, moveTo(consult, -10, -9))
		d.write(d.cal)
		d.write(d.crm)
		if got := d.verify(c); got.State != domain.ConflictResolved {
			t.Errorf("result is %+v", got)
		}
	})
}

func TestSystemThatIsDownHoldsTheOthersUpForAMinuteAndAPersonForAQuarterHour(t *testing.T) {
	t.Parallel()
	d := setup(t)
	third := newOutside()
	board := d.connect("board", domain.DirectionBidirectional, third)
	c, _, consult := d.clash()
	d.write(board)
	d.advance(time.Second)
	d.begin(c, moveTo(consult, -10, -9))
	d.write(d.cal)
	d.advance(time.Second)
	d.write(board)
	d.atCRM.refuse(1)
	d.write(d.crm)
	d.verify(c)
	down := domain.E(domain.KindUnavailable, "the board is down")
	third.faults["put"] = slices.Repeat([]error{down}, 20)
	d.write(board)
	d.verify(c)
	if st := d.steps(c); st[d.cal.ID].State != domain.StepToUndo {
		t.Errorf("steps at once: %+v", st)
	}
	d.advance(61 * time.Second)
	d.verify(c)
	d.write(d.cal)
	if got := d.verify(c); got.State != domain.ConflictUndoing || d.steps(c)[d.cal.ID].State != domain.StepUndone {
		t.Errorf("after a minute: %+v, steps %+v", got, d.steps(c))
	}
	d.advance(15 * time.Minute)
	if got := d.verify(c); got.State != domain.ConflictStuck || !strings.Contains(d.steps(c)[board.ID].Reason, "down") {
		t.Errorf("after a quarter of an hour: %+v, steps %+v", got, d.steps(c))
	}
	third.faults["put"] = nil
	d.advance(7 * time.Hour)
	d.write(board)
	if got := d.verify(c); got.State != domain.ConflictOpen {
		t.Errorf("when it is back: %+v, steps %+v", got, d.steps(c))
	}
}

func TestChangeOfSomebodyElseOvertakesADecision(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		to   domain.When
		want domain.ConflictState
	}{
		"and they still clash": {span(14, 15), domain.ConflictOpen},
		"and the clash is gone": {span(40, 41),
			domain.ConflictCleared},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			c, _, consult := d.clash()
			d.begin(c, moveTo(consult, -10, -9))
			d.write(d.cal)
			d.advance(time.Second)
			d.move(consult, tc.to)
			got := d.verify(c)
			if got.State != tc.want || !strings.Contains(got.Step, "somebody else") {
				t.Fatalf("result is %+v", got)
			}
			if b := d.booking(consult); !b.When.Equal(tc.to) {
				t.Errorf("the newer change was undone: %v", b.When)
			}
			if tc.want == domain.ConflictOpen && len(d.conflict(c.ID).Alternatives) == 0 {
				t.Error("no ways out")
			}
		})
	}
}

func TestNewClashOfThePairDuringVerificationIsNotClosed(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, wedding, consult := d.clash()
	d.begin(c, moveTo(consult, -10, -9))
	d.write(d.cal)
	d.write(d.crm)
	d.advance(time.Second)
	// The wedding is moved onto the time that the consultation was moved to.
	d.move(wedding, span(-12, -4))
	got := d.verify(c)
	if got.State != domain.ConflictOpen {
		t.Fatalf("result is %+v", got)
	}
	if open := d.conflicts(domain.ConflictOpen); len(open) != 1 || open[0].ID != c.ID {
		t.Errorf("open conflicts: %+v", open)
	}
}

func TestTentativeIsAcceptedUntilItIsConfirmedAgain(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	d.begin(c, domain.Resolution{Action: domain.ActionTentative, BookingID: consult})
	if b := d.booking(consult); b.Status != domain.StatusTentative {
		t.Fatalf("booking is %s", b.Status)
	}
	d.write(d.cal)
	d.write(d.crm)
	if got := d.verify(c); got.State != domain.ConflictDismissed {
		t.Fatalf("result is %+v", got)
	}
	if e := d.atCRM.entries["consult"]; e.Status != domain.StatusTentative {
		t.Errorf("the CRM shows %s", e.Status)
	}
	// Another look at the pair does not report it again; confirming does.
	d.advance(time.Second)
	b := d.booking(consult)
	b.Details.Notes = "asked again"
	d.put(b)
	if open := d.conflicts(domain.ConflictOpen); len(open) != 0 {
		t.Fatalf("reported again while it is tentative: %+v", open)
	}
	b.Status = domain.StatusConfirmed
	d.put(b)
	if open := d.conflicts(domain.ConflictOpen); len(open) != 1 {
		t.Errorf("%d open conflicts after it was confirmed", len(open))
	}
}

// put gives a booking a state by hand.
func (d *desk) put(b domain.Booking) {
	d.t.Helper()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := apply.Manual(ctx, tx, b, "alex", "asked by the couple")
		return err
	})
}

func TestRefusedTentativeIsConfirmedAgainEverywhere(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	d.begin(c, domain.Resolution{Action: domain.ActionTentative, BookingID: consult})
	d.write(d.crm)
	d.atCal.refuse(1)
	d.write(d.cal)
	d.verify(c)
	d.write(d.crm)
	if got := d.verify(c); got.State != domain.ConflictOpen || d.booking(consult).Status != domain.StatusConfirmed {
		t.Fatalf("result is %+v", got)
	}
	if e := d.atCRM.entries["consult"]; e.Status != domain.StatusConfirmed {
		t.Errorf("the CRM shows %s", e.Status)
	}
}

func TestIgnoredConflictIsQuietUntilItsTimeAndComesBackIfItStillClashes(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	until := d.clock().Add(5 * 24 * time.Hour)
	for name, at := range map[string]*time.Time{"none": nil, "past": new(d.clock()), "within 48 hours of the wedding": new(day.Add(12*time.Hour - 47*time.Hour)), "after it": new(day.AddDate(0, 0, 1))} {
		_, err := call(d, d.resolver().BeginResolution, d.decide(c, domain.Resolution{Action: domain.ActionIgnore, Until: at}))
		d.wantKind(err, domain.KindInvalid)
		if !strings.Contains(err.Error(), "until") {
			t.Errorf("%s: %v", name, err)
		}
	}
	view := d.begin(c, domain.Resolution{Action: domain.ActionIgnore, Until: &until})
	if view.State != domain.ConflictIgnored || !view.IgnoredUntil.Equal(until) || !view.DeadlineAt.IsZero() {
		t.Fatalf("view is %+v", view)
	}
	// A change that leaves the clash as it is wakes nobody.
	d.advance(time.Second)
	b := d.booking(consult)
	b.Details.Notes = "asked again"
	d.put(b)
	early := activities.WakeConflictInput{ConflictRef: d.ref(c), Until: until.Add(-time.Second)}
	d.unchanged(func() { run(d, d.resolver().WakeConflict, early) })
	d.advance(5 * 24 * time.Hour)
	in := activities.WakeConflictInput{ConflictRef: d.ref(c), Until: until}
	got := run(d, d.resolver().WakeConflict, in)
	if got.State != domain.ConflictOpen || got.DeadlineAt.Before(d.clock()) {
		t.Errorf("view is %+v", got)
	}
	d.unchanged(func() { run(d, d.resolver().WakeConflict, in) })
	if now := d.conflict(c.ID); len(now.Alternatives) == 0 || now.IgnoredUntil != nil || d.told(domain.TopicConflictReminder) != 1 {
		t.Errorf("conflict is %+v", now)
	}
}

func TestIgnoredConflictThatDisappearsIsClearedAndOneThatGetsWorseComesBackAtOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		to   domain.When
		want domain.ConflictState
	}{"disappears": {span(60, 61), domain.ConflictCleared}, "moves": {span(15, 17), domain.ConflictOpen}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			c, _, consult := d.clash()
			until := d.clock().Add(5 * 24 * time.Hour)
			d.begin(c, domain.Resolution{Action: domain.ActionIgnore, Until: &until})
			d.advance(time.Hour)
			d.move(consult, tc.to)
			now := d.conflict(c.ID)
			if now.State != tc.want {
				t.Fatalf("conflict is %+v", now)
			}
			if tc.want == domain.ConflictOpen && !now.WaitingSince.Equal(d.clock()) {
				t.Errorf("waiting since %v, want from now on", now.WaitingSince)
			}
		})
	}
}

func TestDeadlineIsEscalatedOnceAndShown(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, _ := d.clash()
	// A wedding and a consultation are high: half a day.
	if c.DeadlineAt == nil || !c.DeadlineAt.Equal(c.DetectedAt.Add(12*time.Hour)) {
		t.Fatalf("deadline is %v, found %v", c.DeadlineAt, c.DetectedAt)
	}
	d.unchanged(func() {
		run(d, d.resolver().EscalateConflict, activities.EscalateConflictInput{ConflictRef: d.ref(c), Deadline: c.DeadlineAt.Add(-time.Second)})
	})
	in := activities.EscalateConflictInput{ConflictRef: d.ref(c), Deadline: *c.DeadlineAt}
	d.advance(12 * time.Hour)
	if got := run(d, d.resolver().EscalateConflict, in); !got.Escalated || !got.DeadlineAt.IsZero() {
		t.Errorf("view is %+v", got)
	}
	d.unchanged(func() { run(d, d.resolver().EscalateConflict, in) })
	now := d.conflict(c.ID)
	if now.EscalatedAt == nil || !now.EscalatedAt.Equal(d.clock()) || d.told(domain.TopicConflictEscalated) != 1 ||
		d.audited("conflict.escalate", "conflict/"+string(c.ID)) != 1 {
		t.Errorf("conflict is %+v", now)
	}
	run(d, d.resolver().RemindConflict, activities.RemindConflictInput{ConflictRef: d.ref(c), Number: 3})
	if now = d.conflict(c.ID); now.Reminders != 3 || d.told(domain.TopicConflictReminder) != 1 {
		t.Errorf("%d reminders", now.Reminders)
	}
}

func TestReminderClearsWhatIsOver(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, _ := d.clash()
	d.advance(60 * 24 * time.Hour)
	if got := run(d, d.resolver().RemindConflict, activities.RemindConflictInput{ConflictRef: d.ref(c), Number: 1}); got.State != domain.ConflictCleared {
		t.Errorf("view is %+v", got)
	}
}

func TestDecisionOntoAThirdBookingThatClashesAlreadyIsRefused(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	// A third booking clashes with the consultation too, so that pair has an open conflict.
	d.arrive(d.crm, change("third", domain.CategoryVendor, 13.5, 21.5))
	in := d.decide(c, moveTo(consult, 20.5, 21))
	_, err := call(d, d.resolver().BeginResolution, in)
	d.wantKind(err, domain.KindConflict)
	if !strings.Contains(err.Error(), "another booking") {
		t.Errorf("refused because: %v", err)
	}
	past := d.decide(c, domain.Resolution{Action: domain.ActionMove, BookingID: consult, When: new(span(-24*50, -24*50+1))})
	_, err = call(d, d.resolver().BeginResolution, past)
	d.wantKind(err, domain.KindInvalid)
}

// withdraw calls off the decision that is carried out.
func (d *desk) withdraw(c domain.Conflict, version int64) (now domain.Conflict, err error) {
	d.t.Helper()
	err = d.Tenant(d.t.Context(), d.org, func(ctx context.Context, tx *store.Tx) (err error) {
		now, err = resolutions.Withdraw(ctx, tx, c.ID, version, "robin", "the couple changed their mind")
		return err
	})
	return now, err
}

func TestDecisionThatWaitsForASystemThatIsDownIsCalledOff(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	was := d.booking(consult).When
	if _, err := d.withdraw(c, c.Version); domain.KindOf(err) != domain.KindConflict {
		t.Fatalf("nothing is being carried out, and it came to %v", err)
	}
	d.begin(c, moveTo(consult, -10, -9))
	d.write(d.cal)
	d.verify(c)
	version := d.conflict(c.ID).Version
	if _, err := d.withdraw(c, version-1); domain.KindOf(err) != domain.KindConflict {
		t.Fatalf("an old version came to %v", err)
	}
	now, err := d.withdraw(c, version)
	if err != nil || now.State != domain.ConflictUndoing {
		t.Fatalf("it is %s, %v", now.State, err)
	}
	if got := d.booking(consult).When; !got.Equal(was) {
		t.Errorf("the booking is at %v still", got)
	}
	if _, err := d.withdraw(c, now.Version); domain.KindOf(err) != domain.KindConflict {
		t.Errorf("calling it off twice came to %v", err)
	}
	for range 4 {
		d.verify(c)
		d.write(d.crm)
		d.write(d.cal)
	}
	got := d.conflict(c.ID)
	if got.State != domain.ConflictOpen || !strings.Contains(got.Resolution.Error, "called off by robin") {
		t.Errorf("the conflict is %s, %q", got.State, got.Resolution.Error)
	}
	for _, e := range d.atCRM.entries {
		if e.When.Equal(span(-10, -9)) {
			t.Errorf("the CRM took a decision that was called off")
		}
	}
	if d.audited("conflict.withdraw", "conflict/"+string(c.ID)) != 1 || d.told(domain.TopicConflictRefused) != 0 {
		t.Error("the audit trail must say who called it off, and no system refused")
	}
}

func TestProposalThatWasTakenMeanwhileIsReplaced(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	way := func() domain.Alternative {
		t.Helper()
		list := d.conflict(c.ID).Alternatives
		n := slices.IndexFunc(list, func(a domain.Alternative) bool { return a.Action == domain.ActionMove && a.BookingID == consult })
		if n < 0 {
			t.Fatalf("no way out by moving: %+v", list)
		}
		return list[n]
	}
	first := way()
	other := change("other", domain.CategoryVendor, 0, 1)
	other.When = first.When
	d.arrive(d.crm, other)
	_, err := call(d, d.resolver().BeginResolution, d.decide(c, domain.Resolution{Action: domain.ActionMove, BookingID: consult, When: &first.When}))
	d.wantKind(err, domain.KindConflict)
	second := way()
	if second.When.Overlaps(first.When.Span) {
		t.Fatalf("%v is proposed again, although it is taken", first.When)
	}
	d.advance(time.Second)
	if got := d.begin(c, domain.Resolution{Action: domain.ActionMove, BookingID: consult, When: &second.When}); got.State != domain.ConflictResolving {
		t.Errorf("view is %+v", got)
	}
}

func TestProposalThatADecisionTakesIsReplacedInOtherConflicts(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	d.arrive(d.crm, change("third", domain.CategoryVendor, 15, 16))
	open := d.conflicts(domain.ConflictOpen)
	n := slices.IndexFunc(open, func(o domain.Conflict) bool { return o.ID != c.ID })
	if n < 0 || len(open[n].Alternatives) == 0 {
		t.Fatalf("open conflicts: %+v", open)
	}
	proposed := open[n].Alternatives[0].When
	d.advance(time.Second)
	d.begin(c, domain.Resolution{Action: domain.ActionMove, BookingID: consult, When: &proposed})
	for _, a := range d.conflict(open[n].ID).Alternatives {
		if a.When.Overlaps(proposed.Span) {
			t.Errorf("%v is proposed still, although a decision took it", a.When)
		}
	}
}

func TestOfTwoDecisionsAtOnceOneWins(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	one, two := d.decide(c, moveTo(consult, -10, -9)), d.decide(c, domain.Resolution{Action: domain.ActionCancel, BookingID: consult})
	var wait sync.WaitGroup
	errs := make([]error, 2)
	for n, in := range []activities.BeginResolutionInput{one, two} {
		wait.Go(func() { _, errs[n] = call(d, d.resolver().BeginResolution, in) })
	}
	wait.Wait()
	lost := errors.Join(errs...)
	if (errs[0] == nil) == (errs[1] == nil) || !strings.Contains(lost.Error(), "alex decided") {
		t.Errorf("the decisions came to %v and %v; the one that lost must name the other", errs[0], errs[1])
	}
}

func TestEntryOfAConnectionThatOnlyReadsIsLeftToAPerson(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, d.crm.ID)
		if err != nil {
			return err
		}
		i.Direction = domain.DirectionImport
		return tx.UpdateIntegration(ctx, i, nil, i.Version)
	})
	d.advance(time.Second)
	d.begin(c, moveTo(consult, -10, -9))
	d.write(d.cal)
	if got := d.verify(c); got.State != domain.ConflictResolved {
		t.Fatalf("result is %+v", got)
	}
	if st := d.steps(c); st[d.crm.ID].State != domain.StepByHand || st[d.cal.ID].State != domain.StepVerified {
		t.Errorf("steps are %+v", st)
	}
}
