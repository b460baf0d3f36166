package server

import (
	"context"
	"strings"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/freeze"
	"github.com/wedsync/wedsync/internal/resolutions"
	"github.com/wedsync/wedsync/internal/store"
)

// PairParams is a pair of categories in a path, in either order.
type PairParams struct {
	Category domain.Category `path:"category" maxLength:"20" doc:"A category of bookings"`
	Other    domain.Category `path:"other" maxLength:"20" doc:"The other category, which may be the same"`
}

func (p PairParams) check() error {
	if !p.Category.Valid() || !p.Other.Valid() {
		return domain.E(domain.KindNotFound, "no such conflict policy")
	}
	return nil
}

// PolicyBody is what a policy does. It is exported because huma reads embedded inputs only then.
type PolicyBody struct {
	Rule    domain.PolicyRule `json:"rule" enum:"manual,first_confirmed,source_priority,newest_wins,higher_category,keep_both" doc:"Which of the two stays"`
	Then    domain.PolicyThen `json:"then,omitempty" enum:"best,tentative,cancel" doc:"What becomes of the other: the best way out (the default), tentative, or cancelled"`
	Sources []string          `json:"sources,omitempty" maxItems:"50" doc:"For source_priority: integrations, the most trusted first"`
}

func (b PolicyBody) policy(pair PairParams) (domain.ConflictPolicy, error) {
	p := domain.ConflictPolicy{Category: pair.Category, Other: pair.Other, Rule: b.Rule, Then: b.Then}
	for _, id := range b.Sources {
		p.Sources = append(p.Sources, domain.IntegrationID(id))
	}
	err := p.Validate("body.")
	return p, err
}

// knownSources refuses a ranking of systems that are not connected.
func knownSources(ctx context.Context, tx *store.Tx, p domain.ConflictPolicy) error {
	for _, id := range p.Sources {
		i, err := tx.Integration(ctx, id)
		if domain.KindOf(err) == domain.KindNotFound || err == nil && i.State == domain.IntegrationDeleted {
			return domain.Invalid("body.sources", "no such integration")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) listConflictPolicies(ctx context.Context, _ *struct{}) (*listOutput[domain.ConflictPolicy], error) {
	var out []domain.ConflictPolicy
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.ConflictPolicies(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(out, ""), nil
}

type putPolicyInput struct {
	PairParams
	FreezeHeader
	Body struct {
		PolicyBody
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
	}
}

type policyOutput struct{ Body domain.ConflictPolicy }

// putConflictPolicy switches a policy on for a pair of categories, or changes it. It acts on conflicts found from now on.
func (s *Server) putConflictPolicy(ctx context.Context, in *putPolicyInput) (*policyOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return nil, err
	}
	want, err := in.Body.policy(in.PairParams)
	if err != nil {
		return nil, err
	}
	want.ID, want.Reason, want.UpdatedBy = domain.NewID[domain.ConflictPolicyID](s.now()), reason, who.Subject
	out := &policyOutput{}
	err = s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if err := knownSources(ctx, tx, want); err != nil {
			return err
		}
		if want.Rule != domain.PolicyManual {
			if _, err := freeze.Person(ctx, tx, freeze.ActPolicy, "body.rule", "conflict-policy/"+string(want.Category)+"/"+string(want.Other), in.override(ctx)); err != nil {
				return err
			}
		}
		was, err := tx.ConflictPolicy(ctx, want.Category, want.Other)
		if err != nil && domain.KindOf(err) != domain.KindNotFound {
			return err
		}
		if out.Body, err = tx.PutConflictPolicy(ctx, want); err != nil {
			return err
		}
		return notePolicy(ctx, tx, "conflict_policy.put", reason, was, out.Body)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type deletePolicyInput struct {
	PairParams
	Reason string `query:"reason" maxLength:"500" doc:"Why, for the audit trail; no personal data"`
}

// deleteConflictPolicy leaves the pair to people again. What the policy began is carried through.
func (s *Server) deleteConflictPolicy(ctx context.Context, in *deletePolicyInput) (*struct{}, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	reason, err := checkReason(in.Reason)
	if err != nil {
		return nil, err
	}
	return nil, s.deps.Store.Tenant(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		was, err := tx.ConflictPolicy(ctx, in.Category, in.Other)
		if err != nil {
			return err
		}
		if err := tx.DeleteConflictPolicy(ctx, in.Category, in.Other); err != nil {
			return err
		}
		return notePolicy(ctx, tx, "conflict_policy.delete", reason, was, domain.ConflictPolicy{ID: was.ID, Category: was.Category, Other: was.Other})
	})
}

func notePolicy(ctx context.Context, tx *store.Tx, action, reason string, was, now domain.ConflictPolicy) error {
	facts := func(p domain.ConflictPolicy) map[string]string {
		if p.Rule == "" {
			return nil
		}
		out := map[string]string{"category": string(p.Category), "other": string(p.Other), "rule": string(p.Rule)}
		if p.Then != "" {
			out["then"] = string(p.Then)
		}
		if len(p.Sources) > 0 {
			var ids []string
			for _, id := range p.Sources {
				ids = append(ids, string(id))
			}
			out["sources"] = strings.Join(ids, ",")
		}
		return out
	}
	if err := tx.Audit(ctx, domain.AuditEntry{Actor: callerOf(ctx).Subject, Action: action, Reason: reason, Subject: "conflict-policy/" + string(now.ID),
		Before: facts(was), After: facts(now)}); err != nil {
		return err
	}
	return tx.Emit(ctx, domain.TopicConflictPolicy, map[string]string{"policy": string(now.ID), "category": string(now.Category), "other": string(now.Other)})
}

type previewInput struct {
	PageParams
	Body *struct {
		Category domain.Category `json:"category" maxLength:"20"`
		Other    domain.Category `json:"other" maxLength:"20"`
		PolicyBody
	}
}

// policyPreview is what a policy would do with one open conflict.
type policyPreview struct {
	ConflictID domain.ConflictID    `json:"conflict_id"`
	Category   domain.Category      `json:"category"`
	Other      domain.Category      `json:"other"`
	Rule       domain.PolicyRule    `json:"rule"`
	Outcome    domain.PolicyOutcome `json:"outcome" doc:"decided: it would be carried out; all others leave it to a person"`
	Reason     string               `json:"reason"`
	Would      *policyWould         `json:"would,omitempty"`
}

type policyWould struct {
	Action     domain.ResolveAction `json:"action"`
	BookingID  domain.BookingID     `json:"booking_id"`
	ResourceID domain.ResourceID    `json:"resource_id,omitempty"`
	When       *domain.When         `json:"when,omitempty"`
}

// previewConflictPolicies finds out what the stored policies, or the one in the body in place of its pair's, would do with
// the open conflicts. Nothing is stored. Conflicts that no policy is for are left out.
func (s *Server) previewConflictPolicies(ctx context.Context, in *previewInput) (*listOutput[policyPreview], error) {
	var over *domain.ConflictPolicy
	if in.Body != nil {
		p, err := in.Body.policy(PairParams{in.Body.Category, in.Body.Other})
		if err != nil {
			return nil, err
		}
		over = &p
	}
	out := []policyPreview{}
	next := ""
	err := s.deps.Store.TenantRead(ctx, callerOf(ctx).Org, func(ctx context.Context, tx *store.Tx) error {
		out = out[:0]
		if over != nil {
			if err := knownSources(ctx, tx, *over); err != nil {
				return err
			}
		}
		conflicts, more, err := tx.Conflicts(ctx, store.ConflictFilter{State: domain.ConflictOpen}, in.page())
		if err != nil {
			return err
		}
		next = more
		for _, c := range conflicts {
			a, ok, err := resolutions.Assess(ctx, tx, c, over)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			p := policyPreview{ConflictID: c.ID, Category: a.Policy.Category, Other: a.Policy.Other, Rule: a.Policy.Rule, Outcome: a.Note.Outcome, Reason: a.Note.Reason}
			if len(a.Decisions) > 0 {
				d := a.Decisions[0]
				p.Would = &policyWould{Action: d.Action, BookingID: d.BookingID, ResourceID: d.ResourceID, When: d.When}
			}
			out = append(out, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list(out, next), nil
}

type applyPoliciesInput struct {
	FreezeHeader
	Body *reasonBody
}

type applyPoliciesOutput struct {
	Body struct {
		Asked int `json:"asked" doc:"Open conflicts that the policies look at now; follow them on the live stream"`
	}
}

// applyConflictPolicies lets the policies of today look at the open conflicts, which they otherwise leave alone.
func (s *Server) applyConflictPolicies(ctx context.Context, in *applyPoliciesInput) (*applyPoliciesOutput, error) {
	why := ""
	if in.Body != nil {
		why = in.Body.Reason
	}
	reason, err := checkReason(why)
	if err != nil {
		return nil, err
	}
	out := &applyPoliciesOutput{}
	who := callerOf(ctx)
	return out, s.deps.Store.Tenant(ctx, who.Org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := freeze.Person(ctx, tx, freeze.ActPolicy, "body", "conflict-policies", in.override(ctx)); err != nil {
			return err
		}
		if out.Body.Asked, err = tx.AskPolicies(ctx); err != nil {
			return err
		}
		return tx.Audit(ctx, domain.AuditEntry{Actor: who.Subject, Action: "conflict_policy.apply", Reason: reason, Subject: "conflict-policies"})
	})
}
