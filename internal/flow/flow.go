// Package flow is WedSync's typed client of Temporal: one method per word of package contract, so that callers cannot
// send the wrong input to the wrong workflow.
//
// Every payload is sealed by package codec. Signals start the workflow when it is not running (signal-with-start), so
// a connection's first webhook needs nothing set up. Updates that people wait for start it too.
//
// Errors have a domain kind: unavailable when Temporal cannot be reached or is too busy (ask again later), conflict
// when a validator refused (its text is safe to show), not_found when there is no such run. Nothing here blocks
// longer than the caller's context.
//
// Tests need a Temporal server; see internal/devstack/temporaltest.
package flow

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"github.com/wedsync/wedsync/internal/codec"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/vault"
)

// Options tells where Temporal is.
type Options struct {
	Address   string // host:port of the frontend
	Namespace string // "" = "default"
	Ring      *vault.Keyring
	Logger    *slog.Logger
	Metrics   client.MetricsHandler // optional
	Identity  string                // shown in Temporal UI; "" = process and host
	Traced    bool                  // signals carry the trace of the context that they are sent with
}

// Client is a typed Temporal client. Use it from any number of goroutines.
type Client struct {
	temporal  client.Client
	namespace string
}

// New makes a client that connects at its first use, so that a server starts (and takes webhooks) while Temporal is
// down.
func New(o Options) (*Client, error) {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	var between []interceptor.ClientInterceptor
	if o.Traced {
		between = append(between, &signalTraces{})
	}
	c, err := client.NewLazyClient(client.Options{
		Interceptors:     between,
		HostPort:         o.Address,
		Namespace:        o.Namespace,
		Identity:         o.Identity,
		Logger:           log.NewStructuredLogger(o.Logger),
		MetricsHandler:   o.Metrics,
		DataConverter:    codec.DataConverter(o.Ring),
		FailureConverter: codec.FailureConverter(o.Ring),
	})
	if err != nil {
		return nil, domain.E(domain.KindInvalid, "configure Temporal client: %w", err)
	}
	return &Client{temporal: c, namespace: o.Namespace}, nil
}

// Temporal returns the client beneath, for workers and tests.
func (c *Client) Temporal() client.Client { return c.temporal }

// Close ends the connection.
func (c *Client) Close() { c.temporal.Close() }

// Ping asks the server whether it serves.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
	return translate("ask Temporal for its health", err)
}

// IntegrationRef names an integration to its workflow.
type IntegrationRef struct {
	Org      domain.OrgID
	ID       domain.IntegrationID
	Provider string // shown to operators; "" when unknown
}

// TaskTimeout bounds one workflow task. It is longer than Temporal's 10 s default because database steps run as local
// activities inside the task.
const TaskTimeout = 30 * time.Second

// StartOptions are those that an integration's workflow is started with.
func (r IntegrationRef) StartOptions() client.StartWorkflowOptions {
	provider := r.Provider
	if provider == "" {
		provider = "unknown"
	}
	return client.StartWorkflowOptions{
		ID:                       contract.IntegrationWorkflowID(r.ID),
		TaskQueue:                contract.QueueCore,
		WorkflowTaskTimeout:      TaskTimeout,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            provider + " connection",
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(r.Org)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrIntegration).ValueSet(string(r.ID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrProvider).ValueSet(provider),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.IntegrationActive)),
		),
		Priority: temporal.Priority{FairnessKey: string(r.Org)},
	}
}

// Input is what an integration's workflow is started with.
func (r IntegrationRef) Input() contract.IntegrationInput {
	return contract.IntegrationInput{OrgID: r.Org, IntegrationID: r.ID}
}

// signalIntegration signals an integration's workflow and starts it when it does not run.
func (c *Client) signalIntegration(ctx context.Context, ref IntegrationRef, name string, payload any) error {
	// Nearly always the workflow runs, and a plain signal costs Temporal less: the options of a start need not be
	// checked again. Measured in bench-flow's burst, Temporal's processor time fell by about a sixth.
	var missing *serviceerror.NotFound
	err := c.temporal.SignalWorkflow(ctx, contract.IntegrationWorkflowID(ref.ID), "", name, payload)
	if errors.As(err, &missing) {
		o := ref.StartOptions()
		_, err = c.temporal.SignalWithStartWorkflow(ctx, o.ID, name, payload, o, contract.IntegrationWorkflow, ref.Input())
	}
	return translate("signal integration", err)
}

// Deliveries tells an integration that deliveries wait.
func (c *Client) Deliveries(ctx context.Context, ref IntegrationRef, s contract.DeliveriesSignal) error {
	return c.signalIntegration(ctx, ref, contract.SignalDeliveries, s)
}

// Pushes tells an integration that copies must be written.
func (c *Client) Pushes(ctx context.Context, ref IntegrationRef, s contract.PushesSignal) error {
	return c.signalIntegration(ctx, ref, contract.SignalPushes, s)
}

// Changed tells an integration to read its row again. A new integration's workflow starts with it.
func (c *Client) Changed(ctx context.Context, ref IntegrationRef, s contract.ChangedSignal) error {
	return c.signalIntegration(ctx, ref, contract.SignalChanged, s)
}

// StartConflict starts a conflict's story; one that was started already is left alone.
func (c *Client) StartConflict(ctx context.Context, in contract.ConflictInput) error {
	wedding := in.WeddingDate
	if wedding == "" {
		wedding = "none"
	}
	_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                    contract.ConflictWorkflowID(in.ConflictID),
		TaskQueue:             contract.QueueCore,
		WorkflowTaskTimeout:   TaskTimeout,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		StaticSummary:         string(in.Severity) + " conflict, wedding date " + wedding,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(contract.AttrOrg).ValueSet(string(in.OrgID)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrState).ValueSet(string(domain.ConflictOpen)),
			temporal.NewSearchAttributeKeyKeyword(contract.AttrWeddingDate).ValueSet(wedding),
		),
		Priority: temporal.Priority{FairnessKey: string(in.OrgID)},
	}, contract.ConflictWorkflow, in)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return nil
	}
	return translate("start conflict", err)
}

// RecheckConflict tells a conflict that one of its bookings changed. A conflict that is over does not care.
func (c *Client) RecheckConflict(ctx context.Context, id domain.ConflictID, s contract.RecheckSignal) error {
	err := c.temporal.SignalWorkflow(ctx, contract.ConflictWorkflowID(id), "", contract.SignalRecheck, s)
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return nil
	}
	return translate("signal conflict", err)
}

// Pause stops an integration from applying and writing; what arrives meanwhile is kept.
func (c *Client) Pause(ctx context.Context, ref IntegrationRef, r contract.PauseRequest) (contract.StateResult, error) {
	return updateIntegration[contract.StateResult](ctx, c, ref, contract.UpdatePause, "", r)
}

// Resume lets a paused integration go on.
func (c *Client) Resume(ctx context.Context, ref IntegrationRef, r contract.ResumeRequest) (contract.StateResult, error) {
	return updateIntegration[contract.StateResult](ctx, c, ref, contract.UpdateResume, "", r)
}

// Resync asks an integration for a sync run. It returns when the run is accepted; follow it by SyncProgress.
func (c *Client) Resync(ctx context.Context, ref IntegrationRef, r contract.ResyncRequest) (contract.ResyncResult, error) {
	return updateIntegration[contract.ResyncResult](ctx, c, ref, contract.UpdateResync, "resync-"+string(r.RunID), r)
}

func updateIntegration[R any](ctx context.Context, c *Client, ref IntegrationRef, name, id string, arg any) (R, error) {
	return update[R](ctx, "update integration", func() (client.WorkflowUpdateHandle, error) {
		return c.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: c.temporal.NewWithStartWorkflowOperation(ref.StartOptions(), contract.IntegrationWorkflow, ref.Input()),
			UpdateOptions: client.UpdateWorkflowOptions{
				UpdateID: id, UpdateName: name, Args: []any{arg}, WaitForStage: client.WorkflowUpdateStageCompleted,
			},
		})
	})
}

// Resolve hands a stored decision to a conflict. It returns when the decision is accepted; carrying it out goes on.
func (c *Client) Resolve(ctx context.Context, id domain.ConflictID, r contract.ResolveRequest) (contract.ResolveResult, error) {
	return update[contract.ResolveResult](ctx, "update conflict", func() (client.WorkflowUpdateHandle, error) {
		return c.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID: contract.ConflictWorkflowID(id), UpdateID: "resolve-" + r.DecisionID, UpdateName: contract.UpdateResolve,
			Args: []any{r}, WaitForStage: client.WorkflowUpdateStageCompleted,
		})
	})
}

// SyncProgress asks a sync run how far it is. A finished run answers as long as Temporal keeps its history.
func (c *Client) SyncProgress(ctx context.Context, id domain.SyncRunID) (contract.SyncProgress, error) {
	return query[contract.SyncProgress](ctx, c, contract.SyncWorkflowID(id), contract.QueryProgress)
}

// IntegrationStatus asks an integration's workflow where it stands.
func (c *Client) IntegrationStatus(ctx context.Context, id domain.IntegrationID) (contract.IntegrationStatus, error) {
	return query[contract.IntegrationStatus](ctx, c, contract.IntegrationWorkflowID(id), contract.QueryStatus)
}

// ConflictStatus asks a conflict's workflow where it stands.
func (c *Client) ConflictStatus(ctx context.Context, id domain.ConflictID) (contract.ConflictStatus, error) {
	return query[contract.ConflictStatus](ctx, c, contract.ConflictWorkflowID(id), contract.QueryStatus)
}

func query[R any](ctx context.Context, c *Client, workflowID, name string) (R, error) {
	var out R
	value, err := c.temporal.QueryWorkflow(ctx, workflowID, "", name)
	if err == nil {
		err = value.Get(&out)
	}
	return out, translate("query workflow", err)
}

// translate gives Temporal's errors their domain kind.
func translate(doing string, err error) error {
	if err == nil {
		return nil
	}
	var (
		refused   *temporal.ApplicationError
		notFound  *serviceerror.NotFound
		invalid   *serviceerror.InvalidArgument
		exhausted *serviceerror.ResourceExhausted
	)
	switch {
	case errors.As(err, &refused):
		return &domain.Error{Kind: domain.KindConflict, Text: refused.Message()}
	case errors.As(err, &notFound):
		return domain.E(domain.KindNotFound, doing+": %w", err)
	case errors.As(err, &invalid):
		return domain.E(domain.KindInternal, doing+": %w", err)
	case errors.As(err, &exhausted):
		return domain.WithRetryAfter(domain.E(domain.KindUnavailable, doing+": %w", err), time.Second)
	}
	// What remains is a connection that broke, a deadline, or a server starting or stopping: the call may be repeated,
	// because every call here is safe to repeat.
	return domain.E(domain.KindUnavailable, doing+": %w", err)
}
