package guard

import (
	"context"
	"strconv"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// StartPurge wishes every copy of ours out of a system, in the caller's transaction. The ordinary path of pushes carries
// it out; entries of the system's own are never touched. Until the direction of the connection is set anew no copy is
// written there. It may be repeated while it goes on. ended is not nil when there was no copy and the integration is gone
// already; its grant is the caller's to end in the system, after the commit. Errors: KindNotFound, KindConflict for a
// deleted integration.
func StartPurge(ctx context.Context, tx *store.Tx, p domain.Purge) (out domain.Purge, ended *connect.Ended, err error) {
	out, started, err := tx.StartPurge(ctx, p)
	if err != nil {
		return out, nil, err
	}
	if started || p.Disconnect {
		if err := tx.Audit(ctx, domain.AuditEntry{Actor: p.RequestedBy, Action: "integration.purge", Reason: p.Reason, Subject: "integration/" + string(p.IntegrationID),
			After: map[string]string{"purge": string(out.ID), "copies": strconv.Itoa(out.Left), "disconnect": strconv.FormatBool(out.Disconnect)}}); err != nil {
			return out, nil, err
		}
	}
	if err := tx.Emit(ctx, domain.TopicPurgeProgress, purgeRefs(out)); err != nil {
		return out, nil, err
	}
	if out.Left == 0 {
		return advance(ctx, tx, p.IntegrationID)
	}
	return out, nil, nil
}

// AdvancePurge is called after copies were removed: it ends the purge when none is left, and deletes the integration if
// that was wished. ended is not nil then, once: its grant is the caller's to end in the system.
func AdvancePurge(ctx context.Context, s *store.Store, org domain.OrgID, integration domain.IntegrationID) (ended *connect.Ended, err error) {
	err = s.Tenant(ctx, org, func(ctx context.Context, tx *store.Tx) (err error) {
		_, ended, err = advance(ctx, tx, integration)
		return err
	})
	return ended, err
}

func advance(ctx context.Context, tx *store.Tx, integration domain.IntegrationID) (domain.Purge, *connect.Ended, error) {
	p, over, err := tx.AdvancePurge(ctx, integration)
	if err != nil {
		return p, nil, err
	}
	if err := tx.Emit(ctx, domain.TopicPurgeProgress, purgeRefs(p)); err != nil || !over {
		return p, nil, err
	}
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: "system:purge", Action: "integration.purged", Reason: "no copy is left", Subject: "integration/" + string(integration),
		After: map[string]string{"purge": string(p.ID), "copies": strconv.Itoa(p.Copies)}}); err != nil || !p.Disconnect {
		return p, nil, err
	}
	was, err := tx.Integration(ctx, integration)
	if err != nil || was.State == domain.IntegrationDeleted {
		return p, nil, err
	}
	if _, err := tx.SetIntegrationState(ctx, integration, domain.IntegrationDeleted, "deleted by an admin, after its copies were removed"); err != nil {
		return p, nil, err
	}
	ended := &connect.Ended{Integration: was}
	if ended.Grant, ended.Alone, err = tx.DropOAuthGrant(ctx, integration); err != nil && domain.KindOf(err) != domain.KindNotFound {
		return p, nil, err
	}
	return p, ended, tx.Audit(ctx, domain.AuditEntry{Actor: p.RequestedBy, Action: "integration.delete", Reason: p.Reason, Subject: "integration/" + string(integration),
		Before: map[string]string{"state": string(was.State)}, After: map[string]string{"state": string(domain.IntegrationDeleted)}})
}

func purgeRefs(p domain.Purge) map[string]string {
	state := "running"
	if p.EndedAt != nil {
		state = "done"
	}
	return map[string]string{"purge": string(p.ID), "integration": string(p.IntegrationID), "state": state, "left": strconv.Itoa(p.Left)}
}
