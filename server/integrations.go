package server

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/rules/freshness"
	"github.com/wedsync/wedsync/internal/store"
)

type integrationView struct {
	domain.Integration
	PollSeconds int64            `json:"poll_seconds" doc:"How often the system is read; 0 = only when asked"`
	WebhookURL  string           `json:"webhook_url" doc:"Where the system posts its webhooks"`
	ConnectURL  string           `json:"connect_url,omitempty" doc:"Where an admin asks (POST) for the link of a consent; absent where the system has secrets instead"`
	Circuits    []domain.Circuit `json:"circuits,omitempty" doc:"Hosts of the system that are not called now, because they do not answer or asked for a pause"`
	// Freshness is told when one integration is read.
	Freshness *domain.Freshness `json:"freshness,omitempty" doc:"How far behind what changes in the system it is; when one integration is read"`
	// Health is told when integrations are read or listed.
	Health *healthBrief `json:"health,omitempty" doc:"How it is observed to do; more at /health"`
}

// healthBrief is the health of an integration in a list.
type healthBrief struct {
	State  domain.HealthState  `json:"state" enum:"unknown,up,degraded,failing_over,polling,down,needs_reconnect,paused,maintenance"`
	Reason domain.HealthReason `json:"reason"`
	Since  time.Time           `json:"since"`
}

type integrationOutput struct {
	ETag string `header:"ETag"`
	Body integrationView
}

func (s *Server) viewIntegration(ctx context.Context, i domain.Integration) integrationView {
	v := integrationView{Integration: i, PollSeconds: int64(i.PollEvery / time.Second),
		WebhookURL: s.baseURL(ctx) + "/v1/webhooks/" + string(i.ID)}
	if s.byConsent(i) {
		v.ConnectURL = s.baseURL(ctx) + "/v1/integrations/" + string(i.ID) + "/connect"
	}
	return v
}

// hold adds what calls are held back. An active integration then says so where people look for reasons.
func (v *integrationView) hold(circuits []domain.Circuit) {
	v.Circuits = circuits
	if v.State != domain.IntegrationActive || len(circuits) == 0 {
		return
	}
	c := circuits[0]
	if c.State == domain.CircuitPaused {
		v.StateReason = c.Host + " asked not to be called until " + c.Until.Format(time.RFC3339)
	} else {
		v.StateReason = c.Host + " does not answer; it is tried again at " + c.Until.Format(time.RFC3339) + ": " + c.Reason
	}
}

func (s *Server) integrationOutput(ctx context.Context, i domain.Integration) *integrationOutput {
	return &integrationOutput{ETag: etag(i.Version), Body: s.viewIntegration(ctx, i)}
}

// integrationFacts is what the trail keeps of an integration: plain values and the names of its secrets.
func integrationFacts(i domain.Integration, secrets map[string]string) map[string]string {
	facts := map[string]string{"provider": i.Provider, "direction": string(i.Direction), "resource": string(i.ResourceID),
		"state": string(i.State), "poll_seconds": strconv.FormatInt(int64(i.PollEvery/time.Second), 10), "priority": i.Priority.OrNormal().String()}
	if i.Sync.EditConflicts != "" {
		facts["edit_conflicts"] = string(i.Sync.EditConflicts)
	}
	if i.Sync.Private != "" {
		facts["private"] = string(i.Sync.Private)
	}
	if !reflect.DeepEqual(i.Sync.Filters, domain.SyncFilters{}) {
		facts["filters"] = "set"
	}
	if i.Guard != (domain.Guard{}) {
		facts["guard"] = fmt.Sprintf("%d, %d%%", i.Guard.Removals, i.Guard.Percent)
	}
	if i.Version > 0 {
		facts["version"] = strconv.FormatInt(i.Version, 10)
	}
	if len(secrets) > 0 {
		facts["secrets_set"] = strings.Join(slices.Sorted(maps.Keys(secrets)), ",")
	}
	return facts
}

// readIntegration reads one that is not deleted.
func (s *Server) readIntegration(ctx context.Context, id domain.IntegrationID) (i domain.Integration, err error) {
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		i, err = present(ctx, tx, id)
		return err
	})
	return i, err
}

// present reads an integration; a deleted one is gone for the API.
func present(ctx context.Context, tx *store.Tx, id domain.IntegrationID) (domain.Integration, error) {
	i, err := tx.Integration(ctx, id)
	if err == nil && i.State == domain.IntegrationDeleted {
		return domain.Integration{}, domain.E(domain.KindNotFound, "no such integration")
	}
	return i, err
}

func (s *Server) listIntegrations(ctx context.Context, in *PageParams) (*listOutput[integrationView], error) {
	var out []integrationView
	var next string
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		all, more, err := tx.Integrations(ctx, in.page())
		if err != nil {
			return err
		}
		out, next = out[:0], more
		circuits, err := tx.Circuits(ctx, "")
		if err != nil {
			return err
		}
		ids := make([]domain.IntegrationID, len(all))
		for n, i := range all {
			ids[n] = i.ID
		}
		healths, err := tx.HealthOf(ctx, ids...)
		for _, i := range all {
			v := s.viewIntegration(ctx, i)
			if h, ok := healths[i.ID]; ok {
				v.Health = &healthBrief{h.State, h.Reason, h.Since}
			}
			v.hold(circuits[i.ID])
			out = append(out, v)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}

func (s *Server) getIntegration(ctx context.Context, in *IDParam) (*integrationOutput, error) {
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	var i domain.Integration
	var fresh domain.Freshness
	var health domain.Health
	var circuits map[domain.IntegrationID][]domain.Circuit
	err = s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		if i, err = present(ctx, tx, id); err != nil {
			return err
		}
		if circuits, err = tx.Circuits(ctx, id); err != nil {
			return err
		}
		if health, err = tx.Health(ctx, id); err != nil {
			return err
		}
		measured, err := tx.Freshness(ctx, id)
		fresh = freshness.Of(tx.Now, i, measured[id])
		return err
	})
	if err != nil {
		return nil, err
	}
	out := s.integrationOutput(ctx, i)
	out.Body.Freshness, out.Body.Health = &fresh, &healthBrief{health.State, health.Reason, health.Since}
	out.Body.hold(circuits[id])
	return out, nil
}

// forget makes webhooks that reach this process see a change at once; others notice a second later.
func (s *Server) forget(id domain.IntegrationID) {
	if s.deps.Intake != nil {
		s.deps.Intake.Invalidate(id)
	}
}

type deleteIntegrationInput struct {
	IDParam
	FreezeHeader
	Purge  bool   `query:"purge" doc:"Take our copies out first; the integration is deleted when none is left, see its purge"`
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail"`
}

func (s *Server) deleteIntegration(ctx context.Context, in *deleteIntegrationInput) (*struct{}, error) {
	who := callerOf(ctx)
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.IntegrationID]("integration", in.ID)
	if err != nil {
		return nil, err
	}
	if in.Purge {
		_, err := s.purge(ctx, in.ID, reason, false, true, in.FreezeHeader)
		return nil, err
	}
	var ended connect.Ended
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := present(ctx, tx, id)
		if err != nil {
			return err
		}
		if !neverRan(was) {
			if _, err := freeze.Person(ctx, tx, freeze.ActDisconnect, "id", "integration/"+string(id), in.override(ctx)); err != nil {
				return err
			}
		}
		i, err := tx.SetIntegrationState(ctx, id, domain.IntegrationDeleted, "deleted by an admin")
		if err != nil {
			return err
		}
		ended.Integration = was
		if ended.Grant, ended.Alone, err = tx.DropOAuthGrant(ctx, id); err != nil && domain.KindOf(err) != domain.KindNotFound {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "integration.delete", Reason: reason,
			Subject: "integration/" + string(id), Before: integrationFacts(was, nil), After: integrationFacts(i, nil)})
	})
	if err != nil {
		return nil, err
	}
	s.forget(id)
	s.farewell(ctx, &ended, who.Subject)
	return nil, nil
}
