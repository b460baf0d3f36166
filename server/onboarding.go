package server

import (
	"context"
	"strconv"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/store"
)

// onboardingView is an onboarding with how far its first reading is, and what somebody can do about it.
type onboardingView struct {
	domain.Onboarding
	IntegrationState domain.IntegrationState `json:"integration_state"`
	Step             domain.OnboardStep      `json:"step,omitempty" doc:"The step that is under way, or that was refused"`
	// Sync is the first reading, once it has begun.
	Sync     *domain.SyncRun  `json:"sync,omitempty" doc:"The first reading, once it has begun"`
	Progress *domain.Progress `json:"progress,omitempty" doc:"While it reads: how fast, how much of it, and until when"`
	Next     string           `json:"next,omitempty" doc:"What somebody can do, where something is to be done"`
	Workflow string           `json:"workflow_id" doc:"The onboarding in Temporal UI"`
}

type onboardingOutput struct{ Body onboardingView }

// viewOnboarding reads an onboarding as it is shown.
func (s *Server) viewOnboarding(ctx context.Context, tx *store.Tx, i domain.Integration) (onboardingView, error) {
	o, err := tx.Onboarding(ctx, i.ID)
	if err != nil {
		return onboardingView{}, err
	}
	v := onboardingView{Onboarding: o, IntegrationState: i.State, Step: o.Current(), Workflow: contract.OnboardWorkflowID(i.ID), Next: s.nextOf(o, i)}
	if o.RunID == "" {
		return v, nil
	}
	run, err := tx.SyncRun(ctx, o.RunID)
	switch {
	case domain.KindOf(err) == domain.KindNotFound:
		return v, nil // it begins within moments
	case err != nil:
		return v, err
	}
	v.Sync = &run
	if run.State == domain.SyncRunning {
		p := freshness.Progress(run.StartedAt, tx.Now, run.Seen, run.Expected)
		v.Progress = &p
	}
	return v, nil
}

// nextOf says what somebody can do about an onboarding that waits or came to nothing.
func (s *Server) nextOf(o domain.Onboarding, i domain.Integration) string {
	again := "; it then goes on by itself"
	switch {
	case o.State == domain.OnboardingCancelled || o.State == domain.OnboardingFailed:
		return "begin anew with POST /v1/integrations/" + string(i.ID) + "/onboarding"
	case o.State != domain.OnboardingWaiting:
		return ""
	case s.byConsent(i) && (o.FaultKind == domain.KindUnauthenticated || o.FaultKind == domain.KindForbidden):
		return connect.HowToConnect(i.ID) + again
	}
	switch o.FaultKind {
	case domain.KindUnauthenticated, domain.KindForbidden:
		return "change secrets with PATCH /v1/integrations/" + string(i.ID) + again
	case domain.KindConflict:
		return "cancel it, or resume it with allow_duplicate where both connections are wanted"
	case domain.KindUnavailable, domain.KindRateLimited, domain.KindInternal:
		return "it is tried again by itself; resume it to try at once"
	case domain.KindInvalid, domain.KindNotFound, domain.KindPermanent, domain.KindTooLarge, domain.KindGoneToken, "":
	}
	return "change settings with PATCH /v1/integrations/" + string(i.ID) + again + "; or mend it in the system and resume it"
}

type beginOnboardingInput struct {
	IDParam
	Body *struct {
		AllowDuplicate bool   `json:"allow_duplicate,omitempty" doc:"Another connection to the same account and calendar is wanted"`
		Reason         string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; at most 500 bytes, no personal data"`
	}
}

// beginOnboarding lets an integration that does not run be connected step by step. One that is under way is answered.
func (s *Server) beginOnboarding(ctx context.Context, in *beginOnboardingInput) (*onboardingOutput, error) {
	reason, allow := "", false
	if in.Body != nil {
		reason, allow = in.Body.Reason, in.Body.AllowDuplicate
	}
	reason, err := checkReason(reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	out, _, err := s.startOnboarding(ctx, id, allow, reason)
	return out, err
}

func (s *Server) startOnboarding(ctx context.Context, id domain.IntegrationID, allow bool, reason string) (*onboardingOutput, bool, error) {
	who := callerOf(ctx)
	out := &onboardingOutput{}
	var begun bool
	err := s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) (err error) {
		i, err := present(ctx, tx, id)
		if err != nil {
			return err
		}
		if begun, err = beginIn(ctx, tx, i, i.State, allow, who.Subject, reason); err != nil {
			return err
		}
		if i, err = tx.Integration(ctx, id); err != nil {
			return err
		}
		out.Body, err = s.viewOnboarding(ctx, tx, i)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	s.forget(id)
	return out, begun, nil
}

// beginIn begins an onboarding in the caller's transaction, with its line in the trail.
func beginIn(ctx context.Context, tx *store.Tx, i domain.Integration, before domain.IntegrationState, allow bool, by, reason string) (begun bool, err error) {
	o, begun, err := tx.BeginOnboarding(ctx, domain.Onboarding{ID: domain.NewID[domain.OnboardingID](tx.Now), IntegrationID: i.ID, AllowDuplicate: allow, RequestedBy: by}, before)
	if err != nil || !begun {
		return false, err
	}
	return true, tx.Audit(ctx, domain.AuditEntry{Actor: by, Action: "onboarding.begin", Reason: reason, Subject: "integration/" + string(i.ID),
		Before: map[string]string{"state": string(before)}, After: map[string]string{"onboarding": string(o.ID), "allow_duplicate": strconv.FormatBool(allow)}})
}

// getOnboarding reads the newest onboarding of an integration, also of a deleted one.
func (s *Server) getOnboarding(ctx context.Context, in *IDParam) (*onboardingOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	return s.readOnboarding(ctx, id)
}

func (s *Server) readOnboarding(ctx context.Context, id domain.IntegrationID) (*onboardingOutput, error) {
	out := &onboardingOutput{}
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, id)
		if err != nil {
			return err
		}
		out.Body, err = s.viewOnboarding(ctx, tx, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// resumeOnboarding lets an onboarding that waits begin with its first step again.
func (s *Server) resumeOnboarding(ctx context.Context, in *beginOnboardingInput) (*onboardingOutput, error) {
	r := contract.OnboardResumeRequest{By: callerOf(ctx).Subject}
	reason := ""
	if in.Body != nil {
		reason, r.AllowDuplicate = in.Body.Reason, in.Body.AllowDuplicate
	}
	return s.changeOnboarding(ctx, in.ID, "onboarding.resume", reason, map[string]string{"allow_duplicate": strconv.FormatBool(r.AllowDuplicate)},
		func(ctx context.Context, at contract.OnboardInput) error {
			_, err := s.deps.Flow.ResumeOnboarding(ctx, at, r)
			return err
		})
}

// cancelOnboarding ends an onboarding. What it did outside is undone after the answer.
func (s *Server) cancelOnboarding(ctx context.Context, in *actionInput) (*onboardingOutput, error) {
	r := contract.CancelRequest{By: callerOf(ctx).Subject}
	return s.changeOnboarding(ctx, in.ID, "onboarding.cancel", in.reason(), nil, func(ctx context.Context, at contract.OnboardInput) error {
		_, err := s.deps.Flow.CancelOnboarding(ctx, at, r)
		return err
	})
}

// changeOnboarding records what a person wants, asks the onboarding, and answers with it as it is then.
func (s *Server) changeOnboarding(ctx context.Context, rawID, action, reason string, after map[string]string, ask func(context.Context, contract.OnboardInput) error) (*onboardingOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.IntegrationID]("integration", rawID)
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := present(ctx, tx, id); err != nil {
			return err
		}
		o, err := tx.Onboarding(ctx, id)
		if err != nil {
			return err
		}
		if o.State.Ended() {
			return domain.E(domain.KindConflict, "the onboarding has ended: it is %s", o.State)
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: action, Reason: reason, Subject: "integration/" + string(id),
			Before: map[string]string{"onboarding": string(o.ID), "state": string(o.State)}, After: after})
	})
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	if err := ask(wait, contract.OnboardInput{OrgID: who.Org, IntegrationID: id}); err != nil {
		s.recordRefusal(ctx, action, "integration/"+string(id), err)
		return nil, flowFault(err)
	}
	s.forget(id)
	return s.readOnboarding(ctx, id)
}

// beginAnew lets the onboarding of an integration that is being connected begin with its first step, because its settings or
// credentials changed. It is told through the outbox, so that it also works while Temporal is away.
func beginAnew(ctx context.Context, tx *store.Tx, id domain.IntegrationID) error {
	_, _, err := tx.ChangeOnboarding(ctx, id, true, func(o *domain.Onboarding) (bool, error) { return o.Again(), nil })
	if domain.KindOf(err) == domain.KindNotFound {
		return nil
	}
	return err
}

// fillOnboarding tells of each integration that is being connected how far that is.
func (s *Server) fillOnboarding(ctx context.Context, tx *store.Tx, rows []integrationRow) error {
	var ids []domain.IntegrationID
	for _, r := range rows {
		if r.State == domain.IntegrationConnecting {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	live, err := tx.LiveOnboardings(ctx, ids...)
	if err != nil {
		return err
	}
	for n := range rows {
		if o, ok := live[rows[n].ID]; ok {
			rows[n].Onboarding, rows[n].OnboardFault = onboardingText(o), o.Fault
			rows[n].Waiting = o.State == domain.OnboardingWaiting
		}
	}
	return nil
}

var stepWords = map[domain.OnboardStep]string{
	domain.OnboardCredentials: "checking the credentials", domain.OnboardDuplicate: "looking for another connection to the same place",
	domain.OnboardWebhooks: "asking the system to tell of changes", domain.OnboardFirstSync: "reading everything", domain.OnboardProbe: "asking once more",
	domain.OnboardActivation: "switching it on",
}

// onboardingText says where an onboarding stands.
func onboardingText(o domain.Onboarding) string {
	over := 0
	for _, p := range o.Steps {
		if p.State == domain.OnboardStepDone || p.State == domain.OnboardStepSkipped {
			over++
		}
	}
	text := "Connecting: " + strconv.Itoa(over) + " of " + strconv.Itoa(len(o.Steps)) + " steps"
	switch step := o.Current(); {
	case o.State == domain.OnboardingCancelling:
		text += ", being undone"
	case o.State == domain.OnboardingWaiting && step != "":
		text += ", refused while " + stepWords[step]
	case step != "":
		text += ", " + stepWords[step]
	}
	return text
}
