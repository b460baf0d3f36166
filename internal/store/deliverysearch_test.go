package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

// manyDeliveries writes 20,000 finished deliveries a minute apart, and 20 of each other kind.
func (b *bundle) manyDeliveries(org domain.OrgID) (i, rare domain.IntegrationID, replay domain.ReplayID) {
	b.t.Helper()
	i, rare = b.integration(org).ID, b.integration(org).ID
	replay = domain.NewID[domain.ReplayID](b.clock.now())
	var ids, integrations, origins, replays []rowID
	var states, events, entities []string
	for n := range 20_000 {
		id := domain.NewID[rowID](b.clock.now().Add(time.Duration(n) * time.Minute))
		state, integration, origin, made := "applied", i, "", ""
		switch {
		case n%1000 == 1:
			state = "dead"
		case n%1000 == 2:
			state = "ignored"
		case n%1000 == 3:
			state = "retrying"
		case n%1000 == 4:
			state = "received"
		case n%1000 == 5:
			integration = rare
		case n%1000 == 6:
			origin, made = string(ids[0]), string(replay)
		}
		ids, integrations, states = append(ids, id), append(integrations, rowID(integration)), append(states, state)
		origins, replays = append(origins, rowID(origin)), append(replays, rowID(made))
		events, entities = append(events, fmt.Sprintf("event.%d", n%50)), append(entities, fmt.Sprintf("e%d", n%500))
	}
	owner := b.owner()
	_, err := owner.Exec(b.t.Context(), `INSERT INTO deliveries (id, org_id, integration_id, dedupe, state, size, received_at, content, event_type, entity, origin_id, replay_id)
		SELECT id, $1, integration, sha256(id::text::bytea), state, 1, $2, '', event, entity, origin, replay
		FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::uuid[]) v(id, integration, state, event, entity, origin, replay)`,
		org, b.timestamp(), arrayOf(ids), arrayOf(integrations), arrayOf(states), arrayOf(events), arrayOf(entities), arrayOf(origins), arrayOf(replays))
	b.must(err)
	_, err = owner.Exec(b.t.Context(), "ANALYZE deliveries")
	b.must(err)
	return i, rare, replay
}

func TestEverySearchGoesThroughAnIndexAndFindsWhatItShould(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	org := b.org()
	i, rare, replay := b.manyDeliveries(org)
	var first rowID
	b.must(b.owner().QueryRow(ctx, "SELECT id FROM deliveries ORDER BY id LIMIT 1").Scan(&first))
	from := b.clock.now().Add(5 * time.Hour)
	for name, c := range map[string]struct {
		f     DeliveryFilter
		want  string // the same in plain conditions
		index string
	}{
		"everything":      {DeliveryFilter{}, "true", "deliveries_pkey"},
		"a time":          {DeliveryFilter{From: from, To: from.Add(time.Hour)}, "", "deliveries_pkey"},
		"an integration":  {DeliveryFilter{Integration: rare}, "integration_id = '" + string(rare) + "'", "deliveries_by_integration"},
		"dead":            {DeliveryFilter{State: domain.DeliveryDead}, "state = 'dead'", "deliveries_dead"},
		"ignored":         {DeliveryFilter{State: domain.DeliveryIgnored}, "state = 'ignored'", "deliveries_ignored"},
		"retrying":        {DeliveryFilter{State: domain.DeliveryRetrying}, "state = 'retrying'", "deliveries_to_retry"},
		"received":        {DeliveryFilter{State: domain.DeliveryReceived}, "state = 'received'", "deliveries_received"},
		"received by one": {DeliveryFilter{State: domain.DeliveryReceived, Integration: i}, "state = 'received'", "deliveries_received"},
		"an event type":   {DeliveryFilter{EventType: "event.7"}, "event_type = 'event.7'", "deliveries_by_event"},
		"an entity":       {DeliveryFilter{Entity: "e77"}, "entity = 'e77'", "deliveries_by_entity"},
		"entity and more": {DeliveryFilter{Entity: "e77", Integration: i, State: domain.DeliveryApplied}, "entity = 'e77' AND state = 'applied'", "deliveries_by_entity"},
		"a replay":        {DeliveryFilter{Replay: replay}, "replay_id IS NOT NULL", "deliveries_by_replay"},
		"an origin":       {DeliveryFilter{Origin: domain.DeliveryID(first)}, "origin_id IS NOT NULL", "deliveries_by_origin"},
	} {
		b.tenant(org, func(tx *Tx) error {
			q := deliveriesQuery(org, c.f, lastUUID, 51)
			plan := explain(t, tenantQuery{t, tx}, q.text(), q.args...)
			if !strings.Contains(plan, c.index) || strings.Contains(plan, "Seq Scan on deliveries") {
				t.Errorf("%s: the plan does not use %s:\n%s", name, c.index, plan)
			}
			return nil
		})
		var want []domain.DeliveryID
		rows, err := b.owner().Query(ctx, "SELECT id FROM deliveries WHERE "+map[bool]string{true: "id >= $1 AND id < $2", false: c.want + " AND $1::uuid <> $2::uuid"}[c.want == ""]+
			" ORDER BY id DESC LIMIT 130", idFloor(from), idFloor(from.Add(time.Hour)))
		b.must(err)
		for rows.Next() {
			var id domain.DeliveryID
			b.must(rows.Scan(&id))
			want = append(want, id)
		}
		b.must(rows.Err())
		var got []domain.DeliveryID
		b.tenant(org, func(tx *Tx) error {
			for after, more := "", true; more && len(got) < 130; more = after != "" {
				list, next, err := tx.Deliveries(ctx, c.f, Page{Limit: 65, After: after})
				if err != nil {
					return err
				}
				for _, d := range list {
					got = append(got, d.ID)
				}
				after = next
			}
			return nil
		})
		if len(want) < 20 || !cmp.Equal(want, got) {
			t.Errorf("%s: found %d, want %d in the same order", name, len(got), len(want))
		}
	}
	for _, bad := range []DeliveryFilter{{State: "lost"}, {Entity: "\x00"}, {EventType: strings.Repeat("x", 101)}, {From: from, To: from}} {
		b.tenant(org, func(tx *Tx) error {
			_, _, err := tx.Deliveries(ctx, bad, Page{})
			wantKind(t, err, domain.KindInvalid)
			return nil
		})
	}
}

func TestReplaysReadTheirDeliveriesThroughIndexes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i, rare, replay := b.manyDeliveries(org)
	r := domain.Replay{CreatedAt: b.clock.now().Add(365 * 24 * time.Hour)}
	for index, f := range map[string]domain.ReplayFilter{"deliveries_dead": {State: domain.DeliveryDead}, "deliveries_pkey": {},
		"deliveries_by_integration": {Integration: rare}, "deliveries_by_entity": {Entity: "e77"}, "deliveries_by_event": {EventType: "event.7"}} {
		r.Filter = f
		q := replayQuery("SELECT "+deliveryColumns+", content", org, r, domain.DeliveryID(idFloor(b.clock.now())))
		q.add(" ORDER BY id LIMIT %s", 100)
		b.tenant(org, func(tx *Tx) error {
			uses(t, explain(t, tenantQuery{t, tx}, q.text(), q.args...), index)
			return nil
		})
	}
	b.tenant(org, func(tx *Tx) error {
		uses(t, explain(t, tenantQuery{t, tx}, replayOutcomesQuery, org, replay, maxWaiting), "deliveries_by_replay")
		uses(t, explain(t, tenantQuery{t, tx}, supersededQuery, org, i, []string{"e77"}, arrayOf([]rowID{firstUUID})), "deliveries_by_entity")
		return nil
	})
}

func TestIdentifiersTellTheirTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 6, 12, 9, 30, 0, 123_000_000, time.UTC)
	ids := []rowID{idFloor(at), domain.NewID[rowID](at), idFloor(at.Add(time.Millisecond))}
	if !slices.IsSorted(ids) {
		t.Errorf("out of order: %v", ids)
	}
	if got := idTime(string(ids[1])); got == nil || !got.Equal(at) {
		t.Errorf("made at %v, want %v", got, at)
	}
	if got := idTime("x"); got != nil {
		t.Errorf("no identifier was made at %v", got)
	}
}
