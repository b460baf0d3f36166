package server

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/alert"
	"github.com/wedsync/wedsync/internal/store"
)

// settingChanged writes the audit line and the live event of a setting of alerts.
func settingChanged(ctx context.Context, tx *store.Tx, action, reason, subject string, before, after map[string]string) error {
	what, id, _ := strings.Cut(subject, "/")
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: callerOf(ctx).Subject, Action: action, Reason: reason, Subject: subject, Before: before, After: after}); err != nil {
		return err
	}
	return tx.Emit(ctx, domain.TopicAlertSettings, map[string]string{"what": what, "id": id})
}

func percentText(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// knownScope refuses a connection that the tenant does not have and a provider that this program does not know.
func (s *Server) knownScope(ctx context.Context, tx *store.Tx, field string, scope domain.Scope) error {
	switch scope.Kind {
	case domain.ScopeIntegration:
		i, err := tx.Integration(ctx, domain.IntegrationID(scope.Target))
		if domain.KindOf(err) == domain.KindNotFound || err == nil && i.State == domain.IntegrationDeleted {
			return domain.Invalid(field+".target", "no such integration")
		}
		return err
	case domain.ScopePlatform:
		if _, ok := s.providers[scope.Target]; !ok {
			return domain.Invalid(field+".target", "no such provider")
		}
	case domain.ScopeOrganization:
	}
	return nil
}

func objectiveFacts(o domain.Objective) map[string]string {
	if o.ID == "" {
		return nil
	}
	return map[string]string{"scope": string(o.Scope.Kind), "target": o.Scope.Target, "availability_percent": percentText(o.Targets.Availability),
		"latency_ms": strconv.Itoa(o.Targets.LatencyMS), "errors_percent": percentText(o.Targets.Errors)}
}

type objectivesOutput struct {
	Body struct {
		Items    []domain.Objective `json:"items"`
		Standard domain.Targets     `json:"standard" doc:"Targets of connections that no objective covers"`
	}
}

func (s *Server) listObjectives(ctx context.Context, _ *struct{}) (*objectivesOutput, error) {
	out := &objectivesOutput{}
	out.Body.Standard = domain.StandardTargets()
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out.Body.Items, err = tx.Objectives(ctx)
		return err
	})
}

type putObjectiveInput struct {
	Body struct {
		Scope   domain.Scope   `json:"scope" doc:"Which connections; the narrowest objective that covers one counts"`
		Targets domain.Targets `json:"targets"`
		Reason  string         `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

type objectiveOutput struct{ Body domain.Objective }

// putObjective sets the targets of a scope, in place of those that were set before.
func (s *Server) putObjective(ctx context.Context, in *putObjectiveInput) (*objectiveOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	if err := b.Scope.Validate("body.scope."); err != nil {
		return nil, err
	}
	if err := b.Targets.Validate("body.targets."); err != nil {
		return nil, err
	}
	out := &objectiveOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := s.knownScope(ctx, tx, "body.scope", b.Scope); err != nil {
			return err
		}
		var was domain.Objective
		all, err := tx.Objectives(ctx)
		if err != nil {
			return err
		}
		for _, o := range all {
			if o.Scope == b.Scope {
				was = o
			}
		}
		out.Body, err = tx.PutObjective(ctx, domain.Objective{ID: domain.NewID[domain.ObjectiveID](tx.Now), Scope: b.Scope, Targets: b.Targets, CreatedBy: who.Subject})
		if err != nil {
			return err
		}
		return settingChanged(ctx, tx, "objective.put", reason, "objective/"+string(out.Body.ID), objectiveFacts(was), objectiveFacts(out.Body))
	})
}

type deleteSettingInput struct {
	IDParam
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
}

func (s *Server) deleteObjective(ctx context.Context, in *deleteSettingInput) (*struct{}, error) {
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.ObjectiveID]("objective", in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.DeleteObjective(ctx, id)
		if err != nil {
			return err
		}
		return settingChanged(ctx, tx, "objective.delete", reason, "objective/"+string(id), objectiveFacts(was), nil)
	})
}

func alertRuleFacts(r domain.AlertRule) map[string]string {
	if r.ID == "" {
		return nil
	}
	return map[string]string{"rule": string(r.Kind), "scope": string(r.Scope.Kind), "target": r.Scope.Target, "enabled": strconv.FormatBool(r.Enabled),
		"severity": string(r.Severity), "resolve_after_minutes": strconv.Itoa(r.ResolveAfter)}
}

func (s *Server) listAlertRules(ctx context.Context, _ *struct{}) (*listOutput[domain.AlertRule], error) {
	var all []domain.AlertRule
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.AlertRules(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(all, ""), nil
}

type putAlertRuleInput struct {
	Body struct {
		Scope        domain.Scope     `json:"scope" doc:"Which connections; the narrowest setting that covers one counts"`
		Rule         domain.AlertKind `json:"rule" enum:"connection,error_rate,response_time,degradation,silence"`
		Enabled      bool             `json:"enabled"`
		Severity     domain.Severity  `json:"severity,omitempty" enum:"low,medium,high,critical" doc:"In place of the usual one; a near wedding raises it all the same"`
		ResolveAfter int              `json:"resolve_after_minutes,omitempty" minimum:"0" maximum:"1440" doc:"How long it must be calm before an alert is over; 0 = 5 minutes"`
		Reason       string           `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

type alertRuleOutput struct{ Body domain.AlertRule }

// putAlertRule changes what a rule does for a scope.
func (s *Server) putAlertRule(ctx context.Context, in *putAlertRuleInput) (*alertRuleOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	want := domain.AlertRule{Scope: b.Scope, Kind: b.Rule, Enabled: b.Enabled, Severity: b.Severity, ResolveAfter: b.ResolveAfter, CreatedBy: who.Subject}
	if err := want.Validate("body."); err != nil {
		return nil, err
	}
	out := &alertRuleOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := s.knownScope(ctx, tx, "body.scope", b.Scope); err != nil {
			return err
		}
		var was domain.AlertRule
		all, err := tx.AlertRules(ctx)
		if err != nil {
			return err
		}
		for _, r := range all {
			if r.Scope == b.Scope && r.Kind == b.Rule {
				was = r
			}
		}
		want.ID = domain.NewID[domain.AlertRuleID](tx.Now)
		if out.Body, err = tx.PutAlertRule(ctx, want); err != nil {
			return err
		}
		return settingChanged(ctx, tx, "alert_rule.put", reason, "alert_rule/"+string(out.Body.ID), alertRuleFacts(was), alertRuleFacts(out.Body))
	})
}

func (s *Server) deleteAlertRule(ctx context.Context, in *deleteSettingInput) (*struct{}, error) {
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.AlertRuleID]("alert rule", in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.DeleteAlertRule(ctx, id)
		if err != nil {
			return err
		}
		return settingChanged(ctx, tx, "alert_rule.delete", reason, "alert_rule/"+string(id), alertRuleFacts(was), nil)
	})
}

type alertPolicyOutput struct{ Body domain.AlertPolicy }

func (s *Server) getAlertPolicy(ctx context.Context, _ *struct{}) (*alertPolicyOutput, error) {
	out := &alertPolicyOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out.Body, err = tx.AlertPolicy(ctx)
		return err
	})
}

type putAlertPolicyInput struct {
	Body struct {
		RemindEvery int                     `json:"remind_every_minutes" minimum:"5" maximum:"1440"`
		Steps       []domain.EscalationStep `json:"steps" maxItems:"10" doc:"One after the other while nobody acknowledges; empty = no escalation"`
		Version     int64                   `json:"version" minimum:"0" doc:"The version that the change was made from; 0 = the standard"`
		Reason      string                  `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

// putAlertPolicy sets reminders and escalation. Alerts that are open follow it from their next telling on.
func (s *Server) putAlertPolicy(ctx context.Context, in *putAlertPolicyInput) (*alertPolicyOutput, error) {
	who, b := callerOf(ctx), &in.Body
	reason, err := checkReason(b.Reason)
	if err != nil {
		return nil, err
	}
	want := domain.AlertPolicy{RemindEvery: b.RemindEvery, Steps: b.Steps}
	if err := want.Validate("body."); err != nil {
		return nil, err
	}
	facts := func(p domain.AlertPolicy) map[string]string {
		after := make([]string, len(p.Steps))
		for i, s := range p.Steps {
			after[i] = strconv.Itoa(s.After)
		}
		return map[string]string{"remind_every_minutes": strconv.Itoa(p.RemindEvery), "steps_after_minutes": strings.Join(after, ",")}
	}
	out := &alertPolicyOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.AlertPolicy(ctx)
		if err != nil {
			return err
		}
		if out.Body, err = tx.PutAlertPolicy(ctx, want, who.Subject, b.Version); err != nil {
			return err
		}
		return settingChanged(ctx, tx, "alert_policy.put", reason, "alert_policy/"+string(who.Org), facts(was), facts(out.Body))
	})
}

// silenceView is a silence with where it stands.
type silenceView struct {
	domain.Silence
	ActiveUntil *time.Time `json:"active_until,omitempty" doc:"It keeps alerts quiet now, until then"`
}

func viewSilence(s domain.Silence, now time.Time) silenceView {
	v := silenceView{Silence: s}
	if until, ok, err := alert.Silent(s, now); err == nil && ok {
		v.ActiveUntil = &until
	}
	return v
}

type silenceOutput struct{ Body silenceView }

func silenceFacts(s domain.Silence) map[string]string {
	names := make([]string, len(s.Kinds))
	for i, k := range s.Kinds {
		names[i] = string(k)
	}
	return map[string]string{"scope": string(s.Scope.Kind), "target": s.Scope.Target, "rules": strings.Join(names, ","), "starts_at": s.StartsAt.UTC().Format(time.RFC3339),
		"ends_at": s.EndsAt.UTC().Format(time.RFC3339), "rrule": s.RRULE}
}

type createSilenceInput struct {
	Body struct {
		Scope    domain.Scope       `json:"scope"`
		Rules    []domain.AlertKind `json:"rules,omitempty" maxItems:"5" doc:"Rules that are silent; empty = all"`
		StartsAt time.Time          `json:"starts_at" doc:"Of the first occurrence"`
		EndsAt   time.Time          `json:"ends_at" doc:"Of the first occurrence; a minute to 31 days later"`
		RRULE    string             `json:"rrule,omitempty" maxLength:"500" doc:"Repeats it after RFC 5545, such as FREQ=WEEKLY;BYDAY=SU"`
		Zone     string             `json:"zone,omitempty" maxLength:"64" doc:"IANA zone on whose clock it repeats; UTC if absent"`
		Reason   string             `json:"reason" minLength:"1" maxLength:"500" doc:"Why; no personal data"`
	}
}

func (s *Server) createSilence(ctx context.Context, in *createSilenceInput) (*silenceOutput, error) {
	who, b := callerOf(ctx), &in.Body
	want := domain.Silence{Scope: b.Scope, Kinds: b.Rules, StartsAt: b.StartsAt.UTC(), EndsAt: b.EndsAt.UTC(), RRULE: b.RRULE, Zone: b.Zone, Reason: b.Reason, CreatedBy: who.Subject}
	if want.Zone == "" {
		want.Zone = "UTC"
	}
	if err := alert.CheckSilence(want); err != nil {
		return nil, atBody(err, "")
	}
	out := &silenceOutput{}
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := s.knownScope(ctx, tx, "body.scope", b.Scope); err != nil {
			return err
		}
		want.ID = domain.NewID[domain.SilenceID](tx.Now)
		made, err := tx.CreateSilence(ctx, want)
		if err != nil {
			return err
		}
		out.Body = viewSilence(made, tx.Now)
		return settingChanged(ctx, tx, "silence.create", b.Reason, "silence/"+string(made.ID), nil, silenceFacts(made))
	})
}

func (s *Server) listSilences(ctx context.Context, in *PageParams) (*listOutput[silenceView], error) {
	return listPage(ctx, s, func(ctx context.Context, tx *store.Tx) ([]silenceView, string, error) {
		all, next, err := tx.Silences(ctx, in.page())
		return views(all, func(one domain.Silence) silenceView { return viewSilence(one, tx.Now) }), next, err
	})
}

func (s *Server) getSilence(ctx context.Context, in *IDParam) (*silenceOutput, error) {
	id, err := parseID[domain.SilenceID]("silence", in.ID)
	if err != nil {
		return nil, err
	}
	out := &silenceOutput{}
	return out, s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		one, err := tx.Silence(ctx, id)
		out.Body = viewSilence(one, tx.Now)
		return err
	})
}

type updateSilenceInput struct {
	IDParam
	VersionHeader
	Body struct {
		Version  int64               `json:"version,omitempty" minimum:"1" doc:"The version that the change was made from, unless If-Match says it"`
		Scope    *domain.Scope       `json:"scope,omitempty"`
		Rules    *[]domain.AlertKind `json:"rules,omitempty" maxItems:"5" doc:"Replaces the list"`
		StartsAt *time.Time          `json:"starts_at,omitempty"`
		EndsAt   *time.Time          `json:"ends_at,omitempty"`
		RRULE    *string             `json:"rrule,omitempty" maxLength:"500"`
		Zone     *string             `json:"zone,omitempty" minLength:"1" maxLength:"64"`
		Reason   *string             `json:"reason,omitempty" minLength:"1" maxLength:"500"`
	}
}

func (s *Server) updateSilence(ctx context.Context, in *updateSilenceInput) (*silenceOutput, error) {
	b := &in.Body
	id, err := parseID[domain.SilenceID]("silence", in.ID)
	if err != nil {
		return nil, err
	}
	out := &silenceOutput{}
	return out, s.deps.Store.Tenant(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Silence(ctx, id)
		if err != nil {
			return err
		}
		expect, err := in.expect(b.Version, was.Version)
		if err != nil {
			return err
		}
		now := was
		assign(&now.Scope, b.Scope)
		assign(&now.Kinds, b.Rules)
		assign(&now.StartsAt, b.StartsAt)
		assign(&now.EndsAt, b.EndsAt)
		assign(&now.RRULE, b.RRULE)
		assign(&now.Zone, b.Zone)
		assign(&now.Reason, b.Reason)
		if err := alert.CheckSilence(now); err != nil {
			return atBody(err, "")
		}
		if err := s.knownScope(ctx, tx, "body.scope", now.Scope); err != nil {
			return err
		}
		stored, err := tx.UpdateSilence(ctx, now, expect)
		if err != nil {
			return err
		}
		out.Body = viewSilence(stored, tx.Now)
		return settingChanged(ctx, tx, "silence.update", now.Reason, "silence/"+string(id), silenceFacts(was), silenceFacts(stored))
	})
}

// endSilence lets alerts be told again. The silence stays in the list.
func (s *Server) endSilence(ctx context.Context, in *deleteSettingInput) (*struct{}, error) {
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	id, err := parseID[domain.SilenceID]("silence", in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.Silence(ctx, id)
		if err != nil {
			return err
		}
		now := was
		now.EndedAt = &tx.Now
		if _, err := tx.UpdateSilence(ctx, now, was.Version); err != nil {
			return err
		}
		return settingChanged(ctx, tx, "silence.end", reason, "silence/"+string(id), silenceFacts(was), map[string]string{"ended": "true"})
	})
}
