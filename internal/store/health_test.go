package store

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/health"
)

// probed stores a probe and a move of an integration's health.
func (b *bundle) probed(org domain.OrgID, id domain.IntegrationID) {
	b.t.Helper()
	now := b.clock.now().UTC().Truncate(time.Millisecond)
	r := domain.ProbeResult{At: now, Outcome: domain.ProbeOK, Took: 42 * time.Millisecond, Lag: time.Millisecond, Tries: 1}
	b.must(b.SaveProbes(b.t.Context(), []ProbeBatch{{Org: org, Integration: id, Provider: "custom", From: now, Results: []domain.ProbeResult{r}, Last: &r,
		Seconds: map[domain.HealthState]int64{domain.HealthUp: 30}}}))
	b.moveHealth(org, id, domain.HealthUp, domain.HealthAnswers)
}

func (b *bundle) moveHealth(org domain.OrgID, id domain.IntegrationID, to domain.HealthState, code domain.HealthCode) (change domain.HealthChange, moved bool) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) (err error) {
		change, moved, err = tx.MoveHealth(b.t.Context(), HealthMove{Integration: id, To: to, Reason: domain.HealthReason{Code: code, Text: "because of " + string(code)}})
		return err
	})
	return change, moved
}

func (b *bundle) health(org domain.OrgID, id domain.IntegrationID) (h domain.Health) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) (err error) {
		h, err = tx.Health(b.t.Context(), id)
		return err
	})
	return h
}

func (b *bundle) rollups(org domain.OrgID, f RollupFilter) (out []domain.HealthRollup) {
	b.t.Helper()
	b.tenant(org, func(tx *Tx) error {
		out = nil
		return tx.EachRollup(b.t.Context(), f, func(r domain.HealthRollup) error {
			out = append(out, r)
			return nil
		})
	})
	return out
}

func TestAMoveOfHealthIsLoggedToldAndAuditedWithItsReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	if h := b.health(org, i.ID); h.State != domain.HealthUnknown || h.Reason.Code != domain.HealthNew || h.Provider != i.Provider {
		t.Errorf("before anything was observed: %+v", h)
	}
	b.moveHealth(org, i.ID, domain.HealthUp, domain.HealthAnswers)
	b.clock.advance(time.Minute)
	change, moved := b.moveHealth(org, i.ID, domain.HealthDown, domain.HealthNoAnswer)
	if !moved || change.From != domain.HealthUp || change.Lasted != time.Minute {
		t.Errorf("moved %t: %+v", moved, change)
	}
	// The same state again moves nothing, and keeps the newest reason.
	if _, moved := b.moveHealth(org, i.ID, domain.HealthDown, domain.HealthTrafficFails); moved {
		t.Error("staying counts as a move")
	}
	h := b.health(org, i.ID)
	if h.State != domain.HealthDown || h.Reason.Code != domain.HealthTrafficFails || !h.Since.Equal(b.clock.now().UTC().Truncate(time.Microsecond)) {
		t.Errorf("%+v", h)
	}
	err := b.Tenant(t.Context(), org, func(ctx context.Context, tx *Tx) error {
		_, _, err := tx.MoveHealth(ctx, HealthMove{Integration: i.ID, To: domain.HealthPolling, Reason: domain.HealthReason{Code: domain.HealthNotTold, Text: "x"}})
		return err
	})
	wantKind(t, err, domain.KindConflict)

	var log, after []domain.HealthChange
	var lines []domain.AuditEntry
	b.tenant(org, func(tx *Tx) (err error) {
		if log, err = tx.HealthChanges(t.Context(), i.ID, 0, 10); err != nil {
			return err
		}
		if after, err = tx.HealthChangesAfter(t.Context(), log[1].Seq, 10); err != nil {
			return err
		}
		lines, _, err = tx.AuditEntries(t.Context(), Page{})
		return err
	})
	if len(log) != 2 || log[0].To != domain.HealthDown || log[1].To != domain.HealthUp || log[0].Seq <= log[1].Seq || log[0].Reason.Text == "" {
		t.Errorf("log is %+v", log)
	}
	if len(after) != 1 || after[0].Seq != log[0].Seq {
		t.Errorf("behind the first move comes %+v", after)
	}
	audited := 0
	for _, l := range lines {
		if l.Action == "integration.health" {
			audited++
		}
	}
	// Transactions of other tests hold the stream back.
	told := 0
	for limit := time.Now().Add(30 * time.Second); told < 2 && time.Now().Before(limit); {
		events, _, err := b.StreamAfter(t.Context(), "", org, 100)
		b.must(err)
		told = 0
		for _, e := range events {
			if e.Topic == domain.TopicHealthChanged && e.Refs["integration"] == string(i.ID) && e.Refs["state"] != "" && e.Refs["reason"] != "" {
				told++
			}
		}
		b.must(pause(t.Context(), 10*time.Millisecond))
	}
	if audited != 2 || told != 2 {
		t.Errorf("%d audit lines and %d live events of two moves", audited, told)
	}
	recent, err := b.RecentHealthChanges(t.Context(), b.clock.now().Add(-time.Hour))
	if err != nil || len(recent) != 2 || recent[0].Seq != log[1].Seq {
		t.Errorf("recent moves are %+v, %v", recent, err)
	}
}

func TestHealthNeverContradictsTheWish(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	b.moveHealth(org, i.ID, domain.HealthUp, domain.HealthAnswers)
	if _, moved := b.moveHealth(org, i.ID, domain.HealthPaused, domain.HealthByPerson); moved {
		t.Error("an active connection became paused")
	}
	b.tenant(org, func(tx *Tx) error {
		_, err := tx.SetIntegrationState(t.Context(), i.ID, domain.IntegrationPaused, "paused by ann")
		return err
	})
	// The prober has not looked yet, and it is shown at once.
	if h := b.health(org, i.ID); h.State != domain.HealthPaused || h.Reason.Text != "paused by ann" {
		t.Errorf("%+v", h)
	}
	if _, moved := b.moveHealth(org, i.ID, domain.HealthDown, domain.HealthNoAnswer); moved {
		t.Error("a paused connection went down")
	}
	if change, moved := b.moveHealth(org, i.ID, domain.HealthPaused, domain.HealthByPerson); !moved || change.From != domain.HealthUp {
		t.Errorf("moved %t: %+v", moved, change)
	}
	totals, err := b.HealthTotals(t.Context())
	if err != nil || totals[i.Provider].States[domain.HealthPaused] != 1 {
		t.Errorf("%+v, %v", totals, err)
	}
}

func TestProbesAreStoredOnceHoweverOftenTheyAreSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	one, two := b.integration(org), b.integration(org)
	from := time.Date(2027, 5, 1, 9, 0, 0, 0, time.UTC)
	results := []domain.ProbeResult{
		{At: from, Outcome: domain.ProbeOK, Took: 100 * time.Millisecond, Lag: 3 * time.Millisecond, Tries: 1},
		{At: from.Add(30 * time.Second), Outcome: domain.ProbeFailed, Took: 10 * time.Second, Tries: 2, Cause: domain.KindUnavailable},
		{At: from.Add(time.Minute), Outcome: domain.ProbeBlind, Took: 10 * time.Second, Tries: 2, Cause: domain.KindUnavailable},
	}
	last := results[2]
	last.Text = "timed out"
	rhythm := health.Rhythm{Longest: time.Hour, Gaps: 3, Since: from.Add(-24 * time.Hour), Last: from}
	batches := []ProbeBatch{
		{Org: org, Integration: two.ID, Provider: "custom", From: from, Seconds: map[domain.HealthState]int64{domain.HealthPaused: 60}},
		{Org: org, Integration: one.ID, Provider: "custom", From: from, Results: results, TrafficOK: 2, TrafficFailed: 1, Last: &last, Rhythm: rhythm,
			Seconds: map[domain.HealthState]int64{domain.HealthUp: 80, domain.HealthDown: 10}, Signals: []domain.HealthSignal{{Kind: domain.SignalTraffic, OK: true, Text: "it works"}}},
	}
	b.must(b.SaveProbes(t.Context(), batches))
	b.must(b.SaveProbes(t.Context(), batches)) // the answer was lost
	more := ProbeBatch{Org: org, Integration: one.ID, Provider: "custom", From: from.Add(90 * time.Second),
		Results: []domain.ProbeResult{{At: from.Add(90 * time.Second), Outcome: domain.ProbeOK, Took: 900 * time.Millisecond, Tries: 1}}, Seconds: map[domain.HealthState]int64{domain.HealthUp: 30}}
	b.must(b.SaveProbes(t.Context(), []ProbeBatch{more}))

	hours := b.rollups(org, RollupFilter{Integration: one.ID, From: from, To: from.Add(time.Hour)})
	want := domain.HealthRollup{IntegrationID: one.ID, Provider: "custom", Hour: from, OK: 2, Failed: 1, Unknown: 1, TookSum: time.Second, TookMax: 900 * time.Millisecond,
		Took: domain.Histogram(nil).Add(domain.ProbeBounds, 100*time.Millisecond).Add(domain.ProbeBounds, 900*time.Millisecond), TrafficOK: 2, TrafficFailed: 1,
		Seconds: map[domain.HealthState]int64{domain.HealthUp: 110, domain.HealthDown: 10}}
	if len(hours) != 1 {
		t.Fatalf("%d hours", len(hours))
	}
	if d := cmp.Diff(want, hours[0]); d != "" {
		t.Error(d)
	}
	if all := b.rollups(org, RollupFilter{Provider: "custom", From: from, To: from.Add(time.Hour)}); len(all) != 2 {
		t.Errorf("%d hours of the platform", len(all))
	}
	var back []domain.ProbeResult
	b.tenant(org, func(tx *Tx) (err error) {
		back, err = tx.ProbeResults(t.Context(), one.ID, from, from.Add(time.Hour))
		return err
	})
	if d := cmp.Diff(append(results, more.Results...), back); d != "" {
		t.Error(d)
	}
	h := b.health(org, one.ID)
	if h.LastProbe == nil || h.LastProbe.Text != "timed out" || len(h.Signals) != 0 {
		t.Errorf("%+v", h) // the newest batch had no signals and no newer result to keep
	}
	targets, err := b.ProbeTargets(t.Context(), domain.ProbeShard(one.ID))
	b.must(err)
	found := false
	for _, target := range targets {
		found = found || target.IntegrationID == one.ID && target.Wish == domain.IntegrationActive && target.Zone != ""
	}
	if !found {
		t.Errorf("shard %d has %+v", domain.ProbeShard(one.ID), targets)
	}
	counts, err := b.ProbeCounts(t.Context(), from)
	if err != nil || len(counts) != 2 {
		t.Errorf("%+v, %v", counts, err)
	}
	totals, err := b.HealthTotals(t.Context())
	b.must(err)
	if got := totals["custom"]; got.Outcomes[domain.ProbeOK] != 2 || got.Outcomes[domain.ProbeFailed] != 1 || got.Outcomes[domain.ProbeBlind] != 1 ||
		got.Took.Count() != 2 || got.Lag.Count() != 4 || got.TookSum != time.Second {
		t.Errorf("%+v", got)
	}
	wantKind(t, b.SaveProbes(t.Context(), []ProbeBatch{{Org: org, Integration: one.ID, From: from}, {Org: org, Integration: two.ID, From: from.Add(time.Hour)}}), domain.KindInvalid)
}

func TestResultsGoAfterTwoDaysAndHoursStay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	b.probed(org, i.ID)
	if n, err := b.PurgeProbes(t.Context(), b.clock.now().Add(-ProbesKept), 100); n != 0 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	b.clock.advance(ProbesKept + time.Hour)
	if n, err := b.PurgeProbes(t.Context(), b.clock.now().Add(-ProbesKept), 100); n != 1 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if hours := b.rollups(org, RollupFilter{From: b.clock.now().Add(-100 * time.Hour), To: b.clock.now()}); len(hours) != 1 {
		t.Errorf("%d hours are left", len(hours))
	}
}

func TestTheProberIsToldOfBoostsAndMaintenance(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	until := b.clock.now().Add(time.Hour)
	b.tenant(org, func(tx *Tx) error {
		if err := tx.ProbeEvery(t.Context(), i.ID, time.Minute); err != nil {
			return err
		}
		if err := tx.BoostProbes(t.Context(), i.ID, 10*time.Second, until); err != nil {
			return err
		}
		return tx.Maintain(t.Context(), i.ID, &until, "the vendor moves house")
	})
	targets, err := b.ProbeTargets(t.Context(), domain.ProbeShard(i.ID))
	b.must(err)
	if len(targets) != 1 {
		t.Fatalf("%d targets", len(targets))
	}
	got := targets[0]
	if got.Every(b.clock.now(), 30*time.Second) != 10*time.Second || got.Every(until, 30*time.Second) != time.Minute ||
		got.MaintenanceUntil == nil || got.MaintenanceText != "the vendor moves house" {
		t.Errorf("%+v", got)
	}
	for name, fn := range map[string]func(tx *Tx) error{
		"too often": func(tx *Tx) error { return tx.ProbeEvery(t.Context(), i.ID, time.Second) },
		"too long":  func(tx *Tx) error { return tx.BoostProbes(t.Context(), i.ID, time.Minute, tx.Now.Add(900*time.Hour)) },
	} {
		if err := b.Tenant(t.Context(), org, func(_ context.Context, tx *Tx) error { return fn(tx) }); domain.KindOf(err) != domain.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.tenant(org, func(tx *Tx) error {
		if err := tx.BoostProbes(t.Context(), i.ID, 0, time.Time{}); err != nil {
			return err
		}
		return tx.Maintain(t.Context(), i.ID, nil, "")
	})
	targets, err = b.ProbeTargets(t.Context(), domain.ProbeShard(i.ID))
	if err != nil || targets[0].MaintenanceUntil != nil || targets[0].Every(b.clock.now(), 30*time.Second) != time.Minute {
		t.Errorf("%+v, %v", targets, err)
	}
}

func TestWhatIsKnownBesideProbesIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	org := b.org()
	i := b.integration(org)
	b.oauth(org, i.ID)
	b.tenant(org, func(tx *Tx) error {
		if _, err := tx.CreateWatch(t.Context(), i.ID, domain.NewID[domain.WatchID](tx.Now), "secret", HashSettings(i)); err != nil {
			return err
		}
		for n, state := range []domain.SyncState{domain.SyncDone, domain.SyncFailed} {
			run := domain.SyncRun{ID: domain.NewID[domain.SyncRunID](tx.Now.Add(time.Duration(n) * time.Second)), IntegrationID: i.ID, RequestedBy: "test"}
			if _, _, err := tx.StartSyncRun(t.Context(), run); err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), "UPDATE sync_runs SET state = $2, ended_at = $3 WHERE id = $1", run.ID, string(state), tx.Now.Add(time.Duration(n)*time.Second)); err != nil {
				return err
			}
		}
		return tx.AddPushLag(t.Context(), i.ID, time.Second)
	})
	looks, err := b.ProbeLooks(t.Context(), domain.ProbeShard(i.ID))
	b.must(err)
	got := looks[i.ID]
	if len(got.Watches) != 1 || len(got.Outcomes) != 2 || got.Outcomes[0].OK || !got.Outcomes[1].OK || got.TokenExpiresAt == nil || got.Writes != 1 {
		t.Errorf("%+v", got)
	}
	opened, zone, secrets, err := b.ProbeConnection(t.Context(), i.ID)
	if err != nil || opened.ID != i.ID || zone == "" || len(secrets) == 0 {
		t.Errorf("%+v, %q, %d secrets, %v", opened, zone, len(secrets), err)
	}
}
