package activities

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
)

// Syncs reads outside systems page by page.
type Syncs struct {
	Store  *store.Store
	Opener *connect.Opener
	// Grace is how long a message may take that tells of what a reading found; 0 = that of rules/failover.
	Grace time.Duration
}

// SyncRef names a sync run.
type SyncRef struct {
	Org         domain.OrgID         `json:"org"`
	Integration domain.IntegrationID `json:"integration"`
	Run         domain.SyncRunID     `json:"run"`
}

func (r SyncRef) refs(state domain.SyncState) map[string]string {
	return map[string]string{"integration": string(r.Integration), "run": string(r.Run), "state": string(state)}
}

// StartSyncRunInput begins a run.
type StartSyncRunInput struct {
	SyncRef
	Full bool   `json:"full"`
	By   string `json:"by"`
}

// StartSyncRun stores the run, which answers the messages of the system that came before. The caller chose its id, so a
// repeat finds it.
func (a *Syncs) StartSyncRun(ctx context.Context, in StartSyncRunInput) error {
	_, err := a.startRun(ctx, in)
	return fail(err)
}

func (a *Syncs) startRun(ctx context.Context, in StartSyncRunInput) (run domain.SyncRun, err error) {
	err = a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		run, _, err = tx.StartSyncRun(ctx, domain.SyncRun{ID: in.Run, IntegrationID: in.Integration, Full: in.Full, RequestedBy: in.By})
		if err != nil {
			return err
		}
		if err := tx.TakePullWish(ctx, in.Integration, in.Run); err != nil {
			return err
		}
		return tx.Emit(ctx, domain.TopicSyncProgress, in.refs(run.State))
	})
	return run, err
}

// EndSyncRunInput says how a run ended.
type EndSyncRunInput struct {
	SyncRef
	State       domain.SyncState `json:"state"`
	Kind        domain.ErrorKind `json:"kind,omitempty"` // why it failed
	Removed     int              `json:"removed,omitempty"`
	Quarantined int              `json:"quarantined,omitempty"`
}

// EndSyncRun closes the run; a finished one hands its position to the integration. Running it again changes nothing.
func (a *Syncs) EndSyncRun(ctx context.Context, in EndSyncRunInput) error {
	return fail(a.endRun(ctx, in))
}

func (a *Syncs) endRun(ctx context.Context, in EndSyncRunInput) error {
	return a.Store.Tenant(ctx, in.Org, func(ctx context.Context, tx *store.Tx) error {
		run, err := tx.EndSyncRun(ctx, in.Run, in.State, store.SyncPage{Removed: in.Removed, Quarantined: in.Quarantined}, reasonFor(in.Kind))
		if domain.KindOf(err) == domain.KindNotFound {
			return nil // it failed before it could be stored
		}
		if err != nil {
			return err
		}
		if in.State == domain.SyncDone && run.EndedAt != nil && run.EndedAt.Equal(tx.Now) {
			if err := tx.NotePolled(ctx, run); err != nil {
				return err
			}
		}
		return tx.Emit(ctx, domain.TopicSyncProgress, in.refs(in.State))
	})
}

// fail adds to the general rule that refused credentials stop the integration until somebody reconnects it, and keeps what a
// fault leaves to look at.
func (a *Syncs) fail(ctx context.Context, ref SyncRef, doing string, err error) error {
	if report, page, ok := provider.EvidenceOf(err); ok {
		kept := a.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.KeepSnapshot(ctx, domain.Snapshot{IntegrationID: ref.Integration, SyncRunID: ref.Run, Kind: domain.KindOf(err), Report: report}, page)
			return err
		})
		if kept != nil {
			return fail(kept)
		}
	}
	if id := httpx.RequestIDOf(err); id != "" {
		// It is for talking to the system's support. Without it the run is as good.
		_ = a.Store.Tenant(ctx, ref.Org, func(ctx context.Context, tx *store.Tx) error { return tx.NoteSyncRequest(ctx, ref.Run, id) })
	}
	if domain.KindOf(err) == domain.KindUnauthenticated {
		if noted := needsReconnect(ctx, a.Store, a.Opener, ref.Org, ref.Integration, doing); noted != nil {
			return fail(noted)
		}
	}
	return fail(err)
}

// reasonFor says in words why something failed.
func reasonFor(kind domain.ErrorKind) string {
	switch kind {
	case "":
		return ""
	case domain.KindUnauthenticated:
		return "the system did not accept our credentials"
	case domain.KindForbidden:
		return "access was refused: by the system, by its robots.txt, or because nobody agreed that its pages are read"
	case domain.KindNotFound:
		return "the calendar or list does not exist there any more"
	case domain.KindRateLimited:
		return "the system asked us to slow down for too long"
	case domain.KindUnavailable:
		return "the system could not be reached"
	case domain.KindGoneToken:
		return "the system lost our position again and again"
	case domain.KindDrift:
		return "the system's pages changed and cannot be read any more; nothing was removed, and a snapshot was kept"
	case domain.KindInvalid, domain.KindPermanent, domain.KindTooLarge:
		return "the system answered something that this connection cannot work with"
	case domain.KindConflict:
		return "something else changed it meanwhile"
	case domain.KindInternal:
	}
	return "a fault of WedSync; see the workflow"
}
