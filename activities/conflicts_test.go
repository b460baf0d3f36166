package activities_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// clash makes a wedding in the calendar and a consultation in the CRM at one time, with copies written.
func (d *desk) clash() (c domain.Conflict, wedding, consult domain.BookingID) {
	d.t.Helper()
	w := change("wed", domain.CategoryWedding, 12, 20)
	w.Revision = "r"
	d.atCal.entries["wed"] = w
	wedding = d.arrive(d.cal, w)
	d.advance(time.Second)
	k := change("consult", domain.CategoryConsultation, 13, 14)
	k.Revision = "r"
	d.atCRM.entries["consult"] = k
	consult = d.arrive(d.crm, k)
	d.write(d.cal)
	d.write(d.crm)
	d.advance(time.Second)
	open := d.conflicts(domain.ConflictOpen)
	if len(open) != 1 || open[0].BookingID != consult || open[0].OtherID != wedding {
		d.t.Fatalf("open conflicts: %+v", open)
	}
	return open[0], wedding, consult
}

func (d *desk) decide(c domain.Conflict, r domain.Resolution) activities.BeginResolutionInput {
	d.t.Helper()
	r.By, r.Reason = "alex", "asked by the couple"
	id := string(domain.NewID[domain.ConflictID](d.clock()))
	d.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.PutDecision(ctx, id, c.ID, r) })
	return activities.BeginResolutionInput{ConflictRef: d.ref(c), DecisionID: id, By: "alex"}
}

func (d *desk) ref(c domain.Conflict) activities.ConflictRef {
	return activities.ConflictRef{Org: d.org, Conflict: c.ID}
}

func (d *desk) conflict(id domain.ConflictID) domain.Conflict {
	d.t.Helper()
	var c domain.Conflict
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		c, err = tx.Conflict(ctx, id)
		return err
	})
	return c
}

func (d *desk) verify(c domain.Conflict) activities.VerifyResolutionResult {
	d.t.Helper()
	return run(d, d.resolver().VerifyResolution, d.ref(c))
}

func moveTo(id domain.BookingID, from, to float64) domain.Resolution {
	when := span(from, to)
	return domain.Resolution{Action: domain.ActionMove, BookingID: id, When: &when}
}

func TestDecisionIsCarriedOutAndReadBack(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	in := d.decide(c, moveTo(consult, -10, -9))
	view := run(d, d.resolver().BeginResolution, in)
	if view.State != domain.ConflictResolving || view.WeddingDate != "2027-06-12" || !d.booking(consult).When.Equal(span(-10, -9)) {
		t.Fatalf("view is %+v", view)
	}
	d.unchanged(func() {
		if again := run(d, d.resolver().BeginResolution, in); again != view {
			t.Errorf("again: %+v, want %+v", again, view)
		}
	})
	d.unchanged(func() {
		if got := d.verify(c); got.State != domain.ConflictResolving || !strings.Contains(got.Step, "2 of 2") {
			t.Errorf("before anything was written: %+v", got)
		}
	})
	d.write(d.crm)
	if got := d.verify(c); got.State != domain.ConflictResolving || !strings.Contains(got.Step, "1 of 2") {
		t.Errorf("half written: %+v", got)
	}
	d.write(d.cal)
	// One system shows something else than it was given.
	there := d.atCRM.entries["consult"]
	wrong := there
	wrong.When = span(1, 2)
	d.atCRM.entries["consult"] = wrong
	if got := d.verify(c); got.State != domain.ConflictResolving {
		t.Errorf("a system shows another time: %+v", got)
	}
	d.atCRM.entries["consult"] = there
	if got := d.verify(c); got.State != domain.ConflictResolved || !strings.Contains(got.Step, "2 systems") {
		t.Errorf("after everything was written: %+v", got)
	}
	if c := d.conflict(c.ID); c.State != domain.ConflictResolved || c.ClosedAt == nil || c.Resolution.By != "alex" {
		t.Errorf("conflict is %+v", c)
	}
	d.unchanged(func() { d.verify(c) })
}

func TestConflictIsToldWhenItsCopiesAreWritten(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	run(d, d.resolver().BeginResolution, d.decide(c, moveTo(consult, -10, -9)))
	d.exec("DELETE FROM outbox")
	d.write(d.crm)
	rows, err := d.ClaimOutbox(t.Context(), 10)
	d.must(err)
	if len(rows) != 1 || rows[0].Kind != store.OutboxConflictRecheck || rows[0].Target != string(c.ID) {
		t.Errorf("outbox is %+v", rows)
	}
}

func TestRefusalOfASystemPutsTheBookingBack(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	first := c.Alternatives[slices.IndexFunc(c.Alternatives, func(a domain.Alternative) bool { return a.Action == domain.ActionMove })]
	run(d, d.resolver().BeginResolution, d.decide(c, domain.Resolution{Action: domain.ActionMove, BookingID: consult, When: &first.When}))
	d.write(d.cal)
	d.atCRM.faults["put"] = []error{domain.E(domain.KindPermanent, "the client portal is locked")}
	d.write(d.crm)
	asked := d.atCRM.count("put")
	got := d.verify(c)
	if got.State != domain.ConflictUndoing || !strings.Contains(got.Step, "locked") || !strings.Contains(got.Step, "1 of 2") {
		t.Fatalf("result is %+v", got)
	}
	if b := d.booking(consult); !b.When.Equal(span(13, 14)) {
		t.Errorf("booking is at %v", b.When)
	}
	if c := d.conflict(c.ID); c.Resolution == nil || !strings.Contains(c.Resolution.Error, "locked") {
		t.Errorf("conflict is %+v", c)
	}
	// The system that had taken the change takes it back; the one that refused is left alone, since it shows what it should.
	d.write(d.cal)
	d.write(d.crm)
	if n := d.atCRM.count("put"); n != asked {
		t.Errorf("the system that refused was written %d times more", n-asked)
	}
	if got := d.verify(c); got.State != domain.ConflictOpen || !strings.Contains(got.Step, "locked") {
		t.Fatalf("result is %+v", got)
	}
	for _, e := range d.atCal.entries {
		if e.Origin == consult && !e.When.Equal(span(13, 14)) {
			t.Errorf("the calendar still shows %v", e.When)
		}
	}
	if open := d.conflicts(domain.ConflictOpen); len(open) != 1 {
		t.Errorf("%d open conflicts of one pair", len(open))
	}
	now := d.conflict(c.ID)
	if len(now.Alternatives) == 0 || !now.WaitingSince.Equal(d.clock()) {
		t.Errorf("opened again since %v with %d proposals", now.WaitingSince, len(now.Alternatives))
	}
	for _, a := range now.Alternatives {
		if a.Action == domain.ActionMove && a.When.Equal(first.When) {
			t.Errorf("what was refused is proposed again: %+v", a)
		}
	}
	for _, action := range []string{"conflict.begin", "conflict.undo", "conflict.reopen"} {
		if d.audited(action, "conflict/"+string(c.ID)) != 1 {
			t.Errorf("no line %s in the audit trail", action)
		}
	}
	// The way is free for another decision, which is not held up by the failure of the first.
	d.advance(time.Second)
	run(d, d.resolver().BeginResolution, d.decide(c, moveTo(consult, -12, -11)))
	d.write(d.cal)
	d.write(d.crm)
	if got := d.verify(c); got.State != domain.ConflictResolved {
		t.Errorf("second decision: %+v", got)
	}
}

func TestOldFailureElsewhereDoesNotUndoADecision(t *testing.T) {
	t.Parallel()
	d := setup(t)
	o := newOutside()
	board := d.connect("board", domain.DirectionExport, o)
	c, _, consult := d.clash()
	o.faults["put"] = []error{domain.E(domain.KindPermanent, "full"), domain.E(domain.KindPermanent, "full")}
	d.write(board)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, board.ID)
		if err != nil {
			return err
		}
		i.Direction = domain.DirectionImport
		return tx.UpdateIntegration(ctx, i, nil, i.Version)
	})
	d.advance(time.Second)
	run(d, d.resolver().BeginResolution, d.decide(c, moveTo(consult, -10, -9)))
	d.write(d.cal)
	d.write(d.crm)
	if got := d.verify(c); got.State != domain.ConflictResolved {
		t.Errorf("result is %+v", got)
	}
}

func TestDeletedIntegrationDoesNotHoldUpADecision(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	run(d, d.resolver().BeginResolution, d.decide(c, moveTo(consult, -10, -9)))
	d.write(d.crm)
	d.setState(d.cal.ID, domain.IntegrationDeleted)
	if got := d.verify(c); got.State != domain.ConflictResolved {
		t.Errorf("result is %+v", got)
	}
}

func TestDecisionThatWouldClashIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	d.arrive(d.cal, change("other", domain.CategoryVendor, -10, -8))
	stranger := d.arrive(d.cal, change("far", domain.CategoryVendor, 200, 201))
	for name, r := range map[string]domain.Resolution{
		"onto another booking":   moveTo(consult, -9.5, -8.5),
		"within the same clash":  moveTo(consult, 15, 16),
		"without a time":         {Action: domain.ActionMove, BookingID: consult},
		"of a third booking":     moveTo(stranger, -5, -4),
		"to an unknown resource": {Action: domain.ActionReassign, BookingID: consult, ResourceID: domain.NewID[domain.ResourceID](d.clock())},
	} {
		in := d.decide(c, r)
		d.unchanged(func() {
			_, err := call(d, d.resolver().BeginResolution, in)
			if err == nil {
				t.Fatalf("%s: not refused", name)
			}
			if text := activities.RefusalText(err); text == "" || strings.Contains(text, "Marker") {
				t.Errorf("%s: refused without words that may be shown: %v", name, err)
			}
		})
	}
}

func TestOffHoursDoNotRefuseADecision(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Resource(ctx, d.person.ID)
		if err != nil {
			return err
		}
		r.Hours = domain.WorkingHours{{Weekday: time.Monday, From: 540, To: 600}}
		return tx.UpdateResource(ctx, r, r.Version)
	})
	if got := run(d, d.resolver().BeginResolution, d.decide(c, moveTo(consult, -10, -9))); got.State != domain.ConflictResolving {
		t.Errorf("view is %+v", got)
	}
}

func TestKeepBothClosesAtOnce(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	before := d.booking(consult)
	in := d.decide(c, domain.Resolution{Action: domain.ActionKeepBoth})
	if got := run(d, d.resolver().BeginResolution, in); got.State != domain.ConflictDismissed {
		t.Errorf("view is %+v", got)
	}
	if after := d.booking(consult); after.Version != before.Version {
		t.Errorf("the booking changed: %+v", after)
	}
	d.unchanged(func() { run(d, d.resolver().BeginResolution, in) })
	_, err := call(d, d.resolver().BeginResolution, d.decide(c, moveTo(consult, -10, -9)))
	d.wantKind(err, domain.KindConflict)
}

func TestSecondDecisionIsRefusedWhileTheFirstIsCarriedOut(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	run(d, d.resolver().BeginResolution, d.decide(c, moveTo(consult, -10, -9)))
	second := d.decide(c, domain.Resolution{Action: domain.ActionCancel, BookingID: consult})
	d.unchanged(func() {
		_, err := call(d, d.resolver().BeginResolution, second)
		d.wantKind(err, domain.KindConflict)
	})
}

func TestDecisionOfAnotherConflictIsRefused(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, consult := d.clash()
	d.arrive(d.crm, change("k2", domain.CategoryConsultation, 15, 16))
	var other domain.Conflict
	for _, one := range d.conflicts(domain.ConflictOpen) {
		if one.ID != c.ID {
			other = one
		}
	}
	in := d.decide(c, moveTo(consult, -10, -9))
	in.Conflict = other.ID
	_, err := call(d, d.resolver().BeginResolution, in)
	d.wantKind(err, domain.KindInvalid)
}

func TestCancelAndReassignAreCarriedOut(t *testing.T) {
	t.Parallel()
	t.Run("cancel", func(t *testing.T) {
		t.Parallel()
		d := setup(t)
		c, _, consult := d.clash()
		run(d, d.resolver().BeginResolution, d.decide(c, domain.Resolution{Action: domain.ActionCancel, BookingID: consult}))
		d.write(d.cal)
		d.write(d.crm)
		if got := d.verify(c); got.State != domain.ConflictResolved {
			t.Fatalf("result is %+v", got)
		}
		if e := d.atCRM.entries["consult"]; e.Status != domain.StatusCancelled {
			t.Errorf("the CRM's entry is %+v", e)
		}
		for _, e := range d.atCal.entries {
			if e.Origin == consult {
				t.Errorf("the copy in the calendar is left: %+v", e)
			}
		}
	})
	t.Run("reassign", func(t *testing.T) {
		t.Parallel()
		d := setup(t)
		c, _, consult := d.clash()
		second := d.newResource()
		run(d, d.resolver().BeginResolution, d.decide(c, domain.Resolution{Action: domain.ActionReassign, BookingID: consult, ResourceID: second.ID}))
		d.write(d.cal)
		d.write(d.crm)
		if got := d.verify(c); got.State != domain.ConflictResolved || d.booking(consult).ResourceID != second.ID {
			t.Fatalf("result is %+v", got)
		}
	})
}

func TestReminderLooksForWaysOutAnew(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, _ := d.clash()
	first := c.Alternatives[0]
	d.arrive(d.cal, change("taken", domain.CategoryVendor, first.When.Start.Sub(day).Hours(), first.When.End.Sub(day).Hours()))
	in := activities.RemindConflictInput{ConflictRef: d.ref(c), Number: 1}
	if got := run(d, d.resolver().RemindConflict, in); got.State != domain.ConflictOpen || got.Version != c.Version+1 {
		t.Errorf("view is %+v", got)
	}
	now := d.conflict(c.ID)
	if len(now.Alternatives) < 3 {
		t.Errorf("%d alternatives", len(now.Alternatives))
	}
	for _, a := range now.Alternatives {
		if a.ResourceID == first.ResourceID && a.When.Equal(first.When) {
			t.Errorf("a time that is taken is proposed: %+v", a)
		}
	}
	if got := run(d, d.resolver().LoadConflict, d.ref(c)); got.Version != now.Version {
		t.Errorf("view is %+v", got)
	}
}

func TestConflictTextsNameNobody(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, _ := d.clash()
	if text := fmt.Sprintf("%+v", c); strings.Contains(text, "Marker") || strings.Contains(text, "example") {
		t.Errorf("the conflict holds personal data: %s", text)
	}
}
