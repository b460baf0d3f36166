package workflows_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// conflictVersion is the entry in versions.go that brought policies, deadlines and putting off.
const conflictVersion = "v7"

// openPair waits for the open conflict of two entries and its workflow.
func (w *world) openPair(known map[domain.ConflictID]bool) domain.Conflict {
	w.t.Helper()
	var found domain.Conflict
	w.await("a conflict", func() bool {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			list, _, err := tx.Conflicts(ctx, store.ConflictFilter{}, store.Page{})
			for _, c := range list {
				if !known[c.ID] {
					found = c
				}
			}
			return err
		})
		return found.ID != ""
	})
	known[found.ID] = true
	w.await("the conflict's story", func() bool {
		s, err := w.ConflictStatus(w.t.Context(), found.ID)
		return err == nil && !s.NextAlarm.IsZero() || err == nil && !s.State.Open()
	})
	return found
}

// asked hands a decision to a conflict, from the version that it has now.
func (w *world) asked(c domain.Conflict, r domain.Resolution) error {
	w.t.Helper()
	id := string(domain.NewID[domain.ConflictID](time.Now()))
	r.By, r.Reason = "admin-1", markers[4]
	req := contract.ResolveRequest{Action: r.Action, BookingID: r.BookingID, When: r.When, Until: r.Until, DecisionID: id, By: r.By}
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Conflict(ctx, c.ID)
		if err != nil {
			return err
		}
		req.Version = now.Version
		return tx.PutDecision(ctx, id, c.ID, r)
	})
	_, err := w.Resolve(w.t.Context(), c.ID, req)
	return err
}

func (w *world) becomes(c domain.Conflict, want domain.ConflictState) {
	w.t.Helper()
	w.await(fmt.Sprintf("the conflict to be %s", want), func() bool {
		s, err := w.ConflictStatus(w.t.Context(), c.ID)
		return err == nil && s.State == want
	})
}

// TestConflictHistoriesHoldNobodyAndReplay lets a policy decide one conflict on real servers, and puts another off, escalates
// it, has it refused and taken back, and softens it in the end. With -update the histories are kept in testdata.
func TestConflictHistoriesHoldNobodyAndReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	known := map[domain.ConflictID]bool{}
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutConflictPolicy(ctx, domain.ConflictPolicy{ID: domain.NewID[domain.ConflictPolicyID](time.Now()), Category: domain.CategoryConsultation,
			Other: domain.CategoryConsultation, Rule: domain.PolicyNewestWins, Then: domain.ThenCancel, Reason: markers[4], UpdatedBy: "admin-1"})
		return err
	})
	both := func(one, two domain.Change) {
		for _, e := range []domain.Change{one, two} {
			w.atCRM.mu.Lock()
			w.atCRM.entries[e.ExternalID] = e
			w.atCRM.mu.Unlock()
			id := w.deliver(w.crm, body(e))
			w.await("the delivery", func() bool { return w.delivered(id) == domain.DeliveryApplied })
		}
	}
	both(entry("talk-1", domain.CategoryConsultation, 3, 10, 1), entry("talk-2", domain.CategoryConsultation, 3, 10, 2))
	byPolicy := w.openPair(known)
	w.becomes(byPolicy, domain.ConflictResolved)

	both(entry("wed", domain.CategoryWedding, 14, 12, 8), entry("talk-3", domain.CategoryConsultation, 14, 13, 1))
	c := w.openPair(known)
	until := time.Now().Add(3 * time.Second).UTC()
	w.must(w.asked(c, domain.Resolution{Action: domain.ActionIgnore, Until: &until}))
	w.becomes(c, domain.ConflictIgnored)
	w.becomes(c, domain.ConflictOpen)
	// Time enough has passed for the deadline, as far as the row tells.
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE conflicts SET waiting_since = $3 WHERE org_id = $1 AND id = $2", w.org, c.ID, time.Now().AddDate(0, 0, -20))
		return err
	})
	w.must(w.RecheckConflict(t.Context(), c.ID, contract.RecheckSignal{BookingID: c.BookingID}))
	w.await("the escalation", func() bool {
		s, err := w.ConflictStatus(t.Context(), c.ID)
		return err == nil && s.Escalated
	})
	w.atCRM.mu.Lock()
	w.atCRM.refuse = domain.E(domain.KindPermanent, "the entry is locked")
	w.atCRM.mu.Unlock()
	when := entry("", domain.CategoryConsultation, 16, 9, 1).When
	w.must(w.asked(c, domain.Resolution{Action: domain.ActionMove, BookingID: c.BookingID, When: &when}))
	w.becomes(c, domain.ConflictOpen)
	w.atCRM.mu.Lock()
	w.atCRM.refuse = nil
	w.atCRM.mu.Unlock()
	w.must(w.asked(c, domain.Resolution{Action: domain.ActionTentative, BookingID: c.BookingID}))
	w.becomes(c, domain.ConflictDismissed)

	for name, id := range map[string]domain.ConflictID{"conflict-policy": byPolicy.ID, "conflict-put-off": c.ID} {
		flow := contract.ConflictWorkflowID(id)
		w.await("the end of "+name, func() bool {
			d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), flow, "")
			w.must(err)
			return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		})
		for n, h := range w.histories(flow) {
			file := fmt.Sprintf("%s-%s-%d", conflictVersion, name, n+1)
			checkHoldsNobody(t, w.ring, file, h)
			if err := replay(w.ring, h); err != nil {
				t.Errorf("replay of the fresh %s: %v", file, err)
			}
			if *updateFiles && n < 1 {
				w.record(file, h)
			}
		}
	}
}
