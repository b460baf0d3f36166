package domain

import (
	"slices"
	"time"
)

// PolicyRule says which of two bookings stays without a person having to ask each time.
type PolicyRule string

// The rules. Package rules/resolution says what each means and when none applies.
const (
	PolicyManual         PolicyRule = "manual"          // a person decides; the same as no policy
	PolicyFirstConfirmed PolicyRule = "first_confirmed" // the one confirmed first stays
	PolicySourcePriority PolicyRule = "source_priority" // the one from the system named first in Sources stays
	PolicyNewestWins     PolicyRule = "newest_wins"     // the one booked last stays
	PolicyHigherCategory PolicyRule = "higher_category" // the one of the higher category stays
	PolicyKeepBoth       PolicyRule = "keep_both"       // both may stay; a person acknowledges it, and nothing is escalated
)

// PolicyRules lists every rule.
func PolicyRules() []PolicyRule {
	return []PolicyRule{PolicyManual, PolicyFirstConfirmed, PolicySourcePriority, PolicyNewestWins, PolicyHigherCategory, PolicyKeepBoth}
}

// PolicyThen says what becomes of the booking that does not stay.
type PolicyThen string

// What becomes of it.
const (
	ThenBest      PolicyThen = "best"      // the best way out that is free; a person decides where there is none
	ThenTentative PolicyThen = "tentative" // it no longer holds the time
	ThenCancel    PolicyThen = "cancel"
)

// MaxPolicySources is the largest number of systems that a policy ranks.
const MaxPolicySources = 50

// ConflictPolicy is an organisation's standing decision for conflicts of two categories, made ahead by an admin. There is
// at most one for a pair.
type ConflictPolicy struct {
	ID        ConflictPolicyID `json:"id"`
	OrgID     OrgID            `json:"-"`
	Category  Category         `json:"category"` // of the two the higher one
	Other     Category         `json:"other"`
	Rule      PolicyRule       `json:"rule"`
	Then      PolicyThen       `json:"then,omitempty"`    // empty for manual and keep_both
	Sources   []IntegrationID  `json:"sources,omitempty"` // for source_priority, the most trusted first
	Reason    string           `json:"reason"`            // why, in the admin's words
	UpdatedBy string           `json:"updated_by"`        // token subject
	CreatedAt time.Time        `json:"created_at"`
	UpdatedAt time.Time        `json:"updated_at"`
	Version   int64            `json:"version"`
}

// PairOf orders two categories, the higher one first.
func PairOf(a, b Category) (Category, Category) {
	if a.Rank() < b.Rank() {
		return b, a
	}
	return a, b
}

// Validate completes a policy and checks it; field prefixes names in errors.
func (p *ConflictPolicy) Validate(field string) error {
	for name, c := range map[string]Category{"category": p.Category, "other": p.Other} {
		if !c.Valid() {
			return Invalid(field+name, "must be a category of bookings")
		}
	}
	p.Category, p.Other = PairOf(p.Category, p.Other)
	if !slices.Contains(PolicyRules(), p.Rule) {
		return Invalid(field+"rule", "must be manual, first_confirmed, source_priority, newest_wins, higher_category or keep_both")
	}
	if p.Rule == PolicyHigherCategory && p.Category == p.Other {
		return Invalid(field+"rule", "higher_category needs two different categories")
	}
	switch p.Rule {
	case PolicyManual, PolicyKeepBoth:
		if p.Then != "" {
			return Invalid(field+"then", "does not go with %s, which leaves both bookings as they are", p.Rule)
		}
	case PolicyFirstConfirmed, PolicySourcePriority, PolicyNewestWins, PolicyHigherCategory:
		if p.Then == "" {
			p.Then = ThenBest
		}
		if p.Then != ThenBest && p.Then != ThenTentative && p.Then != ThenCancel {
			return Invalid(field+"then", "must be best, tentative or cancel")
		}
	}
	switch {
	case p.Rule != PolicySourcePriority && len(p.Sources) > 0:
		return Invalid(field+"sources", "go with source_priority only")
	case p.Rule == PolicySourcePriority && len(p.Sources) == 0:
		return Invalid(field+"sources", "are required for source_priority, the most trusted first")
	case len(p.Sources) > MaxPolicySources:
		return Invalid(field+"sources", "at most %d, got %d", MaxPolicySources, len(p.Sources))
	}
	seen := map[IntegrationID]bool{}
	for _, id := range p.Sources {
		if _, err := ParseID[IntegrationID](field+"sources", string(id)); err != nil {
			return err
		}
		if seen[id] {
			return Invalid(field+"sources", "name an integration twice")
		}
		seen[id] = true
	}
	return nil
}

// PolicyOutcome says what a policy came to in one conflict.
type PolicyOutcome string

// The outcomes. All but PolicyDecided leave the conflict to a person.
const (
	PolicyDecided     PolicyOutcome = "decided"     // it decided, and the decision is or was carried out
	PolicyLeft        PolicyOutcome = "left"        // the rule names nobody here
	PolicyProtected   PolicyOutcome = "protected"   // a confirmed wedding would have to give way
	PolicyFrozen      PolicyOutcome = "frozen"      // too near to a wedding
	PolicyNoWay       PolicyOutcome = "no_way"      // nothing is free for the one that gives way
	PolicyAcknowledge PolicyOutcome = "acknowledge" // both may stay once a person has acknowledged it
)

// PolicyNote is kept with a conflict that a policy looked at.
type PolicyNote struct {
	PolicyID ConflictPolicyID `json:"policy_id"`
	Rule     PolicyRule       `json:"rule"`
	Outcome  PolicyOutcome    `json:"outcome"`
	Reason   string           `json:"reason"` // in words, without personal data
	At       time.Time        `json:"at"`
}
