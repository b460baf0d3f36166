package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/store"
)

// Bounds of a call that acts on many integrations.
const (
	maxBatch      = 200 // integrations of one call; the answer says where to go on
	batchAtOnce   = 8
	batchTime     = 25 * time.Second // after that no further one is begun
	batchProbe    = 8 * time.Second  // of one system
	maxBatchNamed = 200              // ids in a filter
)

// batchAction is what is to be done to each integration.
type batchAction string

const (
	batchInitialise batchAction = "initialise"
	batchPause      batchAction = "pause"
	batchResume     batchAction = "resume"
	batchResync     batchAction = "resync"
	batchHealth     batchAction = "health"
)

// batchOutcome is what became of an integration.
type batchOutcome string

const (
	batchDone    batchOutcome = "done"
	batchAlready batchOutcome = "already" // it was so before
	batchRefused batchOutcome = "refused" // it cannot be; the reason says why
	batchFailed  batchOutcome = "failed"  // it was not done and may be asked for again
)

type batchInput struct {
	KeyHeader
	FreezeHeader
	Body struct {
		Action batchAction `json:"action" enum:"initialise,pause,resume,resync,health"`
		Filter struct {
			IDs      []string                `json:"ids,omitempty" maxItems:"200" doc:"These only"`
			Provider string                  `json:"provider,omitempty" maxLength:"60"`
			State    domain.IntegrationState `json:"state,omitempty" enum:"active,paused,needs_reconnect,connecting"`
			Resource string                  `json:"resource_id,omitempty" maxLength:"36"`
		} `json:"filter,omitempty" doc:"Which integrations; all that it does not rule out"`
		Full   bool   `json:"full,omitempty" doc:"For resync: read everything instead of what changed"`
		After  string `json:"after,omitempty" maxLength:"200" doc:"The next of the answer before"`
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; at most 500 bytes, no personal data"`
	}
}

// batchItem is what became of one integration.
type batchItem struct {
	ID       domain.IntegrationID    `json:"integration_id"`
	Name     string                  `json:"name"`
	Provider string                  `json:"provider"`
	Outcome  batchOutcome            `json:"outcome" enum:"done,already,refused,failed"`
	Code     string                  `json:"code,omitempty" doc:"The kind of the refusal or fault, for programs"`
	Reason   string                  `json:"reason,omitempty"`
	State    domain.IntegrationState `json:"state" doc:"Of the integration afterwards"`
	RunID    domain.SyncRunID        `json:"run_id,omitempty" doc:"For resync: the run"`
	Healthy  *bool                   `json:"healthy,omitempty" doc:"For health: it runs, is in time, the system answers now, and what is observed of it is good or good enough"`
	Health   *batchHealthView        `json:"health,omitempty" doc:"For health: what is observed of it all the time, whatever it answers now"`
}

// batchHealthView is the observed health of an integration, as it is stored.
type batchHealthView struct {
	State  domain.HealthState  `json:"state" enum:"unknown,up,degraded,failing_over,polling,down,needs_reconnect,paused,maintenance"`
	Reason domain.HealthReason `json:"reason" doc:"Of the last move"`
	Since  time.Time           `json:"since"`
}

type batchOutput struct {
	Body struct {
		Action batchAction          `json:"action"`
		Items  []batchItem          `json:"items" doc:"One for each integration that was chosen, in the order in which they were made"`
		Counts map[batchOutcome]int `json:"counts"`
		Next   string               `json:"next,omitempty" doc:"There are more: pass as after with the same request"`
	}
}

// batchIntegrations acts on many integrations of the organisation at once and says of each what became of it. What is so
// already is left alone, so the call may be repeated; with an Idempotency-Key a repeat starts no second resync either.
func (s *Server) batchIntegrations(ctx context.Context, in *batchInput) (*batchOutput, error) {
	who, b := callerOf(ctx), &in.Body
	if b.Action == batchInitialise && who.Role.Level() < domain.RoleAdmin.Level() {
		return nil, domain.E(domain.KindForbidden, "only an admin can connect systems")
	}
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	b.Reason = reason
	if len(b.Filter.IDs) > maxBatchNamed {
		return nil, domain.Invalid("body.filter.ids", "at most %d, has %d", maxBatchNamed, len(b.Filter.IDs))
	}
	chosen, next, err := s.chosen(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &batchOutput{}
	out.Body.Action, out.Body.Next, out.Body.Counts = b.Action, next, map[batchOutcome]int{}
	out.Body.Items = make([]batchItem, len(chosen))
	limit, cancel := context.WithTimeout(ctx, batchTime)
	defer cancel()
	places := make(chan struct{}, batchAtOnce)
	var all sync.WaitGroup
	for n, i := range chosen {
		item := &out.Body.Items[n]
		*item = batchItem{ID: i.ID, Name: i.Name, Provider: i.Provider, State: i.State}
		select {
		case places <- struct{}{}:
		case <-limit.Done():
		}
		if limit.Err() != nil {
			item.Outcome, item.Code, item.Reason = batchFailed, string(domain.KindUnavailable), "no time was left; ask again"
			continue
		}
		all.Go(func() {
			defer func() { <-places }()
			s.batchOne(limit, in, i, item)
		})
	}
	all.Wait()
	for _, item := range out.Body.Items {
		out.Body.Counts[item.Outcome]++
	}
	return out, nil
}

// chosen reads a page of the integrations that the filter chooses.
func (s *Server) chosen(ctx context.Context, in *batchInput) (out []domain.Integration, next string, err error) {
	f := in.Body.Filter
	named := make(map[domain.IntegrationID]bool, len(f.IDs))
	for _, raw := range f.IDs {
		id, err := domain.ParseID[domain.IntegrationID]("body.filter.ids", raw)
		if err != nil {
			return nil, "", err
		}
		named[id] = true
	}
	resource, err := optionalID[domain.ResourceID]("body.filter.resource_id", f.Resource)
	if err != nil {
		return nil, "", err
	}
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out, next = nil, ""
		page := store.Page{Limit: maxBatch, After: in.Body.After}
		for {
			all, more, err := tx.Integrations(ctx, page)
			if err != nil {
				return err
			}
			for _, i := range all {
				if len(named) > 0 && !named[i.ID] || f.Provider != "" && i.Provider != f.Provider || f.State != "" && i.State != f.State ||
					resource != "" && i.ResourceID != resource {
					continue
				}
				if len(out) == maxBatch {
					next = string(out[len(out)-1].ID)
					return nil
				}
				out = append(out, i)
			}
			if more == "" {
				return nil
			}
			page.After = more
		}
	})
	return out, next, err
}

// errAlready says that an integration was so before.
var errAlready = errors.New("it is so already")

// batchOne acts on one integration and notes what became of it.
func (s *Server) batchOne(ctx context.Context, in *batchInput, i domain.Integration, item *batchItem) {
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("a provider panicked (%T)", r) // the value may quote a payload
			}
		}()
		return s.batchAct(ctx, in, i, item)
	}()
	if now, readErr := s.readIntegration(context.WithoutCancel(ctx), i.ID); readErr == nil {
		item.State = now.State
	}
	kind := domain.KindOf(err)
	switch {
	case err == nil:
		item.Outcome = batchDone
	case errors.Is(err, errAlready):
		item.Outcome = batchAlready
	case kind == domain.KindInternal:
		s.log.Error("an integration could not be acted on", "request_id", requestID(ctx), "integration", i.ID, "action", string(in.Body.Action), "error", err)
		item.Outcome, item.Code, item.Reason = batchFailed, string(kind), "a fault on our side; its cause is logged under the request id"
	case domain.Retryable(err):
		item.Outcome, item.Code, item.Reason = batchFailed, string(kind), err.Error()
	default:
		item.Outcome, item.Code, item.Reason = batchRefused, string(kind), err.Error()
	}
}

func (s *Server) batchAct(ctx context.Context, in *batchInput, i domain.Integration, item *batchItem) error {
	act := &actionInput{IDParam: IDParam{ID: string(i.ID)}, Body: &reasonBody{Reason: in.Body.Reason}}
	connecting := i.State == domain.IntegrationConnecting
	switch in.Body.Action {
	case batchPause:
		switch {
		case i.State == domain.IntegrationPaused:
			return errAlready
		case connecting:
			return domain.E(domain.KindConflict, "it is being connected; cancel its onboarding instead")
		}
		_, err := s.pauseIntegration(ctx, act)
		return err
	case batchResume:
		switch {
		case i.State == domain.IntegrationActive:
			return errAlready
		case connecting:
			return domain.E(domain.KindConflict, "it is being connected; its onboarding lets it run")
		case i.State == domain.IntegrationNeedsReconnect:
			return domain.E(domain.KindConflict, "its system does not accept our credentials; mend them, or initialise it")
		}
		_, err := s.resumeIntegration(ctx, act)
		return err
	case batchResync:
		if i.State != domain.IntegrationActive {
			return domain.E(domain.KindConflict, "it is %s", i.State)
		}
		again := &resyncInput{IDParam: act.IDParam, KeyHeader: in.KeyHeader, FreezeHeader: in.FreezeHeader}
		again.Body = &struct {
			Full   bool   `json:"full,omitempty" doc:"Read everything instead of what changed"`
			Reason string `json:"reason,omitempty" maxLength:"500"`
		}{Full: in.Body.Full, Reason: in.Body.Reason}
		run, err := s.resyncIntegration(ctx, again)
		if err == nil {
			item.RunID = run.Body.RunID
		}
		return err
	case batchInitialise:
		return s.initialise(ctx, i, act)
	case batchHealth:
		return s.healthOf(ctx, i, item)
	}
	return domain.Invalid("body.action", "is unknown")
}

// initialise brings an integration that never worked, or does not any more, to work. One that waits begins anew.
func (s *Server) initialise(ctx context.Context, i domain.Integration, act *actionInput) error {
	switch i.State {
	case domain.IntegrationActive:
		return errAlready
	case domain.IntegrationPaused:
		if i.LastSyncAt != nil || i.LastDeliveryAt != nil {
			return domain.E(domain.KindConflict, "it worked and was paused; resume it")
		}
	case domain.IntegrationConnecting:
		now, err := s.readOnboarding(ctx, i.ID)
		if err != nil {
			return err
		}
		if now.Body.State != domain.OnboardingWaiting {
			return errAlready
		}
		_, err = s.resumeOnboarding(ctx, &beginOnboardingInput{IDParam: act.IDParam})
		return err
	case domain.IntegrationNeedsReconnect, domain.IntegrationDeleted:
	}
	_, begun, err := s.startOnboarding(ctx, i.ID, false, act.reason())
	if err == nil && !begun {
		return errAlready
	}
	return err
}

// healthOf tells how an integration does: what is observed of it all the time, and whether it runs, is in time, and its system
// answers now. Only one that runs is asked.
func (s *Server) healthOf(ctx context.Context, i domain.Integration, item *batchItem) error {
	healthy := false
	item.Healthy = &healthy
	var late string
	var observed domain.Health
	err := s.deps.Store.TenantRead(ctx, i.OrgID, func(ctx context.Context, tx *store.Tx) error {
		var err error
		if observed, err = tx.Health(ctx, i.ID); err != nil {
			return err
		}
		measured, err := tx.Freshness(ctx, i.ID)
		late = freshness.Of(tx.Now, i, measured[i.ID]).LateReason
		return err
	})
	if err != nil {
		item.Healthy = nil
		return err
	}
	item.Health = &batchHealthView{State: observed.State, Reason: observed.Reason, Since: observed.Since}
	if i.State != domain.IntegrationActive {
		item.Reason = "it is " + string(i.State) + ": " + i.StateReason
		return nil
	}
	if s.deps.Probe != nil && observed.State != domain.HealthMaintenance {
		ask, cancel := context.WithTimeout(ctx, batchProbe)
		defer cancel()
		if err := s.deps.Probe(ask, i.OrgID, i.ID); err != nil {
			if ctx.Err() != nil {
				item.Healthy = nil
				return domain.E(domain.KindUnavailable, "no time was left; ask again")
			}
			item.Code, item.Reason = string(domain.KindOf(err)), probeText(err)
			return nil
		}
	}
	switch {
	case late != "":
		item.Reason = late
	case !observed.State.Works() && observed.State != domain.HealthUnknown:
		// One answer does not make up for what was observed before it.
		item.Reason = "it is " + string(observed.State) + ": " + observed.Reason.Text
	default:
		healthy = true
		if observed.State != domain.HealthUp && observed.State != domain.HealthUnknown {
			item.Reason = "it is " + string(observed.State) + ": " + observed.Reason.Text
		}
	}
	return nil
}

// probeText is what may be told of a probe that did not work.
func probeText(err error) string {
	var known *domain.Error
	if errors.As(err, &known) && known.Kind != domain.KindInternal {
		return err.Error()
	}
	return "the system could not be asked"
}
