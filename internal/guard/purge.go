package guard

import (
	"context"
	"strconv"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// StartPurge wishes every copy of ours out of a system, in the caller's transaction. The ordinary path of pushes carries
// it out; entries of the system's own are never touched. Until the direction of the connection is set anew no copy is
// written there. It may be repeated while it goes on. Errors: KindNotFound, KindConflict for a deleted integration.
func StartPurge(ctx context.Context, tx *store.Tx, p domain.Purge) (domain.Purge, error) {
	out, started, err := tx.StartPurge(ctx, p)
	if err != nil {
		return out, err
	}
	if started || p.Disconnect {
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: p.RequestedBy, Action: "integration.purge", Reason: p.Reason, Subject: "integration/" + string(p.IntegrationID),
			After: map[string]string{"purge": string(out.ID), "copies": strconv.Itoa(out.Left), "disconnect": strconv.FormatBool(out.Disconnect)}}); err != nil {
			return out, err
		}
	}
	if err := tx.Emit(ctx, domain.TopicPurgeProgress, purgeRefs(out)); err != nil {
		return out, err
	}
	if out.Left == 0 {
		out, err = advance(ctx, tx, p.IntegrationID)
	}
	return out, err
}

// AdvancePurge is called after copies were removed: it ends the purge when none is left, and deletes the integration if
// that was wished.
func AdvancePurge(ctx context.Context, s *store.Store, org domain.OrgID, integration domain.IntegrationID) error {
	return s.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) error {
		_, err := advance(ctx, tx, integration)
		return err
	})
}

func advance(ctx context.Context, tx *store.Tx, integration domain.IntegrationID) (domain.Purge, error) {
	p, ended, err := tx.AdvancePurge(ctx, integration)
	if err != nil {
		return p, err
	}
	if err := tx.Emit(ctx, domain.TopicPurgeProgress, purgeRefs(p)); err != nil || !ended {
		return p, err
	}
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: "system:purge", Action: "integration.purged", Reason: "no copy is left", Subject: "integration/" + string(integration),
		After: map[string]string{"purge": string(p.ID), "copies": strconv.Itoa(p.Copies)}}); err != nil || !p.Disconnect {
		return p, err
	}
	was, err := tx.Integration(ctx, integration)
	if err != nil || was.State == domain.IntegrationDeleted {
		return p, err
	}
	if _, err := tx.SetIntegrationState(ctx, integration, domain.IntegrationDeleted, "deleted by an admin, after its copies were removed"); err != nil {
		return p, err
	}
	// Its tokens go with it. Taking the consent back at the vendor is left to the person who gave it.
	if _, _, err := tx.DropOAuthGrant(ctx, integration); err != nil && domain.KindOf(err) != domain.KindNotFound {
		return p, err
	}
	return p, tx.Audit(ctx, domain.AuditEntry{Actor: p.RequestedBy, Action: "integration.delete", Reason: p.Reason, Subject: "integration/" + string(integration),
		Before: map[string]string{"state": string(was.State)}, After: map[string]string{"state": string(domain.IntegrationDeleted)}})
}

func purgeRefs(p domain.Purge) map[string]string {
	state := "running"
	if p.EndedAt != nil {
		state = "done"
	}
	return map[string]string{"purge": string(p.ID), "integration": string(p.IntegrationID), "state": state, "left": strconv.Itoa(p.Left)}
}
