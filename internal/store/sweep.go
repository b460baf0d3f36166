package store

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wedsync/wedsync/internal/domain"
)

const (
	sweepIDs  = 50   // deliveries that a sweep names per integration
	sweepHops = 1000 // integrations that one statement visits
)

// WaitingIntegration is an integration with work that nobody seems to be doing.
type WaitingIntegration struct {
	Org         domain.OrgID
	Integration domain.IntegrationID
	IDs         []domain.DeliveryID // the most urgent, oldest first, at most 50
	Priority    domain.Priority     // of the most urgent; normal if there is none
	More        bool                // there are deliveries beyond IDs
	Pushes      int                 // waiting pushes, counted up to 50
}

// IntegrationsWithWork returns up to limit integrations that have deliveries received at least olderThan ago, retries due
// for that long, or pushes in the same position. Paused and deleted ones, and those in a window of maintenance, are left out: their
// deliveries wait on purpose.
//
// It is bounded whatever the backlog, and fair: it hops over the index from integration to integration, and each call
// goes on behind the last integration of the call before, starting again at the end, so that busy ones cannot hide the
// others. A call visits at most 1,000 integrations with waiting rows, and the next one goes on from there.
func (s *Store) IntegrationsWithWork(ctx context.Context, olderThan time.Duration, limit int) ([]WaitingIntegration, error) {
	if limit < 1 || limit > 1000 {
		return nil, domain.Invalid("limit", "must be 1 to 1000, is %d", limit)
	}
	before := s.timestamp().Add(-olderThan)
	start := s.sweepAfter.Load().(string)
	found, next, err := s.sweep(ctx, before, start, lastUUID, limit, sweepHops)
	if err != nil {
		return nil, err
	}
	if next == "" && start != firstUUID {
		var wrapped []WaitingIntegration
		if wrapped, next, err = s.sweep(ctx, before, firstUUID, start, limit-len(found), sweepHops); err != nil {
			return nil, err
		}
		found = append(found, wrapped...)
	}
	if next == "" {
		next = firstUUID
	}
	s.sweepAfter.Store(next)
	return found, nil
}

// sweepQuery visits the integrations in ($1, $2] that have entries in one of the three indexes of waiting rows: each step
// asks every index for its next integration, so rows between are never read. Most of the time nothing is wrong and the
// indexes are nearly empty. A last row without an organisation tells where the visits ended because they were too many.
const sweepQuery = `
WITH RECURSIVE hop(id, n) AS (
	SELECT $1::uuid, 0
	UNION ALL
	SELECT least(
		(SELECT integration_id FROM deliveries WHERE state = 'received' AND integration_id > hop.id ORDER BY integration_id LIMIT 1),
		(SELECT integration_id FROM deliveries WHERE state = 'retrying' AND integration_id > hop.id ORDER BY integration_id LIMIT 1),
		(SELECT integration_id FROM pushes WHERE state IN ('pending', 'retrying') AND integration_id > hop.id ORDER BY integration_id LIMIT 1)),
		n + 1
	FROM hop WHERE hop.id IS NOT NULL AND hop.id < $2 AND n < $6
)
(SELECT i.org_id, i.id, received.ids, received.priorities, retrying.ids, retrying.priorities, pushing.n
FROM hop JOIN integrations i ON i.id = hop.id AND i.state NOT IN ('paused', 'connecting', 'deleted')
	AND (i.work_held_until IS NULL OR i.work_held_until <= $7)
CROSS JOIN LATERAL (SELECT array_agg(d.id ORDER BY d.priority, d.id) AS ids, array_agg(d.priority ORDER BY d.priority, d.id) AS priorities
	FROM unnest('{1,2,3,4}'::smallint[]) p CROSS JOIN LATERAL (
		SELECT id, priority, received_at FROM deliveries WHERE integration_id = hop.id AND state = 'received' AND priority = p
		ORDER BY integration_id, priority, id LIMIT $5) d
	WHERE d.received_at <= $3) received
CROSS JOIN LATERAL (SELECT array_agg(id ORDER BY priority, id) AS ids, array_agg(priority ORDER BY priority, id) AS priorities FROM (
	SELECT id, priority FROM deliveries WHERE integration_id = hop.id AND state = 'retrying' AND next_attempt_at <= $3
	ORDER BY integration_id, next_attempt_at, id LIMIT $5) d) retrying
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
	SELECT 1 FROM pushes WHERE integration_id = hop.id AND state IN ('pending', 'retrying')
		AND CASE WHEN state = 'pending' THEN updated_at <= $3 ELSE next_attempt_at <= $3 END LIMIT $5) p) pushing
WHERE hop.n > 0 AND hop.id <= $2 AND (received.ids IS NOT NULL OR retrying.ids IS NOT NULL OR pushing.n > 0)
ORDER BY hop.n LIMIT $4)
UNION ALL
SELECT NULL, hop.id, NULL, NULL, NULL, NULL, 0 FROM hop WHERE hop.n = $6 AND hop.id < $2`

// sweep looks behind after and up to upTo. next is where it stopped, "" if it came to the end.
func (s *Store) sweep(ctx context.Context, before time.Time, after, upTo string, limit, hops int) (found []WaitingIntegration, next string, err error) {
	rows, err := s.system.Query(ctx, sweepQuery, rowID(after), rowID(upTo), before, limit, sweepIDs+1, hops, s.timestamp())
	found, err = collect(rows, err, scanWaiting)
	if err != nil {
		return nil, "", fault("look for waiting integrations", err)
	}
	if n := len(found); n > 0 && found[n-1].Org == "" {
		found, next = found[:n-1], string(found[n-1].Integration)
	}
	if n := len(found); n > 0 && n == limit {
		next = string(found[n-1].Integration)
	}
	return found, next, nil
}

func scanWaiting(row pgx.Row) (WaitingIntegration, error) {
	w := WaitingIntegration{Priority: domain.PriorityNormal}
	var received, retrying []domain.DeliveryID
	var receivedAs, retryingAs []domain.Priority
	if err := row.Scan(&w.Org, &w.Integration, &received, &receivedAs, &retrying, &retryingAs, &w.Pushes); err != nil {
		return w, err
	}
	w.IDs = make([]domain.DeliveryID, 0, min(len(received)+len(retrying), sweepIDs))
	// Two lists in order of priority and arrival become one.
	for len(received)+len(retrying) > 0 {
		if len(w.IDs) == sweepIDs {
			w.More = true
			break
		}
		from, as := &received, &receivedAs
		if len(received) == 0 || len(retrying) > 0 &&
			cmp.Or(cmp.Compare(retryingAs[0], receivedAs[0]), cmp.Compare(retrying[0], received[0])) < 0 {
			from, as = &retrying, &retryingAs
		}
		if len(w.IDs) == 0 {
			w.Priority = (*as)[0]
		}
		w.IDs = append(w.IDs, (*from)[0])
		*from, *as = (*from)[1:], (*as)[1:]
	}
	w.Pushes = min(w.Pushes, sweepIDs)
	return w, nil
}
