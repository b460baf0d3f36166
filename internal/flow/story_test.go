package flow

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
)

// began is how a workflow was started.
type began struct {
	Workflow, ID, Signal, Fairness string
	Once                           bool // not again when it ran before
	Attrs                          map[string]string
	Input                          any
}

// starter is a client under which nothing runs. It keeps how the last workflow was started.
type starter struct {
	client.Client
	t    *testing.T
	last began
}

func (s *starter) note(o client.StartWorkflowOptions, workflow, signal string, args []any) {
	s.t.Helper()
	if o.TaskQueue != contract.QueueCore || o.WorkflowTaskTimeout != TaskTimeout || o.StaticSummary == "" || len(args) != 1 {
		s.t.Errorf("%s: started with %+v and %d inputs", o.ID, o, len(args))
	}
	s.last = began{Workflow: workflow, ID: o.ID, Signal: signal, Fairness: o.Priority.FairnessKey, Input: args[0], Attrs: map[string]string{},
		Once: o.WorkflowIDReusePolicy == enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE}
	for _, name := range []string{contract.AttrOrg, contract.AttrIntegration, contract.AttrProvider, contract.AttrState, contract.AttrWeddingDate} {
		if v, ok := o.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword(name)); ok {
			s.last.Attrs[name] = v
		}
	}
}

func (s *starter) SignalWorkflow(context.Context, string, string, string, any) error {
	return serviceerror.NewNotFound("no such run")
}

func (s *starter) SignalWithStartWorkflow(_ context.Context, id, signal string, _ any, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	if id != o.ID {
		s.t.Errorf("the signal goes to %s and the start to %s", id, o.ID)
	}
	s.note(o, workflow.(string), signal, args)
	return nil, nil
}

func (s *starter) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	s.note(o, workflow.(string), "", args)
	return nil, serviceerror.NewWorkflowExecutionAlreadyStarted("it runs", "", "")
}

func TestEveryWorkflowIsStartedUnderItsNameForItsOrganisation(t *testing.T) {
	t.Parallel()
	const org = domain.OrgID("o")
	of := func(pairs ...string) map[string]string {
		m := map[string]string{contract.AttrOrg: "o"}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	conflict := contract.ConflictInput{OrgID: org, ConflictID: "c"}
	dated := contract.ConflictInput{OrgID: org, ConflictID: "c", WeddingDate: "2027-06-12"}
	replay := contract.ReplayInput{OrgID: org, ReplayID: "r"}
	hold, wedding := contract.HoldInput{OrgID: org, BookingID: "b"}, contract.WeddingInput{OrgID: org, BookingID: "b"}
	timeline := contract.TimelineInput{OrgID: org, BookingID: "b"}
	window, onboard := contract.MaintenanceInput{OrgID: org, MaintenanceID: "m"}, contract.OnboardInput{OrgID: org, IntegrationID: "i"}
	connection := func(provider string) map[string]string {
		return of(contract.AttrIntegration, "i", contract.AttrProvider, provider, contract.AttrState, "active")
	}
	for name, c := range map[string]struct {
		call func(ctx context.Context, c *Client) error
		want began
	}{
		"deliveries": {func(ctx context.Context, c *Client) error {
			return c.Deliveries(ctx, IntegrationRef{Org: org, ID: "i", Provider: "custom"}, contract.DeliveriesSignal{})
		}, began{Workflow: "Integration", ID: "integration/i", Signal: contract.SignalDeliveries, Attrs: connection("custom"), Input: contract.IntegrationInput{OrgID: org, IntegrationID: "i"}}},
		"a change of a system that is not named": {func(ctx context.Context, c *Client) error {
			return c.Changed(ctx, IntegrationRef{Org: org, ID: "i"}, contract.ChangedSignal{})
		}, began{Workflow: "Integration", ID: "integration/i", Signal: contract.SignalChanged, Attrs: connection("unknown"), Input: contract.IntegrationInput{OrgID: org, IntegrationID: "i"}}},
		"a conflict": {func(ctx context.Context, c *Client) error { return c.StartConflict(ctx, conflict) },
			began{Workflow: "Conflict", ID: "conflict/c", Once: true, Attrs: of(contract.AttrState, "open", contract.AttrWeddingDate, "none"), Input: conflict}},
		"a conflict of a wedding": {func(ctx context.Context, c *Client) error { return c.StartConflict(ctx, dated) },
			began{Workflow: "Conflict", ID: "conflict/c", Once: true, Attrs: of(contract.AttrState, "open", contract.AttrWeddingDate, "2027-06-12"), Input: dated}},
		"a replay": {func(ctx context.Context, c *Client) error { return c.StartReplay(ctx, replay) },
			began{Workflow: "Replay", ID: "replay/r", Once: true, Attrs: of(contract.AttrState, string(domain.ReplayRunning)), Input: replay}},
		"a hold": {func(ctx context.Context, c *Client) error { return c.TellHold(ctx, hold) },
			began{Workflow: "Hold", ID: contract.HoldWorkflowID("b"), Signal: contract.SignalHold, Attrs: of(contract.AttrState, string(domain.HoldLive)), Input: hold}},
		"a wedding": {func(ctx context.Context, c *Client) error { return c.TellWedding(ctx, wedding) },
			began{Workflow: "Wedding", ID: contract.WeddingWorkflowID("b"), Signal: contract.SignalWedding, Attrs: of(contract.AttrState, string(domain.CareWaiting)), Input: wedding}},
		"a timeline": {func(ctx context.Context, c *Client) error { return c.FollowTimeline(ctx, timeline) },
			began{Workflow: "Timeline", ID: contract.TimelineWorkflowID("b"), Signal: contract.SignalFollow, Attrs: of(), Input: timeline}},
		"a window": {func(ctx context.Context, c *Client) error { return c.WakeMaintenance(ctx, window) },
			began{Workflow: "Maintenance", ID: contract.MaintenanceWorkflowID("m"), Signal: contract.SignalWake, Attrs: of(contract.AttrState, string(domain.MaintenanceProposed)), Input: window}},
		"an onboarding": {func(ctx context.Context, c *Client) error { return c.TellOnboarding(ctx, onboard) },
			began{Workflow: "Onboard", ID: contract.OnboardWorkflowID("i"), Signal: contract.SignalOnboarding,
				Attrs: of(contract.AttrIntegration, "i", contract.AttrState, string(domain.OnboardingRunning)), Input: onboard}},
		"a subscription": {func(ctx context.Context, c *Client) error {
			return c.WakeSubscription(ctx, SubscriptionRef{Org: org, ID: "s"}, contract.WakeSignal{})
		}, began{Workflow: "Subscription", ID: contract.SubscriptionWorkflowID("s"), Signal: contract.SignalWake, Attrs: of(contract.AttrState, string(domain.SubscriptionActive)),
			Input: contract.SubscriptionInput{OrgID: org, SubscriptionID: "s"}}},
		"notifications": {func(ctx context.Context, c *Client) error { return c.WakeNotify(ctx, org) },
			began{Workflow: "Notify", ID: contract.NotifyWorkflowID(org), Signal: contract.SignalWake, Attrs: of(), Input: contract.NotifyInput{OrgID: org}}},
		"alerts": {func(ctx context.Context, c *Client) error { return c.WakeAlerts(ctx, org) },
			began{Workflow: "Alerts", ID: contract.AlertsWorkflowID(org), Signal: contract.SignalWake, Attrs: of(), Input: contract.AlertsInput{OrgID: org}}},
		"probes of nobody": {func(ctx context.Context, c *Client) error { return c.StartProbe(ctx, 3) },
			began{Workflow: "Probe", ID: contract.ProbeWorkflowID(3), Attrs: map[string]string{}, Input: contract.ProbeInput{Shard: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &starter{t: t}
			if err := c.call(t.Context(), &Client{temporal: s}); err != nil {
				t.Fatal(err)
			}
			c.want.Fairness = c.want.Attrs[contract.AttrOrg]
			if diff := cmp.Diff(c.want, s.last); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
