package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/store"
)

// more makes integrations of a tenant in these states.
func (b *bundle) more(x tenant, states ...domain.IntegrationState) []domain.IntegrationID {
	b.Helper()
	var out []domain.IntegrationID
	b.must(b.store.Tenant(b.Context(), x.org, func(ctx context.Context, tx *store.Tx) error {
		out = out[:0]
		for n, state := range states {
			id := domain.NewID[domain.IntegrationID](b.server.now().Add(time.Duration(n) * time.Millisecond))
			out = append(out, id)
			if err := tx.CreateIntegration(ctx, domain.Integration{ID: id, Name: fmt.Sprintf("System %d", n), Provider: "plain", Direction: domain.DirectionImport,
				ResourceID: x.spare, State: state, StateReason: "as made"}, map[string]string{"key": "k"}); err != nil {
				return err
			}
			if state == domain.IntegrationConnecting {
				if _, _, err := tx.BeginOnboarding(ctx, domain.Onboarding{ID: domain.NewID[domain.OnboardingID](tx.Now), IntegrationID: id, RequestedBy: "test"}, domain.IntegrationPaused); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	return out
}

type batchReply struct {
	Items  []batchItem
	Counts map[batchOutcome]int
	Next   string
}

func (b *bundle) batch(token, body string, opts ...option) (out batchReply) {
	b.Helper()
	got := b.do("POST", "/v1/integrations:batch", token, body, opts...)
	if got.status != 200 {
		b.Fatalf("%d %s", got.status, got.body)
	}
	got.into(b, &out)
	return out
}

func outcomes(r batchReply) string {
	var out []string
	for _, i := range r.Items {
		out = append(out, string(i.Outcome))
	}
	return strings.Join(out, " ")
}

func TestOneCallActsOnAllIntegrationsAndTellsOfEach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.more(b.a, domain.IntegrationActive, domain.IntegrationPaused, domain.IntegrationNeedsReconnect, domain.IntegrationConnecting, domain.IntegrationDeleted)
	operator, admin := b.token(b.a.org, domain.RoleOperator), b.token(b.a.org, domain.RoleAdmin)
	these := `"filter":{"resource_id":"` + string(b.a.spare) + `"}`

	resumed := b.batch(operator, `{"action":"resume",`+these+`}`)
	if outcomes(resumed) != "already done refused refused" || resumed.Items[1].State != domain.IntegrationActive || resumed.Items[2].Reason == "" || resumed.Items[3].Code != "conflict" {
		t.Errorf("resumed: %+v", resumed)
	}
	if again := b.batch(operator, `{"action":"resume",`+these+`}`); outcomes(again) != "already already refused refused" {
		t.Errorf("resumed once more: %+v", again)
	}
	paused := b.batch(operator, `{"action":"pause","reason":"holiday",`+these+`}`)
	if outcomes(paused) != "done done done refused" {
		t.Errorf("paused: %+v", paused)
	}
	if e := b.lastAction(b.a, "integration.pause"); e.Reason != "holiday" {
		t.Errorf("the trail says %+v", e)
	}
	b.batch(operator, `{"action":"resume","filter":{"ids":["`+string(ids[0])+`","`+string(ids[1])+`"]}}`)

	b.flow.fail(nil)
	one := b.batch(operator, `{"action":"resync","full":true,`+these+`}`, header("Idempotency-Key", "nightly"))
	two := b.batch(operator, `{"action":"resync","full":true,`+these+`}`, header("Idempotency-Key", "nightly"))
	if outcomes(one) != "done done refused refused" || one.Items[0].RunID == "" || one.Items[0].RunID != two.Items[0].RunID ||
		one.Items[0].RunID == one.Items[1].RunID {
		t.Errorf("resynced: %+v, then %+v", one, two)
	}
	b.flow.fail(domain.E(domain.KindUnavailable, "Temporal cannot be reached"))
	down := b.batch(operator, `{"action":"pause","filter":{"ids":["`+string(ids[0])+`","`+string(ids[3])+`"]}}`)
	if outcomes(down) != "failed refused" || !strings.Contains(down.Items[0].Reason, "Temporal") || down.Counts[batchFailed] != 1 {
		t.Errorf("while Temporal is away: %+v", down)
	}
	b.flow.fail(nil)

	b.do("POST", "/v1/integrations:batch", operator, `{"action":"initialise"}`).problem(t, 403, "forbidden")
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		for id, state := range map[domain.IntegrationID]domain.IntegrationState{ids[1]: domain.IntegrationPaused, ids[2]: domain.IntegrationNeedsReconnect} {
			if _, err := tx.SetIntegrationState(ctx, id, state, "for the test"); err != nil {
				return err
			}
		}
		return nil
	}))
	begun := b.batch(admin, `{"action":"initialise",`+these+`}`)
	if outcomes(begun) != "already done done already" || begun.Items[2].State != domain.IntegrationConnecting {
		t.Errorf("initialised: %+v", begun)
	}
	b.onboard(b.a, string(ids[3]), func(o *domain.Onboarding) {
		now := b.server.now()
		o.State, o.WaitingSince = domain.OnboardingWaiting, &now
	})
	if again := b.batch(admin, `{"action":"initialise",`+these+`}`); outcomes(again) != "already already already done" {
		t.Errorf("initialised once more: %+v", again)
	}
	worked := b.more(b.a, domain.IntegrationPaused)[0]
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE integrations SET last_sync_at = now() WHERE id = $1", worked)
		return err
	}))
	if r := b.batch(admin, `{"action":"initialise","filter":{"ids":["`+string(worked)+`"]}}`); outcomes(r) != "refused" || !strings.Contains(r.Items[0].Reason, "resume") {
		t.Errorf("one that was paused: %+v", r)
	}
	if r := b.batch(b.token(b.b.org, domain.RoleAdmin), `{"action":"health","filter":{"ids":["`+string(ids[0])+`"]}}`); len(r.Items) != 0 {
		t.Errorf("another organisation's: %+v", r)
	}
	b.do("POST", "/v1/integrations:batch", operator, `{"action":"explode"}`).problem(t, 422, "invalid")
	b.do("POST", "/v1/integrations:batch", operator, `{"action":"health","filter":{"ids":["x"]}}`).problem(t, 422, "invalid")
}

func TestHealthOfAllIsBoundedAndOneThatHangsOrPanicsStopsNoOther(t *testing.T) {
	t.Parallel()
	var asked, most atomic.Int32
	var mu sync.Mutex
	faults := map[domain.IntegrationID]func() error{}
	b := setup(t, func(d *Deps) {
		d.Probe = func(_ context.Context, _ domain.OrgID, id domain.IntegrationID) error {
			n := asked.Add(1)
			defer asked.Add(-1)
			for {
				was := most.Load()
				if n <= was || most.CompareAndSwap(was, n) {
					break
				}
			}
			mu.Lock()
			fault := faults[id]
			mu.Unlock()
			if fault != nil {
				return fault()
			}
			return nil
		}
	})
	states := slices.Repeat([]domain.IntegrationState{domain.IntegrationActive}, 205)
	states[4] = domain.IntegrationPaused
	ids := b.more(b.a, states...)
	mu.Lock()
	faults[ids[1]] = func() error { return domain.E(domain.KindUnauthenticated, "the key is not accepted") }
	faults[ids[2]] = func() error { panic("of a provider") }
	faults[ids[3]] = func() error { return fmt.Errorf("dial tcp: somebody@example.com") }
	mu.Unlock()
	operator := b.token(b.a.org, domain.RoleOperator)
	these := `{"action":"health","filter":{"resource_id":"` + string(b.a.spare) + `"}`
	first := b.batch(operator, these+`}`)
	if len(first.Items) != maxBatch || first.Next == "" || most.Load() > batchAtOnce {
		t.Errorf("%d items, next %q, %d at once", len(first.Items), first.Next, most.Load())
	}
	healthy := func(n int) bool { return first.Items[n].Healthy != nil && *first.Items[n].Healthy }
	if !healthy(0) || healthy(1) || first.Items[1].Code != "unauthenticated" || first.Items[2].Outcome != batchFailed || healthy(3) || strings.Contains(first.Items[3].Reason, "@") ||
		healthy(4) || !strings.HasPrefix(first.Items[4].Reason, "it is paused") {
		t.Errorf("items %+v", first.Items[:5])
	}
	rest := b.batch(operator, these+`,"after":"`+first.Next+`"}`)
	if len(rest.Items) != 5 || rest.Next != "" || rest.Items[4].ID != ids[204] {
		t.Errorf("the rest: %d, next %q", len(rest.Items), rest.Next)
	}
	if n := len(b.batch(operator, `{"action":"health","filter":{"state":"paused"}}`).Items); n != 1 {
		t.Errorf("%d are paused", n)
	}
}

func TestHealthOfAllTellsWhatIsObservedBesidesWhatAnswersNow(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	b := setup(t, func(d *Deps) {
		d.Probe = func(context.Context, domain.OrgID, domain.IntegrationID) error {
			asked.Add(1)
			return nil
		}
	})
	ids := b.more(b.a, slices.Repeat([]domain.IntegrationState{domain.IntegrationActive}, 5)...)
	ids = append(ids, b.more(b.a, domain.IntegrationPaused)...)
	ways := [][]domain.HealthState{{domain.HealthUp}, {domain.HealthUp, domain.HealthDown}, {domain.HealthUp, domain.HealthDegraded}, {}, {domain.HealthMaintenance}, {}}
	for n, way := range ways {
		for _, to := range way {
			_, err := b.store.MoveHealths(t.Context(), b.a.org, []store.HealthMove{{Integration: ids[n], To: to, Reason: domain.HealthReason{Code: domain.HealthNoAnswer, Text: "as the test says: " + string(to)}}})
			b.must(err)
		}
	}
	var named []string
	for _, id := range ids {
		named = append(named, `"`+string(id)+`"`)
	}
	got := b.batch(b.token(b.a.org, domain.RoleOperator), `{"action":"health","filter":{"ids":[`+strings.Join(named, ",")+`]}}`)
	for n, want := range []struct {
		state   domain.HealthState
		healthy bool
		reason  string
	}{
		{domain.HealthUp, true, ""}, {domain.HealthDown, false, "it is down: as the test says: down"}, {domain.HealthDegraded, true, "it is degraded: as the test says: degraded"},
		{domain.HealthUnknown, true, ""}, {domain.HealthMaintenance, false, "it is maintenance: as the test says: maintenance"}, {domain.HealthPaused, false, "it is paused: as made"},
	} {
		item := got.Items[slices.IndexFunc(got.Items, func(i batchItem) bool { return i.ID == ids[n] })]
		if item.Health == nil || item.Health.State != want.state || item.Health.Reason.Text == "" || item.Health.Since.IsZero() || item.Healthy == nil || *item.Healthy != want.healthy ||
			item.Reason != want.reason || item.Outcome != batchDone {
			t.Errorf("%s: %+v, %+v", want.state, item, item.Health)
		}
	}
	if n := asked.Load(); n != 4 {
		t.Errorf("%d systems were asked; one is in maintenance and one is paused", n)
	}
}

func TestDisconnectTellsBeforeAndAfterwards(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin, viewer := b.token(b.a.org, domain.RoleAdmin), b.token(b.a.org, domain.RoleViewer)
	path := "/v1/integrations/" + string(b.a.integration) + "/disconnect"
	watch := domain.NewID[domain.WatchID](b.server.now())
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.Integration(ctx, b.a.integration)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO links (id, org_id, integration_id, booking_id, external_id, mirror, updated_at) VALUES ($1, $2, $3, $4, 'copy', true, $5)`,
			domain.NewID[domain.LinkID](tx.Now), b.a.org, i.ID, b.a.booking, tx.Now); err != nil {
			return err
		}
		_, err = tx.CreateWatch(ctx, i.ID, watch, "secret", store.HashSettings(i))
		return err
	}))
	read := func(got reply, status int) (v disconnectView) {
		t.Helper()
		if got.status != status {
			t.Fatalf("%d %s", got.status, got.body)
		}
		got.into(t, &v)
		return v
	}
	for copies, note := range map[string]string{"remove": "would be removed", "keep": "would stay"} {
		v := read(b.do("POST", path, admin, `{"copies":"`+copies+`","dry_run":true}`), 202)
		if !v.DryRun || v.Stage != "counted" || v.Copies.There != 1 || v.Copies.Remove != (copies == "remove") || len(v.Hooks) != 1 || !strings.Contains(v.Note, note) ||
			v.State != domain.IntegrationActive {
			t.Errorf("dry run of %s: %+v", copies, v)
		}
	}
	if v := read(b.do("GET", path, viewer, ""), 200); v.Stage != "counted" {
		t.Errorf("nobody disconnects it: %+v", v)
	}
	b.do("POST", path, b.token(b.a.org, domain.RoleOperator), `{"copies":"keep"}`).problem(t, 403, "forbidden")
	b.do("POST", path, admin, `{"copies":"burn"}`).problem(t, 422, "invalid")
	for range 2 { // it may be asked for again
		if v := read(b.do("POST", path, admin, `{"copies":"remove","reason":"moved"}`), 202); v.Stage != "removing_copies" || v.Copies.There != 1 || v.State != domain.IntegrationActive {
			t.Errorf("begun: %+v", v)
		}
	}
	// As the workers do: the copy goes, and the connection with it.
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE links SET removed_at = $2 WHERE integration_id = $1 AND mirror", b.a.integration, tx.Now); err != nil {
			return err
		}
		if _, _, err := tx.AdvancePurge(ctx, b.a.integration); err != nil {
			return err
		}
		_, err := tx.SetIntegrationState(ctx, b.a.integration, domain.IntegrationDeleted, "for the test")
		return err
	}))
	if v := read(b.do("GET", path, viewer, ""), 200); v.Stage != "ending_hooks" || v.Copies.There != 0 || v.Copies.Removed != 1 {
		t.Errorf("without copies: %+v", v)
	}
	b.must(b.store.Tenant(t.Context(), b.a.org, func(ctx context.Context, tx *store.Tx) error {
		live, err := tx.OpenWatches(ctx, b.a.integration)
		if err != nil {
			return err
		}
		next := live[0].Watch
		next.State = domain.WatchRetired
		_, err = tx.UpdateWatch(ctx, next, live[0].State)
		return err
	}))
	if v := read(b.do("GET", path, viewer, ""), 200); v.Stage != "done" || len(v.Hooks) != 0 {
		t.Errorf("done: %+v", v)
	}
	b.do("POST", path, admin, `{"copies":"keep"}`).problem(t, 404, "not_found")
	b.do("GET", path, b.token(b.b.org, domain.RoleAdmin), "").problem(t, 404, "not_found")

	kept := "/v1/integrations/" + string(b.b.integration) + "/disconnect"
	if v := read(b.do("POST", kept, b.token(b.b.org, domain.RoleAdmin), `{"copies":"keep"}`), 202); v.Stage != "done" || v.State != domain.IntegrationDeleted {
		t.Errorf("without anything there: %+v", v)
	}
}
