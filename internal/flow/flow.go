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
	"cmp"
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

// StartOptions are those that an integration's workflow is started with.
func (r IntegrationRef) StartOptions() client.StartWorkflowOptions { return r.story().options() }

func (r IntegrationRef) story() story {
	provider := cmp.Or(r.Provider, "unknown")
	return story{name: contract.IntegrationWorkflow, id: contract.IntegrationWorkflowID(r.ID), input: r.Input(), org: r.Org, summary: provider + " connection",
		attrs: []temporal.SearchAttributeUpdate{keyword(contract.AttrIntegration, r.ID), keyword(contract.AttrProvider, provider), keyword(contract.AttrState, domain.IntegrationActive)}}
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
		return c.tell(ctx, ref.story(), name, payload)
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
	wedding := cmp.Or(in.WeddingDate, "none")
	return c.start(ctx, story{name: contract.ConflictWorkflow, id: contract.ConflictWorkflowID(in.ConflictID), input: in, org: in.OrgID,
		summary: string(in.Severity) + " conflict, wedding date " + wedding,
		attrs:   []temporal.SearchAttributeUpdate{keyword(contract.AttrState, domain.ConflictOpen), keyword(contract.AttrWeddingDate, wedding)},
	}, enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
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
	return ask[contract.StateResult](ctx, c, ref.story(), contract.UpdatePause, "", r)
}

// Resume lets a paused integration go on.
func (c *Client) Resume(ctx context.Context, ref IntegrationRef, r contract.ResumeRequest) (contract.StateResult, error) {
	return ask[contract.StateResult](ctx, c, ref.story(), contract.UpdateResume, "", r)
}

// Resync asks an integration for a sync run. It returns when the run is accepted; follow it by SyncProgress.
func (c *Client) Resync(ctx context.Context, ref IntegrationRef, r contract.ResyncRequest) (contract.ResyncResult, error) {
	return ask[contract.ResyncResult](ctx, c, ref.story(), contract.UpdateResync, "resync-"+string(r.RunID), r)
}

// Resolve hands a stored decision to a conflict. It returns when the decision is accepted; carrying it out goes on.
func (c *Client) Resolve(ctx context.Context, id domain.ConflictID, r contract.ResolveRequest) (contract.ResolveResult, error) {
	return askRunning[contract.ResolveResult](ctx, c, "conflict", contract.ConflictWorkflowID(id), contract.UpdateResolve, "resolve-"+r.DecisionID, r)
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
