package resolutions

import (
	"context"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// Withdraw calls a decision off that is still being carried out, such as one that waits for a system that is down: the booking
// is put back here at once, and the systems take it back as after a refusal. version is that of the conflict as the person
// saw it. A conflict in another state or version is KindConflict.
func Withdraw(ctx context.Context, tx *store.Tx, id domain.ConflictID, version int64, by, reason string) (domain.Conflict, error) {
	c, err := locked(ctx, tx, id, "")
	if err != nil {
		return c, err
	}
	switch {
	case c.State == domain.ConflictUndoing || c.State == domain.ConflictStuck:
		return c, domain.E(domain.KindConflict, "the decision is being taken back already")
	case c.State != domain.ConflictResolving:
		return c, domain.E(domain.KindConflict, "the conflict is %s: no decision is being carried out", c.State)
	case c.Version != version:
		return c, domain.E(domain.KindConflict, "version: the conflict has changed; it has version %d now", c.Version)
	}
	o, err := look(ctx, tx, c)
	if err != nil {
		return c, err
	}
	if o.overtaken {
		if err := judgeAnew(ctx, tx, c, "the booking was changed by somebody else while the decision was carried out"); err != nil {
			return c, err
		}
		return tx.Conflict(ctx, id)
	}
	why := "called off by " + by
	if reason != "" {
		why += ": " + reason
	}
	if err := o.turnRound(ctx, tx, "", domain.AuditEntry{Actor: by, Action: "conflict.withdraw", Reason: why}); err != nil {
		return c, err
	}
	if err := tx.Enqueue(ctx, store.OutboxConflictRecheck, string(id), string(o.Booking.ID), tx.Now); err != nil {
		return c, err
	}
	return tx.Conflict(ctx, id)
}
