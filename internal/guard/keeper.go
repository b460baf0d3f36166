package guard

import (
	"context"
	"log/slog"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// Keeper goes on with quarantines that were decided and not carried out to the end, and ends those that nobody decided.
// Any number of processes may run one: each takes other quarantines.
type Keeper struct {
	Guard *Guard
	Log   *slog.Logger
	Every time.Duration // between two looks; 30 s if 0
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	every := k.Every
	if every <= 0 {
		every = 30 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := k.Pass(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("keep quarantines", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// keepAtOnce is how many quarantines one look takes up.
const keepAtOnce = 20

// Pass looks once and returns how many quarantines it took up. One that cannot be carried out now is logged and comes
// back a minute later.
func (k *Keeper) Pass(ctx context.Context) (int, error) {
	due, err := k.Guard.Store.DueQuarantines(ctx, keepAtOnce)
	for _, d := range due {
		if err := k.keep(ctx, d); err != nil && ctx.Err() == nil {
			k.Log.Warn("carry quarantine out", "quarantine", d.ID, "org", d.Org, "kind", domain.KindOf(err))
		}
	}
	return len(due), err
}

func (k *Keeper) keep(ctx context.Context, d store.DueQuarantine) error {
	open := false
	err := k.Guard.Store.Tenant(ctx, d.Org, func(ctx context.Context, tx *store.Tx) error {
		q, err := tx.Quarantine(ctx, d.ID)
		if err != nil {
			return err
		}
		if open = q.State == domain.QuarantineOpen; !open {
			return nil
		}
		ended, err := tx.ExpireQuarantine(ctx, q.IntegrationID)
		for _, e := range ended {
			if err := tx.Audit(ctx, domain.AuditEntry{Actor: "system:guard", Action: "quarantine.expire", Reason: e.Decision, Subject: "quarantine/" + string(e.ID),
				Before: facts(q), After: facts(e)}); err != nil {
				return err
			}
			if err := tx.Emit(ctx, domain.TopicQuarantineChanged, refs(e)); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil || open {
		return err
	}
	_, err = k.Guard.Carry(ctx, d.Org, d.ID, time.Now().Add(time.Minute))
	return err
}
