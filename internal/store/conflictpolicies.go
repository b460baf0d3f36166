package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const policyColumns = `id, org_id, category, other_category, rule, what_then, sources, reason, updated_by, created_at, updated_at, version`

func scanPolicy(row pgx.Row) (p domain.ConflictPolicy, err error) {
	err = row.Scan(&p.ID, &p.OrgID, &p.Category, &p.Other, &p.Rule, &p.Then, &p.Sources, &p.Reason, &p.UpdatedBy, &p.CreatedAt, &p.UpdatedAt, &p.Version)
	p.CreatedAt, p.UpdatedAt = p.CreatedAt.UTC(), p.UpdatedAt.UTC()
	return p, err
}

// ConflictPolicies returns every policy of the tenant, the highest pair of categories first. There are at most a few dozen.
func (tx *Tx) ConflictPolicies(ctx context.Context) ([]domain.ConflictPolicy, error) {
	rows, err := tx.Query(ctx, "SELECT "+policyColumns+" FROM conflict_policies WHERE org_id = $1", tx.Org)
	out, err := collect(rows, err, scanPolicy)
	slices.SortFunc(out, func(a, b domain.ConflictPolicy) int {
		return cmp.Or(b.Category.Rank()-a.Category.Rank(), b.Other.Rank()-a.Other.Rank())
	})
	return out, fault("list conflict policies", err)
}

// ConflictPolicy returns the policy for a pair of categories, in either order; KindNotFound when there is none.
func (tx *Tx) ConflictPolicy(ctx context.Context, a, b domain.Category) (domain.ConflictPolicy, error) {
	a, b = domain.PairOf(a, b)
	p, err := scanPolicy(tx.QueryRow(ctx, "SELECT "+policyColumns+" FROM conflict_policies WHERE org_id = $1 AND category = $2 AND other_category = $3",
		tx.Org, string(a), string(b)))
	return p, missing("conflict policy", "read conflict policy", err)
}

// PutConflictPolicy stores the policy of a pair of categories in place of the one that is there, which keeps its id. The
// policy must be valid. The live event and the audit line are the caller's.
func (tx *Tx) PutConflictPolicy(ctx context.Context, p domain.ConflictPolicy) (domain.ConflictPolicy, error) {
	if err := checkText("reason", p.Reason, 500); err != nil {
		return p, err
	}
	stored, err := scanPolicy(tx.QueryRow(ctx, `INSERT INTO conflict_policies (id, org_id, category, other_category, rule, what_then, sources, reason, updated_by,
			created_at, updated_at)
		VALUES ($2, $1, $3, $4, $5, $6, $7, $8, $9, $10, $10)
		ON CONFLICT (org_id, category, other_category) DO UPDATE SET rule = excluded.rule, what_then = excluded.what_then, sources = excluded.sources,
			reason = excluded.reason, updated_by = excluded.updated_by, updated_at = excluded.updated_at, version = conflict_policies.version + 1
		RETURNING `+policyColumns,
		tx.Org, p.ID, string(p.Category), string(p.Other), string(p.Rule), string(p.Then), arrayOf(append([]domain.IntegrationID{}, p.Sources...)), p.Reason, p.UpdatedBy, tx.Now))
	return stored, fault("store conflict policy", err)
}

// DeleteConflictPolicy removes the policy of a pair of categories; KindNotFound when there is none.
func (tx *Tx) DeleteConflictPolicy(ctx context.Context, a, b domain.Category) error {
	a, b = domain.PairOf(a, b)
	tag, err := tx.Exec(ctx, "DELETE FROM conflict_policies WHERE org_id = $1 AND category = $2 AND other_category = $3", tx.Org, string(a), string(b))
	if err == nil && tag.RowsAffected() == 0 {
		return notFound("conflict policy")
	}
	return fault("delete conflict policy", err)
}

// AskPolicies lets the policies of today look at every open conflict of two bookings, and has its workflow told. It returns how many.
func (tx *Tx) AskPolicies(ctx context.Context) (int, error) {
	rows, err := tx.Query(ctx, `UPDATE conflicts SET policy_asked = true WHERE org_id = $1 AND state = 'open' AND other_id IS NOT NULL RETURNING id, booking_id`, tx.Org)
	type line struct {
		conflict domain.ConflictID
		booking  domain.BookingID
	}
	all, err := collect(rows, err, func(row pgx.Row) (l line, err error) {
		err = row.Scan(&l.conflict, &l.booking)
		return l, err
	})
	if err != nil {
		return 0, fault("ask policies", err)
	}
	for _, l := range all {
		if err := tx.Enqueue(ctx, OutboxConflictRecheck, string(l.conflict), string(l.booking), tx.Now); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}
