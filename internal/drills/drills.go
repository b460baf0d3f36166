// Package drills begins recovery drills: exercises in which what one system posts is left lying on purpose, so that everything that
// ought to happen then is seen to happen.
//
//	d, err := drills.Begin(ctx, tx, integration, "admin-1")  // one, by a person
//	started, err := drills.Due(ctx, store)                   // those whose turn has come, by a clock
//
// A drill changes no data. What is posted meanwhile is acknowledged and stored as ever and applied when the drill is over, which a
// time limit ensures whatever happens; polls bring the changes before. It is refused while a freeze is on or begins within an hour,
// while the connection is not well, and while another drill of the organisation is under way. The workflow of the connection carries
// it on (activities.Failovers), and its report stays with it.
//
// Test with go test ./internal/drills; it needs Postgres.
package drills

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/failover"
	"github.com/wedsync/wedsync/internal/store"
)

// Begin stores a drill and has it begun. Errors: KindNotFound, and KindConflict with the reason why it is refused.
func Begin(ctx context.Context, tx *store.Tx, id domain.IntegrationID, by string) (domain.Drill, error) {
	i, err := tx.Integration(ctx, id)
	if err != nil {
		return domain.Drill{}, err
	}
	if i.State != domain.IntegrationActive {
		return domain.Drill{}, domain.E(domain.KindConflict, "the integration is %s; a drill needs one that runs", i.State)
	}
	h, err := tx.Health(ctx, id)
	if err != nil {
		return domain.Drill{}, err
	}
	switch h.State {
	case domain.HealthUp, domain.HealthDegraded, domain.HealthUnknown:
	case domain.HealthFailingOver, domain.HealthPolling, domain.HealthDown, domain.HealthNeedsReconnect, domain.HealthPaused, domain.HealthMaintenance:
		return domain.Drill{}, domain.E(domain.KindConflict, "its health is %s; a drill needs one that is well", h.State)
	}
	freezes, err := tx.Freezes(ctx, tx.Now, tx.Now.Add(failover.DrillFreeze))
	if err != nil {
		return domain.Drill{}, err
	}
	if len(freezes) > 0 {
		return domain.Drill{}, domain.E(domain.KindConflict, "a wedding is near: nothing is exercised until %s", freezes[0].Until.UTC().Format(time.RFC3339))
	}
	d := domain.Drill{ID: domain.NewID[domain.DrillID](tx.Now), IntegrationID: id, State: domain.DrillWatching, RequestedBy: by, BeganAt: tx.Now,
		WatchUntil: tx.Now.Add(failover.DrillWatch), MutedUntil: tx.Now.Add(failover.DrillMuted)}
	if err := tx.CreateDrill(ctx, d); err != nil {
		return domain.Drill{}, err
	}
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "drill.begin", Subject: "integration/" + string(id), After: map[string]string{"drill": string(d.ID)}}); err != nil {
		return domain.Drill{}, err
	}
	return d, tx.Emit(ctx, domain.TopicDrill, map[string]string{"drill": string(d.ID), "integration": string(id), "state": string(d.State)})
}

// actorSchedule is who begins drills by the clock.
const actorSchedule = "system:drills"

// atOnce bounds the organisations of one call.
const atOnce = 50

// Due begins one drill for each organisation whose turn has come: of the connection that was exercised the longest ago and does not
// refuse. Where all refuse, a day later is tried again. It returns how many began. Several may call it at once.
func Due(ctx context.Context, s *store.Store) (began int, err error) {
	orgs, err := s.DueDrills(ctx, atOnce)
	if err != nil {
		return 0, err
	}
	for _, org := range orgs {
		ok, err := due(ctx, s, org)
		if err != nil {
			return began, err
		}
		if ok {
			began++
		}
	}
	return began, nil
}

func due(ctx context.Context, s *store.Store, org domain.OrgID) (bool, error) {
	var turns []domain.IntegrationID
	err := s.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		turns = nil
		mine, err := tx.TakeDrillTurn(ctx, func(int) time.Time { return tx.Now.AddDate(0, 0, 1) })
		if err != nil || !mine {
			return err
		}
		turns, err = tx.DrillTurns(ctx)
		return err
	})
	if err != nil {
		return false, err
	}
	for _, id := range turns {
		err := s.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
			if _, err := Begin(ctx, tx, id, actorSchedule); err != nil {
				return err
			}
			plan, err := tx.DrillSchedule(ctx)
			if domain.KindOf(err) == domain.KindNotFound {
				return nil // it was ended this moment
			}
			if err != nil {
				return err
			}
			return tx.PutDrillSchedule(ctx, plan.EveryDays, tx.Now.AddDate(0, 0, plan.EveryDays), plan.UpdatedBy)
		})
		switch domain.KindOf(err) {
		case domain.KindConflict, domain.KindNotFound:
			continue
		}
		return err == nil, err
	}
	return false, nil
}
