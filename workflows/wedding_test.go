package workflows_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wedsync/wedsync/activities"
	"github.com/wedsync/wedsync/internal/apply"
	"github.com/wedsync/wedsync/internal/connect"
	"github.com/wedsync/wedsync/internal/contract"
	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/monitor"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/store"
	"github.com/wedsync/wedsync/internal/store/storetest"
	"github.com/wedsync/wedsync/workflows"
)

// chapel is an organisation with one connection in a database of its own, whose clock is that of a workflow that skips time.
type chapel struct {
	*stage
	db   *store.Store
	org  domain.OrgID
	desk domain.Resource
	conn domain.Integration
	id   domain.BookingID

	mu     sync.Mutex
	answer error // of the connection's system
	polled []domain.IntegrationID
}

// Probe is the system of the connection.
func (c *chapel) Probe(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer
}

func (c *chapel) answers(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = err
}

func newChapel(t *testing.T, zone string) *chapel {
	t.Helper()
	c := &chapel{stage: newStage(t, "wedding/test")}
	c.db = storetest.New(t, store.Options{MaxConns: 6, SystemMaxConns: 2, Now: c.clock})
	opener := connect.New(func(name string) (provider.Registration, bool) {
		return provider.Registration{Name: name, Open: func(provider.Connection) (any, error) { return c, nil }}, true
	}, nil, c.clock, 0)
	c.RegisterActivity(&activities.Weddings{Store: c.db, Prober: activities.NewProber(c.db, opener, nil, monitor.Options{Confirm: time.Millisecond}),
		FailOver: func(_ context.Context, _ domain.OrgID, id domain.IntegrationID, _ string) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.polled = append(c.polled, id)
			return nil
		}})
	c.org = domain.NewID[domain.OrgID](start)
	c.desk = domain.Resource{ID: domain.NewID[domain.ResourceID](start), Name: "Quillfeather", Kind: domain.ResourcePerson, Zone: zone, Capacity: 1}
	c.conn = domain.Integration{ID: domain.NewID[domain.IntegrationID](start), Name: "Studio calendar", Provider: "outside", Direction: domain.DirectionImport,
		ResourceID: c.desk.ID, Settings: []byte(`{}`)}
	c.fatal(c.db.CreateOrganization(t.Context(), domain.Organization{ID: c.org, Name: "Studio", Zone: "Europe/London"}, "admin"))
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CreateResource(ctx, c.desk); err != nil {
			return err
		}
		return tx.CreateIntegration(ctx, c.conn, nil)
	})
	c.id = domain.NewID[domain.BookingID](start)
	return c
}

// clock is the workflow's, which begins at start.
func (c *chapel) clock() time.Time {
	if now := c.Now(); now.After(start) {
		return now
	}
	return start
}

func (c *chapel) fatal(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *chapel) tenant(fn func(ctx context.Context, tx *store.Tx) error) {
	c.t.Helper()
	if err := c.db.Tenant(context.Background(), c.org, fn); err != nil {
		c.t.Error(err)
	}
}

// book makes the wedding, or changes it, and tells its workflow while it runs.
func (c *chapel) book(begins time.Time, hours int, status domain.BookingStatus) {
	c.t.Helper()
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		b, err := tx.Booking(ctx, c.id)
		if domain.KindOf(err) == domain.KindNotFound {
			b, err = domain.Booking{ID: c.id, OrgID: c.org, ResourceID: c.desk.ID, Category: domain.CategoryWedding}, nil
		}
		if err != nil {
			return err
		}
		b.Status, b.Details.Title = status, "Marker wedding"
		b.When = domain.When{Span: domain.Span{Start: begins.UTC(), End: begins.UTC().Add(time.Duration(hours) * time.Hour)}, Zone: c.desk.Zone, Kind: domain.TimeZoned}
		_, err = apply.Manual(ctx, tx, b, "admin-1", "test")
		return err
	})
}

func (c *chapel) change(begins time.Time, hours int, status domain.BookingStatus) {
	c.t.Helper()
	c.book(begins, hours, status)
	c.SignalWorkflow(contract.SignalWedding, nil)
}

func (c *chapel) run() (out contract.WeddingStatus) {
	c.t.Helper()
	c.ExecuteWorkflow(workflows.Wedding, contract.WeddingInput{OrgID: c.org, BookingID: c.id})
	c.ended(nil)
	c.must(c.GetWorkflowResult(&out))
	return out
}

// moves are what the care did by itself, with the local time of the venue to the minute.
func (c *chapel) moves() (out []string) {
	c.t.Helper()
	loc, err := time.LoadLocation(c.desk.Zone)
	c.fatal(err)
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		out = nil
		var preflight string
		all, _, err := tx.AuditEntries(ctx, store.Page{Limit: store.MaxPage})
		slices.Reverse(all)
		for _, e := range all {
			if e.Actor != "system:wedding" || e.Subject != "booking/"+string(c.id) {
				continue
			}
			what := strings.TrimPrefix(e.Action, "wedding.")
			if what == "preflight" {
				if e.After["preflight"] == preflight {
					continue
				}
				preflight, what = e.After["preflight"], "preflight "+e.After["state"]+" "+e.Reason
			}
			out = append(out, e.At.In(loc).Format("01-02 15:04 ")+what)
		}
		return err
	})
	return out
}

func (c *chapel) want(want ...string) {
	c.t.Helper()
	if d := cmp.Diff(want, c.moves()); d != "" {
		c.t.Errorf("what was done (-want +got):\n%s", d)
	}
}

func at(zone string, month time.Month, day, hour int) time.Time {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	return time.Date(2027, month, day, hour, 0, 0, 0, loc)
}

func TestAWeddingIsCheckedFrozenWatchedAndHandedOverByTheClockOfItsPlace(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		zone   string
		begins time.Time
		want   []string
	}{
		{"Europe/London", at("Europe/London", time.June, 12, 14), []string{"05-01 10:00 wait", "06-05 14:00 watch", "06-05 14:00 preflight attention as the first look",
			"06-10 14:00 freeze", "06-10 14:00 preflight attention as the look for the freeze", "06-12 00:00 day", "06-13 04:00 hand_over"}},
		// The clock goes back in the night before the wedding: 48 hours on the clock are 49.
		{"Europe/London", at("Europe/London", time.October, 31, 14), []string{"05-01 10:00 wait", "10-24 14:00 watch", "10-24 14:00 preflight attention as the first look",
			"10-29 14:00 freeze", "10-29 14:00 preflight attention as the look for the freeze", "10-31 00:00 day", "11-01 04:00 hand_over"}},
		// It goes forward at two in the night of the wedding, far from UTC.
		{"Pacific/Auckland", at("Pacific/Auckland", time.September, 26, 15), []string{"05-01 21:00 wait", "09-19 15:00 watch", "09-19 15:00 preflight attention as the first look",
			"09-24 15:00 freeze", "09-24 15:00 preflight attention as the look for the freeze", "09-26 00:00 day", "09-27 05:00 hand_over"}},
		{"America/Los_Angeles", at("America/Los_Angeles", time.June, 12, 10), []string{"05-01 02:00 wait", "06-05 10:00 watch", "06-05 10:00 preflight attention as the first look",
			"06-10 10:00 freeze", "06-10 10:00 preflight attention as the look for the freeze", "06-12 00:00 day", "06-13 00:00 hand_over"}},
	} {
		t.Run(x.zone+x.begins.Format(" Jan 2"), func(t *testing.T) {
			t.Parallel()
			c := newChapel(t, x.zone)
			c.book(x.begins, 8, domain.StatusConfirmed)
			c.at(time.Hour, func() {
				if got := ask[contract.WeddingStatus](c.stage, contract.QueryStatus); got.State != domain.CareWaiting || got.Date != x.begins.Format(time.DateOnly) {
					t.Errorf("asked after an hour: %+v", got)
				}
			})
			if out := c.run(); out.State != domain.CareHandedOver || !out.NextAt.IsZero() {
				t.Errorf("ended as %+v", out)
			}
			c.want(x.want...)
		})
	}
}

func TestAMovedWeddingMovesEverything(t *testing.T) {
	t.Parallel()
	c := newChapel(t, "Europe/London")
	first, second := at("Europe/London", time.June, 12, 14), at("Europe/London", time.July, 3, 11)
	c.book(first, 8, domain.StatusConfirmed)
	c.at(first.Add(-24*time.Hour).Sub(start), func() { c.change(second, 4, domain.StatusConfirmed) })
	if out := c.run(); out.State != domain.CareHandedOver || out.Date != "2027-07-03" {
		t.Errorf("ended as %+v", out)
	}
	c.want("05-01 10:00 wait", "06-05 14:00 watch", "06-05 14:00 preflight attention as the first look", "06-10 14:00 freeze", "06-10 14:00 preflight attention as the look for the freeze",
		"06-11 14:00 wait", "06-26 11:00 watch", "06-26 11:00 preflight attention as the first look", "07-01 11:00 freeze", "07-01 11:00 preflight attention as the look for the freeze",
		"07-03 00:00 day", "07-04 00:00 hand_over")
}

func TestAWeddingThatIsMovedOnItsDayHasNoDayAnyMore(t *testing.T) {
	t.Parallel()
	c := newChapel(t, "Europe/London")
	first := at("Europe/London", time.May, 4, 14)
	c.book(first, 8, domain.StatusConfirmed)
	c.at(first.Sub(start), func() { c.change(at("Europe/London", time.May, 20, 14), 8, domain.StatusConfirmed) })
	c.at(first.Add(time.Hour).Sub(start), func() {
		c.tenant(func(ctx context.Context, tx *store.Tx) error {
			days, err := tx.WeddingDays(ctx)
			if len(days) != 0 {
				t.Errorf("a day goes on: %+v", days)
			}
			h, err2 := tx.Health(ctx, c.conn.ID)
			if h.BoostUntil != nil {
				t.Errorf("probes are still faster until %s", h.BoostUntil)
			}
			return cmpOr(err, err2)
		})
	})
	c.at(first.Add(24*time.Hour).Sub(start), func() { c.change(first, 8, domain.StatusCancelled) })
	if out := c.run(); out.State != domain.CareEnded {
		t.Errorf("ended as %+v", out)
	}
	c.want("05-01 10:00 watch", "05-01 10:00 preflight attention as the first look", "05-02 14:00 freeze", "05-02 14:00 preflight attention as the look for the freeze", "05-04 00:00 day",
		"05-04 14:00 wait", "05-05 14:00 end")
}

func cmpOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestACancelledWeddingEndsAndOneThatComesBackBeginsAgain(t *testing.T) {
	t.Parallel()
	c := newChapel(t, "Europe/London")
	begins := at("Europe/London", time.June, 12, 14)
	c.book(begins, 8, domain.StatusConfirmed)
	c.at(time.Hour, func() { c.change(begins, 8, domain.StatusCancelled) })
	if out := c.run(); out.State != domain.CareEnded {
		t.Errorf("ended as %+v", out)
	}
	c.want("05-01 10:00 wait", "05-01 11:00 end")
	// Whoever books it again starts the workflow again, whose first look is this.
	c.book(begins, 8, domain.StatusConfirmed)
	a := &activities.Weddings{Store: c.db}
	out, err := a.LookAfterWedding(t.Context(), activities.WeddingRef{Org: c.org, Wedding: c.id})
	if err != nil || out.Done || out.Status.State != domain.CareWaiting || out.Status.NextAt.IsZero() {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestAWeddingThatIsBookedLateHasAtOnceWhatIsDue(t *testing.T) {
	t.Parallel()
	t.Run("within the freeze", func(t *testing.T) {
		t.Parallel()
		c := newChapel(t, "Europe/London")
		c.book(at("Europe/London", time.May, 2, 14), 4, domain.StatusConfirmed)
		c.run()
		c.want("05-01 10:00 freeze", "05-01 10:00 preflight attention as the look for the freeze", "05-02 00:00 day", "05-03 00:00 hand_over")
	})
	t.Run("on the day", func(t *testing.T) {
		t.Parallel()
		c := newChapel(t, "Europe/London")
		c.book(at("Europe/London", time.May, 1, 11), 4, domain.StatusConfirmed)
		c.run()
		c.want("05-01 10:00 day", "05-01 10:00 preflight attention as the look for the freeze", "05-02 00:00 hand_over")
	})
	t.Run("when it was over", func(t *testing.T) {
		t.Parallel()
		c := newChapel(t, "Europe/London")
		c.book(at("Europe/London", time.April, 20, 11), 4, domain.StatusConfirmed)
		if out := c.run(); out.State != domain.CareEnded {
			t.Errorf("ended as %+v", out)
		}
		c.want()
	})
}

func TestWhatIsInDangerIsCheckedEveryHalfHourUntilItIsMended(t *testing.T) {
	t.Parallel()
	c := newChapel(t, "Europe/London")
	begins := at("Europe/London", time.May, 3, 9) // 46 hours ahead
	c.book(begins, 4, domain.StatusConfirmed)
	c.answers(domain.E(domain.KindUnavailable, "timed out"))
	c.at(70*time.Minute, func() { c.answers(nil) })
	var told []string
	c.at(3*time.Hour, func() {
		c.tenant(func(ctx context.Context, tx *store.Tx) error {
			all, _, err := tx.Preflights(ctx, c.id, store.Page{})
			for _, p := range all {
				told = append(told, fmt.Sprintf("%s %s after %s", p.Kind, p.State, p.MadeAt.Sub(start)))
			}
			return err
		})
		c.change(begins, 4, domain.StatusCancelled)
	})
	c.run()
	// The second and third one found the same as the first and took its place; then only the timeline is missing.
	if d := cmp.Diff([]string{"again attention after 1h30m0s", "freeze blocking after 1h0m0s"}, told); d != "" {
		t.Errorf("preflights, newest first (-want +got):\n%s", d)
	}
}

func TestAPersonHasEverythingCheckedNow(t *testing.T) {
	t.Parallel()
	c := newChapel(t, "Europe/London")
	begins := at("Europe/London", time.June, 12, 14)
	c.book(begins, 8, domain.StatusConfirmed)
	c.at(time.Hour, func() {
		c.tenant(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.WantPreflight(ctx, c.id, "planner-1")
			return err
		})
		c.SignalWorkflow(contract.SignalWedding, nil)
	})
	c.at(2*time.Hour, func() {
		c.tenant(func(ctx context.Context, tx *store.Tx) error {
			all, _, err := tx.Preflights(ctx, c.id, store.Page{})
			care, err2 := tx.WeddingCare(ctx, c.id, false)
			if len(all) != 1 || all[0].By != "planner-1" || all[0].Kind != domain.PreflightAsked || care.WantedAt != nil || care.State != domain.CareWaiting {
				t.Errorf("%+v, %+v", all, care)
			}
			return cmpOr(err, err2)
		})
		c.change(begins, 8, domain.StatusCancelled)
	})
	c.run()
}

func TestOnTheDayProbesAreFasterFailuresAreNotedAndPollsStandInAtOnce(t *testing.T) {
	t.Parallel()
	c := newChapel(t, "Europe/London")
	begins := at("Europe/London", time.May, 2, 14)
	c.book(begins, 4, domain.StatusConfirmed)
	midnight := at("Europe/London", time.May, 2, 0)
	move := func(after time.Duration, to domain.HealthState, code domain.HealthCode, text string) {
		c.at(midnight.Add(after).Sub(start), func() {
			c.tenant(func(ctx context.Context, tx *store.Tx) error {
				_, moved, err := tx.MoveHealth(ctx, store.HealthMove{Integration: c.conn.ID, To: to, Reason: domain.HealthReason{Code: code, Text: text}})
				if !moved && err == nil {
					t.Errorf("it did not become %s", to)
				}
				return err
			})
			// The relay tells the workflow, which the outbox has a line for.
			c.tenant(func(ctx context.Context, tx *store.Tx) error {
				var lines int
				err := tx.QueryRow(ctx, "SELECT count(*) FROM outbox WHERE kind = 'wedding' AND target_id = $1 AND created_at = $2", c.id, tx.Now).Scan(&lines)
				if lines == 0 && after > 0 {
					t.Errorf("nobody is told that it became %s", to)
				}
				return err
			})
			c.SignalWorkflow(contract.SignalWedding, nil)
		})
	}
	move(-time.Hour, domain.HealthUp, domain.HealthAnswers, "it answers")
	move(time.Hour, domain.HealthFailingOver, domain.HealthNotTold, "webhooks are silent")
	move(69*time.Minute, domain.HealthPolling, domain.HealthNotTold, "polls stand in")
	move(100*time.Minute, domain.HealthUp, domain.HealthAnswers, "it answers")
	move(10*time.Hour, domain.HealthDown, domain.HealthNoAnswer, "no answer")
	c.at(midnight.Add(30*time.Minute).Sub(start), func() {
		c.tenant(func(ctx context.Context, tx *store.Tx) error {
			h, err := tx.Health(ctx, c.conn.ID)
			if h.BoostEvery != 10*time.Second || h.BoostUntil == nil || !h.BoostUntil.Equal(at("Europe/London", time.May, 3, 0)) {
				t.Errorf("probes: %+v", h)
			}
			r, err2 := c.db.IntakeRecord(ctx, c.conn.ID)
			if !r.UrgentUntil.Equal(at("Europe/London", time.May, 3, 0)) {
				t.Errorf("its webhooks are urgent until %s", r.UrgentUntil)
			}
			return cmpOr(err, err2)
		})
	})
	if out := c.run(); out.State != domain.CareHandedOver {
		t.Errorf("ended as %+v", out)
	}
	if !slices.Equal(c.polled, []domain.IntegrationID{c.conn.ID}) {
		t.Errorf("polled at once: %v", c.polled)
	}
	c.tenant(func(ctx context.Context, tx *store.Tx) error {
		h, err := tx.HandOver(ctx, c.id)
		if err != nil {
			return err
		}
		if len(h.Failures) != 2 || h.Failures[0].Lasted != 40*time.Minute || len(h.Failures[0].Done) == 0 || !strings.Contains(h.Failures[0].Done[0], "at once") ||
			h.Failures[1].OverAt != nil || h.Failures[1].Name != "Studio calendar" || len(h.Open) == 0 || h.Quiet {
			t.Errorf("%+v", h)
		}
		if days, err := tx.WeddingDays(ctx); len(days) != 0 || err != nil {
			t.Errorf("the day goes on: %+v, %v", days, err)
		}
		health, err := tx.Health(ctx, c.conn.ID)
		if health.BoostUntil != nil {
			t.Errorf("probes are faster still: %+v", health)
		}
		return err
	})
}

func TestAWeddingGoesOnThroughAnOutageOfStorage(t *testing.T) {
	t.Parallel()
	s := newStage(t, contract.WeddingWorkflowID(held))
	a := &weddingRow{s: s}
	s.RegisterActivity(a)
	s.ExecuteWorkflow(workflows.Wedding, contract.WeddingInput{OrgID: org, BookingID: held})
	s.ended(nil)
	if n := s.count("LookAfterWedding"); n != 8 {
		t.Errorf("%d looks", n)
	}
}

// weddingRow stands in for the steps: the first seven looks fail, and what is due is asked for by nobody who answers.
type weddingRow struct {
	s       *stage
	suggest bool
}

func (a *weddingRow) LookAfterWedding(context.Context, activities.WeddingRef) (activities.LookAfterWeddingResult, error) {
	n := a.s.called("LookAfterWedding")
	switch {
	case a.suggest:
		return activities.LookAfterWeddingResult{Status: contract.WeddingStatus{State: domain.CareWaiting, NextAt: start.Add(time.Hour)}}, nil
	case n < 8:
		return activities.LookAfterWeddingResult{}, errDown
	}
	return activities.LookAfterWeddingResult{Status: contract.WeddingStatus{State: domain.CareEnded}, Done: true}, nil
}

func (a *weddingRow) CheckWedding(context.Context, activities.CheckWeddingInput) (activities.CheckWeddingResult, error) {
	a.s.called("CheckWedding")
	return activities.CheckWeddingResult{}, nil
}

func TestAWeddingThatIsToldOftenTakesANewRun(t *testing.T) {
	t.Parallel()
	s := newStage(t, contract.WeddingWorkflowID(held))
	s.RegisterActivity(&weddingRow{s: s, suggest: true})
	s.SetContinueAsNewSuggested(true)
	s.ExecuteWorkflow(workflows.Wedding, contract.WeddingInput{OrgID: org, BookingID: held})
	if in := carried[contract.WeddingInput](s); in.OrgID != org || in.BookingID != held {
		t.Errorf("the new run gets %+v", in)
	}
}
