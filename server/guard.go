package server

import (
	"context"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/guard"
	"github.com/wedsync/wedsync/internal/store"
)

type planOutput struct{ Body guard.Plan }

// plansAtOnce bounds the plans under way in a process: each reads a whole system.
const plansAtOnce = 4

// planIntegration tells what reading the system now would do.
func (s *Server) planIntegration(ctx context.Context, in *IDParam) (*planOutput, error) {
	who := callerOf(ctx)
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	if _, err := s.readIntegration(ctx, id); err != nil {
		return nil, err
	}
	g, err := s.guard()
	if err != nil {
		return nil, err
	}
	if s.plans.Add(1) > plansAtOnce {
		s.plans.Add(-1)
		return nil, domain.WithRetryAfter(domain.E(domain.KindRateLimited, "%d plans are made already", plansAtOnce), 5*time.Second)
	}
	defer s.plans.Add(-1)
	p, err := g.Plan(ctx, who.Org, id, guard.DefaultPlanLimits)
	if err != nil {
		return nil, planFault(err)
	}
	return &planOutput{Body: p}, nil
}

// planFault keeps an outside system's refusal of its credentials apart from one of ours.
func planFault(err error) error {
	switch domain.KindOf(err) {
	case domain.KindUnauthenticated, domain.KindForbidden:
		return domain.E(domain.KindConflict, "the outside system does not accept our credentials; reconnect it")
	case domain.KindNotFound:
		return domain.E(domain.KindConflict, "the calendar or list does not exist there any more")
	case domain.KindInvalid, domain.KindConflict, domain.KindGoneToken, domain.KindTooLarge, domain.KindPermanent, domain.KindDrift,
		domain.KindRateLimited, domain.KindUnavailable, domain.KindInternal, "":
	}
	return err
}

type purgeInput struct {
	IDParam
	FreezeHeader
	Body *struct {
		DryRun bool   `json:"dry_run,omitempty" doc:"Only count the copies"`
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; at most 500 bytes, no personal data"`
	}
}

type purgeView struct {
	domain.Purge
	DryRun bool   `json:"dry_run"`
	State  string `json:"state" enum:"counted,running,done" doc:"counted is the answer of a dry run"`
	Note   string `json:"note,omitempty"`
}

type purgeOutput struct{ Body purgeView }

func viewPurge(p domain.Purge, i domain.Integration) purgeView {
	v := purgeView{Purge: p, State: "running"}
	switch {
	case p.EndedAt != nil:
		v.State = "done"
	case i.State == domain.IntegrationPaused || i.State == domain.IntegrationNeedsReconnect || i.State == domain.IntegrationConnecting:
		v.Note = "the integration is " + string(i.State) + "; the copies are removed when it goes on"
	case p.Failed > 0:
		v.Note = "some copies could not be removed after many tries; asking again tries them anew"
	}
	return v
}

// purgeIntegration takes every copy of ours out of a system.
func (s *Server) purgeIntegration(ctx context.Context, in *purgeInput) (*purgeOutput, error) {
	reason, dry := "", false
	if in.Body != nil {
		reason, dry = in.Body.Reason, in.Body.DryRun
	}
	reason, err := checkReason(reason)
	if err != nil {
		return nil, err
	}
	return s.purge(ctx, in.ID, reason, dry, false, in.FreezeHeader)
}

func (s *Server) purge(ctx context.Context, raw, reason string, dry, disconnect bool, h FreezeHeader) (*purgeOutput, error) {
	who := callerOf(ctx)
	id, err := parseID[domain.IntegrationID]("integration", raw)
	if err != nil {
		return nil, err
	}
	out := &purgeOutput{}
	var ended *connect.Ended
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		i, err := present(ctx, tx, id)
		if err != nil {
			return err
		}
		if dry {
			copies, err := tx.Mirrors(ctx, id)
			out.Body = purgeView{Purge: domain.Purge{IntegrationID: id, Copies: len(copies), Left: len(copies), RequestedBy: who.Subject, Reason: reason, CreatedAt: tx.Now},
				DryRun: true, State: "counted", Note: "these copies would be removed; entries of the system's own would not be touched"}
			return err
		}
		act := freeze.ActPurge
		if disconnect {
			act = freeze.ActDisconnect
		}
		overridden, err := freeze.Person(ctx, tx, act, "id", "integration/"+string(id), h.override(ctx))
		if err != nil {
			return err
		}
		var p domain.Purge
		p, ended, err = guard.StartPurge(ctx, tx, domain.Purge{ID: domain.NewID[domain.PurgeID](tx.Now), IntegrationID: id, RequestedBy: who.Subject, Reason: reason,
			Disconnect: disconnect, OverridesFreeze: overridden})
		out.Body = viewPurge(p, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.forget(id)
	s.farewell(ctx, ended, who.Subject)
	return out, nil
}

// getPurge tells how far the newest purge of an integration is, also after it led to the integration's end.
func (s *Server) getPurge(ctx context.Context, in *IDParam) (*purgeOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	out := &purgeOutput{}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, id)
		if err != nil {
			return err
		}
		p, err := tx.LastPurge(ctx, id)
		out.Body = viewPurge(p, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// guarded stores what a changed integration means for its guard: new limits, copies that are written again, and what it
// brought when it was pointed elsewhere.
func guarded(ctx context.Context, tx *store.Tx, was, now domain.Integration, g *domain.Guard, direction bool, by string) error {
	if g != nil {
		if err := tx.SetGuard(ctx, now.ID, *g); err != nil {
			return err
		}
	}
	if direction {
		if _, err := tx.KeepCopies(ctx, now.ID); err != nil {
			return err
		}
	}
	i, err := tx.Integration(ctx, now.ID)
	if err != nil {
		return err
	}
	_, err = guard.Settle(ctx, tx, was.Settings, i, by)
	return err
}
