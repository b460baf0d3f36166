package activities_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

const meeting = domain.CategoryConsultation

func (d *desk) policy(p domain.ConflictPolicy) domain.ConflictPolicy {
	d.t.Helper()
	d.must(p.Validate(""))
	p.ID, p.UpdatedBy, p.Reason = domain.NewID[domain.ConflictPolicyID](d.clock()), "alex", "house rule"
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		p, err = tx.PutConflictPolicy(ctx, p)
		return err
	})
	return p
}

// meet makes two consultations that overlap, the first from the calendar.
func (d *desk) meet(from float64) (c domain.Conflict, first, second domain.BookingID) {
	d.t.Helper()
	for n, i := range []domain.Integration{d.cal, d.crm} {
		d.advance(time.Second)
		at := d.atCal
		if n == 1 {
			at = d.atCRM
		}
		e := change("m"+d.clock().Format("150405"), meeting, from, from+1)
		e.Revision = "r"
		at.entries[e.ExternalID] = e
		if id := d.arrive(i, e); n == 0 {
			first = id
		} else {
			second = id
		}
	}
	d.write(d.cal)
	d.write(d.crm)
	for _, c := range d.conflicts(domain.ConflictOpen) {
		if c.BookingID == first && c.OtherID == second || c.BookingID == second && c.OtherID == first {
			return c, first, second
		}
	}
	d.t.Fatal("no conflict")
	return c, first, second
}

func (d *desk) judged(c domain.Conflict) activities.ConflictView {
	d.t.Helper()
	return run(d, d.resolver().ApplyConflictPolicy, d.ref(c))
}

func TestPolicyMovesTheOneThatGivesWayToTheBestFreePlace(t *testing.T) {
	t.Parallel()
	d := setup(t)
	p := d.policy(domain.ConflictPolicy{Category: meeting, Other: meeting, Rule: domain.PolicyFirstConfirmed})
	c, first, second := d.meet(10)
	if v := run(d, d.resolver().LoadConflict, d.ref(c)); !v.PolicyDue {
		t.Fatalf("view is %+v", v)
	}
	if v := d.judged(c); v.State != domain.ConflictResolving || v.PolicyDue {
		t.Fatalf("view is %+v", v)
	}
	d.unchanged(func() { d.judged(c) })
	if b := d.booking(first); !b.When.Equal(span(10, 11)) {
		t.Errorf("the first is at %v", b.When)
	}
	moved := d.booking(second)
	if moved.When.Equal(span(10, 11)) {
		t.Error("the second was not moved")
	}
	now := d.conflict(c.ID)
	if now.Resolution.By != "policy/"+string(p.ID) || now.Policy == nil || now.Policy.Outcome != domain.PolicyDecided || !strings.Contains(now.Resolution.Reason, "first_confirmed") {
		t.Errorf("resolution is %+v, note %+v", now.Resolution, now.Policy)
	}
	d.write(d.cal)
	d.write(d.crm)
	if got := d.verify(c); got.State != domain.ConflictResolved {
		t.Errorf("result is %+v", got)
	}
	if e := d.atCRM.entries; !e[lastOf(e)].When.Equal(moved.When) {
		t.Errorf("the CRM shows %v", e[lastOf(e)].When)
	}
	if d.audited("conflict.begin", "conflict/"+string(c.ID)) != 1 {
		t.Error("no line in the audit trail")
	}
}

// lastOf is the id of the system's own entry.
func lastOf(entries map[string]domain.Change) string {
	for id, e := range entries {
		if e.Origin == "" {
			return id
		}
	}
	return ""
}

func TestEachPolicyDoesWhatItSays(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		policy  domain.ConflictPolicy
		outcome domain.PolicyOutcome
		check   func(d *desk, first, second domain.BookingID) bool
	}{
		"newest wins, the other is cancelled": {domain.ConflictPolicy{Rule: domain.PolicyNewestWins, Then: domain.ThenCancel}, domain.PolicyDecided,
			func(d *desk, first, _ domain.BookingID) bool {
				return d.booking(first).Status == domain.StatusCancelled
			}},
		"the other becomes tentative": {domain.ConflictPolicy{Rule: domain.PolicyFirstConfirmed, Then: domain.ThenTentative}, domain.PolicyDecided,
			func(d *desk, _, second domain.BookingID) bool {
				return d.booking(second).Status == domain.StatusTentative
			}},
		"the CRM goes first": {domain.ConflictPolicy{Rule: domain.PolicySourcePriority}, domain.PolicyDecided,
			func(d *desk, first, second domain.BookingID) bool {
				return !d.booking(first).When.Equal(span(10, 11)) && d.booking(second).When.Equal(span(10, 11))
			}},
		"both are kept once acknowledged": {domain.ConflictPolicy{Rule: domain.PolicyKeepBoth}, domain.PolicyAcknowledge,
			func(d *desk, first, second domain.BookingID) bool {
				return d.booking(first).When.Equal(d.booking(second).When)
			}},
		"manual": {domain.ConflictPolicy{Rule: domain.PolicyManual}, domain.PolicyLeft,
			func(d *desk, first, second domain.BookingID) bool {
				return d.booking(first).When.Equal(d.booking(second).When)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			tc.policy.Category, tc.policy.Other = meeting, meeting
			if tc.policy.Rule == domain.PolicySourcePriority {
				tc.policy.Sources = []domain.IntegrationID{d.crm.ID}
			}
			d.policy(tc.policy)
			c, first, second := d.meet(10)
			view := d.judged(c)
			now := d.conflict(c.ID)
			if now.Policy == nil || now.Policy.Outcome != tc.outcome || !tc.check(d, first, second) || view.PolicyDue {
				t.Fatalf("view %+v, note %+v", view, now.Policy)
			}
			if want := tc.outcome == domain.PolicyDecided; (now.State == domain.ConflictResolving) != want {
				t.Errorf("the conflict is %s", now.State)
			}
			if (now.DeadlineAt == nil) != (tc.outcome != domain.PolicyLeft) {
				t.Errorf("deadline %v", now.DeadlineAt)
			}
			d.unchanged(func() { d.judged(c) })
			if tc.outcome == domain.PolicyAcknowledge {
				if v := d.begin(now, domain.Resolution{Action: domain.ActionKeepBoth}); v.State != domain.ConflictDismissed {
					t.Errorf("acknowledged: %+v", v)
				}
			}
		})
	}
}

func TestPolicyActsOnNewConflictsAndOnOpenOnesOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	d := setup(t)
	c, _, second := d.meet(10)
	d.advance(time.Second)
	d.policy(domain.ConflictPolicy{Category: meeting, Other: meeting, Rule: domain.PolicyFirstConfirmed})
	d.unchanged(func() {
		if v := d.judged(c); v.State != domain.ConflictOpen || v.PolicyDue {
			t.Errorf("view is %+v", v)
		}
	})
	d.exec("DELETE FROM outbox")
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.AskPolicies(ctx)
		if n != 1 {
			t.Errorf("%d conflicts were asked about", n)
		}
		return err
	})
	rows, err := d.ClaimOutbox(t.Context(), 10)
	d.must(err)
	if len(rows) != 1 || rows[0].Kind != store.OutboxConflictRecheck || rows[0].Target != string(c.ID) {
		t.Errorf("outbox is %+v", rows)
	}
	if v := run(d, d.resolver().LoadConflict, d.ref(c)); !v.PolicyDue {
		t.Errorf("view is %+v", v)
	}
	if v := d.judged(c); v.State != domain.ConflictResolving || d.booking(second).When.Equal(span(10, 11)) {
		t.Errorf("view is %+v", v)
	}
	// A new one is looked at by itself, and one without a policy for its categories is not.
	d.advance(time.Second)
	fresh, _, _ := d.meet(300)
	if v := run(d, d.resolver().LoadConflict, d.ref(fresh)); !v.PolicyDue {
		t.Errorf("view is %+v", v)
	}
	d.judged(fresh)
	wedding, _, _ := d.clash2(400)
	if v := run(d, d.resolver().LoadConflict, d.ref(wedding)); v.PolicyDue {
		t.Errorf("view is %+v", v)
	}
	// Being asked without a policy leads nowhere, once.
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.AskPolicies(ctx)
		return err
	})
	if v := d.judged(wedding); v.State != domain.ConflictOpen || v.PolicyDue {
		t.Errorf("view is %+v", v)
	}
}

// clash2 makes a wedding and a consultation at one time.
func (d *desk) clash2(from float64) (c domain.Conflict, wedding, consult domain.BookingID) {
	d.t.Helper()
	d.advance(time.Second)
	wedding = d.arrive(d.cal, change("w"+d.clock().Format("150405"), domain.CategoryWedding, from, from+8))
	d.advance(time.Second)
	consult = d.arrive(d.crm, change("k"+d.clock().Format("150405"), meeting, from+1, from+2))
	for _, c := range d.conflicts(domain.ConflictOpen) {
		if c.BookingID == consult {
			return c, wedding, consult
		}
	}
	d.t.Fatal("no conflict")
	return c, wedding, consult
}

func TestPolicyTouchesNothingWithin48HoursOfAWeddingNorAConfirmedWedding(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for _, other := range []domain.Category{meeting, domain.CategoryWedding} {
		d.policy(domain.ConflictPolicy{Category: domain.CategoryWedding, Other: other, Rule: domain.PolicyNewestWins, Then: domain.ThenCancel})
	}
	c, wedding, consult := d.clash2(12)
	look := func(want domain.PolicyOutcome) {
		t.Helper()
		before := []domain.Booking{d.booking(wedding), d.booking(consult)}
		d.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.AskPolicies(ctx)
			return err
		})
		d.judged(c)
		now := d.conflict(c.ID)
		if now.State != domain.ConflictOpen || now.Policy == nil || now.Policy.Outcome != want {
			t.Errorf("the conflict is %s, note %+v; want %s", now.State, now.Policy, want)
		}
		for n, id := range []domain.BookingID{wedding, consult} {
			if d.booking(id).Version != before[n].Version {
				t.Error("a booking was changed")
			}
		}
	}
	// The consultation is newer, so the wedding would have to go.
	look(domain.PolicyProtected)
	d.policy(domain.ConflictPolicy{Category: domain.CategoryWedding, Other: meeting, Rule: domain.PolicyHigherCategory, Then: domain.ThenCancel})
	d.advance(day.Add(12*time.Hour - 47*time.Hour).Sub(d.clock()))
	look(domain.PolicyFrozen)
	d.arrive(d.crm, change("w9", domain.CategoryWedding, 400, 408))
	d.arrive(d.cal, change("w8", domain.CategoryWedding, 402, 408))
	for _, both := range d.conflicts(domain.ConflictOpen) {
		if both.ID == c.ID {
			continue
		}
		d.judged(both)
		if now := d.conflict(both.ID); now.State != domain.ConflictOpen || now.Policy == nil || now.Policy.Outcome != domain.PolicyProtected {
			t.Errorf("two weddings: %s, note %+v", now.State, now.Policy)
		}
	}
}

func TestPolicyDecidesUpToTheFreezeOfTheOrganisation(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutFreezeSettings(ctx, domain.FreezeSettings{PreflightDays: 7, FreezeHours: 24, Holds: domain.FreezeHoldsAll}, "admin", 0)
		return err
	})
	d.policy(domain.ConflictPolicy{Category: domain.CategoryWedding, Other: meeting, Rule: domain.PolicyHigherCategory, Then: domain.ThenCancel})
	c, _, _ := d.clash2(12)
	d.advance(day.Add(12*time.Hour - 47*time.Hour).Sub(d.clock()))
	d.judged(c)
	if now := d.conflict(c.ID); now.Policy == nil || now.Policy.Outcome != domain.PolicyDecided {
		t.Errorf("47 hours before a wedding whose freeze has 24: %s, note %+v", now.State, now.Policy)
	}
}

func TestPolicyWithNowhereToGoLeavesItToAPerson(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.policy(domain.ConflictPolicy{Category: meeting, Other: meeting, Rule: domain.PolicyFirstConfirmed})
	// Everything around is taken.
	for n := range 10 {
		d.arrive(d.cal, change("w"+string(rune('a'+n)), domain.CategoryPersonal, float64(-24*70+n*24*15), float64(-24*70+(n+1)*24*15)))
	}
	c, _, second := d.meet(10)
	if v := d.judged(c); v.State != domain.ConflictOpen || !strings.Contains(v.Reason, "a person decides") {
		t.Errorf("view is %+v", v)
	}
	if now := d.conflict(c.ID); now.Policy == nil || now.Policy.Outcome != domain.PolicyNoWay || !d.booking(second).When.Equal(span(10, 11)) {
		t.Errorf("note %+v", now.Policy)
	}
}
