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

// alertsVersion is the entry in versions.go that brought Alerts.
const alertsVersion = "v11"

// TestAlertsHistoriesHoldNobodyAndReplay lets a connection go down on real servers, which starts the workflow by the outbox; it
// ends when nothing is known of any connection any more. With -update its history is kept in testdata.
func TestAlertsHistoriesHoldNobodyAndReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := contract.AlertsWorkflowID(w.org)
	move := func(to domain.HealthState, code domain.HealthCode) {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.MoveHealth(ctx, store.HealthMove{Integration: w.cal.ID, To: to, Reason: domain.HealthReason{Code: code, Text: markers[4]}})
			return err
		})
	}
	alert := func() (a domain.Alert) {
		w.tenant(func(ctx context.Context, tx *store.Tx) error {
			all, _, err := tx.Alerts(ctx, store.AlertFilter{Target: string(w.cal.ID)}, store.Page{})
			if len(all) > 0 {
				a = all[0]
			}
			return err
		})
		return a
	}
	move(domain.HealthUp, domain.HealthAnswers)
	move(domain.HealthDown, domain.HealthNoAnswer)
	w.await("the alert", func() bool { return alert().State == domain.AlertOpen })
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.AcknowledgeAlert(ctx, alert().ID, "admin-1")
		return err
	})
	// A pause ends the alert, and there is nothing left to look at.
	w.tenant(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.SetIntegrationState(ctx, w.cal.ID, domain.IntegrationPaused, markers[4]); err != nil {
			return err
		}
		return tx.WakeAlerts(ctx)
	})
	w.await("the end of the workflow", func() bool {
		d, err := w.Temporal().DescribeWorkflowExecution(t.Context(), id, "")
		w.must(err)
		return d.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	})
	if a := alert(); a.State != domain.AlertResolved || a.ResolvedAt == nil || time.Since(*a.ResolvedAt) < 0 {
		t.Errorf("%+v", a)
	}
	for n, h := range w.histories(id) {
		file := fmt.Sprintf("%s-alerts-%d", alertsVersion, n+1)
		checkHoldsNobody(t, w.ring, file, h)
		if err := replay(w.ring, h); err != nil {
			t.Errorf("replay of the fresh %s: %v", file, err)
		}
		if *updateFiles && n < 1 {
			w.record(file, h)
		}
	}
}
