package store

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
)

// sought is a delivery as a search sees it.
type sought struct {
	id              domain.DeliveryID
	integration     domain.IntegrationID
	state           domain.DeliveryState
	event, entity   string
	origin          domain.DeliveryID
	replay          domain.ReplayID
	at              time.Time
	organisationTwo bool
}

// TestSearchAndReplayChooseWhatAllConditionsTogetherSay compares random combinations of conditions, in lists page by page and in
// replays, with the same conditions in plain words.
func TestSearchAndReplayChooseWhatAllConditionsTogetherSay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	random := rand.New(rand.NewPCG(7, 11))
	org, stranger := b.org(), b.org()
	integrations := []domain.IntegrationID{b.integration(org).ID, b.integration(org).ID, b.integration(org).ID}
	foreign := b.integration(stranger).ID
	states := []domain.DeliveryState{domain.DeliveryReceived, domain.DeliveryRetrying, domain.DeliveryApplied, domain.DeliveryIgnored, domain.DeliveryDead}
	replays := []domain.ReplayID{"", domain.NewID[domain.ReplayID](b.clock.now()), domain.NewID[domain.ReplayID](b.clock.now())}
	events, entities := []string{"", "booked", "moved"}, []string{"", "e1", "e2", "e3"}
	began := b.clock.now().Truncate(time.Millisecond)
	const count = 1200
	all := make([]sought, count)
	for n := range all {
		s := sought{at: began.Add(time.Duration(n/3) * time.Second), organisationTwo: random.IntN(4) == 0, state: states[random.IntN(len(states))],
			event: events[random.IntN(len(events))], entity: entities[random.IntN(len(entities))], integration: integrations[random.IntN(len(integrations))]}
		s.id = domain.NewID[domain.DeliveryID](s.at)
		if s.replay = replays[random.IntN(len(replays))]; s.replay != "" && n > 0 {
			s.origin = all[random.IntN(min(n, 10))].id
		} else {
			s.replay = ""
		}
		if s.organisationTwo {
			s.integration = foreign
		}
		all[n] = s
	}
	of := func(f func(sought) string) []string {
		out := make([]string, len(all))
		for n, s := range all {
			out[n] = f(s)
		}
		return out
	}
	_, err := b.owner().Exec(ctx, `INSERT INTO deliveries (id, org_id, integration_id, dedupe, state, size, received_at, content, event_type, entity, origin_id, replay_id, next_attempt_at)
		SELECT id, org, integration, sha256(id::text::bytea), state, 1, $1, '', event, entity, nullif(origin, '')::uuid, nullif(replay, '')::uuid, CASE WHEN state = 'retrying' THEN $1::timestamptz END
		FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[]) v(id, org, integration, state, event, entity, origin, replay)`,
		began, of(func(s sought) string { return string(s.id) }), of(func(s sought) string {
			if s.organisationTwo {
				return string(stranger)
			}
			return string(org)
		}), of(func(s sought) string { return string(s.integration) }), of(func(s sought) string { return string(s.state) }), of(func(s sought) string { return s.event }),
		of(func(s sought) string { return s.entity }), of(func(s sought) string { return string(s.origin) }), of(func(s sought) string { return string(s.replay) }))
	b.must(err)
	slices.SortFunc(all, func(x, y sought) int {
		if x.id < y.id {
			return -1
		}
		return 1
	})
	chosen := func(fits func(sought) bool) (out []domain.DeliveryID) {
		for _, s := range all {
			if !s.organisationTwo && fits(s) {
				out = append(out, s.id)
			}
		}
		return out
	}
	maybe := func() bool { return random.IntN(2) == 0 }
	found, conditions := 0, 0
	for range 250 {
		var f DeliveryFilter
		narrow := func(yes bool, set func()) {
			if yes {
				set()
				conditions++
			}
		}
		narrow(maybe(), func() { f.Integration = integrations[random.IntN(len(integrations))] })
		narrow(maybe(), func() { f.State = states[random.IntN(len(states))] })
		narrow(maybe(), func() { f.EventType = events[1+random.IntN(len(events)-1)] })
		narrow(maybe(), func() { f.Entity = entities[1+random.IntN(len(entities)-1)] })
		narrow(random.IntN(5) == 0, func() { f.Replay = replays[1+random.IntN(2)] })
		narrow(random.IntN(8) == 0, func() { f.Origin = all[random.IntN(10)].id })
		from := began.Add(time.Duration(random.IntN(count/3)) * time.Second)
		narrow(maybe(), func() { f.From = from })
		narrow(maybe(), func() { f.To = from.Add(time.Duration(1+random.IntN(300)) * time.Second) })
		inTime := func(s sought) bool {
			return (f.From.IsZero() || !s.at.Before(f.From)) && (f.To.IsZero() || s.at.Before(f.To))
		}
		common := func(s sought) bool {
			return (f.Integration == "" || s.integration == f.Integration) && (f.EventType == "" || s.event == f.EventType) && (f.Entity == "" || s.entity == f.Entity) && inTime(s)
		}

		want := chosen(func(s sought) bool {
			return common(s) && (f.State == "" || s.state == f.State) && (f.Origin == "" || s.origin == f.Origin) && (f.Replay == "" || s.replay == f.Replay)
		})
		slices.Reverse(want)
		var got []domain.DeliveryID
		b.tenant(org, func(tx *Tx) error {
			got = nil
			for after := ""; ; {
				list, next, err := tx.Deliveries(ctx, f, Page{Limit: 1 + random.IntN(MaxPage), After: after})
				if err != nil {
					return err
				}
				for _, d := range list {
					got = append(got, d.ID)
				}
				if after = next; next == "" {
					return nil
				}
			}
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("search by %+v (-want +got):\n%s", f, diff)
		}
		found += len(got)

		// A replay leaves out what is to be tried anyway, goes from old to new, and knows no origins and replays.
		if f.State == domain.DeliveryReceived || f.State == domain.DeliveryRetrying {
			f.State = ""
		}
		asked := began.Add(time.Duration(random.IntN(count/3)) * time.Second)
		r := domain.Replay{CreatedAt: asked, Filter: domain.ReplayFilter{Integration: f.Integration, State: f.State, EventType: f.EventType, Entity: f.Entity}}
		if !f.From.IsZero() {
			r.Filter.From = &f.From
		}
		if !f.To.IsZero() {
			r.Filter.To = &f.To
		}
		want = chosen(func(s sought) bool {
			return common(s) && s.state != domain.DeliveryReceived && s.state != domain.DeliveryRetrying && (f.State == "" || s.state == f.State) && !s.at.After(asked)
		})
		if maybe() && len(want) > 0 {
			r.Filter.Delivery = want[random.IntN(len(want))]
			want = []domain.DeliveryID{r.Filter.Delivery}
		}
		b.tenant(org, func(tx *Tx) error {
			got = nil
			for after := domain.DeliveryID(""); ; {
				list, err := tx.ReplayCandidates(ctx, r, after, 100)
				if err != nil {
					return err
				}
				for _, c := range list {
					got, after = append(got, c.Raw.ID), c.Raw.ID
				}
				if len(list) < 100 {
					break
				}
			}
			n, err := tx.CountReplay(ctx, r)
			if n != len(got) {
				t.Errorf("replay by %+v: %d counted, %d found", r.Filter, n, len(got))
			}
			return err
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("replay by %+v asked for at %s (-want +got):\n%s", r.Filter, asked, diff)
		}
		found += len(got)
	}
	if found < 1000 || conditions < 500 {
		t.Errorf("%d deliveries found by %d conditions: too little to mean anything", found, conditions)
	}
}
