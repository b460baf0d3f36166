package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

// outboundBook counts what is called of outside systems. A key that is an integration's id belongs to its tenant.
var outboundBook = tokenBook{"outbound_allowances", "key", `INSERT INTO outbound_allowances (key, org_id, full_at)
	SELECT k.key, i.org_id, '-infinity' FROM unnest($1::uuid[]) k(key) LEFT JOIN integrations i ON i.id = k.key
	ORDER BY k.key ON CONFLICT (key) DO NOTHING`}

// OutboundAsk is one process's wish for a limit of an outside system.
type OutboundAsk struct {
	Key  [16]byte // an integration's id, or a digest of a host or of an account there
	Want int      // tokens to be leased, as far as they are there
	Used int      // tokens that were given away already and are taken in any case
}

// LeaseOutbound takes tokens for many keys of one limit, as [Store.LeaseAllowances] does for organisations.
func (s *Store) LeaseOutbound(ctx context.Context, l AllowanceLimit, asks []OutboundAsk, at time.Time) ([]int, error) {
	own := make([]tokenAsk, len(asks))
	for i, a := range asks {
		own[i] = tokenAsk{domain.FormatUUID(a.Key), a.Want, a.Used}
	}
	return s.leaseFrom(ctx, outboundBook, l, own, at)
}

const circuitColumns = "org_id, integration_id, host, state, until, openings, reason, request_id, since, updated_at, version"

func scanCircuit(row pgx.Row) (c domain.Circuit, err error) {
	err = row.Scan(&c.OrgID, &c.IntegrationID, &c.Host, &c.State, &c.Until, &c.Openings, &c.Reason, &c.RequestID, &c.Since, &c.UpdatedAt, &c.Version)
	c.Until, c.Since, c.UpdatedAt = c.Until.UTC(), c.Since.UTC(), c.UpdatedAt.UTC()
	return c, err
}

// PutCircuit stores that calls are held back, or are not any more, and returns what stands there then. What another process
// stored is kept where it holds calls back for longer: an open circuit is not turned into a pause, and of two times the
// later one counts. Closing always takes. A change between holding and not holding is told to the live stream.
// Since stays for as long as calls are held back. Errors: KindNotFound for an integration that the tenant does not have.
func (tx *Tx) PutCircuit(ctx context.Context, c domain.Circuit) (domain.Circuit, error) {
	var was domain.CircuitState
	err := tx.QueryRow(ctx, `SELECT coalesce((SELECT c.state FROM outbound_circuits c WHERE c.integration_id = i.id AND c.host = $3), 'closed')
		FROM integrations i WHERE i.org_id = $1 AND i.id = $2`, tx.Org, c.IntegrationID, c.Host).Scan(&was)
	if err != nil {
		return c, missing("integration", "read circuit", err)
	}
	now, err := scanCircuit(tx.QueryRow(ctx, `INSERT INTO outbound_circuits AS o (`+circuitColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, 1) ON CONFLICT (integration_id, host) DO UPDATE SET
			state = CASE WHEN excluded.state = 'paused' AND o.state = 'open' THEN o.state ELSE excluded.state END,
			until = CASE WHEN excluded.state = 'closed' OR o.state = 'closed' OR excluded.state = 'open' AND excluded.openings > o.openings THEN excluded.until ELSE greatest(o.until, excluded.until) END,
			openings = CASE WHEN excluded.state = 'open' AND o.state = 'open' THEN greatest(o.openings, excluded.openings) ELSE excluded.openings END,
			reason = excluded.reason, request_id = excluded.request_id,
			since = CASE WHEN o.state = excluded.state THEN o.since ELSE excluded.since END, updated_at = excluded.updated_at, version = o.version + 1
		RETURNING `+circuitColumns,
		tx.Org, c.IntegrationID, c.Host, string(c.State), c.Until, c.Openings, clip(c.Reason, maxReason), clip(c.RequestID, 128), tx.Now))
	if err != nil {
		return now, fault("store circuit", err)
	}
	if (was == domain.CircuitOpen) == (now.State == domain.CircuitOpen) {
		return now, nil
	}
	var state string
	if err := tx.QueryRow(ctx, "SELECT state FROM integrations WHERE org_id = $1 AND id = $2", tx.Org, c.IntegrationID).Scan(&state); err != nil {
		return now, missing("integration", "read integration", err)
	}
	return now, tx.Emit(ctx, domain.TopicIntegrationChanged, map[string]string{"integration": string(c.IntegrationID), "state": state})
}

// ClaimProbe takes the right to make the one call that tries whether a system answers again, until a time at which somebody else
// may. It is taken when the circuit is open and a probe was due at now; false otherwise, and the circuit as it stands is
// returned, which is closed when there is none.
func (tx *Tx) ClaimProbe(ctx context.Context, integration domain.IntegrationID, host string, now, until time.Time) (domain.Circuit, bool, error) {
	c, err := scanCircuit(tx.QueryRow(ctx, `UPDATE outbound_circuits SET until = $5, updated_at = $6, version = version + 1
		WHERE org_id = $1 AND integration_id = $2 AND host = $3 AND state = 'open' AND until <= $4 RETURNING `+circuitColumns,
		tx.Org, integration, host, now, until, tx.Now))
	if err == nil {
		return c, true, nil
	}
	if err != pgx.ErrNoRows {
		return c, false, fault("claim probe", err)
	}
	c, err = scanCircuit(tx.QueryRow(ctx, "SELECT "+circuitColumns+` FROM outbound_circuits
		WHERE org_id = $1 AND integration_id = $2 AND host = $3`, tx.Org, integration, host))
	if err == pgx.ErrNoRows {
		return domain.Circuit{OrgID: tx.Org, IntegrationID: integration, Host: host, State: domain.CircuitClosed}, false, nil
	}
	return c, false, fault("read circuit", err)
}

// Circuits returns the calls that are held back, by integration: of one, or of all for "".
func (tx *Tx) Circuits(ctx context.Context, integration domain.IntegrationID) (map[domain.IntegrationID][]domain.Circuit, error) {
	q := newQuery("SELECT " + circuitColumns + " FROM outbound_circuits")
	q.where("org_id = %s", tx.Org)
	q.where("state <> 'closed'")
	if integration != "" {
		q.where("integration_id = %s", integration)
	}
	q.add(" ORDER BY integration_id, host")
	rows, err := tx.Query(ctx, q.text(), q.args...)
	all, err := collect(rows, err, scanCircuit)
	if err != nil {
		return nil, fault("read circuits", err)
	}
	out := map[domain.IntegrationID][]domain.Circuit{}
	for _, c := range all {
		if c.Holds(tx.Now) {
			out[c.IntegrationID] = append(out[c.IntegrationID], c)
		}
	}
	return out, nil
}

// CircuitsSince returns the circuits of all tenants that changed at or after since, closed ones included. Times are those of
// transactions, which commit a little later: a poller asks from a while before its last question.
func (s *Store) CircuitsSince(ctx context.Context, since time.Time) ([]domain.Circuit, error) {
	rows, err := s.system.Query(ctx, "SELECT "+circuitColumns+" FROM outbound_circuits WHERE updated_at >= $1", since)
	all, err := collect(rows, err, scanCircuit)
	return all, fault("read changed circuits", err)
}

// PurgeOutbound removes circuits that nothing changed since a time, whatever their state, because nobody calls there any more, and
// limits that were not used, leased or slowed down since. It returns how many.
func (s *Store) PurgeOutbound(ctx context.Context, before time.Time) (int64, error) {
	one, err := s.system.Exec(ctx, "DELETE FROM outbound_circuits WHERE updated_at < $1", before)
	if err != nil {
		return 0, fault("remove old circuits", err)
	}
	n := one.RowsAffected()
	for _, statement := range []string{"DELETE FROM outbound_allowances WHERE full_at < $1", "DELETE FROM outbound_slots WHERE until < $1",
		"DELETE FROM outbound_paces WHERE slowed_at < $1"} {
		some, err := s.system.Exec(ctx, statement, before)
		if err != nil {
			return n, fault("remove old limits", err)
		}
		n += some.RowsAffected()
	}
	return n, nil
}
