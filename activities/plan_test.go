package activities_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// TestAPlanSaysWhatARunThenDoes makes a plan of a listing in which everything occurs, runs the listing, and compares what
// was told of each entry with what became of it.
func TestAPlanSaysWhatARunThenDoes(t *testing.T) {
	t.Parallel()
	// Removals on pages and absences count together: six of thirteen are too many by default.
	for name, g := range map[string]domain.Guard{"within the guard": {Removals: 5, Percent: 100}, "over the guard": domain.DefaultGuard} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			planAndRun(t, g)
		})
	}
}

func planAndRun(t *testing.T, limits domain.Guard) {
	d := setup(t)
	d.tenant(func(ctx context.Context, tx *store.Tx) error { return tx.SetGuard(ctx, d.cal.ID, limits) })
	over := limits == domain.DefaultGuard
	known := []string{"same", "moved", "gone", "hidden", "odd", "cancelled", "doubted-there", "doubted-moved", "doubted-gone", "doubted-odd",
		"series:m#a", "series:m#b", "series:k#o"}
	at := func(n int, late float64) domain.Change {
		return change(known[n], domain.CategoryVendor, float64(3*n)+late, float64(3*n)+1+late)
	}
	for n, id := range known {
		d.arrive(d.cal, at(n, 0))
		d.atCal.entries[id] = at(n, 0)
	}
	for _, id := range []string{"gone", "cancelled", "doubted-gone", "series:m#b", "series:k#o"} {
		delete(d.atCal.entries, id)
	}
	d.atCal.entries["doubted-moved"] = at(7, 1)
	odd := at(9, 0)
	odd.When.End = odd.When.Start.Add(-1) // what Read returns is refused
	d.atCal.entries["doubted-odd"] = odd
	d.atCal.pages[""] = provider.Page{Changes: []domain.Change{at(0, 0), at(1, 1), at(10, 0), {Op: domain.OpRemove, ExternalID: "cancelled"}},
		Problems: []provider.Problem{{ExternalID: "odd", Err: domain.Invalid("when", "unreadable")}},
		Look:     []string{"series:m", "o", "doubted-there", "doubted-moved", "doubted-gone", "doubted-odd", "nobody"}, Next: "p2", More: true}
	d.atCal.pages["p2"] = provider.Page{Changes: []domain.Change{change("new", domain.CategoryVendor, 90, 91)}, Next: "delta", Complete: true}

	var plan guard.Plan
	d.unchanged(func() {
		var err error
		plan, err = (&guard.Guard{Store: d.Store, Opener: d.opener}).Plan(t.Context(), d.org, d.cal.ID, guard.DefaultPlanLimits)
		d.must(err)
	})
	if !plan.Complete || plan.Stopped != "" || plan.Unlisted != 0 {
		t.Errorf("the plan is not whole: %+v", plan)
	}
	said := map[string]guard.PlanAction{}
	for _, e := range plan.Entries {
		if e.ExternalID != "" {
			said[e.ExternalID] = e.Action
		}
	}

	before := d.snapshot(d.cal)
	ref := d.startRun(d.cal, true)
	first, second := d.pull(ref), d.pull(ref)
	ended := run(d, d.syncs().ConfirmRemovals, activities.ConfirmRemovalsInput{SyncRef: ref})
	after := d.snapshot(d.cal)
	did := map[string]guard.PlanAction{}
	for id, now := range after {
		was, known := before[id]
		switch {
		case !known:
			did[id] = guard.PlanCreate
		case now.gone && !was.gone:
			did[id] = guard.PlanRemove
		case now.version != was.version:
			did[id] = guard.PlanChange
		}
	}
	want := map[string]guard.PlanAction{"moved": guard.PlanChange, "new": guard.PlanCreate, "gone": guard.PlanRemove, "cancelled": guard.PlanRemove,
		"doubted-moved": guard.PlanChange, "doubted-gone": guard.PlanRemove, "series:m#b": guard.PlanRemove, "series:k#o": guard.PlanRemove}
	if over {
		delete(want, "gone")
	}
	if diff := cmp.Diff(want, did); diff != "" {
		t.Errorf("what the run did:\n%s", diff)
	}
	for id, action := range said {
		if action == guard.PlanSkip || action == guard.PlanReject || action == guard.PlanHold {
			delete(said, id)
		}
	}
	if diff := cmp.Diff(did, said); diff != "" {
		t.Errorf("what the plan said beside what the run did:\n%s", diff)
	}
	counts := map[guard.PlanAction]int{guard.PlanChange: first.Applied + second.Applied - plan.Counts[guard.PlanCreate], guard.PlanCreate: 1,
		guard.PlanRemove: first.Removed + second.Removed + ended.Removed, guard.PlanReject: first.Rejected + second.Rejected,
		guard.PlanUnchanged: first.Unchanged + second.Unchanged, guard.PlanSkip: 1}
	if over {
		delete(counts, guard.PlanSkip) // the one that the listing did not contain is not asked for either
		counts[guard.PlanHold] = ended.Quarantined
	}
	if diff := cmp.Diff(counts, plan.Counts); diff != "" {
		t.Errorf("counts of run and plan:\n%s", diff)
	}
}

type shown struct {
	gone    bool
	version int64
}

// snapshot tells of each entry of a connection how its booking stands.
func (d *desk) snapshot(i domain.Integration) map[string]shown {
	d.t.Helper()
	out := map[string]shown{}
	var links []domain.Link
	d.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		clear(out)
		bookings, _, err := tx.Bookings(ctx, store.BookingFilter{}, store.Page{Limit: store.MaxPage})
		if err != nil {
			return err
		}
		for _, b := range bookings {
			if links, err = tx.LinksOf(ctx, b.ID); err != nil {
				return err
			}
			for _, l := range links {
				if l.IntegrationID == i.ID {
					out[l.ExternalID] = shown{b.Status == domain.StatusCancelled, b.Version}
				}
			}
		}
		return nil
	})
	return out
}

func TestAPlanAsksForSoManyDoubtedEntriesOnly(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for n, id := range []string{"a", "b", "c"} {
		d.arrive(d.cal, change(id, domain.CategoryVendor, float64(3*n), float64(3*n)+1))
	}
	d.atCal.pages[""] = provider.Page{Look: []string{"a", "b", "c"}, Next: "delta", Complete: true}
	limits := guard.DefaultPlanLimits
	limits.Reads = 2
	plan, err := (&guard.Guard{Store: d.Store, Opener: d.opener}).Plan(t.Context(), d.org, d.cal.ID, limits)
	d.must(err)
	if plan.Counts[guard.PlanRemove] != 2 || plan.Counts[guard.PlanSkip] != 1 || d.atCal.count("read") != 2 {
		t.Errorf("%d entries were asked for: %+v", d.atCal.count("read"), plan)
	}
	// A doubt that cannot be cleared up is an error, as it is in a run.
	d.atCal.faults["read"] = []error{domain.E(domain.KindUnavailable, "no answer")}
	_, err = (&guard.Guard{Store: d.Store, Opener: d.opener}).Plan(t.Context(), d.org, d.cal.ID, limits)
	if domain.KindOf(err) != domain.KindUnavailable {
		t.Errorf("a doubt is answered by %v", err)
	}
}
