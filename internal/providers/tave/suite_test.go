package tave

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/providers/providertest"
	"github.com/wedsync/wedsync/internal/sim/tavesim"
)

// simWorld is the simulator as the suite's world.
type simWorld struct{ *bundle }

func (w simWorld) outside(t testing.TB, e providertest.Entry) tavesim.Object {
	zone := mustZone(t, providertest.Zone)
	start, end := e.When.Start.In(zone), e.When.End.In(zone)
	return tavesim.Object{"name": e.Title, "confirmed": e.Status != domain.StatusTentative, "hidden": e.Status == domain.StatusCancelled, "allDay": false,
		"startDate": start.Format(time.DateOnly), "startTime": start.Format(time.TimeOnly), "endDate": end.Format(time.DateOnly), "endTime": end.Format(time.TimeOnly)}
}

func (w simWorld) Seed(t testing.TB, e providertest.Entry) string {
	return eventPrefix + w.sim.Add("event", w.outside(t, e))
}

func (w simWorld) Edit(t testing.TB, id string, e providertest.Entry) {
	w.sim.Edit("event", strings.TrimPrefix(id, eventPrefix), w.outside(t, e))
}

func (w simWorld) Delete(_ testing.TB, id string) {
	w.sim.Delete("event", strings.TrimPrefix(id, eventPrefix))
}

func (w simWorld) Skew(_ testing.TB, ahead time.Duration) { w.sim.Skew(ahead) }

// Tell makes a lead without a date: the vendor tells of new jobs, orders and payments, and of no event.
func (w simWorld) Tell(t testing.TB) {
	w.sim.Add("job", tavesim.Object{"stage": "lead", "name": "An enquiry"})
	if _, err := w.sim.DeliverHooks(t.Context(), http.DefaultClient); err != nil {
		t.Fatal(err)
	}
}

func (w simWorld) Count(testing.TB) int { return len(w.sim.All("event")) }

// The pause after a 429 is over whenever the world changes: the suite itself does not wait.
func (w simWorld) Heal(testing.TB) {
	w.pass(longestPause)
	w.sim.Heal()
}

func (w simWorld) Fault(_ testing.TB, f providertest.Fault) bool {
	if f == providertest.FaultForgetTokens {
		w.pass((defaultSweep + 1) * time.Hour) // a cursor is forgotten when the next sweep is due
		return true
	}
	faults, ok := map[providertest.Fault]tavesim.Faults{
		providertest.FaultServerError:   {Status: 503, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimit:     {Status: 429, RetryAfter: providertest.RetryAfter},
		providertest.FaultRateLimitMute: {Status: 429},
		providertest.FaultUnauthorized:  {Status: 401},
		providertest.FaultCutBody:       {CutBody: true},
		providertest.FaultGarbage:       {Garbage: true},
		providertest.FaultEmptyAnswer:   {EmptyAnswer: true},
		providertest.FaultHang:          {Hang: true},
		providertest.FaultLoseAnswer:    {LoseAnswers: 1},
		providertest.FaultShortListing:  {ShortPages: true},
		providertest.FaultRepeatPage:    {RepeatPages: true},
		providertest.FaultMissingPage:   {SkipPages: true},
	}[f]
	if ok = ok && !(f == providertest.FaultShortListing && w.noMeta); ok {
		w.pass(longestPause)
		w.sim.SetFaults(faults)
	}
	return ok
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		opt  tavesim.Options
		edit []func(*settings)
	}{
		"PUT replaces":                {},
		"PUT merges, hidden in sight": {opt: tavesim.Options{Merge: true, HiddenInWorksheets: true}},
		"lists without meta":          {opt: tavesim.Options{NoMeta: true}},
		"weddings are jobs":           {edit: []func(*settings){weddingsAsJobs}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Harness{
				Registration: Registration, Many: 2*mostEvents + 10, Secrets: []string{apiKey, leadKey},
				Open: func(t testing.TB) (any, providertest.World) {
					b := setup(t, v.opt, v.edit...)
					b.noMeta = v.opt.NoMeta // then nothing tells that a page is short
					return b.conn, simWorld{b}
				},
			})
		})
	}
}
