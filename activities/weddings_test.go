package activities_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/timelines"
)

// care looks after the wedding of a desk.
type care struct {
	*desk
	steps   *activities.Weddings
	wedding domain.BookingID
	system  *probed
	cal3    domain.Integration // answers probes as it is told
	refused error              // of polling at once
}

// newCare has a wedding on 12 June 2027 from noon to eight in London, five days ahead.
func newCare(t *testing.T) *care {
	t.Helper()
	c := &care{desk: setup(t), system: &probed{answer: func(int64) error { return nil }}}
	c.cal3 = c.connect("third", domain.DirectionImport, c.system)
	c.steps = &activities.Weddings{Store: c.Store, Prober: activities.NewProber(c.Store, c.opener, nil, monitor.Options{Confirm: time.Millisecond}),
		FailOver: func(context.Context, domain.OrgID, domain.IntegrationID, string) error { return c.refused }}
	c.advance(day.Add(-5 * 24 * time.Hour).Sub(c.clock()))
	c.wedding = c.arrive(c.crm, change("wed", domain.CategoryWedding, 12, 20))
	return c
}

func (c *care) ref() activities.WeddingRef {
	return activities.WeddingRef{Org: c.org, Wedding: c.wedding}
}

// preflight looks, asks and checks as the workflow does, and returns what was found that is not well.
func (c *care) preflight() (p domain.Preflight, found []string) {
	c.t.Helper()
	looked := run(c.desk, c.steps.LookAfterWedding, c.ref())
	asked := run(c.desk, c.steps.AskConnections, activities.AskConnectionsInput{Org: c.org, Connections: looked.Connections})
	made := run(c.desk, c.steps.CheckWedding, activities.CheckWeddingInput{Org: c.org, Wedding: c.wedding, Kind: looked.Preflight, Answers: asked.Answers})
	c.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		p, err = tx.Preflight(ctx, c.wedding, made.Preflight)
		return err
	})
	for _, one := range p.Checks {
		if one.State.Level() >= domain.CheckAttention.Level() {
			name := one.Name
			if name == "" {
				name = "wedding"
			}
			found = append(found, name+" "+string(one.Kind)+" "+string(one.State))
		}
	}
	slices.Sort(found)
	return p, found
}

func (c *care) told() (topics []string) {
	c.t.Helper()
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, "SELECT topic || ' ' || (refs->>'told') FROM notify_facts WHERE topic LIKE 'wedding.%' ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		topics = nil
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return err
			}
			topics = append(topics, s)
		}
		return rows.Err()
	})
	return topics
}

func TestAPreflightFindsWhatIsWrongWithEachConnection(t *testing.T) {
	t.Parallel()
	c := newCare(t)
	c.setState(c.cal.ID, domain.IntegrationPaused)
	c.system.answer = func(int64) error { return domain.E(domain.KindUnauthenticated, "status 401") }
	ends := day.Add(13 * time.Hour)
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.TouchIntegration(ctx, c.crm.ID); err != nil {
			return err
		}
		return tx.AddCredential(ctx, domain.WebhookCredential{ID: domain.NewID[domain.CredentialID](tx.Now), IntegrationID: c.crm.ID, Label: "old", NotAfter: &ends, CreatedBy: "test"}, "secret")
	})
	ids := c.deliver(c.crm, "garbage", body(change("wed", domain.CategoryWedding, 12, 21)))
	c.exec("UPDATE deliveries SET state = 'dead', reason = 'no such field' WHERE id = '"+string(ids[0])+"'",
		"UPDATE deliveries SET state = 'dead', entity = 'wed', reason = 'no such field' WHERE id = '"+string(ids[1])+"'")
	p, found := c.preflight()
	if d := cmp.Diff([]string{"calendar connected blocking", "crm deliveries blocking", "crm webhooks attention", "third answers blocking", "wedding timeline attention"}, found); d != "" {
		t.Errorf("found (-want +got):\n%s", d)
	}
	if p.Kind != domain.PreflightWeek || p.State != domain.CheckBlocking || p.By != "system:wedding" {
		t.Errorf("%+v", p)
	}
	// Nothing that was asked is stored: the usual probes go on.
	var h domain.Health
	c.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		h, err = tx.Health(ctx, c.cal3.ID)
		return err
	})
	if h.LastProbe != nil || c.state(c.cal3.ID) != domain.IntegrationActive {
		t.Errorf("%+v", h)
	}
}

func TestThePeopleAreToldOnceAndOfTheEnd(t *testing.T) {
	t.Parallel()
	c := newCare(t)
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateRecipient(ctx, domain.Recipient{ID: domain.NewID[domain.RecipientID](tx.Now), Name: "Ann", Zone: "UTC", CreatedBy: "test", Addresses: domain.NotifyAddresses{Email: "ann@example.com"}}, "secret")
	})
	c.system.answer = func(int64) error { return domain.E(domain.KindUnavailable, "timed out") }
	first, _ := c.preflight()
	c.advance(61 * time.Minute)
	second, _ := c.preflight()
	if d := cmp.Diff([]string{"wedding.preflight failed"}, c.told()); d != "" || second.ID != first.ID || !second.MadeAt.After(first.MadeAt) {
		t.Errorf("told of the same twice (-want +got):\n%s\n%+v\n%+v", d, first, second)
	}
	// Less is wrong: that is shown, and nobody is told before it is all well.
	c.system.answer = func(int64) error { return nil }
	c.advance(61 * time.Minute)
	third, left := c.preflight()
	if third.ID == first.ID || slices.Contains(left, "third answers blocking") {
		t.Errorf("%+v, %v", third, left)
	}
	// At the freeze what is left is told once more.
	c.advance(day.Add(12*time.Hour - 48*time.Hour).Sub(c.clock()))
	fourth, _ := c.preflight()
	if d := cmp.Diff([]string{"wedding.preflight failed", "wedding.changed frozen", "wedding.preflight failed"}, c.told()); d != "" || fourth.Kind != domain.PreflightFreeze {
		t.Errorf("told (-want +got):\n%s\n%+v", d, fourth)
	}
}

func TestLookingAndCheckingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	c := newCare(t)
	c.preflight()
	first := run(c.desk, c.steps.LookAfterWedding, c.ref())
	before := c.count("audit_entries")
	second := run(c.desk, c.steps.LookAfterWedding, c.ref())
	if d := cmp.Diff(first, second); d != "" || first.Preflight != "" || c.count("audit_entries") != before {
		t.Errorf("a second look differs (-first +second):\n%s", d)
	}
}

func (c *care) count(table string) (n int) {
	c.t.Helper()
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&n)
	})
	return n
}

func TestAConnectionThatCannotBePolledIsNotedAndAnOutageIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := newCare(t)
	c.advance(day.Add(12 * time.Hour).Sub(c.clock()))
	run(c.desk, c.steps.LookAfterWedding, c.ref())
	in := activities.FailOverWeddingInput{Org: c.org, Wedding: c.wedding, Connections: []domain.IntegrationID{c.cal.ID, c.cal3.ID}}
	c.refused = domain.E(domain.KindUnavailable, "Temporal is away")
	_, err := call(c.desk, c.steps.FailOverWedding, in)
	c.wantKind(err, domain.KindUnavailable)
	c.refused = domain.E(domain.KindConflict, "its system cannot be read")
	if out := run(c.desk, c.steps.FailOverWedding, in); out.Polled != 0 {
		t.Errorf("%+v", out)
	}
	c.refused = nil
	c.advance(time.Second)
	if out := run(c.desk, c.steps.FailOverWedding, in); out.Polled != 2 {
		t.Errorf("%+v", out)
	}
	var texts []string
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		log, err := tx.WeddingNotes(ctx, c.wedding, c.clock().Add(-time.Hour), 100)
		texts = nil
		for _, n := range log {
			if n.Kind == domain.NoteFailover {
				texts = append(texts, n.Text)
			}
		}
		return err
	})
	refused, polled := "it could not be read at once: its system cannot be read", "it is read at once, without waiting for its news"
	if d := cmp.Diff([]string{refused, refused, polled, polled}, texts); d != "" {
		t.Errorf("noted (-want +got):\n%s", d)
	}
}

func TestTwoWeddingsOfOneDayShareTheirConnections(t *testing.T) {
	t.Parallel()
	c := newCare(t)
	later := c.arrive(c.cal, change("late", domain.CategoryWedding, 21, 26))
	c.advance(day.Add(12 * time.Hour).Sub(c.clock()))
	second := activities.WeddingRef{Org: c.org, Wedding: later}
	run(c.desk, c.steps.LookAfterWedding, c.ref())
	run(c.desk, c.steps.LookAfterWedding, second)
	boost := func() (until time.Time) {
		c.tenant(func(ctx context.Context, tx *store.Tx) error {
			h, err := tx.Health(ctx, c.cal3.ID)
			if h.BoostUntil != nil {
				until = *h.BoostUntil
			}
			return err
		})
		return until
	}
	first := boost()
	// The first one is over, and the other one's day goes on.
	c.advance(day.Add(26 * time.Hour).Sub(c.clock()))
	if out := run(c.desk, c.steps.LookAfterWedding, c.ref()); !out.Done || out.Status.State != domain.CareHandedOver {
		t.Fatalf("%+v", out)
	}
	if after := boost(); after.Before(c.clock()) || first.Before(c.clock()) {
		t.Errorf("probes were faster until %s, and then %s", first, after)
	}
	c.advance(21 * time.Hour) // it ends in the morning, so its day is over a midnight later
	if out := run(c.desk, c.steps.LookAfterWedding, second); !out.Done || !boost().IsZero() {
		t.Errorf("%+v, probes are faster until %s", out, boost())
	}
	var h domain.HandOver
	c.tenant(func(ctx context.Context, tx *store.Tx) (err error) {
		h, err = tx.HandOver(ctx, c.wedding)
		return err
	})
	// Two weddings on one day are a conflict that nobody decided.
	if h.Quiet || len(h.Failures) != 1 || h.Failures[0].OverAt != nil || len(h.Open) == 0 {
		t.Errorf("%+v", h)
	}
}

func TestOnTheDayAVendorsConnectionThatIsDownIsCriticalAndEscalatedAtOnce(t *testing.T) {
	t.Parallel()
	c := newCare(t)
	vendor := c.newResource()
	theirs := domain.Integration{ID: domain.NewID[domain.IntegrationID](c.clock()), Name: "florist", Provider: "outside", Direction: domain.DirectionImport, ResourceID: vendor.ID, Settings: []byte(`{}`)}
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateIntegration(ctx, theirs, nil); err != nil {
			return err
		}
		_, err := timelines.Set(ctx, tx, c.wedding, domain.TimelinePlan{Items: []domain.TimelineItem{{Key: "flowers", Kind: domain.TimelineSetup, Title: "Flowers", ResourceID: vendor.ID, DurationMinutes: 60}}},
			0, "test", "")
		return err
	})
	c.advance(day.Add(12 * time.Hour).Sub(c.clock()))
	run(c.desk, c.steps.LookAfterWedding, c.ref())
	for _, m := range []store.HealthMove{{Integration: theirs.ID, To: domain.HealthUp, Reason: domain.HealthReason{Code: domain.HealthAnswers, Text: "it answers"}},
		{Integration: theirs.ID, To: domain.HealthDown, Reason: domain.HealthReason{Code: domain.HealthNoAnswer, Text: "no answer"}}} {
		c.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.MoveHealth(ctx, m)
			return err
		})
	}
	look := func() (a domain.Alert) {
		alerts := &activities.Alerts{Store: c.Store}
		run(c.desk, alerts.EvaluateAlerts, activities.EvaluateAlertsInput{Org: c.org})
		c.tenant(func(ctx context.Context, tx *store.Tx) error {
			all, _, err := tx.Alerts(ctx, store.AlertFilter{Target: string(theirs.ID)}, store.Page{})
			if len(all) == 1 {
				a = all[0]
			}
			return err
		})
		return a
	}
	if a := look(); a.Severity != domain.SeverityCritical || a.ToldAt == nil || a.Level != 0 {
		t.Errorf("%+v", a)
	}
	c.advance(time.Second)
	if a := look(); a.Level != 1 {
		t.Errorf("nobody else is told: %+v", a)
	}
	// Its webhooks go first until the day is over, although the wedding is not its resource's.
	r, err := c.IntakeRecord(c.t.Context(), theirs.ID)
	if err != nil || r.UrgentUntil.Before(day.Add(26*time.Hour)) {
		t.Errorf("urgent until %s, %v", r.UrgentUntil, err)
	}
}
