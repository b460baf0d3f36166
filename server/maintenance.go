package server

import (
	"context"
	"strconv"
	"time"

	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/maintenance"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/upkeep"
)

type maintenanceOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		domain.Maintenance
		Members []domain.MaintenanceMember `json:"members" doc:"Its connections, from its beginning on, with what waits of each"`
	}
}

func maintenanceAnswer(ctx context.Context, tx *store.Tx, m domain.Maintenance) (*maintenanceOutput, error) {
	out := &maintenanceOutput{ETag: etag(m.Version)}
	members, err := tx.MaintenanceMembers(ctx, m.ID)
	out.Body.Maintenance, out.Body.Members = m, append([]domain.MaintenanceMember{}, members...)
	return out, err
}

// readMaintenance answers with a window as it is now.
func (s *Server) readMaintenance(ctx context.Context, id domain.MaintenanceID) (out *maintenanceOutput, err error) {
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		m, err := tx.Maintenance(ctx, id)
		if err != nil {
			return err
		}
		out, err = maintenanceAnswer(ctx, tx, m)
		return err
	})
}

type createMaintenanceInput struct {
	KeyHeader
	Body struct {
		Scopes   []domain.Scope `json:"scopes" minItems:"1" maxItems:"50" doc:"Which connections: some, all of a platform, or all of the organization"`
		StartsAt time.Time      `json:"starts_at"`
		EndsAt   time.Time      `json:"ends_at" doc:"5 minutes to 12 hours later"`
		Reason   string         `json:"reason" minLength:"1" maxLength:"500" doc:"What is done; no personal data. People are told of it"`
	}
}

// createMaintenance stores a window as proposed. What is in the way is said in words.
func (s *Server) createMaintenance(ctx context.Context, in *createMaintenanceInput) (out *maintenanceOutput, err error) {
	who, b := callerOf(ctx), &in.Body
	id, _ := newOrRepeated[domain.MaintenanceID](in.Key, who, "maintenance", s.now())
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		for n, scope := range b.Scopes {
			if err := s.knownScope(ctx, tx, "body.scopes["+strconv.Itoa(n)+"]", scope); err != nil {
				return err
			}
		}
		m, err := upkeep.Create(ctx, tx, domain.Maintenance{ID: id, Scopes: b.Scopes, StartsAt: b.StartsAt, EndsAt: b.EndsAt, Reason: b.Reason, RequestedBy: who.Subject})
		if err != nil {
			return err
		}
		out, err = maintenanceAnswer(ctx, tx, m)
		return err
	})
}

type listMaintenanceInput struct {
	PageParams
	State string `query:"state" enum:"proposed,approved,announced,draining,running,replaying,done,cancelled,refused"`
	Open  bool   `query:"open" doc:"Only those that have not ended"`
}

func (s *Server) listMaintenance(ctx context.Context, in *listMaintenanceInput) (*listOutput[domain.Maintenance], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]domain.Maintenance, string, error) {
		return tx.Maintenances(ctx, store.MaintenanceFilter{State: domain.MaintenanceState(in.State), Open: in.Open}, in.page())
	})
}

func (s *Server) getMaintenance(ctx context.Context, in *IDParam) (*maintenanceOutput, error) {
	id, err := parseID[domain.MaintenanceID]("maintenance", in.ID)
	if err != nil {
		return nil, err
	}
	return s.readMaintenance(ctx, id)
}

// decideMaintenance writes the audit line of a wish, asks the window's workflow, and answers with the window as it is then.
func (s *Server) decideMaintenance(ctx context.Context, rawID, action, reason string, after map[string]string, tell func(context.Context, contract.MaintenanceInput, string) error) (*maintenanceOutput, error) {
	who := callerOf(ctx)
	reason, err := checkReason(reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.MaintenanceID]("maintenance", rawID)
	if err != nil {
		return nil, err
	}
	if err := s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		m, err := tx.Maintenance(ctx, id)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: action, Reason: reason, Subject: "maintenance/" + string(id),
			Before: map[string]string{"state": string(m.State)}, After: after})
	}); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, flowTimeout)
	defer cancel()
	if err := tell(wait, contract.MaintenanceInput{OrgID: who.Org, MaintenanceID: id}, who.Subject); err != nil {
		s.recordRefusal(ctx, action, "maintenance/"+string(id), err)
		return nil, flowFault(err)
	}
	return s.readMaintenance(ctx, id)
}

type approveMaintenanceInput struct {
	IDParam
	Body *struct {
		ShortNotice bool   `json:"short_notice,omitempty" doc:"Let it begin before the usual notice"`
		Reason      string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

func (s *Server) approveMaintenance(ctx context.Context, in *approveMaintenanceInput) (*maintenanceOutput, error) {
	short, reason := false, ""
	if in.Body != nil {
		short, reason = in.Body.ShortNotice, in.Body.Reason
	}
	return s.decideMaintenance(ctx, in.ID, "maintenance.approve", reason, map[string]string{"short_notice": strconv.FormatBool(short)},
		func(ctx context.Context, m contract.MaintenanceInput, by string) error {
			_, err := s.deps.Flow.ApproveMaintenance(ctx, m, contract.ApproveRequest{By: by, ShortNotice: short})
			return err
		})
}

// cancelMaintenance ends a window; one that has begun lets its connections go on at once.
func (s *Server) cancelMaintenance(ctx context.Context, in *actionInput) (*maintenanceOutput, error) {
	return s.decideMaintenance(ctx, in.ID, "maintenance.cancel", in.reason(), nil, func(ctx context.Context, m contract.MaintenanceInput, by string) error {
		_, err := s.deps.Flow.CancelMaintenance(ctx, m, contract.CancelRequest{By: by})
		return err
	})
}

type rescheduleMaintenanceInput struct {
	IDParam
	Body struct {
		StartsAt    *time.Time `json:"starts_at,omitempty" doc:"Of a window that has not begun"`
		EndsAt      *time.Time `json:"ends_at,omitempty" doc:"Later makes it longer, earlier shorter, also while it runs"`
		ShortNotice bool       `json:"short_notice,omitempty" doc:"Let it begin before the usual notice"`
		Version     int64      `json:"version,omitempty" minimum:"0" doc:"The version that the change was made from; 0 = whatever it is"`
		Reason      string     `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

func (s *Server) rescheduleMaintenance(ctx context.Context, in *rescheduleMaintenanceInput) (*maintenanceOutput, error) {
	b := &in.Body
	r, after := contract.RescheduleRequest{ShortNotice: b.ShortNotice, Version: b.Version}, map[string]string{}
	if b.StartsAt == nil && b.EndsAt == nil {
		return nil, domain.Invalid("body.ends_at", "starts_at or ends_at is required")
	}
	if b.StartsAt != nil {
		r.StartsAt = b.StartsAt.UTC()
		after["starts_at"] = r.StartsAt.Format(time.RFC3339)
	}
	if b.EndsAt != nil {
		r.EndsAt = b.EndsAt.UTC()
		after["ends_at"] = r.EndsAt.Format(time.RFC3339)
	}
	return s.decideMaintenance(ctx, in.ID, "maintenance.reschedule", b.Reason, after, func(ctx context.Context, m contract.MaintenanceInput, by string) error {
		r.By = by
		_, err := s.deps.Flow.RescheduleMaintenance(ctx, m, r)
		return err
	})
}

type proposeMaintenanceInput struct {
	Duration    int       `query:"duration_minutes" minimum:"5" maximum:"720" default:"60" doc:"How long the window is to be"`
	From        time.Time `query:"from" doc:"Where the search begins; now if absent"`
	Until       time.Time `query:"until" doc:"Where it ends; 30 days after its beginning if absent, 400 days at most"`
	Platform    string    `query:"platform" maxLength:"60" doc:"For the connections of a provider"`
	Integration string    `query:"integration" maxLength:"36" doc:"For one connection"`
	Limit       int       `query:"limit" minimum:"1" maximum:"20" default:"5"`
}

type proposalsOutput struct {
	Body struct {
		Scope domain.Scope           `json:"scope"`
		Items []maintenance.Proposal `json:"items" doc:"The best first; of one local day only the best"`
	}
}

// proposeMaintenance ranks times that the bookings, the settings and other windows leave free. It stores nothing.
func (s *Server) proposeMaintenance(ctx context.Context, in *proposeMaintenanceInput) (*proposalsOutput, error) {
	scope := domain.Scope{Kind: domain.ScopeOrganization}
	switch {
	case in.Platform != "" && in.Integration != "":
		return nil, domain.Invalid("query.integration", "platform and integration exclude each other")
	case in.Platform != "":
		scope = domain.Scope{Kind: domain.ScopePlatform, Target: in.Platform}
	case in.Integration != "":
		scope = domain.Scope{Kind: domain.ScopeIntegration, Target: in.Integration}
	}
	if err := scope.Validate("query."); err != nil {
		return nil, err
	}
	search := domain.Span{Start: in.From.UTC(), End: in.Until.UTC()}
	if in.From.IsZero() {
		search.Start = s.now().UTC()
	}
	if in.Until.IsZero() {
		search.End = search.Start.AddDate(0, 0, 30)
	}
	out := &proposalsOutput{}
	out.Body.Scope = scope
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		if err := s.knownScope(ctx, tx, "query", scope); err != nil {
			return err
		}
		out.Body.Items, err = upkeep.Propose(ctx, tx, upkeep.Wish{Scopes: []domain.Scope{scope}, Search: search, Duration: time.Duration(in.Duration) * time.Minute, Limit: in.Limit})
		return err
	})
}

type maintenanceStateInput struct {
	At time.Time `query:"at" doc:"Now if absent"`
}

type maintenanceStateOutput struct {
	Body struct {
		At time.Time `json:"at"`
		maintenance.State
	}
}

// maintenanceState tells whether maintenance may be at a time, why not, and when that changes.
func (s *Server) maintenanceState(ctx context.Context, in *maintenanceStateInput) (*maintenanceStateOutput, error) {
	out := &maintenanceStateOutput{}
	out.Body.At = in.At.UTC()
	now := s.now().UTC()
	if in.At.IsZero() {
		out.Body.At = now
	}
	if out.Body.At.Before(now.Add(-domain.MaxMaintenanceAhead)) || out.Body.At.After(now.Add(domain.MaxMaintenanceAhead)) {
		return nil, domain.Invalid("query.at", "must be within %d days", int(domain.MaxMaintenanceAhead.Hours()/24))
	}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out.Body.State, err = upkeep.StateAt(ctx, tx, out.Body.At)
		return err
	})
}
