package server

import (
	"context"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/flow"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/store"
)

// flowTimeout bounds how long an admin waits for a workflow's answer.
const flowTimeout = 10 * time.Second

type actionInput struct {
	IDParam
	Body *reasonBody
}

func (in *actionInput) reason() string {
	if in.Body == nil {
		return ""
	}
	return in.Body.Reason
}

func (s *Server) pauseIntegration(ctx context.Context, in *actionInput) (*integrationOutput, error) {
	return s.changeState(ctx, in.ID, "integration.pause", in.reason(), func(ctx context.Context, ref flow.IntegrationRef, by string) error {
		_, err := s.deps.Flow.Pause(ctx, ref, contract.PauseRequest{By: by})
		return err
	})
}

func (s *Server) resumeIntegration(ctx context.Context, in *actionInput) (*integrationOutput, error) {
	return s.changeState(ctx, in.ID, "integration.resume", in.reason(), func(ctx context.Context, ref flow.IntegrationRef, by string) error {
		_, err := s.deps.Flow.Resume(ctx, ref, contract.ResumeRequest{By: by})
		return err
	})
}

// changeState records what a person wants, asks the integration's workflow, and answers with the integration as it is
// then. The workflow changes the row; its refusal is recorded too.
func (s *Server) changeState(ctx context.Context, rawID, action, reason string, tell func(context.Context, flow.IntegrationRef, string) error) (*integrationOutput, error) {
	who := callerOf(ctx)
	ref, err := s.askedFor(ctx, rawID, action, reason, nil)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	if err := tell(wait, ref, who.Subject); err != nil {
		s.recordRefusal(ctx, action, "integration/"+string(ref.ID), err)
		return nil, flowFault(err)
	}
	s.forget(ref.ID)
	i, err := s.readIntegration(ctx, ref.ID)
	if err != nil {
		return nil, err
	}
	return s.integrationOutput(ctx, i), nil
}

// askedFor checks that the integration is the caller's and writes the audit line of the wish.
func (s *Server) askedFor(ctx context.Context, rawID, action, reason string, after map[string]string) (flow.IntegrationRef, error) {
	who := callerOf(ctx)
	var ref flow.IntegrationRef
	reason, err := checkReason(reason)
	if err != nil {
		return ref, err
	}
	id, err := parseID[domain.IntegrationID]("integration", rawID)
	if err != nil {
		return ref, err
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		i, err := present(ctx, tx, id)
		if err != nil {
			return err
		}
		ref = flow.IntegrationRef{Org: who.Org, ID: id, Provider: i.Provider}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: action, Reason: reason, Subject: "integration/" + string(id),
			Before: map[string]string{"state": string(i.State)}, After: after})
	})
	return ref, err
}

// recordRefusal adds a line that a recorded wish came to nothing. It is best effort: the wish itself is on record, and
// the caller learns the outcome in any case.
func (s *Server) recordRefusal(ctx context.Context, action, subject string, cause error) {
	who := callerOf(ctx)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := s.deps.Store.Tenant(end, who.Org, func(ctx context.Context, tx *store.Tx) error {
		return tx.Audit(ctx, domain.AuditEntry{Actor: "system:server", Action: action + ".refused", Reason: string(domain.KindOf(cause)), Subject: subject})
	})
	if err != nil {
		s.log.Error("a refusal could not be added to the audit trail", "request_id", requestID(ctx), "action", action, "error", err)
	}
}

// flowFault keeps a workflow that is not there from looking like a thing that is not there: the row was found before.
func flowFault(err error) error {
	if domain.KindOf(err) == domain.KindNotFound {
		return domain.E(domain.KindConflict, "its workflow is not running; the request may work a little later")
	}
	return err
}

type resyncInput struct {
	IDParam
	KeyHeader
	FreezeHeader
	Body *struct {
		Full   bool   `json:"full,omitempty" doc:"Read everything instead of what changed"`
		Reason string `json:"reason,omitempty" maxLength:"500"`
	}
}

type resyncOutput struct {
	Location string `header:"Location"`
	Body     struct {
		RunID      domain.SyncRunID `json:"run_id"`
		WorkflowID string           `json:"workflow_id" doc:"The run in Temporal UI"`
		Queued     int              `json:"queued" doc:"Requests before this one"`
	}
}

func (s *Server) resyncIntegration(ctx context.Context, in *resyncInput) (*resyncOutput, error) {
	who := callerOf(ctx)
	run, _ := newOrRepeated[domain.SyncRunID](in.Key, who, "sync "+in.ID, s.now())
	req := contract.ResyncRequest{RunID: run, By: who.Subject}
	var reason string
	if in.Body != nil {
		req.Full, reason = in.Body.Full, in.Body.Reason
	}
	if req.Full {
		id, err := parseID[domain.IntegrationID]("integration", in.ID)
		if err != nil {
			return nil, err
		}
		if err := s.unfrozen(ctx, freeze.ActResync, "body.full", "integration/"+string(id), in.FreezeHeader); err != nil {
			return nil, err
		}
	}
	ref, err := s.askedFor(ctx, in.ID, "integration.resync", reason, map[string]string{"run": string(run), "full": strconv.FormatBool(req.Full)})
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	accepted, err := s.deps.Flow.Resync(wait, ref, req)
	if err != nil {
		s.recordRefusal(ctx, "integration.resync", "integration/"+string(ref.ID), err)
		return nil, flowFault(err)
	}
	// The run's row exists from now on, so that its address works before the run begins. The workflow finds it.
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.StartSyncRun(ctx, domain.SyncRun{ID: run, OrgID: who.Org, IntegrationID: ref.ID, Full: req.Full, RequestedBy: who.Subject})
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &resyncOutput{Location: "/v1/syncs/" + string(run)}
	out.Body.RunID, out.Body.WorkflowID, out.Body.Queued = run, accepted.WorkflowID, accepted.Queued
	return out, nil
}

type listSyncsInput struct {
	IDParam
	PageParams
}

func (s *Server) listSyncs(ctx context.Context, in *listSyncsInput) (*listOutput[domain.SyncRun], error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	var runs []domain.SyncRun
	var next string
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := present(ctx, tx, id); err != nil {
			return err
		}
		runs, next, err = tx.SyncRuns(ctx, id, in.page())
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(runs, next), nil
}

type syncOutput struct {
	Body struct {
		domain.SyncRun
		Progress *domain.Progress       `json:"progress,omitempty" doc:"While it runs: how fast the listing is read, and until when"`
		Live     *contract.SyncProgress `json:"live,omitempty" doc:"Asked of the running workflow; absent when it is over or cannot be asked"`
	}
}

// liveTimeout bounds the question to a running workflow: the row is an answer already.
const liveTimeout = 2 * time.Second

func (s *Server) getSync(ctx context.Context, in *IDParam) (*syncOutput, error) {
	id, err := parseID[domain.SyncRunID]("sync run", in.ID)
	if err != nil {
		return nil, err
	}
	out := &syncOutput{}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out.Body.SyncRun, err = tx.SyncRun(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if out.Body.State == domain.SyncRunning {
		p := freshness.Progress(out.Body.StartedAt, s.now(), out.Body.Seen, out.Body.Expected)
		out.Body.Progress = &p
		ask, cancel := context.WithTimeout(ctx, liveTimeout)
		defer cancel()
		if p, err := s.deps.Flow.SyncProgress(ask, id); err == nil {
			out.Body.Live = &p
		}
	}
	return out, nil
}
