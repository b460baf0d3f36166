package alerting_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/alerting"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/sla"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
)

// bench is an organisation with connections to one resource, and a clock.
type bench struct {
	*store.Store
	t   *testing.T
	org domain.OrgID
	all []domain.Integration

	mu  sync.Mutex
	now time.Time
}

func setup(t *testing.T, connections int) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)}
	b.Store = storetest.New(t, store.Options{MaxConns: 6, SystemMaxConns: 2, Now: b.clock})
	b.org = domain.NewID[domain.OrgID](b.clock())
	b.must(b.CreateOrganization(t.Context(), domain.Organization{ID: b.org, Name: "Studio", Zone: "UTC"}, "admin"))
	r := domain.Resource{ID: domain.NewID[domain.ResourceID](b.clock()), Name: "Desk", Kind: domain.ResourcePerson, Zone: "UTC", Capacity: 1}
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, r); err != nil {
			return err
		}
		for range connections {
			i := domain.Integration{ID: domain.NewID[domain.IntegrationID](tx.Now), Name: "calendar", Provider: "caldav", Direction: domain.DirectionImport, ResourceID: r.ID, Settings: []byte(`{}`)}
			if err := tx.CreateIntegration(ctx, i, nil); err != nil {
				return err
			}
			b.all = append(b.all, i)
		}
		return nil
	})
	return b
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	b.t.Helper()
	b.must(b.Tenant(b.t.Context(), b.org, fn))
}

func (b *bench) move(i domain.Integration, to domain.HealthState, code domain.HealthCode) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.MoveHealth(ctx, store.HealthMove{Integration: i.ID, To: to, Reason: domain.HealthReason{Code: code, Text: "because of " + string(code)}})
		return err
	})
}

// probe stores what the prober would have measured until now, ten minutes in a row of storage: one probe each 30 seconds.
func (b *bench) probe(i domain.Integration, since time.Duration, outcome domain.ProbeOutcome, took time.Duration) {
	b.t.Helper()
	state := domain.HealthUp
	if outcome != domain.ProbeOK {
		state = domain.HealthDown
	}
	now := b.clock()
	for from := now.Add(-since); from.Before(now); from = from.Add(10 * time.Minute) {
		batch := store.ProbeBatch{Org: b.org, Integration: i.ID, Provider: i.Provider, From: from, Seconds: map[domain.HealthState]int64{state: 600}}
		for at := from; at.Before(from.Add(10 * time.Minute)); at = at.Add(30 * time.Second) {
			batch.Results = append(batch.Results, domain.ProbeResult{At: at, Outcome: outcome, Took: took, Tries: 1})
		}
		b.must(b.SaveProbes(b.t.Context(), []store.ProbeBatch{batch}))
	}
}

func (b *bench) look() (out alerting.Done) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = alerting.Evaluate(ctx, tx)
		return err
	})
	return out
}

func (b *bench) alerts() (all []domain.Alert) {
	b.t.Helper()
	b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		all, _, err = tx.Alerts(ctx, store.AlertFilter{}, store.Page{Limit: store.MaxPage})
		return err
	})
	return all
}

func TestWhatIsStoredOfProbesRaisesAndEndsAlerts(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	one := b.all[0]
	for _, i := range b.all {
		b.move(i, domain.HealthUp, domain.HealthAnswers)
	}
	b.advance(time.Hour)
	b.probe(one, time.Hour, domain.ProbeOK, 80*time.Millisecond)
	if d := b.look(); d.Watched != 2 || d.Open != 0 || d.Changed != 0 {
		t.Errorf("healthy: %+v", d)
	}
	b.advance(10 * time.Minute)
	b.probe(one, 10*time.Minute, domain.ProbeFailed, 0)
	if d := b.look(); d.Open != 1 || d.Told != 1 {
		t.Errorf("failing: %+v", d)
	}
	if a := b.alerts(); len(a) != 1 || a[0].Kind != domain.AlertErrorRate || a[0].Severity != domain.SeverityHigh || a[0].Scope.Target != string(one.ID) {
		t.Errorf("%+v", a)
	}
	// What was taken once is not taken again, so looking again changes nothing.
	if d := b.look(); d.Changed != 0 || d.Open != 1 {
		t.Errorf("again: %+v", d)
	}
	b.move(one, domain.HealthDown, domain.HealthNoAnswer)
	if d := b.look(); d.Open != 2 || d.Told != 1 {
		t.Errorf("down: %+v", d)
	}
	b.move(one, domain.HealthUp, domain.HealthAnswers)
	for range 40 { // the slowest windows reach six hours back
		b.advance(10 * time.Minute)
		b.probe(one, 10*time.Minute, domain.ProbeOK, 80*time.Millisecond)
		b.look()
	}
	b.advance(6 * time.Minute)
	if d := b.look(); d.Open != 0 {
		t.Errorf("well again: %+v %+v", d, b.alerts())
	}
	for _, a := range b.alerts() {
		if a.State != domain.AlertResolved || a.Resolution == "" {
			t.Errorf("%+v", a)
		}
	}
}

func TestObjectivesAndRulesAndTheNextWeddingCount(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	one := b.all[0]
	b.move(one, domain.HealthUp, domain.HealthAnswers)
	b.move(one, domain.HealthFailingOver, domain.HealthNotTold)
	b.move(one, domain.HealthPolling, domain.HealthNotTold)
	if d := b.look(); d.Open != 1 || b.alerts()[0].Severity != domain.SeverityLow {
		t.Errorf("polling: %+v %+v", d, b.alerts())
	}
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutAlertRule(ctx, domain.AlertRule{ID: domain.NewID[domain.AlertRuleID](tx.Now), Kind: domain.AlertConnection, Enabled: true, Severity: domain.SeverityMedium,
			Scope: domain.Scope{Kind: domain.ScopePlatform, Target: one.Provider}, CreatedBy: "test"})
		return err
	})
	b.look()
	if a := b.alerts()[0]; a.Severity != domain.SeverityMedium || a.ToldSeverity != domain.SeverityMedium {
		t.Errorf("with a rule: %+v", a)
	}
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO alert_policies (org_id, remind_every, steps, updated_by, updated_at) VALUES ($1, 30, '[]', 'test', $2)`, tx.Org, tx.Now)
		return err
	})
	if d := b.look(); d.Changed != 0 {
		t.Errorf("a policy changes what is told next, not what was: %+v", d)
	}
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		a, err := tx.AcknowledgeAlert(ctx, b.alertID(ctx, tx), "ann")
		if err == nil && (a.State != domain.AlertAcknowledged || a.AcknowledgedBy != "ann" || a.RemindAt != nil) {
			t.Errorf("%+v", a)
		}
		return err
	})
	b.advance(24 * time.Hour)
	if d := b.look(); d.Told != 0 || d.Open != 1 {
		t.Errorf("acknowledged: %+v", d)
	}
}

func (b *bench) alertID(ctx context.Context, tx *store.Tx) domain.AlertID {
	b.t.Helper()
	all, _, err := tx.Alerts(ctx, store.AlertFilter{Open: true}, store.Page{})
	if err != nil || len(all) == 0 {
		b.t.Fatalf("%v, %v", all, err)
	}
	return all[0].ID
}

func TestManyConnectionsAreStoredInTurns(t *testing.T) {
	t.Parallel()
	const n = 520
	b := setup(t, n)
	for _, i := range b.all {
		b.move(i, domain.HealthUp, domain.HealthAnswers)
		b.move(i, domain.HealthDown, domain.HealthNoAnswer)
	}
	first := b.look()
	if !first.More || first.Changed != 500 || first.Told != 1 {
		t.Errorf("first: %+v", first)
	}
	second := b.look()
	if second.More || second.Changed != n+1-500 || second.Told != 0 || second.Open != n+1 {
		t.Errorf("second: %+v", second)
	}
}

func TestReportsAndScoresRestOnHours(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	one, quiet := b.all[0], b.all[1]
	b.move(one, domain.HealthUp, domain.HealthAnswers)
	b.advance(48 * time.Hour)
	b.probe(one, 48*time.Hour, domain.ProbeOK, 80*time.Millisecond)
	b.advance(2 * time.Hour)
	b.move(one, domain.HealthDown, domain.HealthNoAnswer)
	b.probe(one, 2*time.Hour, domain.ProbeFailed, 0)
	p, err := sla.ParsePeriod("2027-05", time.UTC)
	b.must(err)
	var r sla.Report
	var scores []alerting.Scored
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.PutObjective(ctx, domain.Objective{ID: domain.NewID[domain.ObjectiveID](tx.Now), Scope: domain.Scope{Kind: domain.ScopeIntegration, Target: string(one.ID)},
			Targets: domain.Targets{Availability: 99, LatencyMS: 60, Errors: 5}, CreatedBy: "test"}); err != nil {
			return err
		}
		if r, err = alerting.Report(ctx, tx, p); err != nil {
			return err
		}
		scores, err = alerting.Scores(ctx, tx, []domain.IntegrationID{quiet.ID, one.ID, "01900000-0000-7000-8000-000000000001"})
		return err
	})
	if len(r.Lines) != 2 || len(r.Platforms) != 1 || len(r.Parts) != 3 {
		t.Fatalf("%d connections, %d platforms, %d days", len(r.Lines), len(r.Platforms), len(r.Parts))
	}
	for _, l := range r.Lines {
		switch l.ID {
		case one.ID:
			if l.Targets.Availability != 99 || l.DownSeconds != 7200 || l.KnownSeconds != 50*3600 || l.UnknownSeconds != 0 || l.Failed != 240 || l.Probes != 6000 ||
				*l.Availability != 96 || l.LatencyVerdict != sla.Missed || l.Verdict != sla.Unknown {
				t.Errorf("%+v", l)
			}
		case quiet.ID:
			if l.KnownSeconds != 0 || l.UnknownSeconds != 50*3600 || l.Availability != nil || l.Verdict != sla.Unknown {
				t.Errorf("nothing is known of it: %+v", l)
			}
		}
	}
	if len(scores) != 2 || scores[0].Rated || !scores[1].Rated || scores[1].Probes != 6000 || len(scores[1].Parts) != 4 {
		t.Errorf("%+v", scores)
	}
	if s := scores[1]; s.Score.Score > 60 || s.Parts[1].Factor > 0.75 {
		t.Errorf("two hours of downtime and slow answers: %+v", s)
	}
}

// TestHoursCountInTheMonthOfTheZone stores hours at both ends of a November of New York, in which the clock goes back on the 7th.
func TestHoursCountInTheMonthOfTheZone(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	one := b.all[0]
	zone, err := time.LoadLocation("America/New_York")
	b.must(err)
	hour := func(at time.Time, state domain.HealthState) {
		t.Helper()
		b.must(b.SaveProbes(t.Context(), []store.ProbeBatch{{Org: b.org, Integration: one.ID, Provider: one.Provider, From: at, Seconds: map[domain.HealthState]int64{state: 3600}}}))
	}
	first, after := time.Date(2027, 11, 1, 0, 0, 0, 0, zone).UTC(), time.Date(2027, 12, 1, 0, 0, 0, 0, zone).UTC()
	for at, state := range map[time.Time]domain.HealthState{first.Add(-time.Hour): domain.HealthDown, first: domain.HealthUp, after.Add(-time.Hour): domain.HealthUp, after: domain.HealthDown} {
		hour(at, state)
	}
	for at := time.Date(2027, 11, 7, 0, 0, 0, 0, zone).UTC(); at.Before(time.Date(2027, 11, 8, 0, 0, 0, 0, zone)); at = at.Add(time.Hour) {
		hour(at, domain.HealthUp)
	}
	b.advance(after.AddDate(0, 0, 2).Sub(b.clock()))
	report := func(period string) (r sla.Report) {
		t.Helper()
		p, err := sla.ParsePeriod(period, zone)
		b.must(err)
		b.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
			r, err = alerting.Report(ctx, tx, p)
			return err
		})
		return r
	}
	r := report("2027-11")
	if r.All.TotalSeconds != 721*3600 || r.All.KnownSeconds != 27*3600 || r.All.DownSeconds != 0 || *r.All.Availability != 100 || r.All.Verdict != sla.Unknown {
		t.Errorf("November: %+v", r.All)
	}
	if day := r.Parts[6]; day.Name != "2027-11-07" || day.TotalSeconds != 25*3600 || day.UnknownSeconds != 0 || day.Verdict != sla.Met {
		t.Errorf("the day of 25 hours: %+v", day)
	}
	if day := r.Parts[1]; day.Availability != nil || day.KnownSeconds != 0 || day.Verdict != sla.Unknown {
		t.Errorf("a day of which nothing is known: %+v", day)
	}
	for _, period := range []string{"2027-10", "2027-12"} {
		if l := report(period).All; l.DownSeconds != 3600 || l.KnownSeconds != 3600 || l.Verdict != sla.Missed {
			t.Errorf("%s: %+v", period, l)
		}
	}
}

func TestASilenceThatIsOverTakesNobodysPlace(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.tenant(func(ctx context.Context, tx *store.Tx) error {
		for _, rule := range []string{"", "FREQ=DAILY;COUNT=2", "FREQ=DAILY"} {
			if _, err := tx.CreateSilence(ctx, domain.Silence{ID: domain.NewID[domain.SilenceID](tx.Now), Scope: domain.Scope{Kind: domain.ScopeOrganization}, StartsAt: tx.Now,
				EndsAt: tx.Now.Add(time.Hour), RRULE: rule, Zone: "UTC", Reason: "test", CreatedBy: "test"}); err != nil {
				return err
			}
		}
		return nil
	})
	inForce := func() (n int) {
		b.look()
		b.tenant(func(ctx context.Context, tx *store.Tx) error {
			all, err := tx.SilencesInForce(ctx)
			n = len(all)
			return err
		})
		return n
	}
	for _, step := range []struct {
		by   time.Duration
		want int
	}{{59 * time.Minute, 3}, {time.Minute, 2}, {23*time.Hour + 59*time.Minute, 2}, {time.Hour, 1}, {1000 * time.Hour, 1}} {
		b.advance(step.by)
		if n := inForce(); n != step.want {
			t.Errorf("at %s %d silences are in force, want %d", b.clock(), n, step.want)
		}
	}
}
